//! The audit of a write: what it would do to what the publisher keeps, judged by what the service had been told.
//!
//! Pure: the contact as it is stored, what was told of it last, and the body. Each kind of finding has a test.

use std::collections::{BTreeSet, HashSet};

use serde_json::{Map, Value};

use super::super::finding::{Finding, FindingKind};
use super::contact::{Contact, own};
use super::seen::{Seen, texts};

/// A write, as it came.
pub(super) struct Write<'a> {
    /// The address in the path or, for a subscribe, in the body.
    pub(super) email: &'a str,
    /// The list; none for a patch.
    pub(super) list: Option<i64>,
    pub(super) body: &'a Map<String, Value>,
    /// The contact as it is stored.
    pub(super) stored: Option<&'a Contact>,
    /// What was told of it last; none: nothing ever.
    pub(super) seen: Option<&'a Seen>,
    pub(super) custom: CustomRules<'a>,
}

/// What becomes of custom fields.
pub(super) struct CustomRules<'a> {
    /// Whether a write replaces all of them.
    pub(super) replaces: bool,
    /// Those that the service may write, whatever they hold.
    pub(super) written: &'a BTreeSet<String>,
}

/// What the audit says.
#[derive(Debug, Default)]
pub(super) struct Verdict {
    pub(super) findings: Vec<Finding>,
    pub(super) races: Races,
}

/// Damage that the service could not foresee: somebody else was faster, after the service had last read the contact.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
pub struct Races {
    /// Tags that are not Sesamy's and were lost unseen.
    pub lost_unseen_tags: u64,
    /// Tags that somebody took away after the read and that the write brought back.
    pub revived_tags: u64,
    /// Names, phones and custom fields that were overwritten, or custom fields that were lost, unseen.
    pub overwritten_unseen: u64,
    /// Subscribes for somebody who left, or came by another way, after the read.
    pub subscribed_unseen: u64,
}

impl Races {
    pub(super) fn add(&mut self, more: Self) {
        self.lost_unseen_tags += more.lost_unseen_tags;
        self.revived_tags += more.revived_tags;
        self.overwritten_unseen += more.overwritten_unseen;
        self.subscribed_unseen += more.subscribed_unseen;
    }
}

const PATCH_FIELDS: [&str; 6] = ["email", "first_name", "last_name", "phone", "tags", "custom"];
const SUBSCRIBE_FIELDS: [&str; 2] = ["force_subscribe", "subscribed"];

/// Judges one write.
pub(super) fn judge(write: &Write<'_>) -> Verdict {
    let mut verdict = Verdict::default();
    fields(write, &mut verdict);
    tags_once(write, &mut verdict);
    match write.stored {
        Some(stored) => {
            own_tags(write, &stored.tags, &mut verdict);
            texts_stay(write, stored, &mut verdict);
            custom_stays(write, stored, &mut verdict);
        }
        None => own_tags(write, &[], &mut verdict),
    }
    if let Some(list) = write.list {
        subscribe(write, list, &mut verdict);
    }
    verdict
}

impl Write<'_> {
    fn find(&self, kind: FindingKind, what: &str) -> Finding {
        let how = if self.list.is_some() { "a subscribe" } else { "a patch" };
        Finding::new(kind, format!("{how} of {} {what}", self.email))
    }

    /// Whether the service had been told so; a service that never read should have.
    fn told(&self, asks: impl FnOnce(&super::seen::Snapshot) -> bool) -> bool {
        match self.seen {
            None => true,
            Some(Seen::Nobody) => false,
            Some(Seen::Somebody(snapshot)) => asks(snapshot),
        }
    }
}

fn fields(write: &Write<'_>, verdict: &mut Verdict) {
    for name in write.body.keys().map(String::as_str) {
        let known = PATCH_FIELDS.contains(&name) || write.list.is_some() && SUBSCRIBE_FIELDS.contains(&name);
        if name == "name" {
            verdict.findings.push(write.find(FindingKind::NameSent, "sends the field `name`"));
        } else if !known {
            let what = format!("sends the field `{name}`, which Mailmojo does not have");
            verdict.findings.push(write.find(FindingKind::UnknownField, &what));
        }
    }
}

fn tags_once(write: &Write<'_>, verdict: &mut Verdict) {
    let Some(tags) = write.body.get("tags").and_then(texts) else { return };
    let stored = write.stored.map_or(&[][..], |stored| &stored.tags);
    let mut met = HashSet::new();
    for tag in &tags {
        let twice = !met.insert(tag);
        if twice && stored.iter().filter(|own| *own == tag).count() < 2 {
            let what = format!("names the tag `{tag}` twice");
            verdict.findings.push(write.find(FindingKind::TagDuplicated, &what));
        }
    }
}

fn own_tags(write: &Write<'_>, stored: &[String], verdict: &mut Verdict) {
    let sent = match write.body.get("tags") {
        None => return,
        Some(tags) => texts(tags).unwrap_or_default(),
    };
    let (stored, sent): (Vec<_>, Vec<_>) = (own(stored).collect(), own(&sent).collect());
    for tag in missing(&stored, &sent) {
        if write.told(|seen| seen.own_tags.iter().any(|own| own == tag)) {
            let what = format!("loses the tag `{tag}`, which is not Sesamy's");
            verdict.findings.push(write.find(FindingKind::OwnTagLost, &what));
        } else {
            verdict.races.lost_unseen_tags += 1;
        }
    }
    for tag in missing(&sent, &stored) {
        let was_there =
            matches!(write.seen, Some(Seen::Somebody(seen)) if seen.own_tags.iter().any(|own| own == tag));
        if was_there && !stored.contains(&tag) {
            verdict.races.revived_tags += 1;
        } else if !stored.contains(&tag) {
            let what = format!("brings the tag `{tag}`, which is not Sesamy's");
            verdict.findings.push(write.find(FindingKind::OwnTagInvented, &what));
        }
    }
    if !same_order(&stored, &sent) && write.told(|seen| !same_order(&seen.own_tags, &sent)) {
        let what = format!("puts the tags {stored:?}, which are not Sesamy's, into the order {sent:?}");
        verdict.findings.push(write.find(FindingKind::OwnTagsReordered, &what));
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

/// Whether what both have comes in the same order in both (the first of each tag counts).
fn same_order<A: AsRef<str>, B: AsRef<str>>(a: &[A], b: &[B]) -> bool {
    fn shared<'a, X: AsRef<str>, Y: AsRef<str>>(of: &'a [X], other: &[Y]) -> Vec<&'a str> {
        let mut met = HashSet::new();
        let in_other = |tag: &&str| other.iter().any(|own| own.as_ref() == *tag);
        of.iter().map(AsRef::as_ref).filter(in_other).filter(|tag| met.insert(*tag)).collect()
    }
    shared(a, b) == shared(b, a)
}

fn texts_stay(write: &Write<'_>, stored: &Contact, verdict: &mut Verdict) {
    let present = |text: &Option<String>| text.as_deref().is_some_and(|text| !text.trim().is_empty());
    let kept = [
        ("first_name", &stored.first_name, FindingKind::NameOverwritten),
        ("last_name", &stored.last_name, FindingKind::NameOverwritten),
        ("phone", &stored.phone, FindingKind::PhoneOverwritten),
    ];
    for (field, old, kind) in kept {
        let Some(new) = write.body.get(field) else { continue };
        if !present(old) || new.as_str() == old.as_deref() {
            continue;
        }
        if write.told(|seen| seen.has(field)) {
            let old = old.as_deref().unwrap_or_default();
            let what = format!("makes `{field}`, which is `{old}`, into {new}");
            verdict.findings.push(write.find(kind, &what));
        } else {
            verdict.races.overwritten_unseen += 1;
        }
    }
    let whole = present(&stored.name) && !present(&stored.first_name) && !present(&stored.last_name);
    let sent =
        |field: &str| write.body.get(field).and_then(Value::as_str).is_some_and(|text| !text.is_empty());
    if whole && (sent("first_name") || sent("last_name")) {
        if write.told(|seen| seen.has("name")) {
            let what = "sets a first or last name beside a `name` that has neither";
            verdict.findings.push(write.find(FindingKind::NameSplit, what));
        } else {
            verdict.races.overwritten_unseen += 1;
        }
    }
}

fn custom_stays(write: &Write<'_>, stored: &Contact, verdict: &mut Verdict) {
    let Some(sent) = write.body.get("custom").and_then(Value::as_object) else { return };
    for (field, old) in stored.custom.iter().filter(|(_, old)| !old.is_null()) {
        let new = sent.get(field);
        let kind = match new {
            None if !write.custom.replaces => continue,
            None => FindingKind::CustomLost,
            Some(new) if new == old || write.custom.written.contains(field) => continue,
            Some(_) => FindingKind::CustomOverwritten,
        };
        // Somebody else was faster where the service had been told of none, or sends what it had been told.
        if write.told(|seen| seen.custom(field).is_some_and(|told| Some(told) != new)) {
            let what = match kind {
                FindingKind::CustomLost => format!("loses the custom field `{field}`"),
                _ => format!("changes the custom field `{field}`"),
            };
            verdict.findings.push(write.find(kind, &what));
        } else {
            verdict.races.overwritten_unseen += 1;
        }
    }
}

fn subscribe(write: &Write<'_>, list: i64, verdict: &mut Verdict) {
    if write.body.get("force_subscribe") != Some(&Value::Bool(false)) {
        let what = "does not say `force_subscribe: false`";
        verdict.findings.push(write.find(FindingKind::ForceSubscribe, what));
    }
    let Some(stored) = write.stored else {
        if write.email.chars().any(char::is_uppercase) {
            let what = "makes a contact under an address with upper-case letters";
            verdict.findings.push(write.find(FindingKind::CreatedInUpperCase, what));
        }
        return;
    };
    if stored.status != "a" {
        if write.told(|seen| !seen.is_active()) {
            let what = format!("goes against the account status `{}`", stored.status);
            verdict.findings.push(write.find(FindingKind::SubscribedAgainstStatus, &what));
        } else {
            verdict.races.subscribed_unseen += 1;
        }
    }
    if let Some(status) = stored.list_status(list) {
        if write.told(|seen| !seen.is_off(list)) {
            let what = format!("is for list {list}, which knows the contact already, as `{status}`");
            verdict.findings.push(write.find(FindingKind::SubscribedAgain, &what));
        } else {
            verdict.races.subscribed_unseen += 1;
        }
    }
}
