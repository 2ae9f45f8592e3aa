//! The photograph that a client sends.

use super::answer::Refusal;
use super::multipart;
use super::parameters::Parameters;
use http_body_util::BodyExt;
use hyper::body::Incoming;
use hyper::header::{CONTENT_LENGTH, CONTENT_TYPE};
use hyper::{HeaderMap, StatusCode};
use std::time::Duration;
use tokio::time::{Instant, timeout_at};

/// The longest pause of a client that sends.
const PAUSE: Duration = Duration::from_secs(20);

/// The time in which a photograph must be here.
const WHOLE: Duration = Duration::from_secs(600);

/// The photograph in a body of at most `largest` bytes. The fields of a form change `parameters`.
pub(super) async fn receive(
    headers: &HeaderMap,
    body: Incoming,
    largest: u64,
    parameters: &mut Parameters,
) -> Result<Vec<u8>, Refusal> {
    let header = |name| headers.get(name).and_then(|value| value.to_str().ok());
    let length = header(CONTENT_LENGTH).and_then(|length| length.parse().ok()).unwrap_or(0);
    let bytes = read(body, length, largest).await?;
    let bad = |reason: String| Refusal::new(StatusCode::BAD_REQUEST, reason);
    let photo = match header(CONTENT_TYPE).and_then(multipart::boundary) {
        None => bytes,
        Some(boundary) => {
            let mut photo = None;
            for field in multipart::fields(&bytes, boundary).map_err(bad)? {
                if field.is_file {
                    if photo.replace(field.value).is_some() {
                        return Err(bad("send one photo at a time".into()));
                    }
                } else {
                    let value = String::from_utf8_lossy(field.value);
                    parameters.set(field.name, &value).map_err(bad)?;
                }
            }
            photo.unwrap_or_default().to_vec()
        }
    };
    match photo.is_empty() {
        true => Err(bad("there is no photo in the request".into())),
        false => Ok(photo),
    }
}

/// All bytes of `body`.
async fn read(mut body: Incoming, length: u64, largest: u64) -> Result<Vec<u8>, Refusal> {
    let too_large = || {
        let reason = format!("the file is larger than {} MB", largest / 1_000_000);
        Refusal::new(StatusCode::PAYLOAD_TOO_LARGE, reason)
    };
    if length > largest {
        return Err(too_large());
    }
    let end = Instant::now() + WHOLE;
    let mut bytes = Vec::new();
    loop {
        let next = timeout_at(end.min(Instant::now() + PAUSE), body.frame()).await;
        let slow = |_| Refusal::new(StatusCode::REQUEST_TIMEOUT, "the photo came too slowly");
        match next.map_err(slow)? {
            None => return Ok(bytes),
            Some(Err(_)) => {
                return Err(Refusal::new(StatusCode::BAD_REQUEST, "the request was cut short"));
            }
            Some(Ok(frame)) => {
                let data = frame.into_data().unwrap_or_default();
                if (bytes.len() + data.len()) as u64 > largest {
                    return Err(too_large());
                }
                bytes.extend_from_slice(&data);
            }
        }
    }
}
