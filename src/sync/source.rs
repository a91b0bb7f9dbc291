//! Steps 1 and 2: what Sesamy says of a user, and the tags that follow from it.

use std::collections::BTreeSet;

use super::Syncer;
use super::sesamy_time::SesamyTime;
use crate::address;
use crate::clock::Millis;
use crate::fields::{CustomFields, Facts};
use crate::merge::Person;
use crate::outcome::Reason;
use crate::sesamy::models::{Contract, Entitlement, Profile};
use crate::tags::{self, Reasons};
use crate::upstream::{Attempt, Failure};
use crate::user::UserId;

/// What Sesamy says of a user who has an address.
pub(super) struct Source {
    pub(super) email: String,
    pub(super) profile: Profile,
    pub(super) person: Person,
    /// Why each of `tags` is wanted.
    pub(super) reasons: Reasons,
    pub(super) tags: BTreeSet<String>,
    /// When to look again, by our wall clock, because they or custom fields change by themselves, as far as Sesamy tells.
    pub(super) changes_at: Option<Millis>,
}

/// What a user has bought or been given; none is asked for without `sesamy.derive_tags`.
struct Bought {
    contracts: Vec<Contract>,
    entitlements: Vec<Entitlement>,
}

/// A user who has nothing to bring in step: why, and the profile as far as there is one.
pub(super) struct Nobody {
    pub(super) reason: Reason,
    pub(super) profile: Option<Profile>,
    /// Whether Sesamy was asked: some guests are known by the id alone.
    pub(super) asked: bool,
}

impl Source {
    fn new(
        email: String,
        profile: Profile,
        bought: Option<Bought>,
        custom: &CustomFields,
        time: SesamyTime,
    ) -> Self {
        let now = time.now();
        let (contracts, entitlements) =
            bought.as_ref().map_or_else(Default::default, |it| (&it.contracts[..], &it.entitlements[..]));
        let facts = Facts { profile: &profile, contracts, entitlements, now };
        let person = Person {
            first_name: profile.wanted_first_name(),
            last_name: profile.wanted_last_name(),
            phone: profile.wanted_phone(),
            custom: custom.wanted(&facts),
        };
        let reasons = match &bought {
            Some(it) => tags::reasons(&profile, &it.contracts, &it.entitlements, now),
            None => tags::reasons_of_profile(&profile),
        };
        let tags = reasons.keys().cloned().collect();
        let of_tags = tags::next_change(contracts, entitlements, now);
        let changes_at = of_tags.into_iter().chain(custom.changes_at(&facts)).min();
        let changes_at = changes_at.map(|then| time.shortly_after(then));
        Self { email, profile, person, reasons, tags, changes_at }
    }

    /// Adds tags that others who share the contact have.
    pub(super) fn is_wanted_too(&mut self, wanted: Reasons) {
        for (tag, why) in wanted {
            self.tags.insert(tag.clone());
            self.reasons.entry(tag).or_default().extend(why);
        }
    }
}

impl Syncer {
    /// What the contact of `user` should be, or why there should be none.
    pub(super) async fn ask_sesamy(
        &self,
        user: &UserId,
        attempt: &Attempt,
    ) -> Result<Result<Source, Nobody>, Failure> {
        if self.is_guest_id(user) {
            return Ok(Err(Nobody { reason: Reason::Guest, profile: None, asked: false }));
        }
        let Some(profile) = self.sesamy.profile(user, attempt).await? else {
            return Ok(Err(Nobody { reason: Reason::UserNotFound, profile: None, asked: true }));
        };
        let email = match address_of(&profile) {
            Ok(email) => email,
            Err(reason) => return Ok(Err(Nobody { reason, profile: Some(profile), asked: true })),
        };
        let bought = if self.options.derive_tags { Some(self.bought(user, attempt).await?) } else { None };
        let time = self.sesamy_time(attempt);
        Ok(Ok(Source::new(email, profile, bought, &self.options.custom_fields, time)))
    }

    async fn bought(&self, user: &UserId, attempt: &Attempt) -> Result<Bought, Failure> {
        let (contracts, entitlements) =
            tokio::try_join!(self.sesamy.contracts(user, attempt), self.sesamy.entitlements(user, attempt))?;
        Ok(Bought { contracts, entitlements })
    }

    pub(super) fn is_guest_id(&self, user: &UserId) -> bool {
        let prefixes = &self.options.guest_user_id_prefixes;
        prefixes.iter().any(|prefix| user.as_str().starts_with(prefix.as_str()))
    }
}

/// The profile's address, trimmed, or why the user is skipped.
pub(crate) fn address_of(profile: &Profile) -> Result<String, Reason> {
    if profile.is_guest() {
        return Err(Reason::Guest);
    }
    let email = profile.email.as_ref().and_then(|email| email.trimmed()).ok_or(Reason::NoEmail)?;
    if address::is_usable(email) { Ok(email.to_owned()) } else { Err(Reason::BadEmail) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::{Value, json};

    fn read(profile: Value) -> Result<String, Reason> {
        address_of(&serde_json::from_value(profile).unwrap())
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
            assert_eq!(read(profile.clone()), expected, "{profile}");
        }
    }
}
