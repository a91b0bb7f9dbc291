//! Drift: somebody edits contacts by hand, and checks by the clock correct what is ours. They go last, and add nobody.

use std::collections::BTreeMap;
use std::time::Duration;

use serde_json::{Value, json};
use sesamy_mailmojo::sandbox::{Call, Fault, Route, Rule, contact, contract, entitlement, user};

use crate::support::admin::{Office, TOKEN};
use crate::support::faults::{address, synced, told};
use crate::support::harness::{LIST, PATIENCE, Town};
use crate::support::shell::run;

const TAG: &str = "sesamy_active_subscriber";
/// So often is everybody looked at again where a story waits for it.
const OFTEN: (&str, &str) = ("SYNC__RESYNC_EVERY", "1s");

/// Subscribers who were synced by an event.
async fn subscribers(town: &Town, ids: &[&str]) {
    for id in ids {
        town.sandbox.sesamy.put_user(user(id).email(&address(id)).contract(contract("c1")));
    }
    town.sync_all(ids).await;
}

fn many(count: usize) -> Vec<String> {
    (0..count).map(|number| format!("u{number:03}")).collect()
}

async fn many_subscribers(town: &Town, count: usize) -> Vec<String> {
    let ids = many(count);
    subscribers(town, &ids.iter().map(String::as_str).collect::<Vec<_>>()).await;
    ids
}

fn is_drift(line: &Value) -> bool {
    line["event_type"] == "drift" && line["outcome"].is_string()
}

/// Waits until so many checks of `id` for drift have ended.
async fn looked_at(town: &Town, id: &str, times: usize) {
    let is_it = |line: &Value| is_drift(line) && line["user_id"] == id;
    town.service.output.wait_for_nth(times, &format!("look {times} at {id}"), is_it).await;
}

fn has(town: &Town, id: &str, tag: &str) -> bool {
    town.contact(&address(id)).tags.iter().any(|it| it == tag)
}

/// The answer of `queue --json`.
async fn status(town: &Town) -> Value {
    serde_json::from_str(&run(&["queue", "--json"], town.settings()).await.stdout).unwrap()
}

fn metric(metrics: &str, name: &str) -> f64 {
    let line = metrics.lines().find_map(|line| line.strip_prefix(&format!("sesamy_mailmojo_{name} ")));
    line.unwrap_or_else(|| panic!("no {name} in\n{metrics}")).parse().unwrap()
}

#[tokio::test]
async fn a_tag_of_ours_that_somebody_took_away_comes_back_and_is_told_as_drift() {
    let town = Town::with(&[OFTEN]).await;
    subscribers(&town, &["kari"]).await;
    let mailmojo = &town.sandbox.mailmojo;
    mailmojo.add_tag(&address("kari"), "styremedlem");
    mailmojo.add_tag(&address("kari"), "sesamy_by_hand");
    mailmojo.remove_tag(&address("kari"), TAG);

    town.sandbox.wait_until(PATIENCE, |_| has(&town, "kari", TAG)).await.unwrap();
    let told = synced(&town, "kari", "updated", 1).await;
    assert_eq!((&told["event_type"], &told["tags_added"]), (&json!("drift"), &json!(TAG)));
    assert_eq!(told["tags_removed"], "sesamy_by_hand");
    assert_eq!(town.contact(&address("kari")).tags, ["styremedlem", TAG]);
    assert_eq!(metric(&town.service.metrics().await, "drift_repaired_total"), 1.0);

    let shown = run(&["queue", "show", "kari", "--json"], town.settings()).await.stdout;
    let shown: Value = serde_json::from_str(&shown).unwrap();
    let row = shown["history"].as_array().unwrap().iter().find(|row| row["outcome"] == "updated").unwrap();
    assert_eq!((&row["event_type"], &row["tags_added"]), (&json!("drift"), &json!([TAG])));
}

#[tokio::test]
async fn a_check_for_drift_creates_and_subscribes_nobody() {
    let town = Town::with(&[OFTEN]).await;
    subscribers(&town, &["removed", "left", "off-the-list"]).await;
    let (sesamy, mailmojo) = (&town.sandbox.sesamy, &town.sandbox.mailmojo);
    // Nobody has ever seen a contact of the first; nor one of the second under the new address.
    sesamy.put_user(user("nameless").contract(contract("c1")));
    subscribers(&town, &["moved"]).await;
    town.sync("nameless").await;
    sesamy.set_field("nameless", "email", address("nameless"));
    sesamy.set_field("moved", "email", address("elsewhere"));
    assert!(mailmojo.delete(&address("removed")));
    assert!(mailmojo.unsubscribe(&address("left"), LIST));
    assert!(mailmojo.edit(&address("off-the-list"), |contact| contact.associations.clear()));
    mailmojo.remove_tag(&address("left"), TAG);
    mailmojo.remove_tag(&address("off-the-list"), TAG);

    for id in ["removed", "left", "off-the-list", "moved"] {
        looked_at(&town, id, 3).await;
    }
    assert_eq!(
        told(&town, "nameless", "outcome").len(),
        1,
        "there is nothing to check for a user without an address"
    );
    for id in ["removed", "nameless", "elsewhere"] {
        assert_eq!(mailmojo.contact(&address(id)), None);
    }
    assert!(has(&town, "moved", TAG), "whoever waits for an event keeps the old contact as it is");
    assert_eq!(town.contact(&address("left")).list_status(LIST), Some("u"));
    assert_eq!(town.contact(&address("off-the-list")).list_status(LIST), None);
    assert!(
        has(&town, "left", TAG) && has(&town, "off-the-list", TAG),
        "what is ours is mended all the same"
    );
    assert_eq!(town.sandbox.count(Route::Subscribe), 4, "by the events, and by no check");
    town.sync_all(["nameless", "moved"]).await;
    assert!(has(&town, "nameless", TAG) && has(&town, "elsewhere", TAG), "an event is what they waited for");
}

#[tokio::test]
async fn an_unchanged_contact_costs_no_write_and_a_count_in_the_history() {
    let town = Town::with(&[OFTEN]).await;
    subscribers(&town, &["kari"]).await;
    let writes = town.sandbox.writes();
    looked_at(&town, "kari", 3).await;
    assert!(told(&town, "kari", "outcome").iter().skip(1).all(|outcome| outcome == "unchanged"));
    assert_eq!(town.sandbox.writes(), writes);
    assert_eq!(metric(&town.service.metrics().await, "drift_repaired_total"), 0.0);
    assert_eq!(town.query("SELECT count(*) FROM history").unwrap(), 1, "what is unchanged is only counted");
    town.wait_for_queue("SELECT json_extract(entry, '$.unchanged_times') FROM history", |times| times >= 3)
        .await;
}

#[tokio::test]
async fn everybody_is_checked_again_once_it_is_time_and_nobody_before() {
    const USERS: usize = 20;
    let town = Town::with(&[("SYNC__RESYNC_EVERY", "6s")]).await;
    let ids = many_subscribers(&town, USERS).await;
    for id in &ids {
        looked_at(&town, id, 1).await;
    }
    for id in &ids {
        let ends: Vec<jiff::Timestamp> = town.service.output.syncs_of(id).iter().map(time_of).collect();
        let between = ends[1].duration_since(ends[0]);
        assert!(between >= jiff::SignedDuration::from_millis(5_600), "{id} was checked after {between:?}");
    }
}

fn time_of(line: &Value) -> jiff::Timestamp {
    line["timestamp"].as_str().unwrap().parse().unwrap()
}

/// The time for everybody's check has come.
fn everybody_is_to_be_checked(town: &Town) {
    let queue = rusqlite::Connection::open(town.queue_file()).unwrap();
    queue.execute("UPDATE users SET check_at = 1", ()).unwrap();
}

#[tokio::test]
async fn live_events_go_first_while_many_are_checked() {
    const USERS: usize = 200;
    let mut town = Town::start().await;
    let ids = many_subscribers(&town, USERS).await;
    town.service.kill().await;
    everybody_is_to_be_checked(&town);
    // Twenty calls a second: to check everybody takes half a minute.
    town.restart(&[("SESAMY__REQUESTS_PER_MINUTE", "1200"), ("SESAMY__BURST", "12")]).await;
    let lines = |of: &dyn Fn(&Value) -> bool| town.service.output.lines().iter().filter(|it| of(it)).count();
    town.service.output.wait_for_nth(10, "checks for drift", is_drift).await;
    for id in ids.iter().rev().take(3) {
        town.sandbox.sesamy.set_field(id, "firstName", "Kari");
        let before = lines(&is_drift);
        assert_eq!(town.event("userVendor.1#update", id).await, 202);
        synced(&town, id, "updated", 1).await;
        let between = lines(&is_drift) - before;
        assert!(between < 40, "{between} checks came before an event");
    }
}

#[tokio::test]
async fn checks_that_cannot_be_done_in_time_are_shown_as_overdue_and_go_on_after_a_kill() {
    const USERS: usize = 60;
    let mut town = Town::start().await;
    let ids = many_subscribers(&town, USERS).await;
    let slow = [
        ("SESAMY__REQUESTS_PER_MINUTE", "300"),
        ("SESAMY__BURST", "6"),
        ("ADMIN__LISTEN", "127.0.0.1:0"),
        ("ADMIN__TOKENS", TOKEN),
    ];
    town.service.kill().await;
    everybody_is_to_be_checked(&town);
    town.sandbox.clear_calls();
    town.restart(&slow).await;
    let late = |status: &Value| status["resync"]["oldest_overdue_seconds"].as_u64().unwrap();
    // A command counts anew, the service at most every 15 s.
    while late(&status(&town).await) < 2 {
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    let due = status(&town).await["resync"]["due"].as_u64().unwrap();
    assert!(due > 10 && due < USERS as u64, "{due}");
    let office = Office { page: town.service.page.unwrap(), town };
    assert!(office.api("GET status", "").await.json()["resync"]["due"].as_u64() > Some(10));
    let page = office.get("/admin", &office.login(TOKEN).await).await.body;
    assert!(page.contains(" users due, the oldest for "), "{page}");
    town = office.town;
    while metric(&town.service.metrics().await, "resync_late_seconds") < 1.0 {
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    assert!(run(&["queue"], town.settings()).await.stdout.contains("wait for a drift check or a backfill"));

    let fast = [("SESAMY__REQUESTS_PER_MINUTE", "600000"), ("SESAMY__BURST", "10000")];
    town.crash_and_restart(&fast).await;
    town.settled().await;
    let mut looks: BTreeMap<String, usize> = BTreeMap::new();
    for call in town.sandbox.calls_to(Route::ContactGet) {
        *looks.entry(call.subject.unwrap()).or_default() += 1;
    }
    for id in ids {
        assert!(looks.contains_key(&address(&id)), "{id} was missed");
    }
}

#[tokio::test]
async fn without_a_resync_nobody_is_checked_again_but_whose_access_ends() {
    let town = Town::with(&[("SYNC__RESYNC_EVERY", "0")]).await;
    subscribers(&town, &["kari"]).await;
    town.sandbox.mailmojo.remove_tag(&address("kari"), TAG);
    // Somebody's access ends twice a few seconds apart: the clock goes on meanwhile.
    for end in 1..=2 {
        let soon = jiff::Timestamp::now() + jiff::SignedDuration::from_secs(2);
        let access = entitlement("e1", "plus").expires_at(&soon.to_string());
        town.sandbox.sesamy.put_user(user("ola").email(&address("ola")).entitlement(access));
        town.sync("ola").await;
        let is_expiry = |line: &Value| line["event_type"] == "expiry" && line["outcome"] == "updated";
        town.service.output.wait_for_nth(end, "the end of Ola's access", is_expiry).await;
    }
    assert!(!has(&town, "kari", TAG));
    assert_eq!(told(&town, "kari", "outcome").len(), 1);
    assert_eq!(town.query("SELECT count(*) FROM users WHERE check_at IS NOT NULL").unwrap(), 0);
}

#[tokio::test]
async fn a_parked_user_is_not_checked_and_others_are() {
    let town = Town::with(&[OFTEN]).await;
    town.sandbox.mailmojo.put_contact(contact(&address("refused")).on_list(LIST));
    town.sandbox
        .mailmojo
        .inject(Rule::on(Route::ContactPatch, Fault::status(422)).about(&address("refused")));
    town.sandbox.sesamy.put_user(user("refused").email(&address("refused")).contract(contract("c1")));
    assert_eq!(town.event("userVendor.1#update", "refused").await, 202);
    town.parked(1).await;
    subscribers(&town, &["kari"]).await;
    looked_at(&town, "kari", 3).await;
    let of_refused = |call: &Call| call.subject.as_deref() == Some("refused") && call.route == Route::Profile;
    assert_eq!(town.sandbox.calls().iter().filter(|call| of_refused(call)).count(), 1);
    assert_eq!(town.query("SELECT count(*) FROM users WHERE parked_at IS NOT NULL").unwrap(), 1);
}

#[tokio::test]
async fn of_two_users_with_one_address_a_check_takes_the_tags_of_neither() {
    let town = Town::with(&[("SYNC__RESYNC_EVERY", "2s")]).await;
    let one = address("one");
    town.sandbox.sesamy.put_user(user("a").email(&one));
    town.sandbox.sesamy.put_user(user("b").email(&one).contract(contract("c1")));
    town.sync("a").await;
    town.sync("b").await; // last, and so what the contact has
    town.sandbox.clear_calls();
    looked_at(&town, "a", 2).await;
    looked_at(&town, "b", 2).await;
    assert_eq!((town.contact(&one).tags, town.sandbox.writes()), (vec![TAG.to_owned()], 0));
}

#[tokio::test]
async fn until_an_event_tells_of_a_new_address_a_check_keeps_the_old_contact_in_step() {
    let town = Town::with(&[OFTEN]).await;
    subscribers(&town, &["kari"]).await;
    town.sandbox.sesamy.set_field("kari", "email", "new@example.com");
    town.sandbox.sesamy.set_contracts("kari", Vec::<Value>::new());
    town.sandbox.wait_until(PATIENCE, |_| !has(&town, "kari", TAG)).await.unwrap();
    assert!(town.sandbox.mailmojo.contact("new@example.com").is_none());
    town.event("userVendor.1#update", "kari").await;
    let is_there = || town.sandbox.mailmojo.contact("new@example.com").is_some();
    town.sandbox.wait_until(PATIENCE, |_| is_there()).await.unwrap();
}
