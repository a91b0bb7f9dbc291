//! The whole decision about one user: a pure function of what was read.
//!
//! Promises, each held by a property test of that name: `no_sequence_of_syncs_puts_anybody_back_who_has_left`,
//! `whatever_was_read_only_our_tags_go_and_no_name_is_blanked`, `nothing_is_taken_away_while_the_guard_holds_removals`.

use super::contact::{Found, Write};
use super::decision::{Decision, Merge};
use super::deletion::{self, Check};
use super::policy::{Policy, SyncMode};
use super::previous_contact::{OldContact, PreviousContact};
use super::report::Report;
use super::snapshot::{Addressed, Gap, Sharing, Skip, Snapshot};
use crate::address;
use crate::clock::Millis;
use crate::merge::consent::{self, Block};
use crate::merge::{self, ContactChange, KeepTags, Placement, Plan, TagWhy, Target};
use crate::model::{LastSeen, Profile, SeenByOthers, SesamyUser, TagKinds};
use crate::outcome::{Outcome, Reason};
use crate::personal::Personal;
use crate::tags;

/// Decides what is to be done about the user of `snapshot`. `now` is the wall clock's.
///
/// # Errors
/// [`Gap`]: what has to be read first.
pub(super) fn decide(snapshot: &Snapshot, policy: &Policy<'_>, now: Millis) -> Result<Decision, Gap> {
    match &snapshot.user {
        Ok(addressed) => with_address(snapshot, addressed, policy),
        Err(skip) => without_address(snapshot, skip, policy, now),
    }
}

fn with_address(snapshot: &Snapshot, user: &Addressed, policy: &Policy<'_>) -> Result<Decision, Gap> {
    let Snapshot { before, last_seen, .. } = snapshot;
    let Addressed { email, user } = user;
    let profile = Some(user.profile.clone());
    if let Some(moved_from) = before.email.as_ref().filter(|_| consent::has_moved(before, email.as_str()))
        && snapshot.previous.is_none()
    {
        return Err(Gap::Previous(moved_from.clone()));
    }
    // Read last, just before the write, so that what somebody else changes meanwhile is least likely to be lost.
    let Some(found) = &snapshot.contact else { return Err(Gap::Contact(email.clone())) };
    let (email, found, previous) = match (found, &snapshot.previous) {
        (None, Some(previous)) if !policy.rules().create_contacts => {
            // Nobody makes the new contact in this sync, so the old one is the user's only one: it is kept in step.
            let Some(own) = previous.own() else {
                let last_seen = LastSeen { missing_since: None, ..last_seen.clone() };
                return Ok(skipped(Reason::NotInMailmojo, profile, last_seen));
            };
            (&previous.address, Some(own), None)
        }
        (found, previous) => (email, found.as_ref(), previous.as_ref()),
    };

    let (merge, block) = merged(snapshot, policy, user, email, found, previous)?;
    let old_contact = previous.map(PreviousContact::decided);
    let mut report = report(snapshot, policy, &merge, block, old_contact.as_ref());
    if merge.contact.is_some() || merge.write.is_some() {
        report.changes_at = changes_at(snapshot, policy, user);
    }
    if policy.removals.are_held
        && let Some(old) = old_contact.as_ref().filter(|old| old.write.is_some())
    {
        // The removal comes first. The address that has changed is still needed to find the old contact by.
        let held = report.tags_held.iter().chain(&old.tags_removed).cloned().collect();
        let mut decision = held_wholly(profile, held, LastSeen { missing_since: None, ..last_seen.clone() });
        (decision.report.changes_at, decision.report.withheld) = (report.changes_at, report.withheld);
        return Ok(decision);
    }
    let had = merge.kinds_now().and(tags::kinds(&report.old_tags_removed));
    let left = merge.kinds_after().and(tags::kinds(merge.target.tags.keys()));
    // A dry run loses nothing.
    let is_counted = !policy.settings.dry_run && !policy.removals.are_held && !policy.removals.have_a_pass;
    let suspect = suspicion(had, left, policy.removals.are_expected).filter(|_| is_counted);
    Ok(Decision { report, profile, old_contact, merge: Some(merge), suspect })
}

/// What becomes of the contact of `email`, and why the user may not be put on the list.
fn merged(
    snapshot: &Snapshot,
    policy: &Policy<'_>,
    user: &SesamyUser,
    email: &Personal,
    found: Option<&Found>,
    previous: Option<&PreviousContact>,
) -> Result<(Merge, Option<Block>), Gap> {
    let (now, mut rules) = (snapshot.time.now(), policy.rules());
    let contact = found.map(|found| &found.contact);
    let custom = policy.settings.custom_fields.wanted(user, now);
    let mut target = Target::new(&user.profile, custom, tags::wanted(user, now));
    let is_put_on_list = merge::plan(&target, contact, None, &rules).puts_on_list();
    let block = if policy.mode == SyncMode::Override {
        None
    } else {
        // Another user's row may know more of the contact than this one's: it was the same contact.
        let others = match snapshot.seen_by_others {
            None if is_put_on_list => return Err(Gap::SeenByOthers(email.clone())),
            seen => seen.and_then(SeenByOthers::into_seen),
        };
        let old = previous.map(PreviousContact::as_old);
        consent::block(&snapshot.before, email.as_str(), old, contact, others.as_ref(), policy.keys)
    };
    let mut plan = merge::plan(&target, contact, block, &rules);
    if let (Some(contact), Some(change)) = (contact, plan.write())
        && !contact.has_keys_of(&change.data)
    {
        return Err(Gap::LeftOut);
    }
    if plan.change.as_ref().is_some_and(takes_tags_away) {
        match &snapshot.sharing {
            None => return Err(Gap::Sharing(email.clone())),
            Some(Sharing::Unknown) => rules.keep_tags = KeepTags::all(),
            Some(Sharing::Users(others)) => {
                let is_here = |other: &&Addressed| address::is_same(other.email.as_str(), email.as_str());
                for (tag, why) in others.iter().filter(is_here).flat_map(|it| tags::wanted(&it.user, now)) {
                    target.tags.entry(tag).or_default().extend(why);
                }
            }
        }
        plan = merge::plan(&target, contact, block, &rules);
    }
    let write = first_write(email, found, &plan);
    let merge = Merge { email: email.clone(), contact: contact.cloned(), target, rules, plan, write };
    Ok((merge, block))
}

fn takes_tags_away(change: &ContactChange) -> bool {
    change.tags.iter().any(|tag| matches!(tag.why, TagWhy::Removed | TagWhy::Held))
}

fn first_write(email: &Personal, found: Option<&Found>, plan: &Plan) -> Option<Write> {
    let data = plan.write()?.data.clone();
    let email = match found {
        Some(found) if plan.puts_on_list() => Personal::new(found.own_spelling()),
        Some(found) => found.email.clone(),
        // Lower case for a new contact, because contacts doubled by letter case are a common complaint.
        None => Personal::new(email.as_str().to_lowercase()),
    };
    Some(Write { email, puts_on_list: plan.puts_on_list(), data })
}

/// When what is wanted changes by itself, as far as Sesamy says.
fn changes_at(snapshot: &Snapshot, policy: &Policy<'_>, user: &SesamyUser) -> Option<Millis> {
    let now = snapshot.time.now();
    let of_fields = policy.settings.custom_fields.changes_at(user, now);
    let earliest = tags::next_change(user, now).into_iter().chain(of_fields).min();
    earliest.map(|then| snapshot.time.shortly_after(then))
}

fn report(
    snapshot: &Snapshot,
    policy: &Policy<'_>,
    merge: &Merge,
    block: Option<Block>,
    old: Option<&OldContact>,
) -> Report {
    let (seen, contact) = (snapshot.last_seen.clone(), merge.contact.as_ref());
    let mut last_seen = consent::remembered(seen.clone(), merge.email.as_str(), block, contact, policy.keys);
    last_seen.tags = merge.kinds_after();
    let mut report = Report::new(merge.plan.outcome(), last_seen);
    if let Placement::LeftAlone { status } = &merge.plan.list {
        report.withheld = Some(status.clone());
    }
    if let Some(change) = merge.plan.write() {
        report.changed = change.data.fields();
        report.tags_added = change.tags_that_are(TagWhy::Added);
        report.tags_removed = change.tags_that_are(TagWhy::Removed);
    }
    let removal = old.filter(|old| old.write.is_some());
    if let Some(old) = removal {
        report.old_tags_removed.clone_from(&old.tags_removed);
        if report.outcome == Outcome::Unchanged {
            report.outcome = Outcome::Updated;
        }
    }
    if policy.settings.dry_run && (merge.write.is_some() || removal.is_some()) {
        report.held_back = true;
        report.last_seen.tags = merge.kinds_now();
        if old.is_some() {
            // The old contact still has our tags: the address that it is found by must not be forgotten.
            report.last_seen = LastSeen { missing_since: None, ..seen };
        }
    }
    if let Some(change) = merge.plan.change.as_ref().filter(|change| change.is_held()) {
        (report.held_back, report.braked) = (true, true);
        report.tags_held = change.tags_that_are(TagWhy::Held);
        if report.outcome == Outcome::Unchanged {
            report.outcome = Outcome::Skipped(Reason::Brake);
        }
    }
    report
}

/// A user that Sesamy does not know, or with nothing to bring in step.
///
/// A user that had an address and has no usable one now (no e-mail, not an address, a guest) is like one that Sesamy does not
/// know: an account may be emptied rather than deleted, and nobody would keep its old contact in step.
fn without_address(
    snapshot: &Snapshot,
    skip: &Skip,
    policy: &Policy<'_>,
    now: Millis,
) -> Result<Decision, Gap> {
    let Snapshot { before, last_seen, .. } = snapshot;
    let missing = deletion::missing(before, now);
    let profile = skip.profile.as_deref().cloned();
    let mut decision = skipped(skip.reason, profile.clone(), missing.clone());
    let was_known = before.email.is_some();
    if was_known && before.missing_since.is_none() {
        // Counted once: a user who stays unknown is no news. In a dry run too, because this counts towards the later removal.
        let is_counted = !policy.removals.are_held && !policy.removals.have_a_pass;
        decision.suspect = suspicion(before.tags, TagKinds::default(), false).filter(|_| is_counted);
    }
    if skip.reason != Reason::UserNotFound && !was_known {
        return Ok(decision); // never synced, and only an event can change that
    }
    match deletion::check(&missing, now) {
        Check::None => {}
        // A sync that may create nobody begins no search for a user that it could only create.
        Check::At(_) if before.missing_since.is_none() && !was_known && !policy.mode.may_create() => {}
        Check::At(then) => decision.report.changes_at = Some(then),
        Check::Confirmed(address) => {
            let previous = snapshot.previous.as_ref().ok_or_else(|| Gap::Previous(address.clone()))?;
            let old = previous.decided();
            let removes = old.write.is_some();
            if removes && policy.removals.are_held {
                let last_seen = LastSeen { missing_since: missing.missing_since, ..last_seen.clone() };
                return Ok(held_wholly(profile, old.tags_removed, last_seen));
            }
            if removes {
                decision.report.changed = vec!["tags"];
                decision.report.tags_removed.clone_from(&old.tags_removed);
                decision.report.held_back = policy.settings.dry_run;
            }
            if !decision.report.held_back {
                let seen = LastSeen { missing_since: missing.missing_since, ..last_seen.clone() };
                let gone = consent::remembered_of_gone(before, seen, previous.as_old(), policy.keys);
                decision.report.last_seen = LastSeen { tags: TagKinds::default(), ..gone };
            }
            decision.old_contact = Some(old);
        }
    }
    Ok(decision)
}

fn skipped(reason: Reason, profile: Option<Profile>, last_seen: LastSeen) -> Decision {
    let report = Report::new(Outcome::Skipped(reason), last_seen);
    Decision { report, profile, old_contact: None, merge: None, suspect: None }
}

/// Nothing is written while the guard holds `tags` on a contact, and nothing is forgotten that it takes to remove them later.
fn held_wholly(profile: Option<Profile>, mut tags: Vec<String>, last_seen: LastSeen) -> Decision {
    tags.sort_unstable();
    tags.dedup();
    let mut decision = skipped(Reason::Brake, profile, last_seen);
    (decision.report.held_back, decision.report.braked) = (true, true);
    decision.report.tags_held = tags;
    decision
}

/// Whether a sync is suspect that finds contacts with tags of the kinds `had`, and leaves them with those of the kinds
/// `left`: it would take all tags of a kind, and nobody expected that. A swap is not suspect: something of the kind comes or
/// stays. `None`: the user has nothing to lose, so the sync says nothing.
fn suspicion(had: TagKinds, left: TagKinds, is_expected: bool) -> Option<bool> {
    had.any().then(|| !is_expected && had.loses_a_kind(left))
}

#[cfg(test)]
mod tests;
