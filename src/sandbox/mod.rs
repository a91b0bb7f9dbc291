//! An in-memory Sesamy and an in-memory Mailmojo over real HTTP on loopback, for the demo, the tests and the benches.
//!
//! They are written from the published description of the two APIs alone and share no type, parser or constant with
//! the service; otherwise they would only confirm its mistakes. Mailmojo audits every request as it arrives: whatever
//! would damage the publisher's data, subscribe a person against their will, or show two syncs of one user at once is a
//! [`Finding`]. Faults ([`MockServer::inject`]) and holds ([`MockServer::hold`]) make bad days to order, and
//! [`Sandbox::wait_until`] spares tests the sleeping.
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
//! // …let the service sync, and then:
//! sandbox.assert_no_findings();
//! # Ok(())
//! # }
//! ```
//!
//! Both servers also have a small surface for curl, without authentication: `PUT /sandbox/users/{id}` (merges JSON into
//! the profile), `PUT /sandbox/users/{id}/contracts` and `…/entitlements` (replace them) and `GET /sandbox/users/{id}` at
//! Sesamy; `GET /sandbox/contacts` and `PUT /sandbox/contacts/{email}` at Mailmojo; `GET /sandbox/findings`,
//! `PUT /sandbox/faults/{user or address}` (its requests fail with the `status`, by default 422, and the `message` of the
//! JSON) and `DELETE /sandbox/faults` at both.
//!
//! One [`MockServer`] serves either API. Below it lie plain parts (`http`, `reply`, `recorder`, `faults`, `hold`,
//! `tokens`, `rate_limit`), and above it the two APIs, each only a state and its routes.

mod faults;
mod finding;
mod hold;
mod http;
mod in_flight;
mod mailmojo;
mod rate_limit;
mod recorder;
mod reply;
mod server;
mod sesamy;
mod target;
#[cfg(test)]
mod tests;
mod tokens;

use std::collections::BTreeMap;
use std::io;
use std::sync::Arc;
use std::time::Duration;

use tokio_util::sync::{CancellationToken, DropGuard};

pub use faults::{CannedAnswer, ComeAgain, Edit, Fault, Rule};
pub use finding::{Finding, FindingKind};
pub use hold::{Hold, TimedOut};
pub use mailmojo::{Association, Associations, Contact, Empty, Mailmojo, Races, Tallies, contact};
pub use rate_limit::RateLimit;
pub use recorder::Call;
pub use reply::AnswerDate;
pub use server::MockServer;
pub use sesamy::{Contract, Entitlement, Sesamy, Shape, User, contract, entitlement, user};
pub use target::{Api, Route};

use recorder::Recorder;

/// Both mock APIs, listening. They stop, with all their connections, when it is dropped.
#[derive(Debug)]
pub struct Sandbox {
    /// The mock Sesamy.
    pub sesamy: Arc<Sesamy>,
    /// The mock Mailmojo.
    pub mailmojo: Arc<Mailmojo>,
    recorder: Arc<Recorder>,
    _stop: DropGuard,
}

impl Sandbox {
    /// Starts both APIs on free ports of 127.0.0.1.
    ///
    /// # Errors
    /// The system's, if it provides no port.
    pub async fn start() -> io::Result<Self> {
        Self::start_with(Duration::ZERO, true).await
    }

    /// Like [`Sandbox::start`]. Every request waits for `latency` before it is done; unless `keep_calls`, calls are only
    /// counted.
    ///
    /// # Errors
    /// The system's, if it provides no port.
    pub async fn start_with(latency: Duration, keep_calls: bool) -> io::Result<Self> {
        let recorder = Arc::new(Recorder::new(keep_calls));
        let stop = CancellationToken::new();
        let guard = stop.clone().drop_guard();
        let sesamy = Sesamy::start(latency, &recorder, &stop).await?;
        let mailmojo = Mailmojo::start(latency, &recorder, &stop).await?;
        Ok(Self { sesamy, mailmojo, recorder, _stop: guard })
    }

    /// The time since its start, from which the times of calls are counted.
    pub fn age(&self) -> Duration {
        self.recorder.age()
    }

    /// Everything that the audit objects to so far.
    pub fn findings(&self) -> Vec<Finding> {
        self.recorder.findings()
    }

    /// Forgets the findings so far.
    pub fn clear_findings(&self) {
        self.recorder.records().findings.clear();
    }

    /// Fails a test if the audit objects to anything.
    ///
    /// # Panics
    /// If there is a finding; the message has all of them.
    #[track_caller]
    pub fn assert_no_findings(&self) {
        let findings = self.findings();
        let lines: Vec<_> = findings.iter().map(ToString::to_string).collect();
        assert!(findings.is_empty(), "the sandbox objects to:\n  {}", lines.join("\n  "));
    }

    /// All requests that have ended since the last [`Sandbox::clear_calls`], in the order in which they ended.
    pub fn calls(&self) -> Vec<Call> {
        self.recorder.records().calls.clone()
    }

    /// Removes and returns the kept calls, so that a long test need not keep all of them. The counters stay.
    pub fn take_calls(&self) -> Vec<Call> {
        std::mem::take(&mut self.recorder.records().calls)
    }

    /// The kept calls of one kind.
    pub fn calls_to(&self, route: Route) -> Vec<Call> {
        self.recorder.records().calls.iter().filter(|call| call.route == route).cloned().collect()
    }

    /// How many requests of this kind have ended since the last [`Sandbox::clear_calls`], at both APIs together.
    pub fn count(&self, route: Route) -> u64 {
        self.sesamy.count(route) + self.mailmojo.count(route)
    }

    /// Patches and subscribes that have ended since the last [`Sandbox::clear_calls`].
    pub fn writes(&self) -> u64 {
        self.count(Route::ContactPatch) + self.count(Route::Subscribe)
    }

    /// Forgets the calls and their counters.
    pub fn clear_calls(&self) {
        let mut records = self.recorder.records();
        records.calls.clear();
        records.counts.clear();
    }

    /// How often each kind of fault has struck at either API so far.
    pub fn faults(&self) -> BTreeMap<String, u64> {
        let mut all = self.sesamy.faults();
        for (kind, count) in self.mailmojo.faults() {
            *all.entry(kind).or_default() += count;
        }
        all
    }

    /// How many requests are in flight.
    pub fn in_flight(&self) -> usize {
        self.recorder.in_flight()
    }

    /// Waits until `condition` holds. It is checked whenever a request arrives or ends, or the state is edited.
    ///
    /// # Errors
    /// [`TimedOut`] after `limit`; its message has the last calls.
    pub async fn wait_until(
        &self,
        limit: Duration,
        condition: impl Fn(&Self) -> bool,
    ) -> Result<(), TimedOut> {
        let mut changes = self.recorder.changes();
        let wait = async {
            // The sender lives as long as the recorder.
            while !condition(self) && changes.changed().await.is_ok() {}
        };
        tokio::time::timeout(limit, wait).await.map_err(|_| {
            let calls = self.calls();
            let last: Vec<_> = calls.iter().rev().take(12).rev().map(ToString::to_string).collect();
            TimedOut { limit, what: format!("; the last calls were:\n  {}", last.join("\n  ")) }
        })
    }
}
