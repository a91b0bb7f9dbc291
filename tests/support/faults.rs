//! What the stories about failures share: people, and looks at an API's rest, the log and the queue's file.

use std::time::Duration;

use serde_json::{Value, json};
use sesamy_mailmojo::sandbox::{Call, user};

use crate::support::harness::{PATIENCE, Town};

/// Sesamy knows these users, each with an address made of the id.
pub fn people(town: &Town, ids: &[&str]) {
    for id in ids {
        town.sandbox.sesamy.put_user(user(id).email(&address(id)));
    }
}

/// The address of one of the [`people`].
pub fn address(id: &str) -> String {
    format!("{id}@example.com")
}

/// The contact that is asked for to find out whether Mailmojo is well.
pub const NOBODY: &str = "nobody@sesamy-mailmojo.invalid";

/// Sends an event of each of these users.
pub async fn events(town: &Town, ids: &[&str]) {
    for id in ids {
        assert_eq!(town.event("userVendor.1#update", id).await, 202);
    }
}

/// What `/readyz` tells of one API; it is ready all the while.
pub async fn api(town: &Town, name: &str) -> Value {
    let (status, ready) = town.service.get("/readyz").await;
    assert_eq!((status.as_u16(), &ready["status"]), (200, &Value::from("ok")));
    ready["apis"].as_array().unwrap().iter().find(|api| api["api"] == name).unwrap().clone()
}

/// In how many seconds the rest of an API ends, by the service's own clock.
pub async fn rest_left(town: &Town, name: &str) -> f64 {
    let (_, ready) = town.service.get("/readyz").await;
    let api = ready["apis"].as_array().unwrap().iter().find(|api| api["api"] == name).unwrap().clone();
    let moment = |value: &Value| value.as_str().unwrap().parse::<jiff::Timestamp>().unwrap().as_millisecond();
    Duration::from_millis((moment(&api["until"]) - moment(&ready["now"])).try_into().unwrap()).as_secs_f64()
}

/// Waits for the line that says that a circuit has opened.
pub async fn rests(town: &Town, api: &str, why: &str) -> Value {
    let told = |line: &Value| is_rest(line) && line["api"] == api && line["why"] == why;
    town.service.output.wait_for(&format!("a rest of {api} for {why}"), told).await
}

/// Whether a line says that a circuit has opened.
pub fn is_rest(line: &Value) -> bool {
    line["message"].as_str().is_some_and(|message| {
        message.starts_with("the circuit is open:") || message.starts_with("the circuit of writes is open:")
    })
}

/// The lines at this level, rests and parked syncs alike.
pub fn lines_at(town: &Town, level: &str) -> Vec<Value> {
    town.service.output.lines().into_iter().filter(|line| line["level"] == level).collect()
}

/// One field of each sync of `user` so far.
pub fn told(town: &Town, user: &str, field: &str) -> Vec<Value> {
    town.service.output.syncs_of(user).iter().map(|line| line[field].clone()).collect()
}

/// Waits until the log tells of `count` syncs of `user` with this outcome.
pub async fn synced(town: &Town, user: &str, outcome: &str, count: usize) -> Value {
    let matches = |line: &Value| line["user_id"] == user && line["outcome"] == outcome;
    town.service.output.wait_for_nth(count, &format!("{count} syncs of {user}: {outcome}"), matches).await
}

/// Waits until so many requests that `counts` counts have ended.
pub async fn calls(town: &Town, count: usize, counts: impl Fn(&Call) -> bool) -> Vec<Call> {
    let of = || town.sandbox.calls().into_iter().filter(&counts).collect::<Vec<_>>();
    town.sandbox.wait_until(PATIENCE, |_| of().len() >= count).await.unwrap();
    of()
}

/// One text from the queue's file.
pub fn text(town: &Town, sql: &str) -> Option<String> {
    let flags = rusqlite::OpenFlags::SQLITE_OPEN_READ_ONLY;
    let queue = rusqlite::Connection::open_with_flags(town.queue_file(), flags).unwrap();
    queue.busy_timeout(Duration::from_secs(5)).unwrap();
    queue.query_row(sql, [], |row| row.get(0)).unwrap()
}

/// So many milliseconds pass for the rows of all users: what they remember of times, and their checks, are so much earlier.
pub fn time_passes(town: &Town, ms: i64) {
    let queue = rusqlite::Connection::open(town.queue_file()).unwrap();
    queue.busy_timeout(Duration::from_secs(5)).unwrap();
    let mut statement = queue.prepare("SELECT user_id, last_seen, missing_since FROM users").unwrap();
    let rows = statement.query_map([], |row| Ok((row.get(0)?, row.get(1)?, row.get(2)?))).unwrap();
    let rows: Vec<(String, Option<String>, Option<i64>)> = rows.map(Result::unwrap).collect();
    for (user, last_seen, missing_since) in rows {
        let missing_since = missing_since.map(|since| since - ms);
        let last_seen = last_seen.map(|text| {
            let mut last_seen: Value = serde_json::from_str(&text).unwrap();
            let since =
                missing_since.map(|since| jiff::Timestamp::from_millisecond(since).unwrap().to_string());
            last_seen["missing_since"] = json!(since);
            last_seen.to_string()
        });
        let changed = "UPDATE users SET last_seen = ?2, missing_since = ?3, check_at = check_at - ?4 WHERE user_id = ?1";
        queue.execute(changed, (user, last_seen, missing_since, ms)).unwrap();
    }
}

/// The most memory that the service has had at a time, in bytes, since the last [`forget_memory`].
pub fn most_memory(town: &Town) -> u64 {
    let status = std::fs::read_to_string(of_process(town, "status")).unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).unwrap();
    line.trim().trim_end_matches(" kB").parse::<u64>().unwrap() * 1024
}

/// Begins a new count of it.
pub fn forget_memory(town: &Town) {
    std::fs::write(of_process(town, "clear_refs"), "5").unwrap();
}

fn of_process(town: &Town, what: &str) -> String {
    format!("/proc/{}/{what}", town.service.pid().as_raw_nonzero())
}
