//! Figures: every metric of the contract is there once the thing has happened, and none names a user.

use std::time::{Duration, Instant};

use sesamy_mailmojo::sandbox::{ComeAgain, Fault, Route, Rule, contact, user};

use crate::support::harness::{LIST, Town};
use crate::support::http::{ask, event, post, webhook};

/// The value of the series of `name` that has all of `labels`; none where there is none.
fn value(text: &str, name: &str, labels: &[(&str, &str)]) -> Option<f64> {
    let labels: Vec<_> = labels.iter().map(|(label, value)| format!("{label}=\"{value}\"")).collect();
    let line = text.lines().find(|line| {
        line.strip_prefix("sesamy_mailmojo_")
            .and_then(|line| line.strip_prefix(name))
            .is_some_and(|rest| rest.starts_with(['{', ' ']))
            && labels.iter().all(|label| line.contains(label))
    })?;
    line.rsplit(' ').next().unwrap().parse().ok()
}

/// One sync of each kind of end, so that one user is parked and one waits for a retry.
async fn syncs_that_end_in_each_way(town: &Town) {
    let (sesamy, mailmojo) = (&town.sandbox.sesamy, &town.sandbox.mailmojo);
    for name in ["kari", "ola", "liv", "per", "anne", "nils"] {
        sesamy.put_user(user(&format!("reader-{name}")).email(&format!("{name}@example.com")));
    }
    mailmojo.put_contact(contact("ola@example.com").on_list_as(LIST, "u"));
    mailmojo.inject(Rule::on(Route::Subscribe, Fault::status(422)).about("liv@example.com"));
    sesamy.inject(Rule::on(Route::Profile, Fault::status(500)).about("reader-per").times(1));
    for (user, outcome) in [
        ("reader-kari", "created"),
        ("reader-ola", "unchanged"),
        ("guest_reader", "skipped"),
        ("reader-liv", "parked"),
        ("reader-per", "failed"),
    ] {
        assert_eq!(town.event("contract.1#purchased", user).await, 202);
        let ended = |line: &serde_json::Value| line["user_id"] == user && line["outcome"] == outcome;
        town.service.output.wait_for(&format!("that {user} is {outcome}"), ended).await;
    }
}

#[tokio::test]
async fn every_metric_is_there_once_it_has_happened_and_none_names_a_user() {
    // One sync at a time, so that a held one keeps the next waiting; and a retry that is months away.
    let months = "5000h";
    let town = Town::with(&[
        ("SYNC__CONCURRENCY", "1"),
        ("SYNC__BACKOFF_BASE", months),
        ("SYNC__BACKOFF_CAP", months),
        ("SYNC__REQUEST_TIMEOUT", "60s"),
        ("SYNC__DEADLINE", "100s"),
    ])
    .await;
    syncs_that_end_in_each_way(&town).await;
    let gate = town.sandbox.sesamy.hold_for(Route::Profile, "reader-anne");
    assert_eq!(town.event("checkout.1#confirm", "reader-anne").await, 202);
    gate.arrived().await;
    assert_eq!(town.event("contract.1#update", "reader-nils").await, 202);
    ask(&town.service, webhook(r#"{"eventType":"reader-nils"}"#)).await.is_ignored_for("unknown_event_type");
    ask(&town.service, post("", event("contract.1#update", "reader-nils")))
        .await
        .is_problem(401, "unauthorized");
    ask(&town.service, webhook("reader-nils")).await.is_problem(400, "invalid-event");
    let due =
        "SELECT count(*) FROM users WHERE lease IS NULL AND due_at < unixepoch('now', 'subsec') * 1000 - 100";
    town.wait_for_queue(due, |rows| rows == 1).await;

    let counted = Instant::now();
    let text = town.service.metrics().await;
    for state in ["due", "leased", "failing", "parked"] {
        assert_eq!(value(&text, "queue_rows", &[("state", state)]), Some(1.0), "{state}\n{text}");
    }
    let waited = value(&text, "queue_oldest_due_seconds", &[]).unwrap();
    assert!((0.1..60.0).contains(&waited), "{waited}");
    for (result, event_type, count) in [
        ("accepted", "contract.1#purchased", 5.0),
        ("accepted", "checkout.1#confirm", 1.0),
        ("accepted", "contract.1#update", 1.0),
        ("ignored", "unknown", 1.0),
        ("unauthorized", "none", 1.0),
        ("invalid", "none", 1.0),
    ] {
        let labels = [("result", result), ("event_type", event_type)];
        assert_eq!(value(&text, "webhook_requests_total", &labels), Some(count), "{result}\n{text}");
    }
    for (outcome, reason) in [
        ("created", ""),
        ("unchanged", ""),
        ("skipped", "guest"),
        ("parked", "permanent"),
        ("failed", "transient"),
    ] {
        let labels = [("outcome", outcome), ("reason", reason)];
        assert_eq!(value(&text, "syncs_total", &labels), Some(1.0), "{outcome}\n{text}");
    }
    assert_eq!(value(&text, "sync_duration_seconds_count", &[]), Some(5.0), "{text}");
    assert_eq!(value(&text, "subscribe_withheld_total", &[("status", "u")]), Some(1.0), "{text}");
    for (api, route, status, count) in [
        ("sesamy", "/management/users/{id}", "500", 1.0),
        ("sesamy", "/management/users/{id}", "200", 3.0),
        ("mailmojo", "/v1/contacts/{email}/", "404", 2.0),
        ("mailmojo", "/v1/lists/{id}/subscribers/", "422", 1.0),
    ] {
        let labels = [("api", api), ("route", route), ("status", status)];
        assert_eq!(value(&text, "upstream_requests_total", &labels), Some(count), "{api} {status}\n{text}");
        let took = value(&text, "upstream_request_duration_seconds_count", &labels[..2]);
        assert!(took.is_some_and(|calls| calls >= count), "{route}\n{text}");
    }

    let rest = Fault::too_many_requests(ComeAgain::Seconds(600));
    town.sandbox.mailmojo.inject(Rule::on(Route::ContactGet, rest).times(1));
    gate.release();
    let postponed = |line: &serde_json::Value| line["outcome"] == "postponed";
    town.service.output.wait_for("that a sync is put off", postponed).await;
    let text = town.service.metrics().await;
    let resting = [("api", "mailmojo"), ("why", "rate_limit")];
    assert_eq!(value(&text, "upstream_resting", &resting), Some(1.0), "{text}");
    if counted.elapsed() < Duration::from_secs(15) {
        assert_eq!(value(&text, "queue_rows", &[("state", "leased")]), Some(1.0), "counted anew within 15 s");
    }
    for personal in ["reader", "kari", "@", "example.com"] {
        assert!(!text.contains(personal), "{personal} is in\n{text}");
    }
    let foreign = text.lines().find(|line| {
        let name = line.strip_prefix("# HELP ").or(line.strip_prefix("# TYPE ")).unwrap_or(line);
        !name.is_empty() && !name.starts_with("sesamy_mailmojo_")
    });
    assert_eq!(foreign, None);
}
