//! Ticks of several replicas at once, beside rows that somebody holds.

use std::collections::BTreeMap;
use std::time::Duration;

use futures_util::future::{join, join_all};
use sqlx::ConnectOptions;

use super::by_name::leased;
use super::{PATIENCE, QUICK, clock, open};
use crate::clock::{Clock, Millis};
use crate::queue::tests::server::Ground;
use crate::queue::tests::{DEBOUNCE, OPTIONS, UPDATE, done, next_due, user};
use crate::queue::{DRIFT, EXPIRY, Lane, NextDue, Options, Queue, Role, Room, Round, Settled, Tick};

const NO_ROUNDS: Tick = Tick { resync_every: None, canary_after: None };
const HOUR: Duration = Duration::from_secs(3_600);
const HOURLY: Tick = Tick { resync_every: Some(HOUR), canary_after: None };

/// So many users who were synced before and have nothing to do; the time of each has come.
fn synced(ground: &Ground, users: usize) {
    ground.sql(&format!(
        "INSERT INTO users (connection, user_id, generation, event_type, synced_at, changes_at)
         SELECT 'default', 'email|' || n, 1, 'x', 1, 1 FROM generate_series(1, {users}) AS n"
    ));
}

#[tokio::test]
async fn whose_time_has_come_is_made_due_by_one_replica_of_all_that_look() {
    let Some(ground) = Ground::new() else { return };
    let clock = clock();
    let (one, other) = (open(&ground, &ground.url, &clock, QUICK), open(&ground, &ground.url, &clock, QUICK));
    synced(&ground, 1_200);
    let (mut expired, mut more) = (0, true);
    while more {
        let (mine, others) = join(one.tick(NO_ROUNDS), other.tick(NO_ROUNDS)).await;
        let both = [mine.unwrap(), others.unwrap()];
        assert!(both.iter().all(|ticked| ticked.expired <= 500), "in small steps: {both:?}");
        expired += both.iter().map(|ticked| ticked.expired).sum::<u64>();
        more = both.iter().any(|ticked| ticked.more);
    }
    assert_eq!(expired, 1_200);
    let due = "SELECT count(*) FROM users WHERE lane = 1 AND event_type = 'expiry' AND changes_at IS NULL";
    assert_eq!(ground.number(due), 1_200);
    assert_eq!(one.tick(NO_ROUNDS).await.unwrap(), Default::default());
    one.close().await;
    other.close().await;
}

#[tokio::test]
async fn a_round_passes_everybody_once_whichever_replica_takes_it_on() {
    let Some(ground) = Ground::new() else { return };
    let clock = clock();
    let replicas = [0, 1, 2].map(|_| open(&ground, &ground.url, &clock, QUICK));
    synced(&ground, 400);
    ground.sql("UPDATE users SET changes_at = NULL");
    let begun = join_all(replicas.iter().map(|queue| queue.tick(HOURLY))).await;
    assert!(begun.into_iter().all(|ticked| ticked.unwrap().round.unwrap().users == 400));
    let began = clock.now();
    clock.advance(HOUR);
    let (mut times, mut drifting) = (BTreeMap::<String, u32>::new(), 0);
    // Whoever looks once it has ended begins the next, whose first users are not due yet.
    let is_under_way = |round: Round| round.started_at == began && round.ended_at.is_none();
    while is_under_way(replicas[0].round().await.unwrap().unwrap()) {
        for ticked in join_all(replicas.iter().map(|queue| queue.tick(HOURLY))).await {
            drifting += ticked.unwrap().drifting;
        }
        assert!(ground.number("SELECT count(*) FROM users WHERE due_at IS NOT NULL") <= 50);
        let jobs = replicas[1].lease(Room::for_any(100)).await.unwrap().jobs;
        for job in &jobs {
            assert_eq!((job.lane, job.event_type.as_str()), (Lane::Background, DRIFT));
            *times.entry(job.user.as_str().to_owned()).or_default() += 1;
        }
        for settled in join_all(jobs.iter().map(|job| replicas[2].settle(job, done(), None))).await {
            assert_eq!(settled.unwrap(), Settled::AsAsked);
        }
    }
    assert_eq!((drifting, times.len()), (400, 400));
    assert!(times.values().all(|times| *times == 1), "{times:?}");
    join_all(replicas.iter().map(Queue::close)).await;
}

/// By the database's own clock, as in the service.
#[tokio::test]
async fn replicas_that_tick_while_others_push_settle_and_forget_are_in_nobodys_way() {
    const ROUNDS: usize = 15;
    let Some(ground) = Ground::new() else { return };
    let options = Options { debounce: Duration::ZERO, ..OPTIONS };
    let replica = || {
        let opening =
            Queue::open_postgres(&ground.url, Role::Service, options, Clock::system(), rand::random());
        ground.wait_for(opening).unwrap()
    };
    let replicas = [replica(), replica()];
    let users: Vec<_> = (0..30).map(|number| user(&number.to_string())).collect();
    let tick = Tick { resync_every: Some(Duration::from_millis(1)), canary_after: None };
    let work = |(turn, queue): (usize, Queue)| {
        let mut users = users.clone();
        users.rotate_left(turn * 7);
        let tick = tick.clone();
        async move {
            for round in 0..ROUNDS {
                for kept in join_all(users.iter().map(|user| queue.push(user, UPDATE))).await {
                    kept.unwrap();
                }
                queue.tick(tick.clone()).await.unwrap();
                let jobs = queue.lease(Room::for_any(10)).await.unwrap().jobs;
                queue.tick(tick.clone()).await.unwrap();
                let (forgotten, settled) = jobs.split_at((round % 4).min(1).min(jobs.len()));
                for job in forgotten {
                    assert!(queue.forget(job).await.unwrap());
                }
                for came in join_all(settled.iter().rev().map(|job| queue.settle(job, done(), None))).await {
                    assert_ne!(came.unwrap(), Settled::LeaseLost);
                }
                queue.prune(Millis(i64::MAX), 5).await.unwrap();
            }
        }
    };
    join_all([0, 1, 2, 3].map(|turn| (turn, replicas[turn % 2].clone())).map(work)).await;
    let known = ground.number("SELECT count(*) FROM users");
    let forgotten = ground.number("SELECT count(*) FROM forgotten");
    assert_eq!((known + forgotten, forgotten > 0), (30, true), "who is forgotten is not known");
    assert_eq!(replicas[0].forgotten(&users).await.unwrap().len(), usize::try_from(forgotten).unwrap());
    join_all(replicas.iter().map(Queue::close)).await;
}

/// Somebody at a console, or another replica.
#[tokio::test]
async fn a_row_that_somebody_holds_is_left_for_later_and_makes_no_tick_spin_or_wait() {
    let Some(ground) = Ground::new() else { return };
    let clock = clock();
    let queue = open(&ground, &ground.url, &clock, QUICK);
    synced(&ground, 2);
    let mut console = ground.url.options().connect().await.unwrap();
    sqlx::raw_sql("BEGIN; SELECT FROM users WHERE user_id = 'email|1' FOR UPDATE")
        .execute(&mut console)
        .await
        .unwrap();
    let ticked = queue.tick(NO_ROUNDS).await.unwrap();
    assert_eq!((ticked.expired, ticked.more), (1, false));
    assert_eq!(queue.tick(NO_ROUNDS).await.unwrap(), Default::default());
    sqlx::raw_sql("ROLLBACK").execute(&mut console).await.unwrap();
    assert_eq!(queue.tick(NO_ROUNDS).await.unwrap().expired, 1);
    queue.close().await;
}

/// By a word alone: the other asks the store for nothing meanwhile.
#[tokio::test]
async fn whoever_a_tick_makes_due_wakes_the_other_replicas_and_so_does_the_brake() {
    let Some(ground) = Ground::new() else { return };
    let clock = clock();
    let (one, other) = (open(&ground, &ground.url, &clock, QUICK), open(&ground, &ground.url, &clock, QUICK));
    let mut hears = other.next_due();
    let due_now = |known: &NextDue| known.prompt == Some(clock.now());
    synced(&ground, 1);
    assert_eq!(one.tick(NO_ROUNDS).await.unwrap().expired, 1);
    assert_eq!(next_due(&one), Some(clock.now()), "here before it is answered");
    let woken = tokio::time::timeout(PATIENCE, hears.wait_for(due_now)).await;
    woken.expect("a tick told nobody").unwrap();
    let jobs = other.lease(Room::for_any(1)).await.unwrap().jobs;
    assert_eq!(jobs[0].event_type, EXPIRY);
    other.settle(&jobs[0], done(), None).await.unwrap();

    for brakes in [true, false] {
        clock.advance(DEBOUNCE);
        assert_eq!(other.lease(Room::for_any(1)).await.unwrap().jobs.len(), 0);
        let known = if brakes { one.brake().await.unwrap() } else { one.release_brake().await.unwrap() };
        let due_now = |known: &NextDue| known.prompt == Some(clock.now());
        let woken = tokio::time::timeout(PATIENCE, hears.wait_for(due_now)).await;
        woken.expect("the brake told nobody").unwrap();
        assert_eq!(known.braked_at.is_some(), brakes);
        assert_eq!(other.lease(Room::for_any(1)).await.unwrap().known, known);
    }
    one.close().await;
    other.close().await;
}

#[tokio::test]
async fn the_next_of_a_round_are_known_here_before_the_tick_is_answered() {
    let Some(ground) = Ground::new() else { return };
    let clock = clock();
    let queue = open(&ground, &ground.url, &clock, QUICK);
    let job = leased(&queue, "kari").await;
    queue.settle(&job, done(), None).await.unwrap();
    queue.tick(HOURLY).await.unwrap();
    clock.advance(HOUR);
    assert_eq!(queue.tick(HOURLY).await.unwrap().drifting, 1);
    let expected = NextDue { prompt: None, background: Some(clock.now()) };
    assert_eq!(*queue.next_due().borrow(), expected);
    queue.close().await;
}
