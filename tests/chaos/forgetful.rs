//! A source that forgets: Sesamy answers that nobody has bought anything, and the removal guard has to stop what follows.
//!
//! | what happens | in the end |
//! |---|---|
//! | all lists of purchases are empty, and events come for every user, and the service is killed in the middle | at most 25 users and those in flight have lost the tags of their access |
//! | Sesamy lists everything again, and an operator releases the guard | every contact is as before |

use std::collections::BTreeSet;
use std::time::{Duration, Instant};

use serde_json::{Value, json};
use sesamy_mailmojo::sandbox::{Fault, Mailmojo, Route, Rule};

use crate::member::Apis;
use crate::support::harness::{Town, command};

/// How many users may lose their tags before the guard stops all others.
const LOST_BEFORE: usize = 25;
/// How long the service may take until nothing is left to do but what the guard holds back.
const PATIENCE: Duration = Duration::from_secs(60);
const LEFT_BUT_HELD: &str =
    "SELECT count(*) FROM users WHERE due_at IS NOT NULL AND NOT (cause = 'drift' AND lane = 2)";

pub fn forgets_purchases(apis: &Apis) {
    for route in [Route::Contracts, Route::Entitlements] {
        apis.sesamy.inject(Rule::on(route, Fault::edit(|answer| *answer = json!([]))));
    }
}

/// The addresses whose contacts have a tag that only access gives.
pub fn having_access(mailmojo: &Mailmojo) -> BTreeSet<String> {
    let gives_access = |tag: &String| tag.starts_with("sesamy_active_");
    let contacts = mailmojo.contacts().into_iter().filter(|contact| contact.tags.iter().any(gives_access));
    contacts.map(|contact| contact.email).collect()
}

/// Fails if more users have lost their access than the guard lets pass: `in_flight` may be under way when it trips, and as
/// many were when the service was killed.
pub fn judges(before: &BTreeSet<String>, mailmojo: &Mailmojo, in_flight: usize) -> Result<usize, String> {
    let now = having_access(mailmojo);
    let lost: Vec<&String> = before.difference(&now).collect();
    if lost.len() > LOST_BEFORE + 2 * in_flight {
        return Err(format!(
            "a source that forgot all purchases took the tags of {} of {} contacts: {lost:?}",
            lost.len(),
            before.len()
        ));
    }
    Ok(lost.len())
}

/// As an operator does it: the guard's window begins anew, also where it has not tripped.
pub async fn releases_the_guard(town: &Town) {
    let resume = command().args(["queue", "resume"]).envs(town.settings()).output().await.unwrap();
    assert!(resume.status.success(), "{resume:?}");
}

/// Waits until nothing is left to do but what the guard holds back.
pub async fn waits(town: &Town, has_file: bool) -> Result<(), String> {
    let began = Instant::now();
    while left(town, has_file).await != Some(0) {
        if began.elapsed() > PATIENCE {
            let log = town.service.output.tail();
            return Err(format!(
                "after {PATIENCE:?} a source that forgot all purchases is not synced:\n{log}"
            ));
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    Ok(())
}

async fn left(town: &Town, has_file: bool) -> Option<i64> {
    if has_file {
        return town.query(LEFT_BUT_HELD).ok();
    }
    let status = command().args(["queue", "--json"]).envs(town.settings()).output().await.unwrap();
    let status: Value = serde_json::from_slice(&status.stdout).ok()?;
    ["due", "leased", "scheduled", "failing"].iter().map(|state| status["rows"][state].as_i64()).sum()
}
