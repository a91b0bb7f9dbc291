//! What the page and the API ask for: the one boundary between what an operator sees and how it is done.
//!
//! Plain data and a trait, so that the page knows neither the queue nor a sync. Times are [`Millis`], in JSON RFC 3339.
//! No text in here holds personal data but a [`Preview`]'s and what [`Desk::find`] is asked: those are an operator's
//! question and its answer, and are neither logged nor kept.

use futures_util::future::BoxFuture;
use serde::{Deserialize, Serialize, Serializer};

use crate::clock::Millis;
use crate::queue::Census;
use crate::user::UserId;

/// What comes of a question or an order.
pub type Told<'a, T> = BoxFuture<'a, Result<T, DeskError>>;

/// Everything that an operator can ask for.
pub trait Desk: Send + Sync {
    /// How the service is.
    fn status(&self) -> Told<'_, Status>;
    /// How many syncs ended how, minute by minute, from `since` on.
    fn counts(&self, since: Millis) -> Told<'_, Vec<MinuteCount>>;
    /// Who is parked, by reason, the most frequent first.
    fn parked(&self) -> Told<'_, Vec<ParkedReason>>;
    /// Some of the users, in the order of their ids.
    fn users(&self, filter: Filter) -> Told<'_, Vec<Row>>;
    /// One user; none where the queue has never heard of it.
    fn user<'a>(&'a self, user: &'a UserId) -> Told<'a, Option<Row>>;
    /// The syncs of one user, the latest first.
    fn history<'a>(&'a self, user: &'a UserId) -> Told<'a, Vec<HistoryRow>>;
    /// What a sync of one user would do now. Writes nothing.
    fn preview<'a>(&'a self, user: &'a UserId) -> Told<'a, Preview>;
    /// Syncs one user now.
    fn sync<'a>(&'a self, user: &'a UserId) -> Told<'a, Synced>;
    /// Makes users due who were parked or wait for a retry; how many.
    fn retry(&self, whom: Retry) -> Told<'_, u64>;
    /// Lets no sync begin; events are still kept.
    fn pause(&self) -> Told<'_, ()>;
    /// Lets syncs begin again.
    fn resume(&self) -> Told<'_, ()>;
    /// The user of that id or with that e-mail address; none where there is none.
    fn find<'a>(&'a self, text: &'a str) -> Told<'a, Option<UserId>>;
}

/// Why it could not be done. The texts are for the operator, personal data masked.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum DeskError {
    /// The queue has never heard of the user.
    #[error("the queue does not know this user: no event has come for it, and no backfill has seen it")]
    UnknownUser,
    /// Somebody else holds the user's lease.
    #[error("a sync of this user is running already; look again in a moment")]
    Busy,
    /// An API failed, or rests.
    #[error("{0}")]
    Upstream(String),
    /// The queue's store failed.
    #[error("{0}")]
    Store(String),
}

/// How the service is.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Status {
    /// Now, by the service's own clock.
    #[serde(serialize_with = "rfc3339")]
    pub now: Millis,
    /// Whether events can be kept.
    pub accepting: bool,
    /// Since when syncs are paused; none while they are not.
    #[serde(serialize_with = "rfc3339_or_null")]
    pub paused_at: Option<Millis>,
    /// Whether nothing is written (`sync.dry_run`).
    pub dry_run: bool,
    /// The two APIs.
    pub apis: Vec<ApiStatus>,
    /// The rows by state; none where they cannot be counted.
    pub rows: Option<Census>,
}

/// How one API is.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct ApiStatus {
    /// `sesamy` or `mailmojo`.
    pub api: String,
    /// `ok`, `resting` or `probing`.
    pub state: String,
    /// Why it rests: `rate_limit`, `credentials`, `configuration` or `outage`.
    pub why: Option<String>,
    /// Until when.
    #[serde(serialize_with = "rfc3339_or_null")]
    pub until: Option<Millis>,
}

/// What a user's row is in.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum State {
    /// To be synced now.
    Due,
    /// Being synced.
    Leased,
    /// To be synced later.
    Scheduled,
    /// Set aside until an event or an operator.
    Parked,
    /// Nothing to do.
    Idle,
}

impl State {
    /// All of them.
    pub const ALL: [Self; 5] = [Self::Due, Self::Leased, Self::Scheduled, Self::Parked, Self::Idle];

    /// As in the API.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Due => "due",
            Self::Leased => "leased",
            Self::Scheduled => "scheduled",
            Self::Parked => "parked",
            Self::Idle => "idle",
        }
    }
}

/// A user as the queue knows it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Row {
    /// Who.
    #[serde(serialize_with = "whole_id")]
    pub user: UserId,
    /// What is to be done.
    pub state: State,
    /// 0 events, 1 retries, 2 backfill.
    pub lane: u8,
    /// When the next sync is due, or the lease ends.
    #[serde(serialize_with = "rfc3339_or_null")]
    pub due_at: Option<Millis>,
    /// How often something asked for a sync.
    pub generation: i64,
    /// The kind of the last event.
    pub event_type: String,
    /// Failures since the last sync that ended well.
    pub attempts: u32,
    /// When the first of these was.
    #[serde(serialize_with = "rfc3339_or_null")]
    pub failing_since: Option<Millis>,
    /// What the last of these was.
    pub error: Option<String>,
    /// Since when the user is parked.
    #[serde(serialize_with = "rfc3339_or_null")]
    pub parked_at: Option<Millis>,
    /// The reason, the same for all who are parked for it.
    pub answer: Option<String>,
    /// Whether `sync.dry_run` held a change back.
    pub held_back: bool,
    /// When the last sync ended well.
    #[serde(serialize_with = "rfc3339_or_null")]
    pub synced_at: Option<Millis>,
}

/// One line of a user's history: a sync, or several in a row that ended alike.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct HistoryRow {
    /// When the first of them ended.
    #[serde(serialize_with = "rfc3339")]
    pub first_at: Millis,
    /// When the last of them ended.
    #[serde(serialize_with = "rfc3339")]
    pub last_at: Millis,
    /// How many.
    pub times: u64,
    /// How many syncs that changed nothing came after it.
    pub unchanged_times: u64,
    /// The kind of event that made the user due.
    pub event_type: String,
    /// As in the log: `created`, `subscribed`, `updated`, `unchanged`, `skipped`, `failed`, `postponed` or `parked`.
    pub outcome: String,
    /// Why it was skipped, or what kind of failure it was.
    pub reason: Option<String>,
    /// The fields that were changed.
    pub changed: Vec<String>,
    /// The tags that were added.
    pub tags_added: Vec<String>,
    /// The tags that were removed.
    pub tags_removed: Vec<String>,
    /// Which try it was, from 1.
    pub attempt: u32,
    /// How long it took.
    pub ms: u64,
    /// The class of the failure.
    pub error_class: Option<String>,
    /// What failed.
    pub error: Option<String>,
}

/// How many syncs ended how within one minute.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct MinuteCount {
    /// When the minute began.
    #[serde(serialize_with = "rfc3339")]
    pub minute: Millis,
    /// As in the log.
    pub outcome: String,
    /// How many.
    pub count: u64,
}

/// Users who are parked for the same reason.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct ParkedReason {
    /// The reason, which is also the filter's.
    pub answer: String,
    /// How many.
    pub count: u64,
    /// When the first of them was parked.
    #[serde(serialize_with = "rfc3339")]
    pub first_at: Millis,
    /// When the last of them was.
    #[serde(serialize_with = "rfc3339")]
    pub last_at: Millis,
    /// The whole message of one of them.
    pub example: String,
}

/// Which users.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Filter {
    /// Only in this state.
    pub state: Option<State>,
    /// Only parked for this reason, or failing with a message that has these words in it.
    pub reason: Option<String>,
    /// Only those whose id comes after this one.
    pub after: Option<UserId>,
    /// At most so many.
    pub limit: usize,
}

/// Whom to try again.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Retry {
    /// This user.
    One(UserId),
    /// All who are parked for this reason.
    Reason(String),
    /// All who are parked.
    AllParked,
}

/// What a sync did.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Synced {
    /// As in the log.
    pub outcome: String,
    /// As in the log.
    pub reason: Option<String>,
    /// The fields that were changed.
    pub changed: Vec<String>,
    /// The tags that were added.
    pub tags_added: Vec<String>,
    /// The tags that were removed.
    pub tags_removed: Vec<String>,
    /// What failed.
    pub error: Option<String>,
}

/// What a sync would do.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Preview {
    /// `create`, `subscribe`, `update`, `nothing` or `skip`.
    pub plan: String,
    /// In a sentence: what, or why nothing.
    pub summary: String,
    /// What Sesamy says that matters, name by name.
    pub facts: Vec<(String, String)>,
    /// The contact's fields.
    pub fields: Vec<FieldPreview>,
    /// The contact's tags, now and after.
    pub tags: Vec<TagPreview>,
    /// The request that would be sent; none where none would be.
    pub request: Option<RequestPreview>,
}

/// One field of the contact.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct FieldPreview {
    /// Such as `first_name`.
    pub field: String,
    /// What the contact has.
    pub now: Option<String>,
    /// What it would get; none where it is left alone.
    pub then: Option<String>,
    /// Why.
    pub why: String,
}

/// One tag of the contact.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct TagPreview {
    /// The tag.
    pub tag: String,
    /// What would become of it.
    pub change: TagChange,
    /// Why.
    pub why: String,
}

/// What becomes of a tag.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum TagChange {
    /// It comes.
    Added,
    /// It goes.
    Removed,
    /// It stays.
    Kept,
}

/// The request that a sync would send.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct RequestPreview {
    /// Such as `PATCH`.
    pub method: String,
    /// The path.
    pub path: String,
    /// The body.
    pub body: serde_json::Value,
}

/// A moment as the API writes it; empty for one that no calendar has.
#[must_use]
pub(super) fn written(moment: Millis) -> String {
    jiff::Timestamp::from_millisecond(moment.0).map(|moment| moment.to_string()).unwrap_or_default()
}

fn rfc3339<S: Serializer>(moment: &Millis, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_str(&written(*moment))
}

fn rfc3339_or_null<S: Serializer>(moment: &Option<Millis>, serializer: S) -> Result<S::Ok, S::Error> {
    moment.map(written).serialize(serializer)
}

fn whole_id<S: Serializer>(user: &UserId, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_str(user.as_str())
}
