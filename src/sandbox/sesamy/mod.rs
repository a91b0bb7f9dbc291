//! The mock Sesamy: a token endpoint, and the part of the Management API that reads users, contracts and entitlements.

mod api;
mod user;

use serde_json::Value;

pub use api::{Sesamy, Shape};
pub use user::{Contract, Entitlement, User, contract, entitlement, user};

use api::PageShift;

impl Sesamy {
    /// The URL of the token endpoint.
    pub fn token_url(&self) -> String {
        format!("{}/oauth/token", self.url())
    }

    /// Accepts these client credentials from now on, and no others.
    pub fn set_client(&self, id: &str, secret: &str) {
        self.tokens(|tokens| {
            id.clone_into(&mut tokens.client_id);
            secret.clone_into(&mut tokens.client_secret);
        });
    }

    /// Accepts this token as well.
    pub fn accept_token(&self, token: &str) {
        self.tokens(|tokens| tokens.accept(token, &[]));
    }

    /// Wraps the answers from now on as `shape` says.
    pub fn answer_as(&self, shape: Shape) {
        self.change(|api| api.shape = shape);
    }

    /// The most rows on a page from now on.
    pub fn set_page_cap(&self, rows: usize) {
        self.change(|api| api.page_cap = rows.max(1));
    }

    /// What Sesamy knows of a user.
    pub fn user(&self, id: &str) -> Option<User> {
        self.read(|api| api.users.get(id).cloned())
    }

    /// Adds a user, or replaces the one with this id, contracts and entitlements included.
    pub fn put_user(&self, user: User) {
        self.edit_user(&user.id.clone(), |old| *old = user);
    }

    /// Removes a user and everything that belongs to it.
    pub fn remove_user(&self, id: &str) {
        self.change(|api| api.users.remove(id));
    }

    /// Edits a user, which is created if unknown. `edit` must not call the sandbox, which is locked.
    pub fn edit_user(&self, id: &str, edit: impl FnOnce(&mut User)) {
        self.change(|api| _ = api.edit(id, edit));
    }

    /// Sets one field of a profile.
    pub fn set_field(&self, id: &str, name: &str, value: impl Into<Value>) {
        self.edit_user(id, |user| _ = user.profile.insert(name.to_owned(), value.into()));
    }

    /// Replaces a user's contracts.
    pub fn set_contracts<C: Into<Value>>(&self, id: &str, contracts: impl IntoIterator<Item = C>) {
        self.edit_user(id, |user| user.contracts = contracts.into_iter().map(Into::into).collect());
    }

    /// Replaces a user's entitlements.
    pub fn set_entitlements<E: Into<Value>>(&self, id: &str, entitlements: impl IntoIterator<Item = E>) {
        self.edit_user(id, |user| user.entitlements = entitlements.into_iter().map(Into::into).collect());
    }

    /// Adds an entitlement to a user's.
    pub fn add_entitlement(&self, id: &str, entitlement: impl Into<Value>) {
        self.edit_user(id, |user| user.entitlements.push(entitlement.into()));
    }

    /// Adds a user once the page of users that begins at `offset` has been answered.
    pub fn put_user_after_page(&self, offset: usize, user: User) {
        let shift = PageShift { offset, id: user.id.clone(), user: Some(user) };
        self.change(|api| api.page_shifts.push(shift));
    }

    /// Removes a user once the page of users that begins at `offset` has been answered.
    pub fn remove_user_after_page(&self, offset: usize, id: &str) {
        self.change(|api| api.page_shifts.push(PageShift { offset, id: id.to_owned(), user: None }));
    }
}
