//! Questions, each answered by one statement: all of it is of one moment.

use sqlx::postgres::PgConnection;
use sqlx::{AssertSqlSafe, Row as _};

use super::fault::Fault;
use super::rows::{TOMBSTONES, read_all, read_entries, storable};
use crate::clock::Millis;
use crate::queue::history::LogFilter;
use crate::queue::row::RowState;
use crate::queue::sql::{self, Dialect, limit};
use crate::queue::store::{Answer, Question};
use crate::queue::views::Census;

const ROWS_OF: &str =
    "SELECT to_jsonb(u)::text FROM users AS u WHERE user_id = ANY ($1::text[]) ORDER BY user_id";

/// Found by the index, and put in order then: an address has few users.
pub(super) const ROWS_AT: &str = "
    WITH found AS MATERIALIZED (SELECT u FROM users AS u WHERE address_key = $1)
    SELECT to_jsonb(u)::text FROM found ORDER BY (u).user_id LIMIT $2";

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
                .bind(limit(filter.limit));
            read_all(rows.fetch_all(connection).await?).map(Answer::Rows)
        }
        Question::RowsOf(ids) => {
            read_all(sqlx::query_scalar(ROWS_OF).bind(ids).fetch_all(connection).await?).map(Answer::Rows)
        }
        Question::RowsAt(key, most) => {
            let rows = sqlx::query_scalar(ROWS_AT).bind(storable(key)).bind(limit(*most));
            read_all(rows.fetch_all(connection).await?).map(Answer::Rows)
        }
        Question::Census => {
            let census = sqlx::query(AssertSqlSafe(Dialect::Postgres.census())).bind(now.0);
            let row = census.bind(limit(Census::LIMIT as usize)).fetch_one(connection).await?;
            let mut columns = [None; sql::CENSUS_COLUMNS];
            for (number, column) in columns.iter_mut().enumerate() {
                *column = row.try_get(number)?;
            }
            Ok(Answer::Census(sql::census(columns, now)))
        }
        Question::Parked(most) => {
            let groups = sqlx::query_as(AssertSqlSafe(Dialect::Postgres.parked())).bind(limit(*most));
            Ok(sql::parked(groups.fetch_all(connection).await?))
        }
        Question::History(user, most) => {
            let entries = sqlx::query_as(sql::HISTORY).bind(storable(user)).bind(limit(*most));
            read_entries(entries.fetch_all(connection).await?).map(Answer::Entries)
        }
        Question::Log(LogFilter { outcome, lost_tags, since, before, limit: most }) => {
            let entries = sqlx::query_as(sql::LOG)
                .bind(before.unwrap_or(i64::MAX))
                .bind(outcome.as_deref().map(storable))
                .bind(i16::from(*lost_tags))
                .bind(since.map_or(i64::MIN, |since| since.0))
                .bind(limit(*most));
            read_entries(entries.fetch_all(connection).await?).map(Answer::Entries)
        }
        Question::Documents(prefix) => {
            let prefix = storable(prefix);
            let documents = sqlx::query_as(sql::DOCUMENTS).bind(&prefix).bind(sql::after_prefix(&prefix));
            Ok(Answer::Documents(documents.fetch_all(connection).await?.into_iter().collect()))
        }
        Question::Tombstones(hashes) => {
            let found = sqlx::query_scalar(TOMBSTONES).bind(hashes).fetch_all(connection).await?;
            Ok(Answer::Tombstones(found.into_iter().collect()))
        }
        Question::EndedSince(since) => {
            Ok(sql::ended(sqlx::query_as(sql::ENDED_SINCE).bind(since.0).fetch_all(connection).await?))
        }
    }
}

/// Rows in `state` after the id `$2`, with the text `$3`, in lower case, in error or answer if it is not null. `$1` is the
/// time.
///
/// A state of few rows is found by its index and put in order then: `user_id > $2` comes last, or the planner walks over all
/// users in their order. Idle rows are most of all, and are walked in order.
pub(super) fn rows_sql(state: Option<RowState>) -> String {
    let condition = sql::condition(state);
    let passes = "$1::bigint IS NOT NULL AND ($3::text IS NULL
        OR strpos(lower(u.error COLLATE \"C\"), $3) > 0 OR strpos(lower(u.answer COLLATE \"C\"), $3) > 0)";
    match state {
        None | Some(RowState::Idle) => format!(
            "SELECT to_jsonb(u)::text FROM users AS u WHERE {condition} AND {passes} AND user_id > $2
             ORDER BY user_id LIMIT $4"
        ),
        Some(_) => format!(
            "WITH found AS MATERIALIZED (SELECT user_id FROM users AS u WHERE {condition} AND {passes}),
             page AS MATERIALIZED (SELECT user_id FROM found WHERE user_id > $2 ORDER BY user_id LIMIT $4)
             SELECT to_jsonb(u)::text FROM page JOIN users AS u ON u.user_id = page.user_id ORDER BY u.user_id"
        ),
    }
}
