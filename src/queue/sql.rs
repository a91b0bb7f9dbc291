//! The SQL that both stores share, and what its columns mean.
//!
//! Parameters are `$1`, `$2` and so on, and every text first names them in that order: SQLite numbers them so, whatever
//! they are called.

use super::lane::Lane;
use super::row::RowState;
use super::store::Answer;
use super::views::{Census, ParkedGroup};
use crate::clock::Millis;

/// The latest entries of a user: the id, how many.
pub(super) const HISTORY: &str =
    "SELECT user_id, id, entry FROM history WHERE user_id = $1 ORDER BY id DESC LIMIT $2";

/// The latest entries of all users: the number before which they are, the outcome or null, 1 for those that lost tags or 0, the
/// earliest end, how many.
pub(super) const LOG: &str = "
    SELECT user_id, id, entry FROM history
    WHERE id < $1 AND (CAST($2 AS text) IS NULL OR outcome = $2) AND lost_tags >= $3 AND last_at >= $4
    ORDER BY id DESC LIMIT $5";

/// The documents whose names begin with `$1`: those before [`after_prefix`], `$2`. An empty one is a placeholder.
pub(super) const DOCUMENTS: &str =
    "SELECT name, value FROM documents WHERE name >= $1 AND name < $2 AND value <> '' ORDER BY name";

/// Reads the whole table; asked once, at the end of a backfill.
pub(super) const ENDED_SINCE: &str = "
    SELECT coalesce(outcome, ''), coalesce(reason, ''), count(*) FROM users
    WHERE synced_at >= $1 OR parked_at >= $1 GROUP BY 1, 2";

/// In what the stores' SQL differs, where both answer the same question.
#[derive(Debug, Clone, Copy)]
pub(super) enum Dialect {
    Sqlite,
    Postgres,
}

impl Dialect {
    /// The table of users, read by this index. Postgres chooses an index by itself.
    pub(super) fn users(self, index: &str) -> String {
        match self {
            Self::Sqlite => format!("users INDEXED BY {index}"),
            Self::Postgres => "users".to_owned(),
        }
    }

    /// The table of users, read by the index that has those in `state` alone if there is one.
    pub(super) fn users_in(self, state: Option<RowState>) -> String {
        match state {
            Some(RowState::Due | RowState::Scheduled | RowState::Failing) => self.users("users_due"),
            Some(RowState::Leased) => self.users("users_leased"),
            Some(RowState::Held) => self.users("users_held_back"),
            Some(RowState::Parked) => self.users("users_parked"),
            Some(RowState::Idle) | None => "users".to_owned(),
        }
    }

    /// The groups of parked rows: how many.
    pub(super) fn parked(self) -> String {
        let users = self.users("users_parked");
        let bytes = match self {
            Self::Sqlite => "", // its only order
            Self::Postgres => "COLLATE \"C\"",
        };
        format!(
            "SELECT answer, count(*), min(failing_since), max(parked_at), coalesce(max(error {bytes}), '')
             FROM {users} WHERE parked_at IS NOT NULL AND answer IS NOT NULL
             GROUP BY answer ORDER BY count(*) DESC, answer {bytes} LIMIT $1"
        )
    }

    /// The numbers of one moment, `$1`, each counted to the limit `$2` at the most: the columns of [`census`]. Idle rows are
    /// not counted: they are most of all.
    pub(super) fn census(self) -> String {
        let counted = |users: &str, rows: &str| {
            format!("(SELECT count(*) FROM (SELECT 1 FROM {users} WHERE {rows} LIMIT $2) AS counted)")
        };
        let by_due = self.users("users_due");
        let oldest = |lane: Lane| {
            let lane = lane.number();
            format!(
                "(SELECT due_at FROM {by_due} WHERE lane = {lane} AND due_at <= $1 ORDER BY due_at LIMIT 1)"
            )
        };
        let states = [
            RowState::Due,
            RowState::Leased,
            RowState::Scheduled,
            RowState::Failing,
            RowState::Held,
            RowState::Parked,
        ];
        let states = states.map(|state| counted(&self.users_in(Some(state)), &condition(Some(state))));
        let background = ["lane = 2 AND due_at <= $1", "lane = 2 AND due_at IS NOT NULL"];
        let background = background.map(|rows| counted(&by_due, rows));
        let columns = states.into_iter().chain(background).chain(Lane::ALL.map(oldest));
        format!("SELECT {}", columns.collect::<Vec<_>>().join(", "))
    }
}

/// How many columns a census has.
pub(super) const CENSUS_COLUMNS: usize = 11;

/// The census of the columns of [`Dialect::census`].
pub(super) fn census(columns: [Option<i64>; CENSUS_COLUMNS], now: Millis) -> Census {
    let [counts @ .., events, retries, background] = columns;
    let [due, leased, scheduled, failing, held, parked, background_due, background_waiting] =
        counts.map(|count| number(count.unwrap_or(0)));
    let age_ms = |due: Option<i64>| {
        let age = due.map_or(0, |due| now.since(Millis(due)).as_millis());
        u64::try_from(age).unwrap_or(u64::MAX)
    };
    Census {
        due,
        leased,
        scheduled,
        failing,
        held,
        parked,
        oldest_due_ms: age_ms(events).max(age_ms(retries)),
        background_due,
        oldest_background_ms: age_ms(background),
        background_waiting,
    }
}

/// The columns of [`Dialect::parked`].
type ParkedColumns = (String, i64, Option<i64>, i64, String);

/// The groups of these rows.
pub(super) fn parked(rows: Vec<ParkedColumns>) -> Answer {
    let group = |(answer, users, first, last, error): ParkedColumns| ParkedGroup {
        answer,
        users: number(users).min(Census::LIMIT),
        first_at: first.map(Millis),
        last_at: Millis(last),
        error,
    };
    Answer::Parked(rows.into_iter().map(group).collect())
}

/// The counts of the rows of [`ENDED_SINCE`], in order.
pub(super) fn ended(rows: Vec<(String, String, i64)>) -> Answer {
    let mut ended: Vec<_> =
        rows.into_iter().map(|(outcome, reason, count)| (outcome, reason, number(count))).collect();
    ended.sort();
    Answer::Ended(ended)
}

/// The state's condition, with the time as `$1`.
pub(super) fn condition(state: Option<RowState>) -> String {
    state.map_or_else(|| "true".to_owned(), |state| state.condition().replace("{now}", "$1"))
}

/// A text after all those that begin with `prefix`, and before all others that come after it.
pub(super) fn after_prefix(prefix: &str) -> String {
    format!("{prefix}\u{10ffff}")
}

/// A number of rows, for a `LIMIT`.
pub(super) fn limit(most: usize) -> i64 {
    i64::try_from(most).unwrap_or(i64::MAX)
}

/// A count, which is never negative.
fn number(count: i64) -> u64 {
    u64::try_from(count).unwrap_or(0)
}
