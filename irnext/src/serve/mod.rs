//! Restoration over HTTP, for this machine alone: a page to restore photographs in a browser, and
//! an interface for programs.
//!
//! | request | answer |
//! |---|---|
//! | `GET /` | the page (`page`) |
//! | `GET /health` | whether the server is up, and how many photographs wait |
//! | `POST /restore` | the body is a photograph; the answer is the restored one |
//!
//! Three threads share the work. One talks to clients (`connections`, `routes`): it checks where a
//! request comes from (`origin`), reads its parameters (`parameters`) and the photograph
//! (`upload`), puts a job into the `queue`, and answers with its result (`answer`). The thread that
//! calls [`Server::run`] restores, one photograph after the other, on all cores (`worker`). The
//! third does the same beside it, for those who have waited once and want their photograph at
//! another strength.
//!
//! Nothing is stored: a photograph is in memory until its request is answered or the client leaves.

mod answer;
mod connections;
mod multipart;
mod origin;
mod page;
mod parameters;
mod queue;
mod routes;
mod stall;
#[cfg(test)]
mod tests;
mod upload;
mod worker;

use crate::error::{Error, Result};
use crate::jobs::JobReport;
use crate::restorer::Restorer;
use queue::Queue;
use routes::Routes;
use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::path::Path;
use std::sync::atomic::AtomicBool;

/// A server that waits for its first request. It listens on 127.0.0.1 only.
///
/// ```
/// use irnext::compute::Compute;
/// use irnext::restorer::Restorer;
/// use irnext::serve::Server;
/// use std::io::{Read, Write};
/// use std::net::TcpStream;
/// use std::sync::atomic::{AtomicBool, Ordering};
///
/// let restorer = Restorer::detecting(Compute::default())?;
/// let (server, stop) = (Server::bind(0)?, AtomicBool::new(false));
/// let address = server.address();
/// let health = std::thread::scope(|scope| {
///     scope.spawn(|| server.run(&restorer, &stop, &|_| ()));
///     let mut answer = String::new();
///     let mut client = TcpStream::connect(address)?;
///     write!(client, "GET /health HTTP/1.1\r\nHost: {address}\r\nConnection: close\r\n\r\n")?;
///     client.read_to_string(&mut answer)?;
///     stop.store(true, Ordering::Relaxed);
///     Ok::<_, std::io::Error>(answer)
/// });
/// assert!(health.unwrap().starts_with("HTTP/1.1 200 OK"));
/// # Ok::<(), irnext::Error>(())
/// ```
pub struct Server {
    listener: TcpListener,
    address: SocketAddr,
    largest: u64,
}

/// The largest upload, unless [`Server::taking_up_to`] says otherwise, in bytes.
pub const LARGEST_UPLOAD: u64 = 200 << 20;

impl Server {
    /// A server on `port` of 127.0.0.1, or on any free one if `port` is 0.
    ///
    /// # Errors
    /// [`Error::Config`] if the port is taken or not allowed.
    pub fn bind(port: u16) -> Result<Self> {
        let bound = TcpListener::bind((Ipv4Addr::LOCALHOST, port))
            .and_then(|listener| Ok((listener.local_addr()?, listener)));
        let (address, listener) = bound.map_err(|error| Error::Config {
            reason: format!(
                "cannot listen on port {port}: {}; --port 0 chooses a free one",
                Error::words(&error)
            ),
        })?;
        Ok(Self { listener, address, largest: LARGEST_UPLOAD })
    }

    /// The same server, which refuses uploads of more than `bytes`.
    pub fn taking_up_to(self, bytes: u64) -> Self {
        Self { largest: bytes, ..self }
    }

    /// The address that it listens on.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Answers requests until `stop` is set. Then the photograph that is being restored is
    /// finished, and those that wait are refused. `report` gets the outcome for each photograph.
    ///
    /// # Errors
    /// If the system refuses to wait for connections.
    pub fn run(
        self,
        restorer: &Restorer,
        stop: &AtomicBool,
        report: &(dyn Fn(Result<&JobReport, &Error>) + Sync),
    ) -> Result<()> {
        let (queue, [jobs, beside]) = Queue::new();
        let routes = Routes { queue, port: self.address.port(), largest: self.largest };
        std::thread::scope(|scope| {
            // The workers end once the queue has no sender left.
            let clients = scope.spawn(|| connections::serve(self.listener, routes, stop));
            scope.spawn(|| worker::work(beside, restorer, stop, report));
            worker::work(jobs, restorer, stop, report);
            let ended = clients.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic));
            ended.map_err(Error::io(Path::new("127.0.0.1")))
        })
    }
}
