//! What was decided, written.

use super::decision::{Case, Decision, Write};
use super::outcome::{Report, SyncError};
use super::source::Source;
use super::{Context, Syncer};
use crate::mailmojo;
use crate::mailmojo::models::Contact;
use crate::memory::Seen;
use crate::merge::{self, Plan};
use crate::upstream::{Api, Failure};

impl Syncer {
    /// Writes what was decided; nothing where nothing is to be written, or under `sync.dry_run`; and removes nothing while the
    /// removal guard holds removals back. A decision is to be written at once, while what it was decided from still holds.
    ///
    /// # Errors
    /// [`SyncError`]; whatever was written by then was right, and a later sync finds and keeps it.
    pub async fn write(&self, decision: Decision, context: &Context) -> Result<Report, SyncError> {
        let is_held = self.holds_removals(context);
        // A dry run loses nothing. That a user is unknown, though, is remembered, and counts towards the later removal.
        let loses = !self.options.dry_run || decision.is_first_without_user();
        if loses && !is_held && !context.has_pass() {
            context.note_suspicion(decision.suspicion(context));
        }
        let decision = if is_held { self.held(decision) } else { decision };
        if self.options.dry_run {
            Ok(decision.report)
        } else if is_held {
            self.keeping_tags().write_all(decision, context).await
        } else {
            self.write_all(decision, context).await
        }
    }

    async fn write_all(&self, decision: Decision, context: &Context) -> Result<Report, SyncError> {
        let Decision { mut report, case, former, .. } = decision;
        if let Some(write) = former.as_ref().and_then(|former| former.write.as_ref()) {
            let written = self.mailmojo.patch(&write.email, &write.data, &context.attempt).await;
            written.map_err(|failure| SyncError::of(&failure, &[Api::Sesamy]))?;
        }
        let Case::Decided(decided) = case else { return Ok(report) };
        let Some(write) = &decided.write else { return Ok(report) };
        let written = match &decided.plan {
            Plan::Update(_) => {
                self.mailmojo.patch(&write.email, &write.data, &context.attempt).await.map(|_| None)
            }
            _ => self.put_on_list(&decided.source, write, context).await.map(Some),
        };
        match written {
            Ok(seen) => {
                if let Some(seen) = seen {
                    report.memory.contact = Some(seen);
                }
                Ok(report)
            }
            Err(failure) => Err(SyncError::of(&failure, &[Api::Sesamy])),
        }
    }

    /// What is remembered of a contact that was just put on the list, and is as `after`.
    fn put_there(&self, after: &Contact) -> Seen {
        let place = after.association(self.mailmojo.list_id());
        Seen {
            status: after.status.clone(),
            on_list: true,
            list_status: place.and_then(|place| place.status.clone()),
        }
    }

    /// Creates or subscribes, and adds what still differs after it; what is remembered of the contact from now on.
    async fn put_on_list(&self, source: &Source, write: &Write, context: &Context) -> Result<Seen, Failure> {
        let (email, attempt) = (&write.email, &context.attempt);
        let after = self.mailmojo.subscribe(email, &write.data, attempt).await?;
        // It is there from here on, whatever becomes of what follows.
        let seen = self.put_there(&after);
        context.saw(&source.email, &self.keys, |_| seen.clone());
        context.moved_to(&source.email, &self.keys);
        // Somebody may have made the contact between our look and our write. What is theirs stays; what is still
        // missing is added once.
        let rest_of = |after: &Contact| {
            merge::change(&source.person, &source.tags, after, &self.options.rules.keep_tags)
        };
        let mut rest = rest_of(&after);
        if !after.tells_of(&rest.data) {
            // To take an answer that leaves out tags or a name for a contact without would wipe them.
            let seen = self.mailmojo.contact(email, attempt).await?;
            let seen = seen.ok_or_else(mailmojo::gone_meanwhile)?;
            rest = rest_of(&seen);
        }
        if !rest.is_empty() {
            self.mailmojo.patch(email, &rest.data, attempt).await?;
        }
        Ok(seen)
    }
}
