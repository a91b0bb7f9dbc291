//! Somebody sets the machine's clock: by a year, in both directions, while the service runs and between two starts; and
//! what ends by Sesamy's clock ends by no other.
//!
//! The real service runs under a wall clock that the story moves; its monotonic clock goes on, as a machine's does.
#![cfg(target_os = "linux")]

use std::path::PathBuf;

use jiff::{SignedDuration, Timestamp};
use serde_json::Value;
use sesamy_mailmojo::sandbox::{AnswerDate, Fault, Route, Rule, contact, entitlement, user};
use tokio::process::Command;

use crate::support::faults::{address, events, people, synced};
use crate::support::harness::{LIST, PATIENCE, Service, Town, alone};
use crate::support::shell::{changed, preload};

const DAY: i64 = 24 * 3_600;
const YEAR: i64 = 365 * DAY;
const TAG: &str = "sesamy_active_sku_plus";

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

    /// Starts the service as after a start of the machine, when the wall clock is read anew: all processes of one boot share a
    /// clock, whatever the wall clock says.
    async fn start(&mut self, settings: &[(&str, &str)]) {
        let queue = rusqlite::Connection::open(self.town.queue_file()).unwrap();
        let other_boot =
            "UPDATE documents SET value = json_set(value, '$.boot_id', 'of before') WHERE name = 'clock'";
        assert_eq!(queue.execute(other_boot, ()).unwrap(), 1);
        drop(queue);
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

/// Readers whose access ends so many seconds from now by Sesamy's clock, and whose contacts have its tag.
fn readers(town: &Town, ids: &[&str], seconds: i64) {
    for id in ids {
        let end = Timestamp::now() + SignedDuration::from_secs(seconds);
        let access = entitlement("e1", "plus").expires_at(&end.to_string());
        town.sandbox.sesamy.put_user(user(id).email(&address(id)).entitlement(access));
        town.sandbox.mailmojo.put_contact(contact(&address(id)).tags([TAG]).on_list(LIST));
    }
}

fn has_tag(town: &Town, id: &str) -> bool {
    town.contact(&address(id)).tags.iter().any(|tag| tag == TAG)
}

/// The log's lines about a difference between the two clocks, each with by how many minutes the service's is ahead.
fn differences(town: &Town) -> Vec<(String, i64)> {
    let of_line = |line: Value| {
        let seconds = line["ahead_seconds"].as_f64()?;
        Some((line["level"].as_str()?.to_owned(), (seconds / 60.0).round() as i64))
    };
    town.service.output.lines().into_iter().filter_map(of_line).collect()
}

#[tokio::test]
async fn a_clock_that_is_a_year_ahead_takes_nobodys_tags_and_is_logged_once() {
    const READERS: [&str; 8] = ["a", "b", "c", "d", "e", "f", "g", "h"];
    let mut story = Elsewhen::at(400 * DAY, &[("SYNC__RESYNC_EVERY", "0")]).await;
    readers(&story.town, &READERS, 300 * DAY);
    let keep_their_tags = |town: &Town| READERS.iter().all(|id| has_tag(town, id));
    story.town.sync_all(READERS).await;
    assert!(keep_their_tags(&story.town), "while it is wrong");
    assert_eq!(differences(&story.town), [("WARN".to_owned(), 400 * DAY / 60)]);
    let look = "SELECT count(*) FROM users WHERE check_at / 1000 - unixepoch('now') > 699 * 24 * 3600";
    assert_eq!(story.town.query(look).unwrap(), 8, "the next look is by the clock that is there");

    story.set(0);
    story.town.sync_all(READERS).await;
    assert!(keep_their_tags(&story.town), "set right at once");
    assert_eq!(differences(&story.town)[1..], [("INFO".to_owned(), 0)]);
    let look = "SELECT count(*) FROM users WHERE check_at / 1000 - unixepoch('now') BETWEEN 299 * 86400 AND 301 * 86400";
    assert_eq!(story.town.query(look).unwrap(), 8);

    story.stop().await;
    story.start(&[]).await;
    story.town.sync_all(READERS).await;
    assert!(keep_their_tags(&story.town), "after a start");
    assert_eq!(differences(&story.town), []);
}

/// By a clock that is behind, access that has ended would go on; by one that is ahead, it would end too soon, or would be
/// looked at time and again until it ends.
#[tokio::test]
async fn access_ends_when_it_does_at_sesamy_however_wrong_the_clock_is() {
    for (at_the_start, offset) in [(-3_600, -3_600), (3_600, 3_600), (400 * DAY, 0)] {
        let story = Elsewhen::at(at_the_start, &[]).await;
        story.set(offset);
        let town = &story.town;
        readers(town, &["over"], -600);
        readers(town, &["ends"], 4);
        let end = Timestamp::now() + SignedDuration::from_secs(4);
        town.sync_all(["over", "ends"]).await;
        assert!(!has_tag(town, "over") && has_tag(town, "ends"), "{offset}");
        town.sandbox.wait_until(PATIENCE, |_| !has_tag(town, "ends")).await.unwrap();
        let late = Timestamp::now().duration_since(end);
        assert!(
            late > SignedDuration::from_secs(0) && late < SignedDuration::from_secs(20),
            "{offset}: {late}"
        );
        town.settled().await;
        assert!(town.sandbox.count(Route::Profile) <= 4, "{offset}: two events, and the end");
    }
}

#[tokio::test]
async fn where_sesamy_does_not_say_what_time_it_is_the_clock_is_read_anew() {
    for unsaid in [AnswerDate::Absent, AnswerDate::Text("soon".to_owned())] {
        let story = Elsewhen::at(400 * DAY, &[]).await;
        let town = &story.town;
        town.sandbox.sesamy.say_date(unsaid);
        readers(town, &["kari"], 300 * DAY);
        story.set(0); // the service has started under the wrong clock
        town.sync("kari").await;
        assert!(has_tag(town, "kari"));
        readers(town, &["ola"], -600);
        town.sync("ola").await;
        assert!(!has_tag(town, "ola"));
        assert_eq!(differences(town), []);
    }
}

/// Whichever of the two clocks is right.
#[tokio::test]
async fn a_date_of_sesamys_that_is_ahead_decides() {
    let town = Town::start().await;
    readers(&town, &["kari"], DAY);
    town.sandbox.sesamy.say_date(AnswerDate::Ahead(2 * DAY));
    town.sync("kari").await;
    assert!(!has_tag(&town, "kari"));
    assert_eq!(differences(&town), [("WARN".to_owned(), -2 * DAY / 60)]);
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
