//! The pulse of the worker's loop, and since when syncs are paused.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::time::Instant;

use crate::clock::Millis;
use crate::telemetry;

/// The time of the last turn of the worker's loop. Clones share it.
#[derive(Debug, Clone)]
pub struct Heartbeat {
    started: Instant,
    last_ms: Arc<AtomicU64>,
}

impl Default for Heartbeat {
    fn default() -> Self {
        Self { started: Instant::now(), last_ms: Arc::default() }
    }
}

impl Heartbeat {
    /// The loop has turned.
    pub(super) fn beat(&self) {
        self.last_ms.store(self.now_ms(), Ordering::Relaxed);
    }

    /// How long ago the loop last turned; since the start, if it never has.
    pub fn age(&self) -> Duration {
        Duration::from_millis(self.now_ms().saturating_sub(self.last_ms.load(Ordering::Relaxed)))
    }

    fn now_ms(&self) -> u64 {
        u64::try_from(self.started.elapsed().as_millis()).unwrap_or(u64::MAX)
    }
}

/// Since when an operator has paused syncs, as the worker last read it. Clones share it.
#[derive(Debug, Clone, Default)]
pub struct Pause(Arc<Mutex<Option<Millis>>>);

impl Pause {
    /// Sets what the store has. A change is logged once.
    pub(super) fn set(&self, since: Option<Millis>) {
        let before = std::mem::replace(&mut *self.0.lock().unwrap_or_else(PoisonError::into_inner), since);
        if before.is_some() != since.is_some() {
            telemetry::queue_paused(since.is_some());
            match since {
                Some(since) => tracing::warn!(%since, "syncs are paused by an operator; events are kept"),
                None => tracing::info!("syncs go on"),
            }
        }
    }

    /// Since when. None: syncs go on.
    pub fn since(&self) -> Option<Millis> {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
