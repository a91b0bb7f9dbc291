//! Leases by name: what becomes of them where the network or another replica gets in between.

use std::time::Duration;

use super::{PATIENCE, Proxy, QUICK, clock, open};
use crate::queue::tests::server::Ground;
use crate::queue::tests::{DEBOUNCE, UPDATE, done, next_due, only_job, park, user};
use crate::queue::{
    Job, Lane, LeaseRequest, NextDue, Queue, Retry, Room, Settled, Settlement, State, UserLease,
};
use crate::upstream::PerApi;

pub(super) fn asks_for(name: &str) -> LeaseRequest {
    LeaseRequest {
        user: user(name),
        cause: "sync",
        lane: Lane::Events,
        calls: PerApi { sesamy: 3, mailmojo: 2 },
        untouched_since: None,
        again: false,
    }
}

pub(super) async fn leased(queue: &Queue, name: &str) -> Job {
    match queue.lease_user(asks_for(name)).await.unwrap() {
        UserLease::Leased(job) => *job,
        other => panic!("{other:?}"),
    }
}

#[tokio::test]
async fn a_lease_by_name_whose_answer_was_lost_is_that_lease_still() {
    let Some(ground) = Ground::new() else { return };
    let (proxy, clock) = (Proxy::before(&ground), clock());
    let queue = open(&ground, &proxy.url, &clock, QUICK);
    leased(&queue, "ola").await; // the connection is there
    proxy.lose_next_commit();
    let job = leased(&queue, "kari").await;
    assert!(proxy.has_lost_it());
    assert_eq!((job.generation, job.attempts, job.unsettled, job.leased_at), (1, 0, 0, clock.now()));
    assert_eq!(job.calls, PerApi { sesamy: 3, mailmojo: 2 });
    assert_eq!(queue.settle(&job, done(), None).await.unwrap(), Settled::AsAsked);
    queue.close().await;
}

#[tokio::test]
async fn a_lease_by_name_that_was_never_answered_is_undone_by_the_next() {
    let Some(ground) = Ground::new() else { return };
    let (proxy, clock) = (Proxy::before(&ground), clock());
    let queue = open(&ground, &proxy.url, &clock, QUICK);
    leased(&queue, "ola").await;
    proxy.lose_next_commit_and_cut();
    queue.lease_user(asks_for("kari")).await.unwrap_err();
    proxy.open();

    let end = tokio::time::Instant::now() + PATIENCE;
    let job = loop {
        // Its connection may have to be made anew.
        match queue.lease_user(asks_for("kari")).await {
            Ok(UserLease::Leased(job)) => break job,
            other => assert!(tokio::time::Instant::now() < end, "{other:?}"),
        }
        tokio::time::sleep(Duration::from_millis(5)).await;
    };
    assert_eq!((job.attempts, job.unsettled), (0, 0), "nobody was ever told of the one before");
    queue.close().await;
}

#[tokio::test]
async fn a_user_who_is_asked_for_and_not_to_be_had_is_held_up_for_nobody() {
    let Some(ground) = Ground::new() else { return };
    let clock = clock();
    let (one, other) = (open(&ground, &ground.url, &clock, QUICK), open(&ground, &ground.url, &clock, QUICK));
    one.pause().await.unwrap();
    assert!(matches!(one.lease_user(asks_for("kari")).await.unwrap(), UserLease::Paused));
    // No lock is left behind, and no row of a user whom nobody knew.
    assert!(other.rows_of(&[user("kari")]).await.unwrap().is_empty());
    tokio::time::timeout(Duration::from_secs(1), other.push(&user("kari"), UPDATE))
        .await
        .expect("nobody holds the user")
        .unwrap();
    one.close().await;
    other.close().await;
}

#[tokio::test]
async fn of_two_replicas_that_ask_for_a_user_nobody_knows_one_gets_the_lease() {
    let Some(ground) = Ground::new() else { return };
    let clock = clock();
    let (one, other) = (open(&ground, &ground.url, &clock, QUICK), open(&ground, &ground.url, &clock, QUICK));
    for turn in 0..20 {
        let name = turn.to_string();
        let both =
            futures_util::future::join(one.lease_user(asks_for(&name)), other.lease_user(asks_for(&name)));
        let (mine, others) = both.await;
        let came = [mine.unwrap(), others.unwrap()];
        let leased = came.iter().filter(|came| matches!(came, UserLease::Leased(_))).count();
        let held = came.iter().filter(|came| matches!(came, UserLease::Held(_))).count();
        assert_eq!((leased, held), (1, 1), "{came:?}");
    }
    one.close().await;
    other.close().await;
}

/// Each of them by a word alone: the other asks the store for nothing meanwhile.
#[tokio::test]
async fn what_an_operator_does_wakes_the_other_replicas_at_once() {
    let Some(ground) = Ground::new() else { return };
    let clock = clock();
    let (one, other) = (open(&ground, &ground.url, &clock, QUICK), open(&ground, &ground.url, &clock, QUICK));
    let due_at = |at| move |known: &NextDue| known.prompt == Some(at);
    let mut hears = other.next_due();

    let job = leased(&one, "kari").await;
    one.settle(&job, park("400"), None).await.unwrap();
    assert_eq!(next_due(&other), None);
    assert_eq!(one.retry(Retry::AllParked).await.unwrap(), 1);
    assert_eq!(next_due(&one), Some(clock.now()), "here before it is answered");
    let woken = tokio::time::timeout(PATIENCE, hears.wait_for(due_at(clock.now()))).await;
    woken.expect("a retry told nobody").unwrap();
    let job = only_job(&other).await;
    other.settle(&job, done(), None).await.unwrap();

    // An event that came during a sync by hand: whoever syncs by hand looks at the store at no other time.
    let job = leased(&one, "kari").await;
    other.push(&user("kari"), UPDATE).await.unwrap();
    assert_eq!(one.settle(&job, done(), None).await.unwrap(), Settled::DueAgain);
    let woken = tokio::time::timeout(PATIENCE, hears.wait_for(due_at(clock.now().plus(DEBOUNCE)))).await;
    woken.expect("an end told nobody").unwrap();

    one.pause().await.unwrap();
    other.lease(Room::for_any(1)).await.unwrap();
    one.resume().await.unwrap();
    let woken = tokio::time::timeout(PATIENCE, hears.wait_for(due_at(clock.now()))).await;
    woken.expect("that syncs go on was told nobody").unwrap();
    one.close().await;
    other.close().await;
}

#[tokio::test]
async fn a_replica_whose_news_are_old_still_tells_of_what_it_ends() {
    let Some(ground) = Ground::new() else { return };
    let clock = clock();
    let (one, other) = (open(&ground, &ground.url, &clock, QUICK), open(&ground, &ground.url, &clock, QUICK));
    let mut hears = other.next_due();
    one.push(&user("ola"), UPDATE).await.unwrap();
    let heard = hears.wait_for(|known| known.prompt.is_some());
    tokio::time::timeout(PATIENCE, heard).await.expect("an event told nobody").unwrap();
    let by_hand = leased(&one, "kari").await;
    clock.advance(DEBOUNCE);
    let ola = only_job(&other).await; // and `one` still thinks that ola is due
    let at = clock.now().plus(Duration::from_secs(60));
    let again = Settlement::Retry { at, counts: true, error: String::new() };
    one.settle(&by_hand, again, None).await.unwrap();
    let woken = tokio::time::timeout(PATIENCE, hears.wait_for(|known| known.prompt == Some(at))).await;
    woken.expect("an end told nobody").unwrap();
    other.settle(&ola, done(), None).await.unwrap();
    one.close().await;
    other.close().await;
}

#[tokio::test]
async fn more_users_than_a_step_has_are_made_due_all_of_them() {
    let Some(ground) = Ground::new() else { return };
    let clock = clock();
    let queue = open(&ground, &ground.url, &clock, QUICK);
    ground.sql(
        "INSERT INTO users (connection, user_id, generation, event_type, parked_at, error, answer)
         SELECT 'default', 'email|' || n, 1, 'x', 1, 'the list is gone', '404' FROM generate_series(1, 2500) AS n",
    );
    let reason = Retry::Reason("LIST is".to_owned());
    assert_eq!(queue.count_retry(&reason).await.unwrap(), 2_500);
    assert_eq!(queue.retry(reason).await.unwrap(), 2_500);
    assert_eq!(queue.retry(Retry::AllParked).await.unwrap(), 0);
    let rows = queue.rows_of(&[user("1"), user("2500"), user("nobody")]).await.unwrap();
    assert_eq!(rows.len(), 2);
    assert!(rows.iter().all(|row| (row.state, row.lane) == (State::Due, Lane::Retries)), "{rows:?}");
    queue.close().await;
}
