//! A dry run: what a sync of each user would do now, decided at the pace of the background lane. Nothing is written, and no
//! user becomes due.

use std::pin::pin;

use futures_util::{StreamExt, stream};
use tokio::time::sleep;

use super::Backfill;
use super::report::{Line, ReportError, ReportFile};
use crate::memory::Memory;
use crate::sync::{Context, Report, SyncError};
use crate::upstream::circuit_breaker::{Blame, CallKind};
use crate::upstream::{Attempt, Class};
use crate::user::UserId;

/// How many times a user who fails is tried.
const TRIES: u32 = 3;

impl Backfill {
    /// Decides for each user of a page, counts the decision, and adds a line to `report`.
    pub(super) async fn decide_for(
        &self,
        users: Vec<UserId>,
        forgotten: &[UserId],
        report: &mut ReportFile,
    ) -> Result<(), ReportError> {
        for user in forgotten {
            report.add(&Line::unchanged(user, "forgotten", ""))?;
        }
        let each = stream::iter(users).map(|user| self.decide(user));
        let mut decisions = pin!(each.buffer_unordered(self.options.concurrency));
        while let Some((user, decision)) = decisions.next().await {
            let line = match &decision {
                Ok(decided) => Line::of_sync(&user, decided),
                Err(error) => Line::unchanged(&user, "failed", &error.answer),
            };
            self.found.borrow_mut().count(&line);
            report.add(&line)?;
        }
        Ok(())
    }

    /// What a sync of `user` would do. Waits while a circuit is open.
    async fn decide(&self, user: UserId) -> (UserId, Result<Report, SyncError>) {
        let (hand, syncer) = (&self.operator.hand, &self.operator.syncer);
        let memory = self.operator.memory_of(&user).await.unwrap_or_else(|error| {
            tracing::warn!(user_id = %user, %error, "cannot read what is remembered of the user; deciding without it");
            Memory::default()
        });
        let mut tries = 0;
        loop {
            self.until_open().await;
            let context = Context::new(Attempt::within(hand.limits.deadline, &hand.clock), memory.clone());
            let error = match syncer.decide(&user, &context).await {
                Ok(decision) => {
                    let report = syncer.under_guard(decision, &context).report().clone();
                    let answered: Vec<_> = report.reached.iter().map(|api| (*api, CallKind::Read)).collect();
                    hand.record(user.as_str(), &answered, None).await;
                    return (user, Ok(report));
                }
                Err(error) => error,
            };
            tries += 1;
            let blame = hand.record(user.as_str(), &[], Some(&hand.failed(&error, None))).await;
            let is_final = error.class == Class::Permanent || tries >= TRIES;
            let is_of_api = matches!(blame, Some(Blame::Api { .. }));
            if (is_final && !is_of_api) || matches!(error.class, Class::Refused(_)) {
                return (user, Err(error));
            }
            sleep(hand.limits.retry.backoff.doubled(tries - 1)).await;
        }
    }
}
