//! The socket: accepts connections and keeps each within limits, so that no caller can keep others out.
//!
//! Promises, each a test:
//! - headers have to come within a time, and an idle connection is closed after the same time;
//! - there are never more connections than the cap; at the cap, the caller that has let us wait longest (for its next
//!   request, its headers or its body) makes room, never a request that has come whole and is being answered;
//! - on a stop no request that has begun is cut off before [`Limits::drain`] is over.
//!
//! axum's own `serve` has no such limits, hence hyper's connections here.

mod connection;
mod limit;
#[cfg(test)]
mod tests;

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use hyper::server::conn::http1;
use hyper_util::rt::TokioTimer;
use tokio::net::{TcpListener, TcpSocket, TcpStream};
use tokio::task::JoinSet;
use tokio::time::{sleep, timeout};
use tokio_util::sync::CancellationToken;

use self::limit::ConnectionLimit;

/// The limits of [`serve`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// How long a request's headers may take to come, counted from the connection's start or the answer before, so this
    /// also closes connections that stand idle. Default 10 s.
    pub headers: Duration,
    /// The longest headers, request line included, in bytes; beyond, 431. Default 16 KiB.
    pub header_bytes: usize,
    /// How many connections may be open. Default 512.
    pub connections: usize,
    /// How long requests in hand may still take after a stop. Default 5 s.
    pub drain: Duration,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            headers: Duration::from_secs(10),
            header_bytes: 16 * 1024,
            connections: 512,
            drain: Duration::from_secs(5),
        }
    }
}

/// How many connections the system holds until they are accepted: more than the cap. With the usual 128 a burst is
/// dropped, and a dropped caller tries again only a second later.
const BACKLOG: u32 = 1_024;

/// How long to leave a listener alone that cannot accept, which mostly means too many open files.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// Listens on `address`, also where a process before has only just ended.
///
/// # Errors
/// The system's.
pub fn listen(address: SocketAddr) -> io::Result<TcpListener> {
    let socket = if address.is_ipv4() { TcpSocket::new_v4() } else { TcpSocket::new_v6() }?;
    #[cfg(unix)] // on Windows it would mean that two processes may listen on one port
    socket.set_reuseaddr(true)?;
    socket.bind(address)?;
    socket.listen(BACKLOG)
}

/// Serves `router` on `listener` until `stop` is cancelled and the requests in hand are answered.
///
/// Dropping this future closes every connection at once.
pub async fn serve(listener: TcpListener, router: Router, limits: Limits, stop: CancellationToken) {
    let router = router.with_state(()); // done once here, it spares each request some allocations
    let http = http(limits);
    let limit = ConnectionLimit::new(limits.connections);
    let mut connections = JoinSet::new();
    let mut listener = Listener { listener, is_failing: false };

    let accept = async {
        loop {
            let stream = listener.accept().await;
            let permit = limit.admit().await;
            while connections.try_join_next().is_some() {} // forgets those that have ended
            // A token of its own, so that no request waits for another one's look at the token.
            let stop = stop.child_token();
            connections.spawn(connection::serve(http.clone(), stream, router.clone(), permit, stop));
        }
    };
    tokio::select! { () = stop.cancelled() => {}, () = accept => {} }

    drop(listener);
    let ended = async { while connections.join_next().await.is_some() {} };
    if timeout(limits.drain, ended).await.is_err() {
        tracing::warn!(
            left = connections.len(),
            "stopping with requests in hand; their callers have to send them again"
        );
    }
}

/// hyper's settings, shared by all connections.
fn http(limits: Limits) -> Arc<http1::Builder> {
    const SMALLEST_BUFFER: usize = 8 * 1024; // hyper refuses a smaller one
    let mut http = http1::Builder::new();
    http.timer(TokioTimer::new())
        .header_read_timeout(limits.headers)
        .max_header_size(limits.header_bytes)
        .max_buf_size(limits.header_bytes.max(SMALLEST_BUFFER))
        // A caller that has sent everything and closed that direction still gets an answer.
        .half_close(true);
    Arc::new(http)
}

struct Listener {
    listener: TcpListener,
    /// Whether the last attempt failed, so that a lasting failure is logged once.
    is_failing: bool,
}

impl Listener {
    /// The next connection, however long that takes.
    async fn accept(&mut self) -> TcpStream {
        loop {
            match self.listener.accept().await {
                Ok((stream, _)) => {
                    self.is_failing = false;
                    return stream;
                }
                Err(error) if is_the_callers(&error) => {}
                Err(error) => {
                    if !self.is_failing {
                        tracing::error!(%error, "cannot accept connections; trying again (are too many files open?)");
                    }
                    self.is_failing = true;
                    sleep(ACCEPT_PAUSE).await;
                }
            }
        }
    }
}

/// Whether `error` is about one connection that is gone already, and not about the listener.
fn is_the_callers(error: &io::Error) -> bool {
    use io::ErrorKind::{ConnectionAborted, ConnectionRefused, ConnectionReset, Interrupted};
    matches!(error.kind(), ConnectionAborted | ConnectionRefused | ConnectionReset | Interrupted)
}
