//! What only an SQLite file can do wrong, or has to do by itself.

mod beside;
mod clock;
mod codec;
mod damage;
mod erasure;
mod plans;
mod questions;
mod transactions;
mod versions;

use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use futures_util::future::join_all;
use rusqlite::Connection;
use serde_json::json;
use tempfile::TempDir;

use super::file::DatabaseFile;
use super::{SqliteStore, Tuning, schema};
use crate::clock::{Clock, Millis};
use crate::queue::history::HistoryRow;
use crate::queue::lane::Lane;
use crate::queue::lease::LeaseName;
use crate::queue::row::Row;
use crate::queue::store::{Answer, Change, Index, Look, Push, Question, Store};
use crate::queue::{OpenError, QueueError, Role};
use crate::user::UserId;

const NOW: Millis = Millis(1_000_000);
const DEBOUNCE: Duration = Duration::from_secs(2);
const UPDATE: &str = "contract.1#update";
const COMMAND: Role = Role::Command { may_create: false };

fn folder() -> (TempDir, PathBuf) {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("queue.db");
    (folder, path)
}

fn clock() -> Clock {
    Clock::manual(NOW)
}

fn open(path: &Path) -> Result<SqliteStore, OpenError> {
    open_as(path, Role::Service, clock(), Tuning::default())
}

fn open_as(path: &Path, role: Role, clock: Clock, tuning: Tuning) -> Result<SqliteStore, OpenError> {
    super::open(path, role, DEBOUNCE, clock, tuning).map(|(store, _)| store)
}

fn refusal(path: &Path) -> (OpenError, String) {
    let error = open(path).unwrap_err();
    let message = error.to_string();
    assert!(message.contains(path.file_name().unwrap().to_str().unwrap()), "{message}");
    (error, message)
}

fn user(name: &str) -> UserId {
    UserId::new(format!("email|{name}")).unwrap()
}

async fn push(store: &SqliteStore, name: &str) -> Result<(), QueueError> {
    store.push(Push { user: user(name), cause: UPDATE }).await
}

/// Pushes all at once. All are sent before the writer's first answer can be awaited, so they meet in a batch.
async fn push_all(store: &SqliteStore, names: &[String]) -> Vec<Result<(), QueueError>> {
    join_all(names.iter().map(|name| push(store, name))).await
}

async fn save(store: &SqliteStore, change: Change) -> Result<(), QueueError> {
    store.transact(Look::default(), move |_| (change.clone(), ())).await
}

/// The rows of these users that exist, by id.
async fn rows(store: &SqliteStore, names: &[&str]) -> Vec<Row> {
    let ids = names.iter().map(|name| user(name).as_str().to_owned()).collect();
    rows_of(store, Question::RowsOf(ids)).await
}

async fn rows_of(store: &SqliteStore, question: Question) -> Vec<Row> {
    match store.ask(question).await.unwrap() {
        Answer::Rows(rows) => rows,
        other => panic!("{other:?}"),
    }
}

async fn entries(store: &SqliteStore, question: Question) -> Vec<(String, HistoryRow)> {
    match store.ask(question).await.unwrap() {
        Answer::Entries(entries) => entries,
        other => panic!("{other:?}"),
    }
}

/// The first rows of an index, as ids.
async fn first(store: &SqliteStore, of: Index, most: usize) -> Vec<String> {
    let look = Look::first(of, most);
    store
        .transact(look, |seen| {
            (Change::default(), seen.first[0].iter().map(|row| row.user_id.clone()).collect())
        })
        .await
        .unwrap()
}

fn row(name: &str) -> Row {
    Row { generation: 1, cause: UPDATE.to_owned(), ..Row::new(user(name).as_str()) }
}

fn lease(name: &str) -> Option<LeaseName> {
    Some(serde_json::from_value(json!(name)).unwrap())
}

fn entry(outcome: &str, last_at: i64) -> HistoryRow {
    let json = json!({
        "first_at": Millis(5), "last_at": Millis(last_at), "times": 1, "unchanged_times": 0, "event_type": UPDATE,
        "outcome": outcome, "reason": "", "held_back": false, "changed": [], "tags_added": ["sesamy_æ"],
        "tags_removed": [], "old_tags_removed": [], "attempt": 1, "ms": 7, "error": null,
    });
    serde_json::from_value(json).unwrap()
}

#[tokio::test]
async fn a_missing_folder_is_made() {
    let (folder, _) = folder();
    let path = folder.path().join("data/deeper/queue.db");
    open(&path).unwrap().close().await;
    assert!(path.exists());
}

#[tokio::test]
async fn after_a_close_the_one_file_is_all_there_is() {
    let (folder, path) = folder();
    let store = open(&path).unwrap();
    push(&store, "kari").await.unwrap();
    store.close().await;
    let mut names: Vec<_> =
        fs::read_dir(folder.path()).unwrap().map(|entry| entry.unwrap().file_name()).collect();
    names.sort();
    assert_eq!(names, ["queue.db", "queue.db.lock"]);
}

#[tokio::test]
async fn after_a_close_every_call_fails() {
    let (_folder, path) = folder();
    let store = open(&path).unwrap();
    store.close().await;
    store.close().await;
    assert!(matches!(push(&store, "kari").await, Err(QueueError::Closed)));
    assert!(matches!(save(&store, Change::default()).await, Err(QueueError::Closed)));
    assert!(matches!(store.ask(Question::Census).await, Err(QueueError::Closed)));
    assert!(!store.accepting());
}

#[tokio::test]
async fn a_second_process_is_refused_until_the_first_has_closed() {
    let (_folder, path) = folder();
    let first = open(&path).unwrap();
    let (error, message) = refusal(&path);
    assert!(matches!(error, OpenError::InUse { .. }), "{message}");
    assert!(message.contains("queue.db.lock") && message.contains("Stop that one first"), "{message}");
    first.close().await;
    open(&path).unwrap().close().await;
}

#[tokio::test]
async fn a_link_to_the_file_is_the_same_queue_and_has_the_same_lock() {
    let (folder, path) = folder();
    let first = open(&path).unwrap();
    let link = folder.path().join("another-name.db");
    std::os::unix::fs::symlink(&path, &link).unwrap();
    assert!(matches!(open(&link), Err(OpenError::InUse { .. })));
    first.close().await;
}

#[tokio::test]
async fn a_store_that_is_dropped_closes_by_itself() {
    let (_folder, path) = folder();
    let store = open(&path).unwrap();
    push(&store, "kari").await.unwrap();
    let mut closed = store.closed.clone();
    drop(store);
    closed.wait_for(|closed| *closed).await.unwrap();
    open(&path).unwrap().close().await;
}

#[tokio::test]
async fn what_was_answered_is_in_the_files_though_nobody_closed_them() {
    let (folder, path) = folder();
    let killed = open(&path).unwrap();
    push(&killed, "kari").await.unwrap();
    let copy = folder.path().join("copy.db");
    fs::copy(&path, &copy).unwrap();
    fs::copy(folder.path().join("queue.db-wal"), folder.path().join("copy.db-wal")).unwrap();

    let clock = clock();
    let store = open_as(&copy, Role::Service, clock.clone(), Tuning::default()).unwrap();
    clock.advance(DEBOUNCE);
    assert_eq!(first(&store, Index::Due(Lane::Events), 1).await, ["email|kari"]);
}

/// With less than `FULL`, a machine that loses its power loses events that were answered 202, which no kill of a process
/// shows.
#[test]
fn each_connection_that_writes_waits_for_the_disk() {
    let (_folder, path) = folder();
    let (clock, tuning) = (clock(), Tuning::default());
    let service = super::open::alone(&path, &clock, tuning).unwrap();
    let command = super::open::beside(&path, false, &clock, tuning).unwrap();
    let connections = [
        ("the service's writer", service.connection),
        ("a command's writer", command.connection),
        ("checkpoints", service.file.connect(tuning).unwrap()),
    ];
    for (of, connection) in connections {
        let read = |pragma: &str| connection.query_row(&format!("PRAGMA {pragma}"), (), |row| row.get(0));
        assert_eq!(read("synchronous"), Ok(2_i64), "{of}");
        let journal = connection.query_row("PRAGMA journal_mode", (), |row| row.get::<_, String>(0));
        assert_eq!(journal.unwrap(), "wal", "{of}");
        assert_eq!(read("page_size"), Ok(1_024), "{of}");
        if of != "checkpoints" {
            assert_eq!([read("secure_delete"), read("wal_autocheckpoint")], [Ok(1), Ok(16_384)], "{of}");
        }
    }
}

#[tokio::test]
async fn the_log_goes_into_the_database_by_itself() {
    let (folder, path) = folder();
    let store = open(&path).unwrap();
    push(&store, "kari").await.unwrap();
    let copy = folder.path().join("copy.db"); // without the log beside it
    let patience = tokio::time::Instant::now() + Duration::from_secs(20);
    loop {
        fs::copy(&path, &copy).unwrap();
        let found = Connection::open(&copy).unwrap().query_row("SELECT 1 FROM users", (), |_| Ok(()));
        if found.is_ok() {
            break;
        }
        assert!(tokio::time::Instant::now() < patience, "{found:?}");
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}

#[test]
fn a_folder_that_cannot_be_made_is_reported_with_the_user_id_and_the_fix() {
    let (folder, _) = folder();
    let file = folder.path().join("file");
    fs::write(&file, "").unwrap();
    let error = open(&file.join("queue.db")).unwrap_err();
    let message = error.to_string();
    assert!(matches!(error, OpenError::NotWritable { .. }), "{message}");
    let uid = fs::metadata("/proc/self").map(|own| std::os::unix::fs::MetadataExt::uid(&own)).unwrap();
    assert!(message.contains(&format!("user id {uid}")) && message.contains("chown"), "{message}");
    assert!(message.contains(file.to_str().unwrap()), "{message}");
}

#[test]
fn a_database_that_is_a_folder_is_reported() {
    let (_folder, path) = folder();
    fs::create_dir(&path).unwrap();
    assert!(matches!(refusal(&path), (OpenError::NotWritable { .. }, _)));
}

#[test]
fn a_file_that_is_no_database_is_refused_and_left_as_it_is() {
    let (_folder, path) = folder();
    for text in ["hello".to_owned(), "a letter home\n".repeat(1_000)] {
        fs::write(&path, &text).unwrap();
        assert!(matches!(refusal(&path), (OpenError::NotADatabase { .. }, _)));
        assert_eq!(fs::read_to_string(&path).unwrap(), text);
    }
}

#[test]
fn another_programs_database_is_refused_and_left_as_it_is() {
    let (_folder, path) = folder();
    Connection::open(&path).unwrap().execute_batch("CREATE TABLE recipes (name TEXT)").unwrap();
    let before = fs::read(&path).unwrap();
    assert!(matches!(refusal(&path), (OpenError::Foreign { .. }, _)));
    assert_eq!(fs::read(&path).unwrap(), before);
}

#[cfg(unix)]
#[tokio::test]
async fn no_file_of_the_queue_can_be_read_by_others() {
    use std::os::unix::fs::PermissionsExt;
    let (folder, path) = folder();
    let assert_all_closed = || {
        for file in fs::read_dir(folder.path()).unwrap().map(Result::unwrap) {
            assert_eq!(file.metadata().unwrap().permissions().mode() & 0o777, 0o600, "{file:?}");
        }
    };
    let store = open(&path).unwrap();
    push(&store, "kari").await.unwrap();
    assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 4, "database, log, its index and lock");
    assert_all_closed();
    store.close().await;
    for file in fs::read_dir(folder.path()).unwrap().map(Result::unwrap) {
        fs::set_permissions(file.path(), fs::Permissions::from_mode(0o644)).unwrap();
    }
    let store = open(&path).unwrap();
    assert_all_closed();
    store.close().await;
}

#[tokio::test]
async fn a_file_that_is_moved_away_is_left_alone_and_events_are_refused() {
    for what in ["queue.db", "queue.db-wal", "queue.db.lock"] {
        let (folder, path) = folder();
        let store = open(&path).unwrap();
        push(&store, "kari").await.unwrap();
        fs::rename(folder.path().join(what), folder.path().join("away")).unwrap();
        let refused = push(&store, "ola").await.unwrap_err();
        assert!(matches!(&refused, QueueError::Moved(moved) if moved.path.ends_with(what)), "{refused}");
        assert!(!store.accepting());
        assert!(matches!(store.ask(Question::Census).await, Err(QueueError::Moved(_))), "{what}");
        // To put it back does not help: nobody knows what has been written meanwhile.
        fs::rename(folder.path().join("away"), folder.path().join(what)).unwrap();
        assert!(matches!(push(&store, "ola").await, Err(QueueError::Moved(_))), "{what}");
        store.close().await;
    }
}

#[tokio::test]
async fn a_row_that_the_store_refuses_fails_alone() {
    let (_folder, path) = folder();
    let store = open(&path).unwrap();
    let refuse = "CREATE TRIGGER refuse BEFORE INSERT ON users WHEN NEW.user_id = 'email|bad'
                  BEGIN SELECT RAISE(ABORT, 'not this one'); END";
    Connection::open(&path).unwrap().execute_batch(refuse).unwrap();

    let kept = push_all(&store, &["a", "bad", "c"].map(str::to_owned)).await;
    assert!(kept[0].is_ok() && kept[2].is_ok(), "{kept:?}");
    assert!(matches!(&kept[1], Err(QueueError::Store(why)) if why.contains("not this one")), "{kept:?}");
    assert!(!kept[1].as_ref().unwrap_err().to_string().contains("email|"));
}

#[tokio::test]
async fn another_programs_transaction_is_waited_for_once_and_not_by_each_event() {
    let (_folder, path) = folder();
    let busy = Duration::from_millis(100);
    let tuning = Tuning { busy, ..Tuning::default() };
    let store = open_as(&path, Role::Service, clock(), tuning).unwrap();
    let other = Connection::open(&path).unwrap();
    other.execute_batch("BEGIN IMMEDIATE").unwrap();

    let names: Vec<_> = (0..1_000).map(|number| number.to_string()).collect();
    let kept = tokio::time::timeout(busy * 100, push_all(&store, &names)).await.unwrap();
    assert!(kept.iter().all(|kept| matches!(kept, Err(QueueError::Store(why)) if why.contains("locked"))));
    assert!(!store.accepting());

    other.execute_batch("ROLLBACK").unwrap();
    assert!(push_all(&store, &names).await.iter().all(Result::is_ok));
    assert!(store.accepting());
}

#[tokio::test]
async fn a_full_disk_is_reported_and_events_are_kept_again_once_there_is_room() {
    let (_folder, path) = folder();
    open(&path).unwrap().close().await;
    let ballast = "CREATE TABLE ballast (filler BLOB); INSERT INTO ballast VALUES (zeroblob(100000))";
    Connection::open(&path).unwrap().execute_batch(ballast).unwrap();
    let tuning = Tuning { probe_every: Duration::from_millis(1), most_pages: Some(160), ..Tuning::default() };
    let store = open_as(&path, Role::Service, clock(), tuning).unwrap();

    let mut kept = 0;
    let refused = loop {
        match push(&store, &format!("{kept:0>200}")).await {
            Ok(()) => kept += 1,
            Err(refused) => break refused,
        }
    };
    assert!(kept > 0 && refused.to_string().contains("full"), "{kept} {refused}");
    assert!(!store.accepting());
    assert!(save(&store, Change::default()).await.is_ok(), "what needs no room still works");

    Connection::open(&path).unwrap().execute_batch("DELETE FROM ballast").unwrap();
    let patience = tokio::time::Instant::now() + Duration::from_secs(20);
    while !store.accepting() {
        assert!(tokio::time::Instant::now() < patience, "no probe found the room");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    push(&store, "kari").await.unwrap();
    let Answer::Documents(documents) = store.ask(Question::Documents("probe".to_owned())).await.unwrap()
    else {
        panic!("not documents")
    };
    assert!(documents.is_empty(), "a probe leaves nothing behind");
}
