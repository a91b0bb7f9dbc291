//! Bursts: many events of one user cost few syncs, none that comes during a sync is lost, and no two syncs of one user
//! ever overlap.

use std::time::{Duration, Instant};

use reqwest::StatusCode;
use serde_json::json;
use sesamy_mailmojo::sandbox::{Call, Fault, Route, Rule, contract, entitlement, user};

use crate::support::harness::Town;

const EVENT: &str = "userVendor.1#update";
const SUBSCRIBER: &str = "sesamy_active_subscriber";

#[tokio::test]
async fn the_four_events_of_a_purchase_cost_one_sync_and_leave_one_row() {
    const DEBOUNCE: Duration = Duration::from_secs(1);
    let town = Town::with(&[("SYNC__DEBOUNCE", "1s")]).await;
    town.sandbox.sesamy.put_user(user("u1").email("kari@example.com").contract(contract("c1")));

    let began = Instant::now();
    let events = ["userVendor.1#update", "contract.1#purchased", "entitlement.1#new", "checkout.1#confirm"];
    for (vendor, event) in events.into_iter().enumerate() {
        // The vendor is no part of the key.
        let event = json!({"eventType": event, "vendorId": format!("vendor_{vendor}"), "userId": "u1"});
        assert_eq!(town.service.post(&event).await, StatusCode::ACCEPTED);
    }
    let in_one_window = began.elapsed() < DEBOUNCE;
    town.settled().await;

    let syncs = town.sandbox.count(Route::Profile);
    assert!(syncs == 1 || (syncs == 2 && !in_one_window), "{syncs} syncs");
    assert_eq!(town.sandbox.writes(), 1);
    let syncs = town.service.output.syncs_of("u1");
    assert_eq!(syncs.last().unwrap()["event_type"], "checkout.1#confirm");
    assert_eq!(town.query("SELECT count(*) FROM users").unwrap(), 1, "the row of a known user stays");
    let row = "SELECT generation FROM users WHERE user_id = 'u1' AND due_at IS NULL";
    assert_eq!(town.query(row).unwrap(), 4);
}

#[tokio::test]
async fn later_events_do_not_push_a_due_row_away_but_may_bring_it_nearer() {
    let mut town = Town::with(&[("SYNC__DEBOUNCE", "1h")]).await;
    town.sandbox.sesamy.put_user(user("u1").email("kari@example.com"));
    let due = |town: &Town| town.query("SELECT due_at FROM users").unwrap();

    assert_eq!(town.event(EVENT, "u1").await, StatusCode::ACCEPTED);
    let first = due(&town);
    for _ in 0..3 {
        assert_eq!(town.event(EVENT, "u1").await, StatusCode::ACCEPTED);
        assert_eq!(due(&town), first, "a later event moved it");
    }
    assert_eq!(town.query("SELECT generation FROM users").unwrap(), 4);
    assert_eq!(town.sandbox.count(Route::Profile), 0);

    town.crash_and_restart(&[]).await;
    assert_eq!(due(&town), first, "a start moved it");
    town.crash_and_restart(&[("SYNC__DEBOUNCE", "50ms")]).await;
    town.sync("u1").await;
    assert_eq!(town.sandbox.count(Route::Profile), 1);
    assert!(town.sandbox.mailmojo.contact("kari@example.com").is_some());
}

#[tokio::test]
async fn an_event_that_comes_during_a_sync_is_not_lost() {
    let town = Town::start().await;
    town.sandbox.sesamy.put_user(user("u1").email("kari@example.com"));
    let told = town.sandbox.sesamy.hold_answer(Route::Profile);
    assert_eq!(town.event(EVENT, "u1").await, StatusCode::ACCEPTED);
    told.arrived().await; // this sync has been told of a profile without the tag
    let leased_until = town.query("SELECT due_at FROM users WHERE lease IS NOT NULL").unwrap();

    town.sandbox.sesamy.set_field("u1", "tags", json!(["Early bird"]));
    assert_eq!(town.event("contract.1#purchased", "u1").await, StatusCode::ACCEPTED);
    assert_eq!(
        town.query("SELECT due_at FROM users WHERE lease IS NOT NULL AND generation = 2").unwrap(),
        leased_until,
        "an event changes nothing but the generation of a leased row"
    );
    told.release();
    town.settled().await;

    assert_eq!(town.contact("kari@example.com").tags, ["sesamy_tag_early-bird"]);
    let outcomes: Vec<_> =
        town.service.output.syncs_of("u1").iter().map(|sync| sync["outcome"].clone()).collect();
    assert_eq!(outcomes, ["created", "updated"]);
}

#[tokio::test]
async fn an_event_during_a_sync_that_fails_brings_another_one_at_once() {
    // Without the event, the one would be tried again within an hour and the other be parked.
    let town = Town::with(&[("SYNC__BACKOFF_BASE", "1h"), ("SYNC__BACKOFF_CAP", "1h")]).await;
    for (name, fault) in [("kari", Fault::status(503)), ("ola", Fault::status(422))] {
        let email = format!("{name}@example.com");
        town.sandbox.sesamy.put_user(user(name).email(&email).contract(contract("c1")));
        town.sandbox.mailmojo.inject(Rule::on(Route::ContactGet, fault).about(&email).times(1));
    }
    let gate = town.sandbox.mailmojo.hold(Route::ContactGet);
    for user in ["kari", "ola"] {
        assert_eq!(town.event(EVENT, user).await, StatusCode::ACCEPTED);
    }
    gate.arrivals(2).await;
    for user in ["kari", "ola"] {
        assert_eq!(town.event("contract.1#update", user).await, StatusCode::ACCEPTED);
    }
    gate.release();
    town.settled().await;

    assert_eq!(town.query("SELECT count(*) FROM users WHERE parked_at IS NOT NULL").unwrap(), 0);
    for name in ["kari", "ola"] {
        assert_eq!(town.contact(&format!("{name}@example.com")).tags, [SUBSCRIBER]);
        assert_eq!(town.service.output.syncs_of(name).len(), 2);
    }
}

#[tokio::test]
async fn a_parked_user_is_revived_by_the_next_event_with_no_attempts_counted() {
    let town = Town::with(&[("SYNC__MAX_ATTEMPTS", "2")]).await;
    town.sandbox.sesamy.put_user(user("kari").email("kari@example.com"));
    town.sandbox.sesamy.put_user(user("ola").email("ola@example.com"));
    let fault = Rule::on(Route::ContactGet, Fault::status(500)).about("kari@example.com");
    town.sandbox.mailmojo.inject(fault);

    assert_eq!(town.event(EVENT, "kari").await, StatusCode::ACCEPTED);
    let output = town.service.output.clone();
    let failed = |line: &serde_json::Value| line["user_id"] == "kari" && line["outcome"] == "failed";
    output.wait_for("the first failure", failed).await;
    assert_eq!(town.event(EVENT, "ola").await, StatusCode::ACCEPTED); // others succeed: it is kari's own fault
    town.parked(1).await;
    assert!(town.query("SELECT attempts FROM users WHERE user_id = 'kari'").unwrap() > 0);
    let before = output.syncs_of("kari");
    assert_eq!(before.last().unwrap()["outcome"], "parked");

    assert_eq!(town.event(EVENT, "kari").await, StatusCode::ACCEPTED);
    output.wait_for_nth(before.len(), "a failure after the parking", failed).await;
    let revived = &output.syncs_of("kari")[before.len()];
    assert_eq!((&revived["outcome"], &revived["attempt"]), (&json!("failed"), &json!(1)));
    town.sandbox.mailmojo.clear_faults();
    town.settled().await;
    town.contact("kari@example.com");
    assert_eq!(town.query("SELECT attempts FROM users WHERE user_id = 'kari' AND error IS NULL").unwrap(), 0);
}

#[tokio::test]
async fn no_two_syncs_of_a_user_overlap_in_a_storm_of_events() {
    const USERS: [&str; 3] = ["kari", "ola", "liv"];
    const EVENTS: usize = 120;
    let town = Town::with(&[("SYNC__DEBOUNCE", "0s"), ("SYNC__CONCURRENCY", "8")]).await;
    for name in USERS {
        town.sandbox.sesamy.put_user(user(name).email(&format!("{name}@example.com")));
    }
    // Long enough for events to come during every sync.
    town.sandbox.mailmojo.inject(Rule::on(Route::ContactGet, Fault::Delay(Duration::from_millis(20))));

    let storm = USERS.map(|name| {
        let town = &town;
        async move {
            for n in 0..EVENTS {
                town.sandbox.sesamy.set_entitlements(name, [entitlement("e", &format!("plus {n}"))]);
                assert_eq!(town.event(EVENT, name).await, StatusCode::ACCEPTED);
            }
        }
    });
    futures_util::future::join_all(storm).await;
    town.settled().await;

    let last = EVENTS - 1;
    for name in USERS {
        let tags = town.contact(&format!("{name}@example.com")).tags;
        assert_eq!(
            tags,
            [format!("sesamy_active_entitlement_plus-{last}"), format!("sesamy_active_sku_plus-{last}")]
        );
        let syncs = town.service.output.syncs_of(name).len();
        assert!(1 < syncs && syncs < EVENTS, "{syncs} syncs for {EVENTS} events");
    }
    assert_eq!(town.query("SELECT count(*) FROM users").unwrap(), 3);
    town.sandbox.assert_no_findings(); // an overlap is one
}

#[tokio::test]
async fn users_are_synced_side_by_side_up_to_the_limit() {
    let town = Town::with(&[("SYNC__CONCURRENCY", "8")]).await;
    let names: Vec<String> = (0..20).map(|n| format!("u{n}")).collect();
    let gate = town.sandbox.sesamy.hold(Route::Profile);
    for name in &names {
        town.sandbox.sesamy.put_user(user(name).email(&format!("{name}@example.com")));
        assert_eq!(town.event(EVENT, name).await, StatusCode::ACCEPTED);
    }
    gate.arrivals(8).await; // all of them at once
    town.wait_for_queue("SELECT count(*) FROM users WHERE due_at <= unixepoch('subsec') * 1000", |due| {
        due == 12
    })
    .await;
    assert_eq!(town.query("SELECT count(*) FROM users WHERE lease IS NOT NULL").unwrap(), 8);
    assert_eq!(town.sandbox.in_flight(), 8);
    gate.release();
    town.settled().await;

    assert_eq!(town.sandbox.mailmojo.contacts().len(), names.len());
    assert_eq!(most_at_once(&town.sandbox.calls_to(Route::Profile)), 8);
}

/// How many of `calls` were in flight together, at the most.
fn most_at_once(calls: &[Call]) -> usize {
    let together =
        |call: &Call| calls.iter().filter(|it| it.came <= call.came && call.came < it.ended).count();
    calls.iter().map(together).max().unwrap_or_default()
}
