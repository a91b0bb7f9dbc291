//! A dry run: what a sync of each user would do now, decided at the pace of the background lane. Nothing is written, and no
//! user becomes due.

use std::cell::RefCell;
use std::pin::pin;

use futures_util::{StreamExt, stream};
use tokio::time::sleep;

use super::report::{Line, ReportError, ReportFile};
use super::summary::Tally;
use super::waiting::until_open;
use crate::app::App;
use crate::model::LastSeen;
use crate::sync::{Context, Report, SyncError};
use crate::upstream::circuit_breaker::Blame;
use crate::upstream::{Attempt, Class};
use crate::user::UserId;

/// How many times a user who fails is tried.
const TRIES: u32 = 3;

#[derive(Debug)]
pub(super) struct DryRun {
    app: App,
    concurrency: usize,
    report: ReportFile,
    tally: RefCell<Tally>,
}

impl DryRun {
    pub(super) fn new(app: App, concurrency: usize, report: ReportFile) -> Self {
        Self { app, concurrency, report, tally: RefCell::default() }
    }

    /// What it has found so far.
    pub(super) fn tally(&self) -> Tally {
        self.tally.borrow().clone()
    }

    /// Decides for each user of a page, counts the decision, and adds a line to the report.
    pub(super) async fn page(&self, users: Vec<UserId>, forgotten: &[UserId]) -> Result<(), ReportError> {
        for user in forgotten {
            self.report.add(&Line::unchanged(user, "forgotten", ""))?;
        }
        let each = stream::iter(users).map(|user| self.decide(user));
        let mut decisions = pin!(each.buffer_unordered(self.concurrency));
        while let Some((user, decision)) = decisions.next().await {
            let answer;
            let line = match &decision {
                Ok(decided) => Line::of_sync(&user, decided),
                Err(error) => {
                    answer = error.answer();
                    Line::unchanged(&user, "failed", &answer)
                }
            };
            self.tally.borrow_mut().count(&line);
            self.report.add(&line)?;
        }
        Ok(())
    }

    /// What a sync of `user` would do. Waits while a circuit is open.
    async fn decide(&self, user: UserId) -> (UserId, Result<Report, SyncError>) {
        let (runner, syncer) = (&self.app.runner, &self.app.syncer);
        let memory = self.app.memory_of(&user).await.unwrap_or_else(|error| {
            tracing::warn!(user_id = %user, %error, "cannot read what is remembered of the user; deciding without it");
            LastSeen::default()
        });
        let mut tries = 0;
        loop {
            until_open(runner, true).await;
            let context =
                Context::new(Attempt::within(runner.limits.deadline, &runner.clock), memory.clone());
            let error = match syncer.preview(&user, &context).await {
                Ok(decision) => {
                    runner.record(&user, &context, None).await;
                    return (user, Ok(decision.report().clone()));
                }
                Err(error) => error,
            };
            tries += 1;
            let blame = runner.record(&user, &context, Some(&error)).await;
            let class = error.failure().map_or(Class::Transient, |failure| failure.class);
            let is_final = class == Class::Permanent || tries >= TRIES;
            let is_of_api = matches!(blame, Some(Blame::Api { .. }));
            if (is_final && !is_of_api) || matches!(class, Class::Refused(_)) {
                return (user, Err(error));
            }
            sleep(runner.limits.retry.backoff.doubled(tries - 1)).await;
        }
    }
}
