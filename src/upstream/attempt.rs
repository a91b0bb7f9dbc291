//! One sync, as the clients know it: its time limit, the calls it may make, and what it has written.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::time::Duration;

use super::{Api, PerApi};
use crate::clock::{Clock, Millis};

/// One sync's time limit, from which every call of it takes, and its calls. Clones share both.
#[derive(Debug, Clone)]
pub struct Attempt {
    clock: Clock,
    ends: Millis,
    calls: Arc<PerApi<AtomicU32>>,
    writing: Arc<AtomicBool>,
    has_written: Arc<AtomicBool>,
}

impl Attempt {
    /// An attempt that has `limit` from now (`sync.deadline`), measured by the clock that leases end by: it is over in
    /// time also where the process was suspended meanwhile.
    #[must_use]
    pub fn within(limit: Duration, clock: &Clock) -> Self {
        Self {
            clock: clock.clone(),
            ends: clock.now().plus(limit),
            calls: Arc::default(),
            writing: Arc::default(),
            has_written: Arc::default(),
        }
    }

    /// The same, with so many calls that have been taken from the quotas already and wait for no turn.
    #[must_use]
    pub fn with_calls(self, calls: PerApi<u32>) -> Self {
        Self { calls: Arc::new(PerApi::each(|api| AtomicU32::new(*calls.of(api)))), ..self }
    }

    /// Takes one of the calls that it began with; false where none is left.
    pub(super) fn take_call(&self, api: Api) -> bool {
        let one_less = |left: u32| left.checked_sub(1);
        self.calls.of(api).fetch_update(Ordering::SeqCst, Ordering::SeqCst, one_less).is_ok()
    }

    /// The calls that it began with and has not made.
    #[must_use]
    pub fn calls_left(&self) -> PerApi<u32> {
        PerApi::each(|api| self.calls.of(api).load(Ordering::SeqCst))
    }

    /// What is left of its time.
    #[must_use]
    pub fn left(&self) -> Duration {
        self.ends.since(self.clock.now())
    }

    /// Whether a write has been sent and not been answered: it may still take effect if the sync is cut off now.
    #[must_use]
    pub fn is_writing(&self) -> bool {
        self.writing.load(Ordering::SeqCst)
    }

    /// Whether a write has been sent, whatever became of it.
    #[must_use]
    pub fn has_written(&self) -> bool {
        self.has_written.load(Ordering::SeqCst)
    }

    /// Marks that a write is under way, or has been answered.
    pub(super) fn set_writing(&self, writing: bool) {
        self.writing.store(writing, Ordering::SeqCst);
        self.has_written.fetch_or(writing, Ordering::SeqCst);
    }
}
