//! What both pretended APIs share: the log, the findings, what is in flight, and the bell that wakes who waits.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use serde_json::Value;
use tokio::sync::watch;

use super::call::{Api, Call, Log};
use super::desk::Place;
use super::finding::Finding;
use super::flight::{Flights, Landing};
use super::wire::Request;

/// A lock that a panic elsewhere does not spoil: the sandbox goes on with what is there.
pub(super) fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// What both APIs share.
#[derive(Debug)]
pub(super) struct Hub {
    pub(super) log: Mutex<Log>,
    pub(super) flights: Mutex<Flights>,
    findings: Mutex<Vec<Finding>>,
    /// Rings whenever a request comes or ends, or somebody edits the state. The value is only a count.
    pub(super) bell: watch::Sender<u64>,
    started: Instant,
    pub(super) latency: Duration,
    keep_calls: bool,
}

impl Hub {
    pub(super) fn new(latency: Duration, keep_calls: bool) -> Self {
        Self {
            log: Mutex::default(),
            flights: Mutex::default(),
            findings: Mutex::default(),
            bell: watch::Sender::new(0),
            started: Instant::now(),
            latency,
            keep_calls,
        }
    }

    pub(super) fn age(&self) -> Duration {
        self.started.elapsed()
    }

    pub(super) fn ring(&self) {
        self.bell.send_modify(|count| *count = count.wrapping_add(1));
    }

    pub(super) fn object(&self, findings: impl IntoIterator<Item = Finding>) {
        locked(&self.findings).extend(findings);
    }

    /// Everything objected to so far.
    pub(super) fn findings(&self) -> Vec<Finding> {
        let overdue = locked(&self.flights).overdue(Instant::now());
        self.object(overdue);
        locked(&self.findings).clone()
    }

    pub(super) fn clear_findings(&self) {
        locked(&self.findings).clear();
    }

    pub(super) fn take_off(self: &Arc<Self>, api: Api, place: &Place, request: &Request) -> InFlight {
        let now = Instant::now();
        let id =
            locked(&self.flights).take_off(api, place.subject.as_deref(), place.route, &request.target, now);
        self.ring();
        let call = Call {
            api,
            method: request.method.to_string(),
            target: request.target.clone(),
            route: place.route,
            subject: place.subject.clone(),
            status: None,
            body: request.json.clone(),
            answer: None,
            came: now.duration_since(self.started),
            ended: Duration::ZERO,
        };
        InFlight { id, hub: Arc::clone(self), call: Some(call) }
    }

    fn land(&self, id: u64, mut call: Call, how: Landing) {
        let now = Instant::now();
        let certain = locked(&self.flights).land(call.api, call.subject.as_deref(), id, how, now);
        self.object(certain);
        call.ended = now.duration_since(self.started);
        locked(&self.log).note(call, self.keep_calls);
        self.ring();
    }
}

/// A request in flight. Dropped before it is answered, it counts as abandoned by its client.
#[derive(Debug)]
pub(super) struct InFlight {
    id: u64,
    hub: Arc<Hub>,
    call: Option<Call>,
}

impl InFlight {
    /// Keeps the JSON of the answer with the call, if calls are kept.
    pub(super) fn keep_answer(&mut self, json: Option<&Value>) {
        if let Some(call) = self.call.as_mut().filter(|_| self.hub.keep_calls) {
            call.answer = json.cloned();
        }
    }

    /// The sandbox is done with it; `status` is none where the connection is closed without an answer.
    pub(super) fn answered(mut self, status: Option<u16>) {
        if let Some(mut call) = self.call.take() {
            call.status = status;
            self.hub.land(self.id, call, Landing::Answered);
        }
    }
}

impl Drop for InFlight {
    fn drop(&mut self) {
        if let Some(call) = self.call.take() {
            self.hub.land(self.id, call, Landing::Abandoned);
        }
    }
}
