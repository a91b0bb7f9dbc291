//! `check`: the settings, then harmless calls to each API.

use anstyle::{AnsiColor, Style};
use serde::Serialize;

use super::bootstrap::{Clients, clients, own_meter};
use super::error::CommandError;
use super::output::{self, Output};
use crate::app::{Check, check};
use crate::clock::Clock;
use crate::config::Settings;
use crate::upstream::Attempt;

/// Checks the settings and both APIs; writes nothing.
pub(super) async fn run(settings: Settings, output: Output) -> Result<(), CommandError> {
    let clock = Clock::system();
    let Clients { sesamy, mailmojo, .. } = clients(&settings, &own_meter(&settings, &clock), &clock)?;
    let attempt = Attempt::within(settings.sync.deadline, &clock);
    let mut checks = vec![Check::of_settings(None)];
    checks.extend(check(&sesamy, &mailmojo, &attempt).await);

    let ok = checks.iter().all(|check| check.ok);
    if output.json {
        print_json(checks)?;
    } else {
        checks.iter().try_for_each(print)?;
    }
    if ok { Ok(()) } else { Err(CommandError::Reported) }
}

/// For programs, wrong settings are an answer too; for people, the error says it all.
pub(super) fn without_settings(error: CommandError, output: Output) -> std::io::Result<CommandError> {
    if output.json {
        print_json(vec![Check::of_settings(Some(error.to_string()))])?;
    }
    Ok(error)
}

fn print_json(checks: Vec<Check>) -> std::io::Result<()> {
    #[derive(Serialize)]
    struct Checks {
        ok: bool,
        checks: Vec<Check>,
    }
    output::json(&Checks { ok: checks.iter().all(|check| check.ok), checks })
}

fn print(check: &Check) -> std::io::Result<()> {
    let (color, word) = if check.ok { (AnsiColor::Green, "ok    ") } else { (AnsiColor::Red, "failed") };
    let style = Style::new().fg_color(Some(color.into())).bold();
    let mut line = format!("{style}{word}{style:#}  {:<9}{}", check.what, check.detail);
    if let Some(words) = &check.api_said {
        line += &format!("\n                 {}", output::quoted(words));
    }
    output::line(&line)
}
