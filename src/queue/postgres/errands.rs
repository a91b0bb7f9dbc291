//! What is asked of many rows at once, in small steps: each is a transaction of its own, on a connection beside those
//! that keep events and lease, and holds few rows, for a moment.

use std::time::Duration;

use sqlx::postgres::PgPool;
use tokio::task::JoinSet;
use tokio::time::{sleep, timeout};

use super::Tuning;
use super::clockwork::{self, Seen};
use super::due::Due;
use super::fault::Fault;
use super::forgotten;
use super::tries::{Tries, within};
use super::wake::Teller;
use super::{prune, retry, statements};
use crate::clock::{Clock, Millis};
use crate::queue::clockwork::TICK_STEP;
use crate::queue::command::Command;
use crate::queue::forgetting::ForgettingKey;
use crate::queue::history::{COUNTS_KEPT_MINUTES, minute_of};
use crate::queue::{Job, Options, QueueError, Retry, Tick, Ticked};

/// The most rows of one step.
const STEP: usize = 1_000;
/// So often a table or a row that somebody else holds is tried again where a user is to be forgotten.
const MOST_HELD: u32 = 10;
/// After such a pause, in which events are kept.
const AFTER_HELD: Duration = Duration::from_millis(100);
/// How long a queue that closes waits for the errands under way.
const CLOSING: Duration = Duration::from_secs(3);

/// The errands under way.
pub(super) struct Errands {
    beside: Beside,
    running: JoinSet<()>,
}

/// What an errand works with.
#[derive(Debug, Clone)]
pub(super) struct Beside {
    pub(super) pool: PgPool,
    pub(super) due: Due,
    pub(super) teller: Teller,
    pub(super) clock: Clock,
    pub(super) key: ForgettingKey,
    pub(super) options: Options,
    pub(super) tuning: Tuning,
}

impl Errands {
    pub(super) fn new(beside: Beside) -> Self {
        Self { beside, running: JoinSet::new() }
    }

    /// Begins the errand, which answers by itself.
    pub(super) fn run(&mut self, command: Command) {
        while self.running.try_join_next().is_some() {}
        let beside = self.beside.clone();
        self.running.spawn(async move { beside.carry_out(command).await });
    }

    /// Lets the errands end that are under way; one that takes long is given up between two steps.
    pub(super) async fn end(mut self) {
        let all = async { while self.running.join_next().await.is_some() {} };
        if timeout(CLOSING, all).await.is_err() {
            self.running.shutdown().await;
        }
    }
}

impl Beside {
    async fn carry_out(&self, mut command: Command) {
        let came = match &mut command {
            Command::Retry { whom, answer } => self.retry(whom).await.map(|users| answer.hold(users)),
            Command::Prune { before, most, answer } => {
                self.prune(*before, *most).await.map(|rows| answer.hold(rows))
            }
            Command::Tick { tick, answer } => self.tick(tick).await.map(|ticked| answer.hold(ticked)),
            Command::Forget { job, answer } => self.forget(job).await.map(|was| answer.hold(was)),
            _ => Ok(()),
        };
        command.reply(came.map_err(QueueError::from));
    }

    /// Whoever was made due before a step fails stays so: to be asked again is to go on.
    async fn retry(&self, whom: &Retry) -> Result<u64, Fault> {
        let users = within(self.tuning, retry::name(&self.pool, whom)).await?;
        let mut made_due = 0;
        for some in users.chunks(STEP) {
            made_due += self.retry_some(some).await?;
        }
        Ok(made_due)
    }

    async fn retry_some(&self, users: &[String]) -> Result<u64, Fault> {
        let (mut tries, given) = (Tries::default(), self.clock.given());
        let now = self.clock.now();
        loop {
            let step = async {
                let mut connection = self.pool.acquire().await?;
                retry::make_due(&mut connection, users, given).await
            };
            match within(self.tuning, step).await {
                Err(fault) if tries.another(&fault) => {}
                Ok(0) => return Ok(0),
                came => {
                    // Also where the answer was lost: nobody is told too often.
                    self.due.at(now);
                    self.teller.tell(now);
                    return came;
                }
            }
        }
    }

    async fn prune(&self, before: Millis, most: usize) -> Result<u64, Fault> {
        let minute = minute_of(self.clock.now()) - COUNTS_KEPT_MINUTES;
        within(self.tuning, prune::counts(&self.pool, minute)).await?;
        let mut pruned = 0;
        while pruned < most as u64 {
            let step = STEP.min(most - pruned as usize);
            let rows = within(self.tuning, prune::history(&self.pool, before, step)).await?;
            pruned += rows;
            if rows < step as u64 {
                break;
            }
        }
        while pruned < most as u64 {
            let step = STEP.min(most - pruned as usize);
            let rows = within(self.tuning, prune::missing(&self.pool, before, step)).await?;
            pruned += rows;
            if rows < step as u64 {
                break;
            }
        }
        Ok(pruned)
    }

    /// One step of each kind that there is something to do for.
    async fn tick(&self, tick: &Tick) -> Result<Ticked, Fault> {
        let (given, may_release) = (self.clock.given(), !self.options.dry_run);
        let look = async { clockwork::look(&mut *self.pool.acquire().await?, given, may_release).await };
        let seen = within(self.tuning, look).await?;
        let mut ticked = Ticked::default();
        let mut sent = false;
        let came = self.take_steps(tick, seen, &mut ticked, &mut sent).await;
        // Also where a step failed, whose answer may have been lost.
        if came.is_err() || ticked.expired + ticked.released > 0 {
            self.due.at(seen.now);
            self.teller.tell(seen.now);
        }
        // Who is released may be in the background lane as well.
        if came.is_err() || ticked.released + ticked.drifting > 0 || sent {
            self.look_ahead().await;
        }
        came.map(|()| ticked)
    }

    /// `sent`: whether anybody is looked at again though the change stays held back.
    async fn take_steps(
        &self,
        tick: &Tick,
        seen: Seen,
        ticked: &mut Ticked,
        sent: &mut bool,
    ) -> Result<(), Fault> {
        let now = seen.now;
        if seen.expires {
            let expire = async { clockwork::expire(&mut *self.pool.acquire().await?, now).await };
            let step = within(self.tuning, expire).await?;
            (ticked.expired, ticked.more) = (step.made_due, step.more);
        }
        if seen.releases {
            let release = async { clockwork::release(&mut *self.pool.acquire().await?, now).await };
            ticked.released = within(self.tuning, release).await?;
            ticked.more |= ticked.released == TICK_STEP as u64;
        }
        if let Some(after) = &tick.canary_after {
            let send = async { clockwork::send_canary(&mut *self.pool.acquire().await?, after, now).await };
            if let Some((user, is_made_due)) = within(self.tuning, send).await? {
                ticked.canary = Some(user);
                *sent = is_made_due;
            }
        }
        if let Some(every) = tick.resync_every {
            let go_on = async { clockwork::go_on(&mut *self.pool.acquire().await?, seen, every).await };
            let (step, round) = within(self.tuning, go_on).await?;
            (ticked.drifting, ticked.round) = (step.made_due, round);
            ticked.more |= step.more;
        }
        Ok(())
    }

    /// Asks the store what is due next, where that may have changed by more than somebody who is due now.
    async fn look_ahead(&self) {
        let asked = self.due.ask();
        let look = async { statements::next_due(&mut *self.pool.acquire().await?).await };
        // Where it fails, the next lease finds out.
        if let Ok(next_due) = within(self.tuning, look).await {
            self.due.found(asked, next_due);
        }
    }

    /// Forgetting waits for the events that are being kept, but never for long: meanwhile no other is.
    async fn forget(&self, job: &Job) -> Result<bool, Fault> {
        let (hash, rates) = (self.key.hash(job.user.as_str()), &self.options.rates);
        let (mut tries, mut held, mut is_again) = (Tries::default(), 0, false);
        loop {
            let given = self.clock.given();
            let forget = async {
                let connection = &mut *self.pool.acquire().await?;
                forgotten::forget(connection, job, hash, given, rates, is_again).await
            };
            match within(self.tuning, forget).await {
                Err(Fault::Held(_)) if held < MOST_HELD => {
                    held += 1;
                    sleep(AFTER_HELD).await;
                }
                Err(fault) if tries.another(&fault) => is_again |= fault.ends_connection(),
                came => {
                    self.look_ahead().await;
                    return came;
                }
            }
        }
    }
}
