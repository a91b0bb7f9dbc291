//! Lanes: which of the due rows go first.

/// The lane of a row. A lease takes from the first lane that has a due row. The last one leaves half of each API's burst to
/// the others ([`crate::queue::Rates`]). An event lifts its user's row to the first.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash, serde::Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Lane {
    /// Events, and what an operator asks for.
    #[default]
    Events = 0,
    /// Retries, and access that ends.
    Retries = 1,
    /// What may wait for a quiet hour: backfills and drift checks.
    Background = 2,
}

impl Lane {
    /// All lanes, the first first.
    pub const ALL: [Self; 3] = [Self::Events, Self::Retries, Self::Background];

    /// The number that the stores keep.
    pub fn number(self) -> i64 {
        self as i64
    }

    /// The lane of this number. An unknown one is of a later version, and counts as slow.
    pub fn of_number(number: i64) -> Self {
        Self::ALL.into_iter().find(|lane| lane.number() == number).unwrap_or(Self::Background)
    }

    /// The word for people and programs.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Events => "events",
            Self::Retries => "retries",
            Self::Background => "background",
        }
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
}
