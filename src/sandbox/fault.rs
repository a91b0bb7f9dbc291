//! Faults: what the pretended APIs do wrong on purpose, and when.

use std::fmt;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};
use serde_json::Value;

use super::call::Route;
use super::desk::Place;
use super::reply::{Body, Reply};

/// What goes wrong.
#[derive(Clone)]
pub enum Fault {
    /// Nothing is done; this is the answer.
    Answer(Answer),
    /// Nothing is done, and there is never an answer.
    Hang,
    /// Nothing is done, and the connection is closed without an answer.
    Close,
    /// Nothing is done; the answer is a `200` with a JSON string of so many bytes.
    Huge(usize),
    /// All as usual, after this time.
    Delay(Duration),
    /// The request is done; its answer's JSON ends in the middle, in a complete HTTP answer.
    CutJson,
    /// The request is done; the connection is closed in the middle of its answer.
    CutConnection,
    /// The request is done; its answer comes a byte at a time, with this time before each.
    Drip(Duration),
    /// The request is done; the JSON of its answer is changed by this.
    Edit(Edit),
    /// The request is done, and only then the fault strikes: a write whose answer is lost.
    Done(Box<Fault>),
    /// There is never an answer. So long after the client has gone away, the request is done all the same: a write that
    /// was stuck on its way. Until then it counts as in flight.
    AfterLeaving(Duration),
}

/// Changes the JSON of an answer.
#[derive(Clone)]
pub struct Edit(pub(super) Arc<dyn Fn(&mut Value) + Send + Sync>);

impl fmt::Debug for Fault {
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
    /// An answer with `status`, in the shape of the API's errors; `Answer`'s methods change it.
    #[must_use]
    pub fn status(status: u16) -> Answer {
        Answer { status, headers: Vec::new(), body: AnswerBody::ApiError("made to fail".into()) }
    }

    /// A `200` with this JSON instead of the true one.
    #[must_use]
    pub fn wrong_shape(json: Value) -> Self {
        Self::status(200).json(json).into()
    }

    /// The true answer, after `edit` has changed its JSON.
    #[must_use]
    pub fn edit(edit: impl Fn(&mut Value) + Send + Sync + 'static) -> Self {
        Self::Edit(Edit(Arc::new(edit)))
    }

    /// The request is done, and then `fault` strikes.
    #[must_use]
    pub fn done_then(fault: impl Into<Self>) -> Self {
        Self::Done(Box::new(fault.into()))
    }

    /// A `429` that says as `hint` does when to come again.
    #[must_use]
    pub fn too_many_requests(hint: ComeAgain) -> Self {
        let answer = Self::status(429).message("too many requests");
        match hint {
            ComeAgain::Seconds(seconds) => answer.header("Retry-After", &seconds.to_string()).into(),
            ComeAgain::Date(date) => answer.header("Retry-After", &httpdate::fmt_http_date(date)).into(),
            ComeAgain::InBody(seconds) => answer
                .json(serde_json::json!({"error": {"code": "rate_limit_exceeded",
                    "message": "Too many requests", "retry_after": seconds}}))
                .into(),
            ComeAgain::Reset(unix_seconds) => answer
                .header("X-RateLimit-Remaining", "0")
                .header("X-RateLimit-Reset", &unix_seconds.to_string())
                .into(),
            ComeAgain::Unsaid => answer.into(),
        }
    }
}

/// How a `429` tells when to come again.
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
pub struct Answer {
    pub(super) status: u16,
    headers: Vec<(String, String)>,
    body: AnswerBody,
}

#[derive(Debug, Clone)]
enum AnswerBody {
    ApiError(String),
    Plain(Body),
}

impl Answer {
    /// Puts a header beside it. A name or value that HTTP does not allow is left out.
    #[must_use]
    pub fn header(mut self, name: &str, value: &str) -> Self {
        self.headers.push((name.to_owned(), value.to_owned()));
        self
    }

    /// The message of the API's error object.
    #[must_use]
    pub fn message(mut self, message: &str) -> Self {
        self.body = AnswerBody::ApiError(message.to_owned());
        self
    }

    /// This JSON as the body.
    #[must_use]
    pub fn json(mut self, json: Value) -> Self {
        self.body = AnswerBody::Plain(Body::Json(json));
        self
    }

    /// A page of HTML as the body.
    #[must_use]
    pub fn html(mut self) -> Self {
        let page = format!("<!doctype html><title>{0}</title><h1>{0}</h1>\n", self.status);
        let content_type = "text/html; charset=utf-8";
        self.body = AnswerBody::Plain(Body::Text { content_type, text: page.into() });
        self
    }

    /// This text as the body, called JSON whether it is or not.
    #[must_use]
    pub fn text(self, text: &str) -> Self {
        self.bytes(text.as_bytes())
    }

    /// The same for what need not be text.
    #[must_use]
    pub fn bytes(mut self, bytes: &[u8]) -> Self {
        let text = bytes.to_vec().into();
        self.body = AnswerBody::Plain(Body::Text { content_type: "application/json", text });
        self
    }

    /// No body.
    #[must_use]
    pub fn empty(mut self) -> Self {
        self.body = AnswerBody::Plain(Body::Empty);
        self
    }

    pub(super) fn reply(&self, error: fn(u16, &str) -> Reply) -> Reply {
        let mut reply = match &self.body {
            AnswerBody::ApiError(message) => error(self.status, message),
            AnswerBody::Plain(body) => Reply::new(self.status, body.clone()),
        };
        reply.headers.extend(self.headers.iter().cloned());
        reply
    }
}

impl From<Answer> for Fault {
    fn from(answer: Answer) -> Self {
        Self::Answer(answer)
    }
}

/// When a fault strikes. Rules are tried in the order in which they were given; the first that strikes is the one.
#[derive(Debug)]
pub struct Rule {
    route: Option<Route>,
    subject: Option<String>,
    skip: u64,
    left: Option<u64>,
    chance: Option<(f64, StdRng)>,
    faults: Vec<Fault>,
    draw: Option<StdRng>,
}

impl Rule {
    /// Strikes every request of this kind.
    #[must_use]
    pub fn on(route: Route, fault: impl Into<Fault>) -> Self {
        Self { route: Some(route), ..Self::anywhere(fault) }
    }

    /// Strikes every request, the token endpoint's included.
    #[must_use]
    pub fn anywhere(fault: impl Into<Fault>) -> Self {
        Self {
            route: None,
            subject: None,
            skip: 0,
            left: None,
            chance: None,
            faults: vec![fault.into()],
            draw: None,
        }
    }

    /// Strikes every request of this kind, each time with one of `faults`, drawn from a generator with this seed. One
    /// that is there twice comes twice as often; without any, nothing goes wrong.
    #[must_use]
    pub fn one_of(route: Route, faults: Vec<Fault>, seed: u64) -> Self {
        Self { faults, draw: Some(StdRng::seed_from_u64(seed)), ..Self::on(route, Fault::Hang) }
    }

    /// Only what is about this user (Sesamy) or this address (Mailmojo, in any letter case).
    #[must_use]
    pub fn about(mut self, subject: &str) -> Self {
        self.subject = Some(subject.to_owned());
        self
    }

    /// Only `count` times; without it until the faults are cleared.
    #[must_use]
    pub fn times(mut self, count: u64) -> Self {
        self.left = Some(count);
        self
    }

    /// Not the first `count` requests that it would strike.
    #[must_use]
    pub fn after(mut self, count: u64) -> Self {
        self.skip = count;
        self
    }

    /// Only with this probability (0.0 to 1.0), drawn from a generator with this seed.
    #[must_use]
    pub fn chance(mut self, probability: f64, seed: u64) -> Self {
        self.chance = Some((probability, StdRng::seed_from_u64(seed)));
        self
    }

    fn matches(&self, place: &Place) -> bool {
        self.route.is_none_or(|route| route == place.route)
            && self.subject.as_deref().is_none_or(|subject| place.is_about(subject))
            && self.left != Some(0)
    }

    fn strikes(&mut self) -> bool {
        if self.skip > 0 {
            self.skip -= 1;
            return false;
        }
        if let Some((probability, rng)) = &mut self.chance
            && rng.random::<f64>() >= *probability
        {
            return false;
        }
        self.left = self.left.map(|left| left.saturating_sub(1));
        true
    }

    fn fault(&mut self) -> Option<Fault> {
        let at = match &mut self.draw {
            Some(rng) if self.faults.len() > 1 => rng.random_range(..self.faults.len()),
            _ => 0,
        };
        self.faults.get(at).cloned()
    }
}

/// The fault of the first rule that strikes at `place`.
pub(super) fn pick(rules: &mut [Rule], place: &Place) -> Option<Fault> {
    rules.iter_mut().find_map(|rule| (rule.matches(place) && rule.strikes()).then(|| rule.fault())?)
}
