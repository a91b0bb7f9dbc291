//! The end of a lease: what a sync came to, and what it leaves in the row and in the health of both APIs.

use std::collections::BTreeSet;

use super::apis::{Apis, Known};
use super::documents::{APIS, GUARD};
use super::error_policy::{self, Decision, Failed};
use super::history::Entry;
use super::lease::Job;
use super::removal_guard::Guard;
use super::row::Row;
use super::store::{Change, Index, Look, Seen};
use super::{Counted, Options, Queue, QueueError};
use crate::clock::Millis;
use crate::memory::Memory;
use crate::upstream::circuit_breaker::{Blame, CallKind};
use crate::upstream::{Api, Class};
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
        /// What is the same for all users that fail for this reason.
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
    /// The tags that the removal guard kept the sync from removing, masked.
    pub tags_held: Vec<String>,
    /// What to remember, in place of what was.
    pub memory: Memory,
    /// When the clock asks for the next sync, by the wall clock, and why; in place of what was. None: never.
    pub check: Option<(Millis, String)>,
}

/// How a sync ends.
#[derive(Debug, Clone)]
pub enum SyncEnd {
    /// In this way.
    As(Settlement),
    /// It failed: the error policy (`error_policy.rs`) decides.
    Failed(Box<Failed>),
}

/// What came of the settlement of a sync.
#[derive(Debug, Clone)]
pub struct SettledSync {
    /// Whether it ended the lease.
    pub settled: Settled,
    /// How the lease ended, or would have.
    pub how: Settlement,
    /// What all processes know then.
    pub known: Known,
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
    /// Ends a lease in a way that is not decided here. See [`Queue::settle_sync`].
    ///
    /// # Errors
    /// The store failed; the lease stands until its end.
    pub async fn settle(
        &self,
        job: &Job,
        how: Settlement,
        entry: Option<Entry>,
    ) -> Result<Settled, QueueError> {
        self.settle_sync(job, SyncEnd::As(how), entry).await.map(|came| came.settled)
    }

    /// Ends a lease, gives back the calls that are left of the job's, takes into account what its calls came to, and writes
    /// `entry` into the user's history, all of it or nothing. Of a failed sync, outcome and reason of the entry are what is
    /// decided here. If the lease is lost, nothing of it: see [`Settled::LeaseLost`].
    ///
    /// # Errors
    /// The store failed; the lease stands until its end.
    pub async fn settle_sync(
        &self,
        job: &Job,
        end: SyncEnd,
        entry: Option<Entry>,
    ) -> Result<SettledSync, QueueError> {
        let (owned, options) = (job.clone(), self.options());
        let look =
            Look { last_entries: entry.is_some(), ..Look::rows([job.user.as_str()]) }.with(APIS).with(GUARD);
        let decide = {
            let (end, entry, hash) = (end.clone(), entry.clone(), self.guard_hash(&job.user));
            move |seen: &Seen, others: &BTreeSet<String>| {
                settle(seen, &owned, &hash, &end, entry.as_ref(), &options, others)
            }
        };
        let (came, has_opened) = self.transact_with_others(look, decide).await?;
        self.guard_is(came.known.guard);
        if came.settled != Settled::LeaseLost
            && let Some(entry) = entry
        {
            self.note(Counted::Synced(noted(&end, &came.how, &entry).0));
        }
        if let SyncEnd::Failed(failed) = &end {
            self.revive_where(has_opened, failed.call.class, &failed.call.answer).await;
        }
        Ok(came)
    }

    /// Takes into account what calls on behalf of `user` (empty: of none) came to that are no sync: which of them succeeded, and which failed.
    /// Whose fault a failure is; and what all processes know then.
    ///
    /// # Errors
    /// The store failed; nothing was changed.
    pub async fn record_calls(
        &self,
        user: &str,
        answered: &[(Api, CallKind)],
        failed: Option<&Failed>,
    ) -> Result<(Option<Blame>, Known), QueueError> {
        let (id, answered, of_failed) = (user.to_owned(), answered.to_vec(), failed.cloned());
        let decide = move |seen: &Seen, others: &BTreeSet<String>| {
            let before: Apis = seen.document(APIS);
            let mut apis = before.clone();
            let (blame, give_back) = apis.record_calls(&id, &answered, of_failed.as_ref(), seen.now);
            let rows = given_back(seen, &give_back, others)?;
            let change = Change::rows(rows).document(APIS, &before, &apis);
            let guard = seen.document::<Guard>(GUARD).state();
            Ok((change, ((blame, apis.known(seen.now, guard)), !give_back.is_empty())))
        };
        let (came, has_opened) =
            self.transact_with_others(Look::default().with(APIS).with(GUARD), decide).await?;
        self.guard_is(came.1.guard);
        if let Some(failed) = failed {
            self.revive_where(has_opened, failed.call.class, &failed.call.answer).await;
        }
        Ok(came)
    }

    /// How the guard's document names a user.
    fn guard_hash(&self, user: &UserId) -> String {
        let mut hash = self.erasure_key().hash(user.as_str());
        hash.truncate(16);
        hash
    }

    /// Forgets the leased user: row and history are erased, and a keyed hash is left by which later events and backfills of
    /// the user are dropped. Whether the user was forgotten; not if the lease was lost.
    ///
    /// # Errors
    /// The store failed; nothing was erased.
    pub async fn forget(&self, job: &Job) -> Result<bool, QueueError> {
        let (job, options) = (job.clone(), self.options());
        let hash = self.erasure_key().hash(job.user.as_str());
        self.transact(Look::rows([job.user.as_str()]).with(APIS), move |seen| {
            if !is_leased_as(seen, &job) {
                return (Change::default(), false);
            }
            let before: Apis = seen.document(APIS);
            let mut apis = before.clone();
            apis.settled(&job, seen.now, &options.rates);
            apis.forget(job.user.as_str());
            let (erased, tombstones) = (vec![job.user.as_str().to_owned()], vec![hash.clone()]);
            let change = Change { erased, tombstones, ..Change::default() };
            (change.document(APIS, &before, &apis), true)
        })
        .await
    }

    /// A transaction that may turn out to need the rows of further users: then it is begun again with these.
    async fn transact_with_others<A: Send + 'static>(
        &self,
        look: Look,
        decide: impl Fn(&Seen, &BTreeSet<String>) -> Result<(Change, A), Vec<String>>
        + Clone
        + Send
        + Sync
        + 'static,
    ) -> Result<A, QueueError> {
        let mut others = BTreeSet::new();
        loop {
            let rows = look.rows.iter().chain(&others).cloned().collect();
            let (decide, known) = (decide.clone(), others.clone());
            let look = Look { rows, ..look.clone() };
            let decided = self.transact(look, move |seen| match decide(seen, &known) {
                Ok((change, answer)) => (change, Ok(answer)),
                Err(needed) => (Change::default(), Err(needed)),
            });
            match decided.await? {
                Ok(answer) => return Ok(answer),
                Err(needed) => others.extend(needed),
            }
        }
    }

    /// Where an outage has just been found, rows that were parked before for the same answer are due again.
    async fn revive_where(&self, has_opened: bool, class: Class, answer: &str) {
        if !has_opened || class != Class::Permanent {
            return;
        }
        let index = Index::ParkedWith(answer.to_owned());
        if let Err(error) = self.change_all(index, |row, seen| row.revived(seen.now)).await {
            tracing::error!(%error, "users whom an outage has parked stay parked; `queue retry --all-parked` makes them due");
        }
    }
}

/// The settlement, and whether it has opened a circuit for which others get attempts back; or whose rows it needs besides.
fn settle(
    seen: &Seen,
    job: &Job,
    hash: &str,
    end: &SyncEnd,
    entry: Option<&Entry>,
    options: &Options,
    others: &BTreeSet<String>,
) -> Result<(Change, (SettledSync, bool)), Vec<String>> {
    let again = seen.now.plus(options.debounce);
    let user = job.user.as_str();
    let before: Apis = seen.document(APIS);
    let mut apis = before.clone();
    apis.settled(job, seen.now, &options.rates);
    apis.record_calls(user, &job.answered, None, seen.now);
    let Decision { settlement: how, give_back } = match end {
        SyncEnd::As(how) => Decision { settlement: how.clone(), give_back: Vec::new() },
        SyncEnd::Failed(failed) => error_policy::decide(job, failed, apis.breaker(failed.api), seen.now),
    };
    let row = seen.rows.get(user).filter(|_| is_leased_as(seen, job));
    let (guard_before, guard) = noted_by_guard(seen, job, hash, row.is_none());
    let came =
        |settled, apis: &Apis, how| SettledSync { settled, how, known: apis.known(seen.now, guard.state()) };
    let Some(row) = row else {
        let late = seen.rows.get(user).filter(|_| job.has_written);
        let late = late.map(|row| row.clone().written_late(&job.event_type, again));
        let change = Change::rows(late).document(GUARD, &guard_before, &guard);
        return Ok((change, (came(Settled::LeaseLost, &before, how), false)));
    };
    let (mut row, settled) = row.clone().settled(job, &how, seen.now, again);
    let (own, of_others): (Vec<_>, Vec<_>) = give_back.into_iter().partition(|(id, _)| id == user);
    row = own.into_iter().fold(row, |row, (_, times)| row.given_back(times));
    let mut change = Change::rows(given_back(seen, &of_others, others)?);
    if let Some(entry) = entry {
        let (outcome, reason) = noted(end, &how, entry);
        let entry = Entry { outcome, reason, ..entry.clone() };
        row.outcome = Some(outcome.to_owned());
        row.reason = Some(reason.to_owned()).filter(|reason| !reason.is_empty());
        change.entries.push((user.to_owned(), entry.onto(seen.last_entries.get(user), seen.now)));
    }
    change.rows.push(row);
    let change = change.document(APIS, &before, &apis).document(GUARD, &guard_before, &guard);
    Ok((change, (came(settled, &apis, how), !of_others.is_empty())))
}

/// The rows of users who get back the attempts that an outage took; or which of them have yet to be looked at.
fn given_back(
    seen: &Seen,
    users: &[(String, u32)],
    looked_at: &BTreeSet<String>,
) -> Result<Vec<Row>, Vec<String>> {
    let unseen: Vec<String> =
        users.iter().map(|(id, _)| id).filter(|id| !looked_at.contains(*id)).cloned().collect();
    if !unseen.is_empty() {
        return Err(unseen);
    }
    let row = |(id, times): &(String, u32)| {
        let row = seen.rows.get(id)?.clone();
        Some(if row.parked_at.is_some() { row.revived(seen.now) } else { row.given_back(*times) })
    };
    Ok(users.iter().filter_map(row).collect())
}

/// The outcome and the reason that history, row and counts note.
fn noted(end: &SyncEnd, how: &Settlement, entry: &Entry) -> (&'static str, &'static str) {
    match end {
        SyncEnd::As(_) => (entry.outcome, entry.reason),
        SyncEnd::Failed(failed) => error_policy::outcome(failed.call.class, how).words(),
    }
}

fn is_leased_as(seen: &Seen, job: &Job) -> bool {
    seen.rows.get(job.user.as_str()).is_some_and(|row| row.lease.as_ref() == Some(&job.lease))
}

/// The guard after the sync of `job`, whose user has this hash there: what the sync says of its source is noted in the transaction
/// that ends its lease, so that no restart and no other process forgets it. A lost lease is no excuse for what was written.
fn noted_by_guard(seen: &Seen, job: &Job, hash: &str, is_lost: bool) -> (Guard, Guard) {
    let before: Guard = seen.document(GUARD);
    let after = match job.suspect {
        Some(suspect) if !is_lost || job.has_written => {
            before.clone().note(hash, suspect, seen.now, seen.wall)
        }
        _ => before.clone(),
    };
    (before, after)
}
