//! The history of a user: what each sync came to, kept for a while and folded where it repeats itself.
//!
//! It answers "why does this reader have that tag, since when" and "what failed, since when". Nothing personal is in it:
//! messages are masked before they come here, and of a field only its name is kept.

use serde::Serialize;

use crate::clock::Millis;

/// What one sync came to. Written in the transaction that ends its lease, and only where it ends that lease.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Entry {
    /// What caused it: the type of the event that came last, or a word of ours (`sync`, `retry`, `backfill`).
    pub event_type: String,
    /// As in the log: `created`, `subscribed`, `updated`, `unchanged`, `skipped`, `failed`, `postponed` or `parked`.
    pub outcome: &'static str,
    /// As in the log: why it was skipped or failed; empty where the outcome says it all.
    pub reason: &'static str,
    /// Whether `sync.dry_run` or the brake kept a change from being written.
    pub held_back: bool,
    /// The names of the fields that changed.
    pub changed: Vec<String>,
    /// Which of our tags the contact gained, addresses masked.
    pub tags_added: Vec<String>,
    /// Which of our tags the contact lost, addresses masked.
    pub tags_removed: Vec<String>,
    /// Which of our tags the contact of an address lost that the user had before, likewise.
    pub old_tags_removed: Vec<String>,
    /// Which try it was, counted from 1.
    pub attempt: u32,
    /// How long it took, in milliseconds.
    pub ms: u64,
    /// What failed, personal data masked.
    pub error: Option<String>,
}

impl Entry {
    /// What the stores keep of it to tell whether a later one comes to the same.
    pub(super) fn gist(&self) -> Gist {
        Gist {
            outcome: self.outcome.to_owned(),
            reason: self.reason.to_owned(),
            held_back: self.held_back,
            changed: joined(&self.changed),
            tags_added: joined(&self.tags_added),
            tags_removed: joined(&self.tags_removed),
            old_tags_removed: joined(&self.old_tags_removed),
            error: self.error.clone(),
        }
    }
}

/// The columns of a history row that tell what a sync came to, as the stores keep them.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Gist {
    pub(super) outcome: String,
    pub(super) reason: String,
    pub(super) held_back: bool,
    pub(super) changed: String,
    pub(super) tags_added: String,
    pub(super) tags_removed: String,
    pub(super) old_tags_removed: String,
    pub(super) error: Option<String>,
}

/// What an entry does to a user's history.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Fold {
    /// It is a row of its own.
    Row,
    /// It raises `times` of the last row, and is its latest cause, attempt and time.
    Again,
    /// It raises `unchanged_times` of the last row.
    Unchanged,
}

impl Gist {
    /// What an entry of this gist does where `last` is the gist of the user's last row.
    pub(super) fn onto(&self, last: Option<&Self>) -> Fold {
        match last {
            Some(last) if last == self => Fold::Again,
            Some(_) if self.outcome == "unchanged" => Fold::Unchanged,
            _ => Fold::Row,
        }
    }
}

/// A list as the stores keep it: joined by line feeds, which no tag has.
fn joined(list: &[String]) -> String {
    list.iter().map(|one| one.replace('\n', " ")).collect::<Vec<_>>().join("\n")
}

/// One row of a user's history: a sync, and those after it that came to the same.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct HistoryRow {
    /// When the first of them ended.
    pub first_at: Millis,
    /// When the last of them ended, those with nothing to do included.
    pub last_at: Millis,
    /// How often it came to this.
    pub times: u32,
    /// How often, since, there was nothing to do.
    pub unchanged_times: u32,
    /// What caused the last of them but those with nothing to do.
    pub event_type: String,
    /// As [`Entry::outcome`].
    pub outcome: String,
    /// As [`Entry::reason`].
    pub reason: String,
    /// As [`Entry::held_back`].
    pub held_back: bool,
    /// As [`Entry::changed`].
    pub changed: Vec<String>,
    /// As [`Entry::tags_added`].
    pub tags_added: Vec<String>,
    /// As [`Entry::tags_removed`].
    pub tags_removed: Vec<String>,
    /// As [`Entry::old_tags_removed`].
    pub old_tags_removed: Vec<String>,
    /// As [`Entry::attempt`], of the last of them.
    pub attempt: u32,
    /// As [`Entry::ms`], of the last of them.
    pub ms: u64,
    /// As [`Entry::error`].
    pub error: Option<String>,
}

impl HistoryRow {
    /// A list as the stores keep it, taken apart again.
    pub(super) fn split(joined: &str) -> Vec<String> {
        joined.split('\n').filter(|one| !one.is_empty()).map(str::to_owned).collect()
    }
}

/// How many syncs of one minute came to one outcome.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct MinuteCount {
    /// When the minute began.
    pub minute: Millis,
    /// As [`Entry::outcome`].
    pub outcome: String,
    /// How many.
    pub count: u64,
}

/// How long counts per minute are kept: a day for the charts, and some more.
pub(super) const COUNTS_KEPT_MINUTES: i64 = 26 * 60;

/// The number of the minute of `at`, counted from 1970.
pub(super) fn minute_of(at: Millis) -> i64 {
    at.0.div_euclid(60_000)
}

/// When the minute of that number began.
pub(super) fn minute_at(number: i64) -> Millis {
    Millis(number.saturating_mul(60_000))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_list_comes_back_as_it_was() {
        for list in [vec![], vec!["a"], vec!["a, b", "c|d", "é"]] {
            let list: Vec<String> = list.into_iter().map(str::to_owned).collect();
            assert_eq!(HistoryRow::split(&joined(&list)), list);
        }
    }

    #[test]
    fn what_repeats_itself_or_changes_nothing_makes_no_row() {
        let gist = |outcome: &'static str, added: &str| {
            Entry { outcome, tags_added: vec![added.to_owned()], ..Entry::default() }.gist()
        };
        let (plus, extra) = (gist("updated", "sesamy_plus"), gist("updated", "sesamy_extra"));
        let unchanged = Entry { outcome: "unchanged", ..Entry::default() }.gist();
        for (entry, last, fold) in [
            (&plus, None, Fold::Row),
            (&plus, Some(&extra), Fold::Row),
            (&plus, Some(&unchanged), Fold::Row),
            (&plus, Some(&plus), Fold::Again),
            (&unchanged, Some(&plus), Fold::Unchanged),
            (&unchanged, Some(&unchanged), Fold::Again),
            (&unchanged, None, Fold::Row),
        ] {
            assert_eq!(entry.onto(last), fold, "{entry:?} after {last:?}");
        }
    }

    #[test]
    fn a_minute_begins_where_the_last_one_ended() {
        assert_eq!([59_999, 60_000, -1].map(|at| minute_of(Millis(at))), [0, 1, -1]);
        assert_eq!(minute_at(minute_of(Millis(119_999))), Millis(60_000));
    }
}
