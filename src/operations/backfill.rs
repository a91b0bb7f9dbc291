//! A backfill: everybody in step, cheaply, and beside a service that goes on with its events.
//!
//! Users and contracts are listed page by page and joined here; entitlements name no user and are read for each. So a user
//! costs one call of Sesamy's and a few hundredths, against three. What pages say only decides: a user is written under
//! the lease of the queue, like any other sync, where nothing has asked for a sync since the pages were, and from data that
//! is at most ten minutes old.
//!
//! ```text
//!  all contracts ─▶ page of users ─▶ not synced since the beginning? ─▶ lease ─▶ decide ─▶ young enough, no event? ─▶ write
//!       ▲               │ next page                                      └─ an event has the user: left to it
//!       └── next look ◀─┘ all pages: whom did it miss, who has changed since?
//! ```
//!
//! Who has been synced well since it began is done. That alone is how it goes on after a stop, a crash or a kill.
//!
//! Promises, each told in `tests/stories/backfill.rs` and `backfill_stops.rs`: nobody is missed, and nobody synced twice, when it
//! is killed and begun again; what an event has brought is never overwritten by older data; a dry run writes nothing, and
//! its totals are what the run then does; who has left stays away.

mod account;
pub mod age;
pub mod contracts;
mod desk;
mod lists;
mod look;
mod made;
pub mod order;
mod person;
mod remainder;
mod report;
pub mod seen;
pub mod tally;

use std::collections::{HashMap, HashSet};
use std::sync::Arc;
use std::time::Instant;

use tokio::task::{Id, JoinSet};

use crate::clock::Millis;
use crate::queue::QueueError;
use crate::user::UserId;
use contracts::Contracts;
pub use desk::{Audience, Desk, Pace};
pub use made::Made;
use order::{Begin, Order, OtherOrder};
pub use person::CAUSE;
use person::{Case, Fate, Turn};
pub use report::{ReportError, ReportFile};
use seen::Seen;
use tally::{Calls, Summary, Tally};

/// How often all users are looked at again, at the most, after the first look.
pub const MORE_LOOKS: u32 = 3;

/// Why a backfill ends before its end. What was done stays done, and the same command goes on.
#[derive(Debug, thiserror::Error)]
pub enum BackfillError {
    /// Another one was not finished.
    #[error(transparent)]
    OtherOrder(#[from] OtherOrder),
    /// The list of users, or of contracts, cannot be read.
    #[error(
        "{what} cannot be read: {message}. Once that is mended, the same command goes on where this one ends"
    )]
    List {
        /// Which list.
        what: String,
        /// What failed; nothing personal is in it.
        message: String,
    },
    /// The store failed.
    #[error(transparent)]
    Queue(#[from] QueueError),
    /// The report cannot be written.
    #[error(transparent)]
    Report(#[from] ReportError),
    /// It was to stop.
    #[error("stopped")]
    Stopped,
}

/// A backfill that is about to begin, or to go on.
#[derive(Debug)]
pub struct Backfill {
    desk: Arc<Desk>,
    order: Order,
    continued: bool,
    began: Millis,
    since: Option<Millis>,
    tally: Tally,
    report: Option<ReportFile>,
    contracts: Bought,
    seen: Seen,
    /// Who failed, and why.
    failed: HashMap<UserId, String>,
    /// Who is somebody else's, or was to be tried again: to be looked after at the end.
    waiting: HashSet<UserId>,
    tasks: JoinSet<Fate>,
    names: HashMap<Id, UserId>,
    users: Option<u64>,
    estimate: Option<u64>,
    /// Whether who ends is one more of a look's users, and not of those at the end.
    is_looking: bool,
    looks: u32,
    cut_short: bool,
    started: Instant,
    calls_before: Calls,
    seconds_before: u64,
}

/// Where contracts come from.
#[derive(Debug)]
enum Bought {
    /// No tag follows from them (`sesamy.derive_tags` is off), or nobody has asked yet.
    Nowhere,
    /// From the list of all.
    Listed(Contracts),
    /// From each user's own list, for that of all is of no use.
    Singly,
}

impl Backfill {
    /// A backfill for `order`: it goes on where one of the same order was stopped, unless it is to `restart`. A dry run
    /// begins at the beginning.
    ///
    /// # Errors
    /// [`BackfillError::OtherOrder`], or the store failed.
    pub async fn prepare(desk: Desk, order: Order, restart: bool) -> Result<Self, BackfillError> {
        let now = desk.now();
        let begin = if desk.dry_run {
            Begin::Anew
        } else {
            order.begin(desk.operator.hand.queue.progress().await?.as_ref(), restart)?
        };
        let continued = matches!(begin, Begin::GoOn { .. });
        let (began, tally) = match begin {
            Begin::Anew => (now, Tally::default()),
            Begin::GoOn { started_at, done } => {
                // All of them are passed once more.
                (started_at, Tally { forgotten: 0, ..*done })
            }
        };
        Ok(Self {
            since: order.since(began),
            calls_before: tally.calls,
            seconds_before: tally.seconds,
            desk: Arc::new(desk),
            order,
            continued,
            began,
            tally,
            report: None,
            contracts: Bought::Nowhere,
            seen: Seen::default(),
            failed: HashMap::new(),
            waiting: HashSet::new(),
            tasks: JoinSet::new(),
            names: HashMap::new(),
            users: None,
            estimate: None,
            is_looking: false,
            looks: 0,
            cut_short: false,
            started: Instant::now(),
        })
    }

    /// When the one began that this one goes on with; none where it begins anew.
    #[must_use]
    pub fn goes_on_from(&self) -> Option<Millis> {
        self.continued.then_some(self.began)
    }

    /// How many users there are, found in a few calls.
    ///
    /// # Errors
    /// [`BackfillError`].
    pub async fn count_users(&mut self) -> Result<u64, BackfillError> {
        let users = self.desk.count_users().await?;
        self.estimate = Some(users);
        Ok(users)
    }

    /// Writes a line per user into `report`.
    pub fn report_to(&mut self, report: ReportFile) {
        self.report = Some(report);
    }

    /// Looks at everybody. Ends early where the desk's `stop` says so, and then without a lease left.
    ///
    /// # Errors
    /// [`BackfillError`], but never for a stop: the summary tells that it is not finished.
    pub async fn run(mut self) -> Result<Summary, BackfillError> {
        self.keep(None).await?;
        let ended = self.look_at_everybody().await;
        // Whoever is being synced is given the time to end, or cut off.
        while let Some(ended) = self.tasks.join_next_with_id().await {
            self.take_in(ended)?;
        }
        let finished = match ended {
            Ok(()) => true,
            Err(BackfillError::Stopped) => false,
            Err(error) => {
                self.keep(None).await?;
                return Err(error);
            }
        };
        let now = self.desk.now();
        self.keep(finished.then_some(now)).await?;
        Ok(self.sum_up(finished))
    }

    async fn look_at_everybody(&mut self) -> Result<(), BackfillError> {
        self.look(1).await?;
        for look in 2..=MORE_LOOKS + 1 {
            let found = self.look(look).await?;
            self.cut_short = found > 0;
            if found == 0 {
                break;
            }
        }
        if self.desk.dry_run { Ok(()) } else { self.see_to_the_remainder().await }
    }

    /// Waits for all who are being synced.
    async fn drain(&mut self) -> Result<(), BackfillError> {
        while let Some(ended) = self.tasks.join_next_with_id().await {
            self.take_in(ended)?;
        }
        match self.desk.stop.leasing.is_cancelled() {
            true => Err(BackfillError::Stopped),
            false => Ok(()),
        }
    }

    /// Begins with one user, as soon as there is room. Whether the user is not somebody else's.
    async fn begin_with(&mut self, case: Case) -> Result<bool, BackfillError> {
        while self.tasks.len() >= self.desk.concurrency {
            match self.tasks.join_next_with_id().await {
                Some(ended) => self.take_in(ended)?,
                None => break,
            }
        }
        if self.desk.stop.leasing.is_cancelled() {
            return Err(BackfillError::Stopped);
        }
        let (desk, user) = (Arc::clone(&self.desk), case.user.clone());
        let id = if desk.dry_run {
            self.tasks.spawn(async move { desk.would(case).await }).id()
        } else {
            let job = match desk.lease(&case).await? {
                Turn::Leased(job) => job,
                Turn::Others => return Ok(false),
                Turn::Forgotten => {
                    self.pass_over(&user)?;
                    return Ok(true);
                }
            };
            let cut = desk.stop.running.clone();
            self.tasks.spawn(async move { desk.sync(*job, case, cut).await }).id()
        };
        self.names.insert(id, user);
        Ok(true)
    }
}

#[cfg(test)]
mod tests;
