//! A table for each rule, and what holds for any sequence of syncs.

use std::collections::{BTreeMap, BTreeSet};

use proptest::prelude::*;
use serde_json::json;

use super::*;
use crate::memory::tests::keys;
use crate::personal::Personal;

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

fn block_of(memory: &Memory, old: Option<Old<'_>>, now: Present<'_>) -> Option<Block> {
    block(memory, NOW, old, now, None, &keys("12"))
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
fn a_contact_that_was_seen_and_is_gone_is_not_made_again() {
    use Block::{RemovedInMailmojo, TakenOffTheList};
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
        assert_eq!(block_of(&memory(NOW, seen.clone()), None, now), expected, "{seen:?} {now:?}");
        // The same where another user's row remembers it, or this user's under an earlier address that came back.
        let others = block(&memory(NOW, None), NOW, None, now, seen.as_ref(), &keys("12"));
        assert_eq!(others, expected, "others saw {seen:?}: {now:?}");
        let mut back = memory(BEFORE, saw("a", Some("a")));
        seen.iter().for_each(|seen| back.saw(NOW, seen.clone(), &keys("12")));
        let old = Old { present: Some((&active, &on("a"))), is_own: true };
        assert_eq!(block_of(&back, Some(old), now), expected, "back at an address with {seen:?}: {now:?}");
    }
}

#[test]
fn a_user_who_had_left_under_the_old_address_is_not_put_on_the_list_under_the_new_one() {
    let of = |status| contact(status);
    let (active, left, bounced, odd, untold) =
        (of(Some("a")), of(Some("u")), of(Some("b")), of(Some("x")), of(None));
    let off = Membership::NotOnList;
    let (on_active, on_left) = (on("a"), on("u"));
    for (seen, present, has_left, has_left_if_anothers) in [
        (saw("a", Some("a")), Some((&active, &on_active)), false, false),
        // What the contact is now may be the doing of the address's new owner.
        (saw("u", Some("u")), Some((&active, &on_active)), false, true),
        (saw("a", Some("u")), Some((&active, &on_active)), false, true),
        (saw("a", Some("a")), Some((&bounced, &on("b"))), false, false),
        (saw("a", Some("a")), Some((&left, &on_active)), true, true),
        (saw("a", Some("a")), Some((&active, &on_left)), true, true),
        (saw("a", Some("a")), Some((&active, &on("d"))), true, true),
        (saw("a", Some("a")), Some((&active, &Membership::OnList(None))), true, true),
        (saw("a", Some("a")), Some((&odd, &on_active)), true, true),
        (saw("a", Some("a")), Some((&untold, &on_active)), true, true),
        (saw("a", Some("a")), Some((&active, &off)), true, true),
        (saw("a", None), Some((&active, &off)), false, false),
        (saw("u", None), Some((&active, &off)), false, true),
        (None, Some((&active, &off)), false, false),
        (None, Some((&left, &on_active)), true, true),
        (saw("a", Some("a")), None, true, true),
        (None, None, false, false),
    ] {
        for (is_own, expected) in [(true, has_left), (false, has_left_if_anothers)] {
            let expected = expected.then_some(Block::LeftUnderOldAddress);
            let (before, old) = (memory(BEFORE, seen.clone()), Old { present, is_own });
            assert_eq!(block_of(&before, Some(old), None), expected, "{seen:?} {old:?}");
            let gone = remembered_of_gone(&before, before.clone(), old, &keys("12"));
            assert_eq!((gone.email, gone.has_left), (None, expected.is_some()), "{seen:?} {old:?}");
        }
    }
}

#[test]
fn what_is_remembered_of_a_contact_outlives_it_and_an_address_that_changes_begins_anew() {
    let keys = keys("12");
    let (active, gone) = (contact(Some("a")), None);
    let mut first = memory(BEFORE, None);
    first.saw(BEFORE, seen(None, &active, &on("a")), &keys);
    assert_eq!(first, memory(BEFORE, saw("a", Some("a"))));
    let off = seen(first.contact.as_ref(), &active, &Membership::NotOnList);
    assert_eq!(Some(off), first.contact, "off the list now, and once on it");
    let same = remembered(first.clone(), "KARI@example.com", None, gone, &keys);
    assert_eq!(same.contact, first.contact);
    let moved = remembered(first.clone(), NOW, None, gone, &keys);
    assert_eq!((moved.email_key().as_deref(), &moved.contact), (Some(NOW), &None));
    assert_eq!(moved.contact_of(BEFORE, &keys), first.contact.as_ref());

    let missing = Memory { missing_since: Some(crate::clock::Millis(1)), ..first.clone() };
    assert_eq!(remembered(missing, BEFORE, None, gone, &keys), first, "Sesamy knows the user again");
}

#[test]
fn a_user_who_has_left_stays_off_until_the_contact_itself_is_active_on_the_list() {
    let left = Some(Block::LeftUnderOldAddress);
    let after = remembered(memory(BEFORE, saw("a", Some("u"))), NOW, left, None, &keys("12"));
    assert!(after.has_left);
    assert_eq!(block_of(&after, None, None), left);
    let active = contact(Some("a"));
    assert_eq!(block_of(&after, None, Some((&active, &Membership::NotOnList))), left);
    assert_eq!(block_of(&after, None, Some((&active, &on("u")))), left);
    let back = (&active, &on("a"));
    assert_eq!(block_of(&after, None, Some(back)), None, "came back by themselves");
    assert!(!remembered(after, NOW, None, Some(back), &keys("12")).has_left);
}

/// What somebody does in Mailmojo to the contact of an address.
#[derive(Debug, Clone, Copy)]
enum Deed {
    Remove,
    TakeOff,
    Unsubscribe,
    Join,
}

/// How a sync ends.
#[derive(Debug, Clone, Copy, PartialEq)]
enum End {
    Well,
    /// After the old contact was read, and before the new one was.
    FailsBetweenTheContacts,
    /// After both APIs were read.
    FailsBeforeWriting,
    /// After the contact was put on the list.
    FailsAfterWriting,
}

#[derive(Debug, Clone, Copy)]
enum Step {
    Deed(usize, Deed),
    /// A user has another address at Sesamy.
    Move(usize, usize),
    Sync(usize, End),
}

fn step() -> impl Strategy<Value = Step> {
    let deed =
        prop_oneof![Just(Deed::Remove), Just(Deed::TakeOff), Just(Deed::Unsubscribe), Just(Deed::Join)];
    let end = prop_oneof![
        4 => Just(End::Well),
        1 => Just(End::FailsBetweenTheContacts),
        1 => Just(End::FailsBeforeWriting),
        1 => Just(End::FailsAfterWriting),
    ];
    prop_oneof![
        2 => (0..ADDRESSES.len(), deed).prop_map(|(address, deed)| Step::Deed(address, deed)),
        2 => (0..USERS, 0..ADDRESSES.len()).prop_map(|(user, address)| Step::Move(user, address)),
        4 => (0..USERS, end).prop_map(|(user, end)| Step::Sync(user, end)),
    ]
}

const ADDRESSES: [&str; 3] = ["a@example.com", "b@example.com", "c@example.com"];
const USERS: usize = 2;

/// Two users, three addresses, and what happened, told apart from what is remembered of it.
struct World {
    contacts: BTreeMap<usize, Membership>,
    address: [usize; USERS],
    rows: [Memory; USERS],
    /// By user and address: a sync has seen the contact there; and has seen it on the list.
    seen: BTreeSet<(usize, usize)>,
    seen_on_list: BTreeSet<(usize, usize)>,
    /// By user and address: when a sync last saw the contact while the address was the user's, it had unsubscribed.
    unsubscribed: BTreeSet<(usize, usize)>,
    has_left: [bool; USERS],
}

impl World {
    fn new() -> Self {
        Self {
            contacts: BTreeMap::new(),
            address: [0, 1],
            rows: Default::default(),
            seen: BTreeSet::new(),
            seen_on_list: BTreeSet::new(),
            unsubscribed: BTreeSet::new(),
            has_left: [false; USERS],
        }
    }

    fn deed(&mut self, address: usize, deed: Deed) {
        match deed {
            Deed::Remove => drop(self.contacts.remove(&address)),
            Deed::TakeOff => drop(self.contacts.get_mut(&address).map(|it| *it = Membership::NotOnList)),
            Deed::Unsubscribe => drop(self.contacts.get_mut(&address).map(|it| *it = on("u"))),
            Deed::Join => drop(self.contacts.insert(address, on("a"))),
        }
    }

    fn look(&mut self, user: usize, address: usize, is_own: bool, memory: &mut Memory) {
        let Some(membership) = self.contacts.get(&address) else { return };
        self.seen.insert((user, address));
        if *membership == on("u") {
            self.unsubscribed.insert((user, address));
        } else if *membership == on("a") && is_own {
            self.unsubscribed.remove(&(user, address));
        }
        if *membership != Membership::NotOnList {
            self.seen_on_list.insert((user, address));
        }
        let before = memory.contact_of(ADDRESSES[address], &keys("12")).cloned();
        let seen = seen(before.as_ref(), &contact(Some("a")), membership);
        memory.saw(ADDRESSES[address], seen, &keys("12"));
    }

    /// Whether a person's doing forbids to put `user` on the list at `address`, by what happened.
    fn is_forbidden(&self, user: usize, address: usize) -> bool {
        let knows = |set: &BTreeSet<(usize, usize)>| {
            let row_is_there =
                |other: usize| self.rows[other].email_key().as_deref() == Some(ADDRESSES[address]);
            (0..USERS).any(|other| set.contains(&(other, address)) && (other == user || row_is_there(other)))
        };
        let was_removed = !self.contacts.contains_key(&address) && knows(&self.seen);
        let was_taken_off =
            self.contacts.get(&address) == Some(&Membership::NotOnList) && knows(&self.seen_on_list);
        self.has_left[user] || was_removed || was_taken_off
    }

    fn sync(&mut self, user: usize, end: End) -> Result<(), TestCaseError> {
        let (keys, before, address) = (keys("12"), self.rows[user].clone(), self.address[user]);
        let email = ADDRESSES[address];
        let active = contact(Some("a"));
        let mut memory = before.clone();
        let old_address = has_moved(&before, email)
            .then(|| ADDRESSES.iter().position(|it| Some(*it) == before.email_key().as_deref()).unwrap());
        let anothers = |address: usize| (0..USERS).any(|it| it != user && self.address[it] == address);
        let old_contact = old_address.map(|old| (self.contacts.get(&old).cloned(), !anothers(old)));
        if let (Some(old), Some((state, is_own))) = (old_address, &old_contact) {
            let gone = state.is_none() && self.seen.contains(&(user, old));
            let off = *state == Some(Membership::NotOnList) && self.seen_on_list.contains(&(user, old));
            let had = self.unsubscribed.contains(&(user, old));
            self.has_left[user] |= gone || off || *state == Some(on("u")) || (!is_own && had);
            self.look(user, old, *is_own, &mut memory);
        }
        let old = old_contact.as_ref().map(|(state, is_own)| Old {
            present: state.as_ref().map(|membership| (&active, membership)),
            is_own: *is_own,
        });
        // Kept however the sync ends.
        memory.has_left |= old.is_some_and(|old| has_left_under(&before, old));
        if end == End::FailsBetweenTheContacts {
            self.rows[user] = memory;
            return Ok(());
        }
        let joined = self.contacts.get(&address) == Some(&on("a"));
        let is_forbidden = self.is_forbidden(user, address);
        self.look(user, address, true, &mut memory);
        let now = self.contacts.get(&address).cloned();
        let there = now.as_ref().map(|membership| (&active, membership));
        let others: Option<Seen> = (0..USERS)
            .filter(|it| *it != user && self.rows[*it].email_key().as_deref() == Some(email))
            .find_map(|it| self.rows[it].contact.clone());
        let block = block(&before, email, old, there, others.as_ref(), &keys);
        let may = block.is_none() && now.as_ref().is_none_or(|it| *it == Membership::NotOnList);
        prop_assert!(!(may && is_forbidden), "{user} at {email}: {before:?}");
        if end == End::FailsBeforeWriting {
            self.rows[user] = memory;
            return Ok(());
        }
        if may {
            self.contacts.insert(address, on("a"));
            self.look(user, address, true, &mut memory);
        }
        if end == End::FailsAfterWriting {
            if may {
                memory.move_to(email, &keys);
            }
            self.rows[user] = memory;
            return Ok(());
        }
        self.rows[user] = remembered(memory, email, block, there, &keys);
        self.has_left[user] &= !joined;
        Ok(())
    }
}

proptest! {
    /// Whatever people do to contacts, and however addresses are shared, change and change back, and syncs fail in between:
    /// a contact that a person took away is not put back by a sync.
    #[test]
    fn no_sequence_of_syncs_puts_anybody_back_who_has_left(steps in proptest::collection::vec(step(), 1..40)) {
        let mut world = World::new();
        for step in steps {
            match step {
                Step::Deed(address, deed) => world.deed(address, deed),
                Step::Move(user, address) => world.address[user] = address,
                Step::Sync(user, end) => world.sync(user, end)?,
            }
        }
    }
}
