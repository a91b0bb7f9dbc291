//! What an operator sees of the queue: counts, rows, and who is parked for what.

use std::time::Duration;

use serde::Serialize;

use super::Lane;
use crate::clock::Millis;
use crate::memory::Memory;
use crate::user::UserId;

/// How many rows are in which state, each counted to [`Census::LIMIT`] at the most.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, serde::Serialize)]
pub struct Census {
    /// Due now: what a lease would take, leases that ended among it; while an API rests, who waits for its end.
    pub due: u64,
    /// Under a lease that has not ended.
    pub leased: u64,
    /// Due later: debounce, backoff.
    pub scheduled: u64,
    /// Parked.
    pub parked: u64,
    /// How long the oldest due row has been due, in milliseconds; the background lane's, which may wait, left out.
    pub oldest_due_ms: u64,
}

impl Census {
    /// The highest number that is counted.
    pub const LIMIT: u64 = 10_000;
    /// The rows are counted no more often than this.
    pub const EVERY: Duration = Duration::from_secs(15);
}

/// The state of a row.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum State {
    /// Due now, a lease that ended among it.
    Due,
    /// Being synced.
    Leased,
    /// Due later.
    Scheduled,
    /// Given up until the next event or an operator.
    Parked,
    /// Nothing to do.
    Idle,
}

impl State {
    /// All states.
    pub const ALL: [Self; 5] = [Self::Due, Self::Leased, Self::Scheduled, Self::Parked, Self::Idle];

    /// The word for people and programs.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Due => "due",
            Self::Leased => "leased",
            Self::Scheduled => "scheduled",
            Self::Parked => "parked",
            Self::Idle => "idle",
        }
    }
}

/// A user's row, as it is at one moment.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct UserRow {
    /// The id as it is kept: one that no version of this program would take is shown as well.
    #[serde(rename = "user_id")]
    pub user: String,
    /// What follows from the columns below and the time.
    pub state: State,
    /// The lane.
    pub lane: Lane,
    /// When it is due; under a lease, when the lease ends.
    pub due_at: Option<Millis>,
    /// Counts what asked for a sync.
    pub generation: i64,
    /// The type of the event that came last, or a word of ours.
    pub event_type: String,
    /// Failures since the last sync that ended well.
    pub attempts: u32,
    /// When the first of them was.
    pub failing_since: Option<Millis>,
    /// The last of them, personal data masked.
    pub error: Option<String>,
    /// Since when it is parked.
    pub parked_at: Option<Millis>,
    /// What all have in common that are parked alike.
    pub answer: Option<String>,
    /// Whether `sync.dry_run` or the brake kept a change from being written.
    pub held_back: bool,
    /// When the last sync that ended well did.
    pub synced_at: Option<Millis>,
    /// When the user is looked at again though nothing asks for it ([`super::Done::changes_at`]).
    pub changes_at: Option<Millis>,
    /// What is remembered of the user; not for lists.
    #[serde(skip)]
    pub memory: Memory,
    /// Whose lease it is, or was until it ended: for who holds it, and nobody else.
    #[serde(skip)]
    pub lease_owner: Option<i64>,
}

impl UserRow {
    /// The state that follows from the row's columns at `now`.
    pub(super) fn state_at(now: Millis, due_at: Option<Millis>, is_held: bool, is_parked: bool) -> State {
        match due_at {
            _ if is_parked => State::Parked,
            None => State::Idle,
            Some(due) if due <= now => State::Due,
            Some(_) if is_held => State::Leased,
            Some(_) => State::Scheduled,
        }
    }
}

/// Which rows are asked for. An answer has them in the order of their ids, [`Filter::after`] leads to the next page.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Filter {
    /// In this state only.
    pub state: Option<State>,
    /// Whose error or answer has this text in it, ASCII letter case aside.
    pub reason: Option<String>,
    /// Whose id comes after this one.
    pub after: Option<String>,
    /// So many at the most.
    pub limit: usize,
}

/// All who are parked alike.
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

/// Whom to make due at once, with no attempts counted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Retry {
    /// These, parked or waiting for their next try. One whose sync runs just now, or who is not known, is left alone.
    Users(Vec<UserId>),
    /// All who are parked.
    AllParked,
    /// All who are parked with exactly this answer.
    Answer(String),
    /// All who are parked and whose error or answer has this text in it, ASCII letter case aside.
    Reason(String),
}

/// What [`Queue::enqueue`](super::Queue::enqueue) did.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Enqueued {
    /// Users who were made due now.
    pub due: u64,
    /// Users whose row was left as it is.
    pub left_alone: u64,
}

/// What the rows synced since a moment came to, and how much of the background lane is left.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Backlog {
    /// Rows of the background lane that are due or leased, of any cause.
    pub waiting: u64,
    /// Rows last synced, skipped or parked since then: how many by outcome and reason.
    pub ended: Vec<(String, String, u64)>,
    /// Rows with a failure behind them that wait for their next try.
    pub failing: u64,
}

/// How far a backfill has come, as the store keeps it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Progress {
    /// When it began: who has been synced since needs no more of it.
    pub started_at: Millis,
    /// When it was done; none while it is not.
    pub ended_at: Option<Millis>,
    /// What it was asked to do, as whoever does it writes that down.
    pub asked: String,
    /// What it has done so far, likewise.
    pub done: String,
}
