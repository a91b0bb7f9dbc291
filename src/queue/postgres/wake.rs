//! Waking: a replica that makes somebody due sooner than it knew of tells the others, which then look at once rather
//! than at their next look by themselves. A word that is lost costs no more than that.

use std::time::Duration;

use sqlx::postgres::{PgListener, PgNotification, PgPool};
use tokio::sync::mpsc;
use tokio::time::{sleep, timeout};
use tokio_util::task::AbortOnDropHandle;

use super::due::Due;
use crate::clock::Millis;

/// The wait after the database could not be listened to.
const AFTER_FAULT: Duration = Duration::from_secs(2);

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
pub(super) fn start(pool: PgPool, channel: String, me: u64, due: Due) -> Wake {
    let (sender, words) = mpsc::unbounded_channel();
    let listens = tokio::spawn(listen(pool.clone(), channel.clone(), me, due));
    let tells = tokio::spawn(tell(pool.clone(), channel, me, words));
    Wake { pool, teller: Teller(sender), tasks: [listens, tells].map(AbortOnDropHandle::new) }
}

impl Wake {
    pub(super) fn tell(&self, at: Millis) {
        self.teller.tell(at);
    }

    pub(super) async fn close(self) {
        drop(self.tasks);
        // A server that does not answer has been told all the same.
        let _ = timeout(Duration::from_secs(1), self.pool.close()).await;
    }
}

async fn listen(pool: PgPool, channel: String, me: u64, due: Due) {
    loop {
        let ended = listen_once(&pool, &channel, me, &due).await;
        tracing::debug!(error = ended.err().map(tracing::field::display), "not listening to other replicas for a moment");
        sleep(AFTER_FAULT).await;
    }
}

async fn listen_once(pool: &PgPool, channel: &str, me: u64, due: &Due) -> sqlx::Result<()> {
    let mut listener = PgListener::connect_with(pool).await?;
    listener.listen(channel).await?;
    loop {
        // None: a lost connection was made anew.
        if let Some(word) = listener.try_recv().await?
            && let Some(at) = anothers(&word, me)
        {
            due.at(at);
        }
    }
}

/// When somebody is due whom another replica has told of.
fn anothers(word: &PgNotification, me: u64) -> Option<Millis> {
    let (sender, at) = word.payload().split_once(' ')?;
    let is_mine = sender.parse() == Ok(me);
    at.parse().ok().filter(|_| !is_mine).map(Millis)
}

async fn tell(pool: PgPool, channel: String, me: u64, mut words: mpsc::UnboundedReceiver<Millis>) {
    while let Some(mut at) = words.recv().await {
        while let Ok(other) = words.try_recv() {
            at = at.min(other);
        }
        let told = sqlx::query("SELECT pg_notify($1, $2)")
            .bind(&channel)
            .bind(format!("{me} {}", at.0))
            .execute(&pool)
            .await;
        if let Err(error) = told {
            tracing::debug!(%error, "the other replicas were not told that somebody is due; they look by themselves");
        }
    }
}
