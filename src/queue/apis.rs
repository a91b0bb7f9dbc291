//! The document that all processes share about both APIs, and how many leases it allows.
//!
//! Pure. A transaction reads the document, leases, and saves the document if it has changed. So any number of processes
//! together keep to the rate, and an open circuit and a pause hold for all of them.

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use super::documents::APIS;
use super::lane::Lane;
use super::lease::Job;
use super::removal_guard::GuardState;
use super::store::{Change, Seen};
use crate::clock::Millis;
use crate::upstream::circuit_breaker::{Admission, Breaker, CallKind};
use crate::upstream::{Api, PerApi, Quota, Turn, Used};

/// The rate of both APIs, and the part of it that a lease takes.
#[derive(Debug, Clone, Copy)]
pub struct Rates {
    /// What each API allows.
    pub quotas: PerApi<Quota>,
    /// The calls that a sync usually makes. They are taken with its lease, so that no lease is spent on waiting for a turn.
    pub calls: PerApi<u32>,
}

/// What is shared about one API.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub(super) struct ApiState {
    /// How much of the rate is used.
    pub(super) used: Used,
    /// Its health.
    pub(super) breaker: Breaker,
    #[serde(flatten)]
    unknown: Map<String, Value>,
}

/// The document.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub(super) struct Apis {
    states: PerApi<ApiState>,
    /// Since when an operator has paused syncs.
    paused_at: Option<Millis>,
    #[serde(flatten)]
    unknown: Map<String, Value>,
}

/// The state that all processes on one store share, as one of them read it.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct SharedState {
    /// When this was read, by the queue's clock.
    pub read_at: Millis,
    /// The health of both APIs.
    pub breakers: PerApi<Breaker>,
    /// Since when an operator has paused syncs.
    pub paused_at: Option<Millis>,
    /// The removal guard.
    pub guard: GuardState,
}

/// How many users may be leased now.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Admitted {
    /// Up to this many.
    Users(usize),
    /// One, as the probe of a half-open circuit.
    Probe,
    /// None before then.
    NotBefore(Millis),
    /// None until an operator resumes syncs.
    Paused,
}

impl Seen {
    /// The document of both APIs.
    pub(super) fn apis(&self) -> Apis {
        self.document(APIS)
    }
}

impl Change {
    /// Saves `apis` if it differs from what was `seen`.
    pub(super) fn apis(self, seen: &Seen, apis: &Apis) -> Self {
        self.document(APIS, &seen.apis(), apis)
    }
}

impl Apis {
    /// Removes use that can only have been written under another clock or another quota.
    pub(super) fn checked(mut self, now: Millis, rates: &Rates) -> Self {
        for api in Api::ALL {
            let state = self.states.of_mut(api);
            state.used = rates.quotas.of(api).checked(state.used, now);
        }
        self
    }

    /// How many of `most` may be leased at `now`. The background lane leaves a part of each burst to events.
    pub(super) fn admit(&self, lane: Lane, most: usize, now: Millis, rates: &Rates) -> Admitted {
        if self.paused_at.is_some() {
            return Admitted::Paused;
        }
        let (mut users, mut is_probe, mut not_before) = (most, false, None);
        for api in Api::ALL {
            let (state, quota, each) = (self.states.of(api), rates.quotas.of(api), rates.each(api));
            match state.breaker.admission(now) {
                Admission::All => {}
                Admission::OneProbe => is_probe = true,
                Admission::NotBefore(until) => not_before = not_before.max(Some(until)),
            }
            let reserved = if lane == Lane::Background { rates.reserved_for_events(api, each) } else { 0 };
            match quota.available(state.used, now).saturating_sub(reserved) / each {
                0 => not_before = not_before.max(Some(quota.ready_at(state.used, now, reserved + each))),
                enough => users = users.min(enough as usize),
            }
        }
        match not_before {
            Some(until) => Admitted::NotBefore(until),
            None if is_probe => Admitted::Probe,
            None => Admitted::Users(users),
        }
    }

    /// Takes the calls of `jobs` from the quotas; through a half-open circuit they are its probe.
    pub(super) fn leased(&mut self, jobs: &mut [Job], now: Millis, until: Millis, rates: &Rates) {
        if rates.calls == PerApi::default() {
            return; // no call of either API, so no probe
        }
        for job in &mut *jobs {
            job.calls = PerApi::each(|api| rates.each(api));
            job.calls_taken = job.calls;
        }
        for api in Api::ALL {
            let (state, each) = (self.states.of_mut(api), rates.each(api));
            for job in &mut *jobs {
                state.used = rates.quotas.of(api).take(state.used, now, each);
                if state.breaker.admission(now) == Admission::OneProbe {
                    state.breaker.begin_probe(job.lease.as_str(), until);
                    job.is_probe = true;
                }
            }
        }
    }

    /// Gives back the calls that the sync of `job` did not need, and ends its probe.
    pub(super) fn settled(&mut self, job: &Job, now: Millis, rates: &Rates) {
        let ago = now.since(job.leased_at);
        for api in Api::ALL {
            let state = self.states.of_mut(api);
            let (quota, left, taken) = (rates.quotas.of(api), *job.calls.of(api), *job.calls_taken.of(api));
            state.used = quota.give_back(state.used, left, taken, ago);
            state.breaker.end_probe(job.lease.as_str());
        }
    }

    /// Takes one call of `api` for a sync of `lane`, if the rate allows it.
    pub(super) fn take_call(&mut self, api: Api, lane: Lane, now: Millis, rates: &Rates) -> Turn {
        let (state, quota) = (self.states.of_mut(api), rates.quotas.of(api));
        let reserved = if lane == Lane::Background { rates.reserved_for_events(api, 1) } else { 0 };
        if quota.available(state.used, now) <= reserved {
            return Turn::NotBefore(quota.ready_at(state.used, now, reserved + 1));
        }
        state.used = quota.take(state.used, now, 1);
        Turn::Granted
    }

    /// Pauses syncs. If they are paused already, the time stays.
    pub(super) fn pause(&mut self, now: Millis) {
        self.paused_at = self.paused_at.or(Some(now));
    }

    /// Resumes syncs, and closes both circuits.
    pub(super) fn resume(&mut self) {
        self.paused_at = None;
        self.close_circuits();
    }

    /// Closes both circuits, whatever opened them.
    pub(super) fn close_circuits(&mut self) {
        Api::ALL.into_iter().for_each(|api| self.breaker(api).close());
    }

    /// The health of `api`, to be changed.
    pub(super) fn breaker(&mut self, api: Api) -> &mut Breaker {
        &mut self.states.of_mut(api).breaker
    }

    /// The calls of `user` that all succeeded.
    pub(super) fn succeeded(&mut self, user: &str, answered: &[(Api, CallKind)], now: Millis) {
        for (api, kind) in answered {
            self.breaker(*api).succeeded(*kind, user, now);
        }
    }

    /// Removes every trace of `user`.
    pub(super) fn forget(&mut self, user: &str) {
        Api::ALL.into_iter().for_each(|api| self.breaker(api).forget(user));
    }

    /// Whether `user` has failed since a circuit opened. Another user makes a better probe.
    pub(super) fn has_failed(&self, user: &str) -> bool {
        Api::ALL.into_iter().any(|api| self.states.of(api).breaker.has_failed(user))
    }

    /// The state that all processes share at `now`, with that of the removal guard.
    pub(super) fn known(&self, now: Millis, guard: GuardState) -> SharedState {
        let breakers = PerApi::each(|api| self.states.of(api).breaker.clone());
        SharedState { read_at: now, breakers, paused_at: self.paused_at, guard }
    }
}

impl Rates {
    /// The same rates, for a sync that makes these calls.
    pub(super) fn with_calls(&self, calls: PerApi<u32>) -> Self {
        Self { calls, ..*self }
    }

    /// The calls of the burst that the background lane leaves to events: half of it, except what one lease needs.
    fn reserved_for_events(&self, api: Api, each: u32) -> u32 {
        let burst = self.quotas.of(api).burst.get();
        (burst / 2).min(burst.saturating_sub(each))
    }

    /// The calls that a lease takes of `api`: at least one, and never more than a burst, which would never be there.
    fn each(&self, api: Api) -> u32 {
        (*self.calls.of(api)).clamp(1, self.quotas.of(api).burst.get())
    }
}

impl Admitted {
    /// The most that may be leased.
    pub(super) fn most(self) -> usize {
        match self {
            Self::Users(most) => most,
            Self::Probe => 1,
            Self::NotBefore(_) | Self::Paused => 0,
        }
    }

    /// When to ask again, if an API admits nobody.
    pub(super) fn not_before(self) -> Option<Millis> {
        match self {
            Self::NotBefore(until) => Some(until),
            Self::Users(_) | Self::Probe | Self::Paused => None,
        }
    }
}
