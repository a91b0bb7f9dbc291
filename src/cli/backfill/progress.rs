//! How far a backfill is, on standard error: a bar on a terminal, elsewhere a line every 10 s.
//!
//! Neither goes through the log, so `log.level` does not silence it.

use std::io::IsTerminal;
use std::time::{Duration, Instant};

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};

use crate::cli::answer::length;
use crate::operations::backfill::Snapshot;

/// A line comes no more often than this, unless it waits for something else than before.
const EVERY: Duration = Duration::from_secs(10);

/// Shows snapshots as they come.
#[derive(Debug)]
pub(super) struct Display {
    /// None where standard error is not a terminal.
    bar: Option<ProgressBar>,
    began: Instant,
    /// Users who were done when it began.
    done_before: Option<u64>,
    last: Option<(Instant, Snapshot)>,
}

impl Display {
    pub(super) fn new() -> Self {
        let bar = std::io::stderr().is_terminal().then(|| {
            let bar = ProgressBar::with_draw_target(None, ProgressDrawTarget::stderr());
            if let Ok(style) = ProgressStyle::with_template("{spinner} {wide_bar} {msg}") {
                bar.set_style(style);
            }
            bar.enable_steady_tick(Duration::from_millis(200));
            bar
        });
        Self { bar, began: Instant::now(), done_before: None, last: None }
    }

    pub(super) fn show(&mut self, snapshot: &Snapshot) {
        let done_before = *self.done_before.get_or_insert(snapshot.done);
        let rate = Rate { users: snapshot.done.saturating_sub(done_before), time: self.began.elapsed() };
        let text = text(snapshot, rate);
        if let Some(bar) = &self.bar {
            bar.set_length(snapshot.all);
            bar.set_position(snapshot.done);
            bar.set_message(text);
            return;
        }
        let is_news = |last: &Snapshot| {
            last.waits_for != snapshot.waits_for || last.works_itself != snapshot.works_itself
        };
        if self.last.as_ref().is_none_or(|(at, last)| at.elapsed() >= EVERY || is_news(last)) {
            anstream::eprintln!("backfill: {text}");
            self.last = Some((Instant::now(), snapshot.clone()));
        }
    }
}

impl Drop for Display {
    fn drop(&mut self) {
        if let Some(bar) = &self.bar {
            bar.finish_and_clear();
        }
    }
}

/// Users done in a time.
#[derive(Debug, Clone, Copy)]
struct Rate {
    users: u64,
    time: Duration,
}

impl Rate {
    fn per_minute(self) -> u64 {
        self.users.saturating_mul(60) / self.time.as_secs().max(1)
    }

    /// How long so many more users take; none while nobody is done.
    fn time_for(self, users: u64) -> Option<Duration> {
        let millis = u64::try_from(self.time.as_millis()).unwrap_or(u64::MAX);
        Some(Duration::from_millis(millis.saturating_mul(users).checked_div(self.users)?))
    }
}

fn text(snapshot: &Snapshot, rate: Rate) -> String {
    let Snapshot { done, all, retrying, waits_for, works_itself } = snapshot;
    let mut text = format!("{done} of {all} users, {} a minute", rate.per_minute());
    if let Some(left) = rate.time_for(all.saturating_sub(*done)).filter(|_| waits_for.is_none()) {
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
        let rate = |users| Rate { users, time: Duration::from_secs(120) };
        let waits_for = Some("sesamy is at rest".to_owned());
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
                "500 of 1000 users, 250 a minute; waiting: sesamy is at rest",
            ),
        ] {
            assert_eq!(text(&snapshot, rate(users)), expected);
        }
    }
}
