//! What is asked of many rows at once, in small steps: each is a transaction of its own, and events go between them.
//!
//! So neither an event of this process waits for all of it, nor one of the service that this process is beside.

use rusqlite::{Connection, Transaction};

use super::{history, retry};
use crate::clock::Millis;
use crate::queue::command::{Answer, Command};
use crate::queue::{QueueError, Retry};

/// The most rows of one step.
const STEP: usize = 1_000;

/// One that is under way. Whoever was reached by a step stays so, though a later one fails: to be asked again is to go on.
pub(super) enum Errand {
    Retry { whom: Retry, left: Option<Vec<String>>, made_due: u64, answer: Answer<u64> },
    Prune { before: Millis, left: usize, pruned: u64, answer: Answer<u64> },
}

impl Errand {
    /// Whether `command` is one.
    pub(super) fn is(command: &Command) -> bool {
        matches!(command, Command::Retry { .. } | Command::Prune { .. })
    }

    /// The errand that `command` is, if it is one.
    pub(super) fn of(command: Command) -> Option<Self> {
        match command {
            Command::Retry { whom, answer } => Some(Self::Retry { whom, left: None, made_due: 0, answer }),
            Command::Prune { before, most, answer } => {
                Some(Self::Prune { before, left: most, pruned: 0, answer })
            }
            _ => None,
        }
    }

    /// Looks for what there is to do. To be called before each step, in no transaction that writes.
    pub(super) fn prepare(&mut self, connection: &Connection) -> rusqlite::Result<()> {
        if let Self::Retry { whom, left: left @ None, .. } = self {
            *left = Some(retry::name(connection, whom)?);
        }
        Ok(())
    }

    /// Takes a step.
    pub(super) fn step(&mut self, transaction: &Transaction<'_>, now: Millis) -> rusqlite::Result<()> {
        match self {
            Self::Retry { left, made_due, .. } => {
                let left = left.get_or_insert_default();
                let users = left.split_off(left.len().saturating_sub(STEP));
                *made_due += retry::make_due(transaction, &users, now)?;
            }
            Self::Prune { before, left, pruned, .. } => {
                let most = STEP.min(*left);
                let rows = history::prune(transaction, *before, most, now)?;
                *left = if rows < most { 0 } else { *left - most };
                *pruned += rows as u64;
            }
        }
        Ok(())
    }

    pub(super) fn is_done(&self) -> bool {
        match self {
            Self::Retry { left, .. } => left.as_ref().is_some_and(Vec::is_empty),
            Self::Prune { left, .. } => *left == 0,
        }
    }

    /// Answers, once it is done or a step has failed.
    pub(super) fn reply(self, came: Result<(), QueueError>) {
        let (count, mut answer) = match self {
            Self::Retry { made_due, answer, .. } => (made_due, answer),
            Self::Prune { pruned, answer, .. } => (pruned, answer),
        };
        answer.hold(count);
        answer.send(came);
    }
}
