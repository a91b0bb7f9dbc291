//! What a backfill came to: counts, with nobody's name in them.

use std::collections::BTreeMap;

use serde::Serialize;

use super::progress::{Listed, Progress, Spec};
use crate::clock::Millis;
use crate::personal::without_addresses;
use crate::queue::Backlog;
use crate::sync::Report;

/// Counts by a word.
pub type Counts = BTreeMap<String, u64>;

/// Users by what became of them.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct Tally {
    /// Users by outcome: `created`, `subscribed`, `updated`, `unchanged`, `skipped`. Of a dry run, what would be done.
    pub outcomes: Counts,
    /// Those that were skipped, by reason.
    pub skipped: Counts,
    /// Users who failed, by reason; `retrying` are those who wait for their next try.
    pub failed: Counts,
    /// How many users would gain each of our tags; null but in a dry run.
    pub tags_gained: Option<Counts>,
    /// How many users would lose each of our tags; null but in a dry run.
    pub tags_lost: Option<Counts>,
    /// Users who would keep tags because the removal guard has tripped; null but in a dry run.
    pub tags_kept: Option<u64>,
}

impl Tally {
    /// What was synced, as the queue counts it.
    #[must_use]
    pub fn of(backlog: &Backlog) -> Self {
        let mut tally = Self::default();
        for (outcome, reason, users) in &backlog.ended {
            let (counts, word) = match outcome.as_str() {
                "parked" => (&mut tally.failed, reason),
                _ => (&mut tally.outcomes, outcome),
            };
            *counts.entry(word.clone()).or_default() += users;
            if outcome == "skipped" {
                *tally.skipped.entry(reason.clone()).or_default() += users;
            }
        }
        if backlog.failing > 0 {
            tally.failed.insert("retrying".to_owned(), backlog.failing);
        }
        tally
    }

    /// Adds what a sync would come to.
    pub(super) fn count(&mut self, report: &Report) {
        add(&mut self.outcomes, report.outcome.as_str());
        if let Some(reason) = report.outcome.reason() {
            add(&mut self.skipped, reason);
        }
        *self.tags_kept.get_or_insert(0) += u64::from(report.braked);
        let gained = self.tags_gained.get_or_insert_default();
        without_addresses(&report.tags_added).iter().for_each(|tag| add(gained, tag));
        let lost = self.tags_lost.get_or_insert_default();
        without_addresses(&report.tags_removed).iter().for_each(|tag| add(lost, tag));
    }

    /// Adds a user who failed.
    pub(super) fn failed(&mut self, reason: &str) {
        add(&mut self.failed, reason);
    }

    /// How many users are in it who need nothing more for now.
    #[must_use]
    pub fn done(&self) -> u64 {
        let retrying = self.failed.get("retrying").copied().unwrap_or(0);
        self.outcomes.values().chain(self.failed.values()).sum::<u64>() - retrying
    }
}

/// One more of `word`.
fn add(counts: &mut Counts, word: &str) {
    *counts.entry(word.to_owned()).or_default() += 1;
}

/// What a backfill came to. Its JSON is what `backfill --json` prints.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Summary {
    /// Whether it is finished, and nobody failed.
    pub ok: bool,
    /// Whether every user was listed, and everybody who was made due has been synced. If not, the same command goes on.
    pub finished: bool,
    /// Whether nothing was to be written.
    pub dry_run: bool,
    /// What was asked for.
    #[serde(flatten)]
    pub spec: Spec,
    /// When it began, the runs before it that were stopped included.
    pub started_at: Millis,
    /// Whether it went on with one that was stopped.
    pub continued: bool,
    /// How many users Sesamy lists; null until all have been listed once.
    pub users: Option<u64>,
    /// What has been synced since it began, whoever asked for it; of a dry run, what would be.
    #[serde(flatten)]
    pub tally: Tally,
    /// Users who were left to an event or a retry, which had made them due or synced already.
    pub left_to_events: u64,
    /// Users whom an operator has had forgotten: nothing was done for them.
    pub forgotten: u64,
    /// Users who were not updated in the time of `--updated-since`.
    pub not_recent: u64,
    /// Rows of the list of users that cannot be read.
    pub left_out: u64,
    /// How long ago it began, in seconds.
    pub seconds: u64,
}

impl Summary {
    /// The summary at `now` of a backfill that began anew and wrote.
    pub(super) fn new(progress: &Progress, tally: Tally, finished: bool, now: Millis) -> Self {
        let Listed { left_to_events, forgotten, not_recent, left_out, .. } = progress.listed;
        Self {
            ok: finished && tally.failed.is_empty(),
            finished,
            dry_run: false,
            spec: progress.spec,
            started_at: progress.began_at,
            continued: false,
            users: progress.users(),
            tally,
            left_to_events,
            forgotten,
            not_recent,
            left_out,
            seconds: now.since(progress.began_at).as_secs(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::outcome::{Outcome, Reason};
    use serde_json::json;

    fn report(outcome: Outcome, added: &[&str], removed: &[&str]) -> Report {
        let tags = |tags: &[&str]| tags.iter().map(|&tag| tag.to_owned()).collect();
        Report {
            outcome,
            changed: vec![],
            tags_added: tags(added),
            tags_removed: tags(removed),
            old_tags_removed: vec![],
            tags_held: vec![],
            held_back: false,
            braked: false,
            withheld: None,
            memory: crate::memory::Memory::default(),
            changes_at: None,
        }
    }

    #[test]
    fn a_dry_run_counts_each_user_by_outcome_reason_and_tag() {
        let mut tally = Tally::default();
        tally.count(&report(Outcome::Created, &["sesamy_a", "sesamy_b"], &[]));
        tally.count(&report(Outcome::Updated, &["sesamy_a"], &["sesamy_c"]));
        tally.count(&report(Outcome::Skipped(Reason::Guest), &[], &[]));
        tally.count(&Report { braked: true, ..report(Outcome::Skipped(Reason::Brake), &[], &[]) });
        tally.failed("503");
        assert_eq!(tally.done(), 5);
        assert_eq!(
            serde_json::to_value(&tally).unwrap(),
            json!({
                "outcomes": {"created": 1, "updated": 1, "skipped": 2},
                "skipped": {"guest": 1, "brake": 1},
                "failed": {"503": 1},
                "tags_gained": {"sesamy_a": 2, "sesamy_b": 1},
                "tags_lost": {"sesamy_c": 1},
                "tags_kept": 1,
            })
        );
    }

    #[test]
    fn a_tag_that_is_an_address_is_masked() {
        let mut tally = Tally::default();
        tally.count(&report(Outcome::Updated, &["sesamy_tag_kari@example.com"], &[]));
        assert!(!format!("{tally:?}").contains("example"), "{tally:?}");
    }

    #[test]
    fn the_queue_counts_parked_and_retrying_users_as_failed() {
        let ended = [
            ("created", "", 3),
            ("skipped", "guest", 2),
            ("skipped", "no_email", 1),
            ("parked", "permanent", 4),
        ];
        let ended = ended.map(|(outcome, reason, users)| (outcome.to_owned(), reason.to_owned(), users));
        let tally = Tally::of(&Backlog { waiting: 9, ended: ended.into(), failing: 5 });
        assert_eq!(tally.done(), 10);
        assert_eq!(
            serde_json::to_value(&tally).unwrap(),
            json!({
                "outcomes": {"created": 3, "skipped": 3},
                "skipped": {"guest": 2, "no_email": 1},
                "failed": {"permanent": 4, "retrying": 5},
                "tags_gained": null, "tags_lost": null, "tags_kept": null,
            })
        );
    }
}
