//! `backfill`: every user is made due, and synced by the service beside it, which goes on with its events; or, without a
//! service, by the command itself.

use std::collections::BTreeMap;

use serde_json::{Value, json};
use sesamy_mailmojo::sandbox::{
    Fault, Route, Rule, Sandbox, Shape, User, contact, contract, entitlement, user,
};

use crate::support::harness::{LIST, Output, PATIENCE, Town, command};
use crate::support::shell::{Ended, run, run_by};

/// When everybody was changed last who says nothing else.
const LONG_AGO: &str = "2025-06-01T00:00:00.000Z";
const SUBSCRIBER: &str = "sesamy_active_subscriber";

pub fn id(n: usize) -> String {
    format!("u{n:04}")
}

pub fn address(n: usize) -> String {
    format!("u{n:04}@example.com")
}

/// A subscriber with a tag that each of them wants: four tags in all.
pub fn reader(id: &str) -> User {
    let (contract_id, plus) = (format!("c-{id}"), entitlement(&format!("e-{id}"), "plus"));
    user(id)
        .email(&format!("{id}@example.com"))
        .first_name("Kari")
        .tags([])
        .field("updatedAt", LONG_AGO)
        .contract(contract(&contract_id))
        .entitlement(plus.paid_by(&contract_id))
}

/// So many readers, and for the first of them contacts: ten who have left, ten who are on the list, ten who are not.
pub fn move_in(sandbox: &Sandbox, users: usize) {
    (0..users).for_each(|n| sandbox.sesamy.put_user(reader(&id(n))));
    for n in 0..30 {
        let there = contact(&address(n)).tags(["vip", "sesamy_old"]);
        sandbox.mailmojo.put_contact(match n {
            0..10 => there.on_list_as(LIST, "u"),
            10..20 => there.on_list(LIST),
            _ => there,
        });
    }
}

/// Runs it to its end without being asked; what it printed as JSON.
pub async fn backfill(town: &Town, options: &[&str]) -> (Ended, Value) {
    let ended = run(&[&["backfill", "--json", "--yes"], options].concat(), town.settings()).await;
    let summary = serde_json::from_str(&ended.stdout).unwrap_or_else(|_| panic!("no JSON: {ended:?}"));
    (ended, summary)
}

/// A backfill that goes on while the story does.
pub fn begin(town: &Town, options: &[&str]) -> (tokio::process::Child, Output) {
    let mut command = command();
    let arguments = [&["backfill", "--json", "--yes"], options].concat();
    let mut child = command.args(arguments).envs(town.settings()).spawn().unwrap();
    let output = Output::read(child.stdout.take().unwrap(), child.stderr.take().unwrap());
    (child, output)
}

/// How often each user's entitlements were read: that is in every sync of a user who has an address.
pub fn reads(sandbox: &Sandbox) -> BTreeMap<String, usize> {
    let mut reads = BTreeMap::new();
    for call in sandbox.calls_to(Route::Entitlements) {
        *reads.entry(call.subject.unwrap()).or_default() += 1;
    }
    reads
}

#[track_caller]
fn assert_in_step(town: &Town, users: impl IntoIterator<Item = usize>) {
    for n in users {
        let contact = town.contact(&address(n));
        assert!(contact.sesamy_tags().contains(&SUBSCRIBER), "{contact:?}");
        assert!(!contact.sesamy_tags().contains(&"sesamy_old"), "{contact:?}");
        assert_eq!(contact.list_status(LIST), Some(if n < 10 { "u" } else { "a" }), "{contact:?}");
        assert_eq!(contact.own_tags(), if n < 30 { vec!["vip"] } else { vec![] });
    }
}

#[tokio::test]
async fn the_service_beside_it_syncs_every_user_and_a_second_backfill_writes_nothing() {
    let town = Town::start().await;
    move_in(&town.sandbox, 300);
    let (ended, summary) = backfill(&town, &[]).await;
    assert_eq!(ended.code, Some(0), "{ended:?}");
    assert_in_step(&town, 0..300);
    assert_eq!(summary["outcomes"], json!({"created": 270, "subscribed": 10, "updated": 20}), "{summary}");
    assert_eq!(
        ["ok", "finished", "users", "failed", "continued"].map(|name| summary[name].clone()),
        [json!(true), json!(true), json!(300), json!({}), json!(false)]
    );
    assert!(town.service.output.syncs_of(&id(299)).len() == 1, "the service has synced the user");
    assert!(ended.stderr.contains("backfill: ") && ended.stderr.contains(" users, "), "{ended:?}");

    town.sandbox.clear_calls();
    let (ended, summary) = backfill(&town, &[]).await;
    assert_eq!(ended.code, Some(0), "{ended:?}");
    assert_eq!(summary["outcomes"], json!({"unchanged": 300}), "{summary}");
    assert_eq!(town.sandbox.writes(), 0, "the second time there is nothing to do");
    let of_each = [Route::Profile, Route::Contracts, Route::Entitlements, Route::ContactGet];
    assert_eq!(of_each.map(|route| town.sandbox.count(route)), [300; 4], "a sync costs what it always costs");
}

#[tokio::test]
async fn an_event_is_in_step_within_three_seconds_while_a_backfill_runs_at_full_pace() {
    let town = Town::with(&[("SESAMY__REQUESTS_PER_MINUTE", "600"), ("SESAMY__BURST", "20")]).await;
    move_in(&town.sandbox, 300);
    let (mut child, output) = begin(&town, &[]);
    let synced = || town.sandbox.mailmojo.count_contacts(|it| it.tags.iter().any(|tag| tag == SUBSCRIBER));
    town.sandbox.wait_until(PATIENCE, |_| synced() >= 20).await.unwrap();

    for n in 0..3 {
        let newcomer = format!("newcomer-{n}");
        town.sandbox.sesamy.put_user(reader(&newcomer));
        let sent = std::time::Instant::now();
        assert_eq!(town.event("userVendor.1#update", &newcomer).await, 202);
        let address = format!("{newcomer}@example.com");
        let is_there = |_: &Sandbox| town.sandbox.mailmojo.contact(&address).is_some();
        town.sandbox.wait_until(PATIENCE, is_there).await.unwrap();
        assert!(
            sent.elapsed() < std::time::Duration::from_secs(3),
            "{:?}: {}",
            sent.elapsed(),
            output.tail()
        );
    }
    assert!(child.try_wait().unwrap().is_none() && synced() < 300, "the backfill was under way all the time");
    child.kill().await.unwrap();
}

#[tokio::test]
async fn a_dry_run_writes_nothing_and_its_totals_are_what_the_run_then_does() {
    let town = Town::start().await;
    move_in(&town.sandbox, 60);
    town.sandbox.sesamy.put_user(user("guest|1").email("guest@example.com"));
    town.sandbox.sesamy.put_user(user("no-address").first_name("Ola"));
    town.sandbox.sesamy.put_user(reader("odd").email("no address"));
    let before = town.sandbox.mailmojo.contacts();

    let mut by_default = command();
    by_default.current_dir(town.folder.path());
    let ended = run_by(by_default, &["backfill", "--dry-run", "--json"], town.settings()).await;
    assert_eq!(ended.code, Some(0), "{ended:?}");
    let dry: Value = serde_json::from_str(&ended.stdout).unwrap();
    assert_eq!((town.sandbox.writes(), town.sandbox.mailmojo.contacts() == before), (0, true));
    for table in ["users", "history"] {
        assert_eq!(town.query(&format!("SELECT count(*) FROM {table}")).unwrap(), 0, "{table}");
    }
    let (_, report) = ended.stderr.trim_end().rsplit_once("a line per user: ").unwrap();
    assert!(report.contains("/backfill-dry-run-"), "{report}");
    let lines = std::fs::read_to_string(report).unwrap();
    let lines: Vec<Value> = lines.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert_eq!(lines.len(), 63);
    let first = lines.iter().find(|line| line["user_id"] == id(0)).unwrap();
    assert_eq!((&first["outcome"], &first["tags_removed"]), (&json!("updated"), &json!(["sesamy_old"])));
    assert!(lines.iter().any(|line| line["reason"] == "guest"));

    // A report is the only record of its run: the next one needs a name of its own.
    let again = ["backfill", "--dry-run", "--report", report];
    let ended = run(&again, town.settings()).await;
    assert_eq!(ended.code, Some(1), "{ended:?}");
    assert!(ended.stderr.contains(".jsonl: File exists"), "{ended:?}");
    assert_eq!(std::fs::read_to_string(report).unwrap().lines().count(), 63);
    let ended = run(&["backfill", "--yes", "--report", "run.jsonl"], town.settings()).await;
    assert_eq!(
        ended.code,
        Some(2),
        "the service does the syncs of a real run, and its log and history tell of them"
    );

    let (ended, real) = backfill(&town, &[]).await;
    assert_eq!(ended.code, Some(0), "{ended:?}");
    for total in ["outcomes", "skipped", "users", "failed"] {
        assert_eq!(dry[total], real[total], "{total}");
    }
    assert_eq!(real["outcomes"], json!({"created": 30, "subscribed": 10, "updated": 20, "skipped": 3}));
    assert_eq!(
        (&dry["tags_gained"][SUBSCRIBER], &dry["tags_lost"]),
        (&json!(60), &json!({"sesamy_old": 30}))
    );
    assert_eq!(real["tags_gained"], Value::Null, "only a dry run counts tags");
    assert_in_step(&town, 0..60);
}

#[tokio::test]
async fn with_existing_only_nobody_is_created_or_subscribed() {
    let town = Town::start().await;
    move_in(&town.sandbox, 40);
    let (ended, summary) = backfill(&town, &["--existing-only"]).await;
    assert_eq!(ended.code, Some(0), "{ended:?}");
    assert_eq!(town.sandbox.count(Route::Subscribe), 0);
    assert_eq!(summary["outcomes"], json!({"updated": 30, "skipped": 10}));
    assert_eq!(summary["skipped"], json!({"not_in_mailmojo": 10}));
    assert_eq!(town.sandbox.mailmojo.contacts().len(), 30);
    assert_eq!(town.contact(&address(25)).list_status(LIST), None);
    assert!(town.contact(&address(25)).sesamy_tags().contains(&SUBSCRIBER));
}

#[tokio::test]
async fn existing_only_holds_after_the_command_was_killed_until_an_event_comes() {
    let town = Town::start().await;
    town.sandbox.sesamy.put_user(reader(&id(40)));
    let gate = town.sandbox.sesamy.hold(Route::Entitlements);
    let (mut child, _output) = begin(&town, &["--existing-only"]);
    gate.arrived().await;
    child.kill().await.unwrap();
    gate.release();
    let line = town.end_of_sync(&id(40), 1).await;
    assert_eq!(line["event_type"], "backfill --existing-only");
    assert_eq!((&line["outcome"], &line["reason"]), (&json!("skipped"), &json!("not_in_mailmojo")));
    assert!(town.sandbox.mailmojo.contacts().is_empty());

    town.sync(&id(40)).await;
    assert_in_step(&town, [40]);
}

#[tokio::test]
async fn with_updated_since_only_users_are_synced_who_or_a_contract_of_whom_were_updated() {
    let town = Town::start().await;
    move_in(&town.sandbox, 40);
    let now = jiff::Timestamp::now().to_string();
    town.sandbox.sesamy.put_user(reader("u0003").field("updatedAt", now.as_str()));
    town.sandbox.sesamy.set_contracts("u0005", [contract("c-u0005").field("updatedAt", now.as_str())]);
    town.sandbox.sesamy.set_field("u0005", "updatedAt", LONG_AGO);
    town.sandbox.sesamy.put_user(reader("u0007").field("updatedAt", "whenever"));
    let (ended, summary) = backfill(&town, &["--updated-since", "2h"]).await;
    assert_eq!(ended.code, Some(0), "{ended:?}");
    assert_eq!(reads(&town.sandbox).keys().collect::<Vec<_>>(), ["u0003", "u0005", "u0007"]);
    assert_eq!((&summary["not_recent"], &summary["outcomes"]), (&json!(37), &json!({"updated": 3})));
}

#[tokio::test]
async fn a_user_whose_row_shifts_between_two_pages_and_a_newcomer_are_not_missed() {
    let town = Town::start().await;
    move_in(&town.sandbox, 250);
    town.sandbox.sesamy.answer_as(Shape::Envelope);
    // One is gone, so that the first row of the third page is the last of the second by then; and one comes.
    town.sandbox.sesamy.remove_user_after_page(100, &id(0));
    town.sandbox.sesamy.put_user_after_page(200, reader("a-newcomer"));
    let (ended, summary) = backfill(&town, &[]).await;
    assert_eq!(ended.code, Some(0), "{ended:?}");
    assert_in_step(&town, 1..250);
    assert_eq!(town.contact("a-newcomer@example.com").list_status(LIST), Some("a"));
    assert_eq!(summary["finished"], true, "{summary}");
    assert_eq!(reads(&town.sandbox).values().max(), Some(&1), "nobody is synced twice");
}

#[tokio::test]
async fn while_syncs_are_paused_it_waits_and_says_what_for() {
    let town = Town::start().await;
    move_in(&town.sandbox, 5);
    assert_eq!(run(&["queue", "pause"], town.settings()).await.code, Some(0));
    let (mut child, output) = begin(&town, &[]);
    output.wait_for("that it waits", |line| says(line, "syncs are paused")).await;
    let queued = "SELECT count(*) FROM users";
    assert_eq!((town.sandbox.writes(), town.query(queued).unwrap()), (0, 0), "nobody is made due");
    assert_eq!(run(&["queue", "resume"], town.settings()).await.code, Some(0));
    assert!(child.wait().await.unwrap().success(), "{}", output.text());
    assert_in_step(&town, 0..5);
}

/// Whether a line of its log, or of what it prints, says `what`.
pub fn says(line: &Value, what: &str) -> bool {
    let text = line["message"].as_str().or_else(|| line.as_str());
    text.is_some_and(|text| text.contains(what))
}

#[tokio::test]
async fn without_a_service_the_command_syncs_everybody_itself_tries_again_and_counts_who_failed() {
    let mut town = Town::start().await;
    move_in(&town.sandbox, 20);
    town.service.terminate();
    town.service.ended().await;
    let refusal = Fault::status(422).json(json!({"code": "no_such_address", "detail": "no: u3@example.com"}));
    town.sandbox.mailmojo.inject(Rule::on(Route::ContactPatch, refusal).about(&address(3)));
    town.sandbox
        .mailmojo
        .inject(Rule::on(Route::ContactPatch, Fault::status(503)).about(&address(5)).times(2));
    let (ended, summary) = backfill(&town, &[]).await;
    assert_eq!(ended.code, Some(1), "{ended:?}");
    assert_eq!((&summary["finished"], &summary["ok"]), (&json!(true), &json!(false)));
    assert_eq!(summary["failed"], json!({"permanent": 1}), "{summary}");
    assert_in_step(&town, (0..20).filter(|n| *n != 3));
    assert!(ended.stderr.contains("no service works on the queue"), "{ended:?}");
    assert_eq!(town.query("SELECT count(*) FROM users WHERE parked_at IS NOT NULL").unwrap(), 1);
    assert_eq!(town.query("SELECT count(*) FROM users WHERE due_at IS NOT NULL").unwrap(), 0);
    assert!(!ended.stdout.contains("example.com"), "{}", ended.stdout);
}

#[tokio::test]
async fn a_page_that_fails_in_passing_is_asked_for_again_and_wrong_credentials_end_it() {
    let town = Town::start().await;
    move_in(&town.sandbox, 20);
    town.sandbox.sesamy.inject(Rule::on(Route::Users, Fault::status(503)).after(1).times(2));
    town.sandbox.sesamy.inject(Rule::on(Route::Contracts, Fault::CutJson).times(1));
    let (ended, _) = backfill(&town, &[]).await;
    assert_eq!(ended.code, Some(0), "{ended:?}");
    assert_in_step(&town, 0..20);

    town.sandbox.sesamy.inject(Rule::on(Route::Users, Fault::status(403)));
    let ended = run(&["backfill", "--yes"], town.settings()).await;
    assert_eq!((ended.code, ended.stdout.as_str()), (Some(1), ""));
    assert!(ended.stderr.contains("the list of users cannot be read"), "{ended:?}");
}

#[tokio::test]
async fn a_list_of_contracts_that_names_nobody_makes_updated_since_take_everybody() {
    let town = Town::start().await;
    move_in(&town.sandbox, 20);
    town.sandbox.sesamy.inject(
        Rule::on(
            Route::Contracts,
            Fault::edit(|answer| {
                for row in answer.as_array_mut().into_iter().flatten() {
                    row.as_object_mut().map(|row| row.remove("userId"));
                }
            }),
        )
        .times(1),
    );
    let (ended, summary) = backfill(&town, &["--updated-since", "2h"]).await;
    assert_eq!(ended.code, Some(0), "{ended:?}");
    assert_in_step(&town, 0..20);
    assert_eq!(ended.stderr.matches("its rows name no user").count(), 1, "{ended:?}");
    assert_eq!((&summary["not_recent"], &summary["outcomes"]), (&json!(0), &json!({"updated": 20})));
}

#[tokio::test]
async fn a_real_run_prints_its_plan_and_needs_yes_where_nobody_can_be_asked() {
    let town = Town::start().await;
    move_in(&town.sandbox, 12);
    let ended = run(&["backfill", "--existing-only"], town.settings()).await;
    assert_eq!((ended.code, ended.stdout.as_str()), (Some(1), ""));
    for told in ["Sesamy users with list 7", "nobody is created or subscribed", "--yes", "--dry-run"] {
        assert!(ended.stderr.contains(told), "{told} is not in {}", ended.stderr);
    }
    assert_eq!(
        (
            town.sandbox.writes(),
            town.query("SELECT count(*) FROM documents WHERE name = 'backfill'").unwrap()
        ),
        (0, 0)
    );

    let ended = run(&["backfill", "--yes"], town.settings()).await;
    assert_eq!(ended.code, Some(0), "{ended:?}");
    for told in ["done", "12 users", "updated", "12"] {
        assert!(ended.stdout.contains(told), "{told} is not in {}", ended.stdout);
    }
}

#[tokio::test]
async fn a_backfill_is_in_the_history_and_in_the_status_until_it_ends() {
    let town = Town::start().await;
    move_in(&town.sandbox, 12);
    let gate = town.sandbox.sesamy.hold_for(Route::Entitlements, &id(11));
    let (mut child, output) = begin(&town, &[]);
    gate.arrived().await;
    let status = || async { run(&["queue", "--json"], town.settings()).await.stdout };
    let status_during: Value = serde_json::from_str(&status().await).unwrap();
    assert_eq!(status_during["backfill"]["due"], 12, "{status_during}");
    gate.release();
    assert!(child.wait().await.unwrap().success(), "{}", output.text());
    let status_after: Value = serde_json::from_str(&status().await).unwrap();
    assert_eq!(status_after["backfill"], Value::Null);
    assert_eq!(
        town.query("SELECT count(*) FROM history WHERE json_extract(entry, '$.event_type') = 'backfill'")
            .unwrap(),
        12
    );
    assert_eq!(town.query("SELECT count(*) FROM users WHERE due_at IS NOT NULL").unwrap(), 0);
    assert_eq!(town.query("SELECT count(*) FROM documents WHERE name = 'backfill' AND json_extract(value, '$.ended_at') IS NOT NULL").unwrap(), 1);
}

#[tokio::test]
async fn small_pages_and_unreadable_rows_keep_nobody_from_being_synced() {
    for cap in [50, 20] {
        let town = Town::start().await;
        town.sandbox.sesamy.set_page_cap(cap);
        move_in(&town.sandbox, 120);
        for odd in ["u0003-null", "u0003-number", "u0049-object", "u0070-array", "u0119-id", "u0119-nobody"] {
            town.sandbox.sesamy.put_user(user(odd).email("odd@example.com"));
        }
        town.sandbox.sesamy.inject(Rule::on(
            Route::Users,
            Fault::edit(|rows| {
                for row in rows.as_array_mut().unwrap() {
                    match row["id"].as_str().unwrap().split_once('-').map_or("", |(_, odd)| odd) {
                        "null" => *row = Value::Null,
                        "number" => *row = json!(7),
                        "object" => *row = json!({}),
                        "array" => *row = json!([]),
                        "id" => row["id"] = json!(7),
                        "nobody" => row["id"] = Value::Null,
                        _ => {}
                    }
                    if row.is_object() {
                        row.as_object_mut().unwrap().remove("userId");
                    }
                }
            }),
        ));
        let (ended, summary) = backfill(&town, &[]).await;
        assert_eq!(ended.code, Some(0), "{ended:?}");
        assert_in_step(&town, 0..120);
        let told = ["ok", "finished", "users", "left_out"].map(|name| summary[name].clone());
        assert_eq!(told, [json!(true), json!(true), json!(126), json!(6)], "{cap}: {summary}");
        assert!(ended.stderr.contains("rows of Sesamy's list of users are left out"), "{}", ended.stderr);
    }
}

#[tokio::test]
async fn a_list_of_users_that_ignores_the_offset_ends_a_backfill_with_the_reason() {
    let town = Town::start().await;
    move_in(&town.sandbox, 20);
    let odd: Vec<Value> = vec![Value::Null; 12];
    for rows in [json!(odd), json!((0..20).map(|n| json!({"id": id(n)})).collect::<Vec<_>>())] {
        town.sandbox.sesamy.clear_faults();
        town.sandbox.sesamy.inject(Rule::on(Route::Users, Fault::wrong_shape(rows)));
        let ended = run(&["backfill", "--yes"], town.settings()).await;
        assert_eq!(ended.code, Some(1), "{ended:?}");
        assert!(ended.stderr.contains("the same page again and again"), "{}", ended.stderr);
    }
}
