//! The model: what each call has to come to.

use std::collections::{BTreeMap, BTreeSet};

use super::clockwork::Rounds;
use crate::clock::Millis;
use crate::memory::Memory;
use crate::queue::tests::{DEBOUNCE, LEASE, REQUEST_TIMEOUT, UPDATE};
use crate::queue::{
    Job, Lane, LeaseRequest, Leased, NextDue, RESTRICTED, Retry, Room, Settled, Settlement, UserLease,
};
use crate::user::UserId;

#[derive(Debug, Clone, Default)]
pub(super) struct Row {
    pub(super) lane: Lane,
    generation: i64,
    pub(super) cause: String,
    pub(super) due: Option<Millis>,
    pub(super) owner: Option<i64>,
    attempts: u32,
    failing_since: Option<Millis>,
    pub(super) parked: Option<(Millis, String)>,
    pub(super) held_back: bool,
    pub(super) synced: Option<Millis>,
    pub(super) memory: Memory,
    pub(super) changes: Option<Millis>,
}

impl Row {
    pub(super) fn sooner(&mut self, at: Millis) {
        self.due = Some(self.due.map_or(at, |due| due.min(at)));
    }

    fn afresh(&mut self) {
        (self.attempts, self.failing_since, self.parked) = (0, None, None);
    }

    /// As a lease does that finds another one which nobody settled.
    fn takes_over(&mut self, now: Millis) {
        if self.owner.is_some() {
            self.attempts += 1;
            self.failing_since = self.failing_since.or(Some(now));
        }
    }

    fn is_leased_as(&mut self, job: &Job, now: Millis) {
        let told = (job.generation, job.attempts, job.failing_since, job.lane);
        assert_eq!(told, (self.generation, self.attempts, self.failing_since, self.lane));
        assert_eq!((&job.event_type, &job.memory), (&self.cause, &self.memory));
        (self.owner, self.due) = (Some(job.lease_owner), Some(now.plus(LEASE)));
    }

    fn has_an_event(&mut self, now: Millis) {
        self.generation += 1;
        self.lane = Lane::Events;
        if self.parked.is_some() {
            self.afresh();
        }
        if self.owner.is_none() {
            self.sooner(now.plus(DEBOUNCE));
        }
    }

    pub(super) fn is_released(&mut self, now: Millis) {
        if self.due.is_none() {
            self.lane = self.lane.max(Lane::Retries);
        }
        self.sooner(now);
        self.held_back = false;
    }

    fn is_touched_since(&self, since: Millis) -> bool {
        let parked = self.parked.as_ref().map(|(at, _)| *at);
        self.due.is_some() || [self.synced, parked].into_iter().flatten().any(|at| at >= since)
    }

    fn is_meant(&self, user: &UserId, whom: &Retry) -> bool {
        match whom {
            Retry::Users(users) => {
                users.contains(user) && self.owner.is_none() && (self.due.is_some() || self.parked.is_some())
            }
            Retry::AllParked => self.parked.is_some(),
            Retry::Answer(meant) => self.parked.as_ref().is_some_and(|(_, answer)| answer == meant),
            Retry::Reason(_) => unreachable!("no step asks for it"),
        }
    }
}

#[derive(Default)]
pub(super) struct Model {
    pub(super) rows: BTreeMap<UserId, Row>,
    pub(super) paused_at: Option<Millis>,
    pub(super) braked_at: Option<Millis>,
    pub(super) dry_run: bool,
    pub(super) rounds: Rounds,
    forgotten: BTreeSet<UserId>,
}

impl Model {
    pub(super) fn push(&mut self, user: UserId, now: Millis) {
        if self.forgotten.contains(&user) {
            return;
        }
        let row = self.rows.entry(user).or_default();
        row.cause = UPDATE.to_owned();
        row.has_an_event(now);
    }

    /// Checks that those are `leased` who may be, and leases them.
    pub(super) fn lease(&mut self, room: Room, now: Millis, leased: &Leased) {
        assert_eq!(leased.known.paused_at, self.paused_at);
        let due_in = |lanes: &[Lane], most: usize| {
            let due = |row: &&Row| row.due.is_some_and(|due| due <= now) && lanes.contains(&row.lane);
            let mut due: Vec<_> = self.rows.values().filter(due).map(|row| (row.lane, row.due)).collect();
            due.sort();
            due.truncate(most);
            due
        };
        let mut due = due_in(&[Lane::Events, Lane::Retries], room.all);
        due.extend(due_in(&[Lane::Background], room.background.min(room.all - due.len())));
        if self.paused_at.is_some() {
            due.clear();
        }
        let place = |job: &Job| (self.rows[&job.user].lane, self.rows[&job.user].due);
        assert_eq!(
            leased.jobs.iter().map(place).collect::<Vec<_>>(),
            due,
            "lane by lane, the longest due first"
        );
        for job in &leased.jobs {
            let row = self.rows.get_mut(&job.user).unwrap();
            row.takes_over(now);
            row.is_leased_as(job, now);
        }
    }

    /// Checks that this is what had to come of `request`, and does it.
    pub(super) fn lease_user(&mut self, request: &LeaseRequest, now: Millis, came: &UserLease) {
        let known = self.rows.get(&request.user).cloned();
        let mut row = known.unwrap_or_else(|| Row { lane: request.lane, ..Row::default() });
        if self.forgotten.contains(&request.user) && !request.again {
            assert!(matches!(came, UserLease::Forgotten), "{came:?}");
        } else if let Some(until) = row.due.filter(|until| row.owner.is_some() && *until > now) {
            assert!(matches!(came, UserLease::Held(end) if *end == until), "{came:?}");
        } else if request.lane == Lane::Background && row.due.is_some() && row.lane < request.lane
            || request.untouched_since.is_some_and(|since| row.is_touched_since(since))
        {
            assert!(matches!(came, UserLease::Touched), "{came:?}");
        } else if self.paused_at.is_some() {
            assert!(matches!(came, UserLease::Paused), "{came:?}");
        } else {
            let UserLease::Leased(job) = came else { panic!("{came:?}") };
            row.takes_over(now);
            if row.parked.is_some() {
                row.afresh();
            }
            row.lane = if row.due.is_some() { row.lane.min(request.lane) } else { request.lane };
            (row.generation, row.cause) = (row.generation + 1, request.cause.to_owned());
            row.is_leased_as(job, now);
            self.forgotten.remove(&request.user);
            self.rows.insert(request.user.clone(), row);
        }
    }

    pub(super) fn settle(&mut self, job: &Job, how: &Settlement, now: Millis) -> Settled {
        let Some(row) = self.rows.get_mut(&job.user) else { return Settled::LeaseLost };
        if row.owner != Some(job.lease_owner) {
            if job.has_written {
                if row.due.is_none() {
                    row.cause.clone_from(&job.event_type);
                }
                row.has_an_event(now);
            }
            return Settled::LeaseLost;
        }
        let came = row.generation != job.generation;
        if let Some(learned) = &job.learned {
            row.memory = (**learned).clone();
        }
        match how {
            Settlement::Abandon { until } => row.due = Some(*until),
            Settlement::Release => (row.owner, row.due) = (None, Some(now)),
            Settlement::Done(done) => {
                let held_back = done.held_back;
                row.afresh();
                (row.owner, row.due, row.held_back, row.synced) = (None, None, held_back, Some(now));
                (row.memory, row.changes) = (done.memory.clone(), done.changes_at);
            }
            Settlement::Retry { at, counts, .. } => {
                (row.owner, row.due, row.lane) = (None, Some(*at), row.lane.max(Lane::Retries));
                if *counts {
                    row.attempts += 1;
                    row.failing_since = row.failing_since.or(Some(now));
                }
            }
            Settlement::Park { answer, .. } => {
                (row.owner, row.due, row.held_back, row.changes) = (None, None, false, None);
                row.parked = Some((now, answer.clone()));
                row.failing_since = row.failing_since.or(Some(now));
            }
        }
        if !came {
            return Settled::AsAsked;
        }
        row.lane = Lane::Events;
        if matches!(how, Settlement::Abandon { .. } | Settlement::Release) {
            return Settled::AsAsked;
        }
        if row.parked.is_some() {
            row.afresh();
        }
        row.due = Some(now.plus(DEBOUNCE));
        Settled::DueAgain
    }

    /// Whether the user of `job` was forgotten.
    pub(super) fn forget(&mut self, job: &Job) -> bool {
        let is_held = self.rows.get(&job.user).is_some_and(|row| row.owner == Some(job.lease_owner));
        if is_held {
            self.erase(&job.user);
            self.forgotten.insert(job.user.clone());
        }
        is_held
    }

    pub(super) fn is_forgotten(&self, user: &UserId) -> bool {
        self.forgotten.contains(user)
    }

    /// How many were erased whom Sesamy has not known since before `before`.
    pub(super) fn prune(&mut self, before: Millis) -> u64 {
        let goes = |row: &Row| {
            row.memory.missing_since.is_some_and(|since| since < before)
                && row.memory.email.is_none()
                && row.due.is_none()
                && !row.held_back
        };
        let gone: Vec<_> =
            self.rows.iter().filter(|(_, row)| goes(row)).map(|(user, _)| user.clone()).collect();
        gone.iter().for_each(|user| self.erase(user));
        gone.len() as u64
    }

    fn erase(&mut self, user: &UserId) {
        self.rows.remove(user);
        self.rounds.erased(user, &self.rows);
    }

    pub(super) fn give_back(&mut self, users: &[UserId], answer: Option<&str>, due: Millis) {
        for user in users {
            if let Some(row) = self.rows.get_mut(user) {
                row.attempts = row.attempts.saturating_sub(1);
                row.failing_since = row.failing_since.filter(|_| row.attempts > 0);
            }
        }
        for row in self.rows.values_mut() {
            if row.parked.as_ref().is_some_and(|(_, parked_with)| Some(parked_with.as_str()) == answer) {
                row.afresh();
                (row.due, row.lane) = (Some(due), row.lane.max(Lane::Retries));
            }
        }
    }

    pub(super) fn count_retry(&self, whom: &Retry) -> u64 {
        self.rows.iter().filter(|(user, row)| row.is_meant(user, whom)).count() as u64
    }

    pub(super) fn retry(&mut self, whom: &Retry, now: Millis) -> u64 {
        let meant = self.rows.iter_mut().filter(|(user, row)| row.is_meant(user, whom));
        meant
            .map(|(_, row)| {
                row.lane = if row.due.is_some() { row.lane.min(Lane::Retries) } else { Lane::Retries };
                row.sooner(now);
                row.afresh();
                if !RESTRICTED.contains(&row.cause.as_str()) {
                    row.cause = "retry".to_owned();
                }
            })
            .count() as u64
    }

    pub(super) fn restart(&mut self, dry_run: bool, now: Millis, ends_leases: bool) {
        self.dry_run = dry_run;
        let is_held_back = dry_run || self.braked_at.is_some();
        for row in self.rows.values_mut() {
            if row.owner.is_some() {
                if ends_leases {
                    row.sooner(now.plus(REQUEST_TIMEOUT));
                }
            } else if row.held_back && !is_held_back {
                row.is_released(now);
            }
            row.held_back &= is_held_back;
        }
    }

    pub(super) fn next_due(&self) -> NextDue {
        self.rows.values().fold(NextDue::default(), |next, row| next.or(row.lane, row.due))
    }
}
