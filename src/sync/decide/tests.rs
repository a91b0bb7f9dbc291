//! What holds of the decision whatever was read, and of any sequence of syncs.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use proptest::prelude::*;

use super::*;
use crate::clock::Millis;
use crate::fields::CustomFields;
use crate::merge::consent::{has_left_under, seen};
use crate::model::{Contact, Entitlement, Membership, SeenByOthers, SeenContact, keys};
use crate::personal::Personal;
use crate::sesamy::bulk::OwnerBesides;
use crate::sync::policy::{Removals, SyncSettings};
use crate::sync::sesamy_time::SesamyTime;

const NOW: Millis = Millis(1_800_000_000_000);

fn settings() -> SyncSettings {
    SyncSettings {
        guest_user_id_prefixes: Vec::new(),
        derive_tags: true,
        dry_run: false,
        create_contacts: true,
        keep_tags: KeepTags::default(),
        custom_fields: CustomFields::default(),
    }
}

fn addressed(email: &str) -> Addressed {
    let email = Personal::new(email);
    let profile = Profile { email: Some(email.clone()), ..Profile::default() };
    Addressed { email, user: SesamyUser { profile, ..SesamyUser::default() } }
}

fn snapshot(before: LastSeen, user: Result<Addressed, Skip>, now: Millis) -> Snapshot {
    Snapshot::new(before, user, SesamyTime::new(None, now))
}

fn active(membership: Membership) -> Contact {
    Contact { status: Some("a".to_owned()), membership, ..Contact::default() }
}

fn on(status: &str) -> Membership {
    Membership::OnList(Some(status.to_owned()))
}

#[test]
fn a_decision_asks_for_the_old_contact_first_and_for_the_present_one_last() {
    let (settings, keys) = (settings(), keys("12"));
    let removals = Removals::default();
    let policy = Policy { settings: &settings, keys: &keys, mode: SyncMode::Normal, removals };
    let before = LastSeen { email: Some(Personal::new("a@example.com")), ..LastSeen::default() };
    let mut snapshot = snapshot(before, Ok(addressed("b@example.com")), NOW);
    let (a, b) = (Personal::new("a@example.com"), Personal::new("b@example.com"));
    assert_eq!(decide(&snapshot, &policy, NOW), Err(Gap::Previous(a.clone())));
    let previous = PreviousContact { address: a, found: None, owner: OwnerBesides::Nobody };
    snapshot.previous = Some(previous);
    assert_eq!(decide(&snapshot, &policy, NOW), Err(Gap::Contact(b.clone())));
    snapshot.contact = Some(None);
    assert_eq!(decide(&snapshot, &policy, NOW), Err(Gap::SeenByOthers(b.clone())));
    snapshot.seen_by_others = Some(SeenByOthers::default());
    let decision = decide(&snapshot, &policy, NOW).unwrap();
    assert_eq!(decision.report().outcome, Outcome::Created);
    assert_eq!(decision.write().unwrap().email, b);
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
    /// A user has another address at Sesamy, or is known to it again.
    Move(usize, usize),
    /// Sesamy does not know a user any more.
    Vanish(usize),
    /// A day passes.
    Day,
    Sync(usize, SyncMode, End),
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
    let mode = prop_oneof![3 => Just(SyncMode::Normal), 1 => Just(SyncMode::ExistingOnly)];
    prop_oneof![
        4 => (0..ADDRESSES.len(), deed).prop_map(|(address, deed)| Step::Deed(address, deed)),
        4 => (0..USERS, 0..ADDRESSES.len()).prop_map(|(user, address)| Step::Move(user, address)),
        1 => (0..USERS).prop_map(Step::Vanish),
        1 => Just(Step::Day),
        8 => (0..USERS, mode, end).prop_map(|(user, mode, end)| Step::Sync(user, mode, end)),
    ]
}

const ADDRESSES: [&str; 3] = ["a@example.com", "b@example.com", "c@example.com"];
const USERS: usize = 2;

/// Two users, three addresses, and what happened, apart from what is remembered of it.
struct World {
    now: Millis,
    contacts: BTreeMap<usize, Membership>,
    /// `None`: Sesamy does not know the user.
    address: [Option<usize>; USERS],
    rows: [LastSeen; USERS],
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
            now: NOW,
            contacts: BTreeMap::new(),
            address: [Some(0), Some(1)],
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

    /// The contact of `address`, which `user`'s sync reads.
    fn read(&mut self, user: usize, address: usize, is_own: bool, last_seen: &mut LastSeen) -> Option<Found> {
        let membership = self.contacts.get(&address)?;
        self.seen.insert((user, address));
        if *membership == on("u") {
            self.unsubscribed.insert((user, address));
        } else if *membership == on("a") && is_own {
            self.unsubscribed.remove(&(user, address));
        }
        if *membership != Membership::NotOnList {
            self.seen_on_list.insert((user, address));
        }
        let (email, contact) = (ADDRESSES[address], active(membership.clone()));
        let now = seen(last_seen.contact_of(email, &keys("12")), &contact);
        last_seen.saw(email, now, &keys("12"));
        Some(Found { email: Personal::new(email), contact })
    }

    fn is_at(&self, row: usize, address: usize) -> bool {
        self.rows[row].email_key().as_deref() == Some(ADDRESSES[address])
    }

    /// Whether somebody's doing forbids to put `user` on the list at `address`, by what happened.
    fn is_forbidden(&self, user: usize, address: usize) -> bool {
        let knows = |set: &BTreeSet<(usize, usize)>| {
            (0..USERS)
                .any(|other| set.contains(&(other, address)) && (other == user || self.is_at(other, address)))
        };
        let was_removed = !self.contacts.contains_key(&address) && knows(&self.seen);
        let was_taken_off =
            self.contacts.get(&address) == Some(&Membership::NotOnList) && knows(&self.seen_on_list);
        self.has_left[user] || was_removed || was_taken_off
    }

    fn previous(&mut self, user: usize, address: &str, snapshot: &mut Snapshot) {
        let address = ADDRESSES.iter().position(|it| *it == address).unwrap();
        let is_own = !(0..USERS).any(|it| it != user && self.address[it] == Some(address));
        let state = self.contacts.get(&address).cloned();
        let is_gone = state.is_none() && self.seen.contains(&(user, address));
        let is_off = state == Some(Membership::NotOnList) && self.seen_on_list.contains(&(user, address));
        let had = self.unsubscribed.contains(&(user, address));
        self.has_left[user] |= is_gone || is_off || state == Some(on("u")) || (!is_own && had);
        let found = self.read(user, address, is_own, &mut snapshot.last_seen);
        let owner = if is_own { OwnerBesides::Nobody } else { OwnerBesides::Somebody };
        let previous = PreviousContact { address: Personal::new(ADDRESSES[address]), found, owner };
        // Kept however the sync ends.
        snapshot.last_seen.has_left |= has_left_under(&snapshot.before, previous.as_old());
        snapshot.previous = Some(previous);
    }

    fn seen_by_others(&self, user: usize, address: usize) -> SeenByOthers {
        let others = (0..USERS).filter(|other| *other != user && self.is_at(*other, address));
        let contact = others.filter_map(|other| self.rows[other].contact.clone()).next();
        SeenByOthers { contact: contact.is_some(), on_list: contact.is_some_and(|it| it.on_list) }
    }

    fn sync(&mut self, user: usize, mode: SyncMode, end: End) -> Result<(), TestCaseError> {
        let (keys, settings) = (keys("12"), settings());
        let policy = Policy { settings: &settings, keys: &keys, mode, removals: Removals::default() };
        let read = match self.address[user] {
            Some(address) => Ok(addressed(ADDRESSES[address])),
            None => Err(Skip { reason: Reason::UserNotFound, profile: None }),
        };
        let before = self.rows[user].clone().at_list_of(&keys);
        let mut snapshot = snapshot(before, read, self.now);
        let address = self.address[user];
        let mut is_forbidden = true;
        let decision = loop {
            match decide(&snapshot, &policy, self.now) {
                Ok(decision) => break decision,
                Err(Gap::Previous(address)) => self.previous(user, address.as_str(), &mut snapshot),
                Err(Gap::Contact(_)) if end == End::FailsBetweenTheContacts => {
                    self.rows[user] = snapshot.last_seen;
                    return Ok(());
                }
                Err(Gap::Contact(_)) => {
                    is_forbidden = self.is_forbidden(user, address.unwrap());
                    snapshot.contact = Some(self.read(user, address.unwrap(), true, &mut snapshot.last_seen));
                }
                Err(Gap::SeenByOthers(_)) => {
                    snapshot.seen_by_others = Some(self.seen_by_others(user, address.unwrap()));
                }
                Err(gap) => panic!("no contact has tags: {gap:?}"),
            }
        };
        if end == End::FailsBeforeWriting {
            self.rows[user] = snapshot.last_seen;
            return Ok(());
        }
        let mut last_seen = decision.report.last_seen.clone();
        let joined = address.is_some_and(|address| self.contacts.get(&address) == Some(&on("a")));
        if let (Some(address), true) =
            (address, decision.plan().is_some_and(crate::merge::Plan::puts_on_list))
        {
            prop_assert!(!is_forbidden, "{} at {}: {:?}", user, ADDRESSES[address], self.rows[user]);
            self.contacts.insert(address, on("a"));
            let mut by_then = snapshot.last_seen.clone();
            self.read(user, address, true, &mut by_then);
            if end == End::FailsAfterWriting {
                by_then.move_to(ADDRESSES[address], &keys);
                self.rows[user] = by_then;
                return Ok(());
            }
            let list_status = Some("a".to_owned());
            last_seen.contact = Some(SeenContact { status: list_status.clone(), on_list: true, list_status });
        } else if end == End::FailsAfterWriting {
            self.rows[user] = snapshot.last_seen;
            return Ok(());
        }
        self.has_left[user] &= !joined;
        self.rows[user] = last_seen;
        Ok(())
    }
}

fn any_tags() -> impl Strategy<Value = Option<Vec<String>>> {
    let tag = prop_oneof!["sesamy_active_sku_[ab]", "sesamy_tag_[ab]", "[ab ]{1,2}", "Sesamy_x"];
    proptest::option::of(proptest::collection::vec(tag, 0..5))
}

fn any_name() -> impl Strategy<Value = Option<Personal>> {
    proptest::option::of("[A-C ]{0,2}".prop_map(Personal::new))
}

prop_compose! {
    fn any_found(email: &'static str)(
        tags in any_tags(), (name, first_name, last_name, phone) in (any_name(), any_name(), any_name(), any_name()),
        status in prop_oneof!["a", "u"], membership in prop_oneof![Just(Membership::NotOnList), Just(on("a")), Just(on("u"))],
    ) -> Found {
        let status = Some(status);
        let contact = Contact { name, first_name, last_name, phone, tags, status, membership, ..Contact::default() };
        Found { email: Personal::new(email), contact }
    }
}

prop_compose! {
    fn any_user(email: &'static str)(
        tags in proptest::collection::vec("[ab]", 0..2), skus in proptest::collection::vec("[ab]", 0..2),
        first_name in any_name(),
    ) -> Addressed {
        let first_name = crate::personal::first_present([&first_name]);
        let profile = Profile { email: Some(Personal::new(email)), first_name, tags, ..Profile::default() };
        let access = |sku| Entitlement { sku: Some(sku), has_access: true, ..Entitlement::default() };
        let user = SesamyUser { profile, entitlements: skus.into_iter().map(access).collect(), ..SesamyUser::default() };
        Addressed { email: Personal::new(email), user }
    }
}

prop_compose! {
    /// All that may be read of a user who has, or has not, moved from the first address to the second.
    fn any_snapshot()(
        user in any_user("b@example.com"), others in proptest::collection::vec(any_user("b@example.com"), 0..2),
        (has_moved, is_unknown) in any::<(bool, bool)>(),
        (old, contact) in (proptest::option::of(any_found("a@example.com")), proptest::option::of(any_found("b@example.com"))),
        owner in prop_oneof![Just(OwnerBesides::Nobody), Just(OwnerBesides::Somebody), Just(OwnerBesides::Unknown)],
    ) -> Snapshot {
        let address = if has_moved { "a@example.com" } else { "b@example.com" };
        let before = LastSeen { email: Some(Personal::new(address)), ..LastSeen::default() };
        let previous = PreviousContact { address: Personal::new(address), found: old, owner };
        Snapshot {
            previous: has_moved.then_some(previous),
            contact: Some(contact),
            seen_by_others: Some(SeenByOthers::default()),
            sharing: Some(if is_unknown { Sharing::Unknown } else { Sharing::Users(others) }),
            ..snapshot(before, Ok(user), NOW)
        }
    }
}

fn any_policy() -> impl Strategy<Value = (SyncSettings, SyncMode)> {
    let mode = prop_oneof![Just(SyncMode::Normal), Just(SyncMode::ExistingOnly), Just(SyncMode::Override)];
    (any::<bool>(), mode)
        .prop_map(|(create_contacts, mode)| (SyncSettings { create_contacts, ..settings() }, mode))
}

/// Each contact with what would be written to it.
fn writes<'a>(snapshot: &'a Snapshot, decision: &'a Decision) -> Vec<(&'a Contact, &'a Write)> {
    let old = snapshot.previous.as_ref().and_then(|previous| previous.found.as_ref());
    let old_write = decision.old_contact().and_then(|old| old.write.as_ref());
    let of_old = old.map(|found| &found.contact).zip(old_write);
    of_old.into_iter().chain(decision.contact().zip(decision.write())).collect()
}

fn of(tags: &Option<Vec<String>>, is_ours: bool) -> Vec<&String> {
    tags.iter().flatten().filter(|tag| tag.starts_with("sesamy_") == is_ours).collect()
}

proptest! {
    /// Whatever people do to contacts, and however addresses are shared, change and change back, users vanish, and syncs fail
    /// in between: a contact that a person took away is not put back by a sync.
    #[test]
    fn no_sequence_of_syncs_puts_anybody_back_who_has_left(steps in proptest::collection::vec(step(), 1..40)) {
        let mut world = World::new();
        for step in steps {
            match step {
                Step::Deed(address, deed) => world.deed(address, deed),
                Step::Move(user, address) => world.address[user] = Some(address),
                Step::Vanish(user) => world.address[user] = None,
                Step::Day => world.now = world.now.plus(Duration::from_secs(24 * 60 * 60)),
                Step::Sync(user, mode, end) => world.sync(user, mode, end)?,
            }
        }
    }

    #[test]
    fn whatever_was_read_only_our_tags_go_and_no_name_is_blanked(
        snapshot in any_snapshot(), (settings, mode) in any_policy(),
    ) {
        let keys = keys("12");
        let policy = Policy { settings: &settings, keys: &keys, mode, removals: Removals::default() };
        let decision = decide(&snapshot, &policy, NOW).unwrap();
        for (contact, write) in writes(&snapshot, &decision) {
            let data = &write.data;
            if data.tags.is_some() {
                prop_assert_eq!(of(&data.tags, false), of(&contact.tags, false));
            }
            for (before, after) in [
                (&contact.first_name, &data.first_name),
                (&contact.last_name, &data.last_name),
                (&contact.phone, &data.phone),
            ] {
                let is_blank = |it: &Option<Personal>| it.as_ref().and_then(Personal::trimmed).is_none();
                prop_assert!(after.is_none() || (is_blank(before) && !is_blank(after)));
            }
        }
        if let Some(write) = decision.write().filter(|write| write.puts_on_list) {
            prop_assert!(settings.create_contacts && mode.may_create());
            let contact = decision.contact();
            prop_assert!(contact.is_none_or(|it| it.status.as_deref() == Some("a") && it.membership == Membership::NotOnList));
            prop_assert_eq!(write.email.as_str(), "b@example.com");
        }
    }

    #[test]
    fn nothing_is_taken_away_while_the_guard_holds_removals(
        snapshot in any_snapshot(), (settings, mode) in any_policy(),
    ) {
        let keys = keys("12");
        let policy = |are_held| Policy {
            settings: &settings,
            keys: &keys,
            mode,
            removals: Removals { are_held, ..Removals::default() },
        };
        let (held, free) = (decide(&snapshot, &policy(true), NOW).unwrap(), decide(&snapshot, &policy(false), NOW).unwrap());
        for (contact, write) in writes(&snapshot, &held) {
            let after: BTreeSet<_> = write.data.tags.iter().flatten().collect();
            prop_assert!(write.data.tags.is_none() || of(&contact.tags, true).iter().all(|tag| after.contains(tag)));
        }
        let report = held.report();
        prop_assert!(report.tags_removed.is_empty() && report.old_tags_removed.is_empty());
        let would_go: BTreeSet<_> = free.report().tags_removed.iter().chain(&free.report().old_tags_removed).collect();
        prop_assert_eq!(report.tags_held.iter().collect::<BTreeSet<_>>(), would_go);
        prop_assert_eq!(report.braked, !report.tags_held.is_empty());
        prop_assert_eq!(held.suspect, None);
    }
}
