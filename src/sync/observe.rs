//! All reading of a sync: first what Sesamy says of the user, then what the decision asks for.

use super::contact::Found;
use super::context::Context;
use super::previous_contact::PreviousContact;
use super::report::SyncError;
use super::sesamy_time::SesamyTime;
use super::shared::Shared;
use super::snapshot::{Addressed, Gap, Sharing, Skip, Snapshot};
use crate::address;
use crate::merge::consent;
use crate::model::{Contact, LastSeen, Membership, Profile, SesamyUser};
use crate::outcome::Reason;
use crate::personal::Personal;
use crate::sesamy::bulk::OwnerBesides;
use crate::upstream::{Api, Class, Failure};
use crate::user::UserId;

/// The most users of one address whose tags are put together. With more of them tags are only added: so many accounts are
/// no reader's, and each costs three calls.
const MOST_AT_AN_ADDRESS: usize = 5;

/// Reads for the sync of one user.
#[derive(Debug, Clone, Copy)]
pub(super) struct Observer<'a> {
    pub(super) shared: &'a Shared,
    pub(super) user: &'a UserId,
    pub(super) context: &'a Context,
}

impl Observer<'_> {
    /// What Sesamy says of the user.
    pub(super) async fn begin(&self) -> Result<Snapshot, SyncError> {
        let before = self.context.before().clone().at_list_of(&self.shared.keys);
        let user = self.user_of(self.user).await?;
        let time = SesamyTime::new(self.context.attempt.time_of(Api::Sesamy), self.shared.clock.wall());
        self.shared.difference.note(time);
        Ok(Snapshot::new(before, user, time))
    }

    /// Reads what `snapshot` lacks.
    pub(super) async fn fill(&self, gap: Gap, snapshot: &mut Snapshot) -> Result<(), SyncError> {
        match gap {
            Gap::Previous(address) => {
                let previous = self.previous_contact(&address).await?;
                if consent::has_left_under(&snapshot.before, previous.as_old()) {
                    self.context.had_left(&self.shared.keys);
                }
                snapshot.previous = Some(previous);
            }
            Gap::Contact(address) => snapshot.contact = Some(self.contact(&address).await?),
            Gap::SeenByOthers(address) => {
                let (index, list) = (&self.shared.addresses, self.shared.mailmojo.list_name());
                let seen = index.seen_by_others(self.user, address.as_str(), &list).await;
                snapshot.seen_by_others = Some(seen.map_err(SyncError::Queue)?);
            }
            Gap::LeftOut => {
                let previous = snapshot.previous.as_mut().and_then(|previous| previous.found.as_mut());
                if let Some(found) = snapshot.contact.as_mut().and_then(Option::as_mut).or(previous) {
                    self.fill_left_out(found).await?;
                }
            }
            Gap::Sharing(address) => snapshot.sharing = Some(self.sharing(&address).await?),
        }
        snapshot.last_seen = self.last_seen();
        Ok(())
    }

    /// What is remembered by now.
    fn last_seen(&self) -> LastSeen {
        self.context.last_seen().at_list_of(&self.shared.keys)
    }

    /// What Sesamy says of `user`, or why there is nothing to bring in step.
    async fn user_of(&self, user: &UserId) -> Result<Result<Addressed, Skip>, Failure> {
        let profile = match self.profile_of(user).await? {
            Ok(profile) => profile,
            Err(reason) => return Ok(Err(Skip { reason, profile: None })),
        };
        let mut addressed = match Addressed::of(SesamyUser { profile, ..SesamyUser::default() }) {
            Ok(addressed) => addressed,
            Err(skip) => return Ok(Err(skip)),
        };
        if self.shared.settings.derive_tags {
            let (sesamy, attempt) = (&self.shared.sesamy, &self.context.attempt);
            let lists = tokio::try_join!(sesamy.contracts(user, attempt), sesamy.entitlements(user, attempt));
            (addressed.user.contracts, addressed.user.entitlements) = lists?;
        }
        Ok(Ok(addressed))
    }

    /// The profile of `user`, or why there is none. Some guests are known by the id alone.
    async fn profile_of(&self, user: &UserId) -> Result<Result<Profile, Reason>, Failure> {
        if self.shared.settings.is_guest(user) {
            return Ok(Err(Reason::Guest));
        }
        let profile = self.shared.sesamy.profile(user, &self.context.attempt).await?;
        Ok(profile.ok_or(Reason::UserNotFound))
    }

    /// The address that Sesamy has for the user; `None` for a user that it does not know, a guest, and a user without a
    /// usable address.
    pub(super) async fn present_address(&self) -> Result<Option<Personal>, Failure> {
        let Ok(profile) = self.profile_of(self.user).await? else { return Ok(None) };
        let addressed = Addressed::of(SesamyUser { profile, ..SesamyUser::default() });
        Ok(addressed.ok().map(|addressed| addressed.email))
    }

    /// The contact by the address as Sesamy gives it; where that is not there, by each other spelling that Mailmojo may have
    /// it under: in lower case, and with the domain in its other form (`blåbær.no`, `xn--blbr-roah.no`).
    async fn contact(&self, email: &Personal) -> Result<Option<Found>, Failure> {
        let email = email.as_str();
        let attempt = &self.context.attempt;
        let lower = address::spellings(&email.to_lowercase());
        for asked in
            [email].into_iter().chain(lower.iter().map(String::as_str).filter(|lower| *lower != email))
        {
            let Some(mut contact) = self.shared.mailmojo.contact(asked, attempt).await? else { continue };
            // Noted before the list is asked, which may fail: the contact was there all the same.
            self.saw(email, &contact);
            if contact.membership == Membership::Unknown {
                contact.membership = self.shared.mailmojo.membership(asked, attempt).await?;
                self.saw(email, &contact);
            }
            return Ok(Some(Found { email: Personal::new(asked), contact }));
        }
        Ok(None)
    }

    fn saw(&self, email: &str, contact: &Contact) {
        self.context.saw(email, &self.shared.keys, |before| consent::seen(before, contact));
    }

    /// Reads the contact once more because the first answer left out a field that would be written: it may have been a
    /// sparse answer. What is left out again counts as none.
    async fn fill_left_out(&self, found: &mut Found) -> Result<(), Failure> {
        let fuller = self.shared.mailmojo.contact_again(found.email.as_str(), &self.context.attempt).await?;
        found.contact.fill_from(fuller);
        Ok(())
    }

    /// The contact of `address`, which is not the user's any more.
    pub(super) async fn previous_contact(&self, address: &Personal) -> Result<PreviousContact, SyncError> {
        let owner = self.owner_besides(address).await?;
        let mut found = self.contact(address).await?;
        if let Some(found) = found.as_mut().filter(|found| found.contact.left_out.contains(&"tags")) {
            self.fill_left_out(found).await?;
        }
        Ok(PreviousContact { address: address.clone(), found, owner })
    }

    /// Whether another user has this address: by what is remembered, and by what Sesamy finds for it.
    async fn owner_besides(&self, address: &Personal) -> Result<OwnerBesides, SyncError> {
        if !self.others_at(address, 1).await?.is_empty() {
            return Ok(OwnerBesides::Somebody);
        }
        let is_guest = |other: &UserId| self.shared.settings.is_guest(other);
        let (sesamy, attempt) = (&self.shared.sesamy, &self.context.attempt);
        let owner = sesamy.owner_besides(self.user, address.as_str(), is_guest, attempt).await?;
        if owner == OwnerBesides::Unknown {
            tracing::warn!(
                user_id = %self.user,
                "Sesamy does not say whether another user has the address that this user had before; its contact keeps our \
                 tags; check that the API client may search users"
            );
        }
        Ok(owner)
    }

    /// The other users of `address`. Each is read from Sesamy, and only if a tag would go.
    async fn sharing(&self, address: &Personal) -> Result<Sharing, SyncError> {
        let others = self.others_at(address, MOST_AT_AN_ADDRESS).await?;
        if others.len() >= MOST_AT_AN_ADDRESS {
            return Ok(Sharing::Unknown);
        }
        let mut users = Vec::with_capacity(others.len());
        for other in &others {
            match self.user_of(other).await {
                Ok(Ok(addressed)) => users.push(addressed),
                Ok(Err(_)) => {} // nobody to be synced
                Err(failure) if failure.class == Class::Permanent => return Ok(Sharing::Unknown),
                Err(failure) => return Err(failure.into()),
            }
        }
        Ok(Sharing::Users(users))
    }

    async fn others_at(&self, address: &Personal, most: usize) -> Result<Vec<UserId>, SyncError> {
        self.shared.addresses.others_at(self.user, address.as_str(), most).await.map_err(SyncError::Queue)
    }
}
