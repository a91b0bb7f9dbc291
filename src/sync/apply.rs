//! All writing of a sync: what was decided, and what still differs after it.

use super::contact::Write;
use super::context::Context;
use super::decision::{Decision, Merge};
use super::report::Report;
use super::shared::Shared;
use crate::mailmojo;
use crate::merge::ContactChange;
use crate::model::{Contact, Membership, SeenContact};
use crate::upstream::Failure;

/// Writes what was decided.
pub(super) async fn apply(shared: &Shared, decision: Decision, context: &Context) -> Result<Report, Failure> {
    context.note_suspicion(decision.suspect);
    let Decision { mut report, old_contact, merge, .. } = decision;
    if shared.settings.dry_run {
        return Ok(report);
    }
    if let Some(write) = old_contact.and_then(|old| old.write) {
        shared.mailmojo.patch(write.email.as_str(), &write.data, &context.attempt).await?;
    }
    let Some(merge) = merge else { return Ok(report) };
    match &merge.write {
        Some(write) if write.puts_on_list => {
            report.last_seen.contact = Some(put_on_list(shared, &merge, write, context).await?);
        }
        Some(write) => {
            shared.mailmojo.patch(write.email.as_str(), &write.data, &context.attempt).await?;
        }
        None => {}
    }
    Ok(report)
}

/// Creates or subscribes, and adds what still differs after it. What is remembered of the contact from now on.
async fn put_on_list(
    shared: &Shared,
    merge: &Merge,
    write: &Write,
    context: &Context,
) -> Result<SeenContact, Failure> {
    let (mailmojo, attempt) = (&shared.mailmojo, &context.attempt);
    let after = mailmojo.subscribe(write.email.as_str(), &write.data, attempt).await?;
    // It is there from here on, whatever becomes of what follows.
    let seen = just_put_there(&after);
    context.saw(merge.email.as_str(), &shared.keys, |_| seen.clone());
    context.moved_to(merge.email.as_str(), &shared.keys);
    // Somebody may have made the contact between our read and our write. What is theirs stays; what is still missing is
    // added once.
    let change_of = |after: &Contact| ContactChange::of(&merge.target, after, &merge.rules);
    let mut rest = change_of(&after);
    if !after.has_values_of(&rest.data) {
        // To take an answer that leaves out tags or a name for a contact without would wipe them.
        let again = mailmojo.contact(write.email.as_str(), attempt).await?;
        rest = change_of(&again.ok_or_else(mailmojo::gone_meanwhile)?);
    }
    if !rest.is_empty() {
        mailmojo.patch(write.email.as_str(), &rest.data, attempt).await?;
    }
    Ok(seen)
}

/// What is remembered of a contact that was just put on the list, and is as `after`.
fn just_put_there(after: &Contact) -> SeenContact {
    let list_status = match &after.membership {
        Membership::OnList(status) => status.clone(),
        Membership::NotOnList | Membership::Unknown => None,
    };
    SeenContact { status: after.status.clone(), on_list: true, list_status }
}
