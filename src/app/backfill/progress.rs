//! What a backfill is asked to do, how far it has come, and whether the next one continues it.
//!
//! Pure but for [`Progress::load`] and [`Progress::save`]. The document in the store is replaced after each page of the
//! list, so a stop, a crash or a kill costs one page that is listed again.

use std::time::Duration;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use crate::clock::Millis;
use crate::queue::{Queue, QueueError};

/// How often the list of users is read, at most.
const MOST_PASSES: u32 = 3;
/// How far Sesamy's clock may differ from ours.
const CLOCKS_DIFFER: Duration = Duration::from_secs(120);

/// What is asked for. Two backfills with equal specs do the same.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub(crate) struct Spec {
    pub(crate) list_id: u64,
    /// Nobody is created or subscribed.
    pub(crate) existing_only: bool,
    /// Only users with an update, of their own or of a contract, after this long before the backfill began.
    pub(crate) updated_since_seconds: Option<u64>,
    /// `sync.dry_run` was on: such a backfill writes nothing.
    pub(crate) held_back: bool,
}

impl Spec {
    /// The time since which a user must have been updated, for a backfill that began at `began`.
    pub(super) fn since(&self, began: Millis) -> Option<Millis> {
        let ago = Duration::from_secs(self.updated_since_seconds?);
        Some(Millis(began.0.saturating_sub(i64::try_from(ago.as_millis()).unwrap_or(i64::MAX))))
    }
}

/// Whether a row may have been updated at `since` or later. A row without a date may have been.
pub(super) fn may_be_since(updated_at: Option<Timestamp>, since: Millis) -> bool {
    updated_at.is_none_or(|at| Millis(at.as_millisecond()).plus(CLOCKS_DIFFER) >= since)
}

/// How far a backfill has come: one document in the store.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub(crate) struct Progress {
    /// A user who was synced since then needs nothing more of it.
    pub(crate) began_at: Millis,
    pub(crate) ended_at: Option<Millis>,
    pub(crate) spec: Spec,
    /// The pass over the list of users that is under way, counted from 1.
    pub(crate) pass: u32,
    /// Where the next page of this pass begins.
    pub(crate) offset: usize,
    /// Whether this pass has made a user due.
    pub(crate) found_new: bool,
    /// Whether the list has been read for the last time.
    pub(crate) is_listed: bool,
    pub(crate) listed: Listed,
    /// Whether this run continues an earlier one.
    #[serde(skip)]
    pub(crate) continued: bool,
}

/// What the first pass over the list of users found, and how many users became due in all passes.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub(crate) struct Listed {
    /// Rows of the list.
    pub(crate) users: u64,
    pub(crate) due: u64,
    #[serde(flatten)]
    pub(crate) passed_over: PassedOver,
}

/// Rows of the list that made no user due. The summary has these fields too.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub(crate) struct PassedOver {
    /// Users whom an event or a retry had made due, or who were synced after the backfill began.
    pub(crate) left_to_events: u64,
    /// Users whom an operator has had forgotten.
    pub(crate) forgotten: u64,
    /// Users without an update in the time of `--updated-since`.
    pub(crate) not_recent: u64,
    /// Rows that cannot be read: they have no user id that can be asked for.
    pub(crate) left_out: u64,
}

impl Progress {
    fn new(spec: Spec, now: Millis) -> Self {
        Self { began_at: now, spec, pass: 1, ..Self::default() }
    }

    /// Continues `last` if it has the same spec and did not end, otherwise begins anew.
    pub(crate) fn begin(last: Option<Self>, spec: Spec, now: Millis) -> Self {
        match last {
            Some(last) if last.ended_at.is_none() && last.spec == spec => Self { continued: true, ..last },
            _ => Self::new(spec, now),
        }
    }

    /// The progress after `page`; `next` is the offset of the next page, `None` after the last one.
    ///
    /// Rows shift between two pages while users come and go, so the list is read again until a pass finds no new user.
    pub(super) fn after_page(mut self, page: Listed, next: Option<usize>) -> Self {
        self.found_new |= page.due > 0;
        self.listed.due += page.due;
        if self.pass == 1 {
            self.listed.users += page.users;
            let (sum, more) = (&mut self.listed.passed_over, page.passed_over);
            sum.left_to_events += more.left_to_events;
            sum.forgotten += more.forgotten;
            sum.not_recent += more.not_recent;
            sum.left_out += more.left_out;
        }
        match next {
            Some(next) => self.offset = next,
            None if self.pass >= MOST_PASSES || (self.pass > 1 && !self.found_new) => self.is_listed = true,
            None => (self.pass, self.offset, self.found_new) = (self.pass + 1, 0, false),
        }
        self
    }

    /// How many users Sesamy lists; `None` until the first pass has ended.
    pub(super) fn users(&self) -> Option<u64> {
        (self.pass > 1 || self.is_listed).then_some(self.listed.users)
    }

    /// The progress of the last backfill. A document that this version cannot read counts as none.
    pub(crate) async fn load(queue: &Queue) -> Result<Option<Self>, QueueError> {
        Ok(queue.progress().await?.and_then(|kept| serde_json::from_str(&kept).ok()))
    }

    pub(super) async fn save(&self, queue: &Queue) -> Result<(), QueueError> {
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
        let passed_over = PassedOver { left_to_events: users - due, ..PassedOver::default() };
        Listed { users, due, passed_over }
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
            let before = if goes_on { kept.clone() } else { Progress::new(spec, Millis(9_000)) };
            let expected = Progress { continued: goes_on, ..before };
            assert_eq!(Progress::begin(last.cloned(), spec, Millis(9_000)), expected, "{case}");
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
