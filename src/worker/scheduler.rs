//! The scheduler: maintenance in short steps with pauses, so that no event waits for it.
//!
//! Every second rows become due whose check has come ([`Queue::run_checks`]); every minute activity is stored; and old
//! history is pruned within a minute of the start and then every hour.

use std::time::Duration;

use tokio::time::Instant;

use crate::clock::{Clock, Millis};
use crate::queue::{Checked, Queue, QueueError};

/// The time from one step to the next when nothing is left to do.
pub const TICK: Duration = Duration::from_secs(1);
/// The pause when something is left: other callers of the store have a turn.
const BETWEEN: Duration = Duration::from_millis(10);
const ACTIVITY_EVERY: Duration = Duration::from_secs(60);
/// The first pruning is not at the start, when events arrive that could not be delivered before.
const FIRST_PRUNING: Duration = Duration::from_secs(30);
const PRUNING_EVERY: Duration = Duration::from_secs(60 * 60);
/// The most entries, and the most rows, that one step prunes.
const PRUNED_AT_ONCE: usize = 200;
/// The pause between two steps of a pruning.
const BETWEEN_PRUNINGS: Duration = Duration::from_millis(50);

/// Works until it is dropped.
#[derive(Debug)]
pub struct Scheduler {
    /// The queue.
    pub queue: Queue,
    /// The queue's time.
    pub clock: Clock,
    /// How long history is kept (`history.days`).
    pub keep: Duration,
    /// The time between two steps.
    pub tick: Duration,
}

impl Scheduler {
    /// Takes a step at once and then every [`Scheduler::tick`]. Steps that failed are made up for.
    pub async fn run(self) {
        let started = Instant::now();
        let (mut flush_at, mut prune_at) = (started + ACTIVITY_EVERY, started + FIRST_PRUNING);
        let (mut is_started, mut has_failed) = (false, false);
        loop {
            let wait = match self.step(&mut is_started).await {
                Ok(checked) => {
                    if std::mem::take(&mut has_failed) {
                        tracing::info!("the queue answers again: checks by the clock go on");
                    }
                    if checked.more { BETWEEN } else { self.tick }
                }
                Err(QueueError::Closed) => return,
                Err(error) => {
                    if !std::mem::replace(&mut has_failed, true) {
                        tracing::warn!(%error, "checks by the clock are delayed: the queue does not answer, and readers \
                            whose access ends keep their tags for so long; trying again every second");
                    }
                    self.tick
                }
            };
            let now = Instant::now();
            if now >= flush_at {
                flush_at = now + ACTIVITY_EVERY;
                if let Err(error) = self.queue.flush_activity().await {
                    tracing::debug!(%error, "the last minute's counts are stored with the next ones");
                }
            }
            if now >= prune_at {
                prune_at = now + PRUNING_EVERY;
                self.prune().await;
            }
            tokio::time::sleep(wait).await;
        }
    }

    async fn step(&self, is_started: &mut bool) -> Result<Checked, QueueError> {
        if !*is_started {
            self.queue.start().await?;
            *is_started = true;
        }
        let checked = self.queue.run_checks().await?;
        let Checked { expired, drifting, released, .. } = checked;
        if expired + drifting + released > 0 {
            tracing::debug!(expired, drifting, released, "checks by the clock have made users due");
        }
        Ok(checked)
    }

    async fn prune(&self) {
        loop {
            match self.queue.prune(before(self.clock.now(), self.keep), PRUNED_AT_ONCE).await {
                Ok(pruned) if pruned > 0 => tokio::time::sleep(BETWEEN_PRUNINGS).await,
                Ok(_) => return,
                Err(error) => {
                    tracing::warn!(%error, "cannot prune old history; trying again in an hour");
                    return;
                }
            }
        }
    }
}

fn before(now: Millis, keep: Duration) -> Millis {
    Millis(now.0.saturating_sub(i64::try_from(keep.as_millis()).unwrap_or(i64::MAX)))
}

#[cfg(test)]
mod tests;
