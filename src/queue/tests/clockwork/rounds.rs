//! Rounds that bring everybody round again.

use super::*;
use crate::queue::{DRIFT, Round};

stories! {
    a_round_passes_everybody_evenly_over_its_time,
    a_round_makes_only_those_due_who_have_nothing_else_to_do,
    a_round_never_makes_more_due_than_are_worked_off,
    a_round_that_ends_late_tells_so_and_the_next_begins_at_once,
    a_round_goes_on_after_a_restart_and_at_another_pace,
    without_rounds_none_begins_and_one_under_way_stays_where_it_is,
    an_event_lifts_whom_the_round_has_made_due,
    a_round_goes_on_where_whoever_it_has_passed_last_was_forgotten,
    two_processes_that_tick_pass_everybody_once,
}

const EVERY: Duration = Duration::from_secs(1_000);

async fn go_round(queue: &Queue) -> Ticked {
    queue.tick(Tick { resync_every: Some(EVERY) }).await.unwrap()
}

/// So many users who were synced, named in order, and a round of them that has just begun.
async fn begun(shop: &Shop, queue: &Queue, users: u64) -> Round {
    for number in 0..users {
        queue.push(&user(&format!("{number:03}")), UPDATE).await.unwrap();
    }
    shop.clock.advance(DEBOUNCE);
    work_off(queue).await;
    let ticked = go_round(queue).await;
    assert_eq!((ticked.drifting, ticked.more), (0, false));
    let round = Round { started_at: shop.clock.now(), ended_at: None, users, passed: 0 };
    assert_eq!((ticked.round, queue.round().await.unwrap()), (Some(round), Some(round)));
    round
}

/// Syncs whoever is due; their names in order.
async fn work_off(queue: &Queue) -> Vec<String> {
    let jobs = queue.lease(Room::for_any(1_000)).await.unwrap().jobs;
    for job in &jobs {
        queue.settle(job, done(), None).await.unwrap();
    }
    let mut names: Vec<_> =
        jobs.iter().map(|job| job.user.as_str().trim_start_matches("email|").to_owned()).collect();
    names.sort();
    names
}

async fn a_round_passes_everybody_evenly_over_its_time(shop: Shop) {
    let queue = shop.opens();
    assert_eq!(queue.round().await.unwrap(), None);
    let round = begun(&shop, &queue, 10).await;
    shop.clock.advance(EVERY / 10 - Duration::from_millis(1));
    assert_eq!(go_round(&queue).await.drifting, 0);
    shop.clock.advance(Duration::from_millis(1));
    let ticked = go_round(&queue).await;
    assert_eq!((ticked.drifting, ticked.round), (1, Some(Round { passed: 1, ..round })));
    assert_eq!(go_round(&queue).await.drifting, 0, "only as far as it should be");
    let job = only_job(&queue).await;
    assert_eq!((job.user.clone(), job.event_type.as_str(), job.lane), (user("000"), DRIFT, Lane::Background));
    queue.settle(&job, done(), None).await.unwrap();

    for step in 2..10_u64 {
        shop.clock.advance(EVERY / 10);
        assert_eq!(go_round(&queue).await.drifting, 1, "step {step}");
        assert_eq!(work_off(&queue).await, [format!("{:03}", step - 1)]);
    }
    shop.clock.advance(EVERY / 10);
    let ticked = go_round(&queue).await;
    let ended = Round { ended_at: Some(shop.clock.now()), passed: 10, ..round };
    assert_eq!((ticked.drifting, ticked.round), (1, Some(ended)));
    let next = go_round(&queue).await.round.unwrap();
    assert_eq!((next.started_at, next.users, next.passed), (shop.clock.now(), 10, 0));
}

async fn a_round_makes_only_those_due_who_have_nothing_else_to_do(shop: Shop) {
    let queue = shop.opens();
    begun(&shop, &queue, 2).await;
    due(&shop, &queue, &["parked", "missing", "held", "retry"]).await;
    for job in queue.lease(Room::for_any(9)).await.unwrap().jobs {
        let missing = Memory { missing_since: Some(shop.clock.now()), ..Memory::default() };
        match job.user.as_str().trim_start_matches("email|") {
            "parked" => queue.settle(&job, park("400"), None).await.unwrap(),
            "missing" => queue.settle(&job, done_with(missing, None), None).await.unwrap(),
            "retry" => queue.settle(&job, retry(shop.later(2 * EVERY).unwrap(), true), None).await.unwrap(),
            _ => continue,
        };
    }
    queue.push(&user("event"), UPDATE).await.unwrap();
    let never = ask(&queue, by_hand("never-synced")).await.unwrap();
    queue.settle(&never, park("400"), None).await.unwrap();
    shop.clock.advance(EVERY);
    let ticked = go_round(&queue).await;
    let round = ticked.round.unwrap();
    assert_eq!((ticked.drifting, round.passed, round.ended_at), (2, 8, Some(shop.clock.now())));
    let jobs = queue.lease(Room::for_any(9)).await.unwrap().jobs;
    let drifting: Vec<_> =
        jobs.iter().filter(|job| job.event_type == DRIFT).map(|job| job.user.clone()).collect();
    assert_eq!(drifting, [user("000"), user("001")]);
}

async fn a_round_never_makes_more_due_than_are_worked_off(shop: Shop) {
    let queue = shop.opens();
    begun(&shop, &queue, 120).await;
    shop.clock.advance(EVERY / 2);
    let ticked = go_round(&queue).await;
    assert_eq!((ticked.drifting, ticked.more), (50, false), "60 would be in time");
    assert_eq!(go_round(&queue).await.drifting, 0);
    let some = queue.lease(Room::for_any(3)).await.unwrap().jobs;
    assert_eq!(go_round(&queue).await.drifting, 3);
    for job in some {
        queue.settle(&job, done(), None).await.unwrap();
    }
    assert_eq!(work_off(&queue).await.len(), 50);
    assert_eq!(go_round(&queue).await.drifting, 7, "as far as it should be");
}

async fn a_round_that_ends_late_tells_so_and_the_next_begins_at_once(shop: Shop) {
    let queue = shop.opens();
    let round = begun(&shop, &queue, 60).await;
    shop.clock.advance(2 * EVERY);
    let ticked = go_round(&queue).await;
    assert_eq!((ticked.drifting, ticked.round), (50, Some(Round { passed: 50, ..round })));
    assert_eq!(ticked.round.unwrap().late(shop.clock.now(), EVERY), EVERY);
    work_off(&queue).await;
    let ticked = go_round(&queue).await;
    let ended = Round { passed: 60, ended_at: Some(shop.clock.now()), ..round };
    assert_eq!((ticked.drifting, ticked.round, ticked.more), (10, Some(ended), true));
    let next = go_round(&queue).await;
    assert_eq!((next.round.unwrap().started_at, next.drifting, next.more), (shop.clock.now(), 0, false));
}

async fn a_round_goes_on_after_a_restart_and_at_another_pace(shop: Shop) {
    let queue = shop.opens();
    let round = begun(&shop, &queue, 10).await;
    shop.clock.advance(EVERY / 5);
    assert_eq!(go_round(&queue).await.drifting, 2);
    let queue = shop.restarts(queue).await;
    assert_eq!(work_off(&queue).await, ["000", "001"]);
    assert_eq!(go_round(&queue).await.round, Some(Round { passed: 2, ..round }));
    let faster = queue.tick(Tick { resync_every: Some(EVERY / 2) }).await.unwrap();
    assert_eq!((faster.drifting, faster.round), (2, Some(Round { passed: 4, ..round })));
    assert_eq!(work_off(&queue).await, ["002", "003"]);
}

async fn without_rounds_none_begins_and_one_under_way_stays_where_it_is(shop: Shop) {
    let queue = shop.opens();
    assert_eq!((tick(&queue).await.round, queue.round().await.unwrap()), (None, None));
    let round = begun(&shop, &queue, 10).await;
    shop.clock.advance(EVERY / 5);
    assert_eq!(tick(&queue).await, Ticked::default());
    assert_eq!(queue.round().await.unwrap(), Some(round));
    assert_eq!(go_round(&queue).await.drifting, 2, "it goes on when there are rounds again");
}

async fn an_event_lifts_whom_the_round_has_made_due(shop: Shop) {
    let queue = shop.opens();
    begun(&shop, &queue, 1).await;
    shop.clock.advance(EVERY);
    assert_eq!(go_round(&queue).await.drifting, 1);
    queue.push(&user("000"), UPDATE).await.unwrap();
    let job = only_job(&queue).await;
    assert_eq!((job.event_type.as_str(), job.lane), (UPDATE, Lane::Events));
    assert_eq!(queue.settle(&job, done(), None).await.unwrap(), Settled::AsAsked);
}

async fn a_round_goes_on_where_whoever_it_has_passed_last_was_forgotten(shop: Shop) {
    let queue = shop.opens();
    begun(&shop, &queue, 4).await;
    shop.clock.advance(EVERY / 2);
    assert_eq!(go_round(&queue).await.drifting, 2);
    work_off(&queue).await;
    let job = ask(&queue, by_hand("001")).await.unwrap();
    assert!(queue.forget(&job).await.unwrap());
    shop.clock.advance(EVERY / 2);
    let ticked = go_round(&queue).await;
    assert_eq!((ticked.drifting, ticked.round.unwrap().ended_at), (2, Some(shop.clock.now())));
    assert_eq!(work_off(&queue).await, ["002", "003"], "nobody is missed, and nobody passed twice");
}

async fn two_processes_that_tick_pass_everybody_once(shop: Shop) {
    let queue = shop.opens();
    let other = shop.another();
    let (one, two) = futures_util::join!(go_round(&queue), go_round(&other));
    assert_eq!(one.round, two.round, "one of them has begun it");
    assert_eq!(one.round.unwrap().ended_at, Some(shop.clock.now()), "there is nobody to look at");
    shop.clock.advance(EVERY);
    begun(&shop, &queue, 40).await;
    shop.clock.advance(EVERY / 2);
    let (one, two) = futures_util::join!(go_round(&queue), go_round(&other));
    assert_eq!((one.drifting + two.drifting, queue.round().await.unwrap().unwrap().passed), (20, 20));
}
