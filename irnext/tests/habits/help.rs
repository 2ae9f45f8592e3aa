//! Words on the command line: right, wrong and none.

use super::*;

#[test]
fn no_command_means_to_restore() {
    let folder = folder();
    let at = folder.path();
    pictures(at, &["a.png", "in/b.png"]);
    ends(at, &["a.png", "--weights", "w.safetensors"], 0);
    ends(at, &["--weights", "w.safetensors", "in", "-o", "out"], 0);
    assert!(at.join("a.restore.png").exists() && at.join("out/b.png").exists());
    let said = ends(at, &["mistyped.jpg"], 1);
    assert!(said.contains("mistyped.jpg: cannot be read"), "{said}");
    let said = ends(at, &["restart"], 2);
    assert!(said.contains("restore"), "{said}");
    ends(at, &[], 2);
    // Of a mistyped folder, with options that only `restore` has.
    for line in [&["--task", "rain", "fotos"][..], &["fotos", "-o", "x/"], &["--strip", "fotos"]] {
        let said = ends(at, line, 1);
        assert!(said.contains("fotos: cannot be read: there is no such"), "{said}");
    }
    let said = ends(at, &["--task", "rain"], 2);
    assert!(said.contains("PHOTO"), "{said}");
}

#[test]
fn tasks_have_the_names_that_people_use() {
    let folder = folder();
    let at = folder.path();
    pictures(at, &["a.png"]);
    for (name, task) in
        [("haze", "dehaze"), ("DERAIN", "derain"), ("blur", "deblur-motion"), ("Fog", "dehaze")]
    {
        let said = ends(at, &["a.png", "--task", name, "-o", "b.png", "--overwrite"], 0);
        assert!(said.contains(&format!(": {task}, 40×30")), "{said}");
    }
    let said = ends(at, &["a.png", "--task", "de-hail"], 2);
    for name in ["auto", "dehaze", "derain", "desnow", "deblur-motion", "deblur-defocus"] {
        assert!(said.contains(name), "{said}");
    }
    let help = ends(at, &["restore", "-h"], 0);
    let words: Vec<_> = help.split_whitespace().collect();
    assert!(words.join(" ").contains("[possible values: auto, dehaze, derain"), "{help}");
    assert!(help.contains("irnext photos/ -o restored/"), "{help}");
}

#[test]
fn mistakes_are_explained() {
    let folder = folder();
    let at = folder.path();
    pictures(at, &["a.png"]);
    let said = ends(at, &["restore", "a.png", "--colour"], 2);
    assert!(said.contains("--colour") && !said.contains("as a value"), "{said}");
    let said = ends(at, &["restore", "a.png", "--threads", "100000"], 2);
    assert!(said.contains("--threads 100000: this machine has"), "{said}");
    let mut many = command(at, &quick(&["a.png"]));
    let many = many.env("RAYON_NUM_THREADS", "100000").output().unwrap();
    let said = err(&many);
    assert!(said.contains("RAYON_NUM_THREADS 100000: this machine has"), "{said}");
    assert_eq!(many.status.code(), Some(2));
    let said = ends(at, &["restore", "a.png", "--memory", "2"], 2);
    assert!(said.contains("\"2\" is not an amount of memory, such as 800M or 2G"), "{said}");
    let said = ends(at, &quick(&["a.png", "--memory", "1K"]), 1);
    assert!(said.contains("pixels takes at least") && said.contains("--memory allows"), "{said}");
    let said = ends(at, &["restore", "a.png", "--task", "auto", "--weights", "w.safetensors"], 2);
    assert!(said.contains("either --task auto or --weights"), "{said}");
    fs::create_dir(at.join("empty")).unwrap();
    let said = ends(at, &["restore", "empty"], 1);
    assert!(said.contains("empty: contains no images"), "{said}");
}

#[test]
#[cfg(unix)]
fn a_renamed_program_has_one_name_in_its_help() {
    let folder = tempfile::tempdir().unwrap();
    let renamed = folder.path().join("fog");
    std::os::unix::fs::symlink(env!("CARGO_BIN_EXE_irnext"), &renamed).unwrap();
    for arguments in [&["--help"][..], &["restore", "-h"], &["eval", "-h"], &["info", "--what"]] {
        let output = Command::new(&renamed).args(arguments).output().unwrap();
        let said = format!("{}{}", out(&output), err(&output));
        assert!(said.contains("irnext") && !said.contains("fog "), "{arguments:?}: {said}");
    }
}
