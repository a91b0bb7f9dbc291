//! Signals, and the steps of a stop.

use std::io;
use std::time::Duration;

use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use super::error::CommandError;

/// SIGTERM and SIGINT, listened for from the moment this is made.
#[derive(Debug)]
pub(super) struct Signals {
    terminate: Signal,
    interrupt: Signal,
}

impl Signals {
    /// Begins to listen.
    ///
    /// # Errors
    /// The system's.
    pub(super) fn listen() -> io::Result<Self> {
        Ok(Self { terminate: signal(SignalKind::terminate())?, interrupt: signal(SignalKind::interrupt())? })
    }

    /// The next signal's name.
    pub(super) async fn next(&mut self) -> &'static str {
        tokio::select! {
            _ = self.terminate.recv() => "SIGTERM",
            _ = self.interrupt.recv() => "SIGINT",
        }
    }
}

/// A token that the first signal cancels; the second ends the process as usual.
pub(super) fn stop_on_signal() -> Result<CancellationToken, CommandError> {
    let mut signals = Signals::listen().map_err(CommandError::Signals)?;
    let stop = CancellationToken::new();
    let token = stop.clone();
    tokio::spawn(async move {
        signals.next().await;
        token.cancel();
        signals.next().await;
        std::process::exit(130);
    });
    Ok(stop)
}

/// When the steps of a stop are, counted from its beginning.
#[derive(Debug, Clone, Copy)]
pub(super) struct Timetable {
    began: Instant,
    linger: Duration,
    cut_off: Duration,
    end: Duration,
}

impl Timetable {
    /// For the service: load balancers have two seconds to notice, and everything ends before Docker kills after ten.
    pub(super) fn graceful() -> Self {
        let seconds = Duration::from_secs;
        let end = Duration::from_millis(9_500);
        Self { began: Instant::now(), linger: seconds(2), cut_off: seconds(8), end }
    }

    /// For the demo, whose only client is itself.
    pub(super) fn prompt() -> Self {
        let seconds = Duration::from_secs;
        Self { began: Instant::now(), linger: Duration::ZERO, cut_off: seconds(2), end: seconds(10) }
    }

    /// The time during which connections are still accepted.
    pub(super) async fn linger(&self) {
        tokio::time::sleep_until(self.began + self.linger).await;
    }

    /// The time for everything, including a store that does not answer.
    pub(super) async fn end(&self) {
        tokio::time::sleep_until(self.began + self.end).await;
    }

    /// The time that running syncs have.
    pub(super) async fn cut_off(&self) {
        tokio::time::sleep_until(self.began + self.cut_off).await;
    }
}
