//! Gates: a request waits in the sandbox until a test lets it go on. With them a test needs no sleeping.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::watch;

use super::call::Route;
use super::desk::Place;

/// Where on its way a request is held.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Stage {
    /// It has come; nothing is done yet.
    Request,
    /// It is done; its answer is not sent yet.
    Answer,
}

/// Holds matching requests until [`Gate::release`], or until it is dropped.
#[derive(Debug)]
pub struct Gate(pub(super) Arc<Bar>);

#[derive(Debug)]
pub(super) struct Bar {
    route: Route,
    subject: Option<String>,
    stage: Stage,
    open: watch::Sender<bool>,
    arrivals: watch::Sender<usize>,
}

/// What was waited for did not happen in time.
#[derive(Debug, thiserror::Error)]
#[error("waited {limit:?} in vain{what}")]
pub struct TimedOut {
    pub(super) limit: Duration,
    pub(super) what: String,
}

impl Bar {
    pub(super) fn new(route: Route, subject: Option<String>, stage: Stage) -> Self {
        Self { route, subject, stage, open: watch::Sender::new(false), arrivals: watch::Sender::new(0) }
    }

    pub(super) fn is_open(&self) -> bool {
        *self.open.borrow()
    }

    pub(super) fn stops(&self, stage: Stage, place: &Place) -> bool {
        self.stage == stage
            && self.route == place.route
            && self.subject.as_deref().is_none_or(|subject| place.is_about(subject))
    }

    /// Waits here until the gate is open.
    pub(super) async fn pass(&self) {
        self.arrivals.send_modify(|count| *count += 1);
        // Only a dropped sender is an error, and `self` holds the sender.
        let _ = self.open.subscribe().wait_for(|open| *open).await;
    }
}

impl Gate {
    /// Waits until a request is held here.
    pub async fn arrived(&self) {
        self.arrivals(1).await;
    }

    /// Waits until `count` requests have come to this gate since it was made.
    pub async fn arrivals(&self, count: usize) {
        // Only a dropped sender is an error, and `self` holds the sender.
        let _ = self.0.arrivals.subscribe().wait_for(|arrived| *arrived >= count).await;
    }

    /// Waits until a request is held here, but no longer than `limit`.
    ///
    /// # Errors
    /// [`TimedOut`] where none came.
    pub async fn arrived_within(&self, limit: Duration) -> Result<(), TimedOut> {
        let what = || TimedOut { limit, what: format!(" for a request at {:?}", self.0.route) };
        tokio::time::timeout(limit, self.arrived()).await.map_err(|_| what())
    }

    /// Lets all that wait here, and all that come later, go on.
    pub fn release(&self) {
        self.0.open.send_replace(true);
    }
}

impl Drop for Gate {
    fn drop(&mut self) {
        self.release();
    }
}
