//! What every handler of the page and the API works with.

use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use axum::extract::State;
use secrecy::SecretString;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::login_throttle::LoginThrottle;
use super::session::Keys;
use crate::app::{Again, App, AppError, Forgotten, Synced, WaitLimit};
use crate::clock::Millis;
use crate::config::InForce;
use crate::user::UserId;

/// How long a sync by hand waits for its turn: a person is waiting too.
const LONGEST_WAIT: Duration = Duration::from_secs(5);

/// What the page and the API need of the service.
#[derive(Debug)]
pub(crate) struct AdminOptions {
    pub(crate) app: App,
    /// The tokens that open the page and the API (`admin.tokens`).
    pub(crate) tokens: Vec<SecretString>,
    /// Whether it listens to more than this machine, so that the cookie has to travel encrypted.
    pub(crate) beyond_loopback: bool,
    /// The settings that are shown.
    pub(crate) in_force: Vec<InForce>,
    /// Cancelled: syncs by hand are cut off, and given back to the queue.
    pub(crate) stop: CancellationToken,
    /// The syncs by hand that are under way; to be waited for before the queue is closed.
    pub(crate) syncs: TaskTracker,
}

pub(super) struct AdminState {
    pub(super) app: App,
    pub(super) keys: Keys,
    pub(super) cookie_is_secure: bool,
    pub(super) began: Millis,
    pub(super) in_force: Vec<InForce>,
    login_throttle: Mutex<LoginThrottle>,
    stop: CancellationToken,
    syncs: TaskTracker,
}

/// How a handler asks for the state.
pub(super) type Shared = State<Arc<AdminState>>;

/// Why a login was refused.
pub(super) enum LoginError {
    WrongToken,
    /// Too many wrong tokens were sent: nobody may log in for this time.
    Throttled(Duration),
}

impl AdminState {
    pub(super) fn new(options: AdminOptions) -> Arc<Self> {
        Arc::new(Self {
            keys: Keys::new(&options.tokens),
            cookie_is_secure: options.beyond_loopback,
            began: options.app.now(),
            app: options.app,
            in_force: options.in_force,
            login_throttle: Mutex::default(),
            stop: options.stop,
            syncs: options.syncs,
        })
    }

    /// The cookie of a new session, if `token` opens one.
    pub(super) fn login(&self, token: &str) -> Result<String, LoginError> {
        let now = self.app.now();
        // Held over the comparison: of many guesses at once only ten may be compared.
        let mut throttle = self.login_throttle.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(wait) = throttle.wait(now) {
            return Err(LoginError::Throttled(wait));
        }
        self.keys.open(token.as_bytes(), now, rand::random()).ok_or_else(|| {
            throttle.failed(now);
            LoginError::WrongToken
        })
    }

    /// Syncs `user` now, to the end even if the caller goes away.
    pub(super) async fn sync(&self, user: UserId, again: Again) -> Result<Synced, AppError> {
        let (app, wait) = (self.app.clone(), self.wait());
        let sync = self.syncs.spawn(async move { app.sync(&user, again, &wait).await });
        sync.await.map_err(|_| AppError::Panicked)?
    }

    /// Forgets `user`, to the end even if the caller goes away.
    pub(super) async fn forget(&self, user: UserId, mailmojo: bool) -> Result<Forgotten, AppError> {
        let (app, wait) = (self.app.clone(), self.wait());
        let forget = self.syncs.spawn(async move { app.forget(&user, mailmojo, &wait).await });
        forget.await.map_err(|_| AppError::Panicked)?
    }

    fn wait(&self) -> WaitLimit {
        WaitLimit { longest: LONGEST_WAIT, stop: self.stop.clone() }
    }
}

impl fmt::Debug for AdminState {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("AdminState").field("keys", &self.keys).finish_non_exhaustive()
    }
}
