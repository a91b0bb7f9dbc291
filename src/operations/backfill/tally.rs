//! What a backfill has done: counts, with nobody's name in them.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::order::Order;
use crate::clock::Millis;
use crate::personal::Mask;
use crate::sync::Report;

/// Counts by a word.
pub type Counts = BTreeMap<String, u64>;

/// What has been done so far, by all processes that have worked on one backfill. After a kill the counts of the page that
/// was being worked on are missing, never its users.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Tally {
    /// Syncs by outcome: `created`, `subscribed`, `updated`, `unchanged`, `skipped`. Of a dry run, what would have been.
    pub outcomes: Counts,
    /// Those that were skipped, by reason.
    pub skipped: Counts,
    /// Of our tags, how many users have gained each.
    pub tags_gained: Counts,
    /// Of our tags, how many users have lost each.
    pub tags_lost: Counts,
    /// Users who keep tags because the removal guard holds removals back.
    pub tags_kept: u64,
    /// Users whom an event, or somebody by hand, has had synced meanwhile, or will.
    pub left_to_events: u64,
    /// Users whom an operator has had forgotten: nothing was asked or written for them.
    pub forgotten: u64,
    /// Users who were not taken, for nothing says that they were changed in the time of `--updated-since`.
    pub not_recent: u64,
    /// Rows of the list of users that cannot be read: no request can be made of what they have for an id.
    pub left_out: u64,
    /// Calls made.
    pub calls: Calls,
    /// How long it has worked.
    pub seconds: u64,
}

/// Calls of both APIs.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Calls {
    /// Of Sesamy's.
    pub sesamy: u64,
    /// Of Mailmojo's.
    pub mailmojo: u64,
}

/// What a backfill came to. Its JSON is what `backfill --json` prints.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Summary {
    /// Whether everybody was looked at, and nobody failed.
    pub ok: bool,
    /// Whether everybody was looked at. Otherwise the same command goes on.
    pub finished: bool,
    /// Whether nothing was to be written.
    pub dry_run: bool,
    /// What was asked for.
    #[serde(flatten)]
    pub order: Order,
    /// When it began, those before it that were stopped included.
    pub started_at: Millis,
    /// Whether it went on with one that was stopped.
    pub continued: bool,
    /// How many users Sesamy has listed in the first look; none where that was not finished.
    pub users: Option<u64>,
    /// How often all users were looked at.
    pub looks: u32,
    /// Whether users still changed so fast that the last look found some again.
    pub cut_short: bool,
    /// Users who failed, by what all who failed alike have in common.
    pub failed: Counts,
    /// What was done.
    #[serde(flatten)]
    pub tally: Tally,
    /// Calls of Sesamy's for each listed user.
    pub sesamy_calls_per_user: Option<String>,
}

impl Tally {
    /// Takes in how a sync ended.
    pub fn count(&mut self, report: &Report) {
        add(&mut self.outcomes, report.outcome.as_str());
        if let Some(reason) = report.outcome.reason() {
            add(&mut self.skipped, reason);
        }
        self.tags_kept += u64::from(report.braked);
        // A publisher's own tag can be anything, even an address.
        let mask = Mask::default();
        report.tags_added.iter().for_each(|tag| add(&mut self.tags_gained, &mask.apply(tag)));
        report.tags_removed.iter().for_each(|tag| add(&mut self.tags_lost, &mask.apply(tag)));
    }

    /// How many users were synced, and how many of them needed a write.
    #[must_use]
    pub fn synced_and_written(&self) -> (u64, u64) {
        let of = |outcome: &str| self.outcomes.get(outcome).copied().unwrap_or(0);
        let written = of("created") + of("subscribed") + of("updated");
        (written + of("unchanged") + of("skipped"), written)
    }
}

/// One more of `word`.
pub(super) fn add(counts: &mut Counts, word: &str) {
    *counts.entry(word.to_owned()).or_default() += 1;
}

/// `calls` for each of `users`, to two digits.
#[must_use]
pub fn per_user(calls: u64, users: u64) -> Option<String> {
    (users > 0).then(|| format!("{:.2}", calls as f64 / users as f64))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sync::{Outcome, Reason};

    fn report(outcome: Outcome, added: &[&str], removed: &[&str]) -> Report {
        let tags = |tags: &[&str]| tags.iter().map(|&tag| tag.to_owned()).collect();
        Report {
            outcome,
            changed: vec![],
            tags_added: tags(added),
            tags_removed: tags(removed),
            old_tags_removed: vec![],
            tags_held: Vec::new(),
            held_back: false,
            braked: false,
            withheld: None,
            reached: vec![],
            memory: crate::memory::Memory::default(),
            changes_at: None,
        }
    }

    #[test]
    fn every_sync_is_counted_by_outcome_reason_and_tag() {
        let mut tally = Tally::default();
        tally.count(&report(Outcome::Created, &["sesamy_a", "sesamy_b"], &[]));
        tally.count(&report(Outcome::Updated, &["sesamy_a"], &["sesamy_c"]));
        tally.count(&report(Outcome::Unchanged, &[], &[]));
        tally.count(&report(Outcome::Skipped(Reason::Guest), &[], &[]));
        tally.count(&Report { braked: true, ..report(Outcome::Skipped(Reason::Brake), &[], &[]) });
        let told = serde_json::to_value(&tally).unwrap();
        assert_eq!(
            told["outcomes"],
            serde_json::json!({"created": 1, "updated": 1, "unchanged": 1, "skipped": 2})
        );
        assert_eq!(told["skipped"], serde_json::json!({"guest": 1, "brake": 1}));
        assert_eq!(told["tags_kept"], 1);
        assert_eq!(told["tags_gained"], serde_json::json!({"sesamy_a": 2, "sesamy_b": 1}));
        assert_eq!(told["tags_lost"], serde_json::json!({"sesamy_c": 1}));
        assert_eq!(tally.synced_and_written(), (5, 2));
        assert_eq!(serde_json::from_value::<Tally>(told).unwrap(), tally);
    }

    #[test]
    fn a_tag_that_is_an_address_is_masked() {
        let mut tally = Tally::default();
        tally.count(&report(Outcome::Updated, &["sesamy_tag_kari@example.com"], &[]));
        assert!(!format!("{tally:?}").contains("example"), "{tally:?}");
    }

    #[test]
    fn calls_per_user_have_two_digits() {
        assert_eq!(per_user(316, 300).as_deref(), Some("1.05"));
        assert_eq!(per_user(3, 0), None);
    }
}
