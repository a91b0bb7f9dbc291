//! Consent: which users must not be put on the list again, even where the contact as it is now would allow it.
//!
//! Pure. A contact that is gone, or that has no place on the list, may never have been there, or somebody may have taken it
//! away; only what is remembered ([`Memory`]) tells the two apart. [`block`] decides, [`remembered`] says what is remembered
//! next. Promises, each a test of that name: `a_contact_that_was_seen_and_is_gone_is_not_made_again`,
//! `no_sequence_of_syncs_puts_anybody_back_who_has_left`.

use super::Membership;
use crate::address;
use crate::mailmojo::models::{ACTIVE, Contact};
use crate::memory::{ContactKeys, Memory, Seen};

/// The account status of an address that mail does not reach. It is no sign of having left.
const BOUNCED: &str = "b";

/// Why somebody may not be put on the list, by what is remembered. An operator's `sync --again` is the way back.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Block {
    /// Mailmojo had the contact, and somebody has removed it.
    RemovedInMailmojo,
    /// The contact was on the list, and somebody has taken it off.
    TakenOffTheList,
    /// The user had left, or was removed, under an earlier address.
    LeftUnderOldAddress,
}

/// A contact and its place on the list, as Mailmojo has them now; none where it has no contact.
pub type Present<'a> = Option<(&'a Contact, &'a Membership)>;

/// What Mailmojo has under the address that the user had before.
#[derive(Debug, Clone, Copy)]
pub struct Old<'a> {
    /// The contact.
    pub present: Present<'a>,
    /// Whether the address is certainly nobody else's by now. Otherwise what the contact is now may be another person's
    /// doing, so a sign of having left counts from whichever side it comes.
    pub is_own: bool,
}

/// Whether `email` is another address than the one that was synced last. Another spelling of it is no change.
#[must_use]
pub fn has_moved(memory: &Memory, email: &str) -> bool {
    memory.email.as_ref().is_some_and(|before| !address::is_same(before.as_str(), email))
}

/// Why the user of `email` may not be put on the list; none where nothing that is remembered speaks against it.
///
/// `memory` is what was remembered before this sync, `old` is set where the user has moved, `now` is the contact of the
/// present address, and `others` is what the rows of other users remember of that contact: a contact belongs to an address,
/// not to a user.
#[must_use]
pub fn block(
    memory: &Memory,
    email: &str,
    old: Option<Old<'_>>,
    now: Present<'_>,
    others: Option<&Seen>,
    keys: &ContactKeys,
) -> Option<Block> {
    let has_left = memory.has_left && !is_active_on_list(now);
    if has_left || old.is_some_and(|old| has_left_under(memory, old)) {
        return Some(Block::LeftUnderOldAddress);
    }
    let mut seen = memory.contact_of(email, keys).into_iter().chain(others);
    match now {
        None => seen.next().map(|_| Block::RemovedInMailmojo),
        Some((_, Membership::NotOnList)) => seen.any(|seen| seen.on_list).then_some(Block::TakenOffTheList),
        Some((_, Membership::OnList(_))) => None,
    }
}

/// What is remembered of a user whose address is `email` and whose contact is `now`, as far as nothing is written. `memory`
/// knows of the contacts that this sync has seen.
#[must_use]
pub fn remembered(
    mut memory: Memory,
    email: &str,
    block: Option<Block>,
    now: Present<'_>,
    keys: &ContactKeys,
) -> Memory {
    memory.move_to(email, keys);
    memory.has_left = block == Some(Block::LeftUnderOldAddress) && !is_active_on_list(now);
    memory.missing_since = None;
    memory
}

/// What is remembered of a user who is gone for good: not the address, but whether the user had left. `old` is the contact of
/// that address, `before` what was remembered before this sync, and `memory` the same with what it has seen.
#[must_use]
pub fn remembered_of_gone(before: &Memory, mut memory: Memory, old: Old<'_>, keys: &ContactKeys) -> Memory {
    memory.has_left |= has_left_under(before, old);
    memory.forget_address(keys);
    memory
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

/// Whether the user had left, or was removed, under the address of `memory`, whose contact is `old` now. A status that is
/// absent is no proof of having stayed.
#[must_use]
pub fn has_left_under(memory: &Memory, old: Old<'_>) -> bool {
    let seen = memory.contact.as_ref();
    let has_stayed = |status: Option<&str>| matches!(status, Some(ACTIVE | BOUNCED));
    let left_by_now = match old.present {
        None => seen.is_some(),
        Some((contact, membership)) => {
            !has_stayed(contact.status.as_deref())
                || match membership {
                    Membership::OnList(status) => !has_stayed(status.as_deref()),
                    Membership::NotOnList => seen.is_some_and(|seen| seen.on_list),
                }
        }
    };
    let had_left_before = || {
        seen.is_some_and(|seen| {
            !has_stayed(seen.status.as_deref()) || (seen.on_list && !has_stayed(seen.list_status.as_deref()))
        })
    };
    left_by_now || (!old.is_own && had_left_before())
}

fn is_active_on_list(now: Present<'_>) -> bool {
    let is_active = |status: &Option<String>| status.as_deref() == Some(ACTIVE);
    now.is_some_and(|(contact, membership)| {
        is_active(&contact.status) && matches!(membership, Membership::OnList(status) if is_active(status))
    })
}

#[cfg(test)]
mod tests;
