//! Leases: what is taken, how it ends, and what came of either.

use super::Lane;
use crate::clock::Millis;
use crate::memory::Memory;
use crate::upstream::rest::Shared;
use crate::upstream::{Attempt, PerApi};
use crate::user::UserId;

/// A user under lease: nobody else syncs this user until the lease is settled or ends.
#[derive(Debug, Clone)]
pub struct Job {
    /// Whom to sync.
    pub user: UserId,
    /// The type of the event that came last, for the log.
    pub event_type: String,
    /// Failures counted since the last sync that ended well. A lease that nobody settled is one of them.
    pub attempts: u32,
    /// When the first of these failures was; none where there is none.
    pub failing_since: Option<Millis>,
    /// How many leases in a row before this one were never settled: their process ended, or hung, in the middle.
    pub unsettled: u32,
    /// The random name of this lease.
    pub lease_owner: i64,
    /// The row's generation when it was leased.
    pub generation: i64,
    /// The row's lane: whether its calls are of the background's share too.
    pub lane: Lane,
    /// When the lease began, by the queue's clock: its end is counted from there, however late the answer comes.
    pub leased_at: Millis,
    /// The calls that were taken for it; those that are left when it is settled are given back, if that is soon.
    pub calls: PerApi<u32>,
    /// The calls that were taken for it at first.
    pub calls_taken: PerApi<u32>,
    /// Whether it tries if an API is back.
    pub is_probe: bool,
    /// Whether a write was sent under this lease, as far as its holder has told.
    pub has_written: bool,
    /// What the row remembers of the user.
    pub memory: Memory,
    /// What the row is to remember in its place where the lease ends otherwise than by [`Settlement::Done`], as whoever
    /// settles knows it; none: nothing new.
    pub learned: Option<Box<Memory>>,
}

impl Job {
    /// The job at the end of `attempt`, its sync, ready to be settled.
    #[must_use]
    pub fn after(self, attempt: &Attempt) -> Self {
        Self { calls: attempt.calls_left(), has_written: attempt.has_written(), ..self }
    }
}

/// How many users a worker has room for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Room {
    /// In all.
    pub all: usize,
    /// Of them, of the background lane.
    pub background: usize,
}

impl Room {
    /// Room for so many of any lane.
    #[must_use]
    pub fn for_any(all: usize) -> Self {
        Self { all, background: all }
    }
}

/// What came of asking for leases.
#[derive(Debug, Clone, Default)]
pub struct Leased {
    /// Who was leased: lane by lane, and in each the longest due first.
    pub jobs: Vec<Job>,
    /// Where more might be due, but an API rests, its rate is used up, or somebody else holds the row just now: when to
    /// ask again, by the queue's clock.
    pub not_before: Option<Millis>,
    /// The same of the background lane alone: it has used up its share.
    pub background_not_before: Option<Millis>,
    /// What all processes know of both APIs, and whether syncs are paused: then nobody was leased.
    pub known: Known,
}

/// What all processes on one store know.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Known {
    /// The rests of both APIs.
    pub rests: PerApi<Shared>,
    /// Since when an operator has paused syncs; none while they go on.
    pub paused_at: Option<Millis>,
    /// Since when no write takes a tag away (see [`crate::sync::Brake`]); none while they do.
    pub braked_at: Option<Millis>,
}

/// A lease of one user, asked for by name.
#[derive(Debug, Clone)]
pub struct LeaseRequest {
    /// Who. A user who is not known yet is from then on.
    pub user: UserId,
    /// Why, for the history: a word of ours in place of an event's type.
    pub cause: &'static str,
    /// The lane that it counts as, and fails into.
    pub lane: Lane,
    /// The calls that its sync needs. None of either API: the lease waits for no API and no pause, and is no probe.
    pub calls: PerApi<u32>,
    /// Where this is set, only a user who is not due, and neither synced nor parked at this time or since: what was read
    /// of the user at this time is then no older than anything that has been written since.
    pub untouched_since: Option<Millis>,
    /// Whether a user who was forgotten is taken up again; otherwise that is [`UserLease::Forgotten`].
    pub again: bool,
}

/// What a lease by name looks at of a user's row, and what it makes of it.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Standing {
    pub(super) lane: Lane,
    pub(super) due_at: Option<Millis>,
    /// Whether somebody has leased it and not settled it, a lease that has ended included.
    pub(super) is_held: bool,
    pub(super) generation: i64,
    pub(super) attempts: u32,
    pub(super) unsettled: u32,
    pub(super) failing_since: Option<Millis>,
    pub(super) parked_at: Option<Millis>,
    pub(super) synced_at: Option<Millis>,
}

impl LeaseRequest {
    /// What the lease makes of the user's row, which stands as `row`; or why the user is not leased, the APIs aside.
    ///
    /// Pure, and the same for every kind of store. Its time due and its name are the store's to give.
    pub(super) fn onto(&self, row: Option<&Standing>, now: Millis) -> Result<Standing, UserLease> {
        let Some(row) = row else {
            return Ok(Standing { lane: self.lane, generation: 1, ..Standing::default() });
        };
        if let Some(until) = row.due_at.filter(|until| row.is_held && *until > now) {
            return Err(UserLease::Held(until));
        }
        // What may wait never takes what an event, or somebody by hand, is waiting for: it may be told to do less.
        let is_anothers = self.lane == Lane::Background && row.due_at.is_some() && row.lane < self.lane;
        if is_anothers || self.untouched_since.is_some_and(|since| row.is_touched_since(since)) {
            return Err(UserLease::Touched);
        }
        let lane = if row.due_at.is_some() { row.lane.min(self.lane) } else { self.lane };
        let taken = Standing { lane, generation: row.generation.saturating_add(1), parked_at: None, ..*row };
        Ok(if row.parked_at.is_some() {
            Standing { attempts: 0, unsettled: 0, failing_since: None, ..taken }
        } else if row.is_held {
            taken.taken_over(now)
        } else {
            taken
        })
    }
}

impl Standing {
    /// What a lease makes of a row of `lane` that is due.
    pub(super) fn leased_when_due(self, lane: Lane, now: Millis) -> Self {
        let row = Self { lane, ..self };
        if row.is_held { row.taken_over(now) } else { row }
    }

    fn is_touched_since(&self, since: Millis) -> bool {
        let is_since = |at: Option<Millis>| at.is_some_and(|at| at >= since);
        self.due_at.is_some() || is_since(self.synced_at) || is_since(self.parked_at)
    }

    /// The lease before was never settled: that counts as an attempt, and how often it happens in a row is counted by
    /// itself, so that a user whose sync ends the process can be told from an outage.
    fn taken_over(self, now: Millis) -> Self {
        Self {
            attempts: self.attempts.saturating_add(1),
            unsettled: self.unsettled.saturating_add(1),
            failing_since: self.failing_since.or(Some(now)),
            ..self
        }
    }
}

/// What came of a [`LeaseRequest`].
#[derive(Debug, Clone)]
pub enum UserLease {
    /// The user is leased. One that was parked starts afresh.
    Leased(Box<Job>),
    /// Somebody syncs the user just now, until then at the latest.
    Held(Millis),
    /// An API rests, or the rate is used up, until then. Nobody was made known by asking.
    NotBefore(Millis),
    /// Syncs are paused. Nobody was made known by asking.
    Paused,
    /// The user is due, synced or parked meanwhile ([`LeaseRequest::untouched_since`]); or due in a faster lane, where
    /// the background lane asks.
    Touched,
    /// The user was forgotten ([`crate::queue::Queue::forget`]), and is not known any more.
    Forgotten,
}

/// How a lease ends. Whatever the end, a row for which an event came meanwhile is in the first lane from then on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Settlement {
    /// The sync is done.
    Done(Box<Done>),
    /// Try again at `at`, in the lane of retries or a slower one.
    Retry {
        /// When.
        at: Millis,
        /// Whether this failure is the user's and counts as an attempt.
        counts: bool,
        /// What failed, personal data masked.
        error: String,
    },
    /// No retry can mend it: keep the row, visible, until the next event or an operator.
    Park {
        /// What failed, personal data masked.
        error: String,
        /// What is the same for all who fail for this reason (see [`crate::queue::Queue::give_back`]).
        answer: String,
    },
    /// Not done, and nobody's fault (shutdown): due at once, whether or not an event came meanwhile.
    Release,
    /// Cut off in the middle of a write: keep the lease until `until`, when the write is over one way or the other.
    /// Who takes it over then counts an attempt.
    Abandon {
        /// When the lease ends.
        until: Millis,
    },
}

#[cfg(test)]
impl Settlement {
    /// The end of a sync of which nothing is to be remembered.
    pub(crate) fn done(held_back: bool) -> Self {
        Self::Done(Box::new(Done { held_back, ..Done::default() }))
    }
}

/// What a sync that ended well leaves in the row.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Done {
    /// Whether there was a change that was not written: `sync.dry_run`, or the brake. It is made up for once neither holds.
    pub held_back: bool,
    /// What to remember, in place of what was.
    pub memory: Memory,
    /// When to look at the user again though nothing asks for it: the tags that are wanted change by themselves then, or it
    /// is time for a second look. In place of what was; none: there is no such moment.
    pub changes_at: Option<Millis>,
}

/// What came of a settlement.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Settled {
    /// As asked.
    AsAsked,
    /// An event came during the sync: the row is due again at now + debounce instead.
    DueAgain,
    /// The lease had ended and the row is somebody else's now: nothing was changed. Where a write was sent under that lease
    /// ([`Job::has_written`]), the user is due again as after an event, because that write may have come after newer ones.
    LeaseLost,
}
