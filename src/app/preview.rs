//! Preview: what a sync of a user would do now, and why, down to the request that would be sent.
//!
//! It is made from a [`Decision`], the very thing that a sync writes, so it shows nothing that a sync would not do. Its
//! JSON is a contract. It holds personal data: it is for the operator who asked for it, and never for a log.

use serde::Serialize;
use serde_json::Value;

use crate::merge::{Custom, Field, FieldWhy, Placement, Tag, TagWhy};
use crate::model::{Contact, Membership, Profile};
use crate::outcome::Reason;
use crate::personal::Personal;
use crate::sync::{Decision, OldContact, OldFate, Write};
use crate::tags;
use crate::upstream::Call;
use crate::user::UserId;

/// What a sync of one user would do now.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub(crate) struct Preview {
    pub user_id: String,
    /// How a sync would end: `created`, `subscribed`, `updated`, `unchanged` or `skipped`.
    pub outcome: &'static str,
    /// Why the user would be skipped, as in the log.
    pub skipped: Option<&'static str>,
    /// What Sesamy's profile says, as far as a sync uses it; null if Sesamy has no such user or was not asked.
    pub profile: Option<Facts>,
    /// The tags that the contact should have, sorted, and why; empty for a user who is skipped before they are known.
    pub wanted_tags: Vec<Wanted>,
    /// The contact as Mailmojo has it now; null if it has none or was not asked.
    pub contact: Option<ContactNow>,
    /// First name, last name and phone: whether each is written, and why.
    pub fields: Vec<Field>,
    /// The custom fields named in `mailmojo.custom_fields`: what each holds now, and what Sesamy has.
    pub custom_fields: Vec<Custom>,
    /// Every tag that is there or wanted: whether it comes, goes or stays, and why.
    pub tags: Vec<Tag>,
    /// What becomes of the contact's place on the list; null for a user who is skipped before that is known.
    pub list: Option<Placement>,
    /// The contact of the address that the user had before; null if the address is the same.
    pub old_contact: Option<OldContactNow>,
    /// The request that a sync would send to Mailmojo; null if it would send none.
    pub request: Option<Request>,
    /// Why none would be sent, in words; null if one would be.
    pub no_request: Option<String>,
    /// Whether `sync.dry_run` would hold the request back, or the removal guard holds a part of it back.
    pub held_back: bool,
}

/// What a sync uses of a profile, blank values left out.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub(crate) struct Facts {
    pub email: Option<Personal>,
    pub first_name: Option<Personal>,
    pub last_name: Option<Personal>,
    /// The first by priority.
    pub phone: Option<Personal>,
    /// The profile's own tags.
    pub tags: Vec<String>,
}

/// A wanted tag, and what asks for it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub(crate) struct Wanted {
    pub tag: String,
    pub reasons: Vec<Why>,
}

/// One reason, for programs and as a sentence.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub(crate) struct Why {
    #[serde(flatten)]
    pub reason: tags::TagReason,
    pub text: String,
}

/// The contact as it is now.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub(crate) struct ContactNow {
    /// The address, as Mailmojo spells it.
    pub email: Option<Personal>,
    pub name: Option<Personal>,
    pub first_name: Option<Personal>,
    pub last_name: Option<Personal>,
    pub phone: Option<Personal>,
    pub tags: Vec<String>,
    /// The status on the account: `a` active, `u` unsubscribed, `b` bounced, `d` deleted.
    pub status: Option<String>,
    /// Whether the contact is or was on the list.
    pub on_list: bool,
    /// The status on the list, with the same letters.
    pub list_status: Option<String>,
}

/// The contact of an address that the user no longer has.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub(crate) struct OldContactNow {
    pub address: Personal,
    pub fate: OldFate,
    pub tags_removed: Vec<String>,
    /// The request that a sync would send before the other one; null if there is nothing to take off.
    pub request: Option<Request>,
}

/// A request to Mailmojo.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub(crate) struct Request {
    pub method: String,
    /// The path behind `mailmojo.api_url`.
    pub path: String,
    pub body: Value,
}

/// One line of a preview for people. The command and the page draw the same lines.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct PreviewRow {
    pub about: About,
    /// The field or the tag; of the list, what becomes of the contact's place on it; of an earlier contact, its address.
    pub name: String,
    pub mark: Mark,
    /// What a field holds now, and what Sesamy has.
    pub now: Option<String>,
    pub sesamy: Option<String>,
    pub why: Vec<String>,
}

/// What a line is about.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum About {
    List,
    /// First the contact of the earlier address, then each tag that it loses.
    OldContact,
    Field,
    CustomField,
    Tag,
}

/// Whether something is added, removed, or stays.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Mark {
    Added,
    Removed,
    Stays,
}

impl Preview {
    /// Everything that a sync would change or leave, a line each.
    pub(crate) fn rows(&self) -> Vec<PreviewRow> {
        let list = self.list.iter().map(PreviewRow::from);
        let old = self.old_contact.iter().flat_map(OldContactNow::rows);
        let fields = self.fields.iter().map(PreviewRow::from);
        let custom_fields = self.custom_fields.iter().map(PreviewRow::from);
        let tags = self.tags.iter().map(PreviewRow::from);
        list.chain(old).chain(fields).chain(custom_fields).chain(tags).collect()
    }
}

impl PreviewRow {
    fn new(about: About, mark: Mark, name: &str, why: Vec<String>) -> Self {
        Self { about, name: name.to_owned(), mark, now: None, sesamy: None, why }
    }

    fn with_values(self, now: &Option<Personal>, sesamy: &Option<Personal>) -> Self {
        let text = |value: &Option<Personal>| value.as_ref().map(|it| it.as_str().to_owned());
        Self { now: text(now), sesamy: text(sesamy), ..self }
    }
}

impl From<&Placement> for PreviewRow {
    fn from(list: &Placement) -> Self {
        let mark = match list {
            Placement::Created | Placement::Subscribed => Mark::Added,
            _ => Mark::Stays,
        };
        let text = list.to_string();
        match text.split_once(": ") {
            Some((what, why)) => Self::new(About::List, mark, what, vec![why.to_owned()]),
            None => Self::new(About::List, mark, &text, Vec::new()),
        }
    }
}

impl From<&Field> for PreviewRow {
    fn from(field: &Field) -> Self {
        let mark = if field.why == FieldWhy::ContactHasNone { Mark::Added } else { Mark::Stays };
        let row = Self::new(About::Field, mark, field.field, vec![field.why.to_string()]);
        row.with_values(&field.now, &field.sesamy)
    }
}

impl From<&Custom> for PreviewRow {
    fn from(field: &Custom) -> Self {
        let mark = match (field.changes, &field.sesamy) {
            (false, _) => Mark::Stays,
            (true, Some(_)) => Mark::Added,
            (true, None) => Mark::Removed,
        };
        let row = Self::new(About::CustomField, mark, &field.name, vec![field.source.to_string()]);
        row.with_values(&field.now, &field.sesamy)
    }
}

impl From<&Tag> for PreviewRow {
    /// With what asks for the tag or, if nothing does, what becomes of it.
    fn from(tag: &Tag) -> Self {
        let mark = match tag.why {
            TagWhy::Added => Mark::Added,
            TagWhy::Removed => Mark::Removed,
            TagWhy::AlreadyThere | TagWhy::Kept | TagWhy::Held | TagWhy::SomebodyElses => Mark::Stays,
        };
        let why = match tag.reasons.as_slice() {
            [] => vec![tag.why.to_string()],
            reasons => reasons.iter().map(tags::TagReason::to_string).collect(),
        };
        Self::new(About::Tag, mark, &tag.tag, why)
    }
}

impl OldContactNow {
    fn rows(&self) -> impl Iterator<Item = PreviewRow> {
        let row = |mark, name: &str, why: String| PreviewRow::new(About::OldContact, mark, name, vec![why]);
        let contact = row(Mark::Stays, self.address.as_str(), self.fate.to_string());
        let why = "it is not this user's address any more";
        let gone = self.tags_removed.iter().map(move |tag| row(Mark::Removed, tag, why.to_owned()));
        std::iter::once(contact).chain(gone)
    }
}

impl Preview {
    /// What `decision` would do; `request` is what a write sends.
    pub(super) fn new(user: &UserId, decision: &Decision, request: impl Fn(&Write) -> Request) -> Self {
        let report = decision.report();
        let change = decision.plan().and_then(|plan| plan.change.as_ref());
        Self {
            user_id: user.as_str().to_owned(),
            outcome: report.outcome.as_str(),
            skipped: report.outcome.reason(),
            profile: decision.profile().map(Facts::from),
            wanted_tags: decision.wanted().into_iter().flatten().map(Wanted::from).collect(),
            contact: decision.contact().map(ContactNow::from),
            fields: change.map(|it| it.fields.clone()).unwrap_or_default(),
            custom_fields: change.map(|it| it.custom_fields.clone()).unwrap_or_default(),
            tags: change.map(|it| it.tags.clone()).unwrap_or_default(),
            list: decision.plan().map(|plan| plan.list.clone()),
            old_contact: decision.old_contact().map(|old| OldContactNow::of(old, &request)),
            request: decision.write().map(&request),
            no_request: (!decision.changes()).then(|| no_request(decision.skipped()).to_owned()),
            held_back: report.held_back,
        }
    }
}

fn no_request(skipped: Option<Reason>) -> &'static str {
    match skipped {
        None => "the contact is as it should be",
        Some(Reason::UserNotFound) => "Sesamy has no such user",
        Some(Reason::Guest) => "the user is a guest: a temporary account made during a checkout",
        Some(Reason::NoEmail) => "the user has no e-mail address",
        Some(Reason::BadEmail) => "the user's address is not a valid e-mail address",
        Some(Reason::NotInMailmojo) => "Mailmojo has no such contact, and sync.create_contacts is off",
        Some(Reason::RemovedInMailmojo) => {
            "somebody has removed the contact in Mailmojo; `sync --again` makes it again"
        }
        Some(Reason::LeftUnderOldAddress) => {
            "the user had left under an older address; `sync --again` creates the contact all the same"
        }
        Some(Reason::Brake) => {
            "the removal guard holds back what there is to do; `queue resume` lets it through"
        }
    }
}

impl From<&Profile> for Facts {
    fn from(profile: &Profile) -> Self {
        Self {
            email: profile.email.clone(),
            first_name: profile.first_name.clone(),
            last_name: profile.last_name.clone(),
            phone: profile.phone.clone(),
            tags: profile.tags.clone(),
        }
    }
}

impl From<(&String, &Vec<tags::TagReason>)> for Wanted {
    fn from((tag, reasons): (&String, &Vec<tags::TagReason>)) -> Self {
        let why = |reason: &tags::TagReason| Why { reason: reason.clone(), text: reason.to_string() };
        Self { tag: tag.clone(), reasons: reasons.iter().map(why).collect() }
    }
}

impl From<&Contact> for ContactNow {
    fn from(contact: &Contact) -> Self {
        let (on_list, list_status) = match &contact.membership {
            Membership::NotOnList | Membership::Unknown => (false, None),
            Membership::OnList(status) => (true, status.clone()),
        };
        Self {
            email: contact.email.clone(),
            name: contact.name.clone(),
            first_name: contact.first_name.clone(),
            last_name: contact.last_name.clone(),
            phone: contact.phone.clone(),
            tags: contact.tags.clone().unwrap_or_default(),
            status: contact.status.clone(),
            on_list,
            list_status,
        }
    }
}

impl OldContactNow {
    fn of(old: &OldContact, request: impl Fn(&Write) -> Request) -> Self {
        Self {
            address: old.address.clone(),
            fate: old.fate,
            tags_removed: old.tags_removed.clone(),
            request: old.write.as_ref().map(request),
        }
    }
}

impl From<&Call> for Request {
    fn from(call: &Call) -> Self {
        Self {
            method: call.method.to_string(),
            path: call.path.clone(),
            body: call.body.clone().unwrap_or(Value::Null),
        }
    }
}
