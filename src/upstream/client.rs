//! One call to an API, with everything that a call needs: a token, its turn, a time limit, a judgement.

use std::fmt;
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};

use reqwest::header::{ACCEPT, HeaderMap};
use reqwest::{Method, StatusCode, Url};
use secrecy::ExposeSecret;
use serde::de::DeserializeOwned;
use serde_json::Value;

use super::answer::{Verdict, date, has_error, judge, read_limited};
use super::circuit_breaker::OpenReason;
use super::error_body::Said;
use super::gate::Gate;
use super::http::{ClientError, client, describe};
use super::pace::{Meter, NoTurn, Pace};
use super::token::{Credentials, Token, Tokens};
use super::{Api, Attempt, Class, Failure};
use crate::clock::Clock;
use crate::telemetry;

/// What an [`Upstream`] is made of.
#[derive(Debug)]
pub struct Options {
    /// The API's address; paths are put behind it.
    pub base: Url,
    /// How to prove who we are.
    pub credentials: Credentials,
    /// Who keeps the account of calls.
    pub meter: Arc<dyn Meter>,
    /// The meter's time.
    pub clock: Clock,
    /// The limit of one call, from sending to the last byte of the answer.
    pub request_timeout: Duration,
    /// What this process knows of the API's circuit.
    pub gate: Arc<Gate>,
    /// The published names of fields that an error may complain of; no other name is logged or kept.
    pub field_names: &'static [&'static str],
}

/// One of the two APIs, as its client uses it.
#[derive(Debug)]
pub struct Upstream {
    api: Api,
    base: String,
    origin: String,
    http: reqwest::Client,
    tokens: Tokens,
    pace: Pace,
    gate: Arc<Gate>,
    request_timeout: Duration,
    field_names: &'static [&'static str],
}

/// What to ask.
#[derive(Debug)]
pub struct Call {
    /// `GET`, `POST` or `PATCH`; all but `GET` are writes.
    pub method: Method,
    /// The path's template, for metrics: no id in it.
    pub route: &'static str,
    /// Path and query, every segment percent-encoded.
    pub path: String,
    /// The body of a write.
    pub body: Option<Value>,
}

/// An answer that is no failure.
#[derive(Debug)]
pub enum Answer {
    /// 2xx, with its body.
    Found(Body),
    /// 404 with JSON.
    NotFound,
}

/// The body of an answer. `Debug` shows its length alone.
pub struct Body {
    api: Api,
    bytes: Vec<u8>,
}

impl fmt::Debug for Body {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Body({}, {} bytes)", self.api, self.bytes.len())
    }
}

impl Body {
    /// A body that came from nowhere, for [`crate::properties`].
    #[cfg(any(test, fuzzing))]
    pub(crate) fn of(api: Api, bytes: &[u8]) -> Self {
        Self { api, bytes: bytes.to_vec() }
    }

    /// The body as a `T`.
    ///
    /// # Errors
    /// A transient [`Failure`] with line and column, which quotes nothing, where it is not JSON or not a `T`.
    pub fn read<T: DeserializeOwned>(&self) -> Result<T, Failure> {
        serde_json::from_slice(&self.bytes).map_err(|error| {
            let (line, column) = (error.line(), error.column());
            let what = if error.is_data() { "not of the published types" } else { "not JSON" };
            Failure::wrong_shape(self.api, &format!("{what}, at line {line}, column {column}"))
        })
    }
}

/// A whole answer, before it is judged.
struct Reply {
    status: StatusCode,
    headers: HeaderMap,
    body: Vec<u8>,
}

impl Upstream {
    /// Sets up the client of one API; makes no call.
    ///
    /// # Errors
    /// [`ClientError`] where HTTPS cannot be set up.
    pub fn new(options: Options) -> Result<Self, ClientError> {
        let http = client(&options.base, options.request_timeout)?;
        let token_http = match &options.credentials {
            Credentials::Client { token_url, .. } => client(token_url, options.request_timeout)?,
            Credentials::Token(_) => http.clone(),
        };
        Ok(Self {
            api: options.gate.api(),
            base: options.base.as_str().trim_end_matches('/').to_owned(),
            origin: options.base.origin().ascii_serialization(),
            http,
            tokens: Tokens::new(
                options.credentials,
                token_http,
                options.request_timeout,
                options.gate.clone(),
            ),
            pace: Pace::new(options.gate.api(), options.meter, options.clock),
            gate: options.gate,
            request_timeout: options.request_timeout,
            field_names: options.field_names,
        })
    }

    /// Scheme, host and port of the API.
    pub(crate) fn origin(&self) -> &str {
        &self.origin
    }

    /// Makes one call; a second one with a new token where the first is answered 401 and the token can be renewed.
    ///
    /// # Errors
    /// [`Failure`], whose class says what follows. Where the answer asks to stay away, this process makes no further call by then.
    pub async fn call(&self, call: &Call, attempt: &Attempt) -> Result<Answer, Failure> {
        let (reply, token) = self.reply(call, attempt).await?;
        let answer = self.conclude(call, reply, &token)?;
        attempt.note_answer(self.api);
        Ok(answer)
    }

    /// Like [`call`](Self::call), for optional look-ups: a permanent refusal yields `None` and does not open the circuit.
    ///
    /// # Errors
    /// [`Failure`], where it may be answered another time.
    pub async fn call_if_allowed(&self, call: &Call, attempt: &Attempt) -> Result<Option<Answer>, Failure> {
        let (reply, token) = self.reply(call, attempt).await?;
        match judge(reply.status, &reply.headers, &reply.body, SystemTime::now()) {
            Verdict::Unauthorized | Verdict::Forbidden | Verdict::WrongPlace | Verdict::Permanent => Ok(None),
            Verdict::Success | Verdict::NotFound | Verdict::RateLimited(_) | Verdict::Transient => {
                let answer = self.conclude(call, reply, &token)?;
                attempt.note_answer(self.api);
                Ok(Some(answer))
            }
        }
    }

    async fn reply(&self, call: &Call, attempt: &Attempt) -> Result<(Reply, Token), Failure> {
        let mut token = self.tokens.get(None, attempt).await?;
        let mut reply = self.exchange(call, &token, attempt).await?;
        if reply.status == StatusCode::UNAUTHORIZED && self.tokens.renewable() {
            token = self.tokens.get(Some(&token), attempt).await?;
            reply = self.exchange(call, &token, attempt).await?;
        }
        Ok((reply, token))
    }

    /// Waits for its turn, sends, and reads the whole answer.
    async fn exchange(&self, call: &Call, token: &Token, attempt: &Attempt) -> Result<Reply, Failure> {
        let transient = |text: String| Failure::new(self.api, Class::Transient, text);
        let no_time = || transient(format!("no time is left for {} {}", call.method, call.route));
        self.pace.wait(attempt).await.map_err(|why| match why {
            NoTurn::NoTimeLeft => no_time(),
            NoTurn::NoMeter(why) => transient(format!("cannot tell whether a call may be made: {why}")),
        })?;
        let is_write = call.method != Method::GET;
        // The circuit may have opened while this call waited for its turn.
        if is_write && !attempt.has_written() {
            self.gate.admit_write(self.request_timeout).await?;
        } else {
            self.gate.admit().await?;
        }

        let left = attempt.left();
        if left.is_zero() || (is_write && left < self.request_timeout) {
            return Err(no_time());
        }
        let mut request = self
            .http
            .request(call.method.clone(), format!("{}{}", self.base, call.path))
            .bearer_auth(token.secret.expose_secret())
            .header(ACCEPT, "application/json")
            .timeout(self.request_timeout.min(left));
        if let Some(body) = &call.body {
            request = request.json(body);
        }

        let started = Instant::now();
        attempt.set_writing(is_write);
        let reply = send(request).await;
        let is_late = is_write && reply.as_ref().is_err_and(|error| error.is_late);
        attempt.set_writing(is_late);
        if is_late {
            attempt.set_late();
        }
        if let Some(time) = reply.as_ref().ok().and_then(|reply| date(&reply.headers)) {
            attempt.note_time(self.api, time);
        }
        let status = reply.as_ref().ok().map(|reply| reply.status.as_u16());
        telemetry::upstream_called(self.api.as_str(), call.route, status, started.elapsed());
        reply.map_err(|error| transient(format!("{} {}: {}", call.method, call.route, error.text)))
    }

    fn conclude(&self, call: &Call, reply: Reply, token: &Token) -> Result<Answer, Failure> {
        let verdict = judge(reply.status, &reply.headers, &reply.body, SystemTime::now());
        let status = reply.status.as_u16();
        let mut text = format!("{} {} was answered {status}", call.method, call.route);
        let class = match verdict {
            Verdict::Success if has_error(&reply.body) => {
                text.push_str(" with an error in it");
                Class::Transient
            }
            Verdict::Success => return Ok(Answer::Found(Body { api: self.api, bytes: reply.body })),
            Verdict::NotFound => return Ok(Answer::NotFound),
            Verdict::Unauthorized | Verdict::Forbidden => Class::Refused(OpenReason::Credentials),
            Verdict::WrongPlace => Class::Refused(OpenReason::Configuration),
            Verdict::RateLimited(asked) => Class::RateLimited(asked),
            Verdict::Transient => Class::Transient,
            Verdict::Permanent => Class::Permanent,
        };
        self.gate.hold(class);
        let said = Said::in_body(&reply.body, self.field_names, &[token.secret.expose_secret()]);
        Err(Failure::new(self.api, class, text).with_status(status).with_said(said))
    }
}

/// Why there is no reply.
struct NoReply {
    text: String,
    /// Whether time was up while the API had the request: it may be at it still.
    is_late: bool,
}

async fn send(request: reqwest::RequestBuilder) -> Result<Reply, NoReply> {
    let response = request.send().await.map_err(|error| NoReply {
        text: describe(&error),
        is_late: error.is_timeout() && !error.is_connect(),
    })?;
    let (status, headers) = (response.status(), response.headers().clone());
    match read_limited(response).await {
        Ok(body) => Ok(Reply { status, headers, body }),
        // It was answered, so whatever it did is done.
        Err(text) => Err(NoReply { text, is_late: false }),
    }
}
