//! What a row remembers of its user, as it is read and written.

use rusqlite::{Row, Transaction, params};

use crate::clock::Millis;
use crate::memory::{Memory, Seen};
use crate::personal::Personal;
use crate::queue::{Done, Job};

/// The columns that [`read`] reads, in its order.
macro_rules! remembered {
    () => {
        "email, contact_seen, contact_status, contact_on_list, contact_list_status, has_left, missing_since, contact_list,
        earlier_contacts"
    };
}
pub(super) use remembered;

/// A statement of its own, after the one that ends a lease: most syncs change nothing of it, and to name a column here is to
/// rewrite its index.
pub(super) const REMEMBER: &str = "
    UPDATE users SET email = ?2, email_key = ?3, contact_seen = ?4, contact_status = ?5, contact_on_list = ?6,
        contact_list_status = ?7, has_left = ?8, missing_since = ?9, contact_list = ?10, earlier_contacts = ?11
    WHERE connection = 'default' AND user_id = ?1";

pub(super) const LOOK_AGAIN: &str =
    "UPDATE users SET changes_at = ?2 WHERE connection = 'default' AND user_id = ?1";

/// Reads what is remembered, in the columns from `first` on.
pub(super) fn read(row: &Row<'_>, first: usize) -> rusqlite::Result<Memory> {
    let text = |column: usize| row.get::<_, Option<String>>(first + column);
    let is_seen: bool = row.get(first + 1)?;
    let seen = Seen { status: text(2)?, on_list: row.get(first + 3)?, list_status: text(4)? };
    let memory = Memory {
        email: text(0)?.map(Personal::new),
        contact: is_seen.then_some(seen),
        has_left: row.get(first + 5)?,
        missing_since: row.get::<_, Option<i64>>(first + 6)?.map(Millis),
        list: text(7)?,
        earlier: Vec::new(),
    };
    Ok(memory.with_earlier_json(text(8)?.as_deref()))
}

/// Writes what `done` leaves of the user of `job`, whose row has `changes_at`: only what it changes.
pub(super) fn keep(
    transaction: &Transaction<'_>,
    job: &Job,
    done: &Done,
    changes_at: Option<Millis>,
) -> rusqlite::Result<()> {
    if done.memory != job.memory {
        remember(transaction, job.user.as_str(), &done.memory)?;
    }
    if done.changes_at != changes_at {
        look_again(transaction, job.user.as_str(), done.changes_at)?;
    }
    Ok(())
}

/// Writes when to look at `user` again.
pub(super) fn look_again(
    transaction: &Transaction<'_>,
    user: &str,
    changes_at: Option<Millis>,
) -> rusqlite::Result<()> {
    transaction.prepare_cached(LOOK_AGAIN)?.execute(params![user, changes_at.map(|at| at.0)]).map(drop)
}

/// Writes all that is remembered of `user`.
pub(super) fn remember(transaction: &Transaction<'_>, user: &str, memory: &Memory) -> rusqlite::Result<()> {
    let Seen { status, on_list, list_status } = memory.contact.clone().unwrap_or_default();
    let row = params![
        user,
        memory.email.as_ref().map(Personal::as_str),
        memory.email_key(),
        memory.contact.is_some(),
        status,
        on_list,
        list_status,
        memory.has_left,
        memory.missing_since.map(|since| since.0),
        memory.list,
        memory.earlier_json(),
    ];
    transaction.prepare_cached(REMEMBER)?.execute(row).map(drop)
}
