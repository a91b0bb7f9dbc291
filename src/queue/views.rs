//! What an operator sees of the queue: counts, rows, and who is parked for what.

use std::time::Duration;

use serde::Serialize;

use super::Row;
use super::row::State;
use crate::clock::Millis;
use crate::user::UserId;

/// How many rows are in which state, each counted to [`Census::LIMIT`] at the most.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, serde::Serialize)]
pub struct Census {
    /// Rows in [`State::Due`]; while an API's circuit is open, those that wait for it.
    pub due: u64,
    /// Rows in [`State::Leased`].
    pub leased: u64,
    /// Rows in [`State::Scheduled`].
    pub scheduled: u64,
    /// Rows in [`State::Failing`].
    pub failing: u64,
    /// Rows in [`State::Held`].
    pub held: u64,
    /// Rows in [`State::Parked`].
    pub parked: u64,
    /// How long the oldest due row has been due, in milliseconds, but for the background lane, which may wait.
    pub oldest_due_ms: u64,
    /// Due rows of the background lane; they are among `due`.
    #[serde(skip)]
    pub background_due: u64,
    /// How long the oldest of them has been due, in milliseconds.
    #[serde(skip)]
    pub oldest_background_ms: u64,
}

impl Census {
    /// The highest number that is counted.
    pub const LIMIT: u64 = 10_000;
    /// The rows are counted no more often than this.
    pub const EVERY: Duration = Duration::from_secs(15);
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
