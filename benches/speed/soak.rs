//! A long steady load of everything, in which memory must not grow. It needs no quiet machine: the load is light.
//!
//! Some events a second of 2,000 users, bursts and refused ones among them, while their data in Sesamy changes; both APIs fail
//! now and then in several ways. Memory is read every 10 s. After the first minute, in which caches fill, it is told by
//! thirds: the run fails where the median of the last is above that of the first by more than 5 % and more than 1 MB.

use std::sync::atomic::Ordering::Relaxed;
use std::time::{Duration, Instant};

use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};
use sesamy_mailmojo::sandbox::{ComeAgain, Fault, Route, Rule, Sandbox, contract, entitlement, user};
use tokio::time::{interval, timeout};

use crate::postgres::Postgres;
use crate::process::{PURCHASE, Process, sqlite, syncing};

const USERS: u32 = 2_000;
const SAMPLE: Duration = Duration::from_secs(10);
const WARM_UP: Duration = Duration::from_secs(60);

/// How long, and on what.
#[derive(Debug, clap::Args)]
pub struct Arguments {
    /// How long to run.
    #[arg(long, default_value_t = 30.0)]
    minutes: f64,
    /// Events a second.
    #[arg(long, default_value_t = 20)]
    rate: u32,
    /// What the queue is kept in: `sqlite`, `postgres` (a private server, or TEST_POSTGRES_URL), or a URL.
    #[arg(long, default_value = "sqlite")]
    queue: String,
    /// Where the random numbers begin.
    #[arg(long, default_value_t = 1)]
    seed: u64,
}

/// What was seen at one moment.
#[derive(Clone, Copy)]
struct Sample {
    at: Duration,
    memory: u64,
    events: u64,
    syncs: u64,
}

/// Runs, and ends the process with 1 where memory has grown or the sandbox objects to a write.
pub async fn run(arguments: Arguments) {
    let folder = tempfile::tempdir().unwrap();
    let mut postgres = None;
    let queue = match arguments.queue.as_str() {
        "sqlite" => sqlite(&folder.path().join("queue.db")),
        "postgres" => postgres.insert(Postgres::start().unwrap()).url.clone(),
        url => url.to_owned(),
    };
    let sandbox = Sandbox::start_with(Duration::from_millis(5), false).await.unwrap();
    trouble(&sandbox, arguments.seed);
    let mut command = syncing(&queue, &sandbox);
    command.envs([
        // The syncs, to count them, and errors; that an API rests now and then is meant.
        ("LOG__LEVEL", "error,sesamy_mailmojo=error,sesamy_mailmojo::cli=info,sesamy_mailmojo::worker=info"),
        ("SYNC__DEBOUNCE", "200ms"),
        ("SYNC__REQUEST_TIMEOUT", "2s"),
        ("SYNC__BACKOFF_BASE", "100ms"),
        ("SYNC__BACKOFF_CAP", "5s"),
    ]);
    let service = Process::start(&mut command).await;
    println!(
        "{} minutes at {} events/s, seed {}, queue {}\n",
        arguments.minutes, arguments.rate, arguments.seed, arguments.queue
    );
    println!("| minute | events | tries | memory MB |\n|---|---|---|---|");
    let samples = load(&arguments, &sandbox, &service).await;
    let findings = sandbox.findings();
    let grown = judge(&samples);
    drop((service, postgres));
    findings.iter().for_each(|finding| println!("the sandbox objects: {finding}"));
    if grown || !findings.is_empty() {
        std::process::exit(1);
    }
}

/// One call in some twenty fails, each in one of the ways that are met most.
fn trouble(sandbox: &Sandbox, seed: u64) {
    let wait = Fault::too_many_requests(ComeAgain::Seconds(1));
    let faults: [(f64, Fault); 5] = [
        (0.02, Fault::status(503).html().into()),
        (0.01, Fault::Close),
        (0.01, Fault::CutJson),
        (0.01, Fault::Delay(Duration::from_millis(300))),
        (0.002, wait),
    ];
    for (way, (chance, fault)) in (0..).zip(faults) {
        sandbox.sesamy.inject(Rule::anywhere(fault.clone()).chance(chance, seed + way));
        sandbox.mailmojo.inject(Rule::anywhere(fault).chance(chance, seed + 100 + way));
    }
    sandbox.mailmojo.inject(Rule::on(Route::Subscribe, Fault::status(422)).chance(0.01, seed + 200));
}

/// Sends events until the time is over; the samples of the service's memory.
async fn load(arguments: &Arguments, sandbox: &Sandbox, service: &Process) -> Vec<Sample> {
    let mut random = StdRng::seed_from_u64(arguments.seed);
    let (began, length) = (Instant::now(), Duration::from_secs_f64(arguments.minutes * 60.0));
    let mut pace = interval(Duration::from_secs(1) / arguments.rate.max(1));
    let (mut samples, mut events, mut told) = (Vec::new(), 0, 0);
    while began.elapsed() < length {
        pace.tick().await;
        events += send(&mut random, sandbox, service).await;
        let at = began.elapsed();
        if at >= SAMPLE * u32::try_from(samples.len()).unwrap() {
            let _ = timeout(SAMPLE, service.get("/metrics")).await; // as a scrape does
            samples.push(Sample { at, memory: service.memory(), events, syncs: service.syncs.load(Relaxed) });
        }
        let minute = at.as_secs() / 60;
        if minute > told {
            told = minute;
            row(&samples, minute);
        }
    }
    samples
}

/// Changes somebody and sends what Sesamy would send then; how many events that were.
async fn send(random: &mut StdRng, sandbox: &Sandbox, service: &Process) -> u64 {
    let number = random.random_range(0..USERS);
    let id = format!("reader|{number}");
    if sandbox.sesamy.user(&id).is_none() {
        sandbox.sesamy.put_user(user(&id).email(&format!("reader{number}@example.com")));
    }
    match random.random_range(0..10) {
        0 => {
            sandbox.sesamy.set_contracts(&id, [contract("c1")]);
            sandbox
                .sesamy
                .set_entitlements(&id, [entitlement("e1", &format!("title-{}", random.random_range(0..50)))]);
            for event in PURCHASE {
                service.event(event, &id).await;
            }
            return 4;
        }
        1 => sandbox.sesamy.set_entitlements(&id, Vec::<serde_json::Value>::new()),
        2 => sandbox.sesamy.set_field(&id, "tags", vec![format!("tag{}", random.random_range(0..20))]),
        3 => sandbox.sesamy.set_field(&id, "firstName", "Kari"),
        4 => {
            service.event("nothing.1#known", &id).await;
        }
        _ => {} // an event that changes nothing
    }
    service.event("userVendor.1#update", &id).await;
    1
}

fn row(samples: &[Sample], minute: u64) {
    let of_minute: Vec<_> = samples.iter().filter(|sample| sample.at.as_secs() / 60 == minute - 1).collect();
    let Some(last) = of_minute.last() else { return };
    let memory = of_minute.iter().map(|sample| sample.memory).sum::<u64>() / of_minute.len() as u64;
    println!("| {minute} | {} | {} | {:.1} |", last.events, last.syncs, memory as f64 / 1e6);
}

/// Whether memory has grown from the first third to the last.
fn judge(samples: &[Sample]) -> bool {
    let samples: Vec<_> =
        samples.iter().filter(|sample| sample.at >= WARM_UP).map(|sample| sample.memory).collect();
    let third = samples.len() / 3;
    if third == 0 {
        println!("\ntoo short to judge: memory is told by thirds after the first minute");
        return false;
    }
    let median = |part: &[u64]| {
        let mut part = part.to_vec();
        part.sort_unstable();
        part[part.len() / 2]
    };
    let (first, last) = (median(&samples[..third]), median(&samples[samples.len() - third..]));
    let grown = last > first + (first / 20).max(1_000_000);
    let verdict = if grown { "it grows" } else { "flat" };
    println!(
        "\nmemory: {:.1} MB in the first third, {:.1} MB in the last: {verdict}",
        first as f64 / 1e6,
        last as f64 / 1e6
    );
    grown
}
