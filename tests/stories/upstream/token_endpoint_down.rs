//! A token endpoint that is down for long. The figures of an hour are in `src/upstream/circuit_breaker/tests.rs`; here
//! a base of 10 ms and a cap of 200 ms stand for them.

use std::time::Duration;

use serde_json::Value;
use sesamy_mailmojo::sandbox::{Fault, Route, Rule};

use crate::support::faults::{address, api, calls, events, lines_at, people, told};
use crate::support::harness::Town;

const ALL: [&str; 8] = ["a", "b", "c", "d", "e", "f", "g", "h"];
const CAP: Duration = Duration::from_millis(200);

#[tokio::test]
async fn a_token_endpoint_that_is_down_for_long_costs_nobody_anything_and_goes_on_by_itself() {
    let settings = [
        ("SYNC__DEBOUNCE", "0s"),
        ("SYNC__BACKOFF_BASE", "10ms"),
        ("SYNC__BACKOFF_CAP", "200ms"),
        ("SYNC__MAX_ATTEMPTS", "1"),
    ];
    for fault in [Fault::Close, Fault::status(503).html().into()] {
        let town = Town::with(&settings).await;
        people(&town, &ALL);
        town.sandbox.sesamy.inject(Rule::on(Route::Token, fault));
        events(&town, &ALL).await;

        let asked = calls(&town, 8, |call| call.route == Route::Token).await;
        for (pair, least) in asked.windows(2).zip([10, 20, 40, 80, 160, 200, 200]) {
            let waited = pair[1].came.saturating_sub(pair[0].ended);
            assert!(
                waited >= Duration::from_millis(least - 5),
                "probed after {waited:?} instead of {least} ms"
            );
        }
        let elapsed = asked[7].came - asked[0].came;
        assert!(elapsed < 7 * (CAP + Duration::from_secs(5)), "and not much later: {elapsed:?}");
        assert_eq!(api(&town, "sesamy").await["why"], "outage");
        assert_eq!(town.query("SELECT sum(attempts) FROM users"), Ok(0));
        town.parked(0).await;
        let errors = lines_at(&town, "ERROR");
        assert_eq!(errors.len(), 1, "one line tells it, however long it lasts: {errors:?}");
        let message = errors[0]["message"].as_str().unwrap();
        assert!(message.contains("the token endpoint"), "{message}");
        assert_eq!(town.sandbox.count(Route::Profile), 0);

        town.sandbox.sesamy.clear_faults();
        town.settled().await;
        for user in ALL {
            town.contact(&address(user));
            assert!(told(&town, user, "attempt").iter().all(|attempt| attempt == 1));
        }
        let again = |line: &Value| line["message"] == "the API answers again";
        town.service.output.wait_for("the end of the rest", again).await;
        assert_eq!(town.sandbox.sesamy.tokens_issued(), 1);
    }
}
