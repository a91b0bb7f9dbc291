//! The only thread that writes: it takes all commands that wait, does them in one transaction, and answers once that
//! is committed and synced. While it waits for the disk, the next batch gathers by itself.

use std::fs::File;
use std::io;
use std::slice;
use std::sync::atomic::Ordering;
use std::thread;

use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};
use rusqlite::{Connection, ErrorCode, Transaction, TransactionBehavior};

use super::keeper::Keeper;
use super::statements::Which;
use super::{apis, settle, statements};
use crate::clock::{Clock, Millis};
use crate::queue::apis::{Admitted, Apis};
use crate::queue::command::{Command, WriterEnd};
use crate::queue::{Leased, Options, QueueError, Settled};
use crate::upstream::PerApi;

/// The most commands in one transaction. Larger ones were not faster.
const BATCH: usize = 1_024;

pub(super) struct Writer {
    connection: Connection,
    end: WriterEnd,
    keeper: Keeper,
    hand: Hand,
}

/// What a statement needs beside the transaction.
struct Hand {
    options: Options,
    clock: Clock,
    names: StdRng,
}

/// Starts the thread. `lock` is let go when all else is closed.
pub(super) fn start(writer: Writer, lock: File) -> io::Result<()> {
    thread::Builder::new().name("queue-writer".to_owned()).spawn(move || writer.run(lock)).map(drop)
}

impl Writer {
    pub(super) fn new(
        connection: Connection,
        end: WriterEnd,
        keeper: Keeper,
        options: Options,
        clock: Clock,
        seed: u64,
    ) -> Self {
        let hand = Hand { options, clock, names: StdRng::seed_from_u64(seed) };
        Self { connection, end, keeper, hand }
    }

    fn run(mut self, lock: File) {
        let mut batch = Vec::with_capacity(BATCH);
        while self.end.commands.blocking_recv_many(&mut batch, BATCH) > 0 {
            if batch.iter().any(|command| matches!(command, Command::Close)) {
                self.end.commands.close(); // what has been sent is still received
            }
            self.carry_out(&mut batch);
        }
        self.finish(lock);
    }

    /// All commands in one transaction; where that fails each in its own, so that none fails for another's fault.
    fn carry_out(&mut self, batch: &mut Vec<Command>) {
        let together = self.commit(batch);
        let each_alone = together.as_ref().is_err_and(may_be_anothers_fault) && batch.len() > 1;
        let together = together.map_err(|error| store_error(&error));
        for mut command in batch.drain(..) {
            let committed = if each_alone {
                self.commit(slice::from_mut(&mut command)).map_err(|error| store_error(&error))
            } else {
                together.clone()
            };
            self.answer(command, committed);
        }
    }

    fn commit(&mut self, commands: &mut [Command]) -> rusqlite::Result<()> {
        let next_due = self.hand.commit(&mut self.connection, commands)?;
        self.end.next_due.send_if_modified(|known| std::mem::replace(known, next_due) != next_due);
        self.keeper.written();
        Ok(())
    }

    fn answer(&self, command: Command, committed: Result<(), QueueError>) {
        if command.keeps_events() {
            let before = self.end.accepting.swap(committed.is_ok(), Ordering::Relaxed);
            match &committed {
                Err(error) if before => {
                    tracing::error!(%error, "events cannot be kept and are refused; trying again every 2 s");
                }
                Ok(()) if !before => tracing::info!("events can be kept again"),
                _ => {}
            }
            if before != committed.is_ok() {
                self.keeper.refusing(before);
            }
        }
        command.reply(committed);
    }

    /// The log goes into the database, so that the one file is all there is.
    fn finish(self, lock: File) {
        let Self { connection, end, keeper, .. } = self;
        drop(keeper);
        if let Err(error) = connection.query_row("PRAGMA wal_checkpoint(TRUNCATE)", (), |_| Ok(())) {
            tracing::warn!(%error, "the queue's log stays beside the database until the next start");
        }
        drop(connection);
        drop(lock);
        end.closed.send_replace(true);
    }
}

impl Hand {
    /// Gives the next due time.
    fn commit(
        &mut self,
        connection: &mut Connection,
        commands: &mut [Command],
    ) -> rusqlite::Result<Option<Millis>> {
        let transaction = connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
        self.apply(&transaction, commands)?;
        let next_due = statements::next_due(&transaction)?;
        transaction.commit()?;
        Ok(next_due)
    }

    fn apply(&mut self, transaction: &Transaction<'_>, commands: &mut [Command]) -> rusqlite::Result<()> {
        let now = self.clock.now();
        let debounced = now.plus(self.options.debounce);
        let events = commands.iter().filter_map(|command| match command {
            Command::Push(push) => Some(push),
            _ => None,
        });
        statements::push(transaction, events.collect(), debounced)?;
        for command in commands {
            match command {
                Command::Lease { most, answer } => answer.hold(self.lease(transaction, *most, now)?),
                Command::Settle { job, how, answer } => {
                    let settled = settle::settle(transaction, job, how, now, debounced)?;
                    answer.hold(settled);
                    let touches_apis = job.is_probe || job.calls != PerApi::default();
                    // A lease that is not there any more gives nothing back: it may have been settled before.
                    if touches_apis && settled != Settled::LeaseLost {
                        apis::change(transaction, |apis| apis.settled(job, now, &self.options.rates))?;
                    }
                }
                Command::TakeCall { api, answer } => {
                    let take = |apis: &mut Apis| apis.take_call(*api, now, &self.options.rates);
                    answer.hold(apis::change(transaction, take)?.0);
                }
                Command::Rests { change, answer } => {
                    let tell = |apis: &mut Apis| {
                        if let Some((api, change)) = change {
                            apis.change(*api, change.clone());
                        }
                    };
                    answer.hold(apis::change(transaction, tell)?.1.rests());
                }
                Command::GiveBack { users, parked_with, due, .. } => {
                    statements::give_back(transaction, users, parked_with.as_deref(), *due)?;
                }
                Command::Probe => statements::probe(transaction)?,
                Command::Push(_) | Command::Close => {}
            }
        }
        Ok(())
    }

    /// Leases as many of `most` as both APIs allow.
    fn lease(&mut self, transaction: &Transaction<'_>, most: usize, now: Millis) -> rusqlite::Result<Leased> {
        let (rates, until) = (&self.options.rates, now.plus(self.options.lease));
        let before = apis::read(transaction)?;
        let mut after = before.clone();
        after.check(now, rates);
        let admitted = after.admit(most, now, rates);
        let mut names = || self.names.random();
        let mut jobs = match admitted {
            Admitted::NotBefore(_) => Vec::new(),
            Admitted::Users(most) => {
                statements::lease(transaction, Which::Any, most, now, until, &mut names)?
            }
            Admitted::Probe => {
                let most = most.min(1);
                let untried = statements::lease(transaction, Which::Untried, most, now, until, &mut names)?;
                if untried.is_empty() {
                    statements::lease(transaction, Which::Any, most, now, until, &mut names)?
                } else {
                    untried
                }
            }
        };
        after.leased(&mut jobs, now, until, rates);
        apis::write(transaction, &before, &after)?;
        Ok(Leased {
            not_before: after.not_before(admitted, &jobs, most, now, rates),
            jobs,
            rests: after.rests(),
        })
    }
}

/// A row that is refused or a disk that is full may fail one command and not the next. Somebody else's transaction
/// fails all alike, each after the whole wait for it.
fn may_be_anothers_fault(error: &rusqlite::Error) -> bool {
    error.sqlite_error_code() != Some(ErrorCode::DatabaseBusy)
}

pub(super) fn store_error(error: &rusqlite::Error) -> QueueError {
    QueueError::Store(error.to_string())
}
