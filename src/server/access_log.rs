//! One log line per request, with nothing personal in it.
//!
//! What the caller chose freely is never printed: of paths only the route that they match, of methods only the standard
//! ones, never a query or a header.

use std::time::Instant;

use axum::extract::{MatchedPath, Request, State};
use axum::http::Method;
use axum::middleware::Next;
use axum::response::Response;
use tracing::Level;
use tracing::field::display;

use crate::user::UserId;

/// What a handler adds to the line of its request, as an extension of its response.
#[derive(Debug, Clone, Default)]
pub(super) struct LogFields {
    /// `None`: warn if the request was refused or has failed, else debug.
    pub level: Option<Level>,
    pub result: Option<&'static str>,
    pub reason: Option<&'static str>,
    pub event_type: Option<&'static str>,
    pub user: Option<UserId>,
    pub error: Option<String>,
    pub todo: Option<&'static str>,
}

impl LogFields {
    /// At debug whatever the status: health checks and scrapes come every few seconds.
    pub fn debug(result: &'static str) -> Self {
        Self { level: Some(Level::DEBUG), result: Some(result), ..Self::default() }
    }
}

/// A layer that logs each request once it is answered; `message` says which listener it came to.
pub(crate) async fn log(State(message): State<&'static str>, request: Request, next: Next) -> Response {
    let began = Instant::now();
    let method = standard_name(request.method());
    let route = request.extensions().get::<MatchedPath>().cloned();
    let mut response = next.run(request).await;

    let path = route.as_ref().map_or("unknown", MatchedPath::as_str);
    let status = response.status();
    let ms = ms_since(began);
    let fields = response.extensions_mut().remove::<LogFields>().unwrap_or_default();
    let LogFields { level, result, reason, event_type, user, error, todo } = fields;
    let (status_code, user_id) = (status.as_u16(), user.as_ref().map(display));
    macro_rules! line {
        ($level:ident) => {
            tracing::$level!(
                method,
                path,
                status = status_code,
                ms,
                result,
                reason,
                event_type,
                user_id,
                error,
                todo,
                "{message}"
            )
        };
    }
    let has_failed = status.is_client_error() || status.is_server_error();
    match level.unwrap_or(if has_failed { Level::WARN } else { Level::DEBUG }) {
        Level::ERROR => line!(error),
        Level::WARN => line!(warn),
        Level::INFO => line!(info),
        _ => line!(debug),
    }
    response
}

/// Milliseconds, to the microsecond.
#[expect(clippy::cast_precision_loss, reason = "exact for 285 years of microseconds")]
fn ms_since(began: Instant) -> f64 {
    began.elapsed().as_micros() as f64 / 1_000.0
}

/// The name of a standard method; `other` for one that a caller has made up.
fn standard_name(method: &Method) -> &'static str {
    static STANDARD: [Method; 9] = [
        Method::POST,
        Method::GET,
        Method::HEAD,
        Method::PUT,
        Method::DELETE,
        Method::OPTIONS,
        Method::PATCH,
        Method::CONNECT,
        Method::TRACE,
    ];
    STANDARD.iter().find(|standard| *standard == method).map_or("other", Method::as_str)
}
