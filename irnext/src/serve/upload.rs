//! The photograph that a client sends.

use super::answer::Refusal;
use super::multipart;
use super::parameters::Parameters;
use super::queue::Queue;
use http_body_util::BodyExt;
use hyper::body::Incoming;
use hyper::header::{CONTENT_LENGTH, CONTENT_TYPE};
use hyper::{HeaderMap, StatusCode};
use std::time::{Duration, Instant};
use tokio::time::timeout;

/// The longest pause of a client that sends.
const PAUSE: Duration = Duration::from_secs(20);

/// The time in which a photograph must be here.
const WHOLE: Duration = Duration::from_secs(600);

/// The time between two looks at whether to wait on.
const INTERVAL: Duration = Duration::from_millis(50);

/// The longest that a refused photograph is read on, and the pause after which it is not.
const DRAIN: Duration = Duration::from_secs(5);
const DRAIN_PAUSE: Duration = Duration::from_millis(500);

/// The photograph in a body of at most `largest` bytes, unless `queue` closes meanwhile. The fields
/// of a form change `parameters`.
pub(super) async fn receive(
    headers: &HeaderMap,
    body: Incoming,
    largest: u64,
    queue: &Queue,
    parameters: &mut Parameters,
) -> Result<Vec<u8>, Refusal> {
    let header = |name| headers.get(name).and_then(|value| value.to_str().ok());
    let length = header(CONTENT_LENGTH).and_then(|length| length.parse().ok()).unwrap_or(0);
    let bytes = read(body, length, largest, queue).await?;
    let bad = |reason: String| Refusal::new(StatusCode::BAD_REQUEST, reason);
    let photo = match header(CONTENT_TYPE).map(multipart::boundary).transpose().map_err(bad)? {
        None | Some(None) => bytes,
        Some(Some(boundary)) => {
            let mut photo = None;
            let mut has_file = false;
            for field in multipart::fields(&bytes, &boundary).map_err(bad)? {
                has_file |= field.is_file;
                if !field.is_file {
                    let value = String::from_utf8_lossy(field.value);
                    parameters.set(&field.name, &value).map_err(bad)?;
                } else if !field.value.is_empty() && photo.replace(field.value).is_some() {
                    return Err(bad("send one photo at a time".into()));
                }
            }
            if !has_file {
                return Err(bad("there is no photo in the form".into()));
            }
            photo.unwrap_or_default().to_vec()
        }
    };
    match photo.is_empty() {
        true => Err(bad("the file is empty".into())),
        false => Ok(photo),
    }
}

/// All bytes of `body`.
async fn read(
    mut body: Incoming,
    length: u64,
    largest: u64,
    queue: &Queue,
) -> Result<Vec<u8>, Refusal> {
    let too_large = || {
        let reason = format!("the file is larger than {} MB", largest / 1_000_000);
        Refusal::new(StatusCode::PAYLOAD_TOO_LARGE, reason)
    };
    if length > largest {
        drain(body).await;
        return Err(too_large());
    }
    let start = Instant::now();
    let (mut bytes, mut heard) = (Vec::new(), start);
    loop {
        let Ok(next) = timeout(INTERVAL, body.frame()).await else {
            if queue.is_closed() {
                return Err(Refusal::stopping());
            }
            if heard.elapsed() > PAUSE || start.elapsed() > WHOLE {
                return Err(Refusal::new(StatusCode::REQUEST_TIMEOUT, "the photo came too slowly"));
            }
            continue;
        };
        heard = Instant::now();
        let frame = match next {
            None => return Ok(bytes),
            Some(Ok(frame)) => frame,
            Some(Err(_)) => {
                return Err(Refusal::new(StatusCode::BAD_REQUEST, "the request was cut short"));
            }
        };
        let data = frame.into_data().unwrap_or_default();
        if (bytes.len() + data.len()) as u64 > largest {
            drop(bytes);
            drain(body).await;
            return Err(too_large());
        }
        bytes.extend_from_slice(&data);
    }
}

/// Reads on for a moment: many clients look for an answer only after they have sent everything.
async fn drain(mut body: Incoming) {
    let more = async { while let Ok(Some(Ok(_))) = timeout(DRAIN_PAUSE, body.frame()).await {} };
    let _ = timeout(DRAIN, more).await;
}
