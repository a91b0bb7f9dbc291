//! What an operator asks for: by name, pause, retry, lists, and how far a backfill has come.

mod beside;
mod by_name;
mod lists;
mod retries;

use std::time::Duration;

use super::{Shop, UPDATE, done, due, leased, names, only_job, stories, user};
use crate::queue::{Job, Lane, LeaseRequest, Queue, Slots, UserLease};
use crate::upstream::circuit_breaker::{CallKind, OpenReason};
use crate::upstream::{Api, PerApi};

stories! {
    while_syncs_pause_events_are_kept_and_nobody_is_leased,
    a_pause_outlives_a_restart_and_keeps_its_first_time,
    to_resume_closes_the_circuits_too,
    a_pause_by_one_process_holds_for_all,
    the_progress_of_a_backfill_is_kept_as_it_was_told_last,
    two_processes_on_one_store_lose_and_double_nothing,
}

/// By hand: a lease of `name` in the lane of events.
pub(in crate::queue) fn by_hand(name: &str) -> LeaseRequest {
    LeaseRequest {
        user: user(name),
        cause: "sync",
        lane: Lane::Events,
        calls: PerApi { sesamy: 3, mailmojo: 2 },
        again: false,
    }
}

pub(super) async fn ask(queue: &Queue, request: LeaseRequest) -> Result<Job, UserLease> {
    match queue.lease_user(request).await.unwrap() {
        UserLease::Leased(job) => Ok(*job),
        refused => Err(refused),
    }
}

async fn while_syncs_pause_events_are_kept_and_nobody_is_leased(shop: Shop) {
    let queue = shop.opens().await;
    let running = leased(&shop, &queue, "running").await;
    let paused_at = Some(shop.clock.now());
    assert_eq!(queue.pause().await.unwrap().paused_at, paused_at);
    due(&shop, &queue, &["kari"]).await;
    let found = queue.lease(Slots::for_any(10)).await.unwrap();
    assert_eq!((found.jobs.len(), found.known.paused_at), (0, paused_at));
    assert_eq!((found.again_at, found.known.guard.tripped_at), (None, None));
    assert!(matches!(ask(&queue, by_hand("ola")).await, Err(UserLease::Paused)));
    assert!(queue.rows_of(&[user("ola")]).await.unwrap().is_empty(), "nobody is made known by asking");
    queue.settle(&running, done(), None).await.unwrap();

    assert_eq!(queue.resume(None).await.unwrap().paused_at, None);
    assert_eq!(only_job(&queue).await.user, user("kari"));
}

async fn a_pause_outlives_a_restart_and_keeps_its_first_time(shop: Shop) {
    let queue = shop.opens().await;
    let paused_at = Some(shop.clock.now());
    queue.pause().await.unwrap();
    shop.clock.advance(Duration::from_secs(60));
    assert_eq!(queue.pause().await.unwrap().paused_at, paused_at);
    let queue = shop.restarts(queue).await;
    assert_eq!(queue.known().await.unwrap().paused_at, paused_at);
}

async fn to_resume_closes_the_circuits_too(shop: Shop) {
    let queue = shop.opens().await;
    due(&shop, &queue, &["kari"]).await;
    super::sharing::opened(&queue, Api::Sesamy, OpenReason::Credentials, Duration::from_secs(600)).await;
    assert!(queue.lease(Slots::for_any(1)).await.unwrap().jobs.is_empty());
    assert_eq!(queue.resume(None).await.unwrap().breakers.sesamy.open(CallKind::Read), None);
    assert_eq!(only_job(&queue).await.user, user("kari"));
}

async fn a_pause_by_one_process_holds_for_all(shop: Shop) {
    let service = shop.opens().await;
    due(&shop, &service, &["kari"]).await;
    let command = shop.opens_beside();
    command.pause().await.unwrap();
    command.close().await;
    assert!(service.lease(Slots::for_any(1)).await.unwrap().jobs.is_empty());
    let command = shop.opens_beside();
    assert!(command.known().await.unwrap().paused_at.is_some());
    command.resume(None).await.unwrap();
    assert_eq!(only_job(&service).await.user, user("kari"));
}

async fn the_progress_of_a_backfill_is_kept_as_it_was_told_last(shop: Shop) {
    let queue = shop.opens().await;
    assert_eq!(queue.progress().await.unwrap(), None);
    let (begun, ended) = (r#"{"users":0}"#.to_owned(), r#"{"users":3}"#.to_owned());
    queue.keep_progress(begun.clone()).await.unwrap();
    let queue = shop.restarts(queue).await;
    assert_eq!(queue.progress().await.unwrap(), Some(begun));
    queue.keep_progress(ended.clone()).await.unwrap();
    assert_eq!(shop.opens_beside().progress().await.unwrap(), Some(ended));
}

/// A service and a command, each with a worker that leases whoever is due, and each user asked for by name by both.
async fn two_processes_on_one_store_lose_and_double_nothing(shop: Shop) {
    const USERS: usize = 60;
    let (service, command) = (shop.opens().await, shop.opens_beside());
    let users: Vec<String> = (0..USERS).map(|number| number.to_string()).collect();
    let pushes = |queue: Queue| {
        let users = users.clone();
        async move {
            for name in users {
                queue.push(&user(&name), UPDATE).await.unwrap();
            }
        }
    };
    let asks = |queue: Queue| {
        let users = users.clone();
        async move {
            let mut got = Vec::new();
            for name in users {
                got.extend(ask(&queue, by_hand(&name)).await.ok());
                queue.known().await.unwrap();
            }
            got
        }
    };
    let (ours, theirs) = (asks(service.clone()), asks(command.clone()));
    let (ours, theirs, (), ()) =
        futures_util::join!(ours, theirs, pushes(service.clone()), pushes(command.clone()));
    let mut all: Vec<_> = ours.iter().chain(&theirs).map(|job| job.user.clone()).collect();
    all.sort();
    all.dedup();
    assert_eq!((all.len(), ours.len() + theirs.len()), (USERS, USERS), "each was leased once");

    // Each settles the other's: the name of the lease counts. Events that came meanwhile are not lost.
    for (queue, jobs) in [(&command, ours), (&service, theirs)] {
        for job in jobs {
            assert_ne!(queue.settle(&job, done(), None).await.unwrap(), crate::queue::Settled::LeaseLost);
        }
    }
    let rows = service.rows_of(&all).await.unwrap();
    assert!(rows.iter().all(|row| row.generation == 3), "two events and one lease by name each");
    shop.clock.advance(super::DEBOUNCE);
    let due = rows.iter().filter(|row| row.due_at.is_some()).count();
    let works = |queue: Queue| async move {
        let mut leased = Vec::new();
        loop {
            let jobs = queue.lease(Slots::for_any(3)).await.unwrap().jobs;
            if jobs.is_empty() {
                return leased;
            }
            leased.extend(names(&jobs).into_iter().map(str::to_owned));
        }
    };
    let (some, others) = futures_util::join!(works(service), works(command));
    let mut left: Vec<_> = some.into_iter().chain(others).collect();
    left.sort();
    left.dedup();
    assert_eq!(left.len(), due, "whoever an event came for since is due, once");
}
