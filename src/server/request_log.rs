//! One line for each request, with nothing personal in it.
//!
//! What the caller chose freely is never printed: of paths only the four that are known, of methods only the standard
//! ones, never a query or a header.

use std::time::Instant;

use axum::http::{Method, StatusCode};

/// A path as the log knows it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Path {
    Webhook,
    Healthz,
    Readyz,
    Metrics,
    Unknown,
}

impl Path {
    pub fn of(path: &str) -> Self {
        let known = [Self::Webhook, Self::Healthz, Self::Readyz, Self::Metrics];
        known.into_iter().find(|one| one.as_str() == path).unwrap_or(Self::Unknown)
    }

    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Webhook => "/webhooks/sesamy",
            Self::Healthz => "/healthz",
            Self::Readyz => "/readyz",
            Self::Metrics => "/metrics",
            Self::Unknown => "unknown",
        }
    }
}

/// The line of a request that has begun.
#[derive(Debug, Clone, Copy)]
pub(super) struct Line {
    pub method: &'static str,
    pub path: &'static str,
    began: Instant,
}

impl Line {
    pub fn begin(method: &Method, path: Path) -> Self {
        Self { method: method_name(method), path: path.as_str(), began: Instant::now() }
    }

    /// Milliseconds since the request began, to the microsecond.
    #[expect(clippy::cast_precision_loss, reason = "exact for 285 years of microseconds")]
    pub fn ms(&self) -> f64 {
        self.began.elapsed().as_micros() as f64 / 1_000.0
    }

    /// Writes the line of a request that is no webhook: at debug where it was answered as asked (probes and scrapes
    /// come every few seconds) or asked about health, else at warn.
    pub fn end(self, status: StatusCode, result: &'static str) {
        let Self { method, path, .. } = self;
        if status.is_client_error() {
            tracing::warn!(method, path, status = status.as_u16(), ms = self.ms(), result, "request");
        } else {
            tracing::debug!(method, path, status = status.as_u16(), ms = self.ms(), result, "request");
        }
    }
}

/// The name of a standard method; `other` for one that a caller has made up.
pub(crate) fn method_name(method: &Method) -> &'static str {
    const KNOWN: [(Method, &str); 9] = [
        (Method::POST, "POST"),
        (Method::GET, "GET"),
        (Method::HEAD, "HEAD"),
        (Method::PUT, "PUT"),
        (Method::DELETE, "DELETE"),
        (Method::OPTIONS, "OPTIONS"),
        (Method::PATCH, "PATCH"),
        (Method::CONNECT, "CONNECT"),
        (Method::TRACE, "TRACE"),
    ];
    KNOWN.iter().find(|(one, _)| one == method).map_or("other", |(_, name)| name)
}
