//! The history of a user: what each sync came to, kept for a while and folded where it repeats itself.
//!
//! It answers "why does this reader have that tag, since when" and "what failed, since when". No personal data is in it:
//! of a field only its name is kept, and an API's own words are not.

use serde::{Deserialize, Serialize};

use crate::clock::Millis;

/// What one sync came to. Written in the transaction that ends its lease, and only if it ends that lease.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Entry {
    /// What caused it: the event type that came last, or a word of ours (`sync`, `retry`, `backfill`).
    pub event_type: String,
    /// As in the log: `created`, `subscribed`, `updated`, `unchanged`, `skipped`, `failed`, `postponed` or `parked`.
    pub outcome: &'static str,
    /// As in the log: why it was skipped or failed; empty where the outcome says it all.
    pub reason: &'static str,
    /// Whether `sync.dry_run` or the removal guard kept a change from being written.
    pub held_back: bool,
    /// The names of the fields that changed.
    pub changed: Vec<String>,
    /// Which of our tags the contact gained, addresses masked.
    pub tags_added: Vec<String>,
    /// Which of our tags the contact lost, addresses masked.
    pub tags_removed: Vec<String>,
    /// Which of our tags the contact of an earlier address lost, addresses masked.
    pub old_tags_removed: Vec<String>,
    /// Which of our tags the removal guard kept the sync from removing, addresses masked.
    pub tags_held: Vec<String>,
    /// Which try it was, counted from 1.
    pub attempt: u32,
    /// How long it took, in milliseconds.
    pub ms: u64,
    /// What failed, without personal data.
    pub error: Option<String>,
}

/// One entry of a user's history: a sync, and those after it that came to the same.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct HistoryRow {
    /// The store's number of the entry; 0: not stored yet.
    #[serde(skip)]
    pub id: i64,
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
    /// As [`Entry::tags_held`].
    #[serde(default)]
    pub tags_held: Vec<String>,
    /// As [`Entry::attempt`], of the last of them.
    pub attempt: u32,
    /// As [`Entry::ms`], of the last of them.
    pub ms: u64,
    /// As [`Entry::error`].
    pub error: Option<String>,
}

/// Which entries of all users are asked for, the latest first.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct LogFilter {
    /// With this outcome only.
    pub outcome: Option<String>,
    /// Only those by which a contact lost tags.
    pub lost_tags: bool,
    /// Only those whose last sync was at this time or later.
    pub since: Option<Millis>,
    /// Those with a smaller number than this one: the next page.
    pub before: Option<i64>,
    /// The most entries.
    pub limit: usize,
}

impl Entry {
    /// What this entry, of a sync that ended at `now`, makes of the history whose last entry is `last`: a new entry
    /// (with the id 0), or the last one with a count raised. Nothing to do counts onto any sync that ended well, so that a
    /// recovery from a failure is an entry of its own.
    pub(super) fn onto(&self, last: Option<&HistoryRow>, now: Millis) -> HistoryRow {
        let new = HistoryRow {
            id: 0,
            first_at: now,
            last_at: now,
            times: 1,
            unchanged_times: 0,
            event_type: self.event_type.clone(),
            outcome: self.outcome.to_owned(),
            reason: self.reason.to_owned(),
            held_back: self.held_back,
            changed: self.changed.clone(),
            tags_added: self.tags_added.clone(),
            tags_removed: self.tags_removed.clone(),
            old_tags_removed: self.old_tags_removed.clone(),
            tags_held: self.tags_held.clone(),
            attempt: self.attempt,
            ms: self.ms,
            error: self.error.clone(),
        };
        match last {
            Some(last) if last.is_alike(&new) => HistoryRow {
                times: last.times.saturating_add(1),
                unchanged_times: last.unchanged_times,
                first_at: last.first_at,
                id: last.id,
                ..new
            },
            Some(last) if self.outcome == "unchanged" && last.has_ended_well() => HistoryRow {
                unchanged_times: last.unchanged_times.saturating_add(1),
                last_at: now,
                ..last.clone()
            },
            _ => new,
        }
    }
}

impl HistoryRow {
    /// Whether a contact lost tags.
    pub(super) fn lost_tags(&self) -> bool {
        !self.tags_removed.is_empty() || !self.old_tags_removed.is_empty()
    }

    fn has_ended_well(&self) -> bool {
        !matches!(self.outcome.as_str(), "failed" | "postponed" | "parked")
    }

    /// Whether both came to the same, whatever caused them and however long they took.
    fn is_alike(&self, other: &Self) -> bool {
        let what = |row: &Self| Self {
            id: 0,
            first_at: Millis(0),
            last_at: Millis(0),
            times: 0,
            unchanged_times: 0,
            event_type: String::new(),
            attempt: 0,
            ms: 0,
            ..row.clone()
        };
        what(self) == what(other)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_repeats_itself_or_changes_nothing_makes_no_new_entry() {
        let entry = |outcome: &'static str, added: &str| Entry {
            outcome,
            tags_added: Some(added.to_owned()).filter(|tag| !tag.is_empty()).into_iter().collect(),
            ..Entry::default()
        };
        let stored = |entry: &Entry| HistoryRow { id: 7, ..entry.onto(None, Millis(1)) };
        let (plus, extra) = (entry("updated", "sesamy_plus"), entry("updated", "sesamy_extra"));
        let (unchanged, failed) = (entry("unchanged", ""), entry("failed", ""));
        for (case, new, last, (id, times, unchanged_times)) in [
            ("the first", &plus, None, (0, 1, 0)),
            ("another change", &plus, Some(&extra), (0, 1, 0)),
            ("a change after nothing to do", &plus, Some(&unchanged), (0, 1, 0)),
            ("the same again", &plus, Some(&plus), (7, 2, 0)),
            ("the same failure again", &failed, Some(&failed), (7, 2, 0)),
            ("nothing to do after a change", &unchanged, Some(&plus), (7, 1, 1)),
            ("nothing to do again", &unchanged, Some(&unchanged), (7, 2, 0)),
            ("a recovery", &unchanged, Some(&failed), (0, 1, 0)),
        ] {
            let came = new.onto(last.map(stored).as_ref(), Millis(5));
            assert_eq!((came.id, came.times, came.unchanged_times), (id, times, unchanged_times), "{case}");
            assert_eq!(came.last_at, Millis(5), "{case}");
        }
    }

    #[test]
    fn an_entry_comes_back_from_the_store_as_it_was() {
        let entry =
            Entry { outcome: "updated", tags_added: vec!["sesamy_æ".to_owned()], ..Entry::default() };
        let row = entry.onto(None, Millis(1_700_000_000_123));
        let json = serde_json::to_string(&row).unwrap();
        assert_eq!(serde_json::from_str::<HistoryRow>(&json).unwrap(), row);
    }
}
