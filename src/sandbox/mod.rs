//! An in-memory Sesamy and an in-memory Mailmojo over real HTTP on loopback, for the demo, the tests and the benches.
//!
//! They are written from the published description of the two APIs alone and share no type, parser or constant with
//! the service; otherwise they would only confirm its mistakes. Mailmojo audits every request as it comes: what would
//! damage the publisher's data, subscribe somebody against their will, or show two syncs of one user at once is a
//! [`Finding`]. Faults ([`Sesamy::inject`], [`Mailmojo::inject`]) and gates ([`Sesamy::hold`], [`Mailmojo::hold`]) make
//! bad days to order, and [`Sandbox::wait_until`] spares tests the sleeping.
//!
//! ```no_run
//! use sesamy_mailmojo::sandbox::{Fault, Route, Rule, Sandbox, contact, entitlement, user};
//!
//! # async fn story() -> std::io::Result<()> {
//! let sandbox = Sandbox::start().await?;
//! let kari = user("u1").email("kari@example.com").first_name("Kari").entitlement(entitlement("e1", "plus"));
//! sandbox.sesamy.put_user(kari);
//! sandbox.mailmojo.put_contact(contact("kari@example.com").tags(["vip"]).on_list(7));
//! sandbox.mailmojo.inject(Rule::on(Route::ContactPatch, Fault::status(503).html()).times(2));
//! // …let the service at it, and then:
//! sandbox.assert_no_findings();
//! # Ok(())
//! # }
//! ```
//!
//! Both listeners also have a small surface for curl, without authentication: `PUT /sandbox/users/{id}` (merges JSON
//! into the profile), `PUT /sandbox/users/{id}/contracts` and `…/entitlements` (replace them) and
//! `GET /sandbox/users/{id}` at Sesamy; `GET /sandbox/contacts` and `PUT /sandbox/contacts/{email}` at Mailmojo;
//! `GET /sandbox/findings`, `PUT /sandbox/faults/{user or address}` (its requests fail with the `status` and `message`
//! of the JSON) and `DELETE /sandbox/faults` at both.

mod call;
mod desk;
mod fault;
mod finding;
mod flight;
mod gate;
mod hub;
mod mailmojo;
mod pace;
mod reply;
mod sesamy;
#[cfg(test)]
mod tests;
mod token;
mod wire;

use std::collections::BTreeMap;
use std::io;
use std::sync::Arc;
use std::time::Duration;

use tokio::net::TcpListener;
use tokio_util::sync::{CancellationToken, DropGuard};

pub use call::{Api, Call, Route};
pub use desk::AnswerDate;
pub use fault::{Answer, ComeAgain, Edit, Fault, Rule};
pub use finding::{Finding, FindingKind};
pub use gate::{Gate, TimedOut};
pub use mailmojo::{Association, Associations, Contact, Empty, Mailmojo, Races, Tallies, contact};
pub use pace::RateLimit;
pub use sesamy::{Contract, Entitlement, Sesamy, Shape, User, contract, entitlement, user};

use hub::{Hub, locked};

/// How a sandbox is set up; the defaults suit tests.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Options {
    /// Sesamy's port on 127.0.0.1; 0 for any that is free.
    pub sesamy_port: u16,
    /// Mailmojo's port on 127.0.0.1; 0 for any that is free.
    pub mailmojo_port: u16,
    /// The most rows a page has, at both APIs. 100.
    pub page_cap: usize,
    /// Whether requests need a bearer token. They do.
    pub require_auth: bool,
    /// How long every request waits before it is done. Not at all.
    pub latency: Duration,
    /// Whether calls are kept for [`Sandbox::calls`]; they are always counted. They are kept.
    pub keep_calls: bool,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            sesamy_port: 0,
            mailmojo_port: 0,
            page_cap: 100,
            require_auth: true,
            latency: Duration::ZERO,
            keep_calls: true,
        }
    }
}

/// Both pretended APIs, listening. They stop, with all their connections, when it is dropped.
#[derive(Debug)]
pub struct Sandbox {
    /// The pretended Sesamy.
    pub sesamy: Sesamy,
    /// The pretended Mailmojo.
    pub mailmojo: Mailmojo,
    hub: Arc<Hub>,
    _stops: DropGuard,
}

impl Sandbox {
    /// Starts both APIs on free ports of 127.0.0.1.
    ///
    /// # Errors
    /// The system's, where it gives no port.
    pub async fn start() -> io::Result<Self> {
        Self::start_with(Options::default()).await
    }

    /// Starts both APIs as `options` says.
    ///
    /// # Errors
    /// The system's, where a port is taken.
    pub async fn start_with(options: Options) -> io::Result<Self> {
        let hub = Arc::new(Hub::new(options.latency, options.keep_calls));
        let stop = CancellationToken::new();
        let at_sesamy = TcpListener::bind(("127.0.0.1", options.sesamy_port)).await?;
        let at_mailmojo = TcpListener::bind(("127.0.0.1", options.mailmojo_port)).await?;

        let url = format!("http://{}", at_sesamy.local_addr()?);
        let (sesamy, desk) = Sesamy::new(url, &hub, &options);
        wire::serve(at_sesamy, Arc::new(desk), stop.clone());
        let url = format!("http://{}", at_mailmojo.local_addr()?);
        let (mailmojo, desk) = Mailmojo::new(url, &hub, &options);
        wire::serve(at_mailmojo, Arc::new(desk), stop.clone());

        Ok(Self { sesamy, mailmojo, hub, _stops: stop.drop_guard() })
    }

    /// The time since its start. The times of calls are counted from there.
    #[must_use]
    pub fn age(&self) -> Duration {
        self.hub.age()
    }

    /// Everything that the audit objects to so far.
    #[must_use]
    pub fn findings(&self) -> Vec<Finding> {
        self.hub.findings()
    }

    /// Forgets the findings so far.
    pub fn clear_findings(&self) {
        self.hub.clear_findings();
    }

    /// Fails a test where the audit objects to anything.
    ///
    /// # Panics
    /// Where there is a finding; the message has all of them.
    #[track_caller]
    pub fn assert_no_findings(&self) {
        let findings = self.findings();
        let told: Vec<_> = findings.iter().map(ToString::to_string).collect();
        assert!(findings.is_empty(), "the sandbox objects to:\n  {}", told.join("\n  "));
    }

    /// All requests that have ended since the last [`Sandbox::clear_calls`], in the order in which they ended.
    #[must_use]
    pub fn calls(&self) -> Vec<Call> {
        locked(&self.hub.log).calls().to_vec()
    }

    /// Gives the kept calls away, in the order in which they ended: a long test need not keep all of them. The counters
    /// go on.
    #[must_use]
    pub fn take_calls(&self) -> Vec<Call> {
        locked(&self.hub.log).take()
    }

    /// How often each kind of fault has struck at either API so far.
    #[must_use]
    pub fn faults(&self) -> BTreeMap<String, u64> {
        let mut all = self.sesamy.faults();
        for (kind, count) in self.mailmojo.faults() {
            *all.entry(kind).or_default() += count;
        }
        all
    }

    /// The kept calls of one kind.
    #[must_use]
    pub fn calls_to(&self, route: Route) -> Vec<Call> {
        locked(&self.hub.log).calls().iter().filter(|call| call.route == route).cloned().collect()
    }

    /// How many requests of this kind have ended since the last [`Sandbox::clear_calls`], at both APIs together.
    #[must_use]
    pub fn count(&self, route: Route) -> u64 {
        self.sesamy.count(route) + self.mailmojo.count(route)
    }

    /// Patches and subscribes that have ended since the last [`Sandbox::clear_calls`].
    #[must_use]
    pub fn writes(&self) -> u64 {
        self.count(Route::ContactPatch) + self.count(Route::Subscribe)
    }

    /// Forgets the calls and their counters.
    pub fn clear_calls(&self) {
        locked(&self.hub.log).clear();
    }

    /// How many requests are in flight now.
    #[must_use]
    pub fn in_flight(&self) -> usize {
        locked(&self.hub.flights).count()
    }

    /// Waits until `condition` holds. It is asked again whenever a request has come or ended, or the state was edited.
    ///
    /// # Errors
    /// [`TimedOut`] after `limit`; its message has the last calls.
    pub async fn wait_until(
        &self,
        limit: Duration,
        condition: impl Fn(&Self) -> bool,
    ) -> Result<(), TimedOut> {
        let mut bell = self.hub.bell.subscribe();
        let wait = async {
            while !condition(self) {
                if bell.changed().await.is_err() {
                    break;
                }
            }
        };
        tokio::time::timeout(limit, wait).await.map_err(|_| self.timed_out(limit))
    }

    /// Waits until nothing is in flight and nothing has come for `quiet`.
    ///
    /// # Errors
    /// [`TimedOut`] after `limit`; its message has the last calls.
    pub async fn idle_for(&self, quiet: Duration, limit: Duration) -> Result<(), TimedOut> {
        let mut bell = self.hub.bell.subscribe();
        let wait = async {
            loop {
                let rang = tokio::time::timeout(quiet, bell.changed()).await;
                if rang.is_err() && self.in_flight() == 0 {
                    break;
                }
            }
        };
        tokio::time::timeout(limit, wait).await.map_err(|_| self.timed_out(limit))
    }

    fn timed_out(&self, limit: Duration) -> TimedOut {
        let log = locked(&self.hub.log);
        let last: Vec<_> = log.calls().iter().rev().take(12).rev().map(ToString::to_string).collect();
        TimedOut { limit, what: format!("; the last calls were:\n  {}", last.join("\n  ")) }
    }
}
