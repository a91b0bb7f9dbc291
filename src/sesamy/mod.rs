//! The client of Sesamy's Management API: a user's profile, contracts and entitlements; and, in
//! [`bulk`], the lists of all users and all contracts.
//!
//! Every assumption about the API that its public material does not settle is a named constant or function here, in
//! `json` and in `pages`, and is listed in the README.

pub mod bulk;
pub(crate) mod json;
pub(crate) mod pages;

use reqwest::Method;
use serde::de::DeserializeOwned;
use serde_json::Value;

use crate::model::{Contract, Entitlement, Profile};
use crate::upstream::{Answer, Api, Attempt, Body, Call, Failure, Object, Upstream, encoded};
use crate::user::UserId;
use json::{ContractJson, EntitlementJson, ProfileJson};
use pages::{PAGE_LIMIT, Pages, Progress};

/// The names of what a request carries, which an error may complain of, and of a user's fields that are published.
pub const FIELD_NAMES: &[&str] = &[
    "email",
    "firstName",
    "id",
    "lastName",
    "limit",
    "offset",
    "phone",
    "search",
    "tags",
    "userId",
    "vendorId",
];

/// The id of a user that does not exist.
const NOBODY: &str = "sesamy-mailmojo-nobody";

/// Sesamy, as a sync asks it.
#[derive(Debug)]
pub struct Client {
    upstream: Upstream,
}

impl Client {
    /// A client that calls through `upstream`.
    pub fn new(upstream: Upstream) -> Self {
        Self { upstream }
    }

    /// The profile of `user`; `None` if Sesamy knows no such user.
    ///
    /// # Errors
    /// [`Failure`]; a profile that names another user is the wrong shape.
    pub async fn profile(&self, user: &UserId, attempt: &Attempt) -> Result<Option<Profile>, Failure> {
        let path = format!("/management/users/{}", encoded(user.as_str()));
        match self.get("/management/users/{id}", path, attempt).await? {
            Answer::Found(body) => profile_of(user, &body).map(Some),
            Answer::NotFound => Ok(None),
        }
    }

    /// All contracts of `user`, running or over.
    ///
    /// # Errors
    /// [`Failure`]; a contract that names another user is the wrong shape.
    pub async fn contracts(&self, user: &UserId, attempt: &Attempt) -> Result<Vec<Contract>, Failure> {
        all_of(user, self.list("/management/contracts", "contracts", user, attempt).await?)
    }

    /// All entitlements of `user`, with access or without.
    pub async fn entitlements(&self, user: &UserId, attempt: &Attempt) -> Result<Vec<Entitlement>, Failure> {
        let all: Vec<EntitlementJson> =
            self.list("/management/entitlements", "entitlements", user, attempt).await?;
        Ok(all.into_iter().map(Entitlement::from).collect())
    }

    /// Whether what a sync reads can be read: harmless calls, for a user that does not exist. `all`: contracts and
    /// entitlements too.
    pub async fn answers(&self, all: bool, attempt: &Attempt) -> Result<(), Failure> {
        // The id is plain text, so that it is one.
        let Ok(nobody) = UserId::new(NOBODY) else { return Ok(()) };
        self.profile(&nobody, attempt).await?;
        if all {
            self.contracts(&nobody, attempt).await?;
            self.entitlements(&nobody, attempt).await?;
        }
        Ok(())
    }

    /// One harmless call that needs what a sync needs: the first of all users.
    pub async fn probe(&self, attempt: &Attempt) -> Result<(), Failure> {
        match self.get("/management/users", "/management/users?limit=1&offset=0".to_owned(), attempt).await? {
            Answer::Found(body) => body.read::<Value>().map(|_| ()),
            Answer::NotFound => Err(wrong_shape("there is no list of users at this address")),
        }
    }

    /// All rows of a list, page by page. A 404 is an empty list.
    async fn list<T: DeserializeOwned>(
        &self,
        route: &'static str,
        resource: &'static str,
        user: &UserId,
        attempt: &Attempt,
    ) -> Result<Vec<T>, Failure> {
        let mut pages = Pages::of(resource);
        loop {
            let (user, offset) = (encoded(user.as_str()), pages.offset());
            let path = format!("{route}?userId={user}&limit={PAGE_LIMIT}&offset={offset}");
            let body = match self.get(route, path, attempt).await? {
                Answer::Found(body) => body,
                Answer::NotFound if offset == 0 => return Ok(Vec::new()),
                Answer::NotFound => return Err(wrong_shape("a later page of a list is not there")),
            };
            match pages.take(body.read()?).map_err(wrong_shape)? {
                Progress::More => {}
                Progress::Complete => return pages.rows().map_err(wrong_shape),
            }
        }
    }

    async fn get(&self, route: &'static str, path: String, attempt: &Attempt) -> Result<Answer, Failure> {
        self.upstream.call(&Call { method: Method::GET, route, path, body: None }, attempt).await
    }
}

pub(crate) fn profile_of(user: &UserId, body: &Body) -> Result<Profile, Failure> {
    let profile: ProfileJson = match unwrapped(body.read::<Value>()?) {
        Some(bare) => serde_json::from_value(bare).map_err(|_| wrong_shape("a profile of other types"))?,
        None => body.read::<Object<ProfileJson>>()?.0,
    };
    if !profile.is_of(user) {
        return Err(wrong_shape("the profile names another user than the one asked for"));
    }
    Ok(profile.into())
}

/// `contracts`, if none of them names another than `user`.
fn all_of(user: &UserId, contracts: Vec<ContractJson>) -> Result<Vec<Contract>, Failure> {
    let is_own = |contract: &ContractJson| contract.user_id.as_deref().is_none_or(|id| id == user.as_str());
    if contracts.iter().all(is_own) {
        Ok(contracts.into_iter().map(Contract::from).collect())
    } else {
        Err(wrong_shape("a contract names another user than the one asked for"))
    }
}

fn wrong_shape(what: &str) -> Failure {
    Failure::wrong_shape(Api::Sesamy, what)
}

/// What the envelope `{"data": {…}, "meta": …}` holds; none for a bare object. A profile with an id of its own is bare,
/// whatever other fields it has.
///
/// Source: the published specification answers bare objects, the guide shows the envelope.
fn unwrapped(answer: Value) -> Option<Value> {
    let Value::Object(mut fields) = answer else { return None };
    let is_bare = fields.contains_key("userId") || fields.contains_key("id");
    fields.remove("data").filter(|data| !is_bare && data.is_object())
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn a_profile_is_found_bare_and_in_its_envelope() {
        assert_eq!(unwrapped(json!({"data": {"userId": "u1"}, "meta": {}})), Some(json!({"userId": "u1"})));
        assert_eq!(unwrapped(json!({"userId": "u1"})), None);
        assert_eq!(unwrapped(json!({"userId": "u1", "data": {"userId": "u2"}})), None);
        assert_eq!(unwrapped(json!({"data": [1]})), None);
        assert_eq!(unwrapped(json!([1])), None);
    }
}
