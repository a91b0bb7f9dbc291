//! `check`: the settings, then harmless calls to each API.

use std::io::Write;
use std::sync::Arc;

use anstyle::{AnsiColor, Style};
use serde::Serialize;

use super::answer;
use super::wiring::{Clients, clients, quotas};
use super::{CommandError, Output};
use crate::clock::Clock;
use crate::config::Settings;
use crate::mailmojo;
use crate::upstream::{Attempt, Failure, Meter, OwnMeter};

/// One thing that was checked.
#[derive(Debug, Serialize)]
struct Check {
    /// `settings`, `sesamy` or `mailmojo`.
    what: &'static str,
    ok: bool,
    /// What was found, or what failed.
    detail: String,
    /// The API's own words about what failed.
    api_said: Option<String>,
}

/// The answer of `check --json`.
#[derive(Debug, Serialize)]
struct Answer {
    ok: bool,
    checks: Vec<Check>,
}

/// Makes one call that reads users, and three that need what the service needs of a Mailmojo token; writes nothing.
pub(super) async fn run(settings: Settings, output: Output) -> Result<(), CommandError> {
    let clock = Clock::system();
    let meter: Arc<dyn Meter> = Arc::new(OwnMeter::new(quotas(&settings), clock.clone()));
    let Clients { sesamy, mailmojo, .. } =
        clients(&settings, &meter, &clock).map_err(|error| CommandError::Service(error.into()))?;
    let attempt = Attempt::within(settings.sync.deadline, &clock);

    let mut checks =
        vec![Check { what: "settings", ok: true, detail: "complete".to_owned(), api_said: None }];
    let users = sesamy.probe(&attempt).await;
    checks.push(check("sesamy", users.map(|()| "the credentials are good for reading users".to_owned())));
    checks.extend(of_mailmojo(&mailmojo, &attempt).await);

    let ok = checks.iter().all(|check| check.ok);
    if output.json {
        print_json(checks)?;
    } else {
        checks.iter().try_for_each(print)?;
    }
    if ok { Ok(()) } else { Err(CommandError::Told) }
}

/// For programs, wrong settings are an answer as well; for people, the error says it all. Gives the error on.
pub(super) fn without_settings(error: CommandError, output: Output) -> std::io::Result<CommandError> {
    if output.json {
        let detail = error.to_string();
        print_json(vec![Check { what: "settings", ok: false, detail, api_said: None }])?;
    }
    Ok(error)
}

fn print_json(checks: Vec<Check>) -> std::io::Result<()> {
    let answer = Answer { ok: checks.iter().all(|check| check.ok), checks };
    let json = serde_json::to_string_pretty(&answer).map_err(std::io::Error::other)?;
    writeln!(anstream::stdout(), "{json}")
}

/// One call after the other, up to the first that fails: after a refusal the API rests, and later ones would only say so.
async fn of_mailmojo(mailmojo: &mailmojo::Client, attempt: &Attempt) -> Vec<Check> {
    let id = mailmojo.list_id();
    let list = mailmojo.list(attempt).await.map(|list| match list.name {
        Some(name) => format!("list {id} is “{name}”"),
        None => format!("list {id} is there, without a name"),
    });
    let mut checks = vec![check("mailmojo", list)];
    if checks[0].ok {
        let read = mailmojo.can_read_contacts(attempt).await;
        checks.push(check(
            "mailmojo",
            read.map(|()| "the token may read contacts (scope contacts)".to_owned()),
        ));
    }
    if checks.iter().all(|check| check.ok) {
        let read = mailmojo.can_read_subscribers(attempt).await;
        let told = "the token may read the list's subscribers (scope subscribe)";
        checks.push(check("mailmojo", read.map(|()| told.to_owned())));
    }
    checks
}

fn check(what: &'static str, result: Result<String, Failure>) -> Check {
    match result {
        Ok(detail) => Check { what, ok: true, detail, api_said: None },
        Err(failure) => {
            let message = failure.to_string();
            let detail =
                message.strip_prefix(what).and_then(|rest| rest.strip_prefix(": ")).unwrap_or(&message);
            Check { what, ok: false, detail: detail.to_owned(), api_said: answer::said(failure.own_words()) }
        }
    }
}

fn print(check: &Check) -> std::io::Result<()> {
    let (color, word) = if check.ok { (AnsiColor::Green, "ok    ") } else { (AnsiColor::Red, "failed") };
    let style = Style::new().fg_color(Some(color.into())).bold();
    let mut line = format!("{style}{word}{style:#}  {:<9}{}", check.what, check.detail);
    if let Some(words) = &check.api_said {
        line += &format!("\n                 {}", answer::quoted(words));
    }
    answer::line(&line)
}
