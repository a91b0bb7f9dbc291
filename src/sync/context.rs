//! What one sync shares with whoever runs it.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use super::policy::Removals;
use crate::model::{ContactKeys, LastSeen, SeenContact};
use crate::upstream::Attempt;

/// One sync's time and calls, and what is remembered of its user. Clones share all of it.
///
/// What a sync has seen of Mailmojo has to be kept however it ends, also where it is cut off in the middle. So every sighting
/// is noted here at once, and [`Context::learned`] has it when the sync itself is gone.
#[derive(Debug, Clone)]
pub struct Context {
    /// The time and the calls.
    pub attempt: Attempt,
    before: Arc<LastSeen>,
    last_seen: Arc<Mutex<LastSeen>>,
    /// What the removal guard has to say, as far as the user's row knows.
    pub(super) removals: Removals,
    suspect: Arc<Mutex<Option<bool>>>,
}

impl Context {
    /// The context of one sync; `last_seen` is what the user's row remembers.
    pub fn new(attempt: Attempt, last_seen: LastSeen) -> Self {
        Self {
            attempt,
            before: Arc::new(last_seen.clone()),
            last_seen: Arc::new(Mutex::new(last_seen)),
            removals: Removals::default(),
            suspect: Arc::default(),
        }
    }

    /// The same for a user whose tags were expected to go by now.
    #[must_use]
    pub fn expecting_loss(mut self, is_expected: bool) -> Self {
        self.removals.are_expected = is_expected;
        self
    }

    /// The same for a user whose change an operator has let through the removal guard.
    #[must_use]
    pub fn with_pass(mut self, has_pass: bool) -> Self {
        self.removals.have_a_pass = has_pass;
        self
    }

    /// Whether the sync was suspect; `None` if it has nothing to say, or did not come to a write. The removal guard counts it
    /// however the sync ends: a write that was not answered may have taken effect.
    pub fn suspect(&self) -> Option<bool> {
        *self.suspect.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Notes, before anything is written, whether the sync is suspect.
    pub(super) fn note_suspicion(&self, suspect: Option<bool>) {
        *self.suspect.lock().unwrap_or_else(PoisonError::into_inner) = suspect;
    }

    /// What was remembered before the sync.
    pub fn before(&self) -> &LastSeen {
        &self.before
    }

    /// What is remembered now: the same, and what the sync has seen so far.
    pub fn last_seen(&self) -> LastSeen {
        self.lock().clone()
    }

    /// What the row is to remember if the sync does not end well; `None` if it has seen nothing new.
    pub fn learned(&self) -> Option<LastSeen> {
        let last_seen = self.last_seen();
        (last_seen != *self.before).then_some(last_seen)
    }

    /// Notes that the contact of `address` is as `seen` makes it of what was known of it.
    pub(super) fn saw(
        &self,
        address: &str,
        keys: &ContactKeys,
        seen: impl FnOnce(Option<&SeenContact>) -> SeenContact,
    ) {
        self.note(keys, |last_seen| {
            let seen = seen(last_seen.contact_of(address, keys));
            last_seen.saw(address, seen, keys);
        });
    }

    /// Notes that the user's contact is the one of `address` from now on: our tags are there, and gone from the one before.
    pub(super) fn moved_to(&self, address: &str, keys: &ContactKeys) {
        self.note(keys, |last_seen| {
            last_seen.move_to(address, keys);
            last_seen.missing_since = None; // Sesamy has just said that the address is the user's
        });
    }

    /// Notes that the user had left under an earlier address. The contact of that address may be another one at the next try.
    pub(super) fn had_left(&self, keys: &ContactKeys) {
        self.note(keys, |last_seen| last_seen.has_left = true);
    }

    fn note(&self, keys: &ContactKeys, change: impl FnOnce(&mut LastSeen)) {
        let mut last_seen = self.lock();
        let mut now = std::mem::take(&mut *last_seen).at_list_of(keys);
        change(&mut now);
        *last_seen = now;
    }

    fn lock(&self) -> MutexGuard<'_, LastSeen> {
        // No code that holds the lock can leave it half changed.
        self.last_seen.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
