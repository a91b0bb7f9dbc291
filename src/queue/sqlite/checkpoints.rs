//! A thread beside the writer's, so that no event waits for what it does: it copies the log into the database shortly after a
//! write, and while events are refused, it calls for a small write every now and then.

use std::io;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use rusqlite::Connection;

use super::file::{LONG_LOG, Tuning};

/// How long to wait for readers before the next attempt to empty the log.
const BRIEFLY: Duration = Duration::from_millis(20);

/// The thread, which ends when this is dropped.
pub(super) struct Checkpoints {
    shared: Arc<Shared>,
    thread: Option<JoinHandle<()>>,
}

#[derive(Default)]
struct Shared {
    state: Mutex<State>,
    changed: Condvar,
}

#[derive(Clone, Copy, Default)]
struct State {
    written: bool,
    /// A user was erased, and is still in the log: it has to be emptied.
    erased: bool,
    refusing: bool,
    stop: bool,
}

/// Starts the thread. It checkpoints on `connection`, and calls `probe` while events are refused.
pub(super) fn start(
    connection: Connection,
    probe: impl Fn() + Send + 'static,
    tuning: Tuning,
) -> io::Result<Checkpoints> {
    let shared = Arc::new(Shared::default());
    let of_thread = Arc::clone(&shared);
    let thread = thread::Builder::new()
        .name("queue-log".to_owned())
        .spawn(move || run(&connection, &probe, &of_thread, tuning))?;
    Ok(Checkpoints { shared, thread: Some(thread) })
}

impl Checkpoints {
    /// Something was committed; `is_erasure`: it erased a user.
    pub(super) fn written(&self, is_erasure: bool) {
        self.change(|state| (state.written, state.erased) = (true, state.erased | is_erasure));
    }

    /// Whether events are being refused.
    pub(super) fn refusing(&self, refusing: bool) {
        self.change(|state| state.refusing = refusing);
    }

    /// Whether the thread has ended by itself, which only a panic can do.
    pub(super) fn has_ended(&self) -> bool {
        self.thread.as_ref().is_some_and(JoinHandle::is_finished)
    }

    fn change(&self, change: impl FnOnce(&mut State)) {
        change(&mut self.shared.lock());
        self.shared.changed.notify_one();
    }
}

impl Drop for Checkpoints {
    fn drop(&mut self) {
        self.change(|state| state.stop = true);
        if let Some(thread) = self.thread.take() {
            // It can only have panicked, which the panic has reported.
            let _ = thread.join();
        }
    }
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Waits until there is something to do and `tuning.checkpoint_after` has passed; none when it is time to stop.
    fn next(&self, tuning: Tuning) -> Option<State> {
        let idle = |state: &mut State| !(state.written || state.erased || state.refusing || state.stop);
        let state = self.changed.wait_while(self.lock(), idle).unwrap_or_else(PoisonError::into_inner);
        let waited = self.changed.wait_timeout_while(state, tuning.checkpoint_after, |state| !state.stop);
        let (mut state, _) = waited.unwrap_or_else(PoisonError::into_inner);
        let asked = *state;
        (state.written, state.erased) = (false, false);
        (!asked.stop).then_some(asked)
    }
}

fn run(connection: &Connection, probe: &impl Fn(), shared: &Shared, tuning: Tuning) {
    let (mut probed, mut is_long): (Option<Instant>, _) = (None, false);
    while let Some(asked) = shared.next(tuning) {
        if asked.written {
            match checkpoint(connection) {
                Ok(Some(bytes)) => is_long = log_length(bytes, is_long, connection),
                Ok(None) => {}
                Err(error) => {
                    tracing::warn!(%error, "the queue's log could not be copied into the database; trying again \
                        with the next event")
                }
            }
        }
        if asked.erased && !empty_the_log_briefly(connection, tuning) {
            shared.lock().erased = true;
        }
        if asked.refusing && probed.is_none_or(|at| at.elapsed() >= tuning.probe_every) {
            probed = Some(Instant::now());
            probe();
        }
    }
}

/// Copies the whole log into the database and empties it, which waits for readers as long as the connection may; whether
/// they let it.
pub(super) fn empty_the_log(connection: &Connection) -> rusqlite::Result<bool> {
    connection.query_row("PRAGMA wal_checkpoint(TRUNCATE)", (), |row| row.get::<_, bool>(0)).map(|busy| !busy)
}

/// As [`empty_the_log`]; false while there is a reader, for writers would have to wait as well.
fn empty_the_log_briefly(connection: &Connection, tuning: Tuning) -> bool {
    let emptied = connection.busy_timeout(BRIEFLY).and_then(|()| empty_the_log(connection));
    // Whatever came of it: with the wait that everything else needs.
    connection.busy_timeout(tuning.busy).and(emptied).unwrap_or(false)
}

/// Copies into the database what can be copied of the log. Returns how many bytes of the log are in use then; none if another
/// process is copying just now.
fn checkpoint(connection: &Connection) -> rusqlite::Result<Option<u64>> {
    // Passive: it copies what it can and blocks no other process; the remainder is for the next time.
    let pages: i64 = connection.query_row("PRAGMA wal_checkpoint(PASSIVE)", (), |row| row.get(1))?;
    let page_size: i64 = connection.query_row("PRAGMA page_size", (), |row| row.get(0))?;
    Ok(u64::try_from(pages.saturating_mul(page_size)).ok()) // -1 pages if it could not begin
}

/// Logs that the log has become long, once until it is short again; whether it is long.
fn log_length(bytes: u64, was_long: bool, connection: &Connection) -> bool {
    let is_long = bytes > LONG_LOG;
    let path = connection.path().unwrap_or_default();
    if is_long && !was_long {
        tracing::warn!(
            path,
            bytes,
            "the queue's write-ahead log has grown past 64 MB, and will fill the disk: another program \
            reads the queue's file without a pause, a backup or an open sqlite3 shell. End it; `fuser` with this path \
            lists the processes"
        );
    } else if was_long && !is_long {
        tracing::info!(path, bytes, "the queue's write-ahead log is short again");
    }
    is_long
}
