//! The pretended Sesamy's paths and answers.

use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use axum::http::Method;
use serde_json::{Map, Value, json};

use super::super::call::{Api, Route};
use super::super::desk::{Backend, Place};
use super::super::finding::{Finding, FindingKind};
use super::super::hub::{Hub, locked};
use super::super::reply::Reply;
use super::super::wire::Request;
use super::shift::strike;
use super::{Shape, State, User};

/// The pretended Sesamy behind its desk.
pub(in super::super) struct SesamyApi {
    pub(super) hub: Arc<Hub>,
    pub(super) state: Arc<Mutex<State>>,
}

impl Backend for SesamyApi {
    const API: Api = Api::Sesamy;

    fn locate(&self, request: &Request) -> Place {
        let path = request.path();
        let of_user = request.query("userId");
        match (path.as_slice(), &request.method) {
            (["sandbox", ..], _) => Place::new(Route::Control, None),
            _ if request.trailing_slash => Place::new(Route::Unknown, None),
            (["oauth", "token"], &Method::POST) => Place::new(Route::Token, None),
            (["management", "users"], &Method::GET) => Place::new(Route::Users, None),
            (["management", "users", id], &Method::GET) if !id.is_empty() => {
                Place::new(Route::Profile, Some(id))
            }
            (["management", "contracts"], &Method::GET) => Place::new(Route::Contracts, of_user),
            (["management", "entitlements"], &Method::GET) => Place::new(Route::Entitlements, of_user),
            _ => Place::new(Route::Unknown, None),
        }
    }

    fn look(&self, request: &Request, place: &Place) {
        if place.route == Route::Unknown {
            let text = format!("{} {} is no request that Sesamy knows", request.method, request.target);
            self.hub.object([Finding::new(FindingKind::UnknownPath, text)]);
        }
    }

    fn answer(&self, request: &Request, place: &Place) -> Reply {
        self.look(request, place);
        let now = Instant::now();
        let state = &mut *locked(&self.state);
        match place.route {
            Route::Token => return state.tokens.answer(request, now),
            Route::Unknown => return Reply::html(404),
            _ => {}
        }
        let Some(bucket) = &mut state.bucket else { return state.managed(request, place, now) };
        if let Err(wait) = bucket.take(now) {
            return bucket.label(bucket.refuse(wait), wait);
        }
        let reply = state.managed(request, place, now);
        match &state.bucket {
            Some(bucket) => bucket.label(reply, Duration::ZERO),
            None => reply,
        }
    }

    fn told(&self, _: &Place, _: u16, _: Option<&Value>) {}

    fn control(&self, request: &Request) -> Reply {
        let path = request.path();
        let state = &mut *locked(&self.state);
        match (path.as_slice(), &request.method, &request.json) {
            (["sandbox", "findings"], &Method::GET, _) => {
                let findings = self.hub.findings().iter().map(ToString::to_string).collect::<Vec<_>>();
                Reply::json(200, json!(findings))
            }
            (["sandbox", "users", id], &Method::PUT, Some(Value::Object(fields))) => {
                let user = state.edit(id, |user| user.profile.extend(fields.clone()));
                Reply::json(200, Value::Object(user.profile.clone()))
            }
            (["sandbox", "users", id, "contracts"], &Method::PUT, Some(Value::Array(new))) => {
                let user = state.edit(id, |user| user.contracts.clone_from(new));
                Reply::json(200, json!(user.contracts))
            }
            (["sandbox", "users", id, "entitlements"], &Method::PUT, Some(Value::Array(new))) => {
                let user = state.edit(id, |user| user.entitlements.clone_from(new));
                Reply::json(200, json!(user.entitlements))
            }
            (["sandbox", "users", id], &Method::GET, _) if state.users.contains_key(*id) => {
                let user = &state.users[*id];
                let all = json!({"profile": user.profile, "contracts": user.contracts,
                    "entitlements": user.entitlements});
                Reply::json(200, all)
            }
            (["sandbox", ..], &Method::PUT, _) => {
                Self::error(400, "a user is a JSON object, rows are an array")
            }
            _ => Self::error(404, "the sandbox has no such path or user"),
        }
    }

    fn error(status: u16, message: &str) -> Reply {
        let code = match status {
            400 => "bad_request",
            401 => "unauthorized",
            403 => "forbidden",
            404 => "not_found",
            429 => "rate_limit_exceeded",
            _ => "error",
        };
        Reply::json(status, json!({"error": {"code": code, "message": message}}))
    }
}

/// Which rows are asked for.
struct Page {
    limit: usize,
    offset: usize,
}

impl Page {
    fn of(request: &Request, cap: usize) -> Option<Self> {
        let number = |name: &str, absent| request.query(name).map_or(Ok(absent), str::parse::<usize>);
        let limit = number("limit", cap).ok()?.clamp(1, cap);
        Some(Self { limit, offset: number("offset", 0).ok()? })
    }
}

impl State {
    /// Answers what needs a token; then whoever is to come or go with this page does.
    fn managed(&mut self, request: &Request, place: &Place, now: Instant) -> Reply {
        let reply = self.read(request, place, now);
        if place.route == Route::Users && reply.status == 200 {
            let offset = Page::of(request, self.page_cap).map_or(0, |page| page.offset);
            strike(&mut self.shifts, offset, &mut self.users);
        }
        reply
    }

    fn read(&self, request: &Request, place: &Place, now: Instant) -> Reply {
        if self.tokens.check(request, None, now).is_err() {
            return SesamyApi::error(401, "the bearer token is missing, unknown or has ended");
        }
        let Some(page) = Page::of(request, self.page_cap) else {
            return SesamyApi::error(400, "limit and offset must be numbers");
        };
        match (place.route, place.subject.as_deref()) {
            (Route::Profile, Some(id)) => match self.users.get(id) {
                Some(user) => self.one(Value::Object(user.profile.clone())),
                None => SesamyApi::error(404, "there is no such user"),
            },
            (Route::Users, _) => {
                let search = request.query("search").map(str::to_lowercase);
                let found = |user: &&User| search.as_deref().is_none_or(|text| mentions(user, text));
                self.page(&page, self.users.values().filter(found), listed)
            }
            (Route::Contracts, of_user) => {
                let status = request.query("status");
                let of_status = |(_, row): &(&User, &Value)| {
                    status.is_none_or(|status| row.get("status").is_some_and(|own| own == status))
                };
                let rows =
                    self.chosen(of_user).flat_map(|user| user.contracts.iter().map(move |row| (user, row)));
                self.page(&page, rows.filter(of_status), |(user, row)| with_owner(user, row))
            }
            (Route::Entitlements, of_user) => {
                self.page(&page, self.chosen(of_user).flat_map(|user| &user.entitlements), Value::clone)
            }
            _ => SesamyApi::error(404, "there is no such path"),
        }
    }

    /// One user, or all of them where none is named.
    fn chosen<'a>(&'a self, id: Option<&'a str>) -> Box<dyn Iterator<Item = &'a User> + 'a> {
        match id {
            Some(id) => Box::new(self.users.get(id).into_iter()),
            None => Box::new(self.users.values()),
        }
    }

    fn one(&self, json: Value) -> Reply {
        match self.shape {
            Shape::Bare => Reply::json(200, json),
            Shape::Envelope => Reply::json(200, json!({"data": json, "meta": {}})),
        }
    }

    fn page<T>(&self, page: &Page, rows: impl Iterator<Item = T>, shown: impl Fn(T) -> Value) -> Reply {
        let (mut total, mut here) = (0, Vec::new());
        for row in rows {
            if total >= page.offset && here.len() < page.limit {
                here.push(shown(row));
            }
            total += 1;
        }
        match self.shape {
            Shape::Bare => Reply::json(200, Value::Array(here)),
            Shape::Envelope => Reply::json(
                200,
                json!({"data": here, "meta": {},
                    "pagination": {"total": total, "limit": page.limit, "offset": page.offset}}),
            ),
        }
    }
}

fn mentions(user: &User, text: &str) -> bool {
    user.profile.values().filter_map(Value::as_str).any(|value| value.to_lowercase().contains(text))
}

/// A row of the list of users, which calls the id `id`.
fn listed(user: &User) -> Value {
    let mut row: Map<String, Value> = user.profile.clone();
    row.entry("id").or_insert_with(|| user.id.clone().into());
    Value::Object(row)
}

/// A contract names its user.
fn with_owner(user: &User, row: &Value) -> Value {
    let mut row = row.clone();
    if let Value::Object(fields) = &mut row {
        fields.entry("userId").or_insert_with(|| user.id.clone().into());
    }
    row
}
