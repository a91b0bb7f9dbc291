//! A queue of a million users, prepared by SQL in its file.

use std::path::Path;

use crate::load::USER_SQL;
use crate::process::{Process, service, sqlite};

pub const ROWS: u64 = 1_000_000;

/// What the users of the file are like.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Users {
    /// Synced, with nothing to do.
    Synced,
    /// Due, one after the other.
    Due,
}

/// Makes `file`: the service makes the schema, SQL the rows, in no order of their keys, as they come in life.
pub async fn prepare(binary: Option<&Path>, file: &Path, users: Users) {
    Process::start(&mut service(binary, &sqlite(file))).await.stop().await;
    let file = file.to_owned();
    tokio::task::spawn_blocking(move || fill(&file, users)).await.unwrap();
}

fn fill(file: &Path, users: Users) {
    let due = match users {
        Users::Synced => "NULL",
        Users::Due => "1700000000000 + i",
    };
    let queue = rusqlite::Connection::open(file).unwrap();
    queue.execute_batch("PRAGMA cache_size = -262144; PRAGMA synchronous = OFF").unwrap();
    queue
        .execute_batch(&format!(
            "WITH RECURSIVE numbers (i) AS (SELECT 0 UNION ALL SELECT i + 1 FROM numbers WHERE i + 1 < {ROWS})
             INSERT INTO users (user_id, generation, cause, due_at)
             SELECT {USER_SQL}, 1, 'contract.1#purchased', {due} FROM numbers;
             PRAGMA wal_checkpoint(TRUNCATE)"
        ))
        .unwrap();
}
