//! Damaged files: refused, reported, and left as they are, whenever the damage is found.

use std::io::{Seek, SeekFrom, Write};

use super::*;

const PAGE: usize = 1_024;

/// The file of a queue with 500 users, closed.
async fn full() -> (TempDir, PathBuf) {
    let (folder, path) = folder();
    let store = open(&path).unwrap();
    let names: Vec<_> = (0..500).map(|number| number.to_string()).collect();
    assert!(push_all(&store, &names).await.iter().all(Result::is_ok));
    store.close().await;
    (folder, path)
}

/// Writes `bytes` into the file, from `at` on.
fn overwrite(path: &Path, at: usize, bytes: &[u8]) {
    let mut file = fs::File::options().write(true).open(path).unwrap();
    file.seek(SeekFrom::Start(at as u64)).unwrap();
    file.write_all(bytes).unwrap();
}

/// Overwrites the root page of a table or index.
fn spoil_root(path: &Path, of: &str) {
    let sql = "SELECT rootpage FROM sqlite_schema WHERE name = ?1";
    let root: u32 = Connection::open(path).unwrap().query_row(sql, [of], |row| row.get(0)).unwrap();
    overwrite(path, (root as usize - 1) * PAGE, &[0xA5; PAGE]);
}

/// Deletes from an index what its table still has.
fn put_out_of_step(path: &Path) {
    let file = Connection::open(path).unwrap();
    file.execute_batch(
        "PRAGMA writable_schema = ON;
         CREATE TABLE kept AS SELECT sql FROM sqlite_schema WHERE name = 'users_due';
         UPDATE sqlite_schema SET sql = 'CREATE INDEX users_due ON users (lane, due_at) WHERE due_at > 0'
             WHERE name = 'users_due';",
    )
    .unwrap();
    drop(file);
    let file = Connection::open(path).unwrap();
    file.execute_batch(
        "UPDATE users SET due_at = -due_at WHERE user_id LIKE '%7%';
         PRAGMA writable_schema = ON;
         UPDATE sqlite_schema SET sql = (SELECT sql FROM kept) WHERE name = 'users_due';
         DROP TABLE kept;",
    )
    .unwrap();
}

fn is_damaged(path: &Path) -> String {
    let before = fs::read(path).unwrap();
    let (error, message) = refusal(path);
    assert!(matches!(error, OpenError::Damaged(_)), "{message}");
    assert!(message.contains("backup") && message.contains("forgets who was waiting"), "{message}");
    assert!(fs::read(path).unwrap() == before, "a damaged file was changed");
    message
}

#[tokio::test]
async fn a_header_that_is_overwritten_is_no_database() {
    let (_folder, path) = full().await;
    overwrite(&path, 0, &[0xA5; 64]);
    let before = fs::read(&path).unwrap();
    assert!(matches!(refusal(&path), (OpenError::NotADatabase { .. }, _)));
    assert_eq!(fs::read(&path).unwrap(), before);
}

#[tokio::test]
async fn a_page_in_the_middle_that_is_overwritten_is_damage() {
    let (_folder, path) = full().await;
    let middle = fs::metadata(&path).unwrap().len() as usize / PAGE / 2;
    overwrite(&path, middle * PAGE, &[0xA5; 4 * PAGE]);
    is_damaged(&path);
}

#[tokio::test]
async fn a_file_that_is_cut_short_is_damage() {
    let (_folder, path) = full().await;
    let length = fs::metadata(&path).unwrap().len();
    for cut in [length - 1, length / 2, 2 * PAGE as u64] {
        fs::File::options().write(true).open(&path).unwrap().set_len(cut).unwrap();
        is_damaged(&path);
    }
}

#[tokio::test]
async fn an_index_out_of_step_with_its_table_is_damage() {
    let (_folder, path) = full().await;
    put_out_of_step(&path);
    let message = is_damaged(&path);
    assert!(message.contains("users_due"), "{message}");
}

#[tokio::test]
async fn an_index_that_is_missing_is_damage() {
    let (_folder, path) = full().await;
    Connection::open(&path).unwrap().execute_batch("DROP INDEX users_leased").unwrap();
    let message = is_damaged(&path);
    assert!(message.contains("users_leased"), "{message}");
}

#[tokio::test]
async fn a_log_without_its_database_is_damage_and_is_not_thrown_away() {
    let (folder, path) = folder();
    let store = open(&path).unwrap();
    push(&store, "kari").await.unwrap();
    let (copy, log) = (folder.path().join("copy.db"), folder.path().join("copy.db-wal"));
    fs::copy(folder.path().join("queue.db-wal"), &log).unwrap();
    let before = fs::read(&log).unwrap();
    for empty in [false, true] {
        if empty {
            fs::write(&copy, "").unwrap();
        }
        let (error, message) = refusal(&copy);
        assert!(matches!(error, OpenError::Damaged(_)) && message.contains("copy.db-wal"), "{message}");
        assert_eq!(fs::read(&log).unwrap(), before);
    }
}

/// The log of a process that was killed stays beside the file, and neither is touched.
#[tokio::test]
async fn what_a_killed_process_left_beside_a_damaged_file_stays_too() {
    let (folder, path) = full().await;
    let killed = open(&path).unwrap();
    push(&killed, "kari").await.unwrap();
    let (copy, log) = (folder.path().join("copy.db"), folder.path().join("copy.db-wal"));
    fs::copy(&path, &copy).unwrap();
    fs::copy(folder.path().join("queue.db-wal"), &log).unwrap();
    overwrite(&copy, 5 * PAGE, &[0xA5; 20 * PAGE]);
    let before = fs::read(&log).unwrap();
    is_damaged(&copy);
    assert!(fs::read(&log).unwrap() == before, "the log was changed");
}

/// A file that is too large to be checked before the start is over; here, any file is.
fn open_unchecked(path: &Path) -> Result<SqliteStore, OpenError> {
    open_as(path, Role::Service, clock(), Tuning { check_first: 0, ..Tuning::default() })
}

#[tokio::test]
async fn in_a_large_file_what_can_be_seen_at_once_is_refused_at_the_start() {
    for of in ["users", "users_due", "users_parked", "history", "history_by_age", "documents", "forgotten"] {
        let (_folder, path) = full().await;
        spoil_root(&path, of);
        assert!(matches!(open_unchecked(&path), Err(OpenError::Damaged(_))), "{of}");
    }
}

#[tokio::test]
async fn in_a_large_file_damage_is_found_before_anything_is_written_and_stands() {
    let (_folder, path) = full().await;
    put_out_of_step(&path);
    let before = fs::read(&path).unwrap();
    let store = open_unchecked(&path).unwrap();
    for _ in 0..3 {
        let refused = push(&store, "kari").await.unwrap_err();
        assert!(matches!(refused, QueueError::Damaged(_)), "{refused}");
        assert!(refused.to_string().contains("Stop the service and put a backup in its place"), "{refused}");
        assert!(!store.accepting());
    }
    let looked = store.transact(Look::default(), |_| (Change::default(), ())).await;
    assert!(
        matches!(looked, Err(QueueError::Damaged(_))),
        "nobody is leased from a damaged file: {looked:?}"
    );
    store.close().await;
    assert!(fs::read(&path).unwrap() == before, "a damaged file was changed");
}

#[tokio::test]
async fn damage_that_is_met_later_refuses_everything_from_then_on() {
    let (_folder, path) = full().await;
    let store = open(&path).unwrap();
    let length = fs::metadata(&path).unwrap().len() as usize;
    overwrite(&path, PAGE, &vec![0xA5; length - PAGE]);
    // In the middle: the pages at the ends are in memory from the start.
    let refused = push(&store, "33").await.unwrap_err();
    assert!(matches!(refused, QueueError::Damaged(_)), "{refused}");
    assert!(!store.accepting());
    // Nobody's event is kept, though the page that it belongs to may be sound.
    assert!(matches!(push(&store, "999").await, Err(QueueError::Damaged(_))));
    assert!(matches!(save(&store, Change::default()).await, Err(QueueError::Damaged(_))));
    store.close().await;
}

#[tokio::test]
async fn a_file_without_its_key_is_damage() {
    for damage in [
        "DELETE FROM documents WHERE name = 'erasure_key'",
        "UPDATE documents SET value = '7' WHERE name = 'erasure_key'",
    ] {
        let (_folder, path) = full().await;
        Connection::open(&path).unwrap().execute(damage, ()).unwrap();
        let message = is_damaged(&path);
        assert!(message.contains("`erasure_key`"), "{message}");
    }
}
