//! What a tick, and what is remembered, cost the file.

use super::*;
use crate::queue::tests::{done_with, only_job, seen};
use crate::queue::{Tick, Ticked};

const EVERY: Duration = Duration::from_secs(1_000);
const ROUNDS: Tick = Tick { resync_every: Some(EVERY), canary_after: None };

/// So many users who were synced and have nothing to do, past any queue.
fn synced(path: &Path, users: u32) {
    let insert = "WITH RECURSIVE n (i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < ?1)
        INSERT INTO users (connection, user_id, generation, event_type, synced_at)
        SELECT 'default', 'email|' || i, 1, 'x', 5 FROM n";
    Connection::open(path).unwrap().execute(insert, [users]).unwrap();
}

#[tokio::test]
async fn a_tick_with_nothing_to_do_writes_nothing() {
    let (_folder, path) = folder();
    let clock = clock();
    let tuning = Tuning { busy: Duration::from_millis(50), ..Tuning::default() };
    let queue = Queue::open_sqlite_tuned(&path, Role::Service, OPTIONS, clock.clone(), 7, tuning).unwrap();
    synced(&path, 10);
    let begun = queue.tick(ROUNDS).await.unwrap().round;
    // Nobody else can write while this lasts.
    let other = Connection::open(&path).unwrap();
    other.execute_batch("BEGIN IMMEDIATE").unwrap();
    let idle = queue.tick(ROUNDS).await.unwrap();
    assert_eq!(idle, Ticked { round: begun, ..Ticked::default() });
    clock.advance(EVERY / 10);
    let refused = queue.tick(ROUNDS).await.unwrap_err();
    assert!(matches!(&refused, QueueError::Store(why) if why.contains("locked")), "{refused:?}");
    other.execute_batch("ROLLBACK").unwrap();
    assert_eq!(queue.tick(ROUNDS).await.unwrap().drifting, 1);
}

#[tokio::test]
async fn the_rows_of_a_round_are_counted_in_steps_that_events_go_between() {
    let (_folder, path) = folder();
    let queue = open(&path).unwrap();
    synced(&path, 30_500);
    let done = std::sync::Mutex::new(Vec::new());
    let kari = user("kari");
    let tick = async {
        let round = queue.tick(ROUNDS).await.unwrap().round.unwrap();
        done.lock().unwrap().push("tick");
        round.users
    };
    let events = async {
        for _ in 0..2 {
            queue.push(&kari, UPDATE).await.unwrap();
        }
        done.lock().unwrap().push("events");
    };
    let (users, ()) = futures_util::join!(tick, events);
    assert!((30_500..=30_501).contains(&users), "{users}");
    assert_eq!(*done.lock().unwrap(), ["events", "tick"]);
}

#[tokio::test]
async fn a_step_that_fails_is_undone_whole_and_refuses_no_event() {
    let (_folder, path) = folder();
    let clock = clock();
    let queue = Queue::open_sqlite(&path, Role::Service, OPTIONS, clock.clone(), 7).unwrap();
    synced(&path, 4);
    queue.tick(ROUNDS).await.unwrap();
    clock.advance(EVERY);
    let refuse = "CREATE TRIGGER refuse BEFORE UPDATE ON users WHEN NEW.user_id = 'email|3'
        BEGIN SELECT RAISE(ABORT, 'not now'); END";
    let file = Connection::open(&path).unwrap();
    file.execute_batch(refuse).unwrap();
    // Both are sent before the writer's first answer can be awaited, so they meet in a batch.
    let kari = user("kari");
    let (ticked, kept) = futures_util::join!(queue.tick(ROUNDS), queue.push(&kari, UPDATE));
    assert!(ticked.is_err() && kept.is_ok() && queue.accepting(), "{ticked:?} {kept:?}");
    assert_eq!(queue.round().await.unwrap().unwrap().passed, 0);
    let due = queue.rows_of(&["1", "2", "3", "4"].map(user)).await.unwrap();
    assert!(due.iter().all(|row| row.due_at.is_none()), "{due:?}");
    file.execute_batch("DROP TRIGGER refuse").unwrap();
    let round = queue.tick(ROUNDS).await.unwrap();
    assert_eq!((round.drifting, round.round.unwrap().passed), (4, 5), "kari is due already");
}

/// To name a column in an update is to rewrite the indexes that it is in.
#[tokio::test]
async fn a_sync_that_changes_nothing_of_what_is_remembered_names_none_of_it() {
    let (_folder, path) = folder();
    let clock = clock();
    let queue = Queue::open_sqlite(&path, Role::Service, OPTIONS, clock.clone(), 7).unwrap();
    let at = Some(clock.now().plus(EVERY));
    let ends = || done_with(seen("kari@example.com"), at);
    for turn in 0..3 {
        queue.push(&user("kari"), UPDATE).await.unwrap();
        clock.advance(DEBOUNCE);
        let job = only_job(&queue).await;
        queue.settle(&job, ends(), None).await.unwrap();
        if turn == 0 {
            let refuse = "CREATE TRIGGER refuse BEFORE UPDATE OF email, email_key, contact_seen, has_left,
                missing_since, changes_at ON users BEGIN SELECT RAISE(ABORT, 'named'); END";
            Connection::open(&path).unwrap().execute_batch(refuse).unwrap();
        }
    }
    queue.push(&user("kari"), UPDATE).await.unwrap();
    clock.advance(DEBOUNCE);
    let job = only_job(&queue).await;
    for changed in [done_with(seen("kari@example.com"), None), done_with(seen("k@example.com"), at)] {
        let refused = queue.settle(&job, changed, None).await.unwrap_err();
        assert!(refused.to_string().contains("named"), "{refused}");
    }
}
