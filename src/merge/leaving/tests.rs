//! A table for each rule, and what holds for any sequence of looks.

use proptest::prelude::*;
use serde_json::json;

use super::*;

const BEFORE: &str = "kari@example.com";
const NOW: &str = "kari@example.org";

fn contact(status: Option<&str>) -> Contact {
    serde_json::from_value(json!({"email": NOW, "status": status})).unwrap()
}

fn on(status: &str) -> Membership {
    Membership::OnList(Some(status.to_owned()))
}

fn saw(status: &str, list: Option<&str>) -> Option<Seen> {
    Some(Seen {
        status: Some(status.to_owned()),
        on_list: list.is_some(),
        list_status: list.map(str::to_owned),
    })
}

fn memory(email: &str, contact: Option<Seen>) -> Memory {
    Memory { email: Some(Personal::new(email)), contact, ..Memory::default() }
}

#[test]
fn another_letter_case_is_no_move_and_neither_is_a_first_address() {
    for (before, now, moved) in [
        (Some("kari@example.com"), "Kari@Example.com ", false),
        (Some("kari@example.com"), "kari@example.org", true),
        (None, "kari@example.org", false),
    ] {
        let memory = Memory { email: before.map(Personal::new), ..Memory::default() };
        assert_eq!(has_moved(&memory, now), moved, "{before:?} {now}");
    }
}

#[test]
fn who_was_seen_and_is_gone_is_not_made_again() {
    use Barrier::{RemovedInMailmojo, TakenOffTheList};
    let active = contact(Some("a"));
    let there = |membership| Some((&active, membership));
    for (seen, now, expected) in [
        (None, None, None),
        (None, there(&Membership::NotOnList), None),
        (saw("a", None), None, Some(RemovedInMailmojo)),
        (saw("a", Some("a")), None, Some(RemovedInMailmojo)),
        (saw("a", Some("a")), there(&Membership::NotOnList), Some(TakenOffTheList)),
        (saw("a", Some("u")), there(&Membership::NotOnList), Some(TakenOffTheList)),
        (saw("a", None), there(&Membership::NotOnList), None),
        (saw("a", Some("u")), there(&on("a")), None),
    ] {
        assert_eq!(barrier(&memory(NOW, seen.clone()), None, now), expected, "{seen:?} {now:?}");
    }
}

#[test]
fn who_had_left_under_the_address_of_before_is_not_made_under_the_new_one() {
    let of = |status| contact(status);
    let (active, left, bounced, odd, untold) =
        (of(Some("a")), of(Some("u")), of(Some("b")), of(Some("x")), of(None));
    let off = Membership::NotOnList;
    for (seen, old, has_left) in [
        (saw("a", Some("a")), Old::There(&active, &on("a")), false),
        (saw("u", Some("u")), Old::There(&active, &on("a")), false),
        (saw("a", Some("a")), Old::There(&bounced, &on("b")), false),
        (saw("a", Some("a")), Old::There(&left, &on("a")), true),
        (saw("a", Some("a")), Old::There(&active, &on("u")), true),
        (saw("a", Some("a")), Old::There(&active, &on("d")), true),
        (saw("a", Some("a")), Old::There(&active, &Membership::OnList(None)), true),
        (saw("a", Some("a")), Old::There(&odd, &on("a")), true),
        (saw("a", Some("a")), Old::There(&untold, &on("a")), true),
        (saw("a", Some("a")), Old::There(&active, &off), true),
        (saw("a", None), Old::There(&active, &off), false),
        (None, Old::There(&active, &off), false),
        (saw("a", Some("a")), Old::Gone, true),
        (None, Old::Gone, false),
        (saw("a", Some("a")), Old::Anothers, false),
        (saw("a", Some("u")), Old::Anothers, true),
        (saw("u", None), Old::Anothers, true),
        (None, Old::Anothers, false),
    ] {
        let expected = has_left.then_some(Barrier::LeftUnderOldAddress);
        assert_eq!(barrier(&memory(BEFORE, seen.clone()), Some(old), None), expected, "{seen:?} {old:?}");
    }
}

#[test]
fn what_is_remembered_of_a_contact_outlives_it_and_an_address_that_changes_begins_anew() {
    let (active, gone) = (contact(Some("a")), None);
    let first = remembered(&Memory::default(), BEFORE, None, Some((&active, &on("a"))));
    assert_eq!(first, memory(BEFORE, saw("a", Some("a"))));
    let off = remembered(&first, BEFORE, None, Some((&active, &Membership::NotOnList)));
    assert_eq!(off, first, "off the list now, and once on it");
    assert_eq!(remembered(&off, "KARI@example.com", None, gone).contact, first.contact);
    assert_eq!(remembered(&off, NOW, None, gone), memory(NOW, None));

    let missing = Memory { missing_since: Some(crate::clock::Millis(1)), ..first.clone() };
    assert_eq!(remembered(&missing, BEFORE, None, gone), first, "Sesamy knows the user again");
}

#[test]
fn who_has_left_is_kept_off_until_the_contact_itself_is_active_on_the_list() {
    let left = Some(Barrier::LeftUnderOldAddress);
    let after = remembered(&memory(BEFORE, saw("a", Some("u"))), NOW, left, None);
    assert!(after.has_left);
    assert_eq!(barrier(&after, None, None), left);
    let active = contact(Some("a"));
    assert_eq!(barrier(&after, None, Some((&active, &Membership::NotOnList))), left);
    assert_eq!(barrier(&after, None, Some((&active, &on("u")))), left);
    let back = (&active, &on("a"));
    assert_eq!(barrier(&after, None, Some(back)), None, "came back by themselves");
    assert!(!remembered(&after, NOW, None, Some(back)).has_left);
}

/// What somebody does in Mailmojo between two looks.
#[derive(Debug, Clone, Copy)]
enum Deed {
    Remove,
    TakeOff,
    Unsubscribe,
    Nothing,
}

proptest! {
    /// Whatever is done to a contact that was on the list, in any order, and however often the address changes in between:
    /// once somebody has gone, no look allows to put them on the list again.
    #[test]
    fn no_sequence_of_looks_puts_anybody_back_who_has_left(
        deeds in proptest::collection::vec(
            prop_oneof![Just(Deed::Remove), Just(Deed::TakeOff), Just(Deed::Unsubscribe), Just(Deed::Nothing)], 1..6),
        moves in proptest::collection::vec(any::<bool>(), 6),
    ) {
        let active = contact(Some("a"));
        let mut memory = memory("0@example.com", saw("a", Some("a")));
        let mut contact: Option<Membership> = Some(on("a"));
        let mut has_gone = false;
        for (turn, deed) in deeds.into_iter().enumerate() {
            match deed {
                Deed::Remove => contact = None,
                Deed::TakeOff => contact = contact.map(|_| Membership::NotOnList),
                Deed::Unsubscribe => contact = contact.map(|_| on("u")),
                Deed::Nothing => {}
            }
            has_gone |= contact != Some(on("a"));
            let there = contact.as_ref().map(|membership| (&active, membership));
            let (email, old, now) = if moves[turn] {
                let old = there.map_or(Old::Gone, |(contact, membership)| Old::There(contact, membership));
                (format!("{turn}@example.org"), Some(old), None)
            } else {
                (memory.email.clone().unwrap().as_str().to_owned(), None, there)
            };
            let barred = barrier(&memory, old, now);
            let may = barred.is_none() && now.is_none_or(|(_, membership)| *membership == Membership::NotOnList);
            prop_assert!(!(has_gone && may), "{deed:?} {memory:?} {now:?}");
            memory = remembered(&memory, &email, barred, now);
            if moves[turn] {
                contact = None;
                if may {
                    // Created under the new address, and so on the list there.
                    contact = Some(on("a"));
                    memory.contact = saw("a", Some("a"));
                }
            }
        }
    }
}
