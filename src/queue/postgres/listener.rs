//! Waking: a replica that makes a user due notifies the others, which then wake in time rather than at their next poll. A
//! lost notification costs at most the worker's poll.

use std::sync::Arc;
use std::time::Duration;

use sqlx::postgres::{PgListener, PgNotification, PgPool};
use tokio::sync::mpsc;
use tokio::time::sleep;
use tokio_util::task::AbortOnDropHandle;

use super::Tuning;
use super::fault::within;
use crate::clock::{Clock, Millis};
use crate::queue::wake::Wake;

/// The wait after listening failed.
const AFTER_FAULT: Duration = Duration::from_secs(2);
/// The wait between two notifications: each is a commit of its own.
const BETWEEN: Duration = Duration::from_millis(50);

/// Notifies the other replicas, some time soon.
#[derive(Debug, Clone)]
pub(super) struct Notifier(mpsc::UnboundedSender<Millis>);

impl Notifier {
    /// A row is due at `at`.
    pub(super) fn due_at(&self, at: Millis) {
        // The task that receives it ends only when the store closes.
        let _ = self.0.send(at);
    }
}

/// Both directions, until this is dropped.
pub(super) struct Replicas {
    pub(super) notifier: Notifier,
    listens: AbortOnDropHandle<()>,
    notifies: AbortOnDropHandle<()>,
}

/// Starts to listen and to notify on `channel`. If listening fails at first, it is tried again and again.
pub(super) async fn start(
    pool: &PgPool,
    channel: String,
    wake: Arc<Wake>,
    clock: Clock,
    tuning: Tuning,
) -> Replicas {
    let me: u64 = rand::random(); // marks this process's own notifications
    let (sender, times) = mpsc::unbounded_channel();
    let first = listener(pool, &channel).await;
    let listens = tokio::spawn(listen(first, pool.clone(), channel.clone(), me, wake));
    let notifies = tokio::spawn(notify(pool.clone(), channel, me, times, clock, tuning));
    Replicas {
        notifier: Notifier(sender),
        listens: AbortOnDropHandle::new(listens),
        notifies: AbortOnDropHandle::new(notifies),
    }
}

impl Replicas {
    #[cfg(test)]
    pub(super) fn abort_handles(&self) -> [tokio::task::AbortHandle; 2] {
        [self.listens.abort_handle(), self.notifies.abort_handle()]
    }

    /// Resolves when a direction has ended by itself, which only a panic can do.
    pub(super) async fn ended(&mut self) {
        tokio::select! {
            _ = &mut self.listens => {}
            _ = &mut self.notifies => {}
        }
    }
}

async fn listen(first: sqlx::Result<PgListener>, pool: PgPool, channel: String, me: u64, wake: Arc<Wake>) {
    let mut listening = first;
    loop {
        let error = match listening {
            Ok(listener) => receive(listener, me, &wake).await,
            Err(error) => error,
        };
        tracing::debug!(%error, "not listening to other replicas for a moment");
        sleep(AFTER_FAULT).await;
        listening = listener(&pool, &channel).await;
    }
}

async fn listener(pool: &PgPool, channel: &str) -> sqlx::Result<PgListener> {
    let mut listener = PgListener::connect_with(pool).await?;
    listener.listen(channel).await?;
    Ok(listener)
}

/// Receives until no connection can be had; returns why.
async fn receive(mut listener: PgListener, me: u64, wake: &Wake) -> sqlx::Error {
    loop {
        match listener.try_recv().await {
            Ok(Some(notification)) => {
                if let Some(at) = from_another(&notification, me) {
                    wake.due_at(at);
                }
            }
            Ok(None) => {} // a lost connection was replaced
            Err(error) => return error,
        }
    }
}

/// The due time, if another replica sent it.
fn from_another(notification: &PgNotification, me: u64) -> Option<Millis> {
    let (sender, at) = notification.payload().split_once(' ')?;
    let is_mine = sender.parse() == Ok(me);
    at.parse().ok().filter(|_| !is_mine).map(Millis)
}

/// Not a part of the transaction that made the user due: a NOTIFY serializes the commits of the whole server.
async fn notify(
    pool: PgPool,
    channel: String,
    me: u64,
    mut times: mpsc::UnboundedReceiver<Millis>,
    clock: Clock,
    tuning: Tuning,
) {
    let mut last_sent = None;
    while let Some(mut at) = times.recv().await {
        while let Ok(other) = times.try_recv() {
            at = at.min(other);
        }
        // The others wake at the time that was sent last, and find then what is due next.
        if last_sent.is_some_and(|sent| clock.now() < sent && sent <= at) {
            continue;
        }
        let sending = sqlx::query("SELECT pg_notify($1, $2)")
            .bind(&channel)
            .bind(format!("{me} {}", at.0))
            .execute(&pool);
        // A network that swallows everything would keep all later notifications waiting too.
        match within(tuning, sending).await {
            Ok(_) => last_sent = Some(at),
            Err(fault) => tracing::debug!(?fault, "the other replicas were not notified that a user is due"),
        }
        sleep(BETWEEN).await;
    }
}
