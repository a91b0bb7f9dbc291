//! What the brake makes of a decision: everything of it but what takes a tag of ours away.

use super::decision::{Case, Decided, Decision};
use super::outcome::{Outcome, Reason, Report};
use super::{Sign, Syncer};
use crate::memory::Memory;
use crate::merge::{KeepTags, Plan};
use crate::tags;

impl Syncer {
    /// The same, whose writes take no tag of ours away.
    pub(super) fn keeping_tags(&self) -> Self {
        let mut syncer = self.clone();
        syncer.options.rules.keep_tags = KeepTags::all();
        syncer
    }

    /// What is left of `decision` for one that keeps tags. Where taking them away comes first, nothing is: an address that
    /// has changed is still needed to find the old contact by.
    pub(super) fn held(&self, decision: Decision) -> Decision {
        let begins_with_it = match &decision.case {
            Case::Skipped(_) => decision.former.is_some(),
            Case::Decided(_) => decision.old_contact().is_some_and(|old| old.request.is_some()),
        };
        if begins_with_it {
            return decision.held_wholly();
        }
        let waits = decision.waits_for_a_second_look();
        let Decision { user, mut report, case, former, before, mask } = decision;
        // Nothing is taken away yet; but it says as much about the source, and so is looked at again as the others are.
        (report.held_back, report.braked) = (report.held_back || waits, report.braked || waits);
        let (case, report) = match case {
            Case::Decided(decided) if !report.tags_removed.is_empty() => {
                let (decided, report) = self.without_taking_away(*decided, report);
                (Case::Decided(Box::new(decided)), report)
            }
            case => (case, report),
        };
        Decision { user, report, case, former, before, mask }
    }

    fn without_taking_away(&self, decided: Decided, report: Report) -> (Decided, Report) {
        let plan = self.plan(&decided.source, decided.found.as_ref(), decided.block);
        let outcome = match &plan {
            Plan::Nothing => Outcome::Skipped(Reason::Brake),
            plan => Outcome::of(plan),
        };
        let report = report.reduced_to(outcome);
        let report = match plan.change() {
            Some(change) => report.with_change(change),
            None => report,
        };
        let write = self.first_write(&decided.source, decided.found.as_ref(), &plan);
        (Decided { plan, write, ..decided }, report)
    }
}

impl Decision {
    /// What it says about the source.
    pub(super) fn sign(&self) -> Sign {
        let was_missing = self.before.missing_since.is_some();
        if self.waits_for_a_second_look() {
            return if was_missing { Sign::StillUnknown } else { Sign::Suspect };
        }
        let source = match &self.case {
            Case::Decided(decided) => Some(&decided.source),
            Case::Skipped(_) => None,
        };
        let has_ended = |tag: &String| source.is_some_and(|source| source.ended.contains(tag));
        let mut lost = self.report.tags_removed.iter().chain(&self.report.old_tags_removed);
        if lost.any(|tag| tags::is_active(tag) && !has_ended(tag)) {
            return Sign::Suspect;
        }
        let gains = self.report.tags_added.iter().any(|tag| tags::is_active(tag));
        match source {
            Some(_) if was_missing || gains => Sign::Restored,
            Some(source) if source.tags.iter().any(|tag| tags::is_active(tag)) => Sign::Sound,
            _ => Sign::Plain,
        }
    }

    /// Whether Sesamy has no usable address for the user, who has tags to lose should that be confirmed.
    fn waits_for_a_second_look(&self) -> bool {
        let is_unknown = matches!(
            self.skipped(),
            Some(Reason::UserNotFound | Reason::NoEmail | Reason::BadEmail | Reason::Guest)
        );
        is_unknown && self.before.email.is_some() && self.former.is_none()
    }

    /// The same with nothing to write, and nothing forgotten that it takes to do it later.
    fn held_wholly(self) -> Self {
        let missing_since = self.report.memory.missing_since;
        let mut report = self.report.reduced_to(Outcome::Skipped(Reason::Brake));
        report.memory = Memory { missing_since, ..self.before.clone() };
        let profile = match self.case {
            Case::Skipped(profile) => profile,
            Case::Decided(decided) => Some(Box::new(decided.source.profile)),
        };
        Self { report, case: Case::Skipped(profile), former: None, ..self }
    }
}

impl Report {
    /// The same after the brake has held back what is told of now.
    fn reduced_to(self, outcome: Outcome) -> Self {
        Self {
            outcome,
            changed: Vec::new(),
            tags_added: Vec::new(),
            tags_removed: Vec::new(),
            old_tags_removed: Vec::new(),
            held_back: true,
            braked: true,
            ..self
        }
    }
}
