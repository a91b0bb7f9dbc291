//! One user's whole story: the row, what is remembered between syncs, and the history.

use serde::Serialize;

use crate::clock::Millis;
use crate::model::{LastSeen, SeenContact};
use crate::personal::Personal;
use crate::queue::{HistoryRow, UserRow};

/// How many entries of the history are shown.
pub(super) const HISTORY: usize = 100;

/// What the queue knows of one user. The address is in it: for the answer about this user, never for lists or logs.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub(crate) struct User {
    #[serde(flatten)]
    pub row: UserRow,
    pub memory: Remembered,
    /// The latest first.
    pub history: Vec<HistoryRow>,
}

/// What is remembered of a user between syncs.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub(crate) struct Remembered {
    /// The address that was synced last, as Sesamy spelled it.
    pub email: Option<Personal>,
    /// The contact of that address as it was last seen; null if Mailmojo was never seen to have one.
    pub contact: Option<SeenContact>,
    /// Whether the user had left, or was removed, under an earlier address.
    pub has_left: bool,
    /// Since when Sesamy has had no usable address for the user.
    pub missing_since: Option<Millis>,
}

impl User {
    pub(super) fn new(row: UserRow, history: Vec<HistoryRow>) -> Self {
        Self { memory: Remembered::from(&row.memory), row, history }
    }
}

impl Remembered {
    /// The same for people: names and values. Empty for a user of whom nothing is remembered.
    pub(crate) fn facts(&self) -> Vec<(&'static str, String)> {
        let mut facts = Vec::new();
        if let Some(email) = &self.email {
            facts.push(("address", email.as_str().to_owned()));
            facts.push(("contact seen", self.contact.as_ref().map_or("no".to_owned(), in_words)));
        }
        if self.has_left {
            facts.push(("has left", "under an address of before".to_owned()));
        }
        facts
    }
}

impl From<&LastSeen> for Remembered {
    fn from(memory: &LastSeen) -> Self {
        let LastSeen { email, contact, has_left, missing_since, .. } = memory.clone();
        Self { email, contact, has_left, missing_since }
    }
}

fn in_words(seen: &SeenContact) -> String {
    let status = |status: &Option<String>| status.as_deref().map_or("no status".to_owned(), status_in_words);
    let on_list = match seen.on_list {
        true => format!("{} on the list", status(&seen.list_status)),
        false => "not on the list".to_owned(),
    };
    format!("{} on the account, {on_list}", status(&seen.status))
}

fn status_in_words(status: &str) -> String {
    match status {
        "a" => "active".to_owned(),
        "u" => "unsubscribed".to_owned(),
        "b" => "bounced".to_owned(),
        "d" => "deleted".to_owned(),
        other => format!("status {other}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_remembered_is_shown_in_words() {
        assert_eq!(Remembered::from(&LastSeen::default()).facts(), []);
        let seen = |on_list| SeenContact { status: Some("a".into()), on_list, list_status: Some("u".into()) };
        for (contact, in_words) in [
            (None, "no"),
            (Some(seen(false)), "active on the account, not on the list"),
            (Some(seen(true)), "active on the account, unsubscribed on the list"),
            (
                Some(SeenContact { status: Some("x".into()), ..SeenContact::default() }),
                "status x on the account, not on the list",
            ),
        ] {
            let email = Some(Personal::new("kari@example.com"));
            let memory = LastSeen { email, contact, has_left: true, ..LastSeen::default() };
            let facts = Remembered::from(&memory).facts();
            assert_eq!(facts[0], ("address", "kari@example.com".to_owned()));
            assert_eq!((facts[1].0, facts[1].1.as_str(), facts[2].0), ("contact seen", in_words, "has left"));
        }
    }
}
