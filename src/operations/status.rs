//! How it stands: what waits, whose circuit is open, what is paused.

use serde::Serialize;

use super::Operator;
use crate::clock::Millis;
use crate::queue::{Census, QueueError};
use crate::upstream::Api;
use crate::upstream::circuit_breaker::Snapshot;

/// The state of the queue and of both APIs at one moment.
#[derive(Debug, Clone, Serialize)]
pub struct Status {
    /// By the queue's clock.
    pub now: Millis,
    /// Since when an operator has paused syncs; null while they go on.
    pub paused_since: Option<Millis>,
    /// Since when the brake keeps writes from taking tags away; null while they do.
    pub tags_kept_since: Option<Millis>,
    /// How many rows are in which state; up to 15 s old.
    pub rows: Census,
    /// Sesamy and Mailmojo.
    pub apis: Vec<ApiStatus>,
    /// The background lane.
    pub resync: Resync,
}

/// How far the background lane is behind: drift checks and backfills.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct Resync {
    /// How many of its rows are due.
    pub due: u64,
    /// How long the oldest of them has been due.
    pub oldest_overdue_seconds: u64,
}

/// The state of one API.
#[derive(Debug, Clone, Serialize)]
pub struct ApiStatus {
    /// `sesamy` or `mailmojo`.
    pub api: &'static str,
    /// `ok`, `resting` or `probing`.
    pub state: &'static str,
    /// Why it rests: `rate_limit`, `credentials`, `configuration` or `outage`.
    pub why: Option<&'static str>,
    /// When the rest ends.
    pub until: Option<Millis>,
}

impl Operator {
    /// How it stands, as all processes on the store know it.
    ///
    /// # Errors
    /// The store failed.
    pub async fn status(&self) -> Result<Status, QueueError> {
        let known = self.queue().known().await?;
        let now = self.hand.clock.now();
        let api = |api: Api| {
            let snapshot = known.breakers.of(api).snapshot(api, now);
            let Snapshot { api, state, why, until } = snapshot;
            ApiStatus { api, state, why, until }
        };
        let apis = Api::ALL.into_iter().map(api).collect();
        let rows = self.queue().census().await?;
        let resync =
            Resync { due: rows.background_due, oldest_overdue_seconds: rows.oldest_background_ms / 1_000 };
        let (paused_since, tags_kept_since) = (known.paused_at, known.braked_at);
        Ok(Status { now, paused_since, tags_kept_since, rows, apis, resync })
    }
}
