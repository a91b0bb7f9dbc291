//! The worker (to come).

use std::time::Duration;

/// Tells that the worker's loop turns. Clones share one pulse.
#[derive(Debug, Clone, Default)]
pub struct Heartbeat {}

impl Heartbeat {
    /// How long ago the loop last turned.
    pub fn age(&self) -> Duration {
        Duration::ZERO
    }
}
