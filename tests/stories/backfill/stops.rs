//! A backfill that is stopped or killed in the middle, and goes on where it was.

use serde_json::json;
use sesamy_mailmojo::sandbox::{Fault, Route, Rule};

use crate::backfill::command::{address, backfill, begin, id, move_in, reads, says};
use crate::support::harness::{LIST, PATIENCE, Town};
use crate::support::postgres::Database;
use crate::support::shell::run;

/// Leases that end within a story.
const SHORT_LEASES: [(&str, &str); 2] = [("SYNC__REQUEST_TIMEOUT", "1s"), ("SYNC__DEADLINE", "2s")];

async fn without_a_service(settings: &[(&str, &str)], users: usize) -> Town {
    let mut town = Town::with(settings).await;
    move_in(&town.sandbox, users);
    town.service.terminate();
    town.service.ended().await;
    town
}

fn terminate(child: &tokio::process::Child) {
    let pid = rustix::process::Pid::from_raw(child.id().unwrap().try_into().unwrap()).unwrap();
    rustix::process::kill_process(pid, rustix::process::Signal::TERM).unwrap();
}

#[tokio::test]
async fn killed_in_the_middle_it_goes_on_and_misses_nobody_and_syncs_nobody_twice() {
    let town = without_a_service(&SHORT_LEASES, 250).await;
    let gate = town.sandbox.sesamy.hold_for(Route::Entitlements, &id(150));
    let (mut child, _) = begin(&town, &[]);
    gate.arrived().await;
    let written = || {
        town.sandbox.mailmojo.count_contacts(|it| it.tags.iter().any(|tag| tag == "sesamy_active_subscriber"))
    };
    town.sandbox.wait_until(PATIENCE, |_| written() >= 150).await.unwrap();
    child.kill().await.unwrap();
    let in_hand = town.query("SELECT count(*) FROM users WHERE lease IS NOT NULL").unwrap();
    assert!(in_hand >= 1);
    gate.release();
    town.sandbox.wait_until(PATIENCE, |sandbox| sandbox.in_flight() == 0).await.unwrap();

    let (ended, summary) = backfill(&town, &[]).await;
    assert_eq!(ended.code, Some(0), "{ended:?}");
    assert_eq!((&summary["continued"], &summary["finished"]), (&json!(true), &json!(true)));
    assert!(ended.stderr.contains("goes on with the one that began at"), "{}", ended.stderr);
    assert_eq!(summary["users"], 250);
    for n in 0..250 {
        let contact = town.contact(&address(n));
        assert_eq!(contact.list_status(LIST), Some(if n < 10 { "u" } else { "a" }));
        assert!(contact.tags.iter().any(|tag| tag == "sesamy_active_subscriber"), "{contact:?}");
    }
    let twice = reads(&town.sandbox).into_iter().filter(|(_, times)| *times > 1).count();
    assert!(i64::try_from(twice).unwrap() <= in_hand, "{twice} were read twice, and {in_hand} were in hand");
    assert_eq!(town.query("SELECT count(*) FROM users WHERE due_at IS NOT NULL").unwrap(), 0);
}

#[tokio::test]
async fn stopped_by_a_signal_it_leaves_no_lease_says_how_to_go_on_and_then_does() {
    let town = without_a_service(&[], 40).await;
    let gate = town.sandbox.sesamy.hold_for(Route::Entitlements, &id(20));
    let (mut child, output) = begin(&town, &[]);
    gate.arrived().await;
    terminate(&child);
    output.wait_for("that it stops", |line| says(line, "stopping: no more users are listed")).await;
    gate.release();
    assert_eq!(child.wait().await.unwrap().code(), Some(1));
    assert_eq!(town.query("SELECT count(*) FROM users WHERE lease IS NOT NULL").unwrap(), 0);
    assert_eq!(town.query("SELECT count(*) FROM documents WHERE name = 'backfill' AND json_extract(value, '$.ended_at') IS NULL").unwrap(), 1);

    let (ended, summary) = backfill(&town, &[]).await;
    assert_eq!((ended.code, &summary["continued"]), (Some(0), &json!(true)));
    assert_eq!(reads(&town.sandbox).len(), 40);
    assert_eq!(reads(&town.sandbox).values().max(), Some(&1), "nobody is synced twice");
    assert_eq!(
        summary["outcomes"],
        json!({"created": 10, "subscribed": 10, "updated": 20}),
        "since it began"
    );
}

#[tokio::test]
async fn beside_a_service_a_stop_ends_the_listing_and_the_service_goes_on() {
    let town = Town::start().await;
    move_in(&town.sandbox, 40);
    let gate = town.sandbox.sesamy.hold_for(Route::Entitlements, &id(39));
    let (mut child, output) = begin(&town, &[]);
    gate.arrived().await;
    terminate(&child);
    assert_eq!(child.wait().await.unwrap().code(), Some(1), "{}", output.text());
    gate.release();
    town.settled().await;
    assert_eq!(reads(&town.sandbox).len(), 40);
    let other = run(&["backfill", "--yes", "--json", "--existing-only"], town.settings()).await;
    assert_eq!(other.code, Some(0), "{other:?}");
    let summary: serde_json::Value = serde_json::from_str(&other.stdout).unwrap();
    assert_eq!(summary["continued"], false, "with other options it begins anew");
    assert_eq!(summary["outcomes"], json!({"unchanged": 40}));
}

/// Otherwise such users would be synced under the old restriction, and count as synced since the new backfill began.
#[tokio::test]
async fn a_backfill_that_may_create_lifts_the_restriction_of_users_whom_existing_only_has_made_due() {
    let town = without_a_service(&[], 33).await;
    let (mut child, _) = begin(&town, &["--existing-only"]);
    town.wait_for_queue("SELECT count(*) FROM users", |users| users == 33).await;
    child.kill().await.unwrap();
    assert_eq!(town.sandbox.writes(), 0, "nobody works on the queue yet");
    let (ended, summary) = backfill(&town, &[]).await;
    assert_eq!(ended.code, Some(0), "{ended:?}");
    assert_eq!(summary["outcomes"], json!({"created": 3, "subscribed": 10, "updated": 20}), "{summary}");
}

#[tokio::test]
async fn a_second_signal_ends_it_at_once_and_restart_begins_anew() {
    let town = without_a_service(&SHORT_LEASES, 12).await;
    let gate = town.sandbox.sesamy.hold_for(Route::Entitlements, &id(5));
    let (mut child, output) = begin(&town, &[]);
    gate.arrived().await;
    terminate(&child);
    output.wait_for("that it stops", |line| says(line, "stopping: no more users are listed")).await;
    terminate(&child);
    assert_eq!(child.wait().await.unwrap().code(), Some(130));
    gate.release();
    let (ended, summary) = backfill(&town, &["--existing-only", "--restart"]).await;
    assert_eq!((ended.code, &summary["continued"]), (Some(0), &json!(false)), "{ended:?}");
}

#[tokio::test]
async fn while_a_circuit_is_open_it_waits_and_says_what_for() {
    let town = without_a_service(&[], 20).await;
    let hint = sesamy_mailmojo::sandbox::ComeAgain::Seconds(2);
    let rule = Rule::on(Route::Entitlements, Fault::too_many_requests(hint)).after(5).times(1);
    town.sandbox.sesamy.inject(rule);
    let (ended, _) = backfill(&town, &[]).await;
    assert_eq!(ended.code, Some(0), "{ended:?}");
    assert!(ended.stderr.contains("sesamy's circuit is open (rate_limit) until"), "{}", ended.stderr);
    assert_eq!(town.sandbox.mailmojo.contacts().len(), 30);
}

#[tokio::test]
async fn on_postgres_too_it_goes_on_where_it_was_beside_the_service() {
    let Some(database) = Database::create().await else { return };
    let town = Town::with(&[("QUEUE__URL", database.url())]).await;
    move_in(&town.sandbox, 40);
    let gate = town.sandbox.sesamy.hold_for(Route::Entitlements, &id(20));
    let (mut child, output) = begin(&town, &[]);
    gate.arrived().await;
    terminate(&child);
    output.wait_for("that it stops", |line| says(line, "stopping: no more users are listed")).await;
    gate.release();
    assert_eq!(child.wait().await.unwrap().code(), Some(1), "{}", output.text());

    let (ended, summary) = backfill(&town, &[]).await;
    assert_eq!((ended.code, &summary["continued"]), (Some(0), &json!(true)), "{ended:?}");
    assert_eq!(reads(&town.sandbox).len(), 40);
    assert_eq!(reads(&town.sandbox).values().max(), Some(&1), "nobody twice");
}
