//! Which jobs are made of it.

use super::*;

#[test]
fn the_tree_is_mirrored_into_the_output_folder() {
    let root = folder(&["photos/a.jpg", "photos/in/a.jpg", "photos/b", "photos/c.jfif"]);
    let found = search(&[root.path().join("photos")]);
    let output = Output::new(root.path().join("new/out/"), true);
    let plan = JobPlan::new(&found.found, &naming(Some(output))).unwrap();
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
    let plan = JobPlan::new(&found.found, &naming(None)).unwrap();
    // `c.derain.jpg` has no original here: it is somebody's photograph.
    let expected = ["b.jpg -> b.dehaze.jpg", "c.derain.jpg -> c.derain.dehaze.jpg"];
    assert_eq!(pairs(&plan, root.path()), expected);
    let path = |name: &str| root.path().join(name);
    assert_eq!(plan.done, [(path("a.jpg"), path("a.dehaze.jpg"))]);
    assert_eq!(plan.results, [path("a.dehaze.jpg")]);
    // Named, it is a photograph like any other.
    let named = search(&[path("a.dehaze.jpg")]);
    assert_eq!(JobPlan::new(&named.found, &naming(None)).unwrap().jobs.len(), 1);
    // Asked to, all are done again.
    let again = Naming { overwrite: true, ..naming(None) };
    assert_eq!(JobPlan::new(&found.found, &again).unwrap().jobs.len(), 3);
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
    let plan = JobPlan::new(&found.found, &named).unwrap();
    assert_eq!(pairs(&plan, root.path()), ["a.jpg -> a-clear.png"]);
    assert_eq!(plan.results, [root.path().join("a-clear.png")]);
}

#[test]
fn collisions_are_refused_before_any_work() {
    let root = folder(&["f1/IMG.jpg", "f2/IMG.jpg", "f1/IMG.png"]);
    let path = |name: &str| root.path().join(name);
    let refused = |inputs: &[PathBuf], naming: Naming| {
        JobPlan::new(&search(inputs).found, &naming).unwrap_err().to_string()
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
    let message = JobPlan::new(&found.found, &naming(output())).unwrap_err().to_string();
    assert!(message.contains("already exists; --overwrite replaces it"), "{message}");
    let plan = JobPlan::new(&found.found, &Naming { overwrite: true, ..naming(output()) }).unwrap();
    assert_eq!(plan.jobs[0].to, Target::File(root.path().join("out.jpg")));
}

#[test]
fn an_output_that_cannot_be_written_is_found_out_at_once() {
    let root = folder(&["a.jpg", "file"]);
    let found = search(&[root.path().join("a.jpg")]);
    let output = Some(Output::Folder(root.path().join("file/out")));
    let message = JobPlan::new(&found.found, &naming(output)).unwrap_err().to_string();
    assert!(message.contains("cannot be written"), "{message}");
    // Nothing is left behind where it can.
    JobPlan::new(&found.found, &naming(None)).unwrap();
    assert_eq!(fs::read_dir(root.path()).unwrap().count(), 2);
}

#[test]
fn a_name_that_is_too_long_is_found_out_at_once() {
    let long = format!("{}.jpg", "x".repeat(250));
    let root = folder(&[&long, "a.jpg"]);
    let plan = JobPlan::new(&search(&[root.path().into()]).found, &naming(None)).unwrap();
    assert_eq!(pairs(&plan, root.path()), ["a.jpg -> a.dehaze.jpg"]);
    assert_eq!(plan.refused[0].0, root.path().join(&long));
    let message = plan.refused[0].1.to_string();
    assert!(message.contains("cannot be written"), "{message}");
}

#[test]
fn names_keep_dots_that_start_no_extension() {
    let root = folder(&["IMG.2024", "IMG.2025", "a.b.jpg"]);
    let photo = |path: &Path| {
        Ok(match contents(path)? {
            FileContents::Other => FileContents::Photo { extension: "jpg".into() },
            contents => contents,
        })
    };
    let found = Search::new(&[root.path().into()], None, photo);
    let beside = JobPlan::new(&found.found, &naming(None)).unwrap();
    let expected = [
        "IMG.2024 -> IMG.2024.dehaze.jpg",
        "IMG.2025 -> IMG.2025.dehaze.jpg",
        "a.b.jpg -> a.b.dehaze.jpg",
    ];
    assert_eq!(pairs(&beside, root.path()), expected);
    let output = Some(Output::Folder(root.path().join("out")));
    let inside = JobPlan::new(&found.found, &naming(output)).unwrap();
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
        JobPlan::new(&found.found, &naming).err().map(|error| error.to_string())
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
    let plan = JobPlan::new(&found.found, &Naming { compare: true, ..naming(None) }).unwrap();
    assert_eq!(pairs(&plan, root.path()), ["b.compare.jpg -> b.compare.dehaze.jpg"]);
    assert_eq!(plan.results.len(), 2);
    let folder = folder(&["a.jpg", "a.compare.jpg"]);
    let output = Some(Output::Folder(folder.path().join("out")));
    let compare = Naming { compare: true, ..naming(output) };
    let all = search(&[folder.path().into()]).found;
    let plan = JobPlan::new(&all, &compare).unwrap();
    assert_eq!((plan.jobs.len(), plan.results.len()), (1, 1));
    // Named, it is a photograph like any other.
    let both = search(&["a.jpg", "a.compare.jpg"].map(|name| folder.path().join(name))).found;
    assert!(JobPlan::new(&both, &compare).unwrap_err().to_string().contains("both"));
}
