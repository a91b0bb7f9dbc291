//! All that a sync reads about one user, as plain data: what [`decide`](super::decide::decide) decides by.

use super::contact::Found;
use super::previous_contact::PreviousContact;
use super::sesamy_time::SesamyTime;
use crate::address;
use crate::model::{LastSeen, Profile, SeenByOthers, SesamyUser};
use crate::outcome::Reason;
use crate::personal::Personal;

/// What was read about one user. After what Sesamy says, each part is read when the decision needs it ([`Gap`]), and `None`
/// until then.
#[derive(Debug, Clone)]
pub(super) struct Snapshot {
    /// What was remembered before the sync.
    pub(super) before: LastSeen,
    /// The same, with what the sync has seen by now.
    pub(super) last_seen: LastSeen,
    /// What Sesamy says, or why there is nothing to bring in step.
    pub(super) user: Result<Addressed, Skip>,
    /// The time of Sesamy's answers.
    pub(super) time: SesamyTime,
    /// The contact of the address that the user has no more.
    pub(super) previous: Option<PreviousContact>,
    /// The contact of the user's address, if Mailmojo has one.
    pub(super) contact: Option<Option<Found>>,
    /// What the rows of other users remember of the contact.
    pub(super) seen_by_others: Option<SeenByOthers>,
    /// The other users of the address.
    pub(super) sharing: Option<Sharing>,
}

/// A user with a usable address.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Addressed {
    /// The address as Sesamy spells it.
    pub(crate) email: Personal,
    pub(super) user: SesamyUser,
}

/// A user who has nothing to bring in step.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Skip {
    pub(super) reason: Reason,
    pub(super) profile: Option<Box<Profile>>,
}

/// The other users of an address: a contact belongs to an address, and of two accounts neither may strip the other.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Sharing {
    /// All of them, as Sesamy describes them now.
    Users(Vec<Addressed>),
    /// There are too many, or Sesamy does not say: nothing may be taken away.
    Unknown,
}

/// What has to be read next before a user can be decided about.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Gap {
    /// The contact of this address, which the user has no more: [`Snapshot::previous`].
    Previous(Personal),
    /// The contact of this address, which is the user's: [`Snapshot::contact`].
    Contact(Personal),
    /// What other users' rows remember of the contact of this address: [`Snapshot::seen_by_others`].
    SeenByOthers(Personal),
    /// The fields that the answer about the contact left out though one of them would be written.
    LeftOut,
    /// The other users of this address: [`Snapshot::sharing`].
    Sharing(Personal),
}

impl Snapshot {
    /// What is known before anything of Mailmojo is read.
    pub(super) fn new(before: LastSeen, user: Result<Addressed, Skip>, time: SesamyTime) -> Self {
        let last_seen = before.clone();
        Self {
            before,
            last_seen,
            user,
            time,
            previous: None,
            contact: None,
            seen_by_others: None,
            sharing: None,
        }
    }
}

impl Addressed {
    /// The user, if the profile has a usable address, and is no guest's.
    pub(crate) fn of(user: SesamyUser) -> Result<Self, Skip> {
        let reason = match &user.profile.email {
            _ if user.profile.is_guest => Reason::Guest,
            None => Reason::NoEmail,
            Some(email) if !address::is_usable(email.as_str()) => Reason::BadEmail,
            Some(email) => return Ok(Self { email: email.clone(), user }),
        };
        Err(Skip { reason, profile: Some(Box::new(user.profile)) })
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::sesamy::json::user_of;

    #[test]
    fn who_has_an_address_to_sync() {
        for (profile, expected) in [
            (json!({"email": " Kari@Example.com "}), Ok(Personal::new("Kari@Example.com"))),
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
            let read = Addressed::of(user_of(profile.clone(), json!([]), json!([])));
            assert_eq!(read.map(|it| it.email).map_err(|skip| skip.reason), expected, "{profile}");
        }
    }
}
