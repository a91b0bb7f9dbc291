//! Files of versions before this one.

use super::*;
use crate::memory::Memory;
use crate::queue::sqlite::schema;
use crate::queue::tests::operators::by_hand;
use crate::queue::{Filter, State, Tick, UserLease};

/// A file as version 3 left it: kari is due, ola parked, per idle with a change held back, and each has a past.
fn of_version_3(path: &Path) {
    let file = Connection::open(path).unwrap();
    file.execute_batch(include_str!("../../migrations/sqlite/0001_users.sql")).unwrap();
    file.execute_batch(include_str!("../../migrations/sqlite/0002_apis.sql")).unwrap();
    file.execute_batch(include_str!("../../migrations/sqlite/0003_operations.sql")).unwrap();
    file.execute_batch(
        "CREATE TABLE sesamy_mailmojo_schema (version INTEGER NOT NULL PRIMARY KEY) STRICT;
         INSERT INTO sesamy_mailmojo_schema VALUES (1), (2), (3);
         INSERT INTO users (connection, user_id, generation, event_type, due_at, lane, synced_at)
         VALUES ('default', 'email|kari', 3, 'x', 0, 2, 7);
         INSERT INTO users (connection, user_id, generation, event_type, parked_at, error, answer)
         VALUES ('default', 'email|ola', 1, 'x', 5, '400: odd', '400');
         INSERT INTO users (connection, user_id, generation, event_type, held_back, synced_at)
         VALUES ('default', 'email|per', 2, 'x', 1, 7);
         INSERT INTO history (connection, user_id, first_at, last_at, event_type, outcome, reason, held_back, changed,
             tags_added, tags_removed, attempt, ms)
         SELECT 'default', user_id, 7, 7, 'x', 'updated', '', 0, 'tags', 'sesamy_plus', '', 1, 1 FROM users;
         INSERT INTO apis (connection, api, paused_at) VALUES ('default', 'sesamy', 6), ('default', 'mailmojo', 6);
         PRAGMA journal_mode = WAL;",
    )
    .unwrap();
}

#[tokio::test]
async fn a_file_of_version_3_keeps_its_users_and_their_past() {
    let (_folder, path) = folder();
    of_version_3(&path);
    // With dry_run what is held back stays so, to be seen.
    let dry = crate::queue::Options { dry_run: true, ..OPTIONS };
    let queue = Queue::open_sqlite(&path, Role::Service, dry, clock(), 7).unwrap();
    let rows = queue.rows(&Filter { limit: 9, ..Filter::default() }).await.unwrap();
    let states: Vec<_> = rows.iter().map(|row| (row.user.as_str(), row.state, row.held_back)).collect();
    let expected = [
        ("email|kari", State::Due, false),
        ("email|ola", State::Parked, false),
        ("email|per", State::Idle, true),
    ];
    assert_eq!(states, expected);
    assert!(rows.iter().all(|row| row.memory == Memory::default() && row.changes_at.is_none()));
    for row in &rows {
        let past = queue.history(&crate::user::UserId::new(row.user.as_str()).unwrap(), 9).await.unwrap();
        assert_eq!(
            (past.len(), past[0].old_tags_removed.len(), &past[0].tags_added[..]),
            (1, 0, &["sesamy_plus".to_owned()][..])
        );
    }
    let known = queue.known().await.unwrap();
    assert_eq!((known.paused_at, known.braked_at), (Some(Millis(6)), None));
    assert_eq!(
        (queue.round().await.unwrap(), queue.forgotten(&[user("kari")]).await.unwrap()),
        (None, vec![])
    );
    queue.close().await;
    let version = schema::version(&Connection::open(&path).unwrap()).unwrap();
    assert_eq!(version, schema::Version::Ours(schema::KNOWN));
}

#[tokio::test]
async fn a_file_of_version_3_is_worked_off_as_any_other() {
    let (_folder, path) = folder();
    of_version_3(&path);
    let clock = clock();
    let queue = Queue::open_sqlite(&path, Role::Service, OPTIONS, clock.clone(), 7).unwrap();
    queue.resume().await.unwrap();
    let jobs = queue.lease(Room::for_any(9)).await.unwrap().jobs;
    assert_eq!(jobs.len(), 2, "kari, and per whose change is held back no longer");
    for job in &jobs {
        queue.settle(job, crate::queue::Settlement::done(false), None).await.unwrap();
    }
    let tick = Tick { resync_every: Some(DEBOUNCE), canary_after: None };
    assert_eq!(queue.tick(tick.clone()).await.unwrap().round.unwrap().users, 3);
    clock.advance(DEBOUNCE);
    assert_eq!(queue.tick(tick).await.unwrap().drifting, 2, "all but ola, who is parked");
    let UserLease::Leased(job) = queue.lease_user(by_hand("ola")).await.unwrap() else {
        panic!("not leased")
    };
    assert!(queue.forget(&job).await.unwrap());
}

#[tokio::test]
async fn each_file_has_a_key_of_its_own() {
    let keys: Vec<Vec<u8>> = [0, 1]
        .map(|_| {
            let (_folder, path) = folder();
            of_version_3(&path);
            drop(open(&path).unwrap());
            Connection::open(&path)
                .unwrap()
                .query_row("SELECT key FROM forgetting", (), |row| row.get(0))
                .unwrap()
        })
        .to_vec();
    assert!(keys[0] != keys[1] && keys.iter().all(|key| key.len() == 32));
}
