//! Step 3: the contact as it is now, and its place on the list.

use super::{Context, Syncer};
use crate::address;
use crate::mailmojo::models::Contact;
use crate::merge::{Membership, consent};
use crate::upstream::{Attempt, Failure};

/// A contact as it was read: where, and what.
pub(super) struct Found {
    /// The address that the contact is asked for by.
    pub(super) email: String,
    pub(super) contact: Contact,
    pub(super) membership: Membership,
}

impl Found {
    /// The contact and its place on the list.
    pub(super) fn there(&self) -> (&Contact, &Membership) {
        (&self.contact, &self.membership)
    }

    /// Mailmojo's own spelling of the address.
    pub(super) fn own_spelling(&self) -> &str {
        let own = self.contact.email.as_ref().and_then(|email| email.trimmed());
        own.filter(|own| address::is_same(own, &self.email)).unwrap_or(&self.email)
    }
}

impl Syncer {
    /// The contact by the address as Sesamy gives it; where that is not there, by each other spelling that Mailmojo may have
    /// it under: in lower case, and with the domain in its other form (`blåbær.no`, `xn--blbr-roah.no`).
    pub(super) async fn find_contact(
        &self,
        email: &str,
        context: &Context,
    ) -> Result<Option<Found>, Failure> {
        let attempt = &context.attempt;
        let lower = address::spellings(&email.to_lowercase());
        for asked in
            [email].into_iter().chain(lower.iter().map(String::as_str).filter(|lower| *lower != email))
        {
            let Some(contact) = self.mailmojo.contact(asked, attempt).await? else { continue };
            // Noted before the list is asked, which may fail: the contact was there all the same.
            context.saw(email, &self.keys, |before| consent::seen(before, &contact, &Membership::NotOnList));
            let membership = self.membership(asked, &contact, attempt).await?;
            context.saw(email, &self.keys, |before| consent::seen(before, &contact, &membership));
            return Ok(Some(Found { email: asked.to_owned(), contact, membership }));
        }
        Ok(None)
    }

    /// Reads the contact once more where the first answer left out a field that `data` would write: it may have been a sparse
    /// answer. What is left out again counts as none.
    pub(super) async fn fill_gaps(&self, found: &mut Found, attempt: &Attempt) -> Result<(), Failure> {
        let fuller = self.mailmojo.contact_again(&found.email, attempt).await?;
        found.contact.fill_from(fuller);
        Ok(())
    }

    /// The contact's place on our list. Where the contact's answer says nothing of lists at all, the list is asked.
    async fn membership(
        &self,
        email: &str,
        contact: &Contact,
        attempt: &Attempt,
    ) -> Result<Membership, Failure> {
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
