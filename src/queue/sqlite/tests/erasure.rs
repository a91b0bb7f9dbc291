//! What is erased is in no file any more, free pages and the log included.

use super::*;
use crate::memory::Memory;
use crate::queue::tests::operators::by_hand;
use crate::queue::tests::{done_with, seen};
use crate::queue::{Entry, Job, Settlement, Tick, UserLease};

/// Whether `secret` is in any file of the queue, in any letter case.
fn is_in_a_file(folder: &Path, secret: &str) -> bool {
    fs::read_dir(folder).unwrap().any(|file| {
        let bytes = fs::read(file.unwrap().path()).unwrap().to_ascii_lowercase();
        bytes.windows(secret.len()).any(|window| window == secret.as_bytes())
    })
}

async fn leased(queue: &Queue, name: &str) -> Job {
    match queue.lease_user(by_hand(name)).await.unwrap() {
        UserLease::Leased(job) => *job,
        other => panic!("{other:?}"),
    }
}

/// Syncs so many users, whose ids and addresses have `canary` in them, and others beside; a round has come to the last.
async fn full(queue: &Queue, clock: &Clock, canaries: usize) -> Vec<String> {
    let canaries: Vec<_> = (0..canaries).map(|number| format!("canary-{number:03}")).collect();
    for name in canaries.iter().map(String::as_str).chain(["a", "b"]) {
        let job = leased(queue, name).await;
        let entry = Entry { outcome: "updated", error: Some("odd".to_owned()), ..Entry::default() };
        let changes_at = Some(clock.now().plus(DEBOUNCE * 1_000));
        let memory = seen(&format!("{name}@Example.com"));
        queue.settle(&job, done_with(memory, changes_at), Some(entry)).await.unwrap();
        queue.push(&user(name), UPDATE).await.unwrap();
    }
    let every = Duration::from_secs(100);
    for _ in 0..canaries.len() + 3 {
        queue.tick(Tick { resync_every: Some(every), canary_after: None }).await.unwrap();
        clock.advance(every * 2 / 3);
    }
    canaries
}

async fn is_gone_before_long(folder: &Path) {
    let patience = tokio::time::Instant::now() + Duration::from_secs(20);
    while is_in_a_file(folder, "canary") {
        assert!(tokio::time::Instant::now() < patience, "it is still in a file");
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}

#[tokio::test]
async fn who_is_forgotten_is_in_no_file_any_more_while_the_service_runs() {
    for canaries in [1, 200] {
        let (folder, path) = folder();
        let clock = clock();
        let queue = Queue::open_sqlite(&path, Role::Service, OPTIONS, clock.clone(), 7).unwrap();
        let canaries = full(&queue, &clock, canaries).await;
        assert!(is_in_a_file(folder.path(), "canary"));
        for name in &canaries {
            let job = leased(&queue, name).await;
            assert!(queue.forget(&job).await.unwrap());
            queue.push(&user(name), UPDATE).await.unwrap();
        }
        is_gone_before_long(folder.path()).await;
        assert_eq!(queue.rows_of(&["a", "b"].map(user)).await.unwrap().len(), 2);
    }
}

#[tokio::test]
async fn whom_a_command_forgets_is_in_no_file_once_it_is_closed() {
    let (folder, path) = folder();
    let clock = clock();
    let queue = Queue::open_sqlite(&path, Role::Service, OPTIONS, clock.clone(), 7).unwrap();
    full(&queue, &clock, 1).await;
    queue.close().await;
    let command =
        Queue::open_sqlite(&path, Role::Command { may_create: false }, OPTIONS, clock.clone(), 8).unwrap();
    let job = leased(&command, "canary-000").await;
    assert!(command.forget(&job).await.unwrap());
    command.close().await;
    assert!(!is_in_a_file(folder.path(), "canary"));
}

#[tokio::test]
async fn an_address_that_is_not_remembered_any_more_is_in_no_file_after_a_stop() {
    let (folder, path) = folder();
    let clock = clock();
    let queue = Queue::open_sqlite(&path, Role::Service, OPTIONS, clock.clone(), 7).unwrap();
    full(&queue, &clock, 60).await;
    for number in 0..60 {
        let job = leased(&queue, &format!("canary-{number:03}")).await;
        queue.settle(&job, done_with(Memory::default(), None), None).await.unwrap();
    }
    queue.close().await;
    assert!(!is_in_a_file(folder.path(), "@example.com") || is_in_a_file(folder.path(), "b@example.com"));
    assert!(
        !is_in_a_file(folder.path(), "000@example.com") && !is_in_a_file(folder.path(), "059@example.com")
    );
}

#[tokio::test]
async fn to_forget_is_done_whole_or_not_at_all() {
    let (_folder, path) = folder();
    let queue = open(&path).unwrap();
    let job = leased(&queue, "kari").await;
    let entry = Entry { outcome: "updated", ..Entry::default() };
    queue.settle(&job, Settlement::done(false), Some(entry)).await.unwrap();
    let job = leased(&queue, "kari").await;
    let file = Connection::open(&path).unwrap();
    let refuse = "CREATE TRIGGER refuse BEFORE INSERT ON forgotten BEGIN SELECT RAISE(ABORT, 'not now'); END";
    file.execute_batch(refuse).unwrap();
    // Both are sent before the writer's first answer can be awaited, so they meet in a batch.
    let ola = user("ola");
    let (forgotten, kept) = futures_util::join!(queue.forget(&job), queue.push(&ola, UPDATE));
    assert!(forgotten.is_err() && kept.is_ok(), "{forgotten:?} {kept:?}");
    assert_eq!(queue.rows_of(&[user("kari")]).await.unwrap().len(), 1);
    assert_eq!(queue.history(&user("kari"), 9).await.unwrap().len(), 1);
    file.execute_batch("DROP TRIGGER refuse").unwrap();
    assert!(queue.forget(&job).await.unwrap(), "the lease is still there");
}

#[tokio::test]
async fn a_file_without_its_key_is_damage() {
    let (_folder, path) = folder();
    open(&path).unwrap().close().await;
    Connection::open(&path).unwrap().execute("DELETE FROM forgetting", ()).unwrap();
    let (error, message) = refusal(&path);
    assert!(matches!(error, OpenError::Damaged(_)) && message.contains("`forgetting`"), "{message}");
}
