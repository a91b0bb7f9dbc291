//! The account: its contacts, its lists, and what it answers to reads and writes.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::time::Duration;

use serde_json::{Map, Value, json};

use super::super::finding::{Finding, FindingKind};
use super::super::reply::Reply;
use super::super::token::Tokens;
use super::super::wire::Request;
use super::api::{error, not_found};
use super::audit::{CustomRules, Races, Verdict, Write, judge};
use super::contact::{Contact, Style};
use super::seen::{Seen, Snapshot};
use super::write::{Data, made, status_changes, subscribe};
use super::{Mailmojo, Tallies};

/// Everything that the pretended Mailmojo knows.
#[derive(Debug)]
pub(super) struct State {
    pub(super) contacts: BTreeMap<String, Contact>,
    pub(super) lists: BTreeMap<i64, String>,
    pub(super) tokens: Tokens,
    pub(super) style: Style,
    pub(super) ignores_case: bool,
    pub(super) members_are_active: bool,
    pub(super) page_cap: usize,
    pub(super) tallies: Tallies,
    pub(super) seen: HashMap<String, Seen>,
    /// Whether `custom` in a write replaces all custom fields.
    pub(super) replaces_custom: bool,
    /// The custom fields that the service may write whatever they hold.
    pub(super) written_custom: BTreeSet<String>,
}

/// The time as the API writes it.
pub(super) fn now() -> String {
    let now = jiff::Timestamp::now();
    jiff::Timestamp::from_second(now.as_second()).unwrap_or(now).to_string()
}

impl State {
    pub(super) fn new(page_cap: usize, require_auth: bool) -> Self {
        let mut tokens = Tokens::new("mailmojo", Mailmojo::CLIENT_ID, Mailmojo::CLIENT_SECRET);
        tokens.client_scopes = ["contacts", "subscribe"].map(str::to_owned).to_vec();
        tokens.expires_in = Duration::from_secs(7_257_600);
        tokens.accept(Mailmojo::FIXED_TOKEN, &["contacts", "subscribe"]);
        tokens.required = require_auth;
        Self {
            contacts: BTreeMap::new(),
            lists: BTreeMap::from([(Mailmojo::LIST, "Newsletter".to_owned())]),
            tokens,
            style: Style::default(),
            ignores_case: false,
            members_are_active: false,
            page_cap,
            tallies: Tallies::default(),
            seen: HashMap::new(),
            replaces_custom: false,
            written_custom: BTreeSet::new(),
        }
    }

    /// Under what a contact is kept.
    pub(super) fn key(&self, email: &str) -> String {
        if self.ignores_case { email.to_lowercase() } else { email.to_owned() }
    }

    pub(super) fn contact(&self, email: &str) -> Option<&Contact> {
        self.contacts.get(&self.key(email))
    }

    pub(super) fn put(&mut self, contact: Contact) {
        self.contacts.insert(self.key(&contact.email), contact);
    }

    /// Answers a read of one contact.
    pub(super) fn read(&self, email: &str) -> Reply {
        match self.contact(email) {
            Some(contact) => Reply::json(200, self.style.show(contact)),
            None => not_found("contact"),
        }
    }

    /// Answers a read of one member of a list.
    pub(super) fn member(&self, list: i64, email: &str) -> Reply {
        let status = self.contact(email).and_then(|contact| contact.list_status(list));
        match status {
            Some(status) if status == "a" || !self.members_are_active => self.read(email),
            _ => not_found("subscriber"),
        }
    }

    /// Judges a write, and notes what was found only where `done` says that it will be done.
    pub(super) fn audit(
        &mut self,
        email: &str,
        list: Option<i64>,
        body: &Map<String, Value>,
        done: bool,
    ) -> Vec<Finding> {
        let key = self.key(email);
        let (stored, seen) = (self.contacts.get(&key), self.seen.get(&key));
        let custom = CustomRules { replaces: self.replaces_custom, written: &self.written_custom };
        let write = Write { email, list, body, stored, seen, custom };
        let Verdict { findings, races } = judge(&write);
        self.tallies.races.add(if done { races } else { Races::default() });
        findings
    }

    /// Does a patch.
    pub(super) fn patch(&mut self, email: &str, body: &Map<String, Value>) -> (Reply, Vec<Finding>) {
        let Some(before) = self.contact(email).cloned() else { return (not_found("contact"), Vec::new()) };
        let data = match Data::of(body) {
            Ok(data) => data,
            Err(wrong) => return (error(422, &wrong), Vec::new()),
        };
        let mut after = before.clone();
        if let Some(new) = data.email().filter(|new| *new != before.email) {
            if self.key(new) != self.key(email) && self.contact(new).is_some() {
                return (error(409, "another contact has that address"), Vec::new());
            }
            new.clone_into(&mut after.email);
            self.contacts.remove(&self.key(email));
        }
        data.apply(&mut after, self.replaces_custom);
        self.store(Some(&before), after, 200)
    }

    /// Does a subscribe.
    pub(super) fn subscribe(&mut self, list: i64, body: &Map<String, Value>) -> (Reply, Vec<Finding>) {
        let data = match Data::of(body) {
            Ok(data) => data,
            Err(wrong) => return (error(422, &wrong), Vec::new()),
        };
        let Some(email) = data.email().map(str::to_owned) else {
            return (error(422, "email is missing"), Vec::new());
        };
        let force = match body.get("force_subscribe") {
            None | Some(Value::Null) => true,
            Some(Value::Bool(force)) => *force,
            Some(_) => return (error(422, "force_subscribe must be a boolean"), Vec::new()),
        };
        let key = self.key(&email);
        let before = self.contacts.get(&key).cloned();
        let now = now();
        let mut after = before.clone().unwrap_or_else(|| made(&email, &now));
        data.apply(&mut after, self.replaces_custom);
        let after = subscribe(after, list, force, &now);
        // Also where its answer is lost, a service has to reckon with what it has itself asked for.
        match self.seen.get_mut(&key) {
            Some(Seen::Somebody(snapshot)) => snapshot.asked(list, true),
            Some(nobody) => *nobody = Seen::Somebody(Snapshot::made_on(list)),
            None => {}
        }
        let status = if before.is_some() { 200 } else { 201 };
        self.store(before.as_ref(), after, status)
    }

    fn store(&mut self, before: Option<&Contact>, after: Contact, status: u16) -> (Reply, Vec<Finding>) {
        if before == Some(&after) {
            self.tallies.no_op_writes += 1;
        }
        let reply = Reply::json(status, self.style.show(&after));
        let findings = status_changes(before, &after);
        self.put(after);
        (reply, findings)
    }

    /// Notes what the client is told of `email`: a contact, or that there is none.
    pub(super) fn told_of_contact(&mut self, email: &str, status: u16, json: Option<&Value>) {
        let key = self.key(email);
        match (status, json) {
            (200..=299, Some(json)) => match Snapshot::of(json) {
                Some(mut snapshot) => {
                    if let Some(Seen::Somebody(before)) = self.seen.get(&key) {
                        snapshot.keep_places_of(before);
                    }
                    self.seen.insert(key, Seen::Somebody(snapshot));
                }
                None => drop(self.seen.remove(&key)),
            },
            (404, Some(_)) => drop(self.seen.insert(key, Seen::Nobody)),
            _ => {}
        }
    }

    /// Notes what the client is told of `email` as a member of `list`.
    pub(super) fn told_of_member(&mut self, list: i64, email: &str, status: u16, json: Option<&Value>) {
        let key = self.key(email);
        if let (Some(Seen::Somebody(snapshot)), Some(_)) = (self.seen.get_mut(&key), json) {
            match status {
                200..=299 => snapshot.asked(list, true),
                404 => snapshot.asked(list, false),
                _ => {}
            }
        }
    }

    /// One page of `rows`, asked for with `page` and `per_page` or `limit`.
    pub(super) fn page(&self, request: &Request, rows: impl Iterator<Item = Value>) -> Reply {
        let number = |name: &str| request.query(name).map(str::parse::<usize>).transpose();
        let (Ok(page), Ok(per_page), Ok(limit)) = (number("page"), number("per_page"), number("limit"))
        else {
            return error(400, "page, per_page and limit must be numbers");
        };
        let page = page.unwrap_or(1).max(1);
        let per_page = per_page.or(limit).unwrap_or(self.page_cap).clamp(1, self.page_cap);
        let first = (page - 1).saturating_mul(per_page);
        let (mut total, mut here) = (0, Vec::new());
        for row in rows {
            if total >= first && here.len() < per_page {
                here.push(row);
            }
            total += 1;
        }
        let next = (first.saturating_add(per_page) < total).then_some(page + 1);
        let meta = json!({"page": page, "per_page": per_page, "next_page": next,
            "prev_page": (page > 1).then(|| page - 1), "total": total});
        Reply::json(200, json!({"data": here, "meta": meta}))
    }

    /// The members of a list with a status that `wanted` wants.
    pub(super) fn members(&self, list: i64, wanted: fn(&str) -> bool) -> impl Iterator<Item = Value> {
        self.contacts
            .values()
            .filter(move |contact| contact.list_status(list).is_some_and(wanted))
            .map(|contact| self.style.show(contact))
    }
}

/// A write without an object as its body.
pub(super) fn no_object(request: &Request) -> Finding {
    let text = format!("the body of {} {} is no JSON object", request.method, request.target);
    Finding::new(FindingKind::NoObject, text)
}
