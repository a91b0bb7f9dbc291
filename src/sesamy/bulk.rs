//! The lists of all users and of all contracts, page by page: what a backfill reads, and how a user is found by address.
//!
//! The rules about what does not add up are those of `pages`. There is no limit on rows, and nothing is remembered from
//! page to page: who reads on compares [`Page::mark`], so that a list which answers the same page again and again ends.
//! Rows may shift between two pages; a row can then come twice, or not at all.

use jiff::Timestamp;
use reqwest::Method;
use serde_json::Value;

use super::json::ProfileJson;
use super::pages::{PAGE_LIMIT, RawPage, SAME_PAGE};
use super::{Client, wrong_shape};
use crate::address;
use crate::model::Profile;
use crate::personal::Personal;
use crate::upstream::{Answer, Attempt, Call, Failure, encoded};
use crate::user::UserId;

/// The most pages that a search for the owner of an address reads, so that a Sesamy which ignores the search is not read
/// to its end: a thousand users at the usual page size.
const MAX_SEARCH_PAGES: usize = 10;

/// One page of a list.
#[derive(Debug, Clone)]
pub struct Page<T> {
    /// The rows, in Sesamy's order.
    pub rows: Vec<T>,
    /// Rows that cannot be read: no object, without an id, or with one that no request can be made of (see [`UserId`]).
    pub left_out: usize,
    /// The offset of the next page; none: this was the last one.
    pub next: Option<usize>,
    /// How many rows the whole list has, where the answer tells.
    pub total: Option<usize>,
    /// A hash of the page's rows as they came: two pages that follow each other have different ones.
    pub mark: u64,
}

impl<T> Page<T> {
    /// How many rows it has, those that are left out included.
    pub fn length(&self) -> usize {
        self.rows.len() + self.left_out
    }
}

/// A row of the list of users.
#[derive(Debug, Clone)]
pub struct UserRow {
    /// Whose row it is: `userId`, or `id` where that is absent.
    pub user: UserId,
    /// `updatedAt`; none where it is absent or cannot be read.
    pub updated_at: Option<Timestamp>,
    /// What the row says of the user, which may be less than the profile has. None where it is not of the published
    /// types: then only the profile itself can tell.
    pub profile: Option<Profile>,
}

/// A row of the list of contracts.
#[derive(Debug, Clone)]
pub struct ContractRow {
    /// Whose contract it is.
    pub user: UserId,
    /// `updatedAt`; none where it is absent or cannot be read.
    pub updated_at: Option<Timestamp>,
}

/// Whether anybody but one user has an address.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum OwnerBesides {
    /// The search is complete, and nobody else has it.
    Nobody,
    /// Another user has it.
    Somebody,
    /// Sesamy refuses the search, answers it in another shape or with a row that cannot be read, or has more pages than
    /// [`Client::owner_besides`] reads.
    Unknown,
}

/// Why there is no page of all contracts.
#[derive(Debug)]
pub enum ContractsError {
    /// The call failed.
    Failure(Failure),
    /// A row names no user: contracts can only be had user by user.
    NoUser,
}

impl From<Failure> for ContractsError {
    fn from(failure: Failure) -> Self {
        Self::Failure(failure)
    }
}

impl Client {
    /// The page of the list of users that begins at `offset`; with `search`, of those that Sesamy finds for it.
    ///
    /// # Errors
    /// [`Failure`]; a 404 is the wrong shape. A row that cannot be read is left out, and logged.
    pub async fn users_page(
        &self,
        offset: usize,
        search: Option<&str>,
        attempt: &Attempt,
    ) -> Result<Page<UserRow>, Failure> {
        let page = self.bulk(USERS, "users", users_path(offset, search), offset, attempt).await?;
        let page = page.typed(UserRow::of);
        if page.left_out > 0 {
            tracing::warn!(
                rows = page.left_out,
                offset,
                "rows of Sesamy's list of users are left out: they have no user id that can be asked for"
            );
        }
        Ok(page)
    }

    /// The page of the list of everybody's contracts that begins at `offset`.
    ///
    /// # Errors
    /// [`ContractsError`]; a 404 is the wrong shape, for to take it as "no contracts" would take tags away from everybody.
    pub async fn contracts_page(
        &self,
        offset: usize,
        attempt: &Attempt,
    ) -> Result<Page<ContractRow>, ContractsError> {
        let path = format!("/management/contracts?limit={PAGE_LIMIT}&offset={offset}");
        let page = self.bulk("/management/contracts", "contracts", path, offset, attempt).await?;
        if page.rows.iter().any(|row| text(row, "userId").is_none()) {
            return Err(ContractsError::NoUser);
        }
        Ok(page.typed(ContractRow::of))
    }

    /// All users with exactly this address, however it is spelled (see [`address::is_same`]): none, one or several.
    pub async fn find_by_email(&self, address: &str, attempt: &Attempt) -> Result<Vec<UserId>, Failure> {
        let mut found = Vec::new();
        for spelling in address::spellings(address) {
            let (mut before, mut next) = (None, Some(0));
            while let Some(offset) = next {
                let page = self.users_page(offset, Some(&spelling), attempt).await?;
                if before.replace(page.mark) == Some(page.mark) {
                    return Err(wrong_shape(SAME_PAGE));
                }
                for row in page.rows.into_iter().filter(|row| row.has_address(address)) {
                    if !found.contains(&row.user) {
                        found.push(row.user);
                    }
                }
                next = page.next;
            }
        }
        Ok(found)
    }

    /// Whether anybody but `user` has exactly this address, however it is spelled (see [`address::is_same`]). A guest by
    /// the profile, or by `is_guest_id`, does not count.
    ///
    /// # Errors
    /// [`Failure`] where Sesamy may answer another time.
    pub async fn owner_besides(
        &self,
        user: &UserId,
        address: &str,
        is_guest_id: impl Fn(&UserId) -> bool,
        attempt: &Attempt,
    ) -> Result<OwnerBesides, Failure> {
        let is_guest = |row: &UserRow| row.is_guest() || is_guest_id(&row.user);
        let is_owner = |row: &UserRow| row.has_address(address) && !is_guest(row);
        for spelling in address::spellings(address) {
            let owner = self.search_for_owner(user, &spelling, is_owner, attempt).await?;
            if owner != OwnerBesides::Nobody {
                return Ok(owner);
            }
        }
        Ok(OwnerBesides::Nobody)
    }

    async fn search_for_owner(
        &self,
        user: &UserId,
        search: &str,
        is_owner: impl Fn(&UserRow) -> bool,
        attempt: &Attempt,
    ) -> Result<OwnerBesides, Failure> {
        let (mut before, mut offset, mut all_readable) = (None, 0, true);
        for _ in 0..MAX_SEARCH_PAGES {
            let path = users_path(offset, Some(search));
            let call = Call { method: Method::GET, route: USERS, path, body: None };
            let Some(Answer::Found(body)) = self.upstream.call_if_allowed(&call, attempt).await? else {
                return Ok(OwnerBesides::Unknown);
            };
            let Ok(page) = RawPage::read(body.read()?, "users", offset) else {
                return Ok(OwnerBesides::Unknown);
            };
            let page = page.typed(UserRow::of);
            let others = || page.rows.iter().filter(|row| row.user != *user);
            if others().any(&is_owner) {
                return Ok(OwnerBesides::Somebody);
            }
            if before.replace(page.mark) == Some(page.mark) {
                return Ok(OwnerBesides::Unknown);
            }
            all_readable &= page.left_out == 0 && others().all(|row| row.email().is_some());
            match page.next {
                Some(next) => offset = next,
                None if all_readable => return Ok(OwnerBesides::Nobody),
                None => return Ok(OwnerBesides::Unknown),
            }
        }
        Ok(OwnerBesides::Unknown)
    }

    async fn bulk(
        &self,
        route: &'static str,
        resource: &str,
        path: String,
        offset: usize,
        attempt: &Attempt,
    ) -> Result<RawPage, Failure> {
        match self.get(route, path, attempt).await? {
            Answer::Found(body) => RawPage::read(body.read()?, resource, offset).map_err(wrong_shape),
            Answer::NotFound => Err(wrong_shape("there is no such list")),
        }
    }
}

/// What a row is about.
enum Row<T> {
    Of(T),
    /// It names no user who can be asked for.
    LeftOut,
}

impl RawPage {
    /// The page with each row read by `of`.
    fn typed<T>(self, of: impl Fn(Value) -> Row<T>) -> Page<T> {
        let mut page = Page {
            rows: Vec::with_capacity(self.rows.len()),
            left_out: 0,
            next: self.next,
            total: self.total,
            mark: self.mark,
        };
        for row in self.rows {
            match of(row) {
                Row::Of(row) => page.rows.push(row),
                Row::LeftOut => page.left_out += 1,
            }
        }
        page
    }
}

impl UserRow {
    fn email(&self) -> Option<&str> {
        self.profile.as_ref()?.email.as_ref().map(Personal::as_str)
    }

    fn has_address(&self, wanted: &str) -> bool {
        self.email().is_some_and(|own| address::is_same(own, wanted))
    }

    fn is_guest(&self) -> bool {
        self.profile.as_ref().is_some_and(|profile| profile.is_guest)
    }

    fn of(row: Value) -> Row<Self> {
        let id = match row.get("userId") {
            None | Some(Value::Null) => row.get("id"),
            id => id,
        };
        match id.and_then(Value::as_str).map(UserId::new) {
            Some(Ok(user)) => Row::Of(Self { user, updated_at: updated_at(&row), profile: profile_of(row) }),
            _ => Row::LeftOut,
        }
    }
}

impl ContractRow {
    fn of(row: Value) -> Row<Self> {
        match text(&row, "userId").map(UserId::new) {
            Some(Ok(user)) => Row::Of(Self { user, updated_at: updated_at(&row) }),
            _ => Row::LeftOut,
        }
    }
}

const USERS: &str = "/management/users";

fn users_path(offset: usize, search: Option<&str>) -> String {
    let search = search.map(|text| format!("&search={}", encoded(text))).unwrap_or_default();
    format!("{USERS}?limit={PAGE_LIMIT}&offset={offset}{search}")
}

fn text<'a>(row: &'a Value, field: &str) -> Option<&'a str> {
    row.get(field).and_then(Value::as_str)
}

fn updated_at(row: &Value) -> Option<Timestamp> {
    text(row, "updatedAt")?.trim().parse().ok()
}

fn profile_of(row: Value) -> Option<Profile> {
    serde_json::from_value::<ProfileJson>(row).ok().map(Profile::from)
}

#[cfg(test)]
mod tests;
