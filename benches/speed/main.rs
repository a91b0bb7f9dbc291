//! Speed, shown side by side. `cargo bench` runs all but the soak; arguments select:
//!
//! ```sh
//! cargo bench -- accept            # events accepted per second, beside a bare handler and Node
//! cargo bench -- figures           # CPU, leases, start, memory, a sync's own cost, calls, paces
//! cargo bench -- calls             # of these, the calls alone
//! cargo bench -- backfill          # of these, a backfill's pace alone: two minutes
//! cargo bench -- soak --minutes 30 # steady mixed load with faults; fails where memory grows
//! ```
//!
//! It starts everything itself: the service in processes of its own, the contestants, the sandbox as both APIs, and a
//! private Postgres where there is one (`TEST_POSTGRES_URL` names another). Files are in the system's folder for temporary files
//! (set TMPDIR to measure another disk). What is not installed is left out with a line that says so.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a benchmark that cannot go on has failed")]
#![allow(clippy::print_stdout, clippy::print_stderr, reason = "the tables are what it is for")]
#![allow(clippy::cast_precision_loss, reason = "figures for people")]

mod accept;
mod express;
mod figures;
mod load;
mod million;
mod postgres;
mod process;
mod soak;

use clap::{Parser, Subcommand};

/// Measures the service.
#[derive(Debug, Parser)]
struct Arguments {
    #[command(subcommand)]
    what: Option<What>,
    /// What cargo adds by itself.
    #[arg(long, hide = true, global = true)]
    bench: bool,
}

#[derive(Debug, Subcommand)]
enum What {
    /// How many events are accepted per second, beside others.
    Accept(accept::Arguments),
    /// What single things cost: leases, the start, memory, a sync, calls, the pace.
    Figures,
    /// Of these, how many calls to both APIs a sync makes.
    Calls,
    /// Of these, how much of its pace a backfill uses, and how long an event takes meanwhile.
    Backfill,
    /// A long steady load with faults, in which memory must not grow.
    Soak(soak::Arguments),
    /// The bare handler, in a process of its own.
    #[command(hide = true)]
    Bare,
}

#[tokio::main]
async fn main() {
    match Arguments::parse().what {
        Some(What::Accept(arguments)) => accept::run(arguments).await,
        Some(What::Figures) => figures::run().await,
        Some(What::Calls) => figures::calls_alone().await,
        Some(What::Backfill) => figures::backfill_alone().await,
        Some(What::Soak(arguments)) => soak::run(arguments).await,
        Some(What::Bare) => accept::bare().await,
        None => {
            accept::run(accept::Arguments::default()).await;
            figures::run().await;
        }
    }
}
