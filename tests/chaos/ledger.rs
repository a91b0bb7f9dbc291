//! What a contact must have become: kept beside the world, from what was there before, what people did by hand, and what
//! Sesamy ever said. Written from the published rules alone; it shares nothing with the service.

mod judgement;

use std::collections::BTreeSet;

use sesamy_mailmojo::sandbox::Contact;

use crate::cases::FOR_EVER;
use crate::person::Wanted;
pub use judgement::Excuses;

/// The settings of a round that the rules depend on.
#[derive(Debug, Clone, Copy)]
pub struct Rules {
    /// `sync.create_contacts`.
    pub creates: bool,
    /// `sesamy.derive_tags`.
    pub derives: bool,
    /// Whether Mailmojo says of a contact what each list knows of it. (It is no setting.)
    pub shows_lists: bool,
}

/// One contact's history, from which follows what it must be.
#[derive(Debug)]
pub struct Ledger {
    /// Where Mailmojo has the contact, or will have it.
    pub email: String,
    /// Whether it is there without our doing.
    is_there: bool,
    /// Whether a hand has changed its statuses.
    pub was_turned: bool,
    /// Whether a hand has deleted it: nobody has to make it again.
    pub was_deleted: bool,
    pub statuses: Statuses,
    whole_name: Option<String>,
    /// Whether a hand has filled in any part of the name.
    names_by_hand: bool,
    first_name: Text,
    last_name: Text,
    phone: Text,
    own: Vec<String>,
    /// Own tags that were there once.
    was_own: BTreeSet<String>,
    /// Tags added by hand, which a write on its way may lose.
    by_hand: BTreeSet<String>,
    pub sesamy: Vec<String>,
    /// Whether anybody but the service ever touched it.
    pub touched: bool,
    ever: Vec<Wanted>,
    /// The tags of all that the user ever had: a sync reads the profile first and the rest later, so it may meet any of
    /// them beside an older profile.
    ever_tags: BTreeSet<String>,
    now: Option<Wanted>,
}

/// The account's status, and each list's.
#[derive(Debug, Clone, PartialEq)]
pub struct Statuses {
    pub account: String,
    pub lists: Vec<(i64, String)>,
}

/// One of the three fields that are filled where they are empty.
#[derive(Debug, Clone, Default)]
struct Text {
    initial: Option<String>,
    by_hand: Option<String>,
}
impl Text {
    fn is_present(&self) -> bool {
        let text = self.by_hand.as_ref().or(self.initial.as_ref());
        text.is_some_and(|text| !text.trim().is_empty())
    }
}

impl Ledger {
    /// The history of the contact of `email`, which is `contact` by now.
    pub fn new(email: &str, contact: Option<&Contact>) -> Self {
        let mut ledger = Self {
            email: email.to_owned(),
            is_there: false,
            was_turned: false,
            was_deleted: false,
            statuses: Statuses { account: "a".to_owned(), lists: Vec::new() },
            whole_name: None,
            names_by_hand: false,
            first_name: Text::default(),
            last_name: Text::default(),
            phone: Text::default(),
            own: Vec::new(),
            was_own: BTreeSet::new(),
            by_hand: BTreeSet::new(),
            sesamy: Vec::new(),
            touched: false,
            ever: Vec::new(),
            ever_tags: BTreeSet::new(),
            now: None,
        };
        if let Some(contact) = contact {
            ledger.starts_as(contact);
        }
        ledger
    }

    /// The contact is there now, not by the service.
    pub fn starts_as(&mut self, contact: &Contact) {
        let text = |initial: &Option<String>| Text { initial: initial.clone(), by_hand: None };
        self.is_there = true;
        self.whole_name.clone_from(&contact.name);
        self.first_name = text(&contact.first_name);
        self.last_name = text(&contact.last_name);
        self.phone = text(&contact.phone);
        self.own = contact.own_tags().into_iter().map(str::to_owned).collect();
        self.was_own.extend(self.own.iter().cloned());
        self.sesamy = contact.sesamy_tags().into_iter().map(str::to_owned).collect();
        self.takes_statuses(contact);
    }

    /// A contact that was not there has been made by hand, maybe beside a sync that is about to make it.
    pub fn made_by_hand(&mut self, contact: &Contact) {
        self.starts_as(contact);
        self.touched = true;
        self.names_by_hand = true;
        self.by_hand = contact.own_tags().into_iter().map(str::to_owned).collect();
        for text in [&mut self.first_name, &mut self.last_name, &mut self.phone] {
            text.by_hand = text.initial.take_if(|text| !text.trim().is_empty());
        }
    }

    /// Sesamy says this now; none: nothing may come of it. `tags` are of all that the user has.
    pub fn wants(&mut self, wanted: Option<Wanted>, tags: &BTreeSet<String>) {
        self.ever_tags.extend(tags.iter().cloned());
        self.ever.extend(wanted.clone());
        self.now = wanted;
    }

    /// What a hand has left behind of the statuses.
    pub fn takes_statuses(&mut self, contact: &Contact) {
        let lists = contact.associations.iter().map(|known| (known.list_id, known.status.clone())).collect();
        self.statuses = Statuses { account: contact.status.clone(), lists };
        self.is_there = true;
    }

    pub fn hand_adds_tag(&mut self, tag: &str) {
        self.touched = true;
        self.own.push(tag.to_owned());
        self.was_own.insert(tag.to_owned());
        self.by_hand.insert(tag.to_owned());
    }

    pub fn hand_removes_tag(&mut self, tag: &str) {
        self.touched = true;
        self.own.retain(|own| own != tag);
    }

    /// An own tag that a hand could take away.
    pub fn own_tags(&self) -> &[String] {
        &self.own
    }

    /// Whether a hand may fill in the `at`th of first name, last name and phone: where nobody has before.
    pub fn hand_fills(&mut self, at: usize, text: &str) -> bool {
        let field = match at {
            0 => &mut self.first_name,
            1 => &mut self.last_name,
            _ => &mut self.phone,
        };
        let fills = !field.is_present();
        if fills {
            field.by_hand = Some(text.to_owned());
            self.names_by_hand |= at < 2;
        }
        fills
    }

    /// Whether a hand may fill in the whole name: where there is none.
    pub fn hand_names(&mut self, name: &str) -> bool {
        let fills = self.whole_name.is_none();
        if fills {
            self.whole_name = Some(name.to_owned());
            self.names_by_hand = true;
        }
        fills
    }

    /// A hand has added a tag that is Sesamy's: the next sync takes it away.
    pub fn hand_adds_sesamy_tag(&mut self, tag: &str) {
        self.touched = true;
        self.sesamy.push(tag.to_owned());
    }

    /// The contact is deleted for good.
    pub fn hand_deletes(&mut self) {
        let (ever, now) = (std::mem::take(&mut self.ever), self.now.take());
        let (was_own, mut ever_tags) =
            (std::mem::take(&mut self.was_own), std::mem::take(&mut self.ever_tags));
        // A sync that is on its way may still bring back what it has read and would keep.
        ever_tags.extend(self.sesamy.drain(..).filter(|tag| tag == FOR_EVER));
        let (touched, was_deleted) = (true, true);
        let blank = Self::new(&self.email.clone(), None);
        *self = Self { ever, ever_tags, was_own, now, touched, was_deleted, ..blank };
    }
}
