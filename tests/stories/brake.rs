//! The brake: where too many readers at once would lose the tags of what they pay for, or are suddenly unknown, something is
//! wrong at Sesamy and not with them. Tags are kept then, all else goes on, and nothing is lost when the source is mended.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::Range;

use rusqlite::Connection;
use serde_json::{Value, json};
use sesamy_mailmojo::sandbox::{Fault, Route, Rule, contract, entitlement, user};

use crate::backfill::backfill;
use crate::shell::run;
use crate::town::Town;
use crate::trouble::lines_at;

const OURS: [&str; 3] =
    ["sesamy_active_entitlement_plus", "sesamy_active_sku_plus", "sesamy_active_subscriber"];
/// Nobody waits for a burst.
const AT_ONCE: (&str, &str) = ("SYNC__DEBOUNCE", "0s");
const READERS: usize = 60;
/// The 26th of 50 turns the brake on, and is the first who keeps the tags; all who are synced at a time ask in turn.
const LOSERS: usize = 25;

fn id(n: usize) -> String {
    format!("u{n}")
}

fn address(n: usize) -> String {
    format!("u{n}@example.com")
}

fn ids(readers: Range<usize>) -> impl Iterator<Item = String> {
    readers.map(id)
}

/// Subscribers who are synced.
async fn subscribers(settings: &[(&str, &str)]) -> Town {
    let town = Town::before_start(&[&[AT_ONCE], settings].concat(), |sandbox| {
        for n in 0..READERS {
            let paid = entitlement(&format!("e{n}"), "plus").paid_by(&format!("c{n}"));
            let reader = user(&id(n)).email(&address(n)).contract(contract(&format!("c{n}")));
            sandbox.sesamy.put_user(reader.entitlement(paid));
        }
    })
    .await;
    town.sync_all(ids(0..READERS)).await;
    assert_eq!(having_tags(&town), READERS);
    town
}

fn having_tags(town: &Town) -> usize {
    town.sandbox.mailmojo.count_contacts(|it| it.tags == OURS)
}

/// Sesamy tells of no purchases any more, of nobody.
fn forgets_purchases(town: &Town) {
    for route in [Route::Contracts, Route::Entitlements] {
        town.sandbox.sesamy.inject(Rule::on(route, Fault::edit(|answer| *answer = json!([]))));
    }
}

fn is_on(line: &Value) -> bool {
    line["message"].as_str().is_some_and(|it| it.starts_with("tags are kept"))
}

fn is_off(line: &Value) -> bool {
    line["message"].as_str().is_some_and(|it| it.starts_with("tags are taken away again"))
}

async fn let_go(town: &Town) {
    let resumed = run(&["queue", "resume"], town.settings()).await;
    assert_eq!(resumed.code, Some(0), "{resumed:?}");
    town.service.output.wait_for("that tags are taken away again", is_off).await;
}

/// Waits until nobody's change is held back and nobody is due.
async fn in_step(town: &Town) {
    let left = "SELECT count(*) FROM users WHERE held_back = 1 OR due_at IS NOT NULL";
    town.wait_for_queue(left, |left| left == 0).await;
}

async fn kept_since(town: &Town) -> Value {
    let (status, ready) = town.service.get("/readyz").await;
    assert_eq!((status.as_u16(), &ready["status"]), (200, &json!("ok")));
    ready["queue"]["tags_kept_since"].clone()
}

#[tokio::test]
async fn a_source_that_forgets_all_purchases_takes_the_tags_of_25_readers_and_everything_else_goes_on() {
    let town = subscribers(&[]).await;
    forgets_purchases(&town);
    (0..READERS).for_each(|n| town.sandbox.sesamy.set_field(&id(n), "firstName", "Kari"));
    town.sandbox.sesamy.put_user(user("new").email("new@example.com").first_name("Ola"));
    town.sync_all(ids(0..READERS).chain(["new".to_owned()])).await;

    assert_eq!(having_tags(&town), READERS - LOSERS);
    let named = |name: &'static str| {
        town.sandbox.mailmojo.count_contacts(move |it| it.first_name.as_deref() == Some(name))
    };
    assert_eq!((named("Kari"), named("Ola")), (READERS, 1), "names are written, and who is new is created");
    let held = "SELECT count(*) FROM users WHERE held_back = 1";
    assert_eq!(town.query(held).unwrap(), (READERS - LOSERS) as i64);

    assert!(kept_since(&town).await.is_string());
    assert!(town.service.metrics().await.contains("\nsesamy_mailmojo_tags_kept 1\n"));
    let told = lines_at(&town, "ERROR");
    assert_eq!(told.len(), 1, "{told:?}");
    let message = told[0]["message"].as_str().unwrap();
    assert!(is_on(&told[0]) && message.contains("26") && message.contains("`queue resume`"), "{message}");
    // The first line of each reader: while the brake is on, held readers are synced again, one every few seconds.
    let lines = town.service.output.lines();
    let mut braked = BTreeMap::new();
    for line in lines.iter().filter(|line| line["braked"] == true) {
        braked.entry(line["user_id"].to_string()).or_insert(line);
    }
    assert_eq!(braked.len(), READERS - LOSERS);
    for line in braked.into_values() {
        assert_eq!((&line["dry_run"], &line["tags_removed"]), (&json!(false), &json!("")), "{line}");
        assert_eq!((&line["outcome"], &line["changed"]), (&json!("updated"), &json!("first_name")), "{line}");
    }
    let status = run(&["queue"], town.settings()).await.stdout;
    assert!(status.contains("braked since") && status.contains("`queue resume`"), "{status}");
    let json = run(&["queue", "--json"], town.settings()).await.stdout;
    assert!(serde_json::from_str::<Value>(&json).unwrap()["tags_kept_since"].is_string(), "{json}");

    // Once more, and there is nothing left to write: nobody is told to be as they should be.
    let again = town.sync_told(&id(READERS - 1)).await;
    assert_eq!((&again["outcome"], &again["reason"]), (&json!("skipped"), &json!("brake")), "{again}");
}

#[tokio::test]
async fn queue_resume_lets_go_and_all_come_in_step_with_the_mended_source() {
    let town = subscribers(&[]).await;
    forgets_purchases(&town);
    town.sync_all(ids(0..READERS)).await;
    town.sandbox.sesamy.clear_faults();
    // One of them has really left meanwhile.
    town.sandbox.sesamy.set_contracts(&id(59), Vec::<Value>::new());
    town.sandbox.sesamy.set_entitlements(&id(59), Vec::<Value>::new());

    town.sandbox.clear_calls();
    let_go(&town).await;
    in_step(&town).await;
    let synced: BTreeSet<_> =
        town.sandbox.calls_to(Route::Profile).into_iter().map(|call| call.target).collect();
    assert_eq!(synced.len(), READERS - LOSERS, "only who was held back");
    assert_eq!(town.contact(&address(59)).tags, [""; 0]);
    assert_eq!(having_tags(&town), READERS - LOSERS - 1);
    town.sync_all(ids(0..READERS)).await;
    assert_eq!(having_tags(&town), READERS - 1);
    assert!(kept_since(&town).await.is_null());
    assert!(town.service.metrics().await.contains("\nsesamy_mailmojo_tags_kept 0\n"));
}

#[tokio::test]
async fn a_source_that_heals_by_itself_is_let_go_by_the_users_who_are_synced_well() {
    let town = subscribers(&[]).await;
    forgets_purchases(&town);
    town.sync_all(ids(0..40)).await;
    assert!(kept_since(&town).await.is_string());
    town.sandbox.sesamy.clear_faults();

    // How many it takes is told by the tests of the window: users who are synced again meanwhile count too.
    town.sync_all(ids(0..50)).await;
    let told = town.service.output.wait_for("that tags are taken away again", is_off).await;
    assert_eq!(told["level"], "INFO", "{told}");
    in_step(&town).await;
    assert_eq!(having_tags(&town), READERS);
    assert!(kept_since(&town).await.is_null());
}

#[tokio::test]
async fn readers_who_never_bought_anything_do_not_let_go_of_a_source_that_is_still_ill() {
    let town = subscribers(&[]).await;
    forgets_purchases(&town);
    for n in 100..200 {
        town.sandbox.sesamy.put_user(user(&id(n)).email(&address(n)));
    }
    town.sync_all(ids(0..40)).await;
    town.sync_all(ids(100..200)).await;
    assert!(kept_since(&town).await.is_string());
    town.sync_all(ids(0..READERS)).await;
    assert_eq!(having_tags(&town), READERS - LOSERS);
}

#[tokio::test]
async fn it_is_still_on_after_a_kill() {
    let mut town = subscribers(&[]).await;
    forgets_purchases(&town);
    town.sync_all(ids(0..40)).await;
    town.crash_and_restart(&[]).await;
    let told = town.service.output.wait_for("that tags are kept", is_on).await;
    assert_eq!(told["level"], "WARN", "{told}");
    town.sync_all(ids(0..READERS)).await;
    assert_eq!(having_tags(&town), READERS - LOSERS);
    assert!(kept_since(&town).await.is_string());
}

#[tokio::test]
async fn when_everybody_is_suddenly_unknown_nobody_is_taken_for_deleted_a_day_later_either() {
    let mut town = subscribers(&[]).await;
    town.sandbox.sesamy.inject(Rule::on(Route::Profile, Fault::status(404)));
    town.sync_all(ids(0..READERS)).await;
    assert!(kept_since(&town).await.is_string());
    assert_eq!(having_tags(&town), READERS);

    // The second look comes while Sesamy still says so.
    town.service.kill().await;
    let queue = Connection::open(town.queue_file()).unwrap();
    let a_day = 25 * 60 * 60 * 1_000;
    let earlier = "UPDATE users SET missing_since = missing_since - ?1, check_at = check_at - ?1";
    assert_eq!(queue.execute(earlier, [a_day]).unwrap(), READERS);
    drop(queue);
    town.restart(&[]).await;
    let held = "SELECT count(*) FROM users WHERE held_back = 1 AND due_at IS NULL";
    town.wait_for_queue(held, |held| held == READERS as i64).await;
    assert_eq!((having_tags(&town), kept_since(&town).await.is_string()), (READERS, true));
    let told = town.end_of_sync(&id(0), 1).await;
    assert_eq!((&told["outcome"], &told["reason"]), (&json!("skipped"), &json!("brake")), "{told}");
    assert_eq!(town.query("SELECT count(*) FROM users WHERE email IS NULL").unwrap(), 0);

    // It was no deletion; but one of them is really gone.
    town.sandbox.sesamy.clear_faults();
    town.sandbox.sesamy.remove_user(&id(7));
    let_go(&town).await;
    in_step(&town).await;
    assert_eq!(having_tags(&town), READERS - 1);
    assert_eq!(town.contact(&address(7)).tags, [""; 0]);
    let left = "SELECT count(*) FROM users WHERE missing_since IS NOT NULL OR email IS NULL";
    assert_eq!(town.query(left).unwrap(), 1);
}

#[tokio::test]
async fn access_that_ends_by_its_time_for_everybody_at_once_is_no_fault_of_the_source() {
    let town = subscribers(&[]).await;
    let midnight = "2026-01-01T00:00:00Z";
    for n in 0..READERS {
        let over = contract(&format!("c{n}")).cancelled().field("willCancelAt", midnight);
        town.sandbox.sesamy.set_contracts(&id(n), [over]);
        let past = entitlement(&format!("e{n}"), "plus").ended().expires_at(midnight);
        town.sandbox.sesamy.set_entitlements(&id(n), [past]);
    }
    town.sync_all(ids(0..READERS)).await;
    assert_eq!(having_tags(&town), 0);
    assert!(kept_since(&town).await.is_null());
    assert!(!town.service.output.lines().iter().any(is_on));
}

#[tokio::test]
async fn an_address_that_changes_while_it_is_on_waits_with_both_its_contacts() {
    let town = subscribers(&[]).await;
    forgets_purchases(&town);
    town.sync_all(ids(0..40)).await;
    town.sandbox.sesamy.set_field(&id(50), "email", "moved@example.org");
    let told = town.sync_told(&id(50)).await;
    assert_eq!((&told["outcome"], &told["reason"]), (&json!("skipped"), &json!("brake")), "{told}");
    assert_eq!(told["old_tags_removed"], "", "{told}");
    assert_eq!(town.contact(&address(50)).tags, OURS);
    assert!(town.sandbox.mailmojo.contact("moved@example.org").is_none());

    town.sandbox.sesamy.clear_faults();
    let_go(&town).await;
    in_step(&town).await;
    assert_eq!(town.contact(&address(50)).tags, [""; 0]);
    assert_eq!(town.contact("moved@example.org").tags, OURS);
}

#[tokio::test]
async fn a_backfill_beside_the_service_brakes_for_both_and_tells() {
    let town = subscribers(&[]).await;
    forgets_purchases(&town);
    let report = town.folder.path().join("dry-run.jsonl");
    let dry = backfill(&town, &["--dry-run", "--report", report.to_str().unwrap()]).await.1;
    assert_eq!(dry["tags_kept"], 0, "to look is not to write: {dry}");
    assert!(kept_since(&town).await.is_null());

    let (_, summary) = backfill(&town, &[]).await;
    assert_eq!(summary["skipped"]["brake"], READERS - LOSERS, "{summary}");
    assert_eq!(having_tags(&town), READERS - LOSERS);
    town.service.output.wait_for("that tags are kept", is_on).await;
    let by_hand = run(&["sync", &id(59)], town.settings()).await;
    town.sync_all(ids(0..READERS)).await;
    assert_eq!(having_tags(&town), READERS - LOSERS);
    assert!(by_hand.stdout.contains("`queue resume`"), "{by_hand:?}");
}
