//! The questions, each answered on a connection of its own that only reads, on a thread that may wait for the disk: reading
//! never holds up an event.

use std::collections::{BTreeMap, BTreeSet};

use rusqlite::{Connection, OptionalExtension, Row as SqlRow, params};

use super::file::DatabaseFile;
use super::open_files::OpenFiles;
use super::rows::{self, BY_ID, HISTORY, ROW, TOMBSTONE, entries, limit, read_row};
use crate::clock::{Clock, Millis};
use crate::queue::QueueError;
use crate::queue::history::{HistoryRow, LogFilter};
use crate::queue::lane::Lane;
use crate::queue::row::{Row, RowState};
use crate::queue::store::{Answer, Question, condition};
use crate::queue::views::{Census, Filter, ParkedGroup};

pub(super) const OLDEST_DUE: &str = "
    SELECT due_at FROM users INDEXED BY users_due WHERE lane = ?1 AND due_at <= ?2 ORDER BY due_at LIMIT 1";

pub(super) const DUE_IN_LANE: &str = "
    SELECT count(*) FROM (SELECT 1 FROM users INDEXED BY users_due WHERE lane = ?1 AND due_at <= ?2 LIMIT ?3)";

pub(super) const WAITING_IN_LANE: &str = "
    SELECT count(*) FROM (SELECT 1 FROM users INDEXED BY users_due
        WHERE lane = ?1 AND due_at IS NOT NULL LIMIT ?2)";

pub(super) const PARKED: &str = "
    SELECT answer, min(count(*), ?2) AS users, min(failing_since), max(parked_at), coalesce(max(error), '')
    FROM users INDEXED BY users_parked WHERE parked_at IS NOT NULL AND answer IS NOT NULL
    GROUP BY answer ORDER BY users DESC, answer LIMIT ?1";

pub(super) const AT_ADDRESS: &str =
    "INDEXED BY users_address WHERE address_key = ?1 ORDER BY user_id LIMIT ?2";

pub(super) const LOG: &str = "
    SELECT user_id, id, entry FROM history
    WHERE id < ?1 AND (?2 IS NULL OR outcome = ?2) AND lost_tags >= ?3 AND last_at >= ?4
    ORDER BY id DESC LIMIT ?5";

/// From the first name that could begin with the prefix; names with one prefix are next to each other.
pub(super) const DOCUMENTS: &str = "SELECT name, value FROM documents WHERE name >= ?1 ORDER BY name";

/// Reads the whole table, for the summary of a backfill.
const ENDED_SINCE: &str = "
    SELECT coalesce(outcome, ''), coalesce(reason, ''), count(*) FROM users
    WHERE synced_at >= ?1 OR parked_at >= ?1 GROUP BY 1, 2 ORDER BY 1, 2";

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
        Question::Rows(filter) => filtered(store, now, &filter).map(Answer::Rows),
        Question::RowsOf(ids) => rows_of(store, &ids.into_iter().collect()).map(Answer::Rows),
        Question::RowsAt(key, most) => {
            let sql = format!("SELECT {} FROM users {AT_ADDRESS}", *ROW);
            rows::rows(store, &sql, params![key, limit(most)]).map(Answer::Rows)
        }
        Question::Census => census(store, now).map(Answer::Census),
        Question::Parked(most) => parked(store, most).map(Answer::Parked),
        Question::History(user, most) => {
            entries(store, HISTORY, params![user, limit(most)]).map(Answer::Entries)
        }
        Question::Log(filter) => log(store, &filter).map(Answer::Entries),
        Question::Documents(prefix) => documents(store, &prefix).map(Answer::Documents),
        Question::Tombstones(hashes) => tombstones(store, hashes).map(Answer::Tombstones),
        Question::EndedSince(since) => ended(store, since).map(Answer::Ended),
    }
}

/// The rows in a state at `?1`, by the index that has them alone if there is one.
fn rows_in(state: Option<RowState>) -> String {
    let index = match state {
        Some(RowState::Due | RowState::Scheduled | RowState::Failing) => "INDEXED BY users_due",
        Some(RowState::Leased) => "INDEXED BY users_leased",
        Some(RowState::Held) => "INDEXED BY users_held_back",
        Some(RowState::Parked) => "INDEXED BY users_parked",
        Some(RowState::Idle) | None => "",
    };
    let condition = state.map_or_else(|| "true".to_owned(), |state| condition(state, "?1"));
    format!("users {index} WHERE {condition}")
}

/// The ids first: they are in every index, so that no row is read that is not shown, unless a reason is asked for.
pub(super) fn listing(state: Option<RowState>, by_reason: bool) -> String {
    let reason =
        if by_reason { "AND (instr(lower(error), ?3) > 0 OR instr(lower(answer), ?3) > 0)" } else { "" };
    format!(
        "SELECT {} FROM users WHERE user_id IN (
            SELECT user_id FROM {} AND user_id > ?2 {reason} ORDER BY user_id LIMIT ?4)
        ORDER BY user_id",
        *ROW,
        rows_in(state)
    )
}

fn filtered(store: &Connection, now: Millis, filter: &Filter) -> rusqlite::Result<Vec<Row>> {
    let Filter { state, reason, after, limit: most } = filter;
    let reason = reason.as_deref().map(str::to_ascii_lowercase);
    let sql = listing(*state, reason.is_some());
    rows::rows(store, &sql, params![now.0, after.as_deref().unwrap_or_default(), reason, limit(*most)])
}

fn rows_of(store: &Connection, ids: &BTreeSet<String>) -> rusqlite::Result<Vec<Row>> {
    let mut by_id = store.prepare(&BY_ID)?;
    ids.iter().filter_map(|id| by_id.query_row([id], read_row).optional().transpose()).collect()
}

pub(super) fn counting(state: RowState) -> String {
    format!("SELECT count(*) FROM (SELECT 1 FROM {} LIMIT ?2)", rows_in(Some(state)))
}

fn census(store: &Connection, now: Millis) -> rusqlite::Result<Census> {
    let most = i64::try_from(Census::LIMIT).unwrap_or(i64::MAX);
    let count = |state| store.query_row(&counting(state), [now.0, most], |row| number(row, 0));
    let oldest_ms = |lane: Lane| -> rusqlite::Result<u64> {
        let mut statement = store.prepare(OLDEST_DUE)?;
        let oldest = statement.query_row([lane.number(), now.0], |row| row.get(0)).optional()?;
        let age = oldest.map_or(0, |oldest| now.since(Millis(oldest)).as_millis());
        Ok(u64::try_from(age).unwrap_or(u64::MAX))
    };
    let background = Lane::Background.number();
    Ok(Census {
        due: count(RowState::Due)?,
        leased: count(RowState::Leased)?,
        scheduled: count(RowState::Scheduled)?,
        failing: count(RowState::Failing)?,
        held: count(RowState::Held)?,
        parked: count(RowState::Parked)?,
        oldest_due_ms: oldest_ms(Lane::Events)?.max(oldest_ms(Lane::Retries)?),
        background_due: store.query_row(DUE_IN_LANE, [background, now.0, most], |row| number(row, 0))?,
        oldest_background_ms: oldest_ms(Lane::Background)?,
        background_waiting: store.query_row(WAITING_IN_LANE, [background, most], |row| number(row, 0))?,
    })
}

fn parked(store: &Connection, most: usize) -> rusqlite::Result<Vec<ParkedGroup>> {
    let read = |row: &SqlRow<'_>| {
        Ok(ParkedGroup {
            answer: row.get(0)?,
            users: number(row, 1)?,
            first_at: row.get::<_, Option<i64>>(2)?.map(Millis),
            last_at: Millis(row.get(3)?),
            error: row.get(4)?,
        })
    };
    let counted = i64::try_from(Census::LIMIT).unwrap_or(i64::MAX);
    store.prepare(PARKED)?.query_map([limit(most), counted], read)?.collect()
}

fn log(store: &Connection, filter: &LogFilter) -> rusqlite::Result<Vec<(String, HistoryRow)>> {
    let LogFilter { outcome, lost_tags, since, before, limit: most } = filter;
    let since = since.map_or(i64::MIN, |since| since.0);
    let before = before.unwrap_or(i64::MAX);
    entries(store, LOG, params![before, outcome, lost_tags, since, limit(*most)])
}

fn documents(store: &Connection, prefix: &str) -> rusqlite::Result<BTreeMap<String, String>> {
    let mut statement = store.prepare(DOCUMENTS)?;
    let named = statement.query_map([prefix], |row| row.try_into())?;
    named
        .take_while(|document: &rusqlite::Result<(String, String)>| match document {
            Ok((name, _)) => name.starts_with(prefix),
            Err(_) => true,
        })
        .collect()
}

fn tombstones(store: &Connection, hashes: Vec<String>) -> rusqlite::Result<BTreeSet<String>> {
    let mut statement = store.prepare(TOMBSTONE)?;
    let mut found = BTreeSet::new();
    for hash in hashes {
        if statement.query_row([&hash], |row| row.get(0))? {
            found.insert(hash);
        }
    }
    Ok(found)
}

fn ended(store: &Connection, since: Millis) -> rusqlite::Result<Vec<(String, String, u64)>> {
    let read = |row: &SqlRow<'_>| Ok((row.get(0)?, row.get(1)?, number(row, 2)?));
    store.prepare(ENDED_SINCE)?.query_map([since.0], read)?.collect()
}

/// A count, which is never negative.
fn number(row: &SqlRow<'_>, column: usize) -> rusqlite::Result<u64> {
    row.get::<_, i64>(column).map(|count| u64::try_from(count).unwrap_or(0))
}
