//! What is seen of a service from outside: its calls, its log, and whether it has anything left to do.

use std::collections::{BTreeMap, BTreeSet, HashMap, VecDeque};
use std::time::{Duration, Instant};

use jiff::Timestamp;
use serde_json::{Value, json};
use sesamy_mailmojo::sandbox::{Call, Route, Sandbox};

use crate::household::Household;
use crate::support::harness::{Output, Town, command};

/// How long the service may take, once nothing fails any more, until nothing is left to do.
const PATIENCE: Duration = Duration::from_secs(60);
/// How many calls are kept of each user or address.
const KEPT: usize = 80;
/// The rows are counted for `/readyz` no more often than this.
const CENSUS: Duration = Duration::from_secs(16);

/// Counts the rows that have something left to do, but for checks for drift, which never end; rows whose access ends within
/// the hour are among them. A user whom Sesamy does not know yet is looked for again for a day, and finding nobody changes
/// nothing.
const LEFT: &str =
    "SELECT count(*) FROM users WHERE (due_at IS NOT NULL AND NOT (cause = 'drift' AND lane = 2))
    OR (check_cause = 'expiry' AND check_at < (unixepoch() + 3600) * 1000) OR held_back = 1";

/// What has been seen so far.
pub struct Watch {
    /// Whether the queue's file can be looked into.
    pub has_file: bool,
    calls: HashMap<String, VecDeque<String>>,
    count: u64,
    /// All calls about households.
    pub of_households: Vec<Call>,
    /// The outputs of the processes that have ended, when that was, and whether they were killed.
    lives: Vec<(Output, Duration, bool)>,
    /// When the sandbox was started, which is what times are counted from.
    started: (Instant, Timestamp),
    marks: u32,
}

/// What one process has logged of syncs.
pub struct Life {
    pub lines: Vec<Line>,
    pub end: Duration,
    pub was_killed: bool,
}

/// The line of a sync.
pub struct Line {
    pub user: String,
    pub at: Duration,
    /// Whether the sync ended well.
    pub is_done: bool,
    pub reason: String,
}

/// The service goes on and on, or does not go on.
pub struct Stall {
    pub text: String,
    pub users: Vec<String>,
}

impl Watch {
    pub fn new(has_file: bool, sandbox: &Sandbox) -> Self {
        let age = sandbox.age();
        Self {
            has_file,
            calls: HashMap::new(),
            count: 0,
            of_households: Vec::new(),
            lives: Vec::new(),
            started: (Instant::now() - age, Timestamp::now() - age),
            marks: 0,
        }
    }

    /// Takes in the calls since the last look.
    pub fn look(&mut self, sandbox: &Sandbox) {
        for call in sandbox.take_calls() {
            self.count += 1;
            if let Some(subject) = &call.subject {
                let of_one = self.calls.entry(subject.to_lowercase()).or_default();
                if of_one.len() == KEPT {
                    of_one.pop_front();
                }
                of_one.push_back(call.to_string());
            }
            let is_kept = call.subject.as_deref().is_some_and(Household::is_subject);
            self.of_households.extend(is_kept.then_some(call));
        }
    }

    /// How many calls there were.
    pub fn calls(&self) -> u64 {
        self.count
    }

    /// How many writes there were to contacts of households.
    pub fn writes_to_households(&self) -> u64 {
        let is_write = |call: &&Call| matches!(call.route, Route::ContactPatch | Route::Subscribe);
        self.of_households.iter().filter(is_write).count() as u64
    }

    /// The last calls about any of `names`, which are in lower case but for user ids.
    pub fn calls_about(&self, names: &[String]) -> Vec<String> {
        let all = names.iter().filter_map(|name| self.calls.get(&name.to_lowercase()));
        let mut all: Vec<String> = all.flatten().cloned().collect();
        all.sort(); // a call begins with its time, in a field of one width
        all
    }

    /// Keeps the output of a process that has ended.
    pub fn keep(&mut self, output: &Output, was_killed: bool) {
        self.lives.push((output.clone(), self.started.0.elapsed(), was_killed));
    }

    /// What all processes have logged of syncs.
    pub fn lives(&self, output: &Output) -> Vec<Life> {
        let present = (output, Duration::MAX, false);
        let ended = self.lives.iter().map(|(output, end, was_killed)| (output, *end, *was_killed));
        let life = |(output, end, was_killed): (&Output, Duration, bool)| {
            let syncs = output.lines().into_iter().filter(|line| line["outcome"].is_string());
            Life { lines: syncs.map(|line| self.line(&line)).collect(), end, was_killed }
        };
        ended.chain([present]).map(life).collect()
    }

    fn line(&self, line: &Value) -> Line {
        let text = |name: &str| line[name].as_str().unwrap_or_default().to_owned();
        let at: Timestamp = text("timestamp").parse().expect("a line has its time");
        Line {
            user: text("user_id"),
            at: at.duration_since(self.started.1).try_into().unwrap_or_default(),
            is_done: !matches!(text("outcome").as_str(), "failed" | "parked" | "postponed"),
            reason: text("reason"),
        }
    }

    /// The lines about syncs, of all processes in order.
    fn sync_lines(&self, output: &Output) -> Vec<Value> {
        let lives = self.lives.iter().map(|(output, ..)| output);
        let lines = lives.chain([output]).flat_map(Output::lines);
        lines.filter(|line| line["outcome"].is_string()).collect()
    }

    /// How many syncs there were, by outcome.
    pub fn syncs(&self, output: &Output) -> BTreeMap<String, u64> {
        let mut counts = BTreeMap::new();
        for line in self.sync_lines(output) {
            let outcome = line["outcome"].as_str().unwrap_or_default().to_owned();
            *counts.entry(outcome).or_default() += 1;
        }
        counts
    }

    /// How many syncs there were that no event has asked for: because access ended, and for drift.
    pub fn unprompted(&self, output: &Output) -> [u64; 2] {
        let lines = self.sync_lines(output);
        ["expiry", "drift"]
            .map(|cause| lines.iter().filter(|line| line["event_type"] == cause).count() as u64)
    }

    /// The users whose last sync ended so that only an event brings them back.
    pub fn parked(&self, output: &Output) -> BTreeSet<String> {
        let mut parked = BTreeSet::new();
        for line in self.sync_lines(output) {
            let user = line["user_id"].as_str().unwrap_or_default();
            if line["outcome"] == "parked" {
                parked.insert(user.to_owned());
            } else {
                parked.remove(user);
            }
        }
        parked
    }

    /// The log's last lines about any of `users`.
    pub fn log_of(&self, output: &Output, users: &[String]) -> Vec<String> {
        let lines = self.sync_lines(output).into_iter();
        let lines = lines.filter(|line| users.iter().any(|user| line["user_id"] == user.as_str()));
        let mut last: Vec<String> = lines.map(|line| line.to_string()).collect();
        last.drain(..last.len().saturating_sub(15));
        last
    }

    /// Waits until the queue has nothing left to do, and until all is read that the service has told.
    pub async fn waits_for_quiet(&mut self, town: &Town) -> Result<(), Stall> {
        let began = Instant::now();
        if !self.has_file {
            tokio::time::sleep(CENSUS).await; // what is told before may have been counted before
        }
        while !self.is_quiet(town).await {
            release_the_guard(town).await;
            if began.elapsed() > PATIENCE {
                return Err(self.stall(town).await);
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        // The sync of a user that Sesamy does not know: what was told before it has been read by then.
        self.marks += 1;
        let mark = format!("mark-{}", self.marks);
        let event = json!({"eventType": "userVendor.1#update", "vendorId": "vendor_1", "userId": mark});
        town.service.post(&event).await;
        town.service
            .output
            .wait_for("the mark's sync", |line| {
                line["user_id"] == mark.as_str() && line["outcome"] == "skipped"
            })
            .await;
        Ok(())
    }

    async fn is_quiet(&self, town: &Town) -> bool {
        if self.has_file {
            return town.query(LEFT).is_ok_and(|left| left == 0);
        }
        let (_, ready) = town.service.get("/readyz").await;
        ["due", "leased", "scheduled", "failing", "held"]
            .iter()
            .all(|state| ready["queue"]["rows"][state] == 0)
    }

    async fn stall(&self, town: &Town) -> Stall {
        let (status, ready) = town.service.get("/readyz").await;
        let rows = if self.has_file {
            rows(town).unwrap_or_else(|error| vec![(String::new(), error.to_string())])
        } else {
            Vec::new()
        };
        let told: Vec<&str> = rows.iter().map(|(_, text)| text.as_str()).collect();
        let text = format!(
            "after {PATIENCE:?} there is still something to do\n/readyz: {status} {ready}\nthe rows:\n  {}\nthe log:\n{}",
            told.join("\n  "),
            town.service.output.tail()
        );
        Stall { text, users: rows.into_iter().map(|(user, _)| user).collect() }
    }
}

/// Lets through what the removal guard holds back: so many users lose their tags at random here that it may trip, and then
/// only an operator releases it.
async fn release_the_guard(town: &Town) {
    let (_, ready) = town.service.get("/readyz").await;
    if ready["queue"]["tags_kept_since"].is_string() {
        let resume = command().args(["queue", "resume"]).envs(town.settings()).output().await.unwrap();
        assert!(resume.status.success(), "{resume:?}");
    }
}

/// The first rows of the queue's file that have something left to do.
fn rows(town: &Town) -> rusqlite::Result<Vec<(String, String)>> {
    let flags = rusqlite::OpenFlags::SQLITE_OPEN_READ_ONLY;
    let queue = rusqlite::Connection::open_with_flags(town.queue_file(), flags)?;
    let mut statement = queue.prepare(
        "SELECT user_id, due_at - unixepoch('subsec') * 1000, lease IS NOT NULL, attempts, error
         FROM users WHERE due_at IS NOT NULL OR check_at IS NOT NULL ORDER BY due_at LIMIT 20",
    )?;
    let rows = statement.query_map([], |row| {
        let user: String = row.get(0)?;
        let (due, leased, attempts): (Option<f64>, bool, u32) = (row.get(1)?, row.get(2)?, row.get(3)?);
        let error: Option<String> = row.get(4)?;
        let state = if leased { "leased until" } else { "due" };
        let text = format!("{user}: {state} in {due:.0?} ms, attempts {attempts}, error {error:?}");
        Ok((user, text))
    })?;
    rows.collect()
}
