//! What a backfill works with, and how it waits: for an API that rests, for syncs that are paused, and for the pace.

use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use super::BackfillError;
use super::made::Made;
use crate::clock::Millis;
use crate::operations::Operator;
use crate::upstream::circuit_breaker::OpenReason;
use crate::upstream::{Api, PerApi};
use crate::worker::Stop;

/// How often to look whether what is waited for is over.
const LOOK_AGAIN: Duration = Duration::from_secs(1);
/// A wait that is longer than this is told, where it is for the pace alone.
const WORTH_A_WORD: Duration = Duration::from_secs(10);

/// Who is told how it goes, while it goes.
pub trait Audience: fmt::Debug + Send + Sync {
    /// A look at all users begins, the `look`th; how many they are, as far as that is known.
    fn looks(&self, look: u32, users: Option<u64>);
    /// So many more users of the list are done with.
    fn passed(&self, users: u64);
    /// It waits, and for what.
    fn waits(&self, what: &str);
    /// It waits no more.
    fn goes_on(&self);
    /// Something that is good to know.
    fn notes(&self, what: &str);
}

/// What a backfill works with.
#[derive(Debug)]
pub struct Desk {
    /// The queue and the syncs. Its clients' calls are of the background's share, and are counted by `made`.
    pub operator: Operator,
    /// How many calls were made.
    pub made: Arc<Made>,
    /// Who is told how it goes.
    pub audience: Arc<dyn Audience>,
    /// How many users at a time.
    pub concurrency: usize,
    /// `sesamy.derive_tags`.
    pub derive_tags: bool,
    /// Whether nothing is to be written.
    pub dry_run: bool,
    /// Whether nobody is to be created or subscribed.
    pub existing_only: bool,
    /// The background's share of each API's rate, in calls a minute.
    pub per_minute: PerApi<u32>,
    /// When to begin nothing more, and when to cut off what runs.
    pub stop: Stop,
    /// What is being waited for, so that it is told once.
    waits_for: Mutex<Option<String>>,
}

impl Desk {
    /// Puts it together.
    #[must_use]
    pub fn new(
        operator: Operator,
        made: Arc<Made>,
        audience: Arc<dyn Audience>,
        pace: Pace,
        stop: Stop,
    ) -> Self {
        let Pace { concurrency, derive_tags, dry_run, existing_only, per_minute } = pace;
        let waits_for = Mutex::default();
        Self {
            operator,
            made,
            audience,
            concurrency,
            derive_tags,
            dry_run,
            existing_only,
            per_minute,
            stop,
            waits_for,
        }
    }

    pub(super) fn now(&self) -> Millis {
        self.operator.hand.clock.now()
    }

    /// Waits until syncs may begin: no API rests, and nobody has paused them. To look costs nothing, so a dry run does not
    /// ask for a pause.
    pub(super) async fn until_open(&self) -> Result<(), BackfillError> {
        let hand = &self.operator.hand;
        loop {
            let known = hand.learn().await;
            if !self.dry_run && known.is_some_and(|known| known.paused_at.is_some()) {
                self.pause_told(LOOK_AGAIN).await?;
                continue;
            }
            let Some(until) = hand.not_before() else {
                self.goes_on();
                return Ok(());
            };
            self.rest_told(until).await?;
        }
    }

    /// Waits while syncs are paused.
    pub(super) async fn pause_told(&self, wait: Duration) -> Result<(), BackfillError> {
        self.waits("syncs are paused; `queue resume` lets them go on".to_owned());
        self.sleep(wait).await
    }

    /// Waits until `until`, or a moment of it: somebody may end a rest by hand.
    pub(super) async fn rest_told(&self, until: Millis) -> Result<(), BackfillError> {
        let wait = until.since(self.now());
        let resting = |api: Api| {
            let rest = self.operator.hand.gates.of(api).snapshot();
            let why = rest.why.filter(|_| rest.state == "resting")?;
            Some(format!("{api} is at rest ({why}) until {}", rest.until.unwrap_or(until)))
        };
        match Api::ALL.into_iter().find_map(resting) {
            Some(rest) => self.waits(rest),
            None if wait > WORTH_A_WORD => self.waits(format!("the pace allows no call until {until}")),
            None => {}
        }
        self.sleep(wait.clamp(Duration::from_millis(5), LOOK_AGAIN)).await
    }

    /// Sleeps, unless it is to stop.
    pub(super) async fn sleep(&self, wait: Duration) -> Result<(), BackfillError> {
        tokio::select! {
            () = tokio::time::sleep(wait) => Ok(()),
            () = self.stop.leasing.cancelled() => Err(BackfillError::Stopped),
        }
    }

    pub(super) fn waits(&self, what: String) {
        let mut waits_for = self.waits_for.lock().unwrap_or_else(PoisonError::into_inner);
        if waits_for.as_ref() != Some(&what) {
            self.audience.waits(&what);
            *waits_for = Some(what);
        }
    }

    pub(super) fn goes_on(&self) {
        let mut waits_for = self.waits_for.lock().unwrap_or_else(PoisonError::into_inner);
        if waits_for.take().is_some() {
            self.audience.goes_on();
        }
    }

    /// Whether Sesamy has refused our credentials or our address: no waiting mends that.
    pub(super) fn is_refused(&self, api: Api) -> bool {
        let why = self.operator.hand.gates.of(api).snapshot().why;
        [OpenReason::Credentials, OpenReason::Configuration].into_iter().any(|it| why == Some(it.as_str()))
    }
}

/// How fast, and what for.
#[derive(Debug, Clone, Copy)]
pub struct Pace {
    /// See [`Desk::concurrency`].
    pub concurrency: usize,
    /// See [`Desk::derive_tags`].
    pub derive_tags: bool,
    /// See [`Desk::dry_run`].
    pub dry_run: bool,
    /// See [`Desk::existing_only`].
    pub existing_only: bool,
    /// See [`Desk::per_minute`].
    pub per_minute: PerApi<u32>,
}
