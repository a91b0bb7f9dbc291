//! Figures that are no race: what one thing costs, beside what we want it to cost.

use std::num::NonZeroU32;
use std::path::Path;
use std::process::Stdio;
use std::sync::atomic::Ordering::Relaxed;
use std::time::{Duration, Instant};

use sesamy_mailmojo::clock::Clock;
use sesamy_mailmojo::queue::{Queue, QueuePolicy, Rates};
use sesamy_mailmojo::queue::{Role, Slots};
use sesamy_mailmojo::sandbox::{Api, Call, RateLimit, Route, Sandbox, entitlement, user};
use sesamy_mailmojo::upstream::{PerApi, Quota};
use tempfile::TempDir;
use tokio::time::sleep;

use crate::load::round;
use crate::million::{self, Users};
use crate::process::{PURCHASE, Process, service, sqlite, syncing};

/// What each API takes for an answer, when a sync's own cost is measured.
const LATENCY: Duration = Duration::from_millis(50);
/// How many users are leased at once.
const BATCH: usize = 100;

pub async fn run() {
    println!("\n| figure | measured | wanted |\n|---|---|---|");
    idle_memory().await;
    let folder = tempfile::tempdir().unwrap();
    let (synced, due) = (folder.path().join("synced.db"), folder.path().join("due.db"));
    million::prepare(None, &synced, Users::Synced).await;
    million::prepare(None, &due, Users::Due).await;
    leases(&due).await;
    start(&synced).await;
    busy_memory(&synced).await;
    own_cost().await;
    calls().await;
    pace().await;
    backfill().await;
}

/// The figure that takes longest, alone.
pub async fn backfill_alone() {
    println!("\n| figure | measured | wanted |\n|---|---|---|");
    backfill().await;
}

/// The figures that are the same on any machine.
pub async fn calls_alone() {
    println!("\n| figure | measured | wanted |\n|---|---|---|");
    calls().await;
}

fn row(figure: &str, measured: String, wanted: &str) {
    println!("| {figure} | {measured} | {wanted} |");
}

fn ms(time: Duration) -> String {
    format!("{:.2} ms", time.as_secs_f64() * 1_000.0)
}

fn mib(bytes: u64) -> String {
    format!("{:.1} MB", bytes as f64 / 1e6)
}

fn median(mut times: Vec<Duration>) -> Duration {
    times.sort_unstable();
    times[times.len() / 2]
}

async fn idle_memory() {
    let folder = tempfile::tempdir().unwrap();
    let process = Process::start(&mut service(None, &sqlite(&folder.path().join("queue.db")))).await;
    sleep(Duration::from_secs(2)).await;
    row("memory, idle", mib(process.memory()), "under 15 MB");
}

async fn leases(file: &Path) {
    let calls = PerApi { sesamy: 0, mailmojo: 0 };
    let quota = Quota { per_minute: NonZeroU32::MAX, burst: NonZeroU32::MAX };
    let options = QueuePolicy {
        debounce: Duration::ZERO,
        lease: Duration::from_secs(3_600),
        request_timeout: Duration::from_secs(10),
        furthest_due: Duration::MAX,
        dry_run: false,
        rates: Rates { quotas: PerApi { sesamy: quota, mailmojo: quota }, calls },
    };
    let queue = Queue::open_sqlite(file, Role::Service, options, Clock::system(), 1).unwrap();
    let mut times = Vec::new();
    for _ in 0..50 {
        let began = Instant::now();
        let leased = queue.lease(Slots::for_any(BATCH)).await.unwrap();
        times.push(began.elapsed());
        assert_eq!(leased.jobs.len(), BATCH);
    }
    queue.close().await;
    row("a hundred leases of a million due rows, commit included", ms(median(times)), "1.4 ms (prototype)");
}

async fn start(file: &Path) {
    let mut times = Vec::new();
    for _ in 0..5 {
        let began = Instant::now();
        let process = Process::start(&mut service(None, &sqlite(file))).await;
        process.get("/readyz").await;
        times.push(began.elapsed());
        process.stop().await;
    }
    row("from the start to ready, a million rows", ms(median(times)), "under 200 ms");
}

async fn busy_memory(file: &Path) {
    let process = Process::start(&mut service(None, &sqlite(file))).await;
    let load = tokio::spawn(round(process.address, Duration::from_secs(10)));
    let mut most = 0;
    while !load.is_finished() {
        most = most.max(process.memory());
        sleep(Duration::from_millis(100)).await;
    }
    row("memory, a million rows under full load, at most", mib(most), "under 100 MB");
}

async fn own_cost() {
    const WARM: usize = 3;
    const USERS: usize = 20;
    let stage = Stage::with(LATENCY, &[]).await;
    for number in 0..WARM {
        stage.sync(number).await; // connections are open now
    }
    stage.sandbox.clear_calls();
    let before = stage.time_of_syncs().await;
    for number in WARM..WARM + USERS {
        stage.sync(number).await;
    }
    let took = (stage.time_of_syncs().await - before) * 1e3 / USERS as f64;
    let mut calls = stage.sandbox.calls();
    calls.sort_by_key(|call| call.came);
    assert_eq!(calls.len(), 5 * USERS, "profile, contracts, entitlements, contact, subscribe");
    let apis: Duration = calls.chunks(5).map(four_deep).sum();
    let apis = apis.as_secs_f64() * 1e3 / USERS as f64;
    let own = took - apis;
    let measured = format!("{:.1} % ({own:.1} ms on top of {apis:.1} ms)", own / apis * 100.0);
    row("a sync's own time, where each call to an API takes 50 ms", measured, "at most 5 %");
}

/// How long the APIs took over one sync, in which contracts and entitlements are asked for at once.
fn four_deep(calls: &[Call]) -> Duration {
    let took = |call: &Call| call.ended - call.came;
    let of =
        |routes: &[Route]| calls.iter().filter(|call| routes.contains(&call.route)).map(took).max().unwrap();
    of(&[Route::Profile])
        + of(&[Route::Contracts, Route::Entitlements])
        + of(&[Route::ContactGet])
        + of(&[Route::Subscribe])
}

async fn calls() {
    let stage = Stage::with(Duration::ZERO, &[("SYNC__DEBOUNCE", "1s")]).await;
    stage.burst(0).await;
    let (sesamy, mailmojo) = stage.calls();
    let measured = format!("{:.2} to Sesamy, {:.2} to Mailmojo", sesamy as f64 / 4.0, mailmojo as f64 / 4.0);
    row("calls per event in a purchase's burst (four events, one sync)", measured, "0.75 and 0.50");
    stage.sandbox.clear_calls();
    stage.sync(0).await;
    let (sesamy, mailmojo) = stage.calls();
    row(
        "calls for an event that changes nothing",
        format!("{sesamy} to Sesamy, {mailmojo} to Mailmojo"),
        "3 and 1",
    );
}

/// At twelve times the published rate, and so twelve minutes in one: 100 calls a minute is what Sesamy allows, 95 what
/// the service allows itself.
async fn pace() {
    const USERS: usize = 380;
    const ALLOWED: RateLimit = RateLimit { per_minute: 1_200, burst: 40, retry_after_header: true };
    let settings =
        [("SESAMY__REQUESTS_PER_MINUTE", "1140"), ("SESAMY__BURST", "30"), ("MAILMOJO__BURST", "10000")];
    let stage = Stage::with(Duration::ZERO, &settings).await;
    stage.sandbox.sesamy.enforce(Some(ALLOWED));
    for number in 0..USERS {
        stage.send(number, "userVendor.1#update").await;
    }
    stage.until_synced(USERS as u64).await;
    let (per_minute, calls) = stage.pace_of_sesamy(30);
    let refused = stage.sandbox.calls().iter().filter(|call| call.status == Some(429)).count();
    let share = per_minute / f64::from(ALLOWED.per_minute) * 100.0;
    let measured = format!("{share:.0} %, {refused} times 429 in {calls} calls");
    row("of the published rate used by a long queue", measured, "at least 90 %, none");
}

/// A backfill beside the service, and an event of somebody new in the middle of it.
async fn backfill() {
    const USERS: usize = 2_000;
    const BURST: usize = 30;
    const PER_MINUTE: f64 = 3_000.0;
    let settings = [("SESAMY__REQUESTS_PER_MINUTE", "3000"), ("SESAMY__BURST", "30")];
    let stage = Stage::with(Duration::ZERO, &settings).await;
    (0..USERS).for_each(|number| stage.put(number));
    let mut command = syncing(&stage.queue(), &stage.sandbox);
    command.envs(settings).args(["backfill", "--yes", "--json"]).stdout(Stdio::null()).stderr(Stdio::null());
    let mut backfill = command.kill_on_drop(true).spawn().unwrap();
    stage.until_synced(USERS as u64 / 2).await;
    let sent = Instant::now();
    stage.send(USERS, "userVendor.1#new").await;
    while stage.sandbox.mailmojo.contact(&address(USERS)).is_none() {
        sleep(Duration::from_millis(5)).await;
    }
    let in_step = sent.elapsed();
    assert!(backfill.wait().await.unwrap().success());
    let (per_minute, calls) = stage.pace_of_sesamy(BURST);
    let share = per_minute / PER_MINUTE * 100.0;
    row(
        "of its pace used by a backfill of 2,000 users",
        format!("{share:.0} % in {calls} calls"),
        "at least 90 %",
    );
    row("an event in the middle of it, until its contact is there", ms(in_step), "under 3 s");
}

fn address(number: usize) -> String {
    format!("reader{number}@example.com")
}

fn queue_in(folder: &TempDir) -> String {
    sqlite(&folder.path().join("queue.db"))
}

/// A sandbox, and a service that syncs with it.
struct Stage {
    sandbox: Sandbox,
    service: Process,
    folder: TempDir,
}

impl Stage {
    async fn with(latency: Duration, settings: &[(&str, &str)]) -> Self {
        let sandbox = Sandbox::start_with(latency, true).await.unwrap();
        let folder = tempfile::tempdir().unwrap();
        let mut command = syncing(&queue_in(&folder), &sandbox);
        command.env("LOG__LEVEL", "info,sesamy_mailmojo::server=warn").envs(settings.iter().copied());
        Self { service: Process::start(&mut command).await, sandbox, folder }
    }

    fn queue(&self) -> String {
        queue_in(&self.folder)
    }

    /// Makes a user who has bought something.
    fn put(&self, number: usize) {
        let reader = user(&format!("u{number}")).email(&address(number)).first_name("Kari");
        self.sandbox.sesamy.put_user(reader.entitlement(entitlement("e1", "plus")));
    }

    /// Sends an event of a user, who is made if unknown.
    async fn send(&self, number: usize, event_type: &str) {
        let id = format!("u{number}");
        if self.sandbox.sesamy.user(&id).is_none() {
            self.put(number);
        }
        assert!(self.service.event(event_type, &id).await);
    }

    /// Sends one event, and waits until its sync is over.
    async fn sync(&self, number: usize) {
        let before = self.service.syncs.load(Relaxed);
        self.send(number, "userVendor.1#update").await;
        self.until_synced(before + 1).await;
    }

    /// Sends the four events of a purchase, and waits until their sync is over.
    async fn burst(&self, number: usize) {
        for event in PURCHASE {
            self.send(number, event).await;
        }
        self.until_synced(1).await;
    }

    async fn until_synced(&self, syncs: u64) {
        while self.service.syncs.load(Relaxed) < syncs {
            sleep(Duration::from_millis(5)).await;
        }
    }

    /// All calls so far, to Sesamy and to Mailmojo.
    fn calls(&self) -> (usize, usize) {
        let calls = self.sandbox.calls();
        let sesamy = calls.iter().filter(|call| call.api == Api::Sesamy).count();
        (sesamy, calls.len() - sesamy)
    }

    /// How many calls a minute Sesamy has had since the first `burst` of them, and how many calls there were in all.
    fn pace_of_sesamy(&self, burst: usize) -> (f64, usize) {
        let calls = self.sandbox.calls();
        let mut came: Vec<_> =
            calls.iter().filter(|call| call.api == Api::Sesamy).map(|call| call.came).collect();
        came.sort_unstable();
        let after_burst = &came[burst..];
        let took = *after_burst.last().unwrap() - after_burst[0];
        ((after_burst.len() - 1) as f64 * 60.0 / took.as_secs_f64(), came.len())
    }

    /// How long all syncs so far took together, in seconds.
    async fn time_of_syncs(&self) -> f64 {
        let metrics = self.service.get("/metrics").await;
        let sum =
            metrics.lines().find_map(|line| line.strip_prefix("sesamy_mailmojo_sync_duration_seconds_sum "));
        sum.map_or(0.0, |sum| sum.parse().unwrap())
    }
}
