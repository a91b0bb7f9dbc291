//! What is left at the end: users who were somebody else's when their turn came, and those who failed.
//!
//! Whom an event, a retry or somebody by hand has in line is left to that. What is in the background's own line is this
//! backfill's (or one's that was killed): a service that runs beside it does it as well, and whoever comes first has the
//! lease. So nobody is missed where no service runs, and nobody is synced by two.

use std::collections::HashMap;
use std::time::Duration;

use super::person::Case;
use super::{Backfill, BackfillError};
use crate::clock::Millis;
use crate::queue::{Lane, UserRow};
use crate::sync::Known;
use crate::user::UserId;

/// How often a user is seen to, or waited for.
const TIMES: u32 = 6;
/// How much later than due somebody is looked at again, so that a service has the first go.
const A_MOMENT: Duration = Duration::from_millis(50);
/// How often to look at whom somebody else has in hand.
const LOOK_AGAIN: Duration = Duration::from_secs(1);

/// How a user's row stands.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Standing {
    /// Synced since the backfill began, and nothing to do.
    Done,
    /// An event's, or somebody's who asked by hand.
    Others,
    /// No retry can help; why.
    Parked(String),
    /// The backfill's own, from then on.
    Ours(Millis),
}

/// How the `row` of somebody stands for a backfill that began at `began`; no row: nobody has ever asked for a sync.
#[must_use]
pub fn standing(row: Option<&UserRow>, began: Millis) -> Standing {
    let Some(row) = row else { return Standing::Ours(began) };
    if row.parked_at.is_some() {
        let why = row.answer.as_ref().or(row.error.as_ref());
        return Standing::Parked(why.cloned().unwrap_or_default());
    }
    match row.due_at {
        Some(_) if row.lane != Lane::Background => Standing::Others,
        Some(due) => Standing::Ours(due),
        None if row.synced_at.is_some_and(|at| at >= began) => Standing::Done,
        None => Standing::Ours(began),
    }
}

impl Backfill {
    /// Sees to everybody who is left, as long as there is a point in it. Who failed and still does stays among them.
    pub(super) async fn see_to_the_remainder(&mut self) -> Result<(), BackfillError> {
        let limits = self.desk.operator.hand.limits;
        // As long as a lease may last that somebody else has.
        let longest = limits.deadline + 3 * limits.request_timeout;
        let mut times: HashMap<UserId, (u32, Option<Millis>)> = HashMap::new();
        loop {
            let ours = self.ours().await?;
            let (now, mut next, mut tried) = (self.desk.now(), None::<Millis>, false);
            for (user, due) in ours {
                let (count, last_due) = times.entry(user.clone()).or_default();
                if *count == TIMES || due.since(now) > longest {
                    continue;
                }
                if due <= now || *last_due != Some(due) {
                    (*count, *last_due) = (*count + 1, Some(due));
                }
                if due <= now {
                    tried = true;
                    self.begin_with(Case { user, known: Known::default(), read_at: None }).await?;
                } else {
                    next = Some(next.map_or(due, |next| next.min(due)));
                }
            }
            self.drain().await?;
            self.keep(None).await?;
            match next {
                Some(next) if !tried => {
                    self.desk.waits("for users who are tried again".to_owned());
                    // A lease may end long before its time.
                    self.desk.sleep((next.since(now) + A_MOMENT).min(LOOK_AGAIN)).await?;
                }
                None if !tried => break,
                _ => {}
            }
        }
        self.desk.goes_on();
        // Somebody else has had them in hand for long: the queue does not forget them.
        let left: Vec<UserId> =
            self.waiting.iter().filter(|user| !self.failed.contains_key(*user)).cloned().collect();
        left.iter().try_for_each(|user| self.leave(user))
    }

    /// Who is left and is ours, and from when on; everybody else who is left is counted.
    async fn ours(&mut self) -> Result<Vec<(UserId, Millis)>, BackfillError> {
        let left: Vec<UserId> = self.waiting.iter().chain(self.failed.keys()).cloned().collect();
        if left.is_empty() {
            return Ok(Vec::new());
        }
        let rows = self.desk.operator.hand.queue.rows_of(&left).await?;
        let rows: HashMap<&str, &UserRow> = rows.iter().map(|row| (row.user.as_str(), row)).collect();
        let mut ours = HashMap::new();
        for user in left {
            match standing(rows.get(user.as_str()).copied(), self.began) {
                Standing::Done | Standing::Others => {
                    // Somebody may be here for two reasons, and counts once.
                    if self.waiting.contains(&user) || self.failed.contains_key(&user) {
                        self.leave(&user)?;
                    }
                }
                Standing::Parked(why) => {
                    self.waiting.remove(&user);
                    self.failed.entry(user).or_insert(why);
                }
                Standing::Ours(due) => {
                    ours.insert(user, due);
                }
            }
        }
        Ok(ours.into_iter().collect())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::queue::State;

    const BEGAN: Millis = Millis(1_000);

    fn row(lane: Lane, due_at: Option<i64>, synced_at: Option<i64>) -> UserRow {
        UserRow {
            user: "a".to_owned(),
            state: State::Idle,
            lane,
            due_at: due_at.map(Millis),
            generation: 1,
            event_type: "backfill".to_owned(),
            attempts: 0,
            failing_since: None,
            error: Some("422: no such address".to_owned()),
            parked_at: None,
            answer: None,
            held_back: false,
            synced_at: synced_at.map(Millis),
            outcome: None,
            reason: None,
            check_at: None,
            check_cause: None,
            memory: crate::memory::Memory::default(),
            lease: None,
        }
    }

    #[test]
    fn the_background_line_is_ours_and_every_other_somebody_elses() {
        let (events, retries, background) = (Lane::Events, Lane::Retries, Lane::Background);
        for (what, row, expected) in [
            ("an event's", row(events, Some(5), None), Standing::Others),
            ("a retry's", row(retries, Some(5), Some(2_000)), Standing::Others),
            ("tried again", row(background, Some(5), None), Standing::Ours(Millis(5))),
            ("leased by somebody", row(background, Some(9_000), Some(2_000)), Standing::Ours(Millis(9_000))),
            ("synced", row(background, None, Some(1_000)), Standing::Done),
            ("synced by an event", row(events, None, Some(2_000)), Standing::Done),
            ("synced long ago", row(events, None, Some(999)), Standing::Ours(BEGAN)),
            ("never synced", row(background, None, None), Standing::Ours(BEGAN)),
        ] {
            assert_eq!(standing(Some(&row), BEGAN), expected, "{what}");
        }
        assert_eq!(standing(None, BEGAN), Standing::Ours(BEGAN));
    }

    #[test]
    fn who_is_parked_has_failed_in_the_words_of_all_who_are_parked_alike() {
        let parked = UserRow { parked_at: Some(Millis(5)), ..row(Lane::Background, None, None) };
        assert_eq!(standing(Some(&parked), BEGAN), Standing::Parked("422: no such address".to_owned()));
        let alike = UserRow { answer: Some("422 no".to_owned()), ..parked };
        assert_eq!(standing(Some(&alike), BEGAN), Standing::Parked("422 no".to_owned()));
    }
}
