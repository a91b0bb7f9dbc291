//! The one who takes what is sent to the queue: keeps all events that wait by one statement, and hands the rest on to
//! the [`desk`](super::desk), which has a connection of its own, so that no event waits for a lease.

use std::mem;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use sqlx::Connection;
use tokio::sync::{mpsc, watch};
use tokio::task::JoinHandle;
use tokio::time::{Instant, sleep, sleep_until};
use tokio_util::sync::CancellationToken;

use super::Tuning;
use super::due::Due;
use super::fault::Fault;
use super::line::Line;
use super::statements::{self, Event};
use super::tries::{Alone, Tries, within};
use super::wake::Wake;
use crate::clock::Clock;
use crate::queue::command::{Command, Push};
use crate::queue::forgetting::ForgettingKey;
use crate::queue::{Options, QueueError};

/// The most commands that are taken at once.
const BATCH: usize = 1_024;

pub(super) struct Writer {
    pub(super) commands: mpsc::Receiver<Command>,
    pub(super) accepting: Arc<AtomicBool>,
    /// Set to true once everything is released.
    pub(super) closed: watch::Sender<bool>,
    pub(super) line: Line,
    pub(super) desk: mpsc::UnboundedSender<Command>,
    pub(super) desk_ended: JoinHandle<()>,
    /// Tells the desk to wait for nothing any more.
    pub(super) closing: CancellationToken,
    pub(super) due: Due,
    pub(super) wake: Wake,
    pub(super) key: ForgettingKey,
    pub(super) options: Options,
    pub(super) clock: Clock,
    pub(super) tuning: Tuning,
}

impl Writer {
    /// Works until the queue is closed or its last clone is gone.
    pub(super) async fn run(mut self) {
        let mut batch = Vec::with_capacity(BATCH);
        let mut probe_at = Instant::now();
        // They are looked at with each command; the scheduler sends one every second.
        while !self.has_a_part_ended() {
            let refuses = !self.accepting.load(Ordering::Relaxed);
            tokio::select! {
                biased;
                () = sleep_until(probe_at), if refuses => self.probe().await,
                taken = self.commands.recv_many(&mut batch, BATCH) => {
                    if taken == 0 {
                        break;
                    }
                    self.carry_out(&mut batch).await;
                }
                () = sleep(self.tuning.silence) => self.break_silence().await,
            }
            if !refuses || Instant::now() >= probe_at {
                probe_at = Instant::now() + self.tuning.probe_every;
            }
        }
        self.finish().await;
    }

    /// Whether a task of the queue has ended by itself. To go on without it would be to lease nobody, or to wake nobody.
    fn has_a_part_ended(&self) -> bool {
        let has_ended = self.desk_ended.is_finished() || self.wake.has_ended();
        if has_ended {
            tracing::error!("a task of the queue has ended by itself; the queue closes");
        }
        has_ended
    }

    async fn carry_out(&mut self, batch: &mut Vec<Command>) {
        let mut pushes = Vec::with_capacity(batch.len());
        for command in batch.drain(..) {
            match command {
                Command::Push(push) => pushes.push(push),
                Command::Close => {
                    self.commands.close(); // what has been sent is still received
                    self.closing.cancel();
                }
                // Where the desk is gone, the caller is told that the queue is closed.
                other => drop(self.desk.send(other)),
            }
        }
        if !pushes.is_empty() {
            pushes.sort_by(|a, b| a.user.cmp(&b.user)); // stable: of one user's events the last stays last
            self.keep(pushes).await;
        }
    }

    /// All events by one statement; where that fails each user's alone, so that none fails for another's fault.
    async fn keep(&mut self, mut pushes: Vec<Push>) {
        let together = self.write(&coalesced(&pushes)).await;
        if !together.as_ref().is_err_and(Fault::may_be_one_rows) {
            return self.answer(pushes, together);
        }
        let mut each = Alone::default();
        while let Some(first) = pushes.first() {
            let others = pushes.partition_point(|push| push.user <= first.user);
            let rest = pushes.split_off(others);
            let of_one_user = mem::replace(&mut pushes, rest);
            let alone = match each.may_try() {
                Ok(()) => self.write(&coalesced(&of_one_user)).await,
                Err(fault) => Err(fault),
            };
            each.came(&alone);
            self.answer(of_one_user, alone);
        }
    }

    fn answer(&mut self, pushes: Vec<Push>, kept: Result<(), Fault>) {
        let is_one_users = kept.as_ref().is_err_and(Fault::may_be_one_rows);
        let kept = kept.map_err(QueueError::from);
        match &kept {
            Err(error) if is_one_users => {
                tracing::error!(%error, "an event of one user cannot be kept and is refused");
            }
            _ => self.can_keep(&kept),
        }
        for push in pushes {
            push.answer.send(kept.clone());
        }
    }

    /// An event that may have been kept, though its answer was lost, is written again: to be due twice is to be due.
    async fn write(&mut self, events: &[Event<'_>]) -> Result<(), Fault> {
        let mut tries = Tries::default();
        loop {
            match self.write_once(events).await {
                Err(fault) if tries.another(&fault) => {}
                came => return came,
            }
        }
    }

    async fn write_once(&mut self, events: &[Event<'_>]) -> Result<(), Fault> {
        let given = self.clock.given();
        let came = match self.line.connection().await {
            Ok(connection) => {
                let push = statements::push(connection, events, &self.key, given, &self.options);
                within(self.tuning, push).await
            }
            Err(fault) => Err(fault),
        };
        if let Some(at) = self.line.after(came)? {
            let is_behind = self.due.is_behind(self.clock.now());
            if self.due.at(at) || is_behind {
                self.wake.tell(at);
            }
        }
        Ok(())
    }

    /// So that a connection that is not there any more is found out and replaced before the next event needs it.
    async fn break_silence(&mut self) {
        let mut tries = Tries::default();
        loop {
            let came = match self.line.connection().await {
                Ok(connection) => within(self.tuning, connection.ping()).await,
                Err(fault) => Err(fault),
            };
            match self.line.after(came) {
                Err(fault) if tries.another(&fault) => {}
                _ => return, // where there is none to be had, the next event finds it out
            }
        }
    }

    async fn probe(&mut self) {
        let came = match self.line.connection().await {
            Ok(connection) => within(self.tuning, statements::probe(connection)).await,
            Err(fault) => Err(fault),
        };
        let came = self.line.after(came).map_err(QueueError::from);
        self.can_keep(&came);
    }

    fn can_keep(&self, came: &Result<(), QueueError>) {
        let before = self.accepting.swap(came.is_ok(), Ordering::Relaxed);
        match came {
            Err(error) if before => {
                tracing::error!(%error, "events cannot be kept and are refused; trying again every 2 s");
            }
            Ok(()) if !before => tracing::info!("events can be kept again"),
            _ => {}
        }
    }

    async fn finish(self) {
        drop(self.desk);
        self.closing.cancel();
        if let Err(error) = self.desk_ended.await {
            tracing::error!(%error, "a part of the queue ended with a fault");
        }
        self.wake.close().await;
        self.line.close().await;
        self.closed.send_replace(true);
    }
}

/// One event per user, in the order of the users.
fn coalesced(sorted: &[Push]) -> Vec<Event<'_>> {
    let of_one_user = |pushes: &'_ [Push]| (pushes.len(), pushes.last().map(|push| push.event_type));
    sorted
        .chunk_by(|a, b| a.user == b.user)
        .filter_map(|pushes| {
            let (events, last) = of_one_user(pushes);
            let user = pushes.first()?.user.as_str();
            Some(Event { user, events: i64::try_from(events).unwrap_or(i64::MAX), event_type: last? })
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use sqlx::postgres::{PgConnectOptions, PgPoolOptions};
    use tokio::task::AbortHandle;
    use tokio::time::timeout;

    use super::*;
    use crate::clock::Millis;
    use crate::queue::NextDue;
    use crate::queue::command::Ends;
    use crate::queue::postgres::wake;
    use crate::queue::tests::OPTIONS;

    const PATIENCE: Duration = Duration::from_secs(30);

    /// A writer whose database is nowhere, the callers' end of its queue, and a handle on each of its tasks.
    async fn running() -> (JoinHandle<()>, Ends, [AbortHandle; 3]) {
        let nowhere = PgConnectOptions::new_without_pgpass().host("127.0.0.1").port(9);
        let tuning = Tuning { connect: Duration::from_millis(50), ..Tuning::default() };
        let pool = PgPoolOptions::new().acquire_timeout(tuning.connect).connect_lazy_with(nowhere.clone());
        let (ends, end) = Ends::new(NextDue::default());
        let due = Due::new(end.next_due);
        let wake = wake::start(pool, "channel".to_owned(), 1, due.clone(), tuning).await;
        let (desk, mut commands) = mpsc::unbounded_channel();
        let desk_ended = tokio::spawn(async move { while commands.recv().await.is_some() {} });
        let [listens, tells] = wake.abort_handles();
        let tasks = [desk_ended.abort_handle(), listens, tells];
        let writer = Writer {
            commands: end.commands,
            accepting: end.accepting,
            closed: end.closed,
            line: Line::new(nowhere, tuning),
            desk,
            desk_ended,
            closing: CancellationToken::new(),
            due,
            wake,
            key: ForgettingKey::new(&[7; 32]).unwrap(),
            options: OPTIONS,
            clock: Clock::manual(Millis(1_000_000)),
            tuning,
        };
        (tokio::spawn(writer.run()), ends, tasks)
    }

    #[tokio::test]
    async fn a_queue_whose_task_has_ended_closes_with_the_next_command() {
        for task in 0..3 {
            let (running, ends, tasks) = running().await;
            ends.send(Command::Probe).await.unwrap();
            tokio::task::yield_now().await;
            assert!(!running.is_finished() && !ends.is_closed());
            tasks[task].abort();
            while !tasks[task].is_finished() {
                tokio::task::yield_now().await;
            }
            ends.send(Command::Probe).await.unwrap();
            timeout(PATIENCE, running).await.expect("it goes on without a task").unwrap();
            assert!(ends.is_closed(), "task {task}");
        }
    }
}
