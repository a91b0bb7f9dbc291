//! The audit of a write: what it would do to the publisher's data, judged by what the service knows.
//!
//! Pure: the contact as it is stored, the last answer about it, and the body. Each kind of finding has a test.

use std::collections::{BTreeSet, HashSet};

use serde_json::{Map, Value};

use super::super::finding::{Finding, FindingKind};
use super::contact::{Contact, own};
use super::known::{KnownContact, texts};

/// A write, as it arrived.
pub(super) struct Write<'a> {
    /// The address in the path or, for a subscribe, in the body.
    pub(super) email: &'a str,
    /// The list; `None` for a patch.
    pub(super) list: Option<i64>,
    pub(super) body: &'a Map<String, Value>,
    /// The contact as it is stored.
    pub(super) stored: Option<&'a Contact>,
    /// The last answer about it, in which `None` is a 404; `None` if there never was one.
    pub(super) known: Option<&'a Option<KnownContact>>,
    /// Whether a write replaces all custom fields.
    pub(super) replaces_custom: bool,
    /// The custom fields that the service may write, whatever they hold.
    pub(super) written_custom: &'a BTreeSet<String>,
}

/// Damage that the service could not foresee: another writer was faster, after the service had last read the contact.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
pub struct Races {
    /// Tags that are not Sesamy's and were lost unseen.
    pub lost_unseen_tags: u64,
    /// Tags that were removed after the read and that the write brought back.
    pub revived_tags: u64,
    /// Names, phones and custom fields that were overwritten unseen, or custom fields that were lost unseen.
    pub overwritten_unseen: u64,
    /// Subscribes for a person who left, or joined in another way, after the read.
    pub subscribed_unseen: u64,
}

const PATCH_FIELDS: [&str; 6] = ["email", "first_name", "last_name", "phone", "tags", "custom"];
const SUBSCRIBE_FIELDS: [&str; 2] = ["force_subscribe", "subscribed"];

/// Judges one write. Damage that the service could not foresee is counted in `races`, not reported.
pub(super) fn audit(write: &Write<'_>, races: &mut Races) -> Vec<Finding> {
    let mut audit = Audit { write, findings: Vec::new(), races };
    audit.fields();
    audit.repeated_tags();
    audit.own_tags();
    if let Some(stored) = write.stored {
        audit.names_and_phone(stored);
        audit.custom_fields(stored);
    }
    if let Some(list) = write.list {
        audit.subscribe(list);
    }
    audit.findings
}

struct Audit<'a> {
    write: &'a Write<'a>,
    findings: Vec<Finding>,
    races: &'a mut Races,
}

impl Audit<'_> {
    fn report(&mut self, kind: FindingKind, what: &str) {
        let how = if self.write.list.is_some() { "a subscribe" } else { "a patch" };
        self.findings.push(Finding::new(kind, format!("{how} of {} {what}", self.write.email)));
    }

    /// Reports damage that the service could foresee; returns 1 if it could not.
    fn report_if(&mut self, foreseeable: bool, kind: FindingKind, what: &str) -> u64 {
        if foreseeable {
            self.report(kind, what);
        }
        u64::from(!foreseeable)
    }

    /// Whether the last answer says so; a service that never read the contact is judged as if it did.
    fn knew(&self, says: impl FnOnce(&KnownContact) -> bool) -> bool {
        match self.write.known {
            None => true,
            Some(None) => false,
            Some(Some(contact)) => says(contact),
        }
    }

    fn fields(&mut self) {
        for name in self.write.body.keys().map(String::as_str) {
            let is_known =
                PATCH_FIELDS.contains(&name) || self.write.list.is_some() && SUBSCRIBE_FIELDS.contains(&name);
            if name == "name" {
                self.report(FindingKind::NameSent, "sends the field `name`");
            } else if !is_known {
                let what = format!("sends the field `{name}`, which Mailmojo does not have");
                self.report(FindingKind::UnknownField, &what);
            }
        }
    }

    fn repeated_tags(&mut self) {
        let Some(tags) = self.write.body.get("tags").and_then(texts) else { return };
        let stored = self.write.stored.map_or(&[][..], |stored| &stored.tags);
        let mut met = HashSet::new();
        for tag in &tags {
            let is_repeated = !met.insert(tag);
            if is_repeated && stored.iter().filter(|own| *own == tag).count() < 2 {
                self.report(FindingKind::TagDuplicated, &format!("names the tag `{tag}` twice"));
            }
        }
    }

    fn own_tags(&mut self) {
        let Some(tags) = self.write.body.get("tags") else { return };
        let sent = texts(tags).unwrap_or_default();
        let stored = self.write.stored.map_or(&[][..], |stored| &stored.tags);
        let (stored, sent): (Vec<_>, Vec<_>) = (own(stored).collect(), own(&sent).collect());
        for tag in missing(&stored, &sent) {
            let foreseeable = self.knew(|contact| contact.own_tags.iter().any(|own| own == tag));
            let what = format!("loses the tag `{tag}`, which is not Sesamy's");
            self.races.lost_unseen_tags += self.report_if(foreseeable, FindingKind::OwnTagLost, &what);
        }
        for tag in missing(&sent, &stored).into_iter().filter(|tag| !stored.contains(tag)) {
            let read = self.write.known.and_then(Option::as_ref);
            let was_there = read.is_some_and(|contact| contact.own_tags.iter().any(|own| own == tag));
            let what = format!("brings the tag `{tag}`, which is not Sesamy's");
            self.races.revived_tags += self.report_if(!was_there, FindingKind::OwnTagInvented, &what);
        }
        if !same_order(&stored, &sent) && self.knew(|contact| !same_order(&contact.own_tags, &sent)) {
            let what = format!("puts the tags {stored:?}, which are not Sesamy's, into the order {sent:?}");
            self.report(FindingKind::OwnTagsReordered, &what);
        }
    }

    fn names_and_phone(&mut self, stored: &Contact) {
        let present = |text: &Option<String>| text.as_deref().is_some_and(|text| !text.trim().is_empty());
        let kept = [
            ("first_name", &stored.first_name, FindingKind::NameOverwritten),
            ("last_name", &stored.last_name, FindingKind::NameOverwritten),
            ("phone", &stored.phone, FindingKind::PhoneOverwritten),
        ];
        for (field, old, kind) in kept {
            let Some(new) = self.write.body.get(field) else { continue };
            if present(old) && new.as_str() != old.as_deref() {
                let old = old.as_deref().unwrap_or_default();
                let what = format!("makes `{field}`, which is `{old}`, into {new}");
                let foreseeable = self.knew(|contact| contact.has(field));
                self.races.overwritten_unseen += self.report_if(foreseeable, kind, &what);
            }
        }
        let is_whole = present(&stored.name) && !present(&stored.first_name) && !present(&stored.last_name);
        let sent =
            |field| self.write.body.get(field).and_then(Value::as_str).is_some_and(|it| !it.is_empty());
        if is_whole && (sent("first_name") || sent("last_name")) {
            let what = "sets a first or last name beside a `name` that has neither";
            let foreseeable = self.knew(|contact| contact.has("name"));
            self.races.overwritten_unseen += self.report_if(foreseeable, FindingKind::NameSplit, what);
        }
    }

    fn custom_fields(&mut self, stored: &Contact) {
        let Some(sent) = self.write.body.get("custom").and_then(Value::as_object) else { return };
        for (field, old) in stored.custom.iter().filter(|(_, old)| !old.is_null()) {
            let new = sent.get(field);
            let (kind, verb) = match new {
                None if !self.write.replaces_custom => continue,
                None => (FindingKind::CustomLost, "loses"),
                Some(new) if new == old || self.write.written_custom.contains(field) => continue,
                Some(_) => (FindingKind::CustomOverwritten, "changes"),
            };
            // Another writer was faster if the service knew of no value, or sends the value that it knew.
            let foreseeable =
                self.knew(|contact| contact.custom(field).is_some_and(|known| Some(known) != new));
            let what = format!("{verb} the custom field `{field}`");
            self.races.overwritten_unseen += self.report_if(foreseeable, kind, &what);
        }
    }

    fn subscribe(&mut self, list: i64) {
        if self.write.body.get("force_subscribe") != Some(&Value::Bool(false)) {
            self.report(FindingKind::ForceSubscribe, "does not say `force_subscribe: false`");
        }
        let Some(stored) = self.write.stored else {
            if self.write.email.chars().any(char::is_uppercase) {
                let what = "creates a contact under an address with upper-case letters";
                self.report(FindingKind::CreatedInUpperCase, what);
            }
            return;
        };
        if stored.status != "a" {
            let foreseeable = self.knew(|contact| !contact.is_active());
            let what = format!("goes against the account status `{}`", stored.status);
            self.races.subscribed_unseen +=
                self.report_if(foreseeable, FindingKind::SubscribedAgainstStatus, &what);
        }
        if let Some(status) = stored.list_status(list) {
            let foreseeable = self.knew(|contact| !contact.is_off(list));
            let what = format!("is for list {list}, which knows the contact already, as `{status}`");
            self.races.subscribed_unseen += self.report_if(foreseeable, FindingKind::SubscribedAgain, &what);
        }
    }
}

/// What of `from` is not in `other`, as often as it is there.
fn missing<'a>(from: &[&'a str], other: &[&str]) -> Vec<&'a str> {
    let mut left = other.to_vec();
    let mut missing = Vec::new();
    for tag in from {
        match left.iter().position(|own| own == tag) {
            Some(at) => drop(left.swap_remove(at)),
            None => missing.push(*tag),
        }
    }
    missing
}

/// Whether the tags that both have come in the same order in both (the first of each tag counts).
fn same_order<A: AsRef<str>, B: AsRef<str>>(a: &[A], b: &[B]) -> bool {
    fn shared<'a, X: AsRef<str>, Y: AsRef<str>>(of: &'a [X], other: &[Y]) -> Vec<&'a str> {
        let mut met = HashSet::new();
        let in_other = |tag: &&str| other.iter().any(|own| own.as_ref() == *tag);
        of.iter().map(AsRef::as_ref).filter(in_other).filter(|tag| met.insert(*tag)).collect()
    }
    shared(a, b) == shared(b, a)
}
