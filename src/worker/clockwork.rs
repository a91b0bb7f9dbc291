//! What becomes due though nothing asks for it: who is to be looked at again by the clock, whose change is held back no
//! longer, and who is next of the round. The queue does it ([`Queue::tick`]), this keeps it going and tells of the rounds.

mod canaries;
mod chronicle;

use std::sync::Arc;
use std::time::Duration;

use super::heartbeat::Pause;
use crate::clock::Clock;
use crate::queue::{Queue, QueueError, Tick, Ticked};
use crate::sync::Brake;
use crate::telemetry;
use canaries::Canaries;
use chronicle::Chronicle;

/// How long after one tick the next one is, where nothing is left to do.
pub const TICK_EVERY: Duration = Duration::from_secs(1);
/// The pause where something is: whoever else writes into the store has a turn.
const BETWEEN: Duration = Duration::from_millis(10);

/// Ticks until it is dropped.
#[derive(Debug)]
pub struct Clockwork {
    /// What ticks.
    pub queue: Queue,
    /// The queue's time.
    pub clock: Clock,
    /// While syncs are paused no round goes on. Who is due by the clock becomes so, as events are kept.
    pub pause: Pause,
    /// `sync.resync_every`; none: there are no rounds.
    pub resync_every: Option<Duration>,
    /// The time between two ticks.
    pub gap: Duration,
    /// While it keeps tags, users who are held back are looked at again, one after the other.
    pub brake: Arc<Brake>,
}

impl Clockwork {
    /// Ticks, at once and then time and again. What is missed while the store cannot be had is made up for.
    pub async fn run(self) {
        let mut chronicle = Chronicle::default();
        let mut canaries = Canaries::default();
        let mut has_failed = false;
        loop {
            let tick = self.tick(&mut canaries);
            let asked = tick.canary_after.is_some();
            let wait = match self.queue.tick(tick).await {
                Ok(ticked) => {
                    if std::mem::take(&mut has_failed) {
                        tracing::info!("the queue can be asked again for who is due by the clock");
                    }
                    self.tell(&ticked, &mut chronicle);
                    if asked {
                        canaries.hear(ticked.canary.as_deref(), &self.queue, &self.brake).await;
                    }
                    if ticked.more { BETWEEN } else { self.gap }
                }
                Err(QueueError::Closed) => return,
                Err(error) => {
                    if !std::mem::replace(&mut has_failed, true) {
                        tracing::warn!(%error, "the queue cannot be asked for who is due by the clock: whose access \
                            ends keeps the tags for so long; trying again every second");
                    }
                    self.gap
                }
            };
            tokio::time::sleep(wait).await;
        }
    }

    fn tick(&self, canaries: &mut Canaries) -> Tick {
        if self.pause.since().is_some() {
            return Tick::default();
        }
        Tick {
            resync_every: self.resync_every,
            canary_after: canaries.next(&self.brake, self.clock.now()).map(str::to_owned),
        }
    }

    fn tell(&self, ticked: &Ticked, chronicle: &mut Chronicle) {
        if ticked.expired + ticked.released + ticked.drifting > 0 {
            let Ticked { expired, released, drifting, .. } = ticked;
            tracing::debug!(expired, released, drifting, "users became due though nothing asked for it");
        }
        let (Some(round), Some(every)) = (ticked.round, self.resync_every) else { return };
        let now = self.clock.now();
        let late = if round.is_late(now, every) { round.late(now, every) } else { Duration::ZERO };
        telemetry::round_seen(round.share(), late);
        chronicle.read(&round, now, every).into_iter().for_each(chronicle::Told::log);
    }
}

#[cfg(test)]
mod tests;
