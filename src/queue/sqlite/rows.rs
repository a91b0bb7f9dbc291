//! How rows, the history, documents and tombstones are loaded, saved and erased. Only this file and the statement of an event
//! name columns, and the columns of a row are [`COLUMNS`].

use std::sync::LazyLock;

use rusqlite::types::{Type, Value as SqlValue, ValueRef};
use rusqlite::{Connection, OptionalExtension, Params, Row as SqlRow, ToSql, params, params_from_iter};
use serde_json::{Map, Value};

use crate::clock::{Clock, Millis};
use crate::queue::history::HistoryRow;
use crate::queue::lane::Lane;
use crate::queue::row::{COLUMNS, Row};
use crate::queue::sql::{Dialect, HISTORY, limit};
use crate::queue::store::{Change, First, Look, Search, Seen};

/// An event of a user in the first lane that is due soon enough, or leased (a lease that has ended counts until another one
/// takes over): only the generation and the cause change. A statement of its own, as one that could move `due_at` would
/// rewrite its index each time.
pub(super) const PUSH_ONTO: &str = "
    UPDATE users SET generation = generation + ?2, cause = ?4
    WHERE user_id = ?1 AND lane = 0 AND (lease IS NOT NULL OR due_at <= ?3)";

/// An event of any other user: new, due later or in a slower lane, or with nothing to do. A parked row starts afresh. A leased
/// row is in the first lane from now on, so that it is also taken over there if it is never settled; its `due_at` is the end
/// of the lease. The rule is [`Row::pushed`].
pub(super) const PUSH: &str = "
    INSERT INTO users (user_id, generation, due_at, cause) VALUES (?1, ?2, ?3, ?4)
    ON CONFLICT (user_id) DO UPDATE SET
        generation = generation + excluded.generation,
        cause = excluded.cause,
        due_at = iif(lease IS NULL, min(coalesce(due_at, excluded.due_at), excluded.due_at), due_at),
        lane = 0,
        attempts = iif(parked_at IS NULL, attempts, 0),
        failing_since = iif(parked_at IS NULL, failing_since, NULL),
        parked_at = NULL,
        answer = NULL";

/// More than a page, so that there has to be room for one.
const FILL: &str = "INSERT OR REPLACE INTO documents (name, value) VALUES ('probe', hex(zeroblob(2048)))";

const EMPTY: &str = "DELETE FROM documents WHERE name = 'probe'";

/// The columns of a row, as a `SELECT` names them.
pub(super) static ROW: LazyLock<String> = LazyLock::new(|| COLUMNS.join(", "));

pub(super) static BY_ID: LazyLock<String> =
    LazyLock::new(|| format!("SELECT {} FROM users WHERE user_id = ?1", *ROW));

static SAVE: LazyLock<String> = LazyLock::new(|| {
    let places = vec!["?"; COLUMNS.len()].join(", ");
    format!("INSERT OR REPLACE INTO users ({}) VALUES ({places})", *ROW)
});

pub(super) const ERASE: &str = "DELETE FROM users WHERE user_id = ?1";

pub(super) const ERASE_HISTORY: &str = "DELETE FROM history WHERE user_id = ?1";

pub(super) const NEXT_DUE: &str = "
    SELECT due_at FROM users INDEXED BY users_due WHERE lane = ?1 AND due_at > ?2 ORDER BY due_at LIMIT 1";

pub(super) const ENTRIES_BEFORE: &str = "
    SELECT id FROM history INDEXED BY history_by_age WHERE last_at < ?1 ORDER BY last_at, id LIMIT ?2";

const SAVE_ENTRY: &str = "
    INSERT OR REPLACE INTO history (id, user_id, last_at, outcome, lost_tags, entry)
    VALUES (nullif(?1, 0), ?2, ?3, ?4, ?5, ?6)";

pub(super) const REMOVE_ENTRY: &str = "DELETE FROM history WHERE id = ?1";

pub(super) const DOCUMENT: &str = "SELECT value FROM documents WHERE name = ?1";

pub(super) const SAVE_DOCUMENT: &str = "INSERT OR REPLACE INTO documents (name, value) VALUES (?1, ?2)";

pub(super) const REMOVE_DOCUMENT: &str = "DELETE FROM documents WHERE name = ?1";

pub(super) const TOMBSTONE: &str = "SELECT EXISTS (SELECT 1 FROM forgotten WHERE hash = ?1)";

const SAVE_TOMBSTONE: &str = "INSERT OR REPLACE INTO forgotten (hash, forgotten_at) VALUES (?1, ?2)";

pub(super) const REMOVE_TOMBSTONE: &str = "DELETE FROM forgotten WHERE hash = ?1";

/// The document of this name.
pub(super) fn document(connection: &Connection, name: &str) -> rusqlite::Result<Option<String>> {
    connection.prepare_cached(DOCUMENT)?.query_row([name], |row| row.get(0)).optional()
}

/// Loads what a transaction looks at.
pub(super) fn load(connection: &Connection, look: &Look, clock: &Clock) -> rusqlite::Result<Seen> {
    let mut seen = Seen { now: clock.now(), wall: clock.wall(), ..Seen::default() };
    for id in &look.rows {
        let Some(row) = connection.prepare_cached(&BY_ID)?.query_row([id], read_row).optional()? else {
            continue;
        };
        seen.rows.insert(id.clone(), row);
        if look.last_entries {
            seen.last_entries.extend(entries(connection, HISTORY, params![id, 1])?);
        }
    }
    for first in &look.first {
        seen.first.push(first_rows(connection, first, seen.now, seen.wall)?);
    }
    for name in &look.documents {
        seen.documents.extend(document(connection, name)?.map(|json| (name.clone(), json)));
    }
    for hash in &look.tombstones {
        if connection.prepare_cached(TOMBSTONE)?.query_row([hash], |row| row.get(0))? {
            seen.tombstones.insert(hash.clone());
        }
    }
    if let Some((before, most)) = look.entries_before {
        let mut statement = connection.prepare_cached(ENTRIES_BEFORE)?;
        let ids = statement.query_map(params![before.0, limit(most)], |row| row.get(0))?;
        seen.entries = ids.collect::<rusqlite::Result<_>>()?;
    }
    if look.next_due {
        let mut statement = connection.prepare_cached(NEXT_DUE)?;
        for lane in Lane::ALL {
            let due = statement.query_row([lane.number(), seen.now.0], |row| row.get(0)).optional()?;
            seen.next_due.extend(due.map(|due| (lane, Millis(due))));
        }
    }
    Ok(seen)
}

/// Saves what a transaction has decided. Users are erased last, so that nothing of the same change is left.
pub(super) fn save(connection: &Connection, change: &Change, now: Millis) -> rusqlite::Result<()> {
    for row in &change.rows {
        let mut record = row.to_record();
        let values = COLUMNS.map(|column| to_sql(record.remove(column).unwrap_or_default()));
        connection.prepare_cached(&SAVE)?.execute(values.each_ref().map(|value| value as &dyn ToSql))?;
    }
    for (user, entry) in &change.entries {
        let json = serde_json::to_string(entry).map_err(|_| unreadable("a history entry"))?;
        let HistoryRow { id, last_at, outcome, .. } = entry;
        let values = params![id, user, last_at.0, outcome, entry.lost_tags(), json];
        connection.prepare_cached(SAVE_ENTRY)?.execute(values)?;
    }
    for id in &change.removed_entries {
        connection.prepare_cached(REMOVE_ENTRY)?.execute([id])?;
    }
    for (name, json) in &change.documents {
        if json.is_empty() {
            connection.prepare_cached(REMOVE_DOCUMENT)?.execute([name])?;
        } else {
            connection.prepare_cached(SAVE_DOCUMENT)?.execute([name, json])?;
        }
    }
    for hash in &change.tombstones {
        connection.prepare_cached(SAVE_TOMBSTONE)?.execute(params![hash, now.0])?;
    }
    for hash in &change.removed_tombstones {
        connection.prepare_cached(REMOVE_TOMBSTONE)?.execute([hash])?;
    }
    for user in &change.erased {
        connection.prepare_cached(ERASE)?.execute([user])?;
        connection.prepare_cached(ERASE_HISTORY)?.execute([user])?;
    }
    Ok(())
}

/// Writes what needs room, and removes it again.
pub(super) fn probe(connection: &Connection) -> rusqlite::Result<()> {
    connection.prepare_cached(FILL)?.execute(())?;
    connection.prepare_cached(EMPTY)?.execute(()).map(drop)
}

/// The first rows of an index.
pub(super) fn first_sql(search: &Search<'_>) -> String {
    let Search { index, condition, order, .. } = search;
    let users = Dialect::Sqlite.users(index);
    format!("SELECT {} FROM {users} WHERE {condition} ORDER BY {order} LIMIT {}", *ROW, search.limit())
}

fn first_rows(
    connection: &Connection,
    first: &First,
    now: Millis,
    wall: Millis,
) -> rusqlite::Result<Vec<Row>> {
    let search = first.of.search(now, wall);
    let numbers = search.numbers.iter().map(|number| SqlValue::Integer(*number));
    let text = search.text.map(|text| SqlValue::Text(text.to_owned()));
    let values = numbers.chain(text).chain([SqlValue::Integer(limit(first.most))]);
    rows(connection, &first_sql(&search), params_from_iter(values))
}

/// The rows that `sql` selects, each with [`ROW`].
pub(super) fn rows(connection: &Connection, sql: &str, params: impl Params) -> rusqlite::Result<Vec<Row>> {
    connection.prepare_cached(sql)?.query_map(params, read_row)?.collect()
}

/// The history entries that `sql` selects, each as `user_id, id, entry`.
pub(super) fn entries(
    connection: &Connection,
    sql: &str,
    params: impl Params,
) -> rusqlite::Result<Vec<(String, HistoryRow)>> {
    let read = |row: &SqlRow<'_>| {
        let (user, id, json): (String, i64, String) = row.try_into()?;
        let entry = serde_json::from_str(&json).map_err(|_| unreadable("a history entry"))?;
        Ok((user, HistoryRow { id, ..entry }))
    };
    connection.prepare_cached(sql)?.query_map(params, read)?.collect()
}

pub(super) fn read_row(row: &SqlRow<'_>) -> rusqlite::Result<Row> {
    let mut record = Map::new();
    for (number, column) in COLUMNS.into_iter().enumerate() {
        let value = match row.get_ref(number)? {
            ValueRef::Null => Value::Null,
            ValueRef::Integer(value) => value.into(),
            other => other.as_str()?.into(),
        };
        record.insert(column.to_owned(), value);
    }
    Row::of_record(record).map_err(|_| unreadable("a user's row"))
}

fn to_sql(value: Value) -> SqlValue {
    match value {
        Value::Null => SqlValue::Null,
        Value::String(text) => SqlValue::Text(text),
        // A row has whole numbers only. Anything else is refused by its column.
        other => other.as_i64().map_or_else(|| SqlValue::Text(other.to_string()), SqlValue::Integer),
    }
}

/// Without the cause, which quotes the value.
fn unreadable(what: &str) -> rusqlite::Error {
    let error = format!("{what} has a value that no version of this program saves");
    rusqlite::Error::FromSqlConversionFailure(0, Type::Text, error.into())
}
