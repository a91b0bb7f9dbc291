//! The event writer: keeps all events that wait by one statement, on a connection of its own, so that an event waits for
//! nothing but other events.

use std::mem;
use std::time::Duration;

use sqlx::Connection;
use sqlx::postgres::{PgConnectOptions, PgPool};
use tokio::sync::{mpsc, oneshot, watch};
use tokio::time::{Instant, sleep, sleep_until, timeout};
use tokio_util::sync::CancellationToken;

use super::Tuning;
use super::connection::Reconnecting;
use super::fault::{Fault, Tries};
use super::listener::Replicas;
use crate::clock::{Clock, Millis};
use crate::queue::QueueError;
use crate::queue::accepting::Accepting;
use crate::queue::store::{Push, coalesced};

/// The most events that are kept together.
const BATCH: usize = 1_024;
/// The most events that may wait; beyond it, senders wait for room.
const WAITING: usize = 4_096;
/// The most locked rows that are waited for, one after the other. More of them are the whole table, or might as well be, and
/// nobody can wait for each.
const MOST_LOCKED: u32 = 2;
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
    accepting: Accepting,
    closing: CancellationToken,
    closed: watch::Receiver<()>,
}

/// An event that waits to be kept.
#[derive(Debug)]
struct Waiting {
    push: Push,
    answer: oneshot::Sender<Result<(), QueueError>>,
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
        self.is_open().is_ok() && self.accepting.get()
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
    let (accepting, closing) = (Accepting::default(), CancellationToken::new());
    let writer = EventWriter {
        events,
        accepting: accepting.clone(),
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
    accepting: Accepting,
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
            let refuses = !self.accepting.get();
            tokio::select! {
                biased;
                // What was sent before is still kept.
                () = self.closing.cancelled(), if !self.events.is_closed() => self.events.close(),
                // Without it, no worker would be woken.
                () = self.replicas.ended(), if !self.events.is_closed() => {
                    tracing::error!("a task of the queue has ended by itself; the queue closes");
                    self.closing.cancel();
                }
                () = sleep_until(probe_at), if refuses => self.probe().await,
                taken = self.events.recv_many(&mut batch, BATCH) => {
                    if taken == 0 {
                        break;
                    }
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
        let together = self.write(&events).await;
        if !together.as_ref().is_err_and(Fault::may_be_one_rows) {
            return self.answer(events, together);
        }
        events.sort_by(|a, b| a.push.user.cmp(&b.push.user)); // stable: a user's last event stays the last
        let mut locked = 0;
        while let Some(first) = events.first() {
            let others = events.partition_point(|event| event.push.user <= first.push.user);
            let later = events.split_off(others);
            let of_one_user = mem::replace(&mut events, later);
            let alone = if locked < MOST_LOCKED {
                self.write(&of_one_user).await
            } else {
                Err(Fault::Refused("another session has locked too many rows, or the table".to_owned()))
            };
            locked += u32::from(matches!(alone, Err(Fault::Locked(_))));
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
            _ => {
                self.accepting.note(&kept);
            }
        }
        for event in events {
            // The sender may be gone, and what is kept stays kept.
            let _ = event.answer.send(kept.clone());
        }
    }

    /// An event that may have been kept, though its answer was lost, is written again: to be due twice is to be due.
    async fn write(&mut self, events: &[Waiting]) -> Result<(), Fault> {
        let events = coalesced(events.iter().map(|event| &event.push)).into_iter();
        let (users, counts, causes): (Vec<_>, Vec<_>, Vec<_>) = events.collect();
        let debounce = i64::try_from(self.debounce.as_millis()).unwrap_or(i64::MAX / 4);
        let mut tries = Tries::default();
        loop {
            let pushing = sqlx::query_scalar(PUSH)
                .bind(self.clock.given().map(|now| now.0))
                .bind(debounce)
                .bind(&users)
                .bind(&counts)
                .bind(&causes);
            match self.connection.run(async |connection| pushing.fetch_one(connection).await).await {
                Ok(due) => {
                    // The earliest time at which one of the users is due, leased ones aside.
                    let due: Option<i64> = due;
                    due.into_iter().for_each(|at| self.replicas.notifier.due_at(Millis(at)));
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
        self.accepting.note(&result);
    }
}

#[cfg(test)]
mod tests {
    use sqlx::postgres::PgPoolOptions;
    use tokio::time::timeout;

    use std::sync::Arc;

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
