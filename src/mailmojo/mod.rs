//! The client of Mailmojo: a contact, its place on our list, and the two writes.
//!
//! Every path ends in a slash, for without it the API redirects. `force_subscribe` is always sent, and always false: its
//! default would subscribe somebody again who has left.

pub(crate) mod json;

use reqwest::Method;
use serde_json::Value;

use crate::model::{Contact, ContactData, Membership};
use crate::upstream::{Answer, Api, Attempt, Call, Failure, Object, Upstream, encoded};
use json::{Subscriber, another_address, contact_of, json_of};

pub use json::List;

/// The scopes that this service needs of a token.
pub const SCOPES: &str = "contacts subscribe";

/// The published names of what a request carries, which an error may complain of.
pub const FIELD_NAMES: &[&str] = &[
    "custom",
    "email",
    "first_name",
    "force_subscribe",
    "last_name",
    "limit",
    "list_id",
    "name",
    "phone",
    "subscribed",
    "tags",
];

/// An address that no contact can have: `.invalid` is reserved (RFC 2606).
const NOBODY: &str = "nobody@sesamy-mailmojo.invalid";

/// Mailmojo, as a sync uses it.
#[derive(Debug)]
pub struct Client {
    upstream: Upstream,
    list_id: u64,
    reads_custom: bool,
}

impl Client {
    /// A client that calls through `upstream` and knows one list.
    pub fn new(upstream: Upstream, list_id: u64) -> Self {
        Self { upstream, list_id, reads_custom: false }
    }

    /// The same, but whether it `reads` the account's own fields of contacts; without, it does not look at them.
    pub fn reading_custom(mut self, reads: bool) -> Self {
        self.reads_custom = reads;
        self
    }

    /// The list that contacts are put on.
    pub fn list_id(&self) -> u64 {
        self.list_id
    }

    /// A name for the list and its account, for instance `12 at https://api.mailmojo.no`.
    ///
    /// Source: assumed, that Mailmojo never uses the id of a list twice, so that another account has other ids. The
    /// credentials are no part of it: a new token for the same account must not look like another account.
    pub fn list_name(&self) -> String {
        format!("{} at {}", self.list_id, self.upstream.origin())
    }

    /// The contact of `email`; `None` if there is none.
    ///
    /// # Errors
    /// [`Failure`]; a contact that names another address is the wrong shape.
    pub async fn contact(&self, email: &str, attempt: &Attempt) -> Result<Option<Contact>, Failure> {
        let path = format!("/v1/contacts/{}/", encoded(email));
        match self.get("/v1/contacts/{email}/", path, attempt).await? {
            Answer::Found(body) => contact_of(email, self.list_id, &body, self.reads_custom).map(Some),
            Answer::NotFound => Ok(None),
        }
    }

    /// The place of `email` on the list. Asked only where a contact's own answer does not say.
    pub async fn membership(&self, email: &str, attempt: &Attempt) -> Result<Membership, Failure> {
        let path = format!("/v1/lists/{}/subscribers/{}/", self.list_id, encoded(email));
        match self.get("/v1/lists/{id}/subscribers/{email}/", path, attempt).await? {
            Answer::NotFound => Ok(Membership::NotOnList),
            Answer::Found(body) => {
                let Object(subscriber) = body.read::<Object<Subscriber>>()?;
                if !subscriber.may_be_of(email) {
                    return Err(another_address());
                }
                Ok(Membership::OnList(subscriber.status))
            }
        }
    }

    /// The contact of `email` once more, by the list's path, where that has it; else by its own. Asked only where the first
    /// answer left something out.
    ///
    /// # Errors
    /// [`Failure`]; where the contact has gone meanwhile, a transient one.
    pub async fn contact_again(&self, email: &str, attempt: &Attempt) -> Result<Contact, Failure> {
        let path = format!("/v1/lists/{}/subscribers/{}/", self.list_id, encoded(email));
        match self.get("/v1/lists/{id}/subscribers/{email}/", path, attempt).await? {
            Answer::Found(body) => contact_of(email, self.list_id, &body, self.reads_custom),
            Answer::NotFound => self.contact(email, attempt).await?.ok_or_else(gone_meanwhile),
        }
    }

    /// Puts `email` on the list with `data`, creating the contact where there is none. The contact after it.
    ///
    /// # Errors
    /// [`Failure`]; where the list itself is not there, a permanent one.
    pub async fn subscribe(
        &self,
        email: &str,
        data: &ContactData,
        attempt: &Attempt,
    ) -> Result<Contact, Failure> {
        let written = match self.upstream.call(&self.subscribing(email, data), attempt).await {
            Ok(Answer::Found(body)) => contact_of(email, self.list_id, &body, self.reads_custom),
            Ok(Answer::NotFound) => Err(self.no_such_list()),
            Err(failure) => Err(failure),
        };
        written.map_err(Failure::of_write)
    }

    /// The request of [`Client::subscribe`].
    pub fn subscribing(&self, email: &str, data: &ContactData) -> Call {
        let mut body = json_of(data);
        body.insert("email".to_owned(), email.into());
        body.insert("force_subscribe".to_owned(), false.into());
        Call {
            method: Method::POST,
            route: "/v1/lists/{id}/subscribers/",
            path: format!("/v1/lists/{}/subscribers/", self.list_id),
            body: Some(body.into()),
        }
    }

    /// Changes what `data` holds of the contact of `email`, and nothing else.
    ///
    /// # Errors
    /// [`Failure`]; where the contact has gone meanwhile, a transient one.
    pub async fn patch(
        &self,
        email: &str,
        data: &ContactData,
        attempt: &Attempt,
    ) -> Result<Contact, Failure> {
        let written = match self.upstream.call(&self.patching(email, data), attempt).await {
            Ok(Answer::Found(body)) => contact_of(email, self.list_id, &body, self.reads_custom),
            Ok(Answer::NotFound) => Err(gone_meanwhile()),
            Err(failure) => Err(failure),
        };
        written.map_err(Failure::of_write)
    }

    /// The request of [`Client::patch`].
    pub fn patching(&self, email: &str, data: &ContactData) -> Call {
        Call {
            method: Method::PATCH,
            route: "/v1/contacts/{email}/",
            path: format!("/v1/contacts/{}/", encoded(email)),
            body: Some(json_of(data).into()),
        }
    }

    /// The list's name: one harmless call.
    ///
    /// # Errors
    /// [`Failure`]; where there is no such list, a permanent one.
    pub async fn list(&self, attempt: &Attempt) -> Result<List, Failure> {
        let path = format!("/v1/lists/{}/", self.list_id);
        match self.get("/v1/lists/{id}/", path, attempt).await? {
            Answer::Found(body) => body.read::<Object<List>>().map(|it| it.0),
            Answer::NotFound => Err(self.no_such_list()),
        }
    }

    /// Whether contacts can be read: one harmless call, for a contact that cannot exist.
    pub async fn answers(&self, attempt: &Attempt) -> Result<(), Failure> {
        self.contact(NOBODY, attempt).await.map(drop)
    }

    /// Whether the token may read contacts: one harmless call.
    pub async fn can_read_contacts(&self, attempt: &Attempt) -> Result<(), Failure> {
        self.can_read("/v1/contacts/", "/v1/contacts/?limit=1".to_owned(), attempt).await
    }

    /// Whether the token may read the list's subscribers: one harmless call.
    pub async fn can_read_subscribers(&self, attempt: &Attempt) -> Result<(), Failure> {
        let path = format!("/v1/lists/{}/subscribers/?limit=1", self.list_id);
        self.can_read("/v1/lists/{id}/subscribers/", path, attempt).await
    }

    async fn can_read(&self, route: &'static str, path: String, attempt: &Attempt) -> Result<(), Failure> {
        match self.get(route, path, attempt).await? {
            Answer::Found(body) => body.read::<Value>().map(|_| ()),
            Answer::NotFound => Err(Failure::permanent(Api::Mailmojo, 404, "there is nothing at this path")),
        }
    }

    fn no_such_list(&self) -> Failure {
        let text = format!("there is no list {}; check mailmojo.list_id", self.list_id);
        Failure::permanent(Api::Mailmojo, 404, &text)
    }

    async fn get(&self, route: &'static str, path: String, attempt: &Attempt) -> Result<Answer, Failure> {
        self.upstream.call(&Call { method: Method::GET, route, path, body: None }, attempt).await
    }
}

/// A contact that was there a moment ago is not: a transient failure, for the next look finds what to do.
pub fn gone_meanwhile() -> Failure {
    Failure::wrong_shape(Api::Mailmojo, "the contact has gone meanwhile (404)")
}
