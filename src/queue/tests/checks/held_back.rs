//! Changes that dry run or the removal guard holds back, and what makes them due.

use super::*;
use crate::queue::tests::{held_by_guard, trip};
use crate::queue::{Entry, GuardState};

stories! {
    what_the_guard_held_back_is_due_with_a_pass_once_it_is_released,
    while_it_has_tripped_a_start_and_a_check_release_nobody,
    with_dry_run_a_check_releases_nobody,
    what_dry_run_held_back_gets_no_pass,
    a_release_starts_the_window_anew,
    the_guard_holds_for_all_processes_and_outlives_a_start,
    a_change_held_back_under_a_lease_is_left_until_that_ends,
    many_changes_are_released_in_small_steps,
    a_check_of_a_held_back_row_keeps_what_an_event_has_asked_for,
    while_removals_are_allowed_nothing_trips_the_guard,
    a_sync_that_did_not_end_well_counts_too,
    a_lost_lease_counts_only_after_a_write,
}

async fn held_back(shop: &Shop, queue: &Queue, name: &str) {
    let job = leased(shop, queue, name).await;
    queue.settle(&job, held_by_guard(), None).await.unwrap();
}

async fn what_the_guard_held_back_is_due_with_a_pass_once_it_is_released(shop: Shop) {
    let queue = shop.opens().await;
    trip(&queue).await;
    assert_eq!(queue.guard().tripped_at, Some(shop.clock.now()));
    let job = leased(&shop, &queue, "kari").await;
    assert!(!job.has_pass);
    let entry = Entry { outcome: "skipped", tags_held: vec!["sesamy_tag_a".to_owned()], ..Entry::default() };
    queue.settle(&job, held_by_guard(), Some(entry)).await.unwrap();
    let row = &queue.rows_of(&[user("kari")]).await.unwrap()[0];
    assert_eq!(
        (row.state, &row.tags_held[..]),
        (RowState::Held, &["sesamy_active_subscriber".to_owned()][..])
    );
    assert_eq!(queue.history(&user("kari"), 1).await.unwrap()[0].tags_held, ["sesamy_tag_a"]);
    assert_eq!((checks(&queue).await, next_due(&queue).await), (Checked::default(), None));

    assert_eq!(queue.resume(None).await.unwrap().guard.tripped_at, None);
    assert_eq!(checks(&queue).await, Checked { released: 1, ..Checked::default() });
    assert_eq!(next_due(&queue).await, Some(shop.clock.now()));
    assert_eq!(checks(&queue).await, Checked::default());
    let job = only_job(&queue).await;
    assert_eq!((job.user.clone(), job.lane, job.event_type.as_str()), (user("kari"), Lane::Retries, UPDATE));
    assert!(job.has_pass);
    let row = &queue.rows_of(&[user("kari")]).await.unwrap()[0];
    assert_eq!((row.held_back, row.tags_held.len()), (false, 0));
    queue.settle(&job, retry(shop.clock.now(), true), None).await.unwrap();
    let job = only_job(&queue).await;
    assert!(job.has_pass, "a sync that fails has not used it");
    queue.settle(&job, done(), None).await.unwrap();
    assert!(!leased(&shop, &queue, "kari").await.has_pass);
}

async fn while_it_has_tripped_a_start_and_a_check_release_nobody(shop: Shop) {
    let queue = shop.opens().await;
    trip(&queue).await;
    let tripped_at = queue.guard().tripped_at;
    held_back(&shop, &queue, "kari").await;
    let queue = shop.restarts(queue).await;
    assert_eq!((next_due(&queue).await, queue.known().await.unwrap().guard.tripped_at), (None, tripped_at));
    assert_eq!(checks(&queue).await, Checked::default());
    queue.resume(None).await.unwrap();
    let queue = shop.restarts(queue).await;
    assert_eq!(checks(&queue).await.released, 1);
}

async fn with_dry_run_a_check_releases_nobody(shop: Shop) {
    let queue = shop.opens_with(true).await;
    held_back(&shop, &queue, "kari").await;
    assert_eq!((checks(&queue).await, next_due(&queue).await), (Checked::default(), None));
}

async fn what_dry_run_held_back_gets_no_pass(shop: Shop) {
    let queue = shop.opens_with(true).await;
    let job = leased(&shop, &queue, "kari").await;
    queue.settle(&job, Settlement::done(true), None).await.unwrap();
    let queue = shop.restarts(queue).await;
    assert_eq!(checks(&queue).await.released, 1);
    assert!(!only_job(&queue).await.has_pass, "nobody has looked at what it would remove");
}

async fn a_check_of_a_held_back_row_keeps_what_an_event_has_asked_for(shop: Shop) {
    let queue = shop.opens_with(true).await;
    let job = leased(&shop, &queue, "kari").await;
    let check = shop.later(HOUR).map(|at| (at, EXPIRY.to_owned()));
    let held = Done { held_back: true, check, ..Done::default() };
    queue.settle(&job, Settlement::Done(Box::new(held)), None).await.unwrap();
    shop.clock.advance(HOUR);
    assert_eq!(checks(&queue).await.expired, 1);
    let job = only_job(&queue).await;
    assert_eq!((job.lane, job.event_type.as_str()), (Lane::Retries, UPDATE));
    assert!(job.expiry_has_come, "a loss was to be expected, whatever asked for the sync");
}

async fn a_release_starts_the_window_anew(shop: Shop) {
    let queue = shop.opens().await;
    trip(&queue).await;
    queue.pause().await.unwrap();
    let known = queue.resume(None).await.unwrap();
    assert_eq!((known.guard.tripped_at, known.paused_at), (None, None));
    let job = Job { suspect: Some(true), ..leased(&shop, &queue, "kari").await };
    queue.settle(&job, done(), None).await.unwrap();
    assert_eq!(queue.guard().tripped_at, None);
    trip(&queue).await;
    assert!(queue.guard().is_tripped());
}

async fn the_guard_holds_for_all_processes_and_outlives_a_start(shop: Shop) {
    let queue = shop.opens().await;
    let other = shop.another().await;
    trip(&other).await;
    let tripped_at = Some(shop.clock.now());
    assert_eq!((other.guard().tripped_at, queue.guard().tripped_at), (tripped_at, None));
    shop.clock.advance(HOUR);
    due(&shop, &queue, &["kari"]).await;
    let leased = queue.lease(Slots::for_any(1)).await.unwrap();
    assert_eq!((leased.jobs.len(), leased.known.guard.tripped_at), (1, tripped_at), "all else goes on");
    assert_eq!(queue.guard().tripped_at, tripped_at, "a sync sees it as soon as its user is leased");
    other.close().await;
    let queue = shop.restarts(queue).await;
    assert_eq!(queue.known().await.unwrap().guard.tripped_at, tripped_at);
}

async fn a_change_held_back_under_a_lease_is_left_until_that_ends(shop: Shop) {
    let queue = shop.opens().await;
    trip(&queue).await;
    held_back(&shop, &queue, "kari").await;
    let job = leased(&shop, &queue, "kari").await;
    queue.resume(None).await.unwrap();
    assert_eq!(checks(&queue).await, Checked::default(), "and there is nothing more to do at once");
    assert_eq!(queue.settle(&job, held_by_guard(), None).await.unwrap(), Settled::AsAsked);
    assert_eq!(checks(&queue).await.released, 1, "it may have been held back before the release");
    assert!(only_job(&queue).await.has_pass);
}

async fn many_changes_are_released_in_small_steps(shop: Shop) {
    let queue = shop.opens().await;
    trip(&queue).await;
    let all: Vec<_> = (0..620).map(|number| format!("{number:03}")).collect();
    due(&shop, &queue, &all.iter().map(String::as_str).collect::<Vec<_>>()).await;
    let jobs = queue.lease(Slots::for_any(1_000)).await.unwrap().jobs;
    settles_all(&queue, &jobs, held_by_guard()).await;
    queue.resume(None).await.unwrap();
    let mut steps = Vec::new();
    for _ in 0..3 {
        let Checked { released, more, .. } = checks(&queue).await;
        steps.push((released, more));
    }
    assert_eq!(steps, [(500, true), (120, false), (0, false)]);
}

async fn while_removals_are_allowed_nothing_trips_the_guard(shop: Shop) {
    let queue = shop.opens().await;
    let until = shop.clock.wall().plus(HOUR);
    let GuardState { allowed_until, .. } = queue.resume(Some(HOUR)).await.unwrap().guard;
    assert_eq!(allowed_until, Some(until));
    trip(&queue).await;
    let queue = shop.restarts(queue).await;
    let guard = queue.known().await.unwrap().guard;
    assert_eq!((guard.tripped_at, guard.allowed_after(shop.clock.wall())), (None, Some(until)));
    shop.clock.advance(HOUR);
    assert_eq!(queue.guard().allowed_after(shop.clock.wall()), None);
    trip(&queue).await;
    assert!(queue.guard().is_tripped());
}

async fn a_sync_that_did_not_end_well_counts_too(shop: Shop) {
    let queue = shop.opens().await;
    for number in 0..26 {
        // The write was sent and not answered: it may have taken effect.
        let job = Job { suspect: Some(true), ..leased(&shop, &queue, &number.to_string()).await };
        queue.settle(&job, retry(shop.later(HOUR).unwrap(), true), None).await.unwrap();
    }
    assert!(queue.guard().is_tripped());
}

async fn a_lost_lease_counts_only_after_a_write(shop: Shop) {
    let queue = shop.opens().await;
    for has_written in [false, true] {
        for number in 0..26 {
            let job = ask(&queue, by_hand(&format!("{number} {has_written}"))).await.unwrap();
            queue.settle(&job, done(), None).await.unwrap();
            let late = Job { suspect: Some(true), has_written, ..job };
            assert_eq!(queue.settle(&late, done(), None).await.unwrap(), Settled::LeaseLost);
        }
        assert_eq!(queue.guard().is_tripped(), has_written);
    }
}
