//! Users who are forgotten, and users whom Sesamy has never known.

use std::time::Duration;

use super::operators::{ask, by_hand};
use super::sharing::{SECOND, opened, slow};
use super::{
    DEBOUNCE, LEASE, Shop, UPDATE, done, done_with, due, leased, names, next_due, only_job, park, retry,
    seen, stories, user,
};
use crate::clock::Millis;
use crate::model::LastSeen;
use crate::queue::{Entry, LeaseRequest, Queue, Settled, Settlement, Slots, UserLease};
use crate::sync::AddressIndex;
use crate::upstream::Api;
use crate::upstream::circuit_breaker::OpenReason;

stories! {
    who_is_forgotten_is_gone_with_the_history,
    later_events_of_who_was_forgotten_are_dropped,
    who_was_forgotten_is_taken_up_again_only_by_asking_for_it,
    while_syncs_pause_nobody_is_taken_up_again,
    who_has_lost_the_lease_forgets_nobody,
    an_event_during_the_lease_is_forgotten_too,
    the_calls_of_who_is_forgotten_are_given_back,
    to_forget_a_probe_makes_room_for_another,
    who_was_missing_for_long_goes_where_nothing_is_left_to_do,
    a_retry_of_who_was_forgotten_makes_nobody_due,
}

const HOUR: Duration = Duration::from_secs(3_600);

fn again(name: &str) -> LeaseRequest {
    LeaseRequest { again: true, ..by_hand(name) }
}

/// Syncs `name`, leaves some history, and forgets the user.
async fn forgotten(shop: &Shop, queue: &Queue, name: &str) {
    let job = leased(shop, queue, name).await;
    let entry = Entry { outcome: "updated", ..Entry::default() };
    queue.settle(&job, done_with(seen("kari@example.com"), None), Some(entry)).await.unwrap();
    let job = ask(queue, by_hand(name)).await.unwrap();
    assert!(queue.forget(&job).await.unwrap());
}

async fn is_known(queue: &Queue, name: &str) -> bool {
    !queue.rows_of(&[user(name)]).await.unwrap().is_empty()
}

async fn who_is_forgotten_is_gone_with_the_history(shop: Shop) {
    let queue = shop.opens().await;
    let job = leased(&shop, &queue, "ola").await;
    let entry = Entry { outcome: "updated", ..Entry::default() };
    queue.settle(&job, done(), Some(entry)).await.unwrap();
    forgotten(&shop, &queue, "kari").await;
    let queue = shop.restarts(queue).await;
    assert!(!is_known(&queue, "kari").await && is_known(&queue, "ola").await);
    assert!(queue.history(&user("kari"), 9).await.unwrap().is_empty());
    assert_eq!(queue.history(&user("ola"), 9).await.unwrap().len(), 1);
    assert!(queue.others_at(&user("ola"), "kari@example.com", 9).await.unwrap().is_empty());
    assert_eq!(queue.counts_since(Millis(0)).await.unwrap()[0].count, 2, "of which nobody is told");
    let all = ["ola", "kari", "nobody", "kari"].map(user);
    assert_eq!(queue.forgotten(&all).await.unwrap(), [user("kari")]);
    assert_eq!(next_due(&queue).await, None);
}

async fn later_events_of_who_was_forgotten_are_dropped(shop: Shop) {
    let queue = shop.opens().await;
    forgotten(&shop, &queue, "kari").await;
    let queue = shop.restarts(queue).await;
    // All are sent before the first answer can be awaited, so they may meet in one transaction.
    let all = ["a", "kari", "kari", "z"].map(user);
    let kept = futures_util::future::join_all(all.iter().map(|user| queue.push(user, UPDATE))).await;
    assert!(kept.iter().all(Result::is_ok), "{kept:?}");
    shop.clock.advance(DEBOUNCE);
    assert_eq!(names(&queue.lease(Slots::for_any(9)).await.unwrap().jobs), ["email|a", "email|z"]);
    assert!(!is_known(&queue, "kari").await);
    queue.push(&user("a"), UPDATE).await.unwrap();
    assert!(is_known(&queue, "a").await, "who is known stays so");
}

async fn who_was_forgotten_is_taken_up_again_only_by_asking_for_it(shop: Shop) {
    let queue = shop.opens().await;
    forgotten(&shop, &queue, "kari").await;
    assert!(matches!(ask(&queue, by_hand("kari")).await, Err(UserLease::Forgotten)));
    queue.enqueue(vec![user("kari")], "backfill", shop.clock.now()).await.unwrap();
    assert!(queue.lease(Slots::for_any(9)).await.unwrap().jobs.is_empty());
    assert!(!is_known(&queue, "kari").await);
    let job = ask(&queue, again("kari")).await.unwrap();
    assert_eq!((job.generation, job.memory.clone()), (1, LastSeen::default()));
    assert!(queue.forgotten(&[user("kari")]).await.unwrap().is_empty());
    assert_eq!(queue.settle(&job, done(), None).await.unwrap(), Settled::AsAsked);
    assert_eq!(leased(&shop, &queue, "kari").await.event_type, UPDATE, "events are kept again");
    assert_eq!(ask(&queue, again("ola")).await.unwrap().generation, 1, "anybody else may be asked for so");
}

async fn while_syncs_pause_nobody_is_taken_up_again(shop: Shop) {
    let queue = shop.opens().await;
    forgotten(&shop, &queue, "kari").await;
    queue.pause().await.unwrap();
    assert!(matches!(ask(&queue, again("kari")).await, Err(UserLease::Paused)));
    assert_eq!(queue.forgotten(&[user("kari")]).await.unwrap(), [user("kari")]);
}

async fn who_has_lost_the_lease_forgets_nobody(shop: Shop) {
    let queue = shop.opens().await;
    let late = leased(&shop, &queue, "kari").await;
    shop.clock.advance(LEASE);
    let current = only_job(&queue).await;
    assert!(!queue.forget(&late).await.unwrap());
    assert!(is_known(&queue, "kari").await && queue.forgotten(&[user("kari")]).await.unwrap().is_empty());
    assert!(queue.forget(&current).await.unwrap());
    assert!(!queue.forget(&current).await.unwrap(), "a second time");
    assert_eq!(queue.settle(&current, done(), None).await.unwrap(), Settled::LeaseLost);
}

async fn an_event_during_the_lease_is_forgotten_too(shop: Shop) {
    let queue = shop.opens().await;
    let job = leased(&shop, &queue, "kari").await;
    queue.push(&user("kari"), UPDATE).await.unwrap();
    assert!(queue.forget(&job).await.unwrap());
    assert_eq!((is_known(&queue, "kari").await, next_due(&queue).await), (false, None));
}

async fn the_calls_of_who_is_forgotten_are_given_back(shop: Shop) {
    let queue = shop.opens_as(slow(3)).await;
    due(&shop, &queue, &["a", "b"]).await;
    let job = only_job(&queue).await;
    assert_eq!(queue.lease(Slots::for_any(1)).await.unwrap().again_at, shop.later(3 * SECOND));
    assert!(queue.forget(&job).await.unwrap());
    assert_eq!(only_job(&queue).await.user, user("b"));
}

async fn to_forget_a_probe_makes_room_for_another(shop: Shop) {
    let queue = shop.opens().await;
    due(&shop, &queue, &["a", "b"]).await;
    opened(&queue, Api::Mailmojo, OpenReason::Outage, Duration::ZERO).await;
    let probe = only_job(&queue).await;
    assert!(probe.is_probe && queue.lease(Slots::for_any(9)).await.unwrap().jobs.is_empty());
    assert!(queue.forget(&probe).await.unwrap());
    assert!(only_job(&queue).await.is_probe);
}

async fn who_was_missing_for_long_goes_where_nothing_is_left_to_do(shop: Shop) {
    let queue = shop.opens().await;
    let missing = |since| LastSeen { missing_since: Some(since), ..LastSeen::default() };
    let long = shop.clock.now();
    let address = LastSeen { missing_since: Some(long), ..seen("kari@example.com") };
    let lately = long.plus(HOUR);
    let gone = ["gone-1", "gone-2", "gone-parked"];
    let stays = ["address", "due", "held", "held-back", "known", "lately"];
    for name in gone.into_iter().chain(stays) {
        let job = leased(&shop, &queue, name).await;
        let (memory, held_back) = match name {
            "address" => (address.clone(), false),
            "held-back" => (missing(long), true),
            "known" => (LastSeen::default(), false),
            "lately" => (missing(lately), false),
            _ => (missing(long), false),
        };
        let done = crate::queue::Done { held_back, memory, ..Default::default() };
        let entry = Entry { outcome: "skipped", reason: "user_not_found", ..Entry::default() };
        queue.settle(&job, Settlement::Done(Box::new(done)), Some(entry)).await.unwrap();
    }
    let job = leased(&shop, &queue, "gone-parked").await;
    queue.settle(&job, park("400"), None).await.unwrap();
    let job = leased(&shop, &queue, "due").await;
    queue.settle(&job, retry(shop.later(HOUR).unwrap(), true), None).await.unwrap();
    leased(&shop, &queue, "held").await;

    let mut pruned = Vec::new();
    for _ in 0..3 {
        pruned.push(queue.prune(lately, 2).await.unwrap());
    }
    // The history that is as old goes first, then these.
    while queue.prune(lately, 2).await.unwrap() > 0 {}
    for name in gone {
        assert!(!is_known(&queue, name).await, "{name}");
        assert!(queue.history(&user(name), 9).await.unwrap().is_empty(), "{name}");
    }
    for name in stays {
        assert!(is_known(&queue, name).await, "{name}");
    }
    assert!(pruned.iter().all(|pruned| *pruned <= 4), "two entries and two rows at a time: {pruned:?}");
    queue.push(&user("gone-1"), UPDATE).await.unwrap();
    assert!(is_known(&queue, "gone-1").await, "who went so is no stranger than before");
}

async fn a_retry_of_who_was_forgotten_makes_nobody_due(shop: Shop) {
    let queue = shop.opens().await;
    forgotten(&shop, &queue, "kari").await;
    let whom = crate::queue::Retry::Users(vec![user("kari")]);
    assert_eq!((queue.count_retry(&whom).await.unwrap(), queue.retry(whom).await.unwrap()), (0, 0));
    assert!(!is_known(&queue, "kari").await);
}
