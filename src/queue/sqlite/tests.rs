//! What only an SQLite file can do wrong, or has to do by itself.

mod beside;
mod damage;
mod erasure;
mod errands;
mod plans;
mod ticks;
mod versions;

use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use rusqlite::Connection;
use tempfile::TempDir;

use super::Tuning;
use super::open::Place;
use crate::clock::{Clock, Millis};
use crate::queue::Role;
use crate::queue::Room;
use crate::queue::tests::{DEBOUNCE, OPTIONS, UPDATE, user};
use crate::queue::{OpenError, Queue, QueueError};

fn folder() -> (TempDir, PathBuf) {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("queue.db");
    (folder, path)
}

fn clock() -> Clock {
    Clock::manual(Millis(1_000_000))
}

fn open(path: &Path) -> Result<Queue, OpenError> {
    Queue::open_sqlite(path, Role::Service, OPTIONS, clock(), 7)
}

fn refusal(path: &Path) -> (OpenError, String) {
    let error = open(path).unwrap_err();
    let message = error.to_string();
    assert!(message.contains(path.file_name().unwrap().to_str().unwrap()), "{message}");
    (error, message)
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
    let queue = open(&path).unwrap();
    queue.push(&user("kari"), UPDATE).await.unwrap();
    queue.close().await;
    let mut names: Vec<_> =
        fs::read_dir(folder.path()).unwrap().map(|entry| entry.unwrap().file_name()).collect();
    names.sort();
    assert_eq!(names, ["queue.db", "queue.db.lock"]);
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

#[cfg(unix)]
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
async fn a_queue_whose_last_clone_is_dropped_closes_by_itself() {
    let (_folder, path) = folder();
    let queue = open(&path).unwrap();
    queue.push(&user("kari"), UPDATE).await.unwrap();
    let mut next_due = queue.next_due();
    drop(queue.clone());
    assert!(queue.accepting());
    drop(queue);
    while next_due.changed().await.is_ok() {} // the writer's end is dropped as the last thing
    open(&path).unwrap().close().await;
}

#[tokio::test]
async fn what_was_answered_is_in_the_files_though_nobody_closed_them() {
    let (folder, path) = folder();
    let killed = open(&path).unwrap();
    killed.push(&user("kari"), UPDATE).await.unwrap();
    let copy = folder.path().join("copy.db");
    fs::copy(&path, &copy).unwrap();
    fs::copy(folder.path().join("queue.db-wal"), folder.path().join("copy.db-wal")).unwrap();

    let clock = clock();
    let queue = Queue::open_sqlite(&copy, Role::Service, OPTIONS, clock.clone(), 8).unwrap();
    clock.advance(DEBOUNCE);
    assert_eq!(queue.lease(Room::for_any(1)).await.unwrap().jobs[0].user, user("kari"));
}

/// `FULL`: a commit is on disk when it is answered. With less, a machine that loses its power loses events that were
/// answered 202, which no kill of a process shows.
#[test]
fn each_connection_that_writes_waits_for_the_disk() {
    let (_folder, path) = folder();
    let (place, tuning) = (Place::new(&path).unwrap(), Tuning::default());
    let connections = [
        ("the service's", place.connect(tuning).unwrap()),
        ("a command's", place.connect_beside(false, tuning).unwrap()),
        ("the keeper's", place.second_connection(tuning).unwrap()),
    ];
    for (whose, connection) in connections {
        let read = |pragma: &str| connection.query_row(&format!("PRAGMA {pragma}"), (), |row| row.get(0));
        assert_eq!(read("synchronous"), Ok(2_i64), "{whose}");
        let journal = connection.query_row("PRAGMA journal_mode", (), |row| row.get::<_, String>(0));
        assert_eq!(journal.unwrap(), "wal", "{whose}");
    }
}

#[tokio::test]
async fn the_log_goes_into_the_database_by_itself() {
    let (folder, path) = folder();
    let queue = open(&path).unwrap();
    queue.push(&user("kari"), UPDATE).await.unwrap();
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
fn a_folder_that_cannot_be_made_is_told_with_the_user_id_and_the_mend() {
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
fn a_database_that_is_a_folder_is_told() {
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

#[tokio::test]
async fn a_database_of_a_newer_version_is_refused() {
    let (_folder, path) = folder();
    open(&path).unwrap().close().await;
    Connection::open(&path)
        .unwrap()
        .execute("INSERT INTO sesamy_mailmojo_schema (version) VALUES (?1)", [super::schema::KNOWN + 1])
        .unwrap();
    let (error, message) = refusal(&path);
    assert!(matches!(error, OpenError::Newer { .. }), "{message}");
    assert!(message.contains("run the version that wrote it"), "{message}");
}

#[tokio::test]
async fn a_row_that_the_store_refuses_fails_alone() {
    let (_folder, path) = folder();
    let queue = open(&path).unwrap();
    let refuse = "CREATE TRIGGER refuse BEFORE INSERT ON users WHEN NEW.user_id = 'email|bad'
                  BEGIN SELECT RAISE(ABORT, 'not this one'); END";
    Connection::open(&path).unwrap().execute_batch(refuse).unwrap();

    // All are sent before the writer's first answer can be awaited, so they meet in a batch.
    let names = ["a", "bad", "c"].map(user);
    let kept = futures_util::future::join_all(names.iter().map(|user| queue.push(user, UPDATE))).await;
    assert!(kept[0].is_ok() && kept[2].is_ok(), "{kept:?}");
    assert!(matches!(&kept[1], Err(QueueError::Store(why)) if why.contains("not this one")), "{kept:?}");
    assert!(!kept[1].as_ref().unwrap_err().to_string().contains("email|"));
}

#[tokio::test]
async fn somebody_elses_transaction_is_waited_for_once_and_not_by_each_event() {
    let (_folder, path) = folder();
    let busy = Duration::from_millis(100);
    let queue = Queue::open_sqlite_tuned(
        &path,
        Role::Service,
        OPTIONS,
        clock(),
        7,
        Tuning { busy, ..Tuning::default() },
    )
    .unwrap();
    let other = Connection::open(&path).unwrap();
    other.execute_batch("BEGIN IMMEDIATE").unwrap();

    let names: Vec<_> = (0..1_000).map(|number| user(&number.to_string())).collect();
    let push_all = || futures_util::future::join_all(names.iter().map(|user| queue.push(user, UPDATE)));
    let kept = tokio::time::timeout(busy * 100, push_all()).await.unwrap();
    assert!(kept.iter().all(|kept| matches!(kept, Err(QueueError::Store(why)) if why.contains("locked"))));
    assert!(!queue.accepting());

    other.execute_batch("ROLLBACK").unwrap();
    assert!(push_all().await.iter().all(Result::is_ok));
    assert!(queue.accepting());
}

#[tokio::test]
async fn a_full_disk_is_told_and_events_are_taken_again_once_there_is_room() {
    let (_folder, path) = folder();
    open(&path).unwrap().close().await;
    let ballast = "CREATE TABLE ballast (filler BLOB); INSERT INTO ballast VALUES (zeroblob(100000))";
    Connection::open(&path).unwrap().execute_batch(ballast).unwrap();
    let tuning = Tuning { probe_every: Duration::from_millis(1), most_pages: Some(160), ..Tuning::default() };
    let queue = Queue::open_sqlite_tuned(&path, Role::Service, OPTIONS, clock(), 7, tuning).unwrap();

    let mut kept = 0;
    let refused = loop {
        match queue.push(&user(&format!("{kept:0>200}")), UPDATE).await {
            Ok(()) => kept += 1,
            Err(refused) => break refused,
        }
    };
    assert!(refused.to_string().contains("full"), "{refused}");
    assert!(!queue.accepting());
    assert!(queue.lease(Room::for_any(1)).await.is_ok(), "what needs no room still works");

    Connection::open(&path).unwrap().execute_batch("DELETE FROM ballast").unwrap();
    let patience = tokio::time::Instant::now() + Duration::from_secs(20);
    while !queue.accepting() {
        assert!(tokio::time::Instant::now() < patience, "no probe found the room");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    queue.push(&user("kari"), UPDATE).await.unwrap();
}

#[tokio::test]
async fn an_id_that_is_none_any_more_holds_nobody_up() {
    let (_folder, path) = folder();
    let clock = clock();
    let queue = Queue::open_sqlite(&path, Role::Service, OPTIONS, clock.clone(), 7).unwrap();
    queue.push(&user("kari"), UPDATE).await.unwrap();
    let insert = "INSERT INTO users (connection, user_id, generation, event_type, due_at)
                  VALUES ('default', '..', 1, 'x', 0)";
    Connection::open(&path).unwrap().execute_batch(insert).unwrap();
    clock.advance(DEBOUNCE);
    assert!(queue.lease(Room::for_any(1)).await.unwrap().jobs.is_empty(), "it is parked");
    assert_eq!(queue.lease(Room::for_any(1)).await.unwrap().jobs[0].user, user("kari"));
    assert_eq!(queue.census().await.unwrap().parked, 1);
}
