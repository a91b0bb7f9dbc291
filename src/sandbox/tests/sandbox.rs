//! Holds, waiting, the log, overlaps over real connections.

use std::time::Duration;

use super::super::{Api, FindingKind, Route, contact};
use super::*;

#[tokio::test]
async fn a_hold_stops_a_request_until_it_is_released() {
    let town = Town::start().await;
    let mailmojo = &town.sandbox.mailmojo;
    mailmojo.put_contact(contact(KARI));
    let hold = mailmojo.hold_for(Route::ContactPatch, KARI);
    let story = async {
        hold.arrived_within(LIMIT).await.unwrap();
        assert!(mailmojo.contact(KARI).unwrap().phone.is_none());
        mailmojo.add_tag(KARI, "vip");
        hold.release();
    };
    let (answer, ()) = tokio::join!(town.patches(KARI, json!({"phone": "1"})), story);
    assert_eq!(json_of(answer).await["tags"], json!(["vip"]));
    town.sandbox.assert_no_findings();
}

#[tokio::test]
async fn a_hold_can_stop_the_answer_of_a_write_that_is_done() {
    let town = Town::start().await;
    let mailmojo = &town.sandbox.mailmojo;
    mailmojo.put_contact(contact(KARI));
    let hold = mailmojo.hold_answer(Route::ContactPatch);
    let story = async {
        hold.arrived().await;
        assert_eq!(mailmojo.contact(KARI).unwrap().phone.as_deref(), Some("1"));
        assert_eq!(town.sandbox.in_flight(), 1);
        drop(hold);
    };
    let (answer, ()) = tokio::join!(town.patches(KARI, json!({"phone": "1"})), story);
    assert_eq!(answer.status(), 200);
}

#[tokio::test]
async fn a_hold_that_stops_nothing_says_so() {
    let town = Town::start().await;
    let hold = town.sandbox.sesamy.hold(Route::Profile);
    let late = hold.arrived_within(Duration::from_millis(10)).await.unwrap_err();
    assert!(late.to_string().contains("Profile"), "{late}");
}

#[tokio::test]
async fn waiting_ends_when_the_condition_holds_or_fails_with_the_last_calls() {
    let town = Town::start().await;
    let wait = town.sandbox.wait_until(LIMIT, |sandbox| sandbox.count(Route::ContactGet) == 2);
    let (waited, ..) = tokio::join!(wait, town.reads(KARI), town.reads("ola@example.com"));
    waited.unwrap();
    let late = town.sandbox.wait_until(Duration::from_millis(10), |_| false).await.unwrap_err();
    assert!(late.to_string().contains("GET /v1/contacts/kari@example.com/ -> 404"), "{late}");
}

#[tokio::test]
async fn calls_are_logged_and_counted_until_cleared() {
    let town = Town::start().await;
    town.sandbox.mailmojo.put_contact(contact(KARI));
    town.patches(KARI, json!({"phone": "1"})).await;
    let calls = town.sandbox.calls_to(Route::ContactPatch);
    assert_eq!((calls.len(), calls[0].api, calls[0].status), (1, Api::Mailmojo, Some(200)));
    assert_eq!((calls[0].subject.as_deref(), &calls[0].body), (Some(KARI), &Some(json!({"phone": "1"}))));
    assert!(calls[0].came <= calls[0].ended);
    assert_eq!(town.sandbox.writes(), 1);
    town.sandbox.clear_calls();
    assert_eq!((town.sandbox.calls().len(), town.sandbox.writes()), (0, 0));
}

#[tokio::test]
async fn calls_can_be_counted_without_being_kept() {
    let sandbox = Sandbox::start_with(Duration::ZERO, false).await.unwrap();
    client().get(format!("{}/management/users", sandbox.sesamy.url())).send().await.unwrap();
    assert_eq!((sandbox.calls().len(), sandbox.count(Route::Users)), (0, 1));
}

#[tokio::test]
async fn a_dropped_sandbox_no_longer_answers() {
    let town = Town::start().await;
    assert_eq!(town.reads(KARI).await.status(), 404);
    let url = format!("{}/v1/lists/", town.sandbox.mailmojo.url());
    drop(town.sandbox);
    tokio::task::yield_now().await;
    assert!(town.client.get(url).send().await.is_err());
}

#[tokio::test]
async fn two_requests_about_one_address_at_once_are_an_overlap() {
    let town = Town::start().await;
    let hold = town.sandbox.mailmojo.hold(Route::ContactGet);
    let story = async {
        hold.arrivals(2).await;
        hold.release();
    };
    tokio::join!(town.reads(KARI), town.reads("Kari@Example.com"), story);
    assert_eq!(town.kinds(), [FindingKind::Overlap]);
    town.sandbox.clear_findings();

    let hold = town.sandbox.mailmojo.hold(Route::ContactGet);
    let story = async {
        hold.arrivals(2).await;
        hold.release();
    };
    tokio::join!(town.reads(KARI), town.reads("ola@example.com"), story);
    town.sandbox.assert_no_findings();
}

#[tokio::test]
async fn a_profile_beside_contracts_is_an_overlap_but_contracts_beside_entitlements_are_none() {
    let town = Town::start().await;
    let together = async |first: &str, route: Route, second: &str| {
        let hold = town.sandbox.sesamy.hold(route);
        let story = async {
            hold.arrived().await;
            town.sesamy(second).send().await.unwrap();
            hold.release();
        };
        let _ = tokio::join!(town.sesamy(first).send(), story);
    };
    let (contracts, entitlements) = ("/management/contracts?userId=u1", "/management/entitlements?userId=u1");
    together(contracts, Route::Contracts, entitlements).await;
    together(contracts, Route::Contracts, "/management/users/u2").await;
    town.sandbox.assert_no_findings();
    together(contracts, Route::Contracts, "/management/users/u1").await;
    assert_eq!(town.kinds(), [FindingKind::Overlap]);
}

#[tokio::test]
async fn a_request_whose_client_is_gone_no_longer_counts() {
    let town = Town::start().await;
    let hold = town.sandbox.mailmojo.hold(Route::ContactGet);
    let first = town.mailmojo(Method::GET, "/v1/contacts/kari@example.com/");
    let first = tokio::spawn(first.send());
    hold.arrived().await;
    first.abort();
    town.sandbox.wait_until(LIMIT, |sandbox| sandbox.in_flight() == 0).await.unwrap();
    hold.release();
    town.reads(KARI).await;
    assert_eq!(town.sandbox.calls()[0].status, None);
    town.sandbox.assert_no_findings();
}
