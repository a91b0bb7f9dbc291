//! What was decided, written.

use super::decision::{Case, Decision, Write};
use super::outcome::{Report, SyncError};
use super::source::Source;
use super::{Context, Syncer};
use crate::mailmojo;
use crate::mailmojo::models::Contact;
use crate::memory::Seen;
use crate::merge::{self, Plan};
use crate::personal::Mask;
use crate::upstream::{Api, Failure};

impl Syncer {
    /// Writes what was decided; nothing where nothing is to be written, or under `sync.dry_run`; and without taking a tag
    /// away while the brake is on. A decision is to be written at once, while what it was decided from still holds.
    ///
    /// # Errors
    /// [`SyncError`]; whatever was written by then was right, and a later sync finds and keeps it.
    pub async fn write(&self, decision: Decision, context: &Context) -> Result<Report, SyncError> {
        if self.options.dry_run {
            return Ok(decision.report);
        }
        if !self.brake.note(&decision.user, decision.sign()) {
            return self.write_all(decision, context).await;
        }
        let syncer = self.keeping_tags();
        syncer.write_all(syncer.held(decision), context).await
    }

    async fn write_all(&self, decision: Decision, context: &Context) -> Result<Report, SyncError> {
        let Decision { user, mut report, case, former, mut mask, .. } = decision;
        if let Some(write) = former.as_ref().and_then(|former| former.write.as_ref()) {
            let written = self.mailmojo.patch(&write.email, &write.data, &context.attempt).await;
            written.map_err(|failure| SyncError::of(&user, &failure, &mask, &[Api::Sesamy]))?;
        }
        let Case::Decided(decided) = case else { return Ok(report) };
        let Some(write) = &decided.write else { return Ok(report) };
        let written = match &decided.plan {
            Plan::Update(_) => {
                self.mailmojo.patch(&write.email, &write.data, &context.attempt).await.map(|_| None)
            }
            _ => self.put_on_list(&decided.source, write, context, &mut mask).await.map(Some),
        };
        match written {
            Ok(seen) => {
                if let Some(seen) = seen {
                    report.memory.contact = Some(seen);
                }
                Ok(report)
            }
            Err(failure) => Err(SyncError::of(&user, &failure, &mask, &[Api::Sesamy])),
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
    async fn put_on_list(
        &self,
        source: &Source,
        write: &Write,
        context: &Context,
        mask: &mut Mask,
    ) -> Result<Seen, Failure> {
        let (email, attempt) = (&write.email, &context.attempt);
        let after = self.mailmojo.subscribe(email, &write.data, attempt).await?;
        after.mask_into(mask);
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
            seen.mask_into(mask);
            rest = rest_of(&seen);
        }
        if !rest.is_empty() {
            self.mailmojo.patch(email, &rest.data, attempt).await?;
        }
        Ok(seen)
    }
}
