//! The pretended Mailmojo's paths, tokens and scopes.

use std::sync::{Arc, Mutex};
use std::time::Instant;

use axum::http::Method;
use serde_json::{Map, Value, json};

use super::super::call::{Api, Route};
use super::super::desk::{Backend, Place};
use super::super::finding::{Finding, FindingKind};
use super::super::hub::{Hub, locked};
use super::super::reply::Reply;
use super::super::token::Refused;
use super::super::wire::Request;
use super::contact::contact;
use super::state::{State, no_object, now};
use super::write::Data;

/// The pretended Mailmojo behind its desk.
pub(in super::super) struct MailmojoApi {
    pub(super) hub: Arc<Hub>,
    pub(super) state: Arc<Mutex<State>>,
}

pub(super) fn error(status: u16, message: &str) -> Reply {
    Reply::json(status, json!({"title": format!("Error {status}"), "detail": message}))
}

pub(super) fn not_found(what: &str) -> Reply {
    error(404, &format!("there is no such {what}"))
}

impl Backend for MailmojoApi {
    const API: Api = Api::Mailmojo;

    fn locate(&self, request: &Request) -> Place {
        let path = request.path();
        let (get, post) = (request.method == Method::GET, request.method == Method::POST);
        let place = match path.as_slice() {
            ["sandbox", ..] => Place::new(Route::Control, None),
            ["oauth", "token"] if post => Place::new(Route::Token, None),
            ["v1", "contacts"] if get => Place::new(Route::Contacts, None),
            ["v1", "contacts", email] if get => Place::new(Route::ContactGet, Some(email)),
            ["v1", "contacts", email] if request.method == Method::PATCH => {
                Place::new(Route::ContactPatch, Some(email))
            }
            ["v1", "lists"] if get => Place::new(Route::Lists, None),
            ["v1", "lists", _] if get => Place::new(Route::List, None),
            ["v1", "lists", _, "subscribers"] if get => Place::new(Route::ListMembers, None),
            ["v1", "lists", _, "subscribers"] if post => {
                let email = request.json.as_ref().and_then(|json| json.get("email"));
                Place::new(Route::Subscribe, email.and_then(Value::as_str))
            }
            ["v1", "lists", _, "subscribers", email] if get => Place::new(Route::ListMember, Some(email)),
            ["v1", "lists", _, "unsubscribed"] if get => Place::new(Route::ListUnsubscribed, None),
            _ => Place::new(Route::Unknown, None),
        };
        Place { list: list_of(&path), ..place }
    }

    fn look(&self, request: &Request, place: &Place) {
        self.check(request, place, &mut locked(&self.state), false);
    }

    fn answer(&self, request: &Request, place: &Place) -> Reply {
        let state = &mut *locked(&self.state);
        let refusal = refusal(request, place, state);
        self.check(request, place, state, refusal.is_none());
        match refusal {
            Some(reply) => reply,
            None => self.perform(request, place, state),
        }
    }

    fn told(&self, place: &Place, status: u16, json: Option<&Value>) {
        let Some(email) = place.subject.as_deref() else { return };
        let state = &mut *locked(&self.state);
        match place.route {
            Route::ContactGet | Route::ContactPatch => state.told_of_contact(email, status, json),
            // A 404 here is about the list, not about the contact.
            Route::Subscribe if status != 404 => state.told_of_contact(email, status, json),
            Route::ListMember => {
                if let Some(list) = place.list {
                    state.told_of_member(list, email, status, json);
                }
            }
            _ => {}
        }
    }

    fn control(&self, request: &Request) -> Reply {
        let path = request.path();
        let state = &mut *locked(&self.state);
        match (path.as_slice(), &request.method, &request.json) {
            (["sandbox", "findings"], &Method::GET, _) => {
                let findings = self.hub.findings().iter().map(ToString::to_string).collect::<Vec<_>>();
                Reply::json(200, json!(findings))
            }
            (["sandbox", "contacts"], &Method::GET, _) => {
                let all = state.contacts.values().map(|contact| state.style.show(contact));
                Reply::json(200, all.collect())
            }
            (["sandbox", "contacts", email], &Method::PUT, Some(Value::Object(body))) => {
                edit(state, email, body)
            }
            (["sandbox", ..], &Method::PUT, _) => error(400, "a contact is a JSON object"),
            _ => not_found("path in the sandbox"),
        }
    }

    fn error(status: u16, message: &str) -> Reply {
        error(status, message)
    }
}

/// A publisher's own edit: fields as in a patch, `name` and `status` too; a contact that is not there is made.
fn edit(state: &mut State, email: &str, body: &Map<String, Value>) -> Reply {
    let data = match Data::of(body) {
        Ok(data) => data,
        Err(wrong) => return error(400, &wrong),
    };
    let mut changed = state.contact(email).cloned().unwrap_or_else(|| contact(email));
    data.apply(&mut changed, false);
    if let Some(status) = body.get("status").and_then(Value::as_str) {
        changed.turn(status, &now());
    }
    let shown = state.style.show(&changed);
    state.put(changed);
    Reply::json(200, shown)
}

/// The answer to a request that may not be done.
fn refusal(request: &Request, place: &Place, state: &State) -> Option<Reply> {
    if place.route == Route::Unknown {
        return Some(match allowed(&request.path()) {
            Some(methods) => error(405, "this path does not have that method").with_header("Allow", methods),
            None => Reply::html(404),
        });
    }
    if !request.trailing_slash {
        return Some(Reply::html(301).with_header("Location", request.with_slash()));
    }
    let scope = match place.route {
        Route::Token => return None,
        Route::ContactGet | Route::ContactPatch | Route::Contacts => Some("contacts"),
        Route::Subscribe => Some("subscribe"),
        _ => None,
    };
    match state.tokens.check(request, scope, Instant::now()) {
        Ok(()) => None,
        Err(Refused::Unauthorized) => Some(error(401, "the bearer token is missing, unknown or has ended")),
        Err(Refused::Scope(scope)) => Some(error(403, &format!("the token lacks the scope {scope}"))),
    }
}

/// The methods of a path that exists.
fn allowed(path: &[&str]) -> Option<&'static str> {
    match path {
        ["oauth", "token"] => Some("POST"),
        ["v1", "contacts", _] => Some("GET, PATCH"),
        ["v1", "lists", _, "subscribers"] => Some("GET, POST"),
        ["v1", "contacts" | "lists"] | ["v1", "lists", _] | ["v1", "lists", _, "unsubscribed"] => Some("GET"),
        ["v1", "lists", _, "subscribers", _] => Some("GET"),
        _ => None,
    }
}

/// The list in a path.
fn list_of(path: &[&str]) -> Option<i64> {
    match path {
        ["v1", "lists", list, ..] => list.parse().ok(),
        _ => None,
    }
}

impl MailmojoApi {
    /// Objects to what is wrong with a request, whether it will be done or not.
    fn check(&self, request: &Request, place: &Place, state: &mut State, done: bool) {
        if place.route == Route::Unknown {
            let text = format!("{} {} is no request that Mailmojo knows", request.method, request.target);
            return self.hub.object([Finding::new(FindingKind::UnknownPath, text)]);
        }
        if request.is_write() && !request.trailing_slash {
            let text = format!("{} {} lacks its trailing slash", request.method, request.target);
            self.hub.object([Finding::new(FindingKind::WriteWithoutSlash, text)]);
        }
        if !matches!(place.route, Route::ContactPatch | Route::Subscribe) {
            return;
        }
        let Some(body) = request.json.as_ref().and_then(Value::as_object) else {
            return self.hub.object([no_object(request)]);
        };
        if let Some(email) = place.subject.as_deref() {
            self.hub.object(state.audit(email, place.list, body, done));
        }
    }

    fn perform(&self, request: &Request, place: &Place, state: &mut State) -> Reply {
        let email = place.subject.as_deref().unwrap_or_default();
        match place.route {
            Route::Token => return state.tokens.answer(request, Instant::now()),
            Route::Contacts => {
                return state.page(request, state.contacts.values().map(|contact| state.style.show(contact)));
            }
            Route::ContactGet => return state.read(email),
            Route::ContactPatch => return self.written(request, |body| state.patch(email, body)),
            Route::Lists => {
                let rows = state.lists.iter().map(|(id, name)| json!({"id": id, "name": name}));
                return state.page(request, rows);
            }
            _ => {}
        }
        let Some((list, name)) = place.list.and_then(|id| state.lists.get_key_value(&id)) else {
            return not_found("list");
        };
        let list = *list;
        match place.route {
            Route::List => Reply::json(200, json!({"id": list, "name": name})),
            Route::Subscribe => self.written(request, |body| state.subscribe(list, body)),
            Route::ListMembers => state.page(request, state.members(list, |status| status == "a")),
            Route::ListUnsubscribed => state.page(request, state.members(list, |status| status == "u")),
            Route::ListMember => state.member(list, email),
            _ => not_found("path"),
        }
    }

    fn written(
        &self,
        request: &Request,
        write: impl FnOnce(&Map<String, Value>) -> (Reply, Vec<Finding>),
    ) -> Reply {
        let Some(body) = request.json.as_ref().and_then(Value::as_object) else {
            return error(400, "the body is no JSON object");
        };
        let (reply, findings) = write(body);
        self.hub.object(findings);
        reply
    }
}
