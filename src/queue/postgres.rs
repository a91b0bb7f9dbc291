//! The queue in a Postgres database, for any number of processes.
//!
//! One task keeps events ([`writer`]), another leases and settles ([`desk`]), each on a connection of its own that is
//! made anew when it is lost ([`mod@line`]). Replicas wake each other ([`wake`]); what an operator asks is read ([`reader`])
//! and done ([`errands`]) on connections beside. The time is the database's own.
//!
//! What made it fast, measured: one statement for all events that wait, so that many commits are one; and an event of
//! a user who is due already changes no index.

mod apis;
mod by_name;
mod clockwork;
mod desk;
mod due;
mod errands;
mod fault;
mod forgotten;
mod history;
mod lanes;
mod lease;
mod leasing;
mod line;
mod memory;
mod open;
mod prune;
mod reader;
mod retry;
mod rounds;
mod rows;
mod schema;
mod settle;
mod statements;
#[cfg(test)]
mod tests;
mod tries;
mod url;
mod wake;
mod writer;

use std::time::Duration;

use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};
use sqlx::postgres::{PgConnectOptions, PgPoolOptions};
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

use self::desk::Desk;
use self::due::Due;
use self::errands::{Beside, Errands};
use self::line::Line;
use self::writer::Writer;
use super::command::Ends;
use super::{Options, Role};
use crate::clock::Clock;

pub use open::PostgresError;
pub(super) use reader::Reader;
pub use url::{Place, PostgresUrl};

/// What only tests set otherwise. The times are the machine's, not the queue's clock's.
#[derive(Debug, Clone, Copy)]
pub(super) struct Tuning {
    /// How long a statement may take.
    pub(super) answer: Duration,
    /// How long a connection may take that is made anew.
    pub(super) connect: Duration,
    /// The longest wait between two connections that fail.
    pub(super) longest_wait: Duration,
    /// How often a small write tries whether events can be kept again.
    pub(super) probe_every: Duration,
    /// How long the connection for events may be silent.
    pub(super) silence: Duration,
}

impl Default for Tuning {
    fn default() -> Self {
        Self {
            answer: Duration::from_secs(4),  // a sender waits a few seconds for its answer
            connect: Duration::from_secs(4), // one that never comes about in time would be tried for ever
            longest_wait: Duration::from_secs(2),
            probe_every: Duration::from_secs(2),
            silence: Duration::from_secs(30), // networks forget a silent connection after minutes, and tell nobody
        }
    }
}

/// Makes the database at `url` ready and starts the tasks.
pub(super) async fn open(
    url: &PostgresUrl,
    role: Role,
    options: Options,
    clock: Clock,
    seed: u64,
    tuning: Tuning,
) -> Result<(Ends, Reader), PostgresError> {
    let opened = open::open(url, role, &options, &clock).await?;

    let connect = PgConnectOptions::clone(&url.options);
    // For listening, telling, reading and errands: what may wait.
    let pool = PgPoolOptions::new()
        .max_connections(5)
        .acquire_timeout(tuning.connect)
        .idle_timeout(Duration::from_secs(60))
        .after_connect(move |connection, _| Box::pin(line::set_up_by_index(connection, tuning.answer)))
        .connect_lazy_with(connect.clone());

    let (ends, end) = Ends::new(opened.next_due);
    let due = Due::new(end.next_due);
    let mut names = StdRng::seed_from_u64(seed);
    let wake = wake::start(pool.clone(), opened.channel, names.random(), due.clone(), tuning).await;
    let beside = Beside {
        pool: pool.clone(),
        due: due.clone(),
        teller: wake.teller.clone(),
        clock: clock.clone(),
        key: opened.key.clone(),
        options,
        tuning,
    };
    let closing = CancellationToken::new();
    let (to_desk, commands) = mpsc::unbounded_channel();
    let desk = Desk {
        commands,
        line: Line::new(connect.clone(), tuning),
        due: due.clone(),
        teller: wake.teller.clone(),
        closing: closing.clone(),
        errands: Errands::new(beside),
        names,
        key: opened.key.clone(),
        doubtful: Vec::new(),
        options,
        clock: clock.clone(),
        tuning,
    };
    let writer = Writer {
        commands: end.commands,
        accepting: end.accepting,
        closed: end.closed,
        line: Line::new(connect, tuning),
        desk: to_desk,
        desk_ended: tokio::spawn(desk.run()),
        closing,
        due,
        wake,
        key: opened.key.clone(),
        options,
        clock,
        tuning,
    };
    tokio::spawn(writer.run());
    Ok((ends, Reader { pool, key: opened.key, tuning }))
}
