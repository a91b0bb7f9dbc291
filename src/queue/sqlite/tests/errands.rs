//! What is asked of many rows at once holds up nobody.

use std::sync::Mutex;

use super::*;
use crate::queue::{Retry, State};

/// Parks so many users, past any queue.
fn park(path: &Path, users: u32) {
    let park = "WITH RECURSIVE n (i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < ?1)
        INSERT INTO users (connection, user_id, generation, event_type, parked_at, error, answer)
        SELECT 'default', 'email|' || i, 1, 'x', 5, 'refused: number ' || i, 'refused' FROM n";
    Connection::open(path).unwrap().execute(park, [users]).unwrap();
}

#[tokio::test]
async fn an_event_does_not_wait_for_a_retry_of_thousands() {
    let (_folder, path) = folder();
    let queue = open(&path).unwrap();
    park(&path, 5_500);
    let done = Mutex::new(Vec::new());
    let kari = user("kari");
    let retry = async {
        assert_eq!(queue.retry(Retry::AllParked).await.unwrap(), 5_500);
        done.lock().unwrap().push("retry");
    };
    let events = async {
        for _ in 0..3 {
            queue.push(&kari, UPDATE).await.unwrap();
        }
        done.lock().unwrap().push("events");
    };
    futures_util::join!(retry, events);
    assert_eq!(*done.lock().unwrap(), ["events", "retry"]);
    assert!(queue.parked(1).await.unwrap().is_empty());
}

#[tokio::test]
async fn a_retry_by_reason_reaches_all_whom_it_means_and_nobody_else() {
    let (_folder, path) = folder();
    let queue = open(&path).unwrap();
    park(&path, 3_000);
    let whom = Retry::Reason("NUMBER 2".to_owned()); // 2, 20 to 29, 200 to 299, 2000 to 2999
    assert_eq!(queue.count_retry(&whom).await.unwrap(), 1_111);
    assert_eq!(queue.retry(whom).await.unwrap(), 1_111);
    assert_eq!(queue.parked(1).await.unwrap()[0].users, 3_000 - 1_111);
}

#[tokio::test]
async fn an_id_that_is_none_any_more_can_be_retried_and_is_parked_again() {
    let (_folder, path) = folder();
    let queue = open(&path).unwrap();
    let insert = "INSERT INTO users (connection, user_id, generation, event_type, parked_at, error, answer)
        VALUES ('default', '..', 1, 'x', 5, 'e', 'a')";
    Connection::open(&path).unwrap().execute_batch(insert).unwrap();
    assert_eq!(queue.retry(Retry::AllParked).await.unwrap(), 1);
    assert!(queue.lease(Room::for_any(1)).await.unwrap().jobs.is_empty());
    let row = &queue.rows(&crate::queue::Filter { limit: 1, ..Default::default() }).await.unwrap()[0];
    assert_eq!((row.user.as_str(), row.state), ("..", State::Parked));
}

#[tokio::test]
async fn to_take_history_away_is_a_transaction_of_its_own() {
    let (_folder, path) = folder();
    let queue = open(&path).unwrap();
    let refuse = "CREATE TRIGGER refuse BEFORE DELETE ON history BEGIN SELECT RAISE(ABORT, 'not now'); END;
        INSERT INTO history (connection, user_id, first_at, last_at, event_type, outcome, reason, held_back, changed,
            tags_added, tags_removed, attempt, ms)
        VALUES ('default', 'email|kari', 0, 0, 'x', 'updated', '', 0, '', '', '', 1, 1)";
    Connection::open(&path).unwrap().execute_batch(refuse).unwrap();
    // Both are sent before the writer's first answer can be awaited, so they meet in a batch.
    let kari = user("kari");
    let (pruned, kept) = futures_util::join!(queue.prune(Millis(1), 10), queue.push(&kari, UPDATE));
    assert!(pruned.is_err() && kept.is_ok(), "{pruned:?} {kept:?}");
    assert!(queue.accepting(), "no event was refused for it");
}

#[tokio::test]
async fn an_errand_that_was_sent_before_the_close_is_still_done() {
    let (_folder, path) = folder();
    let queue = open(&path).unwrap();
    park(&path, 2_500);
    let (made_due, ()) = futures_util::join!(queue.retry(Retry::AllParked), queue.close());
    assert_eq!(made_due.unwrap(), 2_500);
}
