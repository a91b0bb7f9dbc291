//! How many events are accepted per second, each one committed and synced to disk before its 202.
//!
//! Absolute figures say little on a shared machine, so the contestants take turns, and what counts is the ratio to a bare
//! axum handler that reads the body and answers 202.

use std::path::{Path, PathBuf};
use std::time::Duration;

use axum::body::Bytes;
use axum::http::StatusCode;
use axum::routing::post;
use tempfile::TempDir;
use tokio::net::TcpListener;
use tokio::process::Command;

use crate::express;
use crate::load::{BODY_BYTES, CONNECTIONS, Round, USERS, round};
use crate::million::{self, Users};
use crate::postgres::Postgres;
use crate::process::{Process, service, sqlite};

/// What to measure.
#[derive(Debug, clap::Args)]
pub struct Arguments {
    /// How many rounds each contestant has.
    #[arg(long, default_value_t = 3)]
    rounds: usize,
    /// How long a round is.
    #[arg(long, default_value_t = 8)]
    seconds: u64,
    /// Only these contestants; the bare handler is always there.
    #[arg(long, value_enum)]
    only: Vec<Who>,
    /// Another build of the service, to be measured beside this one.
    #[arg(long, value_name = "BINARY")]
    beside: Vec<PathBuf>,
}

/// Who may be measured beside the bare handler.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
enum Who {
    /// The service on an empty SQLite file.
    Sqlite,
    /// The service on a SQLite file with a million users.
    Million,
    /// The service on Postgres.
    Postgres,
    /// Node and express, storing nothing.
    Express,
    /// Node and express with better-sqlite3.
    BetterSqlite,
}

impl Default for Arguments {
    fn default() -> Self {
        Self { rounds: 3, seconds: 8, only: Vec::new(), beside: Vec::new() }
    }
}

struct Contestant {
    name: String,
    process: Process,
    rounds: Vec<(Round, Duration)>,
    /// What it stands on.
    _files: Option<TempDir>,
    _postgres: Option<Postgres>,
}

impl Contestant {
    fn new(name: impl Into<String>, process: Process) -> Self {
        Self { name: name.into(), process, rounds: Vec::new(), _files: None, _postgres: None }
    }

    async fn round(&mut self, length: Duration) {
        let before = self.process.cpu();
        let round = round(self.process.address, length).await;
        self.rounds.push((round, self.process.cpu().saturating_sub(before)));
    }

    /// The round in the middle, by events per second.
    fn median(&self) -> Round {
        let mut rounds: Vec<_> = self.rounds.iter().map(|(round, _)| *round).collect();
        rounds.sort_by(|one, other| one.per_second.total_cmp(&other.per_second));
        rounds[rounds.len() / 2]
    }

    /// Processor time per event, in microseconds, over all rounds; that of a database's server is not in it.
    fn cpu_us(&self) -> f64 {
        let cpu: Duration = self.rounds.iter().map(|(_, cpu)| *cpu).sum();
        let events: usize = self.rounds.iter().map(|(round, _)| round.events).sum();
        cpu.as_secs_f64() * 1e6 / events as f64
    }

    fn row(&self, bare: Round) {
        let ms = |time: Duration| time.as_secs_f64() * 1_000.0;
        let of = self.median();
        let ratio = of.per_second / bare.per_second;
        println!(
            "| {} | {:.0} | {ratio:.2} | {:.2} | {:.2} | {:.1} |",
            self.name,
            of.per_second,
            ms(of.p50),
            ms(of.p99),
            self.cpu_us()
        );
    }
}

pub async fn run(arguments: Arguments) {
    let mut contestants = contestants(&arguments).await;
    let length = Duration::from_secs(arguments.seconds);
    for _ in 0..arguments.rounds {
        for contestant in &mut contestants {
            contestant.round(length).await;
        }
    }
    let cores = std::thread::available_parallelism().unwrap();
    println!(
        "{CONNECTIONS} connections, {BODY_BYTES}-byte events of {USERS} users, {cores} cores shared with the load;"
    );
    println!("the median of {} rounds of {} s each\n", arguments.rounds, arguments.seconds);
    println!(
        "| accepting | events/s | of bare axum | p50 ms | p99 ms | CPU us/event |\n|---|---|---|---|---|---|"
    );
    let bare = contestants[0].median();
    contestants.iter().for_each(|one| one.row(bare));
    beside_express(&contestants);
}

/// How many times as fast as express the service is, each on an empty file.
fn beside_express(contestants: &[Contestant]) {
    let Some(ours) = contestants.iter().find(|one| one.name == OURS) else { return };
    println!();
    for express in contestants.iter().filter(|one| one.name.starts_with(EXPRESS)) {
        let times = ours.median().per_second / express.median().per_second;
        println!("{OURS} accepts {times:.1} times as many as {}", express.name);
    }
}

const OURS: &str = "sesamy-mailmojo, SQLite";
const EXPRESS: &str = "Node express";

async fn contestants(arguments: &Arguments) -> Vec<Contestant> {
    let wanted = |who| arguments.only.is_empty() || arguments.only.contains(&who);
    let bare = Process::start(Command::new(std::env::current_exe().unwrap()).arg("bare")).await;
    let mut all = vec![Contestant::new("bare axum: body read, 202", bare)];
    let builds = std::iter::once(None).chain(arguments.beside.iter().map(|build| Some(build.as_path())));
    for build in builds {
        let whose = build.map_or_else(String::new, |build| format!(" ({})", build.display()));
        if wanted(Who::Sqlite) {
            all.push(ours(format!("{OURS}{whose}"), build, false).await);
        }
        if wanted(Who::Million) {
            all.push(ours(format!("the same with 1,000,000 users in it{whose}"), build, true).await);
        }
    }
    if wanted(Who::Postgres) {
        match postgres().await {
            Ok(contestant) => all.push(contestant),
            Err(why) => println!("(without Postgres: {why})"),
        }
    }
    if wanted(Who::Express) || wanted(Who::BetterSqlite) {
        match express::install().await {
            Ok(program) => {
                for (who, storing) in [(Who::Express, false), (Who::BetterSqlite, true)] {
                    if wanted(who) {
                        all.push(node(&program, storing).await);
                    }
                }
            }
            Err(why) => println!("(without Node: {why})"),
        }
    }
    all
}

async fn ours(name: String, build: Option<&Path>, with_a_million: bool) -> Contestant {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("queue.db");
    if with_a_million {
        million::prepare(build, &file, Users::Synced).await;
    }
    let process = Process::start(&mut service(build, &sqlite(&file))).await;
    Contestant { _files: Some(folder), ..Contestant::new(name, process) }
}

async fn postgres() -> Result<Contestant, String> {
    let postgres = Postgres::start()?;
    let process = Process::try_start(&mut service(None, &postgres.url)).await;
    let process = process.ok_or("the service does not start on it")?;
    Ok(Contestant { _postgres: Some(postgres), ..Contestant::new("sesamy-mailmojo, Postgres", process) })
}

async fn node(program: &Path, storing: bool) -> Contestant {
    let folder = tempfile::tempdir().unwrap();
    let file = storing.then(|| folder.path().join("events.db"));
    let process = Process::start(&mut express::command(program, file.as_deref())).await;
    let what = if storing { "better-sqlite3, a transaction a request" } else { "stores nothing" };
    Contestant { _files: Some(folder), ..Contestant::new(format!("{EXPRESS}: {what}"), process) }
}

/// The bare handler, in a process of its own.
pub async fn bare() {
    let read = |body: Bytes| async move {
        if body.is_empty() { StatusCode::BAD_REQUEST } else { StatusCode::ACCEPTED }
    };
    let router = axum::Router::new().route("/webhooks/sesamy", post(read));
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    println!(r#"{{"address":"{}"}}"#, listener.local_addr().unwrap());
    axum::serve(listener, router).await.unwrap();
}
