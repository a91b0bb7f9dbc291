//! A contact as it was read, and a write to it.

use crate::address;
use crate::model::{Contact, ContactData};
use crate::personal::Personal;

/// A contact as it was read: where, and what.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Found {
    /// The address that the contact is asked for by.
    pub(super) email: Personal,
    pub(super) contact: Contact,
}

/// A write to one contact.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Write {
    /// The address that it is sent to.
    pub email: Personal,
    /// Whether it puts the contact on the list; else it changes data alone.
    pub puts_on_list: bool,
    pub data: ContactData,
}

impl Found {
    /// Mailmojo's own spelling of the address.
    pub(super) fn own_spelling(&self) -> &str {
        let own = self.contact.email.as_ref().and_then(|email| email.trimmed());
        let asked = self.email.as_str();
        own.filter(|own| address::is_same(own, asked)).unwrap_or(asked)
    }
}
