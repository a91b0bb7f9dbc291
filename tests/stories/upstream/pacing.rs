//! Pacing: the service keeps to the published rate by itself, and is never told to.

use std::time::Duration;

use sesamy_mailmojo::sandbox::{Api, RateLimit, entitlement, user};

use crate::support::faults::{events, is_rest, people, told};
use crate::support::harness::Town;

/// Everything published, twelve times as fast and with a fifth of the burst: 100 a minute with 200 at once is what
/// Sesamy allows, 95 with 150 what the service allows itself.
const ALLOWED: RateLimit = RateLimit { per_minute: 1_200, burst: 40, retry_after_header: true };
const PACE: [(&str, &str); 3] =
    [("SESAMY__REQUESTS_PER_MINUTE", "1140"), ("SESAMY__BURST", "30"), ("SYNC__DEBOUNCE", "0s")];

#[tokio::test]
async fn a_crowd_of_events_is_worked_off_at_the_published_rate_without_a_single_429() {
    const USERS: usize = 24;
    let town = Town::with(&PACE).await;
    town.sandbox.sesamy.enforce(Some(ALLOWED));
    let all: Vec<String> = (0..USERS).map(|n| format!("u{n}")).collect();
    let all: Vec<&str> = all.iter().map(String::as_str).collect();
    people(&town, &all);
    events(&town, &all).await;
    town.settled().await;

    let calls = town.sandbox.calls();
    assert!(calls.iter().all(|call| call.status != Some(429)), "Sesamy had to say so");
    assert!(town.service.output.lines().iter().all(|line| !is_rest(line)));
    assert_eq!(town.sandbox.mailmojo.contacts().len(), USERS);

    // Three calls a user; those after the burst come one every 52 ms. It would go faster if nobody held them up.
    let came: Vec<Duration> = calls
        .iter()
        .filter(|call| call.api == Api::Sesamy && call.target.starts_with("/management/"))
        .map(|call| call.came)
        .collect();
    assert_eq!(came.len(), 3 * USERS);
    let took = *came.iter().max().unwrap() - *came.iter().min().unwrap();
    assert!(took >= Duration::from_millis(2_000), "72 calls in {took:?}");
}

#[tokio::test]
async fn nobody_runs_out_of_time_waiting_for_a_turn_however_many_are_synced_at_a_time() {
    const USERS: usize = 16;
    // Ten calls a second are three syncs a second: of 64 begun at once, most would wait longer than a sync may take.
    let slow = [
        ("SESAMY__REQUESTS_PER_MINUTE", "600"),
        ("SESAMY__BURST", "3"),
        ("SYNC__CONCURRENCY", "64"),
        ("SYNC__DEADLINE", "3s"),
        ("SYNC__DEBOUNCE", "0s"),
    ];
    let town = Town::with(&slow).await;
    let all: Vec<String> = (0..USERS).map(|n| format!("u{n}")).collect();
    let all: Vec<&str> = all.iter().map(String::as_str).collect();
    people(&town, &all);
    events(&town, &all).await;
    town.settled().await;
    for user in all {
        assert_eq!(told(&town, user, "outcome"), ["created"]);
    }
}

#[tokio::test]
async fn a_long_list_is_read_on_while_others_wait_for_their_turn() {
    // 5 pages of entitlements are more calls than a sync begins with; they must not starve behind new syncs.
    let slow = [
        ("SESAMY__REQUESTS_PER_MINUTE", "600"),
        ("SESAMY__BURST", "3"),
        ("SYNC__DEADLINE", "6s"),
        ("SYNC__DEBOUNCE", "0s"),
    ];
    let town = Town::with(&slow).await;
    let reader = (0..420).fold(user("reader").email("reader@example.com"), |user, n| {
        user.entitlement(entitlement(&format!("e{n}"), "story").kind("article"))
    });
    town.sandbox.sesamy.put_user(reader);
    let others: Vec<String> = (0..12).map(|n| format!("u{n}")).collect();
    let others: Vec<&str> = others.iter().map(String::as_str).collect();
    people(&town, &others);
    events(&town, &["reader"]).await;
    events(&town, &others).await;
    town.settled().await;
    assert_eq!(told(&town, "reader", "outcome"), ["created"]);
}
