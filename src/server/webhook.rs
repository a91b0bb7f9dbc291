//! `POST /webhooks/sesamy`: checks in the order of the contract, keeps, answers.

pub(super) mod body;

use std::sync::Arc;
use std::time::Duration;

use axum::extract::{Request, State};
use axum::http::StatusCode;
use axum::http::header::CONTENT_TYPE;
use axum::response::{IntoResponse, Response};
use tokio::time::timeout;

use self::body::BodyError;
use super::ServerState;
use super::auth::AuthError;
use super::problem::{Kind, problem};
use super::request_log::{Line, Path};
use crate::event::{self, EventError, EventType, Reading, Reason};
use crate::queue::{Counted, QueueError};
use crate::telemetry;
use crate::user::UserId;

/// How long keeping an event may take. Sesamy waits a few seconds for an answer, and a disk that hangs must not fill the
/// service with callers who wait for it.
const KEEPING: Duration = Duration::from_secs(5);

/// A webhook that was answered 2xx.
enum Taken {
    /// Kept: committed and synced to disk.
    Accepted {
        user: UserId,
        event_type: EventType,
    },
    Ignored(Reason),
}

/// Why a webhook was turned away.
#[derive(Debug, thiserror::Error)]
enum Refusal {
    #[error(transparent)]
    Body(#[from] BodyError),
    #[error(transparent)]
    Unauthorized(#[from] AuthError),
    #[error(transparent)]
    Event(#[from] EventError),
    #[error("the event could not be kept; send it again")]
    Unavailable { user: UserId, event_type: EventType, source: QueueError },
}

/// 202 means "safely kept", not "done".
pub(super) async fn receive(State(app): State<Arc<ServerState>>, request: Request) -> Response {
    let line = Line::begin(request.method(), Path::Webhook);
    match take(&app, request).await {
        Ok(taken) => {
            if let Taken::Accepted { .. } = taken {
                app.queue.note(Counted::Accepted);
            }
            taken.answer(line)
        }
        Err(refusal) => {
            app.queue.note(Counted::Refused(refusal.kind().1));
            refusal.answer(line)
        }
    }
}

async fn take(app: &ServerState, request: Request) -> Result<Taken, Refusal> {
    let (head, body) = request.into_parts();
    let body = body::whole(body, &head.headers, app.body_limit_bytes).await?;
    app.auth.check(&head.headers, &body)?;
    match event::read(&body, app.vendor_id.as_deref())? {
        Reading::Ignored(reason) => Ok(Taken::Ignored(reason)),
        Reading::Event { user, event_type } => {
            let kept = timeout(KEEPING, app.queue.push(&user, event_type.as_str())).await;
            match kept.unwrap_or(Err(QueueError::Late)) {
                Ok(()) => Ok(Taken::Accepted { user, event_type }),
                Err(source) => Err(Refusal::Unavailable { user, event_type, source }),
            }
        }
    }
}

impl Taken {
    fn answer(self, line: Line) -> Response {
        let (status, result, body) = match &self {
            Self::Accepted { .. } => (StatusCode::ACCEPTED, "accepted", r#"{"status":"accepted"}"#),
            Self::Ignored(Reason::UnknownEventType) => {
                (StatusCode::OK, "ignored", r#"{"status":"ignored","reason":"unknown_event_type"}"#)
            }
            Self::Ignored(Reason::NoUserId(_)) => {
                (StatusCode::OK, "ignored", r#"{"status":"ignored","reason":"no_user_id"}"#)
            }
        };
        let (user, event_type, reason) = match &self {
            Self::Accepted { user, event_type } => (Some(user), event_type.as_str(), None),
            Self::Ignored(reason) => {
                (None, reason.event_type().map_or("unknown", EventType::as_str), Some(reason.as_str()))
            }
        };
        telemetry::webhook_answered(result, event_type);
        tracing::info!(
            method = line.method,
            path = line.path,
            status = status.as_u16(),
            ms = line.ms(),
            result,
            reason,
            event_type,
            user_id = user.map(tracing::field::display),
            "request"
        );
        (status, [(CONTENT_TYPE, "application/json")], body).into_response()
    }
}

impl Refusal {
    /// The kind of problem, and the `result` of the log and of `webhook_requests_total`.
    const fn kind(&self) -> (Kind, &'static str) {
        match self {
            Self::Body(BodyError::TooLarge { .. }) => (Kind::BodyTooLarge, "too_large"),
            Self::Body(BodyError::Late) => (Kind::BodyTimeout, "timeout"),
            Self::Body(BodyError::CutShort) => (Kind::InvalidEvent, "invalid"),
            Self::Unauthorized(_) => (Kind::Unauthorized, "unauthorized"),
            Self::Event(EventError::OtherVendor) => (Kind::OtherVendor, "forbidden"),
            Self::Event(_) => (Kind::InvalidEvent, "invalid"),
            Self::Unavailable { .. } => (Kind::QueueUnavailable, "unavailable"),
        }
    }

    fn answer(self, line: Line) -> Response {
        let (kind, result) = self.kind();
        let (method, path, status) = (line.method, line.path, kind.status().as_u16());
        let event_type = match &self {
            Self::Unavailable { event_type, .. } => event_type.as_str(),
            _ => "none",
        };
        telemetry::webhook_answered(result, event_type);
        match &self {
            Self::Unavailable { user, source, .. } => {
                tracing::error!(method, path, status, ms = line.ms(), result, event_type, user_id = %user,
                    error = %source, "request");
            }
            Self::Unauthorized(_) => {
                tracing::warn!(method, path, status, ms = line.ms(), result, error = %self,
                    todo = "set the same credential in Sesamy's webhook and here, or look who else calls", "request");
            }
            _ => tracing::warn!(method, path, status, ms = line.ms(), result, error = %self, "request"),
        }
        problem(kind, &self.to_string())
    }
}
