//! Who goes first, and what the background may have.

use std::time::Duration;

use super::sharing::{SECOND, fails, opened, rated};
use super::{
    DEBOUNCE, LEASE, Shop, UPDATE, done, due, leased, names, next_due, only_job, park, retry, stories, user,
};
use crate::queue::{Job, Lane, LeaseRequest, Queue, Settled, Settlement, Slots, UserLease};
use crate::upstream::Class;
use crate::upstream::circuit_breaker::{CallKind, OpenReason};
use crate::upstream::{Api, Meter, PerApi, Turn};

stories! {
    an_event_goes_before_retries_and_retries_before_the_background,
    who_failed_in_the_background_is_tried_again_there,
    an_event_lifts_its_user_to_the_first_lane,
    an_event_during_a_sync_of_the_background_lifts_its_user_however_that_ends,
    an_event_during_a_sync_of_the_background_that_nobody_settles_is_taken_over_as_an_event,
    a_lane_that_is_due_sooner_does_not_go_first,
    the_background_has_no_more_places_than_there_is_room_for_it,
    the_background_uses_the_full_rate_and_leaves_half_the_burst_to_events,
    while_events_use_the_rate_up_the_background_waits,
    a_probe_is_somebody_who_has_not_failed_of_whatever_lane,
    what_an_outage_parked_comes_back_in_the_lane_of_retries,
    what_dry_run_held_back_lets_events_go_first,
}

const HOUR: Duration = Duration::from_secs(3_600);

/// Leases `name` for a backfill.
async fn of_background(queue: &Queue, name: &str) -> Job {
    let request = LeaseRequest {
        user: user(name),
        cause: "backfill",
        lane: Lane::Background,
        calls: PerApi { sesamy: 3, mailmojo: 2 },
        again: false,
    };
    match queue.lease_user(request).await.unwrap() {
        UserLease::Leased(job) => *job,
        other => panic!("{other:?}"),
    }
}

/// Makes `names` due in the background's lane, from now on.
async fn due_in_background(shop: &Shop, queue: &Queue, names: &[&str]) {
    for name in names {
        let job = of_background(queue, name).await;
        let settled = queue.settle(&job, retry(shop.clock.now(), false), None).await.unwrap();
        assert_eq!(settled, Settled::AsAsked);
    }
}

async fn due_for_a_retry(shop: &Shop, queue: &Queue, name: &str) {
    let job = leased(shop, queue, name).await;
    queue.settle(&job, retry(shop.clock.now(), true), None).await.unwrap();
}

fn lanes(jobs: &[Job]) -> Vec<Lane> {
    jobs.iter().map(|job| job.lane).collect()
}

async fn an_event_goes_before_retries_and_retries_before_the_background(shop: Shop) {
    let queue = shop.opens().await;
    due_for_a_retry(&shop, &queue, "failed").await;
    due_in_background(&shop, &queue, &["filled-1", "filled-2"]).await;
    for name in ["event-1", "event-2"] {
        queue.push(&user(name), UPDATE).await.unwrap();
        shop.clock.advance(DEBOUNCE);
    }
    let jobs = queue.lease(Slots::for_any(2)).await.unwrap().jobs;
    assert_eq!(names(&jobs), ["email|event-1", "email|event-2"]);
    let jobs = queue.lease(Slots::for_any(2)).await.unwrap().jobs;
    assert_eq!(names(&jobs), ["email|failed", "email|filled-1"]);
    assert_eq!(lanes(&jobs), [Lane::Retries, Lane::Background]);
    assert_eq!(only_job(&queue).await.user, user("filled-2"));
}

async fn who_failed_in_the_background_is_tried_again_there(shop: Shop) {
    let queue = shop.opens().await;
    due_in_background(&shop, &queue, &["kari"]).await;
    for counts in [true, false] {
        let job = only_job(&queue).await;
        assert_eq!(job.lane, Lane::Background);
        queue.settle(&job, retry(shop.clock.now(), counts), None).await.unwrap();
    }
    let job = only_job(&queue).await;
    assert_eq!(job.lane, Lane::Background);
    queue.settle(&job, done(), None).await.unwrap();
    assert_eq!(leased(&shop, &queue, "kari").await.lane, Lane::Events, "an event is an event");
}

async fn an_event_lifts_its_user_to_the_first_lane(shop: Shop) {
    let queue = shop.opens().await;
    due_in_background(&shop, &queue, &["first", "kari", "later"]).await;
    queue.push(&user("kari"), UPDATE).await.unwrap();
    assert_eq!(next_due(&queue).await, Some(shop.clock.now()), "due since before the event, and so at once");
    let jobs = queue.lease(Slots { all: 2, background: 1 }).await.unwrap().jobs;
    assert_eq!(names(&jobs), ["email|kari", "email|first"]);
    assert_eq!(jobs[0].event_type, UPDATE);

    let job = of_background(&queue, "waits").await;
    queue.settle(&job, retry(shop.later(HOUR).unwrap(), true), None).await.unwrap();
    queue.push(&user("waits"), UPDATE).await.unwrap();
    let row = queue.rows_of(&[user("waits")]).await.unwrap().remove(0);
    assert_eq!(row.due_at, shop.later(DEBOUNCE), "whatever it waited for");
}

async fn an_event_during_a_sync_of_the_background_lifts_its_user_however_that_ends(shop: Shop) {
    let queue = shop.opens().await;
    let at = shop.later(HOUR).unwrap();
    for (name, how) in [
        ("done", done()),
        ("failed", retry(at, true)),
        ("bad", park("400")),
        ("stop", Settlement::Release { at: shop.clock.now() }),
        ("cut-off", Settlement::Abandon { until: at }),
    ] {
        let job = of_background(&queue, name).await;
        queue.push(&user(name), UPDATE).await.unwrap();
        let row = &queue.rows_of(&[user(name)]).await.unwrap()[0];
        assert_eq!((row.lane, row.due_at), (Lane::Events, shop.later(LEASE)), "the lease stands: {name}");
        queue.settle(&job, how, None).await.unwrap();
        let row = &queue.rows_of(&[user(name)]).await.unwrap()[0];
        assert_eq!(row.lane, Lane::Events, "{name}");
    }
}

async fn an_event_during_a_sync_of_the_background_that_nobody_settles_is_taken_over_as_an_event(shop: Shop) {
    let queue = shop.opens().await;
    of_background(&queue, "kari").await;
    queue.push(&user("kari"), UPDATE).await.unwrap();
    shop.clock.advance(LEASE);
    due_in_background(&shop, &queue, &["older"]).await;
    due(&shop, &queue, &["later"]).await;
    let jobs = queue.lease(Slots { all: 2, background: 0 }).await.unwrap().jobs;
    assert_eq!(names(&jobs), ["email|kari", "email|later"], "before whatever came after it");
    assert_eq!((jobs[0].lane, jobs[0].event_type.as_str(), jobs[0].attempts), (Lane::Events, UPDATE, 1));
}

async fn a_lane_that_is_due_sooner_does_not_go_first(shop: Shop) {
    let queue = shop.opens().await;
    due_in_background(&shop, &queue, &["since-long"]).await;
    shop.clock.advance(HOUR);
    due(&shop, &queue, &["just-now"]).await;
    assert_eq!(names(&queue.lease(Slots::for_any(1)).await.unwrap().jobs), ["email|just-now"]);
}

async fn the_background_has_no_more_places_than_there_is_room_for_it(shop: Shop) {
    let queue = shop.opens().await;
    due_in_background(&shop, &queue, &["a", "b", "c"]).await;
    due(&shop, &queue, &["event"]).await;
    let leased = queue.lease(Slots { all: 4, background: 2 }).await.unwrap();
    assert_eq!(names(&leased.jobs), ["email|event", "email|a", "email|b"]);
    assert_eq!(leased.again_at, None);
    let leased = queue.lease(Slots { all: 4, background: 0 }).await.unwrap();
    assert!(leased.jobs.is_empty());
}

async fn while_events_use_the_rate_up_the_background_waits(shop: Shop) {
    let queue = shop.opens_as(rated(60, 30)).await;
    for _ in 0..14 {
        assert_eq!(queue.meter(Lane::Events).take_call(Api::Sesamy).await, Ok(Turn::Granted));
    }
    for wait in 1..=2 {
        assert_eq!(queue.meter(Lane::Events).take_call(Api::Sesamy).await, Ok(Turn::Granted));
        let turn = queue.meter(Lane::Background).take_call(Api::Sesamy).await.unwrap();
        let then = shop.clock.now().plus(wait * SECOND);
        assert_eq!(turn, Turn::NotBefore(then), "when 16 of the 30 are there");
    }
    let request = LeaseRequest {
        user: user("kari"),
        cause: "backfill",
        lane: Lane::Background,
        calls: PerApi { sesamy: 1, mailmojo: 2 },
        again: false,
    };
    let refused = queue.lease_user(request.clone()).await.unwrap();
    assert!(matches!(refused, UserLease::NotBefore(at) if Some(at) == shop.later(2 * SECOND)), "{refused:?}");
    assert_eq!(queue.meter(Lane::Events).take_call(Api::Sesamy).await, Ok(Turn::Granted));
    shop.clock.advance(3 * SECOND);
    assert!(matches!(queue.lease_user(request).await.unwrap(), UserLease::Leased(_)));
}

async fn a_probe_is_somebody_who_has_not_failed_of_whatever_lane(shop: Shop) {
    let queue = shop.opens().await;
    due_for_a_retry(&shop, &queue, "failed").await;
    let job = of_background(&queue, "fresh").await;
    queue.settle(&job, Settlement::Release { at: shop.clock.now() }, None).await.unwrap();
    opened(&queue, Api::Mailmojo, OpenReason::Outage, Duration::ZERO).await;
    let probe = only_job(&queue).await;
    assert_eq!((probe.user.clone(), probe.lane, probe.is_probe), (user("fresh"), Lane::Background, true));
    queue.settle(&probe, done(), None).await.unwrap();
    assert_eq!(only_job(&queue).await.user, user("failed"), "then whoever is left");
}

async fn what_an_outage_parked_comes_back_in_the_lane_of_retries(shop: Shop) {
    let queue = shop.opens().await;
    for name in ["kari", "b", "c", "d", "e"] {
        let job = leased(&shop, &queue, name).await;
        fails(&queue, &job, CallKind::Write, Class::Permanent, "list not found").await;
    }
    assert_eq!(queue.census().await.unwrap().parked, 0);
    let jobs = queue.lease(Slots::for_any(9)).await.unwrap().jobs;
    assert_eq!(names(&jobs).len(), 4);
    assert!(jobs.iter().all(|job| job.lane == Lane::Retries), "{jobs:?}");
}

/// Two calls a second, thirty at once, fifteen of them for events alone.
async fn the_background_uses_the_full_rate_and_leaves_half_the_burst_to_events(shop: Shop) {
    let queue = shop.opens().await;
    let users: Vec<String> = (0..20).map(|number| format!("{number:02}")).collect();
    due_in_background(&shop, &queue, &users.iter().map(String::as_str).collect::<Vec<_>>()).await;
    queue.close().await;
    let queue = shop.opens_as(rated(120, 30)).await;
    shop.clock.advance(Duration::from_secs(60));
    let leased = queue.lease(Slots::for_any(20)).await.unwrap();
    assert_eq!((leased.jobs.len(), leased.again_at), (5, shop.later(SECOND * 3 / 2)), "three calls each");
    for _ in 0..10 {
        shop.clock.advance(SECOND * 3 / 2);
        let leased = queue.lease(Slots::for_any(20)).await.unwrap();
        assert_eq!(leased.jobs.len(), 1, "all of the rate, as no event needs it");
    }
    due(&shop, &queue, &["one", "two", "three", "four", "five"]).await;
    let leased = queue.lease(Slots::for_any(8)).await.unwrap();
    assert!(
        leased.jobs.iter().filter(|job| job.lane == Lane::Events).count() == 5,
        "{:?}",
        names(&leased.jobs)
    );
}

async fn what_dry_run_held_back_lets_events_go_first(shop: Shop) {
    let queue = shop.opens_with(true).await;
    let job = leased(&shop, &queue, "held-back").await;
    queue.settle(&job, Settlement::done(true), None).await.unwrap();
    let queue = shop.restarts(queue).await;
    queue.run_checks().await.unwrap();
    due(&shop, &queue, &["event"]).await;
    let jobs = queue.lease(Slots::for_any(2)).await.unwrap().jobs;
    assert_eq!(names(&jobs), ["email|event", "email|held-back"]);
}
