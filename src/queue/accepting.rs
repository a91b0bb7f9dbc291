//! Whether events can be kept.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use super::QueueError;

/// Whether the last event could be kept; shared by a store and what writes for it.
#[derive(Debug, Clone)]
pub(super) struct Accepting(Arc<AtomicBool>);

impl Default for Accepting {
    fn default() -> Self {
        Self(Arc::new(true.into()))
    }
}

impl Accepting {
    pub(super) fn get(&self) -> bool {
        self.0.load(Ordering::Relaxed)
    }

    /// No event can be kept from now on.
    pub(super) fn end(&self) {
        self.0.store(false, Ordering::Relaxed);
    }

    /// Takes the result of keeping an event, or of a small write that tries whether one could be kept. Logs a change, and
    /// returns whether there was one.
    pub(super) fn note(&self, kept: &Result<(), QueueError>) -> bool {
        let before = self.0.swap(kept.is_ok(), Ordering::Relaxed);
        match kept {
            Err(error) if before => {
                tracing::error!(%error, "events cannot be kept and are refused; trying again every 2 s");
            }
            Ok(()) if !before => tracing::info!("events can be kept again"),
            _ => {}
        }
        before != kept.is_ok()
    }
}
