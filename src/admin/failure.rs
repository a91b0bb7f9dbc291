//! Why it could not be done, for the page and the API alike. No text in here holds personal data, but for an API's own
//! words, which the page alone shows.

use axum::http::StatusCode;

use crate::operations::find::FindError;
use crate::operations::{FORGOTTEN, NotForgotten, NotSynced};
use crate::queue::QueueError;
use crate::server::problem::Kind;
use crate::sync::SyncError;
use crate::upstream::OwnWords;

/// What an operator asked for could not be done.
#[derive(Debug, Clone, thiserror::Error)]
pub(super) enum Failure {
    #[error("the queue does not know this user: no event has come for it, and no backfill has seen it")]
    UnknownUser,
    #[error("this user {FORGOTTEN}")]
    Forgotten,
    #[error("{0}")]
    Busy(NotSynced),
    #[error("{0}")]
    NotNow(NotSynced),
    #[error("{0}")]
    Undone(String),
    #[error("{0}")]
    Upstream(String),
    #[error("{0}")]
    Sync(SyncError),
    #[error("{0}")]
    Store(QueueError),
}

impl Failure {
    /// The kind of problem document.
    pub(super) const fn kind(&self) -> Kind {
        match self {
            Self::UnknownUser => Kind::UnknownUser,
            Self::Forgotten => Kind::UserForgotten,
            Self::Busy(_) => Kind::UserBusy,
            Self::NotNow(_) | Self::Undone(_) => Kind::NotNow,
            Self::Upstream(_) | Self::Sync(SyncError::Api(_)) => Kind::UpstreamFailed,
            Self::Store(_) | Self::Sync(SyncError::Queue(_)) => Kind::QueueUnavailable,
        }
    }

    /// The API's own words, for the page of the operator who has just asked. No problem document has them.
    pub(super) fn own_words(&self) -> Option<&str> {
        match self {
            Self::Sync(error) => error.own_words().map(OwnWords::for_the_operator),
            _ => None,
        }
    }

    /// The status and the title of a page.
    pub(super) const fn headline(&self) -> (StatusCode, &'static str) {
        let title = match self {
            Self::UnknownUser => "No such user",
            Self::Forgotten => "The user was forgotten",
            Self::Busy(_) => "The user is being synced",
            Self::NotNow(_) | Self::Undone(_) => "Not now",
            Self::Upstream(_) | Self::Sync(SyncError::Api(_)) => "An API did not do as asked",
            Self::Store(_) | Self::Sync(SyncError::Queue(_)) => "The queue cannot be asked just now",
        };
        (self.kind().status(), title)
    }
}

impl From<QueueError> for Failure {
    fn from(error: QueueError) -> Self {
        Self::Store(error)
    }
}

impl From<NotSynced> for Failure {
    fn from(why: NotSynced) -> Self {
        match why {
            NotSynced::Held { .. } => Self::Busy(why),
            NotSynced::Forgotten => Self::Forgotten,
            NotSynced::Paused
            | NotSynced::Resting { .. }
            | NotSynced::NoCalls { .. }
            | NotSynced::Stopped => Self::NotNow(why),
            NotSynced::Queue(error) => Self::Store(error),
        }
    }
}

impl From<NotForgotten> for Failure {
    fn from(why: NotForgotten) -> Self {
        match why {
            NotForgotten::Lease(why) => why.into(),
            NotForgotten::Queue(error) => Self::Store(error),
            NotForgotten::Tags(_) | NotForgotten::TagsOfForgotten(_) => Self::Upstream(why.to_string()),
            NotForgotten::Stopped | NotForgotten::LeaseLost => Self::Undone(why.to_string()),
        }
    }
}

impl From<SyncError> for Failure {
    fn from(error: SyncError) -> Self {
        Self::Sync(error)
    }
}

impl From<FindError> for Failure {
    fn from(error: FindError) -> Self {
        Self::Upstream(error.to_string())
    }
}
