//! How it stands: what waits, whose circuit is open, what is paused.

use serde::Serialize;

use super::Operator;
use super::backfill::progress::Progress;
use crate::clock::Millis;
use crate::queue::{Census, QueueError};
use crate::upstream::Api;
use crate::upstream::circuit_breaker::ApiStatus;

/// The state of the queue and of both APIs at one moment.
#[derive(Debug, Clone, Serialize)]
pub struct Status {
    /// By the queue's clock.
    pub now: Millis,
    /// Since when an operator has paused syncs; null while they go on.
    pub paused_since: Option<Millis>,
    /// Since when the removal guard keeps writes from taking tags away; null while they do.
    pub tags_kept_since: Option<Millis>,
    /// Until when the guard is off by an operator's word, by the wall clock; null while it is on duty.
    pub removals_allowed_until: Option<Millis>,
    /// How many rows are in which state; up to 15 s old.
    pub rows: Census,
    /// Sesamy and Mailmojo.
    pub apis: Vec<ApiStatus>,
    /// The background lane.
    pub resync: Resync,
    /// The backfill that has not ended; null where there is none.
    pub backfill: Option<BackfillStatus>,
}

/// A backfill that is running, or was stopped and goes on when the command is run again.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct BackfillStatus {
    /// When it began.
    pub started_at: Millis,
    /// How many rows of Sesamy's list of users it has read.
    pub listed: u64,
    /// How many users it has made due.
    pub due: u64,
    /// Whether all users are listed: what is left is to sync them.
    pub is_listed: bool,
}

/// How far the background lane is behind: drift checks and backfills.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct Resync {
    /// How many of its rows are due.
    pub due: u64,
    /// How long the oldest of them has been due.
    pub oldest_overdue_seconds: u64,
}

impl BackfillStatus {
    /// None of a backfill that has ended.
    fn of(progress: Progress) -> Option<Self> {
        let Progress { began_at, ended_at: None, pass, is_listed, listed, .. } = progress else {
            return None;
        };
        Some(Self {
            started_at: began_at,
            listed: listed.users,
            due: listed.due,
            is_listed: is_listed || pass > 1,
        })
    }
}

impl Operator {
    /// How it stands, as all processes on the store know it.
    ///
    /// # Errors
    /// The store failed.
    pub async fn status(&self) -> Result<Status, QueueError> {
        let known = self.queue().known().await?;
        let now = self.hand.clock.now();
        let apis = Api::ALL.into_iter().map(|api| known.breakers.of(api).status(api, now)).collect();
        let rows = self.queue().census().await?;
        let resync =
            Resync { due: rows.background_due, oldest_overdue_seconds: rows.oldest_background_ms / 1_000 };
        let (paused_since, tags_kept_since) = (known.paused_at, known.guard.tripped_at);
        let removals_allowed_until = known.guard.allowed_after(self.hand.clock.wall());
        let backfill = Progress::load(self.queue()).await?.and_then(BackfillStatus::of);
        Ok(Status {
            now,
            paused_since,
            tags_kept_since,
            removals_allowed_until,
            rows,
            apis,
            resync,
            backfill,
        })
    }
}
