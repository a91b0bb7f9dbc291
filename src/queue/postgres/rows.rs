//! The statements of a transaction: they lock, load and save, and know no rule.
//!
//! A row travels as one JSON object, with a value for each of [`COLUMNS`]. Ids and names come sorted, and rows are locked in
//! that order wherever a statement locks several and waits for them.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::LazyLock;

use sqlx::postgres::{PgArguments, PgConnection};
use sqlx::query::QueryScalar;
use sqlx::{AssertSqlSafe, Postgres};

use super::fault::Fault;
use crate::clock::Millis;
use crate::queue::history::HistoryRow;
use crate::queue::lane::Lane;
use crate::queue::row::{COLUMNS, Row};
use crate::queue::store::{First, Index};

pub(super) const LOCK: &str = "SELECT to_jsonb(u)::text FROM users AS u WHERE user_id = ANY ($1::text[]) ORDER BY user_id FOR NO KEY UPDATE";

/// Locks every row, and returns the ids of those that did not exist. The update never happens, but locks the row for it.
pub(super) const RESERVE: &str = "
    INSERT INTO users AS u (user_id, generation, cause)
    SELECT user_id, 0, '' FROM unnest($1::text[]) AS n (user_id)
    ON CONFLICT (user_id) DO UPDATE SET generation = u.generation WHERE false
    RETURNING user_id";

/// The first rows of an index; the id decides between equals, as in every store. Locked rows are passed over: they are not waited for while documents are locked.
macro_rules! first {
    ($condition:literal, $order:literal) => {
        concat!(
            "SELECT to_jsonb(u)::text FROM users AS u WHERE ",
            $condition,
            " ORDER BY ",
            $order,
            " LIMIT $1 FOR NO KEY UPDATE SKIP LOCKED"
        )
    };
}

pub(super) const DUE: &str = first!("lane = $2 AND due_at <= $3", "due_at, user_id");
pub(super) const CHECK_DUE: &str = first!("check_at <= $2 AND lease IS NULL", "check_at, user_id");
pub(super) const CHECK_AFTER: &str = first!("check_cause = $2 AND check_at > $3", "check_at, user_id");
pub(super) const HELD_BACK: &str = first!("held_back = 1 AND lease IS NULL", "user_id");
pub(super) const LEASED_BEYOND: &str = first!("lease LIKE 'service-%' AND due_at > $2", "due_at, user_id");
/// The lanes are named so that each is a range of the index.
pub(super) const DUE_BEYOND: &str =
    first!("lease IS NULL AND lane IN (0, 1, 2) AND due_at > $2", "lane, due_at, user_id");
/// Ordered by an expression, which no index has: else the planner walks over all users in their order.
pub(super) const PARKED_WITH: &str =
    first!("parked_at IS NOT NULL AND left(answer, 200) = left($2, 200) AND answer = $2", "(user_id || '')");
pub(super) const MISSING_BEFORE: &str = first!(
    "missing_since < $2 AND address_key IS NULL AND due_at IS NULL AND held_back = 0",
    "missing_since, user_id"
);

/// Inserts or replaces whole rows (`$1`), history entries (`$2` to `$7`) and documents (`$8`, `$9`): one statement, since a
/// document that many transactions need is locked meanwhile. An index is written only where one of its columns has another
/// value. An entry is new where its id is 0, and one that was removed meanwhile is inserted again.
static SAVE: LazyLock<String> = LazyLock::new(|| {
    let columns = COLUMNS.join(", ");
    let updates = COLUMNS.map(|column| format!("{column} = excluded.{column}")).join(", ");
    format!(
        "WITH saved_rows AS (
            INSERT INTO users ({columns})
            SELECT {columns} FROM jsonb_populate_recordset(NULL::users, $1::text::jsonb)
            ON CONFLICT (user_id) DO UPDATE SET {updates}),
        saved_entries AS (
            INSERT INTO history (id, user_id, last_at, outcome, lost_tags, entry) OVERRIDING SYSTEM VALUE
            SELECT CASE id WHEN 0 THEN nextval(pg_get_serial_sequence('history', 'id')) ELSE id END,
                user_id, last_at, outcome, lost_tags, entry
            FROM unnest($2::bigint[], $3::text[], $4::bigint[], $5::text[], $6::smallint[], $7::text[])
                AS e (id, user_id, last_at, outcome, lost_tags, entry)
            ON CONFLICT (id) DO UPDATE SET last_at = excluded.last_at, outcome = excluded.outcome,
                lost_tags = excluded.lost_tags, entry = excluded.entry)
        INSERT INTO documents (name, value)
        SELECT name, value FROM unnest($8::text[], $9::text[]) AS d (name, value)
        ON CONFLICT (name) DO UPDATE SET value = excluded.value"
    )
});

pub(super) const ERASE_HISTORY: &str = "DELETE FROM history WHERE user_id = ANY ($1::text[])";
pub(super) const ERASE: &str = "DELETE FROM users WHERE user_id = ANY ($1::text[])";

pub(super) const LOCK_DOCUMENTS: &str =
    "SELECT name, value FROM documents WHERE name = ANY ($1::text[]) ORDER BY name FOR NO KEY UPDATE";

/// As [`RESERVE`].
pub(super) const RESERVE_DOCUMENTS: &str = "
    INSERT INTO documents AS d (name, value) SELECT name, '' FROM unnest($1::text[]) AS n (name)
    ON CONFLICT (name) DO UPDATE SET value = d.value WHERE false";

const DELETE_DOCUMENTS: &str = "DELETE FROM documents WHERE name = ANY ($1::text[])";

pub(super) const LAST_ENTRIES: &str = "
    SELECT u.user_id, h.id, h.entry FROM unnest($1::text[]) AS u (user_id) CROSS JOIN LATERAL (
        SELECT id, entry FROM history WHERE history.user_id = u.user_id ORDER BY id DESC LIMIT 1) AS h";

/// An entry whose count another transaction raises just now is not old any more.
pub(super) const ENTRIES_BEFORE: &str =
    "SELECT id FROM history WHERE last_at < $1 ORDER BY last_at, id LIMIT $2 FOR UPDATE SKIP LOCKED";

pub(super) const REMOVE_ENTRIES: &str = "DELETE FROM history WHERE id = ANY ($1::bigint[])";

pub(super) const TOMBSTONES: &str = "SELECT hash FROM forgotten WHERE hash = ANY ($1::text[])";

const SAVE_TOMBSTONES: &str = "
    INSERT INTO forgotten (hash, forgotten_at) SELECT hash, $2 FROM unnest($1::text[]) AS n (hash)
    ON CONFLICT (hash) DO NOTHING";

pub(super) const REMOVE_TOMBSTONES: &str = "DELETE FROM forgotten WHERE hash = ANY ($1::text[])";

pub(super) const NEXT_DUE: &str = "
    SELECT lane::bigint, next.due_at FROM unnest(ARRAY[0, 1, 2]::smallint[]) AS lanes (lane) CROSS JOIN LATERAL (
        SELECT due_at FROM users WHERE users.lane = lanes.lane AND due_at > $1 ORDER BY due_at LIMIT 1) AS next";

/// Locks the rows of `ids` that exist, and loads them.
pub(super) async fn lock(connection: &mut PgConnection, ids: &[&str]) -> Result<Vec<Row>, Fault> {
    let rows: Vec<String> = sqlx::query_scalar(LOCK).bind(ids).fetch_all(connection).await?;
    rows.iter().map(read).collect()
}

/// Inserts a placeholder for each of `ids` that has no row, and returns the ids of these. All are locked then.
pub(super) async fn reserve(connection: &mut PgConnection, ids: &[&str]) -> sqlx::Result<Vec<String>> {
    sqlx::query_scalar(RESERVE).bind(ids).fetch_all(connection).await
}

/// Locks the first rows of an index, but those that are locked already, and loads them.
pub(super) async fn first(
    connection: &mut PgConnection,
    first: &First,
    now: Millis,
    wall: Millis,
) -> Result<Vec<Row>, Fault> {
    let most = i64::try_from(first.most).unwrap_or(i64::MAX);
    let query = |sql: &'static str| -> QueryScalar<'_, Postgres, String, PgArguments> {
        sqlx::query_scalar(sql).bind(most)
    };
    let query = match &first.of {
        Index::Due(lane) => query(DUE).bind(lane.number()).bind(now.0),
        Index::CheckDue => query(CHECK_DUE).bind(wall.0),
        Index::CheckAfter { cause, at } => query(CHECK_AFTER).bind(*cause).bind(at.0),
        Index::HeldBack => query(HELD_BACK),
        Index::LeasedByServiceBeyond(at) => query(LEASED_BEYOND).bind(at.0),
        Index::DueBeyond(at) => query(DUE_BEYOND).bind(at.0),
        Index::ParkedWith(answer) => query(PARKED_WITH).bind(storable(answer)),
        Index::MissingBefore(at) => query(MISSING_BEFORE).bind(at.0),
    };
    query.fetch_all(connection).await?.iter().map(read).collect()
}

/// Inserts or replaces `rows`, one of each user, `entries` and `documents`. An entry is new where its id is 0.
pub(super) async fn save(
    connection: &mut PgConnection,
    rows: impl Iterator<Item = &Row>,
    entries: &[(String, HistoryRow)],
    documents: &[(&str, &str)],
) -> Result<(), Fault> {
    let unwritten = |error: serde_json::Error| Fault::Refused(error.to_string());
    let records: Vec<_> = rows.map(Row::to_record).collect();
    let each = || entries.iter().map(|(_, entry)| entry);
    let json: Result<Vec<String>, _> = each().map(serde_json::to_string).collect();
    sqlx::query(AssertSqlSafe(SAVE.as_str()))
        .bind(serde_json::to_string(&records).map_err(unwritten)?)
        .bind(each().map(|entry| entry.id).collect::<Vec<_>>())
        .bind(entries.iter().map(|(user, _)| user.as_str()).collect::<Vec<_>>())
        .bind(each().map(|entry| entry.last_at.0).collect::<Vec<_>>())
        .bind(each().map(|entry| entry.outcome.as_str()).collect::<Vec<_>>())
        .bind(each().map(|entry| i16::from(entry.lost_tags())).collect::<Vec<_>>())
        .bind(json.map_err(unwritten)?)
        .bind(documents.iter().map(|(name, _)| *name).collect::<Vec<_>>())
        .bind(documents.iter().map(|(_, value)| *value).collect::<Vec<_>>())
        .execute(connection)
        .await?;
    Ok(())
}

/// Erases rows and histories.
pub(super) async fn erase(connection: &mut PgConnection, ids: &[&str]) -> sqlx::Result<()> {
    sqlx::query(ERASE_HISTORY).bind(ids).execute(&mut *connection).await?;
    sqlx::query(ERASE).bind(ids).execute(connection).await.map(drop)
}

/// Locks the documents of `names` that exist, and loads them.
pub(super) async fn lock_documents(
    connection: &mut PgConnection,
    names: &[&str],
) -> sqlx::Result<Vec<(String, String)>> {
    sqlx::query_as(LOCK_DOCUMENTS).bind(names).fetch_all(connection).await
}

/// Inserts an empty document for each of `names` that has none. All are locked then.
pub(super) async fn reserve_documents(connection: &mut PgConnection, names: &[&str]) -> sqlx::Result<()> {
    sqlx::query(RESERVE_DOCUMENTS).bind(names).execute(connection).await.map(drop)
}

/// Deletes documents.
pub(super) async fn delete_documents(connection: &mut PgConnection, names: &[&str]) -> sqlx::Result<()> {
    sqlx::query(DELETE_DOCUMENTS).bind(names).execute(connection).await.map(drop)
}

/// The last history entry of each of `ids` that has one.
pub(super) async fn last_entries(
    connection: &mut PgConnection,
    ids: Vec<&str>,
) -> Result<Vec<(String, HistoryRow)>, Fault> {
    let entries: Vec<(String, i64, String)> =
        sqlx::query_as(LAST_ENTRIES).bind(ids).fetch_all(connection).await?;
    entries.into_iter().map(|(user, id, entry)| Ok((user, read_entry(id, &entry)?))).collect()
}

/// The ids of entries that were counted last before `before`, the oldest first, but those that are locked.
pub(super) async fn entries_before(
    connection: &mut PgConnection,
    before: Millis,
    most: usize,
) -> sqlx::Result<Vec<i64>> {
    let most = i64::try_from(most).unwrap_or(i64::MAX);
    sqlx::query_scalar(ENTRIES_BEFORE).bind(before.0).bind(most).fetch_all(connection).await
}

/// Removes entries by id.
pub(super) async fn remove_entries(connection: &mut PgConnection, ids: &[i64]) -> sqlx::Result<()> {
    sqlx::query(REMOVE_ENTRIES).bind(ids).execute(connection).await.map(drop)
}

/// The tombstones of `hashes` that exist.
pub(super) async fn tombstones(
    connection: &mut PgConnection,
    hashes: &[String],
) -> sqlx::Result<BTreeSet<String>> {
    let found = sqlx::query_scalar(TOMBSTONES).bind(hashes).fetch_all(connection).await?;
    Ok(found.into_iter().collect())
}

/// Adds tombstones; one that exists keeps its time.
pub(super) async fn save_tombstones(
    connection: &mut PgConnection,
    hashes: &[&str],
    now: Millis,
) -> sqlx::Result<()> {
    sqlx::query(SAVE_TOMBSTONES).bind(hashes).bind(now.0).execute(connection).await.map(drop)
}

/// Removes tombstones.
pub(super) async fn remove_tombstones(connection: &mut PgConnection, hashes: &[String]) -> sqlx::Result<()> {
    sqlx::query(REMOVE_TOMBSTONES).bind(hashes).execute(connection).await.map(drop)
}

/// The earliest due time after `now` in each lane.
pub(super) async fn next_due(
    connection: &mut PgConnection,
    now: Millis,
) -> sqlx::Result<BTreeMap<Lane, Millis>> {
    let next: Vec<(i64, i64)> = sqlx::query_as(NEXT_DUE).bind(now.0).fetch_all(connection).await?;
    Ok(next.into_iter().map(|(lane, due)| (Lane::of_number(lane), Millis(due))).collect())
}

/// Reads a row. An error does not quote it: it may have an address in it.
pub(super) fn read(json: impl AsRef<str>) -> Result<Row, Fault> {
    let row = serde_json::from_str(json.as_ref()).and_then(Row::of_record);
    row.map_err(|_| Fault::Refused("a row of the table users cannot be read".to_owned()))
}

/// Reads a history entry.
pub(super) fn read_entry(id: i64, json: &str) -> Result<HistoryRow, Fault> {
    let entry: Result<HistoryRow, _> = serde_json::from_str(json);
    let entry =
        entry.map_err(|_| Fault::Refused("an entry of the table history cannot be read".to_owned()))?;
    Ok(HistoryRow { id, ..entry })
}

/// Text as Postgres can store it: it has no U+0000.
pub(super) fn storable(text: &str) -> String {
    text.replace('\0', "\u{fffd}")
}
