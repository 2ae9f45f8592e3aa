//! Answers: the page's files, results, and refusals.

use super::page::PageFile;
use super::queue::{Finished, Update, Updates};
use crate::error::{Error, Result};
use crate::image::Format;
use crate::jobs::{JobOutcome, JobReport};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use http_body_util::combinators::BoxBody;
use http_body_util::{BodyExt, Full};
use hyper::body::{Body, Bytes, Frame};
use hyper::header::{ACCEPT, ALLOW, CACHE_CONTROL, CONTENT_TYPE, HeaderValue, RETRY_AFTER};
use hyper::{HeaderMap, Method, Response, StatusCode};
use serde_json::{Map, Value, json};
use std::collections::VecDeque;
use std::convert::Infallible;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

/// The answer to a request.
pub(super) type Answer = Response<BoxBody<Bytes, Infallible>>;

/// The media type of a result in frames.
const FRAMES: &str = "application/x-irnext-frames";

/// The header of a result that has the report on it, as JSON.
const REPORT: &str = "x-irnext-report";

/// What every answer says of itself: nothing else is loaded, and nothing shows this page inside of
/// another one.
const HEADERS: [(&str, &str); 5] = [
    (
        "content-security-policy",
        "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' blob:; \
         connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
    ),
    ("cross-origin-resource-policy", "same-origin"),
    ("cross-origin-opener-policy", "same-origin"),
    ("referrer-policy", "no-referrer"),
    ("x-content-type-options", "nosniff"),
];

fn answer(status: StatusCode, media_type: &str, body: impl Into<Bytes>) -> Answer {
    with_body(status, media_type, Full::new(body.into()).boxed())
}

fn with_body(status: StatusCode, media_type: &str, body: BoxBody<Bytes, Infallible>) -> Answer {
    let mut answer = Response::new(body);
    *answer.status_mut() = status;
    let headers = answer.headers_mut();
    if let Ok(media_type) = HeaderValue::from_str(media_type) {
        headers.insert(CONTENT_TYPE, media_type);
    }
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    for (name, value) in HEADERS {
        headers.insert(name, HeaderValue::from_static(value));
    }
    answer
}

/// A file of the page.
pub(super) fn file(file: PageFile) -> Answer {
    answer(StatusCode::OK, file.media_type, file.contents)
}

/// A JSON value.
pub(super) fn json(value: Value) -> Answer {
    answer(StatusCode::OK, "application/json", value.to_string())
}

/// A request that is not answered as asked.
#[derive(Debug)]
pub(super) struct Refusal {
    status: StatusCode,
    reason: String,
    header: Option<(hyper::header::HeaderName, HeaderValue)>,
}

impl Refusal {
    pub fn new(status: StatusCode, reason: impl Into<String>) -> Self {
        Self { status, reason: reason.into(), header: None }
    }

    /// For a method that a page does not have.
    pub fn method(allowed: &[Method]) -> Self {
        let names: Vec<&str> = allowed.iter().map(Method::as_str).collect();
        let names = names.join(", ");
        let refusal = Self::new(StatusCode::METHOD_NOT_ALLOWED, format!("use {names}"));
        Self { header: HeaderValue::from_str(&names).ok().map(|value| (ALLOW, value)), ..refusal }
    }

    /// If too many photographs wait already.
    pub fn busy() -> Self {
        let refusal = Self::new(StatusCode::SERVICE_UNAVAILABLE, "too many photos are waiting");
        Self { header: Some((RETRY_AFTER, HeaderValue::from_static("5"))), ..refusal }
    }

    /// If the server is about to end.
    pub fn stopping() -> Self {
        Self::new(StatusCode::SERVICE_UNAVAILABLE, "the server is stopping")
    }

    /// For a photograph that cannot be restored. Says nothing of the machine.
    fn of_error(error: &Error) -> Self {
        match error {
            Error::Image { reason, .. } => {
                Self::new(StatusCode::UNPROCESSABLE_ENTITY, reason.clone())
            }
            Error::Memory { .. } => Self::new(StatusCode::PAYLOAD_TOO_LARGE, error.to_string()),
            Error::NotFinite { .. } => {
                Self::new(StatusCode::INTERNAL_SERVER_ERROR, error.to_string())
            }
            _ => Self::new(StatusCode::INTERNAL_SERVER_ERROR, "the photo cannot be restored"),
        }
    }

    fn json(&self) -> Value {
        json!({ "error": self.reason })
    }

    pub fn into_answer(self) -> Answer {
        let mut answer = answer(self.status, "application/json", self.json().to_string());
        if let Some((name, value)) = self.header {
            answer.headers_mut().insert(name, value);
        }
        answer
    }
}

/// The form of a result.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    /// The image file itself, with the report in a header.
    Image,
    /// The report as JSON, with the file in base64.
    Json,
    /// News as they come, then the report and the file: lines of JSON, each followed by as many
    /// bytes as its member `bytes` says.
    Frames,
}

impl Kind {
    /// The one that a client accepts.
    pub fn accepted(headers: &HeaderMap) -> Self {
        let accepts = |kind: &str| {
            let mut values = headers.get_all(ACCEPT).iter();
            values.any(|value| value.to_str().is_ok_and(|value| value.contains(kind)))
        };
        match (accepts(FRAMES), accepts("application/json")) {
            (true, _) => Self::Frames,
            (_, true) => Self::Json,
            _ => Self::Image,
        }
    }
}

/// The answer of this `kind` with the result of a job, before which `ahead` others are restored.
pub(super) async fn of_job(
    mut updates: Updates,
    kind: Kind,
    ahead: usize,
) -> Result<Answer, Refusal> {
    if kind == Kind::Frames {
        let first = frame(json!({ "state": "waiting", "ahead": ahead }), None);
        let frames = Frames { updates: Some(updates), ready: first };
        return Ok(with_body(StatusCode::OK, FRAMES, frames.boxed()));
    }
    let restored = loop {
        match updates.next().await {
            Some(Update::Progress(_)) => {}
            Some(Update::Done(outcome)) => break *outcome,
            Some(Update::Refused) | None => return Err(Refusal::stopping()),
        }
    };
    let Finished { bytes, format, report, .. } =
        restored.map_err(|error| Refusal::of_error(&error))?;
    let report = members(&report, format);
    Ok(match kind {
        Kind::Json => {
            let mut report = report;
            report.insert("image".into(), STANDARD.encode(bytes).into());
            json(report.into())
        }
        _ => {
            let mut answer = answer(StatusCode::OK, media_type(format), bytes);
            if let Ok(report) = HeaderValue::from_str(&ascii(&Value::from(report).to_string())) {
                answer.headers_mut().insert(REPORT, report);
            }
            answer
        }
    })
}

/// The members of a report, with the reason in words and the media type of the result.
fn members(report: &JobReport, format: Format) -> Map<String, Value> {
    let mut members = report.to_json();
    let reason = report.classification.as_ref().map(|seen| match report.outcome {
        JobOutcome::Restored => seen.to_string(),
        _ => seen.verdict(),
    });
    members.insert("reason".into(), reason.into());
    members.insert("type".into(), media_type(format).into());
    members
}

fn media_type(format: Format) -> &'static str {
    match format {
        Format::Png => "image/png",
        Format::Jpeg => "image/jpeg",
        Format::WebP => "image/webp",
        Format::Bmp => "image/bmp",
        Format::Tiff => "image/tiff",
        Format::Pgm => "image/x-portable-graymap",
        Format::Ppm => "image/x-portable-pixmap",
        Format::Pam | Format::Pnm => "image/x-portable-anymap",
    }
}

/// JSON whose characters are all of ASCII, as headers need it.
fn ascii(json: &str) -> String {
    let mut units = [0; 2];
    json.chars().fold(String::new(), |mut text, c| {
        match c.is_ascii() {
            true => text.push(c),
            false => {
                for unit in c.encode_utf16(&mut units) {
                    text.push_str(&format!("\\u{unit:04x}"));
                }
            }
        }
        text
    })
}

/// A line of JSON, and the bytes that belong to it.
fn frame(value: Value, bytes: Option<Vec<u8>>) -> VecDeque<Bytes> {
    let mut value = value;
    if let Some(bytes) = &bytes {
        value["bytes"] = bytes.len().into();
    }
    let line = Bytes::from(format!("{value}\n"));
    [Some(line), bytes.map(Bytes::from)].into_iter().flatten().collect()
}

/// The news about a job, as the body of an answer.
struct Frames {
    /// Where they come from; none after the last.
    updates: Option<Updates>,
    /// Those that have come.
    ready: VecDeque<Bytes>,
}

impl Frames {
    fn take(&mut self, update: Option<Update>) {
        let refused = |refusal: Refusal| {
            let mut value = refusal.json();
            value["state"] = "failed".into();
            frame(value, None)
        };
        self.ready = match update {
            Some(Update::Progress(part)) => {
                self.ready = frame(json!({ "state": "working", "progress": part }), None);
                return;
            }
            Some(Update::Done(outcome)) => match *outcome {
                Ok(finished) => done(finished),
                Err(error) => refused(Refusal::of_error(&error)),
            },
            Some(Update::Refused) | None => refused(Refusal::stopping()),
        };
        self.updates = None;
    }
}

impl Body for Frames {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        loop {
            if let Some(bytes) = self.ready.pop_front() {
                return Poll::Ready(Some(Ok(Frame::data(bytes))));
            }
            let Some(updates) = &mut self.updates else { return Poll::Ready(None) };
            let update = ready!(updates.poll_next(cx));
            self.take(update);
        }
    }
}

/// The last frames: the pictures before and after, if asked for, and the result.
fn done(finished: Finished) -> VecDeque<Bytes> {
    let Finished { bytes, format, report, previews } = finished;
    let mut frames = VecDeque::new();
    for (which, format, bytes) in previews {
        let value = json!({ "state": "preview", "of": which, "type": media_type(format) });
        frames.extend(frame(value, Some(bytes)));
    }
    let mut members = members(&report, format);
    members.insert("state".into(), "done".into());
    frames.extend(frame(members.into(), Some(bytes)));
    frames
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn headers_are_ascii() {
        assert_eq!(ascii("{\"a\":\"16 → 8, 𝄞\"}"), r#"{"a":"16 \u2192 8, \ud834\udd1e"}"#);
        let escaped: Value = serde_json::from_str(&ascii("\"é𝄞\"")).unwrap();
        assert_eq!(escaped, "é𝄞");
    }

    #[test]
    fn refusals_say_nothing_of_the_machine() {
        let path = std::path::Path::new("/home/somebody/secret.jpg");
        for error in [
            Error::image(path, "the file is empty"),
            Error::data(path, "is not a folder"),
            Error::io(path)(std::io::Error::other("/dev/nvidia0")),
            Error::Config { reason: "/etc/irnext".into() },
        ] {
            let refusal = Refusal::of_error(&error);
            assert!(!refusal.reason.contains('/'), "{}", refusal.reason);
        }
    }
}
