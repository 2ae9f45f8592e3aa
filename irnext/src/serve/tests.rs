//! The server, over real connections.

use super::*;
use crate::compute::Compute;
use crate::degrade::Task;
use crate::image::{Format, Image, Photo, WriteOptions};
use crate::restore::{MemoryLimit, Scale};
use serde_json::Value;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{Shutdown, TcpStream};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread::{Scope, scope};
use std::time::Duration;

/// An answer: its status, its headers in lower case, its body.
struct Reply {
    status: u16,
    head: String,
    body: Vec<u8>,
}

impl Reply {
    fn header(&self, name: &str) -> Option<&str> {
        self.head.lines().find_map(|line| line.strip_prefix(&format!("{name}: ")))
    }

    fn json(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap()
    }
}

/// Runs `f` with the address of a server.
fn serving<T>(server: impl FnOnce(Server) -> Server, f: impl FnOnce(SocketAddr) -> T) -> T {
    let restorer = Restorer::detecting(Compute::default()).unwrap();
    serving_by(&restorer, server, f).0
}

/// Like [`serving`], by this restorer. Also returns the number of photographs that were restored.
fn serving_by<T>(
    restorer: &Restorer,
    server: impl FnOnce(Server) -> Server,
    f: impl FnOnce(SocketAddr) -> T,
) -> (T, usize) {
    let (server, stop) = (server(Server::bind(0).unwrap()), AtomicBool::new(false));
    let address = server.address();
    let restored = AtomicUsize::new(0);
    let result = scope(|scope: &Scope<'_, '_>| {
        let running = scope.spawn(|| {
            server.run(restorer, &stop, &|outcome| {
                restored.fetch_add(usize::from(outcome.is_ok()), Ordering::Relaxed);
            })
        });
        let result = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| f(address)));
        stop.store(true, Ordering::Relaxed);
        running.join().unwrap().unwrap();
        result.unwrap_or_else(|panic| std::panic::resume_unwind(panic))
    });
    (result, restored.into_inner())
}

/// A restorer that takes seconds for a large photograph.
fn slow() -> Restorer {
    Restorer::detecting(Compute::default()).unwrap().at_scale(Scale::Full)
}

fn connect(to: SocketAddr) -> TcpStream {
    let client = TcpStream::connect(to).unwrap();
    client.set_read_timeout(Some(Duration::from_secs(120))).unwrap();
    client
}

/// The answer that a client reads, to the end of the connection.
fn reply(client: TcpStream) -> Reply {
    let (mut reader, mut head) = (BufReader::new(client), String::new());
    while reader.read_line(&mut head).unwrap() > 2 {}
    let mut body = Vec::new();
    reader.read_to_end(&mut body).unwrap();
    let head = head.to_lowercase();
    let status = head.split(' ').nth(1).unwrap_or_default().parse().unwrap_or(0);
    let chunked = head.contains("transfer-encoding: chunked");
    Reply { status, head, body: if chunked { unchunked(&body) } else { body } }
}

fn unchunked(mut body: &[u8]) -> Vec<u8> {
    let mut whole = Vec::new();
    loop {
        let end = body.windows(2).position(|pair| pair == b"\r\n").unwrap();
        let len = std::str::from_utf8(&body[..end]).unwrap();
        let len = usize::from_str_radix(len, 16).unwrap();
        if len == 0 {
            return whole;
        }
        whole.extend_from_slice(&body[end + 2..][..len]);
        body = &body[end + 4 + len..];
    }
}

/// Sends a request with these further headers, and reads the answer.
fn ask(to: SocketAddr, request: &str, headers: &[(&str, &str)], body: &[u8]) -> Reply {
    let mut client = connect(to);
    let mut head = format!("{request} HTTP/1.1\r\nConnection: close\r\n");
    if !headers.iter().any(|(name, _)| *name == "Host") {
        head.push_str(&format!("Host: {to}\r\n"));
    }
    for (name, value) in headers {
        head.push_str(&format!("{name}: {value}\r\n"));
    }
    if !body.is_empty() {
        head.push_str(&format!("Content-Length: {}\r\n", body.len()));
    }
    client.write_all(head.as_bytes()).unwrap();
    client.write_all(b"\r\n").unwrap();
    // A server that refuses at once reads no further.
    let _ = client.write_all(body);
    reply(client)
}

fn photo(width: usize, height: usize) -> Vec<u8> {
    let image = Image::from_fn(width, height, |x, y| [(x * 7 + y * 3) as f32 % 255.0 / 255.0; 3]);
    Photo::new(image).to_bytes(Format::Png, &WriteOptions::default()).unwrap().0
}

/// The JSON of each frame, and its bytes.
fn frames(mut body: &[u8]) -> Vec<(Value, Vec<u8>)> {
    let mut frames = Vec::new();
    while !body.is_empty() {
        let end = body.iter().position(|&byte| byte == b'\n').unwrap();
        let value: Value = serde_json::from_slice(&body[..end]).unwrap();
        let len = value["bytes"].as_u64().unwrap_or(0) as usize;
        frames.push((value, body[end + 1..][..len].to_vec()));
        body = &body[end + 1 + len..];
    }
    frames
}

#[test]
fn a_photo_comes_back_as_the_program_restores_it() {
    let photo = photo(96, 64);
    let expected = crate::jobs::restore_bytes(
        Path::new("a"),
        photo.clone(),
        None,
        &Restorer::for_task(Task::Derain, Compute::default()).unwrap(),
        None,
        &crate::jobs::Settings::default(),
        &|_| (),
    );
    let expected = expected.unwrap();
    serving(
        |server| server,
        |to| {
            let image = ask(to, "POST /restore?task=derain", &[], &photo);
            assert_eq!((image.status, image.header("content-type")), (200, Some("image/png")));
            assert!(image.body == expected.bytes);
            let report: Value =
                serde_json::from_str(image.header("x-irnext-report").unwrap()).unwrap();
            assert_eq!((&report["outcome"], &report["width"]), (&"restored".into(), &96.into()));

            let accept = [("Accept", "application/json")];
            let json = ask(to, "POST /restore?task=derain", &accept, &photo).json();
            use base64::Engine;
            let decoded = base64::engine::general_purpose::STANDARD
                .decode(json["image"].as_str().unwrap())
                .unwrap();
            assert!(decoded == expected.bytes && json["task"] == "derain");

            let accept = [("Accept", "application/x-irnext-frames")];
            let framed = ask(to, "POST /restore?task=derain&preview&format=tif", &accept, &photo);
            let frames = frames(&framed.body);
            let states: Vec<&str> =
                frames.iter().map(|(value, _)| value["state"].as_str().unwrap()).collect();
            assert_eq!(states, ["waiting", "working", "preview", "preview", "done"]);
            assert_eq!(frames[4].0["type"], "image/tiff");
            for (_, bytes) in &frames[2..] {
                let size = Photo::from_bytes(bytes, &Default::default()).unwrap().image();
                assert_eq!((size.width(), size.height()), (96, 64));
            }

            let form = [
                &b"--x\r\nContent-Disposition: form-data; name=\"task\"\r\n\r\nderain\r\n\
                   --x\r\nContent-Disposition: form-data; name=\"file\"; filename=\"a.png\"\
                   \r\n\r\n"[..],
                &photo,
                b"\r\n--x--\r\n",
            ]
            .concat();
            let kind = [("Content-Type", "multipart/form-data; boundary=x")];
            assert!(ask(to, "POST /restore", &kind, &form).body == expected.bytes);
        },
    );
}

#[test]
fn the_page_loads_nothing_from_elsewhere() {
    serving(
        |server| server,
        |to| {
            let page = ask(to, "GET /", &[], b"");
            assert_eq!(
                (page.status, page.header("content-type")),
                (200, Some("text/html; charset=utf-8"))
            );
            let policy = page.header("content-security-policy").unwrap();
            assert!(policy.starts_with("default-src 'none'") && !policy.contains("unsafe"));
            let text = String::from_utf8(page.body).unwrap();
            assert!(
                !text.contains("://") && !text.contains(" style=") && !text.contains("onclick")
            );
            for part in text.split("=\"/").skip(1).map(|rest| rest.split('"').next().unwrap()) {
                let part = ask(to, &format!("GET /{part}"), &[], b"");
                assert_eq!(part.status, 200);
                let body = String::from_utf8(part.body).unwrap().replace("http://www.w3.org", "");
                assert!(!body.contains("://"), "{body}");
            }
            assert_eq!(ask(to, "GET /health", &[], b"").json()["waiting"], 0);
            let head = ask(to, "HEAD /", &[], b"");
            assert_eq!((head.status, head.body.len()), (200, 0));
        },
    );
}

#[test]
fn what_is_asked_wrongly_is_refused_with_a_reason() {
    let photo = photo(8, 8);
    serving(
        |server| server.taking_up_to(1000),
        |to| {
            let elsewhere = [("Host", "evil.example")];
            let foreign = [("Origin", "http://evil.example")];
            type Headers<'a> = &'a [(&'a str, &'a str)];
            let refusals: [(&str, Headers<'_>, &[u8], u16, &str); 12] = [
                ("GET /", &elsewhere, b"", 403, "its own machine"),
                ("POST /restore", &foreign, &photo, 403, "another page"),
                ("GET /restore", &[], b"", 405, "use POST"),
                ("POST /", &[], b"", 405, "use GET"),
                ("GET /../../etc/passwd", &[], b"", 404, "no such page"),
                ("GET /%2e%2e/Cargo.toml", &[], b"", 404, "no such page"),
                ("POST /restore?task=x", &[], &photo, 400, "task: expected"),
                ("POST /restore?input=/etc/passwd", &[], &photo, 400, "unknown parameter"),
                ("POST /restore", &[], b"", 400, "the file is empty"),
                ("POST /restore", &[], b"hello", 422, "not an image"),
                ("POST /restore", &[], &[0; 1001], 413, "larger than"),
                (
                    "POST /restore",
                    &[("Content-Type", "multipart/form-data; boundary=x")],
                    b"--x",
                    400,
                    "malformed",
                ),
            ];
            for (request, headers, body, status, reason) in refusals {
                let reply = ask(to, request, headers, body);
                let json = reply.json();
                let error = json["error"].as_str().unwrap();
                assert_eq!(reply.status, status, "{request}: {error}");
                assert!(error.contains(reason), "{request}: {error}");
                assert!(!error.contains('/'), "{error}");
            }
            // A form may have no photo.
            let body =
                b"--x\r\nContent-Disposition: form-data; name=\"task\"\r\n\r\nderain\r\n--x--\r\n";
            let form = [("Content-Type", "multipart/form-data; boundary=x")];
            let refused = ask(to, "POST /restore", &form, body);
            assert!(refused.json()["error"].as_str().unwrap().contains("no photo in the form"));
            // One that says to be too large is not read to the end.
            let mut client = connect(to);
            let head = format!("Host: {to}\r\nContent-Length: 1001\r\n\r\n");
            write!(client, "POST /restore HTTP/1.1\r\n{head}only this").unwrap();
            assert_eq!(reply(client).status, 413);
            // Nor waited for.
            let mut client = connect(to);
            let head = format!("Host: {to}\r\nContent-Length: 99999999999999\r\n\r\n");
            write!(client, "POST /restore HTTP/1.1\r\n{head}").unwrap();
            assert_eq!(reply(client).status, 413);
            // A body without a length is counted as it comes.
            let mut client = connect(to);
            write!(
                client,
                "POST /restore HTTP/1.1\r\nHost: {to}\r\nTransfer-Encoding: chunked\r\n\r\n"
            )
            .unwrap();
            for _ in 0..3 {
                let _ = write!(client, "190\r\n{}\r\n", "x".repeat(400));
            }
            assert_eq!(reply(client).status, 413);
            // One that ends early is no photo.
            let mut client = connect(to);
            write!(
                client,
                "POST /restore HTTP/1.1\r\nHost: {to}\r\nContent-Length: 100\r\n\r\nabc"
            )
            .unwrap();
            client.shutdown(Shutdown::Write).unwrap();
            assert!([0, 400].contains(&reply(client).status));
            // No HTTP at all.
            let mut client = connect(to);
            client.write_all(&[0x16, 0x03, 0x01, 0x00, 0xFF, b'\r', b'\n', b'\r', b'\n']).unwrap();
            assert!([0, 400].contains(&reply(client).status));
            assert_eq!(ask(to, "GET /health", &[], b"").status, 200);
        },
    );
}

/// Memory is bounded for photographs that come over HTTP, too.
#[test]
fn a_photo_that_does_not_fit_is_refused_with_the_figure() {
    let restorer = Restorer::detecting(Compute::default()).unwrap();
    let restorer = restorer.within(MemoryLimit::limited_to(1 << 20));
    // Even if it would be left alone.
    let ask = |to| ask(to, "POST /restore", &[], &photo(400, 300));
    let (reply, restored) = serving_by(&restorer, |server| server, ask);
    let json = reply.json();
    let error = json["error"].as_str().unwrap();
    assert!(error.contains("400×300 pixels takes at least "), "{error}");
    assert!(error.contains(" MB to restore, and --memory allows 1 MB"), "{error}");
    assert_eq!((reply.status, restored), (413, 0));
}

/// Many clients at once: none is lost, and none gets another's photograph.
#[test]
fn clients_at_once_get_their_own_photographs() {
    serving(
        |server| server,
        |to| {
            scope(|scope| {
                for client in 0..6 {
                    scope.spawn(move || {
                        for request in 0..3 {
                            let (width, height) = (20 + client, 30 + request);
                            let photo = photo(width, height);
                            let reply = ask(to, "POST /restore?task=derain", &[], &photo);
                            assert_eq!(reply.status, 200, "{}", reply.head);
                            let photo =
                                Photo::from_bytes(&reply.body, &Default::default()).unwrap();
                            assert_eq!(photo.sides(), (width, height));
                        }
                    });
                }
            });
            assert_eq!(ask(to, "GET /health", &[], b"").json()["waiting"], 0);
        },
    );
}

/// The photograph of a client that leaves is given up, so that the others need not wait for it.
#[test]
fn a_client_that_leaves_frees_its_place() {
    let (large, restorer) = (photo(3000, 2000), slow());
    let ((), restored) = serving_by(
        &restorer,
        |server| server,
        |to| {
            let mut client = connect(to);
            let length = large.len();
            let head = format!("Host: {to}\r\nContent-Length: {length}\r\n\r\n");
            write!(client, "POST /restore?task=derain HTTP/1.1\r\n{head}").unwrap();
            client.write_all(&large).unwrap();
            let waiting = || ask(to, "GET /health", &[], b"").json()["waiting"].as_u64().unwrap();
            while waiting() == 0 {
                std::thread::sleep(Duration::from_millis(10));
            }
            drop(client);
            while waiting() > 0 {
                std::thread::sleep(Duration::from_millis(10));
            }
        },
    );
    assert_eq!(restored, 0);
}

/// So is that of one that waits behind another: it frees its slot at once.
#[test]
fn a_client_that_leaves_the_queue_frees_its_slot() {
    let (large, small) = (photo(3000, 2000), photo(40, 30));
    serving_by(
        &slow(),
        |server| server,
        |to| {
            let send = |photo: &[u8]| {
                let mut client = connect(to);
                let head = format!("Host: {to}\r\nContent-Length: {}\r\n\r\n", photo.len());
                write!(client, "POST /restore?task=derain HTTP/1.1\r\n{head}").unwrap();
                client.write_all(photo).unwrap();
                client
            };
            let waits_for = |count: u64| {
                while ask(to, "GET /health", &[], b"").json()["waiting"] != count {
                    std::thread::sleep(Duration::from_millis(5));
                }
            };
            let working = send(&large);
            waits_for(1);
            let waiting: Vec<TcpStream> = (0..5).map(|_| send(&small)).collect();
            waits_for(6);
            drop(waiting);
            waits_for(1);
            drop(working);
            waits_for(0);
        },
    );
}

/// One that was restored before need not wait, to be had at another strength, while another is
/// being restored.
#[test]
fn a_photo_beside_the_others_does_not_wait_for_them() {
    let (large, small) = (photo(3000, 2000), photo(40, 30));
    serving_by(
        &slow(),
        |server| server,
        |to| {
            let mut working = connect(to);
            let head = format!("Host: {to}\r\nContent-Length: {}\r\n\r\n", large.len());
            write!(working, "POST /restore?task=derain HTTP/1.1\r\n{head}").unwrap();
            working.write_all(&large).unwrap();
            while ask(to, "GET /health", &[], b"").json()["waiting"] != 1 {
                std::thread::sleep(Duration::from_millis(5));
            }
            let query = "POST /restore?task=derain&strength=0.4&beside";
            let beside = ask(to, query, &[], &small);
            assert_eq!(beside.status, 200);
            let left = ask(to, "GET /health", &[], b"").json()["waiting"].clone();
            assert_eq!(left, 1, "the large one is not done yet");
            drop(working);
            let alone = ask(to, "POST /restore?task=derain&strength=0.4", &[], &small);
            assert!(alone.body == beside.body);
        },
    );
}

/// A photograph that is still coming is refused when the server ends.
#[test]
fn a_slow_upload_does_not_hold_up_the_end() {
    let mut client = None;
    serving(
        |server| server,
        |to| {
            let mut slow = connect(to);
            let head = format!("Host: {to}\r\nContent-Length: 1000\r\n\r\n");
            write!(slow, "POST /restore HTTP/1.1\r\n{head}begins").unwrap();
            while ask(to, "GET /health", &[], b"").json()["waiting"] != 1 {
                std::thread::sleep(Duration::from_millis(5));
            }
            client = Some(slow);
        },
    );
    // The server has ended.
    assert_eq!(reply(client.unwrap()).status, 503);
}

/// Whoever waits is told when the server ends; the photograph at hand is finished.
#[test]
fn a_server_that_ends_answers_everybody() {
    let restorer = slow();
    let (server, stop) = (Server::bind(0).unwrap(), AtomicBool::new(false));
    let (to, large, small) = (server.address(), photo(2000, 1500), photo(40, 30));
    scope(|scope| {
        let running = scope.spawn(|| server.run(&restorer, &stop, &|_| ()));
        let mut first = connect(to);
        let head = format!("Host: {to}\r\nContent-Length: {}\r\n", large.len());
        let accept = "Accept: application/x-irnext-frames\r\nConnection: close\r\n\r\n";
        write!(first, "POST /restore?task=derain HTTP/1.1\r\n{head}{accept}").unwrap();
        first.write_all(&large).unwrap();
        let (mut news, mut byte) = (Vec::new(), [0]);
        while !news.ends_with(b"working") {
            first.read_exact(&mut byte).unwrap();
            news.push(byte[0]);
        }
        let ask_too = || ask(to, "POST /restore?task=derain", &[], &small).status;
        let others: Vec<_> = (0..2).map(|_| scope.spawn(ask_too)).collect();
        while ask(to, "GET /health", &[], b"").json()["waiting"] != 3 {
            std::thread::sleep(Duration::from_millis(5));
        }
        stop.store(true, Ordering::Relaxed);
        running.join().unwrap().unwrap();
        let mut rest = Vec::new();
        first.read_to_end(&mut rest).unwrap();
        let is_done = rest.windows(12).any(|part| part == b"\"outcome\":\"r");
        assert!(is_done, "{}", String::from_utf8_lossy(&rest[..rest.len().min(300)]));
        for other in others {
            assert_eq!(other.join().unwrap(), 503);
        }
    });
    assert!(TcpStream::connect(to).is_err());
}

#[test]
fn a_port_that_is_taken_is_named() {
    let first = Server::bind(0).unwrap();
    let Err(Error::Config { reason }) = Server::bind(first.address().port()) else { panic!() };
    assert!(reason.contains("--port 0"), "{reason}");
}
