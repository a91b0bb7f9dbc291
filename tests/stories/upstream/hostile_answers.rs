//! Answers that would wear the service out: dripped, huge, never ending, all headers. Each call and each sync has an end,
//! memory is bounded, nobody is parked, and other users go on meanwhile.

use std::time::Duration;

use sesamy_mailmojo::sandbox::{Fault, Route, Rule};

use crate::support::faults::{address, events, forget_memory, is_rest, most_memory, people, synced, told};
use crate::support::harness::Town;

const EIGHT: [&str; 8] = ["a", "b", "c", "d", "e", "f", "g", "h"];
const MEGABYTE: u64 = 1_000_000;

#[tokio::test]
async fn an_api_that_drips_a_byte_a_second_is_cut_off_by_the_limit_of_a_call_and_holds_up_nobody_else() {
    let settings = [("SYNC__DEBOUNCE", "0s"), ("SYNC__REQUEST_TIMEOUT", "5s"), ("SYNC__CONCURRENCY", "2")];
    for route in [Route::Profile, Route::ContactGet] {
        let town = Town::with(&settings).await;
        people(&town, &["dripped"]);
        people(&town, &EIGHT);
        let subject = if route == Route::Profile { "dripped".to_owned() } else { address("dripped") };
        let rule = Rule::on(route, Fault::Drip(Duration::from_secs(1))).about(&subject).times(1);
        if route == Route::Profile {
            town.sandbox.sesamy.inject(rule)
        } else {
            town.sandbox.mailmojo.inject(rule)
        };
        events(&town, &["dripped"]).await;
        events(&town, &EIGHT).await;

        let line = synced(&town, "dripped", "failed", 1).await;
        assert!(line["error"].as_str().unwrap().contains("no answer within the time limit"), "{line}");
        let ms = line["ms"].as_u64().unwrap();
        assert!((4_950..20_000).contains(&ms), "{line}");
        town.settled().await;
        town.contact(&address("dripped"));
        for user in EIGHT {
            assert_eq!(told(&town, user, "outcome"), ["created"]);
        }
        // The eight were through before the one call was given up.
        let lines = town.service.output.lines();
        let at =
            |user: &str| lines.iter().position(|line| line["user_id"] == user && line["outcome"].is_string());
        assert!(EIGHT.iter().all(|user| at(user) < at("dripped")), "{lines:?}");
    }
}

#[tokio::test]
async fn a_token_endpoint_that_drips_a_byte_a_second_is_cut_off_too() {
    let settings =
        [("SYNC__DEBOUNCE", "0s"), ("SYNC__REQUEST_TIMEOUT", "1s"), ("SYNC__BACKOFF_CAP", "200ms")];
    let town = Town::with(&settings).await;
    people(&town, &["a"]);
    town.sandbox.sesamy.inject(Rule::on(Route::Token, Fault::Drip(Duration::from_secs(1))).times(1));
    events(&town, &["a"]).await;
    let line = synced(&town, "a", "postponed", 1).await;
    assert!((950..8_000).contains(&line["ms"].as_u64().unwrap()), "{line}");
    town.settled().await;
    town.contact(&address("a"));
}

/// As many at once as are synced at a time. The answer that never ends does not even slow down.
#[tokio::test]
async fn an_answer_of_a_hundred_megabytes_or_without_an_end_costs_little_memory() {
    for size in [100 * 1024 * 1024, usize::MAX] {
        let town = Town::with(&[("SYNC__DEBOUNCE", "0s")]).await;
        people(&town, &EIGHT);
        town.sync_all(EIGHT).await;
        town.sandbox.clear_calls();
        for user in EIGHT {
            town.sandbox
                .mailmojo
                .inject(Rule::on(Route::ContactGet, Fault::Huge(size)).about(&address(user)).times(1));
        }
        forget_memory(&town);
        let before = most_memory(&town);
        events(&town, &EIGHT).await;
        town.settled().await;
        let grown = most_memory(&town) - before;
        // Eight of the longest that are read, each in a buffer that has doubled.
        assert!(grown < 150 * MEGABYTE, "{grown} bytes more than {before}");
        let lines = town.service.output.lines();
        let failed = lines
            .iter()
            .filter(|line| line["error"].as_str().is_some_and(|error| error.contains("longer than")));
        assert_eq!(failed.count(), 8);
        assert_eq!(town.query("SELECT count(*) FROM users WHERE parked_at IS NOT NULL"), Ok(0));
        assert_eq!(town.sandbox.writes(), 0);
    }
}

/// What is small on the wire may be large in memory: a short number takes many times its bytes once it is read.
#[tokio::test]
async fn an_error_of_millions_of_numbers_is_not_looked_into() {
    let town = Town::with(&[("SYNC__DEBOUNCE", "0s"), ("SYNC__BACKOFF_CAP", "50ms")]).await;
    people(&town, &EIGHT);
    town.sync_all(EIGHT).await;
    let numbers = format!("[0{}]", ",0".repeat(4_000_000));
    forget_memory(&town);
    let before = most_memory(&town);
    for (user, status) in EIGHT.iter().zip([500, 404, 429, 500, 404, 429, 500, 200]) {
        let rule = Rule::on(Route::ContactGet, Fault::status(status).text(&numbers)).times(1);
        town.sandbox.mailmojo.inject(rule.about(&address(user)));
    }
    town.sandbox.sesamy.revoke_issued_tokens();
    town.sandbox.sesamy.inject(Rule::on(Route::Token, Fault::status(200).text(&numbers)).times(1));
    events(&town, &EIGHT).await;
    town.settled().await;
    let grown = most_memory(&town) - before;
    assert!(grown < 150 * MEGABYTE, "{grown} bytes more than {before}");
    assert_eq!(town.query("SELECT count(*) FROM users WHERE parked_at IS NOT NULL"), Ok(0));
    for user in EIGHT {
        assert_eq!(told(&town, user, "outcome").last().unwrap(), "unchanged");
    }
    let lines = town.service.output.lines();
    let answers = lines.iter().filter(|line| line["path"] == "/webhooks/sesamy");
    let slowest = answers.filter_map(|line| line["ms"].as_f64()).fold(0.0, f64::max);
    assert!(slowest < 2_000.0, "an event was answered after {slowest} ms");
}

#[tokio::test]
async fn an_answer_that_is_all_headers_is_refused() {
    let many = |count: usize, length: usize| -> Fault {
        let value = "x".repeat(length);
        (0..count).fold(Fault::status(200), |answer, n| answer.header(&format!("x-{n}"), &value)).into()
    };
    let bombs = [("many", many(5_000, 10)), ("long", many(1, 1_000_000)), ("both", many(2_000, 1_000))];
    let town = Town::with(&[("SYNC__DEBOUNCE", "0s"), ("SYNC__BACKOFF_CAP", "50ms")]).await;
    let before = most_memory(&town);
    for (user, bomb) in bombs {
        people(&town, &[user]);
        town.sandbox.sesamy.inject(Rule::on(Route::Profile, bomb).about(user).times(1));
        town.sync(user).await;
        town.contact(&address(user));
        assert_eq!(told(&town, user, "outcome")[0], "failed");
        let error = told(&town, user, "error")[0].to_string();
        assert!(error.contains("message head is too large"), "{error}");
    }
    let grown = most_memory(&town) - before;
    assert!(grown < 50 * MEGABYTE, "{grown}");
    assert!(!town.service.output.lines().iter().any(is_rest));
}
