//! Who goes first, and what the background may have.

use std::time::Duration;

use super::sharing::{SECOND, rated, rest};
use super::{
    DEBOUNCE, LEASE, Shop, UPDATE, done, due, leased, names, next_due, only_job, park, retry, stories, user,
};
use crate::queue::{Job, Lane, LeaseRequest, NextDue, Queue, Room, Settled, Settlement, UserLease};
use crate::upstream::rest::Why;
use crate::upstream::{Api, Meter, PerApi, Turn};

stories! {
    an_event_goes_before_retries_and_retries_before_the_background,
    who_failed_in_the_background_is_tried_again_there,
    an_event_lifts_its_user_to_the_first_lane,
    an_event_during_a_sync_of_the_background_lifts_its_user_however_that_ends,
    an_event_during_a_sync_of_the_background_that_nobody_settles_is_taken_over_as_an_event,
    a_lane_that_is_due_sooner_does_not_go_first,
    the_background_has_no_more_places_than_there_is_room_for_it,
    the_background_has_half_the_pace_and_leaves_the_burst_to_events,
    while_events_use_the_rate_up_the_background_waits,
    a_call_of_the_background_beyond_its_leases_is_of_its_share_too,
    what_the_background_did_not_need_goes_back_to_its_share,
    a_probe_is_somebody_who_has_not_failed_of_whatever_lane,
    what_an_outage_parked_comes_back_in_the_lane_of_retries,
    what_dry_run_held_back_lets_events_go_first,
    the_next_due_of_the_background_is_told_apart,
}

const HOUR: Duration = Duration::from_secs(3_600);

/// Leases `name` for a backfill.
async fn of_background(queue: &Queue, name: &str) -> Job {
    let request = LeaseRequest {
        user: user(name),
        cause: "backfill",
        lane: Lane::Background,
        calls: PerApi { sesamy: 3, mailmojo: 2 },
        untouched_since: None,
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
    let queue = shop.opens();
    due_for_a_retry(&shop, &queue, "failed").await;
    due_in_background(&shop, &queue, &["filled-1", "filled-2"]).await;
    for name in ["event-1", "event-2"] {
        queue.push(&user(name), UPDATE).await.unwrap();
        shop.clock.advance(DEBOUNCE);
    }
    let jobs = queue.lease(Room::for_any(2)).await.unwrap().jobs;
    assert_eq!(names(&jobs), ["email|event-1", "email|event-2"]);
    let jobs = queue.lease(Room::for_any(2)).await.unwrap().jobs;
    assert_eq!(names(&jobs), ["email|failed", "email|filled-1"]);
    assert_eq!(lanes(&jobs), [Lane::Retries, Lane::Background]);
    assert_eq!(only_job(&queue).await.user, user("filled-2"));
}

async fn who_failed_in_the_background_is_tried_again_there(shop: Shop) {
    let queue = shop.opens();
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
    let queue = shop.opens();
    due_in_background(&shop, &queue, &["first", "kari", "later"]).await;
    queue.push(&user("kari"), UPDATE).await.unwrap();
    let next = *queue.next_due().borrow();
    assert_eq!(next.prompt, Some(shop.clock.now()), "due since before the event, and so at once");
    let jobs = queue.lease(Room { all: 2, background: 1 }).await.unwrap().jobs;
    assert_eq!(names(&jobs), ["email|kari", "email|first"]);
    assert_eq!(jobs[0].event_type, UPDATE);

    let job = of_background(&queue, "waits").await;
    queue.settle(&job, retry(shop.later(HOUR).unwrap(), true), None).await.unwrap();
    queue.push(&user("waits"), UPDATE).await.unwrap();
    assert_eq!(queue.next_due().borrow().prompt, shop.later(DEBOUNCE), "whatever it waited for");
}

async fn an_event_during_a_sync_of_the_background_lifts_its_user_however_that_ends(shop: Shop) {
    let queue = shop.opens();
    let at = shop.later(HOUR).unwrap();
    for (name, how) in [
        ("done", done()),
        ("failed", retry(at, true)),
        ("bad", park("400")),
        ("stop", Settlement::Release),
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
    let queue = shop.opens();
    of_background(&queue, "kari").await;
    queue.push(&user("kari"), UPDATE).await.unwrap();
    assert_eq!(queue.next_due().borrow().prompt, shop.later(LEASE), "the worker wakes for it");
    shop.clock.advance(LEASE);
    due_in_background(&shop, &queue, &["older"]).await;
    due(&shop, &queue, &["later"]).await;
    let jobs = queue.lease(Room { all: 2, background: 0 }).await.unwrap().jobs;
    assert_eq!(names(&jobs), ["email|kari", "email|later"], "before whatever came after it");
    assert_eq!((jobs[0].lane, jobs[0].event_type.as_str(), jobs[0].attempts), (Lane::Events, UPDATE, 1));
}

async fn a_lane_that_is_due_sooner_does_not_go_first(shop: Shop) {
    let queue = shop.opens();
    due_in_background(&shop, &queue, &["since-long"]).await;
    shop.clock.advance(HOUR);
    due(&shop, &queue, &["just-now"]).await;
    assert_eq!(names(&queue.lease(Room::for_any(1)).await.unwrap().jobs), ["email|just-now"]);
}

async fn the_background_has_no_more_places_than_there_is_room_for_it(shop: Shop) {
    let queue = shop.opens();
    due_in_background(&shop, &queue, &["a", "b", "c"]).await;
    due(&shop, &queue, &["event"]).await;
    let leased = queue.lease(Room { all: 4, background: 2 }).await.unwrap();
    assert_eq!(names(&leased.jobs), ["email|event", "email|a", "email|b"]);
    assert_eq!((leased.not_before, leased.background_not_before), (None, None));
    let leased = queue.lease(Room { all: 4, background: 0 }).await.unwrap();
    assert_eq!((leased.jobs.len(), leased.background_not_before), (0, None));
}

/// Two calls a second of both, thirty at once: of the background one a second and three, as many as a sync has.
async fn the_background_has_half_the_pace_and_leaves_the_burst_to_events(shop: Shop) {
    let queue = shop.opens();
    due_in_background(&shop, &queue, &["a", "b"]).await;
    queue.close().await;
    let queue = shop.opens_as(rated(120, 30));
    shop.clock.advance(Duration::from_secs(60));

    let leased = queue.lease(Room::for_any(8)).await.unwrap();
    assert_eq!((names(&leased.jobs), leased.not_before), (vec!["email|a"], None));
    assert_eq!(leased.background_not_before, shop.later(3 * SECOND), "when its share has three calls again");
    for name in ["one", "two", "three"] {
        queue.push(&user(name), UPDATE).await.unwrap();
    }
    shop.clock.advance(DEBOUNCE);
    let leased = queue.lease(Room::for_any(8)).await.unwrap();
    assert_eq!(leased.jobs.len(), 3, "events have the rest of the burst");
    let again = leased.background_not_before;
    assert_eq!(
        again,
        shop.later(SECOND).max(again),
        "when half the burst is there again, beside its own share"
    );
    shop.clock.advance(again.unwrap().since(shop.clock.now()));
    assert_eq!(names(&queue.lease(Room::for_any(8)).await.unwrap().jobs), ["email|b"]);
}

async fn while_events_use_the_rate_up_the_background_waits(shop: Shop) {
    let queue = shop.opens_as(rated(60, 30));
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
        untouched_since: None,
        again: false,
    };
    let refused = queue.lease_user(request.clone()).await.unwrap();
    assert!(matches!(refused, UserLease::NotBefore(at) if Some(at) == shop.later(2 * SECOND)), "{refused:?}");
    assert_eq!(queue.meter(Lane::Events).take_call(Api::Sesamy).await, Ok(Turn::Granted));
    shop.clock.advance(3 * SECOND);
    assert!(matches!(queue.lease_user(request).await.unwrap(), UserLease::Leased(_)));
}

async fn a_call_of_the_background_beyond_its_leases_is_of_its_share_too(shop: Shop) {
    let queue = shop.opens_as(rated(120, 40)); // of which the background has one a second, and four at once
    for _ in 0..4 {
        assert_eq!(queue.meter(Lane::Background).take_call(Api::Sesamy).await, Ok(Turn::Granted));
    }
    let turn = queue.meter(Lane::Background).take_call(Api::Sesamy).await.unwrap();
    assert_eq!(turn, Turn::NotBefore(shop.clock.now().plus(SECOND)));
    assert_eq!(queue.meter(Lane::Events).take_call(Api::Sesamy).await, Ok(Turn::Granted));
    assert_eq!(queue.meter(Lane::Background).take_call(Api::Mailmojo).await, Ok(Turn::Granted));
}

async fn what_the_background_did_not_need_goes_back_to_its_share(shop: Shop) {
    let queue = shop.opens_as(rated(120, 30));
    let job = of_background(&queue, "kari").await;
    assert_eq!((job.calls, job.calls_taken), (PerApi { sesamy: 3, mailmojo: 2 }, job.calls));
    let request = LeaseRequest {
        user: user("ola"),
        cause: "backfill",
        lane: Lane::Background,
        calls: PerApi { sesamy: 1, mailmojo: 2 },
        untouched_since: None,
        again: false,
    };
    let refused = queue.lease_user(request.clone()).await.unwrap();
    assert!(matches!(refused, UserLease::NotBefore(at) if Some(at) == shop.later(SECOND)), "{refused:?}");
    assert!(queue.rows_of(&[user("ola")]).await.unwrap().is_empty(), "nobody is made known by asking");
    queue.settle(&job, done(), None).await.unwrap();
    assert!(matches!(queue.lease_user(request).await.unwrap(), UserLease::Leased(_)));
}

async fn a_probe_is_somebody_who_has_not_failed_of_whatever_lane(shop: Shop) {
    let queue = shop.opens();
    due_for_a_retry(&shop, &queue, "failed").await;
    let job = of_background(&queue, "fresh").await;
    queue.settle(&job, Settlement::Release, None).await.unwrap();
    queue.tell_rest(Api::Mailmojo, rest(Why::Outage, shop.later(Duration::ZERO))).await.unwrap();
    let probe = only_job(&queue).await;
    assert_eq!((probe.user.clone(), probe.lane, probe.is_probe), (user("fresh"), Lane::Background, true));
    queue.settle(&probe, done(), None).await.unwrap();
    assert_eq!(only_job(&queue).await.user, user("failed"), "then whoever is left");
}

async fn what_an_outage_parked_comes_back_in_the_lane_of_retries(shop: Shop) {
    let queue = shop.opens();
    let job = leased(&shop, &queue, "kari").await;
    queue.settle(&job, park("list not found"), None).await.unwrap();
    queue.give_back(&[], Some("list not found"), shop.clock.now()).await.unwrap();
    assert_eq!(only_job(&queue).await.lane, Lane::Retries);
}

async fn what_dry_run_held_back_lets_events_go_first(shop: Shop) {
    let queue = shop.opens_with(true);
    let job = leased(&shop, &queue, "held-back").await;
    queue.settle(&job, Settlement::done(true), None).await.unwrap();
    let queue = shop.restarts(queue).await;
    due(&shop, &queue, &["event"]).await;
    let jobs = queue.lease(Room::for_any(2)).await.unwrap().jobs;
    assert_eq!(names(&jobs), ["email|event", "email|held-back"]);
}

async fn the_next_due_of_the_background_is_told_apart(shop: Shop) {
    let queue = shop.opens();
    due_in_background(&shop, &queue, &["kari"]).await;
    let background = Some(shop.clock.now());
    assert_eq!(*queue.next_due().borrow(), NextDue { prompt: None, background });
    queue.push(&user("ola"), UPDATE).await.unwrap();
    assert_eq!(*queue.next_due().borrow(), NextDue { prompt: shop.later(DEBOUNCE), background });
    assert_eq!(next_due(&queue), background);
    let queue = shop.restarts(queue).await;
    assert_eq!(*queue.next_due().borrow(), NextDue { prompt: shop.later(DEBOUNCE), background });
}
