//! Rate limits: after a 429 that API rests for everybody, for as long as it asks, and nobody pays with an attempt.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use sesamy_mailmojo::sandbox::{Api, ComeAgain, Fault, RateLimit, Route, Rule, Sandbox};

use crate::support::faults::{
    address, api, calls, events, is_rest, lines_at, people, rest_left, rests, synced, told,
};
use crate::support::harness::Town;

const AT_ONCE: (&str, &str) = ("SYNC__DEBOUNCE", "0s");

#[tokio::test]
async fn a_429_keeps_everybody_away_from_that_api_and_costs_no_attempt() {
    let town = Town::with(&[AT_ONCE]).await;
    let (first, on_the_way, later) = ("first", "on-the-way", "later");
    people(&town, &[first, on_the_way, later]);
    let sesamy = town.sandbox.sesamy.hold_for(Route::Profile, on_the_way);
    town.sandbox.mailmojo.inject(
        Rule::on(Route::ContactGet, Fault::too_many_requests(ComeAgain::Seconds(1)))
            .about(&address(first))
            .times(1),
    );
    events(&town, &[on_the_way]).await;
    sesamy.arrived().await;
    events(&town, &[first]).await;
    let line = rests(&town, "mailmojo", "rate_limit").await;
    assert_eq!((&line["level"], &line["seconds"]), (&"WARN".into(), &1.into()));
    sesamy.release(); // its sync comes to Mailmojo in the middle of the rest
    events(&town, &[later]).await;
    town.settled().await;

    let refused = calls(&town, 1, |call| call.status == Some(429)).await[0].ended;
    let during = |api: Api, until: Duration| {
        let calls = town.sandbox.calls();
        calls.into_iter().filter(|call| call.api == api && call.came > refused && call.came < until).count()
    };
    assert_eq!(during(Api::Mailmojo, refused + Duration::from_millis(990)), 0);
    assert_eq!(told(&town, on_the_way, "outcome"), ["postponed", "created"], "it asked Mailmojo nothing");
    assert_eq!(told(&town, on_the_way, "reason"), ["resting", ""]);
    assert_eq!(told(&town, first, "outcome"), ["postponed", "created"]);
    assert_eq!(told(&town, later, "outcome"), ["created"], "nothing is leased for an API that rests");
    for user in [first, on_the_way, later] {
        assert!(told(&town, user, "attempt").iter().all(|attempt| attempt == 1), "{user} paid for it");
    }
    assert!(lines_at(&town, "ERROR").is_empty());
}

#[tokio::test]
async fn a_call_that_waits_for_its_turn_when_the_rest_begins_is_not_made() {
    // One call a second, and a sync begins with one: a write has to wait for the next.
    let slow = [AT_ONCE, ("MAILMOJO__REQUESTS_PER_MINUTE", "60"), ("MAILMOJO__BURST", "1")];
    let town = Town::with(&slow).await;
    people(&town, &["writes", "refused"]);
    let refusal = Fault::too_many_requests(ComeAgain::Seconds(3));
    town.sandbox.mailmojo.inject(Rule::on(Route::ContactGet, refusal).about(&address("refused")).times(1));
    let together = town.sandbox.sesamy.hold(Route::Profile);
    let last = town.sandbox.mailmojo.hold_for(Route::ContactGet, &address("refused"));
    events(&town, &["writes", "refused"]).await;
    together.arrivals(2).await;
    together.release();
    last.arrived().await;
    calls(&town, 1, |call| call.route == Route::ContactGet && call.status == Some(404)).await;
    last.release();
    let refused = calls(&town, 1, |call| call.status == Some(429)).await[0].ended;
    let written = calls(&town, 1, |call| call.route == Route::Subscribe).await[0].came;
    let waited = written.saturating_sub(refused);
    assert!(waited >= Duration::from_millis(2_990), "it was made {waited:?} after a 429 for three seconds");
    town.settled().await;
    for user in ["writes", "refused"] {
        assert_eq!(told(&town, user, "outcome"), ["postponed", "created"]);
        assert_eq!(told(&town, user, "attempt"), [1, 1]);
    }
}

/// A rest that lasts as long as the answer's `hint` says, told by `/readyz`.
async fn rest_for(hint: ComeAgain, seconds: std::ops::RangeInclusive<f64>) {
    let settings = [AT_ONCE, ("SYNC__BACKOFF_BASE", "7m"), ("SYNC__BACKOFF_CAP", "15m")];
    let prepare = |sandbox: &Sandbox| {
        sandbox.sesamy.inject(Rule::on(Route::Profile, Fault::too_many_requests(hint)).times(1));
    };
    let town = Town::before_start(&settings, prepare).await;
    people(&town, &["u1"]);
    events(&town, &["u1"]).await;
    synced(&town, "u1", "postponed", 1).await;

    let state = api(&town, "sesamy").await;
    assert_eq!((&state["state"], &state["why"]), (&"resting".into(), &"rate_limit".into()), "{hint:?}");
    assert_eq!(api(&town, "mailmojo").await["state"], "ok");
    let left = rest_left(&town, "sesamy").await;
    assert!(seconds.contains(&left), "{left} s are left after {hint:?}");
    let metrics = town.service.metrics().await;
    assert!(metrics.contains(r#"upstream_resting{api="sesamy",why="rate_limit"} 1"#), "{metrics}");
}

#[tokio::test]
async fn the_rest_is_as_long_as_the_answer_asks_and_at_most_an_hour() {
    let now = SystemTime::now();
    let unix = now.duration_since(UNIX_EPOCH).unwrap().as_secs();
    // The lower ends leave a minute for a slow machine.
    tokio::join!(
        rest_for(ComeAgain::Seconds(90), 30.0..=90.0),
        rest_for(ComeAgain::Date(now + Duration::from_secs(180)), 120.0..=180.0),
        rest_for(ComeAgain::InBody(270), 210.0..=270.0),
        rest_for(ComeAgain::Reset(unix + 360), 300.0..=360.0),
        rest_for(ComeAgain::Seconds(86_400), 3_540.0..=3_600.0),
        rest_for(ComeAgain::Unsaid, 360.0..=420.0), // sync.backoff_base
    );
}

#[tokio::test]
async fn many_429s_at_once_that_say_no_time_are_one_rest() {
    let long = [AT_ONCE, ("SYNC__BACKOFF_BASE", "1m"), ("SYNC__BACKOFF_CAP", "15m")];
    let town = Town::with(&long).await;
    let all = ["a", "b", "c", "d", "e", "f"];
    people(&town, &all);
    town.sandbox.sesamy.inject(Rule::on(Route::Profile, Fault::too_many_requests(ComeAgain::Unsaid)));
    let together = town.sandbox.sesamy.hold(Route::Profile);
    events(&town, &all).await;
    together.arrivals(all.len()).await;
    together.release();
    for user in all {
        synced(&town, user, "postponed", 1).await;
    }
    let left = rest_left(&town, "sesamy").await;
    assert!(left <= 60.0, "{left} s are left of a rest of a minute");
    assert_eq!(town.query("SELECT count(*) FROM users WHERE attempts > 0 OR parked_at IS NOT NULL"), Ok(0));
}

#[tokio::test]
async fn a_429_that_says_no_time_rests_by_backoff_until_a_sync_gets_through() {
    let town = Town::with(&[AT_ONCE, ("SYNC__BACKOFF_BASE", "200ms"), ("SYNC__BACKOFF_CAP", "10s")]).await;
    people(&town, &["u1"]);
    town.sandbox
        .sesamy
        .inject(Rule::on(Route::Profile, Fault::too_many_requests(ComeAgain::Unsaid)).times(3));
    town.sync("u1").await;
    town.sandbox
        .sesamy
        .inject(Rule::on(Route::Profile, Fault::too_many_requests(ComeAgain::Unsaid)).times(1));
    town.sync("u1").await;

    let asked = calls(&town, 6, |call| call.route == Route::Profile).await;
    let gap = |at: usize| (asked[at + 1].came - asked[at].ended).as_millis();
    for (at, least) in [(0, 190), (1, 390), (2, 790), (4, 190)] {
        assert!(gap(at) >= least, "only {} ms after call {at}", gap(at));
    }
    assert_eq!(told(&town, "u1", "attempt"), [1, 1, 1, 1, 1, 1]);
    let told: Vec<_> = town.service.output.lines().into_iter().filter(is_rest).collect();
    let seconds: Vec<_> = told.iter().map(|line| line["why"].clone()).collect();
    assert_eq!(seconds, ["rate_limit"; 4], "each of them is told");
}

#[tokio::test]
async fn sesamys_own_rate_limit_is_obeyed_and_outlived() {
    // Faster than Sesamy allows, as a second program with the same credentials would make us.
    let town = Town::with(&[AT_ONCE]).await;
    let all: Vec<String> = (0..5).map(|n| format!("u{n}")).collect();
    let all: Vec<&str> = all.iter().map(String::as_str).collect();
    people(&town, &all);
    town.sandbox.sesamy.enforce(Some(RateLimit { per_minute: 1_200, burst: 10, retry_after_header: false }));
    events(&town, &all).await;
    town.settled().await;

    assert!(town.sandbox.calls().iter().any(|call| call.status == Some(429)));
    for user in all {
        let lines = town.service.output.syncs_of(user);
        assert_eq!(lines.last().unwrap()["outcome"], "created");
        assert!(lines.iter().all(|line| line["attempt"] == 1), "{lines:?}");
    }
}
