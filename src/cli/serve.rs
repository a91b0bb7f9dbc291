//! `serve`: the service, until a signal.

use std::panic::PanicHookInfo;

use super::CommandError;
use super::service::Service;
use super::shutdown::{Signals, Timetable};
use crate::config::Settings;

/// Runs the service until SIGTERM or SIGINT; a second signal ends the process at once.
pub(super) async fn run(settings: Settings) -> Result<(), CommandError> {
    std::panic::set_hook(Box::new(tell_where));
    let mut signals = Signals::listen().map_err(CommandError::Signals)?;
    let (list_id, dry_run) = (settings.mailmojo.list_id, settings.sync.dry_run);
    let started = tokio::select! {
        started = Service::start(settings) => started,
        signal = signals.next() => {
            tracing::info!(signal, "stopping before the service has begun");
            return Ok(());
        }
    };
    let mut service = started.inspect_err(|error| tracing::error!("{error}"))?;
    tracing::info!(
        version = env!("CARGO_PKG_VERSION"),
        address = %service.address(),
        list_id,
        dry_run,
        "the service takes events"
    );
    let signal = tokio::select! {
        signal = signals.next() => signal,
        broken = service.broken() => {
            tracing::error!("{broken}");
            return Err(broken.into());
        }
    };
    service.announce_stop();
    tracing::info!(signal, "stopping: running syncs have 8 s to end");
    tokio::select! {
        () = service.stop(Timetable::graceful()) => {
            tracing::info!("stopped; what was left undone is kept in the queue");
        }
        signal = signals.next() => tracing::warn!(signal, "stopping at once; leases end by themselves"),
    }
    Ok(())
}

/// Tells where something panicked, and not with what: that may hold what somebody sent.
fn tell_where(panic: &PanicHookInfo<'_>) {
    let place = panic.location().map(ToString::to_string).unwrap_or_default();
    tracing::error!(place, "a panic: a fault of this service; please report it");
}
