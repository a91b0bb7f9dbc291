//! Users who were forgotten: what is erased of them, the hash that is left, and who is told by it.

use rusqlite::{Connection, OptionalExtension, Transaction, params};

use crate::clock::Millis;
use crate::queue::Job;
use crate::queue::forgetting::ForgettingKey;
use crate::user::UserId;

const KEY: &str = "SELECT key FROM forgetting LIMIT 1";

/// Whether anybody was: as long as nobody was, no event costs a hash.
const IS_ANYBODY: &str = "SELECT EXISTS (SELECT 1 FROM forgotten)";

pub(super) const IS_FORGOTTEN: &str =
    "SELECT EXISTS (SELECT 1 FROM forgotten WHERE connection = 'default' AND hash = ?1)";

pub(super) const IS_KNOWN: &str =
    "SELECT EXISTS (SELECT 1 FROM users WHERE connection = 'default' AND user_id = ?1)";

pub(super) const KEEP_HASH: &str =
    "INSERT OR REPLACE INTO forgotten (connection, hash, forgotten_at) VALUES ('default', ?1, ?2)";

pub(super) const TAKE_HASH_AWAY: &str = "DELETE FROM forgotten WHERE connection = 'default' AND hash = ?1";

pub(super) const ERASE_LEASED: &str =
    "DELETE FROM users WHERE connection = 'default' AND user_id = ?1 AND lease_owner = ?2";

pub(super) const ERASE: &str = "DELETE FROM users WHERE connection = 'default' AND user_id = ?1";

pub(super) const ERASE_HISTORY: &str = "DELETE FROM history WHERE connection = 'default' AND user_id = ?1";

/// A round may have come just this far, and has the id then: it goes on from the row before.
pub(super) const ERASE_FROM_ROUND: &str = "
    UPDATE rounds SET cursor = coalesce(
        (SELECT max(user_id) FROM users WHERE connection = 'default' AND user_id < ?1), '')
    WHERE connection = 'default' AND cursor = ?1";

/// Unknown to Sesamy for so long, with no address remembered and nothing to do. Whoever is held back stays until that is
/// written.
pub(super) const LONG_MISSING: &str = "
    SELECT user_id FROM users INDEXED BY users_missing
    WHERE connection = 'default' AND missing_since < ?1 AND email IS NULL AND due_at IS NULL AND lease_owner IS NULL
        AND held_back = 0
    LIMIT ?2";

/// The key of the store; none where it is gone.
pub(super) fn key(connection: &Connection) -> rusqlite::Result<Option<ForgettingKey>> {
    let bytes: Option<Vec<u8>> = connection.query_row(KEY, (), |row| row.get(0)).optional()?;
    Ok(bytes.and_then(|bytes| ForgettingKey::new(&bytes)))
}

/// Erases the user of `job` and keeps the hash; whether the lease was still there.
pub(super) fn forget(
    transaction: &Transaction<'_>,
    key: &ForgettingKey,
    job: &Job,
    now: Millis,
) -> rusqlite::Result<bool> {
    let user = job.user.as_str();
    if transaction.prepare_cached(ERASE_LEASED)?.execute(params![user, job.lease_owner])? == 0 {
        return Ok(false);
    }
    erase_traces(transaction, user)?;
    transaction.prepare_cached(KEEP_HASH)?.execute(params![key.hash(user), now.0])?;
    Ok(true)
}

/// What there is of a user beside the row itself.
fn erase_traces(transaction: &Transaction<'_>, user: &str) -> rusqlite::Result<()> {
    transaction.prepare_cached(ERASE_HISTORY)?.execute([user])?;
    transaction.prepare_cached(ERASE_FROM_ROUND)?.execute([user]).map(drop)
}

/// Erases up to `most` users whom Sesamy has not known since before `before`; how many they were.
pub(super) fn prune(transaction: &Transaction<'_>, before: Millis, most: usize) -> rusqlite::Result<usize> {
    let most = i64::try_from(most).unwrap_or(i64::MAX);
    let users: Vec<String> = transaction
        .prepare_cached(LONG_MISSING)?
        .query_map(params![before.0, most], |row| row.get(0))?
        .collect::<rusqlite::Result<_>>()?;
    for user in &users {
        transaction.prepare_cached(ERASE)?.execute([user])?;
        erase_traces(transaction, user)?;
    }
    Ok(users.len())
}

/// Whether anybody was forgotten.
pub(super) fn is_anybody(connection: &Connection) -> rusqlite::Result<bool> {
    connection.prepare_cached(IS_ANYBODY)?.query_row((), |row| row.get(0))
}

/// Whether `user` was.
pub(super) fn is_forgotten(
    connection: &Connection,
    key: &ForgettingKey,
    user: &UserId,
) -> rusqlite::Result<bool> {
    connection.prepare_cached(IS_FORGOTTEN)?.query_row([key.hash(user.as_str())], |row| row.get(0))
}

/// Whether `user` would be made known anew though forgotten. The hash is reckoned only for who is not known.
pub(super) fn is_to_drop(
    transaction: &Transaction<'_>,
    key: &ForgettingKey,
    user: &UserId,
) -> rusqlite::Result<bool> {
    let is_known: bool =
        transaction.prepare_cached(IS_KNOWN)?.query_row([user.as_str()], |row| row.get(0))?;
    Ok(!is_known && is_forgotten(transaction, key, user)?)
}

/// Forgets that `user` was forgotten.
pub(super) fn take_up_again(
    transaction: &Transaction<'_>,
    key: &ForgettingKey,
    user: &UserId,
) -> rusqlite::Result<()> {
    transaction.prepare_cached(TAKE_HASH_AWAY)?.execute([key.hash(user.as_str())]).map(drop)
}
