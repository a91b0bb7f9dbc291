//! What a backfill came to: counts, without personal data.

use std::collections::BTreeMap;

use serde::Serialize;

use super::progress::{PassedOver, Spec};
use super::report::Line;
use crate::clock::Millis;
use crate::queue::Backlog;

/// How often each word came up.
pub(crate) type Counts = BTreeMap<String, u64>;

/// Users by the outcome of their sync, or of a dry run's decision.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub(crate) struct Tally {
    /// `created`, `subscribed`, `updated`, `unchanged`, `skipped`.
    pub(crate) outcomes: Counts,
    /// Skipped users, by reason.
    pub(crate) skipped: Counts,
    /// Failed users, by reason; those who wait for a retry as `retrying`.
    pub(crate) failed: Counts,
    /// How many users would gain each tag. This and what follows is null unless it is a dry run.
    pub(crate) tags_gained: Option<Counts>,
    /// How many users would lose each tag.
    pub(crate) tags_lost: Option<Counts>,
    /// Users who would keep tags because the removal guard has tripped.
    pub(crate) tags_kept: Option<u64>,
}

impl Tally {
    /// What the queue has counted.
    pub(super) fn of(backlog: &Backlog) -> Self {
        let mut tally = Self::default();
        for (outcome, reason, users) in &backlog.ended {
            tally.add(outcome, reason, *users);
        }
        if backlog.failing > 0 {
            tally.failed.insert("retrying".to_owned(), backlog.failing);
        }
        tally
    }

    /// Counts a line of a dry run.
    pub(super) fn count(&mut self, line: &Line<'_>) {
        self.add(line.outcome, line.reason, 1);
        *self.tags_kept.get_or_insert(0) += u64::from(line.keeps_tags);
        let changes = [(&mut self.tags_gained, &line.tags_added), (&mut self.tags_lost, &line.tags_removed)];
        for (counts, tags) in changes {
            let counts = counts.get_or_insert_default();
            tags.iter().for_each(|tag| *counts.entry(tag.clone()).or_default() += 1);
        }
    }

    fn add(&mut self, outcome: &str, reason: &str, users: u64) {
        let (counts, word) = match outcome {
            "parked" | "failed" => (&mut self.failed, reason),
            _ => (&mut self.outcomes, outcome),
        };
        *counts.entry(word.to_owned()).or_default() += users;
        if outcome == "skipped" {
            *self.skipped.entry(reason.to_owned()).or_default() += users;
        }
    }

    /// How many users need nothing more for now.
    pub(super) fn done(&self) -> u64 {
        let retrying = self.failed.get("retrying").copied().unwrap_or(0);
        self.outcomes.values().chain(self.failed.values()).sum::<u64>() - retrying
    }
}

/// The answer of `backfill --json`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub(crate) struct Summary {
    /// Whether it is finished and no user failed.
    pub(crate) ok: bool,
    /// Whether every user was listed, and all that became due were synced. If not, the same command continues.
    pub(crate) finished: bool,
    pub(crate) dry_run: bool,
    #[serde(flatten)]
    pub(crate) spec: Spec,
    /// When it began, earlier runs that were stopped included.
    pub(crate) started_at: Millis,
    /// Whether it continued one that was stopped.
    pub(crate) continued: bool,
    /// How many users Sesamy lists; null until all have been listed once.
    pub(crate) users: Option<u64>,
    /// All syncs since it began, whatever asked for them; of a dry run, its decisions.
    #[serde(flatten)]
    pub(crate) tally: Tally,
    #[serde(flatten)]
    pub(crate) passed_over: PassedOver,
    /// How long ago it began.
    pub(crate) seconds: u64,
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::outcome::{Outcome, Reason};
    use crate::sync::Report;
    use crate::user::UserId;
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
            last_seen: crate::model::LastSeen::default(),
            changes_at: None,
        }
    }

    fn count(tally: &mut Tally, report: &Report) {
        tally.count(&Line::of_sync(&UserId::new("a").unwrap(), report));
    }

    #[test]
    fn a_dry_run_counts_each_user_by_outcome_reason_and_tag() {
        let mut tally = Tally::default();
        count(&mut tally, &report(Outcome::Created, &["sesamy_a", "sesamy_b"], &[]));
        count(&mut tally, &report(Outcome::Updated, &["sesamy_a"], &["sesamy_c"]));
        count(&mut tally, &report(Outcome::Skipped(Reason::Guest), &[], &[]));
        count(&mut tally, &Report { braked: true, ..report(Outcome::Skipped(Reason::Brake), &[], &[]) });
        tally.count(&Line::unchanged(&UserId::new("b").unwrap(), "failed", "503"));
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
        count(&mut tally, &report(Outcome::Updated, &["sesamy_tag_kari@example.com"], &[]));
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
