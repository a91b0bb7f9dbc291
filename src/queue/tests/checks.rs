//! Checks by the clock: rows that become due though nothing asks for it.

mod held_back;

use std::time::Duration;

use futures_util::StreamExt;

use super::operators::{ask, by_hand};
use super::{
    DEBOUNCE, LEASE, Shop, UPDATE, done, done_with, due, leased, names, next_due, only_job, retry, seen,
    stories, user,
};
use crate::clock::Millis;
use crate::model::LastSeen;
use crate::queue::{
    Checked, DRIFT, Done, EXPIRY, Job, Lane, LeaseRequest, Queue, RowState, Settled, Settlement, Slots,
};

stories! {
    a_user_is_due_once_the_time_has_come_and_not_before,
    who_is_due_for_an_event_anyhow_stays_so,
    who_waits_for_a_retry_anyhow_stays_so,
    who_is_due_in_the_background_is_lifted_and_keeps_the_cause,
    a_user_whom_sesamy_does_not_know_yet_keeps_the_cause,
    who_is_being_synced_is_left_until_that_ends,
    many_whose_time_has_come_are_made_due_in_small_steps,
    an_event_after_that_is_an_event,
    a_sync_for_the_clock_that_fails_is_tried_again,
    two_processes_that_check_make_nobody_due_twice,
    a_drift_check_goes_behind_everything_else,
}

const HOUR: Duration = Duration::from_secs(3_600);

async fn checks(queue: &Queue) -> Checked {
    queue.run_checks().await.unwrap()
}

/// Syncs `name`, who is to be looked at again at that time.
async fn synced_until(shop: &Shop, queue: &Queue, name: &str, check_at: Option<Millis>) {
    let job = leased(shop, queue, name).await;
    let settled = queue.settle(&job, done_with(LastSeen::default(), check_at), None).await.unwrap();
    assert_eq!(settled, Settled::AsAsked);
}

/// Settles all, some at a time.
async fn settles_all(queue: &Queue, jobs: &[Job], how: Settlement) {
    let settles = jobs.iter().map(|job| queue.settle(job, how.clone(), None));
    let mut settles = futures_util::stream::iter(settles).buffer_unordered(8);
    while let Some(settled) = settles.next().await {
        assert_eq!(settled.unwrap(), Settled::AsAsked);
    }
}

/// Makes `name` due now in the background's lane.
async fn due_in_background(shop: &Shop, queue: &Queue, name: &str) {
    let request = LeaseRequest { lane: Lane::Background, cause: "backfill", ..by_hand(name) };
    let job = ask(queue, request).await.unwrap();
    queue.settle(&job, retry(shop.clock.now(), false), None).await.unwrap();
}

async fn a_user_is_due_once_the_time_has_come_and_not_before(shop: Shop) {
    let queue = shop.opens().await;
    synced_until(&shop, &queue, "never", None).await;
    synced_until(&shop, &queue, "later", shop.later(2 * HOUR)).await;
    let (at, millisecond) = (shop.later(HOUR), Duration::from_millis(1));
    synced_until(&shop, &queue, "kari", at).await;
    shop.clock.advance(at.unwrap().since(shop.clock.now()) - millisecond);
    assert_eq!((checks(&queue).await, next_due(&queue).await), (Checked::default(), None));
    shop.clock.advance(millisecond);
    assert_eq!(checks(&queue).await, Checked { expired: 1, ..Checked::default() });
    assert_eq!(next_due(&queue).await, Some(shop.clock.now()), "whoever waits for it is woken");
    assert_eq!(checks(&queue).await, Checked::default());
    let row = queue.rows_of(&[user("kari")]).await.unwrap().remove(0);
    assert_eq!((row.check_at, row.generation, row.state), (None, 1, RowState::Due));
    let job = only_job(&queue).await;
    assert_eq!((job.user.clone(), job.event_type.as_str(), job.lane), (user("kari"), EXPIRY, Lane::Retries));
    assert_eq!(queue.settle(&job, done(), None).await.unwrap(), Settled::AsAsked);
}

async fn who_is_due_for_an_event_anyhow_stays_so(shop: Shop) {
    let queue = shop.opens().await;
    synced_until(&shop, &queue, "kari", shop.later(HOUR)).await;
    shop.clock.advance(HOUR);
    queue.push(&user("kari"), UPDATE).await.unwrap();
    assert_eq!(checks(&queue).await, Checked::default());
    assert_eq!(next_due(&queue).await, shop.later(DEBOUNCE), "a burst is still one sync");
    shop.clock.advance(DEBOUNCE);
    let job = only_job(&queue).await;
    assert_eq!((job.event_type.as_str(), job.lane), (UPDATE, Lane::Events));
    queue.settle(&job, done(), None).await.unwrap();
    assert_eq!(checks(&queue).await, Checked::default(), "that sync has seen what there was to see");
}

async fn who_waits_for_a_retry_anyhow_stays_so(shop: Shop) {
    let queue = shop.opens().await;
    synced_until(&shop, &queue, "kari", shop.later(HOUR)).await;
    let job = leased(&shop, &queue, "kari").await;
    let at = shop.later(2 * HOUR);
    queue.settle(&job, retry(at.unwrap(), true), None).await.unwrap();
    shop.clock.advance(HOUR);
    assert_eq!((checks(&queue).await, next_due(&queue).await), (Checked::default(), at));
    let row = queue.rows_of(&[user("kari")]).await.unwrap().remove(0);
    assert_eq!((row.check_at, row.event_type.as_str()), (None, UPDATE));
}

async fn who_is_due_in_the_background_is_lifted_and_keeps_the_cause(shop: Shop) {
    let queue = shop.opens().await;
    synced_until(&shop, &queue, "kari", shop.later(HOUR)).await;
    due_in_background(&shop, &queue, "kari").await;
    shop.clock.advance(HOUR);
    assert_eq!(checks(&queue).await, Checked { expired: 1, ..Checked::default() });
    let job = only_job(&queue).await;
    assert_eq!((job.event_type.as_str(), job.lane), ("backfill", Lane::Retries));
}

/// The event may create the contact, and `expiry` may not. A user who was known before keeps nothing to create.
async fn a_user_whom_sesamy_does_not_know_yet_keeps_the_cause(shop: Shop) {
    let queue = shop.opens().await;
    let missing_since = Some(shop.clock.now());
    for (memory, cause) in [(LastSeen::default(), UPDATE), (seen("kari@example.com"), EXPIRY)] {
        let job = leased(&shop, &queue, "kari").await;
        let memory = LastSeen { missing_since, ..memory };
        queue.settle(&job, done_with(memory, shop.later(HOUR)), None).await.unwrap();
        shop.clock.advance(HOUR);
        assert_eq!(checks(&queue).await, Checked { expired: 1, ..Checked::default() });
        let job = only_job(&queue).await;
        assert_eq!((job.event_type.as_str(), job.lane), (cause, Lane::Retries));
        queue.settle(&job, done(), None).await.unwrap();
    }
}

async fn who_is_being_synced_is_left_until_that_ends(shop: Shop) {
    let queue = shop.opens().await;
    let at = shop.later(HOUR);
    for name in ["lost", "kari"] {
        synced_until(&shop, &queue, name, at).await;
    }
    shop.clock.advance(HOUR - 2 * DEBOUNCE);
    leased(&shop, &queue, "lost").await;
    let job = leased(&shop, &queue, "kari").await;
    assert_eq!(checks(&queue).await, Checked::default(), "and there is nothing more to do at once");
    queue.settle(&job, done_with(LastSeen::default(), at), None).await.unwrap();
    assert_eq!(checks(&queue).await, Checked { expired: 1, ..Checked::default() });
    shop.clock.advance(LEASE);
    assert_eq!(checks(&queue).await, Checked::default(), "who was never settled is due anyhow");
    let jobs = queue.lease(Slots::for_any(9)).await.unwrap().jobs;
    assert_eq!(names(&jobs), ["email|lost", "email|kari"]);
}

async fn many_whose_time_has_come_are_made_due_in_small_steps(shop: Shop) {
    let queue = shop.opens().await;
    let all: Vec<_> = (0..620).map(|number| format!("{number:03}")).collect();
    due(&shop, &queue, &all.iter().map(String::as_str).collect::<Vec<_>>()).await;
    let at = shop.clock.now();
    let jobs = queue.lease(Slots::for_any(1_000)).await.unwrap().jobs;
    settles_all(&queue, &jobs, done_with(LastSeen::default(), Some(at))).await;
    let mut steps = Vec::new();
    for _ in 0..3 {
        let Checked { expired, more, .. } = checks(&queue).await;
        steps.push((expired, more));
    }
    assert_eq!(steps, [(500, true), (120, false), (0, false)]);
    assert_eq!(queue.lease(Slots::for_any(1_000)).await.unwrap().jobs.len(), 620);
}

async fn an_event_after_that_is_an_event(shop: Shop) {
    let queue = shop.opens().await;
    synced_until(&shop, &queue, "kari", shop.later(HOUR)).await;
    shop.clock.advance(HOUR);
    checks(&queue).await;
    queue.push(&user("kari"), UPDATE).await.unwrap();
    let job = only_job(&queue).await;
    assert_eq!((job.event_type.as_str(), job.lane), (UPDATE, Lane::Events));
    assert_eq!(queue.settle(&job, done(), None).await.unwrap(), Settled::AsAsked, "one sync is enough");
}

async fn a_sync_for_the_clock_that_fails_is_tried_again(shop: Shop) {
    let queue = shop.opens().await;
    synced_until(&shop, &queue, "kari", shop.later(HOUR)).await;
    shop.clock.advance(HOUR);
    checks(&queue).await;
    let queue = shop.restarts(queue).await;
    let job = only_job(&queue).await;
    queue.settle(&job, retry(shop.clock.now(), true), None).await.unwrap();
    assert_eq!(checks(&queue).await, Checked::default());
    assert_eq!(only_job(&queue).await.event_type, EXPIRY);
}

async fn two_processes_that_check_make_nobody_due_twice(shop: Shop) {
    let (queue, other) = (shop.opens().await, shop.another().await);
    let all: Vec<_> = (0..60).map(|number| format!("{number:02}")).collect();
    due(&shop, &queue, &all.iter().map(String::as_str).collect::<Vec<_>>()).await;
    let at = shop.clock.now();
    for job in queue.lease(Slots::for_any(100)).await.unwrap().jobs {
        let address = format!("{}@example.com", job.user.as_str().replace('|', "-"));
        queue.settle(&job, done_with(seen(&address), Some(at)), None).await.unwrap();
    }
    let both = futures_util::join!(checks(&queue), checks(&other));
    assert_eq!(both.0.expired + both.1.expired, 60, "{both:?}");
    assert_eq!(queue.lease(Slots::for_any(100)).await.unwrap().jobs.len(), 60);
}

async fn a_drift_check_goes_behind_everything_else(shop: Shop) {
    let queue = shop.opens().await;
    let job = leased(&shop, &queue, "kari").await;
    let check = shop.later(HOUR).map(|at| (at, DRIFT.to_owned()));
    let done = Done { memory: seen("kari@example.com"), check, ..Done::default() };
    queue.settle(&job, Settlement::Done(Box::new(done)), None).await.unwrap();
    shop.clock.advance(HOUR);
    assert_eq!(checks(&queue).await, Checked { drifting: 1, ..Checked::default() });
    let job = only_job(&queue).await;
    assert_eq!((job.event_type.as_str(), job.lane), (DRIFT, Lane::Background));
}
