//! The service's front door: routes, authentication, limits, problem responses, health.
//!
//! Promises: a webhook is answered 2xx only once it is stored or needs no storing; 4xx only for what no retry can fix;
//! every error is a problem document; nothing personal is logged; and no caller that opens connections and leaves them
//! keeps others from being served. Knows neither Mailmojo nor the merge. The tests speak raw bytes over a socket.

pub(crate) mod access_log;
mod auth;
mod body;
mod connections;
mod ops;
pub(crate) mod problem;
#[cfg(test)]
pub(crate) mod tests;
mod webhook;

use std::sync::Arc;

use axum::routing::{get, post};
use axum::{Router, middleware};
use tokio_util::sync::CancellationToken;
use tower_http::catch_panic::CatchPanicLayer;

pub(crate) use auth::bearer;
pub use auth::{AuthError, Authenticator};
pub(crate) use body::{BodyError, whole};
pub use connections::{Limits, listen, serve};

use crate::clock::Clock;
use crate::queue::Queue;
use crate::worker::{Gates, Heartbeat, Pause};

/// Renders the metrics as Prometheus text.
pub type RenderMetrics = Arc<dyn Fn() -> String + Send + Sync>;

/// What the handlers work with.
#[derive(Clone)]
pub struct ServerState {
    /// Where events are stored.
    pub queue: Queue,
    /// Checks the credentials of webhooks.
    pub auth: Arc<Authenticator>,
    /// The only vendor whose events are accepted (`sesamy.vendor_id`); `None`: every vendor.
    pub vendor_id: Option<Arc<str>>,
    /// The longest body of a webhook, in bytes.
    pub body_limit_bytes: usize,
    /// The worker's pulse, for `/healthz`.
    pub heartbeat: Heartbeat,
    /// Whether an operator has paused syncs, for `/readyz`.
    pub pause: Pause,
    /// The APIs, for `/readyz`.
    pub gates: Gates,
    /// What `/metrics` answers.
    pub metrics: RenderMetrics,
    /// Cancelled as soon as the service is to stop: `/readyz` answers 503 from then on, webhooks are still taken.
    pub draining: CancellationToken,
    /// The service's time, by which `/readyz` says when a circuit closes.
    pub clock: Clock,
}

/// `/metrics` alone: for another listener of the same service.
pub fn metrics(app: ServerState) -> Router {
    Router::new().route("/metrics", get(ops::metrics)).with_state(Arc::new(app))
}

/// The routes, complete with limits and error answers; [`serve`] puts them on a socket.
pub fn router(app: ServerState) -> Router {
    Router::new()
        .route("/webhooks/sesamy", post(webhook::receive))
        .route("/healthz", get(ops::healthz))
        .route("/readyz", get(ops::readyz))
        .route("/metrics", get(ops::metrics))
        .fallback(problem::no_such_path)
        .method_not_allowed_fallback(problem::wrong_method)
        .layer(CatchPanicLayer::custom(problem::panicked))
        .layer(middleware::from_fn_with_state("request", access_log::log))
        .with_state(Arc::new(app))
}
