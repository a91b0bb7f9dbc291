//! The mock Mailmojo's state and routes.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::time::Duration;

use axum::http::Method;
use serde_json::{Map, Value, json};

use super::super::finding::{Finding, FindingKind};
use super::super::http::Request;
use super::super::reply::Reply;
use super::super::server::{MockApi, MockServer};
use super::super::target::{Api, Route, Target};
use super::super::tokens::Tokens;
use super::audit::{Races, Write, audit};
use super::contact::{Contact, Style, contact};
use super::known::KnownContact;
use super::write::{Data, status_changes, subscribe};

/// The mock Mailmojo.
pub type Mailmojo = MockServer<MailmojoApi>;

impl Mailmojo {
    /// The client that may request tokens.
    pub const CLIENT_ID: &str = "sandbox-mailmojo-client";
    /// Its secret.
    pub const CLIENT_SECRET: &str = "sandbox-mailmojo-secret";
    /// A token with both scopes that is accepted from the start.
    pub const FIXED_TOKEN: &str = "sandbox-mailmojo-fixed-token";
    /// The list that exists from the start.
    pub const LIST: i64 = 7;
}

/// The most rows on a page.
const PAGE_CAP: usize = 100;

/// Writes and their damage that are counted, but are no fault of the service.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
pub struct Tallies {
    /// Writes that left the contact as it was.
    pub no_op_writes: u64,
    /// Damage that the service could not foresee.
    pub races: Races,
}

/// Everything that the mock Mailmojo knows: one account with contacts and lists.
#[derive(Debug)]
pub struct MailmojoApi {
    pub(super) contacts: BTreeMap<String, Contact>,
    pub(super) lists: BTreeMap<i64, String>,
    /// The last answer about each contact, in which `None` is a 404.
    known: HashMap<String, Option<KnownContact>>,
    pub(super) tallies: Tallies,
    pub(super) style: Style,
    pub(super) ignores_case: bool,
    /// Whether a list's own path to a member answers 404 for a person who has left.
    pub(super) members_are_active: bool,
    /// Whether `custom` in a write replaces all custom fields.
    pub(super) replaces_custom: bool,
    /// The custom fields that the service may write, whatever they hold.
    pub(super) written_custom: BTreeSet<String>,
}

/// A reply, and what the audit objects to in the change that was made.
type Written = (Reply, Vec<Finding>);

impl MockApi for MailmojoApi {
    const API: Api = Api::Mailmojo;

    fn new() -> Self {
        Self {
            contacts: BTreeMap::new(),
            lists: BTreeMap::from([(Mailmojo::LIST, "Newsletter".to_owned())]),
            known: HashMap::new(),
            tallies: Tallies::default(),
            style: Style::default(),
            ignores_case: false,
            members_are_active: false,
            replaces_custom: false,
            written_custom: BTreeSet::new(),
        }
    }

    fn tokens() -> Tokens {
        let mut tokens = Tokens::new("mailmojo", Mailmojo::CLIENT_ID, Mailmojo::CLIENT_SECRET);
        tokens.client_scopes = ["contacts", "subscribe"].map(str::to_owned).to_vec();
        tokens.expires_in = Duration::from_secs(7_257_600);
        tokens.accept(Mailmojo::FIXED_TOKEN, &["contacts", "subscribe"]);
        tokens
    }

    fn target(request: &Request) -> Target {
        let path = request.path();
        let (route, subject) = match (path.as_slice(), &request.method) {
            (["sandbox", ..], _) => (Route::Control, None),
            (["oauth", "token"], &Method::POST) => (Route::Token, None),
            (["v1", "contacts"], &Method::GET) => (Route::Contacts, None),
            (["v1", "contacts", email], &Method::GET) => (Route::ContactGet, Some(*email)),
            (["v1", "contacts", email], &Method::PATCH) => (Route::ContactPatch, Some(*email)),
            (["v1", "lists"], &Method::GET) => (Route::Lists, None),
            (["v1", "lists", _], &Method::GET) => (Route::List, None),
            (["v1", "lists", _, "subscribers"], &Method::GET) => (Route::ListMembers, None),
            (["v1", "lists", _, "subscribers"], &Method::POST) => {
                let email = request.json.as_ref().and_then(|json| json.get("email"));
                (Route::Subscribe, email.and_then(Value::as_str))
            }
            (["v1", "lists", _, "subscribers", email], &Method::GET) => (Route::ListMember, Some(*email)),
            (["v1", "lists", _, "unsubscribed"], &Method::GET) => (Route::ListUnsubscribed, None),
            _ => (Route::Unknown, None),
        };
        let list = match path.as_slice() {
            ["v1", "lists", list, ..] => list.parse().ok(),
            _ => None,
        };
        Target { list, ..Target::new(route, subject) }
    }

    fn misdirected(request: &Request, target: &Target) -> Option<Reply> {
        if target.route != Route::Unknown {
            let location = match request.path_and_query.split_once('?') {
                Some((path, query)) => format!("{path}/?{query}"),
                None => format!("{}/", request.path_and_query),
            };
            return (!request.trailing_slash).then(|| Reply::html(301).with_header("Location", location));
        }
        let methods = match request.path().as_slice() {
            ["oauth", "token"] => "POST",
            ["v1", "contacts", _] => "GET, PATCH",
            ["v1", "lists", _, "subscribers"] => "GET, POST",
            ["v1", "contacts" | "lists"]
            | ["v1", "lists", _]
            | ["v1", "lists", _, "unsubscribed"]
            | ["v1", "lists", _, "subscribers", _] => "GET",
            _ => return Some(Reply::html(404)),
        };
        Some(Self::error(405, "this path does not have that method").with_header("Allow", methods))
    }

    fn scope(route: Route) -> Option<&'static str> {
        match route {
            Route::ContactGet | Route::ContactPatch | Route::Contacts => Some("contacts"),
            Route::Subscribe => Some("subscribe"),
            _ => None,
        }
    }

    fn audit(&mut self, request: &Request, target: &Target, done: bool) -> Vec<Finding> {
        let Request { method, path_and_query, .. } = request;
        let mut findings = Vec::new();
        if request.is_write() && !request.trailing_slash {
            let text = format!("{method} {path_and_query} lacks its trailing slash");
            findings.push(Finding::new(FindingKind::WriteWithoutSlash, text));
        }
        if !matches!(target.route, Route::ContactPatch | Route::Subscribe) {
            return findings;
        }
        let Some(body) = request.json.as_ref().and_then(Value::as_object) else {
            let text = format!("the body of {method} {path_and_query} is no JSON object");
            findings.push(Finding::new(FindingKind::NoObject, text));
            return findings;
        };
        if let Some(email) = target.subject.as_deref() {
            let key = self.key(email);
            let write = Write {
                email,
                list: target.list,
                body,
                stored: self.contacts.get(&key),
                known: self.known.get(&key),
                replaces_custom: self.replaces_custom,
                written_custom: &self.written_custom,
            };
            let mut not_done = Races::default();
            let races = if done { &mut self.tallies.races } else { &mut not_done };
            findings.extend(audit(&write, races));
        }
        findings
    }

    fn answer(&mut self, request: &Request, target: &Target) -> Written {
        let body = request.json.as_ref().and_then(Value::as_object);
        let email = target.subject.as_deref().unwrap_or_default();
        let list = target.list.filter(|list| self.lists.contains_key(list));
        match (target.route, list, body) {
            (Route::ContactPatch, _, Some(body)) => return self.patch(email, body),
            (Route::Subscribe, Some(list), Some(body)) => return self.subscribe(list, body),
            _ => {}
        }
        let reply = match (target.route, list) {
            (Route::Contacts, _) => self.contacts_page(request, |_| true),
            (Route::ContactGet, _) => self.read_contact(email),
            (Route::Lists, _) => {
                let rows = self.lists.iter().map(|(id, name)| json!({"id": id, "name": name}));
                self.page(request, rows.collect())
            }
            (Route::ContactPatch, _) | (Route::Subscribe, Some(_)) => {
                Self::error(400, "the body is no JSON object")
            }
            (_, None) => not_found("list"),
            (Route::List, Some(list)) => Reply::json(200, json!({"id": list, "name": self.lists[&list]})),
            (Route::ListMembers, Some(list)) => {
                self.contacts_page(request, |contact| contact.list_status(list) == Some("a"))
            }
            (Route::ListUnsubscribed, Some(list)) => {
                self.contacts_page(request, |contact| contact.list_status(list) == Some("u"))
            }
            (Route::ListMember, Some(list)) => {
                let status = self.contact(email).and_then(|contact| contact.list_status(list));
                match status {
                    Some(status) if status == "a" || !self.members_are_active => self.read_contact(email),
                    _ => not_found("subscriber"),
                }
            }
            _ => not_found("path"),
        };
        (reply, Vec::new())
    }

    fn answered(&mut self, target: &Target, status: u16, json: Option<&Value>) {
        let (Some(email), Some(json)) = (target.subject.as_deref(), json) else { return };
        let (key, is_success) = (self.key(email), (200..=299).contains(&status));
        match (target.route, target.list) {
            (Route::ContactGet | Route::ContactPatch | Route::Subscribe, _) if is_success => {
                let before = self.known.remove(&key).flatten();
                if let Some(mut contact) = KnownContact::read(json) {
                    if let Some(before) = &before {
                        contact.keep_lists_of(before);
                    }
                    self.known.insert(key, Some(contact));
                }
            }
            // A 404 on a subscribe is about the list, not about the contact.
            (Route::ContactGet | Route::ContactPatch, _) if status == 404 => {
                self.known.insert(key, None);
            }
            (Route::ListMember, Some(list)) if is_success || status == 404 => {
                if let Some(Some(contact)) = self.known.get_mut(&key) {
                    contact.learn_list(list, is_success);
                }
            }
            _ => {}
        }
    }

    fn control(&mut self, request: &Request) -> Reply {
        match (request.path().as_slice(), &request.method, &request.json) {
            (["sandbox", "contacts"], &Method::GET, _) => {
                Reply::json(200, self.contacts.values().map(|contact| self.style.show(contact)).collect())
            }
            (["sandbox", "contacts", email], &Method::PUT, Some(Value::Object(body))) => {
                self.put_fields(email, body)
            }
            (_, &Method::PUT, _) => Self::error(400, "a contact is a JSON object"),
            _ => not_found("path in the sandbox"),
        }
    }

    fn error(status: u16, message: &str) -> Reply {
        Reply::json(status, json!({"title": format!("Error {status}"), "detail": message}))
    }
}

fn not_found(what: &str) -> Reply {
    MailmojoApi::error(404, &format!("there is no such {what}"))
}

/// The time as the API writes it: to the second.
pub(super) fn now() -> String {
    format!("{:.0}", jiff::Timestamp::now())
}

impl MailmojoApi {
    /// The key of a contact.
    pub(super) fn key(&self, email: &str) -> String {
        if self.ignores_case { email.to_lowercase() } else { email.to_owned() }
    }

    pub(super) fn contact(&self, email: &str) -> Option<&Contact> {
        self.contacts.get(&self.key(email))
    }

    pub(super) fn put(&mut self, contact: Contact) {
        self.contacts.insert(self.key(&contact.email), contact);
    }

    fn read_contact(&self, email: &str) -> Reply {
        match self.contact(email) {
            Some(contact) => Reply::json(200, self.style.show(contact)),
            None => not_found("contact"),
        }
    }

    /// The publisher's own edit: fields as in a patch, `name` and `status` too; an unknown contact is created.
    fn put_fields(&mut self, email: &str, body: &Map<String, Value>) -> Reply {
        let data = match Data::read(body) {
            Ok(data) => data,
            Err(wrong) => return Self::error(400, &wrong),
        };
        let mut changed = self.contact(email).cloned().unwrap_or_else(|| contact(email));
        data.apply(&mut changed, false);
        if let Some(status) = body.get("status").and_then(Value::as_str) {
            changed.set_status(status, &now());
        }
        let shown = self.style.show(&changed);
        self.put(changed);
        Reply::json(200, shown)
    }

    fn patch(&mut self, email: &str, body: &Map<String, Value>) -> Written {
        let refuse = |reply| (reply, Vec::new());
        let Some(before) = self.contact(email).cloned() else { return refuse(not_found("contact")) };
        let data = match Data::read(body) {
            Ok(data) => data,
            Err(wrong) => return refuse(Self::error(422, &wrong)),
        };
        let mut after = before.clone();
        if let Some(new) = data.email.as_ref().filter(|new| **new != before.email) {
            if self.key(new) != self.key(email) && self.contact(new).is_some() {
                return refuse(Self::error(409, "another contact has that address"));
            }
            after.email.clone_from(new);
            self.contacts.remove(&self.key(email));
        }
        data.apply(&mut after, self.replaces_custom);
        self.store(Some(before), after, 200)
    }

    fn subscribe(&mut self, list: i64, body: &Map<String, Value>) -> Written {
        let refuse = |message: &str| (Self::error(422, message), Vec::new());
        let data = match Data::read(body) {
            Ok(data) => data,
            Err(wrong) => return refuse(&wrong),
        };
        let Some(email) = data.email.clone() else { return refuse("email is missing") };
        let force = match body.get("force_subscribe") {
            None | Some(Value::Null) => true,
            Some(Value::Bool(force)) => *force,
            Some(_) => return refuse("force_subscribe must be a boolean"),
        };
        let before = self.contact(&email).cloned();
        let now = now();
        let mut after = before.clone().unwrap_or_else(|| Contact::added_at(&email, &now));
        data.apply(&mut after, self.replaces_custom);
        subscribe(&mut after, list, force, &now);
        // Even if its answer is lost, a service has to reckon with what it requested itself.
        if let Some(known) = self.known.get_mut(&self.key(&email)) {
            known.get_or_insert_with(|| KnownContact::created_on(list)).learn_list(list, true);
        }
        let status = if before.is_some() { 200 } else { 201 };
        self.store(before, after, status)
    }

    fn store(&mut self, before: Option<Contact>, after: Contact, status: u16) -> Written {
        let reply = Reply::json(status, self.style.show(&after));
        let findings = before.as_ref().map(|before| status_changes(before, &after)).unwrap_or_default();
        self.tallies.no_op_writes += u64::from(before.as_ref() == Some(&after));
        self.put(after);
        (reply, findings)
    }

    fn contacts_page(&self, request: &Request, wanted: impl Fn(&Contact) -> bool) -> Reply {
        let contacts = self.contacts.values().filter(|contact| wanted(contact));
        self.page(request, contacts.map(|contact| self.style.show(contact)).collect())
    }

    /// One page of `rows`, requested by `page` and `per_page` or `limit`.
    fn page(&self, request: &Request, rows: Vec<Value>) -> Reply {
        let number = |name: &str| request.query(name).map(str::parse::<usize>).transpose();
        let (Ok(page), Ok(per_page), Ok(limit)) = (number("page"), number("per_page"), number("limit"))
        else {
            return Self::error(400, "page, per_page and limit must be numbers");
        };
        let page = page.unwrap_or(1).max(1);
        let per_page = per_page.or(limit).unwrap_or(PAGE_CAP).clamp(1, PAGE_CAP);
        let first = (page - 1).saturating_mul(per_page);
        let total = rows.len();
        let next = (first.saturating_add(per_page) < total).then_some(page + 1);
        let rows: Vec<_> = rows.into_iter().skip(first).take(per_page).collect();
        let meta = json!({"page": page, "per_page": per_page, "next_page": next,
            "prev_page": (page > 1).then(|| page - 1), "total": total});
        Reply::json(200, json!({"data": rows, "meta": meta}))
    }
}
