//! What one process knows of an API's circuit: before when it makes no call.
//!
//! The circuit itself is a document in the queue's store ([`super::circuit_breaker`]). A process reads it with each lease and
//! settlement, and keeps a copy here. Between two of these, an answer that asks to stay away holds up this process's own
//! calls at once: for as long as it asks, or until its settlement says whether it was about more than one user.

use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::Notify;

use super::circuit_breaker::{ApiStatus, Breaker, CallKind, LONGEST_ASKED, OpenReason, SHORTEST_ASKED};
use super::{Api, Class, Failure};
use crate::clock::{Clock, Millis};
use crate::telemetry;

/// How long calls wait for the settlement of an answer that names no time. It usually takes milliseconds.
const HOLD: Duration = Duration::from_secs(1);

/// Where the calls of one process to one API pass.
#[derive(Debug)]
pub struct Gate {
    api: Api,
    clock: Clock,
    state: Mutex<State>,
    settled: Notify,
}

#[derive(Debug, Default)]
struct State {
    /// The document, as it was last read.
    breaker: Breaker,
    /// No call before then, by an answer that no settlement has brought into the document yet.
    held_until: Option<Millis>,
    /// Calls wait until then, at the longest, for the settlement of an answer.
    unsettled_until: Option<Millis>,
    /// A write tries until then whether the half-open circuit of writes can be closed.
    probed_until: Option<Millis>,
}

impl Gate {
    /// A gate that is open.
    #[must_use]
    pub fn new(api: Api, clock: Clock) -> Self {
        Self { api, clock, state: Mutex::default(), settled: Notify::new() }
    }

    /// Which API this is.
    #[must_use]
    pub fn api(&self) -> Api {
        self.api
    }

    /// Until when this process makes no call, by an answer that the store does not know of yet; none where it does.
    #[must_use]
    pub fn held_until(&self) -> Option<Millis> {
        let (state, now) = (self.lock(), self.clock.now());
        [state.held_until, state.unsettled_until].into_iter().flatten().filter(|until| now < *until).max()
    }

    /// Until when no sync may begin, as far as this process knows; none where one may, a probe at least.
    #[must_use]
    pub fn not_before(&self) -> Option<Millis> {
        let (state, now) = (self.lock(), self.clock.now());
        let of_circuit = state.breaker.open(CallKind::Read).map(|(_, until)| until);
        [of_circuit, state.held_until].into_iter().flatten().filter(|until| now < *until).max()
    }

    /// The state of the API as it was last read.
    #[must_use]
    pub fn status(&self) -> ApiStatus {
        self.lock().breaker.status(self.api, self.clock.now())
    }

    /// The answer that held up calls has been settled: what follows from it is in the document.
    pub fn release(&self) {
        let mut state = self.lock();
        (state.held_until, state.unsettled_until) = (None, None);
        drop(state);
        self.settled.notify_waiters();
    }

    /// Takes over the document, which was read at `read_at`. A change is logged once.
    pub fn update(&self, breaker: &Breaker, read_at: Millis) {
        let mut state = self.lock();
        // An answer may come after one that the store gave later.
        if breaker.revision() < state.breaker.revision() {
            return;
        }
        let before = std::mem::replace(&mut state.breaker, breaker.clone());
        if before.open(CallKind::Write) != breaker.open(CallKind::Write) {
            state.probed_until = None;
        }
        drop(state);
        self.report(&before, breaker, read_at);
    }

    /// Refuses a call while the circuit is open.
    pub(super) async fn admit(&self) -> Result<(), Failure> {
        self.until_settled().await;
        self.admit_to(&self.lock(), CallKind::Read)
    }

    /// Refuses a write while the circuit of writes is open. Through a half-open one passes one write at a time; it is known
    /// within `request_timeout` what became of it.
    pub(super) async fn admit_write(&self, request_timeout: Duration) -> Result<(), Failure> {
        self.until_settled().await;
        let mut state = self.lock();
        self.admit_to(&state, CallKind::Read)?;
        self.admit_to(&state, CallKind::Write)?;
        if state.breaker.open(CallKind::Write).is_some() {
            let now = self.clock.now();
            if state.probed_until.is_some_and(|until| now < until) {
                return Err(self.not_called(CallKind::Write));
            }
            state.probed_until = Some(now.plus(request_timeout));
        }
        Ok(())
    }

    /// Holds up this process's calls where an answer of this class asks to stay away.
    pub(super) fn hold(&self, class: Class) {
        let (mut state, now) = (self.lock(), self.clock.now());
        match class {
            Class::RateLimited(Some(asked)) => {
                let until = now.plus(asked.clamp(SHORTEST_ASKED, LONGEST_ASKED));
                state.held_until = Some(state.held_until.map_or(until, |held| held.max(until)));
            }
            class if class.holds_calls() => state.unsettled_until = Some(now.plus(HOLD)),
            _ => {}
        }
    }

    /// Waits for the settlement of an answer that may be about one user alone.
    async fn until_settled(&self) {
        loop {
            let mut settled = std::pin::pin!(self.settled.notified());
            settled.as_mut().enable(); // a settlement from here on is not missed
            let now = self.clock.now();
            let unsettled = self.lock().unsettled_until.filter(|until| now < *until);
            let Some(until) = unsettled else { return };
            tokio::select! {
                () = settled => {}
                () = tokio::time::sleep(until.since(now)) => {}
            }
        }
    }

    fn admit_to(&self, state: &State, kind: CallKind) -> Result<(), Failure> {
        let now = self.clock.now();
        let of_circuit = state.breaker.open(kind).map(|(_, until)| until);
        let is_open = [of_circuit, state.held_until].into_iter().flatten().any(|until| now < until);
        if is_open { Err(self.not_called(kind)) } else { Ok(()) }
    }

    fn not_called(&self, kind: CallKind) -> Failure {
        match kind {
            CallKind::Read => Failure::new(self.api, Class::NotCalled, "not called: the circuit is open"),
            CallKind::Write => {
                Failure::new(self.api, Class::NotCalled, "not called: the circuit of writes is open")
                    .of_write()
            }
        }
    }

    /// Logs and counts what has changed. A 429 names its own end, so each is news; of anything else only the first is.
    fn report(&self, before: &Breaker, after: &Breaker, now: Millis) {
        let api = self.api.as_str();
        for kind in [CallKind::Read, CallKind::Write] {
            let (was, is) = (before.open(kind), after.open(kind));
            let Some((reason, until)) = is else {
                if let Some((reason, _)) = was {
                    tracing::info!(api, why = reason.as_str(), "the API answers again");
                }
                continue;
            };
            let known = was.filter(|(reason, until)| *reason != OpenReason::RateLimit || now < *until);
            let is_news = known.is_none_or(|(known, _)| known != reason);
            let (why, seconds, detail) = (reason.as_str(), until.since(now).as_secs(), after.detail(kind));
            let of = if kind == CallKind::Write { " of writes" } else { "" };
            match reason {
                _ if was == is => {}
                OpenReason::RateLimit if is_news => {
                    tracing::warn!(api, why, seconds, "the circuit{of} is open: {detail}");
                }
                _ if is_news => {
                    let advice = reason.advice();
                    tracing::error!(api, why, seconds, "the circuit{of} is open: {detail}; {advice}");
                }
                _ => tracing::debug!(api, why, seconds, "the circuit{of} stays open: {detail}"),
            }
        }
        for reason in OpenReason::ALL {
            let has = |breaker: &Breaker| {
                [CallKind::Read, CallKind::Write]
                    .into_iter()
                    .filter_map(|kind| breaker.open(kind))
                    .any(|(it, _)| it == reason)
            };
            if has(before) != has(after) {
                let value = if has(after) { 1.0 } else { 0.0 };
                metrics::gauge!(telemetry::UPSTREAM_RESTING, "api" => api, "why" => reason.as_str())
                    .set(value);
            }
        }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        // No code that holds the lock can leave the state half changed.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::upstream::circuit_breaker::{Backoff, FailedCall};
    use futures_util::FutureExt;

    const BACKOFF: Backoff = Backoff { base: Duration::from_secs(2), cap: Duration::from_secs(900) };
    const SECOND: Duration = Duration::from_secs(1);

    fn gate() -> (Gate, Clock) {
        let clock = Clock::manual(Millis(1_000_000));
        (Gate::new(Api::Mailmojo, clock.clone()), clock)
    }

    fn refused(kind: CallKind, now: Millis) -> Breaker {
        let mut breaker = Breaker::default();
        let class = Class::Refused(OpenReason::Credentials);
        let failed = FailedCall {
            kind,
            class,
            message: "answered 403".to_owned(),
            answer: "403".to_owned(),
            is_api_well: None,
        };
        breaker.failed("a", &failed, now, &BACKOFF);
        breaker
    }

    #[tokio::test]
    async fn an_answer_holds_up_calls_at_once_and_a_settlement_says_what_follows() {
        for (class, held) in [
            (Class::RateLimited(Some(60 * SECOND)), Some(60)),
            (Class::RateLimited(Some(Duration::ZERO)), Some(1)),
            (Class::RateLimited(None), Some(1)),
            (Class::Refused(OpenReason::Credentials), Some(1)),
            (Class::NoToken, Some(1)),
            (Class::Transient, None),
            (Class::Permanent, None),
        ] {
            let (gate, clock) = gate();
            gate.hold(class);
            assert_eq!(gate.held_until(), held.map(|held| clock.now().plus(held * SECOND)), "{class:?}");
            let passes = || matches!(gate.admit().now_or_never(), Some(Ok(())));
            assert_eq!(passes(), held.is_none(), "{class:?}");
            gate.update(&Breaker::default(), clock.now());
            assert_eq!(passes(), held.is_none(), "a lease in between knows nothing of it: {class:?}");
            gate.release();
            assert!(passes(), "{class:?}");
        }
    }

    #[test]
    fn what_the_store_says_holds_and_an_older_answer_that_comes_late_does_not() {
        let (gate, clock) = gate();
        let open = refused(CallKind::Read, clock.now());
        gate.update(&open, clock.now());
        let admitted = || gate.admit().now_or_never().unwrap();
        assert_eq!(admitted().unwrap_err().class, Class::NotCalled);
        assert_eq!(gate.status().state, "resting");
        gate.update(&Breaker::default(), clock.now());
        assert!(admitted().is_err());
        let mut closed = open;
        closed.close();
        gate.update(&closed, clock.now());
        assert!(admitted().is_ok());
        assert_eq!(gate.status().state, "ok");
    }

    #[test]
    fn while_writes_are_refused_reads_go_on_and_then_one_write_at_a_time_tries() {
        let (gate, clock) = gate();
        let mut breaker = refused(CallKind::Write, clock.now());
        gate.update(&breaker, clock.now());
        let write = || gate.admit_write(SECOND).now_or_never().unwrap();
        assert!(gate.admit().now_or_never().unwrap().is_ok());
        assert_eq!(write().unwrap_err().kind, CallKind::Write);
        clock.advance(BACKOFF.cap);
        assert!(write().is_ok());
        assert!(write().is_err(), "another one tries");
        clock.advance(SECOND);
        assert!(write().is_ok(), "nothing is known of that one");
        breaker.succeeded(CallKind::Write, "b", clock.now());
        gate.update(&breaker, clock.now());
        assert!(write().is_ok() && write().is_ok());
    }
}
