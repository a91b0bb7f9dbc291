//! The desk in front of each pretended API: every request is logged, held at gates and spoiled by faults here, so that
//! the APIs themselves know nothing of it.

use std::collections::BTreeMap;
use std::future::pending;
use std::sync::{Arc, Mutex};
use std::time::{Duration, SystemTime};

use axum::body::Body as HttpBody;
use axum::http::{HeaderMap, HeaderValue, Method, Response, header};
use serde_json::{Value, json};

use super::call::{Api, Route};
use super::fault::{Answer, Fault, Rule, pick};
use super::gate::{Bar, Gate, Stage};
use super::hub::{Hub, InFlight, locked};
use super::reply::{Body, Reply, huge};
use super::wire::{Closed, Request};

/// Where a request is addressed to, and whom it is about.
#[derive(Debug)]
pub(super) struct Place {
    pub(super) route: Route,
    pub(super) subject: Option<String>,
    /// The list in the path, at Mailmojo.
    pub(super) list: Option<i64>,
}

impl Place {
    pub(super) fn new(route: Route, subject: Option<&str>) -> Self {
        Self { route, subject: subject.map(str::to_owned), list: None }
    }

    /// Whether it is about `subject`, letter case aside.
    pub(super) fn is_about(&self, subject: &str) -> bool {
        self.subject.as_deref().is_some_and(|own| own.to_lowercase() == subject.to_lowercase())
    }
}

/// One of the pretended APIs, as the desk sees it.
pub(super) trait Backend: Send + Sync + 'static {
    const API: Api;

    /// Says where the request is addressed to. Changes nothing.
    fn locate(&self, request: &Request) -> Place;

    /// Checks a request that will be kept from being done by a fault.
    fn look(&self, request: &Request, place: &Place);

    /// Checks the request, does it, and answers.
    fn answer(&self, request: &Request, place: &Place) -> Reply;

    /// Takes note of what the client is told: `json` of this `status`.
    fn told(&self, place: &Place, status: u16, json: Option<&Value>);

    /// A request under `/sandbox/`.
    fn control(&self, request: &Request) -> Reply;

    /// The API's own way of telling an error.
    fn error(status: u16, message: &str) -> Reply;
}

/// What the `Date` of an API's answers says.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub enum AnswerDate {
    /// What time it is.
    #[default]
    True,
    /// What time it is by a clock that is so many seconds ahead.
    Ahead(i64),
    /// This text.
    Text(String),
    /// Nothing: there is none.
    Absent,
}

impl AnswerDate {
    fn text(&self) -> Option<String> {
        let now = SystemTime::now();
        let shown = match self {
            Self::True => now,
            Self::Ahead(seconds) if *seconds < 0 => now - Duration::from_secs(seconds.unsigned_abs()),
            Self::Ahead(seconds) => now + Duration::from_secs(seconds.unsigned_abs()),
            Self::Text(text) => return Some(text.clone()),
            Self::Absent => return None,
        };
        Some(httpdate::fmt_http_date(shown))
    }
}

/// The faults and gates of one API.
#[derive(Debug, Default)]
pub(super) struct Trouble {
    dates: Mutex<AnswerDate>,
    rules: Mutex<Vec<Rule>>,
    struck: Mutex<BTreeMap<String, u64>>,
    bars: Mutex<Vec<Arc<Bar>>>,
}

impl Trouble {
    pub(super) fn add(&self, rule: Rule) {
        locked(&self.rules).push(rule);
    }

    pub(super) fn say(&self, dates: AnswerDate) {
        *locked(&self.dates) = dates;
    }

    /// Puts the date into the head of an answer.
    pub(super) fn date(&self, head: &mut HeaderMap) {
        let text = locked(&self.dates).text();
        if let Some(date) = text.and_then(|text| HeaderValue::try_from(text).ok()) {
            head.entry(header::DATE).or_insert(date);
        }
    }

    pub(super) fn clear(&self) {
        locked(&self.rules).clear();
    }

    /// `PUT /sandbox/faults/{subject}` lets every request about a user (Sesamy) or an address (Mailmojo) fail, with the
    /// `status` (422 if not given) and the `message` of its JSON; `DELETE /sandbox/faults` forgets all rules.
    fn control(&self, request: &Request) -> Option<Reply> {
        match (request.path().as_slice(), &request.method) {
            (["sandbox", "faults", subject], &Method::PUT) => {
                let field = |name: &str| request.json.as_ref().and_then(|json| json.get(name));
                let status = field("status").and_then(Value::as_u64).and_then(|it| u16::try_from(it).ok());
                let status = status.filter(|status| (400..=599).contains(status)).unwrap_or(422);
                let mut answer = Fault::status(status);
                if let Some(message) = field("message").and_then(Value::as_str) {
                    answer = answer.message(message);
                }
                self.add(Rule::anywhere(answer).about(subject));
                Some(Reply::json(200, json!({"status": status})))
            }
            (["sandbox", "faults"], &Method::DELETE) => {
                self.clear();
                Some(Reply::json(200, json!({})))
            }
            _ => None,
        }
    }

    /// The fault that strikes at `place`, if any does.
    fn strike(&self, place: &Place) -> Option<Fault> {
        let fault = pick(&mut locked(&self.rules), place)?;
        *locked(&self.struck).entry(format!("{fault:?}")).or_default() += 1;
        Some(fault)
    }

    /// How often each kind of fault has struck so far.
    pub(super) fn struck(&self) -> BTreeMap<String, u64> {
        locked(&self.struck).clone()
    }

    pub(super) fn hold(&self, route: Route, subject: Option<&str>, stage: Stage) -> Gate {
        let bar = Arc::new(Bar::new(route, subject.map(str::to_owned), stage));
        locked(&self.bars).push(Arc::clone(&bar));
        Gate(bar)
    }

    async fn pass(&self, stage: Stage, place: &Place) {
        let closed: Vec<_> = {
            let mut bars = locked(&self.bars);
            bars.retain(|bar| !bar.is_open());
            bars.iter().filter(|bar| bar.stops(stage, place)).cloned().collect()
        };
        for bar in closed {
            bar.pass().await;
        }
    }
}

/// The desk in front of one API.
pub(super) struct Desk<B> {
    pub(super) hub: Arc<Hub>,
    pub(super) trouble: Arc<Trouble>,
    pub(super) backend: Arc<B>,
}

/// How an answer leaves the house.
enum Delivery {
    Whole(Reply),
    Cut(Reply),
    BrokenOff(Reply),
    Dripping(Reply, Duration),
    Huge(usize),
    Closed,
}

impl<B: Backend> Desk<B> {
    pub(super) async fn serve(&self, request: Request) -> Result<Response<HttpBody>, Closed> {
        let place = self.backend.locate(&request);
        if place.route == Route::Control {
            let reply = self.trouble.control(&request).unwrap_or_else(|| self.backend.control(&request));
            self.hub.ring();
            return Ok(reply.whole());
        }
        let mut flight = self.hub.take_off(B::API, &place, &request);
        self.trouble.pass(Stage::Request, &place).await;
        if !self.hub.latency.is_zero() {
            tokio::time::sleep(self.hub.latency).await;
        }
        let fault = self.trouble.strike(&place);
        if let Some(Fault::AfterLeaving(after)) = fault {
            let _stuck =
                Stuck { backend: Arc::clone(&self.backend), what: Some((request, place, flight)), after };
            return pending().await; // until the client goes away, which drops all this
        }
        let is_true = matches!(fault, None | Some(Fault::Delay(_)));
        let delivery = self.perform(&request, &place, fault).await;
        if let Delivery::Whole(reply) = &delivery
            && is_true
            && B::API == Api::Mailmojo
        {
            flight.keep_answer(reply.as_json());
        }
        self.trouble.pass(Stage::Answer, &place).await;
        self.deliver(delivery, &place, flight)
    }

    async fn perform(&self, request: &Request, place: &Place, fault: Option<Fault>) -> Delivery {
        match fault {
            None => Delivery::Whole(self.backend.answer(request, place)),
            Some(Fault::Delay(by)) => {
                tokio::time::sleep(by).await;
                Delivery::Whole(self.backend.answer(request, place))
            }
            Some(undone @ (Fault::Answer(_) | Fault::Hang | Fault::Close | Fault::Huge(_))) => {
                self.backend.look(request, place);
                spoil::<B>(undone, None).await
            }
            Some(Fault::Done(fault)) => spoil::<B>(*fault, Some(self.backend.answer(request, place))).await,
            Some(fault) => spoil::<B>(fault, Some(self.backend.answer(request, place))).await,
        }
    }

    fn deliver(
        &self,
        delivery: Delivery,
        place: &Place,
        flight: InFlight,
    ) -> Result<Response<HttpBody>, Closed> {
        if let Delivery::Whole(reply) | Delivery::Dripping(reply, _) = &delivery {
            self.backend.told(place, reply.status, reply.as_json());
        }
        let (status, response) = match delivery {
            Delivery::Dripping(reply, pause) => return Ok(reply.dripping(pause, flight)),
            Delivery::Whole(reply) => (reply.status, reply.whole()),
            Delivery::Cut(reply) => (reply.status, reply.cut()),
            Delivery::BrokenOff(reply) => (reply.status, reply.broken_off()),
            Delivery::Huge(size) => (200, huge(size)),
            Delivery::Closed => {
                flight.answered(None);
                return Err(Closed);
            }
        };
        flight.answered(Some(status));
        Ok(response)
    }
}

/// A request that is stuck on its way until its client has gone away.
struct Stuck<B: Backend> {
    backend: Arc<B>,
    what: Option<(Request, Place, InFlight)>,
    after: Duration,
}

impl<B: Backend> Drop for Stuck<B> {
    fn drop(&mut self) {
        let Some((request, place, flight)) = self.what.take() else { return };
        let (backend, after) = (Arc::clone(&self.backend), self.after);
        // Without a runtime the sandbox itself is at its end.
        if let Ok(runtime) = tokio::runtime::Handle::try_current() {
            runtime.spawn(async move {
                tokio::time::sleep(after).await;
                backend.answer(&request, &place);
                flight.answered(None);
            });
        }
    }
}

/// What becomes of `genuine`, the answer to a request that was done, or of none.
async fn spoil<B: Backend>(fault: Fault, genuine: Option<Reply>) -> Delivery {
    let genuine = genuine.unwrap_or_else(|| Reply::new(200, Body::Empty));
    match fault {
        Fault::Answer(answer) => Delivery::Whole(Answer::reply(&answer, B::error)),
        Fault::Hang | Fault::AfterLeaving(_) => pending().await,
        Fault::Close => Delivery::Closed,
        Fault::Huge(size) => Delivery::Huge(size),
        Fault::Delay(by) => {
            tokio::time::sleep(by).await;
            Delivery::Whole(genuine)
        }
        Fault::CutJson => Delivery::Cut(genuine),
        Fault::CutConnection => Delivery::BrokenOff(genuine),
        Fault::Drip(pause) => Delivery::Dripping(genuine, pause),
        Fault::Edit(edit) => {
            let mut edited = genuine;
            if let Body::Json(json) = &mut edited.body {
                (edit.0)(json);
            }
            Delivery::Whole(edited)
        }
        // Done once is done: what is inside strikes the same answer.
        Fault::Done(fault) => Box::pin(spoil::<B>(*fault, Some(genuine))).await,
    }
}
