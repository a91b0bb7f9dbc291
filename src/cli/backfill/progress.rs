//! How far a backfill is, on standard error: one line, rewritten, on a terminal; elsewhere a line every 10 s.
//!
//! It does not go through the log, so `log.level` does not silence it.

use std::io::{self, IsTerminal, Write};
use std::time::{Duration, Instant};

use crate::app::backfill::Snapshot;
use crate::cli::output::length;

/// A line comes no more often than this, unless what it waits for, or who does the syncs, has changed.
const EVERY: Duration = Duration::from_secs(10);

/// Shows snapshots as they come.
#[derive(Debug)]
pub(super) struct Display {
    is_terminal: bool,
    began: Instant,
    first: Option<Snapshot>,
    last: Option<(Instant, Snapshot)>,
}

impl Display {
    pub(super) fn new() -> Self {
        let is_terminal = io::stderr().is_terminal();
        Self { is_terminal, began: Instant::now(), first: None, last: None }
    }

    /// A line that cannot be written is no reason to stop.
    pub(super) fn show(&mut self, snapshot: &Snapshot) {
        let done_before = self.first.get_or_insert_with(|| snapshot.clone()).done;
        let text = text(snapshot, snapshot.done.saturating_sub(done_before), self.began.elapsed());
        if self.is_terminal {
            let _ = write!(anstream::stderr(), "\r\x1b[2K{text}").and_then(|()| io::stderr().flush());
            return;
        }
        let is_as = |last: &Snapshot| {
            (&last.waits_for, last.works_itself) == (&snapshot.waits_for, snapshot.works_itself)
        };
        if self.last.as_ref().is_none_or(|(at, last)| at.elapsed() >= EVERY || !is_as(last)) {
            anstream::eprintln!("backfill: {text}");
            self.last = Some((Instant::now(), snapshot.clone()));
        }
    }
}

impl Drop for Display {
    fn drop(&mut self) {
        if self.is_terminal {
            anstream::eprint!("\r\x1b[2K");
        }
    }
}

/// The line for `snapshot`, of whose users so many were done within `time`.
fn text(snapshot: &Snapshot, users: u64, time: Duration) -> String {
    let Snapshot { done, all, retrying, waits_for, works_itself } = snapshot;
    let rate = users.saturating_mul(60) / time.as_secs().max(1);
    let mut text = format!("{done} of {all} users, {rate} a minute");
    if rate > 0 && waits_for.is_none() {
        let left = Duration::from_secs(all.saturating_sub(*done).saturating_mul(60) / rate);
        text += &format!(", {} left", length(left));
    }
    if *retrying > 0 {
        text += &format!("; {retrying} of them failed and are tried again");
    }
    if *works_itself {
        text += "; no service works on the queue, so this command does the syncs";
    }
    if let Some(waits_for) = waits_for {
        text += &format!("; waiting: {waits_for}");
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_has_what_is_done_the_rate_and_the_time_left_or_what_it_waits_for() {
        let half = Snapshot { done: 500, all: 1_000, ..Snapshot::default() };
        let waits_for = Some("syncs are paused".to_owned());
        for (snapshot, users, expected) in [
            (half.clone(), 500, "500 of 1000 users, 250 a minute, 2 min left"),
            (half.clone(), 0, "500 of 1000 users, 0 a minute"),
            (
                Snapshot { retrying: 3, works_itself: true, ..half.clone() },
                0,
                "500 of 1000 users, 0 a minute; 3 of them failed and are tried again; no service works on the queue, so \
                 this command does the syncs",
            ),
            (
                Snapshot { waits_for, ..half },
                500,
                "500 of 1000 users, 250 a minute; waiting: syncs are paused",
            ),
        ] {
            assert_eq!(text(&snapshot, users, Duration::from_secs(120)), expected);
        }
    }
}
