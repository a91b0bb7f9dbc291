//! The processes that are measured: how they are started, and what the system says of them.

use std::ffi::OsString;
use std::net::SocketAddr;
use std::path::Path;
use std::process::Stdio;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering::Relaxed};
use std::time::Duration;

use serde_json::Value;
use sesamy_mailmojo::sandbox::{Mailmojo, Sandbox, Sesamy};
use tokio::io::{AsyncBufReadExt, BufReader};
use tokio::process::{Child, Command};

/// The bearer token that the service accepts.
pub const TOKEN: &str = "benchmark-webhook-token";

/// The events that one purchase makes.
pub const PURCHASE: [&str; 4] =
    ["userVendor.1#update", "contract.1#purchased", "entitlement.1#new", "checkout.1#confirm"];

/// How many warnings and errors of the processes are shown; a flood of them would be measured too.
const MOST_SHOWN: usize = 20;
static SHOWN: AtomicUsize = AtomicUsize::new(0);

/// A process that listens; it is killed when this is dropped.
pub struct Process {
    pub address: SocketAddr,
    /// How many syncs it has told of, those that will be tried again among them.
    pub syncs: Arc<AtomicU64>,
    child: Child,
}

/// The service, which accepts and does not sync: nothing becomes due within the hour, and both APIs are nowhere.
pub fn service(binary: Option<&Path>, queue: &str) -> Command {
    let binary = binary.map_or_else(|| OsString::from(env!("CARGO_BIN_EXE_sesamy-mailmojo")), Into::into);
    let mut command = Command::new(binary);
    command.env_clear().envs([
        ("SERVER__LISTEN", "127.0.0.1:0"),
        ("WEBHOOK__BEARER_TOKENS", TOKEN),
        ("SESAMY__ACCESS_TOKEN", Sesamy::FIXED_TOKEN),
        ("SESAMY__API_URL", "http://127.0.0.1:9"),
        ("MAILMOJO__API_TOKEN", Mailmojo::FIXED_TOKEN),
        ("MAILMOJO__API_URL", "http://127.0.0.1:9"),
        ("MAILMOJO__LIST_ID", &Mailmojo::LIST.to_string()),
        ("SYNC__DEBOUNCE", "1h"),
        ("LOG__FORMAT", "json"),
        // One line per request is for those who run it; writing it would be measured too.
        ("LOG__LEVEL", "warn,sesamy_mailmojo::cli=info"),
        ("QUEUE__URL", queue),
    ]);
    command
}

/// The service that syncs with the sandbox's two APIs, at once and at any pace.
pub fn syncing(queue: &str, sandbox: &Sandbox) -> Command {
    let mut command = service(None, queue);
    command.envs([
        ("SESAMY__API_URL", sandbox.sesamy.url()),
        ("SESAMY__REQUESTS_PER_MINUTE", "600000"),
        ("SESAMY__BURST", "10000"),
        ("MAILMOJO__API_URL", sandbox.mailmojo.url()),
        ("MAILMOJO__REQUESTS_PER_MINUTE", "600000"),
        ("MAILMOJO__BURST", "10000"),
        ("SYNC__DEBOUNCE", "0s"),
    ]);
    command
}

/// The URL of a queue in this file.
pub fn sqlite(file: &Path) -> String {
    format!("sqlite://{}", file.display())
}

impl Process {
    /// Starts a process that must start.
    pub async fn start(command: &mut Command) -> Self {
        Self::try_start(command).await.expect("a process ended at its start")
    }

    /// Starts a process; its first line of output that has an address tells where it listens. None where it ended before.
    pub async fn try_start(command: &mut Command) -> Option<Self> {
        let mut child = command.stdout(Stdio::piped()).kill_on_drop(true).spawn().unwrap();
        let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
        let syncs = Arc::new(AtomicU64::new(0));
        while let Some(line) = lines.next_line().await.unwrap() {
            let told: Value = serde_json::from_str(&line).unwrap_or_default();
            let Some(address) = told["address"].as_str() else { continue };
            let address = address.parse().unwrap();
            let counter = Arc::clone(&syncs);
            tokio::spawn(async move {
                while let Ok(Some(line)) = lines.next_line().await {
                    if line.contains(r#""outcome":"#) {
                        counter.fetch_add(1, Relaxed);
                    } else if !line.contains(r#""level":"INFO""#) && SHOWN.fetch_add(1, Relaxed) < MOST_SHOWN
                    {
                        eprintln!("{line}");
                    }
                }
            });
            return Some(Self { address, syncs, child });
        }
        None
    }

    fn id(&self) -> u32 {
        self.child.id().expect("a process has ended")
    }

    /// The processor time that it has used so far, in user and system mode together.
    ///
    /// Source: fields 14 and 15 of `/proc/PID/stat`, in ticks of 10 ms on every Linux that is around.
    pub fn cpu(&self) -> Duration {
        let stat = std::fs::read_to_string(format!("/proc/{}/stat", self.id())).unwrap_or_default();
        let after_name = stat.rsplit(')').next().unwrap_or_default();
        let ticks =
            after_name.split_whitespace().skip(11).take(2).filter_map(|ticks| ticks.parse::<u64>().ok());
        Duration::from_millis(ticks.sum::<u64>() * 10)
    }

    /// The memory that it holds now, in bytes (`VmRSS` of `/proc/PID/status`).
    pub fn memory(&self) -> u64 {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.id())).unwrap_or_default();
        let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
        line.and_then(|line| line.split_whitespace().next()?.parse::<u64>().ok()).unwrap_or_default() * 1_024
    }

    /// What it answers on `path`.
    pub async fn get(&self, path: &str) -> String {
        let url = format!("http://{}{path}", self.address);
        http().get(url).send().await.unwrap().error_for_status().unwrap().text().await.unwrap()
    }

    /// Sends an event of `user`; whether it was accepted.
    pub async fn event(&self, event_type: &str, user: &str) -> bool {
        let event =
            serde_json::json!({"eventType": event_type, "vendorId": "vendor_benchmark", "userId": user});
        let url = format!("http://{}/webhooks/sesamy", self.address);
        let sent = http().post(url).bearer_auth(TOKEN).body(event.to_string()).send().await;
        sent.is_ok_and(|answer| answer.status() == 202)
    }

    /// Asks it to stop, and waits until it has.
    pub async fn stop(mut self) {
        let id = rustix::process::Pid::from_raw(self.id().try_into().unwrap()).unwrap();
        rustix::process::kill_process(id, rustix::process::Signal::TERM).unwrap();
        self.child.wait().await.unwrap();
    }
}

/// A client for a few calls: what is measured by the thousand has a leaner one.
fn http() -> reqwest::Client {
    let url = "http://127.0.0.1/".parse().unwrap();
    sesamy_mailmojo::upstream::http_client(&url, Duration::from_secs(60)).unwrap()
}
