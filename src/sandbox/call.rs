//! What was asked of the two APIs: the log of calls and its counters.

use std::collections::HashMap;
use std::fmt;
use std::time::Duration;

use serde_json::Value;

/// One of the two pretended APIs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Api {
    /// Sesamy.
    Sesamy,
    /// Mailmojo.
    Mailmojo,
}

impl fmt::Display for Api {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Sesamy => "Sesamy",
            Self::Mailmojo => "Mailmojo",
        })
    }
}

/// What kind of request it is, by path and method.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Route {
    /// The token endpoint of either API.
    Token,
    /// Sesamy: one user's profile.
    Profile,
    /// Sesamy: the list of users.
    Users,
    /// Sesamy: contracts.
    Contracts,
    /// Sesamy: entitlements.
    Entitlements,
    /// Mailmojo: one contact is read.
    ContactGet,
    /// Mailmojo: one contact is changed.
    ContactPatch,
    /// Mailmojo: the list of contacts.
    Contacts,
    /// Mailmojo: somebody is put on a list.
    Subscribe,
    /// Mailmojo: one member of a list is read.
    ListMember,
    /// Mailmojo: the members of a list.
    ListMembers,
    /// Mailmojo: who has left a list.
    ListUnsubscribed,
    /// Mailmojo: one list.
    List,
    /// Mailmojo: all lists.
    Lists,
    /// The sandbox's own paths under `/sandbox/`; neither logged nor counted.
    Control,
    /// Anything else.
    Unknown,
}

/// One request that has ended.
#[derive(Debug, Clone)]
pub struct Call {
    /// Which API was asked.
    pub api: Api,
    /// The method.
    pub method: String,
    /// Path and query, as they came.
    pub target: String,
    /// What kind of request it was.
    pub route: Route,
    /// The user id (Sesamy) or the address (Mailmojo) that it is about.
    pub subject: Option<String>,
    /// The status of the answer; none where there was no answer.
    pub status: Option<u16>,
    /// The request's body, where it is JSON.
    pub body: Option<Value>,
    /// The JSON of Mailmojo's answer; none if a fault has changed the answer.
    pub answer: Option<Value>,
    /// When it came, counted from the start of the sandbox.
    pub came: Duration,
    /// When it ended, likewise.
    pub ended: Duration,
}

impl fmt::Display for Call {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:>8.3}s {} {} {} -> ", self.came.as_secs_f64(), self.api, self.method, self.target)?;
        match self.status {
            Some(status) => write!(f, "{status}")?,
            None => f.write_str("no answer")?,
        }
        match &self.body {
            Some(body) => write!(f, " {body}"),
            None => Ok(()),
        }
    }
}

/// All calls that have ended since the last [`Log::clear`].
#[derive(Debug, Default)]
pub(super) struct Log {
    calls: Vec<Call>,
    counts: HashMap<(Api, Route), u64>,
}

impl Log {
    /// Counts `call`, and keeps it where `keep` says so.
    pub(super) fn note(&mut self, call: Call, keep: bool) {
        *self.counts.entry((call.api, call.route)).or_default() += 1;
        if keep {
            self.calls.push(call);
        }
    }

    pub(super) fn calls(&self) -> &[Call] {
        &self.calls
    }

    pub(super) fn take(&mut self) -> Vec<Call> {
        std::mem::take(&mut self.calls)
    }

    pub(super) fn count(&self, api: Api, route: Route) -> u64 {
        self.counts.get(&(api, route)).copied().unwrap_or(0)
    }

    pub(super) fn clear(&mut self) {
        self.calls.clear();
        self.counts.clear();
    }
}
