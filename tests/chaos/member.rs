//! One user of a world, with the contacts of their addresses: who is there at the start, and what happens to them.

use std::sync::Arc;
use std::time::Instant;

use rand::RngExt;
use rand::rngs::StdRng;
use rand::seq::{IndexedMutRandom, IndexedRandom, SliceRandom};
use sesamy_mailmojo::sandbox::{Contact, Mailmojo, Sesamy, contact};

use crate::cases::{FOR_EVER, OWN_TAGS, STALE_TAGS};
use crate::ledger::{Excuses, Ledger, Rules};
use crate::person::Person;

const LIST: i64 = Mailmojo::LIST;
/// Another list of the account.
pub const OTHER_LIST: i64 = 8;

/// Both APIs.
#[derive(Debug, Clone)]
pub struct Apis {
    pub sesamy: Arc<Sesamy>,
    pub mailmojo: Arc<Mailmojo>,
}

/// A user and all that belongs to them.
#[derive(Debug)]
pub struct Member {
    pub person: Person,
    /// One for each address.
    pub ledgers: Vec<Ledger>,
    /// Contacts whose addresses only look alike: nobody may touch them.
    bystanders: Vec<Contact>,
    /// What happened, and when.
    pub story: Vec<String>,
    /// Whether an event of the user was ever accepted: without one nothing may be expected.
    pub is_told: bool,
    began: Instant,
    hands: usize,
}

impl Member {
    /// Puts the `number`th user into both worlds. `ignores_case` is how this Mailmojo takes addresses.
    pub fn settle(number: usize, apis: &Apis, ignores_case: bool, rules: Rules, rng: &mut StdRng) -> Self {
        let person = Person::random(number, rng);
        let (mut ledgers, mut bystanders) = (Vec::new(), Vec::new());
        for address in &person.addresses {
            let (lower, upper) = (address.to_lowercase(), address.to_uppercase());
            let mut there: Vec<Contact> = Vec::new();
            match rng.random_range(0..10) {
                0..4 => {}
                4..7 => there.push(any_contact(address, rng)),
                7 => there.push(any_contact(&lower, rng)),
                8 => there.push(any_contact(&upper, rng)),
                _ if lower == *address || ignores_case => there.push(any_contact(address, rng)),
                _ => there.extend([address, &lower].map(|email| any_contact(email, rng))),
            }
            there.iter().for_each(|contact| apis.mailmojo.put_contact(contact.clone()));
            // Looked up as Sesamy spells it, then in lower case.
            let at = |email: &str| there.iter().position(|contact| ignores_case || contact.email == email);
            let found = at(address).or_else(|| at(&lower)).map(|at| there.swap_remove(at));
            let email = found.as_ref().map_or(lower, |found| found.email.clone());
            ledgers.push(Ledger::new(&email, found.as_ref()));
            bystanders.extend(there);
        }
        let mut member = Self {
            person,
            ledgers,
            bystanders,
            story: Vec::new(),
            is_told: false,
            began: Instant::now(),
            hands: 0,
        };
        for (ledger, address) in member.ledgers.iter().zip(&member.person.addresses) {
            let there = apis.mailmojo.contact(&ledger.email);
            member.story.push(format!("   0.000s for {address} Mailmojo has {there:?}"));
        }
        member.note(format!("begins as {:?}", member.person));
        member.tell_sesamy(apis, rules);
        member
    }

    pub fn note(&mut self, what: String) {
        self.story.push(format!("{:>8.3}s {what}", self.began.elapsed().as_secs_f64()));
    }

    /// Every address, in lower case, and the user's id: what calls and findings name.
    pub fn names(&self) -> Vec<String> {
        let addresses = self.person.addresses.iter().map(|address| address.to_lowercase());
        addresses.chain([self.person.id.clone()]).collect()
    }

    /// Whether a contact still has a tag of access that is over, which a check by the clock is to take away.
    pub fn awaits_an_expiry(&self, apis: &Apis, rules: Rules) -> bool {
        let (at_times, for_long) =
            (self.person.tags_at_times(rules.derives), self.person.tags_at_times(false));
        let Some(wanted) = self.person.wanted(rules.derives) else { return false };
        let contact =
            apis.mailmojo.contact(&wanted.address).or(apis.mailmojo.contact(&wanted.address.to_lowercase()));
        let brief =
            |tag: &&str| at_times.contains(*tag) && !wanted.tags.contains(*tag) && !for_long.contains(*tag);
        contact.is_some_and(|contact| contact.sesamy_tags().iter().any(|tag| brief(&&**tag)))
    }

    /// Something changes at Sesamy.
    pub fn changes(&mut self, apis: &Apis, rules: Rules, rng: &mut StdRng) {
        for _ in 0..rng.random_range(1..4) {
            let what = self.person.change(rng);
            self.note(format!("Sesamy: {what}"));
        }
        self.tell_sesamy(apis, rules);
    }

    fn tell_sesamy(&mut self, apis: &Apis, rules: Rules) {
        let (wanted, tags) = (self.person.wanted(rules.derives), self.person.tags_at_times(rules.derives));
        // Before Sesamy says so: a sync that is on its way may see it at once.
        for (ledger, address) in self.ledgers.iter_mut().zip(&self.person.addresses) {
            ledger.wants(wanted.clone().filter(|wanted| wanted.address == *address), &tags);
        }
        match self.person.at_sesamy() {
            Some(user) => apis.sesamy.put_user(user),
            None => apis.sesamy.remove_user(&self.person.id),
        }
    }

    /// Somebody changes a contact by hand, if it is there.
    pub fn is_edited_by_hand(&mut self, apis: &Apis, rng: &mut StdRng) -> bool {
        self.hands += 1;
        let number = self.hands;
        let ledger = self.ledgers.choose_mut(rng).unwrap();
        let what = hand(ledger, &apis.mailmojo, number, rng);
        let did = what.is_some();
        if let Some(what) = what {
            let email = ledger.email.clone();
            self.note(format!("by hand at {email}: {what}"));
        }
        did
    }

    /// What is wrong with the contacts now.
    pub fn judge(&self, apis: &Apis, rules: Rules, excuses: &mut Excuses) -> Vec<String> {
        let mut wrong = Vec::new();
        // Leaving is leaving, under another address too.
        let has_left = self.person.has_moved() && !self.ledgers[0].has_surely_stayed(rules);
        for (at, ledger) in self.ledgers.iter().enumerate() {
            let may_stay_away = ledger.was_deleted || (at > 0 && has_left);
            let is = apis.mailmojo.contact(&ledger.email);
            let about = |why: String| format!("{}: {why}", ledger.email);
            wrong.extend(ledger.judge(is.as_ref(), rules, may_stay_away, excuses).into_iter().map(about));
        }
        for bystander in &self.bystanders {
            if apis.mailmojo.contact(&bystander.email).as_ref() != Some(bystander) {
                wrong.push(format!("{} is another address, and was touched", bystander.email));
            }
        }
        wrong
    }

    /// Whether a contact under this address may be there.
    pub fn has(&self, email: &str) -> bool {
        let own = self.ledgers.iter().map(|ledger| &ledger.email);
        own.chain(self.bystanders.iter().map(|it| &it.email)).any(|own| own == email)
    }
}

/// One change by hand; none where the contact is not there, or the change is none.
fn hand(ledger: &mut Ledger, mailmojo: &Mailmojo, number: usize, rng: &mut StdRng) -> Option<String> {
    let email = ledger.email.clone();
    let mut turned = |is_there: bool, what: &str| {
        // What is now known to the list, or not active, no sync changes: it can be read afterwards.
        ledger.was_turned = true;
        ledger.takes_statuses(&mailmojo.contact(&email).filter(|_| is_there)?);
        Some(what.to_owned())
    };
    match rng.random_range(0..20) {
        0..2 => turned(mailmojo.unsubscribe(&email, LIST), "leaves the list"),
        2 => turned(mailmojo.unsubscribe_everywhere(&email), "leaves everything"),
        3 => {
            let status = *["u", "b", "d"].choose(rng).unwrap();
            turned(mailmojo.set_status(&email, status), &format!("the account's status becomes {status}"))
        }
        4 => {
            mailmojo.set_list_status(&email, LIST, "a");
            turned(mailmojo.set_status(&email, "a"), "comes back")
        }
        5..10 => {
            let tag = format!("by hand {number}");
            mailmojo.add_tag(&email, &tag).then(|| ledger.hand_adds_tag(&tag))?;
            Some(format!("gains the tag {tag:?}"))
        }
        10..12 => {
            let tag = ledger.own_tags().choose(rng)?.clone();
            mailmojo.remove_tag(&email, &tag).then(|| ledger.hand_removes_tag(&tag))?;
            Some(format!("loses the tag {tag:?}"))
        }
        12 => {
            let tag = format!("sesamy_tag_by-hand-{number}");
            mailmojo.add_tag(&email, &tag).then(|| ledger.hand_adds_sesamy_tag(&tag))?;
            Some(format!("gains the tag {tag:?}"))
        }
        13..16 => {
            let (at, text) = (rng.random_range(0..3), format!("by hand {number}"));
            let there = mailmojo.contact(&email)?;
            let field = &[there.first_name, there.last_name, there.phone][at];
            let is_filled = field.as_ref().is_some_and(|text| !text.trim().is_empty());
            if is_filled || !ledger.hand_fills(at, &text) {
                return None;
            }
            mailmojo.edit(&email, |contact| {
                *[&mut contact.first_name, &mut contact.last_name, &mut contact.phone][at] =
                    Some(text.clone());
            });
            Some(format!("{} becomes {text:?}", ["first_name", "last_name", "phone"][at]))
        }
        16 => {
            let name = format!("Kari By Hand {number}");
            let _there = mailmojo.contact(&email)?;
            ledger
                .hand_names(&name)
                .then(|| mailmojo.edit(&email, |contact| contact.name = Some(name.clone())))?;
            Some(format!("name becomes {name:?}"))
        }
        // A contact in capitals that goes while a subscribe is on its way would be made anew in capitals.
        17 if email == email.to_lowercase() => {
            mailmojo.delete(&email).then(|| ledger.hand_deletes())?;
            Some("is deleted for good".to_owned())
        }
        _ => {
            let made = Contact { name: None, ..any_contact(&email, rng) };
            mailmojo.add_contact(made.clone()).then(|| ledger.made_by_hand(&made))?;
            Some(format!("is made by hand as {made:?}"))
        }
    }
}

/// A contact as one may find it.
fn any_contact(email: &str, rng: &mut StdRng) -> Contact {
    let mut made = contact(email);
    made.status = (*["a", "a", "a", "a", "a", "a", "a", "u", "b", "d"].choose(rng).unwrap()).to_owned();
    if rng.random_bool(0.2) {
        made = made.on_list_as(OTHER_LIST, ["a", "u"].choose(rng).unwrap());
    }
    if rng.random_bool(0.6) {
        made = made.on_list_as(LIST, ["a", "a", "a", "u", "b", "d"].choose(rng).unwrap());
    }
    let mut text = |value: &str| match rng.random_range(0..6) {
        0..3 => None,
        3 => Some("  ".to_owned()),
        _ => Some(value.to_owned()),
    };
    made.first_name = text("Kari");
    made.last_name = text("Nordmann");
    made.phone = text("+47 22 00 00 00");
    if rng.random_bool(0.25) {
        made = made.name("Kari Nordmann");
    }
    if rng.random_bool(0.2) {
        made = made.custom("favourite", "skiing");
    }
    let own = rng.random_range(0..5);
    let mut tags: Vec<&str> = OWN_TAGS.sample(rng, own).copied().collect();
    if rng.random_bool(0.05) {
        tags.extend(tags.first().copied());
    }
    let stale = rng.random_range(0..4);
    tags.extend(STALE_TAGS.sample(rng, stale).filter(|tag| **tag != FOR_EVER));
    if rng.random_bool(0.1) {
        tags.push(FOR_EVER);
    }
    tags.shuffle(rng);
    made.tags(tags)
}
