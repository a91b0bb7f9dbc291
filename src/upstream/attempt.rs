//! The time limit of one sync, and whether it is in the middle of a write.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use tokio::time::Instant;

/// One sync's time limit, from which every call of it takes. Clones share it.
#[derive(Debug, Clone)]
pub struct Attempt {
    ends: Instant,
    writing: Arc<AtomicBool>,
}

impl Attempt {
    /// An attempt that has `limit` from now (`sync.deadline`).
    #[must_use]
    pub fn within(limit: Duration) -> Self {
        Self { ends: Instant::now() + limit, writing: Arc::default() }
    }

    /// When the time is up.
    #[must_use]
    pub fn ends(&self) -> Instant {
        self.ends
    }

    /// What is left of it.
    #[must_use]
    pub fn left(&self) -> Duration {
        self.ends.saturating_duration_since(Instant::now())
    }

    /// Whether a write has been sent and not been answered: it may still take effect if the sync is cut off now.
    #[must_use]
    pub fn is_writing(&self) -> bool {
        self.writing.load(Ordering::SeqCst)
    }

    /// Marks that a write is under way, or has been answered.
    pub(super) fn set_writing(&self, writing: bool) {
        self.writing.store(writing, Ordering::SeqCst);
    }
}
