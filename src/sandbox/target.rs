//! Where a request goes: which API, which kind of request, and the user or address that it concerns.

use std::fmt;

/// One of the two mock APIs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Api {
    /// Sesamy.
    Sesamy,
    /// Mailmojo.
    Mailmojo,
}

impl fmt::Display for Api {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(self, f)
    }
}

/// The kind of a request, by path and method.
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
    /// Mailmojo: reads one contact.
    ContactGet,
    /// Mailmojo: changes one contact.
    ContactPatch,
    /// Mailmojo: the list of contacts.
    Contacts,
    /// Mailmojo: puts a contact on a list, and creates it if necessary.
    Subscribe,
    /// Mailmojo: reads one member of a list.
    ListMember,
    /// Mailmojo: the members of a list.
    ListMembers,
    /// Mailmojo: the contacts that left a list.
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

/// Where a request goes.
#[derive(Debug)]
pub struct Target {
    pub(super) route: Route,
    /// The user id (Sesamy) or the address (Mailmojo) that it concerns.
    pub(super) subject: Option<String>,
    /// The list in the path, at Mailmojo.
    pub(super) list: Option<i64>,
}

impl Target {
    pub(super) fn new(route: Route, subject: Option<&str>) -> Self {
        Self { route, subject: subject.map(str::to_owned), list: None }
    }

    /// Whether it is of this kind and concerns this subject, letter case aside; `None` stands for any.
    pub(super) fn matches(&self, route: Option<Route>, subject: Option<&str>) -> bool {
        let is_about = |wanted: &str| {
            self.subject.as_deref().is_some_and(|own| own.to_lowercase() == wanted.to_lowercase())
        };
        route.is_none_or(|route| route == self.route) && subject.is_none_or(is_about)
    }
}
