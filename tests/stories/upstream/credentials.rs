//! Credentials: tokens are shared and renewed; where they are refused the API rests, and no user pays for it.

use std::time::Duration;

use serde_json::json;
use sesamy_mailmojo::sandbox::{Fault, Mailmojo, Route, Rule, Sandbox};

use crate::support::faults::{address, api, calls, events, is_rest, lines_at, people, rests, synced, told};
use crate::support::harness::{PATIENCE, Town};

const AT_ONCE: (&str, &str) = ("SYNC__DEBOUNCE", "0s");
/// A rest for credentials that no story outlives.
const LONG_REST: (&str, &str) = ("SYNC__BACKOFF_CAP", "1h");
const ALL: [&str; 6] = ["a", "b", "c", "d", "e", "f"];

/// Mailmojo by client credentials instead of the fixed token.
const MAILMOJO_CLIENT: [(&str, &str); 4] = [
    ("MAILMOJO__API_TOKEN", ""),
    ("MAILMOJO__CLIENT_ID", Mailmojo::CLIENT_ID),
    ("MAILMOJO__CLIENT_SECRET", Mailmojo::CLIENT_SECRET),
    AT_ONCE,
];

#[tokio::test]
async fn a_token_is_fetched_once_for_all_syncs_and_once_more_when_it_is_refused() {
    let town = Town::with(&MAILMOJO_CLIENT).await;
    people(&town, &ALL);
    let tokens = town.sandbox.sesamy.hold(Route::Token);
    events(&town, &ALL).await;
    tokens.arrived().await;
    town.wait_for_queue("SELECT count(*) FROM users WHERE lease IS NOT NULL", |n| n == 6).await;
    tokens.release();
    town.settled().await;
    assert_eq!((town.sandbox.sesamy.tokens_issued(), town.sandbox.mailmojo.tokens_issued()), (1, 1));
    assert_eq!(town.sandbox.count(Route::Subscribe), 6, "with both scopes");

    // All six are refused at once, at both APIs, and nothing comes of it but one new token each.
    let together = town.sandbox.sesamy.hold(Route::Profile);
    events(&town, &ALL).await;
    together.arrivals(6).await;
    town.sandbox.sesamy.revoke_issued_tokens();
    town.sandbox.mailmojo.revoke_issued_tokens();
    together.release();
    town.settled().await;
    assert_eq!((town.sandbox.sesamy.tokens_issued(), town.sandbox.mailmojo.tokens_issued()), (2, 2));
    let refused = calls(&town, 7, |call| call.status == Some(401)).await;
    assert_eq!(refused.iter().filter(|call| call.route == Route::Profile).count(), 6);
    for user in ALL {
        assert_eq!(told(&town, user, "outcome"), ["created", "unchanged"]);
    }
    assert!(town.service.output.lines().iter().all(|line| !is_rest(line)));
}

#[tokio::test]
async fn a_token_is_renewed_before_it_ends() {
    // The tokens are good for a day: only what is told of them can be why they are renewed.
    let short = Fault::edit(|token| token["expires_in"] = json!(1));
    let prepare = |sandbox: &Sandbox| sandbox.sesamy.inject(Rule::on(Route::Token, short).times(1));
    let town = Town::before_start(&[AT_ONCE], prepare).await;
    people(&town, &["a"]);
    while town.sandbox.sesamy.tokens_issued() < 2 {
        town.sync("a").await;
        assert!(town.service.output.syncs_of("a").len() < 1_000, "the token is never renewed");
    }
    let tokens = town.sandbox.calls_to(Route::Token);
    assert!(tokens[1].came - tokens[0].ended > Duration::from_millis(500), "renewed as soon as it came");
    let syncs = town.service.output.syncs_of("a").len();
    for _ in 0..3 {
        town.sync("a").await; // the second token is good for a day
    }
    assert_eq!(town.sandbox.sesamy.tokens_issued(), 2);
    assert!(syncs > 1 && town.sandbox.calls().iter().all(|call| call.status != Some(401)));
}

#[tokio::test]
async fn a_token_whose_life_is_told_oddly_is_good_until_it_is_refused() {
    let town = Town::with(&[AT_ONCE]).await;
    people(&town, &["a"]);
    town.sync("a").await;
    for life in
        [json!("86400"), json!(86400.5), json!(0), json!(-1), json!("soon"), json!(1e300), json!(null)]
    {
        let before = town.sandbox.sesamy.tokens_issued();
        town.sandbox.sesamy.revoke_issued_tokens();
        let told = life.clone();
        let odd = Fault::edit(move |token| token["expires_in"] = told.clone());
        town.sandbox.sesamy.inject(Rule::on(Route::Token, odd).times(1));
        for _ in 0..2 {
            assert_eq!(town.sync_told("a").await["outcome"], "unchanged", "{life}");
        }
        assert_eq!(town.sandbox.sesamy.tokens_issued(), before + 1, "{life}");
    }
    assert!(town.service.output.lines().iter().all(|line| !is_rest(line)));
}

#[tokio::test]
async fn a_403_rests_with_one_probe_at_a_time_each_with_another_user_and_heals_by_itself() {
    let four = ["a", "b", "c", "d"];
    let town = Town::with(&[AT_ONCE, ("SYNC__BACKOFF_CAP", "300ms"), ("SYNC__MAX_ATTEMPTS", "1")]).await;
    people(&town, &four);
    let forbidden = Fault::status(403).message("no scope for kari@example.com");
    town.sandbox.mailmojo.inject(Rule::on(Route::ContactGet, forbidden));
    let together = town.sandbox.mailmojo.hold(Route::ContactGet);
    events(&town, &four).await;
    together.arrivals(4).await;
    together.release();

    let asked = calls(&town, 8, |call| call.route == Route::ContactGet).await;
    let (wave, probes) = asked.split_at(4);
    let mut whom: Vec<_> = probes[..4].iter().map(|call| call.subject.clone().unwrap()).collect();
    whom.sort();
    assert_eq!(whom, four.map(address), "each probe is another user's");
    let mut before = wave.iter().map(|call| call.ended).max().unwrap();
    for probe in &probes[..4] {
        assert!(probe.came - before >= Duration::from_millis(290), "a rest for sync.backoff_cap between");
        before = probe.ended;
    }
    let state = api(&town, "mailmojo").await;
    assert_eq!(state["why"], "credentials", "{state}");
    assert!(state["state"] == "resting" || state["state"] == "probing", "{state}");
    let gauge = r#"sesamy_mailmojo_upstream_resting{api="mailmojo",why="credentials"} "#;
    assert!(town.service.metrics().await.contains(&format!("{gauge}1")));
    let errors = lines_at(&town, "ERROR");
    assert_eq!(errors.len(), 1, "{errors:?}");
    let message = errors[0]["message"].as_str().unwrap();
    assert!(message.contains("GET /v1/contacts/{email}/ was answered 403"), "{message}");
    assert!(message.contains("check the token or client credentials and their scopes"), "{message}");

    town.sandbox.mailmojo.clear_faults();
    town.settled().await;
    for user in four {
        synced(&town, user, "created", 1).await;
        assert!(told(&town, user, "attempt").iter().all(|attempt| attempt == 1));
        assert!(told(&town, user, "outcome").iter().all(|it| it == "postponed" || it == "created"));
    }
    assert_eq!(api(&town, "mailmojo").await["state"], "ok");
    assert!(town.service.metrics().await.contains(&format!("{gauge}0")));
    let again = |line: &serde_json::Value| line["message"] == "the API answers again";
    assert_eq!(town.service.output.wait_for("the end of the rest", again).await["why"], "credentials");
}

#[tokio::test]
async fn a_second_401_is_as_a_403_and_a_fixed_token_has_no_second() {
    let town = Town::with(&[AT_ONCE, LONG_REST]).await;
    people(&town, &["a"]);
    town.sandbox.sesamy.inject(Rule::on(Route::Profile, Fault::status(401)).times(2));
    events(&town, &["a"]).await;
    rests(&town, "sesamy", "credentials").await;
    assert_eq!(town.sandbox.count(Route::Profile), 2);
    assert_eq!(town.sandbox.sesamy.tokens_issued(), 2, "one new token, and no third");

    let town = Town::with(&[AT_ONCE, LONG_REST]).await;
    people(&town, &["a"]);
    town.sandbox.mailmojo.revoke_token(Mailmojo::FIXED_TOKEN);
    events(&town, &["a"]).await;
    synced(&town, "a", "postponed", 1).await;
    assert_eq!(api(&town, "mailmojo").await["why"], "credentials");
    assert_eq!(api(&town, "sesamy").await["state"], "ok");
    assert_eq!(town.sandbox.count(Route::ContactGet), 1);
}

#[tokio::test]
async fn a_token_endpoint_that_refuses_is_about_credentials_and_any_other_failure_is_an_outage() {
    let short = [AT_ONCE, ("SYNC__REQUEST_TIMEOUT", "1s"), ("SYNC__BACKOFF_CAP", "30ms")];
    let town = Town::with(&short).await;
    people(&town, &["a"]);
    let status = |status: u16| -> Fault { Fault::status(status).into() };
    let invalid = json!({"error": "invalid_client", "error_description": "ask kari@example.com"});
    let (refused, down) = ("credentials", "outage");
    let not_json = "the token endpoint's answer is not the JSON of a token";
    let other_host = Fault::status(307).header("Location", "http://127.0.0.1:9/oauth/token");
    let table: Vec<(Fault, &str, &str)> = vec![
        (
            Fault::status(401).json(invalid).into(),
            "the token endpoint answered 401 (invalid_client)",
            refused,
        ),
        (status(400), "the token endpoint answered 400", refused),
        (status(403), "the token endpoint answered 403", refused),
        (Fault::status(404).html().into(), "the token endpoint answered 404", down),
        (status(429), "the token endpoint answered 429", "rate_limit"),
        (status(500), "the token endpoint answered 500", down),
        (other_host.into(), "the token endpoint answered 307", "configuration"),
        (Fault::status(200).html().into(), not_json, down),
        (Fault::wrong_shape(json!({"token": "x"})), not_json, down),
        (Fault::wrong_shape(json!({"access_token": "x\r\ny"})), "token cannot be sent in a header", down),
        (Fault::wrong_shape(json!({"access_token": ""})), "token cannot be sent in a header", down),
        (Fault::CutJson, not_json, down),
        (Fault::Close, "the token endpoint did not answer: the connection failed", down),
        (Fault::Hang, "the token endpoint did not answer: no answer within the time limit", down),
    ];
    for (at, (fault, told, why)) in table.into_iter().enumerate() {
        town.sandbox.sesamy.revoke_issued_tokens();
        town.sandbox.sesamy.inject(Rule::on(Route::Token, fault).times(1));
        town.sync("a").await;
        let line = town.service.output.wait_for_nth(at + 1, told, is_rest).await;
        assert!(line["message"].as_str().unwrap().contains(told), "{told:?} is not in {line}");
        let level = if why == "rate_limit" { "WARN" } else { "ERROR" };
        assert_eq!((&line["level"], &line["why"]), (&level.into(), &why.into()), "{told}");
    }
    assert!(told(&town, "a", "attempt").iter().all(|attempt| attempt == 1));
    assert!(told(&town, "a", "outcome").iter().all(|outcome| outcome != "failed" && outcome != "parked"));
}

#[tokio::test]
async fn a_sync_without_time_for_a_token_is_late_by_itself_and_lets_no_api_rest() {
    let settings = [AT_ONCE, LONG_REST, ("SYNC__REQUEST_TIMEOUT", "1s"), ("SYNC__DEADLINE", "1100ms")];
    let town = Town::with(&settings).await;
    people(&town, &["late", "other"]);
    // The profile takes its time, the token has ended by then, and less is left than the next one may take.
    let ended = Fault::edit(|token| token["expires_in"] = json!(0));
    town.sandbox.sesamy.inject(Rule::on(Route::Token, ended).times(1));
    town.sandbox.sesamy.inject(Rule::on(Route::Profile, Fault::Delay(Duration::from_millis(300))).times(1));
    events(&town, &["late"]).await;

    let line = synced(&town, "late", "failed", 1).await;
    assert_eq!((&line["reason"], &line["attempt"]), (&"transient".into(), &1.into()), "{line}");
    assert_eq!(api(&town, "sesamy").await["state"], "ok");
    events(&town, &["other"]).await;
    synced(&town, "other", "created", 1).await;
}

#[tokio::test]
async fn a_start_ends_a_rest_for_those_too_who_ran_into_it() {
    let mut town = Town::with(&[AT_ONCE, LONG_REST]).await;
    people(&town, &["refused", "waiting"]);
    town.sandbox.mailmojo.revoke_token(Mailmojo::FIXED_TOKEN);
    events(&town, &["refused"]).await;
    synced(&town, "refused", "postponed", 1).await;
    events(&town, &["waiting"]).await;
    town.sandbox.mailmojo.accept_token("the-new-token", &["contacts", "subscribe"]);
    town.crash_and_restart(&[("MAILMOJO__API_TOKEN", "the-new-token")]).await;
    let both = |sandbox: &Sandbox| sandbox.mailmojo.contacts().len() == 2;
    town.sandbox.wait_until(PATIENCE, both).await.expect("nobody waits for the end of a rest that is over");
    town.settled().await;
    for user in ["refused", "waiting"] {
        assert_eq!(told(&town, user, "attempt"), [1]);
    }
}

#[tokio::test]
async fn one_user_who_is_refused_time_and_again_is_parked_and_costs_the_others_nothing() {
    let quick = [
        AT_ONCE,
        ("SYNC__BACKOFF_BASE", "10ms"),
        ("SYNC__BACKOFF_CAP", "300ms"),
        ("SYNC__MAX_ATTEMPTS", "3"),
    ];
    for status in [403, 301, 405, 415] {
        let town = Town::with(&quick).await;
        people(&town, &ALL);
        people(&town, &["odd"]);
        town.sandbox.sesamy.inject(Rule::on(Route::Profile, Fault::status(status)).about("odd"));
        events(&town, &["odd"]).await;
        town.service.output.wait_for("an open circuit", is_rest).await;

        // Another user gets through, so it is this one, and not the credentials or the address.
        events(&town, &["a"]).await;
        synced(&town, "a", "created", 1).await;
        synced(&town, "odd", "failed", 1).await;
        events(&town, &["b"]).await;
        let line = synced(&town, "odd", "parked", 1).await;
        assert_eq!((&line["reason"], &line["level"]), (&"permanent".into(), &"ERROR".into()), "{status}");
        events(&town, &ALL[2..]).await;
        town.settled().await;
        for user in ALL {
            assert_eq!(told(&town, user, "outcome"), ["created"], "{status}: {user} had to wait");
        }
        assert_eq!(town.service.output.lines().iter().filter(|line| is_rest(line)).count(), 1, "{status}");
        assert_eq!(api(&town, "sesamy").await["state"], "ok");
    }
}
