//! What the queue sends to its writer, and the two ends of that line. The writer is the store's: it takes what waits,
//! commits it together, and answers.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use tokio::sync::{mpsc, oneshot, watch};

use super::{
    Entry, Job, Known, Lane, LeaseRequest, Leased, NextDue, Progress, QueueError, Retry, Room, Settled,
    Settlement, Tick, Ticked, UserLease,
};
use crate::clock::Millis;
use crate::upstream::rest::Change;
use crate::upstream::{Api, Turn};
use crate::user::UserId;

/// How many commands may wait. Beyond it, callers wait for room.
const WAITING: usize = 4_096;

/// One thing for the writer to do.
pub(super) enum Command {
    /// An event.
    Push(Push),
    /// As many leases as there is room for, as far as both APIs allow.
    Lease { room: Room, answer: Answer<Leased> },
    /// The lease of one user.
    LeaseUser { request: LeaseRequest, answer: Answer<UserLease> },
    /// The end of a lease, and what it leaves in the history.
    Settle { job: Job, how: Settlement, entry: Option<Box<Entry>>, answer: Answer<Settled> },
    /// Users due at once, by an operator's word; the answer is how many they are.
    Retry { whom: Retry, answer: Answer<u64> },
    /// Up to `most` rows of history less; the answer is how many they were. Never in a transaction with events.
    Prune { before: Millis, most: usize, answer: Answer<u64> },
    /// Who has become due by the clock, and the next of the round. Never in a transaction with events.
    Tick { tick: Tick, answer: Answer<Ticked> },
    /// The leased user's row and history gone, a keyed hash left; the answer is whether the lease was still there.
    Forget { job: Job, answer: Answer<bool> },
    /// How far a backfill has come.
    KeepProgress { progress: Progress, answer: Answer<()> },
    /// Users due in the background lane; the answer is how many they are.
    Enqueue { users: Vec<UserId>, cause: &'static str, since: Millis, answer: Answer<u64> },
    /// One attempt less for each of `users`; and who is parked with `parked_with` is due at `due`.
    GiveBack { users: Vec<UserId>, parked_with: Option<String>, due: Millis, answer: Answer<()> },
    /// One call of an API, beside those that came with a lease.
    TakeCall { api: Api, lane: Lane, answer: Answer<Turn> },
    /// What is new for all processes, if anything is; the answer is what they all know then.
    Know { news: News, answer: Answer<Known> },
    /// A small write that tells whether events can be kept again.
    Probe,
    /// The last command: what was sent before it is still done.
    Close,
}

/// What one process tells all.
#[derive(Debug, Clone)]
pub(super) enum News {
    /// Nothing: it only asks.
    None,
    /// What it has found of an API.
    Rest(Api, Change),
    /// No more syncs until further notice.
    Pause,
    /// Syncs go on, no API rests any more, and writes take tags away again.
    Resume,
    /// No write takes a tag away until further notice.
    Brake,
    /// They do again.
    Release,
}

/// An event to keep.
pub(super) struct Push {
    pub(super) user: UserId,
    pub(super) event_type: &'static str,
    pub(super) answer: Answer<()>,
}

impl Command {
    /// Whether doing this tells that events can be kept.
    pub(super) fn keeps_events(&self) -> bool {
        matches!(self, Self::Push(_) | Self::Probe)
    }

    /// Answers, after the commit or its failure.
    pub(super) fn reply(self, committed: Result<(), QueueError>) {
        match self {
            Self::Push(push) => push.answer.send(committed),
            Self::Lease { answer, .. } => answer.send(committed),
            Self::Settle { answer, .. } => answer.send(committed),
            Self::GiveBack { answer, .. } => answer.send(committed),
            Self::TakeCall { answer, .. } => answer.send(committed),
            Self::Know { answer, .. } => answer.send(committed),
            Self::LeaseUser { answer, .. } => answer.send(committed),
            Self::Retry { answer, .. } | Self::Prune { answer, .. } => answer.send(committed),
            Self::Enqueue { answer, .. } => answer.send(committed),
            Self::KeepProgress { answer, .. } => answer.send(committed),
            Self::Tick { answer, .. } => answer.send(committed),
            Self::Forget { answer, .. } => answer.send(committed),
            Self::Probe | Self::Close => {}
        }
    }
}

/// Where the answer goes, and the answer itself while its commit is awaited.
pub(super) struct Answer<T> {
    to: oneshot::Sender<Result<T, QueueError>>,
    value: Option<T>,
}

type AnswerTo<T> = oneshot::Receiver<Result<T, QueueError>>;

impl<T> Answer<T> {
    /// An answer that is yet to be found.
    pub(super) fn open() -> (Self, AnswerTo<T>) {
        let (to, receiver) = oneshot::channel();
        (Self { to, value: None }, receiver)
    }

    /// An answer that only awaits its commit.
    pub(super) fn holding(value: T) -> (Self, AnswerTo<T>) {
        let (to, receiver) = oneshot::channel();
        (Self { to, value: Some(value) }, receiver)
    }

    /// Keeps `value` until the commit. A second one, after a transaction was rolled back, takes its place.
    pub(super) fn hold(&mut self, value: T) {
        self.value = Some(value);
    }

    /// Sends what is held, or why there is nothing.
    pub(super) fn send(self, committed: Result<(), QueueError>) {
        let answer = committed.and_then(|()| self.value.ok_or(QueueError::Closed));
        // Nobody may be waiting any more, and what is done stays done.
        let _ = self.to.send(answer);
    }
}

/// The callers' end.
#[derive(Debug)]
pub(super) struct Ends {
    commands: mpsc::Sender<Command>,
    pub(super) next_due: watch::Receiver<NextDue>,
    accepting: Arc<AtomicBool>,
    closed: watch::Receiver<bool>,
}

/// The writer's end. To drop it is to close the queue.
pub(super) struct WriterEnd {
    pub(super) commands: mpsc::Receiver<Command>,
    /// For who must not keep the queue open: a sender that is gone with the last clone of the queue.
    pub(super) to_self: mpsc::WeakSender<Command>,
    pub(super) next_due: watch::Sender<NextDue>,
    pub(super) accepting: Arc<AtomicBool>,
    /// Set to true once everything is released.
    pub(super) closed: watch::Sender<bool>,
}

impl Ends {
    /// A line whose next due time is `next_due` at first.
    pub(super) fn new(next_due: NextDue) -> (Self, WriterEnd) {
        let (to_writer, commands) = mpsc::channel(WAITING);
        let (due_sender, next_due) = watch::channel(next_due);
        let (closed_sender, closed) = watch::channel(false);
        let accepting = Arc::new(AtomicBool::new(true));
        let writer = WriterEnd {
            commands,
            to_self: to_writer.downgrade(),
            next_due: due_sender,
            accepting: Arc::clone(&accepting),
            closed: closed_sender,
        };
        (Self { commands: to_writer, next_due, accepting, closed }, writer)
    }

    pub(super) async fn send(&self, command: Command) -> Result<(), QueueError> {
        self.commands.send(command).await.map_err(|_| QueueError::Closed)
    }

    pub(super) fn is_closed(&self) -> bool {
        self.commands.is_closed()
    }

    pub(super) fn accepting(&self) -> bool {
        !self.is_closed() && self.accepting.load(Ordering::Relaxed)
    }

    pub(super) async fn close(&self) {
        // An error means that it is closing already; another, that the writer ended without a word.
        let _ = self.commands.send(Command::Close).await;
        let _ = self.closed.clone().wait_for(|closed| *closed).await;
    }
}
