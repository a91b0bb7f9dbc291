//! Somebody reads the queue's file all the time: the write-ahead log cannot begin anew, grows, and the log of the service says
//! so before the disk is full.

use rusqlite::Connection;
use serde_json::Value;

use crate::support::faults::{events, people};
use crate::support::harness::Town;

fn has_grown(line: &Value) -> bool {
    line["level"] == "WARN"
        && line["message"].as_str().is_some_and(|it| it.contains("write-ahead log has grown past 64 MB"))
}

fn is_short_again(line: &Value) -> bool {
    line["message"].as_str().is_some_and(|it| it.contains("write-ahead log is short again"))
}

#[tokio::test]
async fn a_log_that_a_reader_keeps_from_being_emptied_is_logged_once_and_is_cut_back_after_it() {
    let town = Town::with(&[("SYNC__DEBOUNCE", "1h")]).await;
    people(&town, &["kari"]);
    let log = town.folder.path().join("queue.db-wal");
    let length = || std::fs::metadata(&log).unwrap().len();
    let (reader, other) =
        (Connection::open(town.queue_file()).unwrap(), Connection::open(town.queue_file()).unwrap());
    other.busy_timeout(std::time::Duration::from_secs(5)).unwrap();
    other.execute_batch("PRAGMA synchronous = OFF; CREATE TABLE ballast (filler BLOB)").unwrap();
    for episode in 1..=2 {
        reader.execute_batch("BEGIN; SELECT count(*) FROM users").unwrap();
        other.execute_batch("INSERT INTO ballast VALUES (zeroblob(80000000)); DELETE FROM ballast").unwrap();
        events(&town, &["kari"]).await;
        let warned = town.service.output.wait_for_nth(episode, "that the log has grown", has_grown).await;
        assert!(warned["bytes"].as_u64().unwrap() > 64 << 20, "{warned}");
        assert_eq!(warned["path"], town.queue_file().display().to_string());
        let written = length();
        for _ in 0..5 {
            events(&town, &["kari"]).await;
        }
        assert!(length() > 64 << 20 && written > 64 << 20);

        // The reader has gone; events make the service write into the log from its beginning.
        reader.execute_batch("COMMIT").unwrap();
        let end = std::time::Instant::now() + crate::support::harness::PATIENCE;
        while town.service.output.lines().iter().filter(|line| is_short_again(line)).count() < episode {
            assert!(std::time::Instant::now() < end, "the log is never short again");
            events(&town, &["kari"]).await;
        }
        assert!(length() <= 64 << 20, "{} bytes", length());
        assert_eq!(town.service.output.lines().iter().filter(|line| has_grown(line)).count(), episode);
    }
}
