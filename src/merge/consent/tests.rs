//! A table for each rule. What holds of any sequence of syncs is a property of the whole decision (`sync::decide`).

use super::*;
use crate::model::keys;
use crate::personal::Personal;

const BEFORE: &str = "kari@example.com";
const NOW: &str = "kari@example.org";

fn contact(status: Option<&str>, membership: Membership) -> Contact {
    let status = status.map(str::to_owned);
    Contact { email: Some(Personal::new(NOW)), status, membership, ..Contact::default() }
}

/// The contact of somebody who is active on the account.
fn active(membership: Membership) -> Contact {
    contact(Some("a"), membership)
}

fn on(status: &str) -> Membership {
    Membership::OnList(Some(status.to_owned()))
}

fn saw(status: &str, list: Option<&str>) -> Option<SeenContact> {
    Some(SeenContact {
        status: Some(status.to_owned()),
        on_list: list.is_some(),
        list_status: list.map(str::to_owned),
    })
}

fn remembering(email: &str, contact: Option<SeenContact>) -> LastSeen {
    LastSeen { email: Some(Personal::new(email)), contact, ..LastSeen::default() }
}

fn block_of(last_seen: &LastSeen, old: Option<Old<'_>>, now: Option<&Contact>) -> Option<Block> {
    block(last_seen, NOW, old, now, None, &keys("12"))
}

#[test]
fn another_letter_case_is_no_move_and_neither_is_a_first_address() {
    for (before, now, moved) in [
        (Some("kari@example.com"), "Kari@Example.com ", false),
        (Some("kari@example.com"), "kari@example.org", true),
        (None, "kari@example.org", false),
    ] {
        let last_seen = LastSeen { email: before.map(Personal::new), ..LastSeen::default() };
        assert_eq!(has_moved(&last_seen, now), moved, "{before:?} {now}");
    }
}

#[test]
fn a_contact_that_was_seen_and_is_gone_is_not_made_again() {
    use Block::{RemovedInMailmojo, TakenOffTheList};
    let (off, on_active) = (active(Membership::NotOnList), active(on("a")));
    for (seen, now, expected) in [
        (None, None, None),
        (None, Some(&off), None),
        (saw("a", None), None, Some(RemovedInMailmojo)),
        (saw("a", Some("a")), None, Some(RemovedInMailmojo)),
        (saw("a", Some("a")), Some(&off), Some(TakenOffTheList)),
        (saw("a", Some("u")), Some(&off), Some(TakenOffTheList)),
        (saw("a", None), Some(&off), None),
        (saw("a", Some("u")), Some(&on_active), None),
    ] {
        assert_eq!(block_of(&remembering(NOW, seen.clone()), None, now), expected, "{seen:?} {now:?}");
        // The same where another user's row remembers it, or this user's under an earlier address that came back.
        let others = block(&remembering(NOW, None), NOW, None, now, seen.as_ref(), &keys("12"));
        assert_eq!(others, expected, "others saw {seen:?}: {now:?}");
        let mut back = remembering(BEFORE, saw("a", Some("a")));
        seen.iter().for_each(|seen| back.saw(NOW, seen.clone(), &keys("12")));
        let old = Old { contact: Some(&on_active), is_own: true };
        assert_eq!(block_of(&back, Some(old), now), expected, "back at an address with {seen:?}: {now:?}");
    }
}

#[test]
fn a_user_who_had_left_under_the_old_address_is_not_put_on_the_list_under_the_new_one() {
    let off = active(Membership::NotOnList);
    let on_active = active(on("a"));
    let on_list = |status| contact(status, on("a"));
    for (seen, now, has_left, has_left_if_anothers) in [
        (saw("a", Some("a")), Some(&on_active), false, false),
        // What the contact is now may be the doing of the address's new owner.
        (saw("u", Some("u")), Some(&on_active), false, true),
        (saw("a", Some("u")), Some(&on_active), false, true),
        (saw("a", Some("a")), Some(&contact(Some("b"), on("b"))), false, false),
        (saw("a", Some("a")), Some(&on_list(Some("u"))), true, true),
        (saw("a", Some("a")), Some(&active(on("u"))), true, true),
        (saw("a", Some("a")), Some(&active(on("d"))), true, true),
        (saw("a", Some("a")), Some(&active(Membership::OnList(None))), true, true),
        (saw("a", Some("a")), Some(&on_list(Some("x"))), true, true),
        (saw("a", Some("a")), Some(&on_list(None)), true, true),
        (saw("a", Some("a")), Some(&off), true, true),
        (saw("a", None), Some(&off), false, false),
        (saw("u", None), Some(&off), false, true),
        (None, Some(&off), false, false),
        (None, Some(&on_list(Some("u"))), true, true),
        (saw("a", Some("a")), None, true, true),
        (None, None, false, false),
    ] {
        for (is_own, expected) in [(true, has_left), (false, has_left_if_anothers)] {
            let expected = expected.then_some(Block::LeftUnderOldAddress);
            let (before, old) = (remembering(BEFORE, seen.clone()), Old { contact: now, is_own });
            assert_eq!(block_of(&before, Some(old), None), expected, "{seen:?} {old:?}");
            let gone = remembered_of_gone(&before, before.clone(), old, &keys("12"));
            assert_eq!((gone.email, gone.has_left), (None, expected.is_some()), "{seen:?} {old:?}");
        }
    }
}

#[test]
fn what_is_remembered_of_a_contact_outlives_it_and_an_address_that_changes_begins_anew() {
    let keys = keys("12");
    let gone = None;
    let mut first = remembering(BEFORE, None);
    first.saw(BEFORE, seen(None, &active(on("a"))), &keys);
    assert_eq!(first, remembering(BEFORE, saw("a", Some("a"))));
    let off = seen(first.contact.as_ref(), &active(Membership::NotOnList));
    assert_eq!(Some(off), first.contact, "off the list now, and once on it");
    let same = remembered(first.clone(), "KARI@example.com", None, gone, &keys);
    assert_eq!(same.contact, first.contact);
    let moved = remembered(first.clone(), NOW, None, gone, &keys);
    assert_eq!((moved.email_key().as_deref(), &moved.contact), (Some(NOW), &None));
    assert_eq!(moved.contact_of(BEFORE, &keys), first.contact.as_ref());

    let missing = LastSeen { missing_since: Some(crate::clock::Millis(1)), ..first.clone() };
    assert_eq!(remembered(missing, BEFORE, None, gone, &keys), first, "Sesamy knows the user again");
}

#[test]
fn a_user_who_has_left_stays_off_until_the_contact_itself_is_active_on_the_list() {
    let left = Some(Block::LeftUnderOldAddress);
    let after = remembered(remembering(BEFORE, saw("a", Some("u"))), NOW, left, None, &keys("12"));
    assert!(after.has_left);
    assert_eq!(block_of(&after, None, None), left);
    assert_eq!(block_of(&after, None, Some(&active(Membership::NotOnList))), left);
    assert_eq!(block_of(&after, None, Some(&active(on("u")))), left);
    let back = active(on("a"));
    assert_eq!(block_of(&after, None, Some(&back)), None, "came back by themselves");
    assert!(!remembered(after, NOW, None, Some(&back), &keys("12")).has_left);
}
