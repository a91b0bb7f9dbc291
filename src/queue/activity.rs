//! Activity: how many events were accepted and refused, and what syncs came to, by minute.
//!
//! Counted in memory, and added to one document per hour once a minute: no event and no settlement touches a row that
//! others write. A kill loses a minute of counts and nothing else.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Mutex, PoisonError};

use serde::{Deserialize, Serialize};

use super::documents::{self, ACTIVITY};
use super::store::{Change, Look};
use super::{Queue, QueueError};
use crate::clock::Millis;

const MINUTE_MS: i64 = 60_000;
const HOUR_MS: i64 = 60 * MINUTE_MS;
/// How long activity is kept.
const KEPT_HOURS: i64 = 7 * 24;

/// What one minute saw.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Minute {
    /// Events that were accepted.
    pub accepted: u64,
    /// Requests that were refused, by reason.
    pub refused: BTreeMap<String, u64>,
    /// Syncs, by outcome.
    pub synced: BTreeMap<String, u64>,
}

/// One thing to count.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Counted {
    /// An event was accepted.
    Accepted,
    /// A request was refused for this reason.
    Refused(&'static str),
    /// A sync came to this outcome.
    Synced(&'static str),
}

/// The counts that are not stored yet, by the minute's number since 1970.
#[derive(Debug, Default)]
pub(super) struct Activity(Mutex<BTreeMap<i64, Minute>>);

impl Activity {
    /// Counts one thing at `now`, by the wall clock.
    pub(super) fn count(&self, counted: Counted, now: Millis) {
        let mut minutes = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let minute = minutes.entry(now.0.div_euclid(MINUTE_MS)).or_default();
        let count = match counted {
            Counted::Accepted => &mut minute.accepted,
            Counted::Refused(reason) => minute.refused.entry(reason.to_owned()).or_default(),
            Counted::Synced(outcome) => minute.synced.entry(outcome.to_owned()).or_default(),
        };
        *count += 1;
    }

    fn take(&self) -> BTreeMap<i64, Minute> {
        std::mem::take(&mut *self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }

    fn give_back(&self, minutes: BTreeMap<i64, Minute>) {
        add(&mut self.0.lock().unwrap_or_else(PoisonError::into_inner), &minutes);
    }

    fn snapshot(&self) -> BTreeMap<i64, Minute> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// The hour of a document of this name.
    pub(super) fn hour_of(name: &str) -> Option<i64> {
        name.strip_prefix(ACTIVITY)?.parse().ok()
    }

    /// The oldest hour that is kept at `now`.
    pub(super) fn oldest(now: Millis) -> i64 {
        now.0.div_euclid(HOUR_MS) - KEPT_HOURS
    }
}

/// Adds `others` to the counts of the same minutes.
fn add<'a>(counts: &mut BTreeMap<i64, Minute>, others: impl IntoIterator<Item = (&'a i64, &'a Minute)>) {
    for (number, other) in others {
        let minute = counts.entry(*number).or_default();
        minute.accepted += other.accepted;
        for (own, other) in [(&mut minute.refused, &other.refused), (&mut minute.synced, &other.synced)] {
            for (word, count) in other {
                *own.entry(word.clone()).or_default() += count;
            }
        }
    }
}

impl Queue {
    /// Counts one thing that happened now.
    pub fn note(&self, counted: Counted) {
        self.0.activity.count(counted, self.0.clock.wall());
    }

    /// Stores what was counted since the last time.
    ///
    /// # Errors
    /// The store failed; the counts are kept for the next time.
    pub async fn flush_activity(&self) -> Result<(), QueueError> {
        let counted = self.0.activity.take();
        if counted.is_empty() {
            return Ok(());
        }
        let hours: BTreeSet<i64> = counted.keys().map(|number| number.div_euclid(60)).collect();
        let look = hours.iter().fold(Look::default(), |look, hour| look.with(&name_of(*hour)));
        let minutes = counted.clone();
        let stored = self.transact(look, move |seen| {
            let change = hours.iter().fold(Change::default(), |change, hour| {
                let name = name_of(*hour);
                let before: BTreeMap<i64, Minute> = seen.document(&name);
                let mut after = before.clone();
                add(&mut after, minutes.range(hour * 60..(hour + 1) * 60));
                change.document(&name, &before, &after)
            });
            (change, ())
        });
        stored.await.inspect_err(|_| self.0.activity.give_back(counted))
    }

    /// How many syncs came to what, for every minute since the one of `since`, in order.
    ///
    /// # Errors
    /// The store could not be read.
    pub async fn counts_since(&self, since: Millis) -> Result<Vec<MinuteCount>, QueueError> {
        let minutes = self.activity_since(since).await?.into_iter();
        let counts = minutes.flat_map(|(minute, saw)| {
            saw.synced.into_iter().map(move |(outcome, count)| MinuteCount { minute, outcome, count })
        });
        Ok(counts.collect())
    }

    /// What each minute saw since the one of `since`, in order; minutes without anything are left out. What this process
    /// has not stored yet is among it.
    ///
    /// # Errors
    /// The store could not be read.
    pub async fn activity_since(&self, since: Millis) -> Result<Vec<(Millis, Minute)>, QueueError> {
        let (first_hour, first) = (since.0.div_euclid(HOUR_MS), since.0.div_euclid(MINUTE_MS));
        let mut all = self.0.activity.snapshot();
        for (name, text) in self.documents(ACTIVITY).await? {
            if Activity::hour_of(&name).is_some_and(|hour| hour >= first_hour) {
                let hour: BTreeMap<i64, Minute> = documents::read(Some(&text));
                add(&mut all, &hour);
            }
        }
        let since_then = all.into_iter().filter(|(number, _)| *number >= first);
        Ok(since_then.map(|(number, minute)| (Millis(number.saturating_mul(MINUTE_MS)), minute)).collect())
    }
}

/// How many syncs of one minute came to one outcome.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct MinuteCount {
    /// When the minute began.
    pub minute: Millis,
    /// As in the log.
    pub outcome: String,
    /// How many.
    pub count: u64,
}

fn name_of(hour: i64) -> String {
    format!("{ACTIVITY}{hour:010}")
}
