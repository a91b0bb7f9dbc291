//! A reply, and the ways in which it is sent.

use std::convert::Infallible;
use std::io;
use std::time::{Duration, SystemTime};

use axum::body::{Body as HttpBody, Bytes};
use axum::http::{HeaderName, HeaderValue, Response, StatusCode, header};
use futures_util::{StreamExt, stream};
use serde_json::Value;

use super::recorder::Flight;

/// What an API replies to one request.
#[derive(Debug, Clone)]
pub struct Reply {
    pub(super) status: u16,
    pub(super) headers: Vec<(String, String)>,
    pub(super) body: Body,
}

#[derive(Debug, Clone)]
pub(super) enum Body {
    Json(Value),
    Text {
        content_type: &'static str,
        text: Bytes,
    },
    /// A JSON string of this many bytes, generated while it is sent.
    Huge(usize),
    Empty,
}

/// How the body of a reply is sent.
#[derive(Debug, Clone, Copy)]
pub(super) enum Delivery {
    Whole,
    /// The first half, as if it were everything.
    Cut,
    /// The first half; then the connection breaks.
    BrokenOff,
    /// A byte at a time, with this pause before each.
    Dripping(Duration),
}

impl Reply {
    pub(super) fn new(status: u16, body: Body) -> Self {
        Self { status, headers: Vec::new(), body }
    }

    pub(super) fn json(status: u16, json: Value) -> Self {
        Self::new(status, Body::Json(json))
    }

    /// What a web server answers for a path outside its API.
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
            _ => None,
        }
    }

    /// The whole reply as a response. A header that HTTP does not allow is left out.
    pub(super) fn into_response(self) -> Response<HttpBody> {
        let (content_type, body) = match self.body {
            Body::Json(json) => (Some("application/json"), json.to_string().into()),
            Body::Text { content_type, text } => (Some(content_type), text.into()),
            Body::Huge(size) => (Some("application/json"), huge(size)),
            Body::Empty => (None, HttpBody::empty()),
        };
        let mut response = Response::new(body);
        *response.status_mut() =
            StatusCode::from_u16(self.status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
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

    /// Sends the reply as `delivery` says, and ends `flight`; a dripping body ends it with its last byte.
    pub(super) fn send(self, delivery: Delivery, flight: Flight) -> Response<HttpBody> {
        let status = Some(self.status);
        let spoiled = match delivery {
            Delivery::Whole => None,
            Delivery::Cut => Some(self.half().into()),
            Delivery::BrokenOff => {
                let broken = stream::once(async {
                    tokio::task::yield_now().await; // hyper sends the first half only if nothing follows at once
                    Err(io::Error::new(io::ErrorKind::ConnectionAborted, "cut off on purpose"))
                });
                Some(HttpBody::from_stream(stream::iter([Ok(self.half())]).chain(broken)))
            }
            Delivery::Dripping(pause) => {
                let bytes = stream::iter(self.bytes()).then(move |byte| async move {
                    tokio::time::sleep(pause).await;
                    Bytes::from(vec![byte])
                });
                let end = stream::once(async move {
                    flight.answered(status);
                    Bytes::new()
                });
                let body = HttpBody::from_stream(bytes.chain(end).map(Ok::<_, Infallible>));
                return self.into_response().map(|_| body);
            }
        };
        flight.answered(status);
        let response = self.into_response();
        match spoiled {
            Some(body) => response.map(|_| body),
            None => response,
        }
    }

    fn bytes(&self) -> Bytes {
        match &self.body {
            Body::Json(json) => json.to_string().into(),
            Body::Text { text, .. } => text.clone(),
            Body::Huge(_) | Body::Empty => Bytes::new(),
        }
    }

    fn half(&self) -> Bytes {
        let bytes = self.bytes();
        bytes.slice(..bytes.len() / 2)
    }
}

/// A JSON string of `size` bytes, quotes included.
fn huge(size: usize) -> HttpBody {
    static FILLER: [u8; 64 * 1024] = [b'x'; 64 * 1024];
    let filler = size.saturating_sub(2);
    let whole = std::iter::repeat_n(&FILLER[..], filler / FILLER.len());
    let chunks = [&b"\""[..]].into_iter().chain(whole).chain([&FILLER[..filler % FILLER.len()], b"\""]);
    HttpBody::from_stream(stream::iter(chunks.map(|chunk| Ok::<_, Infallible>(Bytes::from_static(chunk)))))
}

/// What the `Date` header of an API's answers says.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub enum AnswerDate {
    /// The time.
    #[default]
    True,
    /// The time by a clock that is this many seconds ahead.
    Ahead(i64),
    /// This text.
    Text(String),
    /// There is no such header.
    Absent,
}

impl AnswerDate {
    /// Adds the header to a response that has none of its own.
    pub(super) fn add_to(&self, response: &mut Response<HttpBody>) {
        let (now, ahead) = (SystemTime::now(), |seconds: i64| Duration::from_secs(seconds.unsigned_abs()));
        let text = match self {
            Self::True => httpdate::fmt_http_date(now),
            Self::Ahead(seconds) if *seconds < 0 => httpdate::fmt_http_date(now - ahead(*seconds)),
            Self::Ahead(seconds) => httpdate::fmt_http_date(now + ahead(*seconds)),
            Self::Text(text) => text.clone(),
            Self::Absent => return,
        };
        if let Ok(date) = HeaderValue::try_from(text) {
            response.headers_mut().entry(header::DATE).or_insert(date);
        }
    }
}
