//! `forget --mailmojo`: our tags come off first, and nothing else of the contact is touched; where that fails nobody is
//! forgotten, and to ask again does what is left.

use serde_json::{Value, json};
use sesamy_mailmojo::sandbox::{Fault, Route, Rule, contact, user};

use crate::forget::command::{events_come_to_nothing, forget, forgotten, rows_of};
use crate::support::faults::{address, people, text};
use crate::support::harness::{LIST, Town, command};
use crate::support::shell::{changed, run};

const AT_ONCE: (&str, &str) = ("SYNC__DEBOUNCE", "0s");
const OURS: &str = "sesamy_tag_early-bird";

/// Kari, with a contact of her own, in step.
async fn with_kari(settings: &[(&str, &str)]) -> Town {
    let town = Town::with(&[&[AT_ONCE], settings].concat()).await;
    let kari = contact("kari@example.com").tags(["vip", "sesamy_made_single_purchase"]).first_name("K.");
    town.sandbox.mailmojo.put_contact(kari.on_list(LIST));
    town.sandbox.sesamy.put_user(user("kari").email("kari@example.com").tags(["Early bird"]));
    town.sync("kari").await;
    assert_eq!(town.contact("kari@example.com").tags, ["vip", "sesamy_made_single_purchase", OURS]);
    town
}

#[tokio::test]
async fn only_our_tags_come_off_all_of_them_and_the_contact_stays() {
    let town = with_kari(&[]).await;
    let one = forgotten(&town, &["--mailmojo", "kari"]).await;
    let lost = json!([{"contact": "loses_our_tags", "tags_removed": ["sesamy_made_single_purchase", OURS]}]);
    assert_eq!((&one["outcome"], &one["mailmojo"]), (&json!("forgotten"), &lost));
    let kari = town.contact("kari@example.com");
    assert_eq!((kari.tags.clone(), kari.first_name.as_deref()), (vec!["vip".to_owned()], Some("K.")));
    assert_eq!(kari.list_status(LIST), Some("a"));
    events_come_to_nothing(&town, "kari").await;
    assert!(!town.service.output.text().contains("kari@"), "no address is logged");
}

#[tokio::test]
async fn an_address_that_is_somebody_elses_by_now_is_left_alone() {
    let town = with_kari(&[]).await;
    town.sandbox.sesamy.set_field("kari", "email", "new@example.com");
    town.sandbox.sesamy.put_user(user("ola").email("Kari@example.com").tags(["Early bird"]));
    let one = forgotten(&town, &["--mailmojo", "kari"]).await;
    let fates: Vec<&Value> = one["mailmojo"].as_array().unwrap().iter().map(|one| &one["contact"]).collect();
    assert_eq!(fates, ["anothers", "gone"]);
    assert!(town.contact("kari@example.com").tags.contains(&OURS.to_owned()));
}

#[tokio::test]
async fn where_no_address_is_remembered_the_one_that_sesamy_has_is_looked_at() {
    let town = Town::with(&[AT_ONCE]).await;
    people(&town, &["u1", "u3"]);
    town.sandbox.mailmojo.put_contact(contact(&address("u1")).tags(["vip", OURS]).on_list(LIST));
    let (code, answer) = forget(&town, &["--mailmojo", "u1", "u2", "u3"]).await;
    assert_eq!(code, Some(0), "{answer}");
    let of = |n: usize| &answer["users"][n]["mailmojo"];
    assert_eq!(of(0)[0]["tags_removed"], json!([OURS]));
    assert_eq!(of(1), &json!([]), "Sesamy does not know this one");
    assert_eq!(of(2)[0]["contact"], "gone");
    assert_eq!(town.contact(&address("u1")).tags, ["vip"]);
}

#[tokio::test]
async fn a_contact_that_a_sync_has_moved_to_and_not_told_of_yet_loses_our_tags_as_well() {
    let town = with_kari(&[]).await;
    town.sandbox.sesamy.set_field("kari", "email", "new@example.com");
    town.sandbox.mailmojo.put_contact(contact("new@example.com").tags(["own", OURS]).on_list(LIST));
    let one = forgotten(&town, &["--mailmojo", "kari"]).await;
    assert_eq!(one["mailmojo"].as_array().unwrap().len(), 2, "{one}");
    assert_eq!(town.contact("kari@example.com").tags, ["vip"]);
    assert_eq!(town.contact("new@example.com").tags, ["own"]);
}

#[tokio::test]
async fn whom_sesamy_does_not_know_or_refuses_to_tell_of_is_forgotten_all_the_same() {
    for refused in [false, true] {
        let town = with_kari(&[]).await;
        if refused {
            town.sandbox.sesamy.inject(Rule::on(Route::Profile, Fault::status(422)));
        } else {
            town.sandbox.sesamy.remove_user("kari");
        }
        assert_eq!(forgotten(&town, &["--mailmojo", "kari"]).await["outcome"], "forgotten");
        assert_eq!(town.contact("kari@example.com").tags, ["vip"]);
    }
}

#[tokio::test]
async fn while_mailmojo_fails_nobody_is_forgotten_and_the_row_is_as_it_was() {
    let town = with_kari(&[]).await;
    let words: Fault = Fault::status(422).message("no such plan for kari@example.com").into();
    town.sandbox.sesamy.inject(Rule::on(Route::Contracts, words).about("kari").times(1));
    town.sync("kari").await;
    town.parked(1).await;
    let before = crate::support::faults::text(&town, "SELECT error || answer FROM users");

    town.sandbox.mailmojo.inject(Rule::on(Route::ContactPatch, Fault::status(500)));
    let (code, answer) = forget(&town, &["--mailmojo", "kari"]).await;
    let (outcome, error) = (&answer["users"][0]["outcome"], answer["users"][0]["error"].as_str().unwrap());
    assert_eq!((code, outcome), (Some(1), &json!("not_forgotten")), "{answer}");
    assert!(error.contains("nothing was forgotten") && !error.contains("example.com"), "{error}");
    town.parked(1).await;
    assert_eq!(crate::support::faults::text(&town, "SELECT error || answer FROM users"), before);
    assert_eq!(town.query("SELECT count(*) FROM forgotten").unwrap(), 0);

    town.sandbox.mailmojo.clear_faults();
    forgotten(&town, &["--mailmojo", "kari"]).await;
    assert_eq!((rows_of(&town, "kari"), town.contact("kari@example.com").tags), (0, vec!["vip".to_owned()]));
}

#[tokio::test]
async fn a_user_who_waits_for_a_retry_waits_as_long_after_a_forgetting_that_failed() {
    let town = with_kari(&[("SYNC__BACKOFF_BASE", "1h"), ("SYNC__BACKOFF_CAP", "1h")]).await;
    town.sandbox.mailmojo.inject(Rule::on(Route::ContactGet, Fault::status(500)));
    town.event("userVendor.1#update", "kari").await;
    let failing = "SELECT count(*) FROM users WHERE failing_since IS NOT NULL AND lease IS NULL";
    town.wait_for_queue(failing, |failing| failing == 1).await;
    let due_at = || text(&town, "SELECT CAST(due_at AS TEXT) FROM users");
    let before = due_at();
    assert_eq!(forget(&town, &["--mailmojo", "kari"]).await.0, Some(1));
    assert_eq!(due_at(), before);
    town.sandbox.mailmojo.clear_faults();
    assert_eq!(run(&["queue", "retry", "kari"], town.settings()).await.code, Some(0));
}

#[tokio::test]
async fn a_forgetting_that_fails_puts_nobody_on_the_list() {
    let town = Town::with(&[AT_ONCE]).await;
    people(&town, &["u1"]);
    town.sandbox.mailmojo.inject(Rule::on(Route::ContactGet, Fault::status(500)).times(1));
    let (code, answer) = forget(&town, &["--mailmojo", "u1"]).await;
    assert_eq!(code, Some(1), "{answer}");
    town.settled().await;
    assert!(town.sandbox.mailmojo.contact(&address("u1")).is_none(), "the user was to be forgotten");
    assert_eq!(town.event("contract.1#purchased", "u1").await, 202);
    town.settled().await;
    assert!(town.sandbox.mailmojo.contact(&address("u1")).is_some(), "an event takes the user up as ever");
}

#[tokio::test]
async fn an_api_at_rest_is_told_of_and_without_mailmojo_it_needs_none() {
    let town = with_kari(&[
        ("SYNC__BACKOFF_CAP", "1h"),
        ("SYNC__DEADLINE", "1s"),
        ("SYNC__REQUEST_TIMEOUT", "500ms"),
    ])
    .await;
    town.sandbox.mailmojo.inject(Rule::on(Route::ContactGet, Fault::status(403)));
    town.event("userVendor.1#update", "kari").await;
    town.wait_for_queue(
        "SELECT count(*) FROM documents WHERE name = 'apis' AND value LIKE '%\"credentials\"%'",
        |resting| resting == 1,
    )
    .await;
    town.wait_for_queue("SELECT count(*) FROM users WHERE lease IS NOT NULL", |leased| leased == 0).await;
    let (code, answer) = forget(&town, &["--mailmojo", "kari"]).await;
    assert_eq!(code, Some(1), "{answer}");
    assert!(
        answer["users"][0]["error"].as_str().unwrap().contains("circuit is open (credentials)"),
        "{answer}"
    );
    forgotten(&town, &["kari"]).await;
    let (code, answer) = forget(&town, &["--mailmojo", "kari"]).await;
    assert_eq!(code, Some(1), "{answer}");
    assert!(answer["users"][0]["error"].as_str().unwrap().contains("was forgotten before"), "{answer}");
    town.sandbox.mailmojo.clear_faults();
    assert_eq!(run(&["queue", "resume"], town.settings()).await.code, Some(0));
    assert_eq!(forgotten(&town, &["--mailmojo", "kari"]).await["outcome"], "already_forgotten");
    assert_eq!(town.contact("kari@example.com").tags, ["vip"]);
}

#[tokio::test]
async fn killed_between_the_two_steps_to_ask_again_does_what_is_left() {
    let short = [("SYNC__DEADLINE", "2s"), ("SYNC__REQUEST_TIMEOUT", "500ms")];
    let town = with_kari(&short).await;
    // Its write is done, and the command never hears of it.
    let gate = town.sandbox.mailmojo.hold_answer(Route::ContactPatch);
    let mut by_hand = command();
    let arguments = ["forget", "--yes", "--mailmojo", "kari"];
    let mut child = by_hand.args(arguments).envs(town.settings()).spawn().unwrap();
    gate.arrived().await;
    assert_eq!(town.contact("kari@example.com").tags, ["vip"]);
    child.kill().await.unwrap();
    drop(gate);
    assert!(rows_of(&town, "kari") > 0, "the address is still known");
    // The lease of the command ends, and the service may be the first to come by: it syncs as ever.
    assert_eq!(forgotten(&town, &["--mailmojo", "kari"]).await["outcome"], "forgotten");
    assert_eq!((rows_of(&town, "kari"), town.contact("kari@example.com").tags), (0, vec!["vip".to_owned()]));
}

#[tokio::test]
async fn of_two_commands_at_once_one_forgets_and_the_other_finds_it_done() {
    let town = with_kari(&[]).await;
    let gate = town.sandbox.mailmojo.hold(Route::ContactGet);
    let first = forget(&town, &["--mailmojo", "kari"]);
    let second = async {
        gate.arrived().await;
        let second = forget(&town, &["--mailmojo", "kari"]);
        let release = async {
            town.sandbox
                .wait_until(crate::support::harness::PATIENCE, |sandbox| sandbox.in_flight() == 1)
                .await
                .unwrap();
            gate.release();
        };
        tokio::join!(second, release).0
    };
    let (first, second) = tokio::join!(first, second);
    let mut outcomes = [first, second].map(|(code, answer)| {
        assert_eq!(code, Some(0), "{answer}");
        answer["users"][0]["outcome"].as_str().unwrap().to_owned()
    });
    outcomes.sort_unstable();
    assert_eq!(outcomes, ["already_forgotten", "forgotten"]);
    assert_eq!(town.contact("kari@example.com").tags, ["vip"]);
}

#[tokio::test]
async fn a_dry_run_tells_which_tags_would_come_off_and_takes_none() {
    let town = with_kari(&[]).await;
    let dry = changed(town.settings(), &[("SYNC__DRY_RUN", "true")]);
    let ended = run(&["forget", "--json", "--mailmojo", "kari"], &dry).await;
    let answer: Value = serde_json::from_str(&ended.stdout).unwrap();
    let one = &answer["users"][0];
    assert_eq!((ended.code, &one["outcome"]), (Some(1), &json!("would_be_forgotten")), "{answer}");
    assert_eq!(one["mailmojo"][0]["tags_removed"], json!(["sesamy_made_single_purchase", OURS]));
    assert!(town.contact("kari@example.com").tags.contains(&OURS.to_owned()));
    assert!(rows_of(&town, "kari") > 0);
}

#[tokio::test]
async fn the_removal_guard_does_not_stop_an_operators_word() {
    let mut town = with_kari(&[]).await;
    town.service.terminate();
    town.service.ended().await;
    let queue = rusqlite::Connection::open(town.queue_file()).unwrap();
    queue
        .execute(
            "INSERT OR REPLACE INTO documents VALUES ('guard', \
         '{\"tripped_at\":\"2026-01-01T00:00:00Z\",\"suspects\":26,\"revision\":1}')",
            (),
        )
        .unwrap();
    drop(queue);
    let told = run(&["queue"], town.settings()).await.stdout;
    assert!(told.contains("tag removal stopped"), "{told}");
    forgotten(&town, &["--mailmojo", "kari"]).await;
    assert_eq!(town.contact("kari@example.com").tags, ["vip"]);
}

#[tokio::test]
async fn where_sesamy_does_not_say_whose_the_address_is_nothing_is_taken_and_nobody_is_forgotten() {
    let town = with_kari(&[]).await;
    town.sandbox.sesamy.inject(Rule::on(Route::Users, Fault::status(403)));
    let (code, answer) = forget(&town, &["--mailmojo", "kari"]).await;
    let (outcome, error) = (&answer["users"][0]["outcome"], answer["users"][0]["error"].as_str().unwrap());
    assert_eq!((code, outcome), (Some(1), &json!("not_forgotten")), "{answer}");
    assert!(error.contains("may search users"), "{error}");
    assert!(town.contact("kari@example.com").tags.contains(&OURS.to_owned()));
    assert_eq!(town.query("SELECT count(*) FROM forgotten").unwrap(), 0);

    // A contact without our tags leaves no question open.
    town.sandbox.mailmojo.edit("kari@example.com", |it| it.tags = vec!["vip".to_owned()]);
    let one = forgotten(&town, &["--mailmojo", "kari"]).await;
    assert_eq!(one["mailmojo"], json!([{"contact": "has_none", "tags_removed": []}]));
}
