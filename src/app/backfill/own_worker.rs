//! The worker of this process, for a queue that no service works on.

use std::time::{Duration, Instant};

use tokio::task::JoinHandle;

use crate::app::App;
use crate::queue::{Backlog, Filter, QueueError, State};
use crate::worker::{Heartbeat, Pause, Stop, Worker};

/// Longer than a service takes to find users whom another process has made due. If nobody is leased for so long, none runs.
const NOBODY_WORKS: Duration = Duration::from_secs(6);

#[derive(Debug)]
pub(super) struct OwnWorker {
    app: App,
    concurrency: usize,
    stop: Stop,
    running: Option<JoinHandle<()>>,
    /// Users done when the queue was last asked, and since when nobody has worked.
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

    /// Starts it if users are due, nothing holds them up, and for a while nobody has leased one. Should a service run after
    /// all, both work: a lease is given once, and the pace is shared.
    pub(super) async fn start_if_nobody_works(
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
        let leased = Filter { state: Some(State::Leased), limit: 1, ..Filter::default() };
        if !is_idle || !self.app.runner.queue.rows(&leased).await?.is_empty() {
            self.idle_since = None;
        } else if self.idle_since.get_or_insert_with(Instant::now).elapsed() >= NOBODY_WORKS {
            let App { runner, syncer, .. } = self.app.clone();
            let (heartbeat, pause) = (Heartbeat::default(), Pause::default());
            let worker = Worker { hand: runner, syncer, concurrency: self.concurrency, heartbeat, pause };
            self.running = Some(tokio::spawn(worker.run(self.stop.clone())));
        }
        Ok(())
    }

    /// Lets its syncs end, or cuts them off when `stop.running` says so; no lease is left.
    pub(super) async fn stop(self) {
        self.stop.leasing.cancel();
        if let Some(running) = self.running
            && let Err(error) = running.await
        {
            tracing::error!(%error, "the worker ended with a panic: a bug of this program; please report it");
        }
    }
}
