//! A damaged queue: told with the mend, never written into, never replaced in silence; and no event is answered 2xx.
//!
//! The kinds of damage one by one are told in `src/queue/sqlite/tests/damage.rs`.

use std::fs::File;
use std::io::{Seek, SeekFrom, Write};
use std::path::Path;

use rusqlite::Connection;
use serde_json::Value;

use crate::support::faults::lines_at;
use crate::support::harness::Town;
use crate::support::shell::run;

const PAGE: u64 = 1_024;
/// More than is checked before a start: some 12 MB.
const MANY: u32 = 100_000;

/// A town without a service, and `users` rows in its queue.
async fn town_of(users: u32) -> Town {
    let mut town = Town::with(&[("SYNC__DEBOUNCE", "1h")]).await;
    town.service.kill().await;
    let file = Connection::open(town.queue_file()).unwrap();
    let fill = "
        WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < ?1)
        INSERT INTO users (user_id, generation, cause, due_at)
        SELECT printf('email|%040d', i), 1, 'userVendor.1#update', unixepoch() * 1000 + 1800000 + i FROM n";
    file.execute(fill, [users]).unwrap();
    town
}

fn overwrite(path: &Path, page: u64, pages: u64) {
    let mut file = File::options().write(true).open(path).unwrap();
    file.seek(SeekFrom::Start(page * PAGE)).unwrap();
    file.write_all(&vec![0xA5; usize::try_from(pages * PAGE).unwrap()]).unwrap();
}

fn pages(path: &Path) -> u64 {
    std::fs::metadata(path).unwrap().len() / PAGE
}

#[tokio::test]
async fn a_damaged_file_is_refused_at_the_start_with_the_mend_and_left_as_it_is() {
    let half = |path: &Path| File::options().write(true).open(path).unwrap().set_len(pages(path) / 2 * PAGE);
    let out_of_step = |path: &Path| {
        Connection::open(path).unwrap().execute_batch("DROP INDEX users_due").unwrap();
    };
    type Harm<'a> = Box<dyn Fn(&Path) + 'a>;
    let harms: [(Harm, &str); 4] = [
        (Box::new(|path| overwrite(path, 0, 1)), "is not an SQLite database"),
        (Box::new(|path| overwrite(path, pages(path) / 2, 4)), "is damaged"),
        (Box::new(|path| half(path).unwrap()), "is damaged"),
        (Box::new(out_of_step), "is damaged: no such index: users_due"),
    ];
    for (harm, told) in harms {
        let town = town_of(500).await;
        let path = town.queue_file();
        harm(&path);
        let before = std::fs::read(&path).unwrap();
        let ended = run(&["serve"], town.settings()).await;
        assert_eq!(ended.code, Some(1), "{ended:?}");
        for part in [told, "backup", &path.display().to_string()] {
            assert!(ended.stderr.contains(part), "{part} is not in {}", ended.stderr);
        }
        assert!(std::fs::read(&path).unwrap() == before, "{told}: the file was changed");
    }
}

#[tokio::test]
async fn in_a_large_file_damage_is_told_right_after_the_start_and_no_event_goes_into_it() {
    let mut town = town_of(MANY).await;
    let path = town.queue_file();
    overwrite(&path, pages(&path) / 2, 4);
    let before = std::fs::read(&path).unwrap();
    town.restart(&[]).await;

    // However soon it comes: an event waits for the check.
    assert_eq!(town.event("contract.1#update", "kari").await, 503);
    let errors = lines_at(&town, "ERROR");
    let told = |line: &Value| line["message"].as_str().unwrap().contains("is damaged");
    assert_eq!(errors.iter().filter(|line| told(line)).count(), 1, "{errors:?}");
    let message = errors.iter().find(|line| told(line)).unwrap()["message"].as_str().unwrap();
    for part in [&*path.display().to_string(), "Stop the service and put a backup in its place"] {
        assert!(message.contains(part), "{part} is not in {message}");
    }
    let (status, ready) = town.service.get("/readyz").await;
    assert_eq!((status.as_u16(), &ready["status"]), (503, &"not_accepting".into()));
    assert_eq!(town.service.get("/healthz").await.0, 200, "a restart would mend nothing");
    assert_eq!(town.event("contract.1#update", "kari").await, 503);

    town.service.terminate();
    assert!(town.service.ended().await.success());
    assert!(std::fs::read(&path).unwrap() == before, "the file was changed");
}

#[tokio::test]
async fn damage_that_is_met_while_it_runs_is_told_and_no_event_goes_into_the_file_from_then_on() {
    let mut town = town_of(MANY).await;
    let path = town.queue_file();
    town.restart(&[]).await;
    assert_eq!(town.event("contract.1#update", "kari").await, 202);
    overwrite(&path, 1, pages(&path) - 1);
    // Wherever in the file these users belong.
    let mut refused = 0;
    for number in 0..50 {
        let user = format!("email|{:040}", number * 1_999);
        let status = town.event("contract.1#update", &user).await;
        refused += u32::from(status == 503);
        assert!(status == 503 || (status == 202 && refused == 0), "{status} after {refused} refusals");
    }
    assert!(refused > 40, "{refused}");
    let told = |line: &Value| line["message"].as_str().is_some_and(|it| it.contains("is damaged"));
    town.service.output.wait_for("the damage", told).await;
    assert_eq!(town.service.get("/readyz").await.0, 503);
}

#[tokio::test]
async fn a_new_queue_is_told_too_for_where_one_was_expected_a_volume_may_be_missing() {
    let mut town = Town::start().await;
    let is_new = |line: &Value| line["message"] == "a new queue, with nobody in it";
    let told = town.service.output.wait_for("a new queue", is_new).await;
    assert_eq!(told["path"], town.queue_file().display().to_string());
    town.crash_and_restart(&[]).await;
    assert!(!town.service.output.lines().iter().any(is_new));
}
