use super::*;
use crate::error::{Error, Result};
use std::fs;
use std::path::{Path, PathBuf};
use tempfile::TempDir;

/// A folder with empty files of these names.
fn folder(names: &[&str]) -> TempDir {
    let folder = tempfile::tempdir().unwrap();
    for name in names {
        let path = folder.path().join(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, "").unwrap();
    }
    folder
}

/// By the name, as these files are empty.
fn contents(path: &Path) -> Result<Contents> {
    let extension = path.extension().unwrap_or_default().to_string_lossy().into_owned();
    Ok(match extension.as_str() {
        "jpg" | "png" => Contents::Photo { extension },
        "" | "jfif" => Contents::Photo { extension: "jpg".into() },
        "heic" => Contents::Unreadable("HEIC".into()),
        _ => Contents::Other,
    })
}

fn search(inputs: &[PathBuf]) -> Search {
    Search::new(inputs, None, contents)
}

fn naming(output: Option<Output>) -> Naming {
    let tasks = ["dehaze", "derain"].map(String::from).to_vec();
    Naming { tasks, output, ..Naming::default() }
}

/// Where each photograph's result for the task `dehaze` goes, both below `root`.
fn pairs(plan: &Plan, root: &Path) -> Vec<String> {
    let below = |path: &Path| path.strip_prefix(root).unwrap_or(path).display().to_string();
    plan.jobs
        .iter()
        .map(|job| format!("{} -> {}", below(&job.from), below(&job.to.file("dehaze"))))
        .collect()
}

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
fn the_tree_is_mirrored_into_the_output_folder() {
    let root = folder(&["photos/a.jpg", "photos/in/a.jpg", "photos/b", "photos/c.jfif"]);
    let found = search(&[root.path().join("photos")]);
    let output = Output::new(root.path().join("new/out/"), true);
    let plan = Plan::new(&found.found, &naming(Some(output))).unwrap();
    let expected = [
        "photos/a.jpg -> new/out/a.jpg",
        "photos/b -> new/out/b.jpg",
        "photos/c.jfif -> new/out/c.jfif",
        "photos/in/a.jpg -> new/out/in/a.jpg",
    ];
    assert_eq!(pairs(&plan, root.path()), expected);
    assert!(plan.jobs.iter().all(|job| job.copy));
}

#[test]
fn a_trailing_slash_an_existing_folder_and_several_photographs_make_a_folder() {
    let root = folder(&["there/x"]);
    let output = |name: &str, several| Output::new(root.path().join(name), several);
    assert!(matches!(output("new/", false), Output::Folder(_)));
    assert!(matches!(output("there", false), Output::Folder(_)));
    assert!(matches!(output("new", true), Output::Folder(_)));
    assert!(matches!(output("new", false), Output::File(_)));
}

#[test]
fn a_second_run_has_nothing_to_do() {
    let root = folder(&["a.jpg", "a.dehaze.jpg", "b.jpg", "c.derain.jpg"]);
    let found = search(&[root.path().into()]);
    let plan = Plan::new(&found.found, &naming(None)).unwrap();
    // `c.derain.jpg` has no original here: it is somebody's photograph.
    let expected = ["b.jpg -> b.dehaze.jpg", "c.derain.jpg -> c.derain.dehaze.jpg"];
    assert_eq!(pairs(&plan, root.path()), expected);
    let path = |name: &str| root.path().join(name);
    assert_eq!(plan.done, [(path("a.jpg"), path("a.dehaze.jpg"))]);
    assert_eq!(plan.results, [path("a.dehaze.jpg")]);
    // Named, it is a photograph like any other.
    let named = search(&[path("a.dehaze.jpg")]);
    assert_eq!(Plan::new(&named.found, &naming(None)).unwrap().jobs.len(), 1);
    // Asked to, all are done again.
    let again = Naming { overwrite: true, ..naming(None) };
    assert_eq!(Plan::new(&found.found, &again).unwrap().jobs.len(), 3);
}

#[test]
fn a_suffix_and_an_extension_name_results() {
    let root = folder(&["a.jpg", "a-clear.png"]);
    let found = search(&[root.path().into()]);
    let named = Naming {
        suffix: Some("-clear".into()),
        extension: Some("png".into()),
        overwrite: true,
        ..naming(None)
    };
    let plan = Plan::new(&found.found, &named).unwrap();
    assert_eq!(pairs(&plan, root.path()), ["a.jpg -> a-clear.png"]);
    assert_eq!(plan.results, [root.path().join("a-clear.png")]);
}

#[test]
fn collisions_are_refused_before_any_work() {
    let root = folder(&["f1/IMG.jpg", "f2/IMG.jpg", "f1/IMG.png"]);
    let path = |name: &str| root.path().join(name);
    let refused = |inputs: &[PathBuf], naming: Naming| {
        Plan::new(&search(inputs).found, &naming).unwrap_err().to_string()
    };
    let overwrite = |output| Naming { overwrite: true, ..naming(output) };
    let out = || Some(Output::Folder(path("out")));
    let both = [path("f1/IMG.jpg"), path("f2/IMG.jpg")];
    let message = refused(&both, overwrite(out()));
    assert!(message.contains("the result of both"), "{message}");
    let same = Naming { extension: Some("jpg".into()), ..naming(out()) };
    assert!(refused(&[path("f1")], same).contains("the result of both"));
    // Onto the photographs themselves, by whichever path, replacing or not.
    let message = refused(&[path("f1")], naming(Some(Output::Folder(path("f1")))));
    assert!(message.contains("would replace this photograph"), "{message}");
    let message = refused(&[path("f1")], overwrite(Some(Output::Folder(path("f2/../f1")))));
    assert!(message.contains("would replace this photograph"), "{message}");
    assert!(!path("out").exists());
}

#[test]
fn an_output_file_that_exists_is_an_error_and_not_a_result() {
    let root = folder(&["a.jpg", "out.jpg"]);
    let found = search(&[root.path().join("a.jpg")]);
    let output = || Some(Output::File(root.path().join("out.jpg")));
    let message = Plan::new(&found.found, &naming(output())).unwrap_err().to_string();
    assert!(message.contains("already exists; --overwrite replaces it"), "{message}");
    let plan = Plan::new(&found.found, &Naming { overwrite: true, ..naming(output()) }).unwrap();
    assert_eq!(plan.jobs[0].to, Target::File(root.path().join("out.jpg")));
}

#[test]
fn an_output_that_cannot_be_written_is_found_out_at_once() {
    let root = folder(&["a.jpg", "file"]);
    let found = search(&[root.path().join("a.jpg")]);
    let output = Some(Output::Folder(root.path().join("file/out")));
    let message = Plan::new(&found.found, &naming(output)).unwrap_err().to_string();
    assert!(message.contains("cannot be written"), "{message}");
    // Nothing is left behind where it can.
    Plan::new(&found.found, &naming(None)).unwrap();
    assert_eq!(fs::read_dir(root.path()).unwrap().count(), 2);
}

#[test]
fn a_name_that_is_too_long_is_found_out_at_once() {
    let long = format!("{}.jpg", "x".repeat(250));
    let root = folder(&[&long, "a.jpg"]);
    let plan = Plan::new(&search(&[root.path().into()]).found, &naming(None)).unwrap();
    assert_eq!(pairs(&plan, root.path()), ["a.jpg -> a.dehaze.jpg"]);
    assert_eq!(plan.refused[0].0, root.path().join(&long));
    let message = plan.refused[0].1.to_string();
    assert!(message.contains("cannot be written"), "{message}");
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
fn names_keep_dots_that_start_no_extension() {
    let root = folder(&["IMG.2024", "IMG.2025", "a.b.jpg"]);
    let photo = |path: &Path| {
        Ok(match contents(path)? {
            Contents::Other => Contents::Photo { extension: "jpg".into() },
            contents => contents,
        })
    };
    let found = Search::new(&[root.path().into()], None, photo);
    let beside = Plan::new(&found.found, &naming(None)).unwrap();
    let expected = [
        "IMG.2024 -> IMG.2024.dehaze.jpg",
        "IMG.2025 -> IMG.2025.dehaze.jpg",
        "a.b.jpg -> a.b.dehaze.jpg",
    ];
    assert_eq!(pairs(&beside, root.path()), expected);
    let output = Some(Output::Folder(root.path().join("out")));
    let inside = Plan::new(&found.found, &naming(output)).unwrap();
    let expected =
        ["IMG.2024 -> out/IMG.2024.jpg", "IMG.2025 -> out/IMG.2025.jpg", "a.b.jpg -> out/a.b.jpg"];
    assert_eq!(pairs(&inside, root.path()), expected);
}

#[test]
fn an_output_file_has_the_name_of_a_format() {
    let root = folder(&["a.jpg"]);
    let found = search(&[root.path().join("a.jpg")]);
    let refused = |name: &str, extension: Option<&str>| {
        let output = Some(Output::File(root.path().join(name)));
        let naming = Naming { extension: extension.map(Into::into), ..naming(output) };
        Plan::new(&found.found, &naming).err().map(|error| error.to_string())
    };
    assert_eq!(refused("b.PNG", None), None);
    assert_eq!(refused("b.jpeg", Some("jpg")), None);
    for (name, extension, part) in [
        ("b.png", Some("jpg"), "is not the name of a jpg file"),
        ("b", None, "b.jpg for a file"),
        ("b.gif", None, "cannot write this kind of file; png"),
    ] {
        let message = refused(name, extension).unwrap();
        assert!(message.contains(part), "{message}");
    }
}

#[test]
fn comparisons_are_neither_photographs_nor_in_the_way_of_results() {
    let root = folder(&["a.jpg", "a.dehaze.jpg", "a.dehaze.compare.jpg", "b.compare.jpg"]);
    let found = search(&[root.path().into()]);
    let plan = Plan::new(&found.found, &Naming { compare: true, ..naming(None) }).unwrap();
    assert_eq!(pairs(&plan, root.path()), ["b.compare.jpg -> b.compare.dehaze.jpg"]);
    assert_eq!(plan.results.len(), 2);
    let folder = folder(&["a.jpg", "a.compare.jpg"]);
    let output = Some(Output::Folder(folder.path().join("out")));
    let compare = Naming { compare: true, ..naming(output) };
    let both = search(&[folder.path().into()]).found;
    assert!(Plan::new(&both, &compare).unwrap_err().to_string().contains("both"));
}

#[cfg(unix)]
#[test]
fn a_result_is_no_more_readable_than_its_photograph_and_links_lead_to_it() {
    use super::place::Place;
    use std::os::unix::fs::{PermissionsExt, symlink};
    let root = folder(&["private.jpg", "public.jpg", "target.jpg"]);
    let path = |name: &str| root.path().join(name);
    let mode = |name: &str| fs::metadata(path(name)).unwrap().permissions().mode() & 0o777;
    let set = |name: &str, mode| {
        fs::set_permissions(path(name), fs::Permissions::from_mode(mode)).unwrap();
    };
    let copy = |from: &str, to: &str| {
        let metadata = fs::metadata(path(from)).unwrap();
        Place::take(&path(to), &metadata, true).unwrap().fill(b"new", &metadata).unwrap();
    };
    set("private.jpg", 0o600);
    set("public.jpg", 0o777);
    copy("private.jpg", "a.jpg");
    copy("public.jpg", "b.jpg");
    assert_eq!(mode("a.jpg"), 0o600);
    assert_eq!(mode("b.jpg") & 0o111, 0, "a picture is no program");
    let modified = |name: &str| fs::metadata(path(name)).unwrap().modified().unwrap();
    assert_eq!(modified("a.jpg"), modified("private.jpg"));
    // What is replaced keeps its own.
    set("target.jpg", 0o640);
    symlink("target.jpg", path("link.jpg")).unwrap();
    copy("public.jpg", "link.jpg");
    assert_eq!(mode("target.jpg"), 0o640);
    assert_eq!(fs::read(path("target.jpg")).unwrap(), b"new");
    assert!(fs::symlink_metadata(path("link.jpg")).unwrap().is_symlink());
    // Nothing is left of what is not filled.
    let metadata = fs::metadata(path("a.jpg")).unwrap();
    drop(Place::take(&path("c.jpg"), &metadata, false).unwrap());
    assert_eq!(fs::read_dir(root.path()).unwrap().count(), 6);
    assert!(Place::take(&path("a.jpg"), &metadata, false).is_err());
}
