//! The schema's version and the steps from one to the next.

use rusqlite::{Connection, TransactionBehavior};

/// Step n leads from version n to version n + 1. A released step never changes: a new step is added instead.
pub(super) const STEPS: &[&str] = &[include_str!("../migrations/sqlite/0001_users.sql")];

/// The version that `steps` lead to.
pub(super) const fn latest(steps: &[&str]) -> u32 {
    steps.len() as u32
}

/// Whose database it is, and how old.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Version {
    /// The queue's, or without tables: version 0.
    Ours(u32),
    /// It has tables, and none of them is the one with the version.
    Foreign,
}

/// Reads the version, and changes nothing.
pub(super) fn version(connection: &Connection) -> rusqlite::Result<Version> {
    let (tables, ours): (i64, bool) = connection.query_row(
        "SELECT count(*), coalesce(max(name = 'sesamy_mailmojo_schema'), 0) FROM sqlite_schema WHERE type = 'table'",
        (),
        |row| Ok((row.get(0)?, row.get(1)?)),
    )?;
    match (tables, ours) {
        (0, _) => Ok(Version::Ours(0)),
        (_, false) => Ok(Version::Foreign),
        (_, true) => current(connection).map(Version::Ours),
    }
}

/// Takes those of `steps` that are missing, all or none of them.
pub(super) fn migrate(connection: &mut Connection, steps: &[&str]) -> rusqlite::Result<()> {
    let transaction = connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
    transaction.execute_batch(
        "CREATE TABLE IF NOT EXISTS sesamy_mailmojo_schema (version INTEGER NOT NULL PRIMARY KEY) STRICT",
    )?;
    let reached = current(&transaction)?;
    for (version, sql) in (1_u32..).zip(steps).filter(|(version, _)| *version > reached) {
        transaction.execute_batch(sql)?;
        transaction.execute("INSERT INTO sesamy_mailmojo_schema (version) VALUES (?1)", [version])?;
    }
    transaction.commit()
}

fn current(connection: &Connection) -> rusqlite::Result<u32> {
    connection.query_row("SELECT coalesce(max(version), 0) FROM sesamy_mailmojo_schema", (), |row| row.get(0))
}
