//! Holds: a request waits in the sandbox until a test lets it continue, so that a test needs no sleeping.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

use super::recorder::lock;
use super::target::{Route, Target};

/// The point at which a request is held.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Stage {
    /// It has arrived; nothing is done yet.
    Request,
    /// It is done; its answer is not sent yet.
    Answer,
}

/// Holds matching requests until it is released or dropped.
#[derive(Debug)]
#[must_use = "a hold that is dropped holds nothing"]
pub struct Hold(Arc<Barrier>);

#[derive(Debug)]
struct Barrier {
    route: Route,
    subject: Option<String>,
    stage: Stage,
    released: CancellationToken,
    arrivals: watch::Sender<usize>,
}

/// An event that a test waited for did not happen in time.
#[derive(Debug, thiserror::Error)]
#[error("waited {limit:?} in vain{what}")]
pub struct TimedOut {
    pub(super) limit: Duration,
    pub(super) what: String,
}

impl Hold {
    /// Waits until a request is held.
    pub async fn arrived(&self) {
        self.arrivals(1).await;
    }

    /// Waits until `count` requests have arrived since this hold was made.
    pub async fn arrivals(&self, count: usize) {
        // Fails only if the sender is dropped, and `self` owns it.
        let _ = self.0.arrivals.subscribe().wait_for(|arrived| *arrived >= count).await;
    }

    /// Waits until a request is held, but no longer than `limit`.
    ///
    /// # Errors
    /// [`TimedOut`] if no request arrived.
    pub async fn arrived_within(&self, limit: Duration) -> Result<(), TimedOut> {
        let what = || TimedOut { limit, what: format!(" for a request at {:?}", self.0.route) };
        tokio::time::timeout(limit, self.arrived()).await.map_err(|_| what())
    }

    /// Lets all requests continue, those that wait and those to come.
    pub fn release(&self) {
        self.0.released.cancel();
    }
}

impl Drop for Hold {
    fn drop(&mut self) {
        self.release();
    }
}

/// The holds of one API.
#[derive(Debug, Default)]
pub(super) struct Holds(Mutex<Vec<Arc<Barrier>>>);

impl Holds {
    pub(super) fn add(&self, route: Route, subject: Option<&str>, stage: Stage) -> Hold {
        let barrier = Arc::new(Barrier {
            route,
            subject: subject.map(str::to_owned),
            stage,
            released: CancellationToken::new(),
            arrivals: watch::Sender::new(0),
        });
        lock(&self.0).push(Arc::clone(&barrier));
        Hold(barrier)
    }

    /// Waits until no hold stops `target` at `stage`.
    pub(super) async fn pass(&self, stage: Stage, target: &Target) {
        let barriers: Vec<_> = {
            let mut all = lock(&self.0);
            all.retain(|barrier| !barrier.released.is_cancelled());
            let stops = |barrier: &&Arc<Barrier>| {
                barrier.stage == stage && target.matches(Some(barrier.route), barrier.subject.as_deref())
            };
            all.iter().filter(stops).cloned().collect()
        };
        for barrier in barriers {
            barrier.arrivals.send_modify(|count| *count += 1);
            barrier.released.cancelled().await;
        }
    }
}
