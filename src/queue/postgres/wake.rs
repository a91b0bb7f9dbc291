//! Waking: a replica that makes somebody due sooner than it knew of, or that has its hands full, tells the others, which
//! then look at once rather than at their next look by themselves. A word that is lost costs no more than that.

use std::time::Duration;

use sqlx::postgres::{PgListener, PgNotification, PgPool};
use tokio::sync::mpsc;
use tokio::time::{sleep, timeout};
use tokio_util::task::AbortOnDropHandle;

use super::Tuning;
use super::due::Due;
use super::tries::within;
use crate::clock::Millis;

/// The wait after the database could not be listened to.
const AFTER_FAULT: Duration = Duration::from_secs(2);
/// The wait between two words: a busy replica does not tell of each batch of events.
const BETWEEN_WORDS: Duration = Duration::from_millis(50);

/// Where words are sent.
#[derive(Debug, Clone)]
pub(super) struct Teller(mpsc::UnboundedSender<Millis>);

impl Teller {
    /// Tells the other replicas that a row is due at `at`, some time soon.
    pub(super) fn tell(&self, at: Millis) {
        // A teller that is gone means that the queue closes.
        let _ = self.0.send(at);
    }
}

/// Both directions, until this is dropped.
pub(super) struct Wake {
    pool: PgPool,
    pub(super) teller: Teller,
    tasks: [AbortOnDropHandle<()>; 2],
}

/// Begins to listen and to tell on `channel`; `me` marks the own words, which are not heard.
///
/// Where there is no listening at first, it is tried again and again.
pub(super) async fn start(pool: PgPool, channel: String, me: u64, due: Due, tuning: Tuning) -> Wake {
    let (sender, words) = mpsc::unbounded_channel();
    let first = listener(&pool, &channel).await;
    let listens = tokio::spawn(listen(first, pool.clone(), channel.clone(), me, due));
    let tells = tokio::spawn(tell(pool.clone(), channel, me, words, tuning));
    Wake { pool, teller: Teller(sender), tasks: [listens, tells].map(AbortOnDropHandle::new) }
}

impl Wake {
    pub(super) fn tell(&self, at: Millis) {
        self.teller.tell(at);
    }

    /// Whether a direction has ended by itself, which it can do by a panic alone.
    pub(super) fn has_ended(&self) -> bool {
        self.tasks.iter().any(AbortOnDropHandle::is_finished)
    }

    #[cfg(test)]
    pub(super) fn abort_handles(&self) -> [tokio::task::AbortHandle; 2] {
        self.tasks.each_ref().map(|task| task.abort_handle())
    }

    pub(super) async fn close(self) {
        drop(self.tasks);
        // A server that does not answer has been told all the same.
        let _ = timeout(Duration::from_secs(1), self.pool.close()).await;
    }
}

async fn listen(first: sqlx::Result<PgListener>, pool: PgPool, channel: String, me: u64, due: Due) {
    let mut listening = first;
    loop {
        let ended = match listening {
            Ok(listener) => hear(listener, me, &due).await,
            Err(error) => error,
        };
        tracing::debug!(error = %ended, "not listening to other replicas for a moment");
        sleep(AFTER_FAULT).await;
        listening = listener(&pool, &channel).await;
    }
}

async fn listener(pool: &PgPool, channel: &str) -> sqlx::Result<PgListener> {
    let mut listener = PgListener::connect_with(pool).await?;
    listener.listen(channel).await?;
    Ok(listener)
}

/// Hears until there is no connection to be had; why not.
async fn hear(mut listener: PgListener, me: u64, due: &Due) -> sqlx::Error {
    loop {
        match listener.try_recv().await {
            Ok(Some(word)) => {
                if let Some(at) = anothers(&word, me) {
                    due.at(at);
                }
            }
            Ok(None) => {} // a lost connection was made anew
            Err(error) => return error,
        }
    }
}

/// When somebody is due whom another replica has told of.
fn anothers(word: &PgNotification, me: u64) -> Option<Millis> {
    let (sender, at) = word.payload().split_once(' ')?;
    let is_mine = sender.parse() == Ok(me);
    at.parse().ok().filter(|_| !is_mine).map(Millis)
}

async fn tell(
    pool: PgPool,
    channel: String,
    me: u64,
    mut words: mpsc::UnboundedReceiver<Millis>,
    tuning: Tuning,
) {
    while let Some(mut at) = words.recv().await {
        while let Ok(other) = words.try_recv() {
            at = at.min(other);
        }
        let told = sqlx::query("SELECT pg_notify($1, $2)")
            .bind(&channel)
            .bind(format!("{me} {}", at.0))
            .execute(&pool);
        // A network that swallows everything would keep all that is to be told waiting with it.
        if let Err(fault) = within(tuning, told).await {
            tracing::debug!(
                ?fault,
                "the other replicas were not told that somebody is due; they look by themselves"
            );
        }
        sleep(BETWEEN_WORDS).await;
    }
}
