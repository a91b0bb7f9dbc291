//! What operators and their monitoring ask: `/healthz`, `/readyz`, `/metrics`.

use std::sync::Arc;
use std::time::Duration;

use axum::extract::State;
use axum::http::StatusCode;
use axum::http::header::CONTENT_TYPE;
use axum::response::{IntoResponse, Response};
use axum::{Extension, Json};
use serde::Serialize;

use super::ServerState;
use super::access_log::LogFields;
use super::problem::{Kind, problem};
use crate::clock::Millis;
use crate::queue::Census;
use crate::telemetry;
use crate::upstream::Api;
use crate::upstream::circuit_breaker::ApiStatus;

/// The worker's loop turns at least every few seconds; after this long it hangs and a restart is the cure.
const STALLED_AFTER: Duration = Duration::from_secs(30);

/// 200 `{"status":"ok"}`; 503 if the worker's loop has not turned for 30 s.
pub(super) async fn healthz(State(app): State<Arc<ServerState>>) -> Response {
    if app.heartbeat.age() > STALLED_AFTER {
        let detail = "the worker's loop has not turned for 30 s; restart the service";
        let answer = problem(Kind::WorkerStalled, detail);
        return (Extension(LogFields::debug("stalled")), answer).into_response();
    }
    let json = [(CONTENT_TYPE, "application/json")];
    (Extension(LogFields::debug("ok")), json, r#"{"status":"ok"}"#).into_response()
}

/// The answer of `/readyz`.
#[derive(Debug, Serialize)]
struct Readiness {
    /// `ok`, `not_accepting` or `draining`.
    status: &'static str,
    /// By the service's own clock, as `until` is.
    now: Millis,
    queue: QueueState,
    apis: [ApiStatus; 2],
}

#[derive(Debug, Serialize)]
struct QueueState {
    accepting: bool,
    /// Since when an operator has paused syncs; null while they go on.
    paused_since: Option<Millis>,
    /// Since when the removal guard keeps writes from taking tags away; null while they do.
    tags_kept_since: Option<Millis>,
    /// Null if the queue cannot be counted.
    rows: Option<Census>,
}

/// The state of the queue and of each API: 200, or 503 if events cannot be kept or the service is stopping. An open
/// circuit is shown but is no reason for 503: events are kept all the same.
pub(super) async fn readyz(State(app): State<Arc<ServerState>>) -> impl IntoResponse {
    let accepting = app.queue.accepting();
    let (code, status) = if app.draining.is_cancelled() {
        (StatusCode::SERVICE_UNAVAILABLE, "draining")
    } else if !accepting {
        (StatusCode::SERVICE_UNAVAILABLE, "not_accepting")
    } else {
        (StatusCode::OK, "ok")
    };
    let rows = counted(&app).await;
    let readiness = Readiness {
        status,
        now: app.clock.now(),
        queue: QueueState {
            accepting,
            paused_since: app.pause.since(),
            tags_kept_since: app.queue.guard().tripped_at,
            rows,
        },
        apis: Api::ALL.map(|api| app.gates.of(api).status()),
    };
    (code, Extension(LogFields::debug(status)), Json(readiness))
}

/// Everything counted, as Prometheus text.
pub(super) async fn metrics(State(app): State<Arc<ServerState>>) -> impl IntoResponse {
    if let Some(rows) = counted(&app).await {
        telemetry::queue_counted(
            [
                ("due", rows.due),
                ("leased", rows.leased),
                ("scheduled", rows.scheduled),
                ("failing", rows.failing),
                ("held", rows.held),
                ("parked", rows.parked),
            ],
            Duration::from_millis(rows.oldest_due_ms),
        );
        telemetry::resync_late(Duration::from_millis(rows.oldest_background_ms));
    }
    telemetry::queue_accepting(app.queue.accepting());
    let text = [(CONTENT_TYPE, "text/plain; version=0.0.4")];
    (Extension(LogFields::debug("ok")), text, (app.metrics)())
}

/// The queue's rows by state, not older than [`Census::EVERY`]; `None` if they cannot be counted.
async fn counted(app: &ServerState) -> Option<Census> {
    app.queue.census().await.inspect_err(|error| tracing::warn!(%error, "cannot count the queue")).ok()
}
