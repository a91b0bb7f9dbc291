//! The brake, which keeps writes from taking tags away, and what is due once it is let go.

use super::*;

stories! {
    who_is_held_back_is_due_once_the_brake_is_let_go,
    while_it_is_on_a_start_and_a_tick_release_nobody,
    with_dry_run_a_tick_releases_nobody,
    to_resume_lets_go_of_it,
    it_holds_for_all_and_keeps_its_first_time,
    who_is_held_back_and_being_synced_is_left_until_that_ends,
    many_who_are_held_back_are_released_in_small_steps,
    a_check_of_a_held_back_row_keeps_what_an_event_has_asked_for,
}

async fn held_back(shop: &Shop, queue: &Queue, name: &str) {
    let job = leased(shop, queue, name).await;
    queue.settle(&job, Settlement::done(true), None).await.unwrap();
}

async fn who_is_held_back_is_due_once_the_brake_is_let_go(shop: Shop) {
    let queue = shop.opens().await;
    queue.brake().await.unwrap();
    held_back(&shop, &queue, "kari").await;
    assert_eq!((checks(&queue).await, next_due(&queue).await), (Checked::default(), None));
    assert_eq!(queue.release_brake().await.unwrap().braked_at, None);
    assert_eq!(checks(&queue).await, Checked { released: 1, ..Checked::default() });
    assert_eq!(next_due(&queue).await, Some(shop.clock.now()));
    assert_eq!(checks(&queue).await, Checked::default());
    let job = only_job(&queue).await;
    assert_eq!((job.user.clone(), job.lane, job.event_type.as_str()), (user("kari"), Lane::Retries, UPDATE));
    assert!(!queue.rows_of(&[user("kari")]).await.unwrap()[0].held_back);
}

async fn while_it_is_on_a_start_and_a_tick_release_nobody(shop: Shop) {
    let queue = shop.opens().await;
    let braked_at = queue.brake().await.unwrap().braked_at;
    held_back(&shop, &queue, "kari").await;
    let queue = shop.restarts(queue).await;
    assert_eq!((next_due(&queue).await, queue.known().await.unwrap().braked_at), (None, braked_at));
    assert_eq!(checks(&queue).await, Checked::default());
    queue.release_brake().await.unwrap();
    let queue = shop.restarts(queue).await;
    assert_eq!(checks(&queue).await.released, 1);
}

async fn with_dry_run_a_tick_releases_nobody(shop: Shop) {
    let queue = shop.opens_with(true).await;
    held_back(&shop, &queue, "kari").await;
    queue.release_brake().await.unwrap();
    assert_eq!((checks(&queue).await, next_due(&queue).await), (Checked::default(), None));
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
}

async fn to_resume_lets_go_of_it(shop: Shop) {
    let queue = shop.opens().await;
    queue.brake().await.unwrap();
    queue.pause().await.unwrap();
    let known = queue.resume().await.unwrap();
    assert_eq!((known.braked_at, known.paused_at), (None, None));
}

async fn it_holds_for_all_and_keeps_its_first_time(shop: Shop) {
    let queue = shop.opens().await;
    let other = shop.another().await;
    let braked_at = Some(shop.clock.now());
    assert_eq!(other.brake().await.unwrap().braked_at, braked_at);
    shop.clock.advance(HOUR);
    assert_eq!(queue.brake().await.unwrap().braked_at, braked_at);
    due(&shop, &queue, &["kari"]).await;
    let leased = queue.lease(Slots::for_any(1)).await.unwrap();
    assert_eq!((leased.jobs.len(), leased.known.braked_at), (1, braked_at), "all else goes on");
    other.release_brake().await.unwrap();
    assert_eq!(queue.known().await.unwrap().braked_at, None);
}

async fn who_is_held_back_and_being_synced_is_left_until_that_ends(shop: Shop) {
    let queue = shop.opens().await;
    queue.brake().await.unwrap();
    held_back(&shop, &queue, "kari").await;
    let job = leased(&shop, &queue, "kari").await;
    queue.release_brake().await.unwrap();
    assert_eq!(checks(&queue).await, Checked::default(), "and there is nothing more to do at once");
    assert_eq!(queue.settle(&job, Settlement::done(true), None).await.unwrap(), Settled::AsAsked);
    assert_eq!(checks(&queue).await.released, 1, "it may have been held back before the brake was let go");
}

async fn many_who_are_held_back_are_released_in_small_steps(shop: Shop) {
    let queue = shop.opens().await;
    queue.brake().await.unwrap();
    let all: Vec<_> = (0..620).map(|number| format!("{number:03}")).collect();
    due(&shop, &queue, &all.iter().map(String::as_str).collect::<Vec<_>>()).await;
    let jobs = queue.lease(Slots::for_any(1_000)).await.unwrap().jobs;
    settles_all(&queue, &jobs, Settlement::done(true)).await;
    queue.release_brake().await.unwrap();
    let mut steps = Vec::new();
    for _ in 0..3 {
        let Checked { released, more, .. } = checks(&queue).await;
        steps.push((released, more));
    }
    assert_eq!(steps, [(500, true), (120, false), (0, false)]);
}
