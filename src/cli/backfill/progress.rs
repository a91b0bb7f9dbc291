//! How a backfill goes, while it goes: a bar on a terminal, else a line in the log now and then.

use std::fmt::Write;
use std::io::IsTerminal;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use indicatif::{ProgressBar, ProgressState, ProgressStyle};

use crate::operations::backfill::Audience;

/// A log line comes no more often than this.
const EVERY: Duration = Duration::from_secs(30);

/// A bar where standard error is a terminal, else the log.
pub(super) fn audience() -> Arc<dyn Audience> {
    if std::io::stderr().is_terminal() { Arc::new(Bar::new()) } else { Arc::new(Log::default()) }
}

/// A bar with the rate and the time that is left.
#[derive(Debug)]
struct Bar(ProgressBar);

impl Bar {
    fn new() -> Self {
        let bar = ProgressBar::hidden();
        let shape = "{spinner} {prefix} {wide_bar} {pos}/{len} users, {rate}, {eta} left  {msg}";
        if let Ok(style) = ProgressStyle::with_template(shape) {
            let rate = |state: &ProgressState, text: &mut dyn Write| {
                // A bar that cannot be drawn is no reason to stop.
                let _ = write!(text, "{:.0} a minute", state.per_sec() * 60.0);
            };
            bar.set_style(style.with_key("rate", rate));
        }
        Self(bar)
    }
}

impl Audience for Bar {
    fn looks(&self, look: u32, users: Option<u64>) {
        self.0.set_prefix(if look == 1 { "backfill".to_owned() } else { format!("look {look}") });
        self.0.set_length(users.unwrap_or(0));
        self.0.reset();
        self.0.set_draw_target(indicatif::ProgressDrawTarget::stderr());
        self.0.enable_steady_tick(Duration::from_millis(200));
    }

    fn passed(&self, users: u64) {
        self.0.inc(users);
    }

    fn waits(&self, what: &str) {
        self.0.set_message(format!("waiting: {what}"));
    }

    fn goes_on(&self) {
        self.0.set_message("");
    }

    fn notes(&self, what: &str) {
        self.0.println(what);
    }
}

impl Drop for Bar {
    fn drop(&mut self) {
        self.0.finish_and_clear();
    }
}

/// Lines at info.
#[derive(Debug, Default)]
struct Log {
    look: AtomicU64,
    of: AtomicU64,
    passed: AtomicU64,
    last: Mutex<Option<Instant>>,
}

impl Audience for Log {
    fn looks(&self, look: u32, users: Option<u64>) {
        self.look.store(look.into(), Ordering::Relaxed);
        self.of.store(users.unwrap_or(0), Ordering::Relaxed);
        self.passed.store(0, Ordering::Relaxed);
        tracing::info!(look, users, "backfill: looking at all users");
    }

    fn passed(&self, users: u64) {
        let passed = self.passed.fetch_add(users, Ordering::Relaxed).saturating_add(users);
        let mut last = self.last.lock().unwrap_or_else(PoisonError::into_inner);
        if last.is_none_or(|last| last.elapsed() >= EVERY) {
            *last = Some(Instant::now());
            let (look, of) = (self.look.load(Ordering::Relaxed), self.of.load(Ordering::Relaxed));
            tracing::info!(look, passed, of, "backfill");
        }
    }

    fn waits(&self, what: &str) {
        tracing::info!("backfill: waiting: {what}");
    }

    fn goes_on(&self) {
        tracing::info!("backfill: going on");
    }

    fn notes(&self, what: &str) {
        tracing::warn!("backfill: {what}");
    }
}
