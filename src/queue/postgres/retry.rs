//! Whom an operator makes due again: counted, named, and made due.

use sqlx::postgres::{PgConnection, PgPool};

use super::statements::{server_time, storable};
use crate::clock::Millis;
use crate::queue::cause::retried_cause;
use crate::queue::{Census, Retry};
use crate::user::UserId;

/// Who is parked, with the answer `$1` where there is one, and with the text `$2`, in lower case, in error or answer
/// where there is one. In the collation "C", lower case is that of ASCII letters.
macro_rules! parked {
    () => {
        "FROM users WHERE connection = 'default' AND parked_at IS NOT NULL
            AND ($1::text IS NULL OR answer = $1)
            AND ($2::text IS NULL OR strpos(lower(error COLLATE \"C\"), $2) > 0
                OR strpos(lower(answer COLLATE \"C\"), $2) > 0)"
    };
}
const COUNT_PARKED: &str = concat!("SELECT count(*) FROM (SELECT ", parked!(), " LIMIT $3) AS parked");
const NAME_PARKED: &str = concat!("SELECT user_id ", parked!(), " ORDER BY user_id");

/// Parked, or waiting for the next try; not who is being synced, or was, by a process that is gone.
macro_rules! can_be_made_due {
    () => {
        "u.lease_owner IS NULL AND (u.parked_at IS NOT NULL OR u.due_at IS NOT NULL)"
    };
}
const COUNT_NAMED: &str = concat!(
    "SELECT count(*) FROM (
        SELECT FROM users AS u WHERE u.connection = 'default' AND u.user_id = ANY ($1) AND ",
    can_be_made_due!(),
    " LIMIT $2) AS named"
);

/// Who is due for an event already stays in the lane of events. By `ANY`, and no join: a planner that knows nothing of the
/// table yet may join each row with each id.
const MAKE_DUE: &str = concat!(
    "WITH held AS MATERIALIZED (
        SELECT u.user_id FROM users AS u WHERE u.connection = 'default' AND u.user_id = ANY ($2) AND ",
    can_be_made_due!(),
    "   ORDER BY u.user_id FOR NO KEY UPDATE)
    UPDATE users AS u SET
        due_at = least(u.due_at, ",
    server_time!(),
    "), lane = CASE WHEN u.due_at IS NULL THEN 1 ELSE least(u.lane, 1) END,
        event_type = ",
    retried_cause!(),
    ", attempts = 0, failing_since = NULL, parked_at = NULL, answer = NULL
    WHERE u.connection = 'default' AND u.user_id = ANY (ARRAY(SELECT user_id FROM held)) AND ",
    can_be_made_due!()
);

/// Counts who would be made due, to the census's limit at the most.
pub(super) async fn count(pool: &PgPool, whom: &Retry) -> sqlx::Result<u64> {
    let limit = i64::try_from(Census::LIMIT).unwrap_or(i64::MAX);
    let count: i64 = match whom {
        Retry::Users(users) => {
            sqlx::query_scalar(COUNT_NAMED).bind(sorted(users)).bind(limit).fetch_one(pool).await?
        }
        Retry::AllParked | Retry::Answer(_) | Retry::Reason(_) => {
            let (answer, reason) = of_parked(whom);
            let count = sqlx::query_scalar(COUNT_PARKED).bind(answer).bind(reason).bind(limit);
            count.fetch_one(pool).await?
        }
    };
    Ok(u64::try_from(count).unwrap_or(0))
}

/// The ids of all who might be made due, in order.
pub(super) async fn name(pool: &PgPool, whom: &Retry) -> sqlx::Result<Vec<String>> {
    match whom {
        Retry::Users(users) => Ok(sorted(users)),
        Retry::AllParked | Retry::Answer(_) | Retry::Reason(_) => {
            let (answer, reason) = of_parked(whom);
            sqlx::query_scalar(NAME_PARKED).bind(answer).bind(reason).fetch_all(pool).await
        }
    }
}

/// Makes those of `users` due now that can be; how many they were.
pub(super) async fn make_due(
    connection: &mut PgConnection,
    users: &[String],
    given: Option<Millis>,
) -> sqlx::Result<u64> {
    let made = sqlx::query(MAKE_DUE).bind(given.map(|now| now.0)).bind(users).execute(connection).await?;
    Ok(made.rows_affected())
}

/// The answer and the text that a parked row has to have.
fn of_parked(whom: &Retry) -> (Option<String>, Option<String>) {
    match whom {
        Retry::Users(_) | Retry::AllParked => (None, None),
        Retry::Answer(answer) => (Some(storable(answer)), None),
        Retry::Reason(text) => (None, Some(searched(text))),
    }
}

/// A text as it is looked for.
pub(super) fn searched(text: &str) -> String {
    storable(text).to_ascii_lowercase()
}

fn sorted(users: &[UserId]) -> Vec<String> {
    let mut users: Vec<String> = users.iter().map(|user| user.as_str().to_owned()).collect();
    users.sort();
    users.dedup();
    users
}
