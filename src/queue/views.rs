//! What an operator sees of the queue: counts, rows, and groups of parked users.

use std::time::Duration;

use serde::Serialize;

use super::lane::Lane;
use super::lease::LeaseName;
use super::row::{Row, RowState};
use crate::clock::Millis;
use crate::model::LastSeen;
use crate::user::UserId;

/// How many rows are in which state, each counted to [`Census::LIMIT`] at the most.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, serde::Serialize)]
pub struct Census {
    /// Rows in [`RowState::Due`]; while an API's circuit is open, those that wait for it.
    pub due: u64,
    /// Rows in [`RowState::Leased`].
    pub leased: u64,
    /// Rows in [`RowState::Scheduled`].
    pub scheduled: u64,
    /// Rows in [`RowState::Failing`].
    pub failing: u64,
    /// Rows in [`RowState::Held`].
    pub held: u64,
    /// Rows in [`RowState::Parked`].
    pub parked: u64,
    /// How long the oldest due row has been due, in milliseconds, but for the background lane, which may wait.
    pub oldest_due_ms: u64,
    /// Due rows of the background lane; they are among `due`.
    #[serde(skip)]
    pub background_due: u64,
    /// How long the oldest of them has been due, in milliseconds.
    #[serde(skip)]
    pub oldest_background_ms: u64,
    /// Rows of the background lane that have a `due_at`, whatever their state.
    #[serde(skip)]
    pub background_waiting: u64,
}

impl Census {
    /// The highest number that is counted.
    pub const LIMIT: u64 = 10_000;
    /// The rows are counted no more often than this.
    pub const EVERY: Duration = Duration::from_secs(15);
}

/// A user's row, as it is at one moment.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct UserRow {
    /// The id as it is stored.
    #[serde(rename = "user_id")]
    pub user: String,
    /// The state, which follows from the columns below and the time.
    pub state: RowState,
    /// The lane.
    pub lane: Lane,
    /// When the user is due; under a lease, when the lease ends.
    pub due_at: Option<Millis>,
    /// Counts the requests for a sync.
    pub generation: i64,
    /// The event type that came last, or a word of ours.
    pub event_type: String,
    /// Failures since the last sync that ended well.
    pub attempts: u32,
    /// When the first of them was.
    pub failing_since: Option<Millis>,
    /// The last of them, without personal data.
    pub error: Option<String>,
    /// Since when it is parked.
    pub parked_at: Option<Millis>,
    /// What all rows have in common that are parked for the same reason.
    pub answer: Option<String>,
    /// Whether `sync.dry_run` or the removal guard kept a change from being written.
    pub held_back: bool,
    /// The tags that the removal guard kept the last sync from removing.
    pub tags_held: Vec<String>,
    /// When the last sync that ended well did.
    pub synced_at: Option<Millis>,
    /// What the last sync came to; null before the first one.
    pub outcome: Option<String>,
    /// Why, where the outcome alone does not say it.
    pub reason: Option<String>,
    /// The next time the clock asks for a sync.
    pub check_at: Option<Millis>,
    /// Why it does: `expiry`, `drift` or `missing`.
    pub check_cause: Option<String>,
    /// What is remembered of the user; not for lists.
    #[serde(skip)]
    pub memory: LastSeen,
    /// The lease: for its holder alone.
    #[serde(skip)]
    pub lease: Option<LeaseName>,
}

impl UserRow {
    /// `row` at `now`.
    pub(super) fn of(row: Row, now: Millis) -> Self {
        Self {
            state: row.state(now),
            user: row.user_id,
            lane: row.lane,
            due_at: row.due_at,
            generation: row.generation,
            event_type: row.cause,
            attempts: row.attempts,
            failing_since: row.failing_since,
            error: row.error,
            parked_at: row.parked_at,
            answer: row.answer,
            held_back: row.held_back,
            tags_held: row.tags_held,
            synced_at: row.synced_at,
            outcome: row.outcome,
            reason: row.reason,
            check_at: row.check_at,
            check_cause: row.check_cause.filter(|_| row.check_at.is_some()),
            memory: row.last_seen,
            lease: row.lease,
        }
    }
}

/// Which rows are asked for. An answer has them in the order of their ids, [`Filter::after`] leads to the next page.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Filter {
    /// In this state only.
    pub state: Option<RowState>,
    /// Whose error or answer has this text in it, ASCII letter case aside.
    pub reason: Option<String>,
    /// Whose id comes after this one.
    pub after: Option<String>,
    /// The most rows.
    pub limit: usize,
}

/// All users that are parked for the same reason.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct ParkedGroup {
    /// What they have in common: an API and its answer.
    pub answer: String,
    /// How many they are, counted to [`Census::LIMIT`] at the most.
    pub users: u64,
    /// Since when the first of them fails.
    pub first_at: Option<Millis>,
    /// When the last of them was parked.
    pub last_at: Millis,
    /// What failed for one of them, personal data masked.
    pub error: String,
}

/// Which users to make due at once, with no attempts counted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Retry {
    /// These, parked or waiting for their next try. A user that is unknown, or whose sync is running, is left alone.
    Users(Vec<UserId>),
    /// All parked users.
    AllParked,
    /// All users that are parked with exactly this answer.
    Answer(String),
    /// All parked users whose error or answer has this text in it, ASCII letter case aside.
    Reason(String),
}
