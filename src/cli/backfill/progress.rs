//! How far a backfill is, on standard error: one line, rewritten, on a terminal; elsewhere a line every 10 s.
//!
//! It bypasses the log, so `log.level` does not silence it.

use std::io::{self, IsTerminal, Write};
use std::time::{Duration, Instant};

use crate::app::backfill::LiveProgress;
use crate::cli::output::length;

/// The shortest time between two lines, unless what it waits for, or what does the syncs, has changed.
const EVERY: Duration = Duration::from_secs(10);

#[derive(Debug)]
pub(super) struct ProgressLine {
    is_terminal: bool,
    began: Instant,
    done_before: Option<u64>,
    last: Option<(Instant, LiveProgress)>,
}

impl ProgressLine {
    pub(super) fn new() -> Self {
        let is_terminal = io::stderr().is_terminal();
        Self { is_terminal, began: Instant::now(), done_before: None, last: None }
    }

    /// A line that cannot be written is no reason to stop.
    pub(super) fn show(&mut self, now: &LiveProgress) {
        let done_before = *self.done_before.get_or_insert(now.done);
        let text = text(now, now.done.saturating_sub(done_before), self.began.elapsed());
        if self.is_terminal {
            let _ = write!(anstream::stderr(), "\r\x1b[2K{text}").and_then(|()| io::stderr().flush());
            return;
        }
        let is_news = self.last.as_ref().is_none_or(|(at, last)| {
            at.elapsed() >= EVERY || last.waits_for != now.waits_for || last.works_itself != now.works_itself
        });
        if is_news {
            anstream::eprintln!("backfill: {text}");
            self.last = Some((Instant::now(), now.clone()));
        }
    }
}

impl Drop for ProgressLine {
    fn drop(&mut self) {
        if self.is_terminal {
            anstream::eprint!("\r\x1b[2K");
        }
    }
}

/// The line for `progress`, when `synced` users were done within `time`.
fn text(progress: &LiveProgress, synced: u64, time: Duration) -> String {
    let LiveProgress { done, all, retrying, waits_for, works_itself } = progress;
    let rate = synced.saturating_mul(60) / time.as_secs().max(1);
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
        let half = LiveProgress { done: 500, all: 1_000, ..LiveProgress::default() };
        let waits_for = Some("syncs are paused".to_owned());
        for (progress, synced, expected) in [
            (half.clone(), 500, "500 of 1000 users, 250 a minute, 2 min left"),
            (half.clone(), 0, "500 of 1000 users, 0 a minute"),
            (
                LiveProgress { retrying: 3, works_itself: true, ..half.clone() },
                0,
                "500 of 1000 users, 0 a minute; 3 of them failed and are tried again; no service works on the queue, so \
                 this command does the syncs",
            ),
            (
                LiveProgress { waits_for, ..half },
                500,
                "500 of 1000 users, 250 a minute; waiting: syncs are paused",
            ),
        ] {
            assert_eq!(text(&progress, synced, Duration::from_secs(120)), expected);
        }
    }
}
