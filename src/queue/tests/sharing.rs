//! What all processes on one store share: the rate of both APIs, and their circuits.

use crate::queue::Lane;
use std::num::NonZeroU32;
use std::time::Duration;

use super::{LEASE, OPTIONS, Shop, done, due, names, only_job, retry, stories, user};
use crate::queue::Slots;
use crate::queue::{
    Entry, Failed, Job, Queue, QueuePolicy, Rates, RetryPolicy, Settlement, SharedState, SyncEnd,
};
use crate::upstream::circuit_breaker::{Backoff, CallKind, FailedCall, OpenReason};
use crate::upstream::{Api, Class, Meter, PerApi, Quota, Turn};

stories! {
    a_lease_takes_the_calls_of_its_sync_and_waits_where_there_are_none,
    calls_that_a_sync_did_not_need_are_there_for_the_next,
    a_call_beyond_those_of_the_lease_waits_for_its_turn,
    a_burst_smaller_than_a_sync_holds_nobody_up_for_ever,
    nobody_is_leased_while_a_circuit_is_open,
    through_a_half_open_circuit_one_probe_at_a_time_is_leased,
    an_open_circuit_of_writes_lets_syncs_start,
    a_probe_is_a_user_who_has_not_failed_if_there_is_one,
    a_probe_that_told_nothing_makes_room_for_another,
    after_a_429_everybody_may_go_on,
    a_start_closes_the_circuits_and_keeps_the_rate,
    a_rate_that_was_raised_holds_at_once,
}

pub(super) const SECOND: Duration = Duration::from_secs(1);

/// One call a second of each API, `burst` at once.
pub(super) fn slow(burst: u32) -> QueuePolicy {
    rated(60, burst)
}

pub(super) fn rated(per_minute: u32, burst: u32) -> QueuePolicy {
    let number = |number| NonZeroU32::new(number).unwrap();
    let quota = Quota { per_minute: number(per_minute), burst: number(burst) };
    let quotas = PerApi { sesamy: quota, mailmojo: quota };
    QueuePolicy { rates: Rates { quotas, ..OPTIONS.rates }, ..OPTIONS }
}

pub(super) const BACKOFF: Backoff = Backoff { base: SECOND, cap: Duration::from_secs(60) };

fn failed(api: Api, kind: CallKind, class: Class, answer: &str, backoff: Backoff) -> Failed {
    let (message, answer) = (answer.to_owned(), answer.to_owned());
    let call = FailedCall { kind, class, message, answer, is_api_well: None };
    Failed { api, call, policy: RetryPolicy { backoff, max_attempts: 3 }, draw: 0.0 }
}

/// Opens the circuit of `api` for so long; what all know then.
pub(super) async fn opened(queue: &Queue, api: Api, reason: OpenReason, wait: Duration) -> SharedState {
    let class = match reason {
        OpenReason::RateLimit => Class::RateLimited(Some(wait)),
        OpenReason::Outage => Class::NoToken,
        reason => Class::Refused(reason),
    };
    let failed = failed(api, CallKind::Read, class, "odd", Backoff { base: wait, cap: wait });
    queue.record_calls("opener", &[], Some(&failed)).await.unwrap().1
}

/// Ends the lease of a sync that failed at Mailmojo; how it ended.
pub(super) async fn fails(
    queue: &Queue,
    job: &Job,
    kind: CallKind,
    class: Class,
    answer: &str,
) -> Settlement {
    let failed = failed(Api::Mailmojo, kind, class, answer, BACKOFF);
    let end = SyncEnd::Failed(Box::new(failed));
    queue.settle_sync(job, &end, Some(Entry::default())).await.unwrap().how
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
    assert_eq!(names(&queue.lease(Slots::for_any(10)).await.unwrap().jobs), ["email|c"]);
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

async fn nobody_is_leased_while_a_circuit_is_open(shop: Shop) {
    let queue = shop.opens().await;
    due(&shop, &queue, &["a"]).await;
    opened(&queue, Api::Sesamy, OpenReason::RateLimit, 10 * SECOND).await;
    let known = opened(&queue, Api::Mailmojo, OpenReason::Credentials, 60 * SECOND).await;
    let leased = queue.lease(Slots::for_any(10)).await.unwrap();
    assert_eq!((leased.jobs.len(), leased.again_at), (0, shop.later(60 * SECOND)));
    assert_eq!(leased.known, known);
    let open = known.breakers.mailmojo.open(CallKind::Read);
    assert_eq!(open, Some((OpenReason::Credentials, shop.later(60 * SECOND).unwrap())));
}

async fn through_a_half_open_circuit_one_probe_at_a_time_is_leased(shop: Shop) {
    let queue = shop.opens().await;
    due(&shop, &queue, &["a", "b"]).await;
    opened(&queue, Api::Mailmojo, OpenReason::Credentials, SECOND).await;
    shop.clock.advance(SECOND);
    let probe = only_job(&queue).await;
    assert!(probe.is_probe);
    let leased = queue.lease(Slots::for_any(10)).await.unwrap();
    assert_eq!((leased.jobs.len(), leased.again_at), (0, shop.later(LEASE)), "the probe is still out");

    // It fails, and later it is another user's turn; that one gets through, and everybody follows.
    let refused = Class::Refused(OpenReason::Credentials);
    fails(&queue, &probe, CallKind::Read, refused, "odd").await;
    assert_eq!(queue.lease(Slots::for_any(10)).await.unwrap().again_at, shop.later(BACKOFF.cap));
    shop.clock.advance(BACKOFF.cap);
    let probe = only_job(&queue).await;
    assert_eq!(probe.user, user("b"));
    let answered = vec![(Api::Mailmojo, CallKind::Read)];
    queue.settle(&Job { answered, ..probe }, done(), None).await.unwrap();
    assert!(!only_job(&queue).await.is_probe);
}

async fn an_open_circuit_of_writes_lets_syncs_start(shop: Shop) {
    let queue = shop.opens().await;
    due(&shop, &queue, &["a", "b"]).await;
    let job = queue.lease(Slots::for_any(1)).await.unwrap().jobs.remove(0);
    let refused = Class::Refused(OpenReason::Credentials);
    let how = fails(&queue, &job, CallKind::Write, refused, "403").await;
    let at = shop.later(BACKOFF.cap + BACKOFF.base).unwrap();
    assert_eq!(how, Settlement::Retry { at, counts: false, error: "403".to_owned() });
    let other = only_job(&queue).await;
    assert_eq!((other.user.clone(), other.is_probe), (user("b"), false));
    let answered = vec![(Api::Mailmojo, CallKind::Read)];
    queue.settle(&Job { answered, ..other }, done(), None).await.unwrap();
    let known = queue.known().await.unwrap();
    assert!(known.breakers.mailmojo.open(CallKind::Write).is_some(), "it wrote nothing");
}

async fn a_probe_is_a_user_who_has_not_failed_if_there_is_one(shop: Shop) {
    let queue = shop.opens().await;
    due(&shop, &queue, &["kari", "ola"]).await;
    for job in queue.lease(Slots::for_any(2)).await.unwrap().jobs {
        queue.settle(&job, retry(shop.clock.now(), false), None).await.unwrap();
    }
    due(&shop, &queue, &["liv"]).await;
    opened(&queue, Api::Mailmojo, OpenReason::Outage, Duration::ZERO).await;
    let probe = only_job(&queue).await;
    assert_eq!(probe.user, user("liv"));
    queue.settle(&probe, done(), None).await.unwrap();
    assert_ne!(only_job(&queue).await.user, user("liv"), "then whoever is left");
}

async fn a_probe_that_told_nothing_makes_room_for_another(shop: Shop) {
    let queue = shop.opens().await;
    due(&shop, &queue, &["a", "b"]).await;
    opened(&queue, Api::Mailmojo, OpenReason::Outage, Duration::ZERO).await;
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

async fn after_a_429_everybody_may_go_on(shop: Shop) {
    let queue = shop.opens().await;
    due(&shop, &queue, &["a", "b"]).await;
    opened(&queue, Api::Sesamy, OpenReason::RateLimit, SECOND).await;
    shop.clock.advance(SECOND);
    assert_eq!(queue.lease(Slots::for_any(10)).await.unwrap().jobs.len(), 2);
}

async fn a_start_closes_the_circuits_and_keeps_the_rate(shop: Shop) {
    let queue = shop.opens_as(slow(3)).await;
    due(&shop, &queue, &["a", "b"]).await;
    only_job(&queue).await;
    opened(&queue, Api::Sesamy, OpenReason::Credentials, 60 * SECOND).await;
    queue.close().await;

    let queue = shop.opens_as(slow(3)).await;
    assert_eq!(queue.known().await.unwrap().breakers.sesamy.open(CallKind::Read), None);
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
