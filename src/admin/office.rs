//! What the page and the API work with, and the few things that both ask for.

use std::fmt;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use secrecy::SecretString;
use serde::Serialize;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::failure::Failure;
use super::login_rest::LoginRest;
use super::session::Keys;
use crate::clock::Millis;
use crate::config::InForce;
use crate::operations::preview::{Preview, preview};
use crate::operations::{Again, ApiStatus, BackfillStatus, Forgotten, Operator, Patience, Resync, Synced};
use crate::queue::{Census, HistoryRow, UserRow};
use crate::upstream::{Api, Attempt};
use crate::user::UserId;

/// How long a sync by hand waits for its turn: a person is waiting too.
const PATIENCE: Duration = Duration::from_secs(5);
/// How much of a user's history is shown.
const HISTORY: usize = 100;

/// What the service has to hand over.
#[derive(Debug)]
pub struct Options {
    /// Who carries out what is asked for.
    pub operator: Operator,
    /// The tokens that open the page and the API (`admin.tokens`).
    pub tokens: Vec<SecretString>,
    /// Whether it listens to more than this machine, so that the cookie has to travel encrypted.
    pub beyond_loopback: bool,
    /// Whether nothing is written (`sync.dry_run`).
    pub dry_run: bool,
    /// The settings that are shown.
    pub in_force: Vec<InForce>,
    /// Cancelled: syncs by hand are cut off, and given back to the queue.
    pub stop: CancellationToken,
    /// The syncs by hand that are under way; to be waited for before the queue is closed.
    pub syncs: TaskTracker,
}

/// What every handler works with.
pub(super) struct Office {
    pub(super) operator: Operator,
    pub(super) keys: Keys,
    pub(super) login_rest: Mutex<LoginRest>,
    pub(super) cookie_is_secure: bool,
    pub(super) began: Millis,
    pub(super) in_force: Vec<InForce>,
    dry_run: bool,
    stop: CancellationToken,
    syncs: TaskTracker,
}

/// How the service is, also where its store cannot be asked.
#[derive(Debug, Clone, Serialize)]
pub(super) struct Glance {
    /// Now, by the queue's clock.
    pub now: Millis,
    /// Whether events can be kept.
    pub accepting: bool,
    /// Since when syncs are paused; null while they go on.
    pub paused_since: Option<Millis>,
    /// Since when the removal guard keeps writes from taking tags away; null while they do.
    pub tags_kept_since: Option<Millis>,
    /// Until when the guard is off by an operator's word; null while it is on duty.
    pub removals_allowed_until: Option<Millis>,
    /// Whether nothing is written (`sync.dry_run`).
    pub dry_run: bool,
    /// Sesamy and Mailmojo.
    pub apis: Vec<ApiStatus>,
    /// How many rows are in which state, up to 15 s old; null where they cannot be counted.
    pub rows: Option<Census>,
    /// The background lane; null where the queue cannot be asked.
    pub resync: Option<Resync>,
    /// The backfill that has not ended; null where there is none, or it cannot be asked.
    pub backfill: Option<BackfillStatus>,
    /// Why the queue cannot be asked; null where it can.
    pub trouble: Option<String>,
}

impl Office {
    pub(super) fn new(options: Options) -> Arc<Self> {
        Arc::new(Self {
            keys: Keys::new(&options.tokens),
            login_rest: Mutex::default(),
            cookie_is_secure: options.beyond_loopback,
            began: options.operator.hand.clock.now(),
            operator: options.operator,
            in_force: options.in_force,
            dry_run: options.dry_run,
            stop: options.stop,
            syncs: options.syncs,
        })
    }

    /// Now, by the queue's clock.
    pub(super) fn now(&self) -> Millis {
        self.operator.hand.clock.now()
    }

    /// How the service is.
    pub(super) async fn glance(&self) -> Glance {
        let (accepting, dry_run) = (self.operator.hand.queue.accepting(), self.dry_run);
        match self.operator.status().await {
            Ok(status) => Glance {
                now: status.now,
                accepting,
                paused_since: status.paused_since,
                tags_kept_since: status.tags_kept_since,
                removals_allowed_until: status.removals_allowed_until,
                dry_run,
                apis: status.apis,
                rows: Some(status.rows),
                resync: Some(status.resync),
                backfill: status.backfill,
                trouble: None,
            },
            Err(error) => {
                // What this process itself knows is better than nothing.
                let gates = &self.operator.hand.gates;
                let apis = Api::ALL.into_iter().map(|api| gates.of(api).status()).collect();
                let (now, trouble) = (self.now(), Some(error.to_string()));
                let guard = self.operator.hand.queue.guard();
                Glance {
                    now,
                    accepting,
                    paused_since: None,
                    tags_kept_since: guard.tripped_at,
                    removals_allowed_until: guard.allowed_after(self.operator.hand.clock.wall()),
                    dry_run,
                    apis,
                    rows: None,
                    resync: None,
                    backfill: None,
                    trouble,
                }
            }
        }
    }

    /// A user's row, if the queue knows the user, and its history, the latest first.
    pub(super) async fn user(&self, user: &UserId) -> Result<(Option<UserRow>, Vec<HistoryRow>), Failure> {
        let queue = &self.operator.hand.queue;
        let row = queue.rows_of(std::slice::from_ref(user)).await?.pop();
        Ok((row, queue.history(user, HISTORY).await?))
    }

    /// Whether `user` was forgotten.
    pub(super) async fn is_forgotten(&self, user: &UserId) -> Result<bool, Failure> {
        Ok(self.operator.is_forgotten(user).await?)
    }

    /// Who is asked about is not known: why.
    pub(super) async fn stranger(&self, user: &UserId) -> Failure {
        match self.is_forgotten(user).await {
            Ok(true) => Failure::Forgotten,
            Ok(false) => Failure::UnknownUser,
            Err(failure) => failure,
        }
    }

    /// What a sync of `user` would do now.
    pub(super) async fn preview(&self, user: &UserId) -> Result<Preview, Failure> {
        if self.is_forgotten(user).await? {
            return Err(Failure::Forgotten);
        }
        self.operator.hand.queue.known().await?; // and with it whether the removal guard holds
        let memory = self.operator.memory_of(user).await?;
        Ok(preview(&self.operator.syncer, user, &memory, &self.attempt()).await?)
    }

    /// The time that a look at the APIs has.
    pub(super) fn attempt(&self) -> Attempt {
        let hand = &self.operator.hand;
        Attempt::within(hand.limits.deadline, &hand.clock)
    }

    /// Syncs `user` now. Whoever asked may go away: the sync is carried through.
    pub(super) async fn sync(&self, user: &UserId, again: Again) -> Result<Synced, Failure> {
        let (operator, user) = (self.operator.clone(), user.clone());
        let patience = Patience { wait: PATIENCE, stop: self.stop.clone() };
        let sync = self.syncs.spawn(async move { operator.sync(&user, again, &patience).await });
        Ok(sync.await.map_err(|_| panicked())??)
    }

    /// Has `user` forgotten. Whoever asked may go away: it is carried through.
    pub(super) async fn forget(&self, user: &UserId, mailmojo: bool) -> Result<Forgotten, Failure> {
        let (operator, user) = (self.operator.clone(), user.clone());
        let patience = Patience { wait: PATIENCE, stop: self.stop.clone() };
        let forget = self.syncs.spawn(async move { operator.forget(&user, mailmojo, &patience).await });
        Ok(forget.await.map_err(|_| panicked())??)
    }
}

fn panicked() -> Failure {
    let text = "it panicked: a fault of this service, of which the log tells more; please report it";
    Failure::Upstream(text.to_owned())
}

impl fmt::Debug for Office {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Office").field("keys", &self.keys).finish_non_exhaustive()
    }
}
