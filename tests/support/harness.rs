//! The stage of every story: the real binary in a process of its own, a real queue file, and the sandbox's two APIs.
//!
//! Nothing sleeps to be safe. A story waits for a line of the service's log, for a state of the sandbox, or for the
//! queue's file to say that nothing is left to do, and each wait has an end that fails the story.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::{ExitStatus, Stdio};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use reqwest::StatusCode;
use serde_json::{Value, json};
use sesamy_mailmojo::sandbox::{Contact, Mailmojo, Sandbox, Sesamy};
use tempfile::TempDir;
use tokio::io::{AsyncBufReadExt, AsyncRead, BufReader};
use tokio::process::{Child, Command};
use tokio::sync::watch;

/// Longer than any step of a story takes on a busy machine.
pub const PATIENCE: Duration = Duration::from_secs(60);
/// The bearer token that the service accepts.
pub const TOKEN: &str = "story-webhook-token";
/// The secret that events may be signed with.
pub const SECRET: &str = "story-webhook-secret";
/// The list that the service keeps in step.
pub const LIST: i64 = Mailmojo::LIST;

/// A sandbox, a folder for the queue, and a service between them.
pub struct Town {
    pub sandbox: Sandbox,
    pub service: Service,
    pub folder: TempDir,
    settings: BTreeMap<String, String>,
}

/// One process of the service.
pub struct Service {
    child: Child,
    pub address: SocketAddr,
    /// Where the operations page is, if there is one.
    pub page: Option<SocketAddr>,
    pub output: Output,
    marks: AtomicUsize,
}

/// What a process has printed so far, line by line.
#[derive(Clone)]
pub struct Output {
    lines: Arc<Mutex<Vec<String>>>,
    count: watch::Receiver<usize>,
}

/// The binary under test, with an environment of its own and nothing inherited.
pub fn command() -> Command {
    alone(Command::new(env!("CARGO_BIN_EXE_sesamy-mailmojo")))
}

/// The same for any command that runs it.
pub fn alone(mut command: Command) -> Command {
    command.env_clear().stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped()).kill_on_drop(true);
    command
}

impl Town {
    /// A town whose service has short times and no pace to speak of.
    pub async fn start() -> Self {
        Self::with(&[]).await
    }

    /// The same, with some settings of its own; an empty value takes a setting away.
    pub async fn with(settings: &[(&str, &str)]) -> Self {
        Self::before_start(settings, |_| {}).await
    }

    /// The same, after `prepare` has set up the sandbox: what is there when the service comes.
    pub async fn before_start(settings: &[(&str, &str)], prepare: impl FnOnce(&Sandbox)) -> Self {
        let sandbox = Sandbox::start().await.unwrap();
        prepare(&sandbox);
        let folder = tempfile::tempdir().unwrap();
        let mut all = defaults(&sandbox, &folder);
        override_with(&mut all, settings);
        let service = Service::start(&all).await;
        Self { sandbox, service, folder, settings: all }
    }

    /// Ends the service as `kill -9` does, and starts another one on the same queue.
    pub async fn crash_and_restart(&mut self, settings: &[(&str, &str)]) {
        self.service.kill().await;
        self.restart(settings).await;
    }

    /// Starts another service on the same queue; the one before must have ended.
    pub async fn restart(&mut self, settings: &[(&str, &str)]) {
        override_with(&mut self.settings, settings);
        self.service = Service::start(&self.settings).await;
    }

    /// The settings as the service's environment has them.
    pub fn settings(&self) -> &BTreeMap<String, String> {
        &self.settings
    }

    /// The queue's file.
    pub fn queue_file(&self) -> PathBuf {
        self.settings["QUEUE__URL"].strip_prefix("sqlite://").unwrap().into()
    }

    /// Sends an event with the bearer token, as Sesamy does; the answer's status.
    pub async fn event(&self, event_type: &str, user: &str) -> StatusCode {
        self.service.post(&json!({"eventType": event_type, "vendorId": "vendor_1", "userId": user})).await
    }

    /// Sends an event that must be accepted, and waits until the queue has nothing left to do.
    pub async fn sync(&self, user: &str) {
        assert_eq!(self.event("userVendor.1#update", user).await, StatusCode::ACCEPTED);
        self.settled().await;
    }

    /// Waits until nobody is due, leased or waiting for a retry.
    pub async fn settled(&self) {
        self.wait_for_queue("SELECT count(*) FROM users WHERE due_at IS NOT NULL", |left| left == 0).await;
    }

    /// Waits until so many users are parked.
    pub async fn parked(&self, users: i64) {
        self.wait_for_queue("SELECT count(*) FROM users WHERE parked_at IS NOT NULL", |parked| {
            parked == users
        })
        .await;
    }

    /// Waits until a count that `sql` takes from the queue's file satisfies `condition`.
    pub async fn wait_for_queue(&self, sql: &str, condition: impl Fn(i64) -> bool) {
        let waited = tokio::time::timeout(PATIENCE, async {
            while !self.query(sql).is_ok_and(&condition) {
                tokio::time::sleep(Duration::from_millis(10)).await;
            }
        });
        if waited.await.is_err() {
            panic!(
                "{sql} is {:?} after {PATIENCE:?}; the log:\n{}",
                self.query(sql),
                self.service.output.tail()
            );
        }
        let is = |name: &str, value: Option<&str>| self.settings.get(name).map(String::as_str) == value;
        if is("LOG__LEVEL", Some("debug")) && is("LOG__FORMAT", None) {
            self.service.catch_up().await;
        }
    }

    /// One number from the queue's file, read beside the service.
    pub fn query(&self, sql: &str) -> rusqlite::Result<i64> {
        let flags = rusqlite::OpenFlags::SQLITE_OPEN_READ_ONLY;
        let queue = rusqlite::Connection::open_with_flags(self.queue_file(), flags)?;
        queue.busy_timeout(Duration::from_secs(5))?;
        queue.query_row(sql, [], |row| row.get(0))
    }

    /// The contact of `email`, which must be there.
    #[track_caller]
    pub fn contact(&self, email: &str) -> Contact {
        self.sandbox.mailmojo.contact(email).unwrap_or_else(|| panic!("there is no contact {email}"))
    }

    /// Sends an event of each of `users`, and waits until the queue has nothing left to do.
    pub async fn sync_all(&self, users: impl IntoIterator<Item = impl AsRef<str>>) {
        for user in users {
            assert_eq!(self.event("userVendor.1#update", user.as_ref()).await, StatusCode::ACCEPTED);
        }
        self.settled().await;
    }

    /// Syncs as [`Town::sync`] does, and gives the log's line of how it ended.
    pub async fn sync_told(&self, user: &str) -> Value {
        let before = self.service.output.syncs_of(user).iter().filter(|line| has_ended(line)).count();
        self.sync(user).await;
        self.end_of_sync(user, before + 1).await
    }

    /// The log's line of how the `nth` sync of `user` ended, tries that failed not counted. It is printed before the
    /// queue tells the end, but it may be read after it.
    pub async fn end_of_sync(&self, user: &str, nth: usize) -> Value {
        let is_it = |line: &Value| line["user_id"] == user && has_ended(line);
        self.service.output.wait_for_nth(nth, &format!("the end of sync {nth} of {user}"), is_it).await
    }
}

impl Drop for Town {
    /// Whatever the story was about, the sandbox must not object to any write in it.
    fn drop(&mut self) {
        if !std::thread::panicking() {
            self.sandbox.assert_no_findings();
        }
    }
}

impl Service {
    /// Starts a service with this environment, and waits until it takes events.
    pub async fn start(environment: &BTreeMap<String, String>) -> Self {
        Self::start_by(command(), environment).await
    }

    /// Starts a service by a command that makes way for it (`exec`), and waits until it takes events.
    pub async fn start_by(mut command: Command, environment: &BTreeMap<String, String>) -> Self {
        let mut child = command.envs(environment).spawn().unwrap();
        let output = Output::read(child.stdout.take().unwrap(), child.stderr.take().unwrap());
        let line = output.wait_for("its address", |line| line["address"].is_string()).await;
        let address = line["address"].as_str().unwrap().parse().unwrap();
        let page = line["page"].as_str().map(|page| page.parse().unwrap());
        Self { child, address, page, output, marks: AtomicUsize::new(0) }
    }

    /// The service's base URL.
    pub fn url(&self, path: &str) -> String {
        format!("http://{}{path}", self.address)
    }

    /// Posts `body` to the webhook with the bearer token; the status.
    pub async fn post(&self, body: &Value) -> StatusCode {
        let request = http().post(self.url("/webhooks/sesamy")).bearer_auth(TOKEN).body(body.to_string());
        request.send().await.unwrap().status()
    }

    /// Gets a path; the status and the JSON, or null.
    pub async fn get(&self, path: &str) -> (StatusCode, Value) {
        let answer = http().get(self.url(path)).send().await.unwrap();
        (answer.status(), answer.json().await.unwrap_or(Value::Null))
    }

    /// The text of `/metrics`.
    pub async fn metrics(&self) -> String {
        http().get(self.url("/metrics")).send().await.unwrap().text().await.unwrap()
    }

    /// Waits until all is read that the service has printed so far: a request's own line comes after it.
    async fn catch_up(&self) {
        if http().head(self.url("/healthz")).send().await.is_ok() {
            let mark = self.marks.fetch_add(1, Ordering::SeqCst) + 1;
            let is_mark = |line: &Value| line["method"] == "HEAD" && line["path"] == "/healthz";
            self.output.wait_for_nth(mark, "a look at its health", is_mark).await;
        }
    }

    /// The process id.
    pub fn pid(&self) -> rustix::process::Pid {
        let id = self.child.id().expect("the service has ended");
        rustix::process::Pid::from_raw(id.try_into().unwrap()).unwrap()
    }

    /// Sends SIGTERM.
    pub fn terminate(&self) {
        rustix::process::kill_process(self.pid(), rustix::process::Signal::TERM).unwrap();
    }

    /// Ends the process as `kill -9` does.
    pub async fn kill(&mut self) {
        self.child.kill().await.unwrap();
    }

    /// Waits until the process has ended.
    pub async fn ended(&mut self) -> ExitStatus {
        tokio::time::timeout(PATIENCE, self.child.wait()).await.expect("the service does not end").unwrap()
    }
}

impl Output {
    /// Collects the lines of both streams; what is no JSON becomes a JSON string.
    pub fn read(
        stdout: impl AsyncRead + Unpin + Send + 'static,
        stderr: impl AsyncRead + Unpin + Send + 'static,
    ) -> Self {
        let lines = Arc::new(Mutex::new(Vec::new()));
        let (sender, count) = watch::channel(0);
        let sender = Arc::new(sender);
        for stream in [Box::new(stdout) as Box<dyn AsyncRead + Unpin + Send>, Box::new(stderr)] {
            let (lines, sender) = (Arc::clone(&lines), Arc::clone(&sender));
            tokio::spawn(async move {
                let mut stream = BufReader::new(stream).lines();
                while let Ok(Some(line)) = stream.next_line().await {
                    lines.lock().unwrap().push(line);
                    sender.send_modify(|count| *count += 1);
                }
            });
        }
        Self { lines, count }
    }

    /// Everything printed so far, one string.
    pub fn text(&self) -> String {
        self.lines.lock().unwrap().join("\n")
    }

    /// The last lines, for a message.
    pub fn tail(&self) -> String {
        let lines = self.lines.lock().unwrap();
        lines[lines.len().saturating_sub(25)..].join("\n")
    }

    /// All lines so far as JSON.
    pub fn lines(&self) -> Vec<Value> {
        let lines = self.lines.lock().unwrap();
        lines.iter().map(|line| serde_json::from_str(line).unwrap_or_else(|_| json!(line))).collect()
    }

    /// The lines that tell of a sync of `user`, in order.
    pub fn syncs_of(&self, user: &str) -> Vec<Value> {
        self.lines()
            .into_iter()
            .filter(|line| line["user_id"] == user && line["outcome"].is_string())
            .collect()
    }

    /// Waits for the first line, of those printed and those to come, that `matches`.
    pub async fn wait_for(&self, what: &str, matches: impl Fn(&Value) -> bool) -> Value {
        self.wait_for_nth(1, what, matches).await
    }

    /// Waits for the `nth` line that `matches`.
    pub async fn wait_for_nth(&self, nth: usize, what: &str, matches: impl Fn(&Value) -> bool) -> Value {
        let mut count = self.count.clone();
        let found = tokio::time::timeout(PATIENCE, async {
            loop {
                count.mark_unchanged();
                if let Some(line) = self.lines().into_iter().filter(|line| matches(line)).nth(nth - 1) {
                    return Some(line);
                }
                if count.changed().await.is_err() {
                    return self.lines().into_iter().filter(|line| matches(line)).nth(nth - 1);
                }
            }
        });
        let found = found.await.ok().flatten();
        found.unwrap_or_else(|| panic!("the service never told {what}; it told\n{}", self.tail()))
    }
}

/// A client without pooled connections: each request is on its own, as a stopping service may close any of them.
pub fn http() -> reqwest::Client {
    let url = "http://127.0.0.1/".parse().unwrap();
    sesamy_mailmojo::upstream::http_client(&url, PATIENCE).unwrap()
}

/// Lower-case hex of HMAC-SHA256.
pub fn signature(secret: &str, body: &[u8]) -> String {
    use hmac::{Hmac, KeyInit, Mac};
    let mut mac = Hmac::<sha2::Sha256>::new_from_slice(secret.as_bytes()).unwrap();
    mac.update(body);
    hex::encode(mac.finalize().into_bytes())
}

/// Whether a line tells that a sync is over, and not only a try of it.
fn has_ended(line: &Value) -> bool {
    line["outcome"].as_str().is_some_and(|outcome| !["failed", "postponed"].contains(&outcome))
}

fn override_with(all: &mut BTreeMap<String, String>, settings: &[(&str, &str)]) {
    for (name, value) in settings {
        if value.is_empty() {
            all.remove(*name);
        } else {
            all.insert((*name).to_owned(), (*value).to_owned());
        }
    }
}

fn defaults(sandbox: &Sandbox, folder: &TempDir) -> BTreeMap<String, String> {
    let queue = format!("sqlite://{}", folder.path().join("queue.db").display());
    [
        ("SERVER__LISTEN", "127.0.0.1:0"),
        ("WEBHOOK__BEARER_TOKENS", TOKEN),
        ("WEBHOOK__HMAC_SECRETS", SECRET),
        ("SESAMY__API_URL", sandbox.sesamy.url()),
        ("SESAMY__TOKEN_URL", &sandbox.sesamy.token_url()),
        ("SESAMY__CLIENT_ID", Sesamy::CLIENT_ID),
        ("SESAMY__CLIENT_SECRET", Sesamy::CLIENT_SECRET),
        ("SESAMY__REQUESTS_PER_MINUTE", "600000"),
        ("SESAMY__BURST", "10000"),
        ("MAILMOJO__API_URL", sandbox.mailmojo.url()),
        ("MAILMOJO__API_TOKEN", Mailmojo::FIXED_TOKEN),
        ("MAILMOJO__LIST_ID", &LIST.to_string()),
        ("MAILMOJO__REQUESTS_PER_MINUTE", "600000"),
        ("MAILMOJO__BURST", "10000"),
        ("QUEUE__URL", &queue),
        ("SYNC__DEBOUNCE", "50ms"),
        ("SYNC__REQUEST_TIMEOUT", "2s"),
        ("SYNC__DEADLINE", "20s"),
        ("SYNC__BACKOFF_BASE", "20ms"),
        ("SYNC__BACKOFF_CAP", "200ms"),
        ("LOG__LEVEL", "debug"),
    ]
    .into_iter()
    .map(|(name, value)| (name.to_owned(), value.to_owned()))
    .collect()
}
