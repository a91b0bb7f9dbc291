//! What is done beside the writer, so that no event waits for it: the log is copied into the database shortly after a
//! write, and while events are refused, a small write tries again and again.

use std::io;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use rusqlite::Connection;
use tokio::sync::mpsc;

use super::Tuning;
use crate::queue::command::Command;

/// How long to wait for others before the log is emptied another time.
const BRIEFLY: Duration = Duration::from_millis(20);
/// In bytes. No load brings the log near this length; somebody who reads the file all the time does, for the log cannot
/// begin anew before its last reader has gone.
pub(super) const LONG_LOG: u64 = 64 * 1024 * 1024;

/// The writer's hold on the thread, which ends when this is dropped.
pub(super) struct Keeper {
    duties: Arc<Duties>,
    thread: Option<JoinHandle<()>>,
}

#[derive(Default)]
struct Duties {
    state: Mutex<State>,
    changed: Condvar,
}

#[derive(Clone, Copy, Default)]
struct State {
    written: bool,
    /// Somebody was erased: the log has to be emptied, which still has them.
    erased: bool,
    refusing: bool,
    stop: bool,
}

/// Starts the thread; it checkpoints on `connection` and sends its probes to `writer`.
pub(super) fn start(
    connection: Connection,
    writer: mpsc::WeakSender<Command>,
    tuning: Tuning,
) -> io::Result<Keeper> {
    let duties = Arc::new(Duties::default());
    let shared = Arc::clone(&duties);
    let thread = thread::Builder::new()
        .name("queue-keeper".to_owned())
        .spawn(move || run(&connection, &writer, &shared, tuning))?;
    Ok(Keeper { duties, thread: Some(thread) })
}

impl Keeper {
    /// Something was committed, and with it somebody erased where that `is_erasure`.
    pub(super) fn written(&self, is_erasure: bool) {
        self.change(|state| (state.written, state.erased) = (true, state.erased | is_erasure));
    }

    /// Whether events are being refused.
    pub(super) fn refusing(&self, refusing: bool) {
        self.change(|state| state.refusing = refusing);
    }

    /// Whether the thread has ended by itself, which it can do by a panic alone.
    pub(super) fn has_ended(&self) -> bool {
        self.thread.as_ref().is_some_and(JoinHandle::is_finished)
    }

    fn change(&self, change: impl FnOnce(&mut State)) {
        change(&mut self.duties.lock());
        self.duties.changed.notify_one();
    }
}

impl Drop for Keeper {
    fn drop(&mut self) {
        self.change(|state| state.stop = true);
        if let Some(thread) = self.thread.take() {
            // It can only have panicked, which the panic has told.
            let _ = thread.join();
        }
    }
}

impl Duties {
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

fn run(connection: &Connection, writer: &mpsc::WeakSender<Command>, duties: &Duties, tuning: Tuning) {
    let (mut probed, mut is_long): (Option<Instant>, _) = (None, false);
    while let Some(asked) = duties.next(tuning) {
        if asked.written {
            match checkpoint(connection) {
                Ok(Some(bytes)) => is_long = note_length(bytes, is_long, connection),
                Ok(None) => {}
                Err(error) => {
                    tracing::warn!(%error, "the queue's log could not be copied into the database; trying again \
                    with the next event")
                }
            }
        }
        if asked.erased && !empty_the_log(connection, tuning) {
            duties.lock().erased = true;
        }
        if asked.refusing && probed.is_none_or(|at| at.elapsed() >= tuning.probe_every) {
            probed = Some(Instant::now());
            if let Some(writer) = writer.upgrade() {
                // No room means that others' events wait, and they will tell as well.
                let _ = writer.try_send(Command::Probe);
            }
        }
    }
}

/// Whether the log is empty now. Not where somebody reads just now: writers would have to wait for them.
fn empty_the_log(connection: &Connection, tuning: Tuning) -> bool {
    let emptied = connection.busy_timeout(BRIEFLY).and_then(|()| {
        connection
            .query_row("PRAGMA wal_checkpoint(TRUNCATE)", (), |row| row.get::<_, bool>(0))
            .map(|busy| !busy)
    });
    // Whatever came of it: with the wait that all else needs.
    connection.busy_timeout(tuning.busy).and(emptied).unwrap_or(false)
}

/// Copies into the database what can be copied of the log; how many bytes of it are in use then. None where somebody else is
/// copying just now.
fn checkpoint(connection: &Connection) -> rusqlite::Result<Option<u64>> {
    // Passive: takes what it can without keeping anybody waiting; the rest is for the next time.
    let pages: i64 = connection.query_row("PRAGMA wal_checkpoint(PASSIVE)", (), |row| row.get(1))?;
    let page_size: i64 = connection.query_row("PRAGMA page_size", (), |row| row.get(0))?;
    Ok(u64::try_from(pages.saturating_mul(page_size)).ok()) // -1 pages where it could not begin
}

/// Logs that the log has become long, once until it is short again; whether it is long.
fn note_length(bytes: u64, was_long: bool, connection: &Connection) -> bool {
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
