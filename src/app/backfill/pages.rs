//! Sesamy's lists of all users and of all contracts, read page by page.
//!
//! A page that fails is asked for again with backoff. While a circuit is open or syncs are paused, no page is asked for.

use std::cell::RefCell;
use std::collections::HashSet;

use tokio::time::sleep;

use super::progress::{Listed, PassedOver, may_be_since};
use super::waiting::until_open;
use crate::app::App;
use crate::clock::Millis;
use crate::sesamy::bulk::{ContractsError, Page, UserRow};
use crate::upstream::{Attempt, Class, Failure};
use crate::user::UserId;

/// How many times a page is asked for.
const TRIES: u32 = 8;
const USERS: &str = "the list of users";
const CONTRACTS: &str = "the list of contracts";
/// The error for a list that ignores `offset`.
const SAME_PAGE: &str = "it answers the same page again and again";

/// Which list cannot be read, and why, without personal data.
#[derive(Debug, thiserror::Error)]
#[error("{0} cannot be read: {1}. Once that is fixed, the same command goes on where this one ends")]
pub(crate) struct ListError(pub(crate) &'static str, pub(crate) String);

/// How many users Sesamy lists, if the first page shows it. Tried once, even during a pause.
pub(crate) async fn count_users(app: &App) -> Option<u64> {
    let page = app.syncer.sesamy().users_page(0, None, &attempt(app)).await.ok()?;
    page.total.or(page.next.is_none().then_some(page.length())).map(|users| users as u64)
}

fn attempt(app: &App) -> Attempt {
    Attempt::within(app.runner.limits.deadline, &app.runner.clock)
}

#[derive(Debug)]
pub(super) struct Pages {
    app: App,
    is_dry_run: bool,
    /// The page that cannot be read and is asked for again.
    trouble: RefCell<Option<String>>,
}

impl Pages {
    pub(super) fn new(app: App, is_dry_run: bool) -> Self {
        Self { app, is_dry_run, trouble: RefCell::default() }
    }

    pub(super) fn trouble(&self) -> Option<String> {
        self.trouble.borrow().clone()
    }

    /// The page of all users that begins at `offset`; `before` is the mark of the page before it.
    pub(super) async fn users(&self, offset: usize, before: Option<u64>) -> Result<Page<UserRow>, ListError> {
        let sesamy = self.app.syncer.sesamy();
        let ask = async |attempt| sesamy.users_page(offset, None, &attempt).await;
        let page = self.patiently(USERS, ask).await?;
        if before == Some(page.mark) {
            return Err(ListError(USERS, SAME_PAGE.to_owned()));
        }
        Ok(page)
    }

    /// The users who may have been updated since `since`, or a contract of theirs. If the list of contracts cannot be used,
    /// every user is selected.
    pub(super) async fn updated_since(
        &self,
        since: Millis,
        derive_tags: bool,
    ) -> Result<Selection, ListError> {
        let sesamy = self.app.syncer.sesamy();
        let (mut owners, mut before) = (HashSet::new(), None);
        let mut next = derive_tags.then_some(0); // else no contract matters
        while let Some(offset) = next {
            let ask = async |attempt: Attempt| match sesamy.contracts_page(offset, &attempt).await {
                Err(ContractsError::Failure(failure)) if failure.class != Class::Permanent => Err(failure),
                answer => Ok(answer),
            };
            let reason = match self.patiently(CONTRACTS, ask).await? {
                Ok(page) if before == Some(page.mark) => SAME_PAGE.to_owned(),
                Ok(page) => {
                    (next, before) = (page.next, Some(page.mark));
                    let updated = page.rows.into_iter().filter(|row| may_be_since(row.updated_at, since));
                    owners.extend(updated.map(|row| row.user));
                    continue;
                }
                Err(ContractsError::NoUser) => "its rows name no user".to_owned(),
                Err(ContractsError::Failure(failure)) => failure.to_string(),
            };
            tracing::warn!(
                reason,
                "{CONTRACTS} does not show whose contract was updated: every user is taken"
            );
            return Ok(Selection::default());
        }
        Ok(Selection { since: Some(since), owners })
    }

    /// Asks until there is an answer, or waiting does not help.
    async fn patiently<T>(
        &self,
        list: &'static str,
        ask: impl AsyncFn(Attempt) -> Result<T, Failure>,
    ) -> Result<T, ListError> {
        let runner = &self.app.runner;
        let mut failures = 0;
        loop {
            until_open(runner, self.is_dry_run).await;
            let failure = match ask(attempt(&self.app)).await {
                Ok(answer) => {
                    self.trouble.replace(None);
                    return Ok(answer);
                }
                Err(failure) => failure,
            };
            let message = failure.to_string();
            runner.record_failure(&failure).await;
            failures += u32::from(failure.class == Class::Transient);
            if matches!(failure.class, Class::Permanent | Class::Refused(_)) || failures == TRIES {
                return Err(ListError(list, message));
            }
            self.trouble.replace(Some(format!("{list} cannot be read ({message}); trying again")));
            sleep(runner.limits.retry.backoff.doubled(failures.saturating_sub(1))).await;
        }
    }
}

/// Which users are taken: all without `since`, else those who may have been updated since then, and `owners` of contracts
/// that may have been.
#[derive(Debug, Default)]
pub(super) struct Selection {
    since: Option<Millis>,
    owners: HashSet<UserId>,
}

impl Selection {
    /// The selected users of `page`, and its counts.
    pub(super) fn take(&self, page: Page<UserRow>) -> (Vec<UserId>, Listed) {
        let (rows, readable) = (page.length(), page.rows.len());
        let is_updated =
            |row: &UserRow, since| may_be_since(row.updated_at, since) || self.owners.contains(&row.user);
        let is_taken = |row: &UserRow| self.since.is_none_or(|since| is_updated(row, since));
        let users: Vec<UserId> = page.rows.into_iter().filter(is_taken).map(|row| row.user).collect();
        let passed_over = PassedOver {
            not_recent: (readable - users.len()) as u64,
            left_out: page.left_out as u64,
            ..PassedOver::default()
        };
        (users, Listed { users: rows as u64, due: 0, passed_over })
    }
}
