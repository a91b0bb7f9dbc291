//! A user who is leased by name.

use super::{ask, by_hand};
use crate::queue::tests::sharing::{SECOND, opened, slow};
use crate::queue::tests::{
    LEASE, Shop, UPDATE, done, due, leased, next_due, only_job, park, retry, stories, user,
};
use crate::queue::{Lane, LeaseRequest, Settled, UserLease};
use crate::upstream::circuit_breaker::OpenReason;
use crate::upstream::{Api, PerApi};

stories! {
    somebody_unknown_is_known_and_leased,
    who_is_due_or_waits_is_leased_at_once,
    who_is_parked_starts_afresh,
    who_is_being_synced_is_held_and_left_alone,
    a_lease_that_has_ended_is_taken_over_as_in_any_lease,
    a_due_user_stays_in_the_lane_that_goes_first,
    a_lease_by_name_takes_its_own_calls_and_waits_for_them,
    while_a_circuit_is_open_nobody_is_leased_by_name_but_the_probe,
    a_lease_that_needs_no_call_waits_for_no_api_and_no_pause,
    an_event_during_a_lease_by_name_makes_the_user_due_again,
}

async fn somebody_unknown_is_known_and_leased(shop: Shop) {
    let queue = shop.opens().await;
    let job = ask(&queue, by_hand("kari")).await.unwrap();
    assert_eq!((job.user.clone(), job.event_type.as_str()), (user("kari"), "sync"));
    assert_eq!((job.generation, job.attempts, job.is_taken_over, job.lane), (1, 0, false, Lane::Events));
    assert_eq!((job.leased_at, job.calls), (shop.clock.now(), PerApi { sesamy: 3, mailmojo: 2 }));
    assert_eq!(next_due(&queue).await, shop.later(LEASE));
    assert_eq!(queue.settle(&job, done(), None).await.unwrap(), Settled::AsAsked);
    assert_eq!(next_due(&queue).await, None);
}

async fn who_is_due_or_waits_is_leased_at_once(shop: Shop) {
    let queue = shop.opens().await;
    queue.push(&user("due"), UPDATE).await.unwrap();
    let job = ask(&queue, by_hand("due")).await.unwrap();
    assert_eq!((job.generation, job.event_type.as_str()), (2, "sync"));
    assert_eq!(
        queue.settle(&job, done(), None).await.unwrap(),
        Settled::AsAsked,
        "the event is done with it"
    );
    assert_eq!(next_due(&queue).await, None);

    let job = leased(&shop, &queue, "waits").await;
    queue.settle(&job, retry(shop.later(LEASE).unwrap(), true), None).await.unwrap();
    assert_eq!(ask(&queue, by_hand("waits")).await.unwrap().attempts, 1, "its failures count on");
}

async fn who_is_parked_starts_afresh(shop: Shop) {
    let queue = shop.opens().await;
    let job = leased(&shop, &queue, "kari").await;
    queue.settle(&job, retry(shop.clock.now(), true), None).await.unwrap();
    let job = only_job(&queue).await;
    queue.settle(&job, park("400"), None).await.unwrap();
    let job = ask(&queue, by_hand("kari")).await.unwrap();
    assert_eq!((job.attempts, job.failing_since), (0, None));
    let row = &queue.rows_of(&[user("kari")]).await.unwrap()[0];
    assert_eq!((row.parked_at, row.answer.clone()), (None, None));
}

async fn who_is_being_synced_is_held_and_left_alone(shop: Shop) {
    let queue = shop.opens().await;
    let job = leased(&shop, &queue, "kari").await;
    let until = shop.later(LEASE).unwrap();
    let refused = ask(&queue, by_hand("kari")).await.unwrap_err();
    assert!(matches!(refused, UserLease::Held(end) if end == until), "{refused:?}");
    assert_eq!(queue.settle(&job, done(), None).await.unwrap(), Settled::AsAsked, "nobody asked for another");
}

async fn a_lease_that_has_ended_is_taken_over_as_in_any_lease(shop: Shop) {
    let queue = shop.opens().await;
    let lost = leased(&shop, &queue, "kari").await;
    shop.clock.advance(LEASE);
    let job = ask(&queue, by_hand("kari")).await.unwrap();
    assert_eq!((job.attempts, job.is_taken_over, job.failing_since), (1, true, Some(shop.clock.now())));
    assert_eq!(queue.settle(&lost, done(), None).await.unwrap(), Settled::LeaseLost);
    assert_eq!(queue.settle(&job, done(), None).await.unwrap(), Settled::AsAsked);
}

async fn a_due_user_stays_in_the_lane_that_goes_first(shop: Shop) {
    let queue = shop.opens().await;
    let background = |name: &str| LeaseRequest { lane: Lane::Background, ..by_hand(name) };
    due(&shop, &queue, &["due"]).await;
    let job = ask(&queue, background("due")).await.unwrap();
    assert_eq!(job.lane, Lane::Events, "an event is waiting for it");
    queue.settle(&job, done(), None).await.unwrap();
    let job = leased(&shop, &queue, "idle").await;
    queue.settle(&job, done(), None).await.unwrap();
    let job = ask(&queue, background("idle")).await.unwrap();
    assert_eq!(job.lane, Lane::Background, "with nothing to do, it was in none");
    queue.settle(&job, retry(shop.clock.now(), true), None).await.unwrap();
    let job = ask(&queue, background("idle")).await.unwrap();
    assert_eq!(job.lane, Lane::Background, "due in that lane, it is nobody else's");
    queue.settle(&job, retry(shop.clock.now(), true), None).await.unwrap();
    let job = ask(&queue, by_hand("idle")).await.unwrap();
    assert_eq!(job.lane, Lane::Events);
    queue.settle(&job, retry(shop.clock.now(), true), None).await.unwrap();
    assert_eq!(only_job(&queue).await.lane, Lane::Retries);
}

async fn a_lease_by_name_takes_its_own_calls_and_waits_for_them(shop: Shop) {
    let queue = shop.opens_as(slow(7)).await;
    let one_call = LeaseRequest { calls: PerApi { sesamy: 1, mailmojo: 5 }, ..by_hand("a") };
    assert_eq!(ask(&queue, one_call).await.unwrap().calls, PerApi { sesamy: 1, mailmojo: 5 });
    ask(&queue, by_hand("b")).await.unwrap();
    let refused = ask(&queue, by_hand("c")).await.unwrap_err();
    let at = shop.later(2 * SECOND);
    assert!(matches!(refused, UserLease::NotBefore(until) if Some(until) == at), "{refused:?}");
    assert!(queue.rows_of(&[user("c")]).await.unwrap().is_empty(), "nobody is made known by asking");
    shop.clock.advance(2 * SECOND);
    ask(&queue, by_hand("c")).await.unwrap();
}

async fn while_a_circuit_is_open_nobody_is_leased_by_name_but_the_probe(shop: Shop) {
    let queue = shop.opens().await;
    let until = shop.later(10 * SECOND);
    opened(&queue, Api::Mailmojo, OpenReason::Outage, 10 * SECOND).await;
    let refused = ask(&queue, by_hand("kari")).await.unwrap_err();
    assert!(matches!(refused, UserLease::NotBefore(at) if Some(at) == until), "{refused:?}");
    shop.clock.advance(10 * SECOND);
    let probe = ask(&queue, by_hand("kari")).await.unwrap();
    assert!(probe.is_probe);
    let refused = ask(&queue, by_hand("ola")).await.unwrap_err();
    assert!(matches!(refused, UserLease::NotBefore(at) if Some(at) == shop.later(LEASE)), "{refused:?}");
    queue.settle(&probe, done(), None).await.unwrap();
    assert!(ask(&queue, by_hand("ola")).await.unwrap().is_probe, "one that told nothing makes room");
}

async fn a_lease_that_needs_no_call_waits_for_no_api_and_no_pause(shop: Shop) {
    let queue = shop.opens_as(slow(5)).await;
    let without_calls = |name: &str| LeaseRequest { calls: PerApi::default(), ..by_hand(name) };
    ask(&queue, by_hand("uses-all")).await.unwrap();
    assert!(matches!(ask(&queue, by_hand("kari")).await, Err(UserLease::NotBefore(_))));
    opened(&queue, Api::Mailmojo, OpenReason::Credentials, 10 * SECOND).await;
    for is_over in [false, true] {
        if is_over {
            shop.clock.advance(10 * SECOND);
        }
        queue.pause().await.unwrap();
        let job = ask(&queue, without_calls("kari")).await.unwrap();
        assert_eq!((job.calls, job.calls_taken), (PerApi::default(), PerApi::default()));
        assert!(!job.is_probe, "it tells nothing of an API");
        queue.resume(None).await.unwrap();
        let wait = if is_over { std::time::Duration::ZERO } else { 10 * SECOND };
        opened(&queue, Api::Mailmojo, OpenReason::Credentials, wait).await;
        let refused = ask(&queue, without_calls("kari")).await.unwrap_err();
        assert!(matches!(refused, UserLease::Held(_)), "held as any other: {refused:?}");
        queue.settle(&job, done(), None).await.unwrap();
    }
    assert!(ask(&queue, by_hand("ola")).await.unwrap().is_probe, "the place of the probe is free");
}

async fn an_event_during_a_lease_by_name_makes_the_user_due_again(shop: Shop) {
    let queue = shop.opens().await;
    let job = ask(&queue, by_hand("kari")).await.unwrap();
    queue.push(&user("kari"), UPDATE).await.unwrap();
    assert_eq!(queue.settle(&job, done(), None).await.unwrap(), Settled::DueAgain);
}
