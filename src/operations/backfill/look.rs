//! A look at all users: page by page, and each page's users at once.

use std::collections::HashSet;

use super::age::{ReadAt, is_too_old, listing_again_pays};
use super::lists::AllContracts;
use super::person::Case;
use super::seen::{Mark, is_recent, is_wanted};
use super::{Backfill, BackfillError, Bought};
use crate::clock::Millis;
use crate::sesamy::bulk::UserRow;
use crate::sync::Known;
use crate::user::UserId;

impl Backfill {
    /// Looks at everybody once; how many were taken. Each page is done with before the next one is asked for, so that what
    /// it said is young, and what is kept of the progress is true.
    pub(super) async fn look(&mut self, look: u32) -> Result<usize, BackfillError> {
        self.list_contracts().await?;
        self.desk.audience.looks(look, self.users.or(self.estimate));
        let (mut offset, mut before, mut taken, mut listed) = (0, None, 0, 0_u64);
        loop {
            if look == 1 {
                self.list_contracts_again_where_that_pays(listed).await?;
            }
            let asked_at = self.desk.now();
            let page = self.desk.users(offset).await?;
            if before == Some(page.mark) {
                let message = "it answers the same page again and again".to_owned();
                return Err(BackfillError::List { what: "the list of users".to_owned(), message });
            }
            before = Some(page.mark);
            let rows = u64::try_from(page.length()).unwrap_or(u64::MAX);
            listed = listed.saturating_add(rows);
            if look == 1 {
                self.tally.left_out += u64::try_from(page.left_out).unwrap_or(u64::MAX);
            }
            taken += self.work_on(page.rows, asked_at, look).await?;
            self.desk.audience.passed(u64::try_from(page.left_out).unwrap_or(u64::MAX));
            self.keep(None).await?;
            match page.next {
                Some(next) => offset = next,
                None => break,
            }
        }
        self.looks = look;
        if look == 1 {
            self.users = Some(listed);
        }
        Ok(taken)
    }

    async fn work_on(
        &mut self,
        rows: Vec<UserRow>,
        asked_at: Millis,
        look: u32,
    ) -> Result<usize, BackfillError> {
        let done = self.done(&rows).await?;
        let users: Vec<UserId> = rows.iter().map(|row| row.user.clone()).collect();
        let forgotten: HashSet<UserId> =
            self.desk.operator.hand.queue.forgotten(&users).await?.into_iter().collect();
        let mut taken = 0;
        self.is_looking = true;
        for row in rows {
            let mark = self.mark(&row);
            let seen = self.seen.of(&row.user);
            if forgotten.contains(&row.user) {
                self.seen.remember(&row.user, mark);
                match seen {
                    None => self.pass_over(&row.user)?,
                    Some(_) => self.desk.audience.passed(1),
                }
                continue;
            }
            let changed_at = self.changed_at(&row);
            if !is_recent(changed_at, self.since) {
                self.tally.not_recent += u64::from(look == 1);
                self.desk.audience.passed(1);
                continue;
            }
            let is_done = done.contains(&row.user);
            let wanted = match (look, self.desk.dry_run) {
                // A row may come twice, for rows shift.
                (1, _) => !is_done && seen.is_none(),
                // What changes while a dry run looks on is not counted twice.
                (_, true) => seen.is_none(),
                (_, false) => is_wanted(is_done, seen, mark, changed_at, self.began),
            };
            if wanted {
                taken += 1;
                self.seen.remember(&row.user, mark);
                self.take(row, asked_at, look).await?;
            } else {
                self.desk.audience.passed(1);
            }
        }
        self.drain().await?;
        self.is_looking = false;
        Ok(taken)
    }

    async fn take(&mut self, row: UserRow, asked_at: Millis, look: u32) -> Result<(), BackfillError> {
        let listed = match &self.contracts {
            // Of whom a later look takes, something has changed while lists were read: their own list is asked.
            Bought::Listed(contracts) if look == 1 => {
                contracts.of(&row.user).map(|own| (own, contracts.asked_at))
            }
            _ => None,
        };
        let (contracts, contracts_at) = listed.unzip();
        let known = Known { profile: row.profile, contracts, entitlements: None };
        let read_at = Some(ReadAt { profile: asked_at, contracts: contracts_at });
        let user = row.user.clone();
        if !self.begin_with(Case { user: row.user, known, read_at }).await? {
            self.waiting.insert(user);
            self.desk.audience.passed(1);
        }
        Ok(())
    }

    /// Who of these has been synced well since the beginning. In a dry run nobody counts as such.
    async fn done(&self, rows: &[UserRow]) -> Result<HashSet<UserId>, BackfillError> {
        if self.desk.dry_run || rows.is_empty() {
            return Ok(HashSet::new());
        }
        let users: Vec<UserId> = rows.iter().map(|row| row.user.clone()).collect();
        let known = self.desk.operator.hand.queue.rows_of(&users).await?;
        let is_done =
            |row: &crate::queue::UserRow| row.synced_at.is_some_and(|at| at >= self.began) && !row.held_back;
        Ok(known.into_iter().filter(is_done).filter_map(|row| UserId::new(row.user).ok()).collect())
    }

    fn mark(&self, row: &UserRow) -> Mark {
        let contracts = match &self.contracts {
            Bought::Listed(contracts) => Some(contracts.fingerprint(&row.user)),
            Bought::Nowhere | Bought::Singly => None,
        };
        Mark { updated_at: row.updated_at.map(|at| at.as_millisecond()), contracts }
    }

    /// When the user, or a contract of it, was changed last. None where the user's own row does not say, or where nothing
    /// is known of the contracts.
    fn changed_at(&self, row: &UserRow) -> Option<i64> {
        let own = row.updated_at?.as_millisecond();
        match &self.contracts {
            Bought::Listed(contracts) => Some(contracts.changed_at(&row.user).map_or(own, |at| at.max(own))),
            Bought::Nowhere => Some(own),
            Bought::Singly => None,
        }
    }

    async fn list_contracts(&mut self) -> Result<(), BackfillError> {
        if !self.desk.derive_tags || matches!(self.contracts, Bought::Singly) {
            return Ok(());
        }
        self.contracts = match self.desk.contracts().await? {
            AllContracts::Listed(contracts) => Bought::Listed(contracts),
            AllContracts::Singly(why) => {
                self.desk.audience.notes(&format!(
                    "the list of all contracts is of no use ({why}): contracts are read user by user, a call more for each"
                ));
                Bought::Singly
            }
        };
        Ok(())
    }

    async fn list_contracts_again_where_that_pays(&mut self, listed: u64) -> Result<(), BackfillError> {
        let Bought::Listed(contracts) = &self.contracts else { return Ok(()) };
        if self.desk.dry_run || !is_too_old(contracts.asked_at, self.desk.now()) {
            return Ok(());
        }
        let left = self.estimate.unwrap_or(u64::MAX).saturating_sub(listed);
        let left = usize::try_from(left).unwrap_or(usize::MAX);
        let (synced, written) = self.tally.synced_and_written();
        if listing_again_pays(contracts.pages, left, synced, written, self.desk.per_minute.sesamy) {
            self.list_contracts().await?;
        }
        Ok(())
    }
}
