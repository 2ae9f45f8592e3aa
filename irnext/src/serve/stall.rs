//! Clients that do not take their answers, which would hold their connections for ever.

use hyper::rt::{Read, ReadBufCursor, Write};
use hyper_util::rt::TokioIo;
use std::io;
use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll};
use std::time::{Duration, Instant};
use tokio::net::TcpStream;

/// The time since which a client has taken nothing of an answer that is ready.
#[derive(Clone, Default)]
pub(super) struct Stalled(Arc<Mutex<Option<Instant>>>);

impl Stalled {
    /// How long it is; zero while there is nothing to take.
    pub fn time(&self) -> Duration {
        let since = *self.0.lock().unwrap_or_else(PoisonError::into_inner);
        since.map_or(Duration::ZERO, |since| since.elapsed())
    }

    /// Notes the outcome of an attempt to send.
    fn note<T>(&self, sent: Poll<T>) -> Poll<T> {
        let mut since = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        *since = match sent {
            Poll::Ready(_) => None,
            Poll::Pending => since.or_else(|| Some(Instant::now())),
        };
        sent
    }
}

/// A client, watched for stalls.
pub(super) struct WatchedClient {
    pub client: TokioIo<TcpStream>,
    pub stalled: Stalled,
}

impl Read for WatchedClient {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: ReadBufCursor<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.client).poll_read(cx, buffer)
    }
}

impl Write for WatchedClient {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        let sent = Pin::new(&mut self.client).poll_write(cx, bytes);
        self.stalled.note(sent)
    }

    fn is_write_vectored(&self) -> bool {
        self.client.is_write_vectored()
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        parts: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let sent = Pin::new(&mut self.client).poll_write_vectored(cx, parts);
        self.stalled.note(sent)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.client).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.client).poll_shutdown(cx)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_stall_lasts_from_the_first_refusal_to_the_next_success() {
        let stalled = Stalled::default();
        let sleep = || std::thread::sleep(Duration::from_millis(20));
        assert_eq!(stalled.time(), Duration::ZERO);
        let _ = stalled.note::<()>(Poll::Pending);
        sleep();
        let _ = stalled.note::<()>(Poll::Pending);
        assert!(stalled.time() >= Duration::from_millis(20));
        let _ = stalled.note(Poll::Ready(()));
        sleep();
        assert_eq!(stalled.time(), Duration::ZERO);
    }
}
