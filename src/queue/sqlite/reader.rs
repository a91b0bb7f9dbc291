//! The questions, each answered on a connection of its own that only reads, on a thread that may wait for the disk: reading
//! never holds up an event.

use std::collections::BTreeSet;

use rusqlite::{Connection, OptionalExtension, Params, Row as SqlRow, params};

use super::file::DatabaseFile;
use super::open_files::OpenFiles;
use super::rows::{self, BY_ID, ROW, TOMBSTONE, entries, read_row};
use crate::clock::{Clock, Millis};
use crate::queue::QueueError;
use crate::queue::history::LogFilter;
use crate::queue::row::RowState;
use crate::queue::sql::{self, Dialect, limit};
use crate::queue::store::{Answer, Question};
use crate::queue::views::{Census, Filter};

pub(super) const AT_ADDRESS: &str =
    "INDEXED BY users_address WHERE address_key = ?1 ORDER BY user_id LIMIT ?2";

/// Reads the database.
#[derive(Debug, Clone)]
pub(super) struct Reader {
    file: DatabaseFile,
    files: OpenFiles,
    clock: Clock,
}

impl Reader {
    pub(super) fn new(file: DatabaseFile, files: OpenFiles, clock: Clock) -> Self {
        Self { file, files, clock }
    }

    pub(super) async fn ask(&self, question: Question) -> Result<Answer, QueueError> {
        let Self { file, files, clock } = self.clone();
        let answered = tokio::task::spawn_blocking(move || {
            let opened = file.connect_to_read();
            files.check()?; // after the opening: a file that is replaced from now on is not the one that is read
            let answer = opened.and_then(|mut connection| {
                let transaction = connection.transaction()?; // so that all of it is of one moment
                answer(&transaction, question, clock.now())
            });
            answer.map_err(|error| file.explain_later(&error))
        });
        match answered.await {
            Ok(answer) => answer,
            Err(stopped) => Err(QueueError::Store(format!("the queue was not read: {stopped}"))),
        }
    }
}

fn answer(store: &Connection, question: Question, now: Millis) -> rusqlite::Result<Answer> {
    match question {
        Question::Rows(Filter { state, reason, after, limit: most }) => {
            let reason = reason.as_deref().map(str::to_ascii_lowercase);
            let sql = listing(state, reason.is_some());
            let values = params![now.0, after.unwrap_or_default(), reason, limit(most)];
            rows::rows(store, &sql, values).map(Answer::Rows)
        }
        Question::RowsOf(ids) => {
            let mut by_id = store.prepare(&BY_ID)?;
            let ids: BTreeSet<String> = ids.into_iter().collect();
            let found = ids.iter().filter_map(|id| by_id.query_row([id], read_row).optional().transpose());
            found.collect::<rusqlite::Result<_>>().map(Answer::Rows)
        }
        Question::RowsAt(key, most) => {
            let sql = format!("SELECT {} FROM users {AT_ADDRESS}", *ROW);
            rows::rows(store, &sql, params![key, limit(most)]).map(Answer::Rows)
        }
        Question::Census => {
            let mut columns = [None; sql::CENSUS_COLUMNS];
            let most = limit(Census::LIMIT as usize);
            store.query_row(&Dialect::Sqlite.census(), [now.0, most], |row| {
                columns.iter_mut().enumerate().try_for_each(|(number, column)| {
                    *column = row.get(number)?;
                    Ok(())
                })
            })?;
            Ok(Answer::Census(sql::census(columns, now)))
        }
        Question::Parked(most) => all(store, &Dialect::Sqlite.parked(), [limit(most)]).map(sql::parked),
        Question::History(user, most) => {
            entries(store, sql::HISTORY, params![user, limit(most)]).map(Answer::Entries)
        }
        Question::Log(LogFilter { outcome, lost_tags, since, before, limit: most }) => {
            let (before, since) = (before.unwrap_or(i64::MAX), since.map_or(i64::MIN, |since| since.0));
            let values = params![before, outcome, lost_tags, since, limit(most)];
            entries(store, sql::LOG, values).map(Answer::Entries)
        }
        Question::Documents(prefix) => {
            let documents = all(store, sql::DOCUMENTS, [&prefix, &sql::after_prefix(&prefix)])?;
            Ok(Answer::Documents(documents.into_iter().collect()))
        }
        Question::Tombstones(hashes) => {
            let mut statement = store.prepare(TOMBSTONE)?;
            let mut found = BTreeSet::new();
            for hash in hashes {
                if statement.query_row([&hash], |row| row.get(0))? {
                    found.insert(hash);
                }
            }
            Ok(Answer::Tombstones(found))
        }
        Question::EndedSince(since) => all(store, sql::ENDED_SINCE, [since.0]).map(sql::ended),
    }
}

/// The rows that `sql` selects.
fn all<T>(store: &Connection, sql: &str, params: impl Params) -> rusqlite::Result<Vec<T>>
where
    T: for<'a> TryFrom<&'a SqlRow<'a>, Error = rusqlite::Error>,
{
    store.prepare(sql)?.query_map(params, |row| row.try_into())?.collect()
}

/// The ids first: they are in every index, so that no row is read that is not shown, unless a reason is asked for.
pub(super) fn listing(state: Option<RowState>, by_reason: bool) -> String {
    let (users, condition) = (Dialect::Sqlite.users_in(state), sql::condition(state));
    let reason = match by_reason {
        true => "(instr(lower(error), $3) > 0 OR instr(lower(answer), $3) > 0)",
        false => "$3 IS NULL",
    };
    format!(
        "SELECT {} FROM users WHERE user_id IN (
            SELECT user_id FROM {users} WHERE $1 IS NOT NULL AND {condition} AND user_id > $2 AND {reason}
            ORDER BY user_id LIMIT $4)
        ORDER BY user_id",
        *ROW
    )
}
