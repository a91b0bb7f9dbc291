//! The health of one API: a circuit breaker as plain data.
//!
//! A 429, refused credentials, a wrong setting or an outage fails every user alike. The circuit opens then: nobody is
//! synced until it is half-open, and no user pays with an attempt. A half-open circuit lets one probe through at a time,
//! each with another user, and one success closes it. After a 429 there is no probe: the API has said when to come back.
//!
//! Reads and writes have a circuit each. While an API can be read but not written, only the users who need a write wait.
//!
//! Some users fail by themselves, and alike. If an outage ends with the success of a user who did not fail in it, those who
//! go on failing in the same way are at fault after all, and cannot hold up the others.
//!
//! Pure: no clock, no randomness, no I/O. The queue keeps a [`Breaker`] per API in a document, and every transition is part
//! of the transaction that ends a lease.

use std::time::Duration;

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use super::Class;
use crate::clock::Millis;

/// So many different users in a row that fail alike are an outage or a wrong setting.
pub const OUTAGE_USERS: usize = 5;
/// The longest wait that an API can ask for.
pub const LONGEST_ASKED: Duration = Duration::from_secs(60 * 60);
/// The shortest: `Retry-After: 0` must not become a tight loop.
pub const SHORTEST_ASKED: Duration = Duration::from_secs(1);
/// The most users that a circuit remembers, so that the document stays small.
const MOST_USERS: usize = 64;

/// Why a circuit is open.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum OpenReason {
    /// The API answered 429.
    RateLimit,
    /// The API or its token endpoint refused our credentials.
    Credentials,
    /// The API redirected, or knows no such path or method: a wrong URL.
    Configuration,
    /// Several different users in a row failed alike, or the token endpoint gave no answer.
    Outage,
}

impl OpenReason {
    /// All reasons.
    pub const ALL: [Self; 4] = [Self::RateLimit, Self::Credentials, Self::Configuration, Self::Outage];

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

    /// What an operator can do.
    pub(super) fn advice(self) -> &'static str {
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

    fn is_refusal(self) -> bool {
        matches!(self, Self::Credentials | Self::Configuration)
    }
}

/// How long to wait after failures.
#[derive(Debug, Clone, Copy)]
pub struct Backoff {
    /// `sync.backoff_base`: how long the circuit is open at first in an outage.
    pub base: Duration,
    /// `sync.backoff_cap`: the longest wait, and how long the circuit is open after a refusal.
    pub cap: Duration,
}

impl Backoff {
    /// `base`, doubled `times` times, at most `cap`.
    #[must_use]
    pub fn doubled(&self, times: u32) -> Duration {
        self.base.saturating_mul(2u32.saturating_pow(times)).min(self.cap)
    }
}

/// The two kinds of calls.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum CallKind {
    /// `GET`.
    Read,
    /// `POST` and `PATCH`.
    Write,
}

/// A call that failed, as far as the API's health depends on it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FailedCall {
    /// Which kind of call.
    pub kind: CallKind,
    /// What the failure means.
    pub class: Class,
    /// What failed, without personal data.
    pub message: String,
    /// What is the same for all users who fail for the same reason, without personal data.
    pub answer: String,
    /// Whether a harmless call to the same API succeeded afterwards; none where none was made.
    pub is_api_well: Option<bool>,
}

/// Who is at fault for a failed sync.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Blame {
    /// The user: it counts as an attempt.
    User,
    /// The user, as far as a harmless call can show: it counts as an attempt, and parks nobody before another user has got
    /// through.
    UserUnproven,
    /// The API: it costs nothing.
    Api {
        /// When the user is due again.
        at: Millis,
        /// Users of the same outage who have paid with attempts, and with how many.
        give_back: Vec<(String, u32)>,
    },
}

/// What makes two failures alike.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
enum Likeness {
    /// Both may work later.
    Transient,
    /// Both got this answer, which no retry can fix.
    Permanent(String),
    /// Both were refused in this way.
    Refused(String),
}

/// A probe under way: the sync under this lease tries whether the API is back.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
struct Probe {
    /// The lease's name.
    lease: String,
    /// When the lease ends.
    until: Millis,
}

/// An open or half-open circuit.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
struct Open {
    reason: OpenReason,
    /// When it is half-open.
    until: Millis,
    /// How often an outage has been prolonged.
    #[serde(default)]
    doublings: u32,
    /// What failed, without personal data.
    #[serde(default)]
    detail: String,
    /// What the failures have in common; none where no user's call failed: after a 429 or without a token.
    #[serde(default)]
    likeness: Option<Likeness>,
    /// The users who failed in it, the last one last.
    #[serde(default)]
    users: Vec<String>,
    #[serde(default)]
    probe: Option<Probe>,
}

/// Users who failed alike since the last success, and how often each of them did.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
struct Streak {
    likeness: Likeness,
    users: Vec<(String, u32)>,
}

/// A user who failed in an outage that ended with another user's success.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
struct Suspect {
    user: String,
    likeness: Likeness,
}

/// An answer that users get while a harmless call succeeds.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
struct OddAnswer {
    answer: String,
    /// Until then it opens no circuit.
    until: Millis,
}

/// The last success, and whose it was.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
struct Success {
    at: Millis,
    user: String,
}

/// The circuit of one kind of calls.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
struct Circuit {
    /// None: closed.
    open: Option<Open>,
    streak: Option<Streak>,
    suspects: Vec<Suspect>,
    odd: Option<OddAnswer>,
    success: Option<Success>,
    /// 429s since the last success that named no time.
    unspecified: u32,
    #[serde(flatten)]
    unknown: Map<String, Value>,
}

/// The health of one API.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Breaker {
    /// Counts transitions: settlements of one moment may become known to a process in any order.
    revision: u64,
    /// Reads, and with them every sync: open after a 429 and without a token, too.
    reads: Circuit,
    writes: Circuit,
    #[serde(flatten)]
    unknown: Map<String, Value>,
}

/// Whether a sync that needs this API may start.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Admission {
    /// Any number of syncs.
    All,
    /// One sync, while no other probe runs.
    OneProbe,
    /// None before then.
    NotBefore(Millis),
}

/// The state of one API, as the commands, `/readyz` and the operations page show it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct ApiStatus {
    /// `sesamy` or `mailmojo`.
    pub api: &'static str,
    /// `ok`, `resting` (the circuit is open) or `probing` (it is half-open).
    pub state: &'static str,
    /// Why the circuit is open.
    pub why: Option<&'static str>,
    /// Until when it is open.
    pub until: Option<Millis>,
}

impl Breaker {
    /// Whether a sync may start at `now`. An open circuit of writes lets syncs start: most of them write nothing.
    #[must_use]
    pub fn admission(&self, now: Millis) -> Admission {
        let Some(open) = &self.reads.open else { return Admission::All };
        match &open.probe {
            _ if now < open.until => Admission::NotBefore(open.until),
            _ if open.reason == OpenReason::RateLimit => Admission::All,
            Some(probe) if now < probe.until => Admission::NotBefore(probe.until),
            _ => Admission::OneProbe,
        }
    }

    /// Whether `user` has failed since the circuit opened. Another user makes a better probe.
    #[must_use]
    pub fn has_failed(&self, user: &str) -> bool {
        self.reads.open.as_ref().is_some_and(|open| open.has_failed(user))
    }

    /// The sync under `lease`, which ends at `until`, tries whether the API is back.
    pub fn begin_probe(&mut self, lease: &str, until: Millis) {
        if let Some(open) = &mut self.reads.open {
            open.probe = Some(Probe { lease: lease.to_owned(), until });
        }
    }

    /// The probe of this lease has ended, whatever it came to.
    pub fn end_probe(&mut self, lease: &str) {
        if let Some(open) = &mut self.reads.open
            && open.probe.as_ref().is_some_and(|probe| probe.lease == lease)
        {
            open.probe = None;
        }
    }

    /// All calls of this kind that a sync of `user` made succeeded.
    pub fn succeeded(&mut self, kind: CallKind, user: &str, now: Millis) {
        self.revision = self.revision.saturating_add(1);
        self.of_mut(kind).succeeded(user, now);
    }

    /// A call of a sync of `user` failed: who is at fault.
    pub fn failed(&mut self, user: &str, failed: &FailedCall, now: Millis, backoff: &Backoff) -> Blame {
        let kind = failed.kind;
        self.revision = self.revision.saturating_add(1);
        let blame = match failed.class {
            Class::NotCalled => Blame::api(now),
            Class::RateLimited(asked) => {
                self.reads.rate_limited(asked, &failed.message, now, backoff);
                Blame::api(now)
            }
            Class::NoToken => {
                self.reads.without_token(&failed.message, now, backoff);
                Blame::api(now)
            }
            Class::Refused(reason) => self.of_mut(kind).refused(user, reason, failed, now, backoff),
            Class::Transient => self.of_mut(kind).failed(user, Likeness::Transient, failed, now, backoff),
            Class::Permanent => {
                let likeness = Likeness::Permanent(failed.answer.clone());
                self.of_mut(kind).failed(user, likeness, failed, now, backoff)
            }
        };
        match blame {
            // Every sync begins with reads, so a sync that cannot write yet must not start before it can.
            Blame::Api { at, give_back } if kind == CallKind::Write => {
                let at = at.max(self.writes.next_try(user, now, backoff));
                Blame::Api { at, give_back }
            }
            blame => blame,
        }
    }

    /// Whether a user other than `user` has succeeded with this kind of call at `since` or later: only then is a user who
    /// keeps failing at fault.
    #[must_use]
    pub fn others_succeeded_since(&self, kind: CallKind, user: &str, since: Millis) -> bool {
        let success = self.of(kind).success.as_ref();
        success.is_some_and(|success| success.at >= since && success.user != user)
    }

    /// Closes both circuits: the service starts, or an operator says so.
    pub fn close(&mut self) {
        if self.reads.open.take().is_some() | self.writes.open.take().is_some() {
            self.revision = self.revision.saturating_add(1);
        }
    }

    /// Which of two states of the same API is the later one.
    pub(super) fn revision(&self) -> u64 {
        self.revision
    }

    /// Removes every trace of `user`.
    pub fn forget(&mut self, user: &str) {
        self.reads.forget(user);
        self.writes.forget(user);
    }

    /// Why and until when the circuit of these calls is open, or was before it became half-open; none where it is closed.
    #[must_use]
    pub fn open(&self, kind: CallKind) -> Option<(OpenReason, Millis)> {
        self.of(kind).open.as_ref().map(|open| (open.reason, open.until))
    }

    /// What opened the circuit of these calls, without personal data.
    pub(super) fn detail(&self, kind: CallKind) -> &str {
        self.of(kind).open.as_ref().map_or("", |open| &open.detail)
    }

    /// What people see of it at `now`: the circuit of reads, which holds up everybody, and else that of writes.
    #[must_use]
    pub fn status(&self, api: super::Api, now: Millis) -> ApiStatus {
        let open = [CallKind::Read, CallKind::Write].into_iter().find_map(|kind| self.open(kind));
        let (state, open) = match open {
            Some((_, until)) if now < until => ("resting", open),
            Some((OpenReason::RateLimit, _)) | None => ("ok", None),
            Some(_) => ("probing", open),
        };
        let (why, until) = open.map(|(reason, until)| (reason.as_str(), until)).unzip();
        ApiStatus { api: api.as_str(), state, why, until }
    }

    fn of(&self, kind: CallKind) -> &Circuit {
        match kind {
            CallKind::Read => &self.reads,
            CallKind::Write => &self.writes,
        }
    }

    fn of_mut(&mut self, kind: CallKind) -> &mut Circuit {
        match kind {
            CallKind::Read => &mut self.reads,
            CallKind::Write => &mut self.writes,
        }
    }
}

impl Circuit {
    fn succeeded(&mut self, user: &str, now: Millis) {
        self.streak = None;
        self.unspecified = 0;
        self.success = Some(Success { at: now, user: user.to_owned() });
        self.suspects.retain(|suspect| suspect.user != user);
        // A sync that was under way when the credentials were refused, or when no token came, proves nothing about them.
        let is_outage_of_users = |open: &Open| open.reason == OpenReason::Outage && open.likeness.is_some();
        let closes = |open: &Open| now >= open.until || is_outage_of_users(open);
        let Some(open) = self.open.take_if(|open| closes(open)) else { return };
        if let Some(likeness) = open.likeness
            && !open.users.iter().any(|it| it == user)
        {
            self.suspect(open.users, &likeness);
        }
    }

    fn failed(
        &mut self,
        user: &str,
        likeness: Likeness,
        failed: &FailedCall,
        now: Millis,
        backoff: &Backoff,
    ) -> Blame {
        if let Some(open) = self.open.as_mut().filter(|open| open.reason == OpenReason::Outage) {
            let is_half_open = now >= open.until;
            let answers_again = match &open.likeness {
                // The API has something against this user alone.
                Some(known) => matches!(likeness, Likeness::Permanent(_)) && likeness != *known,
                None => is_half_open, // there was a token for this call
            };
            if answers_again {
                self.open = None;
            } else if is_half_open && failed.is_api_well == Some(true) {
                self.odd = Some(OddAnswer { answer: failed.answer.clone(), until: now.plus(backoff.cap) });
                if let Some(Open { users, likeness: Some(known), .. }) = self.open.take() {
                    self.suspect(users, &known);
                }
                return Blame::UserUnproven;
            } else {
                if is_half_open {
                    open.doublings = open.doublings.saturating_add(1);
                    open.until = now.plus(backoff.doubled(open.doublings));
                }
                open.add(user);
                return Blame::api(now);
            }
        }
        if self.odd.as_ref().is_some_and(|odd| odd.answer == failed.answer && now < odd.until) {
            return Blame::UserUnproven;
        }
        if self.is_suspect(user, &likeness) {
            return Blame::User;
        }
        let streak = self.streak.take().filter(|streak| streak.likeness == likeness);
        let mut users = streak.map(|streak| streak.users).unwrap_or_default();
        match users.iter_mut().find(|(known, _)| known == user) {
            Some((_, times)) => *times = times.saturating_add(1),
            None => users.push((user.to_owned(), 1)),
        }
        if users.len() < OUTAGE_USERS {
            self.streak = Some(Streak { likeness, users });
            return Blame::User;
        }
        let detail = format!("{OUTAGE_USERS} different users in a row failed alike: {}", failed.answer);
        let until = now.plus(backoff.doubled(0));
        self.begin(OpenReason::Outage, until, now, detail, Some(likeness));
        users.iter().for_each(|(user, _)| self.add_user(user));
        // The failure of this user is not counted, those before it were.
        let paid = |(id, times): (String, u32)| if id == user { (id, times - 1) } else { (id, times) };
        let give_back = users.into_iter().map(paid).filter(|(_, times)| *times > 0).collect();
        Blame::Api { at: now, give_back }
    }

    fn refused(
        &mut self,
        user: &str,
        reason: OpenReason,
        failed: &FailedCall,
        now: Millis,
        backoff: &Backoff,
    ) -> Blame {
        let likeness = Likeness::Refused(failed.answer.clone());
        if self.is_suspect(user, &likeness) {
            return Blame::User;
        }
        let until = now.plus(backoff.cap);
        let is_alone = |open: &Open| {
            now >= open.until && open.reason == reason && open.users.last().is_some_and(|last| last == user)
        };
        if self.open.as_ref().is_some_and(is_alone) {
            // The same user once more says nothing new of the API: the next probe, with another user, need not wait.
            return Blame::api(until);
        }
        self.begin(reason, until, now, failed.message.clone(), Some(likeness));
        self.add_user(user);
        Blame::api(now)
    }

    fn rate_limited(&mut self, asked: Option<Duration>, message: &str, now: Millis, backoff: &Backoff) {
        let is_under_way = self.open.as_ref().is_some_and(|open| now < open.until);
        let wait = match asked {
            Some(asked) => asked.clamp(SHORTEST_ASKED, LONGEST_ASKED),
            // The call was on its way before the circuit opened: the same refusal once more, not the next one.
            None if is_under_way => return,
            None => {
                let times = self.unspecified;
                self.unspecified = times.saturating_add(1);
                backoff.doubled(times)
            }
        };
        self.begin(OpenReason::RateLimit, now.plus(wait), now, message.to_owned(), None);
    }

    fn without_token(&mut self, message: &str, now: Millis, backoff: &Backoff) {
        let before = self.open.as_ref().filter(|open| open.reason == OpenReason::Outage);
        let doublings = match before {
            Some(open) if now < open.until => return,
            Some(open) => open.doublings.saturating_add(1),
            None => 0,
        };
        let until = now.plus(backoff.doubled(doublings));
        self.begin(OpenReason::Outage, until, now, message.to_owned(), None);
        if let Some(open) = self.open.as_mut().filter(|open| open.reason == OpenReason::Outage) {
            open.doublings = doublings;
        }
    }

    /// Opens the circuit, or keeps it open for longer.
    fn begin(
        &mut self,
        reason: OpenReason,
        until: Millis,
        now: Millis,
        detail: String,
        likeness: Option<Likeness>,
    ) {
        match &mut self.open {
            // Several calls were under way when it opened.
            Some(open) if now < open.until && open.until >= until => {}
            Some(open) if now < open.until && open.reason == reason && reason.is_refusal() => {}
            // A 429 at the door does not show that the credentials or the place are right.
            Some(open) if reason == OpenReason::RateLimit && open.reason.is_refusal() => {
                (open.until, open.probe) = (until, None);
            }
            Some(open) if open.reason == reason && open.likeness == likeness => {
                (open.until, open.detail, open.probe) = (until, detail, None);
            }
            open => {
                let (doublings, users, probe) = (0, Vec::new(), None);
                *open = Some(Open { reason, until, doublings, detail, likeness, users, probe });
            }
        }
    }

    /// When a user who could not make a call of this kind tries again. A user who has failed already comes later than others,
    /// so that the next probe is another user's.
    fn next_try(&self, user: &str, now: Millis, backoff: &Backoff) -> Millis {
        let Some(open) = &self.open else { return now };
        let first = backoff.doubled(0);
        let at = if now < open.until { open.until } else { now.plus(first) };
        if open.has_failed(user) { at.plus(first) } else { at }
    }

    fn is_suspect(&self, user: &str, likeness: &Likeness) -> bool {
        self.suspects.iter().any(|suspect| suspect.user == user && suspect.likeness == *likeness)
    }

    fn suspect(&mut self, users: Vec<String>, likeness: &Likeness) {
        self.suspects.retain(|suspect| !users.contains(&suspect.user));
        self.suspects.extend(users.into_iter().map(|user| Suspect { user, likeness: likeness.clone() }));
        let surplus = self.suspects.len().saturating_sub(MOST_USERS);
        self.suspects.drain(..surplus);
    }

    fn add_user(&mut self, user: &str) {
        if let Some(open) = &mut self.open {
            open.add(user);
        }
    }

    fn forget(&mut self, user: &str) {
        self.suspects.retain(|suspect| suspect.user != user);
        self.success.take_if(|success| success.user == user);
        if let Some(streak) = &mut self.streak {
            streak.users.retain(|(it, _)| it != user);
        }
        if let Some(open) = &mut self.open {
            open.users.retain(|it| it != user);
        }
    }
}

impl Open {
    fn has_failed(&self, user: &str) -> bool {
        self.users.iter().any(|it| it == user)
    }

    fn add(&mut self, user: &str) {
        self.users.retain(|it| it != user);
        self.users.push(user.to_owned());
        let surplus = self.users.len().saturating_sub(MOST_USERS);
        self.users.drain(..surplus);
    }
}

impl Blame {
    fn api(at: Millis) -> Self {
        Self::Api { at, give_back: Vec::new() }
    }
}

#[cfg(test)]
mod tests;
