//! What is asked of many rows at once, in small steps: each is a transaction of its own, on a connection beside those
//! that keep events and lease, and holds few rows, for a moment.

use std::time::Duration;

use sqlx::postgres::PgPool;
use tokio::task::JoinSet;
use tokio::time::timeout;

use super::Tuning;
use super::due::Due;
use super::fault::Fault;
use super::tries::{Tries, within};
use super::wake::Teller;
use super::{prune, retry};
use crate::clock::{Clock, Millis};
use crate::queue::command::Command;
use crate::queue::history::{COUNTS_KEPT_MINUTES, minute_of};
use crate::queue::{QueueError, Retry};

/// The most rows of one step.
const STEP: usize = 1_000;
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
        Ok(pruned)
    }
}
