//! The connections of clients: how many, and their end.

use super::routes::Routes;
use super::stall::{Stalled, WatchedClient};
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use std::convert::Infallible;
use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Semaphore;
use tokio::time::{sleep, timeout};

/// The most connections at once. Others wait for one to end.
const CONNECTIONS: usize = 64;

/// The time in which a client must send the head of a request, the first and each further one.
const HEAD_TIME: Duration = Duration::from_secs(15);

/// The longest pause of a client that takes its answer.
const PAUSE: Duration = Duration::from_secs(30);

/// The time between two looks at whether the server should stop.
const INTERVAL: Duration = Duration::from_millis(50);

/// The time that clients have to take their answers once the server has nothing left to compute.
const FAREWELL: Duration = Duration::from_secs(5);

/// Answers the clients of `listener` until `stop` is set and all of them have their answers.
pub(super) fn serve(
    listener: std::net::TcpListener,
    routes: Routes,
    stop: &AtomicBool,
) -> io::Result<()> {
    listener.set_nonblocking(true)?;
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(async {
        let listener = TcpListener::from_std(listener)?;
        let (routes, places) = (Arc::new(routes), Arc::new(Semaphore::new(CONNECTIONS)));
        while !stop.load(Ordering::Relaxed) {
            let Ok(place) = timeout(INTERVAL, places.clone().acquire_owned()).await else {
                continue;
            };
            match timeout(INTERVAL, listener.accept()).await {
                Ok(Ok((client, _))) => {
                    let routes = routes.clone();
                    tokio::spawn(async move {
                        converse(client, &routes).await;
                        drop(place);
                    });
                }
                // Out of files, or the client left already: it may pass.
                Ok(Err(_)) => sleep(INTERVAL).await,
                Err(_) => {}
            }
        }
        drop(listener);
        routes.queue.close();
        // Those that wait for a photograph keep their connection until they have it.
        let mut idle = Instant::now();
        while places.available_permits() < CONNECTIONS && idle.elapsed() < FAREWELL {
            if routes.queue.len() > 0 {
                idle = Instant::now();
            }
            sleep(INTERVAL).await;
        }
        Ok(())
    })
}

/// Answers the requests of one client, one after the other.
async fn converse(client: TcpStream, routes: &Arc<Routes>) {
    let answer = |request| {
        let routes = routes.clone();
        async move { Ok::<_, Infallible>(routes.answer(request).await) }
    };
    let mut http = http1::Builder::new();
    http.timer(TokioTimer::new()).header_read_timeout(HEAD_TIME).max_buf_size(64 << 10);
    let stalled = Stalled::default();
    let client = WatchedClient { client: TokioIo::new(client), stalled: stalled.clone() };
    let connection = http.serve_connection(client, service_fn(answer));
    let mut connection = std::pin::pin!(connection);
    // An error means that the client left or does not speak HTTP: there is nobody to tell.
    while timeout(INTERVAL, connection.as_mut()).await.is_err() && stalled.time() < PAUSE {
        if routes.queue.is_closed() {
            // After the answer that is under way.
            connection.as_mut().graceful_shutdown();
        }
    }
}
