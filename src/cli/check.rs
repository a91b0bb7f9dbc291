//! `check`: the settings, then harmless calls to each API.

use std::io::Write;

use anstyle::{AnsiColor, Style};
use serde::Serialize;

use super::service::{Clients, clients};
use super::{CommandError, Output};
use crate::clock::Clock;
use crate::config::Settings;
use crate::personal::Mask;
use crate::upstream::{Attempt, Failure};

/// One thing that was checked.
#[derive(Debug, Serialize)]
struct Check {
    /// `settings`, `sesamy` or `mailmojo`.
    what: &'static str,
    ok: bool,
    /// What was found, or what failed.
    detail: String,
}

/// The answer of `check --json`.
#[derive(Debug, Serialize)]
struct Answer {
    ok: bool,
    checks: Vec<Check>,
}

/// Makes one call that reads users, and two that need what the service needs of a Mailmojo token; writes nothing.
pub(super) async fn run(settings: Settings, output: Output) -> Result<(), CommandError> {
    let Clients { sesamy, mailmojo, .. } =
        clients(&settings, &Clock::system()).map_err(|error| CommandError::Service(error.into()))?;
    let attempt = Attempt::within(settings.sync.deadline);
    let (users, list, contacts, subscribers) = tokio::join!(
        sesamy.probe(&attempt),
        mailmojo.list(&attempt),
        mailmojo.can_read_contacts(&attempt),
        mailmojo.can_read_subscribers(&attempt),
    );
    let list_name = list.map(|list| match list.name {
        Some(name) => format!("list {} is “{name}”", settings.mailmojo.list_id),
        None => format!("list {} is there, without a name", settings.mailmojo.list_id),
    });
    let checks = vec![
        Check { what: "settings", ok: true, detail: "complete".to_owned() },
        check("sesamy", users.map(|()| "the credentials are good for reading users".to_owned())),
        check("mailmojo", list_name),
        check("mailmojo", contacts.map(|()| "the token may read contacts".to_owned())),
        check("mailmojo", subscribers.map(|()| "the token may read the list's subscribers".to_owned())),
    ];
    let answer = Answer { ok: checks.iter().all(|check| check.ok), checks };
    if output.json {
        let json = serde_json::to_string_pretty(&answer).map_err(std::io::Error::other)?;
        writeln!(anstream::stdout(), "{json}")?;
    } else {
        for check in &answer.checks {
            print(check)?;
        }
    }
    if answer.ok { Ok(()) } else { Err(CommandError::Told) }
}

fn check(what: &'static str, result: Result<String, Failure>) -> Check {
    match result {
        Ok(detail) => Check { what, ok: true, detail },
        Err(failure) => Check { what, ok: false, detail: failure.message(&Mask::default()) },
    }
}

fn print(check: &Check) -> std::io::Result<()> {
    let (color, word) = if check.ok { (AnsiColor::Green, "ok    ") } else { (AnsiColor::Red, "failed") };
    let style = Style::new().fg_color(Some(color.into())).bold();
    writeln!(anstream::stdout(), "{style}{word}{style:#}  {:<9}{}", check.what, check.detail)
}
