//! One sync, as the clients know it: its time limit, the calls it may make, what was answered, what it has written, and what
//! time the APIs say it is.

use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
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
    is_late: Arc<AtomicBool>,
    times: Arc<PerApi<Mutex<Option<Reading>>>>,
    answered: Arc<PerApi<AtomicBool>>,
}

/// What time an API said it was, and when it said so by our clock.
#[derive(Debug, Clone, Copy)]
struct Reading {
    time: Millis,
    read_at: Millis,
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
            is_late: Arc::default(),
            times: Arc::default(),
            answered: Arc::default(),
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

    /// What time it is by the clock of `api` itself: the `Date` of its latest answer in this attempt, and what has passed
    /// since. `None` where no answer had one.
    #[must_use]
    pub fn time_of(&self, api: Api) -> Option<Millis> {
        let reading = (*self.times.of(api).lock().unwrap_or_else(PoisonError::into_inner))?;
        Some(reading.time.plus(self.clock.now().since(reading.read_at)))
    }

    /// Notes that `api` has just said that it is `time`.
    pub(super) fn note_time(&self, api: Api, time: Millis) {
        let reading = Reading { time, read_at: self.clock.now() };
        *self.times.of(api).lock().unwrap_or_else(PoisonError::into_inner) = Some(reading);
    }

    /// The APIs that have answered a call.
    #[must_use]
    pub fn answered(&self) -> Vec<Api> {
        Api::ALL.into_iter().filter(|api| self.answered.of(*api).load(Ordering::SeqCst)).collect()
    }

    /// Notes that `api` has answered a call.
    pub(super) fn note_answer(&self, api: Api) {
        self.answered.of(api).store(true, Ordering::SeqCst);
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

    /// Whether a write was not answered in time. The sync is over, and only waits until the write is over, too.
    #[must_use]
    pub fn is_late(&self) -> bool {
        self.is_late.load(Ordering::SeqCst)
    }

    /// Marks that a write was not answered in time.
    pub(super) fn set_late(&self) {
        self.is_late.store(true, Ordering::SeqCst);
    }

    /// Marks that a write is under way, or has been answered.
    pub(super) fn set_writing(&self, writing: bool) {
        self.writing.store(writing, Ordering::SeqCst);
        self.has_written.fetch_or(writing, Ordering::SeqCst);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_latest_answer_says_what_time_it_is_at_an_api_and_the_time_since_is_added() {
        let clock = Clock::manual(Millis(1_000_000));
        let attempt = Attempt::within(Duration::from_secs(60), &clock);
        assert_eq!(attempt.time_of(Api::Sesamy), None);
        attempt.note_time(Api::Sesamy, Millis(5_000));
        attempt.note_time(Api::Mailmojo, Millis(70_000_000));
        clock.advance(Duration::from_secs(2));
        assert_eq!(attempt.time_of(Api::Sesamy), Some(Millis(7_000)));
        attempt.clone().note_time(Api::Sesamy, Millis(6_000));
        clock.advance(Duration::from_secs(1));
        assert_eq!(attempt.time_of(Api::Sesamy), Some(Millis(7_000)), "of the later answer");
        assert_eq!(attempt.time_of(Api::Mailmojo), Some(Millis(70_003_000)));
    }
}
