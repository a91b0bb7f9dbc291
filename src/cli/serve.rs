//! `serve`: the service, until a signal.

use std::panic::PanicHookInfo;

use super::error::CommandError;
use super::service::Service;
use super::shutdown::{Signals, Timetable};
use crate::config::Settings;

/// Runs the service until SIGTERM or SIGINT; a second signal ends the process at once.
pub(super) async fn run(settings: Settings) -> Result<(), CommandError> {
    std::panic::set_hook(Box::new(log_place));
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
        page = service.page_address().map(tracing::field::display),
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

/// Logs the place of a panic and not its message, which may have somebody's data in it.
fn log_place(panic: &PanicHookInfo<'_>) {
    let place = panic.location().map(ToString::to_string).unwrap_or_default();
    tracing::error!(place, "a panic: a fault of this service; please report it");
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Write;
    use std::sync::{Arc, Mutex};

    #[derive(Clone, Default)]
    struct Log(Arc<Mutex<Vec<u8>>>);

    impl Write for Log {
        fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
            self.0.lock().unwrap().write(bytes)
        }

        fn flush(&mut self) -> std::io::Result<()> {
            Ok(())
        }
    }

    #[test]
    fn a_panic_is_logged_with_its_place_and_without_its_message() {
        let lines = Log::default();
        let writer = lines.clone();
        let log = tracing_subscriber::fmt().with_writer(move || writer.clone()).finish();
        let before = std::panic::take_hook();
        std::panic::set_hook(Box::new(log_place));
        let panicked = tracing::subscriber::with_default(log, || {
            // As the standard library does, with the text in its message.
            std::panic::catch_unwind(|| "kåri@example.com"[..2].len())
        });
        std::panic::set_hook(before);
        assert!(panicked.is_err());
        let logged = String::from_utf8(lines.0.lock().unwrap().clone()).unwrap();
        assert!(logged.contains("serve.rs:") && !logged.contains("example"), "{logged}");
    }
}
