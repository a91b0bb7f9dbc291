//! The removal guard: where too many readers at once would lose all of their tags, or are suddenly unknown, the source is
//! broken and not they. Nothing is removed then, everything else goes on, and an operator decides.
//!
//! How many lose their tags before it trips depends on how many syncs are under way, so the stories bound that number and
//! never name it.

use std::collections::BTreeSet;
use std::ops::Range;
use std::time::Duration;

use jiff::Timestamp;
use serde_json::{Value, json};
use sesamy_mailmojo::sandbox::{Fault, Route, Rule, Sandbox, contract, entitlement, user};

use crate::backfill::command::backfill;
use crate::support::admin::Office;
use crate::support::faults::{lines_at, time_passes};
use crate::support::harness::{PATIENCE, Service, Town};
use crate::support::postgres::Database;
use crate::support::shell::run;

const OURS: [&str; 3] =
    ["sesamy_active_entitlement_plus", "sesamy_active_sku_plus", "sesamy_active_subscriber"];
const READERS: usize = 60;
/// So many may lose their tags, and those who are under way.
const MOST: usize = 25;
const CONCURRENCY: usize = 4;
const SETTINGS: [(&str, &str); 2] = [("SYNC__DEBOUNCE", "0s"), ("SYNC__CONCURRENCY", "4")];
const HELD: &str = "SELECT count(*) FROM users WHERE held_back = 1";

fn id(n: usize) -> String {
    format!("u{n}")
}

fn address(n: usize) -> String {
    format!("u{n}@example.com")
}

fn ids(readers: Range<usize>) -> impl Iterator<Item = String> {
    readers.map(id)
}

/// Sesamy has subscribers.
fn move_in(sandbox: &Sandbox) {
    for n in 0..READERS {
        let paid = entitlement(&format!("e{n}"), "plus").paid_by(&format!("c{n}"));
        let reader = user(&id(n)).email(&address(n)).contract(contract(&format!("c{n}")));
        sandbox.sesamy.put_user(reader.entitlement(paid));
    }
}

/// Subscribers who are synced.
async fn subscribers(settings: &[(&str, &str)]) -> Town {
    let town = Town::before_start(&[&SETTINGS[..], settings].concat(), move_in).await;
    town.sync_all(ids(0..READERS)).await;
    assert_eq!(having_tags(&town), READERS);
    town
}

/// Readers with a tag of their profile, and nothing bought.
async fn tagged_readers() -> Town {
    let town = Town::before_start(&SETTINGS, |sandbox| {
        for n in 0..READERS {
            sandbox.sesamy.put_user(user(&id(n)).email(&address(n)).tags(["Early bird"]));
        }
    })
    .await;
    town.sync_all(ids(0..READERS)).await;
    assert_eq!(having(&town, "sesamy_tag_early-bird"), READERS);
    town
}

fn having_tags(town: &Town) -> usize {
    town.sandbox.mailmojo.count_contacts(|it| it.tags == OURS)
}

fn having(town: &Town, tag: &'static str) -> usize {
    town.sandbox.mailmojo.count_contacts(move |it| it.tags.iter().any(|it| it == tag))
}

/// Sesamy lists no purchases any more, of nobody.
fn forgets_purchases(town: &Town) {
    for route in [Route::Contracts, Route::Entitlements] {
        town.sandbox.sesamy.inject(Rule::on(route, Fault::edit(|answer| *answer = json!([]))));
    }
}

fn buys_nothing(town: &Town, n: usize) {
    town.sandbox.sesamy.set_contracts(&id(n), Vec::<Value>::new());
    town.sandbox.sesamy.set_entitlements(&id(n), Vec::<Value>::new());
}

fn has_tripped(line: &Value) -> bool {
    line["message"].as_str().is_some_and(|it| it.starts_with("tag removal stopped"))
}

fn was_released(line: &Value) -> bool {
    line["message"].as_str().is_some_and(|it| it.starts_with("tag removal resumed"))
}

/// The guard has tripped, in time.
#[track_caller]
fn few_have_lost(having_tags: usize, in_flight: usize) {
    let lost = READERS - having_tags;
    assert!((MOST + 1..=MOST + in_flight).contains(&lost), "{lost} have lost their tags");
}

async fn resume(town: &Town, options: &[&str]) -> Value {
    let resumed = run(&[&["queue", "resume", "--json"], options].concat(), town.settings()).await;
    assert_eq!(resumed.code, Some(0), "{resumed:?}");
    serde_json::from_str(&resumed.stdout).unwrap()
}

/// Waits until nobody's change is held back and nobody is due.
async fn in_step(town: &Town) {
    let left = "SELECT count(*) FROM users WHERE held_back = 1 OR due_at IS NOT NULL";
    town.wait_for_queue(left, |left| left == 0).await;
}

async fn kept_since(service: &Service) -> Value {
    let (status, ready) = service.get("/readyz").await;
    assert_eq!((status.as_u16(), &ready["status"]), (200, &json!("ok")));
    ready["queue"]["tags_kept_since"].clone()
}

async fn nothing_trips(town: &Town) {
    assert!(kept_since(&town.service).await.is_null());
    assert!(!town.service.output.lines().iter().any(has_tripped));
    assert_eq!(town.query(HELD).unwrap(), 0);
}

#[tokio::test]
async fn a_source_that_forgets_all_purchases_takes_the_tags_of_few_readers_and_everything_else_goes_on() {
    let town = subscribers(&[]).await;
    forgets_purchases(&town);
    (0..READERS).for_each(|n| town.sandbox.sesamy.set_field(&id(n), "firstName", "Kari"));
    town.sandbox.sesamy.put_user(user("new").email("new@example.com").first_name("Ola"));
    town.sync_all(ids(0..READERS).chain(["new".to_owned()])).await;

    let having = having_tags(&town);
    few_have_lost(having, CONCURRENCY);
    let named = |name: &'static str| {
        town.sandbox.mailmojo.count_contacts(move |it| it.first_name.as_deref() == Some(name))
    };
    assert_eq!((named("Kari"), named("Ola")), (READERS, 1), "names are written, and a new user is created");
    assert_eq!(town.query(HELD).unwrap(), having as i64);

    let tripped = town.service.output.wait_for("that the guard has tripped", has_tripped).await;
    let message = tripped["message"].as_str().unwrap();
    assert!(message.contains("26 of the last 50") && message.contains("`queue resume`"), "{message}");
    let errors = lines_at(&town, "ERROR");
    assert_eq!(errors.len(), 1, "{errors:?}");
    assert!(kept_since(&town.service).await.is_string());
    assert!(town.service.metrics().await.contains("\nsesamy_mailmojo_tags_kept 1\n"));

    let lines = town.service.output.lines();
    let held: Vec<&Value> = lines.iter().filter(|line| line["braked"] == true).collect();
    assert_eq!(held.len(), having);
    for line in held {
        assert_eq!((&line["dry_run"], &line["tags_removed"]), (&json!(false), &json!("")), "{line}");
        assert_eq!((&line["outcome"], &line["changed"]), (&json!("updated"), &json!("first_name")), "{line}");
        assert_eq!(line["tags_held"], OURS.join(","), "{line}");
    }
    let status = run(&["queue"], town.settings()).await.stdout;
    assert!(status.contains("tag removal stopped since") && status.contains("`queue resume`"), "{status}");

    // Synced once more, there is nothing left to write, and the contact is still not as it should be.
    let list = run(&["queue", "list", "--state", "held", "--json"], town.settings()).await.stdout;
    let users = serde_json::from_str::<Value>(&list).unwrap()["users"].as_array().unwrap().clone();
    assert_eq!(users.len(), having);
    assert!(users.iter().all(|user| user["tags_held"] == json!(OURS)), "{users:?}");
    let one = users[0]["user_id"].as_str().unwrap();
    let again = town.sync_told(one).await;
    assert_eq!((&again["outcome"], &again["reason"]), (&json!("skipped"), &json!("brake")), "{again}");
    let shown = run(&["queue", "show", one, "--json"], town.settings()).await.stdout;
    let shown: Value = serde_json::from_str(&shown).unwrap();
    assert_eq!(shown["history"][0]["tags_held"], json!(OURS), "{shown}");
    let preview = run(&["preview", one, "--json"], town.settings()).await.stdout;
    let preview: Value = serde_json::from_str(&preview).unwrap();
    let preview = &preview["users"][0]["preview"];
    assert_eq!((&preview["request"], &preview["held_back"]), (&json!(null), &json!(true)), "{preview}");
    assert!(preview["tags"].as_array().unwrap().iter().all(|tag| tag["why"] == "held"), "{preview}");
}

#[tokio::test]
async fn a_change_that_was_right_goes_through_in_one_step_once_an_operator_says_so() {
    let town = subscribers(&[]).await;
    (0..READERS).for_each(|n| buys_nothing(&town, n));
    town.sync_all(ids(0..READERS)).await;
    few_have_lost(having_tags(&town), CONCURRENCY);

    let status = resume(&town, &[]).await;
    assert_eq!((&status["tags_kept_since"], &status["removals_allowed_until"]), (&json!(null), &json!(null)));
    let released = town.service.output.wait_for("that the guard is released", was_released).await;
    assert_eq!(released["level"], "INFO", "{released}");
    in_step(&town).await;
    assert_eq!(having_tags(&town), 0);
    assert_eq!(town.service.output.lines().iter().filter(|line| has_tripped(line)).count(), 1);
    assert!(kept_since(&town.service).await.is_null());
    assert!(town.service.metrics().await.contains("\nsesamy_mailmojo_tags_kept 0\n"));
    assert_eq!(town.query("SELECT count(*) FROM users WHERE has_pass = 1").unwrap(), 0);
}

#[tokio::test]
async fn once_the_source_is_fixed_a_release_leaves_everybody_the_tags_and_only_those_held_are_synced() {
    let town = subscribers(&[]).await;
    forgets_purchases(&town);
    town.sync_all(ids(0..READERS)).await;
    let having = having_tags(&town);
    town.sandbox.sesamy.clear_faults();
    // One of them has really left meanwhile.
    let is_held = |n: usize| !town.contact(&address(n)).tags.is_empty();
    let leaves = (0..READERS).find(|n| is_held(*n)).unwrap();
    buys_nothing(&town, leaves);

    town.sandbox.clear_calls();
    resume(&town, &[]).await;
    in_step(&town).await;
    let synced: BTreeSet<_> =
        town.sandbox.calls_to(Route::Profile).into_iter().map(|call| call.target).collect();
    assert_eq!(synced.len(), having, "only the users whose change was held back");
    assert_eq!(town.contact(&address(leaves)).tags, [""; 0]);
    assert_eq!(having_tags(&town), having - 1);
    town.sync_all(ids(0..READERS)).await;
    assert_eq!(having_tags(&town), READERS - 1, "the others get their tags back with their next sync");
}

#[tokio::test]
async fn neither_a_source_that_recovers_nor_a_start_releases_it() {
    let mut town = subscribers(&[]).await;
    forgets_purchases(&town);
    town.sync_all(ids(0..READERS)).await;
    let having = having_tags(&town);
    town.sandbox.sesamy.clear_faults();
    town.sync_all(ids(0..READERS)).await;
    assert_eq!(having_tags(&town), READERS);
    assert!(kept_since(&town.service).await.is_string());

    forgets_purchases(&town);
    town.crash_and_restart(&[]).await;
    town.sync_all(ids(0..READERS)).await;
    assert_eq!(having_tags(&town), READERS);
    assert!(kept_since(&town.service).await.is_string());
    assert!(having < READERS, "it had tripped");
}

#[tokio::test]
async fn times_long_past_excuse_nothing() {
    let town = subscribers(&[]).await;
    for n in 0..READERS {
        town.sandbox
            .sesamy
            .set_contracts(&id(n), [contract(&format!("c{n}")).cancelled().field("isActive", false)]);
        let past = entitlement(&format!("e{n}"), "plus").expires_at("1970-01-01T00:00:00Z");
        town.sandbox.sesamy.set_entitlements(&id(n), [past]);
    }
    town.sync_all(ids(0..READERS)).await;
    few_have_lost(having_tags(&town), CONCURRENCY);
    assert!(kept_since(&town.service).await.is_string());
}

#[tokio::test]
async fn profile_tags_that_are_suddenly_empty_trip_it() {
    let town = tagged_readers().await;
    (0..READERS).for_each(|n| town.sandbox.sesamy.set_field(&id(n), "tags", json!([])));
    town.sync_all(ids(0..READERS)).await;
    few_have_lost(having(&town, "sesamy_tag_early-bird"), CONCURRENCY);
}

#[tokio::test]
async fn three_commands_of_twenty_users_each_share_the_window() {
    let town = subscribers(&[]).await;
    forgets_purchases(&town);
    for first in [0, 20, 40] {
        let users: Vec<String> = ids(first..first + 20).collect();
        let arguments: Vec<&str> = ["sync"].into_iter().chain(users.iter().map(String::as_str)).collect();
        let by_hand = run(&arguments, town.settings()).await;
        assert_eq!(by_hand.stdout.contains("`queue resume`"), first > 0, "{by_hand:?}");
    }
    few_have_lost(having_tags(&town), CONCURRENCY);
    town.service.output.wait_for("that the guard has tripped", has_tripped).await;
}

#[tokio::test]
async fn restarts_share_the_window() {
    let mut town = subscribers(&[]).await;
    forgets_purchases(&town);
    for first in [0, 20, 40] {
        town.sync_all(ids(first..first + 20)).await;
        town.crash_and_restart(&[]).await;
    }
    few_have_lost(having_tags(&town), CONCURRENCY);
    let is_known = |line: &Value| {
        line["message"].as_str().is_some_and(|it| it.starts_with("tag removal is still stopped"))
    };
    town.service.output.wait_for("that the guard tripped before its start", is_known).await;
    assert!(kept_since(&town.service).await.is_string());
}

#[tokio::test]
async fn replicas_share_the_window() {
    let Some(database) = Database::create().await else { return };
    let settings = [&SETTINGS[..], &[("QUEUE__URL", database.url())]].concat();
    let town = Town::before_start(&settings, move_in).await;
    let other = Service::start(town.settings()).await;
    let sync_all = async || {
        for n in 0..READERS {
            let service = if n % 2 == 0 { &town.service } else { &other };
            let status = service.post(&json!({"eventType": "userVendor.1#update", "userId": id(n)})).await;
            assert_eq!(status.as_u16(), 202);
        }
        database.settled().await;
    };
    sync_all().await;
    assert_eq!(having_tags(&town), READERS);
    forgets_purchases(&town);
    sync_all().await;
    few_have_lost(having_tags(&town), 2 * CONCURRENCY);
    for service in [&town.service, &other] {
        service.output.wait_for("that the guard has tripped", has_tripped).await;
    }

    resume(&town, &[]).await;
    let left = "SELECT count(*) FROM users WHERE held_back = 1 OR due_at IS NOT NULL";
    database.wait_for(left, |left| left == 0).await;
    assert_eq!(having_tags(&town), 0);
}

#[tokio::test]
async fn when_everybody_is_suddenly_unknown_nobody_is_taken_for_deleted_a_day_later_either() {
    let mut town = subscribers(&[]).await;
    town.sandbox.sesamy.inject(Rule::on(Route::Profile, Fault::status(404)));
    town.sync_all(ids(0..READERS)).await;
    town.service.output.wait_for("that the guard has tripped", has_tripped).await;
    assert_eq!(having_tags(&town), READERS);

    // The second look comes while Sesamy still says so.
    town.service.kill().await;
    time_passes(&town, 25 * 60 * 60 * 1_000);
    town.restart(&[]).await;
    let held = "SELECT count(*) FROM users WHERE held_back = 1 AND due_at IS NULL";
    town.wait_for_queue(held, |held| held == READERS as i64).await;
    assert_eq!((having_tags(&town), kept_since(&town.service).await.is_string()), (READERS, true));
    let told = town.end_of_sync(&id(0), 1).await;
    assert_eq!((&told["outcome"], &told["reason"]), (&json!("skipped"), &json!("brake")), "{told}");
    assert_eq!(town.query("SELECT count(*) FROM users WHERE address_key IS NULL").unwrap(), 0);

    // It was no deletion; but one of them is really gone.
    town.sandbox.sesamy.clear_faults();
    town.sandbox.sesamy.remove_user(&id(7));
    resume(&town, &[]).await;
    in_step(&town).await;
    assert_eq!(having_tags(&town), READERS - 1);
    assert_eq!(town.contact(&address(7)).tags, [""; 0]);
    let left = "SELECT count(*) FROM users WHERE missing_since IS NOT NULL OR address_key IS NULL";
    assert_eq!(town.query(left).unwrap(), 1);
}

#[tokio::test]
async fn users_who_were_deleted_rightly_lose_their_tags_a_day_later_without_tripping_it_again() {
    let mut town = subscribers(&[]).await;
    (0..READERS).for_each(|n| town.sandbox.sesamy.remove_user(&id(n)));
    town.sync_all(ids(0..READERS)).await;
    town.service.output.wait_for("that the guard has tripped", has_tripped).await;
    resume(&town, &[]).await;
    town.service.kill().await;
    time_passes(&town, 25 * 60 * 60 * 1_000);
    town.restart(&[]).await;
    town.wait_for_queue("SELECT count(*) FROM users WHERE address_key IS NOT NULL", |known| known == 0).await;
    in_step(&town).await;
    assert_eq!(having_tags(&town), 0);
    nothing_trips(&town).await;
}

#[tokio::test]
async fn deleted_users_without_any_tag_to_lose_trip_nothing() {
    let town = Town::before_start(&SETTINGS, |sandbox| {
        (0..READERS).for_each(|n| sandbox.sesamy.put_user(user(&id(n)).email(&address(n))));
    })
    .await;
    town.sync_all(ids(0..READERS)).await;
    (0..READERS).for_each(|n| town.sandbox.sesamy.remove_user(&id(n)));
    town.sync_all(ids(0..READERS)).await;
    assert_eq!(
        town.query("SELECT count(*) FROM users WHERE missing_since IS NOT NULL").unwrap(),
        READERS as i64
    );
    nothing_trips(&town).await;
}

#[tokio::test]
async fn a_product_that_is_renamed_trips_nothing() {
    let town = subscribers(&[]).await;
    for n in 0..READERS {
        town.sandbox.sesamy.set_contracts(&id(n), Vec::<Value>::new());
        town.sandbox.sesamy.set_entitlements(&id(n), [entitlement(&format!("e{n}"), "premium")]);
    }
    town.sync_all(ids(0..READERS)).await;
    assert_eq!((having_tags(&town), having(&town, "sesamy_active_sku_premium")), (0, READERS));
    nothing_trips(&town).await;
}

#[tokio::test]
async fn access_that_ends_for_everybody_at_its_known_time_trips_nothing() {
    let mut town = subscribers(&[]).await;
    let in_an_hour = Timestamp::now() + Duration::from_secs(3_600);
    let paid_until = |n: usize, end: Timestamp| {
        town.sandbox.sesamy.set_contracts(&id(n), Vec::<Value>::new());
        let access = entitlement(&format!("e{n}"), "plus").expires_at(&end.to_string());
        town.sandbox.sesamy.set_entitlements(&id(n), [access]);
    };
    (0..READERS).for_each(|n| paid_until(n, in_an_hour));
    town.sync_all(ids(0..READERS)).await;
    assert_eq!(having(&town, "sesamy_active_sku_plus"), READERS);

    // Two hours later, an event of every second reader comes before the clock does.
    let an_hour_ago = Timestamp::now() - Duration::from_secs(3_600);
    (0..READERS).for_each(|n| paid_until(n, an_hour_ago));
    assert_eq!(run(&["queue", "pause"], town.settings()).await.code, Some(0));
    for n in (0..READERS).step_by(2) {
        assert_eq!(town.event("entitlement.1#update", &id(n)).await.as_u16(), 202);
    }
    town.service.kill().await;
    time_passes(&town, 2 * 60 * 60 * 1_000);
    town.restart(&[]).await;
    resume(&town, &[]).await;
    town.sandbox
        .wait_until(PATIENCE, |sandbox| {
            let has = |tag: &str| tag == "sesamy_active_sku_plus";
            sandbox.mailmojo.count_contacts(|it| it.tags.iter().any(|tag| has(tag))) == 0
        })
        .await
        .unwrap();
    town.settled().await;
    nothing_trips(&town).await;
}

#[tokio::test]
async fn an_address_that_changes_while_it_has_tripped_waits_with_both_its_contacts() {
    let town = subscribers(&[]).await;
    forgets_purchases(&town);
    town.sync_all(ids(0..READERS - 1)).await;
    town.service.output.wait_for("that the guard has tripped", has_tripped).await;
    let last = READERS - 1;
    town.sandbox.sesamy.set_field(&id(last), "email", "moved@example.org");
    let told = town.sync_told(&id(last)).await;
    assert_eq!((&told["outcome"], &told["reason"]), (&json!("skipped"), &json!("brake")), "{told}");
    assert_eq!(
        (&told["old_tags_removed"], &told["tags_held"]),
        (&json!(""), &json!(OURS.join(","))),
        "{told}"
    );
    assert_eq!(town.contact(&address(last)).tags, OURS);
    assert!(town.sandbox.mailmojo.contact("moved@example.org").is_none());

    town.sandbox.sesamy.clear_faults();
    resume(&town, &[]).await;
    in_step(&town).await;
    assert_eq!(town.contact(&address(last)).tags, [""; 0]);
    assert_eq!(town.contact("moved@example.org").tags, OURS);
}

#[tokio::test]
async fn custom_fields_of_what_was_bought_are_not_emptied_either() {
    let fields = [
        ("MAILMOJO__CUSTOM_FIELDS__PLAN", "active_products"),
        ("MAILMOJO__CUSTOM_FIELDS__STATUS", "subscription_status"),
    ];
    let town = Town::before_start(&[&SETTINGS[..], &fields].concat(), |sandbox| {
        sandbox.mailmojo.let_write_custom(&["plan", "status"]);
        move_in(sandbox);
    })
    .await;
    town.sync_all(ids(0..READERS)).await;
    let filled = || {
        town.sandbox.mailmojo.count_contacts(|it| {
            let custom = json!(it.custom);
            custom["status"] == "ACTIVE" && custom["plan"].as_str().is_some_and(|plan| !plan.is_empty())
        })
    };
    assert_eq!(filled(), READERS);
    forgets_purchases(&town);
    town.sync_all(ids(0..READERS)).await;
    let having = having_tags(&town);
    few_have_lost(having, CONCURRENCY);
    assert_eq!(filled(), having, "a reader keeps both or neither");
}

#[tokio::test]
async fn a_change_that_is_known_to_come_can_be_allowed_beforehand() {
    let town = subscribers(&[]).await;
    let status = resume(&town, &["--allow-removals", "24h"]).await;
    let until: Timestamp = status["removals_allowed_until"].as_str().unwrap().parse().unwrap();
    let left = until.duration_since(Timestamp::now()).as_secs();
    assert!((23 * 3_600..=24 * 3_600).contains(&left), "{left}");
    let shown = run(&["queue"], town.settings()).await.stdout;
    assert!(shown.contains("removal guard off") && shown.contains("--allow-removals 0s"), "{shown}");

    (0..READERS).for_each(|n| buys_nothing(&town, n));
    town.sync_all(ids(0..READERS)).await;
    assert_eq!(having_tags(&town), 0);
    nothing_trips(&town).await;
    let gauge = "\nsesamy_mailmojo_removals_allowed_until_timestamp_seconds ";
    let metrics = town.service.metrics().await;
    let value = metrics.split_once(gauge).unwrap().1.lines().next().unwrap();
    assert_eq!(value.parse::<f64>().unwrap() as i64, until.as_second());

    let status = resume(&town, &["--allow-removals", "0s"]).await;
    assert_eq!(status["removals_allowed_until"], json!(null));
    for wrong in ["24", "soon", "-1h"] {
        let refused = run(&["queue", "resume", "--allow-removals", wrong], town.settings()).await;
        assert_eq!(refused.code, Some(2), "{refused:?}");
    }
}

#[tokio::test]
async fn the_admin_api_takes_the_same_word() {
    let office = Office::with_somebody_parked().await;
    let until = office.api("POST queue/resume", r#"{"allow_removals": "2h"}"#).await.json();
    assert!(until["removals_allowed_until"].is_string(), "{until}");
    let plain = office.api("POST queue/resume", "").await.json();
    assert_eq!(plain["removals_allowed_until"], until["removals_allowed_until"], "an allowance goes on");
    let over = office.api("POST queue/resume", r#"{"allow_removals": "0s"}"#).await.json();
    assert_eq!(over["removals_allowed_until"], json!(null));
    for wrong in [r#"{"allow_removals": 5}"#, r#"{"allow": "2h"}"#, r#"["2h"]"#, r#"{"allow_removals": "2"}"#]
    {
        office.api("POST queue/resume", wrong).await.is_problem(400, "invalid-request");
    }
}

#[tokio::test]
async fn a_backfill_beside_the_service_shares_the_guard_and_reports_what_is_held() {
    let town = subscribers(&[]).await;
    forgets_purchases(&town);
    let report = town.folder.path().join("dry-run.jsonl");
    let dry = backfill(&town, &["--dry-run", "--report", report.to_str().unwrap()]).await.1;
    assert_eq!(dry["tags_kept"], 0, "to look is not to write: {dry}");
    assert!(kept_since(&town.service).await.is_null());

    let (_, summary) = backfill(&town, &[]).await;
    let having = having_tags(&town);
    few_have_lost(having, 2 * CONCURRENCY);
    assert_eq!(summary["skipped"]["brake"], having, "{summary}");
    town.service.output.wait_for("that the guard has tripped", has_tripped).await;
    let report = town.folder.path().join("dry-run-2.jsonl");
    let dry = backfill(&town, &["--dry-run", "--report", report.to_str().unwrap()]).await.1;
    assert_eq!(dry["tags_kept"], having, "a dry run knows the guard: {dry}");
}
