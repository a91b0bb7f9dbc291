//! A user whom Sesamy does not know any more: nothing happens at first, for one odd answer proves nothing. A second look a day
//! later confirms it: our tags come off, the address is forgotten, and after `history.days` the row is gone as well.

use std::num::NonZeroU32;
use std::path::Path;
use std::time::Duration;

use serde_json::{Value, json};
use sesamy_mailmojo::clock::{Clock, Millis};
use sesamy_mailmojo::queue::{Queue, QueuePolicy, Rates, Role};
use sesamy_mailmojo::sandbox::{Fault, Route, Rule, contact, user};

use sesamy_mailmojo::upstream::{PerApi, Quota};

use crate::support::faults::{synced, text, time_passes};
use crate::support::harness::{LIST, Town};

const HOUR: i64 = 3_600_000;
const OURS: &str = "sesamy_tag_early-bird";
const EMAIL: &str = "kari@example.com";

/// Kari, in step, with a contact that has a tag of the publisher's.
async fn with_kari() -> Town {
    let town = Town::with(&[("SYNC__REQUEST_TIMEOUT", "1s"), ("SYNC__DEADLINE", "10s")]).await;
    town.sandbox
        .mailmojo
        .put_contact(contact(EMAIL).tags(["vip", "sesamy_made_single_purchase"]).on_list(LIST));
    town.sandbox.sesamy.put_user(user("kari").email(EMAIL).tags(["Early bird"]));
    town.sync("kari").await;
    town
}

/// The same, and Kari is deleted in Sesamy, and an event has told us so.
async fn without_kari() -> Town {
    let town = with_kari().await;
    town.sandbox.sesamy.remove_user("kari");
    let told = town.sync_told("kari").await;
    assert_eq!((&told["outcome"], &told["reason"]), (&json!("skipped"), &json!("user_not_found")));
    assert!(has_our_tags(&town), "one answer proves nothing");
    town
}

fn has_our_tags(town: &Town) -> bool {
    !town.contact(EMAIL).sesamy_tags().is_empty()
}

fn remembers_the_address(town: &Town) -> bool {
    text(town, "SELECT max(address_key) FROM users WHERE user_id = 'kari'").is_some()
}

/// So many hours later: a service that starts then.
async fn later(town: &mut Town, hours: i64, settings: &[(&str, &str)]) {
    town.service.terminate();
    town.service.ended().await;
    time_passes(town, hours * HOUR);
    town.sandbox.clear_calls();
    town.restart(settings).await;
}

/// Waits for the second look, which nothing asks for.
async fn second_look(town: &Town) -> Value {
    let looked = |line: &Value| line["event_type"] == "missing" && line["outcome"] == "skipped";
    let line = town.service.output.wait_for("a second look", looked).await;
    town.settled().await;
    line
}

#[tokio::test]
async fn a_second_look_a_day_later_takes_our_tags_off_and_forgets_the_address() {
    let mut town = without_kari().await;
    let told = second_look_after_a_day(&mut town).await;
    assert_eq!(
        (&told["reason"], &told["tags_removed"]),
        (&json!("user_not_found"), &json!(format!("sesamy_made_single_purchase,{OURS}")))
    );
    let kari = town.contact(EMAIL);
    assert_eq!((kari.tags.clone(), kari.list_status(LIST)), (vec!["vip".to_owned()], Some("a")));
    assert!(!remembers_the_address(&town));
    assert!(!town.service.output.text().contains(EMAIL));

    town.sandbox.mailmojo.add_tag(EMAIL, OURS);
    town.sandbox.clear_calls();
    town.sync("kari").await;
    assert_eq!(town.sandbox.count(Route::ContactGet), 0, "the address is known no more");
}

async fn second_look_after_a_day(town: &mut Town) -> Value {
    later(town, 25, &[]).await;
    second_look(town).await
}

#[tokio::test]
async fn before_the_day_is_over_no_look_and_no_event_takes_anything_off() {
    let mut town = without_kari().await;
    later(&mut town, 23, &[]).await;
    town.sync("kari").await;
    assert_eq!(town.service.output.syncs_of("kari").len(), 1, "the event's, and no second look");
    assert!(has_our_tags(&town) && remembers_the_address(&town));
    assert_eq!(town.sandbox.writes(), 0);
    // The day is counted from the first answer, and not from the last.
    later(&mut town, 2, &[]).await;
    second_look(&town).await;
    assert!(!has_our_tags(&town));
}

#[tokio::test]
async fn whoever_is_there_again_by_then_has_lost_nothing() {
    let mut town = without_kari().await;
    town.sandbox.sesamy.put_user(user("kari").email(EMAIL).tags(["Early bird"]));
    later(&mut town, 25, &[]).await;
    let told = synced(&town, "kari", "unchanged", 1).await;
    assert_eq!(told["event_type"], "missing");
    town.settled().await;
    assert_eq!(town.sandbox.writes(), 0);
    let known = "SELECT count(*) FROM users WHERE missing_since IS NULL AND address_key IS NOT NULL";
    assert_eq!(town.query(known).unwrap(), 1, "the next time begins anew");
}

#[tokio::test]
async fn an_address_that_is_another_users_by_then_keeps_the_tags_and_is_forgotten_as_theirs_is_not() {
    let mut town = without_kari().await;
    town.sandbox.sesamy.put_user(user("ola").email("Kari@Example.com").tags(["Early bird"]));
    second_look_after_a_day(&mut town).await;
    assert_eq!(town.sandbox.writes(), 0);
    assert!(has_our_tags(&town) && !remembers_the_address(&town));
}

#[tokio::test]
async fn faults_at_the_second_look_put_it_off_until_they_are_over() {
    let mut town = without_kari().await;
    let sandbox = &town.sandbox;
    sandbox.mailmojo.inject(Rule::on(Route::ContactGet, Fault::status(500)).times(1));
    sandbox.mailmojo.inject(Rule::on(Route::ContactPatch, Fault::done_then(Fault::Close)).times(1));
    sandbox.sesamy.inject(Rule::on(Route::Users, Fault::status(502)).times(1));
    later(&mut town, 25, &[]).await;
    second_look(&town).await;
    assert_eq!(town.contact(EMAIL).tags, ["vip"]);
    assert!(!remembers_the_address(&town));
    assert!(town.service.output.syncs_of("kari").len() >= 4, "three faults, and then it went well");
}

#[tokio::test]
async fn killed_in_the_middle_of_it_the_next_process_does_what_is_left() {
    for is_done in [false, true] {
        let mut town = without_kari().await;
        let mailmojo = town.sandbox.mailmojo.clone();
        let gate = if is_done {
            mailmojo.hold_answer(Route::ContactPatch)
        } else {
            mailmojo.hold(Route::ContactPatch)
        };
        later(&mut town, 25, &[]).await;
        gate.arrived().await;
        town.service.kill().await;
        let patience = Duration::from_secs(10);
        town.sandbox.wait_until(patience, |sandbox| sandbox.in_flight() == 0).await.unwrap();
        gate.release();
        town.restart(&[]).await;
        second_look(&town).await;
        assert_eq!(town.contact(EMAIL).tags, ["vip"], "done: {is_done}");
        assert!(!remembers_the_address(&town));
    }
}

#[tokio::test]
async fn a_dry_run_takes_nothing_off_and_the_first_start_without_it_does() {
    let mut town = without_kari().await;
    later(&mut town, 25, &[("SYNC__DRY_RUN", "true")]).await;
    let told = second_look(&town).await;
    assert_eq!(told["dry_run"], true, "{told}");
    assert!(has_our_tags(&town) && remembers_the_address(&town));
    town.service.terminate();
    town.service.ended().await;
    town.restart(&[("SYNC__DRY_RUN", "")]).await;
    synced(&town, "kari", "skipped", 1).await;
    town.settled().await;
    assert!(!has_our_tags(&town) && !remembers_the_address(&town));
}

#[tokio::test]
async fn rows_of_users_who_were_never_found_have_no_address_or_are_gone_go_after_the_days_of_the_history() {
    let mut town = without_kari().await;
    second_look_after_a_day(&mut town).await;
    town.sandbox.sesamy.put_user(user("no-address"));
    town.sync_all(["never-found", "guest_7", "no-address"]).await;
    town.sandbox.sesamy.put_user(user("stays").email("stays@example.com"));
    town.sync("stays").await;
    let rows = "SELECT count(*) FROM users";
    later(&mut town, 24 * 28, &[]).await;
    town.sync("stays").await;
    assert_eq!(town.query(rows).unwrap(), 5, "before history.days");
    later(&mut town, 24 * 3, &[]).await;
    town.service.terminate();
    town.service.ended().await;
    prune(&town.queue_file()).await;
    assert_eq!(text(&town, "SELECT group_concat(user_id) FROM users").as_deref(), Some("stays"));
    assert_eq!(town.query("SELECT count(*) FROM history WHERE user_id <> 'stays'").unwrap(), 0);
}

/// What a service does once a minute, with the default of `history.days`.
async fn prune(file: &Path) {
    let at_any_rate = Quota { per_minute: NonZeroU32::MAX, burst: NonZeroU32::MAX };
    let calls = PerApi { sesamy: 1, mailmojo: 1 };
    let options = QueuePolicy {
        debounce: Duration::ZERO,
        lease: Duration::from_secs(1),
        request_timeout: Duration::from_secs(1),
        furthest_due: Duration::from_secs(1),
        dry_run: false,
        rates: Rates { quotas: PerApi { sesamy: at_any_rate, mailmojo: at_any_rate }, calls },
    };
    let clock = Clock::system();
    let before = Millis(clock.now().0 - 30 * 24 * HOUR);
    let queue = Queue::open_sqlite(file, Role::Service, options, clock, 1).unwrap();
    queue.prune(before, 500).await.unwrap();
    queue.close().await;
}

#[tokio::test]
async fn whoever_had_left_before_and_comes_back_to_sesamy_is_not_made_again() {
    let mut town = without_kari().await;
    town.sandbox.mailmojo.unsubscribe(EMAIL, LIST);
    second_look_after_a_day(&mut town).await;
    town.sandbox.sesamy.put_user(user("kari").email("kari@example.org").tags(["Early bird"]));
    let told = town.sync_told("kari").await;
    assert_eq!((&told["outcome"], &told["reason"]), (&json!("skipped"), &json!("left_under_old_address")));
    assert!(town.sandbox.mailmojo.contact("kari@example.org").is_none());
}

#[tokio::test]
async fn an_account_that_is_emptied_is_as_one_that_is_deleted() {
    let mut town = without_kari().await;
    town.sandbox.sesamy.put_user(user("kari").first_name("Kari"));
    let told = town.sync_told("kari").await;
    assert_eq!(told["reason"], "no_email");
    assert!(has_our_tags(&town));
    second_look_after_a_day(&mut town).await;
    assert!(!has_our_tags(&town) && !remembers_the_address(&town));
    assert_eq!(town.contact(EMAIL).tags, ["vip"]);
}

#[tokio::test]
async fn a_user_who_has_no_usable_address_any_more_is_as_one_who_was_deleted() {
    for (what, field, value, reason) in [
        ("no address", "email", json!(null), "no_email"),
        ("not an address", "email", json!("kari at example.com"), "bad_email"),
        ("a guest", "isGuest", json!(true), "guest"),
    ] {
        let mut town = with_kari().await;
        town.sandbox.sesamy.set_field("kari", field, value);
        let told = town.sync_told("kari").await;
        assert_eq!((&told["outcome"], &told["reason"]), (&json!("skipped"), &json!(reason)), "{what}");
        assert!(has_our_tags(&town) && remembers_the_address(&town), "{what}: one answer proves nothing");
        let told = second_look_after_a_day(&mut town).await;
        assert_eq!(told["reason"], reason, "{what}");
        assert_eq!(town.contact(EMAIL).tags, ["vip"], "{what}");
        assert!(!remembers_the_address(&town), "{what}");
        // Once the address is usable again, the contact is in step again.
        town.sandbox.sesamy.put_user(user("kari").email(EMAIL).tags(["Early bird"]));
        assert_eq!(town.sync_told("kari").await["outcome"], "updated", "{what}");
        assert_eq!(town.contact(EMAIL).tags, ["vip", OURS], "{what}");
    }
}

#[tokio::test]
async fn a_deleted_user_who_had_left_while_sharing_the_address_is_not_made_under_another() {
    for how in ["unsubscribed", "removed", "taken off the list"] {
        let mut town = with_kari().await;
        town.sandbox.sesamy.put_user(user("ola").email(EMAIL));
        town.sync("ola").await;
        match how {
            "unsubscribed" => town.sandbox.mailmojo.unsubscribe(EMAIL, LIST),
            "removed" => town.sandbox.mailmojo.delete(EMAIL),
            _ => town.sandbox.mailmojo.edit(EMAIL, |it| it.associations.clear()),
        };
        town.sandbox.sesamy.remove_user("kari");
        town.sync("kari").await;
        later(&mut town, 25, &[]).await;
        town.wait_for_queue(
            "SELECT count(*) FROM users WHERE user_id = 'kari' AND address_key IS NULL",
            |rows| rows == 1,
        )
        .await;
        town.sandbox.sesamy.put_user(user("kari").email("kari@example.org").tags(["Early bird"]));
        let told = town.sync_told("kari").await;
        assert_eq!(told["reason"], "left_under_old_address", "{how}: {told}");
        assert!(town.sandbox.mailmojo.contact("kari@example.org").is_none(), "{how}");
    }
}
