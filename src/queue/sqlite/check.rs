//! Whether the file is whole.
//!
//! A file that is not must never be written into, nor an event be answered 2xx that went into it; and a start must not
//! take long. So the ends of all tables and indexes are looked at before anything else, in no time; a small file is
//! read whole then as well, and a large one ([`MORE_THAN_AT_ONCE`]) by the writer's thread, before the first thing
//! that it is asked to do. Events wait for that: a million rows take it a second at the most.

use rusqlite::Connection;

use super::Tuning;
use super::open::Place;
use crate::queue::OpenError;

/// The longest file, in bytes, that is read whole before the start is over. It takes less than a tenth of a second.
pub(super) const MORE_THAN_AT_ONCE: u64 = 8 * 1024 * 1024;

/// What every index is asked for: its first or last entry.
const ORDERS: [(&str, &str); 11] = [
    ("users", "connection, user_id"),
    ("users INDEXED BY users_due WHERE due_at IS NOT NULL", "lane, due_at"),
    ("users INDEXED BY users_leased WHERE lease_owner IS NOT NULL", "due_at"),
    ("users INDEXED BY users_parked WHERE parked_at IS NOT NULL", "answer"),
    ("users INDEXED BY users_held_back WHERE held_back = 1", "held_back"),
    ("users INDEXED BY users_changes WHERE changes_at IS NOT NULL", "changes_at"),
    ("users INDEXED BY users_missing WHERE missing_since IS NOT NULL", "missing_since"),
    ("users INDEXED BY users_email WHERE email_key IS NOT NULL", "email_key"),
    ("history", "id"),
    ("history INDEXED BY history_of_user", "connection, user_id, id"),
    ("history INDEXED BY history_by_age", "last_at"),
];

/// Of the small tables the first row is enough.
const SMALL: [&str; 7] = [
    "SELECT api FROM apis",
    "SELECT filler FROM probe",
    "SELECT count FROM sync_counts",
    "SELECT done FROM backfills",
    "SELECT forgotten_at FROM forgotten",
    "SELECT key FROM forgetting",
    "SELECT cursor FROM rounds",
];

/// Reads the first and the last row of each large table, and of each of its indexes.
pub(super) fn ends(connection: &Connection) -> rusqlite::Result<()> {
    for (rows, order) in ORDERS {
        for order in [order.to_owned(), order.replace(',', " DESC,") + " DESC"] {
            let sql = format!("SELECT user_id, event_type FROM {rows} ORDER BY {order} LIMIT 1");
            connection.prepare(&sql)?.query(())?.next()?;
        }
    }
    for small in SMALL {
        connection.prepare(small)?.query(())?.next()?;
    }
    Ok(())
}

/// Reads all of it, and compares every index with its table. On a connection of its own, so that what is read does not
/// stay in memory.
///
/// # Errors
/// [`OpenError::Damaged`] with the first finding; or the reason why it could not be read.
pub(super) fn whole(place: &Place, tuning: Tuning) -> Result<(), OpenError> {
    let connection = place.second_connection(tuning)?;
    let finding: String = connection
        .query_row("PRAGMA integrity_check(1)", (), |row| row.get(0))
        .map_err(|error| place.explain(&error))?;
    if finding == "ok" {
        return Ok(());
    }
    Err(OpenError::Damaged(place.damage(finding.split_whitespace().collect::<Vec<_>>().join(" "))))
}
