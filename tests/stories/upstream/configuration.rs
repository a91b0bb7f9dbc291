//! Configuration: an answer that says "not here" or "not so" lets the API rest, and no redirect is ever followed.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use sesamy_mailmojo::sandbox::{Fault, Route, Rule, contact};
use tokio::net::TcpListener;

use crate::support::faults::{address, api, events, is_rest, lines_at, people, rest_left, rests, told};
use crate::support::harness::{LIST, Town};

const AT_ONCE: (&str, &str) = ("SYNC__DEBOUNCE", "0s");

/// Another machine: its address, and how many connections it has had.
async fn elsewhere() -> (String, Arc<AtomicUsize>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}/caught", listener.local_addr().unwrap());
    let visits = Arc::new(AtomicUsize::new(0));
    let counted = Arc::clone(&visits);
    tokio::spawn(async move {
        while listener.accept().await.is_ok() {
            counted.fetch_add(1, Ordering::SeqCst);
        }
    });
    (url, visits)
}

#[tokio::test]
async fn no_redirect_is_followed_and_no_token_or_secret_goes_elsewhere() {
    let (url, visits) = elsewhere().await;
    let town = Town::with(&[AT_ONCE, ("SYNC__BACKOFF_CAP", "30ms")]).await;
    let (sesamy, mailmojo) = (&town.sandbox.sesamy, &town.sandbox.mailmojo);
    let mut rests = 0;
    for status in [301, 302, 303, 307, 308] {
        // A read, the credentials' own post, and both writes; to another machine, and to another path of the same one.
        let own = format!("{}/v1/contacts/", mailmojo.url());
        for (route, to) in [
            (Route::Profile, &url),
            (Route::Token, &url),
            (Route::ContactGet, &own),
            (Route::Subscribe, &url),
            (Route::ContactPatch, &url),
        ] {
            let user = format!("u{status}{route:?}").to_lowercase();
            people(&town, &[&user]);
            if route == Route::ContactPatch {
                mailmojo.put_contact(contact(&address(&user)).tags(["sesamy_old"]).on_list(LIST));
            }
            sesamy.revoke_issued_tokens();
            let rule = Rule::on(route, Fault::status(status).empty().header("Location", to)).times(1);
            match route {
                Route::Profile | Route::Token => sesamy.inject(rule),
                _ => mailmojo.inject(rule),
            }
            town.sync(&user).await;

            rests += 1;
            let line = town.service.output.wait_for_nth(rests, "a rest for a redirect", is_rest).await;
            assert_eq!(line["why"], "configuration", "{status} {route:?}: {line}");
            assert!(line["message"].as_str().unwrap().contains(&format!("answered {status}")), "{line}");
            assert_eq!(told(&town, &user, "outcome")[0], "postponed", "{status} {route:?}");
            assert_eq!(told(&town, &user, "attempt"), [1, 1], "{status} {route:?}");
            assert!(town.contact(&address(&user)).tags.is_empty());
        }
    }
    assert_eq!(visits.load(Ordering::SeqCst), 0, "somebody went where a redirect pointed");
    assert_eq!(town.sandbox.count(Route::Contacts), 0, "a redirect to the same machine was followed");
    assert_eq!(lines_at(&town, "ERROR").len(), rests, "one line at error for each");
    assert!(!town.service.output.text().contains("caught"), "where a redirect points is nobody's business");
}

#[tokio::test]
async fn a_wrong_url_rests_like_refused_credentials_and_says_what_to_check() {
    for (status, route) in [(405, Route::ContactGet), (415, Route::Subscribe), (301, Route::ContactGet)] {
        let town = Town::with(&[AT_ONCE, ("SYNC__BACKOFF_CAP", "1h"), ("SYNC__MAX_ATTEMPTS", "1")]).await;
        people(&town, &["a"]);
        town.sandbox.mailmojo.inject(Rule::on(route, Fault::status(status)));
        events(&town, &["a"]).await;
        let line = rests(&town, "mailmojo", "configuration").await;
        assert_eq!((&line["level"], &line["seconds"]), (&"ERROR".into(), &3_600.into()));
        let message = line["message"].as_str().unwrap();
        assert!(message.contains("check the API's URL in the settings"), "{message}");

        let state = api(&town, "mailmojo").await;
        assert_eq!((&state["state"], &state["why"]), (&"resting".into(), &"configuration".into()));
        assert!((3_500.0..=3_600.0).contains(&rest_left(&town, "mailmojo").await));
        assert_eq!(api(&town, "sesamy").await["state"], "ok");
        let costs = "SELECT count(*) FROM users WHERE attempts > 0 OR parked_at IS NOT NULL";
        assert_eq!(town.query(costs), Ok(0), "{status} is no user's fault");
    }
}
