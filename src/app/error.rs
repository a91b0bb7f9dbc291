//! Why something that an operator asked for was not done: one type for every command, the admin API and the page.

use super::FORGOTTEN;
use crate::clock::Millis;
use crate::queue::QueueError;
use crate::sync::SyncError;
use crate::upstream::{Api, Failure, OwnWords};

/// Why it was not done. No message has personal data in it.
#[derive(Debug, Clone, thiserror::Error)]
pub(crate) enum AppError {
    #[error("the queue does not know this user: no event has come for it, and no backfill has seen it")]
    UnknownUser,
    #[error("the user {FORGOTTEN}")]
    Forgotten,
    #[error("that is not an e-mail address: it has no @, or white space or an invisible character in it")]
    NotAnAddress,
    #[error("the user is being synced by the service just now, until {until} at the latest; try again then")]
    Busy { until: Millis },
    #[error("syncs are paused: `queue resume` lets them go on")]
    Paused,
    #[error("{api}'s circuit is open ({why}) until {until}; `queue resume` closes it at once, or wait")]
    CircuitOpen { api: Api, why: &'static str, until: Millis },
    #[error("the rate of calls is used up until {until}; try again then")]
    NoCalls { until: Millis },
    #[error("stopped before {0}")]
    Stopped(&'static str),
    #[error("it took longer than the user's lease lasts, and nothing was forgotten; ask again")]
    LeaseLost,
    /// A call failed. The API's own words about it are for the operator who has just asked, and in no log.
    #[error("{message}")]
    Api { message: String, own_words: Option<OwnWords> },
    #[error("it panicked: a bug of this service; the log has the place. Please report it")]
    Panicked,
    #[error(transparent)]
    Queue(#[from] QueueError),
    /// The queue could not answer what a sync asks it.
    #[error("{0}")]
    QueueDuringSync(String),
}

impl AppError {
    /// The API's own words, if a call failed and its answer had any.
    pub(crate) fn own_words(&self) -> Option<&str> {
        match self {
            Self::Api { own_words, .. } => own_words.as_ref().map(OwnWords::for_the_operator),
            _ => None,
        }
    }
}

impl From<Failure> for AppError {
    fn from(failure: Failure) -> Self {
        Self::Api { message: failure.to_string(), own_words: failure.own_words().cloned() }
    }
}

impl From<SyncError> for AppError {
    fn from(error: SyncError) -> Self {
        match error {
            SyncError::Api(failure) => failure.into(),
            SyncError::Queue(_) => Self::QueueDuringSync(error.to_string()),
        }
    }
}
