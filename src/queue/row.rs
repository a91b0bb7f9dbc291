//! A user's row and everything that can happen to it.
//!
//! Pure: callers pass the time, a [store](super::store) saves what a function returns, and no SQL knows any of these
//! rules but the upsert of an event, the one statement that has to do the same as [`Row::pushed`].
//!
//! A row is a user that is known, not a message. It stays when there is nothing to do.

use serde::{Deserialize, Deserializer, Serialize, Serializer};
use serde_json::{Map, Value};

use super::lane::Lane;
use super::lease::{Job, LeaseName, LeaseRequest, UserLease};
use super::settle::{Settled, Settlement};
use super::{DRIFT, EXPIRY, RESTRICTED};
use crate::clock::Millis;
use crate::model::LastSeen;

/// The cause of a row that an operator made due with `retry`.
pub(super) const RETRY: &str = "retry";

/// A row. Each field is a column of the table `users`; [`COLUMNS`] has their names.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Row {
    /// The user's id, as it is stored.
    pub(super) user_id: String,
    /// Counts the requests for a sync.
    pub(super) generation: i64,
    /// The last event's type, or one of the [causes](super::cause) of our own.
    pub(super) cause: String,
    /// The lane.
    #[serde(with = "lane")]
    pub(super) lane: Lane,
    /// When the user is due; under a lease, when the lease ends. None: nothing to do, or parked.
    #[serde(with = "millis")]
    pub(super) due_at: Option<Millis>,
    /// The lease. It stays after its end, until it is settled or another lease takes over.
    pub(super) lease: Option<LeaseName>,
    /// Failures since the last sync that ended well. A lease that was never settled is one of them.
    pub(super) attempts: u32,
    /// When the first of them was.
    #[serde(with = "millis")]
    pub(super) failing_since: Option<Millis>,
    /// The last of them, without personal data.
    pub(super) error: Option<String>,
    /// Since when the row is parked.
    #[serde(with = "millis")]
    pub(super) parked_at: Option<Millis>,
    /// What all rows have in common that are parked for the same reason.
    pub(super) answer: Option<String>,
    /// Whether `sync.dry_run` or the removal guard kept a change from being written.
    #[serde(with = "flag")]
    pub(super) held_back: bool,
    /// The tags that the removal guard kept the last sync from removing, masked.
    #[serde(with = "tags")]
    pub(super) tags_held: Vec<String>,
    /// Whether the next sync passes the removal guard: an operator has released what it held back.
    #[serde(with = "flag")]
    pub(super) has_pass: bool,
    /// When the last sync that ended well did.
    #[serde(with = "millis")]
    pub(super) synced_at: Option<Millis>,
    /// The outcome of the last sync, if there was one.
    pub(super) outcome: Option<String>,
    /// Why, if the outcome alone does not say it.
    pub(super) reason: Option<String>,
    /// The next time the clock asks for a sync, by the wall clock.
    #[serde(with = "millis")]
    pub(super) check_at: Option<Millis>,
    /// Why it does: [`super::EXPIRY`], [`DRIFT`] or [`super::MISSING`].
    pub(super) check_cause: Option<String>,
    /// What the row remembers of the user.
    #[serde(with = "remembered")]
    pub(super) last_seen: LastSeen,
}

/// The columns of the table `users`, in the order in which the stores name them. The last two are derived from `last_seen`,
/// for their indexes alone.
pub(super) const COLUMNS: [&str; 22] = [
    "user_id",
    "generation",
    "cause",
    "lane",
    "due_at",
    "lease",
    "attempts",
    "failing_since",
    "error",
    "parked_at",
    "answer",
    "held_back",
    "tags_held",
    "has_pass",
    "synced_at",
    "outcome",
    "reason",
    "check_at",
    "check_cause",
    "last_seen",
    "address_key",
    "missing_since",
];

/// What a row is doing. Each row is in exactly one state.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum RowState {
    /// Due now, also if a lease has ended unsettled.
    Due,
    /// Being synced.
    Leased,
    /// Due later: debounce, or an API's outage.
    Scheduled,
    /// Due later, after a failure of its own.
    Failing,
    /// Nothing to do but a change that dry run or the removal guard holds back.
    Held,
    /// Given up until the next event or an operator.
    Parked,
    /// Nothing to do. A check by the clock may lie ahead.
    Idle,
}

impl RowState {
    /// All states.
    pub const ALL: [Self; 7] =
        [Self::Due, Self::Leased, Self::Scheduled, Self::Failing, Self::Held, Self::Parked, Self::Idle];

    /// The word for people and programs.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Due => "due",
            Self::Leased => "leased",
            Self::Scheduled => "scheduled",
            Self::Failing => "failing",
            Self::Held => "held",
            Self::Parked => "parked",
            Self::Idle => "idle",
        }
    }

    /// The state that `word` names.
    pub fn named(word: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|state| state.as_str() == word)
    }

    /// The state as a condition on a row's columns, for both stores: `{now}` stands for the parameter with the time. The
    /// lanes are named so that a condition on `due_at` is a range of the index `users_due`.
    pub(super) fn condition(self) -> &'static str {
        match self {
            Self::Due => "lane IN (0, 1, 2) AND due_at <= {now}",
            Self::Leased => "lease IS NOT NULL AND due_at > {now}",
            Self::Scheduled => {
                "lane IN (0, 1, 2) AND due_at > {now} AND lease IS NULL AND failing_since IS NULL"
            }
            Self::Failing => {
                "lane IN (0, 1, 2) AND due_at > {now} AND lease IS NULL AND failing_since IS NOT NULL"
            }
            Self::Held => "held_back = 1 AND due_at IS NULL AND parked_at IS NULL",
            Self::Parked => "parked_at IS NOT NULL",
            Self::Idle => "held_back = 0 AND due_at IS NULL AND parked_at IS NULL",
        }
    }
}

impl Row {
    /// The row of a new user.
    pub(super) fn new(user: impl Into<String>) -> Self {
        Self { user_id: user.into(), ..Self::default() }
    }

    /// The state at `now`.
    pub(super) fn state(&self, now: Millis) -> RowState {
        match self.due_at {
            _ if self.parked_at.is_some() => RowState::Parked,
            None if self.held_back => RowState::Held,
            None => RowState::Idle,
            Some(due) if due <= now => RowState::Due,
            Some(_) if self.lease.is_some() => RowState::Leased,
            Some(_) if self.failing_since.is_some() => RowState::Failing,
            Some(_) => RowState::Scheduled,
        }
    }

    /// An event came. On a leased row `due_at` stays the lease's end, and only the generation shows it; a row that is not
    /// leased is due at `due` or sooner. A parked row starts afresh. Both stores do this in one statement of their own.
    pub(super) fn pushed(self, cause: &str, due: Millis) -> Self {
        let row = if self.parked_at.is_some() { self.afresh() } else { self };
        let due_at = if row.lease.is_some() { row.due_at } else { row.sooner(due) };
        let generation = row.generation.saturating_add(1);
        Self { generation, cause: cause.to_owned(), lane: Lane::Events, due_at, ..row }
    }

    /// A write was sent under a lease that was lost: newer state may have been written before it, so the user is due
    /// again as after an event. A row that is due or leased keeps its cause, which may allow more.
    pub(super) fn written_late(self, cause: &str, due: Millis) -> Self {
        let cause = if self.due_at.is_none() { cause.to_owned() } else { self.cause.clone() };
        self.pushed(&cause, due)
    }

    /// The row is leased until `until`. An unsettled lease before it counts as an attempt.
    pub(super) fn leased(self, name: &LeaseName, until: Millis, now: Millis) -> Self {
        let row = if self.lease.is_some() { self.failed_once(now) } else { self };
        Self { lease: Some(name.clone()), due_at: Some(until), ..row }
    }

    /// The row as `request` leases it by name, due or not; or why it does not, the APIs aside.
    pub(super) fn requested(self, request: &LeaseRequest, now: Millis) -> Result<Self, UserLease> {
        if let Some(until) = self.due_at.filter(|until| self.lease.is_some() && *until > now) {
            return Err(UserLease::Held(until));
        }
        let lane = if self.due_at.is_some() { self.lane.min(request.lane) } else { request.lane };
        let row = if self.parked_at.is_some() { self.afresh() } else { self };
        let generation = row.generation.saturating_add(1);
        Ok(Self { lane, generation, cause: request.cause.to_owned(), ..row })
    }

    /// Ends the lease of `job`. If a sync was asked for meanwhile, the user is due at `again` whatever the outcome was,
    /// because the sync may have read Sesamy before the change. Memory is a fact about Mailmojo: it is kept however the
    /// sync ends.
    pub(super) fn settled(self, job: &Job, how: &Settlement, now: Millis, again: Millis) -> (Self, Settled) {
        let is_newer = self.generation != job.generation;
        let lane = if is_newer { Lane::Events } else { self.lane };
        let learned = job.learned.as_deref().cloned();
        let row = Self { last_seen: learned.unwrap_or_else(|| self.last_seen.clone()), lane, ..self };
        let open = |row: Self| Self { lease: None, ..row };
        let row = match how {
            Settlement::Abandon { until } => {
                return (Self { due_at: Some(*until), ..row }, Settled::AsAsked);
            }
            Settlement::Release { at } => return (Self { due_at: Some(*at), ..open(row) }, Settled::AsAsked),
            Settlement::Done(done) => {
                let (check_at, check_cause) = done.check.clone().unzip();
                Self {
                    due_at: None,
                    error: None,
                    held_back: done.held_back,
                    tags_held: done.tags_held.clone(),
                    has_pass: false,
                    synced_at: Some(now),
                    last_seen: done.memory.clone(),
                    check_at,
                    check_cause,
                    ..open(row).afresh()
                }
            }
            Settlement::Retry { at, counts, error } => {
                let row = if *counts { row.failed_once(now) } else { row };
                let (lane, error) = (row.lane.max(Lane::Retries), Some(error.clone()));
                Self { due_at: Some(*at), lane, error, ..open(row) }
            }
            Settlement::Park { error, .. } if is_newer => {
                Self { error: Some(error.clone()), ..open(row).unchecked().afresh() }
            }
            Settlement::Park { error, answer } => Self {
                due_at: None,
                error: Some(error.clone()),
                parked_at: Some(now),
                answer: Some(answer.clone()),
                failing_since: row.failing_since.or(Some(now)),
                ..open(row).unchecked()
            },
        };
        if is_newer {
            (Self { due_at: Some(again), lane: Lane::Events, ..row }, Settled::DueAgain)
        } else {
            (row, Settled::AsAsked)
        }
    }

    /// An operator makes the row due at once. None: there is nothing to retry, because the row is leased, or neither parked nor
    /// due. A retry of a restricted sync stays restricted.
    pub(super) fn retried(self, now: Millis) -> Option<Self> {
        if self.lease.is_some() || (self.due_at.is_none() && self.parked_at.is_none()) {
            return None;
        }
        let lane = if self.due_at.is_some() { self.lane.min(Lane::Retries) } else { Lane::Retries };
        let is_restricted = RESTRICTED.contains(&self.cause.as_str());
        let cause = if is_restricted { self.cause.clone() } else { RETRY.to_owned() };
        Some(Self { due_at: self.sooner(now), lane, cause, ..self.afresh() })
    }

    /// An outage took `times` attempts from the user, and gives them back.
    pub(super) fn given_back(self, times: u32) -> Self {
        let attempts = self.attempts.saturating_sub(times);
        Self { attempts, failing_since: self.failing_since.filter(|_| attempts > 0), ..self }
    }

    /// The outage is over that parked the row.
    pub(super) fn revived(self, due: Millis) -> Self {
        let lane = self.lane.max(Lane::Retries);
        Self { due_at: Some(due), lane, ..self.afresh() }
    }

    /// The row's check has come. A parked row waits for an event; a row that is due sooner in a faster lane needs no check.
    /// The cause stays where it may allow more than a check does: of a change that is held back, and of a user whom Sesamy does not
    /// know yet.
    pub(super) fn checked(self, now: Millis) -> Self {
        let cause = self.check_cause.clone().unwrap_or_else(|| DRIFT.to_owned());
        let lane = if cause == DRIFT { Lane::Background } else { Lane::Retries };
        // The cause of the check stays until a sync ends well: a loss that was known beforehand is no fault of the source.
        let row = Self { check_at: None, ..self };
        if row.parked_at.is_some() || row.due_at.is_some() && row.lane <= lane {
            return row;
        }
        let is_unknown = row.last_seen.email.is_none() && row.last_seen.missing_since.is_some();
        let keeps_cause = row.due_at.is_some() || row.held_back || is_unknown;
        let cause = if keeps_cause { row.cause.clone() } else { cause };
        Self { due_at: row.sooner(now), lane, cause, ..row }
    }

    /// A backfill lists the user. None: there is nothing to add, because the row is due, leased, or was synced or parked since
    /// `since`. But a row that is due for a restricted cause takes the backfill's, which may allow more.
    pub(super) fn enqueued(self, cause: &str, since: Millis, now: Millis) -> Option<Self> {
        let is_restricted = |cause: &str| RESTRICTED.contains(&cause);
        if self.due_at.is_some()
            && self.lease.is_none()
            && is_restricted(&self.cause)
            && !is_restricted(cause)
        {
            return Some(Self { cause: cause.to_owned(), ..self });
        }
        if self.is_touched_since(since, now) {
            return None;
        }
        let generation = self.generation.saturating_add(1);
        let row = self.afresh();
        Some(Self { due_at: Some(now), lane: Lane::Background, generation, cause: cause.to_owned(), ..row })
    }

    /// Nothing holds the change back any more. Rows that were not due go behind events, as they may be many. What the removal
    /// guard held back gets a pass: an operator has seen it.
    pub(super) fn released(self, now: Millis) -> Self {
        let lane = if self.due_at.is_none() { self.lane.max(Lane::Retries) } else { self.lane };
        let due_at = if self.lease.is_some() { self.due_at } else { self.sooner(now) };
        let has_pass = self.has_pass || !self.tags_held.is_empty();
        Self { held_back: false, tags_held: Vec::new(), has_pass, lane, due_at, ..self }
    }

    /// The row is due, or its lease ends, at `latest` or sooner.
    pub(super) fn brought_back(self, latest: Millis) -> Self {
        Self { due_at: self.due_at.map(|due| due.min(latest)), ..self }
    }

    /// The id is not valid: the row is parked for an operator to see.
    pub(super) fn refused(self, error: String, now: Millis) -> Self {
        let answer = Some("the user id".to_owned());
        let row = Self { lease: None, due_at: None, ..self };
        Self { error: Some(error), parked_at: Some(now), answer, ..row }
    }

    /// Whether the row may be pruned: Sesamy has not known the user since before `before`, and nothing else would be lost.
    pub(super) fn is_pruned(&self, before: Millis) -> bool {
        self.last_seen.missing_since.is_some_and(|since| since < before)
            && self.last_seen.email.is_none()
            && self.due_at.is_none()
            && self.lease.is_none()
            && !self.held_back
    }

    /// Synced or parked at `since` or later, or due anyhow. A time that lies ahead was written by a clock that was wrong,
    /// and proves nothing.
    fn is_touched_since(&self, since: Millis, now: Millis) -> bool {
        let is_since = |at: Option<Millis>| at.is_some_and(|at| since <= at && at <= now);
        self.due_at.is_some() || is_since(self.synced_at) || is_since(self.parked_at)
    }

    fn sooner(&self, at: Millis) -> Option<Millis> {
        Some(self.due_at.map_or(at, |due| due.min(at)))
    }

    fn afresh(self) -> Self {
        Self { attempts: 0, failing_since: None, parked_at: None, answer: None, ..self }
    }

    fn failed_once(self, now: Millis) -> Self {
        let failing_since = self.failing_since.or(Some(now));
        Self { attempts: self.attempts.saturating_add(1), failing_since, ..self }
    }

    /// A parked row is shown as it is, and the next event asks for a sync anyhow.
    fn unchecked(self) -> Self {
        let row = Self { held_back: false, tags_held: Vec::new(), has_pass: false, ..self };
        Self { check_at: None, check_cause: None, ..row }
    }

    /// Whether the tags were expected to change by `wall`: the check with the cause [`EXPIRY`] has come, and no sync has ended
    /// well since.
    pub(super) fn expiry_has_come(&self, wall: Millis) -> bool {
        let has_come = self.check_at.is_none_or(|at| at <= wall);
        self.cause == EXPIRY || (self.check_cause.as_deref() == Some(EXPIRY) && has_come)
    }

    /// The row as a store saves it: a value for each of [`COLUMNS`].
    pub(super) fn to_record(&self) -> Map<String, Value> {
        // Every field is a number, a text or a flag, so that this cannot fail.
        let mut record = match serde_json::to_value(self) {
            Ok(Value::Object(record)) => record,
            _ => Map::new(),
        };
        let since = self.last_seen.missing_since.map(|since| since.0);
        record.insert("address_key".to_owned(), self.last_seen.email_key().into());
        record.insert("missing_since".to_owned(), since.into());
        // Postgres stores no U+0000.
        for text in record.values_mut() {
            if let Value::String(text) = text
                && text.contains('\0')
            {
                *text = text.replace('\0', "\u{fffd}");
            }
        }
        record
    }

    /// The row that a store loaded. An error is a value that no version of this program saves.
    pub(super) fn of_record(record: Map<String, Value>) -> Result<Self, serde_json::Error> {
        serde_json::from_value(Value::Object(record))
    }
}

mod lane {
    use super::*;

    pub(super) fn serialize<S: Serializer>(lane: &Lane, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_i64(lane.number())
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Lane, D::Error> {
        i64::deserialize(deserializer).map(Lane::of_number)
    }
}

mod millis {
    use super::*;

    pub(super) fn serialize<S: Serializer>(at: &Option<Millis>, serializer: S) -> Result<S::Ok, S::Error> {
        at.map(|at| at.0).serialize(serializer)
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(
        deserializer: D,
    ) -> Result<Option<Millis>, D::Error> {
        Ok(Option::<i64>::deserialize(deserializer)?.map(Millis))
    }
}

/// 0 or 1: SQLite has no type of its own for a flag.
mod flag {
    use super::*;

    pub(super) fn serialize<S: Serializer>(flag: &bool, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_u8(u8::from(*flag))
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<bool, D::Error> {
        Ok(u8::deserialize(deserializer)? != 0)
    }
}

/// A JSON list, or nothing.
mod tags {
    use super::*;

    pub(super) fn serialize<S: Serializer>(tags: &[String], serializer: S) -> Result<S::Ok, S::Error> {
        // A list of texts can always be written as JSON.
        let json =
            Some(tags).filter(|tags| !tags.is_empty()).and_then(|tags| serde_json::to_string(tags).ok());
        json.serialize(serializer)
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Vec<String>, D::Error> {
        let json = Option::<String>::deserialize(deserializer)?;
        json.map_or(Ok(Vec::new()), |json| serde_json::from_str(&json).map_err(serde::de::Error::custom))
    }
}

/// JSON in a column of its own, so that one more thing to remember changes no schema.
mod remembered {
    use super::*;

    pub(super) fn serialize<S: Serializer>(memory: &LastSeen, serializer: S) -> Result<S::Ok, S::Error> {
        memory.to_json().serialize(serializer)
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<LastSeen, D::Error> {
        Ok(LastSeen::of_json(Option::<String>::deserialize(deserializer)?.as_deref()))
    }
}

#[cfg(test)]
mod tests;
