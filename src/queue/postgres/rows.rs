//! The statements of a transaction: they lock, load and save, and know no rule.
//!
//! A row travels as one JSON object, with a value for each of [`COLUMNS`]. Ids and names come sorted, and rows are locked in
//! that order wherever a statement locks several and waits for them.

use std::sync::LazyLock;

use sqlx::AssertSqlSafe;
use sqlx::postgres::PgConnection;

use super::fault::Fault;
use crate::clock::Millis;
use crate::queue::history::HistoryRow;
use crate::queue::row::{COLUMNS, Row};
use crate::queue::sql::limit;
use crate::queue::store::{First, Index, Search};

pub(super) const LOCK: &str = "SELECT to_jsonb(u)::text FROM users AS u WHERE user_id = ANY ($1::text[]) ORDER BY user_id FOR NO KEY UPDATE";

/// Locks every row, and returns the ids of those that did not exist. The update never happens, but locks the row for it.
pub(super) const RESERVE: &str = "
    INSERT INTO users AS u (user_id, generation, cause)
    SELECT user_id, 0, '' FROM unnest($1::text[]) AS n (user_id)
    ON CONFLICT (user_id) DO UPDATE SET generation = u.generation WHERE false
    RETURNING user_id";

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

pub(super) const DELETE_DOCUMENTS: &str = "DELETE FROM documents WHERE name = ANY ($1::text[])";

pub(super) const LAST_ENTRIES: &str = "
    SELECT u.user_id, h.id, h.entry FROM unnest($1::text[]) AS u (user_id) CROSS JOIN LATERAL (
        SELECT id, entry FROM history WHERE history.user_id = u.user_id ORDER BY id DESC LIMIT 1) AS h";

/// An entry whose count another transaction raises just now is not old any more.
pub(super) const ENTRIES_BEFORE: &str =
    "SELECT id FROM history WHERE last_at < $1 ORDER BY last_at, id LIMIT $2 FOR UPDATE SKIP LOCKED";

pub(super) const REMOVE_ENTRIES: &str = "DELETE FROM history WHERE id = ANY ($1::bigint[])";

pub(super) const TOMBSTONES: &str = "SELECT hash FROM forgotten WHERE hash = ANY ($1::text[])";

pub(super) const SAVE_TOMBSTONES: &str = "
    INSERT INTO forgotten (hash, forgotten_at) SELECT hash, $2 FROM unnest($1::text[]) AS n (hash)
    ON CONFLICT (hash) DO NOTHING";

pub(super) const REMOVE_TOMBSTONES: &str = "DELETE FROM forgotten WHERE hash = ANY ($1::text[])";

pub(super) const NEXT_DUE: &str = "
    SELECT lane::bigint, next.due_at FROM unnest(ARRAY[0, 1, 2]::smallint[]) AS lanes (lane) CROSS JOIN LATERAL (
        SELECT due_at FROM users WHERE users.lane = lanes.lane AND due_at > $1 ORDER BY due_at LIMIT 1) AS next";

/// The first rows of an index. Locked rows are passed over: they are not waited for while documents are locked.
pub(super) fn first_sql(of: &Index, search: &Search<'_>) -> String {
    let (condition, order) = match of {
        // The table's index is on the beginning of an answer. Ordered by an expression, which no index has: else the planner
        // walks over all users in their order.
        Index::ParkedWith(_) => {
            ("parked_at IS NOT NULL AND left(answer, 200) = left($1, 200) AND answer = $1", "(user_id || '')")
        }
        _ => (search.condition, search.order),
    };
    format!(
        "SELECT to_jsonb(u)::text FROM users AS u WHERE {condition} ORDER BY {order} LIMIT {}
         FOR NO KEY UPDATE SKIP LOCKED",
        search.limit()
    )
}

/// Locks the first rows of an index, but those that are locked already, and loads them.
pub(super) async fn first(
    connection: &mut PgConnection,
    first: &First,
    now: Millis,
    wall: Millis,
) -> Result<Vec<Row>, Fault> {
    let search = first.of.search(now, wall);
    let mut query = sqlx::query_scalar(AssertSqlSafe(first_sql(&first.of, &search)));
    for number in &search.numbers {
        query = query.bind(*number);
    }
    if let Some(text) = search.text {
        query = query.bind(storable(text));
    }
    read_all(query.bind(limit(first.most)).fetch_all(connection).await?)
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

/// Reads rows. An error does not quote one: it may have an address in it.
pub(super) fn read_all(rows: Vec<String>) -> Result<Vec<Row>, Fault> {
    let read = |json: String| serde_json::from_str(&json).and_then(Row::of_record);
    let rows: Result<_, _> = rows.into_iter().map(read).collect();
    rows.map_err(|_| Fault::Refused("a row of the table users cannot be read".to_owned()))
}

/// Reads history entries, each with its user's id.
pub(super) fn read_entries(entries: Vec<(String, i64, String)>) -> Result<Vec<(String, HistoryRow)>, Fault> {
    let read = |(user, id, json): (String, i64, String)| {
        let entry: HistoryRow = serde_json::from_str(&json)?;
        Ok((user, HistoryRow { id, ..entry }))
    };
    let entries: Result<_, serde_json::Error> = entries.into_iter().map(read).collect();
    entries.map_err(|_| Fault::Refused("an entry of the table history cannot be read".to_owned()))
}

/// Text as Postgres can store it: it has no U+0000.
pub(super) fn storable(text: &str) -> String {
    text.replace('\0', "\u{fffd}")
}
