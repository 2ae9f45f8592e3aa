//! The options of `restore`.

use super::*;

#[test]
fn strength_goes_from_nothing_to_more_than_all() {
    let folder = folder();
    let at = folder.path();
    pictures(at, &["a.png"]);
    let restored = |strength: &str| {
        let file = format!("{strength}.png");
        ends(at, &quick(&["a.png", "-o", &file, "--strength", strength]), 0);
        Photo::read(at.join(file)).unwrap().image()
    };
    let before = Photo::read(at.join("a.png")).unwrap().image();
    assert_eq!(restored("0"), before);
    let far = |image: &Image| {
        let pairs = image.data().iter().zip(before.data());
        pairs.map(|(a, b)| f64::from((a - b).abs())).sum::<f64>()
    };
    let [half, all] = ["0.5", "1"].map(|strength| far(&restored(strength)));
    assert!((half / all - 0.5).abs() < 0.05, "{half} of {all}");
    for wrong in ["1.6", "-1", "much", "NaN"] {
        let said = ends(at, &quick(&["a.png", &format!("--strength={wrong}")]), 2);
        assert!(said.contains("from 0 to 1.5"), "{said}");
    }
}

#[test]
fn a_comparison_shows_both() {
    let folder = folder();
    let at = folder.path();
    pictures(at, &["in/a.png"]);
    ends(at, &quick(&["in", "--compare"]), 0);
    assert_eq!(names(&at.join("in")), ["a.png", "a.restore.compare.png", "a.restore.png"]);
    let read = |name: &str| Photo::read(at.join("in").join(name)).unwrap().image();
    let both = read("a.restore.compare.png");
    assert_eq!((both.width(), both.height()), (81, 30));
    assert_eq!(both.crop(0, 0, 40, 30), Some(read("a.png")));
    assert_eq!(both.crop(41, 0, 40, 30), Some(read("a.restore.png")));
    assert_eq!(both.pixel(40, 7), Some([1.0; 3]));
    let again = ends(at, &quick(&["in", "--compare"]), 0);
    assert!(again.contains("done before: in/a.restore.png already exists"), "{again}");
}

#[test]
fn a_report_shows_what_was_done() {
    let folder = folder();
    let at = folder.path();
    pictures(at, &["in/a.png", "in/<b>.png"]);
    fs::write(at.join("in/c.png"), b"\x89PNG\r\n\x1a\n no more").unwrap();
    ends(at, &quick(&["in", "-o", "out", "--report", "page.html"]), 1);
    let page = fs::read_to_string(at.join("page.html")).unwrap();
    // Before and after of two, and the error of the third.
    assert_eq!(page.matches("src=\"data:image/jpeg;base64,").count(), 4);
    for part in ["<h2>in/a.png</h2>", "<h2>in/&lt;b&gt;.png</h2>", "2 restored", "1 failed"] {
        assert!(page.contains(part), "{part} is missing");
    }
    assert!(!page.contains("://"));
    // Not over another file.
    let said = ends(at, &quick(&["in", "-o", "new", "--report", "page.html"]), 1);
    assert!(said.contains("page.html: already exists") && !at.join("new").exists(), "{said}");
}

#[test]
fn json_and_pages_have_niqe_before_and_after() {
    let folder = folder();
    let at = folder.path();
    pictures(at, &["small.png"]);
    Photo::new(clear()).write(at.join("large.png")).unwrap();
    let arguments = quick(&["small.png", "large.png", "--json", "--report", "page.html"]);
    let said = ends(at, &arguments, 0);
    for line in said.lines().filter(|line| line.starts_with('{')) {
        let line: serde_json::Value = serde_json::from_str(line).unwrap();
        let effect = &line["effect"];
        let large = line["input"] == "large.png";
        for niqe in [&effect["niqe_before"], &effect["niqe_after"]] {
            assert_eq!((niqe.as_f64() > Some(1.0), niqe.is_null()), (large, !large), "{line}");
        }
    }
    assert_eq!(said.matches("niqe_after").count(), 2, "{said}");
    let page = fs::read_to_string(at.join("page.html")).unwrap();
    assert_eq!(page.matches("NIQE ").count(), 1);
}

#[test]
fn a_missing_comparison_is_made_of_the_result_that_is_there() {
    let folder = folder();
    let at = folder.path();
    pictures(at, &["in/a.png", "in/deep/b.png"]);
    ends(at, &quick(&["in", "--compare", "-o", "out"]), 0);
    let comparisons = ["out/a.compare.png", "out/deep/b.compare.png"].map(|name| at.join(name));
    let before = comparisons.each_ref().map(|path| fs::read(path).unwrap());
    let results = ["out/a.png", "out/deep/b.png"].map(|name| fs::read(at.join(name)).unwrap());
    comparisons.iter().for_each(|path| fs::remove_file(path).unwrap());
    let said = ends(at, &quick(&["in", "--compare", "-o", "out"]), 0);
    assert!(said.contains("in/a.png → out/a.compare.png: compared with its earlier res"), "{said}");
    assert!(said.contains("0 restored, 2 compared with earlier results\n"), "{said}");
    assert!(comparisons.each_ref().map(|path| fs::read(path).unwrap()) == before);
    let after = ["out/a.png", "out/deep/b.png"].map(|name| fs::read(at.join(name)).unwrap());
    assert!(after == results, "no result was made again");
    let said = ends(at, &quick(&["in", "--compare", "-o", "out"]), 0);
    assert_eq!(said, "irnext: 0 restored, 2 done before\n");
    // Beside the photograph, of one of them, as JSON.
    ends(at, &quick(&["in/a.png"]), 0);
    let said = ends(at, &quick(&["in/a.png", "--compare", "--json"]), 0);
    assert!(said.contains(r#""outcome":"compared""#), "{said}");
    assert!(at.join("in/a.restore.compare.png").exists());
    // A file that is not its result is not compared with it.
    Photo::new(picture(20, 30)).write(at.join("out/c.png")).unwrap();
    pictures(at, &["in/c.png"]);
    let said = ends(at, &quick(&["in/c.png", "--compare", "-o", "out/"]), 1);
    assert!(said.contains("out/c.png: cannot be compared with in/c.png"), "{said}");
    // A photograph that was copied as it is needs no comparison.
    fs::copy(at.join("in/c.png"), at.join("out/c.png")).unwrap();
    let said = ends(at, &quick(&["in/c.png", "--compare", "-o", "out/"]), 0);
    assert!(said.contains("done before: out/c.png"), "{said}");
}

#[test]
fn results_and_comparisons_of_before_are_not_restored_again() {
    let folder = folder();
    let at = folder.path();
    pictures(at, &["in/a.png", "in/b.jpg", "in/a-other.png"]);
    // In a folder for results, comparisons lie beside them.
    ends(at, &quick(&["in", "--compare", "-o", "out"]), 0);
    let said = ends(at, &quick(&["out", "-o", "again"]), 0);
    assert!(said.contains("3 restored"), "{said}");
    assert_eq!(names(&at.join("again")), ["a-other.png", "a.png", "b.jpg"]);
    // Of weights that do not tell their task, and under suffixes of an earlier command.
    ends(at, &quick(&["in", "--suffix", "-clear", "--compare"]), 0);
    ends(at, &quick(&["in"]), 0);
    if fs::metadata(at.join("in/a.png")).unwrap().created().is_err() {
        return;
    }
    let said = ends(at, &["in", "-o", "task", "--task", "derain"], 0);
    assert!(said.contains("3 restored"), "{said}");
    assert!(said.contains("irnext: 3 files count as results of an earlier run"), "{said}");
    assert_eq!(names(&at.join("task")), ["a-other.png", "a.png", "b.jpg"]);
    // A copy of a photograph with its time is a photograph; so is a result that is named.
    let copy =
        Command::new("cp").args(["-p", "in/a.png", "in/a copy.png"]).current_dir(at).status();
    if copy.is_ok_and(|status| status.success()) {
        let said = ends(at, &["in", "-o", "task", "--task", "derain"], 0);
        assert!(said.contains("1 restored, 3 done before"), "{said}");
    }
    let said = ends(at, &["in/a-clear.png", "-o", "task/", "--task", "derain"], 0);
    assert!(said.contains("task/a-clear.png: derain"), "{said}");
}

#[test]
fn weights_of_another_task_are_refused() {
    let folder = folder();
    let at = folder.path();
    pictures(at, &["a.png"]);
    ends(at, &["convert", "w.safetensors", "rain.safetensors", "--task", "rain"], 0);
    let run = |task: &str, weights: &str, code| {
        ends(at, &["a.png", "--task", task, "--weights", weights, "--overwrite"], code)
    };
    let said = run("snow", "rain.safetensors", 2);
    assert!(said.contains("--task desnow, but rain.safetensors has weights for derain"), "{said}");
    assert!(said.contains("irnext convert rain.safetensors NEW.safetensors --task desn"), "{said}");
    assert_eq!(names(at), ["a.png", "rain.safetensors"]);
    run("rain", "rain.safetensors", 0);
    // Released files name no task.
    run("snow", "w.safetensors", 0);
    // As for every command.
    let eval = ["eval", "--input", "x", "--target", "x", "--task", "snow", "--weights"];
    pictures(at, &["x/a.png"]);
    let said = ends(at, &[&eval[..], &["rain.safetensors"]].concat(), 2);
    assert!(said.contains("has weights for derain"), "{said}");
}

#[test]
fn options_may_come_before_the_command() {
    let folder = folder();
    let at = folder.path();
    pictures(at, &["a.png"]);
    assert_eq!(ends(at, &["-q", "restore", "a.png", "--weights", "w.safetensors"], 0), "");
    assert!(at.join("a.restore.png").exists());
    let run = ["--weights", "w.safetensors", "-qo", "out/", "restore", "a.png", "--threads", "1"];
    assert_eq!(ends(at, &run, 0), "");
    assert!(at.join("out/a.png").exists());
}

#[test]
fn results_have_the_format_and_the_name_that_were_asked_for() {
    let folder = folder();
    let at = folder.path();
    pictures(at, &["in/a.png", "in/b.jpg"]);
    let said = ends(at, &quick(&["in", "--format", "webp", "--suffix", "-clear"]), 0);
    assert!(said.contains("2 restored"), "{said}");
    assert_eq!(names(&at.join("in")), ["a-clear.webp", "a.png", "b-clear.webp", "b.jpg"]);
    assert!(fs::read(at.join("in/a-clear.webp")).unwrap().starts_with(b"RIFF"));
    let again = ends(at, &quick(&["in", "--format", "webp", "--suffix", "-clear"]), 0);
    assert!(again.contains("2 done before"), "{again}");
    ends(at, &quick(&["in/b.jpg", "-o", "out/", "--format", "png"]), 0);
    assert_eq!(names(&at.join("out")), ["b.png"]);
    let said = ends(at, &quick(&["in/b.jpg", "-o", "c.png", "--format", "jpg"]), 2);
    assert!(said.contains("is not the name of a jpg file"), "{said}");
    ends(at, &quick(&["in", "--suffix", "a/b"]), 2);
    for read_only in ["heic", "avif"] {
        let said = ends(at, &quick(&["in", "--format", read_only]), 2);
        assert!(said.contains("possible values: jpg, png"), "{said}");
    }
}

#[test]
fn quality_and_privacy_are_for_the_user_to_say() {
    let folder = folder();
    let at = folder.path();
    Photo::new(clear()).write(at.join("a.jpg")).unwrap();
    let size = |quality: &str| {
        let file = format!("{quality}.jpg");
        ends(at, &quick(&["a.jpg", "-o", &file, "--quality", quality]), 0);
        fs::metadata(at.join(file)).unwrap().len()
    };
    assert!(size("40") < size("97"));
    ends(at, &quick(&["a.jpg", "--quality", "0"]), 2);
    // A plain copy would keep the metadata.
    let said = ends(at, &["a.jpg", "-o", "b.jpg", "--strip"], 0);
    assert!(said.contains("converted, not restored: no haze"), "{said}");
}

#[test]
fn what_is_left_of_a_photograph_is_restored_if_asked_to() {
    let folder = folder();
    let at = folder.path();
    Photo::new(clear()).write(at.join("whole.jpg")).unwrap();
    let whole = fs::read(at.join("whole.jpg")).unwrap();
    fs::write(at.join("cut.jpg"), &whole[..whole.len() / 2]).unwrap();
    let said = ends(at, &quick(&["cut.jpg"]), 1);
    assert!(said.contains("or add --keep-going to restore its readable part"), "{said}");
    assert!(!at.join("cut.restore.jpg").exists());
    let said = ends(at, &quick(&["cut.jpg", "--keep-going"]), 0);
    assert!(at.join("cut.restore.jpg").exists(), "{said}");
    // A whole file, of which a part cannot be read.
    Photo::new(clear()).write(at.join("whole.png")).unwrap();
    let mut bytes = fs::read(at.join("whole.png")).unwrap();
    let middle = bytes.len() / 2;
    bytes[middle..middle + 40].iter_mut().for_each(|byte| *byte ^= 90);
    fs::write(at.join("bad.png"), bytes).unwrap();
    let said = ends(at, &quick(&["bad.png"]), 1);
    assert!(said.contains("the file is damaged: only"), "{said}");
}
