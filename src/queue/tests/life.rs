//! What outlives a process, and how a queue ends.

use std::time::Duration;

use futures_util::FutureExt;

use super::{
    DEBOUNCE, FURTHEST, LEASE, REQUEST_TIMEOUT, Shop, UPDATE, done, leased, next_due, only_job, park, retry,
    stories, user,
};
use crate::queue::Slots;
use crate::queue::{Census, QueueError, Settlement};

stories! {
    what_was_pushed_is_still_there_after_a_restart,
    a_start_brings_back_who_is_due_impossibly_late,
    a_restart_never_makes_a_lease_longer,
    a_service_leases_nobody_before_its_start_and_a_command_at_once,
    what_dry_run_held_back_is_due_at_the_first_start_without_it,
    a_later_sync_without_a_change_takes_the_mark_away,
    the_rows_are_counted_by_state_and_not_too_often,
    a_closed_queue_says_so,
    what_was_sent_before_the_close_is_still_done,
}

mod of_one_process {
    use super::a_restart_ends_a_lease_once_its_last_write_is_over;
    use crate::queue::tests::stories_of_one_process;

    stories_of_one_process! { a_restart_ends_a_lease_once_its_last_write_is_over }
}

mod of_real_stores {
    use super::a_caller_that_goes_away_harms_nobody;
    use crate::queue::tests::stories_of_real_stores;

    stories_of_real_stores! { a_caller_that_goes_away_harms_nobody }
}

mod of_several_processes {
    use super::super::{FURTHEST, OPTIONS, Shop, leased, next_due};
    use crate::queue::QueuePolicy;

    /// Its sync may be under way, and no two of one user may be at a time.
    #[tokio::test]
    async fn a_start_leaves_the_lease_of_a_replica_with_a_longer_deadline() {
        let Some(shop) = Shop::postgres() else { return };
        let queue = shop.opens_as(QueuePolicy { lease: FURTHEST * 2, ..OPTIONS }).await;
        leased(&shop, &queue, "kari").await;
        assert_eq!(next_due(&queue).await, shop.later(FURTHEST * 2));
        let other = shop.opens().await;
        assert_eq!(next_due(&other).await, shop.later(FURTHEST * 2));
    }
}

async fn a_start_brings_back_who_is_due_impossibly_late(shop: Shop) {
    let queue = shop.opens().await;
    for (name, after) in [("late", FURTHEST * 100), ("later", FURTHEST)] {
        let job = leased(&shop, &queue, name).await;
        queue.settle(&job, retry(shop.later(after).unwrap(), true), None).await.unwrap();
    }
    let in_time = shop.later(FURTHEST);
    shop.clock.advance(Duration::from_secs(1));
    let queue = shop.restarts(queue).await;
    assert_eq!(next_due(&queue).await, in_time);
    shop.clock.advance(FURTHEST);
    let names: Vec<_> =
        queue.lease(Slots::for_any(10)).await.unwrap().jobs.into_iter().map(|job| job.user).collect();
    assert_eq!(names, [user("later"), user("late")]);
}

async fn what_was_pushed_is_still_there_after_a_restart(shop: Shop) {
    let queue = shop.opens().await;
    let job = leased(&shop, &queue, "parked").await;
    queue.settle(&job, park("400"), None).await.unwrap();
    let job = leased(&shop, &queue, "failed").await;
    let failed_at = shop.clock.now();
    let at = failed_at.plus(Duration::from_secs(1));
    queue.settle(&job, retry(at, true), None).await.unwrap();
    queue.push(&user("new"), UPDATE).await.unwrap();

    let queue = shop.restarts(queue).await;
    assert_eq!(next_due(&queue).await, Some(at));
    assert_eq!(queue.census().await.unwrap().parked, 1);
    shop.clock.advance(Duration::from_secs(1));
    let job = only_job(&queue).await;
    assert_eq!((job.user, job.attempts, job.failing_since), (user("failed"), 1, Some(failed_at)));
    shop.clock.advance(Duration::from_secs(1));
    assert_eq!(only_job(&queue).await.user, user("new"));
}

async fn a_restart_ends_a_lease_once_its_last_write_is_over(shop: Shop) {
    let queue = shop.opens().await;
    leased(&shop, &queue, "kari").await;
    shop.clock.advance(Duration::from_secs(5));
    let queue = shop.restarts(queue).await;

    assert_eq!(next_due(&queue).await, shop.later(REQUEST_TIMEOUT));
    queue.push(&user("kari"), UPDATE).await.unwrap();
    shop.clock.advance(REQUEST_TIMEOUT - Duration::from_millis(1));
    assert!(queue.lease(Slots::for_any(10)).await.unwrap().jobs.is_empty());
    shop.clock.advance(Duration::from_millis(1));
    assert_eq!(only_job(&queue).await.attempts, 1);
}

async fn a_restart_never_makes_a_lease_longer(shop: Shop) {
    let queue = shop.opens().await;
    let job = leased(&shop, &queue, "kari").await;
    let until = shop.clock.now().plus(Duration::from_secs(3));
    queue.settle(&job, Settlement::Abandon { until }, None).await.unwrap();
    let queue = shop.restarts(queue).await;
    assert_eq!(next_due(&queue).await, Some(until));
}

async fn what_dry_run_held_back_is_due_at_the_first_start_without_it(shop: Shop) {
    let queue = shop.opens_with(true).await;
    let job = leased(&shop, &queue, "kari").await;
    queue.settle(&job, Settlement::done(true), None).await.unwrap();
    queue.close().await;
    let queue = shop.opens_with(true).await;
    assert_eq!(next_due(&queue).await, None);

    let queue = shop.restarts(queue).await;
    queue.run_checks().await.unwrap();
    assert_eq!(next_due(&queue).await, Some(shop.clock.now()));
    let job = only_job(&queue).await;
    assert_eq!(job.user, user("kari"));
    let in_an_hour = shop.clock.now().plus(Duration::from_secs(3_600));
    queue.settle(&job, retry(in_an_hour, true), None).await.unwrap();
    let queue = shop.restarts(queue).await;
    queue.run_checks().await.unwrap();
    assert_eq!(next_due(&queue).await, Some(in_an_hour), "only the first start looks at the mark");
}

async fn a_later_sync_without_a_change_takes_the_mark_away(shop: Shop) {
    let queue = shop.opens_with(true).await;
    let job = leased(&shop, &queue, "kari").await;
    queue.settle(&job, Settlement::done(true), None).await.unwrap();
    let job = leased(&shop, &queue, "kari").await;
    queue.settle(&job, done(), None).await.unwrap();
    let queue = shop.restarts(queue).await;
    assert_eq!(next_due(&queue).await, None);
}

async fn the_rows_are_counted_by_state_and_not_too_often(shop: Shop) {
    let queue = shop.opens().await;
    assert_eq!(queue.census().await.unwrap(), Census::default());
    let job = leased(&shop, &queue, "scheduled").await;
    let in_an_hour = shop.clock.now().plus(Duration::from_secs(3_600));
    queue.settle(&job, retry(in_an_hour, true), None).await.unwrap();
    let job = leased(&shop, &queue, "parked").await;
    queue.settle(&job, park("400"), None).await.unwrap();
    leased(&shop, &queue, "leased").await;
    queue.push(&user("due"), UPDATE).await.unwrap();

    shop.clock.advance(Duration::from_secs(8));
    assert_eq!(queue.census().await.unwrap(), Census::default(), "within 15 s the last answer stands");
    shop.clock.advance(Duration::from_secs(1));
    let expected =
        Census { due: 1, leased: 1, failing: 1, parked: 1, oldest_due_ms: 7_000, ..Census::default() };
    assert_eq!(queue.census().await.unwrap(), expected);
    shop.clock.advance(LEASE);
    let expected = Census { due: 2, failing: 1, parked: 1, oldest_due_ms: 117_000, ..Census::default() };
    assert_eq!(queue.census().await.unwrap(), expected, "a lease that has ended can be taken over");
}

async fn a_closed_queue_says_so(shop: Shop) {
    let queue = shop.opens().await;
    assert!(queue.accepting());
    queue.close().await;
    queue.close().await;
    assert!(!queue.accepting());
    assert!(matches!(queue.push(&user("kari"), UPDATE).await, Err(QueueError::Closed)));
    assert!(matches!(queue.lease(Slots::for_any(1)).await, Err(QueueError::Closed)));
    assert!(matches!(queue.census().await, Err(QueueError::Closed)));
}

async fn what_was_sent_before_the_close_is_still_done(shop: Shop) {
    let queue = shop.opens().await;
    let users: Vec<_> = (0..100).map(|number| user(&number.to_string())).collect();
    let pushes = futures_util::future::join_all(users.iter().map(|user| queue.push(user, UPDATE)));
    let (kept, ()) = futures_util::future::join(pushes, queue.close()).await;
    assert!(kept.iter().all(Result::is_ok), "{kept:?}");

    let queue = shop.opens().await;
    shop.clock.advance(DEBOUNCE);
    assert_eq!(queue.lease(Slots::for_any(1_000)).await.unwrap().jobs.len(), 100);
}

async fn a_caller_that_goes_away_harms_nobody(shop: Shop) {
    let queue = shop.opens().await;
    // Polled once, so that the command is on its way, and dropped.
    assert!(queue.push(&user("gone"), UPDATE).now_or_never().is_none());
    assert!(queue.lease(Slots::for_any(1)).now_or_never().is_none());
    queue.push(&user("kari"), UPDATE).await.unwrap();
    queue.lease(Slots::for_any(0)).await.unwrap(); // leases are done in order: the one that was dropped is done by now
    shop.clock.advance(DEBOUNCE);
    let users: Vec<_> =
        queue.lease(Slots::for_any(10)).await.unwrap().jobs.into_iter().map(|job| job.user).collect();
    assert_eq!(users, [user("gone"), user("kari")]);
}

async fn a_service_leases_nobody_before_its_start_and_a_command_at_once(shop: Shop) {
    let service = shop.opens_without_start(super::OPTIONS);
    assert!(service.started().now_or_never().is_none(), "a start would take its leases for those of before");
    assert!(shop.opens_beside().started().now_or_never().is_some());
    service.start().await.unwrap();
    assert!(service.started().now_or_never().is_some());
}
