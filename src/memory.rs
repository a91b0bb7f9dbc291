//! What is remembered of a user from one sync to the next: plain data, kept with the user's row in the queue.
//!
//! It is what lets a sync tell a contact that never was from one that somebody has removed, and an address that changed
//! from a new user. What follows from it is decided in [`crate::merge::leaving`]; what is remembered next, in [`crate::sync`].

use crate::address;
use crate::clock::Millis;
use crate::personal::Personal;

/// What a user's row remembers. By default nothing: a user who was never synced.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Memory {
    /// The address that was synced last, as Sesamy spelled it. None: there was none, or it was forgotten again.
    pub email: Option<Personal>,
    /// What was seen of the contact of that address; none: it was never seen.
    pub contact: Option<Seen>,
    /// Whether the user had left, or was removed, under an address that Sesamy had before: leaving is leaving.
    pub has_left: bool,
    /// Since when Sesamy answers that there is no such user; none where it knows the user.
    pub missing_since: Option<Millis>,
}

impl Memory {
    /// What the remembered address is found by (see [`address::key`]).
    #[must_use]
    pub fn email_key(&self) -> Option<String> {
        self.email.as_ref().and_then(|email| address::key(email.as_str()))
    }
}

/// A contact as Mailmojo last had it. It stays remembered when it is gone.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Seen {
    /// The status on the account: `a` active, `u` unsubscribed, `b` bounced, `d` deleted; none where it was not told.
    pub status: Option<String>,
    /// Whether it was ever seen on our list, with whatever status.
    pub on_list: bool,
    /// The status on the list when it was last seen there; none where it was not told.
    pub list_status: Option<String>,
}
