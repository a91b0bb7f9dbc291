//! How many events are accepted per second, each one committed and synced to disk before its 202.
//!
//! Run it with `cargo bench`, on a machine that does nothing else. It starts the real service in a process of its own,
//! on a file in the system's folder for temporary files (set TMPDIR to measure another disk), and beside it a bare axum
//! handler that reads the body and answers 202: absolute figures say little on a shared machine, the ratio says more.
//! 64 keep-alive connections send authenticated 250-byte events of 100,000 users; the contestants take turns.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a benchmark that cannot go on has failed")]
#![allow(clippy::print_stdout, reason = "the table is what it is for")]

use std::net::SocketAddr;
use std::process::Stdio;
use std::time::{Duration, Instant};

use axum::body::Bytes;
use axum::http::StatusCode;
use axum::routing::post;
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::{TcpListener, TcpStream};
use tokio::process::{Child, Command};

const CONNECTIONS: u64 = 64;
const USERS: u64 = 100_000;
const BODY_BYTES: usize = 250;
const ROUNDS: usize = 3;
const ROUND: Duration = Duration::from_secs(8);
const TOKEN: &str = "benchmark-webhook-token";
/// Makes this program the bare handler instead of the benchmark.
const BARE: &str = "ACCEPT_BENCH_BARE";

/// What one round measured.
#[derive(Clone, Copy)]
struct Round {
    per_second: f64,
    p50: Duration,
    p99: Duration,
}

#[tokio::main]
async fn main() {
    if std::env::var_os(BARE).is_some() {
        return bare().await;
    }
    let folder = tempfile::tempdir().unwrap();
    let (_bare, bare_address) = start(Command::new(std::env::current_exe().unwrap()).env(BARE, "1")).await;
    let (_service, service_address) = start(&mut service(&folder.path().join("queue.db"))).await;

    let (mut of_bare, mut of_service) = (Vec::new(), Vec::new());
    for _ in 0..ROUNDS {
        of_bare.push(round(bare_address).await);
        of_service.push(round(service_address).await);
    }
    let (of_bare, of_service) = (median(of_bare), median(of_service));
    let cores = std::thread::available_parallelism().unwrap();
    println!(
        "{CONNECTIONS} connections, {BODY_BYTES}-byte events of {USERS} users, {cores} cores shared with the load;"
    );
    println!("the median of {ROUNDS} rounds of {} s each\n", ROUND.as_secs());
    println!("| accepting | events/s | of bare axum | p50 ms | p99 ms |\n|---|---|---|---|---|");
    row("bare axum: body read, 202", of_bare, of_bare);
    row("sesamy-mailmojo: authenticated, parsed, on disk", of_service, of_bare);
}

fn row(name: &str, of: Round, base: Round) {
    let ms = |time: Duration| time.as_secs_f64() * 1_000.0;
    let ratio = of.per_second / base.per_second;
    println!("| {name} | {:.0} | {ratio:.2} | {:.2} | {:.2} |", of.per_second, ms(of.p50), ms(of.p99));
}

fn median(mut rounds: Vec<Round>) -> Round {
    rounds.sort_by(|one, other| one.per_second.total_cmp(&other.per_second));
    rounds[rounds.len() / 2]
}

/// The service, which accepts and does not sync: nothing becomes due within the hour.
fn service(queue: &std::path::Path) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_sesamy-mailmojo"));
    command.env_clear().envs([
        ("SERVER__LISTEN", "127.0.0.1:0"),
        ("WEBHOOK__BEARER_TOKENS", TOKEN),
        ("SESAMY__ACCESS_TOKEN", "none"),
        ("SESAMY__API_URL", "http://127.0.0.1:9"),
        ("MAILMOJO__API_TOKEN", "none"),
        ("MAILMOJO__API_URL", "http://127.0.0.1:9"),
        ("MAILMOJO__LIST_ID", "1"),
        ("SYNC__DEBOUNCE", "1h"),
        ("LOG__FORMAT", "json"),
        // One line per request is for those who run it; writing it would be measured too.
        ("LOG__LEVEL", "warn,sesamy_mailmojo::cli=info"),
        ("QUEUE__URL", &format!("sqlite://{}", queue.display())),
    ]);
    command
}

/// Starts a contestant; its first line of output that has an address tells where it listens.
async fn start(command: &mut Command) -> (Child, SocketAddr) {
    let mut child = command.stdout(Stdio::piped()).kill_on_drop(true).spawn().unwrap();
    let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
    while let Some(line) = lines.next_line().await.unwrap() {
        let line: serde_json::Value = serde_json::from_str(&line).unwrap();
        if let Some(address) = line["address"].as_str() {
            let address = address.parse().unwrap();
            tokio::spawn(async move { while let Ok(Some(_)) = lines.next_line().await {} });
            return (child, address);
        }
    }
    panic!("a contestant ended at its start");
}

async fn bare() {
    let read = |body: Bytes| async move {
        if body.is_empty() { StatusCode::BAD_REQUEST } else { StatusCode::ACCEPTED }
    };
    let router = axum::Router::new().route("/webhooks/sesamy", post(read));
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    println!(r#"{{"address":"{}"}}"#, listener.local_addr().unwrap());
    axum::serve(listener, router).await.unwrap();
}

async fn round(address: SocketAddr) -> Round {
    let began = Instant::now();
    let callers: Vec<_> =
        (0..CONNECTIONS).map(|number| tokio::spawn(call(address, number, began + ROUND))).collect();
    let mut times = Vec::new();
    for caller in callers {
        times.extend(caller.await.unwrap());
    }
    let per_second = times.len() as f64 / began.elapsed().as_secs_f64();
    times.sort_unstable();
    Round { per_second, p50: times[times.len() / 2], p99: times[times.len() * 99 / 100] }
}

/// One connection that sends event after event until `end`; how long each took.
async fn call(address: SocketAddr, number: u64, end: Instant) -> Vec<Duration> {
    let mut stream = TcpStream::connect(address).await.unwrap();
    stream.set_nodelay(true).unwrap();
    let mut times = Vec::new();
    let mut answer = [0; 1024];
    let mut random = number + 1;
    while Instant::now() < end {
        // A linear congruential generator (Knuth's MMIX): the same users in every run.
        random = random.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        let request = request((random >> 33) % USERS);
        let sent = Instant::now();
        stream.write_all(request.as_bytes()).await.unwrap();
        let read = stream.read(&mut answer).await.unwrap();
        times.push(sent.elapsed());
        assert!(answer[..read].starts_with(b"HTTP/1.1 202"), "{}", String::from_utf8_lossy(&answer[..read]));
    }
    times
}

fn request(user: u64) -> String {
    let start = format!(
        r#"{{"eventType":"contract.1#purchased","vendorId":"vendor_benchmark","userId":"email|{user:032x}","contractId":""#
    );
    let body = format!("{start}{}\"}}", "c".repeat(BODY_BYTES - start.len() - 2));
    format!(
        "POST /webhooks/sesamy HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer {TOKEN}\r\nContent-Length: {}\r\n\r\n{body}",
        body.len()
    )
}
