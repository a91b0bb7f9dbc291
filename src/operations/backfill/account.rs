//! What came of each user: counted, written into the report, and kept, so that a stop loses nothing of it.

use tokio::task::{Id, JoinError};

use super::person::Fate;
use super::report::Line;
use super::tally::{Calls, Counts, Summary, add, per_user};
use super::{Backfill, BackfillError};
use crate::clock::Millis;
use crate::queue::Progress;
use crate::user::UserId;

impl Backfill {
    /// Takes in what came of a user.
    pub(super) fn take_in(&mut self, ended: Result<(Id, Fate), JoinError>) -> Result<(), BackfillError> {
        let (id, fate) = match ended {
            Ok((id, fate)) => (id, Some(fate)),
            Err(error) => (error.id(), None),
        };
        let name = self.names.remove(&id);
        if self.is_looking {
            self.desk.audience.passed(1);
        }
        let (user, result, outcome) = match fate {
            Some(Fate::Ended(user, ended)) => {
                let outcome = ended.words().0;
                (user, ended.result, outcome)
            }
            Some(Fate::Would(user, result)) => (user, result, "failed"),
            Some(Fate::Left(user)) => {
                self.waiting.insert(user);
                return Ok(());
            }
            Some(Fate::CutOff) => return Ok(()),
            None => {
                if let Some(user) = name {
                    tracing::error!(user_id = %user, "a sync panicked: a fault of this program; please report it");
                    self.failed.insert(user, "a fault of this program".to_owned());
                }
                return Ok(());
            }
        };
        let line = match &result {
            Ok(report) => {
                self.tally.count(report);
                self.failed.remove(&user);
                self.waiting.remove(&user);
                Line::of_sync(&user, report)
            }
            Err(error) => Line::of(&user, outcome, &error.answer),
        };
        if let Some(report) = &mut self.report {
            report.add(&line)?;
        }
        if let Err(error) = result {
            self.failed.insert(user, error.answer);
        }
        Ok(())
    }

    /// Counts a user as somebody else's.
    pub(super) fn leave(&mut self, user: &UserId) -> Result<(), BackfillError> {
        self.waiting.remove(user);
        self.failed.remove(user);
        self.tally.left_to_events += 1;
        match &mut self.report {
            Some(report) => Ok(report.add(&Line::of(user, "left_to_events", ""))?),
            None => Ok(()),
        }
    }

    /// Counts a user whom an operator has had forgotten.
    pub(super) fn pass_over(&mut self, user: &UserId) -> Result<(), BackfillError> {
        if self.is_looking {
            self.desk.audience.passed(1);
        }
        self.waiting.remove(user);
        self.failed.remove(user);
        self.tally.forgotten += 1;
        match &mut self.report {
            Some(report) => Ok(report.add(&Line::of(user, "forgotten", ""))?),
            None => Ok(()),
        }
    }

    /// Keeps how far it has come, in the store and in the report.
    pub(super) async fn keep(&mut self, ended_at: Option<Millis>) -> Result<(), BackfillError> {
        let made = self.desk.made.calls();
        self.tally.calls = Calls {
            sesamy: self.calls_before.sesamy + made.sesamy,
            mailmojo: self.calls_before.mailmojo + made.mailmojo,
        };
        self.tally.seconds = self.seconds_before + self.started.elapsed().as_secs();
        if let Some(report) = &mut self.report {
            report.flush()?;
        }
        if self.desk.dry_run {
            return Ok(());
        }
        let done = serde_json::to_string(&self.tally).unwrap_or_default();
        let progress = Progress { started_at: self.began, ended_at, asked: self.order.to_text(), done };
        Ok(self.desk.operator.hand.queue.keep_progress(progress).await?)
    }

    /// What it came to.
    pub(super) fn sum_up(self, finished: bool) -> Summary {
        let mut failed = Counts::new();
        self.failed.values().for_each(|why| add(&mut failed, why));
        Summary {
            ok: finished && failed.is_empty(),
            finished,
            dry_run: self.desk.dry_run,
            order: self.order,
            started_at: self.began,
            continued: self.continued,
            users: self.users,
            looks: self.looks,
            cut_short: self.cut_short,
            failed,
            sesamy_calls_per_user: self.users.and_then(|users| per_user(self.tally.calls.sesamy, users)),
            tally: self.tally,
        }
    }
}
