//! Log lines: JSON for machines, pretty for a terminal.

use std::io::{self, IsTerminal};

use tracing_subscriber::EnvFilter;
use tracing_subscriber::filter::ParseError;
use tracing_subscriber::fmt::writer::BoxMakeWriter;
use tracing_subscriber::util::{SubscriberInitExt, TryInitError};

/// How a line looks.
#[derive(Debug, Clone, Copy, PartialEq, Eq, strum::EnumString)]
#[strum(serialize_all = "lowercase")]
pub enum Format {
    /// One JSON object a line, its fields at the top level.
    Json,
    /// For the eye.
    Pretty,
}

/// Where lines go.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LogTarget {
    /// Standard output: the service's.
    Stdout,
    /// Standard error: a command's, whose output is its answer.
    Stderr,
}

/// Why there can be no log.
#[derive(Debug, thiserror::Error)]
pub enum LoggingError {
    /// `log.level` is no filter.
    #[error("log.level is not a filter: {0}")]
    Filter(#[from] ParseError),
    /// Something in the process logs already.
    #[error("cannot start the log: {0}")]
    Started(#[from] TryInitError),
}

/// The filter for `level`: a bare level is this service's own; libraries stay at `warn` unless a directive names them,
/// for at `debug` some of them print what must not be in a log.
///
/// # Errors
/// [`ParseError`] if `level` is not a filter.
pub fn filter(level: &str) -> Result<EnvFilter, ParseError> {
    let own = level.split(',').map(str::trim).filter(|directive| !directive.is_empty()).map(|directive| {
        let is_bare_level =
            !directive.contains(['=', ':', '[']) && directive.parse::<tracing::Level>().is_ok();
        let is_off = directive.eq_ignore_ascii_case("off");
        if is_bare_level || is_off { format!("sesamy_mailmojo={directive}") } else { directive.to_owned() }
    });
    let directives: Vec<String> = std::iter::once("warn".to_owned()).chain(own).collect();
    EnvFilter::builder().parse(directives.join(","))
}

/// Begins to log, for the whole process. `format` none: pretty on a terminal, else JSON.
///
/// # Errors
/// [`LoggingError`].
pub fn start_logging(level: &str, format: Option<Format>, target: LogTarget) -> Result<(), LoggingError> {
    let (is_terminal, writer) = match target {
        LogTarget::Stdout => (io::stdout().is_terminal(), BoxMakeWriter::new(io::stdout)),
        LogTarget::Stderr => (io::stderr().is_terminal(), BoxMakeWriter::new(io::stderr)),
    };
    let format = format.unwrap_or(if is_terminal { Format::Pretty } else { Format::Json });
    let builder = tracing_subscriber::fmt().with_env_filter(filter(level)?).with_writer(writer);
    match format {
        Format::Json => {
            let json = builder.json().flatten_event(true).with_current_span(false).with_span_list(false);
            json.finish().try_init()?;
        }
        Format::Pretty => builder.with_ansi(is_terminal).with_target(false).finish().try_init()?,
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_bare_level_is_our_own_and_libraries_stay_at_warn() {
        for (level, expected) in [
            ("debug", vec!["sesamy_mailmojo=debug", "warn"]),
            ("info,hyper=debug", vec!["sesamy_mailmojo=info", "hyper=debug", "warn"]),
            ("off", vec!["sesamy_mailmojo=off", "warn"]),
            ("", vec!["warn"]),
        ] {
            let shown = filter(level).unwrap().to_string();
            for directive in expected {
                assert!(shown.split(',').any(|it| it == directive), "{directive} is not in {shown}");
            }
        }
        assert!(filter("loud=very").is_err());
    }
}
