//! What the rows remember of users, column by column: as it is read with a lease, and as an end writes it.

use sqlx::Row;
use sqlx::postgres::{PgArguments, PgPool, PgRow};
use sqlx::query::Query;

use super::statements::storable;
use crate::address;
use crate::clock::Millis;
use crate::memory::{Memory, Seen, SeenByOthers};
use crate::personal::Personal;
use crate::user::UserId;

/// The columns of `users` that [`read`] reads.
macro_rules! memory {
    () => {
        "email, contact_seen, contact_status, contact_on_list, contact_list_status, has_left, missing_since, contact_list,
        earlier_contacts"
    };
}
pub(super) use memory;

/// What an end that has nothing to remember leaves alone, column by column.
macro_rules! remember {
    () => {
        "email = CASE WHEN e.remembers THEN e.email ELSE u.email END,
        email_key = CASE WHEN e.remembers THEN e.email_key ELSE u.email_key END,
        contact_seen = CASE WHEN e.remembers THEN e.contact_seen ELSE u.contact_seen END,
        contact_status = CASE WHEN e.remembers THEN e.contact_status ELSE u.contact_status END,
        contact_on_list = CASE WHEN e.remembers THEN e.contact_on_list ELSE u.contact_on_list END,
        contact_list_status = CASE WHEN e.remembers THEN e.contact_list_status ELSE u.contact_list_status END,
        has_left = CASE WHEN e.remembers THEN e.has_left ELSE u.has_left END,
        missing_since = CASE WHEN e.remembers THEN e.missing_since ELSE u.missing_since END,
        contact_list = CASE WHEN e.remembers THEN e.contact_list ELSE u.contact_list END,
        earlier_contacts = CASE WHEN e.remembers THEN e.earlier_contacts ELSE u.earlier_contacts END"
    };
}
pub(super) use remember;

/// Other users of that address, by the hash index.
pub(super) const OTHERS_AT: &str = "
    SELECT user_id FROM users WHERE email_key = $1 AND connection = 'default' AND user_id <> $2
    ORDER BY user_id LIMIT $3";

pub(super) const SEEN_BY_OTHERS: &str = "
    SELECT coalesce(bool_or(contact_seen), false), coalesce(bool_or(contact_on_list), false) FROM users
    WHERE email_key = $1 AND connection = 'default' AND user_id <> $2 AND coalesce(contact_list, $3) = $3";

/// What the row remembers.
pub(super) fn read(row: &PgRow) -> sqlx::Result<Memory> {
    let seen = Seen {
        status: row.try_get("contact_status")?,
        on_list: row.try_get("contact_on_list")?,
        list_status: row.try_get("contact_list_status")?,
    };
    let memory = Memory {
        email: row.try_get::<Option<String>, _>("email")?.map(Personal::new),
        contact: row.try_get::<bool, _>("contact_seen")?.then_some(seen),
        has_left: row.try_get("has_left")?,
        missing_since: row.try_get::<Option<i64>, _>("missing_since")?.map(Millis),
        list: row.try_get("contact_list")?,
        earlier: Vec::new(),
    };
    Ok(memory.with_earlier_json(row.try_get("earlier_contacts")?))
}

/// What one end leaves behind.
#[derive(Debug, Clone, Copy)]
pub(super) struct Left<'a> {
    /// What to remember; none: what is remembered stays.
    pub(super) memory: Option<&'a Memory>,
    /// When to sync again though nothing asks for it.
    pub(super) changes_at: Option<Millis>,
}

/// Binds what each of the ends leaves behind: twelve arrays. First whether there is something to remember, then the columns
/// in their order with `email_key` after `email`, and the time of the next sync last.
pub(super) fn bind<'q>(
    query: Query<'q, sqlx::Postgres, PgArguments>,
    ends: &[Left<'_>],
) -> Query<'q, sqlx::Postgres, PgArguments> {
    let memories = || ends.iter().map(|left| left.memory);
    let contacts = || memories().map(|memory| memory.and_then(|memory| memory.contact.as_ref()));
    query
        .bind(memories().map(|memory| memory.is_some()).collect::<Vec<_>>())
        .bind(texts(memories().map(|memory| Some(storable(memory?.email.as_ref()?.as_str())))))
        .bind(texts(memories().map(|memory| Some(storable(&memory?.email_key()?)))))
        .bind(contacts().map(|contact| contact.is_some()).collect::<Vec<_>>())
        .bind(texts(contacts().map(|contact| contact?.status.as_deref().map(storable))))
        .bind(contacts().map(|contact| contact.is_some_and(|seen| seen.on_list)).collect::<Vec<_>>())
        .bind(texts(contacts().map(|contact| contact?.list_status.as_deref().map(storable))))
        .bind(memories().map(|memory| memory.is_some_and(|memory| memory.has_left)).collect::<Vec<_>>())
        .bind(times(memories().map(|memory| memory?.missing_since)))
        .bind(texts(memories().map(|memory| memory?.list.as_deref().map(storable))))
        .bind(texts(memories().map(|memory| memory?.earlier_json().as_deref().map(storable))))
        .bind(times(ends.iter().map(|left| left.changes_at)))
}

/// The users besides `user` whose rows remember `address`.
pub(super) async fn others_at(
    pool: &PgPool,
    user: &UserId,
    address: &str,
    most: usize,
) -> sqlx::Result<Vec<UserId>> {
    let Some(key) = address::key(address) else { return Ok(Vec::new()) };
    let most = i64::try_from(most).unwrap_or(i64::MAX);
    let ids: Vec<String> = sqlx::query_scalar(OTHERS_AT)
        .bind(storable(&key))
        .bind(user.as_str())
        .bind(most)
        .fetch_all(pool)
        .await?;
    Ok(ids.into_iter().filter_map(|id| UserId::new(id).ok()).collect())
}

/// What the rows of everybody but `user` remember of the contact of `address` on `list`.
pub(super) async fn seen_by_others(
    pool: &PgPool,
    user: &UserId,
    address: &str,
    list: &str,
) -> sqlx::Result<SeenByOthers> {
    let Some(key) = address::key(address) else { return Ok(SeenByOthers::default()) };
    let seen = sqlx::query(SEEN_BY_OTHERS).bind(storable(&key)).bind(user.as_str()).bind(storable(list));
    let seen = seen.fetch_one(pool).await?;
    Ok(SeenByOthers { contact: seen.try_get(0)?, on_list: seen.try_get(1)? })
}

fn texts(each: impl Iterator<Item = Option<String>>) -> Vec<Option<String>> {
    each.collect()
}

fn times(each: impl Iterator<Item = Option<Millis>>) -> Vec<Option<i64>> {
    each.map(|at| at.map(|at| at.0)).collect()
}
