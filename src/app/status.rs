//! The state of the service: what waits, which circuit is open, what is paused.

use serde::Serialize;

use super::backfill::progress::Progress;
use crate::clock::Millis;
use crate::queue::{Census, GuardState, QueueError};
use crate::upstream::Api;
use crate::upstream::circuit_breaker::ApiStatus;
use crate::worker::SyncRunner;

/// The state of the queue and of both APIs at one moment.
#[derive(Debug, Clone, Serialize)]
pub(crate) struct Status {
    /// By the queue's clock.
    pub now: Millis,
    /// Since when an operator has paused syncs; null while they go on.
    pub paused_since: Option<Millis>,
    /// Since when the removal guard keeps writes from taking tags away; null while they do.
    pub tags_kept_since: Option<Millis>,
    /// Until when an operator has switched the guard off, by the wall clock; null while it is on duty.
    pub removals_allowed_until: Option<Millis>,
    /// Whether nothing is written (`sync.dry_run`).
    pub dry_run: bool,
    /// How many rows are in which state, up to 15 s old; null if they cannot be counted.
    pub rows: Option<Census>,
    /// Sesamy and Mailmojo.
    pub apis: [ApiStatus; 2],
    /// The background lane; null if the queue cannot be read.
    pub resync: Option<Resync>,
    /// The backfill that has not ended; null if there is none, or it cannot be read.
    pub backfill: Option<BackfillStatus>,
}

/// The status as a running service sees it.
#[derive(Debug, Clone, Serialize)]
pub(crate) struct ServiceStatus {
    #[serde(flatten)]
    pub status: Status,
    /// Whether events can be kept.
    pub accepting: bool,
    /// Why the queue cannot be read; null if it can. The status then has what this process knows by itself.
    pub trouble: Option<String>,
}

/// How far the background lane is behind: drift checks and backfills.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub(crate) struct Resync {
    /// How many of its rows are due.
    pub due: u64,
    /// How long the oldest of them has been due.
    pub oldest_overdue_seconds: u64,
}

/// A backfill that is running, or was stopped and goes on when the command is run again.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub(crate) struct BackfillStatus {
    pub started_at: Millis,
    /// How many rows of Sesamy's list of users it has read.
    pub listed: u64,
    /// How many users it has made due.
    pub due: u64,
    /// Whether all users are listed: what is left is to sync them.
    pub is_listed: bool,
}

impl Status {
    /// As all processes on the store know it.
    pub(super) async fn load(runner: &SyncRunner, dry_run: bool) -> Result<Self, QueueError> {
        let known = runner.queue.known().await?;
        let now = runner.clock.now();
        let apis = Api::ALL.map(|api| known.breakers.of(api).status(api, now));
        let rows = runner.queue.census().await?;
        let oldest_overdue_seconds = rows.oldest_background_ms / 1_000;
        Ok(Self {
            paused_since: known.paused_at,
            rows: Some(rows),
            resync: Some(Resync { due: rows.background_due, oldest_overdue_seconds }),
            backfill: Progress::load(&runner.queue).await?.and_then(BackfillStatus::new),
            ..Self::new(runner, dry_run, known.guard, apis)
        })
    }

    /// As far as this process knows by itself, when the store cannot be read.
    fn of_this_process(runner: &SyncRunner, dry_run: bool) -> Self {
        let apis = Api::ALL.map(|api| runner.gates.of(api).status());
        Self::new(runner, dry_run, runner.queue.guard(), apis)
    }

    fn new(runner: &SyncRunner, dry_run: bool, guard: GuardState, apis: [ApiStatus; 2]) -> Self {
        Self {
            now: runner.clock.now(),
            paused_since: None,
            tags_kept_since: guard.tripped_at,
            removals_allowed_until: guard.allowed_after(runner.clock.wall()),
            dry_run,
            rows: None,
            apis,
            resync: None,
            backfill: None,
        }
    }
}

impl ServiceStatus {
    pub(super) async fn load(runner: &SyncRunner, dry_run: bool) -> Self {
        let accepting = runner.queue.accepting();
        match Status::load(runner, dry_run).await {
            Ok(status) => Self { status, accepting, trouble: None },
            Err(error) => {
                let status = Status::of_this_process(runner, dry_run);
                Self { status, accepting, trouble: Some(error.to_string()) }
            }
        }
    }
}

impl BackfillStatus {
    /// `None` if it has ended.
    fn new(progress: Progress) -> Option<Self> {
        progress.ended_at.is_none().then_some(Self {
            started_at: progress.began_at,
            listed: progress.listed.users,
            due: progress.listed.due,
            is_listed: progress.is_listed || progress.pass > 1,
        })
    }
}
