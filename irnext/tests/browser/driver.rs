//! A browser that is driven by the WebDriver protocol (W3C), as far as the tests need it.

use serde_json::{Value, json};
use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

/// A browser without a window of its own. It ends when it is dropped.
pub struct Browser {
    driver: Child,
    port: u16,
    session: String,
}

/// Whether there is a driver on this machine.
pub fn is_there() -> bool {
    let version = Command::new("chromedriver").arg("--version").output();
    version.is_ok_and(|output| output.status.success())
}

impl Browser {
    /// A browser that saves downloads in `downloads`.
    pub fn start(downloads: &Path) -> Self {
        let mut driver = Command::new("chromedriver")
            .arg("--port=0")
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .expect("is_there() found it");
        let mut lines = BufReader::new(driver.stdout.take().unwrap()).lines();
        let port = lines.find_map(|line| {
            let line = line.unwrap();
            let (_, port) = line.split_once("successfully on port ")?;
            port.trim_end_matches('.').parse().ok()
        });
        // The pipe stays open, so that the driver can go on to write.
        std::thread::spawn(move || lines.for_each(drop));
        let mut browser = Self { driver, port: port.unwrap(), session: String::new() };
        // Without a sandbox and without shared memory, which containers lack.
        let arguments = [
            "--headless=new",
            "--no-sandbox",
            "--disable-dev-shm-usage",
            "--disable-gpu",
            "--window-size=1200,800",
        ];
        let options = json!({
            "args": arguments,
            "prefs": { "download.default_directory": downloads },
        });
        let capabilities = json!({ "alwaysMatch": { "goog:chromeOptions": options } });
        let session = browser.send("POST", "", json!({ "capabilities": capabilities }));
        browser.session = format!("/{}", session["sessionId"].as_str().unwrap());
        browser
    }

    /// Opens a page.
    pub fn open(&self, address: &str) {
        self.send("POST", "/url", json!({ "url": address }));
    }

    /// The result of a script of the page.
    pub fn run(&self, script: &str) -> Value {
        self.send("POST", "/execute/sync", json!({ "script": script, "args": [] }))
    }

    /// Waits until a script returns true.
    pub fn wait(&self, script: &str) {
        let end = Instant::now() + Duration::from_secs(120);
        while self.run(&format!("return Boolean({script})")) != true {
            assert!(
                Instant::now() < end,
                "{script}\n{}",
                self.run("return document.body.innerText")
            );
            std::thread::sleep(Duration::from_millis(50));
        }
    }

    /// Types keys into the first element that `selector` finds; of files, their paths.
    pub fn type_into(&self, selector: &str, keys: &str) {
        let path = format!("/element/{}/value", self.element(selector));
        self.send("POST", &path, json!({ "text": keys }));
    }

    /// Clicks on an element.
    pub fn click(&self, selector: &str) {
        let path = format!("/element/{}/click", self.element(selector));
        self.send("POST", &path, json!({}));
    }

    /// Drags an element to the right, by this number of pixels.
    pub fn drag(&self, selector: &str, dx: i32) {
        let element = json!({ "element-6066-11e4-a52e-4f735466cecf": self.element(selector) });
        let moves = json!([
            { "type": "pointerMove", "duration": 0, "origin": element, "x": 0, "y": 0 },
            { "type": "pointerDown", "button": 0 },
            { "type": "pointerMove", "duration": 100, "origin": "pointer", "x": dx, "y": 0 },
            { "type": "pointerUp", "button": 0 },
        ]);
        let mouse = json!({ "type": "pointer", "id": "mouse", "actions": moves });
        self.send("POST", "/actions", json!({ "actions": [mouse] }));
    }

    fn element(&self, selector: &str) -> String {
        let found = json!({ "using": "css selector", "value": selector });
        let found = self.send("POST", "/element", found);
        found["element-6066-11e4-a52e-4f735466cecf"].as_str().unwrap().into()
    }

    /// The value that the driver answers a command with.
    fn send(&self, method: &str, path: &str, body: Value) -> Value {
        let body = if body.is_null() { String::new() } else { body.to_string() };
        let mut stream = TcpStream::connect(("127.0.0.1", self.port)).unwrap();
        write!(
            stream,
            "{method} /session{}{path} HTTP/1.1\r\nHost: 127.0.0.1:{}\r\nConnection: close\r\n\
             Content-Type: application/json\r\nContent-Length: {}\r\n\r\n{body}",
            self.session,
            self.port,
            body.len()
        )
        .unwrap();
        let (mut reader, mut head) = (BufReader::new(stream), String::new());
        while reader.read_line(&mut head).unwrap() > 2 {}
        let length = head.lines().find_map(|line| {
            let (name, value) = line.split_once(':')?;
            name.eq_ignore_ascii_case("content-length").then(|| value.trim().parse().unwrap())
        });
        let mut answer = vec![0; length.expect("a length")];
        reader.read_exact(&mut answer).unwrap();
        let mut answer: Value = serde_json::from_slice(&answer).unwrap();
        let error = &answer["value"]["error"];
        assert!(error.is_null(), "{method} {path}: {}", answer["value"]["message"]);
        answer["value"].take()
    }
}

impl Drop for Browser {
    fn drop(&mut self) {
        if !self.session.is_empty() && !std::thread::panicking() {
            self.send("DELETE", "", Value::Null);
        }
        let _ = self.driver.kill();
        let _ = self.driver.wait();
    }
}
