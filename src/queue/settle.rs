//! The end of a lease: the result of a sync, and its effect on the row and on the health of both APIs.

use std::collections::BTreeSet;

use super::apis::SharedState;
use super::documents::{APIS, GUARD};
use super::error_policy::{self, Failed};
use super::history::Entry;
use super::lease::Job;
use super::removal_guard::Guard;
use super::row::Row;
use super::store::{Change, Index, Look, Seen};
use super::{Counted, Queue, QueueError, QueuePolicy};
use crate::clock::Millis;
use crate::model::LastSeen;
use crate::upstream::circuit_breaker::{Blame, CallKind};
use crate::upstream::{Api, Class};

/// How a lease ends. If an event came meanwhile, the row is in the first lane from then on, whatever the end.
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
    /// Not done, and nobody's fault: due at `at` for the same cause, even if an event came meanwhile.
    Release {
        /// When.
        at: Millis,
    },
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
    pub memory: LastSeen,
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

/// The result of `Queue::settle_sync`.
#[derive(Debug, Clone)]
pub struct SettledSync {
    /// Whether it ended the lease.
    pub settled: Settled,
    /// How the lease ended, or would have.
    pub how: Settlement,
    /// The state that all processes share from then on.
    pub known: SharedState,
}

/// The effect of a settlement on the row.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Settled {
    /// As asked.
    AsAsked,
    /// An event came during the sync: the row is due again at now + debounce instead.
    DueAgain,
    /// The lease had ended, and the row was left alone. If a write was sent under that lease ([`Job::has_written`]), the user is
    /// due again as after an event, because that write may have come after newer ones.
    LeaseLost,
}

impl Queue {
    /// Ends a lease, gives back the calls that are left of the job's, takes into account what its calls came to, and writes
    /// `entry` into the user's history, all of it or nothing. Of a failed sync, outcome and reason of the entry are what is
    /// decided here. If the lease is lost, nothing of it: see [`Settled::LeaseLost`]. If the store failed, the lease stands until
    /// its end.
    pub(crate) async fn settle_sync(
        &self,
        job: &Job,
        end: &SyncEnd,
        entry: Option<Entry>,
    ) -> Result<SettledSync, QueueError> {
        let (owned, options) = (job.clone(), self.0.options);
        let look =
            Look { last_entries: entry.is_some(), ..Look::rows([job.user.as_str()]) }.with(APIS).with(GUARD);
        let decide = {
            let (end, entry) = (end.clone(), entry.clone());
            let mut hash = self.0.erasure_key.hash(job.user.as_str());
            hash.truncate(Guard::HASH_DIGITS);
            move |seen: &Seen, others: &BTreeSet<String>| {
                settle(seen, &owned, &hash, &end, entry.as_ref(), &options, others)
            }
        };
        let (came, has_opened) = self.transact_with_others(look, decide).await?;
        if came.settled != Settled::LeaseLost
            && let Some(entry) = entry
        {
            self.note(Counted::Synced(noted(end, &came.how, &entry).0));
        }
        if let SyncEnd::Failed(failed) = end {
            self.revive_where(has_opened, failed.call.class, &failed.call.answer).await;
        }
        Ok(came)
    }

    /// Takes into account calls that are no sync, made for `user` or, if that is empty, for no user. The result is whose fault a
    /// failure is, and the state that all processes share from then on.
    pub(crate) async fn record_calls(
        &self,
        user: &str,
        answered: &[(Api, CallKind)],
        failed: Option<&Failed>,
    ) -> Result<(Option<Blame>, SharedState), QueueError> {
        let (id, answered, of_failed) = (user.to_owned(), answered.to_vec(), failed.cloned());
        let decide = move |seen: &Seen, others: &BTreeSet<String>| {
            let mut apis = seen.apis();
            apis.succeeded(&id, &answered, seen.now);
            let blame = of_failed.as_ref().map(|failed| {
                apis.breaker(failed.api).failed(&id, &failed.call, seen.now, &failed.policy.backoff)
            });
            let give_back = match &blame {
                Some(Blame::Api { give_back, .. }) => give_back.as_slice(),
                _ => &[],
            };
            let change = Change::rows(given_back(seen, give_back, others)?).apis(seen, &apis);
            let has_opened = !give_back.is_empty();
            let known = apis.known(seen.now, seen.guard().state());
            Ok((change, ((blame, known), has_opened)))
        };
        let look = Look::default().with(APIS).with(GUARD);
        let (came, has_opened) = self.transact_with_others(look, decide).await?;
        if let Some(failed) = failed {
            self.revive_where(has_opened, failed.call.class, &failed.call.answer).await;
        }
        Ok(came)
    }

    /// Forgets the leased user: row and history are erased, and a keyed hash is left by which later events and backfills of
    /// the user are dropped. False if the lease was lost: then nothing was erased.
    pub(crate) async fn forget(&self, job: &Job) -> Result<bool, QueueError> {
        let (job, rates) = (job.clone(), self.0.options.rates);
        let hash = self.0.erasure_key.hash(job.user.as_str());
        self.transact(Look::rows([job.user.as_str()]).with(APIS), move |seen| {
            if leased_row(seen, &job).is_none() {
                return (Change::default(), false);
            }
            let mut apis = seen.apis();
            apis.settled(&job, seen.now, &rates);
            apis.forget(job.user.as_str());
            let (erased, tombstones) = (vec![job.user.as_str().to_owned()], vec![hash.clone()]);
            (Change { erased, tombstones, ..Change::default() }.apis(seen, &apis), true)
        })
        .await
    }

    /// A transaction whose decision may name further users whose rows it needs: it is begun again with these.
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

    /// If an outage was just found, makes rows due that were parked before for the same answer.
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

/// The settlement, and whether it has opened a circuit for which others get attempts back; or the users whose rows it needs
/// besides. `hash` stands for the user in the guard's document.
fn settle(
    seen: &Seen,
    job: &Job,
    hash: &str,
    end: &SyncEnd,
    entry: Option<&Entry>,
    options: &QueuePolicy,
    others: &BTreeSet<String>,
) -> Result<(Change, (SettledSync, bool)), Vec<String>> {
    let again = seen.now.plus(options.debounce);
    let user = job.user.as_str();
    let mut apis = seen.apis();
    apis.settled(job, seen.now, &options.rates);
    apis.succeeded(user, &job.answered, seen.now);
    let (how, give_back) = match end {
        SyncEnd::As(how) => (how.clone(), Vec::new()),
        SyncEnd::Failed(failed) => error_policy::decide(job, failed, apis.breaker(failed.api), seen.now),
    };
    let row = leased_row(seen, job);
    let mut guard = seen.guard();
    if let Some(suspect) = job.suspect
        && (row.is_some() || job.has_written)
    {
        guard = guard.note(hash, suspect, seen.now, seen.wall);
    }
    let Some(row) = row else {
        let late = seen.rows.get(user).filter(|_| job.has_written);
        let late = late.map(|row| row.clone().written_late(&job.event_type, again));
        let known = seen.apis().known(seen.now, guard.state());
        let came = SettledSync { settled: Settled::LeaseLost, how, known };
        return Ok((Change::rows(late).guard(seen, &guard), (came, false)));
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
    let came = SettledSync { settled, how, known: apis.known(seen.now, guard.state()) };
    Ok((change.apis(seen, &apis).guard(seen, &guard), (came, !of_others.is_empty())))
}

/// The rows of `users`, who get back the attempts that an outage took; or those of them that are not `loaded` yet.
fn given_back(
    seen: &Seen,
    users: &[(String, u32)],
    loaded: &BTreeSet<String>,
) -> Result<Vec<Row>, Vec<String>> {
    let missing: Vec<String> =
        users.iter().map(|(id, _)| id).filter(|id| !loaded.contains(*id)).cloned().collect();
    if !missing.is_empty() {
        return Err(missing);
    }
    let row = |(id, times): &(String, u32)| {
        let row = seen.rows.get(id)?.clone();
        Some(if row.parked_at.is_some() { row.revived(seen.now) } else { row.given_back(*times) })
    };
    Ok(users.iter().filter_map(row).collect())
}

/// The outcome and the reason for history, row and counts.
fn noted(end: &SyncEnd, how: &Settlement, entry: &Entry) -> (&'static str, &'static str) {
    match end {
        SyncEnd::As(_) => (entry.outcome, entry.reason),
        SyncEnd::Failed(failed) => error_policy::outcome(failed.call.class, how).words(),
    }
}

/// The row of `job`, if it is still leased for it.
fn leased_row<'a>(seen: &'a Seen, job: &Job) -> Option<&'a Row> {
    seen.rows.get(job.user.as_str()).filter(|row| row.lease.as_ref() == Some(&job.lease))
}
