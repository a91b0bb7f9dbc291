//! Leases and their ends, on a connection of their own.
//!
//! The ends that wait are one statement; where that fails for a row's fault, each is tried alone. While the connection
//! is away, an end waits for it a while: a sync whose end is not kept is done again.

use std::collections::BTreeMap;
use std::time::Duration;

use rand::rngs::StdRng;
use tokio::sync::mpsc;
use tokio::time::sleep_until;
use tokio_util::sync::CancellationToken;

use super::Tuning;
use super::due::Due;
use super::errands::Errands;
use super::fault::Fault;
use super::lease;
use super::line::Line;
use super::settle::End;
use super::tries::{Alone, Tries, within};
use super::wake::Teller;
use super::{apis, statements};
use crate::clock::{Clock, Millis};
use crate::queue::apis::Apis;
use crate::queue::command::{Answer, Command, News};
use crate::queue::forgetting::ForgettingKey;
use crate::queue::{Entry, Job, Options, Progress, QueueError, Settled, Settlement};
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
    pub(super) errands: Errands,
    pub(super) names: StdRng,
    pub(super) key: ForgettingKey,
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
    entry: Option<Box<Entry>>,
    answer: Answer<Settled>,
}

impl Desk {
    /// Works until the writer lets go of its end of the line.
    pub(super) async fn run(mut self) {
        let mut batch = Vec::with_capacity(BATCH);
        while self.commands.recv_many(&mut batch, BATCH).await > 0 {
            self.carry_out(&mut batch).await;
        }
        self.errands.end().await;
        self.line.close().await;
    }

    async fn carry_out(&mut self, batch: &mut Vec<Command>) {
        let (mut ends, mut done, mut asks, mut leases) = (Vec::new(), Vec::new(), Vec::new(), Vec::new());
        for command in batch.drain(..) {
            match command {
                Command::Settle { job, how, entry, answer } => {
                    ends.push(Waiting { job, how, entry, answer });
                }
                Command::Lease { .. } | Command::LeaseUser { .. } => leases.push(command),
                Command::TakeCall { .. } | Command::Know { .. } => asks.push(command),
                Command::GiveBack { users, parked_with, due, answer } => {
                    let came = self.give_back(&users, parked_with.as_deref(), due).await;
                    done.push((Command::GiveBack { users, parked_with, due, answer }, came));
                }
                Command::Enqueue { users, cause, since, mut answer } => {
                    let now = self.clock.now();
                    let came = match self.line.connection().await {
                        Ok(connection) => {
                            let enqueue = statements::enqueue(connection, &users, cause, since, now);
                            within(self.tuning, enqueue).await
                        }
                        Err(fault) => Err(fault),
                    };
                    let came = self.line.after(came).map(|due| answer.hold(due)).map_err(QueueError::from);
                    self.look_ahead().await;
                    self.teller.tell(now);
                    answer.send(came);
                }
                Command::KeepProgress { ref progress, .. } => {
                    let came = self.keep_progress(progress).await;
                    command.reply(came);
                }
                Command::Retry { .. }
                | Command::Prune { .. }
                | Command::Tick { .. }
                | Command::Forget { .. } => self.errands.run(command),
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
        if !asks.is_empty() {
            let came = self.ask_of_apis(&mut asks).await.map_err(QueueError::from);
            if came.is_ok() && asks.iter().any(apis::is_for_all_at_once) {
                self.teller.tell(self.clock.now());
            }
            asks.into_iter().for_each(|ask| ask.reply(came.clone()));
        }
        for mut command in leases {
            let came = match &mut command {
                Command::Lease { room, answer } => self.lease(*room).await.map(|leased| answer.hold(leased)),
                Command::LeaseUser { request, answer } => {
                    self.lease_user(request).await.map(|lease| answer.hold(lease))
                }
                _ => Ok(()),
            };
            command.reply(came.map_err(QueueError::from));
        }
    }

    /// Ends leases of different users: together, or where a row is at fault each alone.
    async fn settle_all(&mut self, turn: Vec<Waiting>) -> Vec<(Command, Result<(), QueueError>)> {
        let ends: Vec<End<'_>> = turn.iter().map(Waiting::end).collect();
        let settled: Vec<Result<Settled, Fault>> = match self.settle(&ends).await {
            Ok(settled) => settled.into_iter().map(Ok).collect(),
            Err(fault) if fault.may_be_one_rows() && ends.len() > 1 => {
                let (mut settled, mut each) = (Vec::with_capacity(ends.len()), Alone::default());
                for end in &ends {
                    let alone = match each.may_try() {
                        Ok(()) => self.settle(std::slice::from_ref(end)).await,
                        Err(fault) => Err(fault),
                    };
                    each.came(&alone);
                    settled.push(alone.map(|settled| settled.first().copied().unwrap_or(Settled::LeaseLost)));
                }
                settled
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
                within(self.tuning, lease::settle(connection, ends, given, &self.options)).await
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
        let mut tries = Tries::default();
        loop {
            let came = match self.line.connection().await {
                Ok(connection) => {
                    within(self.tuning, statements::give_back(connection, users, parked_with, due)).await
                }
                Err(fault) => Err(fault),
            };
            match self.line.after(came) {
                Err(fault @ Fault::Crossed(_)) if tries.another(&fault) => {} // undone as a whole
                came => return came.map_err(QueueError::from),
            }
        }
    }

    /// A later word takes the place of an earlier one, and the same word twice is the same.
    async fn keep_progress(&mut self, progress: &Progress) -> Result<(), QueueError> {
        let mut tries = Tries::default();
        loop {
            let came = match self.line.connection().await {
                Ok(connection) => within(self.tuning, statements::keep_progress(connection, progress)).await,
                Err(fault) => Err(fault),
            };
            match self.line.after(came) {
                Err(fault) if tries.another(&fault) => {}
                came => return came.map_err(QueueError::from),
            }
        }
    }

    /// Asks the store what is due next, and tells the other replicas where that is sooner than what was known; or where
    /// what was known is past, for then they may have found out more.
    async fn look_ahead(&mut self) {
        let (asked, now) = (self.due.ask(), self.clock.now());
        let is_behind = self.due.is_behind(now);
        let came = match self.line.connection().await {
            Ok(connection) => within(self.tuning, statements::next_due(connection)).await,
            Err(fault) => Err(fault),
        };
        // Where it fails, the next lease finds out.
        if let Ok(next_due) = self.line.after(came) {
            let is_earlier = self.due.found(asked, next_due);
            if let Some(at) = next_due.prompt.filter(|at| is_earlier || (is_behind && now < *at)) {
                self.teller.tell(at);
            }
        }
    }

    /// Calls that syncs ask for, and what is told or asked of rests: all in one transaction, in their order.
    async fn ask_of_apis(&mut self, asks: &mut [Command]) -> Result<(), Fault> {
        let mut tries = Tries::default();
        loop {
            match self.ask_of_apis_once(asks).await {
                Err(fault) if tries.another(&fault) => {} // a call taken twice is one that comes later
                came => return came,
            }
        }
    }

    async fn ask_of_apis_once(&mut self, asks: &mut [Command]) -> Result<(), Fault> {
        let (given, rates) = (self.clock.given(), &self.options.rates);
        let only_looks = asks.iter().all(|ask| matches!(ask, Command::Know { news: News::None, .. }));
        let came = match self.line.connection().await {
            Ok(connection) if only_looks => {
                within(self.tuning, apis::read(connection)).await.map(|mut apis| {
                    asks.iter_mut().for_each(|ask| apis::carry_out(ask, &mut apis, Millis(0), rates));
                })
            }
            Ok(connection) => {
                let all = |apis: &mut Apis, now| {
                    asks.iter_mut().for_each(|ask| apis::carry_out(ask, apis, now, rates))
                };
                within(self.tuning, lease::change(connection, given, all)).await
            }
            Err(fault) => Err(fault),
        };
        self.line.after(came)
    }
}

impl Waiting {
    fn end(&self) -> End<'_> {
        End { job: &self.job, how: &self.how, entry: self.entry.as_deref() }
    }

    fn answered(mut self, settled: Result<Settled, Fault>) -> (Command, Result<(), QueueError>) {
        let came = settled.map(|settled| self.answer.hold(settled)).map_err(QueueError::from);
        (Command::Settle { job: self.job, how: self.how, entry: self.entry, answer: self.answer }, came)
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
