//! What an event does.

use std::time::Duration;

use super::{DEBOUNCE, Shop, UPDATE, done, leased, next_due, only_job, park, retry, stories, user};
use crate::clock::Millis;
use crate::queue::Settled;
use crate::queue::Slots;

stories! {
    an_event_makes_a_user_due_after_the_debounce,
    the_same_event_twice_is_one_sync,
    later_events_of_a_burst_do_not_push_it_away,
    an_event_brings_a_retry_forward,
    an_event_during_a_sync_makes_the_user_due_again,
    an_event_during_a_lease_does_not_end_it,
    a_parked_user_comes_back_afresh_with_the_next_event,
    ten_thousand_events_from_many_tasks_are_all_there,
}

async fn an_event_makes_a_user_due_after_the_debounce(shop: Shop) {
    let queue = shop.opens().await;
    queue.push(&user("kari"), "userVendor.1#new").await.unwrap();

    assert_eq!(next_due(&queue).await, shop.later(DEBOUNCE));
    shop.clock.advance(DEBOUNCE - Duration::from_millis(1));
    assert!(queue.lease(Slots::for_any(10)).await.unwrap().jobs.is_empty());
    shop.clock.advance(Duration::from_millis(1));
    let job = only_job(&queue).await;
    assert_eq!((job.user, job.event_type.as_str()), (user("kari"), "userVendor.1#new"));
    assert_eq!((job.attempts, job.failing_since), (0, None));
}

async fn the_same_event_twice_is_one_sync(shop: Shop) {
    let queue = shop.opens().await;
    queue.push(&user("kari"), UPDATE).await.unwrap();
    let job = leased(&shop, &queue, "kari").await;
    assert_eq!(queue.settle(&job, done(), None).await.unwrap(), Settled::AsAsked);
    assert_eq!(next_due(&queue).await, None);
}

async fn later_events_of_a_burst_do_not_push_it_away(shop: Shop) {
    let queue = shop.opens().await;
    queue.push(&user("kari"), UPDATE).await.unwrap();
    let due = shop.later(DEBOUNCE);
    shop.clock.advance(Duration::from_secs(1));
    queue.push(&user("kari"), "checkout.1#confirm").await.unwrap();

    assert_eq!(next_due(&queue).await, due);
    shop.clock.advance(Duration::from_secs(1));
    assert_eq!(only_job(&queue).await.event_type, "checkout.1#confirm");
}

async fn an_event_brings_a_retry_forward(shop: Shop) {
    let queue = shop.opens().await;
    let job = leased(&shop, &queue, "kari").await;
    let failed_at = shop.clock.now();
    let in_an_hour = failed_at.plus(Duration::from_secs(3_600));
    queue.settle(&job, retry(in_an_hour, true), None).await.unwrap();
    assert_eq!(next_due(&queue).await, Some(in_an_hour));

    let job = leased(&shop, &queue, "kari").await;
    assert_eq!((job.attempts, job.failing_since), (1, Some(failed_at)));
}

async fn an_event_during_a_sync_makes_the_user_due_again(shop: Shop) {
    let queue = shop.opens().await;
    let far = Millis(i64::MAX);
    for (name, how, attempts) in [
        ("done", done(), 0),
        ("failed", retry(far, true), 1),
        ("rest", retry(far, false), 0),
        ("bad", park("400"), 0),
    ] {
        let job = leased(&shop, &queue, name).await;
        queue.push(&user(name), UPDATE).await.unwrap();
        assert_eq!(queue.settle(&job, how, None).await.unwrap(), Settled::DueAgain, "{name}");
        assert_eq!(next_due(&queue).await, shop.later(DEBOUNCE), "{name}");

        shop.clock.advance(DEBOUNCE);
        let job = only_job(&queue).await;
        assert_eq!((job.user.clone(), job.attempts), (user(name), attempts));
        assert_eq!(job.failing_since.is_some(), attempts > 0, "{name}");
        assert_eq!(queue.settle(&job, done(), None).await.unwrap(), Settled::AsAsked);
    }
}

async fn an_event_during_a_lease_does_not_end_it(shop: Shop) {
    let queue = shop.opens().await;
    let job = leased(&shop, &queue, "kari").await;
    let end = next_due(&queue).await;
    queue.push(&user("kari"), UPDATE).await.unwrap();

    assert_eq!(next_due(&queue).await, end);
    shop.clock.advance(DEBOUNCE);
    assert!(queue.lease(Slots::for_any(10)).await.unwrap().jobs.is_empty());
    assert_eq!(queue.settle(&job, done(), None).await.unwrap(), Settled::DueAgain);
}

async fn a_parked_user_comes_back_afresh_with_the_next_event(shop: Shop) {
    let queue = shop.opens().await;
    let job = leased(&shop, &queue, "kari").await;
    queue.settle(&job, retry(shop.clock.now(), true), None).await.unwrap();
    let job = only_job(&queue).await;
    assert_eq!(job.attempts, 1);
    assert_eq!(queue.settle(&job, park("400"), None).await.unwrap(), Settled::AsAsked);
    assert_eq!(next_due(&queue).await, None);
    assert_eq!(queue.census().await.unwrap().parked, 1);

    let job = leased(&shop, &queue, "kari").await;
    assert_eq!((job.attempts, job.failing_since), (0, None));
    queue.settle(&job, done(), None).await.unwrap();
    shop.clock.advance(Duration::from_secs(15));
    assert_eq!(queue.census().await.unwrap().parked, 0);
}

async fn ten_thousand_events_from_many_tasks_are_all_there(shop: Shop) {
    let queue = shop.opens().await;
    let mut tasks = tokio::task::JoinSet::new();
    for task in 0..100 {
        let queue = queue.clone();
        tasks.spawn(async move {
            for event in 0..100 {
                // Two tasks share a user each time, so that events of one user meet in a batch.
                queue.push(&user(&format!("{}-{event}", task / 2)), UPDATE).await.unwrap();
            }
        });
    }
    while let Some(ended) = tasks.join_next().await {
        ended.unwrap();
    }

    let queue = shop.restarts(queue).await;
    shop.clock.advance(DEBOUNCE);
    let jobs = queue.lease(Slots::for_any(20_000)).await.unwrap().jobs;
    let users: std::collections::BTreeSet<_> = jobs.iter().map(|job| job.user.clone()).collect();
    assert_eq!((jobs.len(), users.len()), (5_000, 5_000));
    assert!(jobs.iter().all(|job| job.generation == 2));
}
