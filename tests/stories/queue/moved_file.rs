//! The queue's file is moved, replaced or deleted under the service: no event is answered 202 that no later process would
//! find, and the log says what to do.

use std::fs;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};

use serde_json::Value;
use tempfile::TempDir;

use crate::support::faults::{address, lines_at, people};
use crate::support::harness::Town;

/// A town whose queue is `data/queue.db`, reached by the link `queue.db`.
struct Story {
    town: Town,
    folder: TempDir,
}

impl Story {
    async fn begin() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let (link, file) = (folder.path().join("queue.db"), folder.path().join("data/queue.db"));
        symlink(&file, &link).unwrap();
        let settings = [("QUEUE__URL", &*format!("sqlite://{}", link.display())), ("SYNC__DEBOUNCE", "0s")];
        let town = Town::with(&settings).await;
        people(&town, &["before", "after"]);
        town.sync("before").await;
        Self { town, folder }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// Waits until the log names `file`, which is not in its place; and checks that nothing is accepted from then on.
    async fn refuses_events(&mut self, file: &str) {
        let service = &self.town.service;
        let is_moved = |line: &Value| {
            line["message"].as_str().is_some_and(|it| it.contains("is not the one that this process opened"))
        };
        let error = service.output.wait_for("that a file is not in its place", is_moved).await;
        let message = error["message"].as_str().unwrap();
        let file = self.path(file).display().to_string();
        for part in [&*file, "Put the file back", "restart the service"] {
            assert!(message.contains(part), "{part} is not in {message}");
        }
        for _ in 0..3 {
            assert_eq!(self.town.event("userVendor.1#update", "after").await, 503);
        }
        let (status, ready) = service.get("/readyz").await;
        assert_eq!((status.as_u16(), &ready["status"]), (503, &"not_accepting".into()));
        assert_eq!(service.get("/healthz").await.0, 200);
        assert_eq!(lines_at(&self.town, "ERROR").iter().filter(|line| is_moved(line)).count(), 1);
        self.town.service.terminate();
        assert!(self.town.service.ended().await.success());
    }
}

fn files(folder: &Path) -> Vec<(PathBuf, Vec<u8>)> {
    let all = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path());
    let mut files: Vec<_> = all.map(|path| (path.clone(), fs::read(path).unwrap())).collect();
    files.sort();
    files
}

#[tokio::test]
async fn a_queue_whose_file_is_not_in_its_place_any_more_accepts_nothing() {
    type Harm = fn(&Story);
    let harms: [(&str, Harm); 7] = [
        ("queue.db", |story| fs::rename(story.path("data/queue.db"), story.path("moved.db")).unwrap()),
        ("queue.db", |story| fs::remove_file(story.path("data/queue.db")).unwrap()),
        ("queue.db", |story| {
            fs::copy(story.path("data/queue.db"), story.path("copy.db")).unwrap();
            fs::rename(story.path("copy.db"), story.path("data/queue.db")).unwrap();
        }),
        ("queue.db", |story| fs::rename(story.path("data"), story.path("elsewhere")).unwrap()),
        ("queue.db", |story| {
            fs::write(story.path("other.db"), "").unwrap();
            fs::remove_file(story.path("queue.db")).unwrap();
            symlink(story.path("other.db"), story.path("queue.db")).unwrap();
        }),
        ("data/queue.db-wal", |story| fs::remove_file(story.path("data/queue.db-wal")).unwrap()),
        ("data/queue.db.lock", |story| fs::remove_file(story.path("data/queue.db.lock")).unwrap()),
    ];
    for (file, harm) in harms {
        let mut story = Story::begin().await;
        harm(&story);
        // The very next event is refused.
        assert_eq!(story.town.event("userVendor.1#update", "after").await, 503, "{file}");
        story.refuses_events(file).await;
        assert!(story.town.service.output.syncs_of("after").is_empty(), "{file}");
    }
}

#[tokio::test]
async fn that_the_file_was_moved_is_noticed_without_an_event_and_a_restart_goes_on_once_it_is_back() {
    let mut story = Story::begin().await;
    fs::rename(story.path("data/queue.db"), story.path("moved.db")).unwrap();
    story.refuses_events("queue.db").await;

    fs::rename(story.path("moved.db"), story.path("data/queue.db")).unwrap();
    story.town.restart(&[]).await;
    assert_eq!(story.town.query("SELECT count(*) FROM users WHERE user_id = 'before'"), Ok(1));
    assert_eq!(story.town.query("SELECT count(*) FROM users WHERE user_id = 'after'"), Ok(0));
    story.town.sync("after").await;
    story.town.contact(&address("after"));
}

#[tokio::test]
async fn the_file_that_took_the_queues_place_is_left_as_it_is() {
    let mut story = Story::begin().await;
    // Another queue, with its own log beside it, as of a process that was killed.
    let mut other = Town::start().await;
    assert_eq!(other.event("userVendor.1#update", "nobody").await, 202);
    other.settled().await;
    other.service.kill().await;
    fs::rename(story.path("data"), story.path("moved")).unwrap();
    fs::create_dir(story.path("data")).unwrap();
    for name in ["queue.db", "queue.db-wal"] {
        fs::copy(other.folder.path().join(name), story.path("data").join(name)).unwrap();
    }
    let before = files(&story.path("data"));
    story.refuses_events("queue.db").await;
    assert!(files(&story.path("data")) == before, "the files were changed");
}
