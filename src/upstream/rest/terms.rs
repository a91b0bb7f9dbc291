//! The words in which a rest is told: why, for how long, and what it allows.

use std::fmt;
use std::time::Duration;

use super::Pause;
use crate::clock::Millis;
use crate::upstream::Api;
use crate::user::UserId;

/// Why an API rests.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "snake_case")]
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
    /// All there are.
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

    /// What the one who reads the log at night can do.
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

impl Admission {
    /// What `pause` allows at `now`.
    #[must_use]
    pub fn under(pause: Option<&Pause>, now: Millis) -> Self {
        match pause {
            None => Self::Open,
            Some(pause) if now < pause.until => Self::NotBefore(pause.until),
            Some(Pause { why: Why::RateLimit, .. }) => Self::Open,
            Some(_) => Self::OneProbe,
        }
    }

    /// What is allowed where both have to allow it.
    #[must_use]
    pub fn and(self, other: Self) -> Self {
        match (self, other) {
            (Self::NotBefore(one), Self::NotBefore(two)) => Self::NotBefore(one.max(two)),
            (Self::NotBefore(until), _) | (_, Self::NotBefore(until)) => Self::NotBefore(until),
            (Self::Open, Self::Open) => Self::Open,
            _ => Self::OneProbe,
        }
    }
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

impl Snapshot {
    /// The state of `api` at `now`, where `pause` is its rest.
    #[must_use]
    pub fn of(api: Api, pause: Option<&Pause>, now: Millis) -> Self {
        let (state, pause) = match Admission::under(pause, now) {
            Admission::Open => ("ok", None),
            Admission::OneProbe => ("probing", pause),
            Admission::NotBefore(_) => ("resting", pause),
        };
        let (why, until) = (pause.map(|pause| pause.why.as_str()), pause.map(|pause| pause.until));
        Self { api: api.as_str(), state, why, until }
    }
}
