//! Harmless calls that find out whether the settings are right: one that reads users, and three that need what the service
//! needs of a Mailmojo token.

use serde::Serialize;

use crate::upstream::{Attempt, Failure, OwnWords};
use crate::{mailmojo, sesamy};

/// One thing that was checked.
#[derive(Debug, Serialize)]
pub(crate) struct Check {
    /// `settings`, `sesamy` or `mailmojo`.
    pub what: &'static str,
    pub ok: bool,
    /// What was found, or what failed.
    pub detail: String,
    /// The API's own words about what failed, for the operator who has just asked.
    pub api_said: Option<String>,
}

impl Check {
    /// Of the settings themselves.
    pub(crate) fn of_settings(wrong: Option<String>) -> Self {
        let (ok, detail) = (wrong.is_none(), wrong.unwrap_or_else(|| "complete".to_owned()));
        Self { what: "settings", ok, detail, api_said: None }
    }

    fn new(what: &'static str, result: Result<String, Failure>) -> Self {
        match result {
            Ok(detail) => Self { what, ok: true, detail, api_said: None },
            Err(failure) => {
                let message = failure.to_string();
                let api_said = failure.own_words().map(OwnWords::for_the_operator).map(str::to_owned);
                let detail = message.strip_prefix(what).and_then(|detail| detail.strip_prefix(": "));
                Self { what, ok: false, detail: detail.unwrap_or(&message).to_owned(), api_said }
            }
        }
    }
}

/// Checks both APIs. Mailmojo is asked no further after the first refusal: its circuit is open then, and later calls would
/// only say so.
pub(crate) async fn check(
    sesamy: &sesamy::Client,
    mailmojo: &mailmojo::Client,
    attempt: &Attempt,
) -> Vec<Check> {
    const SESAMY: &str = "sesamy";
    const MAILMOJO: &str = "mailmojo";
    let users = sesamy.probe(attempt).await;
    let users = Check::new(SESAMY, users.map(|()| "the credentials are good for reading users".to_owned()));

    let id = mailmojo.list_id();
    let list = mailmojo.list(attempt).await.map(|list| match list.name {
        Some(name) => format!("list {id} is “{name}”"),
        None => format!("list {id} is there, without a name"),
    });
    let list = Check::new(MAILMOJO, list);
    if !list.ok {
        return vec![users, list];
    }
    let contacts = mailmojo.can_read_contacts(attempt).await;
    let contacts =
        Check::new(MAILMOJO, contacts.map(|()| "the token may read contacts (scope contacts)".to_owned()));
    if !contacts.ok {
        return vec![users, list, contacts];
    }
    let subscribers = mailmojo.can_read_subscribers(attempt).await;
    let can_read = "the token may read the list's subscribers (scope subscribe)";
    vec![users, list, contacts, Check::new(MAILMOJO, subscribers.map(|()| can_read.to_owned()))]
}
