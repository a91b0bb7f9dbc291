//! What syncs came to: the users' histories, and the counts of the minute, for a whole batch of ends at once.
//!
//! The last row of a user's history is read, folded onto and written in the transaction that ends the user's lease, and
//! so under the lock on the user's row: no two do so at once.

use std::collections::{BTreeMap, HashMap};

use sqlx::Row;
use sqlx::postgres::{PgConnection, PgRow};

use super::statements::storable;
use crate::clock::Millis;
use crate::queue::Entry;
use crate::queue::history::{Fold, Gist, minute_of};

/// Locked, as a row that is pruned meanwhile is not there to be folded onto.
const LAST: &str = "
    SELECT e.user_id, h.id, h.outcome, h.reason, h.held_back, h.changed, h.tags_added, h.tags_removed,
        h.old_tags_removed, h.error
    FROM unnest($1::text[]) AS e (user_id) CROSS JOIN LATERAL (
        SELECT id, outcome, reason, held_back, changed, tags_added, tags_removed, old_tags_removed, error FROM history
        WHERE history.connection = 'default' AND history.user_id = e.user_id
        ORDER BY id DESC LIMIT 1 FOR NO KEY UPDATE) AS h";

const ADD: &str = "
    INSERT INTO history (connection, user_id, first_at, last_at, event_type, outcome, reason, held_back, changed,
        tags_added, tags_removed, attempt, ms, error, old_tags_removed)
    SELECT 'default', user_id, $1, $1, event_type, outcome, reason, held_back, changed, tags_added, tags_removed, attempt,
        ms, error, old_tags_removed
    FROM unnest($2::text[], $3::text[], $4::text[], $5::text[], $6::boolean[], $7::text[], $8::text[], $9::text[],
            $10::integer[], $11::bigint[], $12::text[], $13::text[])
        AS e (user_id, event_type, outcome, reason, held_back, changed, tags_added, tags_removed, attempt, ms, error,
            old_tags_removed)";

/// The last rows once more: `again` tells those that came to the same from those with nothing to do.
const FOLD: &str = "
    UPDATE history AS h SET
        last_at = $1,
        times = times + e.again::integer,
        unchanged_times = unchanged_times + (NOT e.again)::integer,
        event_type = CASE WHEN e.again THEN e.event_type ELSE h.event_type END,
        attempt = CASE WHEN e.again THEN e.attempt ELSE h.attempt END,
        ms = CASE WHEN e.again THEN e.ms ELSE h.ms END
    FROM unnest($2::bigint[], $3::boolean[], $4::text[], $5::integer[], $6::bigint[])
        AS e (id, again, event_type, attempt, ms)
    WHERE h.id = e.id AND h.id = ANY ($2)";

/// By outcome, so that two replicas in one minute lock its rows in the same order.
const COUNT: &str = "
    INSERT INTO sync_counts AS c (connection, minute, outcome, count)
    SELECT 'default', $1, outcome, count FROM unnest($2::text[], $3::bigint[]) AS e (outcome, count)
    ORDER BY outcome COLLATE \"C\"
    ON CONFLICT (connection, minute, outcome) DO UPDATE SET count = c.count + excluded.count";

/// A user, and what the user's sync came to.
type Told<'a> = (&'a str, &'a Entry);

/// Writes what syncs came to that ended at `at`; each user is named once.
pub(super) async fn keep(transaction: &mut PgConnection, told: &[Told<'_>], at: Millis) -> sqlx::Result<()> {
    if told.is_empty() {
        return Ok(());
    }
    let users: Vec<&str> = told.iter().map(|(user, _)| *user).collect();
    let mut last = HashMap::with_capacity(told.len());
    for row in sqlx::query(LAST).bind(users).fetch_all(&mut *transaction).await? {
        last.insert(row.try_get::<String, _>(0)?, (row.try_get::<i64, _>(1)?, gist(&row)?));
    }
    let (mut added, mut folded) = (Vec::new(), Vec::new());
    for (user, entry) in told {
        let (gist, last) = (kept(entry.gist()), last.get(*user));
        match (gist.onto(last.map(|(_, gist)| gist)), last) {
            (Fold::Again, Some((id, _))) => folded.push((*id, true, *entry)),
            (Fold::Unchanged, Some((id, _))) => folded.push((*id, false, *entry)),
            _ => added.push((*user, gist, *entry)),
        }
    }
    add(transaction, &added, at).await?;
    fold(transaction, &folded, at).await
}

async fn add(transaction: &mut PgConnection, added: &[(&str, Gist, &Entry)], at: Millis) -> sqlx::Result<()> {
    if added.is_empty() {
        return Ok(());
    }
    let each = || added.iter();
    let gists = |column: fn(&Gist) -> &str| each().map(|(_, gist, _)| column(gist)).collect::<Vec<_>>();
    sqlx::query(ADD)
        .bind(at.0)
        .bind(each().map(|(user, _, _)| *user).collect::<Vec<_>>())
        .bind(each().map(|(_, _, entry)| storable(&entry.event_type)).collect::<Vec<_>>())
        .bind(gists(|gist| &gist.outcome))
        .bind(gists(|gist| &gist.reason))
        .bind(each().map(|(_, gist, _)| gist.held_back).collect::<Vec<_>>())
        .bind(gists(|gist| &gist.changed))
        .bind(gists(|gist| &gist.tags_added))
        .bind(gists(|gist| &gist.tags_removed))
        .bind(each().map(|(_, _, entry)| attempt(entry)).collect::<Vec<_>>())
        .bind(each().map(|(_, _, entry)| ms(entry)).collect::<Vec<_>>())
        .bind(each().map(|(_, gist, _)| gist.error.as_deref()).collect::<Vec<_>>())
        .bind(gists(|gist| &gist.old_tags_removed))
        .execute(transaction)
        .await
        .map(drop)
}

async fn fold(
    transaction: &mut PgConnection,
    folded: &[(i64, bool, &Entry)],
    at: Millis,
) -> sqlx::Result<()> {
    if folded.is_empty() {
        return Ok(());
    }
    let each = || folded.iter();
    sqlx::query(FOLD)
        .bind(at.0)
        .bind(each().map(|(id, _, _)| *id).collect::<Vec<_>>())
        .bind(each().map(|(_, again, _)| *again).collect::<Vec<_>>())
        .bind(each().map(|(_, _, entry)| storable(&entry.event_type)).collect::<Vec<_>>())
        .bind(each().map(|(_, _, entry)| attempt(entry)).collect::<Vec<_>>())
        .bind(each().map(|(_, _, entry)| ms(entry)).collect::<Vec<_>>())
        .execute(transaction)
        .await
        .map(drop)
}

/// Counts what syncs came to that ended at `at`. To be done last: whoever else settles in this minute waits.
pub(super) async fn count(transaction: &mut PgConnection, told: &[Told<'_>], at: Millis) -> sqlx::Result<()> {
    if told.is_empty() {
        return Ok(());
    }
    let mut counts = BTreeMap::<&str, i64>::new();
    for (_, entry) in told {
        *counts.entry(entry.outcome).or_default() += 1;
    }
    let (outcomes, counts): (Vec<&str>, Vec<i64>) = counts.into_iter().unzip();
    sqlx::query(COUNT).bind(minute_of(at)).bind(outcomes).bind(counts).execute(transaction).await.map(drop)
}

/// As it comes back from the store, or it would never equal what is there.
fn kept(gist: Gist) -> Gist {
    Gist {
        changed: storable(&gist.changed),
        tags_added: storable(&gist.tags_added),
        tags_removed: storable(&gist.tags_removed),
        old_tags_removed: storable(&gist.old_tags_removed),
        error: gist.error.as_deref().map(storable),
        ..gist
    }
}

fn gist(row: &PgRow) -> sqlx::Result<Gist> {
    Ok(Gist {
        outcome: row.try_get("outcome")?,
        reason: row.try_get("reason")?,
        held_back: row.try_get("held_back")?,
        changed: row.try_get("changed")?,
        tags_added: row.try_get("tags_added")?,
        tags_removed: row.try_get("tags_removed")?,
        old_tags_removed: row.try_get("old_tags_removed")?,
        error: row.try_get("error")?,
    })
}

fn attempt(entry: &Entry) -> i32 {
    i32::try_from(entry.attempt).unwrap_or(i32::MAX)
}

fn ms(entry: &Entry) -> i64 {
    i64::try_from(entry.ms).unwrap_or(i64::MAX)
}
