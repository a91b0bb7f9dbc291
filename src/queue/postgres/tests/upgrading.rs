//! A schema of the version before: what is in it, and replicas of that version that are at work beside.

use sqlx::{ConnectOptions, Row};

use super::{QUICK, clock, open};
use crate::memory::Memory;
use crate::queue::Room;
use crate::queue::tests::server::Ground;
use crate::queue::tests::{done, user};

/// As the version before made it, with what it may have left there.
fn version_3(ground: &Ground) {
    ground.sql(&format!(
        "CREATE TABLE sesamy_mailmojo_schema (version integer PRIMARY KEY);
         INSERT INTO sesamy_mailmojo_schema VALUES (1), (2), (3); {}{}{}",
        include_str!("../../migrations/postgres/0001_users.sql"),
        include_str!("../../migrations/postgres/0002_apis.sql"),
        include_str!("../../migrations/postgres/0003_operations.sql"),
    ));
}

#[tokio::test]
async fn all_that_the_version_before_kept_comes_through() {
    let Some(ground) = Ground::new() else { return };
    version_3(&ground);
    ground.sql(
        "INSERT INTO users (connection, user_id, generation, event_type, due_at, parked_at, answer, held_back, synced_at)
         VALUES ('default', 'email|due', 3, 'x', 5, NULL, NULL, false, 4),
             ('default', 'email|held-back', 1, 'x', NULL, NULL, NULL, true, 4),
             ('default', 'email|idle', 1, 'x', NULL, NULL, NULL, false, 4),
             ('default', 'email|parked', 2, 'x', NULL, 6, '404', false, NULL);
         INSERT INTO history (connection, user_id, first_at, last_at, event_type, outcome, reason, held_back, changed,
             tags_added, tags_removed, attempt, ms)
         VALUES ('default', 'email|due', 1, 2, 'x', 'updated', '', false, 'phone', 'sesamy_plus', '', 1, 7);
         INSERT INTO backfills VALUES ('default', 1, NULL, 'asked', 'done');
         UPDATE apis SET paused_at = 9",
    );
    let queue = open(&ground, &ground.url, &clock(), QUICK);
    assert_eq!(queue.known().await.unwrap().paused_at.map(|at| at.0), Some(9));
    assert_eq!(queue.known().await.unwrap().braked_at, None);
    queue.resume().await.unwrap();
    let jobs = queue.lease(Room::for_any(9)).await.unwrap().jobs;
    let leased: Vec<_> = jobs.iter().map(|job| (job.user.as_str(), job.generation)).collect();
    assert_eq!(leased, [("email|due", 3), ("email|held-back", 1)]);
    assert!(jobs.iter().all(|job| job.memory == Memory::default()));
    let rows = queue.rows_of(&[user("idle"), user("parked")]).await.unwrap();
    assert!(rows.iter().all(|row| row.memory == Memory::default() && row.changes_at.is_none()), "{rows:?}");
    assert_eq!(queue.parked(9).await.unwrap()[0].answer, "404");
    let history = queue.history(&user("due"), 9).await.unwrap();
    assert_eq!(
        (history[0].changed.as_slice(), history[0].old_tags_removed.len()),
        (&["phone".to_owned()][..], 0)
    );
    assert_eq!(queue.progress().await.unwrap().unwrap().asked, "asked");
    assert_eq!(queue.round().await.unwrap(), None);
    assert_eq!(ground.number("SELECT sum(length(key))::bigint FROM forgetting"), 32);
    queue.close().await;
}

/// Statements that were prepared before, as a replica has them that is at work meanwhile.
#[tokio::test]
async fn a_replica_of_the_version_before_goes_on_keeping_leasing_and_settling() {
    let Some(ground) = Ground::new() else { return };
    version_3(&ground);
    let mut before = ground.url.options().connect().await.unwrap();
    sqlx::raw_sql(
        "PREPARE push AS INSERT INTO users AS u (connection, user_id, generation, event_type, due_at)
             SELECT 'default', $1, 1, 'x', 1000000
             ON CONFLICT (connection, user_id) DO UPDATE SET generation = u.generation + 1, due_at = excluded.due_at;
         PREPARE lease AS UPDATE users SET lease_owner = 7, due_at = 2000000 WHERE user_id = $1
             RETURNING user_id, generation;
         PREPARE settle AS UPDATE users SET lease_owner = NULL, due_at = NULL WHERE user_id = $1 AND lease_owner = 7;
         PREPARE tell AS INSERT INTO history (connection, user_id, first_at, last_at, event_type, outcome, reason,
                 held_back, changed, tags_added, tags_removed, attempt, ms)
             VALUES ('default', $1, 1, 1, 'x', 'updated', '', false, '', '', '', 1, 1);
         PREPARE apis AS SELECT api, used, revision, paused_at FROM apis WHERE connection = 'default' FOR UPDATE",
    )
    .execute(&mut before)
    .await
    .unwrap();

    let queue = open(&ground, &ground.url, &clock(), QUICK);
    sqlx::raw_sql("EXECUTE push('email|kari'); EXECUTE push('email|ola')")
        .execute(&mut before)
        .await
        .unwrap();
    let leased = sqlx::raw_sql("EXECUTE lease('email|ola')").fetch_one(&mut before).await.unwrap();
    assert_eq!(leased.get::<i64, _>(1), 1);
    sqlx::raw_sql("EXECUTE settle('email|ola'); EXECUTE tell('email|ola'); EXECUTE apis")
        .execute(&mut before)
        .await
        .unwrap();
    let jobs = queue.lease(Room::for_any(9)).await.unwrap().jobs;
    assert_eq!((jobs.len(), jobs[0].user.as_str()), (1, "email|kari"));
    queue.settle(&jobs[0], done(), None).await.unwrap();
    assert_eq!(queue.history(&user("ola"), 9).await.unwrap().len(), 1);
    queue.close().await;
}
