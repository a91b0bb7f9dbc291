//! What only Postgres can do wrong, or has to do by itself: a network, a server, and others on the same store.

mod by_name;
mod clockwork;
mod commands;
mod forgetting;
mod histories;
mod lanes;
mod opening;
mod plans;
mod proxy;
mod upgrading;

use std::time::Duration;

use futures_util::future::join_all;
use sqlx::ConnectOptions;

use self::proxy::Proxy;
use super::{PostgresUrl, Tuning};
use crate::clock::{Clock, Millis};
use crate::queue::tests::server::Ground;
use crate::queue::tests::{DEBOUNCE, LEASE, OPTIONS, UPDATE, done, next_due, only_job, park, user};
use crate::queue::{NextDue, Role, Room};
use crate::queue::{Options, Queue, QueueError, Settled, Settlement};

/// Longer than anything takes on a busy machine.
const PATIENCE: Duration = Duration::from_secs(30);

/// Short times for what would take seconds, but none that a busy machine needs to connect and to answer.
const QUICK: Tuning = Tuning {
    answer: Duration::from_secs(2),
    connect: Duration::from_secs(3),
    longest_wait: Duration::from_millis(50),
    probe_every: Duration::from_millis(20),
    silence: Duration::from_secs(3_600),
};

fn clock() -> Clock {
    Clock::manual(Millis(1_000_000))
}

fn open(ground: &Ground, url: &PostgresUrl, clock: &Clock, tuning: Tuning) -> Queue {
    let opening =
        Queue::open_postgres_tuned(url, Role::Service, OPTIONS, clock.clone(), rand::random(), tuning);
    ground.wait_for(opening).unwrap()
}

/// Waits for what happens by itself.
async fn until(what: &str, happened: impl Fn() -> bool) {
    let end = tokio::time::Instant::now() + PATIENCE;
    while !happened() {
        assert!(tokio::time::Instant::now() < end, "{what}: never");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

#[tokio::test]
async fn a_database_that_was_cut_off_and_is_back_has_lost_and_doubled_nothing() {
    let Some(ground) = Ground::new() else { return };
    let (proxy, clock) = (Proxy::before(&ground), clock());
    let queue = open(&ground, &proxy.url, &clock, QUICK);
    queue.push(&user("kari"), UPDATE).await.unwrap();
    clock.advance(DEBOUNCE);
    let job = only_job(&queue).await;

    proxy.cut();
    let refused = queue.push(&user("ola"), UPDATE).await.unwrap_err();
    assert!(matches!(&refused, QueueError::Store(why) if why.contains("connection")), "{refused}");
    assert!(!queue.accepting());
    assert!(queue.lease(Room::for_any(1)).await.is_err() && queue.census().await.is_err());
    let settling = tokio::spawn({
        let queue = queue.clone();
        async move { queue.settle(&job, done(), None).await }
    });

    proxy.open();
    assert_eq!(settling.await.unwrap().unwrap(), Settled::AsAsked, "an end waits for the connection");
    until("events are taken again without one", || queue.accepting()).await;
    queue.push(&user("ola"), UPDATE).await.unwrap();
    clock.advance(DEBOUNCE);
    let job = only_job(&queue).await;
    assert_eq!((job.user, job.generation, job.attempts), (user("ola"), 1, 0));
    queue.close().await;
}

#[tokio::test]
async fn a_database_that_hangs_keeps_nobody_waiting_for_ever() {
    let Some(ground) = Ground::new() else { return };
    let proxy = Proxy::before(&ground);
    let queue = open(&ground, &proxy.url, &clock(), QUICK);
    queue.push(&user("kari"), UPDATE).await.unwrap();
    proxy.freeze();
    assert!(matches!(queue.push(&user("kari"), UPDATE).await, Err(QueueError::Late)));
    assert!(!queue.accepting());
    assert!(queue.lease(Room::for_any(1)).await.is_err());
    proxy.open();
    until("events are taken again", || queue.accepting()).await;

    proxy.freeze();
    let (pushed, ()) = tokio::time::timeout(PATIENCE, async {
        futures_util::future::join(queue.push(&user("kari"), UPDATE), queue.close()).await
    })
    .await
    .expect("a close ends");
    assert!(pushed.is_err());
}

#[tokio::test]
async fn a_lease_whose_answer_was_lost_is_leased_again_and_no_attempt_is_counted() {
    let Some(ground) = Ground::new() else { return };
    let (proxy, clock) = (Proxy::before(&ground), clock());
    let queue = open(&ground, &proxy.url, &clock, QUICK);
    for name in ["kari", "ola"] {
        queue.push(&user(name), UPDATE).await.unwrap();
    }
    clock.advance(DEBOUNCE);
    queue.census().await.unwrap(); // whoever commits next, it is the lease
    proxy.lose_next_commit();
    let jobs = queue.lease(Room::for_any(10)).await.unwrap().jobs;
    assert!(proxy.has_lost_it());
    assert_eq!(jobs.len(), 2, "at once, not when the lost leases have ended");
    assert!(jobs.iter().all(|job| (job.attempts, job.unsettled, job.failing_since) == (0, 0, None)));

    proxy.lose_next_commit();
    queue.settle(&jobs[0], park("400"), None).await.unwrap();
    assert!(proxy.has_lost_it());
    assert_eq!(
        queue.settle(&jobs[0], done(), None).await.unwrap(),
        Settled::LeaseLost,
        "it was kept the first time"
    );
    let parked = "SELECT count(*) FROM users WHERE parked_at IS NOT NULL AND lease_owner IS NULL";
    assert_eq!(ground.number(parked), 1);
    queue.close().await;
}

#[tokio::test]
async fn a_row_that_the_store_refuses_fails_alone() {
    let Some(ground) = Ground::new() else { return };
    let clock = clock();
    let queue = open(&ground, &ground.url, &clock, QUICK);
    let names = ["a", "bad", "c"].map(user);
    join_all(names.iter().map(|user| queue.push(user, UPDATE))).await;
    clock.advance(DEBOUNCE);
    let jobs = queue.lease(Room::for_any(10)).await.unwrap().jobs;
    ground.sql(
        "CREATE FUNCTION refuse() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN RAISE 'not this one'; END $$;
         CREATE TRIGGER refuse BEFORE INSERT OR UPDATE ON users FOR EACH ROW WHEN (NEW.user_id = 'email|bad')
         EXECUTE FUNCTION refuse()",
    );

    // All are sent before the first answer can be awaited, so they meet in a batch.
    let kept = join_all(names.iter().map(|user| queue.push(user, UPDATE))).await;
    assert!(kept[0].is_ok() && kept[2].is_ok(), "{kept:?}");
    assert!(matches!(&kept[1], Err(QueueError::Store(why)) if why.contains("not this one")), "{kept:?}");
    assert!(!kept[1].as_ref().unwrap_err().to_string().contains("email|"));

    let settled = join_all(jobs.iter().map(|job| queue.settle(job, done(), None))).await;
    assert!(matches!(settled[..], [Ok(Settled::DueAgain), Err(QueueError::Store(_)), Ok(Settled::DueAgain)]));
    queue.close().await;
}

#[tokio::test]
async fn what_others_answer_is_kept_whatever_is_in_it() {
    let Some(ground) = Ground::new() else { return };
    let clock = clock();
    let queue = open(&ground, &ground.url, &clock, QUICK);
    queue.push(&user("kari"), UPDATE).await.unwrap();
    clock.advance(DEBOUNCE);
    let odd = format!("a\0b{}", "long ".repeat(5_000));
    queue.settle(&only_job(&queue).await, park(&odd), None).await.unwrap();
    assert_eq!(next_due(&queue), None);
    queue.give_back(&[], Some(&odd), clock.now()).await.unwrap();
    assert_eq!(only_job(&queue).await.user, user("kari"));
    queue.close().await;
}

#[tokio::test]
async fn an_id_that_is_none_any_more_holds_nobody_up() {
    let Some(ground) = Ground::new() else { return };
    let clock = clock();
    let queue = open(&ground, &ground.url, &clock, QUICK);
    queue.push(&user("kari"), UPDATE).await.unwrap();
    ground.sql(
        "INSERT INTO users (connection, user_id, generation, event_type, due_at) VALUES ('default', '..', 1, 'x', 0)",
    );
    clock.advance(DEBOUNCE);
    assert!(queue.lease(Room::for_any(1)).await.unwrap().jobs.is_empty(), "it is parked");
    assert_eq!(queue.lease(Room::for_any(1)).await.unwrap().jobs[0].user, user("kari"));
    assert_eq!(queue.census().await.unwrap().parked, 1);
    queue.close().await;
}

#[tokio::test]
async fn a_word_from_another_replica_wakes_at_once() {
    let Some(ground) = Ground::new() else { return };
    let clock = clock();
    let (one, other) = (open(&ground, &ground.url, &clock, QUICK), open(&ground, &ground.url, &clock, QUICK));
    // Nothing but the word can tell the other: it asks the store for nothing meanwhile.
    let mut woken = other.next_due();
    one.push(&user("kari"), UPDATE).await.unwrap();
    tokio::time::timeout(PATIENCE, woken.wait_for(|next| next.earliest().is_some()))
        .await
        .expect("it was never woken")
        .unwrap();
    assert_eq!(next_due(&other), next_due(&one));
    clock.advance(DEBOUNCE);
    let job = only_job(&other).await;

    one.lease(Room::for_any(1)).await.unwrap();
    let sooner = clock.now().plus(Duration::from_secs(1));
    let mut woken = one.next_due();
    let retry = Settlement::Retry { at: sooner, counts: false, error: String::new() };
    other.settle(&job, retry, None).await.unwrap();
    let knows = |known: &NextDue| known.prompt == Some(sooner);
    tokio::time::timeout(PATIENCE, woken.wait_for(knows)).await.expect("an end told nobody").unwrap();
    one.close().await;
    other.close().await;
}

#[tokio::test]
async fn a_start_leaves_the_leases_of_others_alone() {
    let Some(ground) = Ground::new() else { return };
    let clock = clock();
    let one = open(&ground, &ground.url, &clock, QUICK);
    one.push(&user("kari"), UPDATE).await.unwrap();
    clock.advance(DEBOUNCE);
    let job = only_job(&one).await;
    let end = clock.now().plus(LEASE);
    let other = open(&ground, &ground.url, &clock, QUICK);
    assert_eq!(next_due(&other), Some(end));
    assert!(other.lease(Room::for_any(1)).await.unwrap().jobs.is_empty());
    assert_eq!(one.settle(&job, done(), None).await.unwrap(), Settled::AsAsked);
    one.close().await;
    other.close().await;
}

/// By the database's own clock, as in the service.
#[tokio::test]
async fn replicas_that_push_and_settle_the_same_users_at_once_never_fail() {
    const ROUNDS: usize = 40;
    let Some(ground) = Ground::new() else { return };
    let options = Options { debounce: Duration::ZERO, ..OPTIONS };
    let replica = || {
        let opening =
            Queue::open_postgres(&ground.url, Role::Service, options, Clock::system(), rand::random());
        ground.wait_for(opening).unwrap()
    };
    let replicas = [replica(), replica()];
    let users: Vec<_> = (0..30).map(|number| user(&number.to_string())).collect();
    let work = |(turn, queue): (usize, Queue)| {
        let mut users = users.clone();
        users.rotate_left(turn * 7); // no two in the same order
        async move {
            let mut leased = 0;
            for _ in 0..ROUNDS {
                for kept in join_all(users.iter().map(|user| queue.push(user, UPDATE))).await {
                    kept.unwrap();
                }
                let jobs = queue.lease(Room::for_any(20)).await.unwrap().jobs;
                leased += jobs.len();
                for settled in join_all(jobs.iter().rev().map(|job| queue.settle(job, done(), None))).await {
                    assert_ne!(settled.unwrap(), Settled::LeaseLost);
                }
            }
            leased
        }
    };
    let four = [0, 1, 2, 3].map(|turn| (turn, replicas[turn % 2].clone()));
    let leased: usize = join_all(four.map(work)).await.into_iter().sum();
    assert!(leased >= ROUNDS, "{leased}");
    let all = "SELECT sum(generation)::bigint FROM users";
    assert_eq!(ground.number(all), (4 * ROUNDS * users.len()) as i64, "each event is counted once");
    for queue in replicas {
        queue.close().await;
    }
}

/// Somebody at a console who began a transaction and went to lunch.
#[tokio::test]
async fn a_row_that_somebody_holds_holds_up_nobody_else_and_makes_nobody_spin() {
    let Some(ground) = Ground::new() else { return };
    let clock = clock();
    let queue = open(&ground, &ground.url, &clock, QUICK);
    for name in ["kari", "ola"] {
        queue.push(&user(name), UPDATE).await.unwrap();
    }
    clock.advance(DEBOUNCE);
    let mut console = ground.url.options().connect().await.unwrap();
    let holds = "BEGIN; SELECT FROM users WHERE user_id = 'email|kari' FOR UPDATE";
    sqlx::raw_sql(holds).execute(&mut console).await.unwrap();

    let leased = queue.lease(Room::for_any(10)).await.unwrap();
    assert_eq!((leased.jobs.len(), &leased.jobs[0].user), (1, &user("ola")));
    assert!(leased.not_before > Some(clock.now()), "kari is due, and not to be had: {leased:?}");
    let names = ["kari", "liv"].map(user);
    let kept = join_all(names.iter().map(|user| queue.push(user, UPDATE))).await;
    assert!(kept[0].is_err() && kept[1].is_ok(), "{kept:?}");
    assert!(queue.accepting());

    let holds_all = "SELECT FROM users FOR UPDATE";
    sqlx::raw_sql(holds_all).execute(&mut console).await.unwrap();
    let together =
        join_all(["ola", "kari", "liv"].map(user).iter().map(|user| queue.push(user, UPDATE))).await;
    assert!(together.iter().all(Result::is_err), "{together:?}");
    assert!(!queue.accepting(), "those who are held are too many to be odd ones");

    sqlx::raw_sql("ROLLBACK").execute(&mut console).await.unwrap();
    until("events are taken again", || queue.accepting()).await;
    assert_eq!(only_job(&queue).await.user, user("kari"));
    queue.close().await;
}

/// A standby that does not know yet that it is to take over: it lets everybody in, and takes nothing.
#[tokio::test]
async fn a_server_that_takes_nothing_is_not_stormed_and_holds_up_nobody_for_ever() {
    let Some(ground) = Ground::new() else { return };
    let (proxy, clock) = (Proxy::before(&ground), clock());
    let tuning = Tuning { longest_wait: Duration::from_secs(1), ..QUICK };
    let queue = open(&ground, &proxy.url, &clock, tuning);
    queue.push(&user("kari"), UPDATE).await.unwrap();
    clock.advance(DEBOUNCE);
    let job = only_job(&queue).await;
    ground.sql(
        "CREATE FUNCTION refuse() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN
             RAISE 'cannot write in a read-only transaction' USING ERRCODE = '25006'; END $$;
         CREATE TRIGGER refuse BEFORE INSERT OR UPDATE ON users FOR EACH STATEMENT EXECUTE FUNCTION refuse()",
    );

    let (before, began) = (proxy.connections(), std::time::Instant::now());
    for _ in 0..100 {
        queue.push(&user("ola"), UPDATE).await.unwrap_err();
    }
    let (made, waits) = (proxy.connections() - before, began.elapsed().as_secs());
    assert!(made < 20 + 2 * waits as usize, "{made} connections in {waits} s");
    assert!(!queue.accepting());

    let settled = tokio::time::timeout(PATIENCE, queue.settle(&job, done(), None)).await;
    assert!(settled.expect("it gives up").is_err());
    ground.sql("DROP TRIGGER refuse ON users");
    until("events are taken again", || queue.accepting()).await;
    let settled = tokio::time::timeout(PATIENCE, async {
        loop {
            match queue.settle(&job, done(), None).await {
                Ok(settled) => return settled,
                Err(_) => tokio::time::sleep(Duration::from_millis(5)).await, // its connection is not there yet
            }
        }
    });
    assert_eq!(settled.await.expect("leases can be ended again"), Settled::AsAsked);
    queue.close().await;
}

#[tokio::test]
async fn a_connection_for_events_is_never_silent_for_long() {
    let Some(ground) = Ground::new() else { return };
    let mut url = ground.url.clone();
    *url.options = ground.url.options().clone().application_name("a_silent_one");
    let tuning = Tuning { silence: Duration::from_millis(20), ..QUICK };
    let queue = open(&ground, &url, &clock(), tuning);
    // One connection listens; that for events is made by nobody but whoever breaks the silence.
    let count = "SELECT count(*) FROM pg_stat_activity WHERE application_name = 'a_silent_one'";
    until("it is there before the first event", || ground.number(count) > 1).await;
    ground.sql(
        "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name = 'a_silent_one'",
    );
    until("it is replaced", || ground.number(count) > 1).await;
    queue.close().await;
}
