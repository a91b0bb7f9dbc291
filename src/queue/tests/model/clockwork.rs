//! The model of what becomes due by the clock, and of rounds.

use std::collections::BTreeMap;

use super::rows::{Model, Row};
use crate::clock::Millis;
use crate::queue::clockwork::ROUND_WAITING;
use crate::queue::{DRIFT, EXPIRY, Lane, Round, Tick, Ticked};
use crate::user::UserId;

/// The last round, and whom it has passed last; none of the rows that there are where it has passed nobody.
#[derive(Default)]
pub(super) struct Rounds {
    round: Option<Round>,
    cursor: Option<UserId>,
}

impl Rounds {
    /// The id of who was erased is kept nowhere.
    pub(super) fn erased(&mut self, user: &UserId, left: &BTreeMap<UserId, Row>) {
        if self.cursor.as_ref() == Some(user) {
            self.cursor = left.keys().take_while(|other| *other < user).last().cloned();
        }
    }
}

impl Model {
    /// What comes of a tick; whether there is more at once is not told.
    pub(super) fn tick(&mut self, tick: Tick, now: Millis) -> Ticked {
        let mut ticked = Ticked::default();
        for row in self.rows.values_mut().filter(|row| row.owner.is_none()) {
            if row.changes.is_some_and(|at| at <= now) {
                ticked.expired += u64::from(row.expires(now));
            }
        }
        let is_held_back = self.dry_run || self.braked_at.is_some();
        for row in self.rows.values_mut().filter(|row| row.owner.is_none()) {
            if row.held_back && !is_held_back {
                row.is_released(now);
                ticked.released += 1;
            }
        }
        if let Some(after) = tick.canary_after.filter(|_| self.braked_at.is_some()) {
            let next =
                self.rows.iter_mut().find(|(user, row)| user.as_str() > after.as_str() && row.held_back);
            if let Some((user, row)) = next {
                ticked.canary = Some(user.as_str().to_owned());
                if row.due.is_none() && row.owner.is_none() && row.parked.is_none() {
                    (row.due, row.lane) = (Some(now), Lane::Background);
                }
            }
        }
        if let Some(every) = tick.resync_every {
            match &self.rounds.round {
                Some(round) if !round.is_over(now, every) => {
                    let next = round.next(now, every, self.waiting(now));
                    ticked.drifting = self.pass(next, now);
                }
                _ => {
                    let round = Round::begun(now, self.rows.len() as u64);
                    self.rounds = Rounds { round: Some(round), cursor: None };
                }
            }
            ticked.round = self.rounds.round;
        }
        ticked
    }

    pub(super) fn round(&self) -> Option<Round> {
        self.rounds.round
    }

    fn waiting(&self, now: Millis) -> usize {
        let waits = |row: &&Row| row.lane == Lane::Background && row.due.is_some_and(|due| due <= now);
        self.rows.values().filter(waits).count().min(ROUND_WAITING)
    }

    fn pass(&mut self, most: usize, now: Millis) -> u64 {
        let Rounds { round: Some(round), cursor } = &mut self.rounds else { return 0 };
        if most == 0 {
            return 0;
        }
        let next = self.rows.iter_mut().filter(|(user, _)| cursor.as_ref().is_none_or(|last| *user > last));
        let (mut passed, mut drifting, mut last) = (0, 0, None);
        for (user, row) in next.take(most) {
            passed += 1;
            last = Some(user.clone());
            let is_known = row.synced.is_some() && row.memory.missing_since.is_none();
            if row.due.is_none() && row.parked.is_none() && is_known && !row.held_back {
                (row.due, row.lane, row.cause) = (Some(now), Lane::Background, DRIFT.to_owned());
                drifting += 1;
            }
        }
        *cursor = last.or(cursor.take());
        round.passed += passed as u64;
        if passed < most {
            round.ended_at = Some(now);
        }
        drifting
    }
}

impl Row {
    /// Whether the row is due for it.
    fn expires(&mut self, now: Millis) -> bool {
        self.changes = None;
        if self.parked.is_some() || self.due.is_some() && self.lane != Lane::Background {
            return false;
        }
        let is_sought = self.memory.email.is_none() && self.memory.missing_since.is_some();
        if self.due.is_none() && !self.held_back && !is_sought {
            self.cause = EXPIRY.to_owned();
        }
        self.lane = Lane::Retries;
        self.sooner(now);
        true
    }
}
