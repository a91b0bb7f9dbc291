//! The one writer of error answers: problem documents as of RFC 9457.
//!
//! `type` is `urn:sesamy-mailmojo:problem:` and the name of the kind. These names are stable; `title` and `detail` are
//! for people. No document repeats anything that the caller sent.

use std::any::Any;

use axum::Extension;
use axum::http::header::{CONNECTION, CONTENT_TYPE, RETRY_AFTER, WWW_AUTHENTICATE};
use axum::http::{HeaderValue, StatusCode};
use axum::response::{IntoResponse, Response};
use serde::Serialize;

use super::access_log::LogFields;

/// The kinds of error that this server answers. Each one's name in kebab case is part of the document.
#[derive(Debug, Clone, Copy, PartialEq, Eq, strum::IntoStaticStr)]
#[strum(serialize_all = "kebab-case")]
pub(crate) enum Kind {
    InvalidEvent,
    Unauthorized,
    OtherVendor,
    NotFound,
    MethodNotAllowed,
    HeadersTimeout,
    BodyTimeout,
    BodyTooLarge,
    Internal,
    QueueUnavailable,
    WorkerStalled,
    InvalidRequest,
    UnknownUser,
    UserForgotten,
    UserBusy,
    UpstreamFailed,
    NotNow,
}

impl Kind {
    const fn parts(self) -> (StatusCode, &'static str) {
        match self {
            Self::InvalidEvent => (StatusCode::BAD_REQUEST, "The body is no event"),
            Self::Unauthorized => (StatusCode::UNAUTHORIZED, "No valid credentials"),
            Self::OtherVendor => (StatusCode::FORBIDDEN, "Another vendor's event"),
            Self::NotFound => (StatusCode::NOT_FOUND, "No such path"),
            Self::MethodNotAllowed => (StatusCode::METHOD_NOT_ALLOWED, "Not with this method"),
            Self::HeadersTimeout => (StatusCode::REQUEST_TIMEOUT, "The headers did not come in time"),
            Self::BodyTimeout => (StatusCode::REQUEST_TIMEOUT, "The body did not come in time"),
            Self::BodyTooLarge => (StatusCode::PAYLOAD_TOO_LARGE, "The body is too large"),
            Self::Internal => (StatusCode::INTERNAL_SERVER_ERROR, "A fault in this service"),
            Self::QueueUnavailable => (StatusCode::SERVICE_UNAVAILABLE, "Events cannot be kept"),
            Self::WorkerStalled => (StatusCode::SERVICE_UNAVAILABLE, "The worker stands still"),
            Self::InvalidRequest => (StatusCode::BAD_REQUEST, "The request is wrong"),
            Self::UnknownUser => (StatusCode::NOT_FOUND, "No such user"),
            Self::UserForgotten => (StatusCode::GONE, "The user was forgotten"),
            Self::UserBusy => (StatusCode::CONFLICT, "The user is being synced"),
            Self::UpstreamFailed => (StatusCode::BAD_GATEWAY, "An API did not do as asked"),
            Self::NotNow => (StatusCode::SERVICE_UNAVAILABLE, "It cannot be done just now"),
        }
    }

    /// The status it is answered with.
    pub const fn status(self) -> StatusCode {
        self.parts().0
    }
}

#[derive(Serialize)]
struct Document<'a> {
    r#type: String,
    title: &'a str,
    status: u16,
    detail: &'a str,
}

/// Seconds after which a caller may send an event again that could not be kept.
const RETRY_AFTER_SECONDS: HeaderValue = HeaderValue::from_static("5");

/// What [`document`] writes.
pub(super) const CONTENT_TYPE_OF_PROBLEMS: &str = "application/problem+json";

/// The document of `kind`; `detail` says what failed and what to do.
pub(super) fn document(kind: Kind, detail: &str) -> Vec<u8> {
    let (status, title) = kind.parts();
    let r#type = format!("urn:sesamy-mailmojo:problem:{}", <&str>::from(kind));
    let document = Document { r#type, title, status: status.as_u16(), detail };
    // Texts and a number always serialize; the empty object only keeps a panic out.
    serde_json::to_vec(&document).unwrap_or_else(|_| b"{}".to_vec())
}

/// The answer for `kind`, with [`document`] as its body.
pub(crate) fn problem(kind: Kind, detail: &str) -> Response {
    let body = document(kind, detail);
    let mut response = (kind.status(), [(CONTENT_TYPE, CONTENT_TYPE_OF_PROBLEMS)], body).into_response();
    let headers = response.headers_mut();
    match kind {
        Kind::Unauthorized => drop(headers.insert(WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"))),
        Kind::QueueUnavailable => drop(headers.insert(RETRY_AFTER, RETRY_AFTER_SECONDS)),
        Kind::BodyTimeout => drop(headers.insert(CONNECTION, HeaderValue::from_static("close"))),
        _ => {}
    }
    response
}

/// 404, for an unknown path.
pub(super) async fn no_such_path() -> impl IntoResponse {
    let answer = problem(Kind::NotFound, "there are /webhooks/sesamy, /healthz, /readyz and /metrics");
    (Extension(LogFields { result: Some("not_found"), ..LogFields::default() }), answer)
}

/// 405, for a known path; axum adds `Allow`.
pub(super) async fn wrong_method() -> impl IntoResponse {
    let detail = "this path does not take this method; the header Allow names those it takes";
    let answer = problem(Kind::MethodNotAllowed, detail);
    (Extension(LogFields { result: Some("method_not_allowed"), ..LogFields::default() }), answer)
}

/// 500, for a handler that panicked. What it panicked with is not repeated: it might hold what the caller sent.
pub(crate) fn panicked(_: Box<dyn Any + Send>) -> Response {
    tracing::error!("a request's handler panicked: a bug in this service; it goes on serving others");
    problem(Kind::Internal, "a bug in this service; nothing was kept of this request, so send it again")
}
