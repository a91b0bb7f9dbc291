//! Faults: what a mock API does wrong on purpose, and when.

use std::collections::BTreeMap;
use std::fmt;
use std::future::pending;
use std::sync::{Arc, Mutex};
use std::time::{Duration, SystemTime};

use rand::rngs::StdRng;
use rand::seq::IndexedRandom;
use rand::{RngExt, SeedableRng};
use serde_json::{Value, json};

use super::recorder::lock;
use super::reply::{Body, Delivery, Reply};
use super::target::{Route, Target};

/// What goes wrong.
#[derive(Clone)]
pub enum Fault {
    /// Nothing is done; this is the answer.
    Answer(CannedAnswer),
    /// Nothing is done, and there is never an answer.
    Hang,
    /// Nothing is done, and the connection is closed without an answer.
    Close,
    /// Nothing is done; the answer is a `200` with a JSON string of this many bytes.
    Huge(usize),
    /// Everything works, after this time.
    Delay(Duration),
    /// The request is done; its answer's JSON ends in the middle, in a complete HTTP answer.
    CutJson,
    /// The request is done; the connection is closed in the middle of its answer.
    CutConnection,
    /// The request is done; its answer arrives a byte at a time, with this pause before each.
    Drip(Duration),
    /// The request is done; the JSON of its answer is changed.
    Edit(Edit),
    /// The request is done before the fault strikes: a write whose answer is lost.
    Done(Box<Fault>),
    /// There is never an answer. The request is done this long after the client has gone away: a write that was stuck
    /// on its way. Until then it counts as in flight.
    AfterLeaving(Duration),
}

/// Changes the JSON of an answer.
#[derive(Clone)]
pub struct Edit(Arc<dyn Fn(&mut Value) + Send + Sync>);

impl fmt::Debug for Fault {
    /// The kind of fault, by which [`Sandbox::faults`](super::Sandbox::faults) counts.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Answer(answer) => return write!(f, "Answer({})", answer.status),
            Self::Done(fault) => return write!(f, "Done({fault:?})"),
            Self::Hang => "Hang",
            Self::Close => "Close",
            Self::Huge(_) => "Huge",
            Self::Delay(_) => "Delay",
            Self::CutJson => "CutJson",
            Self::CutConnection => "CutConnection",
            Self::Drip(_) => "Drip",
            Self::Edit(_) => "Edit",
            Self::AfterLeaving(_) => "AfterLeaving",
        })
    }
}

impl Fault {
    /// An answer with `status`, in the shape of the API's errors; the methods of [`CannedAnswer`] change it.
    pub fn status(status: u16) -> CannedAnswer {
        CannedAnswer { status, headers: Vec::new(), body: AnswerBody::ApiError("made to fail".into()) }
    }

    /// A `200` with this JSON instead of the true one.
    pub fn wrong_shape(json: Value) -> Self {
        Self::status(200).json(json).into()
    }

    /// The true answer, after `edit` has changed its JSON.
    pub fn edit(edit: impl Fn(&mut Value) + Send + Sync + 'static) -> Self {
        Self::Edit(Edit(Arc::new(edit)))
    }

    /// The request is done, and then `fault` strikes.
    pub fn done_then(fault: impl Into<Self>) -> Self {
        Self::Done(Box::new(fault.into()))
    }

    /// A `429` that says when to retry as `hint` describes.
    pub fn too_many_requests(hint: ComeAgain) -> Self {
        let answer = Self::status(429).message("too many requests");
        let answer = match hint {
            ComeAgain::Seconds(seconds) => answer.header("Retry-After", &seconds.to_string()),
            ComeAgain::Date(date) => answer.header("Retry-After", &httpdate::fmt_http_date(date)),
            ComeAgain::InBody(seconds) => answer.json(json!({"error": {"code": "rate_limit_exceeded",
                "message": "Too many requests", "retry_after": seconds}})),
            ComeAgain::Reset(unix_seconds) => answer
                .header("X-RateLimit-Remaining", "0")
                .header("X-RateLimit-Reset", &unix_seconds.to_string()),
            ComeAgain::Unsaid => answer,
        };
        answer.into()
    }

    /// Whether it keeps the request from being done.
    pub(super) fn prevents(&self) -> bool {
        matches!(self, Self::Answer(_) | Self::Hang | Self::Close | Self::Huge(_))
    }

    /// What becomes of `reply`; `None` closes the connection. `error` makes an error in the API's shape.
    pub(super) async fn spoil(
        self,
        mut reply: Reply,
        error: fn(u16, &str) -> Reply,
    ) -> Option<(Reply, Delivery)> {
        let mut fault = self;
        while let Self::Done(inner) = fault {
            fault = *inner;
        }
        let delivery = match fault {
            Self::CutJson => Delivery::Cut,
            Self::CutConnection => Delivery::BrokenOff,
            Self::Drip(pause) => Delivery::Dripping(pause),
            _ => Delivery::Whole,
        };
        match fault {
            Self::Answer(answer) => reply = answer.into_reply(error),
            Self::Huge(size) => reply = Reply::new(200, Body::Huge(size)),
            Self::Edit(Edit(edit)) => {
                if let Body::Json(json) = &mut reply.body {
                    edit(json);
                }
            }
            Self::Delay(by) => tokio::time::sleep(by).await,
            Self::Hang | Self::AfterLeaving(_) => pending().await,
            Self::Close => return None,
            Self::CutJson | Self::CutConnection | Self::Drip(_) | Self::Done(_) => {}
        }
        Some((reply, delivery))
    }
}

/// How a `429` says when to retry.
#[derive(Debug, Clone, Copy)]
pub enum ComeAgain {
    /// `Retry-After` in seconds.
    Seconds(u64),
    /// `Retry-After` as an HTTP date.
    Date(SystemTime),
    /// `retry_after` in the body alone, in seconds.
    InBody(u64),
    /// `X-RateLimit-Reset` alone, in seconds since 1970.
    Reset(u64),
    /// Not at all.
    Unsaid,
}

/// An answer made by hand.
#[derive(Debug, Clone)]
pub struct CannedAnswer {
    status: u16,
    headers: Vec<(String, String)>,
    body: AnswerBody,
}

#[derive(Debug, Clone)]
enum AnswerBody {
    ApiError(String),
    Plain(Body),
}

impl CannedAnswer {
    /// Adds a header. A name or value that HTTP does not allow is left out.
    pub fn header(mut self, name: &str, value: &str) -> Self {
        self.headers.push((name.to_owned(), value.to_owned()));
        self
    }

    /// The message of the API's error object.
    pub fn message(self, message: &str) -> Self {
        Self { body: AnswerBody::ApiError(message.to_owned()), ..self }
    }

    /// This JSON as the body.
    pub fn json(self, json: Value) -> Self {
        Self { body: AnswerBody::Plain(Body::Json(json)), ..self }
    }

    /// A page of HTML as the body.
    pub fn html(self) -> Self {
        Self { body: AnswerBody::Plain(Reply::html(self.status).body), ..self }
    }

    /// This text as the body, called JSON whether it is or not.
    pub fn text(self, text: &str) -> Self {
        self.bytes(text.as_bytes())
    }

    /// These bytes as the body, called JSON whether they are or not.
    pub fn bytes(self, bytes: &[u8]) -> Self {
        let text = bytes.to_vec().into();
        Self { body: AnswerBody::Plain(Body::Text { content_type: "application/json", text }), ..self }
    }

    /// No body.
    pub fn empty(self) -> Self {
        Self { body: AnswerBody::Plain(Body::Empty), ..self }
    }

    fn into_reply(self, error: fn(u16, &str) -> Reply) -> Reply {
        let mut reply = match self.body {
            AnswerBody::ApiError(message) => error(self.status, &message),
            AnswerBody::Plain(body) => Reply::new(self.status, body),
        };
        reply.headers.extend(self.headers);
        reply
    }
}

impl From<CannedAnswer> for Fault {
    fn from(answer: CannedAnswer) -> Self {
        Self::Answer(answer)
    }
}

/// When a fault strikes. Rules are tried in the order in which they were injected; the first that strikes wins.
#[derive(Debug)]
pub struct Rule {
    route: Option<Route>,
    subject: Option<String>,
    skip: u64,
    left: Option<u64>,
    probability: f64,
    random: StdRng,
    faults: Vec<Fault>,
}

impl Rule {
    /// Strikes every request of this kind.
    pub fn on(route: Route, fault: impl Into<Fault>) -> Self {
        Self { route: Some(route), ..Self::anywhere(fault) }
    }

    /// Strikes every request, the token endpoint's included.
    pub fn anywhere(fault: impl Into<Fault>) -> Self {
        Self {
            route: None,
            subject: None,
            skip: 0,
            left: None,
            probability: 1.0,
            random: StdRng::seed_from_u64(0),
            faults: vec![fault.into()],
        }
    }

    /// Strikes every request of this kind with one of `faults`, drawn from a generator with this seed. A fault that is
    /// listed twice strikes twice as often; an empty list strikes nothing.
    pub fn one_of(route: Route, faults: Vec<Fault>, seed: u64) -> Self {
        Self { faults, random: StdRng::seed_from_u64(seed), ..Self::on(route, Fault::Hang) }
    }

    /// Only requests that concern this user (Sesamy) or this address (Mailmojo, in any letter case).
    pub fn about(self, subject: &str) -> Self {
        Self { subject: Some(subject.to_owned()), ..self }
    }

    /// Only `count` times; by default until the faults are cleared.
    pub fn times(self, count: u64) -> Self {
        Self { left: Some(count), ..self }
    }

    /// Not the first `count` requests that it would strike.
    pub fn after(self, count: u64) -> Self {
        Self { skip: count, ..self }
    }

    /// Only with this probability (0.0 to 1.0), drawn from a generator with this seed.
    pub fn chance(self, probability: f64, seed: u64) -> Self {
        Self { probability, random: StdRng::seed_from_u64(seed), ..self }
    }

    /// The fault that strikes a request, if any.
    fn strike(&mut self, target: &Target) -> Option<Fault> {
        if !target.matches(self.route, self.subject.as_deref()) || self.left == Some(0) {
            return None;
        }
        if self.skip > 0 {
            self.skip -= 1;
            return None;
        }
        if self.random.random::<f64>() >= self.probability {
            return None;
        }
        self.left = self.left.map(|left| left - 1);
        self.faults.choose(&mut self.random).cloned()
    }
}

/// The rules of one API, and how often each kind of fault has struck.
#[derive(Debug, Default)]
pub(super) struct Faults {
    rules: Mutex<Vec<Rule>>,
    struck: Mutex<BTreeMap<String, u64>>,
}

impl Faults {
    pub(super) fn add(&self, rule: Rule) {
        lock(&self.rules).push(rule);
    }

    pub(super) fn clear(&self) {
        lock(&self.rules).clear();
    }

    /// The fault that strikes a request, if any.
    pub(super) fn strike(&self, target: &Target) -> Option<Fault> {
        let fault = lock(&self.rules).iter_mut().find_map(|rule| rule.strike(target))?;
        *lock(&self.struck).entry(format!("{fault:?}")).or_default() += 1;
        Some(fault)
    }

    pub(super) fn struck(&self) -> BTreeMap<String, u64> {
        lock(&self.struck).clone()
    }
}
