//! The search for photographs.

use super::*;

#[test]
fn folders_are_searched_to_the_bottom_and_by_contents() {
    let root = folder(&["b.jpg", "a", "deep/er/c.jfif", "notes.txt", "x.heic", ".hidden/d.jpg"]);
    let found = search(&[root.path().into()]);
    let below: Vec<_> = found.found.iter().map(|f| f.below.display().to_string()).collect();
    assert_eq!(below, ["a", "b.jpg", "deep/er/c.jfif"]);
    assert!(found.errors.is_empty());
    assert_eq!(found.unreadable.into_iter().collect::<Vec<_>>(), [("HEIC".to_string(), 1)]);
}

#[test]
fn a_photograph_reached_twice_is_found_once() {
    let root = folder(&["a.jpg", "in/b.jpg"]);
    let twice = [root.path().join("a.jpg"), root.path().into(), root.path().join("in")];
    let found = search(&twice);
    assert_eq!(found.found.len(), 2);
    assert!(found.found[0].named && !found.found[1].named);
}

#[cfg(unix)]
#[test]
fn links_are_followed_and_circles_end() {
    let (root, other) = (folder(&["in/a.jpg"]), folder(&["b.jpg"]));
    std::os::unix::fs::symlink(root.path(), root.path().join("in/up")).unwrap();
    std::os::unix::fs::symlink(other.path(), root.path().join("other")).unwrap();
    let found = search(&[root.path().into()]);
    let below: Vec<_> = found.found.iter().map(|f| f.below.display().to_string()).collect();
    assert_eq!(below, ["in/a.jpg", "other/b.jpg"]);
    assert!(found.errors.is_empty(), "{:?}", found.errors);
}

#[test]
fn an_empty_folder_and_a_missing_file_are_told_apart() {
    let root = folder(&["notes.txt"]);
    let missing = root.path().join("missing.jpg");
    let found = search(&[root.path().into(), missing.clone()]);
    assert!(matches!(&found.errors[..], [Error::Data { reason, .. }] if reason.contains("no im")));
    // Reading it will say that it is missing.
    assert_eq!(found.found[0].path, missing);
}

#[test]
fn results_in_a_folder_below_are_not_restored_again() {
    let root = folder(&["a.jpg", "out/a.jpg", "other/b.jpg"]);
    let out = root.path().join("out");
    let found = Search::new(&[root.path().into()], Some(&out), contents);
    let below: Vec<_> = found.found.iter().map(|f| f.below.display().to_string()).collect();
    assert_eq!(below, ["a.jpg", "other/b.jpg"]);
    // Named, it is searched like any other.
    assert_eq!(Search::new(std::slice::from_ref(&out), Some(&out), contents).found.len(), 1);
}

#[test]
fn a_folder_in_another_one_is_not_called_empty_and_counts_once() {
    let root = folder(&["in/a.jpg", "in/deep/b.jpg", "in/deep/x.heic", "c.jpg"]);
    let path = |name: &str| root.path().join(name);
    let (inner, outer) = (path("in"), root.path().to_path_buf());
    for inputs in [[outer.clone(), inner.clone()], [inner.clone(), outer.clone()]] {
        let found = search(&inputs);
        assert_eq!((found.found.len(), found.unreadable_count()), (3, 1), "{inputs:?}");
        assert!(found.errors.is_empty(), "{:?}", found.errors);
        assert_eq!(found.nested, [(inner.clone(), outer.clone())]);
    }
    // All of the outer one's photographs are in the inner one; the same folder twice.
    for inputs in [[path("in/deep"), path("in")], [path("in"), path("in/deep/..")]] {
        fs::remove_file(path("in/a.jpg")).unwrap_or_default();
        let found = search(&inputs);
        assert_eq!((found.found.len(), found.errors.len(), found.nested.len()), (1, 0, 1));
    }
    // A photograph, and the folder that has no other one.
    let found = search(&[path("in/deep/b.jpg"), path("in")]);
    assert_eq!((found.found.len(), found.errors.len(), found.nested.len()), (1, 0, 0));
    // One that contains none is still an error.
    fs::create_dir(path("in/empty")).unwrap();
    assert_eq!(search(&[outer, path("in/empty")]).errors.len(), 1);
}
