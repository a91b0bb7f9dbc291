//! Leasing: lane by lane as far as both APIs allow, or one user by name. Inside the writer's transaction.

use rusqlite::{OptionalExtension, Row, Transaction, params};

use super::memory::{self, remembered};
use super::{apis, forget};
use crate::clock::Millis;
use crate::memory::Memory;
use crate::queue::apis::{Admitted, Apis};
use crate::queue::forgetting::ForgettingKey;
use crate::queue::lease::Standing;
use crate::queue::{Job, Lane, LeaseRequest, Leased, Options, Room, UserLease};
use crate::upstream::PerApi;
use crate::user::UserId;

/// A lane at a time: those who are leased or due later in one are not walked over to reach the next.
pub(super) const DUE: &str = concat!(
    "SELECT user_id, event_type, attempts, failing_since, generation, lease_owner IS NOT NULL, unsettled, ",
    remembered!(),
    "
    FROM users INDEXED BY users_due WHERE connection = 'default' AND lane = ?1 AND due_at <= ?2
    ORDER BY due_at LIMIT ?3"
);

/// The same, of users whose last sync did not fail.
pub(super) const DUE_AND_UNTRIED: &str = concat!(
    "SELECT user_id, event_type, attempts, failing_since, generation, lease_owner IS NOT NULL, unsettled, ",
    remembered!(),
    "
    FROM users INDEXED BY users_due WHERE connection = 'default' AND lane = ?1 AND due_at <= ?2 AND error IS NULL
    ORDER BY due_at LIMIT ?3"
);

pub(super) const LEASE: &str = "
    UPDATE users SET lease_owner = ?2, due_at = ?3, attempts = ?4, failing_since = ?5, unsettled = ?6
    WHERE connection = 'default' AND user_id = ?1";

/// An id that no version of this program would have taken: kept and visible, or it would be leased for ever.
const PARK_UNREADABLE: &str = "
    UPDATE users SET due_at = NULL, lease_owner = NULL, parked_at = ?2, error = ?3, answer = ?3
    WHERE connection = 'default' AND user_id = ?1";

pub(super) const STANDING: &str = concat!(
    "SELECT lane, due_at, lease_owner IS NOT NULL, generation, attempts, unsettled, failing_since, parked_at, synced_at, ",
    remembered!(),
    " FROM users WHERE connection = 'default' AND user_id = ?1"
);

pub(super) const LEASE_BY_NAME: &str = "
    INSERT INTO users (connection, user_id, event_type, lease_owner, due_at, lane, generation, attempts, unsettled,
        failing_since)
    VALUES ('default', ?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9)
    ON CONFLICT (connection, user_id) DO UPDATE SET
        event_type = excluded.event_type, lease_owner = excluded.lease_owner, due_at = excluded.due_at,
        lane = excluded.lane, generation = excluded.generation, attempts = excluded.attempts,
        unsettled = excluded.unsettled, failing_since = excluded.failing_since, parked_at = NULL, answer = NULL";

/// The lanes that need not wait for a quiet hour.
const PROMPT: [Lane; 2] = [Lane::Events, Lane::Retries];

/// What every lease needs to know.
pub(super) struct Lessor<'a> {
    pub(super) transaction: &'a Transaction<'a>,
    pub(super) options: &'a Options,
    pub(super) forgetting: &'a ForgettingKey,
    pub(super) now: Millis,
    /// A name for each lease.
    pub(super) name: &'a mut dyn FnMut() -> i64,
}

/// Which of the due rows a lease may take.
#[derive(Debug, Clone, Copy)]
enum Which {
    Any,
    /// Those whose last sync did not fail.
    Untried,
}

impl Which {
    const fn sql(self) -> &'static str {
        match self {
            Self::Any => DUE,
            Self::Untried => DUE_AND_UNTRIED,
        }
    }
}

impl Lessor<'_> {
    fn until(&self) -> Millis {
        self.now.plus(self.options.lease)
    }

    /// Leases as many as there is room for and both APIs allow; of the background lane, as its share of them allows.
    pub(super) fn lease(&mut self, room: Room) -> rusqlite::Result<Leased> {
        let before = apis::read(self.transaction)?;
        let mut after = before.clone();
        after.check(self.now, &self.options.rates);
        let mut leased = match after.admit(room.all, self.now, &self.options.rates) {
            Admitted::Probe => self.probe(room, &mut after)?,
            admitted => self.by_lanes(room, admitted, &mut after)?,
        };
        apis::write(self.transaction, &before, &after)?;
        leased.known = after.known();
        Ok(leased)
    }

    fn by_lanes(&mut self, room: Room, admitted: Admitted, apis: &mut Apis) -> rusqlite::Result<Leased> {
        let (now, until, rates) = (self.now, self.until(), &self.options.rates);
        let mut jobs = self.take(&PROMPT, Which::Any, admitted.most())?;
        apis.leased(&mut jobs, now, until, rates);
        let not_before = apis.not_before(admitted, &jobs, room.all, now, rates);

        let most = room.background.min(room.all.saturating_sub(jobs.len()));
        let admitted = apis.admit_background(most, now, rates);
        let mut of_background = self.take(&[Lane::Background], Which::Any, admitted.most().min(most))?;
        apis.leased(&mut of_background, now, until, rates);
        let background_not_before = apis.background_not_before(admitted, &of_background, most, now, rates);
        jobs.append(&mut of_background);
        Ok(Leased { jobs, not_before, background_not_before, ..Leased::default() })
    }

    /// Leases one user, to see whether an API is back: whoever did not fail last, if there is such a user.
    fn probe(&mut self, room: Room, apis: &mut Apis) -> rusqlite::Result<Leased> {
        let (now, until, rates) = (self.now, self.until(), &self.options.rates);
        let (one, of_background) = (room.all.min(1), room.background.min(1));
        let background = apis.admit_background(of_background, now, rates);
        let lanes =
            if of_background == 1 && background == Admitted::Probe { &Lane::ALL[..] } else { &PROMPT };
        let mut jobs = self.take(lanes, Which::Untried, one)?;
        if jobs.is_empty() {
            jobs = self.take(lanes, Which::Any, one)?;
        }
        let background_not_before = apis.background_not_before(background, &[], of_background, now, rates);
        apis.leased(&mut jobs, now, until, rates);
        let not_before = apis.not_before(Admitted::Probe, &jobs, room.all, now, rates);
        Ok(Leased { jobs, not_before, background_not_before, ..Leased::default() })
    }

    /// Leases up to `most` due rows of `lanes`, the first lane first, and in each the longest due.
    fn take(&mut self, lanes: &[Lane], which: Which, most: usize) -> rusqlite::Result<Vec<Job>> {
        let mut jobs = Vec::new();
        for lane in lanes {
            let room = most.saturating_sub(jobs.len());
            if room > 0 {
                jobs.append(&mut self.take_of(*lane, which, room)?);
            }
        }
        Ok(jobs)
    }

    /// The same of one lane.
    ///
    /// A row that is still held was leased by somebody who never settled it: that counts as an attempt, and how often
    /// it happens in a row is counted by itself, so that a user whose sync ends the process can be told from an outage.
    fn take_of(&mut self, lane: Lane, which: Which, most: usize) -> rusqlite::Result<Vec<Job>> {
        let most = i64::try_from(most).unwrap_or(i64::MAX);
        let rows: Vec<DueRow> = self
            .transaction
            .prepare_cached(which.sql())?
            .query_map(params![lane.number(), self.now.0, most], DueRow::read)?
            .collect::<rusqlite::Result<_>>()?;
        let mut statement = self.transaction.prepare_cached(LEASE)?;
        let mut jobs = Vec::with_capacity(rows.len());
        for row in rows {
            let user = match UserId::new(row.user_id.as_str()) {
                Ok(user) => user,
                Err(why) => {
                    let parked = params![row.user_id, self.now.0, why.to_string()];
                    self.transaction.execute(PARK_UNREADABLE, parked)?;
                    continue;
                }
            };
            let job =
                self.job(user, row.event_type, row.standing.leased_when_due(lane, self.now), row.memory);
            let since = job.failing_since.map(|since| since.0);
            let (owner, until) = (job.lease_owner, self.until().0);
            statement.execute(params![row.user_id, owner, until, job.attempts, since, job.unsettled])?;
            jobs.push(job);
        }
        Ok(jobs)
    }

    /// Leases one user by name.
    pub(super) fn lease_user(&mut self, request: &LeaseRequest) -> rusqlite::Result<UserLease> {
        let rates = self.options.rates.with_calls(request.calls);
        let before = apis::read(self.transaction)?;
        let mut after = before.clone();
        after.check(self.now, &rates);
        let row = self
            .transaction
            .prepare_cached(STANDING)?
            .query_row([request.user.as_str()], |row| Ok((read_standing(row)?, memory::read(row, 9)?)))
            .optional()?;
        let (row, memory) = row.unzip();
        let is_forgotten =
            row.is_none() && forget::is_forgotten(self.transaction, self.forgetting, &request.user)?;
        if is_forgotten && !request.again {
            return Ok(UserLease::Forgotten);
        }
        let standing = match after.ask(request, row.as_ref(), self.now, &rates) {
            Ok(standing) => standing,
            Err(refused) => return Ok(refused),
        };
        if is_forgotten {
            forget::take_up_again(self.transaction, self.forgetting, &request.user)?;
        }
        let (user, cause) = (request.user.clone(), request.cause.to_owned());
        let mut job = self.job(user, cause, standing, memory.unwrap_or_default());
        self.transaction.prepare_cached(LEASE_BY_NAME)?.execute(params![
            job.user.as_str(),
            job.event_type,
            job.lease_owner,
            self.until().0,
            job.lane.number(),
            job.generation,
            job.attempts,
            job.unsettled,
            job.failing_since.map(|since| since.0),
        ])?;
        after.leased(std::slice::from_mut(&mut job), self.now, self.until(), &rates);
        apis::write(self.transaction, &before, &after)?;
        Ok(UserLease::Leased(Box::new(job)))
    }

    fn job(&mut self, user: UserId, event_type: String, row: Standing, memory: Memory) -> Job {
        Job {
            user,
            event_type,
            attempts: row.attempts,
            failing_since: row.failing_since,
            unsettled: row.unsettled,
            lease_owner: (self.name)(),
            generation: row.generation,
            lane: row.lane,
            leased_at: self.now,
            calls: PerApi::default(), // these three are told by `Apis::leased`
            calls_taken: PerApi::default(),
            is_probe: false,
            has_written: false,
            memory,
            learned: None,
        }
    }
}

struct DueRow {
    user_id: String,
    event_type: String,
    standing: Standing,
    memory: Memory,
}

impl DueRow {
    fn read(row: &Row<'_>) -> rusqlite::Result<Self> {
        let standing = Standing {
            attempts: row.get(2)?,
            failing_since: row.get::<_, Option<i64>>(3)?.map(Millis),
            generation: row.get(4)?,
            is_held: row.get(5)?,
            unsettled: row.get(6)?,
            ..Standing::default()
        };
        Ok(Self { user_id: row.get(0)?, event_type: row.get(1)?, standing, memory: memory::read(row, 7)? })
    }
}

fn read_standing(row: &Row<'_>) -> rusqlite::Result<Standing> {
    let time = |column| row.get::<_, Option<i64>>(column).map(|at| at.map(Millis));
    Ok(Standing {
        lane: Lane::of_number(row.get(0)?),
        due_at: time(1)?,
        is_held: row.get(2)?,
        generation: row.get(3)?,
        attempts: row.get(4)?,
        unsettled: row.get(5)?,
        failing_since: time(6)?,
        parked_at: time(7)?,
        synced_at: time(8)?,
    })
}
