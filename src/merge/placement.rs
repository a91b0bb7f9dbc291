//! What becomes of a contact's place on the list.

use std::fmt;

use serde::Serialize;

use super::consent::Block;
use crate::model::{ACTIVE, Contact, Membership};

/// What becomes of the contact's place on the list, and why.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(tag = "decision", rename_all = "snake_case")]
pub enum Placement {
    /// The contact is created, on the list.
    Created,
    /// The contact is put on the list.
    Subscribed,
    /// The contact is on the list already.
    OnList,
    /// The contact is not, or no longer, to receive mail, and is never subscribed by us.
    LeftAlone {
        /// The status of the list or the account: `u` unsubscribed, `b` bounced, `d` deleted, or what Mailmojo says.
        status: String,
    },
    /// There is no contact, and `sync.create_contacts` is off.
    NotCreated,
    /// The contact is not on the list, and `sync.create_contacts` is off.
    NotSubscribed,
    /// The contact was removed in Mailmojo: it is not made again.
    RemovedInMailmojo,
    /// The contact was taken off the list: it is not put there again.
    TakenOffTheList,
    /// The user had left under an older address: leaving is leaving.
    LeftUnderOldAddress,
}

impl Placement {
    /// Decides about `contact`. Only a contact that is active on the account, and of which Mailmojo says that it was never on
    /// the list, is subscribed.
    pub(super) fn of(contact: Option<&Contact>, block: Option<Block>, create_contacts: bool) -> Self {
        let Some(contact) = contact else {
            return match block {
                Some(block) => Self::blocked(block),
                None if create_contacts => Self::Created,
                None => Self::NotCreated,
            };
        };
        if let Some(status) = withheld_for(contact) {
            return Self::LeftAlone { status: status.to_owned() };
        }
        match (&contact.membership, block) {
            (Membership::OnList(_) | Membership::Unknown, _) => Self::OnList,
            (Membership::NotOnList, Some(block)) => Self::blocked(block),
            (Membership::NotOnList, None) if create_contacts => Self::Subscribed,
            (Membership::NotOnList, None) => Self::NotSubscribed,
        }
    }

    fn blocked(block: Block) -> Self {
        match block {
            Block::RemovedInMailmojo => Self::RemovedInMailmojo,
            Block::TakenOffTheList => Self::TakenOffTheList,
            Block::LeftUnderOldAddress => Self::LeftUnderOldAddress,
        }
    }
}

/// The status for which `contact` is not, or no longer, subscribed by us; `None` if it may receive the list's mail.
fn withheld_for(contact: &Contact) -> Option<&str> {
    let account = contact.status.as_deref().unwrap_or("unknown");
    match &contact.membership {
        Membership::OnList(status) if status.as_deref() != Some(ACTIVE) => {
            Some(status.as_deref().unwrap_or("unknown"))
        }
        _ if account != ACTIVE => Some(account),
        _ => None,
    }
}

impl fmt::Display for Placement {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Created => "created on the list: Mailmojo has no such contact",
            Self::Subscribed => "subscribed: active on the account, and never on the list",
            Self::OnList => "on the list already",
            Self::LeftAlone { status } => {
                let word = match status.as_str() {
                    "u" => "unsubscribed (u)",
                    "b" => "bounced (b)",
                    "d" => "deleted (d)",
                    other => return write!(f, "never subscribed by us: the contact's status is {other}"),
                };
                return write!(f, "never subscribed by us: the contact is {word}");
            }
            Self::NotCreated => "not created: sync.create_contacts is off",
            Self::NotSubscribed => "not subscribed: sync.create_contacts is off",
            Self::RemovedInMailmojo => {
                "not made again: somebody has removed the contact in Mailmojo (`sync --again` makes it)"
            }
            Self::TakenOffTheList => {
                "not put on the list again: somebody has taken the contact off it (`sync --again` puts it there)"
            }
            Self::LeftUnderOldAddress => {
                "not put on the list: the user had left under an older address (`sync --again` does it all the same)"
            }
        })
    }
}
