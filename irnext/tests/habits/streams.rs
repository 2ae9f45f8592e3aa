//! Pipes, and lines for programs.

use super::*;
use std::io::Write;
use std::process::Stdio;

/// Runs the program with `input` on its standard input.
fn piped(folder: &Path, arguments: &[&str], input: &[u8]) -> Output {
    let mut child = command(folder, arguments)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let mut stdin = child.stdin.take().unwrap();
    let input = input.to_vec();
    let writer = std::thread::spawn(move || drop(stdin.write_all(&input)));
    let output = child.wait_with_output().unwrap();
    writer.join().unwrap();
    output
}

#[test]
fn a_photograph_through_a_pipe() {
    let folder = folder();
    let at = folder.path();
    pictures(at, &["a.png"]);
    ends(at, &quick(&["a.png", "-o", "b.png"]), 0);
    let [photo, result] = ["a.png", "b.png"].map(|name| fs::read(at.join(name)).unwrap());
    let run = piped(at, &["-", "--weights", "w.safetensors"], &photo);
    assert!(run.status.success(), "{}", err(&run));
    assert!(run.stdout == result, "nothing but the result goes to standard output");
    assert!(err(&run).contains("standard input → standard output: restore"), "{}", err(&run));
    let run = piped(at, &quick(&["-", "-o", "c.png", "-q"]), &photo);
    assert_eq!((out(&run), err(&run)), (String::new(), String::new()));
    assert!(fs::read(at.join("c.png")).unwrap() == result);
    let run = piped(at, &quick(&["a.png", "-o", "-", "--format", "jpg"]), b"");
    assert!(run.stdout.starts_with(&[0xFF, 0xD8]), "{}", err(&run));

    let bad = piped(at, &quick(&["-"]), b"this is no picture");
    assert_eq!(bad.status.code(), Some(1));
    assert!(err(&bad).contains("standard input: "), "{}", err(&bad));
    assert!(bad.stdout.is_empty());
    let two = piped(at, &quick(&["-", "a.png"]), b"");
    assert_eq!(two.status.code(), Some(2), "{}", err(&two));
}

#[test]
fn a_clear_photograph_passes_a_pipe_as_it_is() {
    let folder = folder();
    let at = folder.path();
    Photo::new(clear()).write(at.join("clear.jpg")).unwrap();
    let photo = fs::read(at.join("clear.jpg")).unwrap();
    let run = piped(at, &["-"], &photo);
    assert!(run.status.success() && run.stdout == photo, "{}", err(&run));
}

#[test]
fn json_for_programs_and_silence_for_scripts() {
    let folder = folder();
    let at = folder.path();
    pictures(at, &["in/a.png", "in/b.png"]);
    fs::write(at.join("in/bad.png"), "this is no picture").unwrap();
    ends(at, &quick(&["in/b.png"]), 0);
    let run = irnext(at, &quick(&["in", "--json"]));
    let lines: Vec<serde_json::Value> =
        out(&run).lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let of = |name: &str| {
        let is = |line: &&serde_json::Value| line["input"] == format!("in/{name}");
        lines.iter().find(is).unwrap_or_else(|| panic!("{name} is missing: {lines:?}"))
    };
    assert_eq!(lines.len(), 3);
    assert_eq!(of("a.png")["outcome"], "restored");
    assert_eq!(of("a.png")["output"], "in/a.restore.png");
    assert_eq!((&of("a.png")["width"], &of("a.png")["task"]), (&40.into(), &"restore".into()));
    assert_eq!(of("b.png")["outcome"], "done-before");
    assert_eq!(of("bad.png")["outcome"], "failed");
    assert!(of("bad.png")["error"].as_str().unwrap().contains("not an image"));

    let run = irnext(at, &quick(&["in", "-q", "--overwrite"]));
    assert_eq!(out(&run), "");
    assert_eq!(err(&run).lines().count(), 1, "{}", err(&run));
    assert_eq!(run.status.code(), Some(1));
}

#[test]
fn other_terminals_get_other_signs() {
    let folder = folder();
    let at = folder.path();
    pictures(at, &["a.png"]);
    let run = command(at, &quick(&["a.png"])).env("LC_ALL", "C").output().unwrap();
    let said = out(&run);
    assert!(said.contains("a.png -> a.restore.png: restore, 40x30, "), "{said}");
    assert!(said.is_ascii(), "{said}");
}

#[cfg(target_os = "linux")]
#[test]
fn a_photograph_on_standard_input_is_not_replaced_either() {
    let folder = folder();
    let at = folder.path();
    pictures(at, &["a.png"]);
    let before = fs::read(at.join("a.png")).unwrap();
    let file = fs::File::open(at.join("a.png")).unwrap();
    let arguments = quick(&["-", "-o", "a.png", "--overwrite"]);
    let run = command(at, &arguments).stdin(file).output().unwrap();
    assert_eq!(run.status.code(), Some(2), "{}", err(&run));
    assert!(err(&run).contains("would replace this photograph"), "{}", err(&run));
    assert!(fs::read(at.join("a.png")).unwrap() == before);
    let file = fs::File::open(at.join("a.png")).unwrap();
    let run = command(at, &quick(&["-", "-o", "b.png"])).stdin(file).output().unwrap();
    assert!(run.status.success() && at.join("b.png").exists(), "{}", err(&run));
}

#[cfg(target_os = "linux")]
#[test]
fn lines_that_cannot_be_printed_are_no_success() {
    let folder = folder();
    let at = folder.path();
    pictures(at, &["a.png"]);
    let full = fs::File::options().write(true).open("/dev/full").unwrap();
    let run = command(at, &quick(&["a.png", "--json"])).stdout(full).output().unwrap();
    assert_eq!(run.status.code(), Some(1));
    assert!(err(&run).contains("standard output cannot be written: the disk is full"));
    assert!(at.join("a.restore.png").exists());
}

#[cfg(unix)]
#[test]
fn a_closed_pipe_ends_nothing() {
    let folder = folder();
    let at = folder.path();
    pictures(at, &["in/a.png", "in/b.png", "in/c.png"]);
    let mut child =
        command(at, &quick(&["in"])).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    drop((child.stdout.take(), child.stderr.take()));
    assert_eq!(child.wait().unwrap().code(), Some(0));
    assert_eq!(names(&at.join("in")).len(), 6);
}
