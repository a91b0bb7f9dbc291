//! The wire: loopback connections in, requests as plain data out.
//!
//! Paths are taken apart by hand rather than by a router, because the audit cares for what a router hides: a missing
//! slash, what was percent-encoded, a method on a path that does not have it.

use std::sync::Arc;
use std::time::Duration;

use axum::body::{Body, Bytes};
use axum::http::{HeaderMap, Method, Response, header};
use http_body_util::{BodyExt, Limited};
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use percent_encoding::percent_decode_str;
use serde_json::Value;
use tokio::net::{TcpListener, TcpStream};
use tokio_util::sync::CancellationToken;

use super::desk::{Backend, Desk};

/// No request of either API is anywhere near this size.
const LONGEST_BODY: usize = 8 * 1024 * 1024;

/// A request, taken apart.
#[derive(Debug)]
pub(super) struct Request {
    pub(super) method: Method,
    /// Path and query as they came.
    pub(super) target: String,
    /// The path's segments, percent-decoded, without the empty one after a trailing slash.
    pub(super) segments: Vec<String>,
    pub(super) trailing_slash: bool,
    pub(super) query: Vec<(String, String)>,
    pub(super) headers: HeaderMap,
    pub(super) body: Bytes,
    /// The body, where it is JSON.
    pub(super) json: Option<Value>,
}

impl Request {
    pub(super) fn path(&self) -> Vec<&str> {
        self.segments.iter().map(String::as_str).collect()
    }

    /// The first value of a query parameter; an empty one counts as none.
    pub(super) fn query(&self, name: &str) -> Option<&str> {
        let found = self.query.iter().find(|(key, _)| key == name)?;
        Some(found.1.as_str()).filter(|value| !value.is_empty())
    }

    pub(super) fn header(&self, name: &header::HeaderName) -> Option<&str> {
        self.headers.get(name)?.to_str().ok()
    }

    pub(super) fn is_write(&self) -> bool {
        !matches!(self.method, Method::GET | Method::HEAD | Method::OPTIONS)
    }

    /// Where a path without its trailing slash is sent on to.
    pub(super) fn with_slash(&self) -> String {
        match self.target.split_once('?') {
            Some((path, query)) => format!("{path}/?{query}"),
            None => format!("{}/", self.target),
        }
    }

    fn new(parts: axum::http::request::Parts, body: Bytes) -> Self {
        let path = parts.uri.path();
        let trailing_slash = path.len() > 1 && path.ends_with('/');
        let bare = path.strip_prefix('/').unwrap_or(path);
        let bare = bare.strip_suffix('/').unwrap_or(bare);
        Self {
            target: parts.uri.path_and_query().map_or_else(|| path.to_owned(), ToString::to_string),
            segments: bare.split('/').map(decoded).collect(),
            trailing_slash,
            query: form(parts.uri.query().unwrap_or_default()),
            json: serde_json::from_slice(&body).ok(),
            method: parts.method,
            headers: parts.headers,
            body,
        }
    }
}

fn decoded(text: &str) -> String {
    percent_decode_str(text).decode_utf8_lossy().into_owned()
}

/// The pairs of a query or of a form-encoded body.
pub(super) fn form(text: &str) -> Vec<(String, String)> {
    let spaced = |part: &str| decoded(&part.replace('+', " "));
    let pair = |pair: &str| {
        let (key, value) = pair.split_once('=').unwrap_or((pair, ""));
        (spaced(key), spaced(value))
    };
    text.split('&').filter(|part| !part.is_empty()).map(pair).collect()
}

/// The connection is to be closed without an answer.
#[derive(Debug, thiserror::Error)]
#[error("closed without an answer")]
pub(super) struct Closed;

/// Serves `desk` on `listener` until `stop`; then all its connections are dropped.
pub(super) fn serve<B: Backend>(listener: TcpListener, desk: Arc<Desk<B>>, stop: CancellationToken) {
    tokio::spawn(async move {
        while let Some(accepted) = stop.run_until_cancelled(listener.accept()).await {
            match accepted {
                Ok((stream, _)) => {
                    tokio::spawn(stop.clone().run_until_cancelled_owned(converse(stream, Arc::clone(&desk))));
                }
                // Out of file handles, most likely: without a pause this would turn at full speed.
                Err(_) => tokio::time::sleep(Duration::from_millis(20)).await,
            }
        }
    });
}

async fn converse<B: Backend>(stream: TcpStream, desk: Arc<Desk<B>>) {
    // Only a socket that is gone already refuses, and then the conversation ends by itself.
    let _ = stream.set_nodelay(true);
    let service = service_fn(move |request| answer(Arc::clone(&desk), request));
    // The end of a conversation, in whatever way, is the client's business.
    let _ =
        http1::Builder::new().auto_date_header(false).serve_connection(TokioIo::new(stream), service).await;
}

async fn answer<B: Backend>(
    desk: Arc<Desk<B>>,
    request: hyper::Request<Incoming>,
) -> Result<Response<Body>, Closed> {
    let (parts, body) = request.into_parts();
    let body = Limited::new(body, LONGEST_BODY).collect().await.map_err(|_| Closed)?.to_bytes();
    let mut response = desk.serve(Request::new(parts, body)).await?;
    desk.trouble.date(response.headers_mut());
    Ok(response)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_form_is_decoded_with_its_plus_signs_and_percent_signs() {
        let pairs = form("scope=contacts+subscribe&secret=a%2Bb%3D&bare");
        let expected = [("scope", "contacts subscribe"), ("secret", "a+b="), ("bare", "")];
        assert_eq!(pairs, expected.map(|(key, value)| (key.to_owned(), value.to_owned())));
    }
}
