//! The event writer: keeps all events that wait by one statement, on a connection of its own, so that an event waits for
//! nothing but other events.

use std::mem;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use sqlx::Connection;
use sqlx::postgres::{PgConnectOptions, PgConnection, PgPool};
use tokio::sync::{mpsc, oneshot, watch};
use tokio::time::{Instant, sleep, sleep_until, timeout};
use tokio_util::sync::CancellationToken;

use super::Tuning;
use super::connection::Reconnecting;
use super::fault::{Fault, OneByOne, Tries};
use super::listener::Replicas;
use crate::clock::{Clock, Millis};
use crate::queue::QueueError;
use crate::queue::store::Push;

/// The most events that are kept together.
const BATCH: usize = 1_024;
/// So many events may wait; a sender of more waits before its event does.
const WAITING: usize = 4_096;
/// How long a store that closes waits for the transactions under way.
const CLOSING: Duration = Duration::from_secs(3);

/// Events, one row per user, each in the first lane ([`Row::pushed`](crate::queue::Row::pushed) is the rule). The `due_at`
/// of a leased row is the end of its lease, and stays. Where a user of the first lane is leased or due soon enough, `due_at`
/// and `lane` stay as they are, and with them every index: the row is rewritten in its page.
///
/// `$1` is the time of a clock that is moved by hand, else null. The users come sorted, and rows are locked in that order, so that two replicas never wait for each other.
pub(super) const PUSH: &str = "
    WITH kept AS (
        INSERT INTO users AS u (user_id, generation, cause, due_at)
        SELECT e.user_id, e.events, e.cause,
            coalesce($1::bigint, (extract(epoch FROM clock_timestamp()) * 1000)::bigint) + $2
        FROM unnest($3::text[], $4::bigint[], $5::text[]) AS e (user_id, events, cause)
        ON CONFLICT (user_id) DO UPDATE SET
            generation = u.generation + excluded.generation,
            cause = excluded.cause,
            due_at = CASE WHEN u.lease IS NULL THEN least(u.due_at, excluded.due_at) ELSE u.due_at END,
            lane = 0,
            attempts = CASE WHEN u.parked_at IS NULL THEN u.attempts ELSE 0 END,
            failing_since = CASE WHEN u.parked_at IS NULL THEN u.failing_since END,
            parked_at = NULL,
            answer = NULL
        RETURNING due_at, lease)
    SELECT min(due_at) FROM kept WHERE lease IS NULL";

/// Takes room on disk, and gives it back.
const PROBE: &str = "
    INSERT INTO documents (name, value) VALUES ('probe', repeat('x', 1000))
    ON CONFLICT (name) DO UPDATE SET value = excluded.value;
    DELETE FROM documents WHERE name = 'probe'";

/// The callers' end of the event writer.
#[derive(Debug)]
pub(super) struct Events {
    waiting: mpsc::Sender<Waiting>,
    accepting: Arc<AtomicBool>,
    closing: CancellationToken,
    closed: watch::Receiver<()>,
}

/// An event that waits to be kept.
#[derive(Debug)]
struct Waiting {
    push: Push,
    answer: oneshot::Sender<Result<(), QueueError>>,
}

/// What happened to one user: so many events, the last with that cause.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Event<'a> {
    user: &'a str,
    events: i64,
    cause: &'static str,
}

impl Events {
    /// Keeps `push`, together with all that wait.
    pub(super) async fn keep(&self, push: Push) -> Result<(), QueueError> {
        self.is_open()?;
        let (answer, answered) = oneshot::channel();
        self.waiting.send(Waiting { push, answer }).await.map_err(|_| QueueError::Closed)?;
        // The writer answers every event that it takes, unless it is gone.
        answered.await.unwrap_or(Err(QueueError::Closed))
    }

    /// Fails once the store closes.
    pub(super) fn is_open(&self) -> Result<(), QueueError> {
        if self.closing.is_cancelled() { Err(QueueError::Closed) } else { Ok(()) }
    }

    pub(super) fn accepting(&self) -> bool {
        self.is_open().is_ok() && self.accepting.load(Ordering::Relaxed)
    }

    /// Returns once everything is released.
    pub(super) async fn close(&self) {
        self.closing.cancel();
        // Nothing is ever sent: the writer drops its end when it is done.
        let _ = self.closed.clone().changed().await;
    }
}

/// Starts the event writer. It closes `pool` and drops `replicas` at its end.
pub(super) fn start(
    connect: PgConnectOptions,
    pool: PgPool,
    replicas: Replicas,
    debounce: Duration,
    clock: Clock,
    tuning: Tuning,
) -> Events {
    let (waiting, events) = mpsc::channel(WAITING);
    let (sender, closed) = watch::channel(());
    let (accepting, closing) = (Arc::new(AtomicBool::new(true)), CancellationToken::new());
    let writer = EventWriter {
        events,
        accepting: Arc::clone(&accepting),
        closing: closing.clone(),
        connection: Reconnecting::new(connect, tuning),
        replicas,
        pool,
        debounce,
        clock,
        tuning,
    };
    tokio::spawn(async move {
        writer.run().await;
        drop(sender);
    });
    Events { waiting, accepting, closing, closed }
}

struct EventWriter {
    events: mpsc::Receiver<Waiting>,
    accepting: Arc<AtomicBool>,
    closing: CancellationToken,
    connection: Reconnecting,
    replicas: Replicas,
    pool: PgPool,
    debounce: Duration,
    clock: Clock,
    tuning: Tuning,
}

impl EventWriter {
    /// Works until the store is closed or dropped.
    async fn run(mut self) {
        // However this ends, the store is closed: it would keep no more events.
        let _closes = self.closing.clone().drop_guard();
        let mut batch = Vec::new();
        let mut probe_at = Instant::now();
        loop {
            let refuses = !self.accepting.load(Ordering::Relaxed);
            tokio::select! {
                biased;
                // What was sent before is still kept.
                () = self.closing.cancelled(), if !self.events.is_closed() => self.events.close(),
                // To go on would be to wake nobody.
                () = self.replicas.ended(), if !self.events.is_closed() => {
                    tracing::error!("a task of the queue has ended by itself; the queue closes");
                    self.closing.cancel();
                }
                () = sleep_until(probe_at), if refuses => self.probe().await,
                taken = self.events.recv_many(&mut batch, BATCH) => {
                    if taken == 0 {
                        break;
                    }
                    batch.sort_by(|a, b| a.push.user.cmp(&b.push.user)); // stable: a user's last event stays the last
                    self.keep(mem::take(&mut batch)).await;
                }
                () = sleep(self.tuning.silence) => self.break_silence().await,
            }
            if !refuses || Instant::now() >= probe_at {
                probe_at = Instant::now() + self.tuning.probe_every;
            }
        }
        drop(self.replicas);
        // A server that does not answer has the goodbye all the same.
        let _ = timeout(CLOSING, self.pool.close()).await;
        self.connection.close().await;
    }

    /// Keeps all events by one statement; if that fails, each user's alone, so that none fails for another's fault.
    async fn keep(&mut self, mut events: Vec<Waiting>) {
        let together = self.write(&coalesced(&events)).await;
        if !together.as_ref().is_err_and(Fault::may_be_one_rows) {
            return self.answer(events, together);
        }
        let mut one_by_one = OneByOne::default();
        while let Some(first) = events.first() {
            let others = events.partition_point(|event| event.push.user <= first.push.user);
            let later = events.split_off(others);
            let of_one_user = mem::replace(&mut events, later);
            let alone = match one_by_one.may_try() {
                Ok(()) => self.write(&coalesced(&of_one_user)).await,
                Err(fault) => Err(fault),
            };
            one_by_one.count(&alone);
            self.answer(of_one_user, alone);
        }
    }

    fn answer(&mut self, events: Vec<Waiting>, kept: Result<(), Fault>) {
        let is_one_users = kept.as_ref().is_err_and(Fault::may_be_one_rows);
        let kept = kept.map_err(QueueError::from);
        match &kept {
            Err(error) if is_one_users => {
                tracing::error!(%error, "an event of one user cannot be kept and is refused");
            }
            _ => self.set_accepting(&kept),
        }
        for event in events {
            // The sender may be gone, and what is kept stays kept.
            let _ = event.answer.send(kept.clone());
        }
    }

    /// An event that may have been kept, though its answer was lost, is written again: to be due twice is to be due.
    async fn write(&mut self, events: &[Event<'_>]) -> Result<(), Fault> {
        let mut tries = Tries::default();
        loop {
            let (given, debounce) = (self.clock.given(), self.debounce);
            let pushing =
                self.connection.run(async |connection| push(connection, events, given, debounce).await);
            match pushing.await {
                Ok(due) => {
                    due.into_iter().for_each(|at| self.replicas.notifier.due_at(at));
                    return Ok(());
                }
                Err(fault) if tries.another(&fault) => {}
                Err(fault) => return Err(fault),
            }
        }
    }

    /// So that a dead connection is found and replaced before the next event needs it.
    async fn break_silence(&mut self) {
        let mut tries = Tries::default();
        // If no connection can be had, the next event finds out.
        while let Err(fault) = self.connection.run(async |connection| connection.ping().await).await {
            if !tries.another(&fault) {
                return;
            }
        }
    }

    async fn probe(&mut self) {
        let probing =
            self.connection.run(async |connection| sqlx::raw_sql(PROBE).execute(connection).await.map(drop));
        let result = probing.await.map_err(QueueError::from);
        self.set_accepting(&result);
    }

    fn set_accepting(&self, result: &Result<(), QueueError>) {
        let before = self.accepting.swap(result.is_ok(), Ordering::Relaxed);
        match result {
            Err(error) if before => {
                tracing::error!(%error, "events cannot be kept and are refused; trying again every 2 s");
            }
            Ok(()) if !before => tracing::info!("events can be kept again"),
            _ => {}
        }
    }
}

/// One event per user, in the order of the users.
fn coalesced(sorted: &[Waiting]) -> Vec<Event<'_>> {
    sorted
        .chunk_by(|a, b| a.push.user == b.push.user)
        .filter_map(|of_one_user| {
            let last = &of_one_user.last()?.push;
            let events = i64::try_from(of_one_user.len()).unwrap_or(i64::MAX);
            Some(Event { user: last.user.as_str(), events, cause: last.cause })
        })
        .collect()
}

/// Keeps `events`, which name each user once and are sorted by user. Returns the earliest time at which one of the users who
/// are not leased is due.
async fn push(
    connection: &mut PgConnection,
    events: &[Event<'_>],
    given: Option<Millis>,
    debounce: Duration,
) -> sqlx::Result<Option<Millis>> {
    let users: Vec<&str> = events.iter().map(|event| event.user).collect();
    let counts: Vec<i64> = events.iter().map(|event| event.events).collect();
    let causes: Vec<&str> = events.iter().map(|event| event.cause).collect();
    let due: Option<i64> = sqlx::query_scalar(PUSH)
        .bind(given.map(|now| now.0))
        .bind(i64::try_from(debounce.as_millis()).unwrap_or(i64::MAX / 4))
        .bind(users)
        .bind(counts)
        .bind(causes)
        .fetch_one(connection)
        .await?;
    Ok(due.map(Millis))
}

#[cfg(test)]
mod tests {
    use sqlx::postgres::PgPoolOptions;
    use tokio::time::timeout;

    use super::*;
    use crate::queue::postgres::listener;

    #[tokio::test]
    async fn a_store_whose_task_has_ended_closes() {
        for task in 0..2 {
            let nowhere = PgConnectOptions::new_without_pgpass().host("127.0.0.1").port(9);
            let tuning = Tuning { connect: Duration::from_millis(50), ..Tuning::default() };
            let pool =
                PgPoolOptions::new().acquire_timeout(tuning.connect).connect_lazy_with(nowhere.clone());
            let clock = Clock::manual(Millis(1_000_000));
            let replicas =
                listener::start(&pool, "channel".to_owned(), Arc::default(), clock.clone(), tuning).await;
            let abort = replicas.abort_handles();
            let events = start(nowhere, pool.clone(), replicas, Duration::ZERO, clock, tuning);
            assert!(events.is_open().is_ok() && events.accepting());
            abort[task].abort();
            timeout(Duration::from_secs(30), events.closing.cancelled()).await.expect("it goes on");
            assert!(!events.accepting(), "task {task}");
            events.close().await;
            assert!(pool.is_closed());
        }
    }
}
