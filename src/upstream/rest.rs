//! An API at rest: a state of the API, not of a user.
//!
//! A 429, refused credentials, a wrong setting or an outage would fail every user alike. So the API rests: nothing is
//! leased and no call is made until the rest is over, and no user pays for it with an attempt. After any rest but a 429's
//! the worker sends one user at a time (a probe) until one of them gets through.
//!
//! Time is passed in with the clock; there is no randomness here.

use std::fmt;
use std::iter::repeat_n;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use super::{Api, Class, Failure};
use crate::clock::{Clock, Millis};
use crate::telemetry;
use crate::user::UserId;

/// So many different users in a row that fail alike are an outage or a wrong setting, and not so many odd users.
pub const OUTAGE_USERS: usize = 5;

/// The longest rest that an API can ask for.
pub const LONGEST_ASKED: Duration = Duration::from_secs(60 * 60);

/// The shortest: `Retry-After: 0` must not become a tight loop.
pub const SHORTEST_ASKED: Duration = Duration::from_secs(1);

/// Why an API rests.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Why {
    /// It answered 429.
    RateLimit,
    /// It refused our credentials, or its token endpoint gave no token.
    Credentials,
    /// It redirected, or knows no such path or method: a wrong URL.
    Configuration,
    /// Several different users in a row failed alike.
    Outage,
}

impl Why {
    /// The word in metrics and `/readyz`.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::RateLimit => "rate_limit",
            Self::Credentials => "credentials",
            Self::Configuration => "configuration",
            Self::Outage => "outage",
        }
    }

    /// What the one who reads the log at night can do.
    fn advice(self) -> &'static str {
        match self {
            Self::RateLimit => "nothing to do: it goes on by itself",
            Self::Credentials => {
                "check the token or client credentials and their scopes (`sesamy-mailmojo check`)"
            }
            Self::Configuration => "check the API's URL in the settings (`sesamy-mailmojo check`)",
            Self::Outage => {
                "nothing to do if the API is down; else check the settings (`sesamy-mailmojo check`)"
            }
        }
    }
}

impl fmt::Display for Why {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// How long rests last.
#[derive(Debug, Clone, Copy)]
pub struct Policy {
    /// `sync.backoff_base`: the first rest of an outage.
    pub base: Duration,
    /// `sync.backoff_cap`: the longest rest of an outage, and every rest for credentials or configuration.
    pub cap: Duration,
}

impl Policy {
    /// `base`, doubled `times` times, at most `cap`.
    #[must_use]
    pub fn doubled(&self, times: u32) -> Duration {
        self.base.saturating_mul(2u32.saturating_pow(times)).min(self.cap)
    }
}

/// Whether a sync that needs this API may start.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Admission {
    /// As many as you like.
    Open,
    /// One, while no other runs: the rest is over, but nobody has got through yet.
    OneProbe,
    /// None before then.
    NotBefore(Millis),
}

/// Whose fault a failed sync is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Blame {
    /// The user's: it counts as an attempt.
    User,
    /// The API's, which rests now: try again after it, at no cost.
    Api {
        /// The users of the same outage whose failures were counted before it was known as one, each as often as that.
        give_back: Vec<UserId>,
    },
}

/// What `/readyz` tells of one API.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Snapshot {
    /// `sesamy` or `mailmojo`.
    pub api: &'static str,
    /// `ok`, `resting` or `probing`.
    pub state: &'static str,
    /// Why it rests: `rate_limit`, `credentials`, `configuration` or `outage`.
    pub why: Option<&'static str>,
    /// When the rest ends.
    pub until: Option<Millis>,
}

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
    /// How users fail in the outage that the API rests for.
    outage: Option<Kind>,
    /// The users that failed alike since the last success, how often each of them, and how.
    streak: Option<(Kind, Vec<(UserId, u32)>)>,
    /// 429s without a time of their own since the last success.
    unspecified: u32,
    /// The last success, and whose.
    success: Option<(Millis, UserId)>,
}

#[derive(Debug, Clone, Copy)]
struct Pause {
    why: Why,
    until: Millis,
    /// How often an outage's rest has been doubled.
    doublings: u32,
}

/// What makes two failures alike.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Kind {
    Transient,
    Permanent(String),
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
        let now = self.clock.now();
        match self.lock().pause {
            None => Admission::Open,
            Some(pause) if now < pause.until => Admission::NotBefore(pause.until),
            Some(Pause { why: Why::RateLimit, .. }) => Admission::Open,
            Some(_) => Admission::OneProbe,
        }
    }

    /// Refuses a call while the API rests.
    pub(super) fn check(&self) -> Result<(), Failure> {
        match self.admission() {
            Admission::NotBefore(_) => Err(Failure::new(self.api, Class::Resting, "the API rests")),
            Admission::Open | Admission::OneProbe => Ok(()),
        }
    }

    /// Begins a 429's rest: for as long as the API asks, or by backoff where it says nothing. The end of the rest.
    pub(super) fn rate_limited(&self, asked: Option<Duration>) -> Millis {
        let mut state = self.lock();
        let now = self.clock.now();
        let is_under_way = state.pause.is_some_and(|pause| now < pause.until);
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
        self.begin(&mut state, Why::RateLimit, now.plus(pause), "the API answered 429")
    }

    /// Begins, or goes on with, a rest for credentials or configuration. The end of the rest.
    pub(super) fn refused(&self, why: Why, detail: &str) -> Millis {
        let until = self.clock.now().plus(self.policy.cap);
        self.begin(&mut self.lock(), why, until, detail)
    }

    /// Takes in that a sync of `user` got all that it asked of this API: ends the rest that it was a probe of, and any
    /// outage.
    pub fn succeeded(&self, user: &UserId) {
        let now = self.clock.now();
        let mut state = self.lock();
        state.streak = None;
        state.unspecified = 0;
        state.success = Some((now, user.clone()));
        if state.pause.is_some_and(|pause| now >= pause.until || pause.why == Why::Outage) {
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
        if let Some(outage) = state.outage.clone() {
            if matches!(kind, Kind::Permanent(_)) && kind != outage {
                // The API is there again, and has something against this user alone.
                self.end(&mut state);
            } else {
                self.prolong(&mut state);
                return Blame::Api { give_back: Vec::new() };
            }
        }
        let users = alike(state.streak.take(), &kind, user);
        if users.len() < OUTAGE_USERS {
            state.streak = Some((kind, users));
            return Blame::User;
        }
        state.outage = Some(kind);
        let until = self.clock.now().plus(self.policy.doubled(0));
        let detail = format!("{OUTAGE_USERS} different users in a row failed alike: {answer}");
        self.begin(&mut state, Why::Outage, until, &detail);
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
        let pause = self.lock().pause;
        let (state, pause) = match self.admission() {
            Admission::Open => ("ok", None),
            Admission::OneProbe => ("probing", pause),
            Admission::NotBefore(_) => ("resting", pause),
        };
        Snapshot {
            api: self.api.as_str(),
            state,
            why: pause.map(|pause| pause.why.as_str()),
            until: pause.map(|pause| pause.until),
        }
    }

    /// Begins a rest, or lengthens the one under way. One line tells it, however often a probe fails.
    fn begin(&self, state: &mut State, why: Why, until: Millis, detail: &str) -> Millis {
        let now = self.clock.now();
        let under_way = state.pause.filter(|pause| now < pause.until);
        if let Some(pause) = under_way.filter(|pause| pause.until >= until) {
            return pause.until; // several calls were under way when the rest began
        }
        // A 429 tells its own end, so each rest is news; of the others only the first is.
        let known = if why == Why::RateLimit { under_way } else { state.pause };
        let is_news = known.is_none_or(|pause| pause.why != why);
        if let Some(before) = state.pause {
            self.gauge(before.why).set(0.0);
        }
        self.gauge(why).set(1.0);
        if why != Why::Outage {
            state.outage = None; // it answers, if only to send us away
        }
        state.pause = Some(Pause { why, until, doublings: 0 });

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
        }
    }

    fn end(&self, state: &mut State) {
        state.outage = None;
        if let Some(pause) = state.pause.take() {
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
mod tests {
    use super::*;

    const MINUTE: Duration = Duration::from_secs(60);

    struct Story {
        clock: Clock,
        rest: Rest,
    }

    fn story() -> Story {
        let clock = Clock::manual(Millis(1_000_000));
        let policy = Policy { base: Duration::from_secs(2), cap: 15 * MINUTE };
        Story { rest: Rest::new(Api::Mailmojo, policy, clock.clone()), clock }
    }

    impl Story {
        fn transient(&self, user: &str) -> Blame {
            self.rest.failed(&id(user), Class::Transient, "0 timeout")
        }

        fn permanent(&self, user: &str, answer: &str) -> Blame {
            self.rest.failed(&id(user), Class::Permanent, answer)
        }

        fn in_(&self, seconds: u64) -> Millis {
            self.clock.now().plus(Duration::from_secs(seconds))
        }
    }

    fn id(user: &str) -> UserId {
        UserId::new(user).unwrap()
    }

    #[test]
    fn five_different_users_in_a_row_are_an_outage_and_get_their_attempts_back() {
        let it = story();
        for user in ["a", "b", "a", "c", "d"] {
            assert_eq!(it.transient(user), Blame::User);
        }
        let give_back = ["a", "a", "b", "c", "d"].map(id).to_vec();
        assert_eq!(it.transient("e"), Blame::Api { give_back });
        assert_eq!(it.rest.admission(), Admission::NotBefore(it.in_(2)));
        assert_eq!(it.rest.snapshot().why, Some("outage"));
    }

    #[test]
    fn one_user_who_fails_five_times_is_no_outage() {
        let it = story();
        for _ in 0..9 {
            assert_eq!(it.transient("a"), Blame::User);
        }
        assert_eq!(it.rest.admission(), Admission::Open);
    }

    #[test]
    fn a_success_between_breaks_the_row() {
        let it = story();
        for user in ["a", "b", "c", "d"] {
            it.transient(user);
        }
        it.rest.succeeded(&id("x"));
        assert_eq!(it.transient("e"), Blame::User);
    }

    #[test]
    fn odd_users_with_different_answers_are_no_outage() {
        let it = story();
        for user in ["a", "b", "c", "d", "e", "f"] {
            assert_eq!(it.permanent(user, &format!("422 {user}")), Blame::User);
        }
        for user in ["a", "b", "c", "d"] {
            assert_eq!(it.permanent(user, "400 list is closed"), Blame::User);
        }
        assert!(matches!(it.permanent("e", "400 list is closed"), Blame::Api { .. }));
    }

    #[test]
    fn an_outage_sends_one_probe_at_a_time_and_doubles_its_rest_until_one_gets_through() {
        let it = story();
        for user in ["a", "b", "c", "d", "e"] {
            it.transient(user);
        }
        let first_end = it.in_(2);
        assert_eq!(it.transient("under way"), Blame::Api { give_back: vec![] });
        assert_eq!(it.rest.admission(), Admission::NotBefore(first_end));
        for (probe, rest) in [("f", 4), ("g", 8), ("h", 16)] {
            it.clock.advance(15 * MINUTE);
            assert_eq!(it.rest.admission(), Admission::OneProbe);
            assert_eq!(it.transient(probe), Blame::Api { give_back: vec![] });
            assert_eq!(it.rest.admission(), Admission::NotBefore(it.in_(rest)));
        }
        it.clock.advance(15 * MINUTE);
        it.rest.succeeded(&id("i"));
        assert_eq!(it.rest.admission(), Admission::Open);
        assert_eq!(it.transient("a"), Blame::User);
    }

    #[test]
    fn a_probe_that_fails_for_its_own_reason_ends_the_outage() {
        let it = story();
        for user in ["a", "b", "c", "d", "e"] {
            it.permanent(user, "400 list is closed");
        }
        it.clock.advance(MINUTE);
        assert!(matches!(it.transient("f"), Blame::Api { .. }), "a time-out is no sign of health");
        it.clock.advance(MINUTE);
        assert!(matches!(it.permanent("g", "400 list is closed"), Blame::Api { .. }));
        it.clock.advance(MINUTE);
        assert_eq!(it.permanent("h", "422 odd address"), Blame::User);
        assert_eq!(it.rest.admission(), Admission::Open);
    }

    #[test]
    fn an_answer_that_sends_us_away_ends_an_outage_and_begins_its_own_rest() {
        let it = story();
        for user in ["a", "b", "c", "d", "e"] {
            it.transient(user);
        }
        it.clock.advance(MINUTE);
        it.rest.rate_limited(Some(MINUTE));
        assert_eq!(it.rest.snapshot().why, Some("rate_limit"));
        it.clock.advance(MINUTE);
        assert_eq!(it.rest.admission(), Admission::Open);
        assert_eq!(it.transient("f"), Blame::User);
    }

    #[test]
    fn a_429_rests_for_as_long_as_asked_and_then_opens_for_everybody() {
        for (asked, rest) in [(60, 60), (0, 1), (86_400, 3_600)] {
            let it = story();
            let until = it.rest.rate_limited(Some(Duration::from_secs(asked)));
            assert_eq!(until, it.in_(rest));
            assert!(it.rest.check().is_err());
            it.clock.advance(Duration::from_secs(rest));
            assert_eq!(it.rest.admission(), Admission::Open);
            assert!(it.rest.check().is_ok());
        }
    }

    #[test]
    fn of_two_429s_the_longer_counts() {
        let it = story();
        it.rest.rate_limited(Some(Duration::from_secs(10)));
        assert_eq!(it.rest.rate_limited(Some(Duration::from_secs(60))), it.in_(60));
        assert_eq!(it.rest.rate_limited(Some(Duration::from_secs(10))), it.in_(60));
    }

    #[test]
    fn a_429_without_a_time_backs_off() {
        let it = story();
        for rest in [2, 4, 8] {
            assert_eq!(it.rest.rate_limited(None), it.in_(rest));
            it.clock.advance(MINUTE);
        }
        it.rest.succeeded(&id("a"));
        let end = it.in_(2);
        assert_eq!(it.rest.rate_limited(None), end);
        it.clock.advance(Duration::from_secs(1));
        assert_eq!(it.rest.rate_limited(None), end, "a call that was under way");
    }

    #[test]
    fn refused_credentials_rest_for_the_cap_and_are_probed_until_they_work() {
        let it = story();
        it.rest.refused(Why::Credentials, "403");
        assert_eq!(it.rest.admission(), Admission::NotBefore(it.in_(15 * 60)));
        it.rest.succeeded(&id("was under way"));
        assert_eq!(it.rest.admission(), Admission::NotBefore(it.in_(15 * 60)));
        it.clock.advance(15 * MINUTE);
        assert_eq!(it.rest.admission(), Admission::OneProbe);
        it.rest.refused(Why::Credentials, "403");
        assert_eq!(it.rest.admission(), Admission::NotBefore(it.in_(15 * 60)));
        it.clock.advance(15 * MINUTE);
        it.rest.succeeded(&id("probe"));
        assert_eq!(it.rest.admission(), Admission::Open);
    }

    #[test]
    fn a_user_is_at_fault_only_if_others_got_through_meanwhile() {
        let it = story();
        let since = it.clock.now();
        assert!(!it.rest.others_succeeded_since(&id("a"), since));
        it.rest.succeeded(&id("a"));
        assert!(!it.rest.others_succeeded_since(&id("a"), since));
        it.rest.succeeded(&id("b"));
        assert!(it.rest.others_succeeded_since(&id("a"), since));
        it.clock.advance(MINUTE);
        assert!(!it.rest.others_succeeded_since(&id("a"), it.clock.now()));
    }
}
