//! What each command comes to, inside one transaction.

use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};
use rusqlite::{Connection, Transaction, TransactionBehavior};

use super::errand::Errand;
use super::lease::Lessor;
use super::{apis, forget, settle, statements};
use crate::clock::{Clock, Millis};
use crate::queue::apis::Apis;
use crate::queue::command::Command;
use crate::queue::forgetting::ForgettingKey;
use crate::queue::{Entry, Job, NextDue, Options, Settled, Settlement};
use crate::upstream::PerApi;

/// The name of a lease, made of a random number: a command's is odd, a service's even. A service that starts ends the
/// leases of the service before, which its lock has shown to be gone; a command's sync may be under way.
fn lease_name(random: i64, is_command: bool) -> i64 {
    (random & !1) | i64::from(is_command)
}

/// What a statement needs beside the transaction.
pub(super) struct Hand {
    options: Options,
    clock: Clock,
    names: StdRng,
    /// Whether this is a command beside a service: its leases are told from a service's by their names ([`lease_name`]).
    is_command: bool,
    /// When this process started, until what the one before left behind is made ready.
    unready_since: Option<Millis>,
    /// Tells who was forgotten.
    forgetting: ForgettingKey,
    /// Whether somebody was erased since [`Hand::has_erased`] was asked.
    erased: bool,
}

impl Hand {
    pub(super) fn new(
        options: Options,
        clock: Clock,
        seed: u64,
        is_command: bool,
        unready_since: Option<Millis>,
        forgetting: ForgettingKey,
    ) -> Self {
        let names = StdRng::seed_from_u64(seed);
        Self { options, clock, names, is_command, unready_since, forgetting, erased: false }
    }

    /// Whether somebody was erased since this was asked last: the log still has what was.
    pub(super) fn has_erased(&mut self) -> bool {
        std::mem::take(&mut self.erased)
    }

    /// Does `commands` in one transaction; gives the next due times.
    pub(super) fn commit(
        &mut self,
        connection: &mut Connection,
        commands: &mut [Command],
    ) -> rusqlite::Result<NextDue> {
        self.within(connection, |hand, transaction, now| {
            hand.push(transaction, commands, now)?;
            commands.iter_mut().try_for_each(|command| hand.apply(transaction, command, now))
        })
    }

    /// Takes a step of `errand` in a transaction of its own; gives the next due times. None where it needs no transaction.
    pub(super) fn step(
        &mut self,
        connection: &mut Connection,
        errand: &mut Errand,
    ) -> rusqlite::Result<Option<NextDue>> {
        if !errand.prepare(connection, self.clock.now(), self.clock.wall(), &self.options)? {
            return Ok(None);
        }
        self.within(connection, |hand, transaction, now| errand.step(transaction, now, hand.clock.wall()))
            .map(Some)
    }

    fn within(
        &mut self,
        connection: &mut Connection,
        work: impl FnOnce(&mut Self, &Transaction<'_>, Millis) -> rusqlite::Result<()>,
    ) -> rusqlite::Result<NextDue> {
        let transaction = connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
        if let Some(started) = self.unready_since {
            statements::start(&transaction, started, &self.options)?;
        }
        let now = self.clock.now();
        work(self, &transaction, now)?;
        let next_due = statements::next_due(&transaction)?;
        transaction.commit()?;
        self.unready_since = None;
        Ok(next_due)
    }

    /// All events first, however they came among the others.
    fn push(&self, transaction: &Transaction<'_>, commands: &[Command], now: Millis) -> rusqlite::Result<()> {
        let events = commands.iter().filter_map(|command| match command {
            Command::Push(push) => Some(push),
            _ => None,
        });
        statements::push(transaction, events.collect(), self.debounced(now), &self.forgetting)
    }

    fn debounced(&self, now: Millis) -> Millis {
        now.plus(self.options.debounce)
    }

    fn apply(
        &mut self,
        transaction: &Transaction<'_>,
        command: &mut Command,
        now: Millis,
    ) -> rusqlite::Result<()> {
        match command {
            // Events are kept already, and errands are taken apart.
            Command::Push(_) | Command::Close => {}
            Command::Retry { .. } | Command::Prune { .. } | Command::Tick { .. } => {}
            Command::Forget { job, answer } => answer.hold(self.forget(transaction, job, now)?),
            Command::Probe => statements::probe(transaction)?,
            Command::Lease { room, answer } => {
                answer.hold(self.leasing(transaction, now, |lessor| lessor.lease(*room))?);
            }
            Command::LeaseUser { request, answer } => {
                answer.hold(self.leasing(transaction, now, |lessor| lessor.lease_user(request))?);
            }
            Command::Settle { job, how, entry, answer } => {
                answer.hold(self.settle(transaction, job, how, entry.as_deref(), now)?);
            }
            Command::TakeCall { api, lane, answer } => {
                let take = |apis: &mut Apis| apis.take_call(*api, *lane, now, &self.options.rates);
                answer.hold(apis::change(transaction, take)?.0);
            }
            Command::Know { news, answer } => {
                let hear = |apis: &mut Apis| apis.hear(news, now);
                answer.hold(apis::change(transaction, hear)?.1.known());
            }
            Command::GiveBack { users, parked_with, due, .. } => {
                statements::give_back(transaction, users, parked_with.as_deref(), *due)?;
            }
            Command::Enqueue { users, cause, since, answer } => {
                let mut enqueue = transaction.prepare_cached(statements::ENQUEUE)?;
                let mut due = 0;
                for user in users {
                    due += enqueue.execute(rusqlite::params![user.as_str(), now.0, *cause, since.0])?;
                }
                answer.hold(due as u64);
            }
            Command::KeepProgress { progress, .. } => statements::keep_progress(transaction, progress)?,
        }
        Ok(())
    }

    fn leasing<T>(
        &mut self,
        transaction: &Transaction<'_>,
        now: Millis,
        lease: impl FnOnce(&mut Lessor<'_>) -> T,
    ) -> T {
        let Self { options, names, is_command, forgetting, .. } = self;
        let mut name = || lease_name(names.random(), *is_command);
        lease(&mut Lessor { transaction, options, forgetting, now, name: &mut name })
    }

    fn settle(
        &self,
        transaction: &Transaction<'_>,
        job: &Job,
        how: &Settlement,
        entry: Option<&Entry>,
        now: Millis,
    ) -> rusqlite::Result<Settled> {
        let settled = settle::settle(transaction, job, how, entry, now, self.debounced(now))?;
        // A lease that is not there any more gives nothing back: it may have been settled before.
        if settled != Settled::LeaseLost {
            self.give_calls_back(transaction, job, now)?;
        }
        Ok(settled)
    }

    fn forget(&mut self, transaction: &Transaction<'_>, job: &Job, now: Millis) -> rusqlite::Result<bool> {
        let is_forgotten = forget::forget(transaction, &self.forgetting, job, now)?;
        if is_forgotten {
            self.erased = true;
            self.give_calls_back(transaction, job, now)?;
        }
        Ok(is_forgotten)
    }

    fn give_calls_back(&self, transaction: &Transaction<'_>, job: &Job, now: Millis) -> rusqlite::Result<()> {
        if job.is_probe || job.calls != PerApi::default() {
            apis::change(transaction, |apis| apis.settled(job, now, &self.options.rates))?;
        }
        Ok(())
    }
}
