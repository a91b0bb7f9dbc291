//! Wakes the worker when a row becomes due sooner than the worker means to look.

use std::sync::atomic::{AtomicI64, Ordering};

use tokio::sync::Notify;

use crate::clock::Millis;

/// A `Notify` that burst after burst of events does not trigger: events come faster than a worker can look, and their rows are
/// due only after the debounce.
#[derive(Debug)]
pub(super) struct Wake {
    notify: Notify,
    /// The earliest due time that the worker knows of; it sleeps no longer.
    known: AtomicI64,
}

impl Default for Wake {
    fn default() -> Self {
        Self { notify: Notify::new(), known: AtomicI64::new(i64::MAX) }
    }
}

impl Wake {
    /// A row is due at `at`.
    pub(super) fn due_at(&self, at: Millis) {
        if self.known.fetch_min(at.0, Ordering::SeqCst) > at.0 {
            self.notify.notify_one();
        }
    }

    /// The worker is about to look: whatever becomes due from now on wakes it.
    pub(super) fn looks(&self) {
        self.known.store(i64::MAX, Ordering::SeqCst);
    }

    /// Resolves when a row becomes due before `known`, the time until which the worker means to sleep.
    pub(super) async fn sooner_than(&self, known: Option<Millis>) {
        if let Some(known) = known {
            // A row that became due since the worker looked is earlier, or no reason to wake.
            self.known.fetch_min(known.0, Ordering::SeqCst);
        }
        self.notify.notified().await;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use futures_util::FutureExt;

    #[test]
    fn only_a_row_that_is_due_sooner_than_known_wakes() {
        let wake = Wake::default();
        wake.looks();
        assert!(wake.sooner_than(Some(Millis(100))).now_or_never().is_none());
        for at in [100, 101, 5_000] {
            wake.due_at(Millis(at));
        }
        assert!(wake.sooner_than(Some(Millis(100))).now_or_never().is_none());
        wake.due_at(Millis(99));
        assert!(wake.sooner_than(Some(Millis(100))).now_or_never().is_some());
    }

    #[test]
    fn a_row_that_becomes_due_between_look_and_sleep_is_not_missed() {
        let wake = Wake::default();
        wake.looks();
        wake.due_at(Millis(50));
        assert!(wake.sooner_than(Some(Millis(100))).now_or_never().is_some());
    }
}
