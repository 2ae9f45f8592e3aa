//! Runs that are stopped, and runs that wait.

use super::*;
use std::process::{Child, Stdio};
use std::time::{Duration, Instant};

/// Sends `signal` to the program.
#[cfg(unix)]
fn send(child: &Child, signal: &str) {
    let sent = Command::new("kill").args([signal, &child.id().to_string()]).status();
    assert!(sent.unwrap().success());
}

/// Waits until `is_so`, a minute at most.
fn until(is_so: impl Fn() -> bool) {
    let start = Instant::now();
    while !is_so() {
        assert!(start.elapsed() < Duration::from_secs(60), "it does not happen");
        std::thread::sleep(Duration::from_millis(10));
    }
}

#[cfg(unix)]
#[test]
fn a_stopped_run_leaves_nothing_half_done_and_resumes() {
    let folder = folder();
    let at = folder.path();
    fs::create_dir(at.join("in")).unwrap();
    for i in 0..30 {
        Photo::new(picture(600, 400)).write(at.join(format!("in/{i:02}.png"))).unwrap();
    }
    // A test that was started under `nohup` starts the program so, too.
    let status = fs::read_to_string("/proc/self/status").unwrap_or_default();
    let ignored = status.lines().find_map(|line| line.strip_prefix("SigIgn:"));
    let ignored = ignored.and_then(|mask| u64::from_str_radix(mask.trim(), 16).ok());
    let hangup = ignored.filter(|mask| mask & 1 == 0).map(|_| ("-HUP", 129));
    for (signal, code) in [("-INT", 130), ("-TERM", 143)].into_iter().chain(hangup) {
        let out = at.join(format!("out{code}"));
        let target = out.to_str().unwrap();
        let mut child = command(at, &quick(&["in", "-o", target]))
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        until(|| out.join("01.png").exists());
        send(&child, signal);
        let mut said = String::new();
        use std::io::Read;
        child.stderr.take().unwrap().read_to_string(&mut said).unwrap();
        assert_eq!(child.wait().unwrap().code(), Some(code), "{said}");
        assert!(said.contains(" restored, ") && said.contains(" not begun"), "{said}");
        assert!(said.contains("the same command resumes from here"), "{said}");
        let made = names(&out);
        assert!(made.len() < 30 && made.iter().all(|name| name.ends_with(".png")), "{made:?}");
        for name in &made {
            Photo::read(out.join(name)).unwrap();
        }
        let said = ends(at, &quick(&["in", "-o", target]), 0);
        assert!(said.contains(&format!("{} done before", made.len())), "{said}");
        assert_eq!(names(&out).len(), 30);
    }
}

#[cfg(unix)]
#[test]
fn what_arrives_in_a_watched_folder_is_restored() {
    let folder = folder();
    let at = folder.path();
    pictures(at, &["in/a.png", "b.png"]);
    fs::write(at.join("in/bad.png"), "this is no picture").unwrap();
    let mut child = command(at, &quick(&["--watch", "in", "-o", "in/out"]))
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    until(|| at.join("in/out/a.png").exists());
    // A file that grows is not touched until it is whole.
    let whole = fs::read(at.join("b.png")).unwrap();
    fs::write(at.join("in/b.png"), &whole[..whole.len() / 2]).unwrap();
    std::thread::sleep(Duration::from_millis(500));
    fs::write(at.join("in/b.png"), whole).unwrap();
    until(|| at.join("in/out/b.png").exists());
    std::thread::sleep(Duration::from_millis(2500));
    send(&child, "-INT");
    assert_eq!(child.wait().unwrap().code(), Some(130));
    let output = child.wait_with_output().unwrap();
    let said = err(&output);
    assert!(said.contains("2 restored, 1 failed"), "{said}");
    assert_eq!(said.matches("bad.png").count(), 1, "{said}");
    assert_eq!(out(&output).lines().count(), 2, "{}", out(&output));
}

#[test]
fn several_at_once_give_the_same_bytes() {
    let folder = folder();
    let at = folder.path();
    pictures(at, &["in/a.png", "in/b.jpg", "in/c.png", "in/d.png"]);
    ends(at, &quick(&["in", "-o", "one"]), 0);
    let said = ends(at, &quick(&["in", "-o", "three", "--jobs", "3"]), 0);
    assert!(said.contains("4 restored"), "{said}");
    for name in names(&at.join("one")) {
        let read = |folder: &str| fs::read(at.join(folder).join(&name)).unwrap();
        assert!(read("one") == read("three"), "{name}");
    }
}
