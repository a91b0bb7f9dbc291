//! HTTP on loopback: connections in, requests as plain data out.
//!
//! Paths are split by hand rather than by a router, because the audit needs what a router hides: a missing trailing
//! slash, what was percent-encoded, a method that a path does not have.

use std::time::Duration;

use axum::body::{Body, Bytes};
use axum::http::{HeaderMap, Method, Response, header, request::Parts};
use http_body_util::{BodyExt, Limited};
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use percent_encoding::percent_decode_str;
use serde_json::Value;
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;

/// Bytes; no request of either API comes near this size.
const MAX_BODY: usize = 8 * 1024 * 1024;

/// A request, taken apart.
#[derive(Debug)]
pub struct Request {
    pub(super) method: Method,
    /// Path and query as they arrived.
    pub(super) path_and_query: String,
    /// The path's segments, percent-decoded, without the empty one after a trailing slash.
    segments: Vec<String>,
    pub(super) trailing_slash: bool,
    query: Vec<(String, String)>,
    headers: HeaderMap,
    pub(super) body: Bytes,
    /// The body, if it is JSON.
    pub(super) json: Option<Value>,
}

impl Request {
    fn new(parts: Parts, body: Bytes) -> Self {
        let path = parts.uri.path();
        let bare = path.strip_prefix('/').unwrap_or(path);
        let bare = bare.strip_suffix('/').unwrap_or(bare);
        Self {
            path_and_query: parts.uri.path_and_query().map_or(path, |whole| whole.as_str()).to_owned(),
            segments: bare.split('/').map(decode).collect(),
            trailing_slash: path.len() > 1 && path.ends_with('/'),
            query: decode_form(parts.uri.query().unwrap_or_default()),
            json: serde_json::from_slice(&body).ok(),
            method: parts.method,
            headers: parts.headers,
            body,
        }
    }

    pub(super) fn path(&self) -> Vec<&str> {
        self.segments.iter().map(String::as_str).collect()
    }

    /// The first value of a query parameter; an empty one counts as absent.
    pub(super) fn query(&self, name: &str) -> Option<&str> {
        let (_, value) = self.query.iter().find(|(key, _)| key == name)?;
        Some(value.as_str()).filter(|value| !value.is_empty())
    }

    pub(super) fn header(&self, name: &header::HeaderName) -> Option<&str> {
        self.headers.get(name)?.to_str().ok()
    }

    pub(super) fn is_write(&self) -> bool {
        !matches!(self.method, Method::GET | Method::HEAD | Method::OPTIONS)
    }
}

fn decode(text: &str) -> String {
    percent_decode_str(text).decode_utf8_lossy().into_owned()
}

/// The pairs of a query or of a form-encoded body.
pub(super) fn decode_form(text: &str) -> Vec<(String, String)> {
    let decode = |part: &str| decode(&part.replace('+', " "));
    let pair = |pair: &str| {
        let (key, value) = pair.split_once('=').unwrap_or((pair, ""));
        (decode(key), decode(value))
    };
    text.split('&').filter(|part| !part.is_empty()).map(pair).collect()
}

/// The connection is to be closed without an answer.
#[derive(Debug, thiserror::Error)]
#[error("closed without an answer")]
pub(super) struct Closed;

/// Answers requests by `respond` until `stop`; then all connections are dropped.
pub(super) async fn serve<R, F>(listener: TcpListener, stop: CancellationToken, respond: R)
where
    R: Fn(Request) -> F + Clone + Send + Sync + 'static,
    F: Future<Output = Result<Response<Body>, Closed>> + Send,
{
    while let Some(accepted) = stop.run_until_cancelled(listener.accept()).await {
        let Ok((stream, _)) = accepted else {
            // Out of file handles, most likely: without a pause this loop would spin.
            tokio::time::sleep(Duration::from_millis(20)).await;
            continue;
        };
        let respond = respond.clone();
        let connection = async move {
            // Fails only for a socket that is gone, and then the connection ends by itself.
            let _ = stream.set_nodelay(true);
            let service = service_fn(|request| read_and_respond(request, &respond));
            let mut http = http1::Builder::new();
            // However the connection ends, it is the client's business.
            let _ = http.auto_date_header(false).serve_connection(TokioIo::new(stream), service).await;
        };
        tokio::spawn(stop.clone().run_until_cancelled_owned(connection));
    }
}

async fn read_and_respond<F>(
    request: hyper::Request<Incoming>,
    respond: impl Fn(Request) -> F,
) -> Result<Response<Body>, Closed>
where
    F: Future<Output = Result<Response<Body>, Closed>>,
{
    let (parts, body) = request.into_parts();
    let body = Limited::new(body, MAX_BODY).collect().await.map_err(|_| Closed)?.to_bytes();
    respond(Request::new(parts, body)).await
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_form_is_decoded_with_its_plus_signs_and_percent_signs() {
        let pairs = decode_form("scope=contacts+subscribe&secret=a%2Bb%3D&bare");
        let expected = [("scope", "contacts subscribe"), ("secret", "a+b="), ("bare", "")];
        assert_eq!(pairs, expected.map(|(key, value)| (key.to_owned(), value.to_owned())));
    }
}
