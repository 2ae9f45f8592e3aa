//! Odd files and odd names.

use super::*;

#[test]
fn a_screenshot_keeps_its_transparency() {
    let folder = folder();
    let at = folder.path();
    let alpha: Vec<f32> = (0..40 * 30).map(|i| if i % 40 < 10 { 0.0 } else { 1.0 }).collect();
    let photo = Photo { alpha: Some(alpha.clone()), ..Photo::new(picture(40, 30)) };
    photo.write(at.join("Screenshot 2026-01-01 at 12.00.00.png")).unwrap();
    ends(at, &quick(&["Screenshot 2026-01-01 at 12.00.00.png"]), 0);
    let restored = Photo::read(at.join("Screenshot 2026-01-01 at 12.00.00.restore.png")).unwrap();
    assert_eq!(restored.alpha, Some(alpha));
}

#[test]
fn a_name_without_an_extension_or_with_a_wrong_one() {
    let folder = folder();
    let at = folder.path();
    pictures(at, &["in/a.jpg", "in/b.jpg", "in/c.jpg", "in/d.png"]);
    for (from, to) in [("a.jpg", "noext"), ("b.jpg", "IMG.2024"), ("d.png", "d.jpg")] {
        fs::rename(at.join("in").join(from), at.join("in").join(to)).unwrap();
    }
    fs::rename(at.join("in/c.jpg"), at.join("in/c.JFIF")).unwrap();
    let said = ends(at, &quick(&["in"]), 0);
    assert!(said.contains("4 restored"), "{said}");
    let made: Vec<String> =
        names(&at.join("in")).into_iter().filter(|name| name.contains("restore")).collect();
    let expected = ["IMG.2024.restore.jpg", "c.restore.JFIF", "d.restore.png", "noext.restore.jpg"];
    assert_eq!(made, expected);
    assert_eq!(ends(at, &quick(&["in"]), 0), "irnext: 0 restored, 4 done before\n");
    // Named itself, too.
    ends(at, &quick(&["in/noext", "-o", "out/"]), 0);
    assert_eq!(names(&at.join("out")), ["noext.jpg"]);
}

#[test]
fn odd_characters_in_names() {
    let folder = folder();
    let at = folder.path();
    let odd = ["in/It's  a “photo” №1 (ä).png", "in/-o.png", "in/line\nbreak.png", "in/100%.png"];
    pictures(at, &odd);
    let said = ends(at, &quick(&["in", "-o", "out put"]), 0);
    assert!(said.contains("4 restored"), "{said}");
    assert_eq!(names(&at.join("out put")).len(), 4);
    let inside = at.join("in");
    let weights = at.join("w.safetensors");
    let weights = weights.to_str().unwrap();
    ends(&inside, &["restore", "--weights", weights, "--", "-o.png"], 0);
    assert!(inside.join("-o.restore.png").exists());
}

#[cfg(unix)]
#[test]
fn no_name_controls_the_terminal() {
    let folder = folder();
    let at = folder.path();
    let odd = "a\n\u{1b}[31m\u{202e}";
    pictures(at, &["b.png"]);
    fs::create_dir(at.join(odd)).unwrap();
    fs::copy(at.join("b.png"), at.join(odd).join(format!("{odd}.png"))).unwrap();
    fs::write(at.join(odd).join("bad.png"), "").unwrap();
    fs::copy(at.join("w.safetensors"), at.join(odd).join("w.safetensors")).unwrap();
    fs::write(at.join(odd).join("text"), "").unwrap();
    let path = |name: &str| format!("{odd}/{name}");
    let (weights, text, sheet) = (path("w.safetensors"), path("text"), path("sheet.png"));
    let outputs = [
        ends(at, &["restore", "--weights", &weights, odd, "-o", &path("out")], 1),
        ends(at, &["restore", "--weights", &weights, odd, "-o", &text], 1),
        ends(at, &["restore", "--weights", &text, odd], 1),
        ends(at, &["restore", odd, &path(""), "-o", &path("out"), "--task", "rain"], 1),
        ends(at, &["restore", "--watch", &text], 2),
        ends(at, &["inspect", &weights], 0),
        ends(at, &["convert", &weights, &path("new.pth")], 0),
        ends(at, &["explain", "--task", "rain", &path(&format!("{odd}.png"))], 0),
        ends(at, &["synth", "--task", "rain", odd, &path("pairs")], 1),
        ends(at, &["synth", "--sheet", &sheet, &format!("{odd}/pairs/target")], 0),
        ends(at, &["eval", "--input", &path("pairs/input"), "--target", &path("pairs/target")], 0),
        ends(at, &["doctor", &path("none")], 1),
        ends(at, &["train", &path("run.toml")], 1),
    ];
    for said in outputs {
        let odd = |c: char| c.is_control() && c != '\n' || c == '\u{202e}';
        assert!(!said.contains(odd), "{said:?}");
        assert!(said.contains(r"a\n\x1b[31m\u{202e}"), "{said}");
    }
}

#[cfg(target_os = "linux")]
#[test]
fn names_that_are_no_text() {
    use std::os::unix::ffi::OsStrExt;
    let folder = folder();
    let at = folder.path();
    let name = OsStr::from_bytes(b"caf\xe9 \xff.png");
    pictures(at, &["in/a.png"]);
    fs::rename(at.join("in/a.png"), at.join("in").join(name)).unwrap();
    let said = ends(at, &quick(&["in"]), 0);
    assert!(said.contains("caf"), "{said}");
    assert!(at.join("in").join(OsStr::from_bytes(b"caf\xe9 \xff.restore.png")).exists());
    assert!(ends(at, &quick(&["in"]), 0).contains("done before"));
    let json = ends(at, &quick(&["in", "-o", "out", "--json"]), 0);
    assert!(json.contains("\"restored\""), "{json}");
    assert!(at.join("out").join(name).exists());
    let encoded = r#""input_bytes":"in/caf%E9%20%FF.png""#;
    assert!(json.contains(encoded), "{json}");
    assert!(json.contains(r#""output_bytes":"out/caf%E9%20%FF.png""#), "{json}");
    let json = ends(at, &quick(&["in", "-o", "out", "--json"]), 0);
    assert!(json.contains("done-before") && json.contains(encoded), "{json}");
    fs::write(at.join("in").join(OsStr::from_bytes(b"bad\xff.png")), "").unwrap();
    let json = ends(at, &quick(&["in", "-o", "out", "--json"]), 1);
    assert!(json.contains(r#""input_bytes":"in/bad%FF.png""#), "{json}");
    let file = Path::new("in").join(name);
    let run = irnext(at, &[file.as_os_str(), OsStr::new("--weights"), OsStr::new("w.safetensors")]);
    assert!(out(&run).contains("done before"), "{}{}", out(&run), err(&run));
}

#[cfg(unix)]
#[test]
fn a_private_photograph_has_a_private_result_with_its_time() {
    use std::os::unix::fs::{PermissionsExt, symlink};
    let folder = folder();
    let at = folder.path();
    pictures(at, &["a.png"]);
    fs::set_permissions(at.join("a.png"), fs::Permissions::from_mode(0o600)).unwrap();
    let day = std::time::SystemTime::UNIX_EPOCH + std::time::Duration::from_secs(86_400);
    fs::File::options().write(true).open(at.join("a.png")).unwrap().set_modified(day).unwrap();
    symlink("behind.png", at.join("link.png")).unwrap();
    ends(at, &quick(&["a.png", "-o", "b.png"]), 0);
    ends(at, &quick(&["a.png", "-o", "link.png", "--overwrite"]), 0);
    for name in ["b.png", "behind.png"] {
        let metadata = fs::symlink_metadata(at.join(name)).unwrap();
        assert_eq!(metadata.permissions().mode() & 0o777, 0o600, "{name}");
        assert_eq!(metadata.modified().unwrap(), day, "{name}");
    }
    assert!(fs::symlink_metadata(at.join("link.png")).unwrap().is_symlink());
}

/// A disk of 64 KiB, until it is dropped; none where the test may not mount one.
#[cfg(target_os = "linux")]
struct SmallDisk(std::path::PathBuf);

#[cfg(target_os = "linux")]
impl SmallDisk {
    fn mount(at: &Path) -> Option<Self> {
        fs::create_dir(at).unwrap();
        let mount =
            Command::new("mount").args(["-t", "tmpfs", "-o", "size=64k", "tmpfs"]).arg(at).output();
        mount.is_ok_and(|mount| mount.status.success()).then(|| Self(at.into()))
    }
}

#[cfg(target_os = "linux")]
impl Drop for SmallDisk {
    fn drop(&mut self) {
        let _ = Command::new("umount").arg(&self.0).status();
    }
}

#[cfg(target_os = "linux")]
#[test]
fn a_full_disk_is_noticed_before_the_work_and_holds_no_half_file() {
    let folder = folder();
    let at = folder.path();
    let Some(disk) = SmallDisk::mount(&at.join("disk")) else {
        eprintln!("SKIPPED: a_full_disk_is_noticed…, which needs the right to mount a disk");
        return;
    };
    // Noise, which no format makes small.
    let noise = |x: usize, y: usize| ((x * 7919 + y * 104_729) * (x + 3) % 251) as f32 / 250.0;
    let large = Image::build(300, 200, |x, y| [noise(x, y), noise(y, x), noise(x + y, y)]).unwrap();
    fs::create_dir(at.join("in")).unwrap();
    Photo::new(large).write(at.join("in/large.bmp")).unwrap();
    pictures(at, &["in/small.png"]);
    let said = ends(at, &quick(&["in", "-o", "disk"]), 1);
    assert!(said.contains("large.bmp: cannot be written: the disk is full"), "{said}");
    assert!(said.contains("1 restored, 1 failed"), "{said}");
    assert_eq!(names(&disk.0), ["small.png"]);
    // In another format, it is small enough.
    ends(at, &quick(&["in/large.bmp", "-o", "disk/large.jpg", "--quality", "5"]), 0);
}

#[test]
#[cfg(target_os = "linux")]
fn memory_that_the_system_does_not_have_is_an_error_in_words() {
    let folder = folder();
    let at = folder.path();
    pictures(at, &["small.png"]);
    Photo::new(picture(2400, 1600)).write(at.join("large.jpg")).unwrap();
    let run = |photo: &str, megabytes: usize| {
        let line = format!(
            "ulimit -v {}; exec \"$0\" restore --weights w.safetensors --threads 2 --overwrite \
             -o out.jpg {photo}",
            megabytes << 10
        );
        let program = env!("CARGO_BIN_EXE_irnext");
        let output =
            Command::new("sh").current_dir(at).args(["-c", &line, program]).output().unwrap();
        (output.status.code(), format!("{}{}", out(&output), err(&output)))
    };
    let mut limits = (100..3000).step_by(20);
    let enough = limits.find(|&limit| run("small.png", limit).0 == Some(0)).expect("3 GB suffice");
    // Less than that does not suffice for the program itself, of which the threads' part varies.
    let mut of_the_photo = 0;
    for limit in (enough + 40..3000).step_by(20) {
        let (code, said) = run("large.jpg", limit);
        if code == Some(0) {
            break;
        }
        assert_eq!(code, Some(1), "{limit} MB: {said}");
        assert!(said.contains("memory"), "{limit} MB: {said}");
        of_the_photo += usize::from(said.contains("a photo of 2400×1600 pixels takes at least"));
    }
    assert!(of_the_photo > 0);
}
