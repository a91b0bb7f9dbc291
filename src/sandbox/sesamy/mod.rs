//! The pretended Sesamy: a token endpoint and the part of the Management API that reads users, contracts and
//! entitlements.

mod api;
mod shift;
mod user;

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use serde_json::Value;

pub use user::{Contract, Entitlement, User, contract, entitlement, user};

use super::Options;
use super::call::{Api, Route};
use super::desk::{AnswerDate, Desk, Trouble};
use super::fault::Rule;
use super::gate::{Gate, Stage};
use super::hub::{Hub, locked};
use super::pace::{Bucket, RateLimit};
use super::token::Tokens;
use api::SesamyApi;
use shift::{Change, Shift, touch};

/// In what the answers are wrapped.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Shape {
    /// As in the published specification: the object or the array itself.
    #[default]
    Bare,
    /// As in the guide: `{"data": …, "meta": …}`, for lists with `pagination`.
    Envelope,
}

/// Everything that the pretended Sesamy knows.
#[derive(Debug)]
struct State {
    users: BTreeMap<String, User>,
    tokens: Tokens,
    page_cap: usize,
    shape: Shape,
    bucket: Option<Bucket>,
    shifts: Vec<Shift>,
}

/// A handle on the pretended Sesamy; clones share one state.
#[derive(Debug, Clone)]
pub struct Sesamy {
    url: String,
    hub: Arc<Hub>,
    trouble: Arc<Trouble>,
    state: Arc<Mutex<State>>,
}

impl State {
    fn new(page_cap: usize, require_auth: bool) -> Self {
        let mut tokens = Tokens::new("sesamy", Sesamy::CLIENT_ID, Sesamy::CLIENT_SECRET);
        tokens.audience = Some(Sesamy::AUDIENCE.to_owned());
        tokens.accept(Sesamy::FIXED_TOKEN, &[]);
        tokens.required = require_auth;
        Self {
            users: BTreeMap::new(),
            tokens,
            page_cap,
            shape: Shape::Bare,
            bucket: None,
            shifts: Vec::new(),
        }
    }

    /// Changes a user, who is made if unknown, and says so in `updatedAt`. The user after it.
    fn edit(&mut self, id: &str, edit: impl FnOnce(&mut User)) -> &User {
        let before = self.users.get(id).cloned();
        let after = self.users.entry(id.to_owned()).or_insert_with(|| user(id));
        edit(after);
        touch(before.as_ref(), after);
        after
    }
}

impl Sesamy {
    /// The client that may have tokens.
    pub const CLIENT_ID: &str = "sandbox-sesamy-client";
    /// Its secret.
    pub const CLIENT_SECRET: &str = "sandbox-sesamy-secret";
    /// The audience that a token must be asked for.
    pub const AUDIENCE: &str = "https://api.sesamy.com";
    /// A token that is good without asking for one.
    pub const FIXED_TOKEN: &str = "sandbox-sesamy-fixed-token";

    /// The handle, and the desk that answers for it at `url`.
    pub(super) fn new(url: String, hub: &Arc<Hub>, options: &Options) -> (Self, Desk<SesamyApi>) {
        let state = Arc::new(Mutex::new(State::new(options.page_cap.max(1), options.require_auth)));
        let trouble = Arc::new(Trouble::default());
        let backend = Arc::new(SesamyApi { hub: Arc::clone(hub), state: Arc::clone(&state) });
        let desk = Desk { hub: Arc::clone(hub), trouble: Arc::clone(&trouble), backend };
        (Self { url, hub: Arc::clone(hub), trouble, state }, desk)
    }

    /// The API's base, without a slash at its end.
    #[must_use]
    pub fn url(&self) -> &str {
        &self.url
    }

    /// Where tokens are had.
    #[must_use]
    pub fn token_url(&self) -> String {
        format!("{}/oauth/token", self.url)
    }

    /// Adds a user, or replaces the one with this id, contracts and entitlements included.
    pub fn put_user(&self, user: User) {
        self.change(|state| _ = state.edit(&user.id.clone(), |it| *it = user));
    }

    /// Changes a user, who is made if unknown. Do not ask the sandbox anything inside `edit`: it is locked.
    pub fn edit_user(&self, id: &str, edit: impl FnOnce(&mut User)) {
        self.change(|state| _ = state.edit(id, edit));
    }

    /// Sets one field of a profile.
    pub fn set_field(&self, id: &str, name: &str, value: impl Into<Value>) {
        let value = value.into();
        self.edit_user(id, |user| {
            user.profile.insert(name.to_owned(), value);
        });
    }

    /// Replaces a user's contracts.
    pub fn set_contracts<C: Into<Value>>(&self, id: &str, contracts: impl IntoIterator<Item = C>) {
        self.edit_user(id, |user| user.contracts = contracts.into_iter().map(Into::into).collect());
    }

    /// Replaces a user's entitlements.
    pub fn set_entitlements<E: Into<Value>>(&self, id: &str, entitlements: impl IntoIterator<Item = E>) {
        self.edit_user(id, |user| user.entitlements = entitlements.into_iter().map(Into::into).collect());
    }

    /// Adds a contract to a user's.
    pub fn add_contract(&self, id: &str, contract: impl Into<Value>) {
        self.edit_user(id, |user| user.contracts.push(contract.into()));
    }

    /// Adds an entitlement to a user's.
    pub fn add_entitlement(&self, id: &str, entitlement: impl Into<Value>) {
        self.edit_user(id, |user| user.entitlements.push(entitlement.into()));
    }

    /// Adds a user once the page of the list of users that begins at `offset` has been answered next.
    pub fn put_user_after_page(&self, offset: usize, user: User) {
        self.change(|state| state.shifts.push(Shift { offset, what: Change::Comes(user) }));
    }

    /// Forgets a user once the page of the list of users that begins at `offset` has been answered next.
    pub fn remove_user_after_page(&self, offset: usize, id: &str) {
        self.change(|state| state.shifts.push(Shift { offset, what: Change::Goes(id.to_owned()) }));
    }

    /// Forgets a user and all that hangs on it.
    pub fn remove_user(&self, id: &str) {
        self.change(|state| state.users.remove(id));
    }

    /// What Sesamy knows of a user.
    #[must_use]
    pub fn user(&self, id: &str) -> Option<User> {
        locked(&self.state).users.get(id).cloned()
    }

    /// Wraps the answers from now on as `shape` says.
    pub fn answer_as(&self, shape: Shape) {
        self.change(|state| state.shape = shape);
    }

    /// The most rows that a page has.
    pub fn set_page_cap(&self, rows: usize) {
        self.change(|state| state.page_cap = rows.max(1));
    }

    /// Enforces a rate limit from now on, with a full burst; none ends it.
    pub fn enforce(&self, limit: Option<RateLimit>) {
        self.change(|state| state.bucket = limit.map(|limit| Bucket::new(limit, Instant::now())));
    }

    /// How long the tokens last that are given out from now on.
    pub fn set_token_life(&self, life: Duration) {
        self.change(|state| state.tokens.expires_in = life);
    }

    /// Accepts these client credentials from now on, and no others.
    pub fn set_client(&self, id: &str, secret: &str) {
        self.change(|state| {
            id.clone_into(&mut state.tokens.client_id);
            secret.clone_into(&mut state.tokens.client_secret);
        });
    }

    /// Accepts this token beside the others.
    pub fn accept_token(&self, token: &str) {
        self.change(|state| state.tokens.accept(token, &[]));
    }

    /// Ends one token.
    pub fn revoke_token(&self, token: &str) {
        self.change(|state| state.tokens.revoke(token));
    }

    /// Ends every token that the token endpoint has given out.
    pub fn revoke_issued_tokens(&self) {
        self.change(|state| state.tokens.revoke_issued());
    }

    /// How many tokens the token endpoint has given out.
    #[must_use]
    pub fn tokens_issued(&self) -> u64 {
        locked(&self.state).tokens.issued()
    }

    /// Adds a rule of what goes wrong.
    pub fn inject(&self, rule: Rule) {
        self.trouble.add(rule);
    }

    /// How often each kind of fault has struck so far.
    #[must_use]
    pub fn faults(&self) -> BTreeMap<String, u64> {
        self.trouble.struck()
    }

    /// Says what time it is like this from now on, in the `Date` of each answer.
    pub fn say_date(&self, date: AnswerDate) {
        self.trouble.say(date);
    }

    /// Forgets all rules of what goes wrong.
    pub fn clear_faults(&self) {
        self.trouble.clear();
    }

    /// Holds requests of this kind, before they are done, until the gate is released or dropped.
    #[must_use]
    pub fn hold(&self, route: Route) -> Gate {
        self.trouble.hold(route, None, Stage::Request)
    }

    /// As [`Sesamy::hold`], but only what is about one user.
    #[must_use]
    pub fn hold_for(&self, route: Route, user: &str) -> Gate {
        self.trouble.hold(route, Some(user), Stage::Request)
    }

    /// Holds the answers to requests of this kind, which are done by then.
    #[must_use]
    pub fn hold_answer(&self, route: Route) -> Gate {
        self.trouble.hold(route, None, Stage::Answer)
    }

    /// How many requests of this kind have ended since the last `clear_calls`.
    #[must_use]
    pub fn count(&self, route: Route) -> u64 {
        locked(&self.hub.log).count(Api::Sesamy, route)
    }

    fn change<T>(&self, change: impl FnOnce(&mut State) -> T) {
        change(&mut locked(&self.state));
        self.hub.ring();
    }
}
