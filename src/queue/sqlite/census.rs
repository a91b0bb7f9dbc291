//! Counting the rows, on a connection of its own that only reads and is opened for each count.

use std::path::Path;

use rusqlite::{Connection, OpenFlags, Transaction};

use super::open::Place;
use crate::clock::Millis;
use crate::queue::{
    Census, Filter, HistoryRow, MinuteCount, ParkedGroup, Progress, QueueError, Retry, UserRow,
};
use crate::user::UserId;

const DUE: &str = "users INDEXED BY users_due WHERE due_at <= ?1";
const LEASED: &str = "users INDEXED BY users_leased WHERE lease_owner IS NOT NULL AND due_at > ?1";
const SCHEDULED: &str = "users INDEXED BY users_due WHERE due_at > ?1 AND lease_owner IS NULL";
const PARKED: &str = "users INDEXED BY users_parked WHERE parked_at IS NOT NULL AND ?1 IS NOT NULL";

/// Counts the rows of the database at its place.
#[derive(Debug, Clone)]
pub(in crate::queue) struct Reader(Place);

impl Reader {
    pub(super) fn new(place: Place) -> Self {
        Self(place)
    }

    /// Counts on a thread where waiting for the disk harms nobody.
    pub(in crate::queue) async fn count(&self, now: Millis) -> Result<Census, QueueError> {
        let path = self.0.path().to_owned();
        match tokio::task::spawn_blocking(move || count(&path, now)).await {
            Ok(counted) => counted.map_err(|error| self.0.later(&error)),
            Err(stopped) => Err(QueueError::Store(format!("the rows were not counted: {stopped}"))),
        }
    }

    pub(in crate::queue) async fn count_retry(&self, _now: Millis, _whom: &Retry) -> Result<u64, QueueError> {
        Err(QueueError::Closed)
    }

    pub(in crate::queue) async fn rows(
        &self,
        _now: Millis,
        _filter: &Filter,
    ) -> Result<Vec<UserRow>, QueueError> {
        Err(QueueError::Closed)
    }

    pub(in crate::queue) async fn rows_of(
        &self,
        _now: Millis,
        _users: &[UserId],
    ) -> Result<Vec<UserRow>, QueueError> {
        Err(QueueError::Closed)
    }

    pub(in crate::queue) async fn history(
        &self,
        _user: &UserId,
        _most: usize,
    ) -> Result<Vec<HistoryRow>, QueueError> {
        Err(QueueError::Closed)
    }

    pub(in crate::queue) async fn parked(&self, _most: usize) -> Result<Vec<ParkedGroup>, QueueError> {
        Err(QueueError::Closed)
    }

    pub(in crate::queue) async fn counts_since(
        &self,
        _since: Millis,
    ) -> Result<Vec<MinuteCount>, QueueError> {
        Err(QueueError::Closed)
    }

    pub(in crate::queue) async fn progress(&self) -> Result<Option<Progress>, QueueError> {
        Err(QueueError::Closed)
    }
}

fn count(path: &Path, now: Millis) -> rusqlite::Result<Census> {
    let flags = OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let mut connection = Connection::open_with_flags(path, flags)?;
    let transaction = connection.transaction()?; // the numbers of one moment
    let oldest = super::statements::next_due(&transaction)?.earliest();
    Ok(Census {
        due: up_to_limit(&transaction, DUE, now)?,
        leased: up_to_limit(&transaction, LEASED, now)?,
        scheduled: up_to_limit(&transaction, SCHEDULED, now)?,
        parked: up_to_limit(&transaction, PARKED, now)?,
        oldest_due_ms: oldest
            .map_or(0, |oldest| u64::try_from(now.since(oldest).as_millis()).unwrap_or(u64::MAX)),
    })
}

fn up_to_limit(transaction: &Transaction<'_>, rows: &str, now: Millis) -> rusqlite::Result<u64> {
    let sql = format!("SELECT count(*) FROM (SELECT 1 FROM {rows} LIMIT {})", Census::LIMIT);
    let count: i64 = transaction.query_row(&sql, [now.0], |row| row.get(0))?;
    Ok(u64::try_from(count).unwrap_or(0))
}
