//! `POST /webhooks/sesamy`: checks in the order of the contract, stores, answers.

use std::sync::Arc;
use std::time::Duration;

use axum::Extension;
use axum::extract::{Request, State};
use axum::http::StatusCode;
use axum::http::header::CONTENT_TYPE;
use axum::response::{IntoResponse, Response};
use tokio::time::timeout;
use tracing::Level;

use super::ServerState;
use super::access_log::LogFields;
use super::auth::AuthError;
use super::body::{self, BodyError};
use super::problem::{Kind, problem};
use crate::event::{self, EventError, EventType, Reading, Reason};
use crate::queue::{Counted, QueueError};
use crate::telemetry::{self, WebhookResult};
use crate::user::UserId;

/// How long storing an event may take. Sesamy waits a few seconds for an answer, and a disk that hangs must not fill the
/// service with callers that wait for it.
const STORING: Duration = Duration::from_secs(5);

/// A webhook that was answered 2xx.
enum Taken {
    /// Committed and synced to disk.
    Accepted {
        user: UserId,
        event_type: EventType,
    },
    Ignored(Reason),
}

/// Why a webhook was refused.
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

/// 202 means "safely stored", not "done".
pub(super) async fn receive(State(app): State<Arc<ServerState>>, request: Request) -> Response {
    match take(&app, request).await {
        Ok(taken) => {
            if let Taken::Accepted { .. } = taken {
                app.queue.note(Counted::Accepted);
            }
            taken.into_response()
        }
        Err(refusal) => {
            app.queue.note(Counted::Refused(refusal.kind().1.into()));
            refusal.into_response()
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
            let stored = timeout(STORING, app.queue.push(&user, event_type.as_str())).await;
            match stored.unwrap_or(Err(QueueError::Late)) {
                Ok(()) => Ok(Taken::Accepted { user, event_type }),
                Err(source) => Err(Refusal::Unavailable { user, event_type, source }),
            }
        }
    }
}

impl IntoResponse for Taken {
    fn into_response(self) -> Response {
        let json = [(CONTENT_TYPE, "application/json")];
        let log = LogFields { level: Some(Level::INFO), ..LogFields::default() };
        match self {
            Self::Accepted { user, event_type } => {
                let answer = (StatusCode::ACCEPTED, json, r#"{"status":"accepted"}"#);
                let log = LogFields { user: Some(user), ..log };
                counted(WebhookResult::Accepted, event_type.as_str(), log, answer)
            }
            Self::Ignored(reason) => {
                let body = format!(r#"{{"status":"ignored","reason":"{}"}}"#, reason.as_str());
                let event_type = reason.event_type().map_or("unknown", EventType::as_str);
                let log = LogFields { reason: Some(reason.as_str()), ..log };
                counted(WebhookResult::Ignored, event_type, log, (StatusCode::OK, json, body))
            }
        }
    }
}

impl Refusal {
    const fn kind(&self) -> (Kind, WebhookResult) {
        match self {
            Self::Body(BodyError::TooLarge { .. }) => (Kind::BodyTooLarge, WebhookResult::TooLarge),
            Self::Body(BodyError::Late) => (Kind::BodyTimeout, WebhookResult::Timeout),
            Self::Body(BodyError::CutShort) => (Kind::InvalidEvent, WebhookResult::Invalid),
            Self::Unauthorized(_) => (Kind::Unauthorized, WebhookResult::Unauthorized),
            Self::Event(EventError::OtherVendor) => (Kind::OtherVendor, WebhookResult::Forbidden),
            Self::Event(_) => (Kind::InvalidEvent, WebhookResult::Invalid),
            Self::Unavailable { .. } => (Kind::QueueUnavailable, WebhookResult::Unavailable),
        }
    }
}

impl IntoResponse for Refusal {
    fn into_response(self) -> Response {
        let (kind, result) = self.kind();
        let answer = problem(kind, &self.to_string());
        let log = LogFields { error: Some(self.to_string()), ..LogFields::default() };
        let (event_type, log) = match self {
            Self::Unavailable { user, event_type, source } => {
                let (level, error) = (Some(Level::ERROR), Some(source.to_string()));
                (event_type.as_str(), LogFields { level, error, user: Some(user), ..log })
            }
            Self::Unauthorized(_) => {
                let todo =
                    "set the same credential in Sesamy's webhook and here, or find out what else calls";
                ("none", LogFields { todo: Some(todo), ..log })
            }
            _ => ("none", log),
        };
        counted(result, event_type, log, answer)
    }
}

/// Counts the webhook, and leaves its log fields with the answer.
fn counted(
    result: WebhookResult,
    event_type: &'static str,
    log: LogFields,
    answer: impl IntoResponse,
) -> Response {
    telemetry::webhook_answered(result, event_type);
    let event_type = Some(event_type).filter(|known| *known != "none");
    let log = LogFields { result: Some(result.into()), event_type, ..log };
    (Extension(log), answer).into_response()
}
