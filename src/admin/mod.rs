//! The operations page: how the service is, who waits, what failed and why, and what to do about it; for people as
//! pages, for programs as a JSON API (`/admin/api/…`).
//!
//! On a listener of its own, never on the webhook's port, and only where `admin.tokens` is set. All works without a
//! script; the one there is only refreshes the first page.
//!
//! Promises, each a test: nobody without a token or a session sees or changes anything, and the session opens the pages but
//! not the API; no other site's form is taken; a change is always a POST, and is logged; nothing is loaded from elsewhere;
//! whatever a user, an API or an event is called, it is shown as text.
//!
//! What is done, and how, is behind [`Desk`].

mod actions;
mod api;
mod assets;
pub mod desk;
mod fields;
mod guard;
mod login_rest;
mod pages;
mod session;
#[cfg(test)]
mod tests;

use std::fmt;
use std::sync::{Arc, Mutex};

use axum::Router;
use axum::middleware;
use axum::response::Redirect;
use axum::routing::{get, post};
use secrecy::SecretString;
use tower_http::catch_panic::CatchPanicLayer;

pub use desk::Desk;

use self::login_rest::LoginRest;
use self::session::Keys;
use crate::clock::{Clock, Millis};
use crate::config::InForce;
use crate::server::problem::panicked;

/// What the page and the API work with.
pub struct Office {
    desk: Arc<dyn Desk>,
    keys: Keys,
    login_rest: Mutex<LoginRest>,
    cookie_is_secure: bool,
    clock: Clock,
    began: Millis,
    in_force: Vec<InForce>,
}

impl Office {
    /// An office that opens to `tokens`. `beyond_loopback`: whether it listens to more than this machine, so that its cookie
    /// has to travel encrypted. `in_force` are the settings that it shows.
    #[must_use]
    pub fn new(
        desk: Arc<dyn Desk>,
        tokens: &[SecretString],
        beyond_loopback: bool,
        clock: Clock,
        in_force: Vec<InForce>,
    ) -> Self {
        Self {
            desk,
            keys: Keys::new(tokens),
            login_rest: Mutex::default(),
            cookie_is_secure: beyond_loopback,
            began: clock.now(),
            clock,
            in_force,
        }
    }

    fn now(&self) -> Millis {
        self.clock.now()
    }
}

impl fmt::Debug for Office {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Office").field("keys", &self.keys).finish_non_exhaustive()
    }
}

/// The routes, complete with error answers. `metrics` is the router of `/metrics`.
pub fn router(office: Office, metrics: Router) -> Router {
    let office = Arc::new(office);
    let pages = Router::new()
        .route("/", get(|| async { Redirect::to("/admin") }))
        .route("/admin", get(pages::overview::show))
        .route("/admin/login", get(pages::login::show).post(actions::login))
        .route("/admin/logout", post(actions::logout))
        .route("/admin/parked", get(pages::parked::show))
        .route("/admin/users", get(pages::users::show))
        .route("/admin/users/{id}", get(pages::user::show))
        .route("/admin/users/{id}/sync", post(actions::sync))
        .route("/admin/users/{id}/retry", post(actions::retry_one))
        .route("/admin/queue/retry", post(actions::retry_many))
        .route("/admin/queue/pause", post(actions::pause))
        .route("/admin/queue/resume", post(actions::resume))
        .route("/admin/find", post(actions::find))
        .route("/admin/settings", get(pages::settings::show))
        .route("/admin/assets/{name}", get(assets::serve))
        .method_not_allowed_fallback(pages::wrong_method)
        .fallback(pages::no_such_page)
        .with_state(office.clone());
    pages
        .nest("/admin/api", api::router(office))
        .merge(metrics)
        .layer(CatchPanicLayer::custom(panicked))
        .layer(middleware::from_fn(guard::every_answer))
}
