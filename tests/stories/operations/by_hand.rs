//! `sync` and `queue`: what an operator does by hand, beside a service that goes on.

use std::collections::BTreeSet;

use serde_json::{Value, json};
use sesamy_mailmojo::sandbox::{Fault, Route, Rule, user};

use crate::support::faults::{address, people};
use crate::support::harness::{Output, Town, command};
use crate::support::shell::{Ended, changed, run};

const AT_ONCE: (&str, &str) = ("SYNC__DEBOUNCE", "0s");
/// Nobody is due for it within a story.
const NEVER: (&str, &str) = ("SYNC__DEBOUNCE", "1h");

fn json_of(ended: &Ended) -> Value {
    serde_json::from_str(&ended.stdout).unwrap_or_else(|_| panic!("{ended:?}"))
}

async fn hand(town: &Town, arguments: &[&str]) -> Ended {
    run(arguments, town.settings()).await
}

#[tokio::test]
async fn a_user_is_synced_by_hand_and_the_change_is_told() {
    let town = Town::start().await;
    town.sandbox
        .sesamy
        .put_user(user("email|kari").email("kari@example.com").first_name("Kari").tags(["Early bird"]));

    let people = hand(&town, &["sync", "email|kari"]).await;
    assert_eq!(people.code, Some(0), "{people:?}");
    for told in ["created", "email|kari", "first_name", "+ sesamy_tag_early-bird"] {
        assert!(people.stdout.contains(told), "{told} is not in {}", people.stdout);
    }
    let again = hand(&town, &["sync", "--json", "email|kari"]).await;
    let one = &json_of(&again)["users"][0];
    assert_eq!((&one["user_id"], &one["outcome"]), (&json!("email|kari"), &json!("unchanged")));
    assert_eq!(json_of(&again)["ok"], true);
    assert_eq!(town.contact("kari@example.com").tags, ["sesamy_tag_early-bird"]);
}

#[tokio::test]
async fn a_sync_by_hand_needs_no_service_and_makes_the_queue_that_one_then_takes_over() {
    let mut town = Town::with(&[AT_ONCE]).await;
    people(&town, &["u1"]);
    town.service.terminate();
    town.service.ended().await;
    std::fs::remove_file(town.queue_file()).unwrap();

    let ended = hand(&town, &["sync", "u1"]).await;
    assert_eq!(ended.code, Some(0), "{ended:?}");
    town.restart(&[]).await;
    town.sync("u1").await;
    assert_eq!(town.query("SELECT count(*) FROM users").unwrap(), 1);
}

#[tokio::test]
async fn a_sync_by_hand_waits_for_the_services_own_sync_of_the_same_user() {
    let town = Town::with(&[AT_ONCE]).await;
    people(&town, &["u1"]);
    let gate = town.sandbox.sesamy.hold(Route::Profile);
    town.event("userVendor.1#update", "u1").await;
    gate.arrived().await;

    let mut by_hand = command();
    let mut child = by_hand.args(["sync", "u1"]).envs(town.settings()).spawn().unwrap();
    let output = Output::read(child.stdout.take().unwrap(), child.stderr.take().unwrap());
    output.wait_for("that it waits", |line| text_of(line).starts_with("waiting")).await;
    gate.release();
    assert!(child.wait().await.unwrap().success(), "{}", output.text());
    output.wait_for("what came of it", |line| line.as_str().is_some_and(|line| line.contains("u1"))).await;
    // The sandbox objects to two syncs of one user at a time when the town is dropped.
    town.settled().await;
}

#[tokio::test]
async fn who_fails_by_hand_is_told_and_the_exit_code_tells_it_too() {
    let town = Town::with(&[AT_ONCE]).await;
    people(&town, &["good", "odd"]);
    let odd: Fault = Fault::status(422).message("no such plan").into();
    town.sandbox.sesamy.inject(Rule::on(Route::Profile, odd).about("odd"));

    let ended = hand(&town, &["sync", "--json", "odd", "good"]).await;
    assert_eq!(ended.code, Some(1), "{ended:?}");
    let answer = json_of(&ended);
    let outcomes: Vec<&Value> =
        answer["users"].as_array().unwrap().iter().map(|one| &one["outcome"]).collect();
    assert_eq!((outcomes, &answer["ok"]), (vec![&json!("parked"), &json!("created")], &json!(false)));
    let odd = &answer["users"][0];
    assert_eq!(odd["error"], "sesamy: GET /management/users/{id} was answered 422 (code error)", "{answer}");
    assert_eq!(
        (&odd["api_said"], &answer["users"][1]["api_said"]),
        (&json!("error; no such plan"), &Value::Null)
    );
}

#[tokio::test]
async fn an_odd_user_id_is_refused_as_a_wrong_command_line_is() {
    let town = Town::start().await;
    for command in [vec!["sync"], vec!["preview"], vec!["queue", "show"], vec!["queue", "retry"]] {
        for odd in ["", "..", "a\nb", &"x".repeat(257)] {
            let ended = hand(&town, &[command.clone(), vec![odd]].concat()).await;
            assert_eq!(ended.code, Some(2), "{command:?} {odd:?}: {ended:?}");
            assert!(ended.stderr.contains("user id"), "{ended:?}");
        }
    }
}

#[tokio::test]
async fn a_paused_queue_takes_events_and_syncs_nobody_until_it_is_resumed_a_restart_between_or_not() {
    let mut town = Town::with(&[AT_ONCE]).await;
    people(&town, &["u1"]);
    let paused = hand(&town, &["queue", "pause", "--json"]).await;
    assert_eq!(paused.code, Some(0), "{paused:?}");
    assert!(json_of(&paused)["paused_since"].is_string(), "{paused:?}");
    town.service.output.wait_for("the pause", |line| text_of(line).contains("paused")).await;

    assert_eq!(town.event("userVendor.1#update", "u1").await, 202);
    let (status, ready) = town.service.get("/readyz").await;
    assert_eq!((status.as_u16(), ready["queue"]["paused_since"].is_string()), (200, true), "{ready}");
    let by_hand = hand(&town, &["sync", "u1"]).await;
    assert_eq!(by_hand.code, Some(1), "{by_hand:?}");
    assert!(by_hand.stdout.contains("queue resume"), "{by_hand:?}");

    town.crash_and_restart(&[]).await;
    town.service.output.wait_for("the pause", |line| text_of(line).contains("paused")).await;
    assert!(town.service.metrics().await.contains("sesamy_mailmojo_queue_paused 1"));
    assert_eq!(town.sandbox.calls_to(Route::Profile).len(), 0, "nobody was synced");

    let told = hand(&town, &["queue"]).await;
    assert!(told.stdout.contains("paused") && told.stdout.contains("queue resume"), "{told:?}");
    assert_eq!(hand(&town, &["queue", "resume"]).await.code, Some(0));
    town.settled().await;
    assert!(town.sandbox.mailmojo.contact(&address("u1")).is_some());
}

fn text_of(line: &Value) -> &str {
    line["message"].as_str().unwrap_or_default()
}

#[tokio::test]
async fn who_is_parked_is_listed_with_the_reason_shown_with_the_history_and_tried_again() {
    let town = Town::with(&[AT_ONCE]).await;
    people(&town, &["odd1", "odd2", "other", "good"]);
    let refuse = |code: &str| Fault::status(422).json(json!({"error": {"code": code}}));
    let sesamy = &town.sandbox.sesamy;
    sesamy.inject(Rule::on(Route::Profile, refuse("no_such_plan")).about("odd1"));
    sesamy.inject(Rule::on(Route::Profile, refuse("no_such_plan")).about("odd2"));
    sesamy.inject(Rule::on(Route::Profile, refuse("merged_away")).about("other"));
    for user in ["odd1", "good", "odd2", "other"] {
        town.sync(user).await;
    }

    let listed =
        json_of(&hand(&town, &["queue", "list", "--state", "parked", "--reason", "PLAN", "--json"]).await);
    let ids: BTreeSet<&str> =
        listed["users"].as_array().unwrap().iter().map(|row| row["user_id"].as_str().unwrap()).collect();
    assert_eq!(ids, BTreeSet::from(["odd1", "odd2"]), "{listed}");
    let page = json_of(&hand(&town, &["queue", "list", "--limit", "2", "--json"]).await);
    assert_eq!((page["next"].as_str(), page["users"][1]["user_id"].as_str()), (Some("odd1"), Some("odd1")));
    let next = json_of(&hand(&town, &["queue", "list", "--limit", "2", "--after", "odd1", "--json"]).await);
    assert_eq!((next["next"].as_str(), next["users"].as_array().unwrap().len()), (None, 2));

    let shown = hand(&town, &["queue", "show", "odd1"]).await;
    for told in ["parked", "no_such_plan", "userVendor.1#update", "permanent"] {
        assert!(shown.stdout.contains(told), "{told} is not in {}", shown.stdout);
    }
    let unknown = hand(&town, &["queue", "show", "nobody"]).await;
    assert_eq!(unknown.code, Some(1), "{unknown:?}");

    sesamy.clear_faults();
    let counted = hand(&town, &["queue", "retry", "--reason", "plan"]).await;
    assert_eq!(counted.code, Some(1), "{counted:?}");
    assert!(counted.stdout.contains("2 users") && counted.stdout.contains("--yes"), "{counted:?}");
    town.parked(3).await;
    let retried = hand(&town, &["queue", "retry", "--reason", "plan", "--yes", "--json"]).await;
    assert_eq!(json_of(&retried), json!({"users": 2, "done": true}));
    town.parked(1).await;
    assert_eq!(hand(&town, &["queue", "retry", "other"]).await.code, Some(0));
    town.parked(0).await;
    town.settled().await;
    let nobody = hand(&town, &["queue", "retry", "--all-parked", "--yes"]).await;
    assert_eq!(nobody.code, Some(0), "{nobody:?}");
    let unknown = hand(&town, &["queue", "retry", "nobody"]).await;
    assert_eq!(unknown.code, Some(1), "{unknown:?}");

    let history = json_of(&hand(&town, &["queue", "show", "odd1", "--json"]).await)["history"].clone();
    let outcomes: Vec<&Value> = history.as_array().unwrap().iter().map(|row| &row["outcome"]).collect();
    assert_eq!(outcomes, ["created", "parked"], "{history}");
    assert_eq!(history[0]["event_type"], "retry", "{history}");
}

#[tokio::test]
async fn the_history_tells_since_when_a_reader_has_a_tag_and_folds_what_repeats_itself() {
    let town = Town::with(&[AT_ONCE]).await;
    town.sandbox.sesamy.put_user(user("u1").email("kari@example.com").tags(["One"]));
    town.sync("u1").await;
    town.sync("u1").await;
    town.sync("u1").await;
    town.sandbox.sesamy.set_field("u1", "tags", json!(["Two"]));
    town.sync("u1").await;

    let shown = json_of(&hand(&town, &["queue", "show", "u1", "--json"]).await);
    let history = &shown["history"];
    assert_eq!(history.as_array().unwrap().len(), 2, "{history}");
    let (last, first) = (&history[0], &history[1]);
    assert_eq!((&first["outcome"], &first["unchanged_times"]), (&json!("created"), &json!(2)));
    assert_eq!(first["tags_added"], json!(["sesamy_tag_one"]));
    assert_eq!(
        (&last["tags_added"], &last["tags_removed"]),
        (&json!(["sesamy_tag_two"]), &json!(["sesamy_tag_one"]))
    );
    assert_eq!((&last["changed"], &last["outcome"]), (&json!(["tags"]), &json!("updated")));
    assert!(shown["synced_at"].is_string() && shown["state"] == "idle", "{shown}");
}

#[tokio::test]
async fn the_queue_is_told_in_numbers_and_resuming_ends_an_apis_rest() {
    let town = Town::with(&[AT_ONCE, ("SYNC__BACKOFF_CAP", "1h")]).await;
    people(&town, &["u1"]);
    town.sandbox.mailmojo.inject(Rule::on(Route::ContactGet, Fault::status(403)));
    town.event("userVendor.1#update", "u1").await;
    // The rest is kept, and the sync's lease given back, only after the line that tells of it.
    town.wait_for_queue("SELECT count(*) FROM users WHERE due_at IS NOT NULL AND lease IS NULL", |due| {
        due == 1
    })
    .await;
    town.wait_for_queue(
        "SELECT count(*) FROM documents WHERE name = 'apis' AND value LIKE '%\"credentials\"%'",
        |resting| resting == 1,
    )
    .await;

    let told = hand(&town, &["queue"]).await;
    assert!(told.stdout.contains("resting") && told.stdout.contains("credentials"), "{told:?}");
    let answer = json_of(&hand(&town, &["queue", "--json"]).await);
    assert_eq!(answer["rows"]["due"], 1, "{answer}");
    assert_eq!(answer["apis"][1]["why"], "credentials", "{answer}");
    let refused = hand(&town, &["sync", "u1"]).await;
    assert_eq!(refused.code, Some(1));
    assert!(refused.stdout.contains("circuit is open (credentials)"), "{refused:?}");

    town.sandbox.mailmojo.clear_faults();
    assert_eq!(hand(&town, &["queue", "resume"]).await.code, Some(0));
    town.settled().await;
    assert!(town.sandbox.mailmojo.contact(&address("u1")).is_some());
}

#[tokio::test]
async fn without_a_queue_the_commands_say_so_and_make_none() {
    let town = Town::with(&[NEVER]).await;
    let elsewhere = town.folder.path().join("elsewhere.db");
    let settings = changed(town.settings(), &[("QUEUE__URL", &format!("sqlite://{}", elsewhere.display()))]);
    for arguments in [vec!["queue"], vec!["queue", "list"], vec!["queue", "pause"]] {
        let ended = run(&arguments, &settings).await;
        assert_eq!(ended.code, Some(1), "{ended:?}");
        assert!(ended.stderr.contains("elsewhere.db"), "{ended:?}");
    }
    assert!(!elsewhere.exists());
}

#[tokio::test]
async fn the_log_has_the_latest_syncs_of_all_users_page_by_page() {
    let town = Town::with(&[AT_ONCE]).await;
    people(&town, &["u1", "u2"]);
    for id in ["u1", "u2"] {
        town.sync(id).await;
    }
    let refusal: Fault = Fault::status(422).message("no such plan").into();
    town.sandbox.sesamy.inject(Rule::on(Route::Profile, refusal).about("u2"));
    for id in ["u1", "u2"] {
        town.event("contract.1#update", id).await;
    }
    town.parked(1).await;
    town.settled().await;

    let log = async |arguments: &[&str]| {
        json_of(&hand(&town, &[&["queue", "log", "--json"], arguments].concat()).await)
    };
    let ids = |log: &Value| -> Vec<String> {
        let entries = log["entries"].as_array().unwrap().iter();
        entries.map(|entry| entry["user_id"].as_str().unwrap().to_owned()).collect()
    };
    assert_eq!(ids(&log(&["--outcome", "parked"]).await), ["u2"]);
    assert_eq!(ids(&log(&["--outcome", "created"]).await), ["u2", "u1"], "the latest first");
    assert_eq!(log(&["--since", "1h"]).await, log(&[]).await);
    assert_eq!(log(&["--outcome", "postponed"]).await, json!({"entries": [], "next": null}));

    let first = log(&["--outcome", "created", "--limit", "1"]).await;
    let next = first["next"].as_i64().unwrap().to_string();
    let second = log(&["--outcome", "created", "--limit", "1", "--before", &next]).await;
    assert_eq!(
        (ids(&first), ids(&second), &second["next"]),
        (vec!["u2".to_owned()], vec!["u1".to_owned()], &Value::Null)
    );
    let people = hand(&town, &["queue", "log"]).await.stdout;
    for text in ["u1", "u2", "created", "parked (permanent)", "422"] {
        assert!(people.contains(text), "{text} is not in\n{people}");
    }
    assert_eq!(hand(&town, &["queue", "log", "--outcome", "good"]).await.code, Some(2));
}
