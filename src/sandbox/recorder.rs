//! What both mock APIs record together: calls, findings, and the requests in flight.

use std::collections::HashMap;
use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use serde_json::Value;
use tokio::sync::watch;

use super::finding::Finding;
use super::http::Request;
use super::in_flight::InFlight;
use super::target::{Api, Route, Target};

/// Locks even after a panic elsewhere: a test that failed should report its own failure, not a poisoned lock.
pub(super) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// One request that has ended.
#[derive(Debug, Clone)]
pub struct Call {
    /// The API that was called.
    pub api: Api,
    /// The method.
    pub method: String,
    /// Path and query, as they arrived.
    pub target: String,
    /// The kind of request.
    pub route: Route,
    /// The user id (Sesamy) or the address (Mailmojo) that it concerns.
    pub subject: Option<String>,
    /// The status of the answer; `None` if there was no answer.
    pub status: Option<u16>,
    /// The request's body, if it is JSON.
    pub body: Option<Value>,
    /// The body of Mailmojo's answer, if it is JSON and no fault changed it.
    pub answer: Option<Value>,
    /// When it arrived, counted from the start of the sandbox.
    pub came: Duration,
    /// When it ended, counted from the start of the sandbox.
    pub ended: Duration,
}

impl fmt::Display for Call {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:>8.3}s {} {} {} -> ", self.came.as_secs_f64(), self.api, self.method, self.target)?;
        match self.status {
            Some(status) => write!(f, "{status}")?,
            None => f.write_str("no answer")?,
        }
        match &self.body {
            Some(body) => write!(f, " {body}"),
            None => Ok(()),
        }
    }
}

/// Records what both APIs are asked.
#[derive(Debug)]
pub(super) struct Recorder {
    records: Mutex<Records>,
    /// Notified whenever a request arrives or ends, or the state is edited.
    changed: watch::Sender<()>,
    started: Instant,
    keep_calls: bool,
}

#[derive(Debug, Default)]
pub(super) struct Records {
    /// In the order in which they ended.
    pub(super) calls: Vec<Call>,
    pub(super) counts: HashMap<(Api, Route), u64>,
    pub(super) findings: Vec<Finding>,
    in_flight: InFlight,
}

impl Recorder {
    pub(super) fn new(keep_calls: bool) -> Self {
        let (records, changed) = (Mutex::default(), watch::Sender::default());
        Self { records, changed, started: Instant::now(), keep_calls }
    }

    pub(super) fn age(&self) -> Duration {
        self.started.elapsed()
    }

    pub(super) fn records(&self) -> MutexGuard<'_, Records> {
        lock(&self.records)
    }

    pub(super) fn changes(&self) -> watch::Receiver<()> {
        self.changed.subscribe()
    }

    pub(super) fn notify(&self) {
        self.changed.send_replace(());
    }

    pub(super) fn findings(&self) -> Vec<Finding> {
        let mut records = self.records();
        let overdue = records.in_flight.overdue(Instant::now());
        records.findings.extend(overdue);
        records.findings.clone()
    }

    pub(super) fn in_flight(&self) -> usize {
        self.records().in_flight.count()
    }

    /// Records that `request` has arrived.
    pub(super) fn begin(self: &Arc<Self>, api: Api, target: &Target, request: &Request) -> Flight {
        let now = Instant::now();
        let id = self.records().in_flight.begin(api, target, &request.path_and_query, now);
        self.notify();
        let call = Call {
            api,
            method: request.method.to_string(),
            target: request.path_and_query.clone(),
            route: target.route,
            subject: target.subject.clone(),
            status: None,
            body: request.json.clone(),
            answer: None,
            came: now.duration_since(self.started),
            ended: Duration::ZERO,
        };
        Flight { id, recorder: Arc::clone(self), call: Some(call) }
    }

    fn end(&self, id: u64, mut call: Call, answered: bool) {
        let now = Instant::now();
        call.ended = now.duration_since(self.started);
        let mut records = self.records();
        let overlaps = records.in_flight.end(id, answered, now);
        records.findings.extend(overlaps);
        *records.counts.entry((call.api, call.route)).or_default() += 1;
        if self.keep_calls {
            records.calls.push(call);
        }
        drop(records);
        self.notify();
    }
}

/// A request in flight. Dropped before it is answered, it counts as abandoned by its client.
#[derive(Debug)]
pub(super) struct Flight {
    id: u64,
    recorder: Arc<Recorder>,
    call: Option<Call>,
}

impl Flight {
    /// Keeps the JSON of the answer with the call.
    pub(super) fn keep_answer(&mut self, json: Option<&Value>) {
        if let Some(call) = self.call.as_mut().filter(|_| self.recorder.keep_calls) {
            call.answer = json.cloned();
        }
    }

    /// Ends the request; `status` is `None` if the connection is closed without an answer.
    pub(super) fn answered(mut self, status: Option<u16>) {
        if let Some(call) = self.call.take() {
            self.recorder.end(self.id, Call { status, ..call }, true);
        }
    }
}

impl Drop for Flight {
    fn drop(&mut self) {
        if let Some(call) = self.call.take() {
            self.recorder.end(self.id, call, false);
        }
    }
}
