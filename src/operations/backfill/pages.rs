//! Sesamy's lists of all users and of all contracts, read page by page, with patience.
//!
//! A page that fails is asked for again with backoff. While a circuit is open or syncs are paused, no page is asked for.

use std::collections::HashSet;
use std::time::Duration;

use tokio::time::sleep;

use super::progress::{Listed, may_be_since};
use super::{Backfill, BackfillError};
use crate::clock::Millis;
use crate::sesamy::bulk::{ContractsError, Page, UserRow};
use crate::upstream::circuit_breaker::OpenReason;
use crate::upstream::{Api, Attempt, Class, Failure};
use crate::user::UserId;

/// How often a page is asked for.
const TRIES: u32 = 8;
/// How often to check whether a circuit or a pause has ended, at most.
const CHECK_EVERY: Duration = Duration::from_secs(1);
const USERS: &str = "the list of users";
const CONTRACTS: &str = "the list of contracts";
/// The error for a list that ignores `offset`.
const SAME_PAGE: &str = "it answers the same page again and again";

/// Which rows of the list of users are taken: all if `since` is none, else users who may have been updated since then, and
/// `owners` of contracts that may have been.
#[derive(Debug, Default)]
pub(super) struct Selection {
    since: Option<Millis>,
    owners: HashSet<UserId>,
}

/// What a page of the list of users comes to.
#[derive(Debug)]
pub(super) struct Taken {
    pub(super) users: Vec<UserId>,
    /// Users whom an operator has had forgotten.
    pub(super) forgotten: Vec<UserId>,
    pub(super) listed: Listed,
}

impl Backfill {
    /// How many users Sesamy lists, if the first page of them says so. It waits for nothing, a pause included.
    pub async fn count_users(&self) -> Option<u64> {
        let hand = &self.operator.hand;
        let attempt = Attempt::within(hand.limits.deadline, &hand.clock);
        let page = self.operator.syncer.sesamy().users_page(0, None, &attempt).await.ok()?;
        page.total.or(page.next.is_none().then_some(page.length())).map(count)
    }

    /// The page of all users that begins at `offset`; `before` is the mark of the page before it.
    pub(super) async fn users(
        &self,
        offset: usize,
        before: Option<u64>,
    ) -> Result<Page<UserRow>, BackfillError> {
        let sesamy = self.operator.syncer.sesamy();
        let page =
            self.patiently(USERS, async |attempt| sesamy.users_page(offset, None, &attempt).await).await?;
        if before == Some(page.mark) {
            return Err(BackfillError::List(USERS, SAME_PAGE.to_owned()));
        }
        Ok(page)
    }

    /// The users of `page` who are in the `selection`.
    pub(super) async fn take(
        &self,
        page: Page<UserRow>,
        selection: &Selection,
    ) -> Result<Taken, BackfillError> {
        let is_selected = |row: &UserRow| {
            let is_updated =
                |since| may_be_since(row.updated_at, since) || selection.owners.contains(&row.user);
            selection.since.is_none_or(is_updated)
        };
        let (rows, left_out) = (page.length(), page.left_out);
        let mut users: Vec<UserId> = page.rows.into_iter().filter(is_selected).map(|row| row.user).collect();
        let not_recent = rows - left_out - users.len();
        let forgotten = self.operator.queue().forgotten(&users).await?;
        users.retain(|user| !forgotten.contains(user));
        let [rows, left_out, not_recent, of_forgotten] =
            [rows, left_out, not_recent, forgotten.len()].map(count);
        let listed =
            Listed { users: rows, left_out, not_recent, forgotten: of_forgotten, ..Listed::default() };
        Ok(Taken { users, forgotten, listed })
    }

    /// Which users are taken. Contracts are read only if they count; if their list cannot be used, every user is taken.
    pub(super) async fn selection(&self) -> Result<Selection, BackfillError> {
        let (spec, began) = (self.options.spec, self.progress.borrow().began_at);
        let Some(since) = spec.since(began) else { return Ok(Selection::default()) };
        let sesamy = self.operator.syncer.sesamy();
        let (mut owners, mut before) = (HashSet::new(), None);
        let mut next = self.options.derive_tags.then_some(0);
        while let Some(offset) = next {
            let ask = async |attempt: Attempt| match sesamy.contracts_page(offset, &attempt).await {
                Ok(page) => Ok(Ok(page)),
                Err(ContractsError::NoUser) => Ok(Err("its rows name no user".to_owned())),
                Err(ContractsError::Failure(failure)) if failure.class == Class::Permanent => {
                    Ok(Err(failure.to_string()))
                }
                Err(ContractsError::Failure(failure)) => Err(failure),
            };
            let reason = match self.patiently(CONTRACTS, ask).await? {
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
                "{CONTRACTS} does not show whose contract was updated: every user is taken"
            );
            return Ok(Selection::default());
        }
        Ok(Selection { since: Some(since), owners })
    }

    /// Waits until calls may be made. A store that cannot be read holds nothing up: whatever comes next reports it.
    pub(super) async fn until_open(&self) {
        while self.operator.hand.learn().await.is_some()
            && let Ok(status) = self.operator.status().await
            && self.held_up_by(&status).is_some()
        {
            let ends = status.apis.iter().filter_map(|api| api.until).map(|until| until.since(status.now));
            sleep(ends.fold(CHECK_EVERY, Duration::min).max(Duration::from_millis(10))).await;
        }
    }

    /// Asks until there is an answer.
    async fn patiently<T>(
        &self,
        what: &'static str,
        ask: impl AsyncFn(Attempt) -> Result<T, Failure>,
    ) -> Result<T, BackfillError> {
        let hand = &self.operator.hand;
        let mut failures = 0;
        loop {
            self.until_open().await;
            let failure = match ask(Attempt::within(hand.limits.deadline, &hand.clock)).await {
                Ok(answer) => {
                    self.trouble.replace(None);
                    return Ok(answer);
                }
                Err(failure) => failure,
            };
            let message = failure.to_string();
            hand.record_failure(&failure).await;
            failures += u32::from(failure.class == Class::Transient);
            if failure.class == Class::Permanent || failures == TRIES || self.is_refused(failure.class) {
                return Err(BackfillError::List(what, message));
            }
            self.trouble.replace(Some(format!("{what} cannot be read ({message}); trying again")));
            sleep(hand.limits.retry.backoff.doubled(failures.saturating_sub(1))).await;
        }
    }

    /// Whether a call of this `class` failed because an API refuses our credentials or our address: waiting does not help.
    pub(super) fn is_refused(&self, class: Class) -> bool {
        let is_refused = |api| {
            let why = self.operator.hand.gates.of(api).snapshot().why;
            [OpenReason::Credentials, OpenReason::Configuration]
                .into_iter()
                .any(|it| why == Some(it.as_str()))
        };
        !matches!(class, Class::Transient | Class::Permanent) && Api::ALL.into_iter().any(is_refused)
    }
}

/// A number of rows.
fn count(rows: usize) -> u64 {
    u64::try_from(rows).unwrap_or(u64::MAX)
}
