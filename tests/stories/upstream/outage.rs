//! Outages: five different users in a row who fail alike are one fault of the API, and not five odd users.

use std::time::Duration;

use serde_json::{Value, json};
use sesamy_mailmojo::sandbox::{Call, Fault, Route, Rule, contact};

use crate::support::faults::{
    NOBODY, address, api, calls, events, is_rest, lines_at, people, rests, synced, text, told,
};
use crate::support::harness::{LIST, PATIENCE, Town};

const AT_ONCE: (&str, &str) = ("SYNC__DEBOUNCE", "0s");
const FIVE: [&str; 5] = ["a", "b", "c", "d", "e"];
const ATTEMPTS: &str = "SELECT sum(attempts) FROM users";
const LEASED: &str = "SELECT count(*) FROM users WHERE lease IS NOT NULL";
const PARKED: &str = "SELECT count(*) FROM users WHERE parked_at IS NOT NULL";

#[tokio::test]
async fn five_users_in_a_row_who_fail_let_the_api_rest_and_get_their_attempts_back() {
    let town = Town::with(&[AT_ONCE, ("SYNC__BACKOFF_BASE", "1h"), ("SYNC__BACKOFF_CAP", "1h")]).await;
    people(&town, &FIVE);
    town.sandbox.sesamy.inject(Rule::on(Route::Profile, Fault::status(503)));
    for user in &FIVE[..4] {
        events(&town, &[user]).await;
        synced(&town, user, "failed", 1).await;
    }
    // One of them fails on and on, which makes it no further user; and all of its attempts are the outage's.
    events(&town, &["a"]).await;
    synced(&town, "a", "failed", 2).await;
    assert_eq!(api(&town, "sesamy").await["state"], "ok");
    town.wait_for_queue(ATTEMPTS, |attempts| attempts == 5).await;

    events(&town, &["e"]).await;
    let line = rests(&town, "sesamy", "outage").await;
    assert_eq!((&line["level"], &line["seconds"]), (&"ERROR".into(), &3_600.into()));
    let message = line["message"].as_str().unwrap();
    assert!(
        message.contains("5 different users in a row failed alike: sesamy: 503 (code error);"),
        "{message}"
    );
    synced(&town, "e", "postponed", 1).await;
    town.wait_for_queue(LEASED, |leased| leased == 0).await;
    assert_eq!(town.query(ATTEMPTS), Ok(0));
    assert_eq!(town.query("SELECT count(*) FROM users WHERE failing_since IS NOT NULL"), Ok(0));
    let state = api(&town, "sesamy").await;
    assert_eq!((&state["state"], &state["why"]), (&"resting".into(), &"outage".into()));
    assert_eq!(api(&town, "mailmojo").await["state"], "ok");
    assert_eq!(lines_at(&town, "ERROR").len(), 1);
}

#[tokio::test]
async fn five_at_once_are_given_back_all_they_paid_whoever_is_settled_first() {
    for permanent in [false, true] {
        let town = Town::with(&[AT_ONCE, ("SYNC__BACKOFF_BASE", "1h"), ("SYNC__BACKOFF_CAP", "1h")]).await;
        let eight = ["a", "b", "c", "d", "e", "f", "g", "h"];
        people(&town, &eight);
        let fault = Fault::status(if permanent { 400 } else { 500 });
        town.sandbox.sesamy.inject(Rule::on(Route::Profile, fault));
        let together = town.sandbox.sesamy.hold(Route::Profile);
        events(&town, &eight).await;
        together.arrivals(8).await;
        together.release();
        rests(&town, "sesamy", "outage").await;
        town.wait_for_queue(LEASED, |leased| leased == 0).await;
        assert_eq!((town.query(ATTEMPTS), town.query(PARKED)), (Ok(0), Ok(0)), "permanent: {permanent}");
        assert_eq!(town.query("SELECT count(*) FROM users WHERE due_at IS NULL"), Ok(0));
    }
}

#[tokio::test]
async fn an_outage_sends_one_probe_at_a_time_doubles_its_rest_and_ends_with_one_success() {
    let times =
        [("SYNC__BACKOFF_BASE", "200ms"), ("SYNC__BACKOFF_CAP", "400ms"), ("SYNC__MAX_ATTEMPTS", "2")];
    let town = Town::with(&[&[AT_ONCE][..], &times].concat()).await;
    people(&town, &FIVE);
    people(&town, &["later"]);
    town.sandbox.mailmojo.inject(Rule::on(Route::ContactGet, Fault::status(502).html()));
    let together = town.sandbox.mailmojo.hold(Route::ContactGet);
    events(&town, &FIVE).await;
    together.arrivals(5).await;
    together.release();
    rests(&town, "mailmojo", "outage").await;
    events(&town, &["later"]).await;

    // After each probe that fails, a call for a contact that cannot exist shows that it is Mailmojo.
    let is_sync = |call: &Call| call.route == Route::ContactGet && call.subject.as_deref() != Some(NOBODY);
    let wave = calls(&town, 5, is_sync).await;
    let mut before = wave[..5].iter().map(|call| call.ended).max().unwrap();
    // Some of the five may have come back by then, as the wait after a failure is drawn from zero on.
    let first_end = before + Duration::from_millis(190);
    let probes = calls(&town, 3, |call| is_sync(call) && call.came >= first_end).await;
    for (probe, rest) in probes[..3].iter().zip([200, 400, 400]) {
        let waited = probe.came.saturating_sub(before);
        assert!(waited >= Duration::from_millis(rest - 10), "a probe after {waited:?} instead of {rest} ms");
        before = probe.ended;
    }
    let mut whom: Vec<_> = probes[..3].iter().map(|call| call.subject.clone()).collect();
    whom.sort();
    whom.dedup();
    assert_eq!(whom.len(), 3, "each probe is another user's: {whom:?}");
    town.wait_for_queue(ATTEMPTS, |attempts| attempts == 0).await;
    assert_eq!(town.query(PARKED), Ok(0));
    assert_eq!(lines_at(&town, "ERROR").len(), 1, "a probe that fails is no news");

    town.sandbox.mailmojo.clear_faults();
    town.settled().await;
    assert_eq!(town.sandbox.mailmojo.contacts().len(), 6);
    assert_eq!(api(&town, "mailmojo").await["state"], "ok");
    let again = |line: &Value| line["message"] == "the API answers again" && line["why"] == "outage";
    town.service.output.wait_for("the end of the outage", again).await;
    // But for one, perhaps, whose sync failed just before Mailmojo answered again.
    let paid = FIVE.iter().filter(|user| told(&town, user, "attempt").last().unwrap() != 1).count();
    assert!(paid <= 1, "{paid} users paid for it");
}

#[tokio::test]
async fn five_users_refused_for_the_same_reason_are_a_wrong_setting_and_nobody_stays_parked() {
    let town = Town::with(&[AT_ONCE, ("SYNC__BACKOFF_BASE", "400ms"), ("SYNC__BACKOFF_CAP", "400ms")]).await;
    people(&town, &FIVE);
    let refuse = |user: &str, at: usize| {
        let words = format!("cannot add <{}>: the list is closed", address(user));
        let error = json!({"code": "list_closed", "message": words, "request_id": format!("7f{at}")});
        let fault = Fault::status(400).json(json!({ "error": error }));
        town.sandbox.mailmojo.inject(Rule::on(Route::Subscribe, fault).about(&address(user)).times(1));
    };
    for (at, user) in FIVE[..4].iter().enumerate() {
        refuse(user, at);
        town.sync(user).await;
        assert_eq!(told(&town, user, "outcome"), ["parked"]);
    }
    town.parked(4).await;
    refuse("e", 4);
    events(&town, &["e"]).await;
    let line = rests(&town, "mailmojo", "outage").await;
    let message = line["message"].as_str().unwrap();
    assert!(message.contains("failed alike: mailmojo: 400 (code list_closed);"), "{message}");
    town.parked(0).await;
    town.settled().await;
    for user in FIVE {
        assert_eq!(told(&town, user, "outcome").last().unwrap(), "created");
        assert!(told(&town, user, "attempt").iter().all(|attempt| attempt == 1), "{user} paid for it");
    }
    assert_eq!(lines_at(&town, "ERROR").iter().filter(|line| is_rest(line)).count(), 1);
}

#[tokio::test]
async fn odd_users_each_with_an_answer_of_its_own_are_parked_each() {
    let town = Town::with(&[AT_ONCE]).await;
    for (user, field) in [
        ("a", "email"),
        ("b", "first_name"),
        ("c", "phone"),
        ("d", "tags"),
        ("e", "last_name"),
        ("f", "custom"),
    ] {
        people(&town, &[user]);
        let fault = Fault::status(422).json(json!({"errors": {field: ["is odd"]}}));
        town.sandbox.mailmojo.inject(Rule::on(Route::Subscribe, fault).about(&address(user)));
        town.sync(user).await;
        let error = text(&town, &format!("SELECT error FROM users WHERE user_id = '{user}'")).unwrap();
        assert!(error.contains(&format!("422 (fields {field})")), "{error}");
    }
    town.parked(6).await;
    assert!(town.service.output.lines().iter().all(|line| !is_rest(line)));
    assert_eq!(api(&town, "mailmojo").await["state"], "ok");

    // Four with the same answer are still four odd users: a success is between them and the fifth.
    let four = ["four-a", "four-b", "four-c", "four-d"];
    people(&town, &four);
    people(&town, &["fine", "fifth"]);
    for user in ["four-a", "four-b", "four-c", "four-d", "fine", "fifth"] {
        if user != "fine" {
            let fault = Fault::status(422).message("the same for all");
            town.sandbox.mailmojo.inject(Rule::on(Route::Subscribe, fault).about(&address(user)));
        }
        town.sync(user).await;
    }
    town.parked(11).await;
    assert!(town.service.output.lines().iter().all(|line| !is_rest(line)));
}

#[tokio::test]
async fn one_user_who_fails_alone_is_parked_only_when_others_succeed() {
    let quick = [("SYNC__BACKOFF_BASE", "1ms"), ("SYNC__BACKOFF_CAP", "20ms"), ("SYNC__MAX_ATTEMPTS", "3")];
    let town = Town::with(&[&[AT_ONCE][..], &quick].concat()).await;
    people(&town, &["odd", "fine"]);
    let fails =
        || Rule::on(Route::Entitlements, Fault::status(500).message("the row is broken")).about("odd");
    town.sandbox.sesamy.inject(fails());
    events(&town, &["odd"]).await;
    // Long past its last attempt it is still tried: as far as anybody knows, it is Sesamy that fails.
    assert_eq!(synced(&town, "odd", "failed", 8).await["attempt"], 8);
    assert!(town.service.output.lines().iter().all(|line| !is_rest(line)), "one user is no outage");

    events(&town, &["fine"]).await;
    let line = synced(&town, "odd", "parked", 1).await;
    assert_eq!((&line["reason"], &line["level"]), (&"transient".into(), &"ERROR".into()));
    assert!(line["attempt"].as_u64().unwrap() > 8, "{line}");
    town.settled().await;
    town.parked(1).await;
    assert!(
        text(&town, "SELECT error FROM users WHERE user_id = 'odd'").unwrap().contains("was answered 500")
    );

    // Another user's success was before these failures began: they are counted anew, and nobody succeeds meanwhile.
    events(&town, &["odd"]).await;
    let failures =
        |line: &Value| line["user_id"] == "odd" && line["outcome"] == "failed" && line["attempt"] == 5;
    town.service.output.wait_for_nth(2, "a fifth attempt after the event", failures).await;
    town.sandbox.sesamy.clear_faults();
    town.settled().await;
    assert_eq!(told(&town, "odd", "outcome").last().unwrap(), "created");
}

#[tokio::test]
async fn a_handful_of_odd_users_who_are_alike_do_not_hold_up_the_others_for_long() {
    let times = [("SYNC__BACKOFF_BASE", "50ms"), ("SYNC__BACKOFF_CAP", "400ms")];
    let town = Town::with(&[&[AT_ONCE][..], &times].concat()).await;
    let odd = ["a", "b", "c", "d", "e", "f", "g", "h"];
    people(&town, &odd);
    people(&town, &["good"]);
    for user in odd {
        let refused = Fault::status(422).message("this address is refused");
        town.sandbox.mailmojo.inject(Rule::on(Route::Subscribe, refused).about(&address(user)));
    }
    events(&town, &odd).await;
    rests(&town, "mailmojo", "outage").await;

    // Somebody who gets through ends it, goes before those who have failed, and shows whose fault it was.
    events(&town, &["good"]).await;
    synced(&town, "good", "created", 1).await;
    town.parked(8).await;
    town.settled().await;
    assert_eq!(api(&town, "mailmojo").await["state"], "ok");
}

#[tokio::test]
async fn while_mailmojo_can_be_read_and_not_written_only_those_who_need_a_write_wait() {
    let times = [("SYNC__BACKOFF_BASE", "50ms"), ("SYNC__BACKOFF_CAP", "200ms"), ("SYNC__MAX_ATTEMPTS", "2")];
    for (status, why) in [(503, "outage"), (403, "credentials")] {
        let town = Town::with(&[&[AT_ONCE][..], &times].concat()).await;
        let in_step = ["x", "y", "z"];
        people(&town, &FIVE);
        people(&town, &in_step);
        for user in in_step {
            town.sandbox.mailmojo.put_contact(contact(&address(user)).on_list(LIST));
        }
        town.sandbox.mailmojo.inject(Rule::on(Route::Subscribe, Fault::status(status)));
        events(&town, &FIVE).await;
        let line = rests(&town, "mailmojo", why).await;
        assert!(line["message"].as_str().unwrap().starts_with("the circuit of writes is open"), "{line}");

        // Many probes fail, while reads of others go on.
        let probes = town.sandbox.count(Route::Subscribe) + 5;
        town.sandbox.wait_until(PATIENCE, |it| it.count(Route::Subscribe) >= probes).await.unwrap();
        for user in in_step {
            events(&town, &[user]).await;
            synced(&town, user, "unchanged", 1).await;
            assert_eq!(told(&town, user, "outcome"), ["unchanged"]);
        }
        town.wait_for_queue(ATTEMPTS, |attempts| attempts == 0).await;
        assert_eq!(town.query(PARKED), Ok(0));
        assert_eq!(lines_at(&town, "ERROR").len(), 1, "{status}");
        assert_eq!(api(&town, "mailmojo").await["why"], why);

        town.sandbox.mailmojo.clear_faults();
        town.settled().await;
        for user in FIVE {
            town.contact(&address(user));
            assert_eq!(told(&town, user, "outcome").last().unwrap(), "created");
        }
        assert_eq!(api(&town, "mailmojo").await["state"], "ok");
    }
}

#[tokio::test]
async fn forty_readers_of_an_unreadable_product_cost_an_attempt_each_and_hold_nobody_up() {
    let town = Town::with(&[AT_ONCE, ("SYNC__BACKOFF_BASE", "300ms"), ("SYNC__BACKOFF_CAP", "1h")]).await;
    let readers: Vec<String> = (0..40).map(|number| format!("reader-{number}")).collect();
    let readers: Vec<&str> = readers.iter().map(String::as_str).collect();
    people(&town, &readers);
    people(&town, &["other", "later"]);
    for reader in &readers {
        let odd = Fault::wrong_shape(json!({"data": [{"title": 5}]}));
        town.sandbox.sesamy.inject(Rule::on(Route::Entitlements, odd).about(reader));
    }
    events(&town, &readers).await;
    rests(&town, "sesamy", "outage").await;
    events(&town, &["other"]).await;
    synced(&town, "other", "created", 1).await;
    town.wait_for_queue("SELECT count(*) FROM users WHERE attempts > 0", |failing| failing == 40).await;
    events(&town, &["later"]).await;
    synced(&town, "later", "created", 1).await;
    assert_eq!(told(&town, "later", "outcome"), ["created"]);
    assert_eq!(town.service.output.lines().iter().filter(|line| is_rest(line)).count(), 1);
    assert_eq!(town.query(PARKED), Ok(0));
    assert_eq!(api(&town, "sesamy").await["state"], "ok");
}
