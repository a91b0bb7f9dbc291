//! One clock for all processes that have a file open, whenever the wall clock was set.

use serde_json::Value;

use super::*;

/// The clock of a process that started when the wall clock was `ahead` of what it is now, in milliseconds.
fn system(ahead: i64) -> Clock {
    let clock = Clock::system();
    let boot = clock.now().0 - i64::try_from(clock.since_boot().as_millis()).unwrap();
    clock.anchor_at(Millis(boot + ahead));
    clock
}

/// An hour, in milliseconds.
const HOUR: i64 = 3_600_000;

fn differ(one: &Clock, other: &Clock) -> i64 {
    let (before, between, after) = (one.now().0, other.now().0, one.now().0);
    if between < before { between - before } else { (between - after).max(0) }
}

fn saved(path: &Path) -> Option<Value> {
    let file = Connection::open(path).unwrap();
    let json = file.query_row("SELECT value FROM documents WHERE name = 'clock'", (), |row| row.get(0));
    json.ok().map(|json: String| serde_json::from_str(&json).unwrap())
}

#[tokio::test]
async fn processes_of_one_boot_have_one_clock_though_the_wall_clock_was_set_between_their_starts() {
    let (_folder, path) = folder();
    let (first, beside, second) = (system(HOUR), system(-HOUR), system(0));
    let service = open_as(&path, Role::Service, first.clone(), Tuning::default()).unwrap();
    let command = open_as(&path, COMMAND, beside.clone(), Tuning::default()).unwrap();
    assert_eq!(differ(&first, &beside), 0);
    push(&command, "kari").await.unwrap();
    let due = rows(&service, &["kari"]).await[0].due_at.unwrap();
    assert!(due > first.wall() && due <= first.now().plus(DEBOUNCE), "by the clock that they share");
    service.close().await;
    open_as(&path, Role::Service, second.clone(), Tuning::default()).unwrap();
    assert_eq!([differ(&first, &second), differ(&beside, &second)], [0, 0], "after a restart too");
}

#[tokio::test]
async fn after_another_boot_the_service_begins_anew_and_a_command_leaves_that_to_it() {
    let (_folder, path) = folder();
    open_as(&path, Role::Service, system(0), Tuning::default()).unwrap().close().await;
    let of_this_boot = saved(&path).unwrap();
    for odd in [
        r#"{"boot_id": "another one", "anchor": 7}"#,
        r#"{"boot_id": "another one", "anchor": 7, "a field of a later version": 1}"#,
        "not JSON",
    ] {
        let file = Connection::open(&path).unwrap();
        file.execute("UPDATE documents SET value = ?1 WHERE name = 'clock'", [odd]).unwrap();
        let (by_command, by_service) = (system(HOUR), system(0));
        open_as(&path, COMMAND, by_command.clone(), Tuning::default()).unwrap().close().await;
        let value: String =
            file.query_row("SELECT value FROM documents WHERE name = 'clock'", (), |row| row.get(0)).unwrap();
        assert_eq!(value, odd, "a command has saved its own");
        assert!(by_command.now() > by_command.wall(), "its own clock counts");
        open_as(&path, Role::Service, by_service, Tuning::default()).unwrap().close().await;
        assert_eq!(saved(&path).unwrap()["boot_id"], of_this_boot["boot_id"], "{odd}");
    }
}

#[tokio::test]
async fn a_command_that_creates_the_file_begins_its_clock() {
    let (_folder, path) = folder();
    let (by_command, by_service) = (system(HOUR), system(0));
    let command =
        open_as(&path, Role::Command { may_create: true }, by_command.clone(), Tuning::default()).unwrap();
    assert!(saved(&path).is_some());
    let service = open_as(&path, Role::Service, by_service.clone(), Tuning::default()).unwrap();
    assert_eq!(differ(&by_command, &by_service), 0);
    command.close().await;
    service.close().await;
}

#[tokio::test]
async fn a_clock_that_could_not_be_saved_at_the_start_is_saved_with_the_first_write() {
    let (_folder, path) = folder();
    open(&path).unwrap().close().await;
    assert_eq!(saved(&path), None, "a clock that a test moves by hand is nobody else's");

    // Nothing is written into a large file before it is checked.
    let large = Tuning { check_first: 0, ..Tuning::default() };
    let store = open_as(&path, Role::Service, system(HOUR), large).unwrap();
    assert_eq!(saved(&path), None);
    push(&store, "kari").await.unwrap();
    assert!(saved(&path).is_some());
    store.close().await;

    let file = Connection::open(&path).unwrap();
    file.execute_batch("DELETE FROM documents WHERE name = 'clock'; BEGIN IMMEDIATE").unwrap();
    let tuning = Tuning { busy: Duration::from_millis(50), ..Tuning::default() };
    let store = open_as(&path, Role::Service, system(0), tuning).unwrap();
    assert!(push(&store, "ola").await.is_err());
    assert!(!store.accepting());
    file.execute_batch("ROLLBACK").unwrap();
    push(&store, "ola").await.unwrap();
    assert!(saved(&path).is_some());
    assert!(store.accepting());
}
