//! Somebody sets the machine's clock: by a year, in both directions, while the service runs and between two starts.
//!
//! The real service runs under a wall clock that the story moves; its monotonic clock goes on, as a machine's does.
#![cfg(target_os = "linux")]

use std::path::PathBuf;

use sesamy_mailmojo::sandbox::{Fault, Route, Rule};
use tokio::process::Command;

use crate::shell::{changed, preload};
use crate::town::{Service, Town, alone};
use crate::trouble::{address, events, people, synced};

const YEAR: i64 = 365 * 24 * 3_600;

/// A town whose service sees another time than the machine.
struct Elsewhen {
    town: Town,
    shim: PathBuf,
    offset: PathBuf,
}

impl Elsewhen {
    async fn at(offset: i64, settings: &[(&str, &str)]) -> Self {
        let mut town = Town::with(settings).await;
        town.service.kill().await;
        let shim = preload(town.folder.path(), "moved_clock.c");
        let mut story = Self { offset: town.folder.path().join("offset"), town, shim };
        story.set(offset);
        story.start(&[]).await;
        story
    }

    /// Moves the clock to so many seconds from the machine's.
    fn set(&self, offset: i64) {
        let new = self.offset.with_extension("new");
        std::fs::write(&new, offset.to_string()).unwrap();
        std::fs::rename(new, &self.offset).unwrap();
    }

    async fn start(&mut self, settings: &[(&str, &str)]) {
        let clock =
            [("LD_PRELOAD", self.shim.to_str().unwrap()), ("MOVED_CLOCK", self.offset.to_str().unwrap())];
        let settings = changed(&changed(self.town.settings(), &clock), settings);
        let serve = alone(Command::new(env!("CARGO_BIN_EXE_sesamy-mailmojo")));
        self.town.service = Service::start_by(serve, &settings).await;
    }

    async fn stop(&mut self) {
        self.town.service.terminate();
        assert!(self.town.service.ended().await.success());
    }

    /// The year that the service's log tells last.
    fn year(&self) -> i64 {
        let lines = self.town.service.output.lines();
        let last = lines.iter().rev().find_map(|line| line["timestamp"].as_str().map(str::to_owned)).unwrap();
        last[..4].parse().unwrap()
    }
}

#[tokio::test]
async fn a_clock_that_jumps_while_the_service_runs_changes_nothing() {
    let story = Elsewhen::at(0, &[]).await;
    let town = &story.town;
    people(town, &["before", "after", "back", "tried-again"]);
    town.sync("before").await;
    let now = story.year();
    for (offset, user) in [(2 * YEAR, "after"), (-2 * YEAR, "back")] {
        story.set(offset);
        town.sync(user).await;
        town.contact(&address(user));
        assert_ne!(story.year(), now, "the clock has not moved");
    }
    // A retry and the end of a rest that were set before a jump back come as soon as they would have.
    story.set(2 * YEAR);
    town.sandbox.sesamy.inject(Rule::on(Route::Profile, Fault::status(500)).times(2));
    town.sandbox.mailmojo.inject(Rule::on(Route::ContactGet, Fault::status(403)).times(1));
    events(town, &["tried-again"]).await;
    synced(town, "tried-again", "failed", 1).await;
    story.set(-2 * YEAR);
    synced(town, "tried-again", "postponed", 1).await;
    story.set(-4 * YEAR);
    town.settled().await;
    town.contact(&address("tried-again"));
    assert_eq!(town.service.get("/healthz").await.0, 200);
}

#[tokio::test]
async fn a_queue_that_was_written_a_year_ago_by_the_clock_is_gone_on_with() {
    let mut story = Elsewhen::at(-YEAR, &[("SYNC__DEBOUNCE", "1h")]).await;
    people(&story.town, &["kari"]);
    events(&story.town, &["kari"]).await;
    story.stop().await;
    story.set(0);
    story.start(&[]).await;
    story.town.settled().await;
    story.town.contact(&address("kari"));
}

#[tokio::test]
async fn a_queue_that_was_written_a_year_ahead_is_gone_on_with_soon_and_not_in_a_year() {
    let mut story = Elsewhen::at(YEAR, &[("SYNC__DEBOUNCE", "1h")]).await;
    people(&story.town, &["kari"]);
    events(&story.town, &["kari"]).await;
    story.stop().await;
    story.set(0);
    // The furthest that anybody can be due is the longest wait or the longest lease: five seconds.
    let short = [("SYNC__DEBOUNCE", "50ms"), ("SYNC__DEADLINE", "3s"), ("SYNC__REQUEST_TIMEOUT", "1s")];
    story.start(&short).await;
    story.town.settled().await;
    story.town.contact(&address("kari"));
}
