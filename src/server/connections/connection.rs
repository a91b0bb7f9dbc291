//! One connection, from its first byte to its last.

use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::body::{Body, HttpBody};
use axum::extract::Request;
use axum::response::Response;
use http_body_util::BodyExt;
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;
use tower::Service;

use super::limit::Permit;
use crate::server::problem::{self, Kind};

/// How long to read on after a last answer to a caller that is still sending.
const LINGER: Duration = Duration::from_secs(1);

/// Serves one connection until it ends, is idle too long, has to make room, or `stop` is cancelled and its request answered.
pub(super) async fn serve(
    http: Arc<http1::Builder>,
    stream: TcpStream,
    router: Router,
    permit: Permit,
    stop: CancellationToken,
) {
    let _ = stream.set_nodelay(true); // an answer is one small write; without it, it only comes later
    let permit = Arc::new(permit);
    let answer = service_fn(|request| answer(request, router.clone(), Arc::clone(&permit)));
    let mut connection = http.serve_connection(TokioIo::new(stream), answer);

    let mut is_finishing = false;
    let ended = loop {
        tokio::select! {
            biased; // what the connection can still answer, it answers before it is closed
            result = &mut connection => break result,
            () = permit.must_close() => return,
            () = stop.cancelled(), if !is_finishing => {
                // hyper would wait for a head that has begun; a slow caller must not delay a stop.
                if permit.is_between_requests() {
                    return;
                }
                std::pin::Pin::new(&mut connection).graceful_shutdown();
                is_finishing = true;
            }
        }
    };
    let Err(error) = ended else { return };
    let parts = connection.into_parts();
    let mut stream = parts.io.into_inner();
    let last_words = async {
        if error.is_timeout() && !parts.read_buf.is_empty() {
            let _ = stream.write_all(&head_too_slow()).await;
        }
        if error.is_timeout() || error.is_parse() {
            linger(&mut stream).await;
        }
    };
    tokio::select! { () = last_words => {}, () = permit.must_close() => {}, () = stop.cancelled() => {} }
}

/// The answer to a head that does not come whole in time: hyper closes without a word.
fn head_too_slow() -> Vec<u8> {
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

/// Hands one request to the router, and notes its progress.
async fn answer(
    request: Request<Incoming>,
    mut router: Router,
    permit: Arc<Permit>,
) -> Result<Response, Infallible> {
    let has_body = !request.body().is_end_stream();
    permit.request_begins(has_body);
    let request = request.map(|body| match has_body {
        true => {
            let arriving = Arriving(Arc::clone(&permit));
            Body::new(body.map_err(move |error| {
                let _as_long_as_the_body = &arriving;
                error
            }))
        }
        false => Body::empty(),
    });
    let response = router.call(request).await;
    permit.request_ends();
    response
}

/// Belongs to a request's body. A handler drops the body once it has read it whole, or wants no more of it.
struct Arriving(Arc<Permit>);

impl Drop for Arriving {
    fn drop(&mut self) {
        self.0.body_ends();
    }
}
