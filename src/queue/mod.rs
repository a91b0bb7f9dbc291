//! The work queue: one row per user, due or not.

use std::time::Duration;

use tokio::sync::watch;

use crate::clock::Millis;
use crate::user::UserId;

/// The queue of users. Clones share one store.
#[derive(Debug, Clone)]
pub struct Queue {}

/// A user under lease: nobody else syncs this user until the lease is settled or ends.
#[derive(Debug, Clone)]
pub struct Job {
    /// Whom to sync.
    pub user: UserId,
    /// The type of the event that came last, for the log.
    pub event_type: String,
    /// Failures counted since the last sync that ended well.
    pub attempts: u32,
    /// When the first of these failures was; none where there is none.
    pub failing_since: Option<Millis>,
    /// The random name of this lease.
    pub lease_owner: i64,
    /// The row's generation when it was leased.
    pub generation: i64,
}

/// How a lease ends.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Settlement {
    /// The sync is done; `held_back` marks a change that `sync.dry_run` kept from being written.
    Done {
        /// Whether there was a change that was not written.
        held_back: bool,
    },
    /// Try again at `at`.
    Retry {
        /// When.
        at: Millis,
        /// Whether this failure is the user's and counts as an attempt.
        counts: bool,
        /// What failed, personal data masked.
        error: String,
    },
    /// No retry can mend it: keep the row, visible, until the next event or an operator.
    Park {
        /// What failed, personal data masked.
        error: String,
        /// What is the same for all who fail for this reason (see [`Queue::give_back`]).
        answer: String,
    },
    /// Not done, and nobody's fault (shutdown): due at once.
    Release,
    /// Cut off in the middle of a write: keep the lease until `until`, when the write is over one way or the other.
    Abandon {
        /// When the lease ends.
        until: Millis,
    },
}

/// What came of a settlement.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Settled {
    /// As asked.
    AsAsked,
    /// An event came during the sync: the row is due again at now + debounce instead.
    DueAgain,
    /// The lease had ended and the row is somebody else's now: nothing was changed.
    LeaseLost,
}

/// How many rows are in which state, each counted to [`Census::LIMIT`] at the most.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, serde::Serialize)]
pub struct Census {
    /// Due now and not leased.
    pub due: u64,
    /// Under lease.
    pub leased: u64,
    /// Due later: debounce, backoff, a rest.
    pub scheduled: u64,
    /// Parked.
    pub parked: u64,
    /// How long the oldest due row has been due, in milliseconds.
    pub oldest_due_ms: u64,
}

impl Census {
    /// The highest number that is counted.
    pub const LIMIT: u64 = 10_000;
}

/// Why the queue could not do what it was asked.
#[derive(Debug, Clone, thiserror::Error)]
pub enum QueueError {
    /// The store refused; the text is its own message.
    #[error("the queue's store failed: {0}")]
    Store(String),
    /// The queue has been closed.
    #[error("the queue is closed")]
    Closed,
}

impl Queue {
    /// Keeps that something changed for `user`; returns once that is committed and synced to disk.
    pub async fn push(&self, _user: &UserId, _event_type: &'static str) -> Result<(), QueueError> {
        Err(QueueError::Closed)
    }
    /// Leases up to `most` users that are due, the longest due first.
    pub async fn lease(&self, _most: usize) -> Result<Vec<Job>, QueueError> {
        Err(QueueError::Closed)
    }
    /// Ends a lease.
    pub async fn settle(&self, _job: &Job, _how: Settlement) -> Result<Settled, QueueError> {
        Err(QueueError::Closed)
    }
    /// Takes back what an outage did to users: one attempt each from `users`; and whoever of all rows is parked with
    /// `answer` is due at `due` again.
    pub async fn give_back(&self, _users: &[UserId], _answer: Option<&str>, _due: Millis) -> Result<(), QueueError> {
        Err(QueueError::Closed)
    }
    /// When the next row is due (or a lease ends); none where nothing is. Changes as soon as that becomes sooner.
    pub fn next_due(&self) -> watch::Receiver<Option<Millis>> {
        watch::channel(None).1
    }
    /// Counts the rows, at most once in 15 s; between, the last answer.
    pub async fn census(&self) -> Result<Census, QueueError> {
        Err(QueueError::Closed)
    }
    /// Whether the last event could be kept. While not, a small write every 2 s tries whether events can be again.
    pub fn accepting(&self) -> bool {
        false
    }
    /// Finishes what waits and closes the store.
    pub async fn close(&self) {
        let _ = Duration::ZERO;
    }
}
