//! Chaos: random users, changes, events and faults against the real service, which is killed now and then. When the faults
//! stop, every contact must be what Sesamy's state makes of it, and no write on the way may have done damage.
//!
//! `cargo test` plays a short round with a fixed seed and one with a random seed. Longer, one round after the other with
//! seeds that count up:
//!
//! ```text
//! cargo test --release --test chaos -- --minutes 30 --seed 7
//! ```
//!
//! `--seconds` is how long things go wrong in a round, `--users` how many there are, and `--postgres` the URL of a server,
//! on which each round has a database of its own, instead of a file. A seed draws the users, their changes, the faults and the settings; when
//! each of them strikes is up to the machine, so that a failure may need a few tries to come again.
//!
//! What users have and what must come of it is in `cases.rs`, `person.rs` and `ledger.rs`; users whose addresses change back
//! or are shared, and whom nobody may put on the list again, are in `household.rs` and `consent.rs`. They share nothing with
//! the service.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test that cannot go on has failed")]
#![allow(clippy::print_stdout, reason = "it tells what it did, as a test does")]

mod actor;
mod cases;
mod consent;
mod faults;
mod forgetful;
mod household;
mod ledger;
mod member;
mod person;
mod reckoning;
mod round;
mod tally;
#[path = "../support"]
#[allow(dead_code, reason = "the stories use all of it")]
mod support {
    pub mod harness;
    pub mod postgres;
}
mod unprompted;
mod watch;

use std::process::ExitCode;
use std::str::FromStr;
use std::time::{Duration, Instant};

use reqwest::Url;
use round::Plan;
use tally::Tally;

/// The seed that every `cargo test` plays.
const FIXED_SEED: u64 = 7;

/// What was asked for on the command line.
#[derive(Debug, Default)]
struct Wish {
    minutes: Option<f64>,
    seed: Option<u64>,
    seconds: Option<f64>,
    users: Option<usize>,
    postgres: Option<Url>,
    is_elsewhere: bool,
}

impl Wish {
    /// Reads the arguments. What is meant for other tests (a filter, an option of theirs) is no error.
    fn read(mut words: impl Iterator<Item = String>) -> Result<Self, String> {
        let mut wish = Self::default();
        while let Some(word) = words.next() {
            let (name, value) = match word.split_once('=') {
                Some((name, value)) => (name.to_owned(), Some(value.to_owned())),
                None => (word, None),
            };
            let mut value =
                || value.clone().or_else(|| words.next()).ok_or_else(|| format!("{name} needs a value"));
            match name.as_str() {
                "--minutes" => wish.minutes = Some(parsed(&name, &value()?)?),
                "--seed" => wish.seed = Some(parsed(&name, &value()?)?),
                "--seconds" => wish.seconds = Some(parsed(&name, &value()?)?),
                "--users" => wish.users = Some(parsed(&name, &value()?)?),
                "--postgres" => wish.postgres = Some(parsed(&name, &value()?)?),
                "--test-threads" | "--format" | "--color" | "--skip" => drop(value()?),
                "--list" => wish.is_elsewhere = true,
                option if option.starts_with('-') => {}
                filter => wish.is_elsewhere |= !"chaos".contains(filter),
            }
        }
        Ok(wish)
    }

    fn plan(&self, seed: u64) -> Plan {
        Plan {
            seed,
            trouble: Duration::from_secs_f64(self.seconds.unwrap_or(6.0)),
            users: self.users.unwrap_or(60).max(8),
            postgres: self.postgres.clone(),
        }
    }

    /// The seeds to play, one after the other; with `--minutes` without end.
    fn seeds(&self) -> Box<dyn Iterator<Item = u64>> {
        match (self.minutes, self.seed) {
            (Some(_), seed) => Box::new(seed.unwrap_or_else(random_seed)..),
            (None, Some(seed)) => Box::new([seed].into_iter()),
            (None, None) => Box::new([FIXED_SEED, random_seed()].into_iter()),
        }
    }
}

fn parsed<T: FromStr>(name: &str, value: &str) -> Result<T, String> {
    value.parse().map_err(|_| format!("{value} is no value for {name}"))
}

/// Short enough to be typed.
fn random_seed() -> u64 {
    u64::from(rand::random::<u32>())
}

/// Plays one round, and tells how it went in the words of other tests.
fn play(runtime: &tokio::runtime::Runtime, plan: &Plan) -> Option<Tally> {
    println!("chaos: seed {}", plan.seed);
    let (whole, seed) = (plan.clone(), plan.seed);
    let played = runtime.block_on(async { tokio::spawn(async move { round::play(&whole).await }).await });
    match played.unwrap_or_else(|panic| Err(panic.to_string())) {
        Ok(tally) => {
            println!("{tally}\ntest chaos::seed_{seed} ... ok");
            Some(tally)
        }
        Err(why) => {
            println!("test chaos::seed_{seed} ... FAILED\n\n{why}\n\nTo play it again:");
            let (seconds, users) = (plan.trouble.as_secs_f64(), plan.users);
            println!("  cargo test --test chaos -- --seed {seed} --seconds {seconds} --users {users}\n");
            None
        }
    }
}

fn main() -> ExitCode {
    let wish = match Wish::read(std::env::args().skip(1)) {
        Ok(wish) => wish,
        Err(wrong) => {
            println!("{wrong}");
            return ExitCode::from(2);
        }
    };
    if wish.is_elsewhere {
        return ExitCode::SUCCESS;
    }
    let began = Instant::now();
    let end = began + Duration::from_secs_f64(60.0 * wish.minutes.unwrap_or(0.0));
    let runtime = tokio::runtime::Runtime::new().expect("a runtime");
    let (mut passed, mut failed, mut total) = (0, 0, Tally::default());
    for seed in wish.seeds() {
        match play(&runtime, &wish.plan(seed)) {
            Some(tally) => total.add(&tally),
            None => failed += 1,
        }
        passed += u64::from(failed == 0);
        if failed > 0 || (wish.minutes.is_some() && Instant::now() > end) {
            break;
        }
    }
    if wish.minutes.is_some() {
        println!("\nall {passed} rounds, counted from {total}");
    }
    let (word, seconds) = (if failed == 0 { "ok" } else { "FAILED" }, began.elapsed().as_secs_f64());
    println!(
        "\ntest result: {word}. {passed} passed; {failed} failed; 0 ignored; 0 measured; 0 filtered out; finished in {seconds:.2}s\n"
    );
    ExitCode::from(u8::from(failed > 0))
}
