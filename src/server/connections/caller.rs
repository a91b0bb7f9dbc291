//! One connection, from its first byte to its last.

use std::convert::Infallible;
use std::future::poll_fn;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use axum::Router;
use axum::body::{Body, Bytes};
use axum::extract::Request;
use axum::response::Response;
use hyper::body::{Body as HttpBody, Frame, Incoming, SizeHint};
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::timeout;
use tower::Service;

use super::room::{Order, Seat};
use crate::server::problem::{self, Kind};

/// How long to listen on after a last answer to somebody who is still sending.
const LINGER: Duration = Duration::from_secs(1);

/// Serves one connection until it ends, is idle too long, or is told to leave.
pub(super) async fn serve(http: Arc<http1::Builder>, stream: TcpStream, router: Router, seat: Seat) {
    let _ = stream.set_nodelay(true); // an answer is one small write; without it, it only comes later
    let seat = Arc::new(seat);
    let answer = service_fn(|request| answer(request, router.clone(), Arc::clone(&seat)));
    let mut connection = http.serve_connection(TokioIo::new(stream), answer);

    let mut finishing = false;
    let ended = poll_fn(|cx| {
        loop {
            // The connection first: what it can still answer, it answers before it is told to leave.
            if let Poll::Ready(result) = Pin::new(&mut connection).poll(cx) {
                return Poll::Ready(result.err());
            }
            match seat.order(cx) {
                Order::Stay => return Poll::Pending,
                Order::Leave => return Poll::Ready(None),
                Order::Finish if !finishing => {
                    finishing = true;
                    Pin::new(&mut connection).graceful_shutdown();
                }
                // hyper would wait for headers that have begun; whoever sends them slowly must not hold up a stop.
                Order::Finish if seat.is_waiting() => return Poll::Ready(None),
                Order::Finish => return Poll::Pending,
            }
        }
    });
    let Some(error) = ended.await else { return };
    let parts = connection.into_parts();
    let mut stream = parts.io.into_inner();
    let last_words = async {
        if error.is_timeout() && !parts.read_buf.is_empty() {
            let _ = stream.write_all(&headers_too_slow()).await;
        }
        if error.is_timeout() || error.is_parse() {
            linger(&mut stream).await;
        }
    };
    let told_to_leave = poll_fn(|cx| match seat.order(cx) {
        Order::Stay => Poll::Pending,
        Order::Finish | Order::Leave => Poll::Ready(()),
    });
    tokio::select! { () = last_words => {}, () = told_to_leave => {} }
}

/// The answer to headers that do not come whole in time: hyper closes without a word.
fn headers_too_slow() -> Vec<u8> {
    let body = problem::document(Kind::HeadersTimeout, "send the request's headers at once");
    let head = format!(
        "HTTP/1.1 408 Request Timeout\r\ncontent-type: {}\r\ncontent-length: {}\r\nconnection: close\r\n\r\n",
        problem::CONTENT_TYPE_OF_PROBLEMS,
        body.len()
    );
    [head.into_bytes(), body].concat()
}

/// Reads on for a moment: closing while bytes come in resets the connection, and its caller may never see the answer.
async fn linger(stream: &mut TcpStream) {
    let _ = stream.shutdown().await;
    let mut dropped = [0; 4096];
    let _ =
        timeout(LINGER, async { while stream.read(&mut dropped).await.is_ok_and(|read| read > 0) {} }).await;
}

/// Hands one request to the router and keeps the seat told.
async fn answer(
    request: Request<Incoming>,
    mut router: Router,
    seat: Arc<Seat>,
) -> Result<Response, Infallible> {
    let has_body = !request.body().is_end_stream();
    seat.request_begins(has_body);
    let request = request.map(|body| match has_body {
        true => Body::new(Arriving { body, seat: Arc::clone(&seat) }),
        false => Body::empty(),
    });
    let response = router.call(request).await;
    seat.request_ends();
    response
}

/// A request's body, which tells the seat when it has come whole.
struct Arriving {
    body: Incoming,
    seat: Arc<Seat>,
}

impl HttpBody for Arriving {
    type Data = Bytes;
    type Error = hyper::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, hyper::Error>>> {
        let frame = ready!(Pin::new(&mut self.body).poll_frame(cx));
        if frame.is_none() || self.body.is_end_stream() {
            self.seat.body_ends();
        }
        Poll::Ready(frame)
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}
