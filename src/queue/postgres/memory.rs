//! What the rows remember of users, column by column: as it is read with a lease, and as an end writes it.

use sqlx::Row;
use sqlx::postgres::{PgArguments, PgPool, PgRow};
use sqlx::query::Query;

use super::statements::storable;
use crate::address;
use crate::clock::Millis;
use crate::memory::{Memory, Seen};
use crate::personal::Personal;
use crate::queue::Done;
use crate::user::UserId;

/// The columns of `users` that [`read`] reads.
macro_rules! memory {
    () => {
        "email, contact_seen, contact_status, contact_on_list, contact_list_status, has_left, missing_since"
    };
}
pub(super) use memory;

/// What an end that is no [`Done`] leaves alone: column by column, where `kind` is that of the end.
macro_rules! remember {
    () => {
        "email = CASE e.kind WHEN 0 THEN e.email ELSE u.email END,
        email_key = CASE e.kind WHEN 0 THEN e.email_key ELSE u.email_key END,
        contact_seen = CASE e.kind WHEN 0 THEN e.contact_seen ELSE u.contact_seen END,
        contact_status = CASE e.kind WHEN 0 THEN e.contact_status ELSE u.contact_status END,
        contact_on_list = CASE e.kind WHEN 0 THEN e.contact_on_list ELSE u.contact_on_list END,
        contact_list_status = CASE e.kind WHEN 0 THEN e.contact_list_status ELSE u.contact_list_status END,
        has_left = CASE e.kind WHEN 0 THEN e.has_left ELSE u.has_left END,
        missing_since = CASE e.kind WHEN 0 THEN e.missing_since ELSE u.missing_since END"
    };
}
pub(super) use remember;

/// Somebody else of that address, by the hash index.
pub(super) const ANOTHER: &str = "
    SELECT EXISTS (SELECT FROM users WHERE email_key = $1 AND connection = 'default' AND user_id <> $2)";

pub(super) const SEEN_OF_ANOTHER: &str = "
    SELECT EXISTS (
        SELECT FROM users WHERE email_key = $1 AND connection = 'default' AND user_id <> $2 AND contact_seen)";

/// What the row remembers.
pub(super) fn read(row: &PgRow) -> sqlx::Result<Memory> {
    let seen = Seen {
        status: row.try_get("contact_status")?,
        on_list: row.try_get("contact_on_list")?,
        list_status: row.try_get("contact_list_status")?,
    };
    Ok(Memory {
        email: row.try_get::<Option<String>, _>("email")?.map(Personal::new),
        contact: row.try_get::<bool, _>("contact_seen")?.then_some(seen),
        has_left: row.try_get("has_left")?,
        missing_since: row.try_get::<Option<i64>, _>("missing_since")?.map(Millis),
    })
}

/// Binds what each of the ends leaves behind, none for an end that is no [`Done`]: nine arrays, in the order of the
/// columns, `email_key` after `email` and the time of the next look last.
pub(super) fn bind<'q>(
    query: Query<'q, sqlx::Postgres, PgArguments>,
    ends: &[Option<&Done>],
) -> Query<'q, sqlx::Postgres, PgArguments> {
    let memories = || ends.iter().map(|done| done.map(|done| &done.memory));
    let contacts = || memories().map(|memory| memory.and_then(|memory| memory.contact.as_ref()));
    query
        .bind(texts(memories().map(|memory| Some(storable(memory?.email.as_ref()?.as_str())))))
        .bind(texts(memories().map(|memory| Some(storable(&memory?.email_key()?)))))
        .bind(contacts().map(|contact| contact.is_some()).collect::<Vec<_>>())
        .bind(texts(contacts().map(|contact| contact?.status.as_deref().map(storable))))
        .bind(contacts().map(|contact| contact.is_some_and(|seen| seen.on_list)).collect::<Vec<_>>())
        .bind(texts(contacts().map(|contact| contact?.list_status.as_deref().map(storable))))
        .bind(memories().map(|memory| memory.is_some_and(|memory| memory.has_left)).collect::<Vec<_>>())
        .bind(times(memories().map(|memory| memory?.missing_since)))
        .bind(times(ends.iter().map(|done| (*done)?.changes_at)))
}

/// Whether the row of anybody but `user` remembers `address`.
pub(super) async fn is_anothers(pool: &PgPool, user: &UserId, address: &str) -> sqlx::Result<bool> {
    let Some(key) = address::key(address) else { return Ok(false) };
    sqlx::query_scalar(ANOTHER).bind(storable(&key)).bind(user.as_str()).fetch_one(pool).await
}

/// The same, and that Mailmojo had its contact.
pub(super) async fn has_been_seen(pool: &PgPool, user: &UserId, address: &str) -> sqlx::Result<bool> {
    let Some(key) = address::key(address) else { return Ok(false) };
    sqlx::query_scalar(SEEN_OF_ANOTHER).bind(storable(&key)).bind(user.as_str()).fetch_one(pool).await
}

fn texts(each: impl Iterator<Item = Option<String>>) -> Vec<Option<String>> {
    each.collect()
}

fn times(each: impl Iterator<Item = Option<Millis>>) -> Vec<Option<i64>> {
    each.map(|at| at.map(|at| at.0)).collect()
}
