//! A dry run: what a sync of each user would do now. Nothing is written, and nobody becomes due.
//!
//! Each decision is the one that a sync would write, made at the pace of the background lane. It is right as of the moment
//! at which it is made, so the list is read once.

use std::pin::pin;

use futures_util::{StreamExt, stream};
use tokio::time::sleep;

use super::pages::Taken;
use super::report::{Line, ReportFile};
use super::{Backfill, BackfillError};
use crate::memory::Memory;
use crate::sync::{Context, Report, SyncError};
use crate::upstream::circuit_breaker::Blame;
use crate::upstream::{Attempt, Class};
use crate::user::UserId;

/// How often a user is tried who fails transiently.
const TRIES: u32 = 3;

impl Backfill {
    /// Decides for each user, counts what it finds, and adds a line per user to `report`.
    pub(super) async fn decide_for_all(&self, mut report: ReportFile) -> Result<(), BackfillError> {
        let selection = self.selection().await?;
        let (mut next, mut before) = (Some(0), None);
        while let Some(offset) = next {
            let page = self.users(offset, before).await?;
            (next, before) = (page.next, Some(page.mark));
            let Taken { users, forgotten, listed } = self.take(page, &selection).await?;
            forgotten.iter().try_for_each(|user| report.add(&Line::of(user, "forgotten", "")))?;
            let each = stream::iter(users).map(|user| self.decide(user));
            let mut decisions = pin!(each.buffer_unordered(self.options.concurrency));
            while let Some((user, decision)) = decisions.next().await {
                let mut found = self.found.borrow_mut();
                match decision {
                    Ok(decided) => {
                        found.count(&decided);
                        report.add(&Line::of_sync(&user, &decided))?;
                    }
                    Err(error) => {
                        found.failed(&error.answer());
                        report.add(&Line::of(&user, "failed", &error.answer()))?;
                    }
                }
            }
            report.flush()?;
            let progress = self.progress.take().after_page(listed, next);
            self.progress.replace(progress);
        }
        Ok(())
    }

    /// What a sync of `user` would do. An open circuit is waited for.
    async fn decide(&self, user: UserId) -> (UserId, Result<Report, SyncError>) {
        let hand = &self.operator.hand;
        let memory = self.operator.memory_of(&user).await.unwrap_or_else(|error| {
            tracing::warn!(user_id = %user, %error, "cannot read what is remembered of the user; deciding without it");
            Memory::default()
        });
        let mut tries = 0;
        loop {
            self.until_open().await;
            let context = Context::new(Attempt::within(hand.limits.deadline, &hand.clock), memory.clone());
            let error = match self.operator.syncer.preview(&user, &context).await {
                Ok(decision) => {
                    let report = decision.report().clone();
                    hand.record(&user, &context, None).await;
                    return (user, Ok(report));
                }
                Err(error) => error,
            };
            tries += 1;
            let blame = hand.record(&user, &context, Some(&error)).await;
            let class = error.failure().map_or(Class::Transient, |failure| failure.class);
            let is_final = class == Class::Permanent || tries >= TRIES;
            let is_of_api = matches!(blame, Some(Blame::Api { .. }));
            if (!is_of_api && is_final) || self.is_refused(class) {
                return (user, Err(error));
            }
            sleep(hand.limits.retry.backoff.doubled(tries - 1)).await;
        }
    }
}
