//! A Sesamy event: the eight types, and what of a body the service needs.
//!
//! An event says for whom something changed and nothing else is taken from it, so only three of its fields are read:
//! `eventType`, `vendorId` and `userId`. Around them the reading is strict: a body that two programs could read in two
//! ways (a key twice, bytes after the end) is refused rather than guessed at. Knows nothing of HTTP.
//!
//! Promises, each a test: nothing that comes in panics; every well-formed event is read; no message quotes a value.

mod strict;
#[cfg(test)]
mod tests;

use std::borrow::Cow;

use crate::surrogates;
use crate::user::{UserId, UserIdError};
use strict::Field;

/// What Sesamy reports. Each of them makes a sync; which one it was only serves the log.
///
/// Source: the standard event types of Sesamy's webhooks.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum EventType {
    /// A user met this publisher for the first time.
    UserVendorNew,
    /// A user's profile or tags changed.
    UserVendorUpdate,
    /// A contract was bought.
    ContractPurchased,
    /// A contract changed.
    ContractUpdate,
    /// A user asked to end a contract.
    ContractCancelRequest,
    /// A checkout was confirmed.
    CheckoutConfirm,
    /// An entitlement appeared.
    EntitlementNew,
    /// An entitlement changed.
    EntitlementUpdate,
}

impl EventType {
    /// All eight.
    pub const ALL: [Self; 8] = [
        Self::UserVendorNew,
        Self::UserVendorUpdate,
        Self::ContractPurchased,
        Self::ContractUpdate,
        Self::ContractCancelRequest,
        Self::CheckoutConfirm,
        Self::EntitlementNew,
        Self::EntitlementUpdate,
    ];

    /// The name that Sesamy sends, for instance `contract.1#purchased`.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::UserVendorNew => "userVendor.1#new",
            Self::UserVendorUpdate => "userVendor.1#update",
            Self::ContractPurchased => "contract.1#purchased",
            Self::ContractUpdate => "contract.1#update",
            Self::ContractCancelRequest => "contract#cancelRequest", // the only one without a version
            Self::CheckoutConfirm => "checkout.1#confirm",
            Self::EntitlementNew => "entitlement.1#new",
            Self::EntitlementUpdate => "entitlement.1#update",
        }
    }

    /// The type of this name, letter for letter; none where it is not one of the eight.
    #[must_use]
    pub fn from_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|one| one.as_str() == name)
    }
}

/// What a body turned out to be.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Reading {
    /// Something changed for this user.
    Event {
        /// Whose state to look up.
        user: UserId,
        /// What Sesamy reports.
        event_type: EventType,
    },
    /// In order, but nothing for us to do.
    Ignored(Reason),
}

/// Why an event that is in order makes no sync.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Reason {
    /// Not one of the eight types: Sesamy may add some at any time.
    UnknownEventType,
    /// `userId` is missing, null or empty.
    NoUserId(EventType),
}

impl Reason {
    /// The name that the caller sees.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::UnknownEventType => "unknown_event_type",
            Self::NoUserId(_) => "no_user_id",
        }
    }

    /// The event's type, where it is one of the eight.
    #[must_use]
    pub const fn event_type(self) -> Option<EventType> {
        match self {
            Self::UnknownEventType => None,
            Self::NoUserId(event_type) => Some(event_type),
        }
    }
}

/// Why a body is no event that can be taken. No variant and no message holds a value from the body.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum EventError {
    /// No bytes at all.
    #[error("the body is empty; it must be a JSON object with eventType and userId")]
    Empty,
    /// The bytes are no text.
    #[error("the body is not UTF-8: the first wrong byte is byte {at}, counted from 0")]
    NotUtf8 {
        /// How many bytes in front of it are in order.
        at: usize,
    },
    /// No JSON, cut JSON, or something after it.
    #[error("the body is not JSON: it cannot be read at line {line}, column {column}")]
    NotJson {
        /// Counted from 1.
        line: usize,
        /// Counted from 1; 0 where a line ended too early.
        column: usize,
    },
    /// JSON, but an array, a string, a number...
    #[error("the body is JSON but not an object with eventType and userId")]
    NotAnObject,
    /// One object has one key twice.
    #[error("the body has the same key twice in one object")]
    DuplicateKey,
    /// More than [`MAX_DEPTH`] arrays and objects in each other.
    #[error("the body is nested deeper than 64 levels")]
    TooDeep,
    /// There is none.
    #[error("eventType is missing")]
    NoEventType,
    /// It is an empty string.
    #[error("eventType is empty")]
    EmptyEventType,
    /// It is null, a number, an object...
    #[error("eventType is not a string")]
    EventTypeNotAString,
    /// The event of another vendor, or one without a vendor.
    #[error("vendorId is not the vendor that this service is set up for (sesamy.vendor_id)")]
    OtherVendor,
    /// It is a number, an object...
    #[error("userId is not a string")]
    UserIdNotAString,
    /// It is a string that can be no user id.
    #[error("userId cannot be taken: {0}")]
    UserId(#[from] UserIdError),
}

/// How many arrays and objects may lie in each other, the outermost included.
pub const MAX_DEPTH: usize = 64;

/// Reads a body.
///
/// Shapes: `body` is the raw bytes of the request; `vendor_id`, where there is one, is the only vendor whose events are
/// taken. The checks come in the order of [`EventError`]'s variants, an unknown type between vendor and user id. Half an
/// emoji (`\ud83d` alone) is read as U+FFFD anywhere but in the user id, where it is no JSON.
///
/// # Errors
/// The first check that fails. A number that does not fit into 64 bits counts as no JSON.
pub fn read(body: &[u8], vendor_id: Option<&str>) -> Result<Reading, EventError> {
    if body.is_empty() {
        return Err(EventError::Empty);
    }
    let text =
        |bytes| std::str::from_utf8(bytes).map_err(|error| EventError::NotUtf8 { at: error.valid_up_to() });
    let readable = surrogates::without_lone_ones(body);
    let fields = strict::read(text(&readable)?)?;
    if let (Cow::Owned(_), Field::Text(id)) = (&readable, &fields.user_id)
        && id.contains(char::REPLACEMENT_CHARACTER)
    {
        strict::read(text(body)?)?; // an id that lost a character is somebody else's; this names line and column
    }

    let name = match &fields.event_type {
        Field::Absent => return Err(EventError::NoEventType),
        Field::Text(name) if name.is_empty() => return Err(EventError::EmptyEventType),
        Field::Text(name) => name,
        Field::Null | Field::Other => return Err(EventError::EventTypeNotAString),
    };
    if vendor_id.is_some_and(|ours| !matches!(&fields.vendor_id, Field::Text(theirs) if theirs == ours)) {
        return Err(EventError::OtherVendor);
    }
    let Some(event_type) = EventType::from_name(name) else {
        return Ok(Reading::Ignored(Reason::UnknownEventType));
    };
    match fields.user_id {
        Field::Absent | Field::Null => Ok(Reading::Ignored(Reason::NoUserId(event_type))),
        Field::Text(id) if id.is_empty() => Ok(Reading::Ignored(Reason::NoUserId(event_type))),
        Field::Text(id) => Ok(Reading::Event { user: UserId::new(id)?, event_type }),
        Field::Other => Err(EventError::UserIdNotAString),
    }
}
