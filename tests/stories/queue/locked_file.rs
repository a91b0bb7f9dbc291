//! Somebody else's transaction on the queue's file, held for long: a backup tool, an operator's open shell.
//!
//! A second service is another matter: it has a lock of its own (`one_at_a_time.rs`).

use rusqlite::Connection;
use serde_json::Value;

use crate::support::faults::{address, events, people};
use crate::support::harness::Town;
use crate::support::shell::run;

fn cannot_keep(line: &Value) -> bool {
    line["message"].as_str().is_some_and(|told| told.starts_with("events cannot be kept"))
}

#[tokio::test]
async fn a_service_starts_beside_somebody_elses_transaction_and_takes_events_once_it_is_over() {
    let mut town = Town::with(&[("SYNC__DEBOUNCE", "0s")]).await;
    people(&town, &["held", "new"]);
    let hold = town.sandbox.sesamy.hold(sesamy_mailmojo::sandbox::Route::Profile);
    events(&town, &["held"]).await;
    hold.arrived().await;
    town.service.kill().await; // in the middle of a sync, whose lease the next start has to end
    hold.release();

    let other = Connection::open(town.queue_file()).unwrap();
    other.execute_batch("BEGIN IMMEDIATE").unwrap();
    town.restart(&[]).await;
    assert_eq!(town.event("userVendor.1#update", "new").await, 503);
    let told = town.service.output.wait_for("that it cannot keep events", cannot_keep).await;
    assert!(told["error"].as_str().unwrap().contains("database is locked"), "{told}");
    let (status, ready) = town.service.get("/readyz").await;
    assert_eq!((status.as_u16(), &ready["status"]), (503, &"not_accepting".into()));
    let accepting = async |told: u8| {
        let line = format!("sesamy_mailmojo_queue_accepting {told}");
        town.service.metrics().await.lines().any(|one| one == line)
    };
    assert!(accepting(0).await, "the metrics tell it too");

    other.execute_batch("ROLLBACK").unwrap();
    let again = |line: &Value| line["message"] == "events can be kept again";
    town.service.output.wait_for("that it can keep events again", again).await;
    assert!(accepting(1).await);
    town.sync("new").await;
    for user in ["held", "new"] {
        town.contact(&address(user));
    }
}

/// A backup by SQLite's own means only reads.
#[tokio::test]
async fn a_reader_of_the_file_holds_up_nothing_however_long_it_reads() {
    let town = Town::start().await;
    people(&town, &["a", "b"]);
    let backup = Connection::open(town.queue_file()).unwrap();
    backup.execute_batch("BEGIN; SELECT count(*) FROM users").unwrap();
    town.sync("a").await;
    town.sync("b").await;
    assert_eq!(backup.query_row("SELECT count(*) FROM users", (), |row| row.get(0)), Ok(0));
    assert_eq!(town.service.get("/readyz").await.0, 200);
}

#[tokio::test]
async fn a_file_that_another_program_keeps_to_itself_is_told() {
    let mut town = Town::start().await;
    town.service.kill().await;
    let other = Connection::open(town.queue_file()).unwrap();
    other.execute_batch("PRAGMA locking_mode = EXCLUSIVE; BEGIN EXCLUSIVE").unwrap();
    let ended = run(&["serve"], town.settings()).await;
    assert_eq!(ended.code, Some(1), "{ended:?}");
    for part in [&*town.queue_file().display().to_string(), "is locked by another program", "start again"] {
        assert!(ended.stderr.contains(part), "{part} is not in {}", ended.stderr);
    }
    drop(other);
    town.restart(&[]).await;
    assert_eq!(town.event("userVendor.1#update", "a").await, 202);
}
