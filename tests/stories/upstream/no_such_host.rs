//! A host name that does not resolve: nobody's fault, told clearly, and the next right setting goes on.

use sesamy_mailmojo::sandbox::Route;

use crate::support::faults::{address, api, events, lines_at, people, rests, told};
use crate::support::harness::Town;

const FIVE: [&str; 5] = ["a", "b", "c", "d", "e"];
const NOWHERE: &str = "http://no-such-host.invalid";
const ATTEMPTS: &str = "SELECT sum(attempts) FROM users";

/// A name server that is not there, or takes its time, is as good as one that knows no such name.
fn tells_of_the_name(message: &str) -> bool {
    ["cannot connect", "no answer within the time limit"].iter().any(|words| message.contains(words))
}

async fn stop(town: &mut Town) {
    town.service.terminate();
    assert!(town.service.ended().await.success());
}

#[tokio::test]
async fn an_api_whose_host_does_not_resolve_rests_and_nobody_pays() {
    for (setting, api_name) in [("SESAMY__API_URL", "sesamy"), ("MAILMOJO__API_URL", "mailmojo")] {
        let settings = [("SYNC__DEBOUNCE", "0s"), ("SYNC__MAX_ATTEMPTS", "1"), (setting, NOWHERE)];
        let mut town = Town::with(&settings).await;
        people(&town, &FIVE);
        events(&town, &FIVE).await;
        let line = rests(&town, api_name, "outage").await;
        let message = line["message"].as_str().unwrap();
        assert!(tells_of_the_name(message) && message.contains("check the settings"), "{message}");
        assert_eq!(line["level"], "ERROR");
        town.wait_for_queue(ATTEMPTS, |attempts| attempts == 0).await;
        town.parked(0).await;
        assert_eq!(api(&town, api_name).await["why"], "outage");
        assert_eq!(lines_at(&town, "ERROR").len(), 1);

        let right =
            if api_name == "sesamy" { town.sandbox.sesamy.url() } else { town.sandbox.mailmojo.url() };
        let right = right.to_owned();
        stop(&mut town).await;
        town.restart(&[(setting, &right)]).await;
        town.settled().await;
        FIVE.iter().for_each(|user| drop(town.contact(&address(user))));
    }
}

#[tokio::test]
async fn a_token_endpoint_whose_host_does_not_resolve_lets_its_api_rest() {
    let token_url = format!("{NOWHERE}/oauth/token");
    let settings = [("SYNC__DEBOUNCE", "0s"), ("SYNC__MAX_ATTEMPTS", "1"), ("SESAMY__TOKEN_URL", &token_url)];
    let mut town = Town::with(&settings).await;
    people(&town, &FIVE);
    events(&town, &FIVE).await;
    let line = rests(&town, "sesamy", "outage").await;
    let message = line["message"].as_str().unwrap();
    assert!(message.contains("the token endpoint did not answer") && tells_of_the_name(message), "{message}");
    town.wait_for_queue(ATTEMPTS, |attempts| attempts == 0).await;
    assert_eq!(lines_at(&town, "ERROR").len(), 1);
    assert_eq!(town.sandbox.count(Route::Profile), 0);
    assert!(told(&town, "a", "outcome").iter().all(|outcome| outcome == "postponed"));

    let right = town.sandbox.sesamy.token_url();
    stop(&mut town).await;
    town.restart(&[("SESAMY__TOKEN_URL", &right)]).await;
    town.settled().await;
    FIVE.iter().for_each(|user| drop(town.contact(&address(user))));
}
