//! Leaving is leaving: who may not be put on the list again, though the contact as it is now would allow it.
//!
//! Pure. A contact that is gone, or that has no place on the list, may never have been there, or somebody may have taken it
//! away; only what a row remembers ([`Memory`]) tells the one from the other. [`barrier`] says which it is, [`remembered`] what
//! is remembered next. Promises, each a test of that name: `who_was_seen_and_is_gone_is_not_made_again`,
//! `no_sequence_of_looks_puts_anybody_back_who_has_left`.

use super::Membership;
use crate::address;
use crate::mailmojo::models::{ACTIVE, Contact};
use crate::memory::{Memory, Seen};
use crate::personal::Personal;

/// The account status of somebody whom mail does not reach: no sign of having left.
const BOUNCED: &str = "b";

/// Why nobody may be put on the list, by what is remembered. An operator's `sync --again` is the way back.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Barrier {
    /// Mailmojo had the contact, and somebody has removed it.
    RemovedInMailmojo,
    /// The contact was on the list, and somebody has taken it off.
    TakenOffTheList,
    /// The user had left, or was removed, under an address of before.
    LeftUnderOldAddress,
}

/// What Mailmojo has under the address that the user had before.
#[derive(Debug, Clone, Copy)]
pub enum Old<'a> {
    /// No contact.
    Gone,
    /// This contact.
    There(&'a Contact, &'a Membership),
    /// The address is another user's by now, and so is what becomes of its contact.
    Anothers,
}

/// Whether `email` is another address than the one that was synced last. Another spelling of it is no change (see
/// [`address::is_same`]).
#[must_use]
pub fn has_moved(memory: &Memory, email: &str) -> bool {
    memory.email.as_ref().is_some_and(|before| !address::is_same(before.as_str(), email))
}

/// Why the user may not be put on the list; none where nothing that is remembered speaks against it. `old` is set where the
/// user has moved, `now` is the contact of the present address.
#[must_use]
pub fn barrier(
    memory: &Memory,
    old: Option<Old<'_>>,
    now: Option<(&Contact, &Membership)>,
) -> Option<Barrier> {
    if memory.has_left && !is_active_on_list(now) {
        return Some(Barrier::LeftUnderOldAddress);
    }
    let seen = memory.contact.as_ref();
    match (old, now) {
        (Some(old), _) => left_under(seen, old).then_some(Barrier::LeftUnderOldAddress),
        (None, None) => seen.map(|_| Barrier::RemovedInMailmojo),
        (None, Some((_, Membership::NotOnList))) => {
            seen.filter(|seen| seen.on_list).map(|_| Barrier::TakenOffTheList)
        }
        (None, Some(_)) => None,
    }
}

/// What is remembered of a user whose address is `email`, and whose contact is `now`, as far as nothing is written.
#[must_use]
pub fn remembered(
    memory: &Memory,
    email: &str,
    barrier: Option<Barrier>,
    now: Option<(&Contact, &Membership)>,
) -> Memory {
    let before = memory.contact.as_ref().filter(|_| !has_moved(memory, email));
    let contact = match now {
        Some((contact, membership)) => Some(seen(before, contact, membership)),
        None => before.cloned(),
    };
    Memory {
        email: Some(Personal::new(email)),
        contact,
        has_left: barrier == Some(Barrier::LeftUnderOldAddress) && !is_active_on_list(now),
        missing_since: None,
    }
}

/// What is remembered of a contact that is seen now, `before` being what was remembered of it.
#[must_use]
pub fn seen(before: Option<&Seen>, contact: &Contact, membership: &Membership) -> Seen {
    let status = contact.status.clone();
    match membership {
        Membership::OnList(list_status) => Seen { status, on_list: true, list_status: list_status.clone() },
        Membership::NotOnList => Seen { status, ..before.cloned().unwrap_or_default() },
    }
}

/// Whether the user has left by now, or was removed, under the address of before.
#[must_use]
pub fn has_left(memory: &Memory, old: Old<'_>) -> bool {
    memory.has_left || left_under(memory.contact.as_ref(), old)
}

/// Whether somebody with the address of before had left, or was removed. Where Mailmojo tells no status, that is no proof of
/// having stayed.
fn left_under(seen: Option<&Seen>, old: Old<'_>) -> bool {
    let has_stayed = |status: Option<&str>| matches!(status, Some(ACTIVE | BOUNCED));
    match old {
        Old::Gone => seen.is_some(),
        Old::There(contact, membership) => {
            !has_stayed(contact.status.as_deref())
                || match membership {
                    Membership::OnList(status) => !has_stayed(status.as_deref()),
                    Membership::NotOnList => seen.is_some_and(|seen| seen.on_list),
                }
        }
        Old::Anothers => seen.is_some_and(|seen| {
            !has_stayed(seen.status.as_deref()) || (seen.on_list && !has_stayed(seen.list_status.as_deref()))
        }),
    }
}

fn is_active_on_list(now: Option<(&Contact, &Membership)>) -> bool {
    let is_active = |status: &Option<String>| status.as_deref() == Some(ACTIVE);
    now.is_some_and(|(contact, membership)| {
        is_active(&contact.status) && matches!(membership, Membership::OnList(status) if is_active(status))
    })
}

#[cfg(test)]
mod tests;
