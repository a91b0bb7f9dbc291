//! A full disk: events are refused with 503 and a time, the service lives, and goes on when there is room again. What was
//! answered 202 before, during or after it is there.
//!
//! The disk is a real one, of a few megabytes, made of memory. Where the system lets nobody mount one, the limit on file
//! sizes in `durable.rs` is all that is tried.
#![cfg(target_os = "linux")]

use std::collections::BTreeSet;
use std::io::Write;
use std::path::Path;
use std::process::Command;

use reqwest::StatusCode;
use rusqlite::Connection;
use tempfile::TempDir;

use crate::support::faults::{address, people};
use crate::support::harness::Town;
use crate::support::http::{Answer, ask, bare, event, webhook};
use crate::support::shell::{changed, not_tried, run};

/// A file system of its own; it goes when this is dropped.
struct Disk(TempDir);

impl Disk {
    fn mount() -> Option<Self> {
        let folder = tempfile::tempdir().unwrap();
        let mounted = Command::new("mount")
            .args(["-t", "tmpfs", "-o", "size=4m", "tmpfs"])
            .arg(folder.path())
            .output()
            .is_ok_and(|mount| mount.status.success());
        if !mounted {
            not_tried("a full disk, for no file system can be mounted here");
            return None;
        }
        Some(Self(folder))
    }

    fn path(&self) -> &Path {
        self.0.path()
    }

    /// Leaves room for not one byte more.
    fn fill(&self) {
        let mut ballast = std::fs::File::create(self.path().join("ballast")).unwrap();
        for size in [65_536, 1] {
            while ballast.write_all(&vec![1; size]).is_ok() {}
        }
    }

    fn make_room(&self) {
        std::fs::remove_file(self.path().join("ballast")).unwrap();
    }
}

impl Drop for Disk {
    fn drop(&mut self) {
        // Lazily: the service may not have ended yet.
        let _ = Command::new("umount").arg("-l").arg(self.path()).status();
    }
}

struct Story {
    town: Town,
    /// Who was answered 202.
    kept: BTreeSet<String>,
    sent: usize,
    /// The town first: its service has the disk's files open.
    disk: Disk,
}

impl Story {
    async fn begin() -> Option<Self> {
        let disk = Disk::mount()?;
        let queue = format!("sqlite://{}", disk.path().join("queue.db").display());
        let town = Town::with(&[("QUEUE__URL", &queue)]).await;
        Some(Self { town, kept: BTreeSet::new(), sent: 0, disk })
    }

    /// An event of a user of its own; the answer.
    async fn event(&mut self) -> Answer {
        self.sent += 1;
        let user = format!("{:0>100}", self.sent);
        let answer = ask(&self.town.service, webhook(event("contract.1#update", &user))).await;
        if answer.status == 202 {
            self.kept.insert(user);
        }
        answer
    }

    /// Sends events until one is refused: the log has room of its own for a while.
    async fn until_refused(&mut self) {
        for _ in 0..20_000 {
            let answer = self.event().await;
            if answer.status != 202 {
                answer.is_problem(503, "queue-unavailable");
                let seconds: u64 = answer.header("retry-after").unwrap().parse().unwrap();
                assert!((1..=60).contains(&seconds), "{answer:?}");
                return;
            }
        }
        panic!("a full disk takes everything");
    }

    async fn takes_events_again(&mut self, times: usize) {
        let again = |line: &serde_json::Value| line["message"] == "events can be kept again";
        self.town.service.output.wait_for_nth(times, "that it can keep events again", again).await;
        let ready = ask(&self.town.service, bare("GET /readyz")).await;
        assert_eq!((ready.status, &ready.json()["status"]), (200, &"ok".into()));
        for _ in 0..20 {
            assert_eq!(self.event().await.status, 202);
        }
    }

    fn nothing_is_lost(&self) {
        let file = Connection::open(self.town.queue_file()).unwrap();
        assert_eq!(file.query_row("PRAGMA integrity_check", (), |row| row.get(0)), Ok("ok".to_owned()));
        let mut users = file.prepare("SELECT user_id FROM users").unwrap();
        let there: BTreeSet<String> =
            users.query_map((), |row| row.get(0)).unwrap().map(Result::unwrap).collect();
        let lost: Vec<_> = self.kept.difference(&there).collect();
        assert!(lost.is_empty(), "answered 202 and lost: {lost:?}");
    }
}

#[tokio::test]
async fn a_disk_that_is_full_refuses_events_and_takes_them_again_and_loses_nothing() {
    let Some(mut story) = Story::begin().await else { return };
    for _ in 0..50 {
        assert_eq!(story.event().await.status, 202);
    }
    for times in 1..=2 {
        story.disk.fill();
        story.until_refused().await;
        let ready = ask(&story.town.service, bare("GET /readyz")).await;
        assert_eq!((ready.status, &ready.json()["status"]), (503, &"not_accepting".into()));
        assert_eq!(ask(&story.town.service, bare("GET /healthz")).await.status, 200);
        story.disk.make_room();
        story.takes_events_again(times).await;
    }
    // And those who were waiting all the while are synced.
    people(&story.town, &["kari"]);
    story.town.sync("kari").await;
    story.town.contact(&address("kari"));
    story.town.service.kill().await;
    story.nothing_is_lost();
}

#[tokio::test]
async fn a_process_that_is_killed_on_a_full_disk_has_lost_nothing_and_starts_again_when_there_is_room() {
    let Some(mut story) = Story::begin().await else { return };
    for _ in 0..50 {
        assert_eq!(story.event().await.status, 202);
    }
    story.disk.fill();
    story.until_refused().await;
    story.town.service.kill().await;

    // Whether it can start without room depends on what the one before left; if it cannot, it tells which file.
    let listen_nowhere = changed(story.town.settings(), &[("SERVER__LISTEN", "192.0.2.1:1")]);
    let ended = run(&["serve"], &listen_nowhere).await;
    assert_eq!(ended.code, Some(1), "{ended:?}");
    let file = story.town.queue_file().display().to_string();
    let told = ended.stderr.contains(&file) && ended.stderr.contains("Is there room on its disk");
    assert!(told || ended.stderr.contains("cannot listen on"), "{}", ended.stderr);

    story.disk.make_room();
    story.town.restart(&[]).await;
    assert_eq!(story.town.service.get("/readyz").await.0, StatusCode::OK);
    for _ in 0..20 {
        assert_eq!(story.event().await.status, 202);
    }
    story.town.service.kill().await;
    story.nothing_is_lost();
}
