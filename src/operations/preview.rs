//! Preview: what a sync of a user would do now, and why, down to the request that would be sent. Writes nothing.
//!
//! It is made of a [`Decision`], the very thing that a sync writes, so it tells nothing that a sync would not do. The
//! field names of its JSON are stable. It holds personal data: it is for who asked for it, and never for a log.

use serde::Serialize;
use serde_json::Value;

use crate::merge::{Custom, Field, List, Tag};
use crate::model::{Contact, LastSeen, Membership, Profile};
use crate::outcome::Reason;
use crate::personal::Personal;
use crate::sync::{Context, Decision, OldContact, OldFate, SyncError, Syncer, Write};
use crate::tags;
use crate::upstream::{Attempt, Call};
use crate::user::UserId;

/// What a sync of one user would do now.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Preview {
    /// Sesamy's id of the user.
    pub user_id: String,
    /// How a sync would end: `created`, `subscribed`, `updated`, `unchanged` or `skipped`.
    pub outcome: &'static str,
    /// Why the user would be skipped, as in the log: `user_not_found`, `guest`, `no_email`, `bad_email`,
    /// `not_in_mailmojo`; none for anybody else.
    pub skipped: Option<&'static str>,
    /// What Sesamy's profile says, as far as a sync uses it; none where Sesamy has no such user or was not asked.
    pub profile: Option<Facts>,
    /// The tags that the contact should have, sorted, and why; empty for a user who is skipped before they are known.
    pub wanted_tags: Vec<Wanted>,
    /// The contact as Mailmojo has it now; none where it has none or was not asked.
    pub contact: Option<ContactNow>,
    /// First name, last name and phone: whether each is written, and why.
    pub fields: Vec<Field>,
    /// The custom fields that are ours: what each holds now, and what Sesamy has; empty without `mailmojo.custom_fields`.
    pub custom_fields: Vec<Custom>,
    /// Every tag that is there or wanted: whether it comes, goes or stays, and why.
    pub tags: Vec<Tag>,
    /// What becomes of the contact's place on the list; none for a user who is skipped before that is known.
    pub list: Option<List>,
    /// The contact of an address that the user had before; none where it is the same.
    pub old_contact: Option<OldContactNow>,
    /// The request that a sync would send to Mailmojo; none where it would send none.
    pub request: Option<Request>,
    /// Why none would be sent, in words; none where one would be.
    pub no_request: Option<String>,
    /// Whether `sync.dry_run` would hold the request back, or the removal guard holds a part of it back.
    pub held_back: bool,
}

/// What a sync uses of a profile, blank values left out.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Facts {
    /// The address.
    pub email: Option<Personal>,
    /// The first name, from whichever field has it.
    pub first_name: Option<Personal>,
    /// The last name, likewise.
    pub last_name: Option<Personal>,
    /// The phone number, the first by priority.
    pub phone: Option<Personal>,
    /// The profile's own tags.
    pub tags: Vec<String>,
}

/// A wanted tag.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Wanted {
    /// The tag.
    pub tag: String,
    /// What asks for it: one at the least.
    pub reasons: Vec<Why>,
}

/// One reason, for programs and for people.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Why {
    /// The rule and the ids.
    #[serde(flatten)]
    pub reason: tags::Reason,
    /// The same as a sentence.
    pub text: String,
}

/// The contact as it is now.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct ContactNow {
    /// The address, as Mailmojo spells it.
    pub email: Option<Personal>,
    /// The whole name.
    pub name: Option<Personal>,
    /// The first name.
    pub first_name: Option<Personal>,
    /// The last name.
    pub last_name: Option<Personal>,
    /// The phone number.
    pub phone: Option<Personal>,
    /// All tags.
    pub tags: Vec<String>,
    /// The status on the account: `a` active, `u` unsubscribed, `b` bounced, `d` deleted.
    pub status: Option<String>,
    /// Whether the contact is or was on the list.
    pub on_list: bool,
    /// The status on the list, with the same letters.
    pub list_status: Option<String>,
}

/// The contact of an address that the user has no more.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct OldContactNow {
    /// The address.
    pub address: Personal,
    /// What becomes of it: `loses_our_tags`, `has_none`, `gone`, `anothers` or `unknown_owner`.
    pub fate: OldFate,
    /// The tags that it loses.
    pub tags_removed: Vec<String>,
    /// The request that a sync would send before the other one; none where there is nothing to take off.
    pub request: Option<Request>,
}

/// A request to Mailmojo.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Request {
    /// `POST` or `PATCH`.
    pub method: String,
    /// The path behind `mailmojo.api_url`.
    pub path: String,
    /// The body.
    pub body: Value,
}

/// Finds out what a sync of `user`, of whom `memory` is remembered, would do now, within `attempt`. Reads what a sync reads, and writes nothing.
///
/// # Errors
/// [`SyncError`], where a sync would fail before it writes.
pub async fn preview(
    syncer: &Syncer,
    user: &UserId,
    memory: &LastSeen,
    attempt: &Attempt,
) -> Result<Preview, SyncError> {
    let context = Context::new(attempt.clone(), memory.clone());
    let decision = syncer.preview(user, &context).await?;
    Ok(Preview::of(user, &decision, |write| Request::from(&syncer.request(write))))
}

impl Preview {
    fn of(user: &UserId, decision: &Decision, request: impl Fn(&Write) -> Request) -> Self {
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
        Some(Reason::BadEmail) => "the user's e-mail address is not valid",
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

impl From<(&String, &Vec<tags::Reason>)> for Wanted {
    fn from((tag, reasons): (&String, &Vec<tags::Reason>)) -> Self {
        let why = |reason: &tags::Reason| Why { reason: reason.clone(), text: reason.to_string() };
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
