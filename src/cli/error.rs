//! Why a command, or the service, ended without doing what it is for.

use std::io;
use std::net::SocketAddr;

use metrics_exporter_prometheus::BuildError;
use tokio::task::JoinError;

use crate::app::AppError;
use crate::app::backfill::BackfillError;
use crate::config::SettingsError;
use crate::queue::{OpenError, QueueError};
use crate::telemetry::LoggingError;
use crate::upstream::ClientError;

/// Why a command failed.
#[derive(Debug, thiserror::Error)]
pub(super) enum CommandError {
    #[error(transparent)]
    Settings(#[from] SettingsError),
    #[error(transparent)]
    Logging(#[from] LoggingError),
    #[error(transparent)]
    Service(#[from] ServiceError),
    #[error(transparent)]
    App(#[from] AppError),
    #[error(transparent)]
    Backfill(#[from] BackfillError),
    #[error("{0}")]
    Unhealthy(String),
    #[error("cannot listen for signals: {0}")]
    Signals(io::Error),
    #[error("cannot write the answer: {0}")]
    Output(#[from] io::Error),
    #[error(transparent)]
    Demo(#[from] DemoError),
    /// The answer on standard output says why.
    #[error("")]
    Reported,
}

impl From<QueueError> for CommandError {
    fn from(error: QueueError) -> Self {
        Self::App(error.into())
    }
}

impl From<ClientError> for CommandError {
    fn from(error: ClientError) -> Self {
        Self::Service(error.into())
    }
}

/// Why the service cannot start, or has ended.
#[derive(Debug, thiserror::Error)]
pub(super) enum ServiceError {
    #[error(transparent)]
    Queue(#[from] OpenError),
    #[error(transparent)]
    Client(#[from] ClientError),
    #[error("cannot listen on {address}: {error}; is another service there? Set {setting}")]
    Listen { address: SocketAddr, error: io::Error, setting: &'static str },
    #[error("cannot collect metrics: {0}")]
    Metrics(#[from] BuildError),
    #[error("webhook.signature_header is not the name of a header")]
    SignatureHeader,
    #[error(
        "the queue, the worker, the server or the upkeep has ended by itself; the log has the reason. Start the service again"
    )]
    Ended,
    #[error("a part of the service ended with a fault: {0}")]
    Part(#[from] JoinError),
}

/// Why the demo failed.
#[derive(Debug, thiserror::Error)]
pub(super) enum DemoError {
    #[error("the demo cannot start: {0}")]
    Start(#[from] io::Error),
    #[error("the demo's settings are wrong, a fault of this program: {0}")]
    Settings(#[from] SettingsError),
    #[error("the demo's service cannot start: {0}")]
    Service(#[from] ServiceError),
    #[error("the demo's service has failed: {0}")]
    Broken(#[source] ServiceError),
    #[error("the demo cannot speak to its own service: {0}")]
    Http(#[from] reqwest::Error),
    #[error("{0}")]
    Client(#[from] ClientError),
    #[error("the service answered an event with {0}")]
    NotAccepted(u16),
    #[error("a sync did not end within {0} s")]
    NeverIdle(u64),
    #[error("{what}: expected {expected}, and it is {found}")]
    Unexpected { what: &'static str, expected: String, found: String },
    #[error("the sandbox objects to what the service did:\n  {0}")]
    Findings(String),
}
