//! Users made due at once by an operator's word, and how many that would be: the same rows for both.

use std::collections::BTreeSet;

use rusqlite::{Connection, Transaction, params};

use crate::clock::Millis;
use crate::queue::cause::retried_cause;
use crate::queue::{Census, Retry};

/// A user who is parked, or waits for a next try. Whoever is held is being synced, or due anyhow where the lease has ended.
pub(super) const USER: &str = "users WHERE connection = 'default' AND user_id = ?1 AND lease_owner IS NULL
    AND (due_at IS NOT NULL OR parked_at IS NOT NULL)";

pub(super) const ALL_PARKED: &str =
    "users INDEXED BY users_parked WHERE parked_at IS NOT NULL AND ?1 IS NOT NULL";

pub(super) const WITH_ANSWER: &str =
    "users INDEXED BY users_parked WHERE parked_at IS NOT NULL AND answer = ?1";

/// With a text, in ASCII lower case, in the error or the answer.
pub(super) const WITH_REASON: &str = "users INDEXED BY users_parked WHERE parked_at IS NOT NULL
    AND (instr(lower(error), ?1) > 0 OR instr(lower(answer), ?1) > 0)";

/// Due at `?2`. Whoever is due in the first lane stays in it; all others are in the lane of retries.
pub(super) const MAKE_DUE: &str = concat!(
    "UPDATE users SET lane = iif(due_at IS NULL, 1, min(lane, 1)), due_at = min(coalesce(due_at, ?2), ?2),
        event_type = ",
    retried_cause!(),
    ", attempts = 0, failing_since = NULL, parked_at = NULL, answer = NULL
    WHERE connection = 'default' AND user_id = ?1 AND lease_owner IS NULL
        AND (due_at IS NOT NULL OR parked_at IS NOT NULL)"
);

pub(super) fn counting(rows: &str) -> String {
    format!("SELECT count(*) FROM (SELECT 1 FROM {rows} LIMIT ?2)")
}

pub(super) fn naming(rows: &str) -> String {
    format!("SELECT user_id FROM {rows}")
}

/// The rows that are meant, and for each of which texts.
fn meant(whom: &Retry) -> (&'static str, BTreeSet<String>) {
    match whom {
        Retry::Users(users) => (USER, users.iter().map(|user| user.as_str().to_owned()).collect()),
        Retry::AllParked => (ALL_PARKED, BTreeSet::from([String::new()])),
        Retry::Answer(answer) => (WITH_ANSWER, BTreeSet::from([answer.clone()])),
        Retry::Reason(text) => (WITH_REASON, BTreeSet::from([text.to_ascii_lowercase()])),
    }
}

/// The ids of all who are to be made due, each once. Those that are no ids any more are among them, to be looked at anew.
pub(super) fn name(connection: &Connection, whom: &Retry) -> rusqlite::Result<Vec<String>> {
    let (rows, texts) = meant(whom);
    let mut statement = connection.prepare(&naming(rows))?;
    let mut named = Vec::new();
    for text in texts {
        for id in statement.query_map([text], |row| row.get(0))? {
            named.push(id?);
        }
    }
    named.sort_unstable(); // as they are kept: each page is found once
    Ok(named)
}

/// Makes those of `users` due at `now` that still can be; how many they are.
pub(super) fn make_due(
    transaction: &Transaction<'_>,
    users: &[String],
    now: Millis,
) -> rusqlite::Result<u64> {
    let mut statement = transaction.prepare_cached(MAKE_DUE)?;
    let made_due = users
        .iter()
        .try_fold(0, |sum, user| statement.execute(params![user, now.0]).map(|made_due| sum + made_due))?;
    Ok(u64::try_from(made_due).unwrap_or(u64::MAX))
}

/// How many they would be, counted to [`Census::LIMIT`].
pub(super) fn count(connection: &Connection, whom: &Retry) -> rusqlite::Result<u64> {
    let (rows, texts) = meant(whom);
    let limit = i64::try_from(Census::LIMIT).unwrap_or(i64::MAX);
    let mut statement = connection.prepare(&counting(rows))?;
    let counted = texts.iter().try_fold(0_i64, |sum, text| {
        let counted: i64 = statement.query_row(params![text, limit], |row| row.get(0))?;
        Ok::<_, rusqlite::Error>(sum + counted)
    })?;
    Ok(u64::try_from(counted).unwrap_or(0).min(Census::LIMIT))
}
