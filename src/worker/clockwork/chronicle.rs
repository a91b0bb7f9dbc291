//! What is told of a round: its begin, its end, and once that it is late. Pure but for the log.

use std::time::Duration;

use crate::clock::Millis;
use crate::queue::Round;

/// What was last seen of the rounds.
#[derive(Debug, Default)]
pub(super) struct Chronicle {
    last: Option<Round>,
    late_is_told: bool,
}

/// Something to tell.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Told {
    /// A round began, and takes so long.
    Begun { users: u64, every: Duration },
    /// One that an earlier process began is gone on with.
    GoesOn { passed: u64, users: u64 },
    /// It takes longer than it may.
    Late { passed: u64, users: u64, every: Duration, late: Duration },
    /// The last of the users was made due.
    Ended { passed: u64, took: Duration },
}

impl Chronicle {
    /// What is new, where `round` is how it stands at `now`.
    pub(super) fn read(&mut self, round: &Round, now: Millis, every: Duration) -> Vec<Told> {
        let before = self.last.replace(*round);
        let is_another = before.is_some_and(|before| before.started_at != round.started_at);
        let is_first = before.is_none();
        let mut news = Vec::new();
        if is_another || (is_first && round.passed == 0 && round.ended_at.is_none()) {
            self.late_is_told = false;
            news.push(Told::Begun { users: round.users, every });
        } else if is_first && round.ended_at.is_none() {
            news.push(Told::GoesOn { passed: round.passed, users: round.users });
        }
        if !self.late_is_told && round.is_late(now, every) {
            self.late_is_told = true;
            let (passed, users) = (round.passed, round.users);
            news.push(Told::Late { passed, users, every, late: round.late(now, every) });
        }
        let was_under_way = is_another || before.is_some_and(|before| before.ended_at.is_none());
        if let Some(ended) = round.ended_at.filter(|_| was_under_way) {
            news.push(Told::Ended { passed: round.passed, took: ended.since(round.started_at) });
        }
        news
    }
}

impl Told {
    pub(super) fn log(self) {
        match self {
            Self::Begun { users, every } => {
                tracing::info!(users, ?every, "a round begins: everybody is looked at again, evenly spread");
            }
            Self::GoesOn { passed, users } => {
                tracing::info!(passed, users, "the round goes on where it was");
            }
            Self::Late { passed, users, every, late } => {
                tracing::warn!(
                    passed,
                    users,
                    ?every,
                    ?late,
                    "the round is late: events leave too few of the APIs' \
                    calls for it. It takes longer and misses nobody. Set sync.resync_every longer, or \
                    sesamy.requests_per_minute higher where Sesamy allows it"
                );
            }
            Self::Ended { passed, took } => {
                tracing::info!(users = passed, ?took, "a round has ended");
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const HOUR: Duration = Duration::from_secs(3_600);
    const BEGAN: Millis = Millis(1_000_000);

    fn round(passed: u64, ended: Option<Duration>) -> Round {
        Round { started_at: BEGAN, ended_at: ended.map(|after| BEGAN.plus(after)), users: 10, passed }
    }

    fn words(told: &[Told]) -> Vec<&'static str> {
        let word = |told: &Told| match told {
            Told::Begun { .. } => "begun",
            Told::GoesOn { .. } => "goes on",
            Told::Late { .. } => "late",
            Told::Ended { .. } => "ended",
        };
        told.iter().map(word).collect()
    }

    /// What is told of each of `seen`, looked at so long after the begin.
    fn story(seen: &[(Round, Duration)]) -> Vec<Vec<&'static str>> {
        let mut chronicle = Chronicle::default();
        seen.iter().map(|(round, after)| words(&chronicle.read(round, BEGAN.plus(*after), HOUR))).collect()
    }

    #[test]
    fn a_round_is_told_when_it_begins_and_when_it_ends_and_not_between() {
        let end = HOUR + Duration::from_secs(1);
        let next = Round { started_at: BEGAN.plus(end), ..round(0, None) };
        let told = story(&[
            (round(0, None), Duration::ZERO),
            (round(5, None), HOUR / 2),
            (round(9, None), HOUR),
            (round(10, Some(end)), end),
            (round(10, Some(end)), end),
            (next, end),
        ]);
        let expected: [&[&str]; 6] = [&["begun"], &[], &[], &["ended"], &[], &["begun"]];
        assert_eq!(told, expected);
    }

    #[test]
    fn a_round_that_is_late_is_told_once_and_the_next_one_again() {
        let (late, later) = (HOUR + HOUR / 10, 2 * HOUR);
        let next = Round { started_at: BEGAN.plus(later), ..round(0, None) };
        let told = story(&[
            (round(3, None), HOUR / 2),
            (round(5, None), late),
            (round(6, None), later),
            (round(10, Some(later)), later),
            (next, later),
            (Round { passed: 1, ..next }, later + late),
        ]);
        let expected: [&[&str]; 6] = [&["goes on"], &["late"], &[], &["ended"], &["begun"], &["late"]];
        assert_eq!(told, expected);
    }

    #[test]
    fn what_another_process_ended_is_no_news_and_a_short_round_is_told_whole() {
        let short = Round { started_at: BEGAN.plus(HOUR), ..round(0, Some(HOUR)) };
        let told = story(&[(round(10, Some(HOUR)), HOUR), (short, HOUR)]);
        let expected: [&[&str]; 2] = [&[], &["begun", "ended"]];
        assert_eq!(told, expected);
    }
}
