//! The written files, and their places.

use super::super::place::Place;
use super::*;

#[cfg(unix)]
#[test]
fn a_result_is_no_more_readable_than_its_photograph_and_links_lead_to_it() {
    use std::os::unix::fs::{PermissionsExt, symlink};
    let root = folder(&["private.jpg", "public.jpg", "target.jpg"]);
    let path = |name: &str| root.path().join(name);
    let mode = |name: &str| fs::metadata(path(name)).unwrap().permissions().mode() & 0o777;
    let set = |name: &str, mode| {
        fs::set_permissions(path(name), fs::Permissions::from_mode(mode)).unwrap();
    };
    let copy = |from: &str, to: &str| {
        let metadata = fs::metadata(path(from)).unwrap();
        let place = Place::take(&path(to), &metadata, true).unwrap().hold(100_000).unwrap();
        place.fill(b"new", &metadata).unwrap();
    };
    set("private.jpg", 0o600);
    set("public.jpg", 0o777);
    copy("private.jpg", "a.jpg");
    copy("public.jpg", "b.jpg");
    assert_eq!(mode("a.jpg"), 0o600);
    assert_eq!(mode("b.jpg") & 0o111, 0, "a picture is no program");
    let modified = |name: &str| fs::metadata(path(name)).unwrap().modified().unwrap();
    assert_eq!(modified("a.jpg"), modified("private.jpg"));
    // A replaced file keeps its own.
    set("target.jpg", 0o640);
    symlink("target.jpg", path("link.jpg")).unwrap();
    copy("public.jpg", "link.jpg");
    assert_eq!(mode("target.jpg"), 0o640);
    assert_eq!(fs::read(path("target.jpg")).unwrap(), b"new");
    assert!(fs::symlink_metadata(path("link.jpg")).unwrap().is_symlink());
    // Nothing is left of an unfilled file.
    let metadata = fs::metadata(path("a.jpg")).unwrap();
    drop(Place::take(&path("c.jpg"), &metadata, false).unwrap());
    assert_eq!(fs::read_dir(root.path()).unwrap().count(), 6);
    assert!(Place::take(&path("a.jpg"), &metadata, false).is_err());
}
