//! One sync: brings the contact of one user to where Sesamy's present state says that it should be.
//!
//! It reads the profile, then contracts and entitlements at once, then the contact, last, so that the window in which
//! somebody's own change could be lost is as short as it can be; it merges; and it writes at most what differs. It knows
//! nothing of events, of the queue, or of trying again: a failure says what kind it is, and [`crate::worker`] decides.

use std::collections::BTreeSet;

use crate::mailmojo::models::{Contact, same_address};
use crate::merge::{self, Membership, Person, Plan, Rules};
use crate::personal::Mask;
use crate::sesamy::models::Profile;
use crate::upstream::{self, Api, Attempt, Class, PerApi};
use crate::user::UserId;
use crate::{mailmojo, sesamy, tags};

/// What a sync needs to know of the settings.
#[derive(Debug, Clone)]
pub struct Options {
    /// `sesamy.guest_user_id_prefixes`.
    pub guest_user_id_prefixes: Vec<String>,
    /// `sesamy.derive_tags`.
    pub derive_tags: bool,
    /// `sync.dry_run`.
    pub dry_run: bool,
    /// What the merge needs.
    pub rules: Rules,
}

/// How many calls a sync of a user with a page of everything makes at the most: profile, contracts and entitlements; the
/// contact, and a write. Longer lists, another letter case and second looks come on top.
#[must_use]
pub fn usual_calls(derive_tags: bool) -> PerApi<u32> {
    PerApi { sesamy: if derive_tags { 3 } else { 1 }, mailmojo: 2 }
}

/// Syncs users, any number at a time, but each user once at a time.
#[derive(Debug)]
pub struct Syncer {
    sesamy: sesamy::Client,
    mailmojo: mailmojo::Client,
    options: Options,
}

/// How a sync ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Outcome {
    /// The contact was not there, and is now, on the list.
    Created,
    /// The contact was not on the list, and is now.
    Subscribed,
    /// The contact's data or tags were changed.
    Updated,
    /// The contact is as it should be.
    Unchanged,
    /// There is nothing to bring in step.
    Skipped(Reason),
}

/// Why a user is skipped: quietly, for none of it is an error.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Reason {
    /// Sesamy has no such user.
    UserNotFound,
    /// A temporary account made during a checkout.
    Guest,
    /// The user has no address.
    NoEmail,
    /// The user's address is none.
    BadEmail,
    /// Mailmojo has no such contact, and `sync.create_contacts` is off.
    NotInMailmojo,
}

impl Outcome {
    /// The word in logs and metrics.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Created => "created",
            Self::Subscribed => "subscribed",
            Self::Updated => "updated",
            Self::Unchanged => "unchanged",
            Self::Skipped(_) => "skipped",
        }
    }

    /// The reason in logs and metrics.
    #[must_use]
    pub fn reason(self) -> Option<&'static str> {
        match self {
            Self::Skipped(reason) => Some(match reason {
                Reason::UserNotFound => "user_not_found",
                Reason::Guest => "guest",
                Reason::NoEmail => "no_email",
                Reason::BadEmail => "bad_email",
                Reason::NotInMailmojo => "not_in_mailmojo",
            }),
            _ => None,
        }
    }
}

/// What a sync did.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Report {
    /// How it ended; in a dry run, how it would have ended.
    pub outcome: Outcome,
    /// The names of the fields that were written.
    pub changed: Vec<&'static str>,
    /// Which of our tags the contact gained.
    pub tags_added: Vec<String>,
    /// Which of our tags the contact lost.
    pub tags_removed: Vec<String>,
    /// Whether `sync.dry_run` kept a change from being written.
    pub held_back: bool,
    /// The status for which the contact is not subscribed by us, where there is one.
    pub withheld: Option<String>,
    /// Which APIs answered all that they were asked.
    pub reached: Vec<Api>,
}

impl Report {
    fn new(outcome: Outcome, reached: &[Api]) -> Self {
        Self {
            outcome,
            changed: Vec::new(),
            tags_added: Vec::new(),
            tags_removed: Vec::new(),
            held_back: false,
            withheld: None,
            reached: reached.to_vec(),
        }
    }

    fn with_change(mut self, change: &merge::Change) -> Self {
        self.changed = change.fields();
        self.tags_added.clone_from(&change.tags_added);
        self.tags_removed.clone_from(&change.tags_removed);
        self
    }
}

/// Why a sync failed; nothing personal is left in it.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{message}")]
pub struct SyncError {
    /// On which API.
    pub api: Api,
    /// What follows.
    pub class: Class,
    /// What failed.
    pub message: String,
    /// What is the same for all who fail for this reason.
    pub answer: String,
    /// Which APIs answered all that they were asked before.
    pub reached: Vec<Api>,
}

/// What Sesamy says of a user who has an address.
struct Source {
    email: String,
    person: Person,
    tags: BTreeSet<String>,
}

/// A contact as it was read: where, and what.
struct Found {
    /// The address that the contact is asked for by.
    email: String,
    contact: Contact,
    membership: Membership,
}

impl Syncer {
    /// Puts the two clients together.
    #[must_use]
    pub fn new(sesamy: sesamy::Client, mailmojo: mailmojo::Client, options: Options) -> Self {
        Self { sesamy, mailmojo, options }
    }

    /// Syncs `user` within `attempt`. At most two writes: a create or subscribe, and what still differs after it.
    ///
    /// # Errors
    /// [`SyncError`]; whatever was written by then was right, and a later sync finds and keeps it.
    pub async fn sync(&self, user: &UserId, attempt: &Attempt) -> Result<Report, SyncError> {
        let mut mask = Mask::default();
        if user.for_log() != user.as_str() {
            mask.add(user.as_str());
        }
        let masked = |failure: upstream::Failure, mask: &Mask, reached: &[Api]| {
            let mut of_nobody = mask.clone();
            of_nobody.add(user.as_str());
            SyncError {
                api: failure.api,
                class: failure.class,
                message: failure.message(mask),
                answer: failure.answer(&of_nobody),
                reached: reached.to_vec(),
            }
        };
        let source = match self.ask_sesamy(user, attempt, &mut mask).await {
            Ok(Ok(source)) => source,
            Ok(Err(reason)) => {
                // A guest is known by the id alone; nobody was asked then.
                let reached: &[Api] = if self.is_guest_id(user) { &[] } else { &[Api::Sesamy] };
                return Ok(Report::new(Outcome::Skipped(reason), reached));
            }
            Err(failure) => return Err(masked(failure, &mask, &[])),
        };
        self.bring_in_step(&source, attempt, &mut mask)
            .await
            .map_err(|failure| masked(failure, &mask, &[Api::Sesamy]))
    }

    /// Steps 1 and 2: who the contact should be, or why there is none.
    async fn ask_sesamy(
        &self,
        user: &UserId,
        attempt: &Attempt,
        mask: &mut Mask,
    ) -> Result<Result<Source, Reason>, upstream::Failure> {
        if self.is_guest_id(user) {
            return Ok(Err(Reason::Guest));
        }
        let Some(profile) = self.sesamy.profile(user, attempt).await? else {
            return Ok(Err(Reason::UserNotFound));
        };
        profile.mask_into(mask);
        let email = match address(&profile) {
            Ok(email) => email,
            Err(reason) => return Ok(Err(reason)),
        };
        let tags = if self.options.derive_tags {
            let (contracts, entitlements) = tokio::try_join!(
                self.sesamy.contracts(user, attempt),
                self.sesamy.entitlements(user, attempt)
            )?;
            tags::wanted(&profile, &contracts, &entitlements, jiff::Timestamp::now())
        } else {
            tags::from_profile(&profile)
        };
        let person = Person {
            first_name: profile.wanted_first_name(),
            last_name: profile.wanted_last_name(),
            phone: profile.wanted_phone(),
        };
        Ok(Ok(Source { email, person, tags }))
    }

    fn is_guest_id(&self, user: &UserId) -> bool {
        let prefixes = &self.options.guest_user_id_prefixes;
        prefixes.iter().any(|prefix| user.as_str().starts_with(prefix.as_str()))
    }

    /// Steps 3 to 5: the contact now, the smallest change, and the writes.
    async fn bring_in_step(
        &self,
        source: &Source,
        attempt: &Attempt,
        mask: &mut Mask,
    ) -> Result<Report, upstream::Failure> {
        const BOTH: &[Api] = &[Api::Sesamy, Api::Mailmojo];
        let found = self.find_contact(&source.email, attempt, mask).await?;
        let there = found.as_ref().map(|found| (&found.contact, &found.membership));
        let plan = merge::plan(&source.person, &source.tags, there, &self.options.rules);

        let outcome = match &plan {
            Plan::Create(_) => Outcome::Created,
            Plan::Subscribe(_) => Outcome::Subscribed,
            Plan::Update(_) => Outcome::Updated,
            Plan::Nothing => Outcome::Unchanged,
            Plan::NotInMailmojo => Outcome::Skipped(Reason::NotInMailmojo),
        };
        let mut report = Report::new(outcome, BOTH);
        report.withheld =
            there.and_then(|(contact, membership)| merge::withheld(contact, membership)).map(str::to_owned);
        let Some(change) = plan.change() else { return Ok(report) };
        report = report.with_change(change);
        if self.options.dry_run {
            report.held_back = true;
            return Ok(report);
        }

        match (&plan, &found) {
            (Plan::Update(change), Some(found)) => {
                self.mailmojo.patch(&found.email, &change.data, attempt).await?;
            }
            (_, found) => {
                // Mailmojo's own spelling of an address that it has; lower case for a new one, for contacts doubled by
                // letter case are a common complaint.
                let email = match found {
                    Some(found) => found.own_spelling().to_owned(),
                    None => source.email.to_lowercase(),
                };
                let after = self.mailmojo.subscribe(&email, &change.data, attempt).await?;
                after.mask_into(mask);
                // Somebody may have made the contact between our look and our write. What is theirs stays; what is
                // still missing is added once.
                let rest_of = |after: &Contact| {
                    merge::change(&source.person, &source.tags, after, &self.options.rules.keep_tags)
                };
                let mut rest = rest_of(&after);
                if !after.tells_of(&rest.data) {
                    // To take an answer that leaves out tags or a name for a contact without would wipe them.
                    let seen = self.mailmojo.contact(&email, attempt).await?;
                    let seen = seen.ok_or_else(mailmojo::gone_meanwhile)?;
                    seen.mask_into(mask);
                    rest = rest_of(&seen);
                }
                if !rest.is_empty() {
                    self.mailmojo.patch(&email, &rest.data, attempt).await?;
                }
            }
        }
        Ok(report)
    }

    /// Step 3: the contact by the address as Sesamy gives it; where that is not there and has upper-case letters, once
    /// more in lower case.
    async fn find_contact(
        &self,
        email: &str,
        attempt: &Attempt,
        mask: &mut Mask,
    ) -> Result<Option<Found>, upstream::Failure> {
        let lower = email.to_lowercase();
        let mut asked = email;
        let mut contact = self.mailmojo.contact(asked, attempt).await?;
        if contact.is_none() && lower != email {
            asked = &lower;
            contact = self.mailmojo.contact(asked, attempt).await?;
        }
        let Some(contact) = contact else { return Ok(None) };
        contact.mask_into(mask);
        let membership = self.membership(asked, &contact, attempt).await?;
        Ok(Some(Found { email: asked.to_owned(), contact, membership }))
    }

    /// The contact's place on our list. Where the contact's answer says nothing of lists at all, the list is asked.
    async fn membership(
        &self,
        email: &str,
        contact: &Contact,
        attempt: &Attempt,
    ) -> Result<Membership, upstream::Failure> {
        if contact.list_associations.is_some() {
            let association = contact.association(self.mailmojo.list_id());
            return Ok(association.map_or(Membership::NotOnList, |association| {
                Membership::OnList(association.status.clone())
            }));
        }
        let subscriber = self.mailmojo.subscriber(email, attempt).await?;
        Ok(subscriber.map_or(Membership::NotOnList, |subscriber| Membership::OnList(subscriber.status)))
    }
}

impl Found {
    fn own_spelling(&self) -> &str {
        let own = self.contact.email.as_ref().and_then(|email| email.trimmed());
        own.filter(|own| same_address(own, &self.email)).unwrap_or(&self.email)
    }
}

/// The profile's address, trimmed, or why the user is skipped.
fn address(profile: &Profile) -> Result<String, Reason> {
    if profile.is_guest() {
        return Err(Reason::Guest);
    }
    let email = profile.email.as_ref().and_then(|email| email.trimmed()).ok_or(Reason::NoEmail)?;
    let is_odd = |c: char| c.is_whitespace() || c.is_control();
    if !email.contains('@') || email.contains(is_odd) {
        return Err(Reason::BadEmail);
    }
    Ok(email.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::{Value, json};

    fn address_of(profile: Value) -> Result<String, Reason> {
        address(&serde_json::from_value(profile).unwrap())
    }

    #[test]
    fn who_has_an_address_to_sync() {
        for (profile, expected) in [
            (json!({"email": " Kari@Example.com "}), Ok("Kari@Example.com".to_owned())),
            (json!({"email": "kari@example.com", "isGuest": true}), Err(Reason::Guest)),
            (json!({"isGuest": true}), Err(Reason::Guest)),
            (json!({}), Err(Reason::NoEmail)),
            (json!({"email": null}), Err(Reason::NoEmail)),
            (json!({"email": "  "}), Err(Reason::NoEmail)),
            (json!({"email": "kari.example.com"}), Err(Reason::BadEmail)),
            (json!({"email": "kari @example.com"}), Err(Reason::BadEmail)),
            (json!({"email": "kari@exam\u{7}ple.com"}), Err(Reason::BadEmail)),
            (json!({"email": "kari@exam\u{a0}ple.com"}), Err(Reason::BadEmail)),
        ] {
            assert_eq!(address_of(profile.clone()), expected, "{profile}");
        }
    }
}
