//! Forgetting, where the network, an event that is on its way or another replica gets in between.

use std::time::Duration;

use futures_util::future::{join, join_all};
use sqlx::ConnectOptions;

use super::by_name::{asks_for, leased};
use super::{PATIENCE, Proxy, QUICK, Tuning, clock, open, until};
use crate::memory::{Memory, Seen};
use crate::personal::Personal;
use crate::queue::tests::server::Ground;
use crate::queue::tests::{DEBOUNCE, OPTIONS, UPDATE, park, user};
use crate::queue::{Done, Entry, LeaseRequest, PostgresUrl, Queue, Role, Settlement, Tick, UserLease};

fn remembers(email: &str) -> Settlement {
    let contact = Some(Seen { status: Some("a".to_owned()), on_list: true, list_status: None });
    let memory = Memory { email: Some(Personal::new(email)), contact, ..Memory::default() };
    Settlement::Done(Box::new(Done { memory, ..Done::default() }))
}

fn named(url: &PostgresUrl, name: &str) -> PostgresUrl {
    let mut url = url.clone();
    *url.options = url.options().clone().application_name(name);
    url
}

#[tokio::test]
async fn a_user_whose_forgetting_was_not_answered_is_forgotten_and_that_is_told() {
    let Some(ground) = Ground::new() else { return };
    let (proxy, clock) = (Proxy::before(&ground), clock());
    let queue = open(&ground, &proxy.url, &clock, QUICK);
    let job = leased(&queue, "kari").await;
    proxy.lose_next_commit();
    assert!(queue.forget(&job).await.unwrap());
    assert!(proxy.has_lost_it());
    assert_eq!(queue.forgotten(&[user("kari"), user("ola")]).await.unwrap(), [user("kari")]);
    assert!(queue.rows_of(&[user("kari")]).await.unwrap().is_empty());
    assert!(!queue.forget(&job).await.unwrap(), "its lease is not there any more");
    queue.close().await;
}

/// An event of another replica that the database was already keeping would make the row anew, once it is gone.
#[tokio::test]
async fn an_event_that_is_being_kept_does_not_bring_back_who_is_forgotten_meanwhile() {
    let Some(ground) = Ground::new() else { return };
    let clock = clock();
    let patient = Tuning { answer: PATIENCE, ..QUICK }; // nobody gives up before they are seen to wait
    let url = named(&ground.url, "races_an_event");
    let (queue, other) = (open(&ground, &url, &clock, patient), open(&ground, &url, &clock, patient));
    for name in ["ada", "kari"] {
        queue.push(&user(name), UPDATE).await.unwrap();
    }
    let job = leased(&queue, "kari").await;
    let mut console = ground.url.options().connect().await.unwrap();
    sqlx::raw_sql("BEGIN; SELECT FROM users WHERE user_id = 'email|ada' FOR UPDATE")
        .execute(&mut console)
        .await
        .unwrap();

    let waits = |most: i64| {
        let waiting = "SELECT count(*) FROM pg_stat_activity
            WHERE application_name = 'races_an_event' AND wait_event_type = 'Lock'";
        ground.number(waiting) >= most
    };
    let events = tokio::spawn({
        let other = other.clone();
        // Both are sent before the first answer can be awaited, so they meet in a batch.
        async move { join_all(["ada", "kari"].map(user).iter().map(|user| other.push(user, UPDATE))).await }
    });
    until("the event waits for who holds the row before", || waits(1)).await;
    let forgetting = tokio::spawn({
        let queue = queue.clone();
        async move { queue.forget(&job).await }
    });
    until("forgetting waits for the event, or is done", || waits(2) || forgetting.is_finished()).await;
    sqlx::raw_sql("ROLLBACK").execute(&mut console).await.unwrap();
    let kept = events.await.unwrap();
    assert!(kept.iter().all(Result::is_ok), "{kept:?}");
    assert!(forgetting.await.unwrap().unwrap());
    assert_eq!(ground.number("SELECT count(*) FROM users WHERE user_id = 'email|kari'"), 0);
    queue.close().await;
    other.close().await;
}

#[tokio::test]
async fn an_event_to_another_replica_brings_nobody_back_and_is_answered_as_kept() {
    let Some(ground) = Ground::new() else { return };
    let clock = clock();
    let (one, other) = (open(&ground, &ground.url, &clock, QUICK), open(&ground, &ground.url, &clock, QUICK));
    other.push(&user("ola"), UPDATE).await.unwrap();
    let job = leased(&one, "kari").await;
    assert!(one.forget(&job).await.unwrap());
    let kept = join_all(["kari", "liv", "ola"].map(user).iter().map(|user| other.push(user, UPDATE))).await;
    assert!(kept.iter().all(Result::is_ok), "{kept:?}");
    let rows = other.rows_of(&["kari", "liv", "ola"].map(user)).await.unwrap();
    let known: Vec<_> = rows.iter().map(|row| (row.user.as_str(), row.generation)).collect();
    assert_eq!(known, [("email|liv", 1), ("email|ola", 2)]);
    one.close().await;
    other.close().await;
}

#[tokio::test]
async fn nothing_of_who_is_forgotten_is_left_in_any_table() {
    let Some(ground) = Ground::new() else { return };
    let clock = clock();
    let queue = open(&ground, &ground.url, &clock, QUICK);
    for (name, address) in [("ada", "ada@example.com"), ("kari", "kari@example.com")] {
        let job = leased(&queue, name).await;
        let entry = Entry { event_type: UPDATE.to_owned(), outcome: "updated", ..Entry::default() };
        queue.settle(&job, remembers(address), Some(entry)).await.unwrap();
    }
    let hourly = Tick { resync_every: Some(Duration::from_secs(3_600)), canary_after: None };
    queue.tick(hourly.clone()).await.unwrap();
    clock.advance(Duration::from_secs(3_600));
    queue.tick(hourly).await.unwrap(); // and it has come as far as kari
    let job = leased(&queue, "kari").await;
    assert!(job.memory.email.is_some());
    queue.settle(&job, park("404"), None).await.unwrap();
    let job = leased(&queue, "kari").await;

    let tables = "users history rounds forgotten forgetting apis backfills sync_counts probe".split(' ');
    let left = |text: &str| {
        let count = |table| format!("(SELECT count(*) FROM {table} AS t WHERE t::text LIKE '%{text}%')");
        ground.number(&format!("SELECT {}", tables.clone().map(count).collect::<Vec<_>>().join(" + ")))
    };
    let all =
        "SELECT count(*) FROM pg_class WHERE relnamespace = current_schema()::regnamespace AND relkind = 'r'";
    assert_eq!(ground.number(all), tables.clone().count() as i64 + 1, "and the one of the version");
    assert!(left("kari") >= 3, "the row, its history, and the round");
    assert!(queue.forget(&job).await.unwrap());
    assert_eq!((left("kari"), left("ada") > 0), (0, true));
    assert_eq!(ground.number("SELECT count(*) FROM rounds WHERE cursor = 'email|ada'"), 1);
    queue.close().await;
}

#[tokio::test]
async fn a_dump_that_reads_all_tables_keeps_nobody_from_being_forgotten() {
    let Some(ground) = Ground::new() else { return };
    let clock = clock();
    let queue = open(&ground, &ground.url, &clock, QUICK);
    let job = leased(&queue, "kari").await;
    let mut dump = ground.url.options().connect().await.unwrap();
    let reads = "BEGIN; LOCK TABLE users, history, forgotten, forgetting, rounds IN ACCESS SHARE MODE";
    sqlx::raw_sql(reads).execute(&mut dump).await.unwrap();
    assert!(queue.forget(&job).await.unwrap());
    sqlx::raw_sql("ROLLBACK").execute(&mut dump).await.unwrap();
    queue.close().await;
}

#[tokio::test]
async fn of_two_replicas_that_take_a_forgotten_user_up_again_one_gets_the_lease() {
    let Some(ground) = Ground::new() else { return };
    let clock = clock();
    let (one, other) = (open(&ground, &ground.url, &clock, QUICK), open(&ground, &ground.url, &clock, QUICK));
    for turn in 0..10 {
        let name = turn.to_string();
        assert!(one.forget(&leased(&one, &name).await).await.unwrap());
        let again = || LeaseRequest { again: true, ..asks_for(&name) };
        let (mine, others) = join(one.lease_user(again()), other.lease_user(again())).await;
        let came = [mine.unwrap(), others.unwrap()];
        let leased = came.iter().filter(|came| matches!(came, UserLease::Leased(_))).count();
        let held = came.iter().filter(|came| matches!(came, UserLease::Held(_))).count();
        assert_eq!((leased, held), (1, 1), "{came:?}");
    }
    assert_eq!(ground.number("SELECT count(*) FROM forgotten"), 0);
    one.close().await;
    other.close().await;
}

/// As a command does, beside a service that is at work.
#[tokio::test]
async fn whoever_is_taken_up_again_is_known_only_if_there_is_a_lease() {
    let Some(ground) = Ground::new() else { return };
    let clock = clock();
    let service = open(&ground, &ground.url, &clock, QUICK);
    assert!(service.forget(&leased(&service, "kari").await).await.unwrap());
    service.pause().await.unwrap();
    let looks = Role::Command { may_create: false };
    let opening = Queue::open_postgres(&ground.url, looks, OPTIONS, clock.clone(), rand::random());
    let command = ground.wait_for(opening).unwrap();
    let again = LeaseRequest { again: true, ..asks_for("kari") };
    assert!(matches!(command.lease_user(again).await.unwrap(), UserLease::Paused));
    assert_eq!(command.forgotten(&[user("kari")]).await.unwrap(), [user("kari")]);
    command.close().await;
    service.close().await;
}

#[tokio::test]
async fn no_memory_is_too_odd_for_the_store() {
    let Some(ground) = Ground::new() else { return };
    let clock = clock();
    let queue = open(&ground, &ground.url, &clock, QUICK);
    let odd = format!("K\0ari@{}.com", "Long".repeat(5_000));
    queue.push(&user("kari"), UPDATE).await.unwrap();
    clock.advance(DEBOUNCE);
    let job = leased(&queue, "kari").await;
    queue.settle(&job, remembers(&odd), None).await.unwrap();
    let rows = queue.rows_of(&[user("kari")]).await.unwrap();
    let kept = rows[0].memory.email.as_ref().unwrap();
    assert_eq!(kept.as_str(), odd.replace('\0', "\u{fffd}"));
    assert_eq!(queue.others_at(&user("ola"), &odd.to_uppercase(), 9).await.unwrap(), [user("kari")]);
    assert!(queue.others_at(&user("kari"), &odd, 9).await.unwrap().is_empty());
    queue.close().await;
}
