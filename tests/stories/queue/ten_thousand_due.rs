//! Ten thousand users due at the start, as after a long outage: they are worked off without harm to anything else.

use std::time::{Duration, Instant};

use rusqlite::Connection;
use sesamy_mailmojo::sandbox::{Route, user};

use crate::support::faults::{address, most_memory};
use crate::support::harness::Town;

const USERS: usize = 10_000;
const CONCURRENCY: usize = 8;

#[tokio::test]
async fn ten_thousand_users_due_at_the_start_are_synced_a_few_at_a_time_and_events_are_taken_meanwhile() {
    // Profile alone: what is shown does not depend on how many calls a sync makes.
    let mut town = Town::with(&[("SESAMY__DERIVE_TAGS", "false")]).await;
    town.service.kill().await;
    let mut file = Connection::open(town.queue_file()).unwrap();
    let transaction = file.transaction().unwrap();
    for number in 0..USERS {
        let id = format!("user{number}");
        town.sandbox.sesamy.put_user(user(&id).email(&address(&id)));
        let insert = "INSERT INTO users (user_id, generation, cause, due_at)
                      VALUES (?1, 1, 'userVendor.1#update', ?2)";
        transaction.execute(insert, (&id, 1_700_000_000_000_i64 + number as i64)).unwrap();
    }
    transaction.commit().unwrap();
    drop(file);

    let began = Instant::now();
    town.restart(&[("LOG__LEVEL", "info")]).await;
    let mut slowest = Duration::ZERO;
    let mut sent = 0;
    while town.sandbox.count(Route::Subscribe) < USERS as u64 {
        let synced = town.sandbox.count(Route::Subscribe);
        assert!(began.elapsed() < Duration::from_secs(900), "only {synced} are synced");
        let asked = Instant::now();
        assert_eq!(town.event("userVendor.1#update", &format!("user{sent}")).await, 202);
        slowest = slowest.max(asked.elapsed());
        sent += 1;
        tokio::time::sleep(Duration::from_millis(50)).await; // the pace of the events, not a wait for anything
    }
    town.settled().await;
    assert!(sent > 3, "events were sent meanwhile");
    assert!(slowest < Duration::from_secs(5), "a sender would have given up: {slowest:?}");
    assert!(most_memory(&town) < 100_000_000, "{}", most_memory(&town));

    // Every call lies within a sync, so no more calls than syncs can be under way.
    let mut edges: Vec<(Duration, i64)> = Vec::new();
    for call in town.sandbox.calls() {
        edges.extend([(call.came, 1), (call.ended, -1)]);
    }
    edges.sort();
    let mut at_once = 0;
    let most = edges
        .iter()
        .map(|(_, step)| {
            at_once += step;
            at_once
        })
        .max()
        .unwrap();
    assert!(most <= CONCURRENCY as i64, "{most} calls at once");
    assert_eq!(town.query("SELECT count(*) FROM users WHERE error IS NOT NULL"), Ok(0));
}
