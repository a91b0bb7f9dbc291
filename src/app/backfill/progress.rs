//! What a backfill is asked to do, how far it has come, and whether the next one goes on with it.
//!
//! Pure but for [`Progress::load`] and [`Progress::keep`]. The document in the store is replaced after each page of the
//! list, so a stop, a crash or a kill costs one page that is listed again.

use std::time::Duration;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use crate::clock::Millis;
use crate::queue::{Queue, QueueError};

/// How often the list of users is read, at most.
pub const MOST_PASSES: u32 = 3;

/// How far Sesamy's clock may differ from ours.
const CLOCKS_DIFFER: Duration = Duration::from_secs(120);

/// What is asked for. Two backfills with equal specs do the same.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Spec {
    /// The list that is kept in step.
    pub list_id: u64,
    /// Whether nobody is created or subscribed.
    pub existing_only: bool,
    /// Only users who, or a contract of whom, were updated in so many seconds before the backfill began, or later.
    pub updated_since_seconds: Option<u64>,
    /// Whether `sync.dry_run` was on: such a backfill brings nobody in step.
    pub held_back: bool,
}

impl Spec {
    /// The moment since which a user must have been updated, for a backfill that began at `began`.
    #[must_use]
    pub fn since(&self, began: Millis) -> Option<Millis> {
        let ago = Duration::from_secs(self.updated_since_seconds?);
        Some(Millis(began.0.saturating_sub(i64::try_from(ago.as_millis()).unwrap_or(i64::MAX))))
    }
}

/// Whether something that was last updated at `updated_at` may have been updated at `since` or later. A row that does not
/// say may have been.
#[must_use]
pub fn may_be_since(updated_at: Option<Timestamp>, since: Millis) -> bool {
    updated_at.is_none_or(|at| Millis(at.as_millisecond()).plus(CLOCKS_DIFFER) >= since)
}

/// How far a backfill has come: one document in the store.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Progress {
    /// When it began: a user who was synced since then needs no more of it.
    pub began_at: Millis,
    /// When it ended; none while it is not done.
    pub ended_at: Option<Millis>,
    /// What was asked for.
    pub spec: Spec,
    /// Which pass over the list of users is under way, counted from 1.
    pub pass: u32,
    /// Where the next page of this pass begins.
    pub offset: usize,
    /// Whether this pass has made anybody due.
    pub found_new: bool,
    /// Whether the list has been read for the last time.
    pub is_listed: bool,
    /// What has been listed so far.
    pub listed: Listed,
}

/// What the first pass over the list of users has found, and how many users were made due in all.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Listed {
    /// Rows of the list.
    pub users: u64,
    /// Users who were made due.
    pub due: u64,
    /// Users who were left to what has asked for a sync already, or has had one since the backfill began.
    pub left_to_events: u64,
    /// Users whom an operator has had forgotten.
    pub forgotten: u64,
    /// Users who were not updated in the time of `--updated-since`.
    pub not_recent: u64,
    /// Rows that cannot be read: they have no user id that can be asked for.
    pub left_out: u64,
}

impl Progress {
    /// A backfill for `spec` that begins at `now`.
    #[must_use]
    pub fn new(spec: Spec, now: Millis) -> Self {
        Self { began_at: now, spec, pass: 1, ..Self::default() }
    }

    /// Where to begin, if `kept` is what the store has of the last one: where that one stopped, if it was asked for the
    /// same and did not end; otherwise at the beginning. The second value tells whether it goes on.
    #[must_use]
    pub fn begin(kept: Option<Self>, spec: Spec, now: Millis) -> (Self, bool) {
        match kept {
            Some(kept) if kept.ended_at.is_none() && kept.spec == spec => (kept, true),
            _ => (Self::new(spec, now), false),
        }
    }

    /// The progress after a page with `page` in it; `next` is the offset of the next page, none after the last one.
    ///
    /// Rows shift between two pages while users come and go, so the list is read again until a pass finds nobody new.
    #[must_use]
    pub fn after_page(mut self, page: Listed, next: Option<usize>) -> Self {
        self.found_new |= page.due > 0;
        self.listed.due += page.due;
        if self.pass == 1 {
            self.listed.users += page.users;
            self.listed.left_to_events += page.left_to_events;
            self.listed.forgotten += page.forgotten;
            self.listed.not_recent += page.not_recent;
            self.listed.left_out += page.left_out;
        }
        match next {
            Some(next) => self.offset = next,
            None if self.pass >= MOST_PASSES || (self.pass > 1 && !self.found_new) => self.is_listed = true,
            None => (self.pass, self.offset, self.found_new) = (self.pass + 1, 0, false),
        }
        self
    }

    /// How many users Sesamy lists; none until they have all been listed once.
    #[must_use]
    pub fn users(&self) -> Option<u64> {
        (self.pass > 1 || self.is_listed).then_some(self.listed.users)
    }

    /// The progress of the last backfill; none where there was none, or where it is of a version that cannot be read.
    ///
    /// # Errors
    /// The store could not be read.
    pub async fn load(queue: &Queue) -> Result<Option<Self>, QueueError> {
        Ok(queue.progress().await?.and_then(|kept| serde_json::from_str(&kept).ok()))
    }

    /// Keeps it in place of what was kept.
    ///
    /// # Errors
    /// The store failed; what was kept stays.
    pub async fn keep(&self, queue: &Queue) -> Result<(), QueueError> {
        // Plain data with text keys, which JSON can always hold.
        queue.keep_progress(serde_json::to_string(self).unwrap_or_default()).await
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SPEC: Spec =
        Spec { list_id: 7, existing_only: false, updated_since_seconds: None, held_back: false };

    fn page(users: u64, due: u64) -> Listed {
        Listed { users, due, left_to_events: users - due, ..Listed::default() }
    }

    #[test]
    fn a_backfill_goes_on_if_it_did_not_end_and_the_options_are_the_same() {
        let kept = Progress { offset: 100, ..Progress::new(SPEC, Millis(1_000)) };
        let ended = Progress { ended_at: Some(Millis(2_000)), ..kept.clone() };
        for (case, last, spec, goes_on) in [
            ("there was none", None, SPEC, false),
            ("it was stopped", Some(&kept), SPEC, true),
            ("it ended", Some(&ended), SPEC, false),
            ("another list", Some(&kept), Spec { list_id: 8, ..SPEC }, false),
            ("another mode", Some(&kept), Spec { existing_only: true, ..SPEC }, false),
            ("another time", Some(&kept), Spec { updated_since_seconds: Some(60), ..SPEC }, false),
            ("sync.dry_run was switched", Some(&kept), Spec { held_back: true, ..SPEC }, false),
        ] {
            let expected = if goes_on { kept.clone() } else { Progress::new(spec, Millis(9_000)) };
            assert_eq!(Progress::begin(last.cloned(), spec, Millis(9_000)), (expected, goes_on), "{case}");
        }
    }

    #[test]
    fn the_list_is_read_until_a_pass_finds_nobody_new_three_times_at_most() {
        for (case, due_in_each_pass, passes) in [
            ("nobody new in the second pass", vec![5, 0], 2),
            ("nobody was due at all", vec![0, 0], 2),
            ("nobody new in the third pass", vec![5, 1, 0], 3),
            ("always somebody new", vec![5, 1, 1], 3),
        ] {
            let mut progress = Progress::new(SPEC, Millis(0));
            for due in &due_in_each_pass {
                assert!(!progress.is_listed, "{case}");
                progress = progress.after_page(page(5, *due), Some(5)).after_page(page(5, 0), None);
            }
            assert_eq!((progress.is_listed, progress.pass), (true, passes), "{case}");
            assert_eq!(progress.users(), Some(10), "{case}: the first pass alone counts rows");
            assert_eq!(progress.listed.due, due_in_each_pass.iter().sum::<u64>(), "{case}");
        }
    }

    #[test]
    fn the_number_of_users_is_not_known_before_the_first_pass_ends() {
        let progress = Progress::new(SPEC, Millis(0)).after_page(page(5, 5), Some(5));
        assert_eq!((progress.users(), progress.offset), (None, 5));
        assert_eq!(progress.after_page(page(1, 1), None).users(), Some(6));
    }

    #[test]
    fn updated_since_is_counted_from_the_beginning_however_often_it_stops() {
        let spec = Spec { updated_since_seconds: Some(2), ..SPEC };
        assert_eq!(spec.since(Millis(10_000)), Some(Millis(8_000)));
        assert_eq!(SPEC.since(Millis(10_000)), None);
        let ever = Spec { updated_since_seconds: Some(u64::MAX), ..SPEC };
        assert!(ever.since(Millis(10_000)).unwrap() < Millis(0));
    }

    #[test]
    fn a_row_that_may_have_been_updated_since_then_counts() {
        let at = |ms| Some(Timestamp::from_millisecond(ms).unwrap());
        for (updated_at, since, counts) in
            [(None, 5, true), (at(5), 5, true), (at(200_000), 320_000, true), (at(199_999), 320_000, false)]
        {
            assert_eq!(may_be_since(updated_at, Millis(since)), counts, "{updated_at:?} {since}");
        }
    }

    #[test]
    fn a_document_of_another_version_is_read_as_far_as_it_goes() {
        let progress = Progress { pass: 2, offset: 300, ..Progress::new(SPEC, Millis(1_234_567)) };
        let mut document = serde_json::to_value(&progress).unwrap();
        assert_eq!(serde_json::from_value::<Progress>(document.clone()).unwrap(), progress);
        document["listed"] = serde_json::json!({"users": 3, "a_later_count": 5});
        assert_eq!(serde_json::from_value::<Progress>(document).unwrap().listed.users, 3);
    }
}
