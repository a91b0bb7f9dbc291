//! Several services on one Postgres use one account of each API: together they keep to its rate, and what an API tells
//! one of them holds for all.

use std::time::Duration;

use reqwest::StatusCode;
use serde_json::json;
use sesamy_mailmojo::sandbox::{Api, ComeAgain, Fault, RateLimit, Route, Rule};

use crate::support::faults::{address, people};
use crate::support::harness::{PATIENCE, Service, Town};
use crate::support::postgres::Database;

async fn event(service: &Service, user: &str) {
    let event = json!({"eventType": "userVendor.1#update", "userId": user});
    assert_eq!(service.post(&event).await, StatusCode::ACCEPTED);
}

async fn two_services(database: &Database, settings: &[(&str, &str)]) -> (Town, Service) {
    let at_once = [("QUEUE__URL", database.url()), ("SYNC__DEBOUNCE", "5ms")];
    let town = Town::with(&[&at_once, settings].concat()).await;
    let other = Service::start(town.settings()).await;
    (town, other)
}

#[tokio::test]
async fn two_replicas_together_keep_to_the_rate_that_one_of_them_is_allowed() {
    const USERS: usize = 30;
    let Some(database) = Database::create().await else { return };
    // What a service allows itself, and a little more; twice as much would be refused after the burst.
    let pace = [("SESAMY__REQUESTS_PER_MINUTE", "1140"), ("SESAMY__BURST", "30")];
    let (town, other) = two_services(&database, &pace).await;
    let allowed = RateLimit { per_minute: 1_200, burst: 40, retry_after_header: true };
    town.sandbox.sesamy.enforce(Some(allowed));
    let users: Vec<String> = (0..USERS).map(|number| format!("u{number}")).collect();
    people(&town, &users.iter().map(String::as_str).collect::<Vec<_>>());
    for (number, user) in users.iter().enumerate() {
        event(if number % 2 == 0 { &town.service } else { &other }, user).await;
    }
    database.settled().await;

    assert_eq!(town.sandbox.mailmojo.contacts().len(), USERS);
    let calls = town.sandbox.calls();
    let of_sesamy = calls.iter().filter(|call| call.api == Api::Sesamy && call.route != Route::Token);
    let statuses: Vec<_> = of_sesamy.map(|call| call.status).collect();
    assert_eq!(statuses.len(), 3 * USERS);
    assert!(!statuses.contains(&Some(429)), "Sesamy had to say so");
}

#[tokio::test]
async fn a_429_that_one_replica_meets_keeps_the_other_away_as_well() {
    let Some(database) = Database::create().await else { return };
    let (town, other) = two_services(&database, &[]).await;
    people(&town, &["first", "second"]);
    let refusal = Fault::too_many_requests(ComeAgain::Seconds(3));
    town.sandbox.mailmojo.inject(Rule::on(Route::ContactGet, refusal).times(1));
    event(&town.service, "first").await;
    let refused = |line: &serde_json::Value| line["outcome"] == "postponed";
    // Either of them may have taken the user; it is told before the lease is settled.
    tokio::select! {
        _ = town.service.output.wait_for("a sync that is put off", refused) => {}
        _ = other.output.wait_for("a sync that is put off", refused) => {}
    }
    for service in [&town.service, &other] {
        event(service, "second").await;
    }
    let both = |sandbox: &sesamy_mailmojo::sandbox::Sandbox| sandbox.mailmojo.contacts().len() == 2;
    town.sandbox.wait_until(PATIENCE, both).await.unwrap();
    database.settled().await;

    let calls = town.sandbox.calls();
    let refused = calls.iter().find(|call| call.status == Some(429)).unwrap().ended;
    let next = calls.iter().filter(|call| call.api == Api::Mailmojo && call.came > refused);
    let next = next.map(|call| call.came).min().unwrap() - refused;
    assert!(next >= Duration::from_millis(2_900), "{next:?} after a 429 for three seconds");
    assert!(town.sandbox.mailmojo.contact(&address("second")).is_some());
}
