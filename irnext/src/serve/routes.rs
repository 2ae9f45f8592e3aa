//! Which request gets which answer.

use super::answer::{Answer, Kind, Refusal};
use super::parameters::Parameters;
use super::queue::Queue;
use super::{answer, origin, page, upload};
use hyper::body::Incoming;
use hyper::{Method, Request, StatusCode};
use serde_json::json;

/// What the answers depend on.
pub(super) struct Routes {
    pub queue: Queue,
    /// The port that the server listens on.
    pub port: u16,
    /// The largest upload, in bytes.
    pub largest: u64,
}

impl Routes {
    /// The answer to a request.
    pub async fn answer(&self, request: Request<Incoming>) -> Answer {
        let found = self.find(request).await;
        found.unwrap_or_else(Refusal::into_answer)
    }

    async fn find(&self, request: Request<Incoming>) -> Result<Answer, Refusal> {
        if !origin::is_local(request.headers(), self.port) {
            let reason = "this server answers by the names of its own machine only";
            return Err(Refusal::new(StatusCode::FORBIDDEN, reason));
        }
        let is = |allowed: &[Method]| match allowed.contains(request.method()) {
            true => Ok(()),
            false => Err(Refusal::method(allowed)),
        };
        let read = [Method::GET, Method::HEAD];
        match request.uri().path() {
            "/restore" => {
                is(&[Method::POST])?;
                self.restore(request).await
            }
            "/health" => {
                is(&read)?;
                let version = env!("CARGO_PKG_VERSION");
                Ok(answer::json(json!({ "version": version, "waiting": self.queue.len() })))
            }
            path => match page::file(path) {
                Some(file) => is(&read).map(|()| answer::file(file)),
                None => Err(Refusal::new(StatusCode::NOT_FOUND, "there is no such page")),
            },
        }
    }

    async fn restore(&self, request: Request<Incoming>) -> Result<Answer, Refusal> {
        if !origin::is_own(request.headers(), self.port) {
            let reason = "another page may not ask for this";
            return Err(Refusal::new(StatusCode::FORBIDDEN, reason));
        }
        if self.queue.is_closed() {
            return Err(Refusal::stopping());
        }
        let query = request.uri().query().unwrap_or_default();
        let bad = |reason| Refusal::new(StatusCode::BAD_REQUEST, reason);
        let mut parameters = Parameters::of_query(query).map_err(bad)?;
        let kind = Kind::accepted(request.headers());
        let slot = self.queue.slot().ok_or_else(Refusal::busy)?;
        let (head, body) = request.into_parts();
        let (headers, largest, queue) = (&head.headers, self.largest, &self.queue);
        let photo = upload::receive(headers, body, largest, queue, &mut parameters).await?;
        let ahead = if parameters.beside { 0 } else { self.queue.len() - 1 };
        let updates = self.queue.push(photo, parameters, slot);
        answer::of_job(updates, kind, ahead).await
    }
}
