//! The scheduler goes on time and again, and ends with the queue. What a step does is the queue's to prove.

use std::num::NonZeroU32;

use super::*;
use crate::queue::{
    Done, EXPIRY, Entry, Lane, LeaseRequest, QueuePolicy, Rates, Role, Settlement, UserLease,
};
use crate::upstream::{PerApi, Quota};
use crate::user::UserId;

const DAY: Duration = Duration::from_secs(86_400);

fn scheduler(folder: &std::path::Path) -> Scheduler {
    let quota = Quota { per_minute: NonZeroU32::MAX, burst: NonZeroU32::MAX };
    let second = Duration::from_secs(1);
    let options = QueuePolicy {
        debounce: second,
        lease: second,
        request_timeout: second,
        furthest_due: second,
        dry_run: false,
        rates: Rates {
            quotas: PerApi { sesamy: quota, mailmojo: quota },
            calls: PerApi { sesamy: 1, mailmojo: 1 },
        },
    };
    let clock = Clock::manual(Millis(0).plus(100 * DAY));
    let path = folder.join("queue.db");
    let queue = Queue::open_sqlite(&path, Role::Service, options, clock.clone(), 1).unwrap();
    Scheduler { queue, clock, keep: DAY, tick: second }
}

async fn synced(queue: &Queue, user: &UserId, check: Option<(Millis, String)>) {
    let request = LeaseRequest {
        user: user.clone(),
        cause: "sync",
        lane: Lane::Events,
        calls: PerApi { sesamy: 1, mailmojo: 1 },
        again: false,
    };
    let UserLease::Leased(job) = queue.lease_user(request).await.unwrap() else { panic!("not leased") };
    let entry = Entry { outcome: "updated", ..Entry::default() };
    let done = Settlement::Done(Box::new(Done { check, ..Done::default() }));
    queue.settle(&job, done, Some(entry)).await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn checks_come_due_time_and_again_until_the_queue_closes() {
    let folder = tempfile::tempdir().unwrap();
    let scheduler = scheduler(folder.path());
    let (queue, clock) = (scheduler.queue.clone(), scheduler.clock.clone());
    let running = tokio::spawn(scheduler.run());
    for name in ["kari", "ola"] {
        let user = UserId::new(name).unwrap();
        synced(&queue, &user, Some((clock.now().plus(DAY), EXPIRY.to_owned()))).await;
        clock.advance(DAY);
        while queue.rows_of(std::slice::from_ref(&user)).await.unwrap()[0].due_at.is_none() {
            tokio::time::sleep(TICK).await;
        }
    }
    queue.close().await;
    running.await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn history_is_pruned_once_it_is_older_than_is_kept_and_not_at_the_start() {
    let folder = tempfile::tempdir().unwrap();
    let scheduler = scheduler(folder.path());
    let (queue, clock) = (scheduler.queue.clone(), scheduler.clock.clone());
    let (old, young) = (UserId::new("old").unwrap(), UserId::new("young").unwrap());
    synced(&queue, &old, None).await;
    clock.advance(2 * DAY);
    synced(&queue, &young, None).await;

    let running = tokio::spawn(scheduler.run());
    tokio::time::sleep(FIRST_PRUNING / 2).await;
    assert_eq!(queue.history(&old, 9).await.unwrap().len(), 1);
    while !queue.history(&old, 9).await.unwrap().is_empty() {
        tokio::time::sleep(FIRST_PRUNING).await;
    }
    assert_eq!(queue.history(&young, 9).await.unwrap().len(), 1);
    running.abort();
}
