//! Leases: while a user is leased, nobody else syncs this user.

use std::fmt;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::apis::{Admitted, Apis, Known};
use super::documents::{APIS, GUARD};
use super::lane::Lane;
use super::removal_guard::{Guard, GuardState};
use super::row::{Row, State};
use super::store::{Change, First, Index, Look, Question, Seen};
use super::{Options, Queue, QueueError, Role};
use crate::clock::Millis;
use crate::memory::Memory;
use crate::upstream::circuit_breaker::CallKind;
use crate::upstream::{Api, Attempt, PerApi};
use crate::user::UserId;

/// Among so many due rows a probe looks for one whose last sync did not fail.
const PROBE_CANDIDATES: usize = 16;

/// More users of one address than this are not looked at.
const SHARERS: usize = 50;
/// How long a user waits at least whose address another user's sync is busy with.
const SHARED_ADDRESS_WAIT: Duration = Duration::from_millis(500);

/// The name of a lease: `service-` or `command-` and a random number. Rows that were leased together share one.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct LeaseName(String);

impl LeaseName {
    /// A name for a lease of a process in `role`. The leases of a service end soon after its next start; those of a command
    /// stand.
    pub(crate) fn new(role: Role, random: u64) -> Self {
        let holder = match role {
            Role::Service => "service",
            Role::Command { .. } => "command",
        };
        Self(format!("{holder}-{random:016x}"))
    }

    /// The name as text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for LeaseName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// A user under lease.
#[derive(Debug, Clone)]
pub struct Job {
    /// The user to sync.
    pub user: UserId,
    /// The event type that came last, or a word of ours, for the log.
    pub event_type: String,
    /// Failures since the last sync that ended well. A lease that was never settled is one of them.
    pub attempts: u32,
    /// When the first of these failures was.
    pub failing_since: Option<Millis>,
    /// Whether the lease before was never settled: its process ended, or hung, in the middle of the sync.
    pub is_taken_over: bool,
    /// The lease.
    pub lease: LeaseName,
    /// The row's generation when it was leased.
    pub generation: i64,
    /// The row's lane.
    pub lane: Lane,
    /// When the lease began, by the queue's clock: its end is counted from there, however late the answer comes.
    pub leased_at: Millis,
    /// The calls that were taken for it; those that are left when it is settled are given back, if that is soon.
    pub calls: PerApi<u32>,
    /// The calls that were taken for it at first.
    pub calls_taken: PerApi<u32>,
    /// Whether it tries if an API is back.
    pub is_probe: bool,
    /// Whether a write was sent under this lease, as far as its holder has reported.
    pub has_written: bool,
    /// Whether a loss of tags was known beforehand: the row's check with the cause [`super::EXPIRY`] has come.
    pub expiry_has_come: bool,
    /// Whether an operator has let a change through that the removal guard had held back.
    pub has_pass: bool,
    /// Whether the sync was suspect, for the removal guard. None: it wrote nothing, the user had nothing to lose, or the row
    /// has a pass.
    pub suspect: Option<bool>,
    /// The calls that all succeeded under this lease, as far as its holder has reported.
    pub answered: Vec<(Api, CallKind)>,
    /// What the row remembers of the user.
    pub memory: Memory,
    /// What the row is to remember instead where the lease ends otherwise than by [`super::Settlement::Done`]; none: nothing
    /// new.
    pub learned: Option<Box<Memory>>,
}

impl Job {
    /// The job at the end of `attempt`, its sync, ready to be settled.
    #[must_use]
    pub fn after(self, attempt: &Attempt) -> Self {
        Self { calls: attempt.calls_left(), has_written: attempt.has_written(), ..self }
    }

    fn new(user: UserId, row: &Row, is_taken_over: bool, lease: LeaseName, seen: &Seen) -> Self {
        Self {
            user,
            event_type: row.cause.clone(),
            attempts: row.attempts,
            failing_since: row.failing_since,
            is_taken_over,
            lease,
            generation: row.generation,
            lane: row.lane,
            leased_at: seen.now,
            calls: PerApi::default(), // these three are set by `Apis::leased`
            calls_taken: PerApi::default(),
            is_probe: false,
            has_written: false,
            expiry_has_come: row.expiry_has_come(seen.wall),
            has_pass: row.has_pass,
            suspect: None,
            answered: Vec::new(),
            memory: row.last_seen.clone(),
            learned: None,
        }
    }
}

/// How many users a worker can sync now.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Slots {
    /// In all.
    pub all: usize,
    /// Of them, of the background lane.
    pub background: usize,
}

impl Slots {
    /// So many of any lane.
    #[must_use]
    pub fn for_any(all: usize) -> Self {
        Self { all, background: all }
    }
}

/// What came of asking for leases.
#[derive(Debug, Clone, Default)]
pub struct Leased {
    /// The leased users: lane by lane, and in each the longest due first.
    pub jobs: Vec<Job>,
    /// When to ask again, by the queue's clock: the next row becomes due, or an API's circuit or rate allows more. None:
    /// nothing is due, ever, or there was no slot for it.
    pub again_at: Option<Millis>,
    /// What all processes know of both APIs, and whether syncs are paused: then nobody was leased.
    pub known: Known,
}

/// A lease of one user, asked for by name.
#[derive(Debug, Clone)]
pub struct LeaseRequest {
    /// The user. One who is not known yet is from then on.
    pub user: UserId,
    /// Why, for the history: a word of ours in place of an event's type.
    pub cause: &'static str,
    /// The lane that it counts as, and fails into.
    pub lane: Lane,
    /// The calls that its sync needs. None of either API: the lease waits for no API and no pause, and is no probe.
    pub calls: PerApi<u32>,
    /// Whether a forgotten user is taken up again; otherwise that is [`UserLease::Forgotten`].
    pub again: bool,
}

/// What came of a [`LeaseRequest`].
#[derive(Debug, Clone)]
pub enum UserLease {
    /// The user is leased. One that was parked starts afresh.
    Leased(Box<Job>),
    /// Somebody syncs the user just now, until then at the latest.
    Held(Millis),
    /// An API's circuit is open, or its rate is used up, until then. Nobody became known by asking.
    NotBefore(Millis),
    /// Syncs are paused. Nobody became known by asking.
    Paused,
    /// The user was forgotten ([`Queue::forget`]), and is not known any more.
    Forgotten,
}

impl Queue {
    /// Leases up to so many due users, lane by lane and in each the longest due first: none while an API's circuit is open or
    /// syncs are paused, no more than the rates have calls for, and of all processes together one alone where it is to be
    /// seen whether an API is back. Such a probe is a user whose last sync did not fail, if there is one, so that users who
    /// fail by themselves do not stand for the API.
    ///
    /// # Errors
    /// The store failed; nothing is leased.
    pub async fn lease(&self, slots: Slots) -> Result<Leased, QueueError> {
        let name = self.lease_name();
        let options = self.options();
        let most = slots.all.max(PROBE_CANDIDATES);
        let first = Lane::ALL.map(|lane| First { of: Index::Due(lane), most }).to_vec();
        let look = Look { first, next_due: true, ..Look::default() }.with(APIS).with(GUARD);
        self.wake().looks();
        let mut leased = self.transact(look, move |seen| lease(seen, slots, &name, &options)).await?;
        self.guard_is(leased.known.guard);
        self.drop_forgotten(&mut leased.jobs).await?;
        let mut jobs = Vec::with_capacity(leased.jobs.len());
        for job in std::mem::take(&mut leased.jobs) {
            if self.yielded_to_sharer(&job).await?.is_none() {
                jobs.push(job);
            }
        }
        Ok(Leased { jobs, ..leased })
    }

    /// Leases one user by name.
    ///
    /// # Errors
    /// The store failed; nobody is leased.
    pub async fn lease_user(&self, request: LeaseRequest) -> Result<UserLease, QueueError> {
        let (name, options) = (self.lease_name(), self.options());
        let hash = self.erasure_key().hash(request.user.as_str());
        let tombstones = vec![hash.clone()];
        let look = Look { tombstones, ..Look::rows([request.user.as_str()]) }.with(APIS).with(GUARD);
        let lease =
            self.transact(look, move |seen| match lease_by_name(seen, &request, &hash, &name, &options) {
                Ok((change, job)) => (change, (UserLease::Leased(Box::new(job)), guard_of(seen))),
                Err(refused) => {
                    // An event has made the row since the user was forgotten.
                    let is_forgotten = matches!(refused, UserLease::Forgotten);
                    let erased = seen.rows.keys().filter(|_| is_forgotten).cloned().collect();
                    (Change { erased, ..Change::default() }, (refused, guard_of(seen)))
                }
            });
        let (lease, guard) = lease.await?;
        self.guard_is(guard);
        if let UserLease::Leased(job) = &lease
            && let Some(until) = self.yielded_to_sharer(job).await?
        {
            return Ok(UserLease::Held(until));
        }
        Ok(lease)
    }

    /// Drops the jobs of forgotten users, and erases their rows: an event may name a user whom an operator had forgotten.
    /// Only a row that was never synced can be theirs.
    async fn drop_forgotten(&self, jobs: &mut Vec<Job>) -> Result<(), QueueError> {
        let is_new = |job: &&Job| job.memory == Memory::default();
        let hash = |job: &Job| self.erasure_key().hash(job.user.as_str());
        let suspects: Vec<(String, Job)> =
            jobs.iter().filter(is_new).map(|job| (hash(job), job.clone())).collect();
        if suspects.is_empty() {
            return Ok(());
        }
        let tombstones = suspects.iter().map(|(hash, _)| hash.clone()).collect();
        if self.tombstones(tombstones).await?.is_empty() {
            return Ok(());
        }
        let rates = self.options().rates;
        let look = Look::rows(suspects.iter().map(|(_, job)| job.user.as_str()));
        let tombstones = suspects.iter().map(|(hash, _)| hash.clone()).collect();
        let look = Look { tombstones, ..look }.with(APIS);
        let dropped = self
            .transact(look, move |seen| {
                let before: Apis = seen.document(APIS);
                let (mut apis, mut erased) = (before.clone(), Vec::new());
                for (hash, job) in &suspects {
                    let row = seen.rows.get(job.user.as_str());
                    let is_new = row.is_some_and(|row| row.synced_at.is_none());
                    if is_new && seen.tombstones.contains(hash) {
                        apis.settled(job, seen.now, &rates);
                        erased.push(job.user.as_str().to_owned());
                    }
                }
                let change = Change { erased: erased.clone(), ..Change::default() };
                (change.document(APIS, &before, &apis), erased)
            })
            .await?;
        jobs.retain(|job| !dropped.iter().any(|user| user == job.user.as_str()));
        Ok(())
    }
}

impl Queue {
    /// Gives a job back whose address another leased user shares: a contact belongs to an address, and no two users of one are
    /// synced at once. The end of the other lease; none where there is none, and the job stays.
    ///
    /// The lease that ends first was there first, and stays; of two that end together the one of the smaller id. Each lease
    /// looks after it was saved, so that of two at least one sees the other.
    async fn yielded_to_sharer(&self, job: &Job) -> Result<Option<Millis>, QueueError> {
        let Some(key) = job.memory.email_key() else { return Ok(None) };
        let rows = self.read_rows(Question::RowsAt(key, SHARERS)).await?;
        let now = self.clock().now();
        let own = (Some(job.leased_at.plus(self.options().lease)), job.user.as_str());
        let is_busy =
            |row: &&Row| row.state(now) == State::Leased && (row.due_at, row.user_id.as_str()) < own;
        let busy = rows.iter().find(is_busy);
        if busy.is_some() {
            let at = now.plus(self.options().debounce.max(SHARED_ADDRESS_WAIT));
            self.postpone(job, at).await?;
        }
        Ok(busy.and_then(|row| row.due_at))
    }

    /// Ends the lease of `job` as if it had not been: the user is due again at `at`, for the same cause and in the same lane.
    async fn postpone(&self, job: &Job, at: Millis) -> Result<(), QueueError> {
        let (job, rates) = (job.clone(), self.options().rates);
        self.transact(Look::rows([job.user.as_str()]).with(APIS), move |seen| {
            let leased =
                seen.rows.get(job.user.as_str()).filter(|row| row.lease.as_ref() == Some(&job.lease));
            let Some(row) = leased else { return (Change::default(), ()) };
            let before: Apis = seen.document(APIS);
            let mut apis = before.clone();
            apis.settled(&job, seen.now, &rates);
            (Change::rows([row.clone().postponed(at)]).document(APIS, &before, &apis), ())
        })
        .await
    }
}

fn lease(seen: &Seen, slots: Slots, name: &LeaseName, options: &Options) -> (Change, Leased) {
    let (now, until, rates) = (seen.now, seen.now.plus(options.lease), &options.rates);
    let before: Apis = seen.document(APIS);
    let mut apis = before.clone().checked(now, rates);
    let of_lane = |lane: Lane| seen.first.get(lane as usize).into_iter().flatten();
    let prompt: Vec<&Row> = of_lane(Lane::Events).chain(of_lane(Lane::Retries)).collect();
    let background: Vec<&Row> = of_lane(Lane::Background).collect();
    let (mut rows, mut jobs) = (Vec::new(), Vec::new());
    let mut take = |picked: &[&Row], apis: &mut Apis| {
        let mut taken = Vec::new();
        for &row in picked {
            match UserId::new(row.user_id.as_str()) {
                Ok(user) => {
                    let is_taken_over = row.lease.is_some();
                    let row = row.clone().leased(name, until, now);
                    taken.push(Job::new(user, &row, is_taken_over, name.clone(), seen));
                    rows.push(row);
                }
                Err(why) => rows.push(row.clone().refused(why.to_string(), now)),
            }
        }
        apis.leased(&mut taken, now, until, rates);
        let count = taken.len();
        jobs.append(&mut taken);
        count
    };

    let admitted = apis.admit(Lane::Events, slots.all, now, rates);
    let picked = match admitted {
        Admitted::Probe => {
            let may_be_background =
                slots.background > 0 && apis.admit(Lane::Background, 1, now, rates) == admitted;
            let of_background = background.iter().filter(|_| may_be_background);
            probe(&apis, prompt.iter().chain(of_background).copied()).into_iter().collect()
        }
        admitted => prompt[..prompt.len().min(admitted.most())].to_vec(),
    };
    let taken = take(&picked, &mut apis);
    let limited = apis.admit(Lane::Events, slots.all, now, rates).not_before();
    let again = |rest: usize, lanes: &[Lane], limited: Option<Millis>| {
        let next = lanes.iter().filter_map(|lane| seen.next_due.get(lane)).min().copied();
        if rest > 0 { limited } else { next.map(|next| limited.map_or(next, |limited| next.max(limited))) }
    };
    let prompt_again = again(prompt.len().saturating_sub(taken), &[Lane::Events, Lane::Retries], limited);

    let most = slots.background.min(slots.all.saturating_sub(taken));
    let admitted = if prompt.len() > taken {
        Admitted::Users(0)
    } else {
        apis.admit(Lane::Background, most, now, rates)
    };
    let picked: Vec<&Row> = background.iter().take(admitted.most().min(most)).copied().collect();
    let taken = take(&picked, &mut apis);
    let limited = apis.admit(Lane::Background, most, now, rates).not_before();
    let background_again = if most == 0 {
        None
    } else {
        again(background.len().saturating_sub(taken), &[Lane::Background], limited)
    };
    let again_at = prompt_again.into_iter().chain(background_again).min();
    let leased = Leased { jobs, again_at, known: apis.known(now, guard_of(seen)) };
    (Change::rows(rows).document(APIS, &before, &apis), leased)
}

fn guard_of(seen: &Seen) -> GuardState {
    seen.document::<Guard>(GUARD).state()
}

/// The row to try with whether an API is back: each time another user's, and if possible one that has not failed.
fn probe<'a>(apis: &Apis, due: impl Iterator<Item = &'a Row>) -> Option<&'a Row> {
    due.min_by_key(|row| (apis.has_failed(&row.user_id), row.attempts > 0))
}

fn lease_by_name(
    seen: &Seen,
    request: &LeaseRequest,
    hash: &str,
    name: &LeaseName,
    options: &Options,
) -> Result<(Change, Job), UserLease> {
    let rates = options.rates.with_calls(request.calls);
    let (now, until) = (seen.now, seen.now.plus(options.lease));
    let before: Apis = seen.document(APIS);
    let mut apis = before.clone().checked(now, &rates);
    let row = seen.rows.get(request.user.as_str());
    let is_forgotten = seen.tombstones.contains(hash) && row.is_none_or(|row| row.synced_at.is_none());
    if is_forgotten && !request.again {
        return Err(UserLease::Forgotten);
    }
    let is_taken_over = row.is_some_and(|row| row.lease.is_some());
    let row = row.cloned().unwrap_or_else(|| Row { lane: request.lane, ..Row::new(request.user.as_str()) });
    let row = apis.request(request, row, now, &rates)?.leased(name, until, now);
    let mut job = Job::new(request.user.clone(), &row, is_taken_over, name.clone(), seen);
    apis.leased(std::slice::from_mut(&mut job), now, until, &rates);
    let removed_tombstones = Some(hash.to_owned()).filter(|_| is_forgotten).into_iter().collect();
    let change = Change { removed_tombstones, ..Change::rows([row]) };
    Ok((change.document(APIS, &before, &apis), job))
}
