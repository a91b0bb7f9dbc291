//! The removal guard: when a source breaks it answers 200 and an empty list, and everybody would lose what they paid for.
//!
//! The document remembers the last 50 different users who had something to lose, and whether their last sync was suspect.
//! If more than half are, the guard trips: no sync takes tags away until an operator releases it. What makes a sync suspect,
//! and what a tripped guard holds back, is [`crate::sync`]'s business.
//!
//! Pure. The document is saved with each settlement, so that restarts, replicas and commands share it: at most
//! [`MOST_SUSPECT`] users and those in flight have lost a tag by the time it trips.
//!
//! Promises, each a test of that name: `the_guard_trips_with_the_26th_suspect_of_the_last_50_users`,
//! `no_sequence_of_syncs_restarts_and_processes_passes_25_suspects_unnoticed`.

use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use super::documents::GUARD;
use super::store::{Change, Seen};
use crate::clock::Millis;
use crate::telemetry;

/// The number of different users in the window.
pub(super) const WINDOW: usize = 50;
/// It trips when more of them than this are suspect.
pub(super) const MOST_SUSPECT: usize = WINDOW / 2;

/// The document.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub(super) struct Guard {
    /// The last users, each once, the latest last.
    window: Vec<Sampled>,
    #[serde(flatten)]
    state: GuardState,
    #[serde(flatten)]
    unknown: Map<String, Value>,
}

/// A user in the window. No id: the document outlives a user who is to be forgotten.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
struct Sampled {
    /// The first digits of the keyed hash of the user's id.
    user: String,
    suspect: bool,
}

/// Whether the guard holds removals back, as a process last read it.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct GuardState {
    /// Since when no sync takes tags away, by the queue's clock.
    pub tripped_at: Option<Millis>,
    /// Until when an operator has switched the guard off, by the wall clock. It may be past.
    pub allowed_until: Option<Millis>,
    /// How many of the window were suspect when the guard tripped.
    pub suspects: usize,
    /// Counts the changes of the fields above, so that an older answer of the store replaces no newer one.
    revision: u64,
}

impl GuardState {
    /// Whether the guard holds removals back.
    pub fn is_tripped(&self) -> bool {
        self.tripped_at.is_some()
    }

    /// Until when the guard is off, as seen at `wall`. None: it is on.
    pub fn allowed_after(&self, wall: Millis) -> Option<Millis> {
        self.allowed_until.filter(|until| wall < *until)
    }
}

impl Seen {
    /// The guard.
    pub(super) fn guard(&self) -> Guard {
        self.document(GUARD)
    }
}

impl Change {
    /// Saves `guard` if it differs from what was `seen`.
    pub(super) fn guard(self, seen: &Seen, guard: &Guard) -> Self {
        self.document(GUARD, &seen.guard(), guard)
    }
}

impl Guard {
    /// This many hex digits of the keyed hash of a user's id stand for the user.
    pub(super) const HASH_DIGITS: usize = 16;

    pub(super) fn state(&self) -> GuardState {
        self.state
    }

    /// A sync has ended of a user with something to lose. `user` is a hash. A guard that has tripped or is off does not change,
    /// since a release starts the window anew.
    pub(super) fn note(mut self, user: &str, suspect: bool, now: Millis, wall: Millis) -> Self {
        if self.state.is_tripped() || self.state.allowed_after(wall).is_some() {
            return self;
        }
        self.window.retain(|sampled| sampled.user != user);
        self.window.push(Sampled { user: user.to_owned(), suspect });
        let surplus = self.window.len().saturating_sub(WINDOW);
        self.window.drain(..surplus);
        let suspects = self.window.iter().filter(|sampled| sampled.suspect).count();
        if suspects > MOST_SUSPECT {
            self.state.tripped_at = Some(now);
            self.state.suspects = suspects;
            self.state.revision = self.state.revision.saturating_add(1);
        }
        self
    }

    /// An operator releases the guard. With `allow`, it stays off for that long; without, an allowance that runs goes on.
    pub(super) fn released(self, allow: Option<Duration>, wall: Millis) -> Self {
        let allowed_until = match allow {
            Some(allow) => Some(wall.plus(allow)),
            None => self.state.allowed_until,
        };
        let revision = self.state.revision.saturating_add(1);
        let state = GuardState { tripped_at: None, suspects: 0, allowed_until, revision };
        Self { window: Vec::new(), state, ..self }
    }
}

/// The guard's state as this process last read it: a sync that is about to write sees it without asking the store.
#[derive(Debug, Default)]
pub(super) struct LastRead(Mutex<Option<GuardState>>);

impl LastRead {
    pub(super) fn get(&self) -> GuardState {
        self.lock().unwrap_or_default()
    }

    /// Takes over what the store has, and logs if the guard has tripped or was released since the last time.
    pub(super) fn set(&self, state: GuardState) {
        let before = {
            let mut last = self.lock();
            if last.is_some_and(|last| state.revision < last.revision) {
                return; // an older answer that came late
            }
            last.replace(state)
        };
        if before == Some(state) {
            return;
        }
        telemetry::tags_kept(state.is_tripped());
        telemetry::removals_allowed_until(state.allowed_until);
        let suspects = state.suspects;
        let has_tripped_before = before.map(|before| before.is_tripped());
        match (has_tripped_before, state.tripped_at) {
            (None, Some(since)) => tracing::warn!(
                %since,
                "tag removal is still stopped: the removal guard tripped before this process started. `queue list --state held` \
                 shows what is held back; `queue resume` lets it through"
            ),
            (Some(false), Some(since)) => tracing::error!(
                %since,
                suspects,
                "tag removal stopped: {suspects} of the last {WINDOW} users with tags to lose would have lost them, or are \
                 suddenly unknown to Sesamy. Check whether Sesamy still lists all contracts, entitlements and profiles. \
                 `queue list --state held` shows what is held back; `queue resume` lets it through"
            ),
            (Some(true), None) => {
                tracing::info!("tag removal resumed: an operator has released the removal guard")
            }
            _ => {}
        }
        let is_new = before.is_some_and(|before| before.allowed_until != state.allowed_until);
        if let Some(until) = state.allowed_until.filter(|_| is_new) {
            tracing::info!(%until, "the removal guard is off until then, by an operator's word");
        }
    }

    fn lock(&self) -> MutexGuard<'_, Option<GuardState>> {
        // No code that holds the lock can leave the state half changed.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const NOW: Millis = Millis(1_000_000);
    const HOUR: Duration = Duration::from_secs(3_600);

    fn noted(guard: Guard, users: impl IntoIterator<Item = usize>, suspect: bool) -> Guard {
        users.into_iter().fold(guard, |guard, user| guard.note(&user.to_string(), suspect, NOW, NOW))
    }

    #[test]
    fn the_guard_trips_with_the_26th_suspect_of_the_last_50_users() {
        let new = Guard::default;
        for (case, guard, is_tripped) in [
            ("25 suspects", noted(new(), 0..25, true), false),
            ("26 suspects", noted(new(), 0..26, true), true),
            ("26 syncs of 25 users", noted(new(), (0..25).chain([3]), true), false),
            (
                "sound users between",
                noted(noted(noted(new(), 0..20, true), 20..44, false), 44..50, true),
                true,
            ),
            (
                "suspects older than the last 50 users",
                noted(noted(noted(new(), 0..25, true), 25..50, false), [50], true),
                false,
            ),
            (
                "a suspect who is sound again",
                noted(noted(noted(new(), 0..25, true), [4], false), [25], true),
                false,
            ),
            ("any number of sound users", noted(new(), 0..500, false), false),
        ] {
            assert_eq!(guard.state().is_tripped(), is_tripped, "{case}");
            assert_eq!(guard.state().tripped_at.is_some(), is_tripped, "{case}");
        }
    }

    #[test]
    fn an_operator_releases_it_and_the_window_starts_anew() {
        let tripped = noted(Guard::default(), 0..26, true);
        assert_eq!((tripped.state().tripped_at, tripped.state().suspects), (Some(NOW), 26));
        assert_eq!(
            noted(tripped.clone(), 30..90, false),
            tripped,
            "a source that recovers does not release it"
        );
        let released = tripped.released(None, NOW);
        assert_eq!((released.state().tripped_at, released.window.len()), (None, 0));
        let again = noted(released, 0..25, true);
        assert!(!again.state().is_tripped());
        assert!(noted(again, [25], true).state().is_tripped());
    }

    #[test]
    fn while_removals_are_allowed_nothing_trips_it_and_afterwards_it_counts_from_nothing() {
        let off = noted(Guard::default(), 0..26, true).released(Some(HOUR), NOW);
        assert_eq!(off.state().allowed_after(NOW), Some(NOW.plus(HOUR)));
        let off = noted(off, 0..100, true);
        assert!(!off.state().is_tripped());
        let later = NOW.plus(HOUR);
        let on = (0..25).fold(off.clone(), |guard, user| guard.note(&user.to_string(), true, later, later));
        assert_eq!((on.state().is_tripped(), on.state().allowed_after(later)), (false, None));
        assert!(on.note("25", true, later, later).state().is_tripped());
        let resumed = off.clone().released(None, NOW);
        assert_eq!(
            resumed.state().allowed_after(NOW),
            Some(NOW.plus(HOUR)),
            "a plain release keeps the allowance"
        );
        assert_eq!(off.released(Some(Duration::ZERO), NOW).state().allowed_after(NOW), None, "zero ends it");
    }

    #[test]
    fn an_older_answer_replaces_no_newer_one_and_a_field_of_a_newer_version_stays() {
        let tripped = noted(Guard::default(), 0..26, true);
        let (before, after) = (tripped.state(), tripped.clone().released(None, NOW).state());
        let last = LastRead::default();
        last.set(before);
        last.set(after);
        last.set(before);
        assert_eq!(last.get(), after);

        let mut json = serde_json::to_value(&tripped).unwrap();
        json["later"] = serde_json::json!({"a": 1});
        let read: Guard = serde_json::from_value(json.clone()).unwrap();
        assert_eq!(serde_json::to_value(&read).unwrap(), json);
        assert_eq!(read.state(), before);
    }

    proptest! {
        /// Held against the plain meaning of the rule: of all syncs so far, the last one of each user counts, and of the
        /// users those 50 that were synced last.
        #[test]
        fn no_sequence_of_syncs_restarts_and_processes_passes_25_suspects_unnoticed(
            syncs in proptest::collection::vec((0_usize..120, prop::bool::weighted(0.6), any::<bool>()), 0..300),
        ) {
            let mut guard = Guard::default();
            let mut all: Vec<(usize, bool)> = Vec::new();
            for (user, suspect, restarts) in syncs {
                if restarts {
                    // Another process, or this one after a restart, reads what was saved.
                    guard = serde_json::from_str(&serde_json::to_string(&guard).unwrap()).unwrap();
                }
                guard = guard.note(&user.to_string(), suspect, NOW, NOW);
                all.push((user, suspect));
                let mut last: Vec<(usize, bool)> = Vec::new();
                for sync in all.iter().rev() {
                    if last.len() < WINDOW && last.iter().all(|(user, _)| *user != sync.0) {
                        last.push(*sync);
                    }
                }
                let suspects = last.iter().filter(|(_, suspect)| *suspect).count();
                prop_assert_eq!(guard.state().is_tripped(), suspects > MOST_SUSPECT);
                if guard.state().is_tripped() {
                    prop_assert_eq!(guard.state().suspects, MOST_SUSPECT + 1, "it trips with the first one too many");
                    break;
                }
            }
        }
    }
}
