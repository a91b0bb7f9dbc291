//! What a sync did, or why it failed.

use crate::clock::Millis;
use crate::model::LastSeen;
use crate::outcome::Outcome;
use crate::upstream::{Failure, OwnWords};

/// What a sync did.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Report {
    /// How it ended; in a dry run, how it would have ended.
    pub outcome: Outcome,
    /// The names of the fields that were written.
    pub changed: Vec<&'static str>,
    /// Which of our tags the contact gained.
    pub tags_added: Vec<String>,
    /// Which of our tags the contact lost.
    pub tags_removed: Vec<String>,
    /// Which of our tags the contact of the user's previous address lost; empty if the address is the same.
    pub old_tags_removed: Vec<String>,
    /// The tags that the removal guard kept the sync from removing, sorted.
    pub tags_held: Vec<String>,
    /// Whether `sync.dry_run`, or the removal guard, kept a change from being written.
    pub held_back: bool,
    /// Whether it was the guard; the fields above but `tags_held` then say what was written all the same.
    pub braked: bool,
    /// The status for which the contact is not subscribed by us, if there is one.
    pub withheld: Option<String>,
    /// What to remember of the user from now on.
    pub last_seen: LastSeen,
    /// When to check the user again though nothing asks for it; `None`: there is no such moment.
    pub changes_at: Option<Millis>,
}

impl Report {
    pub(super) fn new(outcome: Outcome, last_seen: LastSeen) -> Self {
        Self {
            outcome,
            changed: Vec::new(),
            tags_added: Vec::new(),
            tags_removed: Vec::new(),
            old_tags_removed: Vec::new(),
            tags_held: Vec::new(),
            held_back: false,
            braked: false,
            withheld: None,
            last_seen,
            changes_at: None,
        }
    }
}

/// Why a sync failed.
#[derive(Debug, Clone, thiserror::Error)]
pub enum SyncError {
    /// An API did.
    #[error("{0}")]
    Api(Failure),
    /// The queue could not say who else has an address, and what to do depends on it.
    #[error("the queue cannot be asked who else has the address: {0}")]
    Queue(String),
}

impl SyncError {
    /// The failure of an API.
    pub fn failure(&self) -> Option<&Failure> {
        match self {
            Self::Api(failure) => Some(failure),
            Self::Queue(_) => None,
        }
    }

    /// What is the same for all users who fail for this reason.
    pub fn answer(&self) -> String {
        match self {
            Self::Api(failure) => failure.answer(),
            Self::Queue(_) => "the queue cannot be asked who else has an address".to_owned(),
        }
    }

    /// The API's own words, for the operator who has just asked; they are neither logged nor kept.
    pub fn own_words(&self) -> Option<&OwnWords> {
        self.failure()?.own_words()
    }
}

impl From<Failure> for SyncError {
    fn from(failure: Failure) -> Self {
        Self::Api(failure)
    }
}
