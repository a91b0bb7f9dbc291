//! What one sync shares with whoever runs it.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use crate::memory::{ContactKeys, Memory, Seen};
use crate::upstream::Attempt;

/// One sync's time and calls, and what is remembered of its user. Clones share all of it.
///
/// What a sync has seen of Mailmojo has to be kept however it ends, also where it is cut off in the middle. So every sighting
/// is noted here at once, and [`Context::learned`] has it when the sync itself is gone.
#[derive(Debug, Clone)]
pub struct Context {
    /// The time and the calls.
    pub attempt: Attempt,
    before: Arc<Memory>,
    memory: Arc<Mutex<Memory>>,
    expects_loss: bool,
    has_pass: bool,
    suspect: Arc<Mutex<Option<bool>>>,
}

impl Context {
    /// The context of one sync; `memory` is what the user's row remembers.
    #[must_use]
    pub fn new(attempt: Attempt, memory: Memory) -> Self {
        Self {
            attempt,
            before: Arc::new(memory.clone()),
            memory: Arc::new(Mutex::new(memory)),
            expects_loss: false,
            has_pass: false,
            suspect: Arc::default(),
        }
    }

    /// The same of a user whose tags were expected to go by now.
    #[must_use]
    pub fn expecting_loss(self, expects_loss: bool) -> Self {
        Self { expects_loss, ..self }
    }

    /// The same of a user whose change an operator has let through the removal guard.
    #[must_use]
    pub fn with_pass(self, has_pass: bool) -> Self {
        Self { has_pass, ..self }
    }

    pub(super) fn expects_loss(&self) -> bool {
        self.expects_loss
    }

    pub(super) fn has_pass(&self) -> bool {
        self.has_pass
    }

    /// Whether the sync was suspect; none where it has nothing to say, or did not come to a write. The removal guard counts it
    /// however the sync ends: a write that was not answered may have taken effect.
    #[must_use]
    pub fn suspect(&self) -> Option<bool> {
        *self.suspect.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Notes, before anything is written, whether the sync is suspect.
    pub(super) fn note_suspicion(&self, suspect: Option<bool>) {
        *self.suspect.lock().unwrap_or_else(PoisonError::into_inner) = suspect;
    }

    /// What was remembered before the sync.
    #[must_use]
    pub fn before(&self) -> &Memory {
        &self.before
    }

    /// What is remembered now: the same, and what the sync has seen so far.
    #[must_use]
    pub fn memory(&self) -> Memory {
        self.lock().clone()
    }

    /// What the row is to remember where the sync does not end well; none where it has seen nothing new.
    #[must_use]
    pub fn learned(&self) -> Option<Memory> {
        let memory = self.memory();
        (memory != *self.before).then_some(memory)
    }

    /// Notes that the contact of `address` is as `seen` makes it of what was known of it.
    pub(super) fn saw(&self, address: &str, keys: &ContactKeys, seen: impl FnOnce(Option<&Seen>) -> Seen) {
        self.note(keys, |memory| {
            let seen = seen(memory.contact_of(address, keys));
            memory.saw(address, seen, keys);
        });
    }

    /// Notes that the user's contact is the one of `address` from now on: our tags are there, and gone from the one before.
    pub(super) fn moved_to(&self, address: &str, keys: &ContactKeys) {
        self.note(keys, |memory| {
            memory.move_to(address, keys);
            memory.missing_since = None; // Sesamy has just said that the address is the user's
        });
    }

    /// Notes that the user had left under an earlier address. The contact of that address may be another one at the next try.
    pub(super) fn had_left(&self, keys: &ContactKeys) {
        self.note(keys, |memory| memory.has_left = true);
    }

    fn note(&self, keys: &ContactKeys, change: impl FnOnce(&mut Memory)) {
        let mut memory = self.lock();
        let mut now = std::mem::take(&mut *memory).at_list_of(keys);
        change(&mut now);
        *memory = now;
    }

    fn lock(&self) -> MutexGuard<'_, Memory> {
        // No code that holds the lock can leave the memory half changed.
        self.memory.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
