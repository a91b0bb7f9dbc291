//! An API at rest: a state of the API, not of a user.
//!
//! A 429, refused credentials, a wrong setting or an outage would fail every user alike. So the API rests: nothing is
//! leased and no call is made until the rest is over, and no user pays for it with an attempt. After any rest but a 429's
//! the worker sends one user at a time (a probe) until one of them gets through.
//!
//! What begins and ends a rest is decided here, in each process; that an API rests is known to all of them
//! ([`Rest::news`], [`Rest::adopt`]).
//!
//! That may still leave odd users who are alike: if an outage ends with the success of somebody who did not fail in it,
//! and those who did go on failing alike, they are at fault after all. So a handful of them cannot hold up the others.
//!
//! Time is passed in with the clock; there is no randomness here.

mod shared;
mod terms;

use std::collections::HashSet;
use std::iter::repeat_n;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use super::{Api, Class, Failure};
use crate::clock::{Clock, Millis};
use crate::telemetry;
use crate::user::UserId;

pub use shared::{Change, Kind, Pause, Probe, Shared};
pub use terms::{Admission, Blame, Policy, Snapshot, Why};

/// So many different users in a row that fail alike are an outage or a wrong setting, and not so many odd users.
pub const OUTAGE_USERS: usize = 5;

/// The longest rest that an API can ask for.
pub const LONGEST_ASKED: Duration = Duration::from_secs(60 * 60);

/// The shortest: `Retry-After: 0` must not become a tight loop.
pub const SHORTEST_ASKED: Duration = Duration::from_secs(1);

/// The rest of one API.
#[derive(Debug)]
pub struct Rest {
    api: Api,
    policy: Policy,
    clock: Clock,
    state: Mutex<State>,
    turn: tokio::sync::Mutex<()>,
}

#[derive(Debug, Default)]
struct State {
    pause: Option<Pause>,
    /// The outage that the API rests for.
    outage: Option<Outage>,
    /// Who failed in the last outage, which ended with somebody else's success: if they go on failing alike, it was
    /// them, and not the API.
    suspects: Option<Outage>,
    /// The users that failed alike since the last success, how often each of them, and how.
    streak: Option<(Kind, Vec<(UserId, u32)>)>,
    /// 429s without a time of their own since the last success.
    unspecified: u32,
    /// The last success, and whose.
    success: Option<(Millis, UserId)>,
    /// The store's revision that `pause` is of, as far as it is known to the store.
    revision: i64,
    /// Counts what was changed here.
    edition: u64,
    /// The last edition that the store knows.
    told: u64,
}

/// What this process has to tell the others.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct News {
    /// What.
    pub change: Change,
    edition: u64,
}

/// Users who fail alike.
#[derive(Debug)]
struct Outage {
    kind: Kind,
    users: HashSet<UserId>,
}

impl Rest {
    /// An API that does not rest.
    #[must_use]
    pub fn new(api: Api, policy: Policy, clock: Clock) -> Self {
        Self { api, policy, clock, state: Mutex::default(), turn: tokio::sync::Mutex::default() }
    }

    /// Which API this is.
    #[must_use]
    pub fn api(&self) -> Api {
        self.api
    }

    /// Whether a sync may start now.
    #[must_use]
    pub fn admission(&self) -> Admission {
        Admission::under(self.lock().pause.as_ref(), self.clock.now())
    }

    /// What has changed here since the store was told; none where nothing has.
    #[must_use]
    pub fn news(&self) -> Option<News> {
        let state = self.lock();
        let edition = state.edition;
        (edition != state.told).then(|| {
            let end = Change::End { revision: state.revision };
            News { change: state.pause.clone().map_or(end, Change::Begin), edition }
        })
    }

    /// Takes in that the store knows of `news`, and has come to `shared` with it.
    pub fn told(&self, news: &News, shared: Shared) {
        let mut state = self.lock();
        state.told = news.edition;
        if state.edition == state.told {
            self.take_in(&mut state, shared);
        } else {
            state.revision = shared.revision; // what has changed here since then is about this one
        }
    }

    /// Takes in what the store has, which another process may have changed. What this one has yet to tell stands.
    pub fn adopt(&self, shared: Shared) {
        self.take_in(&mut self.lock(), shared);
    }

    fn take_in(&self, state: &mut State, shared: Shared) {
        // An answer may come after one that the store gave later.
        if state.edition != state.told || shared.revision <= state.revision {
            return;
        }
        state.revision = shared.revision;
        let before = state.pause.take();
        if before == shared.pause {
            state.pause = before;
            return;
        }
        if let Some(before) = &before {
            self.gauge(before.why).set(0.0);
        }
        let api = self.api.as_str();
        match &shared.pause {
            None => tracing::info!(api, "the API's rest has been ended by another process, or by hand"),
            Some(pause) => {
                self.gauge(pause.why).set(1.0);
                let seconds = pause.until.since(self.clock.now()).as_secs();
                let why = pause.why.as_str();
                if before.is_none_or(|before| before.why != pause.why) {
                    tracing::warn!(api, why, seconds, "the API rests, as another process has found");
                }
            }
        }
        let kind = shared.pause.as_ref().and_then(|pause| pause.kind.clone());
        if state.outage.as_ref().map(|outage| &outage.kind) != kind.as_ref() {
            let before = state.outage.take().filter(|outage| !outage.users.is_empty());
            if shared.pause.is_none() {
                // Somebody has got through elsewhere, and nobody of these has here.
                state.suspects = before.or(state.suspects.take());
            }
            state.outage = kind.map(|kind| Outage { kind, users: HashSet::new() });
        }
        state.pause = shared.pause;
    }

    /// Refuses a call while the API rests.
    pub(super) fn check(&self) -> Result<(), Failure> {
        match self.admission() {
            Admission::NotBefore(_) => Err(Failure::new(self.api, Class::Resting, "the API rests")),
            Admission::Open | Admission::OneProbe => Ok(()),
        }
    }

    /// Begins a 429's rest: for as long as the API asks, or by backoff where it says nothing. The end of the rest.
    pub(crate) fn rate_limited(&self, asked: Option<Duration>) -> Millis {
        let mut state = self.lock();
        let now = self.clock.now();
        let is_under_way = state.pause.as_ref().is_some_and(|pause| now < pause.until);
        let pause = match asked {
            Some(asked) => asked.clamp(SHORTEST_ASKED, LONGEST_ASKED),
            // The call was on its way before the rest began: the same refusal once more, not the next one.
            None if is_under_way => Duration::ZERO,
            None => {
                let times = state.unspecified;
                state.unspecified = times.saturating_add(1);
                self.policy.doubled(times)
            }
        };
        self.begin(&mut state, Why::RateLimit, now, pause, "the API answered 429")
    }

    /// Begins, or goes on with, a rest for credentials or configuration. The end of the rest.
    pub(super) fn refused(&self, why: Why, detail: &str) -> Millis {
        self.begin(&mut self.lock(), why, self.clock.now(), self.policy.cap, detail)
    }

    /// Takes in that a sync of `user` got all that it asked of this API: ends the rest that it was a probe of, and any
    /// outage.
    pub fn succeeded(&self, user: &UserId) {
        let now = self.clock.now();
        let mut state = self.lock();
        state.streak = None;
        state.unspecified = 0;
        state.success = Some((now, user.clone()));
        if let Some(suspects) = &mut state.suspects {
            suspects.users.remove(user);
        }
        if state.pause.as_ref().is_some_and(|pause| now >= pause.until || pause.why == Why::Outage) {
            let outage = state.outage.take().filter(|outage| !outage.users.contains(user));
            state.suspects = outage.or(state.suspects.take());
            self.end(&mut state);
        }
    }

    /// Failures are taken in one after the other: whoever calls [`Rest::failed`] holds this from before until what
    /// followed for the user is settled. So an outage finds what it has to give back.
    pub async fn turn(&self) -> tokio::sync::MutexGuard<'_, ()> {
        self.turn.lock().await
    }

    /// Takes in that a sync of `user` failed on this API, with `answer` (see [`Failure::answer`]): whose fault it is.
    pub fn failed(&self, user: &UserId, class: Class, answer: &str) -> Blame {
        let kind = match class {
            Class::Transient => Kind::Transient,
            Class::Permanent => Kind::Permanent(answer.to_owned()),
            Class::Resting => return Blame::Api { give_back: Vec::new() },
        };
        let mut state = self.lock();
        if let Some(outage) = &mut state.outage {
            if matches!(kind, Kind::Permanent(_)) && kind != outage.kind {
                // The API is there again, and has something against this user alone.
                self.end(&mut state);
            } else {
                outage.users.insert(user.clone());
                self.prolong(&mut state);
                return Blame::Api { give_back: Vec::new() };
            }
        }
        if state.suspects.as_ref().is_some_and(|it| it.kind == kind && it.users.contains(user)) {
            return Blame::User;
        }
        let users = alike(state.streak.take(), &kind, user);
        if users.len() < OUTAGE_USERS {
            state.streak = Some((kind, users));
            return Blame::User;
        }
        state.outage = Some(Outage { kind, users: users.iter().map(|(it, _)| it.clone()).collect() });
        let detail = format!("{OUTAGE_USERS} different users in a row failed alike: {answer}");
        self.begin(&mut state, Why::Outage, self.clock.now(), self.policy.doubled(0), &detail);
        let others = users.into_iter().filter(|(it, _)| it != user);
        Blame::Api { give_back: others.flat_map(|(it, times)| repeat_n(it, times as usize)).collect() }
    }

    /// Whether anybody but `user` has succeeded after `since`: only then is a user who keeps failing at fault.
    #[must_use]
    pub fn others_succeeded_since(&self, user: &UserId, since: Millis) -> bool {
        self.lock().success.as_ref().is_some_and(|(at, whose)| *at >= since && whose != user)
    }

    /// The state now.
    #[must_use]
    pub fn snapshot(&self) -> Snapshot {
        Snapshot::of(self.api, self.lock().pause.as_ref(), self.clock.now())
    }

    /// Begins a rest, or lengthens the one under way. One line tells it, however often a probe fails.
    fn begin(&self, state: &mut State, why: Why, now: Millis, lasts: Duration, detail: &str) -> Millis {
        let until = now.plus(lasts);
        // Who is sent away at the door has not shown that the credentials or the place are right.
        let unsettled =
            state.pause.as_ref().filter(|pause| matches!(pause.why, Why::Credentials | Why::Configuration));
        let why = unsettled.filter(|_| why == Why::RateLimit).map_or(why, |pause| pause.why);
        let under_way = state.pause.as_ref().filter(|pause| now < pause.until);
        if let Some(pause) = under_way.filter(|pause| pause.until >= until) {
            return pause.until; // several calls were under way when the rest began
        }
        // A 429 tells its own end, so each rest is news; of the others only the first is.
        let known = if why == Why::RateLimit { under_way } else { state.pause.as_ref() };
        let is_news = known.is_none_or(|pause| pause.why != why);
        if let Some(before) = &state.pause {
            self.gauge(before.why).set(0.0);
        }
        self.gauge(why).set(1.0);
        if why != Why::Outage {
            state.outage = None; // it answers, if only to send us away
        }
        let kind = state.outage.as_ref().map(|outage| outage.kind.clone());
        state.pause = Some(Pause { why, until, doublings: 0, kind });
        state.edition += 1;

        let (api, word, seconds) = (self.api.as_str(), why.as_str(), until.since(now).as_secs());
        match why {
            Why::RateLimit if is_news => tracing::warn!(api, why = word, seconds, "the API rests: {detail}"),
            _ if is_news => {
                tracing::error!(api, why = word, seconds, "the API rests: {detail}; {}", why.advice());
            }
            _ => tracing::debug!(api, why = word, seconds, "the API goes on resting: {detail}"),
        }
        until
    }

    /// Doubles an outage's rest where a probe has failed; a call that was under way when the rest began changes nothing.
    fn prolong(&self, state: &mut State) {
        let now = self.clock.now();
        if let Some(pause) = state.pause.as_mut().filter(|pause| now >= pause.until) {
            pause.doublings = pause.doublings.saturating_add(1);
            pause.until = now.plus(self.policy.doubled(pause.doublings));
            state.edition += 1;
        }
    }

    fn end(&self, state: &mut State) {
        state.outage = None;
        if let Some(pause) = state.pause.take() {
            state.edition += 1;
            self.gauge(pause.why).set(0.0);
            tracing::info!(api = self.api.as_str(), why = pause.why.as_str(), "the API answers again");
        }
    }

    fn gauge(&self, why: Why) -> metrics::Gauge {
        metrics::gauge!(telemetry::UPSTREAM_RESTING, "api" => self.api.as_str(), "why" => why.as_str())
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        // No code that holds the lock can leave the state half changed.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The different users of `streak` and `user`, where they failed in the same way; else `user` alone.
fn alike(streak: Option<(Kind, Vec<(UserId, u32)>)>, kind: &Kind, user: &UserId) -> Vec<(UserId, u32)> {
    let mut users = streak.filter(|(known, _)| known == kind).map(|(_, users)| users).unwrap_or_default();
    match users.iter_mut().find(|(known, _)| known == user) {
        Some((_, times)) => *times = times.saturating_add(1),
        None => users.push((user.clone(), 1)),
    }
    users
}

#[cfg(test)]
mod tests;
