//! The cap on connections, and which connection has to make room for a new one.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Instant;

use tokio::sync::Notify;

/// All connections of one listener.
#[derive(Debug)]
pub(super) struct ConnectionLimit {
    cap: usize,
    open: Mutex<Open>,
    /// A connection has ended, can be closed now, or has begun a request after all.
    changed: Notify,
}

#[derive(Debug, Default)]
struct Open {
    connections: HashMap<u64, Arc<Connection>>,
    next_id: u64,
}

/// What is known of one connection. It has a lock of its own, so requests on different connections never wait for each
/// other.
#[derive(Debug)]
struct Connection {
    progress: Mutex<Progress>,
    must_close: Notify,
}

#[derive(Debug, Clone, Copy)]
struct Progress {
    phase: Phase,
    since: Instant,
    /// Whether it has to close, unless a request begins first.
    is_closing: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Phase {
    /// We wait for the head of a request.
    Head,
    /// We wait for a request's body.
    Body,
    /// A request has come whole and is being answered.
    Answer,
}

/// The right to one connection, returned when this is dropped.
#[derive(Debug)]
pub(super) struct Permit {
    limit: Arc<ConnectionLimit>,
    id: u64,
    connection: Arc<Connection>,
}

impl ConnectionLimit {
    pub fn new(cap: usize) -> Arc<Self> {
        Arc::new(Self { cap: cap.max(1), open: Mutex::default(), changed: Notify::new() })
    }

    /// A permit, as soon as there is one: at the cap, the connection that has let us wait longest has to close first.
    /// There may be one caller at a time.
    pub async fn admit(self: &Arc<Self>) -> Permit {
        loop {
            if let Some(permit) = self.try_admit() {
                return permit;
            }
            self.changed.notified().await; // also if that has happened since the attempt
        }
    }

    fn try_admit(self: &Arc<Self>) -> Option<Permit> {
        let mut open = lock(&self.open);
        if open.connections.len() >= self.cap {
            close_one(&open);
            return None;
        }
        let id = open.next_id;
        open.next_id += 1;
        let progress = Progress { phase: Phase::Head, since: Instant::now(), is_closing: false };
        let connection = Arc::new(Connection { progress: Mutex::new(progress), must_close: Notify::new() });
        open.connections.insert(id, Arc::clone(&connection));
        drop(open);
        Some(Permit { limit: Arc::clone(self), id, connection })
    }
}

/// Asks the connection that has let us wait longest to close, unless one is closing already. If all are being answered,
/// none is asked: the first to finish will signal it.
fn close_one(open: &Open) {
    let all = open.connections.values().map(|connection| (lock(&connection.progress), connection));
    let waiting = all.filter(|(progress, _)| progress.phase != Phase::Answer);
    // A closing connection comes first, and is then left as it is.
    let first = waiting.min_by_key(|(progress, _)| (!progress.is_closing, progress.since));
    if let Some((mut progress, connection)) = first
        && !progress.is_closing
    {
        progress.is_closing = true;
        connection.must_close.notify_one();
    }
}

impl Permit {
    /// A request's head has come, and its body too if it has none.
    pub fn request_begins(&self, has_body: bool) {
        self.enter(if has_body { Phase::Body } else { Phase::Answer });
    }

    /// The body has come whole. Means nothing once the request has been answered: then only the rest of its body has
    /// been dropped.
    pub fn body_ends(&self) {
        if self.progress().phase == Phase::Body {
            self.enter(Phase::Answer);
        }
    }

    /// The answer is ready.
    pub fn request_ends(&self) {
        self.enter(Phase::Head);
        self.limit.changed.notify_one();
    }

    fn enter(&self, phase: Phase) {
        let next = Progress { phase, since: Instant::now(), is_closing: false };
        let before = std::mem::replace(&mut *self.progress(), next);
        // It was asked to close but something came in time: it stays, and another one has to be asked.
        if before.is_closing {
            self.limit.changed.notify_one();
        }
    }

    /// Completes when the connection has to make room for another one.
    pub async fn must_close(&self) {
        while !self.progress().is_closing {
            self.connection.must_close.notified().await;
        }
    }

    /// Whether no request has begun.
    pub fn is_between_requests(&self) -> bool {
        self.progress().phase == Phase::Head
    }

    fn progress(&self) -> MutexGuard<'_, Progress> {
        lock(&self.connection.progress)
    }
}

impl Drop for Permit {
    fn drop(&mut self) {
        lock(&self.limit.open).connections.remove(&self.id);
        self.limit.changed.notify_one();
    }
}

/// Nothing behind these locks is ever half changed, so one that a panic has poisoned is as good as any.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
