//! Leases and their ends, on a connection of their own.
//!
//! The ends that wait are one statement; where that fails for a row's fault, each is tried alone. While the connection
//! is away, an end waits for it a while: a sync whose end is not kept is done again.

use std::collections::BTreeMap;
use std::time::Duration;

use rand::RngExt;
use rand::rngs::StdRng;
use sqlx::Connection;
use sqlx::postgres::PgConnection;
use tokio::sync::mpsc;
use tokio::time::sleep_until;
use tokio_util::sync::CancellationToken;

use super::Tuning;
use super::due::Due;
use super::fault::Fault;
use super::line::Line;
use super::settle::{self, End};
use super::statements::{self, Which};
use super::tries::{Tries, within};
use super::wake::Teller;
use crate::clock::{Clock, Millis};
use crate::queue::command::{Answer, Command};
use crate::queue::{Job, Options, QueueError, Settled, Settlement};
use crate::user::UserId;

/// The most commands that are taken at once.
const BATCH: usize = 1_024;
/// How long after the connection was lost the end of a lease waits for another.
const PATIENCE: Duration = Duration::from_secs(5);

pub(super) struct Desk {
    pub(super) commands: mpsc::UnboundedReceiver<Command>,
    pub(super) line: Line,
    pub(super) due: Due,
    pub(super) teller: Teller,
    pub(super) closing: CancellationToken,
    pub(super) names: StdRng,
    /// Leases whose commit was never answered: they may or may not be in the store.
    pub(super) doubtful: Vec<i64>,
    pub(super) options: Options,
    pub(super) clock: Clock,
    pub(super) tuning: Tuning,
}

/// The end of a lease that waits for its turn.
struct Waiting {
    job: Job,
    how: Settlement,
    answer: Answer<Settled>,
}

/// What one transaction found and leased.
struct Leased {
    jobs: Vec<Job>,
    now: Millis,
    next_due: Option<Millis>,
}

impl Desk {
    /// Works until the writer lets go of its end of the line.
    pub(super) async fn run(mut self) {
        let mut batch = Vec::with_capacity(BATCH);
        while self.commands.recv_many(&mut batch, BATCH).await > 0 {
            self.carry_out(&mut batch).await;
        }
        self.line.close().await;
    }

    async fn carry_out(&mut self, batch: &mut Vec<Command>) {
        let (mut ends, mut done, mut leases) = (Vec::new(), Vec::new(), Vec::new());
        for command in batch.drain(..) {
            match command {
                Command::Settle { job, how, answer } => ends.push(Waiting { job, how, answer }),
                Command::Lease { most, untried_first, answer } => leases.push((most, untried_first, answer)),
                Command::GiveBack { users, parked_with, due, answer } => {
                    let came = self.give_back(&users, parked_with.as_deref(), due).await;
                    done.push((Command::GiveBack { users, parked_with, due, answer }, came));
                }
                Command::Push(_) | Command::Probe | Command::Close => {}
            }
        }
        while !ends.is_empty() {
            let (turn, later) = one_each(ends);
            ends = later;
            done.extend(self.settle_all(turn).await);
        }
        if !done.is_empty() {
            self.look_ahead().await;
            done.into_iter().for_each(|(command, came)| command.reply(came));
        }
        for (most, untried_first, mut answer) in leases {
            let came = self.lease(most, untried_first).await;
            let came = came.map(|jobs| answer.hold(jobs)).map_err(QueueError::from);
            answer.send(came);
        }
    }

    /// Ends leases of different users: together, or where a row is at fault each alone.
    async fn settle_all(&mut self, turn: Vec<Waiting>) -> Vec<(Command, Result<(), QueueError>)> {
        let ends: Vec<End<'_>> = turn.iter().map(Waiting::end).collect();
        let settled: Vec<Result<Settled, Fault>> = match self.settle(&ends).await {
            Ok(settled) => settled.into_iter().map(Ok).collect(),
            Err(Fault::Row(_)) if ends.len() > 1 => {
                let mut each = Vec::with_capacity(ends.len());
                for end in &ends {
                    let alone = self.settle(std::slice::from_ref(end)).await;
                    each.push(alone.map(|settled| settled.first().copied().unwrap_or(Settled::LeaseLost)));
                }
                each
            }
            Err(fault) => vec![Err(fault); ends.len()],
        };
        turn.into_iter().zip(settled).map(|(waiting, settled)| waiting.answered(settled)).collect()
    }

    /// An end that may have been kept, though its answer was lost, is tried again: its lease is then not there any more,
    /// and nothing happens twice.
    async fn settle(&mut self, ends: &[End<'_>]) -> Result<Vec<Settled>, Fault> {
        let mut tries = Tries::default();
        loop {
            let fault = match self.settle_once(ends).await {
                Ok(settled) => return Ok(settled),
                Err(fault) => fault,
            };
            if tries.another(&fault) {
                continue;
            }
            let may_wait = self.line.away() < PATIENCE && !self.closing.is_cancelled();
            if !(matches!(fault, Fault::Lost(_)) && may_wait) {
                return Err(fault);
            }
            tokio::select! {
                () = sleep_until(self.line.not_before()) => {}
                () = self.closing.cancelled() => {}
            }
        }
    }

    async fn settle_once(&mut self, ends: &[End<'_>]) -> Result<Vec<Settled>, Fault> {
        let given = self.clock.given();
        let came = match self.line.connection().await {
            Ok(connection) => {
                within(self.tuning, settle::settle(connection, ends, given, &self.options)).await
            }
            Err(fault) => Err(fault),
        };
        self.line.after(came)
    }

    /// Not tried again after a lost connection: it may have been done, and an attempt must not be given back twice.
    async fn give_back(
        &mut self,
        users: &[UserId],
        parked_with: Option<&str>,
        due: Millis,
    ) -> Result<(), QueueError> {
        loop {
            let came = match self.line.connection().await {
                Ok(connection) => {
                    within(self.tuning, statements::give_back(connection, users, parked_with, due)).await
                }
                Err(fault) => Err(fault),
            };
            match self.line.after(came) {
                Err(Fault::Crossed(_)) => {} // undone as a whole
                came => return came.map_err(QueueError::from),
            }
        }
    }

    /// Asks the store what is due next, and tells the other replicas where that is sooner than what was known.
    async fn look_ahead(&mut self) {
        let asked = self.due.ask();
        let came = match self.line.connection().await {
            Ok(connection) => within(self.tuning, statements::next_due(connection)).await,
            Err(fault) => Err(fault),
        };
        // Where it fails, the next lease finds out.
        if let Ok(next_due) = self.line.after(came)
            && self.due.found(asked, next_due)
            && let Some(at) = next_due
        {
            self.teller.tell(at);
        }
    }

    async fn lease(&mut self, most: usize, untried_first: bool) -> Result<Vec<Job>, Fault> {
        let mut tries = Tries::default();
        loop {
            match self.lease_once(most, untried_first).await {
                Err(fault) if tries.another(&fault) => {}
                came => return came,
            }
        }
    }

    async fn lease_once(&mut self, most: usize, untried_first: bool) -> Result<Vec<Job>, Fault> {
        let names: Vec<i64> = (0..most).map(|_| self.names.random()).collect();
        let (asked, began) = (self.due.ask(), self.clock.now());
        let given = self.clock.given();
        let came = match self.line.connection().await {
            Ok(connection) => {
                let work = lease(connection, &names, untried_first, &self.doubtful, given, &self.options);
                within(self.tuning, work).await
            }
            Err(fault) => Err(fault),
        };
        match self.line.after(came) {
            Ok(leased) => {
                self.doubtful.clear();
                self.clock.keep_to(began, leased.now);
                self.due.found(asked, leased.next_due);
                Ok(leased.jobs)
            }
            Err(fault) => {
                if fault.ends_connection() {
                    self.doubtful.extend(names);
                }
                Err(fault)
            }
        }
    }
}

impl Waiting {
    fn end(&self) -> End<'_> {
        End { job: &self.job, how: &self.how }
    }

    fn answered(mut self, settled: Result<Settled, Fault>) -> (Command, Result<(), QueueError>) {
        let came = settled.map(|settled| self.answer.hold(settled)).map_err(QueueError::from);
        (Command::Settle { job: self.job, how: self.how, answer: self.answer }, came)
    }
}

/// One end for each user, sorted by user; and those that have to come after.
fn one_each(ends: Vec<Waiting>) -> (Vec<Waiting>, Vec<Waiting>) {
    let (mut turn, mut later) = (BTreeMap::new(), Vec::new());
    for end in ends {
        match turn.contains_key(&end.job.user) {
            true => later.push(end),
            false => drop(turn.insert(end.job.user.clone(), end)),
        }
    }
    (turn.into_values().collect(), later)
}

/// One transaction, as short as it can be: no sync runs within it.
async fn lease(
    connection: &mut PgConnection,
    names: &[i64],
    untried_first: bool,
    doubtful: &[i64],
    given: Option<Millis>,
    options: &Options,
) -> sqlx::Result<Leased> {
    let mut transaction = connection.begin().await?;
    let now = statements::now(&mut transaction, given).await?;
    if !doubtful.is_empty() {
        statements::undo_leases(&mut transaction, doubtful, now).await?;
    }
    let mut jobs = Vec::new();
    if untried_first {
        jobs = statements::lease(&mut transaction, Which::Untried, names, now, options).await?;
    }
    if jobs.is_empty() {
        jobs = statements::lease(&mut transaction, Which::Any, names, now, options).await?;
    }
    let next_due = statements::next_due(&mut transaction).await?;
    transaction.commit().await?;
    Ok(Leased { jobs, now, next_due })
}
