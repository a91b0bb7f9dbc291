//! What is erased is in no file any more, free pages and the log included.

use super::*;
use crate::model::LastSeen;
use crate::personal::Personal;
use crate::queue::erasure_key::ErasureKey;

/// Whether `secret` is in any file of the queue, in any letter case.
fn is_in_a_file(folder: &Path, secret: &str) -> bool {
    fs::read_dir(folder).unwrap().any(|file| {
        let bytes = fs::read(file.unwrap().path()).unwrap().to_ascii_lowercase();
        bytes.windows(secret.len()).any(|window| window == secret.as_bytes())
    })
}

fn at_address(name: &str) -> Row {
    let email = Some(Personal::new(format!("{name}@Example.com")));
    Row { last_seen: LastSeen { email, missing_since: Some(Millis(1)), ..LastSeen::default() }, ..row(name) }
}

/// Saves so many users, whose ids and addresses have `canary` in them, and others beside, each with a history.
async fn full(store: &SqliteStore, canaries: usize) -> Vec<String> {
    let canaries: Vec<_> = (0..canaries).map(|number| format!("canary-{number:03}")).collect();
    for name in canaries.iter().map(String::as_str).chain(["a", "b"]) {
        let id = user(name).as_str().to_owned();
        let change = Change { entries: vec![(id, entry("updated", 1))], ..Change::rows([at_address(name)]) };
        save(store, change).await.unwrap();
        push(store, name).await.unwrap();
    }
    canaries
}

fn erasing(name: &str) -> Change {
    Change {
        erased: vec![user(name).as_str().to_owned()],
        tombstones: vec!["0a".to_owned()],
        ..Change::default()
    }
}

async fn is_gone_before_long(folder: &Path) {
    let patience = tokio::time::Instant::now() + Duration::from_secs(20);
    while is_in_a_file(folder, "canary") {
        assert!(tokio::time::Instant::now() < patience, "it is still in a file");
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}

#[tokio::test]
async fn an_erased_user_is_in_no_file_any_more_while_the_service_runs() {
    for canaries in [1, 200] {
        let (folder, path) = folder();
        let store = open(&path).unwrap();
        let canaries = full(&store, canaries).await;
        assert!(is_in_a_file(folder.path(), "canary"));
        for name in &canaries {
            save(&store, erasing(name)).await.unwrap();
        }
        is_gone_before_long(folder.path()).await;
        assert_eq!(rows(&store, &["a", "b"]).await.len(), 2);
    }
}

#[tokio::test]
async fn a_user_whom_a_command_erases_is_in_no_file_once_it_is_closed() {
    let (folder, path) = folder();
    let store = open(&path).unwrap();
    full(&store, 1).await;
    store.close().await;
    let command = open_as(&path, COMMAND, clock(), Tuning::default()).unwrap();
    save(&command, erasing("canary-000")).await.unwrap();
    command.close().await;
    assert!(!is_in_a_file(folder.path(), "canary"));
}

#[tokio::test]
async fn an_address_that_is_not_remembered_any_more_is_in_no_file_after_a_stop() {
    let (folder, path) = folder();
    let store = open(&path).unwrap();
    let canaries = full(&store, 60).await;
    assert!(is_in_a_file(folder.path(), "canary-000@example.com"));
    for name in &canaries {
        save(&store, Change::rows([row(name)])).await.unwrap();
    }
    store.close().await;
    assert!(is_in_a_file(folder.path(), "b@example.com"));
    for name in &canaries {
        assert!(!is_in_a_file(folder.path(), &format!("{name}@example.com")), "{name}");
    }
}

#[tokio::test]
async fn an_erasure_is_done_whole_or_not_at_all() {
    let (_folder, path) = folder();
    let store = open(&path).unwrap();
    full(&store, 0).await;
    let file = Connection::open(&path).unwrap();
    let refuse = "CREATE TRIGGER refuse BEFORE DELETE ON history BEGIN SELECT RAISE(ABORT, 'not now'); END";
    file.execute_batch(refuse).unwrap();
    // Both meet in a batch.
    let (erased, kept) = futures_util::join!(save(&store, erasing("a")), push(&store, "ola"));
    assert!(erased.is_err() && kept.is_ok(), "{erased:?} {kept:?}");
    assert_eq!(rows(&store, &["a"]).await.len(), 1);
    let tombstones = store.ask(Question::Tombstones(vec!["0a".to_owned()])).await.unwrap();
    assert!(matches!(tombstones, Answer::Tombstones(none) if none.is_empty()));
    file.execute_batch("DROP TRIGGER refuse").unwrap();
    save(&store, erasing("a")).await.unwrap();
    assert!(rows(&store, &["a"]).await.is_empty());
}

#[tokio::test]
async fn each_file_has_a_key_of_its_own_that_stays() {
    let keys = [0, 1].map(|_| {
        let (_folder, path) = folder();
        let store = open(&path).unwrap();
        let key = saved_key(&path);
        let printed = format!("{store:?}");
        assert!(!printed.contains(&key), "{printed}");
        let (_again, read) =
            super::super::open(&path, COMMAND, DEBOUNCE, clock(), Tuning::default()).unwrap();
        assert_eq!(saved_key(&path), key);
        assert_eq!(read.hash("kari"), ErasureKey::new(key.as_bytes()).hash("kari"));
        key
    });
    assert!(keys[0] != keys[1] && keys.iter().all(|key| key.len() == 64));
}

fn saved_key(path: &Path) -> String {
    let file = Connection::open(path).unwrap();
    let key = "SELECT value ->> '$' FROM documents WHERE name = 'erasure_key'";
    file.query_row(key, (), |row| row.get(0)).unwrap()
}
