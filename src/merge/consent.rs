//! Consent: which users must not be put on the list again, even where the contact as it is now would allow it.
//!
//! Pure. A contact that is gone, or that has no place on the list, may never have been there, or may have been taken
//! away; only what is remembered ([`LastSeen`]) tells the two apart. [`block`] decides, [`remembered`] says what is remembered
//! next. Promises, each a test of that name: `a_contact_that_was_seen_and_is_gone_is_not_made_again`; and, of the whole
//! decision in [`crate::sync`], `no_sequence_of_syncs_puts_anybody_back_who_has_left`.

use crate::address;
use crate::model::{ACTIVE, Contact, ContactKeys, LastSeen, Membership, SeenContact};

/// The account status of an address that mail does not reach. It is no sign of having left.
const BOUNCED: &str = "b";

/// Why a user may not be put on the list, by what is remembered. An operator's `sync --again` is the way back.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Block {
    /// Mailmojo had the contact, and it was removed.
    RemovedInMailmojo,
    /// The contact was on the list, and was taken off.
    TakenOffTheList,
    /// The user had left, or was removed, under an earlier address.
    LeftUnderOldAddress,
}

/// What Mailmojo has under the address that the user had before.
#[derive(Debug, Clone, Copy)]
pub struct Old<'a> {
    /// The contact; `None` if there is none.
    pub contact: Option<&'a Contact>,
    /// Whether the address is certainly nobody else's by now. Otherwise what the contact is now may be another person's
    /// doing, so a sign of having left counts from whichever side it comes.
    pub is_own: bool,
}

/// Whether `email` is another address than the one that was synced last. Another spelling of it is no change.
pub fn has_moved(last_seen: &LastSeen, email: &str) -> bool {
    last_seen.email.as_ref().is_some_and(|before| !address::is_same(before.as_str(), email))
}

/// Why the user of `email` may not be put on the list; `None` if nothing that is remembered speaks against it.
///
/// `last_seen` is what was remembered before this sync, `old` is set where the user has moved, `now` is the contact of the
/// present address, and `others` is what the rows of other users remember of that contact: a contact belongs to an address,
/// not to a user.
pub fn block(
    last_seen: &LastSeen,
    email: &str,
    old: Option<Old<'_>>,
    now: Option<&Contact>,
    others: Option<&SeenContact>,
    keys: &ContactKeys,
) -> Option<Block> {
    let has_left = last_seen.has_left && !is_active_on_list(now);
    if has_left || old.is_some_and(|old| has_left_under(last_seen, old)) {
        return Some(Block::LeftUnderOldAddress);
    }
    let mut seen = last_seen.contact_of(email, keys).into_iter().chain(others);
    match now.map(|contact| &contact.membership) {
        None => seen.next().map(|_| Block::RemovedInMailmojo),
        Some(Membership::NotOnList) => seen.any(|seen| seen.on_list).then_some(Block::TakenOffTheList),
        Some(Membership::OnList(_) | Membership::Unknown) => None, // never subscribed
    }
}

/// What is remembered of a user whose address is `email` and whose contact is `now`, as far as nothing is written. `last_seen`
/// knows of the contacts that this sync has seen.
pub fn remembered(
    mut last_seen: LastSeen,
    email: &str,
    block: Option<Block>,
    now: Option<&Contact>,
    keys: &ContactKeys,
) -> LastSeen {
    last_seen.move_to(email, keys);
    last_seen.has_left = block == Some(Block::LeftUnderOldAddress) && !is_active_on_list(now);
    last_seen.missing_since = None;
    last_seen
}

/// What is remembered of a user who is gone for good: not the address, but whether the user had left. `old` is the contact of
/// that address, `before` what was remembered before this sync, and `last_seen` the same with what it has seen.
pub fn remembered_of_gone(
    before: &LastSeen,
    mut last_seen: LastSeen,
    old: Old<'_>,
    keys: &ContactKeys,
) -> LastSeen {
    last_seen.has_left |= has_left_under(before, old);
    last_seen.forget_address(keys);
    last_seen
}

/// What is remembered of a contact that is seen now, `before` being what was remembered of it.
pub fn seen(before: Option<&SeenContact>, contact: &Contact) -> SeenContact {
    let status = contact.status.clone();
    match &contact.membership {
        Membership::OnList(list_status) => {
            SeenContact { status, on_list: true, list_status: list_status.clone() }
        }
        Membership::NotOnList | Membership::Unknown => {
            SeenContact { status, ..before.cloned().unwrap_or_default() }
        }
    }
}

/// Whether the user had left, or was removed, under the address of `last_seen`, whose contact is `old` now. A status that is
/// absent is no proof of having stayed.
pub fn has_left_under(last_seen: &LastSeen, old: Old<'_>) -> bool {
    let seen = last_seen.contact.as_ref();
    let has_stayed = |status: Option<&str>| matches!(status, Some(ACTIVE | BOUNCED));
    let left_by_now = match old.contact {
        None => seen.is_some(),
        Some(contact) => {
            !has_stayed(contact.status.as_deref())
                || match &contact.membership {
                    Membership::OnList(status) => !has_stayed(status.as_deref()),
                    Membership::NotOnList | Membership::Unknown => seen.is_some_and(|seen| seen.on_list),
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

fn is_active_on_list(now: Option<&Contact>) -> bool {
    now.is_some_and(Contact::is_active_on_list)
}

#[cfg(test)]
mod tests;
