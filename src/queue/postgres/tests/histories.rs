//! Histories and counts, where the network, another replica or odd text gets in between.

use std::time::Duration;

use futures_util::future::join_all;

use super::{Proxy, QUICK, clock, open};
use crate::clock::{Clock, Millis};
use crate::queue::tests::server::Ground;
use crate::queue::tests::{DEBOUNCE, OPTIONS, UPDATE, done, only_job, park, user};
use crate::queue::{Entry, Filter, Options, Progress, Queue, Retry, Role, Room, Settled, State};

fn entry(outcome: &'static str) -> Option<Entry> {
    Some(Entry { event_type: UPDATE.to_owned(), outcome, attempt: 1, ms: 7, ..Entry::default() })
}

#[tokio::test]
async fn an_end_whose_answer_was_lost_is_in_the_history_once() {
    let Some(ground) = Ground::new() else { return };
    let (proxy, clock) = (Proxy::before(&ground), clock());
    let queue = open(&ground, &proxy.url, &clock, QUICK);
    queue.push(&user("kari"), UPDATE).await.unwrap();
    clock.advance(DEBOUNCE);
    let job = only_job(&queue).await;
    proxy.lose_next_commit();
    queue.settle(&job, done(), entry("updated")).await.unwrap();
    assert!(proxy.has_lost_it());
    let history = queue.history(&user("kari"), 10).await.unwrap();
    assert_eq!((history.len(), history[0].times), (1, 1), "{history:?}");
    let counts = queue.counts_since(Millis(0)).await.unwrap();
    assert_eq!((counts.len(), counts[0].count), (1, 1), "{counts:?}");

    let late = queue.settle(&job, done(), entry("updated")).await.unwrap();
    assert_eq!(late, Settled::LeaseLost);
    assert_eq!(queue.history(&user("kari"), 10).await.unwrap(), history, "what is late is not told");
    queue.close().await;
}

/// By the database's own clock, as in the service: all in one minute or two, and so in the same rows.
#[tokio::test]
async fn replicas_that_keep_histories_at_once_never_fail_and_lose_none() {
    const ROUNDS: usize = 25;
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
        users.rotate_left(turn * 7);
        async move {
            let mut settled = 0;
            for round in 0..ROUNDS {
                join_all(users.iter().map(|user| queue.push(user, UPDATE))).await;
                let jobs = queue.lease(Room::for_any(20)).await.unwrap().jobs;
                let outcomes = ["updated", "created", "unchanged"];
                let end = |(nth, job)| {
                    queue.settle(job, done(), entry(outcomes[(turn + round + nth) % outcomes.len()]))
                };
                for came in join_all(jobs.iter().rev().enumerate().map(end)).await {
                    assert_ne!(came.unwrap(), Settled::LeaseLost);
                    settled += 1;
                }
                queue.prune(Millis(i64::MAX), 5).await.unwrap();
                queue.retry(Retry::Users(users.clone())).await.unwrap();
            }
            settled
        }
    };
    let four = [0, 1, 2, 3].map(|turn| (turn, replicas[turn % 2].clone()));
    let settled: i64 = join_all(four.map(work)).await.into_iter().sum();
    let counted = "SELECT coalesce(sum(count), 0)::bigint FROM sync_counts";
    assert_eq!(ground.number(counted), settled, "each sync is counted once");
    for queue in replicas {
        queue.close().await;
    }
}

#[tokio::test]
async fn no_text_is_too_odd_for_the_store() {
    let Some(ground) = Ground::new() else { return };
    let clock = clock();
    let queue = open(&ground, &ground.url, &clock, QUICK);
    queue.push(&user("kari"), UPDATE).await.unwrap();
    clock.advance(DEBOUNCE);
    let odd = "a\0b".to_owned();
    let told = Entry {
        event_type: odd.clone(),
        outcome: "parked",
        changed: vec![odd.clone()],
        tags_added: vec![odd.clone()],
        error: Some(odd.clone()),
        ..Entry::default()
    };
    for times in 1..=2 {
        let job = only_job(&queue).await;
        queue.settle(&job, park(&odd), Some(told.clone())).await.unwrap();
        let history = queue.history(&user("kari"), 10).await.unwrap();
        assert_eq!((history.len(), history[0].times), (1, times), "what is the same is folded: {history:?}");
        let parked = Filter { reason: Some("A\0B".to_owned()), limit: 9, ..Filter::default() };
        assert_eq!(queue.rows(&parked).await.unwrap().len(), 1);
        assert_eq!(queue.rows(&Filter { after: Some(odd.clone()), ..parked }).await.unwrap().len(), 1);
        assert_eq!(queue.retry(Retry::Answer(odd.clone())).await.unwrap(), 1);
    }
    let progress = Progress { started_at: clock.now(), ended_at: None, asked: odd.clone(), done: odd };
    queue.keep_progress(progress).await.unwrap();
    assert_eq!(queue.progress().await.unwrap().unwrap().asked, "a\u{fffd}b");
    queue.close().await;
}

#[tokio::test]
async fn what_is_pruned_waits_for_nobody_who_holds_a_row() {
    let Some(ground) = Ground::new() else { return };
    let clock = clock();
    let queue = open(&ground, &ground.url, &clock, QUICK);
    ground.sql(
        "INSERT INTO history (connection, user_id, first_at, last_at, event_type, outcome, reason, held_back, changed,
             tags_added, tags_removed, attempt, ms)
         SELECT 'default', 'email|' || n, n, n, 'x', 'updated', '', false, '', '', '', 1, 1
         FROM generate_series(1, 2500) AS n",
    );
    let mut console = sqlx::ConnectOptions::connect(ground.url.options()).await.unwrap();
    sqlx::raw_sql("BEGIN; SELECT FROM history WHERE last_at = 1 FOR UPDATE")
        .execute(&mut console)
        .await
        .unwrap();
    assert_eq!(queue.prune(Millis(2_301), 2_200).await.unwrap(), 2_200);
    assert_eq!(queue.prune(Millis(2_301), 2_200).await.unwrap(), 99, "all but the one that is held");
    sqlx::raw_sql("ROLLBACK").execute(&mut console).await.unwrap();
    assert_eq!(queue.prune(Millis(2_301), 2_200).await.unwrap(), 1);
    assert_eq!(ground.number("SELECT count(*) FROM history"), 200);
    queue.close().await;
}

#[tokio::test]
async fn a_page_of_a_state_has_no_row_of_another() {
    let Some(ground) = Ground::new() else { return };
    let clock = clock();
    let queue = open(&ground, &ground.url, &clock, QUICK);
    ground.sql(&format!(
        "INSERT INTO users (connection, user_id, generation, event_type, due_at, lease_owner, parked_at, answer, lane)
         SELECT 'default', 'email|' || lpad(n::text, 3, '0'), 1, 'x',
             CASE n % 5 WHEN 0 THEN {0} - n WHEN 1 THEN {0} + n WHEN 2 THEN {0} + n END,
             CASE n % 5 WHEN 1 THEN n END, CASE n % 5 WHEN 3 THEN n END, CASE n % 5 WHEN 3 THEN '4' END, n % 3
         FROM generate_series(0, 99) AS n",
        clock.now().0
    ));
    for (rest, state) in
        [State::Due, State::Leased, State::Scheduled, State::Parked, State::Idle].into_iter().enumerate()
    {
        let first = Filter { state: Some(state), limit: 15, ..Filter::default() };
        let some = queue.rows(&first).await.unwrap();
        let others = Filter { after: some.last().map(|row| row.user.clone()), ..first };
        let all = [some, queue.rows(&others).await.unwrap()].concat();
        let expected: Vec<_> = (0..100).skip(rest).step_by(5).map(|n| format!("email|{n:03}")).collect();
        assert_eq!(all.iter().map(|row| row.user.clone()).collect::<Vec<_>>(), expected);
        assert!(all.iter().all(|row| row.state == state), "{all:?}");
    }
    let all = queue.rows(&Filter { limit: 1_000, ..Filter::default() }).await.unwrap();
    assert_eq!(all.len(), 100);
    queue.close().await;
}
