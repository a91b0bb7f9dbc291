//! What is remembered of a user between syncs, for an operator who asks about that very user: the address is in it.

use serde::Serialize;

use crate::clock::Millis;
use crate::memory::{Memory, Seen};
use crate::personal::Personal;

/// What is remembered of a user; for the answer about one user, never for lists or logs.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Remembered {
    /// The address that was synced last, as Sesamy spelled it.
    pub email: Option<Personal>,
    /// The contact of that address as it was last seen; null where Mailmojo was never seen to have one.
    pub contact: Option<SeenContact>,
    /// Whether the user had left, or was removed, under an address of before.
    pub has_left: bool,
    /// Since when Sesamy does not know the user.
    pub missing_since: Option<Millis>,
}

/// A contact as it was last seen.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct SeenContact {
    /// The status on the account.
    pub status: Option<String>,
    /// Whether it was seen on the list, with whatever status.
    pub on_list: bool,
    /// The status there.
    pub list_status: Option<String>,
}

impl Remembered {
    /// The same as facts for people: what each is called, and what it is. Nothing of a user of whom nothing is remembered.
    #[must_use]
    pub fn facts(&self) -> Vec<(&'static str, String)> {
        let mut facts = Vec::new();
        if let Some(email) = &self.email {
            facts.push(("address", email.as_str().to_owned()));
            facts.push(("contact seen", self.contact.as_ref().map_or("no".to_owned(), SeenContact::told)));
        }
        if self.has_left {
            facts.push(("has left", "under an address of before".to_owned()));
        }
        facts
    }
}

impl SeenContact {
    fn told(&self) -> String {
        let of = |status: &Option<String>| status.as_deref().map_or("no status".to_owned(), word_of);
        let on_list = if self.on_list {
            format!("{} on the list", of(&self.list_status))
        } else {
            "not on the list".to_owned()
        };
        format!("{} on the account, {on_list}", of(&self.status))
    }
}

/// A status of Mailmojo's in words; one that is not known as it is.
fn word_of(status: &str) -> String {
    match status {
        "a" => "active",
        "u" => "unsubscribed",
        "b" => "bounced",
        "d" => "deleted",
        other => return format!("status {other}"),
    }
    .to_owned()
}

impl From<&Memory> for Remembered {
    fn from(memory: &Memory) -> Self {
        Self {
            email: memory.email.clone(),
            contact: memory.contact.as_ref().map(SeenContact::from),
            has_left: memory.has_left,
            missing_since: memory.missing_since,
        }
    }
}

impl From<&Seen> for SeenContact {
    fn from(seen: &Seen) -> Self {
        let Seen { status, on_list, list_status } = seen.clone();
        Self { status, on_list, list_status }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_remembered_is_told_in_words() {
        assert_eq!(Remembered::from(&Memory::default()).facts(), []);
        let seen = |on_list| Seen { status: Some("a".into()), on_list, list_status: Some("u".into()) };
        for (contact, told) in [
            (None, "no"),
            (Some(seen(false)), "active on the account, not on the list"),
            (Some(seen(true)), "active on the account, unsubscribed on the list"),
            (
                Some(Seen { status: Some("x".into()), ..Seen::default() }),
                "status x on the account, not on the list",
            ),
        ] {
            let email = Some(Personal::new("kari@example.com"));
            let memory = Memory { email, contact, has_left: true, ..Memory::default() };
            let facts = Remembered::from(&memory).facts();
            assert_eq!(facts[0], ("address", "kari@example.com".to_owned()));
            assert_eq!((facts[1].0, facts[1].1.as_str(), facts[2].0), ("contact seen", told, "has left"));
        }
    }
}
