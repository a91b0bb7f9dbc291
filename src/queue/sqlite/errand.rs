//! What is asked of many rows at once, in small steps: each is a transaction of its own, and events go between them.
//!
//! So neither an event of this process waits for all of it, nor one of the service that this process is beside.

use rusqlite::{Connection, Transaction};

use super::clockwork::Clockwork;
use super::{forget, history, retry};
use crate::clock::Millis;
use crate::queue::command::{Answer, Command};
use crate::queue::{Options, QueueError, Retry, Ticked};

/// The most rows of one step.
const STEP: usize = 1_000;

/// One that is under way. Whoever was reached by a step stays so, though a later one fails: to be asked again is to go on.
pub(super) enum Errand {
    Retry { whom: Retry, left: Option<Vec<String>>, made_due: u64, answer: Answer<u64> },
    Prune { before: Millis, left: usize, pruned: u64, answer: Answer<u64> },
    Tick { clockwork: Clockwork, answer: Answer<Ticked> },
}

impl Errand {
    /// Whether `command` is one.
    pub(super) fn is(command: &Command) -> bool {
        matches!(command, Command::Retry { .. } | Command::Prune { .. } | Command::Tick { .. })
    }

    /// The errand that `command` is, if it is one.
    pub(super) fn of(command: Command) -> Option<Self> {
        match command {
            Command::Retry { whom, answer } => Some(Self::Retry { whom, left: None, made_due: 0, answer }),
            Command::Prune { before, most, answer } => {
                Some(Self::Prune { before, left: most, pruned: 0, answer })
            }
            Command::Tick { tick, answer } => Some(Self::Tick { clockwork: Clockwork::new(tick), answer }),
            _ => None,
        }
    }

    /// Looks for what there is to do. To be called before each step, in no transaction that writes; false where there is
    /// nothing to take a step for, or not yet.
    pub(super) fn prepare(
        &mut self,
        connection: &Connection,
        now: Millis,
        wall: Millis,
        options: &Options,
    ) -> rusqlite::Result<bool> {
        match self {
            Self::Retry { whom, left: left @ None, .. } => *left = Some(retry::name(connection, whom)?),
            Self::Retry { .. } | Self::Prune { .. } => {}
            Self::Tick { clockwork, .. } => return clockwork.look(connection, now, wall, options),
        }
        Ok(true)
    }

    /// Takes a step; `now` is the queue's time, and `wall` the time of day.
    pub(super) fn step(
        &mut self,
        transaction: &Transaction<'_>,
        now: Millis,
        wall: Millis,
    ) -> rusqlite::Result<()> {
        match self {
            Self::Retry { left, made_due, .. } => {
                let left = left.get_or_insert_default();
                let users = left.split_off(left.len().saturating_sub(STEP));
                *made_due += retry::make_due(transaction, &users, now)?;
            }
            Self::Prune { before, left, pruned, .. } => {
                let most = STEP.min(*left);
                let mut rows = history::prune(transaction, *before, most, now)?;
                rows += forget::prune(transaction, *before, most.saturating_sub(rows))?;
                *left = if rows < most { 0 } else { *left - most };
                *pruned += rows as u64;
            }
            Self::Tick { clockwork, .. } => clockwork.step(transaction, now, wall)?,
        }
        Ok(())
    }

    pub(super) fn is_done(&self) -> bool {
        match self {
            Self::Retry { left, .. } => left.as_ref().is_some_and(Vec::is_empty),
            Self::Prune { left, .. } => *left == 0,
            Self::Tick { clockwork, .. } => clockwork.is_done(),
        }
    }

    /// Answers, once it is done or a step has failed.
    pub(super) fn reply(self, came: Result<(), QueueError>) {
        fn send<T>(mut answer: Answer<T>, value: T, came: Result<(), QueueError>) {
            answer.hold(value);
            answer.send(came);
        }
        match self {
            Self::Retry { made_due, answer, .. } => send(answer, made_due, came),
            Self::Prune { pruned, answer, .. } => send(answer, pruned, came),
            Self::Tick { clockwork, answer } => send(answer, clockwork.ticked(), came),
        }
    }
}
