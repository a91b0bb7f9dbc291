//! Sesamy's lists of all users and of all contracts, read page by page, with patience.
//!
//! A page that fails is asked for again with backoff. While a circuit is open or syncs are paused, no page is asked for.

use std::collections::HashSet;
use std::time::Duration;

use tokio::sync::watch;
use tokio::time::sleep;

use super::BackfillError;
use super::progress::{Listed, Spec, may_be_since};
use crate::clock::Millis;
use crate::operations::Operator;
use crate::personal::Mask;
use crate::sesamy::bulk::{ContractsError, Page, UserRow};
use crate::upstream::rest::{Admission, Why};
use crate::upstream::{Api, Attempt, Class, Failure};
use crate::user::UserId;

/// How often a page is asked for.
const TRIES: u32 = 8;
/// How often to check whether a circuit or a pause has ended.
const CHECK_EVERY: Duration = Duration::from_secs(1);

/// The error for a list that ignores `offset`.
const SAME_PAGE: &str = "it answers the same page again and again";

/// Which rows of the list of users are taken.
#[derive(Debug)]
pub(super) enum Selection {
    Everybody,
    /// Users who may have been updated since then, and the owners of contracts that may have been.
    Updated {
        since: Millis,
        owners: HashSet<UserId>,
    },
}

impl Selection {
    /// The users of `page` who are taken, and what else the page has.
    pub(super) fn of(&self, page: Page<UserRow>) -> (Vec<UserId>, Listed) {
        let rows = page.rows.len();
        let taken: Vec<UserId> =
            page.rows.into_iter().filter(|row| self.takes(row)).map(|row| row.user).collect();
        let listed = Listed {
            users: count(rows + page.left_out),
            not_recent: count(rows - taken.len()),
            left_out: count(page.left_out),
            ..Listed::default()
        };
        (taken, listed)
    }

    fn takes(&self, row: &UserRow) -> bool {
        match self {
            Self::Everybody => true,
            Self::Updated { since, owners } => {
                may_be_since(row.updated_at, *since) || owners.contains(&row.user)
            }
        }
    }
}

/// A number of rows.
pub(super) fn count(rows: usize) -> u64 {
    u64::try_from(rows).unwrap_or(u64::MAX)
}

/// Reads the lists.
#[derive(Debug)]
pub(super) struct Pages {
    operator: Operator,
    /// Whether a pause holds reading up. A dry run changes nothing, so it does not wait for one.
    waits_for_pause: bool,
    /// The failure that is being retried; none while pages can be read.
    trouble: watch::Sender<Option<String>>,
}

impl Pages {
    pub(super) fn new(operator: Operator, waits_for_pause: bool) -> Self {
        Self { operator, waits_for_pause, trouble: watch::Sender::default() }
    }

    /// The failure that is being retried; none while pages can be read.
    pub(super) fn trouble(&self) -> Option<String> {
        self.trouble.borrow().clone()
    }

    /// The page of all users that begins at `offset`. `before` is the mark of the page before it.
    pub(super) async fn users(
        &self,
        offset: usize,
        before: Option<u64>,
    ) -> Result<Page<UserRow>, BackfillError> {
        let sesamy = self.operator.syncer.sesamy();
        let ask = async |attempt: Attempt| sesamy.users_page(offset, None, &attempt).await;
        let page = self.patiently("the list of users", ask).await?;
        if before == Some(page.mark) {
            return Err(BackfillError::list("the list of users", SAME_PAGE));
        }
        Ok(page)
    }

    /// Which users a backfill for `spec` takes that began at `began`. Contracts are read only if they count.
    pub(super) async fn selection(
        &self,
        spec: &Spec,
        began: Millis,
        derive_tags: bool,
    ) -> Result<Selection, BackfillError> {
        let Some(since) = spec.since(began) else { return Ok(Selection::Everybody) };
        if !derive_tags {
            return Ok(Selection::Updated { since, owners: HashSet::new() });
        }
        let sesamy = self.operator.syncer.sesamy();
        let (mut owners, mut next, mut before) = (HashSet::new(), Some(0), None);
        while let Some(offset) = next {
            let ask = async |attempt: Attempt| match sesamy.contracts_page(offset, &attempt).await {
                Ok(page) => Ok(Ok(page)),
                Err(ContractsError::NoUser) => Ok(Err("its rows name no user".to_owned())),
                Err(ContractsError::Failure(failure)) if failure.class == Class::Permanent => {
                    Ok(Err(failure.message(&Mask::default())))
                }
                Err(ContractsError::Failure(failure)) => Err(failure),
            };
            let reason = match self.patiently("the list of contracts", ask).await? {
                Ok(page) if before == Some(page.mark) => SAME_PAGE.to_owned(),
                Ok(page) => {
                    (next, before) = (page.next, Some(page.mark));
                    let updated = page.rows.into_iter().filter(|row| may_be_since(row.updated_at, since));
                    owners.extend(updated.map(|row| row.user));
                    continue;
                }
                Err(reason) => reason,
            };
            tracing::warn!(
                reason,
                "Sesamy's list of all contracts does not show whose contract was updated: every user is taken"
            );
            return Ok(Selection::Everybody);
        }
        Ok(Selection::Updated { since, owners })
    }

    /// Waits until calls may be made: both circuits are closed, and syncs are not paused.
    pub(super) async fn until_open(&self) {
        let hand = &self.operator.hand;
        loop {
            let known = hand.learn().await;
            let is_paused = known.is_some_and(|known| known.paused_at.is_some());
            let wait = match hand.admission() {
                _ if is_paused && self.waits_for_pause => CHECK_EVERY,
                Admission::NotBefore(until) => until.since(hand.clock.now()).min(CHECK_EVERY),
                Admission::Open | Admission::OneProbe => return,
            };
            sleep(wait.max(Duration::from_millis(5))).await;
        }
    }

    /// Asks until there is an answer.
    async fn patiently<T>(
        &self,
        what: &str,
        ask: impl AsyncFn(Attempt) -> Result<T, Failure>,
    ) -> Result<T, BackfillError> {
        let hand = &self.operator.hand;
        let mut failures = 0;
        loop {
            self.until_open().await;
            let failure = match ask(Attempt::within(hand.limits.deadline, &hand.clock)).await {
                Ok(answer) => {
                    self.trouble.send_replace(None);
                    return Ok(answer);
                }
                Err(failure) => failure,
            };
            hand.tell_others().await;
            let gives_up = match failure.class {
                Class::Resting => self.is_refused(Api::Sesamy),
                Class::Permanent => true,
                Class::Transient => failures + 1 == TRIES,
            };
            let message = failure.message(&Mask::default());
            if gives_up {
                return Err(BackfillError::list(what, &message));
            }
            if failure.class == Class::Transient {
                let wait = hand.limits.patience.backoff.doubled(failures).max(Duration::from_millis(1));
                failures += 1;
                self.trouble.send_replace(Some(format!("{what} cannot be read ({message}); trying again")));
                sleep(wait).await;
            }
        }
    }

    /// Whether the API refuses our credentials or our address: waiting does not help.
    pub(super) fn is_refused(&self, api: Api) -> bool {
        let why = self.operator.hand.rests.of(api).snapshot().why;
        [Why::Credentials, Why::Configuration].into_iter().any(|it| why == Some(it.as_str()))
    }
}
