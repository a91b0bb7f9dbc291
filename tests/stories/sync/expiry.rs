//! Access that ends by the clock: no event tells of it, and the tags go all the same, at the right moment and not before.

use std::time::Duration;

use jiff::{SignedDuration, Timestamp};
use sesamy_mailmojo::sandbox::{ComeAgain, Fault, Route, Rule, contract, entitlement, user};

use crate::support::faults::{address, synced, text, told};
use crate::support::harness::{LIST, PATIENCE, Town};
use crate::support::shell::run;

/// So that the next check of a user is the one that a story is about.
const NO_DRIFT: (&str, &str) = ("SYNC__RESYNC_EVERY", "0");

const TAG: &str = "sesamy_active_sku_plus";

/// A moment so soon that a story can wait for it, and late enough for what comes before it.
fn soon() -> Timestamp {
    let now = Timestamp::now() + SignedDuration::from_secs(4);
    Timestamp::from_millisecond(now.as_millisecond()).unwrap()
}

/// Somebody whose access ends at `end`, synced by an event.
async fn reader(town: &Town, id: &str, end: Timestamp) {
    let access = entitlement("e1", "plus").expires_at(&end.to_string());
    town.sandbox.sesamy.put_user(user(id).email(&address(id)).entitlement(access));
    town.sync(id).await;
    assert!(has_tag(town, id), "there is access until {end}");
}

fn has_tag(town: &Town, id: &str) -> bool {
    town.contact(&address(id)).tags.iter().any(|tag| tag == TAG)
}

/// Waits until the contact of `id` has lost the tag; the time by then.
async fn loses_the_tag(town: &Town, id: &str) -> Timestamp {
    town.sandbox.wait_until(PATIENCE, |_| !has_tag(town, id)).await.unwrap();
    Timestamp::now()
}

async fn passes(moment: Timestamp) {
    let left = moment.duration_since(Timestamp::now());
    tokio::time::sleep(Duration::try_from(left).unwrap_or_default() + Duration::from_millis(10)).await;
}

#[tokio::test]
async fn access_that_ends_takes_its_tags_along_at_its_moment_without_any_event() {
    let town = Town::with(&[NO_DRIFT]).await;
    town.sandbox
        .sesamy
        .put_user(user("stays").email(&address("stays")).entitlement(entitlement("e1", "plus")));
    town.sync("stays").await;
    let end = soon();
    reader(&town, "kari", end).await;
    town.sandbox.mailmojo.add_tag(&address("kari"), "styremedlem");
    let looks_at = town.query("SELECT check_at FROM users WHERE user_id = 'kari'").unwrap();
    assert_eq!(looks_at, end.as_millisecond() + 1_000, "a second after the end");

    let gone = loses_the_tag(&town, "kari").await;
    let after = gone.duration_since(end);
    assert!(after >= SignedDuration::from_secs(1) && after < SignedDuration::from_secs(20), "{after}");
    let told = town.end_of_sync("kari", 2).await;
    assert_eq!((&told["event_type"], &told["outcome"]), (&"expiry".into(), &"updated".into()));
    assert_eq!(town.contact(&address("kari")).tags, ["styremedlem"]);
    assert_eq!(town.sandbox.count(Route::Profile), 3, "nobody was looked at but who had to be");
    assert!(has_tag(&town, "stays"), "of access without an end nothing changes");
    town.settled().await;
    assert_eq!(town.query("SELECT count(*) FROM users WHERE check_at IS NOT NULL").unwrap(), 0);
}

#[tokio::test]
async fn access_that_ended_while_the_service_was_down_ends_after_the_start() {
    let mut town = Town::with(&[NO_DRIFT]).await;
    let end = soon();
    reader(&town, "kari", end).await;
    town.service.kill().await;
    passes(end + SignedDuration::from_secs(1)).await;
    assert!(has_tag(&town, "kari"));
    town.restart(&[]).await;
    loses_the_tag(&town, "kari").await;
}

#[tokio::test]
async fn a_kill_between_the_moment_and_the_end_of_the_sync_loses_nothing() {
    let mut town = Town::with(&[NO_DRIFT]).await;
    reader(&town, "kari", soon()).await;
    // Due by the clock, though syncs are paused: nobody has leased her yet.
    assert_eq!(run(&["queue", "pause"], town.settings()).await.code, Some(0));
    let due = "SELECT count(*) FROM users WHERE due_at IS NOT NULL AND lane = 1 AND cause = 'expiry'";
    town.wait_for_queue(due, |due| due == 1).await;
    town.crash_and_restart(&[]).await;
    assert!(has_tag(&town, "kari"));

    // Leased, and Sesamy has not answered yet.
    let gate = town.sandbox.sesamy.hold_for(Route::Profile, "kari");
    assert_eq!(run(&["queue", "resume"], town.settings()).await.code, Some(0));
    gate.arrived().await;
    town.crash_and_restart(&[]).await;
    drop(gate);
    loses_the_tag(&town, "kari").await;
    town.settled().await;
    assert_eq!(text(&town, "SELECT cause FROM users").as_deref(), Some("expiry"));
}

#[tokio::test]
async fn an_event_before_the_end_syncs_at_once_and_the_end_still_comes() {
    let town = Town::with(&[NO_DRIFT]).await;
    reader(&town, "kari", soon()).await;
    town.sandbox.sesamy.set_field("kari", "firstName", "Kari");
    town.sync("kari").await;
    let kari = town.contact(&address("kari"));
    assert_eq!(kari.first_name.as_deref(), Some("Kari"));
    assert!(has_tag(&town, "kari"));
    loses_the_tag(&town, "kari").await;
    town.end_of_sync("kari", 3).await;
    assert_eq!(told(&town, "kari", "event_type"), ["userVendor.1#update", "userVendor.1#update", "expiry"]);
}

#[tokio::test]
async fn sesamy_failing_just_then_holds_the_end_up_and_does_not_lose_it() {
    let town = Town::with(&[NO_DRIFT]).await;
    let end = soon();
    reader(&town, "kari", end).await;
    reader(&town, "ola", end).await;
    let sesamy = &town.sandbox.sesamy;
    sesamy.inject(Rule::on(Route::Profile, Fault::status(500)).times(3));
    sesamy.inject(Rule::on(Route::Entitlements, Fault::too_many_requests(ComeAgain::Seconds(1))).times(1));
    for id in ["kari", "ola"] {
        loses_the_tag(&town, id).await;
    }
    town.settled().await;
    let failed = |id| told(&town, id, "outcome").into_iter().filter(|it| it == "failed").count();
    assert_eq!(failed("kari") + failed("ola"), 3);
    assert!(["kari", "ola"].iter().all(|id| told(&town, id, "event_type").last().unwrap() == "expiry"));
}

#[tokio::test]
async fn an_end_creates_and_subscribes_nobody() {
    let town = Town::with(&[NO_DRIFT]).await;
    let end = soon();
    for id in ["removed", "left", "off-the-list"] {
        reader(&town, id, end).await;
    }
    let mailmojo = &town.sandbox.mailmojo;
    assert!(mailmojo.delete(&address("removed")));
    assert!(mailmojo.unsubscribe(&address("left"), LIST));
    assert!(mailmojo.edit(&address("off-the-list"), |contact| contact.associations.clear()));

    for id in ["left", "off-the-list"] {
        loses_the_tag(&town, id).await;
    }
    let skipped = synced(&town, "removed", "skipped", 1).await;
    assert_eq!(skipped["event_type"], "expiry");
    assert_eq!(mailmojo.contact(&address("removed")), None);
    assert_eq!(town.contact(&address("left")).list_status(LIST), Some("u"));
    assert_eq!(town.contact(&address("off-the-list")).list_status(LIST), None);
    assert_eq!(town.sandbox.count(Route::Subscribe), 3, "by the events, and by no end");
}

#[tokio::test]
async fn access_that_was_renewed_is_not_taken_away_whether_an_event_told_of_it_or_not() {
    let town = Town::with(&[NO_DRIFT]).await;
    let end = soon();
    for id in ["told", "untold", "ends"] {
        reader(&town, id, end).await;
    }
    for id in ["told", "untold"] {
        let renewed = entitlement("e1", "plus").expires_at("2999-01-01T00:00:00Z");
        town.sandbox.sesamy.set_entitlements(id, [renewed]);
    }
    town.sync("told").await;
    loses_the_tag(&town, "ends").await;
    let looked = synced(&town, "untold", "unchanged", 1).await;
    assert_eq!(looked["event_type"], "expiry");
    assert!(has_tag(&town, "told") && has_tag(&town, "untold"));
    assert_eq!(told(&town, "told", "event_type").len(), 2, "the old end is forgotten");
    let far = "SELECT count(*) FROM users WHERE check_at > 32000000000000";
    town.wait_for_queue(far, |far| far == 2).await;
}

#[tokio::test]
async fn a_contract_that_is_to_end_is_asked_after_at_its_end() {
    let town = Town::with(&[NO_DRIFT]).await;
    let end = soon();
    let ending = contract("c1").field("willCancelAt", end.to_string());
    for id in ["over", "goes-on"] {
        town.sandbox.sesamy.put_user(user(id).email(&address(id)).contract(ending.clone()));
        town.sync(id).await;
    }
    town.sandbox.sesamy.set_contracts("over", [ending.cancelled()]);
    let told = synced(&town, "over", "updated", 1).await;
    assert_eq!(
        (&told["event_type"], &told["tags_removed"]),
        (&"expiry".into(), &"sesamy_active_subscriber".into())
    );
    let told = synced(&town, "goes-on", "unchanged", 1).await;
    assert_eq!(told["event_type"], "expiry");
    assert_eq!(town.contact(&address("goes-on")).tags, ["sesamy_active_subscriber"]);
    town.settled().await;
    let again = town.query("SELECT check_at FROM users WHERE user_id = 'goes-on'").unwrap();
    assert_eq!(again, end.as_millisecond() + 3_601_000, "once more in an hour");
}

#[tokio::test]
async fn access_until_a_date_without_a_time_lasts_to_the_end_of_that_day() {
    let town = Town::with(&[NO_DRIFT]).await;
    let today = jiff::tz::Offset::UTC.to_datetime(Timestamp::now()).date();
    let (yesterday, tomorrow) = (today.yesterday().unwrap(), today.tomorrow().unwrap());
    for (id, until) in
        [("over", yesterday.to_string()), ("runs", tomorrow.to_string()), ("odd", "soon".into())]
    {
        let access = entitlement("e1", "plus").expires_at(&until);
        town.sandbox.sesamy.put_user(user(id).email(&address(id)).entitlement(access));
        town.sync(id).await;
        assert_eq!(has_tag(&town, id), id != "over", "{id}");
    }
    let end = jiff::tz::Offset::UTC.to_timestamp(tomorrow.tomorrow().unwrap().into()).unwrap();
    let looks_at = town.query("SELECT check_at FROM users WHERE user_id = 'runs'").unwrap();
    assert_eq!(looks_at, end.as_millisecond() + 1_000);
    let warned = |line: &serde_json::Value| line["level"] == "WARN" && line["entitlement_id"] == "e1";
    let warned = town.service.output.wait_for("an end that cannot be read", warned).await;
    assert!(warned["message"].as_str().unwrap().contains("expiresAt cannot be read"), "{warned}");
}
