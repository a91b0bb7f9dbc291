//! Leases: while a user is leased, nobody else syncs this user.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::apis::{Admitted, Apis, SharedState};
use super::documents::{APIS, GUARD};
use super::lane::Lane;
use super::row::{Row, RowState};
use super::settle::{Settlement, SyncEnd};
use super::store::{Change, First, Index, Look, Question, Seen};
use super::{Queue, QueueError, QueuePolicy, Role};
use crate::clock::Millis;
use crate::model::LastSeen;
use crate::upstream::circuit_breaker::CallKind;
use crate::upstream::{Api, PerApi};
use crate::user::UserId;

/// A probe is chosen from this many due rows of each lane.
const PROBE_CANDIDATES: usize = 16;
/// At most this many users of one address are checked for a lease.
const SHARERS: usize = 50;
/// The shortest wait of a user whose address is being synced for another user.
const SHARED_ADDRESS_WAIT: Duration = Duration::from_millis(500);

/// The name of a lease: `service-` or `command-` and a random number. Rows that were leased together share one.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct LeaseName(String);

impl LeaseName {
    /// A name for a lease of a process in `role`. A start ends the leases that a service left behind, but not those of a
    /// command.
    pub(crate) fn new(role: Role, random: u64) -> Self {
        let holder = match role {
            Role::Service => "service",
            Role::Command { .. } => "command",
        };
        Self(format!("{holder}-{random:016x}"))
    }

    pub(crate) fn as_str(&self) -> &str {
        &self.0
    }
}

/// A user under lease.
#[derive(Debug, Clone)]
pub struct Job {
    /// The user to sync.
    pub user: UserId,
    /// The last event's type, or one of the causes in `cause.rs`, for the log.
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
    /// The calls that are left of those taken for it. A settlement that comes soon enough gives them back.
    pub calls: PerApi<u32>,
    /// The calls that were taken for it at first.
    pub calls_taken: PerApi<u32>,
    /// Whether this sync is the probe of a half-open circuit.
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
    pub memory: LastSeen,
    /// What the row is to remember instead unless the lease ends by [`super::Settlement::Done`]. None: nothing new.
    pub learned: Option<Box<LastSeen>>,
}

impl Job {
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
    /// `all` users of any lane.
    pub fn for_any(all: usize) -> Self {
        Self { all, background: all }
    }
}

/// The result of [`Queue::lease`].
#[derive(Debug, Clone, Default)]
pub struct Leased {
    /// The leased users: lane by lane, and in each the longest due first.
    pub jobs: Vec<Job>,
    /// When to ask again, by the queue's clock: the next row becomes due, or an API's circuit or rate allows more. None:
    /// nothing is due, ever, or there was no slot for it.
    pub again_at: Option<Millis>,
    /// The state that all processes share. While syncs are paused, nobody was leased.
    pub known: SharedState,
}

/// A lease of one user, asked for by name.
#[derive(Debug, Clone)]
pub struct LeaseRequest {
    /// The user. An unknown user gets a row.
    pub user: UserId,
    /// The cause for the history, in place of an event's type.
    pub cause: &'static str,
    /// The lane that it counts as, and fails into.
    pub lane: Lane,
    /// The calls that its sync needs. None of either API: the lease waits for no API and no pause, and is no probe.
    pub calls: PerApi<u32>,
    /// Whether a forgotten user is taken up again; otherwise that is [`UserLease::Forgotten`].
    pub again: bool,
}

/// The result of `Queue::lease_user`.
#[derive(Debug, Clone)]
pub enum UserLease {
    /// The user is leased. One that was parked starts afresh.
    Leased(Box<Job>),
    /// The user is being synced, until then at the latest.
    Held(Millis),
    /// An API's circuit is open, or its rate is used up, until then. No row was made.
    NotBefore(Millis),
    /// Syncs are paused. No row was made.
    Paused,
    /// The user was forgotten (`Queue::forget`), and has no row any more.
    Forgotten,
}

impl Queue {
    /// Leases due users, lane by lane and in each the longest due first. Nobody is leased while an API's circuit is open or syncs
    /// are paused, and no more than the rates have calls for. Through a half-open circuit all processes together lease one
    /// probe: if possible a user whose last sync did not fail, since users who fail by themselves say nothing about the API.
    pub async fn lease(&self, slots: Slots) -> Result<Leased, QueueError> {
        let (name, options) = (self.lease_name(), self.0.options);
        let most = slots.all.max(PROBE_CANDIDATES);
        let first = Lane::ALL.map(|lane| First { of: Index::Due(lane), most }).to_vec();
        let look = Look { first, next_due: true, ..Look::default() }.with(APIS).with(GUARD);
        self.0.wake.looks();
        let mut leased = self.transact(look, move |seen| lease(seen, slots, &name, &options)).await?;
        for job in self.without_forgotten(std::mem::take(&mut leased.jobs)).await? {
            if self.yielded_to_sharer(&job).await?.is_none() {
                leased.jobs.push(job);
            }
        }
        Ok(leased)
    }

    /// Leases one user by name, due or not.
    pub(crate) async fn lease_user(&self, request: LeaseRequest) -> Result<UserLease, QueueError> {
        let (name, options) = (self.lease_name(), self.0.options);
        let hash = self.0.erasure_key.hash(request.user.as_str());
        let tombstones = vec![hash.clone()];
        let look = Look { tombstones, ..Look::rows([request.user.as_str()]) }.with(APIS).with(GUARD);
        let lease =
            self.transact(look, move |seen| match lease_by_name(seen, &request, &hash, &name, &options) {
                Ok((change, job)) => (change, UserLease::Leased(Box::new(job))),
                Err(UserLease::Forgotten) => {
                    // An event has made the row since the user was forgotten.
                    let erased = seen.rows.keys().cloned().collect();
                    (Change { erased, ..Change::default() }, UserLease::Forgotten)
                }
                Err(refused) => (Change::default(), refused),
            });
        let lease = lease.await?;
        if let UserLease::Leased(job) = &lease
            && let Some(until) = self.yielded_to_sharer(job).await?
        {
            return Ok(UserLease::Held(until));
        }
        Ok(lease)
    }

    /// Erases the rows of forgotten users again, which an event or a backfill has made since, and drops their jobs. A user with
    /// memory was synced, and so cannot be one of them.
    async fn without_forgotten(&self, jobs: Vec<Job>) -> Result<Vec<Job>, QueueError> {
        let is_new = |job: &&Job| job.memory == LastSeen::default();
        let new: Vec<UserId> = jobs.iter().filter(is_new).map(|job| job.user.clone()).collect();
        let forgotten = if new.is_empty() { new } else { self.forgotten(&new).await? };
        let (forgotten, jobs): (Vec<_>, Vec<_>) =
            jobs.into_iter().partition(|job| forgotten.contains(&job.user));
        for job in &forgotten {
            self.forget(job).await?;
        }
        Ok(jobs)
    }

    /// Postpones a job if another leased user has the same address: a contact belongs to an address, and no two users of one are
    /// synced at once. The result is the end of the other lease; None if there is none, and the job stays.
    ///
    /// The lease that ends first came first, and stays; of two that end together the one of the smaller id. Each lease is saved
    /// before this check, so at least one of two sees the other.
    async fn yielded_to_sharer(&self, job: &Job) -> Result<Option<Millis>, QueueError> {
        let Some(key) = job.memory.email_key() else { return Ok(None) };
        let rows = self.read_rows(Question::RowsAt(key, SHARERS)).await?;
        let now = self.0.clock.now();
        let own = (Some(job.leased_at.plus(self.0.options.lease)), job.user.as_str());
        let is_busy =
            |row: &&Row| row.state(now) == RowState::Leased && (row.due_at, row.user_id.as_str()) < own;
        let Some(busy) = rows.iter().find(is_busy) else { return Ok(None) };
        let at = now.plus(self.0.options.debounce.max(SHARED_ADDRESS_WAIT));
        self.settle_sync(job, &SyncEnd::As(Settlement::Release { at }), None).await?;
        Ok(busy.due_at)
    }
}

fn lease(seen: &Seen, slots: Slots, name: &LeaseName, options: &QueuePolicy) -> (Change, Leased) {
    let (now, until, rates) = (seen.now, seen.now.plus(options.lease), &options.rates);
    let mut apis = seen.apis().checked(now, rates);
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
            let candidates = prompt.iter().chain(of_background).copied();
            // Each probe is another user, if possible one that has not failed.
            candidates
                .min_by_key(|row| (apis.has_failed(&row.user_id), row.attempts > 0))
                .into_iter()
                .collect()
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
    let admitted =
        if prompt.len() > taken { 0 } else { apis.admit(Lane::Background, most, now, rates).most() };
    let picked: Vec<&Row> = background.iter().take(admitted.min(most)).copied().collect();
    let taken = take(&picked, &mut apis);
    let limited = apis.admit(Lane::Background, most, now, rates).not_before();
    let rest = background.len().saturating_sub(taken);
    let background_again = if most > 0 { again(rest, &[Lane::Background], limited) } else { None };
    let again_at = prompt_again.into_iter().chain(background_again).min();
    let leased = Leased { jobs, again_at, known: apis.known(now, seen.guard().state()) };
    (Change::rows(rows).apis(seen, &apis), leased)
}

fn lease_by_name(
    seen: &Seen,
    request: &LeaseRequest,
    hash: &str,
    name: &LeaseName,
    options: &QueuePolicy,
) -> Result<(Change, Job), UserLease> {
    let rates = options.rates.with_calls(request.calls);
    let (now, until) = (seen.now, seen.now.plus(options.lease));
    let mut apis = seen.apis().checked(now, &rates);
    let row = seen.rows.get(request.user.as_str());
    let is_forgotten = seen.tombstones.contains(hash) && row.is_none_or(|row| row.synced_at.is_none());
    if is_forgotten && !request.again {
        return Err(UserLease::Forgotten);
    }
    let is_taken_over = row.is_some_and(|row| row.lease.is_some());
    let row = row.cloned().unwrap_or_else(|| Row { lane: request.lane, ..Row::new(request.user.as_str()) });
    let row = row.requested(request, now)?;
    if request.calls != PerApi::default() {
        match apis.admit(row.lane, 1, now, &rates) {
            Admitted::Users(_) | Admitted::Probe => {}
            Admitted::NotBefore(until) => return Err(UserLease::NotBefore(until)),
            Admitted::Paused => return Err(UserLease::Paused),
        }
    }
    let row = row.leased(name, until, now);
    let mut job = Job::new(request.user.clone(), &row, is_taken_over, name.clone(), seen);
    apis.leased(std::slice::from_mut(&mut job), now, until, &rates);
    let removed_tombstones = Some(hash.to_owned()).filter(|_| is_forgotten).into_iter().collect();
    let change = Change { removed_tombstones, ..Change::rows([row]) };
    Ok((change.apis(seen, &apis), job))
}
