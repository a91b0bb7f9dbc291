//! The mock Sesamy's state and routes.

use std::collections::BTreeMap;

use axum::http::Method;
use serde_json::{Value, json};

use super::super::finding::Finding;
use super::super::http::Request;
use super::super::reply::Reply;
use super::super::server::{MockApi, MockServer};
use super::super::target::{Api, Route, Target};
use super::super::tokens::Tokens;
use super::user::{User, user};

/// The mock Sesamy.
pub type Sesamy = MockServer<SesamyApi>;

impl Sesamy {
    /// The client that may request tokens.
    pub const CLIENT_ID: &str = "sandbox-sesamy-client";
    /// Its secret.
    pub const CLIENT_SECRET: &str = "sandbox-sesamy-secret";
    /// The audience that a token must be requested for.
    pub const AUDIENCE: &str = "https://api.sesamy.com";
    /// A token that is accepted from the start.
    pub const FIXED_TOKEN: &str = "sandbox-sesamy-fixed-token";
}

/// How answers are wrapped.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Shape {
    /// As in the published specification: the object or the array itself.
    #[default]
    Bare,
    /// As in the guide: `{"data": …, "meta": …}`, for lists with `pagination`.
    Envelope,
}

/// Everything that the mock Sesamy knows.
#[derive(Debug)]
pub struct SesamyApi {
    pub(super) users: BTreeMap<String, User>,
    pub(super) page_cap: usize,
    pub(super) shape: Shape,
    pub(super) page_shifts: Vec<PageShift>,
}

/// A user appears or disappears once the page of users that begins at `offset` has been answered.
#[derive(Debug)]
pub(super) struct PageShift {
    pub(super) offset: usize,
    pub(super) id: String,
    /// The user that appears; `None` if it disappears.
    pub(super) user: Option<User>,
}

impl MockApi for SesamyApi {
    const API: Api = Api::Sesamy;

    fn new() -> Self {
        Self { users: BTreeMap::new(), page_cap: 100, shape: Shape::Bare, page_shifts: Vec::new() }
    }

    fn tokens() -> Tokens {
        let mut tokens = Tokens::new("sesamy", Sesamy::CLIENT_ID, Sesamy::CLIENT_SECRET);
        tokens.audience = Some(Sesamy::AUDIENCE.to_owned());
        tokens.accept(Sesamy::FIXED_TOKEN, &[]);
        tokens
    }

    fn target(request: &Request) -> Target {
        let of_user = request.query("userId");
        match (request.path().as_slice(), &request.method) {
            (["sandbox", ..], _) => Target::new(Route::Control, None),
            _ if request.trailing_slash => Target::new(Route::Unknown, None),
            (["oauth", "token"], &Method::POST) => Target::new(Route::Token, None),
            (["management", "users"], &Method::GET) => Target::new(Route::Users, None),
            (["management", "users", id], &Method::GET) if !id.is_empty() => {
                Target::new(Route::Profile, Some(id))
            }
            (["management", "contracts"], &Method::GET) => Target::new(Route::Contracts, of_user),
            (["management", "entitlements"], &Method::GET) => Target::new(Route::Entitlements, of_user),
            _ => Target::new(Route::Unknown, None),
        }
    }

    fn misdirected(_: &Request, target: &Target) -> Option<Reply> {
        (target.route == Route::Unknown).then(|| Reply::html(404))
    }

    fn answer(&mut self, request: &Request, target: &Target) -> (Reply, Vec<Finding>) {
        let number = |name: &str, absent| request.query(name).map_or(Ok(absent), str::parse);
        let (Ok(limit), Ok(offset)) = (number("limit", self.page_cap), number("offset", 0)) else {
            return (Self::error(400, "limit and offset must be numbers"), Vec::new());
        };
        let reply = self.read(request, target, &Window { limit: limit.clamp(1, self.page_cap), offset });
        if target.route == Route::Users {
            self.shift_page(offset);
        }
        (reply, Vec::new())
    }

    fn control(&mut self, request: &Request) -> Reply {
        match (request.path().as_slice(), &request.method, &request.json) {
            (["sandbox", "users", id], &Method::PUT, Some(Value::Object(fields))) => {
                let user = self.edit(id, |user| user.profile.extend(fields.clone()));
                Reply::json(200, json!(user.profile))
            }
            (["sandbox", "users", id, "contracts"], &Method::PUT, Some(Value::Array(new))) => {
                let user = self.edit(id, |user| user.contracts.clone_from(new));
                Reply::json(200, json!(user.contracts))
            }
            (["sandbox", "users", id, "entitlements"], &Method::PUT, Some(Value::Array(new))) => {
                let user = self.edit(id, |user| user.entitlements.clone_from(new));
                Reply::json(200, json!(user.entitlements))
            }
            (["sandbox", "users", id], &Method::GET, _) if self.users.contains_key(*id) => {
                let User { profile, contracts, entitlements, .. } = &self.users[*id];
                let all = json!({"profile": profile, "contracts": contracts, "entitlements": entitlements});
                Reply::json(200, all)
            }
            (_, &Method::PUT, _) => Self::error(400, "a user is a JSON object, rows are an array"),
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

impl SesamyApi {
    /// Edits a user, which is created if unknown, and sets `updatedAt`; returns the user after it.
    pub(super) fn edit(&mut self, id: &str, edit: impl FnOnce(&mut User)) -> &User {
        let before = self.users.get(id).cloned();
        let after = self.users.entry(id.to_owned()).or_insert_with(|| user(id));
        edit(after);
        // As the API writes times: to the millisecond.
        after.touch(before.as_ref(), &format!("{:.3}", jiff::Timestamp::now()));
        after
    }

    fn read(&self, request: &Request, target: &Target, window: &Window) -> Reply {
        let mut users: Vec<&User> = match target.subject.as_deref() {
            Some(id) => self.users.get(id).into_iter().collect(),
            None => self.users.values().collect(),
        };
        match target.route {
            Route::Profile => match (users.first(), self.shape) {
                (None, _) => Self::error(404, "there is no such user"),
                (Some(user), Shape::Bare) => Reply::json(200, json!(user.profile)),
                (Some(user), Shape::Envelope) => Reply::json(200, json!({"data": user.profile, "meta": {}})),
            },
            Route::Users => {
                if let Some(text) = request.query("search").map(str::to_lowercase) {
                    users.retain(|user| mentions(user, &text));
                }
                self.page(window, users, |user| with_id(user, "id", json!(user.profile)))
            }
            Route::Contracts => {
                let status = request.query("status");
                let rows = users.iter().flat_map(|user| user.contracts.iter().map(move |row| (user, row)));
                let rows = rows.filter(|(_, row)| status.is_none_or(|status| row["status"] == status));
                self.page(window, rows.collect(), |(user, row)| with_id(user, "userId", row.clone()))
            }
            Route::Entitlements => {
                let rows = users.iter().flat_map(|user| &user.entitlements);
                self.page(window, rows.collect(), Value::clone)
            }
            _ => Self::error(404, "there is no such path"),
        }
    }

    fn page<T>(&self, window: &Window, rows: Vec<T>, shown: impl Fn(T) -> Value) -> Reply {
        let Window { limit, offset } = window;
        let total = rows.len();
        let page: Vec<_> = rows.into_iter().skip(*offset).take(*limit).map(shown).collect();
        let pagination = json!({"total": total, "limit": limit, "offset": offset});
        match self.shape {
            Shape::Bare => Reply::json(200, page.into()),
            Shape::Envelope => Reply::json(200, json!({"data": page, "meta": {}, "pagination": pagination})),
        }
    }

    /// Makes the shifts of the page at `offset`, each once.
    fn shift_page(&mut self, offset: usize) {
        for shift in self.page_shifts.extract_if(.., |shift| shift.offset == offset) {
            match shift.user {
                Some(user) => self.users.insert(shift.id, user),
                None => self.users.remove(&shift.id),
            };
        }
    }
}

/// Which rows of a list are requested.
struct Window {
    limit: usize,
    offset: usize,
}

/// Whether any text of the profile contains `text`, which is in lower case.
fn mentions(user: &User, text: &str) -> bool {
    user.profile.values().filter_map(Value::as_str).any(|value| value.to_lowercase().contains(text))
}

/// A row that has the user's id in `field`, unless the row has that field itself.
fn with_id(user: &User, field: &str, mut row: Value) -> Value {
    if let Value::Object(fields) = &mut row {
        fields.entry(field).or_insert_with(|| user.id.clone().into());
    }
    row
}
