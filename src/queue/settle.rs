//! The end of a lease: what a sync came to, and what it leaves.

use super::apis::Apis;
use super::documents::APIS;
use super::history::Entry;
use super::lease::Job;
use super::row::Row;
use super::store::{Change, Index, Look, Seen};
use super::{Counted, Options, Queue, QueueError};
use crate::clock::Millis;
use crate::memory::Memory;
use crate::upstream::PerApi;
use crate::user::UserId;

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
        /// What failed, without personal data.
        error: String,
    },
    /// No retry can fix it: keep the row, visible, until the next event or an operator.
    Park {
        /// What failed, without personal data.
        error: String,
        /// What is the same for all users that fail for this reason (see [`Queue::give_back`]).
        answer: String,
    },
    /// Not done, and nobody's fault (shutdown): due at once, whether or not an event came meanwhile.
    Release,
    /// Cut off in the middle of a write: keep the lease until `until`, when the write is over one way or the other.
    /// The lease that takes over then counts an attempt.
    Abandon {
        /// When the lease ends.
        until: Millis,
    },
}

#[cfg(test)]
impl Settlement {
    /// The end of a sync that leaves nothing to remember.
    pub(crate) fn done(held_back: bool) -> Self {
        Self::Done(Box::new(Done { held_back, ..Done::default() }))
    }
}

/// What a sync that ended well leaves in the row.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Done {
    /// Whether there was a change that was not written: `sync.dry_run`, or the removal guard.
    pub held_back: bool,
    /// What to remember, in place of what was.
    pub memory: Memory,
    /// When the clock asks for the next sync, by the wall clock, and why; in place of what was. None: never.
    pub check: Option<(Millis, String)>,
}

/// What came of a settlement.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Settled {
    /// As asked.
    AsAsked,
    /// An event came during the sync: the row is due again at now + debounce instead.
    DueAgain,
    /// The lease had ended and the row is somebody else's now: nothing was changed. If a write was sent under that lease
    /// ([`Job::has_written`]), the user is due again as after an event, because that write may have come after newer ones.
    LeaseLost,
}

impl Queue {
    /// Ends a lease, gives back the calls that are left of the job's, and writes `entry` into the user's history, all of it
    /// or nothing. If the lease is lost, nothing of it: see [`Settled::LeaseLost`].
    ///
    /// # Errors
    /// The store failed; the lease stands until its end.
    pub async fn settle(
        &self,
        job: &Job,
        how: Settlement,
        entry: Option<Entry>,
    ) -> Result<Settled, QueueError> {
        let (job, options) = (job.clone(), self.options());
        let look = Look { last_entries: entry.is_some(), ..look_of(&job) };
        let outcome = entry.as_ref().map(|entry| entry.outcome);
        let settled =
            self.transact(look, move |seen| settle(seen, &job, &how, entry.as_ref(), &options)).await?;
        if let Some(outcome) = outcome.filter(|_| settled != Settled::LeaseLost) {
            self.note(Counted::Synced(outcome));
        }
        Ok(settled)
    }

    /// Forgets the leased user: row and history are erased, and a keyed hash is left by which later events and backfills of
    /// the user are dropped. Whether the user was forgotten; not if the lease was lost.
    ///
    /// # Errors
    /// The store failed; nothing was erased.
    pub async fn forget(&self, job: &Job) -> Result<bool, QueueError> {
        let (job, options) = (job.clone(), self.options());
        let hash = self.erasure_key().hash(job.user.as_str());
        self.transact(look_of(&job), move |seen| {
            if !is_leased_as(seen, &job) {
                return (Change::default(), false);
            }
            let (erased, tombstones) = (vec![job.user.as_str().to_owned()], vec![hash.clone()]);
            let change = Change { erased, tombstones, ..Change::default() };
            (give_calls_back(change, seen, &job, &options), true)
        })
        .await
    }

    /// Takes back what an outage did to users: one attempt for each time that `users` names somebody, whether under lease
    /// again by now or not; and every row that is parked with `answer` is due at `due` again, with no attempts counted.
    ///
    /// # Errors
    /// The store failed; some of it may be done.
    pub async fn give_back(
        &self,
        users: &[UserId],
        answer: Option<&str>,
        due: Millis,
    ) -> Result<(), QueueError> {
        if !users.is_empty() {
            let users: Vec<String> = users.iter().map(|user| user.as_str().to_owned()).collect();
            self.transact(Look::rows(users.clone()), move |seen| {
                let times = |row: &str| users.iter().filter(|user| *user == row).count();
                let given_back = |(id, row): (&String, &Row)| {
                    row.clone().given_back(u32::try_from(times(id)).unwrap_or(u32::MAX))
                };
                (Change::rows(seen.rows.iter().map(given_back)), ())
            })
            .await?;
        }
        let Some(answer) = answer else { return Ok(()) };
        let index = Index::ParkedWith(answer.to_owned());
        self.change_all(index, move |row, _| row.revived(due)).await.map(drop)
    }
}

fn settle(
    seen: &Seen,
    job: &Job,
    how: &Settlement,
    entry: Option<&Entry>,
    options: &Options,
) -> (Change, Settled) {
    let again = seen.now.plus(options.debounce);
    let user = job.user.as_str();
    let Some(row) = seen.rows.get(user) else { return (Change::default(), Settled::LeaseLost) };
    if !is_leased_as(seen, job) {
        let late = job.has_written.then(|| row.clone().written_late(&job.event_type, again));
        return (Change::rows(late), Settled::LeaseLost);
    }
    let (mut row, settled) = row.clone().settled(job, how, seen.now, again);
    let mut change = Change::default();
    if let Some(entry) = entry {
        row.outcome = Some(entry.outcome.to_owned());
        row.reason = Some(entry.reason.to_owned()).filter(|reason| !reason.is_empty());
        change.entries.push((user.to_owned(), entry.onto(seen.last_entries.get(user), seen.now)));
    }
    change.rows.push(row);
    (give_calls_back(change, seen, job, options), settled)
}

/// The row of `job`, and the APIs' document where there is something to give back.
fn look_of(job: &Job) -> Look {
    let look = Look::rows([job.user.as_str()]);
    if job.calls_taken == PerApi::default() { look } else { look.with(APIS) }
}

fn is_leased_as(seen: &Seen, job: &Job) -> bool {
    seen.rows.get(job.user.as_str()).is_some_and(|row| row.lease.as_ref() == Some(&job.lease))
}

fn give_calls_back(change: Change, seen: &Seen, job: &Job, options: &Options) -> Change {
    if job.calls_taken == PerApi::default() {
        return change;
    }
    let before: Apis = seen.document(APIS);
    let mut apis = before.clone();
    apis.settled(job, seen.now, &options.rates);
    change.document(APIS, &before, &apis)
}
