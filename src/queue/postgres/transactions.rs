//! A transaction: lock and load, decide, save, commit.

use std::collections::{BTreeMap, BTreeSet};

use sqlx::Connection;
use sqlx::postgres::PgConnection;

use super::connection::now;
use super::fault::Fault;
use super::rows;
use crate::clock::{Clock, Millis};
use crate::queue::lane::Lane;
use crate::queue::sql::limit;
use crate::queue::store::{Change, Look, Seen};

/// What to do about a row or a document that a transaction looks at and that does not exist: nothing else holds off another
/// transaction, or an event, that creates the same.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Missing {
    /// Report it.
    Report,
    /// Insert a placeholder, which locks it.
    Reserve,
}

/// What a transaction has locked and loaded.
#[derive(Debug, Default)]
struct Locked {
    seen: Seen,
    /// Whether a row or a document was missing, and is not reserved.
    is_incomplete: bool,
    /// The ids of rows that are placeholders.
    reserved: BTreeSet<String>,
}

/// One transaction. Returns its answer, and the earliest time at which a user is due because of it.
pub(super) async fn run<A>(
    connection: &mut PgConnection,
    look: &Look,
    clock: &Clock,
    decide: &impl Fn(&Seen) -> (Change, A),
) -> Result<(A, Option<Millis>), Fault> {
    let mut transaction = connection.begin().await?;
    let mut locked = lock(&mut transaction, look, clock, Missing::Report).await?;
    if locked.is_incomplete {
        // Locks are taken in order, so that two transactions never wait for each other. What is locked by now may come
        // after what is missing.
        transaction.rollback().await?;
        transaction = connection.begin().await?;
        locked = lock(&mut transaction, look, clock, Missing::Reserve).await?;
    }
    let Locked { seen, reserved, .. } = locked;
    let (change, answer) = decide(&seen);
    if change.is_empty() {
        transaction.rollback().await?;
        return Ok((answer, None));
    }
    save(&mut transaction, &change, reserved, seen.now).await?;
    transaction.commit().await.map_err(Fault::of_commit)?;
    Ok((answer, change.made_due()))
}

/// Locks and loads, in the order that [`Look`] prescribes. The time is read once nothing is waited for any more, so that of
/// two transactions on one row the later one has the later time.
async fn lock(
    connection: &mut PgConnection,
    look: &Look,
    clock: &Clock,
    missing: Missing,
) -> Result<Locked, Fault> {
    let ids: Vec<&str> = sorted(&look.rows);
    let names: Vec<&str> = sorted(&look.documents);
    let mut locked = Locked::default();
    if !ids.is_empty() {
        if missing == Missing::Reserve {
            let reserving = sqlx::query_scalar(rows::RESERVE).bind(&ids).fetch_all(&mut *connection);
            locked.reserved = reserving.await?.into_iter().collect();
        }
        let found = sqlx::query_scalar(rows::LOCK).bind(&ids).fetch_all(&mut *connection).await?;
        let found = rows::read_all(found)?.into_iter();
        let found = found.filter(|row| !locked.reserved.contains(&row.user_id));
        locked.seen.rows = found.map(|row| (row.user_id.clone(), row)).collect();
        locked.is_incomplete = locked.seen.rows.len() + locked.reserved.len() < ids.len();
    }
    if look.last_entries && !locked.seen.rows.is_empty() {
        let ids: Vec<&str> = locked.seen.rows.keys().map(String::as_str).collect();
        let entries = sqlx::query_as(rows::LAST_ENTRIES).bind(ids).fetch_all(&mut *connection).await?;
        locked.seen.last_entries = rows::read_entries(entries)?.into_iter().collect();
    }
    if !names.is_empty() {
        if missing == Missing::Reserve {
            sqlx::query(rows::RESERVE_DOCUMENTS).bind(&names).execute(&mut *connection).await?;
        }
        let locking = sqlx::query_as(rows::LOCK_DOCUMENTS).bind(&names).fetch_all(&mut *connection);
        let found: Vec<(String, String)> = locking.await?;
        locked.is_incomplete |= found.len() < names.len();
        // An empty one is a placeholder, and stays where the transaction saves something else.
        locked.seen.documents = found.into_iter().filter(|(_, value)| !value.is_empty()).collect();
    }
    let seen = &mut locked.seen;
    seen.now = now(connection, clock).await?;
    seen.wall = seen.now; // the database's time is also the time of day
    for first in &look.first {
        seen.first.push(rows::first(&mut *connection, first, seen.now, seen.wall).await?);
    }
    if !look.tombstones.is_empty() {
        let found = sqlx::query_scalar(rows::TOMBSTONES).bind(&look.tombstones);
        seen.tombstones = found.fetch_all(&mut *connection).await?.into_iter().collect();
    }
    if let Some((before, most)) = look.entries_before {
        let old = sqlx::query_scalar(rows::ENTRIES_BEFORE).bind(before.0).bind(limit(most));
        seen.entries = old.fetch_all(&mut *connection).await?;
    }
    if look.next_due {
        let next = sqlx::query_as(rows::NEXT_DUE).bind(seen.now.0).fetch_all(&mut *connection).await?;
        let next = next.into_iter().map(|(lane, due)| (Lane::of_number(lane), Millis(due)));
        seen.next_due = next.collect();
    }
    Ok(locked)
}

/// Saves what there is of each kind.
async fn save(
    connection: &mut PgConnection,
    change: &Change,
    mut reserved: BTreeSet<String>,
    now: Millis,
) -> Result<(), Fault> {
    let rows: BTreeMap<&str, _> = change.rows.iter().map(|row| (row.user_id.as_str(), row)).collect();
    reserved.retain(|id| !rows.contains_key(id.as_str()));
    let documents = change.documents.iter().map(|(name, value)| (name.as_str(), value.as_str()));
    let (deleted, saved): (Vec<_>, Vec<_>) = documents.partition(|(_, value)| value.is_empty());
    if !(rows.is_empty() && change.entries.is_empty() && saved.is_empty()) {
        rows::save(&mut *connection, rows.into_values(), &change.entries, &saved).await?;
    }
    let unused = reserved.iter().map(String::as_str);
    let erased: Vec<&str> = sorted(&change.erased).into_iter().chain(unused).collect();
    let deleted: Vec<&str> = deleted.into_iter().map(|(name, _)| name).collect();
    for (sql, keys) in [
        (rows::ERASE_HISTORY, &erased),
        (rows::ERASE, &erased),
        (rows::DELETE_DOCUMENTS, &deleted),
        (rows::REMOVE_TOMBSTONES, &sorted(&change.removed_tombstones)),
    ] {
        if !keys.is_empty() {
            sqlx::query(sql).bind(keys).execute(&mut *connection).await?;
        }
    }
    if !change.removed_entries.is_empty() {
        sqlx::query(rows::REMOVE_ENTRIES).bind(&change.removed_entries).execute(&mut *connection).await?;
    }
    if !change.tombstones.is_empty() {
        let added = sqlx::query(rows::SAVE_TOMBSTONES).bind(sorted(&change.tombstones)).bind(now.0);
        added.execute(&mut *connection).await?;
    }
    Ok(())
}

/// Each once, in order.
fn sorted(texts: &[String]) -> Vec<&str> {
    texts.iter().map(String::as_str).collect::<BTreeSet<_>>().into_iter().collect()
}
