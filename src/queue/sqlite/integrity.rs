//! Whether the file is whole.
//!
//! A file that is not must never be written into, and no event may be answered 2xx that went into it; and a start must not
//! take long. So the ends of all tables and indexes are read before anything else, which takes no time. A small file is read
//! whole then as well, and a large one ([`Tuning::check_first`]) by the writer's thread, before anything else that it does.
//! Events wait for that: a million rows take it a second at the most.

use rusqlite::Connection;

use super::file::{DatabaseFile, Tuning};
use super::schema;
use crate::queue::OpenError;

/// Every table and index of a database, with the column that it begins with and the condition of a partial index.
const ORDERS: &str = "
    SELECT name, NULL, (SELECT name FROM pragma_table_info(o.name) WHERE pk = 1), ''
    FROM sqlite_schema AS o WHERE type = 'table'
    UNION ALL
    SELECT tbl_name, name, (SELECT name FROM pragma_index_info(o.name) WHERE seqno = 0),
        iif(instr(sql, ' WHERE ') > 0, substr(sql, instr(sql, ' WHERE ')), '')
    FROM sqlite_schema AS o WHERE type = 'index' AND sql IS NOT NULL";

/// Reads the first and the last row of each table, and of each index. Their names are those of a new database after
/// `steps`, so that a missing table or index is an error.
pub(super) fn ends(connection: &Connection, steps: &[&str]) -> rusqlite::Result<()> {
    let mut new = Connection::open_in_memory()?;
    schema::migrate(&mut new, steps)?;
    let mut orders = new.prepare(ORDERS)?;
    let mut orders = orders.query(())?;
    while let Some(order) = orders.next()? {
        let (table, index, column, condition): (String, Option<String>, String, String) = order.try_into()?;
        let index = index.map(|index| format!("INDEXED BY {index}")).unwrap_or_default();
        for direction in ["ASC", "DESC"] {
            let sql =
                format!("SELECT * FROM {table} {index} {condition} ORDER BY {column} {direction} LIMIT 1");
            connection.prepare(&sql)?.query(())?.next()?;
        }
    }
    Ok(())
}

/// Reads all of it, and compares every index with its table. On a connection of its own, so that what is read does not
/// stay in memory.
///
/// # Errors
/// [`OpenError::Damaged`] with the first finding; or the reason why it could not be read.
pub(super) fn whole(file: &DatabaseFile, tuning: Tuning) -> Result<(), OpenError> {
    let connection = file.connect(tuning)?;
    let finding: String = connection
        .query_row("PRAGMA integrity_check(1)", (), |row| row.get(0))
        .map_err(|error| file.explain(&error))?;
    if finding == "ok" {
        return Ok(());
    }
    Err(OpenError::Damaged(file.damage(finding.split_whitespace().collect::<Vec<_>>().join(" "))))
}
