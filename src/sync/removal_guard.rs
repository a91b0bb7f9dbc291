//! What a sync says about its source, and what is left of a decision while the removal guard holds removals back.
//!
//! The guard itself, a window over many users, is the queue's ([`crate::queue`]). A sync only says whether it is suspect, and
//! asks before it writes whether removals are held ([`super::AddressIndex::holds_removals`]).

use super::decision::{Case, Decided, Decision};
use super::outcome::{Report, outcome_of};
use super::{Context, Syncer};
use crate::fields::{Answer, CustomField};
use crate::memory::{Memory, TagKinds};
use crate::merge::why::{Explanation, TagWhy};
use crate::merge::{KeepTags, Plan};
use crate::outcome::{Outcome, Reason};

/// Whether a sync is suspect that finds a contact with tags of the kinds `had`, and leaves it with those of the kinds `left`:
/// it would take all tags of a kind, and nobody expected that. A swap is not suspect: something of the kind comes or stays.
/// None: the user has nothing to lose, so the sync says nothing.
fn suspicion(had: TagKinds, left: TagKinds, is_expected: bool) -> Option<bool> {
    had.any().then(|| !is_expected && had.loses_a_kind(left))
}

/// Whether writing `field` would take away what Sesamy said before of contracts or entitlements: it empties the field, or
/// counts nothing.
fn empties(field: &CustomField) -> bool {
    let is_bought = matches!(field.source.answer(), Answer::Contracts | Answer::Entitlements);
    is_bought && field.value.as_ref().is_none_or(|value| value.as_str() == "0")
}

impl Syncer {
    /// `decision`, without what the removal guard holds back at this moment.
    #[must_use]
    pub fn under_guard(&self, decision: Decision, context: &Context) -> Decision {
        if self.holds_removals(context) { self.held(decision) } else { decision }
    }

    /// Whether the removal guard holds back what the sync of `context` would remove.
    pub(super) fn holds_removals(&self, context: &Context) -> bool {
        !context.has_pass() && self.addresses.holds_removals()
    }

    /// A syncer that only adds tags.
    pub(super) fn keeping_tags(&self) -> Self {
        let mut syncer = self.clone();
        syncer.options.rules.keep_tags = KeepTags::all();
        syncer
    }

    /// `decision` without its removals. If a removal comes first, nothing is left: an address that has changed is still needed
    /// to find the old contact by.
    pub(super) fn held(&self, mut decision: Decision) -> Decision {
        if decision.former.as_ref().is_some_and(|former| former.write.is_some()) {
            return decision.held_wholly();
        }
        decision.case = match decision.case {
            Case::Decided(decided) => {
                Case::Decided(Box::new(self.without_removals(*decided, &mut decision.report)))
            }
            skipped @ Case::Skipped(_) => skipped,
        };
        decision
    }

    fn without_removals(&self, mut decided: Decided, report: &mut Report) -> Decided {
        let syncer = self.keeping_tags();
        let (held, custom) = decided.source.person.custom.into_iter().partition(empties);
        decided.source.person.custom = custom;
        let plan = syncer.plan(&decided.source, decided.found.as_ref(), decided.block);
        if plan == decided.plan {
            return decided;
        }
        let outcome = match &plan {
            Plan::Nothing => Outcome::Skipped(Reason::Brake),
            plan => outcome_of(plan),
        };
        report.hold(outcome);
        if let Some(change) = plan.change() {
            *report = report.clone().with_change(change);
        }
        if !self.options.dry_run {
            report.memory.tags = decided.tags_after(&plan);
        }
        decided.explanation.hold(&held);
        let write = syncer.first_write(&decided.source, decided.found.as_ref(), &plan);
        Decided { plan, write, ..decided }
    }
}

impl Decision {
    /// Whether it is suspect: it would leave the user without any tag of a kind, or the user is suddenly unknown. None: the
    /// user has nothing to lose, or was counted before: a user who stays unknown is no news.
    pub(super) fn suspicion(&self, context: &Context) -> Option<bool> {
        match &self.case {
            Case::Decided(decided) => {
                let lost_elsewhere = TagKinds::of(self.former.iter().flat_map(|former| &former.tags));
                let had = decided.tags_now().and(lost_elsewhere);
                let wanted = TagKinds::of(&decided.source.tags);
                suspicion(had, decided.tags_after(&decided.plan).and(wanted), context.expects_loss())
            }
            Case::Skipped(_) if self.is_first_without_user() => {
                suspicion(self.before.tags, TagKinds::default(), false)
            }
            Case::Skipped(_) => None,
        }
    }

    /// Whether Sesamy had a usable address for the user until now, and has none.
    pub(super) fn is_first_without_user(&self) -> bool {
        let is_without = matches!(
            self.skipped(),
            Some(Reason::UserNotFound | Reason::NoEmail | Reason::BadEmail | Reason::Guest)
        );
        is_without && self.before.email.is_some() && self.before.missing_since.is_none()
    }

    /// The same with nothing to write, and nothing forgotten that it takes to do it later.
    fn held_wholly(mut self) -> Self {
        let missing_since = self.report.memory.missing_since;
        self.report.hold(Outcome::Skipped(Reason::Brake));
        self.report.memory = Memory { missing_since, ..self.before.clone() };
        let profile = match self.case {
            Case::Skipped(profile) => profile,
            Case::Decided(decided) => Some(Box::new(decided.source.profile)),
        };
        Self { case: Case::Skipped(profile), former: None, ..self }
    }
}

impl Report {
    /// The guard holds back what is reported now.
    fn hold(&mut self, outcome: Outcome) {
        let mut held = std::mem::take(&mut self.tags_removed);
        held.append(&mut self.old_tags_removed);
        held.sort_unstable();
        held.dedup();
        self.outcome = outcome;
        self.tags_held = held;
        self.changed.clear();
        self.tags_added.clear();
        (self.held_back, self.braked) = (true, true);
    }
}

impl Explanation {
    /// The guard holds back removals, and these fields.
    fn hold(&mut self, fields: &[CustomField]) {
        for tag in self.tags.iter_mut().filter(|tag| tag.why == TagWhy::Removed) {
            tag.why = TagWhy::Held;
        }
        for custom in &mut self.custom_fields {
            custom.changes &= !fields.iter().any(|field| field.name == custom.name);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fields::Source;
    use crate::personal::Personal;

    const ACTIVE: &[&str] = &["sesamy_active_subscriber", "sesamy_active_sku_plus"];
    const PROFILE: &[&str] = &["sesamy_tag_early-bird"];
    const BOTH: &[&str] = &["sesamy_active_subscriber", "sesamy_tag_early-bird"];
    const OTHER: &[&str] = &["vip", "sesamy_made_single_purchase", "sesamy_overdue_contract"];

    #[test]
    fn a_sync_is_suspect_if_it_leaves_no_tag_of_a_kind() {
        let kinds = |tags: &[&str]| TagKinds::of(&tags.iter().map(|&tag| tag.to_owned()).collect::<Vec<_>>());
        for (case, had, left, expected) in [
            ("all access is lost", ACTIVE, OTHER, Some(true)),
            ("all profile tags are lost", PROFILE, &[], Some(true)),
            ("access is lost, and a profile tag stays", BOTH, PROFILE, Some(true)),
            ("a profile tag is lost, and access stays", BOTH, ACTIVE, Some(true)),
            ("one of two products is lost", ACTIVE, &["sesamy_active_sku_plus"], Some(false)),
            ("a product is renamed", ACTIVE, &["sesamy_active_sku_premium"], Some(false)),
            ("a profile tag is renamed", PROFILE, &["sesamy_tag_regular"], Some(false)),
            ("nothing is lost", BOTH, BOTH, Some(false)),
            ("other tags of ours are lost", OTHER, &[], None),
            ("access is gained", OTHER, ACTIVE, None),
        ] {
            assert_eq!(suspicion(kinds(had), kinds(left), false), expected, "{case}");
            assert_eq!(suspicion(kinds(had), kinds(left), true), expected.map(|_| false), "expected: {case}");
        }
    }

    #[test]
    fn a_field_of_contracts_or_entitlements_is_not_emptied() {
        for (source, value, expected) in [
            (Source::ActiveProducts, None, true),
            (Source::ActiveProducts, Some("Plus"), false),
            (Source::SubscriptionStatus, None, true),
            (Source::ActiveSubscriptionCount, Some("0"), true),
            (Source::ActiveSubscriptionCount, Some("1"), false),
            (Source::Company, None, false),
        ] {
            let value = value.map(Personal::new);
            let field = CustomField { name: "plan".to_owned(), source, value };
            assert_eq!(empties(&field), expected, "{field:?}");
        }
    }
}
