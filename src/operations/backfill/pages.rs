//! Sesamy's lists of all users and of all contracts, read page by page.
//!
//! A page that fails is asked for again with backoff. While a circuit is open or syncs are paused, no page is asked for.

use std::collections::HashSet;

use tokio::time::sleep;

use super::progress::{Listed, PassedOver, may_be_since};
use super::{Backfill, BackfillError, EVERY};
use crate::clock::Millis;
use crate::personal::Mask;
use crate::queue::QueueError;
use crate::sesamy::bulk::{ContractsError, Page, UserRow};
use crate::upstream::{Attempt, Class, Failure};
use crate::user::UserId;

/// How many times a page is asked for.
const TRIES: u32 = 8;
const USERS: &str = "the list of users";
const CONTRACTS: &str = "the list of contracts";
/// The error for a list that ignores `offset`.
const SAME_PAGE: &str = "it answers the same page again and again";

/// Which users are taken: all without `since`, else those who may have been updated since then, and `owners` of contracts
/// that may have been.
#[derive(Debug, Default)]
pub(super) struct Selection {
    since: Option<Millis>,
    owners: HashSet<UserId>,
}

impl Selection {
    fn has(&self, row: &UserRow) -> bool {
        self.since.is_none_or(|since| may_be_since(row.updated_at, since) || self.owners.contains(&row.user))
    }
}

impl Backfill {
    /// How many users Sesamy lists, if the first page shows it. Tried once, even during a pause.
    pub(crate) async fn count_users(&self) -> Option<u64> {
        let hand = &self.operator.hand;
        let attempt = Attempt::within(hand.limits.deadline, &hand.clock);
        let page = self.operator.syncer.sesamy().users_page(0, None, &attempt).await.ok()?;
        page.total.or(page.next.is_none().then_some(page.length())).map(|users| users as u64)
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

    /// The users of `page` in `selection`, those of them who were forgotten, and the counts.
    pub(super) async fn take(
        &self,
        page: Page<UserRow>,
        selection: &Selection,
    ) -> Result<(Vec<UserId>, Vec<UserId>, Listed), QueueError> {
        let (rows, readable) = (page.length(), page.rows.len());
        let taken = page.rows.into_iter().filter(|row| selection.has(row));
        let mut users: Vec<UserId> = taken.map(|row| row.user).collect();
        let not_recent = readable - users.len();
        let forgotten = self.operator.queue().forgotten(&users).await?;
        users.retain(|user| !forgotten.contains(user));
        let passed_over = PassedOver {
            left_to_events: 0,
            forgotten: forgotten.len() as u64,
            not_recent: not_recent as u64,
            left_out: page.left_out as u64,
        };
        Ok((users, forgotten, Listed { users: rows as u64, due: 0, passed_over }))
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
                Err(ContractsError::Failure(failure)) => failure.message(&Mask::default()),
            };
            tracing::warn!(
                reason,
                "{CONTRACTS} does not show whose contract was updated: every user is taken"
            );
            return Ok(Selection::default());
        }
        Ok(Selection { since: Some(since), owners })
    }

    /// Waits until calls may be made. If the store cannot be read, returns at once: the next step reports it.
    pub(super) async fn until_open(&self) {
        while self.operator.hand.learn().await.is_some()
            && let Ok(status) = self.operator.status().await
            && self.held_up_by(&status).is_some()
        {
            sleep(EVERY).await;
        }
    }

    /// Asks until there is an answer, or waiting does not help.
    async fn patiently<T>(
        &self,
        list: &'static str,
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
            let message = failure.message(&Mask::default());
            hand.record_failure(&failure).await;
            failures += u32::from(failure.class == Class::Transient);
            if matches!(failure.class, Class::Permanent | Class::Refused(_)) || failures == TRIES {
                return Err(BackfillError::List(list, message));
            }
            self.trouble.replace(Some(format!("{list} cannot be read ({message}); trying again")));
            sleep(hand.limits.retry.backoff.doubled(failures.saturating_sub(1))).await;
        }
    }
}
