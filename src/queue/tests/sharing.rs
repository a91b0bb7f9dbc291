//! What all processes on one store share: the rate of both APIs, and their rests.

use crate::queue::Lane;
use std::num::NonZeroU32;
use std::time::Duration;

use super::{LEASE, OPTIONS, Shop, done, due, names, only_job, retry, stories, user};
use crate::clock::Millis;
use crate::queue::Slots;
use crate::queue::{Job, Options, Rates};
use crate::upstream::rest::{Change, Kind, Pause, Why};
use crate::upstream::{Api, Meter, PerApi, Quota, Turn};

stories! {
    a_lease_takes_the_calls_of_its_sync_and_waits_where_there_are_none,
    calls_that_a_sync_did_not_need_are_there_for_the_next,
    a_call_beyond_those_of_the_lease_waits_for_its_turn,
    a_burst_smaller_than_a_sync_holds_nobody_up_for_ever,
    nobody_is_leased_while_an_api_rests,
    after_a_rest_one_probe_at_a_time_is_leased,
    a_probe_is_a_user_who_has_not_failed_if_there_is_one,
    a_probe_that_told_nothing_makes_room_for_another,
    after_a_429s_rest_everybody_may_go_on,
    a_start_ends_the_rests_but_not_the_rate,
    a_rate_that_was_raised_holds_at_once,
}

pub(super) const SECOND: Duration = Duration::from_secs(1);

/// One call a second of each API, `burst` at once.
pub(super) fn slow(burst: u32) -> Options {
    rated(60, burst)
}

pub(super) fn rated(per_minute: u32, burst: u32) -> Options {
    let number = |number| NonZeroU32::new(number).unwrap();
    let quota = Quota { per_minute: number(per_minute), burst: number(burst) };
    let quotas = PerApi { sesamy: quota, mailmojo: quota };
    Options { rates: Rates { quotas, ..OPTIONS.rates }, ..OPTIONS }
}

pub(super) fn rest(why: Why, until: Option<Millis>) -> Change {
    let kind = (why == Why::Outage).then_some(Kind::Transient);
    Change::Begin(Pause { why, until: until.unwrap(), doublings: 0, kind })
}

async fn a_lease_takes_the_calls_of_its_sync_and_waits_where_there_are_none(shop: Shop) {
    let queue = shop.opens_as(slow(7)).await; // two syncs of three calls at Sesamy, and one call
    due(&shop, &queue, &["a", "b", "c"]).await;
    let leased = queue.lease(Slots::for_any(10)).await.unwrap();
    assert_eq!(names(&leased.jobs), ["email|a", "email|b"]);
    assert_eq!(leased.jobs[0].calls, PerApi { sesamy: 3, mailmojo: 2 });
    assert_eq!(leased.again_at, shop.later(2 * SECOND), "when the third call is there");
    shop.clock.advance(2 * SECOND - Duration::from_millis(1));
    assert_eq!(queue.lease(Slots::for_any(10)).await.unwrap().jobs.len(), 0);
    shop.clock.advance(Duration::from_millis(1));
    let leased = queue.lease(Slots::for_any(10)).await.unwrap();
    assert_eq!((names(&leased.jobs), leased.again_at), (vec!["email|c"], shop.later(3 * SECOND)));
}

async fn calls_that_a_sync_did_not_need_are_there_for_the_next(shop: Shop) {
    let queue = shop.opens_as(slow(3)).await;
    due(&shop, &queue, &["a", "b"]).await;
    let skipped = Job { calls: PerApi { sesamy: 2, mailmojo: 2 }, ..only_job(&queue).await };
    assert_eq!(queue.lease(Slots::for_any(1)).await.unwrap().again_at, shop.later(3 * SECOND));
    queue.settle(&skipped, done(), None).await.unwrap();
    assert_eq!(queue.lease(Slots::for_any(1)).await.unwrap().again_at, shop.later(SECOND));
}

async fn a_call_beyond_those_of_the_lease_waits_for_its_turn(shop: Shop) {
    let queue = shop.opens_as(slow(4)).await;
    due(&shop, &queue, &["a"]).await;
    only_job(&queue).await;
    assert_eq!(queue.meter(Lane::Events).take_call(Api::Sesamy).await, Ok(Turn::Granted));
    let turn = queue.meter(Lane::Events).take_call(Api::Sesamy).await.unwrap();
    assert_eq!(turn, Turn::NotBefore(shop.clock.now().plus(SECOND)));
    assert_eq!(
        queue.meter(Lane::Events).take_call(Api::Mailmojo).await,
        Ok(Turn::Granted),
        "each has a rate of its own"
    );
}

async fn a_burst_smaller_than_a_sync_holds_nobody_up_for_ever(shop: Shop) {
    let queue = shop.opens_as(slow(1)).await;
    due(&shop, &queue, &["a"]).await;
    assert_eq!(only_job(&queue).await.calls, PerApi { sesamy: 1, mailmojo: 1 });
}

async fn nobody_is_leased_while_an_api_rests(shop: Shop) {
    let queue = shop.opens().await;
    due(&shop, &queue, &["a"]).await;
    let (short, long) = (shop.later(10 * SECOND), shop.later(60 * SECOND));
    queue.tell_rest(Api::Sesamy, rest(Why::RateLimit, short)).await.unwrap();
    let rests = queue.tell_rest(Api::Mailmojo, rest(Why::Outage, long)).await.unwrap().rests;
    let leased = queue.lease(Slots::for_any(10)).await.unwrap();
    assert_eq!((leased.jobs.len(), leased.again_at), (0, long));
    assert_eq!(leased.known.rests, rests);
    let kept = rests.mailmojo.pause.clone().unwrap();
    assert_eq!((kept.why, kept.kind), (Why::Outage, Some(Kind::Transient)));

    for (api, rest) in [(Api::Sesamy, &rests.sesamy), (Api::Mailmojo, &rests.mailmojo)] {
        queue.tell_rest(api, Change::End { revision: rest.revision }).await.unwrap();
    }
    assert_eq!(queue.lease(Slots::for_any(10)).await.unwrap().jobs.len(), 1);
}

async fn after_a_rest_one_probe_at_a_time_is_leased(shop: Shop) {
    let queue = shop.opens().await;
    due(&shop, &queue, &["a", "b"]).await;
    queue.tell_rest(Api::Sesamy, rest(Why::Credentials, shop.later(SECOND))).await.unwrap();
    shop.clock.advance(SECOND);
    let probe = only_job(&queue).await;
    assert!(probe.is_probe);
    let leased = queue.lease(Slots::for_any(10)).await.unwrap();
    assert_eq!((leased.jobs.len(), leased.again_at), (0, shop.later(LEASE)), "the probe is still out");

    // It failed, and another second later it is another's turn; it gets through, and everybody follows.
    queue.tell_rest(Api::Sesamy, rest(Why::Credentials, shop.later(SECOND))).await.unwrap();
    queue.settle(&probe, retry(shop.clock.now(), false), None).await.unwrap();
    shop.clock.advance(SECOND);
    let leased = queue.lease(Slots::for_any(10)).await.unwrap();
    assert_eq!(names(&leased.jobs), ["email|b"]);
    let revision = leased.known.rests.sesamy.revision;
    queue.tell_rest(Api::Sesamy, Change::End { revision }).await.unwrap();
    assert!(!only_job(&queue).await.is_probe);
}

async fn a_probe_is_a_user_who_has_not_failed_if_there_is_one(shop: Shop) {
    let queue = shop.opens().await;
    due(&shop, &queue, &["kari", "ola"]).await;
    for job in queue.lease(Slots::for_any(2)).await.unwrap().jobs {
        queue.settle(&job, retry(shop.clock.now(), false), None).await.unwrap();
    }
    due(&shop, &queue, &["liv"]).await;
    queue.tell_rest(Api::Mailmojo, rest(Why::Outage, shop.later(Duration::ZERO))).await.unwrap();
    let probe = only_job(&queue).await;
    assert_eq!(probe.user, user("liv"));
    queue.settle(&probe, done(), None).await.unwrap();
    assert_ne!(only_job(&queue).await.user, user("liv"), "then whoever is left");
}

async fn a_probe_that_told_nothing_makes_room_for_another(shop: Shop) {
    let queue = shop.opens().await;
    due(&shop, &queue, &["a", "b"]).await;
    queue.tell_rest(Api::Mailmojo, rest(Why::Outage, shop.later(Duration::ZERO))).await.unwrap();
    let guest = only_job(&queue).await;
    queue.settle(&guest, done(), None).await.unwrap();
    let hangs = only_job(&queue).await;
    assert_eq!(hangs.user, user("b"));
    shop.clock.advance(LEASE);
    assert_eq!(
        only_job(&queue).await.user,
        user("b"),
        "one that never ends does so for no longer than its lease"
    );
}

async fn after_a_429s_rest_everybody_may_go_on(shop: Shop) {
    let queue = shop.opens().await;
    due(&shop, &queue, &["a", "b"]).await;
    queue.tell_rest(Api::Sesamy, rest(Why::RateLimit, shop.later(SECOND))).await.unwrap();
    shop.clock.advance(SECOND);
    assert_eq!(queue.lease(Slots::for_any(10)).await.unwrap().jobs.len(), 2);
}

async fn a_start_ends_the_rests_but_not_the_rate(shop: Shop) {
    let queue = shop.opens_as(slow(3)).await;
    due(&shop, &queue, &["a", "b"]).await;
    only_job(&queue).await;
    let known =
        queue.tell_rest(Api::Sesamy, rest(Why::Credentials, shop.later(60 * SECOND))).await.unwrap().rests;
    queue.close().await;

    let queue = shop.opens_as(slow(3)).await;
    let rests = queue.known().await.unwrap().rests;
    assert_eq!(rests.sesamy.pause, None);
    assert!(rests.sesamy.revision > known.sesamy.revision, "whoever knew of the rest learns of its end");
    let leased = queue.lease(Slots::for_any(10)).await.unwrap();
    assert_eq!((leased.jobs.len(), leased.again_at), (0, shop.later(3 * SECOND)));
}

async fn a_rate_that_was_raised_holds_at_once(shop: Shop) {
    let queue = shop.opens_as(slow(2)).await;
    due(&shop, &queue, &["a", "b"]).await;
    only_job(&queue).await;
    queue.close().await;

    let queue = shop.opens_as(rated(6_000, 2)).await;
    assert_eq!(queue.lease(Slots::for_any(10)).await.unwrap().jobs.len(), 0);
    shop.clock.advance(SECOND);
    assert_eq!(queue.lease(Slots::for_any(10)).await.unwrap().jobs.len(), 1);
}
