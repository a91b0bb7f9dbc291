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
        // Not at the start, when events come that could not be sent before.
        tokio::time::sleep(EVERY).await;
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
    }
}

fn before(now: Millis, keep: Duration) -> Millis {
    Millis(now.0.saturating_sub(i64::try_from(keep.as_millis()).unwrap_or(i64::MAX)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::queue::{Entry, Lane, LeaseRequest, Options, Rates, Role, Settlement, UserLease};
    use crate::upstream::{PerApi, Quota};
    use crate::user::UserId;
    use std::num::NonZeroU32;

    const DAY: Duration = Duration::from_secs(86_400);

    fn options() -> Options {
        let quota = Quota { per_minute: NonZeroU32::MAX, burst: NonZeroU32::MAX };
        let second = Duration::from_secs(1);
        Options {
            debounce: second,
            lease: second,
            request_timeout: second,
            furthest_due: second,
            dry_run: false,
            rates: Rates {
                quotas: PerApi { sesamy: quota, mailmojo: quota },
                calls: PerApi { sesamy: 1, mailmojo: 1 },
            },
        }
    }

    async fn synced(queue: &Queue, user: &UserId) {
        let request = LeaseRequest {
            user: user.clone(),
            cause: "sync",
            lane: Lane::Events,
            calls: PerApi { sesamy: 1, mailmojo: 1 },
            untouched_since: None,
            again: false,
        };
        let UserLease::Leased(job) = queue.lease_user(request).await.unwrap() else { panic!("not leased") };
        let entry = Entry { outcome: "updated", ..Entry::default() };
        queue.settle(&job, Settlement::done(false), Some(entry)).await.unwrap();
    }

    #[tokio::test(start_paused = true)]
    async fn history_goes_once_it_is_older_than_is_kept_and_not_at_the_start() {
        let folder = tempfile::tempdir().unwrap();
        let clock = Clock::manual(Millis(0).plus(100 * DAY));
        let path = folder.path().join("queue.db");
        let queue = Queue::open_sqlite(&path, Role::Service, options(), clock.clone(), 1).unwrap();
        let (old, young) = (UserId::new("old").unwrap(), UserId::new("young").unwrap());
        synced(&queue, &old).await;
        clock.advance(2 * DAY);
        synced(&queue, &young).await;

        let pruning = tokio::spawn(prune_history(queue.clone(), clock, DAY));
        tokio::time::sleep(EVERY / 2).await;
        assert_eq!(queue.history(&old, 9).await.unwrap().len(), 1);
        while !queue.history(&old, 9).await.unwrap().is_empty() {
            tokio::time::sleep(EVERY).await;
        }
        assert_eq!(queue.history(&young, 9).await.unwrap().len(), 1);
        pruning.abort();
    }
}
