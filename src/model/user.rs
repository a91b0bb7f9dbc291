//! A user as Sesamy describes them.

use jiff::Timestamp;

use crate::personal::Personal;

/// All that Sesamy says of a user. Without `sesamy.derive_tags` the lists are not asked for, and empty.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct SesamyUser {
    pub profile: Profile,
    /// All contracts, running or over.
    pub contracts: Vec<Contract>,
    /// All entitlements, with access or without.
    pub entitlements: Vec<Entitlement>,
}

/// A user's profile. Texts are trimmed, and absent where nothing is left of them.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Profile {
    /// Sesamy's id of the user.
    pub user_id: Option<String>,
    pub email: Option<Personal>,
    pub first_name: Option<Personal>,
    pub last_name: Option<Personal>,
    /// The phone number, the first by priority.
    pub phone: Option<Personal>,
    /// The profile's own tags, as they are.
    pub tags: Vec<String>,
    /// Whether it is a temporary account made during a checkout.
    pub is_guest: bool,
    /// When the account was made.
    pub created_at: Option<Timestamp>,
    /// Whether the address is known to be the user's.
    pub email_verified: Option<bool>,
    pub company: Option<Personal>,
    /// Where bills go.
    pub billing: PostalAddress,
    /// Where paper goes.
    pub delivery: PostalAddress,
}

/// The parts of a postal address that a custom field can hold.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct PostalAddress {
    /// The country, as Sesamy spells it.
    pub country: Option<Personal>,
    pub city: Option<Personal>,
    pub postal_code: Option<Personal>,
}

/// A contract: what a user has bought, now or ever.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Contract {
    pub id: Option<String>,
    /// For instance `ACTIVE`, `OVERDUE`, `RETRYING`.
    pub status: Option<String>,
    /// Whether it is in force.
    pub is_active: bool,
    /// For how long it was made.
    pub duration: Option<ContractDuration>,
    pub items: Vec<Item>,
    pub created_at: Option<Timestamp>,
    /// When the next payment is due.
    pub next_bill_at: Option<Timestamp>,
    /// When it ends.
    pub expires_at: Option<Timestamp>,
    /// When it ends because it has been cancelled.
    pub will_cancel_at: Option<Timestamp>,
}

/// For how long a contract was made.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ContractDuration {
    /// Until it is cancelled, or renewed from time to time: a subscription.
    Recurring,
    /// For ever: something bought once.
    Perpetual,
}

/// One thing that a contract covers.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Item {
    /// Whether it was bought once.
    pub is_single: bool,
}

/// An entitlement: what a user may read.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Entitlement {
    pub id: Option<String>,
    pub sku: Option<String>,
    pub title: Option<String>,
    pub purchase_option: Option<String>,
    /// Whether it is for a single article.
    pub is_article: bool,
    /// Whether it gives access.
    pub has_access: bool,
    pub origin: Option<Origin>,
    /// The moment from which there is no access any more; `None`: it has no end, or none that can be read.
    pub ends_at: Option<Timestamp>,
}

/// Where an entitlement came from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Origin {
    /// A partner or a code.
    External,
    /// A payment.
    Payments { contract_id: Option<String> },
}

impl Contract {
    /// Whether it is in force and a subscription.
    pub fn is_active_subscription(&self) -> bool {
        self.is_active && self.is_subscription()
    }

    /// Whether it recurs, running or over; where the duration is absent or unknown, whether any item is not a single purchase.
    pub fn is_subscription(&self) -> bool {
        match self.duration {
            Some(ContractDuration::Recurring) => true,
            Some(ContractDuration::Perpetual) => false,
            None => self.items.iter().any(|item| !item.is_single),
        }
    }

    /// Whether it is, running or over, for something bought once.
    pub fn is_single_purchase(&self) -> bool {
        self.duration == Some(ContractDuration::Perpetual) || self.items.iter().any(|item| item.is_single)
    }

    /// Whether a payment has failed.
    pub fn is_overdue(&self) -> bool {
        matches!(self.status.as_deref(), Some("OVERDUE" | "RETRYING"))
    }
}

impl Entitlement {
    /// Whether it gives access at `now`.
    pub fn gives_access_at(&self, now: Timestamp) -> bool {
        self.has_access && self.ends_at.is_none_or(|end| now < end)
    }
}
