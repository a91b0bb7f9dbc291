//! The worker of this process, for a queue without a service.

use std::time::{Duration, Instant};

use tokio::task::JoinHandle;

use crate::app::App;
use crate::queue::{Backlog, Filter, QueueError, RowState};
use crate::worker::{Heartbeat, Pause, Stop};

/// Longer than a service takes to find users whom another process has made due.
const NO_SERVICE_AFTER: Duration = Duration::from_secs(6);

#[derive(Debug)]
pub(super) struct OwnWorker {
    app: App,
    concurrency: usize,
    stop: Stop,
    running: Option<JoinHandle<()>>,
    /// Users done at the last check.
    done: u64,
    idle_since: Option<Instant>,
}

impl OwnWorker {
    pub(super) fn new(app: &App, concurrency: usize, stop: &Stop) -> Self {
        let stop = Stop { leasing: stop.leasing.child_token(), running: stop.running.child_token() };
        Self { app: app.clone(), concurrency, stop, running: None, done: 0, idle_since: None }
    }

    pub(super) fn is_running(&self) -> bool {
        self.running.is_some()
    }

    /// Starts if users are due, nothing holds them up, and no lease was seen for a while. If a service runs after all, both
    /// work: a lease is given once, and the pace is shared.
    pub(super) async fn start_if_idle(
        &mut self,
        backlog: &Backlog,
        done: u64,
        is_held_up: bool,
    ) -> Result<(), QueueError> {
        if self.is_running() {
            return Ok(());
        }
        let is_idle = !is_held_up && done == self.done && backlog.waiting + backlog.failing > 0;
        self.done = done;
        let leased = Filter { state: Some(RowState::Leased), limit: 1, ..Filter::default() };
        if !is_idle || !self.app.queue().rows(&leased).await?.is_empty() {
            self.idle_since = None;
        } else if self.idle_since.get_or_insert_with(Instant::now).elapsed() >= NO_SERVICE_AFTER {
            let worker = self.app.worker(self.concurrency, Heartbeat::default(), Pause::default());
            self.running = Some(tokio::spawn(worker.run(self.stop.clone())));
        }
        Ok(())
    }

    /// Lets its syncs end, or cuts them off when `stop.running` is cancelled; no lease is left.
    pub(super) async fn stop(self) {
        self.stop.leasing.cancel();
        if let Some(running) = self.running
            && let Err(error) = running.await
        {
            tracing::error!(%error, "the worker ended with a panic: a bug of this program; please report it");
        }
    }
}
