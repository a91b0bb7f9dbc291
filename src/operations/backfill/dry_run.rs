//! A dry run: what a sync of each user would do now. Nothing is written, and nobody becomes due.
//!
//! Each decision is the one that a sync would write, made at the pace of the background lane. It is right as of the moment
//! at which it is made, so the list is read once.

use std::sync::{Arc, Mutex, PoisonError};

use tokio::task::{JoinError, JoinSet};
use tokio::time::sleep;

use super::BackfillError;
use super::pages::{Pages, Selection, count};
use super::progress::Progress;
use super::report::{Line, ReportFile};
use super::summary::Tally;
use crate::memory::Memory;
use crate::operations::Operator;
use crate::sync::{Context, Report, SyncError};
use crate::upstream::rest::Blame;
use crate::upstream::{Api, Attempt, Class};
use crate::user::UserId;

/// How often a user is tried who fails transiently.
const TRIES: u32 = 3;

/// A dry run that is under way.
#[derive(Debug)]
pub(super) struct DryRun {
    pub(super) operator: Operator,
    pub(super) pages: Arc<Pages>,
    pub(super) selection: Selection,
    /// How many users are decided for at a time.
    pub(super) concurrency: usize,
    pub(super) file: ReportFile,
}

/// How far it is, and what it has found.
#[derive(Debug, Default)]
pub(super) struct Found {
    pub(super) progress: Progress,
    pub(super) tally: Tally,
}

impl DryRun {
    /// Decides for each user, and adds what it finds to `found`.
    pub(super) async fn run(mut self, found: &Mutex<Found>) -> Result<(), BackfillError> {
        let (mut next, mut before) = (Some(0), None);
        while let Some(offset) = next {
            let page = self.pages.users(offset, before).await?;
            (next, before) = (page.next, Some(page.mark));
            let (users, mut listed) = self.selection.of(page);
            let forgotten = self.operator.queue().forgotten(&users).await?;
            listed.forgotten = count(forgotten.len());
            let mut decisions = JoinSet::new();
            for user in users {
                if forgotten.contains(&user) {
                    self.file.add(&Line::of(&user, "forgotten", ""))?;
                    continue;
                }
                if decisions.len() >= self.concurrency
                    && let Some(decided) = decisions.join_next().await
                {
                    self.take(decided, found)?;
                }
                decisions.spawn(decide(self.operator.clone(), Arc::clone(&self.pages), user));
            }
            while let Some(decided) = decisions.join_next().await {
                self.take(decided, found)?;
            }
            self.file.flush()?;
            let mut found = found.lock().unwrap_or_else(PoisonError::into_inner);
            found.progress = std::mem::take(&mut found.progress).after_page(listed, next);
        }
        Ok(())
    }

    fn take(
        &mut self,
        decided: Result<Decided, JoinError>,
        found: &Mutex<Found>,
    ) -> Result<(), BackfillError> {
        let mut found = found.lock().unwrap_or_else(PoisonError::into_inner);
        match decided {
            Ok((user, Ok(report))) => {
                found.tally.count(&report);
                self.file.add(&Line::of_sync(&user, &report))?;
            }
            Ok((user, Err(error))) => {
                found.tally.failed(&error.answer);
                self.file.add(&Line::of(&user, "failed", &error.answer))?;
            }
            Err(error) => {
                tracing::error!(%error, "a decision panicked: a bug of this program; please report it");
                found.tally.failed("a bug of this program");
            }
        }
        Ok(())
    }
}

type Decided = (UserId, Result<Report, SyncError>);

/// What a sync of `user` would do. An open circuit is waited for.
async fn decide(operator: Operator, pages: Arc<Pages>, user: UserId) -> Decided {
    let hand = &operator.hand;
    let memory = operator.memory_of(&user).await.unwrap_or_else(|error| {
        tracing::warn!(user_id = %user, %error, "cannot read what is remembered of the user; deciding without it");
        Memory::default()
    });
    let mut tries = 0;
    loop {
        pages.until_open().await;
        let attempt = Attempt::within(hand.limits.deadline, &hand.clock);
        let context = Context::new(attempt, memory.clone());
        let error = match operator.syncer.decide(&user, &context).await {
            Ok(decision) => {
                let report = decision.report().clone();
                report.reached.iter().for_each(|api| hand.rests.of(*api).succeeded(&user));
                return (user, Ok(report));
            }
            Err(error) => error,
        };
        tries += 1;
        let blame = hand.rests.of(error.api).failed(&user, error.class, &error.answer);
        hand.tell_others().await;
        let is_refused =
            error.class == Class::Resting && Api::ALL.into_iter().any(|api| pages.is_refused(api));
        let is_final = error.class == Class::Permanent || tries >= TRIES;
        if (blame == Blame::User && is_final) || is_refused {
            return (user, Err(error));
        }
        sleep(hand.limits.patience.backoff.doubled(tries - 1)).await;
    }
}
