//! Old history goes: in small steps with pauses, so that no event waits for it.

use std::time::Duration;

use crate::clock::{Clock, Millis};
use crate::queue::Queue;

/// How often to look for what is too old.
const EVERY: Duration = Duration::from_secs(60);
/// So many rows in one step.
const STEP: usize = 200;
/// The pause between two steps.
const BETWEEN: Duration = Duration::from_millis(50);

/// Takes away what of the history is older than `keep` (`history.days`), now and again, until it is dropped.
pub async fn prune_history(queue: Queue, clock: Clock, keep: Duration) {
    loop {
        loop {
            match queue.prune(before(clock.now(), keep), STEP).await {
                Ok(rows) if rows > 0 => tokio::time::sleep(BETWEEN).await,
                Ok(_) => break,
                Err(error) => {
                    tracing::warn!(%error, "cannot take old history away; trying again");
                    break;
                }
            }
        }
        tokio::time::sleep(EVERY).await;
    }
}

fn before(now: Millis, keep: Duration) -> Millis {
    Millis(now.0.saturating_sub(i64::try_from(keep.as_millis()).unwrap_or(i64::MAX)))
}
