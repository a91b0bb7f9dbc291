//! What a backfill is asked to do, and whether it goes on with one that was not finished.
//!
//! Pure. The order is kept beside the progress, so that a stopped backfill is never continued as another one.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::tally::Tally;
use crate::clock::Millis;
use crate::queue::Progress;

/// What is asked for. Two backfills of equal orders do the same.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Order {
    /// The list that is kept in step.
    pub list_id: u64,
    /// Nobody is created or subscribed.
    pub existing_only: bool,
    /// Only users who were changed so many seconds before the backfill began, or later.
    pub updated_since_seconds: Option<u64>,
    /// Whether `sync.dry_run` was on: then it has brought nobody in step, and is continued by none that does.
    pub held_back: bool,
}

/// Where a backfill begins.
#[derive(Debug, Clone, PartialEq)]
pub enum Begin {
    /// At the beginning.
    Anew,
    /// Where one of the same order was stopped.
    GoOn {
        /// When that one began.
        started_at: Millis,
        /// What it has done.
        done: Box<Tally>,
    },
}

/// Another one was not finished.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "a backfill with other options ({asked}), begun at {started_at}, is not finished; give it the same options to go on \
     with it, or --restart to begin anew with these"
)]
pub struct OtherOrder {
    asked: String,
    started_at: Millis,
}

impl Order {
    /// As the store keeps it.
    #[must_use]
    pub fn to_text(&self) -> String {
        serde_json::to_string(self).unwrap_or_default()
    }

    /// The moment since which a user must have been changed, for a backfill that began at `started_at`.
    #[must_use]
    pub fn since(&self, started_at: Millis) -> Option<Millis> {
        let ago = Duration::from_secs(self.updated_since_seconds?);
        Some(Millis(started_at.0.saturating_sub(i64::try_from(ago.as_millis()).unwrap_or(i64::MAX))))
    }

    /// Where to begin, where the store has `kept` this of the last one.
    ///
    /// # Errors
    /// [`OtherOrder`] where that one was not finished and was asked something else, unless it is to `restart`.
    pub fn begin(&self, kept: Option<&Progress>, restart: bool) -> Result<Begin, OtherOrder> {
        let unfinished = kept.filter(|kept| kept.ended_at.is_none() && !restart);
        let Some(kept) = unfinished else { return Ok(Begin::Anew) };
        match serde_json::from_str::<Self>(&kept.asked) {
            Ok(asked) if asked == *self => {
                // Counts of another version are no reason to begin anew.
                let done = serde_json::from_str(&kept.done).unwrap_or_default();
                Ok(Begin::GoOn { started_at: kept.started_at, done })
            }
            Ok(asked) => Err(OtherOrder { asked: asked.words(), started_at: kept.started_at }),
            Err(_) => Err(OtherOrder { asked: "of another version".to_owned(), started_at: kept.started_at }),
        }
    }

    /// The same in words, for people.
    #[must_use]
    pub fn words(&self) -> String {
        let mut words = vec![format!("list {}", self.list_id)];
        if self.existing_only {
            words.push("--existing-only".to_owned());
        }
        if let Some(seconds) = self.updated_since_seconds {
            words.push(format!("--updated-since {seconds}s"));
        }
        if self.held_back {
            words.push("sync.dry_run".to_owned());
        }
        words.join(", ")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ORDER: Order =
        Order { list_id: 7, existing_only: false, updated_since_seconds: None, held_back: false };

    fn kept(order: &Order, ended_at: Option<i64>) -> Progress {
        let done = Tally { left_to_events: 3, ..Tally::default() };
        Progress {
            started_at: Millis(1_000),
            ended_at: ended_at.map(Millis),
            asked: order.to_text(),
            done: serde_json::to_string(&done).unwrap(),
        }
    }

    #[test]
    fn one_that_was_stopped_is_gone_on_with_and_one_that_was_done_is_not() {
        assert_eq!(ORDER.begin(None, false), Ok(Begin::Anew));
        assert_eq!(ORDER.begin(Some(&kept(&ORDER, Some(2_000))), false), Ok(Begin::Anew));
        assert_eq!(ORDER.begin(Some(&kept(&ORDER, None)), true), Ok(Begin::Anew));
        let Ok(Begin::GoOn { started_at, done }) = ORDER.begin(Some(&kept(&ORDER, None)), false) else {
            panic!("it does not go on")
        };
        assert_eq!((started_at, done.left_to_events), (Millis(1_000), 3));
    }

    #[test]
    fn one_with_other_options_is_refused_and_told_of() {
        for other in [
            Order { list_id: 8, ..ORDER },
            Order { existing_only: true, ..ORDER },
            Order { updated_since_seconds: Some(7_200), ..ORDER },
            Order { held_back: true, ..ORDER },
        ] {
            let refused = ORDER.begin(Some(&kept(&other, None)), false).unwrap_err().to_string();
            assert!(refused.contains(&other.words()) && refused.contains("--restart"), "{refused}");
            assert_eq!(ORDER.begin(Some(&kept(&other, Some(5))), false), Ok(Begin::Anew));
        }
        let foreign = Progress { asked: "{}".to_owned(), ..kept(&ORDER, None) };
        assert!(ORDER.begin(Some(&foreign), false).is_err());
    }

    #[test]
    fn counts_that_cannot_be_read_lose_no_progress() {
        let odd = Progress { done: "?".to_owned(), ..kept(&ORDER, None) };
        assert_eq!(
            ORDER.begin(Some(&odd), false),
            Ok(Begin::GoOn { started_at: Millis(1_000), done: Box::default() })
        );
    }

    #[test]
    fn since_is_counted_from_the_beginning_however_often_it_is_stopped() {
        let order = Order { updated_since_seconds: Some(2), ..ORDER };
        assert_eq!(order.since(Millis(10_000)), Some(Millis(8_000)));
        assert_eq!(ORDER.since(Millis(10_000)), None);
        let ever = Order { updated_since_seconds: Some(u64::MAX), ..ORDER };
        assert!(ever.since(Millis(10_000)).unwrap() < Millis(0));
    }
}
