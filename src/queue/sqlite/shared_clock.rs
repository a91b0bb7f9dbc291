//! One clock for all processes that have the file open.
//!
//! Leases and due times are compared across processes. The clock that counts them ([`Clock`]) cannot be set, but each process
//! reads the wall clock once to begin with, and the wall clock may be set between two starts. So the first process of
//! a boot saves when the machine started by its clock, and all later ones count from there. If the wall clock was wrong just
//! then, the queue's time stays wrong until the next boot, which harms nothing: checks go by the time of day, and nothing else
//! in the queue needs it.

use std::fs;

use rusqlite::Connection;
use serde::{Deserialize, Serialize};

use super::rows;
use crate::clock::{Clock, Millis};

/// The name of the document.
const DOCUMENT: &str = "clock";

#[derive(Debug, PartialEq, Eq, Serialize, Deserialize)]
struct SharedClock {
    /// The boot for which `anchor` counts: after another one, the clock that cannot be set begins anew.
    boot_id: String,
    /// When the machine started, in milliseconds since 1970.
    anchor: i64,
}

/// Makes `clock` count from this boot's anchor; whether the file has one. A clock that shares nothing needs none.
pub(super) fn join(connection: &Connection, clock: &Clock) -> rusqlite::Result<bool> {
    let Some(boot_id) = boot_id(clock) else { return Ok(true) };
    let saved = rows::document(connection, DOCUMENT)?;
    // A document that cannot be read is replaced, like one of another boot.
    let saved = saved.and_then(|saved| serde_json::from_str::<SharedClock>(&saved).ok());
    let Some(saved) = saved.filter(|saved| saved.boot_id == boot_id) else { return Ok(false) };
    clock.anchor_at(Millis(saved.anchor));
    Ok(true)
}

/// As [`join`], and saves the anchor of `clock` if the file has none of this boot. The connection is in a transaction.
pub(super) fn join_or_begin(connection: &Connection, clock: &Clock) -> rusqlite::Result<()> {
    if join(connection, clock)? {
        return Ok(());
    }
    let Some(boot_id) = boot_id(clock) else { return Ok(()) };
    let since_boot = i64::try_from(clock.since_boot().as_millis()).unwrap_or(i64::MAX);
    let own = SharedClock { boot_id, anchor: clock.now().0.saturating_sub(since_boot) };
    // A text and a number: this cannot fail.
    let json = serde_json::to_string(&own).unwrap_or_default();
    connection.prepare_cached(rows::SAVE_DOCUMENT)?.execute([DOCUMENT, &json])?;
    clock.anchor_at(Millis(own.anchor));
    Ok(())
}

/// Another one after each start of the machine, the same in all its containers; none on a system without one, and for a
/// manual clock.
fn boot_id(clock: &Clock) -> Option<String> {
    if clock.given().is_some() {
        return None;
    }
    let boot_id = fs::read_to_string("/proc/sys/kernel/random/boot_id").ok()?;
    Some(boot_id.trim().to_owned()).filter(|boot_id| !boot_id.is_empty())
}
