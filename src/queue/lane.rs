//! Lanes: who goes first of those who are due.

use crate::clock::Millis;

/// The lane of a row. A lease takes from the first lane that has anybody who is due; the last one has at most half of
/// both APIs' pace ([`crate::queue::Rates`]). An event lifts its user's row to the first.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash, serde::Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Lane {
    /// Events, and what somebody asks for by hand.
    #[default]
    Events = 0,
    /// Whoever is tried again.
    Retries = 1,
    /// What may wait for a quiet hour: a backfill.
    Background = 2,
}

impl Lane {
    /// All lanes, the first first.
    pub const ALL: [Self; 3] = [Self::Events, Self::Retries, Self::Background];

    /// The number that the stores keep.
    #[must_use]
    pub fn number(self) -> i64 {
        self as i64
    }

    /// The lane of that number; one that is not known is of a later version, and slow.
    #[must_use]
    pub fn of_number(number: i64) -> Self {
        Self::ALL.into_iter().find(|lane| lane.number() == number).unwrap_or(Self::Background)
    }

    /// The word for people and programs.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Events => "events",
            Self::Retries => "retries",
            Self::Background => "background",
        }
    }
}

/// When the next row is due, or its lease ends.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct NextDue {
    /// Of the lanes that need not wait for a quiet hour.
    pub prompt: Option<Millis>,
    /// Of the background lane.
    pub background: Option<Millis>,
}

impl NextDue {
    /// The same, with somebody in `lane` due at `at`.
    #[must_use]
    pub(super) fn or(mut self, lane: Lane, at: Option<Millis>) -> Self {
        let known = if lane == Lane::Background { &mut self.background } else { &mut self.prompt };
        *known = at.into_iter().chain(*known).min();
        self
    }

    /// The earlier of both; none where nothing is due, ever.
    #[must_use]
    pub fn earliest(self) -> Option<Millis> {
        self.prompt.into_iter().chain(self.background).min()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_lane_comes_back_from_its_number_and_an_unknown_one_is_slow() {
        for lane in Lane::ALL {
            assert_eq!(Lane::of_number(lane.number()), lane);
        }
        assert_eq!([Lane::of_number(-1), Lane::of_number(3)], [Lane::Background; 2]);
    }

    #[test]
    fn the_earliest_is_of_either() {
        let (one, two) = (Some(Millis(1)), Some(Millis(2)));
        for (prompt, background, earliest) in
            [(one, two, one), (two, one, one), (None, two, two), (None, None, None)]
        {
            assert_eq!(NextDue { prompt, background }.earliest(), earliest);
        }
    }
}
