//! `forget`: a user erased by an operator's word, whatever the user waits for, and whatever is wrong with an API.

use std::path::Path;
use std::time::Duration;

use serde_json::{Value, json};
use sesamy_mailmojo::sandbox::{Fault, Route, Rule, user};

use crate::support::faults::{address, people};
use crate::support::harness::{Output, PATIENCE, Town, command};
use crate::support::shell::{Ended, changed, run};

const AT_ONCE: (&str, &str) = ("SYNC__DEBOUNCE", "0s");
/// Nobody is due for it within a story.
const NEVER: (&str, &str) = ("SYNC__DEBOUNCE", "1h");

pub async fn hand(town: &Town, arguments: &[&str]) -> Ended {
    run(arguments, town.settings()).await
}

/// Has these forgotten without being asked; what the command answers.
pub async fn forget(town: &Town, arguments: &[&str]) -> (Option<i32>, Value) {
    let ended = hand(town, &[&["forget", "--json", "--yes"], arguments].concat()).await;
    let answer = serde_json::from_str(&ended.stdout).unwrap_or_else(|_| panic!("no JSON: {ended:?}"));
    (ended.code, answer)
}

/// Has one user forgotten, which must go well.
pub async fn forgotten(town: &Town, arguments: &[&str]) -> Value {
    let (code, answer) = forget(town, arguments).await;
    assert_eq!((code, &answer["ok"]), (Some(0), &json!(true)), "{answer}");
    answer["users"][0].clone()
}

/// An event of `user` is answered as ever, and nothing comes of it: somebody else's, which is later, is over by then.
pub async fn events_come_to_nothing(town: &Town, user: &str) {
    people(town, &["later"]);
    let calls = town.sandbox.sesamy.count(Route::Profile);
    assert_eq!(town.event("contract.1#purchased", user).await, 202);
    town.sync("later").await;
    assert_eq!(town.sandbox.sesamy.count(Route::Profile), calls + 1, "{user} was asked for");
    assert_eq!(rows_of(town, user), 0);
}

pub fn rows_of(town: &Town, user: &str) -> i64 {
    let of =
        |table: &str| town.query(&format!("SELECT count(*) FROM {table} WHERE user_id = '{user}'")).unwrap();
    of("users") + of("history")
}

/// In the bytes of all files of `folder`, letter case aside.
fn is_in_files(folder: &Path, word: &str) -> bool {
    std::fs::read_dir(folder).unwrap().any(|file| {
        let bytes = std::fs::read(file.unwrap().path()).unwrap().to_ascii_lowercase();
        bytes.windows(word.len()).any(|window| window == word.as_bytes())
    })
}

#[tokio::test]
async fn who_is_forgotten_is_in_no_file_of_the_queue_and_events_come_to_nothing() {
    let town = Town::with(&[AT_ONCE]).await;
    town.sandbox
        .sesamy
        .put_user(user("canary-id").email("canary@example.com").tags(["Canarytag"]).first_name("Kari"));
    people(&town, &["stays"]);
    town.sync_all(["canary-id", "stays"]).await;
    town.sync("canary-id").await;
    for word in ["canary-id", "canary@example.com", "canarytag"] {
        assert!(
            is_in_files(town.folder.path(), word),
            "{word} is not kept, so that nothing is shown by its loss"
        );
    }

    let one = forgotten(&town, &["canary-id"]).await;
    assert_eq!(
        one,
        json!({"user_id": "canary-id", "outcome": "forgotten", "was_known": true, "history_rows": 1, "mailmojo": null})
    );
    events_come_to_nothing(&town, "canary-id").await;
    let erased = tokio::time::timeout(PATIENCE, async {
        while is_in_files(town.folder.path(), "canary") {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    });
    erased.await.expect("the event's row is erased when it is leased, and the log is emptied after that");
    assert!(rows_of(&town, "stays") > 0);
    assert_eq!(town.query("SELECT count(*) FROM forgotten WHERE length(hash) = 64").unwrap(), 1);
    assert_eq!(
        town.contact("canary@example.com").tags,
        ["sesamy_tag_canarytag"],
        "Mailmojo was not asked for"
    );
}

#[tokio::test]
async fn who_is_due_parked_or_being_synced_is_forgotten_too() {
    let town = Town::with(&[AT_ONCE]).await;
    people(&town, &["parked", "leased"]);
    let refuse: Fault = Fault::status(422).message("no such plan").into();
    town.sandbox.sesamy.inject(Rule::on(Route::Profile, refuse).about("parked"));
    town.sync("parked").await;
    town.parked(1).await;
    assert_eq!(forgotten(&town, &["parked"]).await["outcome"], "forgotten");

    let gate = town.sandbox.sesamy.hold_for(Route::Profile, "leased");
    assert_eq!(town.event("userVendor.1#update", "leased").await, 202);
    gate.arrived().await;
    let mut by_hand = command();
    let mut child = by_hand.args(["forget", "--yes", "leased"]).envs(town.settings()).spawn().unwrap();
    let output = Output::read(child.stdout.take().unwrap(), child.stderr.take().unwrap());
    let waits = |line: &Value| line["message"].as_str().is_some_and(|text| text.starts_with("waiting"));
    output.wait_for("that it waits", waits).await;
    // One more, which makes the user due again once that sync is over.
    assert_eq!(town.event("userVendor.1#update", "leased").await, 202);
    gate.release();
    assert!(child.wait().await.unwrap().success(), "{}", output.text());
    for user in ["parked", "leased"] {
        assert_eq!(rows_of(&town, user), 0, "{user}");
    }

    let town = Town::with(&[NEVER]).await;
    people(&town, &["due"]);
    assert_eq!(town.event("userVendor.1#update", "due").await, 202);
    assert_eq!(forgotten(&town, &["due"]).await["was_known"], true);
    assert_eq!(rows_of(&town, "due"), 0);
}

#[tokio::test]
async fn without_a_service_it_works_as_well_and_the_next_one_keeps_to_it() {
    let mut town = Town::with(&[AT_ONCE]).await;
    people(&town, &["u1"]);
    town.sync("u1").await;
    town.service.terminate();
    town.service.ended().await;
    forgotten(&town, &["u1"]).await;
    town.restart(&[]).await;
    events_come_to_nothing(&town, "u1").await;
    town.crash_and_restart(&[]).await;
    events_come_to_nothing(&town, "u1").await;
}

#[tokio::test]
async fn who_is_not_known_is_forgotten_beforehand_and_once_is_enough() {
    let town = Town::with(&[AT_ONCE]).await;
    people(&town, &["u1"]);
    let first = hand(&town, &["forget", "--yes", "u1"]).await;
    assert_eq!(first.code, Some(0), "{first:?}");
    assert!(first.stdout.contains("nothing is known of this user"), "{first:?}");
    events_come_to_nothing(&town, "u1").await;
    let second = hand(&town, &["forget", "--yes", "u1"]).await;
    assert_eq!(second.code, Some(0), "{second:?}");
    assert!(second.stdout.contains("already forgotten"), "{second:?}");
}

#[tokio::test]
async fn it_is_asked_for_twice_and_tells_first_what_there_is() {
    let town = Town::with(&[AT_ONCE]).await;
    people(&town, &["u1"]);
    town.sync("u1").await;
    let asked = hand(&town, &["forget", "u1", "u2", "--mailmojo"]).await;
    assert_eq!(asked.code, Some(1), "{asked:?}");
    for told in
        ["one row, and 1 row of history", "nothing is known of this user", "nothing was changed", "--yes"]
    {
        assert!(asked.stdout.contains(told), "{told} is not in {}", asked.stdout);
    }
    let asked = hand(&town, &["forget", "--json", "u1"]).await;
    let answer: Value = serde_json::from_str(&asked.stdout).unwrap();
    assert_eq!((asked.code, &answer["done"], &answer["ok"]), (Some(1), &json!(false), &json!(false)));
    assert_eq!(answer["users"][0]["outcome"], "would_be_forgotten");

    let dry = changed(town.settings(), &[("SYNC__DRY_RUN", "true")]);
    let dry = run(&["forget", "--yes", "--mailmojo", "u1"], &dry).await;
    assert_eq!(dry.code, Some(1), "{dry:?}");
    assert!(dry.stdout.contains("would be forgotten") && dry.stdout.contains("sync.dry_run"), "{dry:?}");
    assert!(rows_of(&town, "u1") > 0);
    assert_eq!(town.query("SELECT count(*) FROM forgotten").unwrap(), 0);
}

#[tokio::test]
async fn neither_an_api_at_rest_nor_a_pause_nor_a_used_up_rate_keeps_anybody_from_being_forgotten() {
    let slow = [("MAILMOJO__REQUESTS_PER_MINUTE", "1"), ("MAILMOJO__BURST", "2")];
    let town = Town::with(&[&[AT_ONCE, ("SYNC__BACKOFF_CAP", "1h")], &slow[..]].concat()).await;
    people(&town, &["u1", "u2"]);
    town.sync("u1").await;
    assert_eq!(hand(&town, &["queue", "pause"]).await.code, Some(0));
    town.event("userVendor.1#update", "u2").await;
    forgotten(&town, &["u2"]).await;
    assert_eq!(hand(&town, &["queue", "resume"]).await.code, Some(0));
    town.sandbox.sesamy.inject(Rule::on(Route::Profile, Fault::status(403)));
    forgotten(&town, &["u1"]).await;
    assert_eq!(town.query("SELECT count(*) FROM users").unwrap(), 0);
}

#[tokio::test]
async fn every_command_says_of_whom_that_the_user_was_forgotten_and_one_takes_the_user_up_again() {
    let town = Town::with(&[AT_ONCE]).await;
    people(&town, &["u1"]);
    town.sync("u1").await;
    forgotten(&town, &["u1"]).await;
    town.sandbox.clear_calls();
    for command in [vec!["sync"], vec!["preview"], vec!["queue", "show"], vec!["queue", "retry"]] {
        let ended = hand(&town, &[&command[..], &["u1"]].concat()).await;
        assert_eq!(ended.code, Some(1), "{command:?}: {ended:?}");
        let told = format!("{}{}", ended.stdout, ended.stderr);
        assert!(told.contains("was forgotten") && told.contains("sync --again"), "{command:?}: {told}");
    }
    assert_eq!(town.sandbox.calls().len(), 0, "nobody was asked about the user");
    assert_eq!(rows_of(&town, "u1"), 0, "nobody is made known by asking");

    let again = hand(&town, &["sync", "--again", "u1"]).await;
    assert_eq!(again.code, Some(0), "{again:?}");
    assert_eq!(town.query("SELECT count(*) FROM forgotten").unwrap(), 0);
    town.sandbox.sesamy.set_field("u1", "tags", json!(["Back"]));
    town.sync("u1").await;
    assert_eq!(town.contact(&address("u1")).tags, ["sesamy_tag_back"]);
}

#[tokio::test]
async fn what_is_remembered_of_a_user_is_shown_to_who_asks_for_that_user_and_in_no_list() {
    let town = Town::with(&[AT_ONCE]).await;
    people(&town, &["u1"]);
    town.sync("u1").await;
    let shown: Value =
        serde_json::from_str(&hand(&town, &["queue", "show", "--json", "u1"]).await.stdout).unwrap();
    assert_eq!(
        shown["memory"],
        json!({"email": address("u1"), "contact": {"status": "a", "on_list": true, "list_status": "a"},
            "has_left": false, "missing_since": null})
    );
    let people = hand(&town, &["queue", "show", "u1"]).await.stdout;
    assert!(people.contains(&address("u1")) && people.contains("active on the list"), "{people}");
    for list in [&["queue", "list"][..], &["queue", "list", "--json"]] {
        let listed = hand(&town, list).await.stdout;
        assert!(listed.contains("u1") && !listed.contains('@'), "{listed}");
    }
}

#[tokio::test]
async fn a_backfill_counts_forgotten_users_and_does_nothing_for_them() {
    let town = Town::with(&[AT_ONCE]).await;
    people(&town, &["u1", "u2", "u3"]);
    forgotten(&town, &["u2"]).await;
    let report = town.folder.path().join("report.jsonl");
    let dry_run = ["--dry-run", "--report", report.to_str().unwrap()];
    for options in [&dry_run[..], &[]] {
        town.sandbox.clear_calls();
        let (ended, summary) = crate::backfill::command::backfill(&town, options).await;
        assert_eq!(ended.code, Some(0), "{ended:?}");
        let created = summary["outcomes"]["created"].as_u64();
        assert_eq!((summary["forgotten"].as_u64(), created), (Some(1), Some(2)), "{summary}");
        let asked = town.sandbox.calls().into_iter().any(|call| format!("{call:?}").contains("u2"));
        assert!(!asked, "{:?}", town.sandbox.calls());
    }
    assert!(town.sandbox.mailmojo.contact(&address("u2")).is_none());
    std::fs::remove_file(&report).unwrap();
    let told = hand(&town, &[&["backfill", "--yes"], &dry_run[..]].concat()).await.stdout;
    assert!(told.contains("forgotten by an operator"), "{told}");
    let lines = std::fs::read_to_string(&report).unwrap();
    assert!(lines.contains(r#""user_id":"u2","outcome":"forgotten""#), "{lines}");
}

#[tokio::test]
async fn an_id_that_is_an_address_is_logged_as_a_hash_and_an_odd_one_is_refused() {
    let town = Town::with(&[AT_ONCE]).await;
    let ended = run(&["forget", "--yes", "kari@example.com"], town.settings()).await;
    assert_eq!(ended.code, Some(0), "{ended:?}");
    assert!(ended.stdout.contains("kari@example.com"), "an operator named it: {ended:?}");
    assert!(ended.stderr.contains("sha256:") && !ended.stderr.contains("example"), "{}", ended.stderr);
    for odd in ["", "..", "a\nb", &"x".repeat(257)] {
        let ended = run(&["forget", "--yes", odd], town.settings()).await;
        assert_eq!(ended.code, Some(2), "{odd:?}: {ended:?}");
    }
}
