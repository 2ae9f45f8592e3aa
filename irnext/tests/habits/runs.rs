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

/// A progressive JPEG, whose scans of fine detail come last.
#[cfg(unix)]
fn progressive() -> Vec<u8> {
    let picture = picture(160, 120);
    let samples: Vec<u8> = picture.data().iter().map(|v| (v * 255.0) as u8).collect();
    let mut bytes = Vec::new();
    let mut encoder = jpeg_encoder::Encoder::new(&mut bytes, 90);
    encoder.set_progressive(true);
    encoder.encode(&samples, 160, 120, jpeg_encoder::ColorType::Rgb).unwrap();
    bytes
}

/// Watches the folder `in` while `meanwhile` runs, which gets the lines written so far; all lines
/// at the end, on standard output and error.
#[cfg(unix)]
fn watched(at: &Path, meanwhile: impl Fn(&dyn Fn() -> String)) -> (String, String) {
    let file = |name: &str| fs::File::create(at.join(name)).unwrap();
    let mut child = command(at, &quick(&["--watch", "in", "-o", "in/out"]))
        .stdout(file("stdout"))
        .stderr(file("stderr"))
        .spawn()
        .unwrap();
    let read = |name: &str| fs::read_to_string(at.join(name)).unwrap();
    meanwhile(&|| read("stderr"));
    send(&child, "-INT");
    assert_eq!(child.wait().unwrap().code(), Some(130));
    (read("stdout"), read("stderr"))
}

#[cfg(unix)]
#[test]
fn what_arrives_in_a_watched_folder_is_restored() {
    let folder = folder();
    let at = folder.path();
    pictures(at, &["in/a.png", "b.png"]);
    fs::write(at.join("in/bad.png"), "this is no picture").unwrap();
    let (said, complained) = watched(at, |complained| {
        until(|| at.join("in/out/a.png").exists());
        // A file that grows is not touched until it is whole.
        let whole = fs::read(at.join("b.png")).unwrap();
        fs::write(at.join("in/b.png"), &whole[..whole.len() / 2]).unwrap();
        std::thread::sleep(Duration::from_millis(500));
        fs::write(at.join("in/b.png"), whole).unwrap();
        until(|| at.join("in/out/b.png").exists());
        until(|| complained().contains("bad.png"));
        std::thread::sleep(Duration::from_millis(2500));
    });
    assert!(complained.contains("2 restored, 1 failed"), "{complained}");
    assert_eq!(complained.matches("bad.png").count(), 1, "{complained}");
    assert_eq!(said.lines().count(), 2, "{said}");
}

#[cfg(unix)]
#[test]
fn a_watched_file_that_arrives_slowly_is_restored_once_it_is_whole() {
    let folder = folder();
    let at = folder.path();
    pictures(at, &["end.png"]);
    fs::create_dir(at.join("in")).unwrap();
    let jpeg = progressive();
    let cut = |part: usize| &jpeg[..jpeg.len() * part / 100];
    let png = fs::read(at.join("end.png")).unwrap();
    // Some programs give a file its full length at once.
    let held = [cut(60), &vec![0; jpeg.len() - cut(60).len()]].concat();
    let arriving: [(&str, &[u8], &[u8]); 4] = [
        ("most.jpg", cut(97), &jpeg),
        ("coarse.jpg", cut(50), &jpeg),
        ("held.jpg", &held, &jpeg),
        ("end.png", &png[..png.len() - 12], &png),
    ];
    for (name, part, _) in arriving {
        fs::write(at.join("in").join(name), part).unwrap();
    }
    // One of which nothing more comes.
    fs::write(at.join("in/never.png"), &png[..png.len() / 2]).unwrap();
    let (said, complained) = watched(at, |_| {
        pictures(at, &["in/whole.png"]);
        until(|| at.join("in/out/whole.png").exists());
        std::thread::sleep(Duration::from_millis(2500));
        assert_eq!(names(&at.join("in/out")), ["whole.png"], "half a photograph was taken");
        for (name, _, whole) in arriving {
            fs::write(at.join("in").join(name), whole).unwrap();
        }
        until(|| names(&at.join("in/out")).len() == 5);
        // Later than anybody waits, but not in vain.
        until(|| fs::read_to_string(at.join("stderr")).unwrap().contains("never.png"));
        fs::write(at.join("in/never.png"), &png).unwrap();
        until(|| at.join("in/out/never.png").exists());
    });
    assert!(complained.contains("6 restored\n"), "{complained}");
    assert_eq!(said.lines().count(), 6, "{said}");
    for name in ["most.jpg", "coarse.jpg", "held.jpg"] {
        let line = said.lines().find(|line| line.contains(name)).unwrap();
        assert!(!line.contains(';'), "no remark on damage: {line}");
    }
}

#[cfg(target_os = "linux")]
#[test]
fn what_a_killed_run_left_is_removed_by_the_next() {
    let folder = folder();
    let at = folder.path();
    fs::create_dir(at.join("in")).unwrap();
    Photo::new(picture(3000, 2000)).write(at.join("in/large.bmp")).unwrap();
    fs::create_dir(at.join("out")).unwrap();
    fs::write(at.join("out/.theirs.part"), "not ours").unwrap();
    let slow = quick(&["in", "-o", "out", "--scale", "full"]);
    let run = || command(at, &slow).stdout(Stdio::null()).spawn().unwrap();
    let mut killed = run();
    let is_ours = |name: &String| name.ends_with(".part") && name != ".theirs.part";
    let ours = || names(&at.join("out")).into_iter().find(is_ours);
    // Before the work, a file is made and removed at once to see whether one can be.
    let lasts = || {
        ours().is_some_and(|name| {
            std::thread::sleep(Duration::from_millis(50));
            ours() == Some(name)
        })
    };
    until(lasts);
    send(&killed, "-STOP");
    // Another run leaves it alone as long as its process lives.
    let name = ours().unwrap();
    pictures(at, &["b.png"]);
    ends(at, &quick(&["b.png", "-o", "out/"]), 0);
    assert_eq!(ours(), Some(name));
    killed.kill().unwrap();
    killed.wait().unwrap();
    ends(at, &quick(&["in", "-o", "out"]), 0);
    assert_eq!(names(&at.join("out")), [".theirs.part", "b.png", "large.bmp"]);
}

#[cfg(target_os = "linux")]
#[test]
fn a_signal_ends_the_search_at_once() {
    let folder = folder();
    let at = folder.path();
    pictures(at, &["in/0.png", "in/a.png"]);
    (0..60_000).for_each(|i| fs::write(at.join(format!("in/{i}")), "text").unwrap());
    let child = command(at, &quick(&["in", "-o", "out"]))
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    // It catches SIGINT, and SIGTERM after it.
    let status = format!("/proc/{}/status", child.id());
    until(|| {
        let status = fs::read_to_string(&status).unwrap();
        let caught = status.lines().find_map(|line| line.strip_prefix("SigCgt:")).unwrap();
        u64::from_str_radix(caught.trim(), 16).unwrap() >> 14 & 1 == 1
    });
    send(&child, "-INT");
    let output = child.wait_with_output().unwrap();
    assert_eq!(output.status.code(), Some(130));
    assert_eq!((out(&output), err(&output)), ("".into(), "irnext: stopped by signal 2\n".into()));
}

#[cfg(target_os = "linux")]
#[test]
fn a_long_search_shows_its_progress_on_a_terminal() {
    let folder = folder();
    let at = folder.path();
    pictures(at, &["in/0.png"]);
    let program = env!("CARGO_BIN_EXE_irnext");
    let line = |more: &str| format!("{program} restore --weights w.safetensors in -o out {more}");
    let on_terminal = |more: &str| {
        let mut script = Command::new("script");
        script.current_dir(at).args(["-qec", &line(more), "/dev/null"]).output()
    };
    // How long it takes depends on the machine.
    let mut said = String::new();
    for round in 0..8 {
        (0..60_000).for_each(|i| fs::write(at.join(format!("in/{round}-{i}")), "text").unwrap());
        let Ok(output) = on_terminal("--overwrite") else {
            eprintln!("SKIPPED: a_long_search_shows…, which needs the program `script`");
            return;
        };
        said = out(&output);
        if said.contains("Looking for photos: 1 found") {
            break;
        }
    }
    assert!(said.contains("Looking for photos: 1 found"), "{said}");
    assert!(!out(&on_terminal("-q").unwrap()).contains("Looking for photos"));
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
