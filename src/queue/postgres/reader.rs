//! Questions, each answered by one statement: all of it is of one moment.

use sqlx::postgres::{PgConnection, PgRow};
use sqlx::{AssertSqlSafe, Row as _};

use super::fault::Fault;
use super::rows::{TOMBSTONES, read, read_entry, storable};
use crate::clock::Millis;
use crate::queue::history::LogFilter;
use crate::queue::row::{Row, RowState};
use crate::queue::store::{Answer, Question, condition};
use crate::queue::views::{Census, ParkedGroup};

const ROWS_OF: &str =
    "SELECT to_jsonb(u)::text FROM users AS u WHERE user_id = ANY ($1::text[]) ORDER BY user_id";

/// Found by the index, and put in order then: an address has few users.
pub(super) const ROWS_AT: &str = "
    WITH found AS MATERIALIZED (SELECT u FROM users AS u WHERE address_key = $1)
    SELECT to_jsonb(u)::text FROM found ORDER BY (u).user_id LIMIT $2";

pub(super) const PARKED: &str = "
    SELECT coalesce(answer, ''), count(*), min(failing_since), max(parked_at), coalesce(max(error COLLATE \"C\"), '')
    FROM users WHERE parked_at IS NOT NULL GROUP BY answer ORDER BY count(*) DESC, answer COLLATE \"C\" LIMIT $1";

pub(super) const HISTORY: &str =
    "SELECT user_id, id, entry FROM history WHERE user_id = $1 ORDER BY id DESC LIMIT $2";

pub(super) const LOG: &str = "
    SELECT user_id, id, entry FROM history
    WHERE id < $1 AND ($2::text IS NULL OR outcome = $2) AND (lost_tags = 1 OR NOT $3) AND last_at >= $4
    ORDER BY id DESC LIMIT $5";

/// An empty document is a placeholder.
const DOCUMENTS: &str =
    "SELECT name, value FROM documents WHERE name >= $1 AND starts_with(name, $1) AND value <> ''";

/// Reads the whole table; asked once, at the end of a backfill.
const ENDED_SINCE: &str = "
    SELECT coalesce(outcome, ''), coalesce(reason, ''), count(*) FROM users
    WHERE synced_at >= $1 OR parked_at >= $1 GROUP BY 1, 2";

/// Answers `question` at `now`.
pub(super) async fn answer(
    connection: &mut PgConnection,
    question: &Question,
    now: Millis,
) -> Result<Answer, Fault> {
    match question {
        Question::Rows(filter) => {
            let rows = sqlx::query_scalar(AssertSqlSafe(rows_sql(filter.state)))
                .bind(now.0)
                .bind(filter.after.as_deref().map(storable).unwrap_or_default())
                .bind(filter.reason.as_deref().map(|text| storable(text).to_ascii_lowercase()))
                .bind(most(filter.limit));
            rows_of(rows.fetch_all(connection).await?)
        }
        Question::RowsOf(ids) => rows_of(sqlx::query_scalar(ROWS_OF).bind(ids).fetch_all(connection).await?),
        Question::RowsAt(key, limit) => {
            let rows = sqlx::query_scalar(ROWS_AT).bind(storable(key)).bind(most(*limit));
            rows_of(rows.fetch_all(connection).await?)
        }
        Question::Census => {
            let sql = AssertSqlSafe(census_sql());
            let row = sqlx::query(sql).bind(now.0).bind(most(Census::LIMIT as usize)).fetch_one(connection);
            Ok(Answer::Census(census(&row.await?, now)?))
        }
        Question::Parked(limit) => {
            let groups = sqlx::query(PARKED).bind(most(*limit)).fetch_all(connection).await?;
            let groups: sqlx::Result<_> = groups.iter().map(parked_group).collect();
            Ok(Answer::Parked(groups?))
        }
        Question::History(user, limit) => {
            let entries = sqlx::query_as(HISTORY).bind(storable(user)).bind(most(*limit));
            entries_of(entries.fetch_all(connection).await?)
        }
        Question::Log(LogFilter { outcome, lost_tags, since, before, limit }) => {
            let entries = sqlx::query_as(LOG)
                .bind(before.unwrap_or(i64::MAX))
                .bind(outcome.as_deref().map(storable))
                .bind(lost_tags)
                .bind(since.map_or(i64::MIN, |since| since.0))
                .bind(most(*limit));
            entries_of(entries.fetch_all(connection).await?)
        }
        Question::Documents(prefix) => {
            let documents: Vec<(String, String)> =
                sqlx::query_as(DOCUMENTS).bind(storable(prefix)).fetch_all(connection).await?;
            Ok(Answer::Documents(documents.into_iter().collect()))
        }
        Question::Tombstones(hashes) => {
            let found = sqlx::query_scalar(TOMBSTONES).bind(hashes).fetch_all(connection).await?;
            Ok(Answer::Tombstones(found.into_iter().collect()))
        }
        Question::EndedSince(since) => {
            let counts: Vec<(String, String, i64)> =
                sqlx::query_as(ENDED_SINCE).bind(since.0).fetch_all(connection).await?;
            let counts = counts.into_iter().map(|(outcome, reason, count)| (outcome, reason, number(count)));
            let mut counts: Vec<_> = counts.collect();
            counts.sort();
            Ok(Answer::Ended(counts))
        }
    }
}

/// Rows in `state` after the id `$2`, with the text `$3`, in lower case, in error or answer if it is not null. `$1` is the
/// time.
///
/// A state of few rows is found by its index and put in order then: `user_id > $2` comes last, or the planner walks over all
/// users in their order. Idle rows are most of all, and are walked in order.
pub(super) fn rows_sql(state: Option<RowState>) -> String {
    let passes = "$1::bigint IS NOT NULL AND ($3::text IS NULL
        OR strpos(lower(u.error COLLATE \"C\"), $3) > 0 OR strpos(lower(u.answer COLLATE \"C\"), $3) > 0)";
    match state {
        None | Some(RowState::Idle) => {
            let condition = state.map_or_else(|| "true".to_owned(), |state| condition(state, "$1"));
            format!(
                "SELECT to_jsonb(u)::text FROM users AS u WHERE {condition} AND {passes} AND user_id > $2
                 ORDER BY user_id LIMIT $4"
            )
        }
        Some(state) => format!(
            "WITH found AS MATERIALIZED (SELECT user_id FROM users AS u WHERE {} AND {passes}),
             page AS MATERIALIZED (SELECT user_id FROM found WHERE user_id > $2 ORDER BY user_id LIMIT $4)
             SELECT to_jsonb(u)::text FROM page JOIN users AS u ON u.user_id = page.user_id ORDER BY u.user_id",
            condition(state, "$1")
        ),
    }
}

/// The numbers of one moment, each counted to the limit `$2` at the most. Idle rows are not counted: they are most of all.
pub(super) fn census_sql() -> String {
    let counted =
        |rows: &str| format!("(SELECT count(*) FROM (SELECT FROM users WHERE {rows} LIMIT $2) AS n)");
    let oldest = |lane: &str| {
        format!("(SELECT due_at FROM users WHERE lane = {lane} AND due_at <= $1 ORDER BY due_at LIMIT 1)")
    };
    let states = [
        RowState::Due,
        RowState::Leased,
        RowState::Scheduled,
        RowState::Failing,
        RowState::Held,
        RowState::Parked,
    ];
    let mut columns = states.map(|state| counted(&condition(state, "$1"))).to_vec();
    columns.push(counted("lane = 2 AND due_at <= $1"));
    columns.push(counted("lane = 2 AND due_at IS NOT NULL"));
    columns.push(format!("least({}, {})", oldest("0"), oldest("1")));
    columns.push(oldest("2"));
    format!("SELECT {}", columns.join(", "))
}

fn census(row: &PgRow, now: Millis) -> sqlx::Result<Census> {
    let count = |column: usize| row.try_get(column).map(number);
    let age = |column: usize| {
        let oldest: Option<i64> = row.try_get(column)?;
        let age = oldest.map_or(0, |oldest| now.since(Millis(oldest)).as_millis());
        Ok::<_, sqlx::Error>(u64::try_from(age).unwrap_or(u64::MAX))
    };
    Ok(Census {
        due: count(0)?,
        leased: count(1)?,
        scheduled: count(2)?,
        failing: count(3)?,
        held: count(4)?,
        parked: count(5)?,
        background_due: count(6)?,
        background_waiting: count(7)?,
        oldest_due_ms: age(8)?,
        oldest_background_ms: age(9)?,
    })
}

fn parked_group(row: &PgRow) -> sqlx::Result<ParkedGroup> {
    Ok(ParkedGroup {
        answer: row.try_get(0)?,
        users: number(row.try_get(1)?).min(Census::LIMIT),
        first_at: row.try_get::<Option<i64>, _>(2)?.map(Millis),
        last_at: Millis(row.try_get(3)?),
        error: row.try_get(4)?,
    })
}

fn rows_of(rows: Vec<String>) -> Result<Answer, Fault> {
    let rows: Result<Vec<Row>, Fault> = rows.iter().map(read).collect();
    rows.map(Answer::Rows)
}

fn entries_of(entries: Vec<(String, i64, String)>) -> Result<Answer, Fault> {
    let entries = entries.into_iter().map(|(user, id, entry)| Ok((user, read_entry(id, &entry)?)));
    entries.collect::<Result<_, Fault>>().map(Answer::Entries)
}

/// A limit as Postgres takes it.
fn most(limit: usize) -> i64 {
    i64::try_from(limit).unwrap_or(i64::MAX)
}

/// A count, which is never negative.
fn number(count: i64) -> u64 {
    u64::try_from(count).unwrap_or(0)
}
