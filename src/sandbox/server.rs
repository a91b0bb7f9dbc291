//! A mock server: what both mock APIs share. Each request is recorded, held, spoiled by faults, paced and authenticated
//! here, so that an API is only its state and its routes.

use std::collections::BTreeMap;
use std::fmt;
use std::future::pending;
use std::io;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use axum::body::Body as HttpBody;
use axum::http::{Method, Response};
use serde_json::{Value, json};
use tokio::net::TcpListener;
use tokio::sync::oneshot;
use tokio_util::sync::CancellationToken;

use super::faults::{Fault, Faults, Rule};
use super::finding::{Finding, FindingKind};
use super::hold::{Hold, Holds, Stage};
use super::http::{Closed, Request, serve};
use super::rate_limit::{Bucket, RateLimit};
use super::recorder::{Flight, Recorder, lock};
use super::reply::{AnswerDate, Body, Delivery, Reply};
use super::target::{Api, Route, Target};
use super::tokens::Tokens;

/// One of the mock APIs: its state and its routes.
pub trait MockApi: fmt::Debug + Send + 'static {
    /// Which one it is.
    const API: Api;

    /// The API as it is at first.
    fn new() -> Self;

    /// The client and the token that are accepted from the start.
    fn tokens() -> Tokens;

    /// Where a request goes.
    fn target(request: &Request) -> Target;

    /// The answer to a request for a path that the API does not have, or not in this spelling.
    fn misdirected(request: &Request, target: &Target) -> Option<Reply>;

    /// The scope that a request needs.
    fn scope(_route: Route) -> Option<&'static str> {
        None
    }

    /// What is wrong with a request, whether it will be `done` or not.
    fn audit(&mut self, _request: &Request, _target: &Target, _done: bool) -> Vec<Finding> {
        Vec::new()
    }

    /// Does a request. The findings are about what it has changed.
    fn answer(&mut self, request: &Request, target: &Target) -> (Reply, Vec<Finding>);

    /// Notes what the client learns from an answer.
    fn answered(&mut self, _target: &Target, _status: u16, _json: Option<&Value>) {}

    /// Answers a request to the API's own paths under `/sandbox/`.
    fn control(&mut self, request: &Request) -> Reply;

    /// An error in the API's shape.
    fn error(status: u16, message: &str) -> Reply;
}

/// A mock API that listens on 127.0.0.1.
#[derive(Debug)]
pub struct MockServer<A> {
    url: String,
    latency: Duration,
    recorder: Arc<Recorder>,
    faults: Faults,
    holds: Holds,
    date: Mutex<AnswerDate>,
    state: Mutex<ServerState<A>>,
}

#[derive(Debug)]
struct ServerState<A> {
    api: A,
    tokens: Tokens,
    limit: Option<Bucket>,
}

impl<A: MockApi> MockServer<A> {
    /// Listens on any free port until `stop`.
    pub(super) async fn start(
        latency: Duration,
        recorder: &Arc<Recorder>,
        stop: &CancellationToken,
    ) -> io::Result<Arc<Self>> {
        let listener = TcpListener::bind(("127.0.0.1", 0)).await?;
        let server = Arc::new(Self {
            url: format!("http://{}", listener.local_addr()?),
            latency,
            recorder: Arc::clone(recorder),
            faults: Faults::default(),
            holds: Holds::default(),
            date: Mutex::default(),
            state: Mutex::new(ServerState { api: A::new(), tokens: A::tokens(), limit: None }),
        });
        let responder = Arc::clone(&server);
        tokio::spawn(serve(listener, stop.clone(), move |request| {
            let server = Arc::clone(&responder);
            async move {
                let mut response = server.respond(request).await?;
                lock(&server.date).add_to(&mut response);
                Ok(response)
            }
        }));
        Ok(server)
    }

    /// The API's base, without a slash at its end.
    pub fn url(&self) -> &str {
        &self.url
    }

    /// Adds a rule of what goes wrong.
    pub fn inject(&self, rule: Rule) {
        self.faults.add(rule);
    }

    /// Removes all rules of what goes wrong.
    pub fn clear_faults(&self) {
        self.faults.clear();
    }

    /// How often each kind of fault has struck so far.
    pub fn faults(&self) -> BTreeMap<String, u64> {
        self.faults.struck()
    }

    /// Holds requests of this kind, before they are done, until the hold is released or dropped.
    pub fn hold(&self, route: Route) -> Hold {
        self.holds.add(route, None, Stage::Request)
    }

    /// Like [`MockServer::hold`], but only requests about one user (Sesamy) or one address (Mailmojo).
    pub fn hold_for(&self, route: Route, subject: &str) -> Hold {
        self.holds.add(route, Some(subject), Stage::Request)
    }

    /// Holds the answers to requests of this kind, which are done by then.
    pub fn hold_answer(&self, route: Route) -> Hold {
        self.holds.add(route, None, Stage::Answer)
    }

    /// How many requests of this kind have ended since the last `clear_calls`.
    pub fn count(&self, route: Route) -> u64 {
        self.recorder.records().counts.get(&(A::API, route)).copied().unwrap_or(0)
    }

    /// Enforces a rate limit from now on, with a full burst; `None` ends it.
    pub fn enforce(&self, limit: Option<RateLimit>) {
        lock(&self.state).limit = limit.map(|limit| Bucket::new(limit, Instant::now()));
    }

    /// What the `Date` of each answer says from now on.
    pub fn say_date(&self, date: AnswerDate) {
        *lock(&self.date) = date;
    }

    /// How long the tokens are valid that are issued from now on.
    pub fn set_token_life(&self, life: Duration) {
        self.tokens(|tokens| tokens.expires_in = life);
    }

    /// Revokes one token.
    pub fn revoke_token(&self, token: &str) {
        self.tokens(|tokens| tokens.revoke(token));
    }

    /// Revokes every token that the token endpoint issued.
    pub fn revoke_issued_tokens(&self) {
        self.tokens(Tokens::revoke_issued);
    }

    /// How many tokens the token endpoint has issued.
    pub fn tokens_issued(&self) -> u64 {
        self.tokens(|tokens| tokens.issued())
    }

    pub(super) fn tokens<R>(&self, change: impl FnOnce(&mut Tokens) -> R) -> R {
        change(&mut lock(&self.state).tokens)
    }

    pub(super) fn read<R>(&self, read: impl FnOnce(&A) -> R) -> R {
        read(&lock(&self.state).api)
    }

    pub(super) fn change<R>(&self, change: impl FnOnce(&mut A) -> R) -> R {
        let result = change(&mut lock(&self.state).api);
        self.recorder.notify();
        result
    }

    async fn respond(self: &Arc<Self>, request: Request) -> Result<Response<HttpBody>, Closed> {
        let target = A::target(&request);
        if target.route == Route::Control {
            let reply = self.control(&request);
            self.recorder.notify();
            return Ok(reply.into_response());
        }
        let mut flight = self.recorder.begin(A::API, &target, &request);
        self.holds.pass(Stage::Request, &target).await;
        if !self.latency.is_zero() {
            tokio::time::sleep(self.latency).await;
        }
        let fault = self.faults.strike(&target);
        if let Some(Fault::AfterLeaving(after)) = fault {
            let (_client, gone) = oneshot::channel::<()>();
            tokio::spawn(Arc::clone(self).perform_late(request, target, flight, gone, after));
            return pending().await; // until the client goes away, which drops its end of the channel
        }
        let outcome = self.perform(&request, &target, fault, &mut flight).await;
        self.holds.pass(Stage::Answer, &target).await;
        let Some((reply, delivery)) = outcome else {
            flight.answered(None);
            return Err(Closed);
        };
        if matches!(delivery, Delivery::Whole | Delivery::Dripping(_)) {
            lock(&self.state).api.answered(&target, reply.status, reply.as_json());
        }
        Ok(reply.send(delivery, flight))
    }

    /// Does the request as far as `fault` lets it; `None` closes the connection.
    async fn perform(
        &self,
        request: &Request,
        target: &Target,
        mut fault: Option<Fault>,
        flight: &mut Flight,
    ) -> Option<(Reply, Delivery)> {
        if let Some(Fault::Delay(by)) = fault {
            tokio::time::sleep(by).await;
            fault = None;
        }
        let Some(fault) = fault else {
            let reply = self.answer(request, target);
            // Not Sesamy's: its lists name many users, and a kept call should name only the user that it concerns.
            if A::API == Api::Mailmojo {
                flight.keep_answer(reply.as_json());
            }
            return Some((reply, Delivery::Whole));
        };
        let reply = if fault.prevents() {
            self.audit(&mut lock(&self.state).api, request, target, false);
            Reply::new(200, Body::Empty)
        } else {
            self.answer(request, target)
        };
        fault.spoil(reply, A::error).await
    }

    /// Does a request that was stuck on its way, `after` its client is `gone`.
    async fn perform_late(
        self: Arc<Self>,
        request: Request,
        target: Target,
        flight: Flight,
        gone: oneshot::Receiver<()>,
        after: Duration,
    ) {
        // Always an error, as nothing is ever sent.
        let _ = gone.await;
        tokio::time::sleep(after).await;
        self.answer(&request, &target);
        flight.answered(None);
    }

    fn audit(&self, api: &mut A, request: &Request, target: &Target, done: bool) {
        let findings = if target.route == Route::Unknown {
            let Request { method, path_and_query, .. } = request;
            let text = format!("{method} {path_and_query} is no request that {} knows", A::API);
            vec![Finding::new(FindingKind::UnknownPath, text)]
        } else {
            api.audit(request, target, done)
        };
        self.recorder.records().findings.extend(findings);
    }

    /// Checks the request, does it, and answers.
    fn answer(&self, request: &Request, target: &Target) -> Reply {
        let now = Instant::now();
        let ServerState { api, tokens, limit } = &mut *lock(&self.state);
        if let Some(reply) = A::misdirected(request, target) {
            self.audit(api, request, target, false);
            return reply;
        }
        if target.route == Route::Token {
            self.audit(api, request, target, true);
            return tokens.answer(request, now);
        }
        let wait = limit.as_mut().and_then(|bucket| bucket.take(now).err());
        let too_many = limit.as_ref().and_then(|bucket| Some(bucket.refuse(wait?)));
        let refusal = too_many.or_else(|| {
            let (status, message) = tokens.check(request, A::scope(target.route), now).err()?;
            Some(A::error(status, &message))
        });
        self.audit(api, request, target, refusal.is_none());
        let reply = refusal.unwrap_or_else(|| {
            let (reply, findings) = api.answer(request, target);
            self.recorder.records().findings.extend(findings);
            reply
        });
        match limit {
            Some(bucket) => bucket.label(reply, wait.unwrap_or_default()),
            None => reply,
        }
    }

    /// Answers a request under `/sandbox/`, which needs no token.
    fn control(&self, request: &Request) -> Reply {
        match (request.path().as_slice(), &request.method) {
            (["sandbox", "findings"], &Method::GET) => {
                let findings = self.recorder.findings();
                Reply::json(200, findings.iter().map(ToString::to_string).collect())
            }
            (["sandbox", "faults", subject], &Method::PUT) => {
                let field = |name: &str| request.json.as_ref().and_then(|json| json.get(name));
                let status = field("status").and_then(Value::as_u64);
                let status = status.filter(|status| (400..=599).contains(status)).unwrap_or(422) as u16;
                let mut answer = Fault::status(status);
                if let Some(message) = field("message").and_then(Value::as_str) {
                    answer = answer.message(message);
                }
                self.inject(Rule::anywhere(answer).about(subject));
                Reply::json(200, json!({"status": status}))
            }
            (["sandbox", "faults"], &Method::DELETE) => {
                self.clear_faults();
                Reply::json(200, json!({}))
            }
            _ => lock(&self.state).api.control(request),
        }
    }
}
