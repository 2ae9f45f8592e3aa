//! The page of `irnext serve`, in a real browser: Chromium, by its driver. Where there is none,
//! these tests say so and pass, unless `IRNEXT_REQUIRE_BROWSER` is set.

mod driver;

use driver::Browser;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

/// The program as a server. It is killed when it is dropped.
struct Server {
    child: Child,
    address: String,
}

impl Server {
    fn start(arguments: &[&str]) -> Self {
        let mut child = Command::new(env!("CARGO_BIN_EXE_irnext"))
            .args(["serve", "--port", "0", "--no-browser"])
            .args(arguments)
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let mut address = String::new();
        BufReader::new(child.stdout.take().unwrap()).read_line(&mut address).unwrap();
        Self { child, address: address.trim().into() }
    }

    /// The number of photographs that it has in memory.
    fn waiting(&self) -> u64 {
        let host = self.address.trim_start_matches("http://").trim_end_matches('/');
        let (mut client, mut answer) = (TcpStream::connect(host).unwrap(), String::new());
        write!(client, "GET /health HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n\r\n")
            .unwrap();
        client.read_to_string(&mut answer).unwrap();
        let (_, body) = answer.split_once("\r\n\r\n").unwrap();
        let body: serde_json::Value = serde_json::from_str(body).unwrap();
        body["waiting"].as_u64().unwrap()
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// A browser with the page of a server, and an empty folder.
fn opened(arguments: &[&str]) -> Option<(Server, Browser, tempfile::TempDir)> {
    if !driver::is_there() {
        assert!(std::env::var_os("IRNEXT_REQUIRE_BROWSER").is_none(), "there is no chromedriver");
        eprintln!("LEFT OUT: the page is not tested, as there is no chromedriver on this machine");
        return None;
    }
    let folder = tempfile::tempdir().unwrap();
    let (server, browser) = (Server::start(arguments), Browser::start(folder.path()));
    browser.open(&server.address);
    Some((server, browser, folder))
}

fn sample() -> PathBuf {
    let file = "../docs/samples/colosseum-in-haze.jpg";
    Path::new(env!("CARGO_MANIFEST_DIR")).join(file).canonicalize().unwrap()
}

/// Gives files to the page, as if they were chosen in its dialog.
fn choose(browser: &Browser, files: &[&Path]) {
    let files: Vec<_> = files.iter().map(|file| file.display().to_string()).collect();
    browser.type_into("#files", &files.join("\n"));
}

/// The state of a photo in the list, from 1.
fn state(number: usize) -> String {
    format!("document.querySelector('#photos li:nth-child({number}) .state').textContent")
}

/// Waits for the one file in `folder`, and returns its name and its contents.
fn downloaded(folder: &Path) -> (String, Vec<u8>) {
    let end = Instant::now() + Duration::from_secs(60);
    loop {
        let names = std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path());
        let files: Vec<PathBuf> =
            names.filter(|path| path.extension().is_some_and(|end| end == "jpg")).collect();
        if let [file] = &files[..] {
            let contents = std::fs::read(file).unwrap();
            std::fs::remove_file(file).unwrap();
            return (file.file_name().unwrap().to_str().unwrap().into(), contents);
        }
        assert!(Instant::now() < end, "{files:?}");
        std::thread::sleep(Duration::from_millis(50));
    }
}

#[test]
fn a_photo_is_restored_compared_and_downloaded() {
    let Some((_server, browser, folder)) = opened(&[]) else { return };
    choose(&browser, &[&sample()]);
    browser.wait(&format!("{} === 'haze removed'", state(1)));
    browser.wait("document.querySelector('#before img').naturalWidth > 0");
    browser.wait("document.querySelector('#after img').naturalWidth > 0");
    let report = browser.run("return document.getElementById('report').textContent");
    assert!(report.as_str().unwrap().contains("haze, "), "{report}");

    // The boundary, by mouse and by keys.
    let boundary = || {
        let at = "return document.getElementById('handle').getAttribute('aria-valuenow')";
        browser.run(at).as_str().unwrap().parse::<i32>().unwrap()
    };
    assert_eq!(boundary(), 50);
    browser.drag("#handle", 150);
    let dragged = boundary();
    assert!((60..75).contains(&dragged), "{dragged}");
    // Arrow left, twice.
    browser.type_into("#handle", "\u{E012}\u{E012}");
    assert_eq!(boundary(), dragged - 4);
    let scale = "return document.querySelector('#after img').style.transform";
    let fitted = browser.run(scale);
    browser.type_into("#handle", "+");
    assert_ne!(browser.run(scale), fitted);
    browser.type_into("#handle", "0");
    assert_eq!(browser.run(scale), fitted);
    // One to one, and moved by a part of a pixel: on whole pixels of the screen.
    let off = "const box = document.querySelector('#after img').getBoundingClientRect();
        const off = (at) => Math.abs(at * devicePixelRatio - Math.round(at * devicePixelRatio));
        return Math.max(off(box.left), off(box.top))";
    browser.type_into("#handle", "1");
    assert!(browser.run(off).as_f64().unwrap() < 1e-3, "{}", browser.run(off));
    browser.run("move(0.3, 7.45)");
    assert!(browser.run(off).as_f64().unwrap() < 1e-3, "{}", browser.run(off));
    browser.type_into("#handle", "0");

    // The files are those of the program.
    let program = |strength: &str| {
        let to = folder.path().join("program.jpeg");
        let mut command = Command::new(env!("CARGO_BIN_EXE_irnext"));
        command.arg("restore").args(["--strength", strength, "--overwrite", "-q", "-o"]);
        assert!(command.arg(&to).arg(sample()).status().unwrap().success());
        std::fs::read(to).unwrap()
    };
    browser.click("#download");
    let (name, contents) = downloaded(folder.path());
    assert_eq!(name, "colosseum-in-haze.dehaze.jpg");
    assert!(contents == program("1"));
    browser.run(
        "const range = document.getElementById('strength'); range.value = 40; \
         range.dispatchEvent(new Event('input'))",
    );
    let opacity = browser.run("return document.querySelector('#after img').style.opacity");
    assert_eq!(opacity, "0.4");
    browser.click("#download");
    assert!(downloaded(folder.path()).1 == program("0.4"));
}

#[test]
fn files_that_are_no_photos_or_too_large_are_refused_in_words() {
    let Some((_server, browser, folder)) = opened(&["--largest", "1M"]) else { return };
    let (text, large) = (folder.path().join("notes.txt"), folder.path().join("large.bmp"));
    std::fs::write(&text, "no photo").unwrap();
    std::fs::write(&large, vec![0; 3 << 20]).unwrap();
    choose(&browser, &[&text, &large, &sample()]);
    // A bad one does not keep the next from being restored.
    browser.wait(&format!("{} === 'haze removed'", state(3)));
    let text = browser.run(&format!("return {}", state(1)));
    assert!(text.as_str().unwrap().contains("Not an image"), "{text}");
    let large = browser.run(&format!("return {}", state(2)));
    assert!(large.as_str().unwrap().contains("larger than 1 MB."), "{large}");
    // One that another server would take is taken here, too, in the end.
    browser.click("#photos li:nth-child(3) .photo");
    browser.wait("document.querySelector('#after img').naturalWidth > 0");
}

/// A task chosen for one photo is not that of the next, and a result stays until there is another.
#[test]
fn a_photo_is_restored_again_for_another_task() {
    let Some((server, browser, folder)) = opened(&[]) else { return };
    let other = folder.path().join("other.png");
    irnext::image::Photo::read(sample()).unwrap().write(&other).unwrap();
    choose(&browser, &[&sample()]);
    browser.wait(&format!("{} === 'haze removed'", state(1)));
    let again = |task: &str| {
        browser.run(&format!("document.getElementById('again').value = '{task}'"));
        browser.click("#restore");
    };
    again("derain");
    browser.wait(&format!("{} === 'rain removed'", state(1)));
    choose(&browser, &[&other]);
    browser.wait(&format!("{} === 'haze removed'", state(2)));
    drop(server);
    again("desnow");
    browser.wait(&format!("{}.includes('does not answer')", state(1)));
    browser.wait("document.querySelector('#after img').naturalWidth > 0");
    browser.click("#download");
    assert_eq!(downloaded(folder.path()).0, "colosseum-in-haze.derain.jpg");
    // After the photo that was removed comes its neighbor.
    browser.click("#photos li:nth-child(1) > button:last-child");
    let left = browser.run("return document.activeElement.title");
    assert_eq!(left, "other.png");
}

#[test]
fn formats_that_browsers_do_not_show_are_shown() {
    let Some((_server, browser, folder)) = opened(&[]) else { return };
    let tiff = folder.path().join("scan.tif");
    irnext::image::Photo::read(sample()).unwrap().write(&tiff).unwrap();
    browser.run("document.getElementById('task').value = 'dehaze'");
    choose(&browser, &[&tiff]);
    browser.wait(&format!("{} === 'haze removed'", state(1)));
    browser.wait("document.querySelector('#before img').naturalWidth > 0");
    browser.wait("document.querySelector('#after img').naturalWidth > 0");
}

/// Every line has a small picture; of a file that the browser cannot show, once the server has made
/// one.
#[test]
fn the_list_has_thumbnails() {
    let Some((_server, browser, folder)) = opened(&[]) else { return };
    let (tiff, text) = (folder.path().join("scan.tif"), folder.path().join("notes.txt"));
    irnext::image::Photo::read(sample()).unwrap().write(&tiff).unwrap();
    std::fs::write(&text, "no photo").unwrap();
    choose(&browser, &[&sample(), &tiff, &text]);
    for line in 1..=2 {
        browser.wait(&format!("document.querySelector('li:nth-child({line}) canvas.drawn')"));
        let shown = "return [...document.querySelector('li:nth-child(LINE) canvas')\
                     .getContext('2d').getImageData(48, 48, 1, 1).data]"
            .replace("LINE", &line.to_string());
        let pixel = browser.run(&shown);
        assert!(pixel[0].as_u64() > Some(20) && pixel[3] == 255, "{pixel}");
    }
    browser.wait(&format!("{}.includes('Not an image')", state(3)));
    assert_eq!(browser.run("return document.querySelectorAll('canvas.drawn').length"), 2);
}

/// A photo that is done can be had at another strength while the next one is being restored.
#[test]
fn a_download_does_not_wait_for_the_next_photo() {
    let Some((_server, browser, folder)) = opened(&["--scale", "full"]) else { return };
    let large = folder.path().join("large.png");
    let image = irnext::image::Image::build(3000, 2000, |x, y| [(x ^ y) as f32 / 4096.0; 3]);
    irnext::image::Photo::new(image.unwrap()).write(&large).unwrap();
    browser.run("document.getElementById('task').value = 'derain'");
    choose(&browser, &[&sample(), &large]);
    browser.wait(&format!("{} === 'rain removed'", state(1)));
    browser.wait(&format!("{} === 'restoring…'", state(2)));
    browser.run(
        "const range = document.getElementById('strength'); range.value = 40; \
         range.dispatchEvent(new Event('input'))",
    );
    browser.click("#download");
    assert_eq!(downloaded(folder.path()).0, "colosseum-in-haze.derain.jpg");
    assert_eq!(browser.run(&format!("return {}", state(2))), "restoring…");
}

/// With the keyboard alone: the photo moves once it is enlarged, and a button that is out of use
/// for a while has the focus again after it.
#[test]
fn the_keyboard_is_enough() {
    let Some((_server, browser, folder)) = opened(&[]) else { return };
    choose(&browser, &[&sample()]);
    browser.wait(&format!("{} === 'haze removed'", state(1)));
    browser.wait("document.querySelector('#after img').naturalWidth > 0");
    let place = || browser.run("return document.querySelector('#after img').style.transform");
    let fitted = place();
    // Arrow right, before and after the photo is enlarged.
    browser.type_into("#stage", "\u{E014}");
    assert_eq!(place(), fitted);
    browser.type_into("#stage", "+");
    let enlarged = place();
    browser.type_into("#stage", "\u{E014}");
    let moved = place();
    assert_ne!(moved, enlarged);
    // Arrow left, and back it is. The boundary stays where it was.
    browser.type_into("#stage", "\u{E012}");
    assert_eq!(place(), enlarged);
    let boundary = browser.run("return document.getElementById('handle').ariaValueNow");
    assert_eq!(boundary, "50");
    // Enter.
    browser.run("document.getElementById('again').value = 'derain'");
    browser.type_into("#restore", "\u{E007}");
    browser.wait(&format!("{} === 'rain removed'", state(1)));
    assert_eq!(browser.run("return document.activeElement.id"), "restore");
    browser.type_into("#download", "\u{E007}");
    assert_eq!(downloaded(folder.path()).0, "colosseum-in-haze.derain.jpg");
    browser.wait("document.activeElement.id === 'download'");
}

/// A page that is closed leaves no work behind.
#[test]
fn closing_the_page_while_busy_frees_the_server() {
    let Some((server, browser, folder)) = opened(&["--scale", "full"]) else { return };
    let large = folder.path().join("large.png");
    let image = irnext::image::Image::build(3000, 2000, |x, y| [(x ^ y) as f32 / 4096.0; 3]);
    irnext::image::Photo::new(image.unwrap()).write(&large).unwrap();
    browser.run("document.getElementById('task').value = 'derain'");
    choose(&browser, &[&large, &sample()]);
    let wait = |count: fn(u64) -> bool| {
        let end = Instant::now() + Duration::from_secs(120);
        while !count(server.waiting()) {
            assert!(Instant::now() < end);
            std::thread::sleep(Duration::from_millis(20));
        }
    };
    wait(|waiting| waiting > 0);
    browser.open("about:blank");
    wait(|waiting| waiting == 0);
    // It still serves others.
    browser.open(&server.address);
    choose(&browser, &[&sample()]);
    browser.wait(&format!("{} === 'haze removed'", state(1)));
}
