//! Files of versions before this one and after it. The next step of the schema is the test's own.

use super::*;
use crate::queue::sqlite::open::{connect, connect_beside};
use crate::queue::sqlite::schema::{Version, migrate, version};

const NEXT: &str = "ALTER TABLE users ADD COLUMN colour TEXT; CREATE INDEX users_coloured ON users (colour)
    WHERE colour IS NOT NULL;";

fn next_steps() -> Vec<&'static str> {
    schema::STEPS.iter().copied().chain([NEXT]).collect()
}

fn version_of(path: &Path) -> Version {
    version(&Connection::open(path).unwrap()).unwrap()
}

/// A file of this version with kari in it, who is due.
async fn with_kari() -> (TempDir, PathBuf) {
    let (folder, path) = folder();
    let store = open(&path).unwrap();
    push(&store, "kari").await.unwrap();
    store.close().await;
    (folder, path)
}

#[tokio::test]
async fn a_file_of_the_version_before_is_brought_up_to_date_with_all_its_users() {
    let (_folder, path) = with_kari().await;
    let before = version_of(&path);
    let file = DatabaseFile::at(&path).unwrap();
    let key = "SELECT value FROM documents WHERE name = 'erasure_key'";
    let key = |connection: &Connection| connection.query_row(key, (), |row| row.get::<_, String>(0)).unwrap();
    let key_before = key(&Connection::open(&path).unwrap());
    for _ in 0..2 {
        let connection = connect(&file, &next_steps(), Tuning::default()).unwrap();
        let generation =
            connection.query_row("SELECT generation FROM users WHERE colour IS NULL", (), |row| row.get(0));
        assert_eq!(generation, Ok(1));
        assert_eq!(key(&connection), key_before);
    }
    let latest = schema::latest(schema::STEPS);
    assert_eq!((before, version_of(&path)), (Version::Ours(latest), Version::Ours(latest + 1)));
}

#[tokio::test]
async fn a_step_that_fails_leaves_the_file_as_it_was() {
    let (_folder, path) = with_kari().await;
    let before = version_of(&path);
    let mut steps = next_steps();
    steps.push("CREATE TABLE colours (name TEXT); SELECT no_such_function()");
    assert!(migrate(&mut Connection::open(&path).unwrap(), &steps).is_err());
    assert_eq!(version_of(&path), before);
    assert_eq!(rows(&open(&path).unwrap(), &["kari"]).await.len(), 1);
}

#[tokio::test]
async fn a_damaged_file_is_not_brought_up_to_date() {
    let (_folder, path) = with_kari().await;
    let odd =
        "PRAGMA writable_schema = ON; UPDATE sqlite_schema SET sql = replace(sql, 'due_at)', 'check_at)')
        WHERE name = 'users_due'";
    Connection::open(&path).unwrap().execute_batch(odd).unwrap();
    let before = version_of(&path);
    let file = DatabaseFile::at(&path).unwrap();
    let refused = connect(&file, &next_steps(), Tuning::default());
    assert!(matches!(refused, Err(OpenError::Damaged(_))));
    assert_eq!(version_of(&path), before);
}

#[tokio::test]
async fn a_file_of_a_newer_version_is_refused_and_left_as_it_is() {
    let (_folder, path) = with_kari().await;
    migrate(&mut Connection::open(&path).unwrap(), &next_steps()).unwrap();
    let before = fs::read(&path).unwrap();
    let (error, message) = refusal(&path);
    assert!(matches!(error, OpenError::Newer { found: 2, known: 1, .. }), "{message}");
    assert!(message.contains("run the version that wrote it"), "{message}");
    assert!(matches!(open_as(&path, COMMAND, clock(), Tuning::default()), Err(OpenError::Newer { .. })));
    assert!(fs::read(&path).unwrap() == before);
}

#[tokio::test]
async fn a_command_leaves_the_schema_to_the_service_of_another_version_that_runs() {
    let (folder, path) = with_kari().await;
    let file = DatabaseFile::at(&path).unwrap();
    let next = next_steps();
    let beside = |may_create| connect_beside(&file, &next, may_create, &clock(), Tuning::default());
    // As the service of that version holds it.
    let lock = fs::File::create(folder.path().join("queue.db.lock")).unwrap();
    lock.lock().unwrap();
    let error = beside(true).unwrap_err();
    let message = error.to_string();
    assert!(matches!(error, OpenError::Older { found: 1, known: 2, .. }), "{message}");
    assert!(message.contains("queue.db") && message.contains("stop that service"), "{message}");
    assert_eq!(version_of(&path), Version::Ours(1));
    drop(lock);
    // One that only reads leaves it in any case: the service of that version may come back.
    assert!(matches!(beside(false), Err(OpenError::Older { found: 1, .. })));
    assert_eq!(version_of(&path), Version::Ours(1));
    beside(true).unwrap();
    assert_eq!(version_of(&path), Version::Ours(2));
}
