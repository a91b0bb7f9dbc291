//! An event that is quicker than Sesamy's API: the user is not there yet, is looked for again, and is created then.

use reqwest::StatusCode;
use serde_json::{Value, json};
use sesamy_mailmojo::sandbox::{contract, user};

use crate::support::faults::{address, time_passes, told};
use crate::support::harness::{LIST, Town};

const EVENT: &str = "userVendor.1#new";
const MINUTE: i64 = 60;

/// So much time passes for the only user.
fn passes(town: &Town, seconds: i64) {
    time_passes(town, seconds * 1_000);
}

/// Waits for the `nth` sync of the only user, who is not known; how many seconds after the event the next one is.
async fn next_after(town: &Town, nth: usize) -> Option<i64> {
    let line = town.end_of_sync("kari", nth).await;
    assert_eq!((&line["outcome"], &line["reason"]), (&json!("skipped"), &json!("user_not_found")), "{nth}");
    town.settled().await;
    let after = town.query("SELECT coalesce(check_at - missing_since, -1) FROM users").unwrap();
    (after >= 0).then_some(after / 1_000)
}

#[tokio::test]
async fn a_user_who_is_there_an_hour_after_the_event_is_created_by_it() {
    let town = Town::start().await;
    assert_eq!(town.event(EVENT, "kari").await, StatusCode::ACCEPTED);
    assert_eq!(next_after(&town, 1).await, Some(MINUTE));
    passes(&town, MINUTE);
    assert_eq!(next_after(&town, 2).await, Some(10 * MINUTE));
    passes(&town, 9 * MINUTE);
    assert_eq!(next_after(&town, 3).await, Some(60 * MINUTE));

    town.sandbox.sesamy.put_user(user("kari").email(&address("kari")).contract(contract("c1")));
    passes(&town, 50 * MINUTE);
    let line = town.end_of_sync("kari", 4).await;
    assert_eq!((&line["outcome"], &line["event_type"]), (&json!("created"), &json!(EVENT)));
    let kari = town.contact(&address("kari"));
    assert_eq!((kari.list_status(LIST), kari.sesamy_tags()), (Some("a"), vec!["sesamy_active_subscriber"]));
    town.settled().await;
    assert_eq!(town.query("SELECT count(*) FROM users WHERE check_cause = 'drift'"), Ok(1));
}

#[tokio::test]
async fn a_user_who_never_comes_is_looked_for_for_a_day_and_again_with_the_next_event() {
    let town = Town::start().await;
    assert_eq!(town.event(EVENT, "kari").await, StatusCode::ACCEPTED);
    assert_eq!(next_after(&town, 1).await, Some(MINUTE));
    passes(&town, 60 * MINUTE); // a service that was down meanwhile
    assert_eq!(next_after(&town, 2).await, Some(24 * 60 * MINUTE));
    passes(&town, 23 * 60 * MINUTE);
    assert_eq!(next_after(&town, 3).await, None);

    passes(&town, 48 * 60 * MINUTE);
    assert_eq!(town.event("contract.1#purchased", "kari").await, StatusCode::ACCEPTED);
    assert_eq!(next_after(&town, 4).await, Some(MINUTE), "from this event on");
    let causes: Vec<Value> = [EVENT, EVENT, EVENT, "contract.1#purchased"].map(Value::from).into();
    assert_eq!(told(&town, "kari", "event_type"), causes);
    assert_eq!(town.sandbox.writes(), 0);
}
