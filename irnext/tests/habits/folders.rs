//! Folders in, folders out.

use super::*;

#[test]
fn a_folder_of_thirty_with_two_broken_ones() {
    let folder = folder();
    let at = folder.path();
    let good: Vec<String> = (0..28).map(|i| format!("in/sub{}/{i:02}.png", i % 3)).collect();
    pictures(at, &good.iter().map(String::as_str).collect::<Vec<_>>());
    fs::write(at.join("in/cut.png"), &fs::read(at.join(&good[0])).unwrap()[..60]).unwrap();
    fs::write(at.join("in/text.jpg"), "this is no picture").unwrap();
    for passed_over in ["in/Thumbs.db", "in/notes.txt", "in/.hidden.png"] {
        fs::write(at.join(passed_over), "something").unwrap();
    }
    fs::write(at.join("in/layers.psd"), b"8BPS\0\x01\0\0\0\0\0\0").unwrap();

    let said = ends(at, &quick(&["in", "-o", "out"]), 1);
    assert!(
        said.contains("28 restored, 2 failed; skipped: 1 Photoshop (cannot be read)"),
        "{said}"
    );
    assert!(said.contains("cut.png") && said.contains("text.jpg"), "{said}");
    for name in &good {
        assert!(at.join(name.replacen("in/", "out/", 1)).exists(), "{name}");
    }
    assert_eq!(names(&at.join("out")), ["sub0", "sub1", "sub2"]);
    // Without the two, the second run has nothing to do.
    fs::remove_file(at.join("in/cut.png")).unwrap();
    fs::remove_file(at.join("in/text.jpg")).unwrap();
    let said = ends(at, &quick(&["in", "-o", "out"]), 0);
    assert!(said.starts_with("irnext: 0 restored, 28 done before; skipped"), "{said}");
}

#[test]
fn beside_the_photographs_results_are_not_restored_again() {
    let folder = folder();
    let at = folder.path();
    pictures(at, &["in/a.png", "in/deep/b.jpg"]);
    let run = || ends(at, &quick(&["in"]), 0);
    assert!(run().contains("2 restored"));
    assert_eq!(names(&at.join("in")), ["a.png", "a.restore.png", "deep"]);
    let first = fs::read(at.join("in/a.restore.png")).unwrap();
    let again = run();
    assert_eq!(again, "irnext: 0 restored, 2 done before\n");
    // One more arrives.
    pictures(at, &["in/c.png"]);
    let more = run();
    assert!(more.contains("1 restored, 2 done before"), "{more}");
    let replaced = ends(at, &quick(&["in", "--overwrite"]), 0);
    assert!(replaced.contains("3 restored"), "{replaced}");
    assert!(fs::read(at.join("in/a.restore.png")).unwrap() == first);
    assert_eq!(names(&at.join("in")).len(), 5);
    // Those of another run, which may be photographs, are counted.
    let said = ends(at, &quick(&["in", "-o", "out"]), 0);
    assert!(said.contains("3 restored; skipped: 3 earlier results"), "{said}");
    let said = ends(at, &quick(&["in", "-o", "out", "--json"]), 0);
    assert_eq!(said.matches(r#""outcome":"skipped-result""#).count(), 3, "{said}");
}

#[test]
fn a_result_of_another_photograph_of_that_name_is_not_taken_for_its_own() {
    let folder = folder();
    let at = folder.path();
    pictures(at, &["one/a.png", "two/a.png"]);
    let day = |at: &Path, days: u64| {
        let time =
            std::time::SystemTime::UNIX_EPOCH + std::time::Duration::from_secs(86_400 * days);
        fs::File::options().write(true).open(at).unwrap().set_modified(time).unwrap();
    };
    day(&at.join("one/a.png"), 1);
    day(&at.join("two/a.png"), 2);
    ends(at, &quick(&["one", "-o", "out"]), 0);
    ends(at, &quick(&["one", "-o", "out"]), 0);
    if fs::metadata(at.join("out/a.png")).unwrap().created().is_err() {
        return;
    }
    let before = fs::read(at.join("out/a.png")).unwrap();
    let said = ends(at, &quick(&["two", "-o", "out"]), 1);
    assert!(said.contains("out/a.png: cannot be the result of two/a.png"), "{said}");
    assert!(said.contains("0 restored, 1 failed") || said.lines().count() == 1, "{said}");
    assert!(fs::read(at.join("out/a.png")).unwrap() == before);
    // A photograph that changed since then needs a new one, too.
    day(&at.join("one/a.png"), 3);
    ends(at, &quick(&["one", "-o", "out"]), 1);
    ends(at, &quick(&["one", "-o", "out", "--overwrite"]), 0);
    // Files that lost their times, as in a copy, are not suspected.
    fs::copy(at.join("out/a.png"), at.join("copy.png")).unwrap();
    fs::rename(at.join("copy.png"), at.join("out/a.png")).unwrap();
    day(&at.join("one/a.png"), 4);
    assert!(ends(at, &quick(&["one", "-o", "out"]), 0).contains("done before"));
}

#[test]
fn an_output_folder_inside_the_photographs_is_no_input() {
    let folder = folder();
    let at = folder.path();
    pictures(at, &["in/a.png"]);
    for code in [0, 0] {
        ends(at, &quick(&["in", "-o", "in/restored"]), code);
    }
    assert_eq!(names(&at.join("in/restored")), ["a.png"]);
}

#[test]
fn a_folder_in_another_one_is_named_once_and_its_photographs_count_once() {
    let folder = folder();
    let at = folder.path();
    pictures(at, &["in/a.png", "in/deep/b.png"]);
    for (inputs, out) in [(["in", "in/deep"], "1"), (["in/deep", "in"], "2")] {
        let said = ends(at, &quick(&[inputs[0], inputs[1], "-o", out]), 0);
        assert!(said.contains("2 restored\n"), "{said}");
        let note = "irnext: in/deep is in in: its photographs count once\n";
        assert_eq!(said.matches(note).count(), 1, "{said}");
    }
}

#[test]
fn two_folders_with_the_same_names_are_refused_before_any_work() {
    let folder = folder();
    let at = folder.path();
    pictures(at, &["f1/IMG_1.jpg", "f2/IMG_1.jpg"]);
    for more in [&[][..], &["--overwrite"]] {
        let run = [&["f1", "f2", "-o", "same"], more].concat();
        let said = ends(at, &quick(&run), 2);
        assert!(said.contains("same/IMG_1.jpg: would be the result of both"), "{said}");
    }
    assert!(!at.join("same").exists());
    // From the folder above, they keep their own.
    ends(at, &quick(&["f1/../f1", "-o", "out/1"]), 0);
    fs::create_dir(at.join("both")).unwrap();
    fs::rename(at.join("f1"), at.join("both/f1")).unwrap();
    fs::rename(at.join("f2"), at.join("both/f2")).unwrap();
    ends(at, &quick(&["both", "-o", "out"]), 0);
    assert!(at.join("out/f1/IMG_1.jpg").exists() && at.join("out/f2/IMG_1.jpg").exists());
}

#[test]
fn photographs_are_never_replaced() {
    let folder = folder();
    let at = folder.path();
    pictures(at, &["in/a.png", "in/b.png"]);
    let before = fs::read(at.join("in/a.png")).unwrap();
    for run in [
        &["in", "-o", "in", "--overwrite"][..],
        &["in", "-o", "in"],
        &["in/a.png", "-o", "in/../in/a.png", "--overwrite"],
        &["in/a.png", "in/b.png", "-o", "in/", "--overwrite"],
    ] {
        let said = ends(at, &quick(run), 2);
        assert!(said.contains("would replace this photograph"), "{said}");
    }
    for run in [
        &["restore", "--weights", "w.safetensors", "in", "--report", "in/b.png", "--overwrite"][..],
        &["synth", "--sheet", "in/a.png", "in", "--overwrite"],
        &["synth", "--sheet", "in/a.png", "in/../in/a.png", "--overwrite"],
    ] {
        ends(at, run, 2);
    }
    assert!(fs::read(at.join("in/a.png")).unwrap() == before);
    assert_eq!(names(&at.join("in")), ["a.png", "b.png"]);
    // The clean sides of pairs, degraded once more.
    ends(at, &["synth", "--task", "rain", "in", "pairs"], 0);
    let said = ends(at, &["synth", "--task", "rain", "pairs/target", "pairs", "--overwrite"], 2);
    assert!(said.contains("would replace this photograph"), "{said}");
}

#[test]
fn an_output_is_a_folder_by_its_slash_its_being_there_or_their_number() {
    let folder = folder();
    let at = folder.path();
    pictures(at, &["a.png", "b.png"]);
    fs::create_dir(at.join("there")).unwrap();
    ends(at, &quick(&["a.png", "-o", "new/"]), 0);
    ends(at, &quick(&["a.png", "-o", "there"]), 0);
    ends(at, &quick(&["a.png", "b.png", "-o", "two"]), 0);
    ends(at, &quick(&["a.png", "-o", "made/for/it.jpg"]), 0);
    for made in ["new/a.png", "there/a.png", "two/b.png", "made/for/it.jpg"] {
        assert!(at.join(made).exists(), "{made}");
    }
    let said = ends(at, &quick(&["a.png", "-o", "neither"]), 2);
    assert!(said.contains("give neither.png for a file, neither/ for a folder"), "{said}");
}

#[test]
fn an_output_that_cannot_be_written_is_noticed_before_the_work() {
    let folder = folder();
    let at = folder.path();
    pictures(at, &["a.png"]);
    fs::write(at.join("file"), "").unwrap();
    let said = ends(at, &quick(&["a.png", "-o", "file/b.png"]), 1);
    assert!(said.contains("cannot be written"), "{said}");
    let long = format!("{}.png", "x".repeat(300));
    let said = ends(at, &quick(&["a.png", "-o", &long]), 1);
    assert!(said.contains("cannot be written"), "{said}");
    assert_eq!(names(at), ["a.png", "file"]);
}

#[cfg(unix)]
#[test]
fn a_folder_without_permission_to_write() {
    use std::os::unix::fs::PermissionsExt;
    let folder = folder();
    let at = folder.path();
    pictures(at, &["locked/a.png", "open/b.png"]);
    let set = |mode| {
        let permissions = fs::Permissions::from_mode(mode);
        fs::set_permissions(at.join("locked"), permissions).unwrap();
    };
    set(0o555);
    // Some users may write everywhere.
    if fs::write(at.join("locked/probe"), "").is_err() {
        let said = ends(at, &quick(&["locked", "open"]), 1);
        assert!(said.contains("locked: cannot be written"), "{said}");
        assert!(at.join("open/b.restore.png").exists());
        let said = ends(at, &quick(&["open", "-o", "locked/out"]), 1);
        assert!(said.contains("cannot be written"), "{said}");
        ends(at, &quick(&["locked", "-o", "out"]), 0);
    }
    set(0o755);
}
