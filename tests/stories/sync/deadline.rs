//! A whole sync has an end, paging and waiting for pace included, and no write is begun that might outlast it.

use std::time::Duration;

use reqwest::StatusCode;
use serde_json::{Value, json};
use sesamy_mailmojo::sandbox::{Fault, Route, Rule, Shape, contract, entitlement, user};

use crate::support::harness::Town;

const EVENT: &str = "userVendor.1#update";

/// The first line that tells of a failed sync of `user`.
async fn failure(town: &Town, user: &str) -> Value {
    let is_failure = |line: &Value| line["user_id"] == user && line["outcome"] == "failed";
    let line = town.service.output.wait_for("a failure", is_failure).await;
    assert_eq!(line["reason"], "transient", "{line}");
    line
}

#[tokio::test]
async fn a_sync_that_pages_too_long_is_tried_again_later() {
    let town = Town::with(&[("SYNC__DEADLINE", "1500ms"), ("SYNC__REQUEST_TIMEOUT", "500ms")]).await;
    town.sandbox.sesamy.answer_as(Shape::Envelope);
    town.sandbox.sesamy.set_page_cap(1);
    let rows = (0..40).map(|n| entitlement(&format!("e{n}"), &format!("plus {n}")));
    let kari = rows.fold(user("kari").email("kari@example.com"), |kari, row| kari.entitlement(row));
    town.sandbox.sesamy.put_user(kari);
    // No single call is too slow.
    town.sandbox.sesamy.inject(Rule::on(Route::Entitlements, Fault::Delay(Duration::from_millis(100))));

    assert_eq!(town.event(EVENT, "kari").await, StatusCode::ACCEPTED);
    let line = failure(&town, "kari").await;
    let ms = line["ms"].as_u64().unwrap();
    assert!((1_400..8_000).contains(&ms), "{line}");
    assert_eq!(town.sandbox.writes(), 0);

    town.sandbox.sesamy.clear_faults();
    town.sandbox.sesamy.set_page_cap(100);
    town.settled().await;
    assert_eq!(town.contact("kari@example.com").tags.len(), 80);
}

#[tokio::test]
async fn waiting_for_pace_is_part_of_a_sync() {
    // Two calls at once, and then one a minute; a sync needs three.
    let pace = [("SESAMY__REQUESTS_PER_MINUTE", "1"), ("SESAMY__BURST", "2")];
    let mut town =
        Town::with(&[&pace[..], &[("SYNC__DEADLINE", "600ms"), ("SYNC__REQUEST_TIMEOUT", "500ms")]].concat())
            .await;
    town.sandbox.sesamy.put_user(user("kari").email("kari@example.com"));
    assert_eq!(town.event(EVENT, "kari").await, StatusCode::ACCEPTED);
    let line = failure(&town, "kari").await;
    assert!((500..10_000).contains(&line["ms"].as_u64().unwrap()), "{line}");
    assert_eq!(town.sandbox.writes(), 0);

    town.crash_and_restart(&[("SESAMY__REQUESTS_PER_MINUTE", "6000"), ("SYNC__DEADLINE", "20s")]).await;
    town.settled().await;
    town.contact("kari@example.com");
}

#[tokio::test]
async fn no_write_is_begun_with_less_than_a_request_timeout_left() {
    let town = Town::with(&[("SYNC__DEADLINE", "2s"), ("SYNC__REQUEST_TIMEOUT", "1s")]).await;
    town.sandbox.sesamy.put_user(user("kari").email("kari@example.com").contract(contract("c1")));
    // Leave time enough to read the contact, and too little to write it.
    for route in [Route::Profile, Route::Contracts] {
        town.sandbox.sesamy.inject(Rule::on(route, Fault::Delay(Duration::from_millis(600))));
    }

    assert_eq!(town.event(EVENT, "kari").await, StatusCode::ACCEPTED);
    let refused = |line: &Value| line["error"].to_string().contains("no time is left for POST");
    let line = town.service.output.wait_for("a write that was not begun", refused).await;
    assert_eq!((&line["outcome"], &line["reason"]), (&json!("failed"), &json!("transient")));
    assert_eq!(town.sandbox.writes(), 0);

    town.sandbox.sesamy.clear_faults();
    town.settled().await;
    assert_eq!(town.sandbox.writes(), 1);
    town.contact("kari@example.com");
}
