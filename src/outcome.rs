//! How a sync ends: the one list of outcomes and reasons for log, metrics, history, page and commands.

use strum::{IntoStaticStr, VariantNames};

/// How a sync ended. In text, the outcome and its reason are two words.
#[derive(Debug, Clone, Copy, PartialEq, Eq, IntoStaticStr, VariantNames)]
#[strum(serialize_all = "snake_case")]
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
    /// The sync failed and is tried again.
    Failed(FailureReason),
    /// An API is out of order; the sync is tried again and this counts no attempt.
    Postponed(FailureReason),
    /// The sync failed for good: an event or an operator makes the user due again.
    Parked(FailureReason),
}

/// Why a user is skipped: quietly, because none of these is an error.
#[derive(Debug, Clone, Copy, PartialEq, Eq, IntoStaticStr, VariantNames)]
#[strum(serialize_all = "snake_case")]
pub enum Reason {
    /// Sesamy has no such user.
    UserNotFound,
    /// A temporary account made during a checkout.
    Guest,
    /// The user has no address.
    NoEmail,
    /// Not a valid e-mail address.
    BadEmail,
    /// Mailmojo has no such contact, and `sync.create_contacts` is off, or the caller asked not to create contacts.
    NotInMailmojo,
    /// The contact was removed in Mailmojo.
    RemovedInMailmojo,
    /// The user had left under an older address.
    LeftUnderOldAddress,
    /// The removal guard has tripped, and nothing is left to do but what it holds back, or what follows from that.
    Brake,
}

/// Why a sync failed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, IntoStaticStr, VariantNames)]
#[strum(serialize_all = "snake_case")]
pub enum FailureReason {
    /// It may work later.
    Transient,
    /// No retry can fix it.
    Permanent,
    /// The service ended again and again in the middle of this user's sync.
    Poison,
    /// The API's circuit is open.
    Resting,
}

impl Outcome {
    /// Every end of a sync that there is.
    pub const ALL: [Self; 19] = [
        Self::Created,
        Self::Subscribed,
        Self::Updated,
        Self::Unchanged,
        Self::Skipped(Reason::UserNotFound),
        Self::Skipped(Reason::Guest),
        Self::Skipped(Reason::NoEmail),
        Self::Skipped(Reason::BadEmail),
        Self::Skipped(Reason::NotInMailmojo),
        Self::Skipped(Reason::RemovedInMailmojo),
        Self::Skipped(Reason::LeftUnderOldAddress),
        Self::Skipped(Reason::Brake),
        Self::Failed(FailureReason::Transient),
        Self::Parked(FailureReason::Transient),
        Self::Parked(FailureReason::Permanent),
        Self::Parked(FailureReason::Poison),
        Self::Postponed(FailureReason::Resting),
        Self::Postponed(FailureReason::Transient),
        Self::Postponed(FailureReason::Permanent),
    ];

    /// The outcome's word.
    pub fn as_str(self) -> &'static str {
        self.into()
    }

    /// The reason's word.
    pub fn reason(self) -> Option<&'static str> {
        match self {
            Self::Created | Self::Subscribed | Self::Updated | Self::Unchanged => None,
            Self::Skipped(reason) => Some(reason.into()),
            Self::Failed(reason) | Self::Postponed(reason) | Self::Parked(reason) => Some(reason.into()),
        }
    }

    /// Both words; the reason's is empty where there is none.
    pub fn words(self) -> (&'static str, &'static str) {
        (self.as_str(), self.reason().unwrap_or_default())
    }
}
