//! An answer, before it goes on the wire and as it goes.

use std::convert::Infallible;
use std::io;
use std::time::Duration;

use axum::body::{Body as HttpBody, Bytes};
use axum::http::{HeaderName, HeaderValue, Response, StatusCode, header};
use futures_util::{StreamExt, stream};
use serde_json::Value;

use super::hub::InFlight;

/// What one of the APIs answers.
#[derive(Debug, Clone)]
pub(super) struct Reply {
    pub(super) status: u16,
    pub(super) headers: Vec<(String, String)>,
    pub(super) body: Body,
}

#[derive(Debug, Clone)]
pub(super) enum Body {
    Json(Value),
    Text { content_type: &'static str, text: Bytes },
    Empty,
}

impl Reply {
    pub(super) fn new(status: u16, body: Body) -> Self {
        Self { status, headers: Vec::new(), body }
    }

    pub(super) fn json(status: u16, json: Value) -> Self {
        Self::new(status, Body::Json(json))
    }

    /// What a web server says about a path that is no part of its API.
    pub(super) fn html(status: u16) -> Self {
        let text = format!("<!doctype html><title>{status}</title><h1>{status}</h1>\n");
        Self::new(status, Body::Text { content_type: "text/html; charset=utf-8", text: text.into() })
    }

    pub(super) fn with_header(mut self, name: &str, value: impl ToString) -> Self {
        self.headers.push((name.to_owned(), value.to_string()));
        self
    }

    pub(super) fn as_json(&self) -> Option<&Value> {
        match &self.body {
            Body::Json(json) => Some(json),
            Body::Text { .. } | Body::Empty => None,
        }
    }

    fn bytes(&self) -> Bytes {
        match &self.body {
            Body::Json(json) => Bytes::from(json.to_string()),
            Body::Text { text, .. } => text.clone(),
            Body::Empty => Bytes::new(),
        }
    }

    /// Status and headers, with this body. A header that HTTP does not allow is left out.
    fn response(&self, body: HttpBody) -> Response<HttpBody> {
        let mut response = Response::new(body);
        *response.status_mut() =
            StatusCode::from_u16(self.status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
        let content_type = match &self.body {
            Body::Json(_) => Some("application/json"),
            Body::Text { content_type, .. } => Some(*content_type),
            Body::Empty => None,
        };
        if let Some(content_type) = content_type {
            response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static(content_type));
        }
        for (name, value) in &self.headers {
            if let (Ok(name), Ok(value)) = (HeaderName::try_from(name), HeaderValue::try_from(value)) {
                response.headers_mut().append(name, value);
            }
        }
        response
    }

    pub(super) fn whole(&self) -> Response<HttpBody> {
        self.response(HttpBody::from(self.bytes()))
    }

    /// The first half of the body, as if it were all.
    pub(super) fn cut(&self) -> Response<HttpBody> {
        let bytes = self.bytes();
        self.response(HttpBody::from(bytes.slice(..bytes.len() / 2)))
    }

    /// The first half of the body; then the connection breaks.
    pub(super) fn broken_off(&self) -> Response<HttpBody> {
        let bytes = self.bytes();
        let half = stream::once(async move { Ok(bytes.slice(..bytes.len() / 2)) });
        let broken = stream::once(async {
            tokio::task::yield_now().await; // hyper sends what it has only where there is no more for now
            Err(io::Error::new(io::ErrorKind::ConnectionAborted, "cut off on purpose"))
        });
        self.response(HttpBody::from_stream(half.chain(broken)))
    }

    /// The body a byte at a time. The request counts as in flight until the last byte goes.
    pub(super) fn dripping(&self, pause: Duration, flight: InFlight) -> Response<HttpBody> {
        let status = self.status;
        let start = (self.bytes(), 0, Some(flight));
        let drops = stream::unfold(start, move |(bytes, at, mut flight)| async move {
            let drop = bytes.slice(at..bytes.len().min(at + 1));
            tokio::time::sleep(pause).await;
            if at + 1 >= bytes.len()
                && let Some(flight) = flight.take()
            {
                flight.answered(Some(status));
            }
            (!drop.is_empty()).then_some((Ok::<_, Infallible>(drop), (bytes, at + 1, flight)))
        });
        self.response(HttpBody::from_stream(drops))
    }
}

/// A `200` whose body is a JSON string, `size` bytes in all, made as it goes.
pub(super) fn huge(size: usize) -> Response<HttpBody> {
    const CHUNK: usize = 64 * 1024;
    let chunks = stream::unfold(0, move |sent: usize| async move {
        let end = size.min(sent + CHUNK);
        let mut chunk = vec![b'x'; end.saturating_sub(sent)];
        if sent == 0
            && let Some(first) = chunk.first_mut()
        {
            *first = b'"';
        }
        if end == size
            && let Some(last) = chunk.last_mut()
        {
            *last = b'"';
        }
        (sent < size).then_some((Ok::<_, Infallible>(Bytes::from(chunk)), end))
    });
    Reply::json(200, Value::Null).response(HttpBody::from_stream(chunks))
}
