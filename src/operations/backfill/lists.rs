//! The lists of all users and all contracts, read with patience.
//!
//! A page that fails in passing is asked for again; where all contracts cannot be had in one list, or the list does not
//! add up, they are read user by user instead, which costs a call more for each.

use std::time::Duration;

use super::BackfillError;
use super::contracts::Contracts;
use super::desk::Desk;
use crate::personal::Mask;
use crate::sesamy::bulk::{ContractsError, Page, UserRow};
use crate::upstream::{Api, Attempt, Class, Failure};

/// A page is asked for so many times, with the backoff of failed syncs between.
const TRIES: u32 = 8;

/// What is asked of a list that has all contracts.
#[derive(Debug)]
pub enum AllContracts {
    /// Here they are.
    Listed(Contracts),
    /// They have to be read user by user, and why.
    Singly(&'static str),
}

impl Desk {
    /// The page of all users that begins at `offset`.
    pub(super) async fn users(&self, offset: usize) -> Result<Page<UserRow>, BackfillError> {
        let sesamy = self.operator.syncer.sesamy();
        self.patiently("the list of users", |attempt| async move {
            sesamy.users_page(offset, None, &attempt).await
        })
        .await
    }

    /// How many users there are: told with the first page, or found in some twenty calls at the most.
    pub(super) async fn count_users(&self) -> Result<u64, BackfillError> {
        let first = self.users(0).await?;
        let (page_rows, mut size) = (first.length(), Size::of(&first, 0));
        if page_rows == 0 {
            return Ok(0);
        }
        // Twice as far each time, then by halves: `some` is the page behind the last one that had rows.
        let (mut some, mut none, mut end) = (1_usize, None, page_rows);
        while size.is_none() && none != Some(some) {
            let at = none.map_or(some * 2 - 1, |none| some + (none - some) / 2);
            let offset = at.saturating_mul(page_rows);
            let page = self.users(offset).await?;
            if page.mark == first.mark {
                break; // it answers the same page wherever it is asked: there is no telling
            }
            size = Size::of(&page, offset);
            if page.length() == 0 {
                (size, none) = (None, Some(at));
            } else {
                (some, end) = (at + 1, offset + page.length());
            }
        }
        let size = size.map_or(end, |size| size.0);
        Ok(u64::try_from(size).unwrap_or(u64::MAX))
    }

    /// All contracts.
    pub(super) async fn contracts(&self) -> Result<AllContracts, BackfillError> {
        let sesamy = self.operator.syncer.sesamy();
        let mut contracts = Contracts::new(self.now());
        let (mut offset, mut before, mut total) = (0, None, None);
        loop {
            let ask = |attempt: Attempt| async move {
                match sesamy.contracts_page(offset, &attempt).await {
                    Ok(page) => Ok(Ok(page)),
                    Err(ContractsError::NoUser) => Ok(Err("its rows name no user")),
                    Err(ContractsError::Failure(failure)) if failure.class == Class::Permanent => {
                        Ok(Err("Sesamy refuses to list them without a user"))
                    }
                    Err(ContractsError::Failure(failure)) => Err(failure),
                }
            };
            let page = match self.patiently("the list of contracts", ask).await? {
                Ok(page) => page,
                Err(why) => return Ok(AllContracts::Singly(why)),
            };
            if before == Some(page.mark) {
                return Ok(AllContracts::Singly("it answers the same page again and again"));
            }
            if page.total.zip(total).is_some_and(|(now, then)| now < then) {
                return Ok(AllContracts::Singly("it shrank while it was read"));
            }
            (before, total) = (Some(page.mark), page.total.or(total));
            let read = offset + page.length();
            contracts.take(page.rows);
            match page.next {
                Some(next) => offset = next,
                None if total.is_some_and(|total| read < total) => {
                    return Ok(AllContracts::Singly("it has fewer rows than it says"));
                }
                None => return Ok(AllContracts::Listed(contracts)),
            }
        }
    }

    /// Asks until there is an answer; a rest and a pause are waited out.
    async fn patiently<T, A: Future<Output = Result<T, Failure>>>(
        &self,
        what: &str,
        ask: impl Fn(Attempt) -> A,
    ) -> Result<T, BackfillError> {
        let hand = &self.operator.hand;
        let mut failures = 0;
        loop {
            self.until_open().await?;
            let attempt = Attempt::within(hand.limits.deadline, &hand.clock);
            let failure = tokio::select! {
                answer = ask(attempt) => match answer {
                    Ok(answer) => return Ok(answer),
                    Err(failure) => failure,
                },
                () = self.stop.leasing.cancelled() => return Err(BackfillError::Stopped),
            };
            let gives_up = match failure.class {
                Class::Refused(_) => true,
                Class::RateLimited(_) | Class::NoToken | Class::NotCalled => self.is_refused(Api::Sesamy),
                Class::Permanent => true,
                Class::Transient => failures + 1 == TRIES,
            };
            let message = failure.message(&Mask::default());
            if gives_up {
                return Err(BackfillError::List { what: what.to_owned(), message });
            }
            if failure.class == Class::Transient {
                let wait = hand.limits.retry.backoff.doubled(failures).max(Duration::from_millis(1));
                failures += 1;
                self.waits(format!("{what} cannot be read ({message}); trying again"));
                self.sleep(wait).await?;
            }
        }
    }
}

/// How many rows a whole list has.
struct Size(usize);

impl Size {
    /// As the page at `offset` tells; none where more may follow.
    fn of<T>(page: &Page<T>, offset: usize) -> Option<Self> {
        let ends_here = page.next.is_none().then_some(offset + page.length());
        page.total.or(ends_here).map(Self)
    }
}
