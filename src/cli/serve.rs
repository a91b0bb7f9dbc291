//! `serve`: the service, until a signal.

use super::service::Service;
use super::shutdown::{Signals, Timetable};
use super::{CommandError, log_as};
use crate::config::Loaded;
use crate::telemetry::LogTarget;

/// Runs the service until SIGTERM or SIGINT; a second signal ends the process at once.
pub(super) async fn run(loaded: Loaded) -> Result<(), CommandError> {
    let Loaded { settings, warnings } = loaded;
    log_as(&settings.log, LogTarget::Stdout)?;
    for warning in warnings {
        tracing::warn!("{warning}");
    }
    let mut signals = Signals::listen().map_err(CommandError::Signals)?;
    let (list_id, dry_run) = (settings.mailmojo.list_id, settings.sync.dry_run);
    let mut service = Service::start(settings).await.inspect_err(|error| tracing::error!("{error}"))?;
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
    tracing::info!(signal, "stopping: running syncs have 8 s to end");
    tokio::select! {
        () = service.stop(Timetable::graceful()) => {
            tracing::info!("stopped; what was left undone is kept in the queue");
        }
        signal = signals.next() => tracing::warn!(signal, "stopping at once; leases end by themselves"),
    }
    Ok(())
}
