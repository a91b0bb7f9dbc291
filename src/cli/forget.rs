//! `forget`: users erased from the queue, and, where asked for, our tags taken off their contacts first.

use clap::Args;
use serde::Serialize;

use super::answer::{self, BAD, GOOD, QUIET};
use super::sync::stop_on_signal;
use super::wiring::{open_queue, operator};
use super::{CommandError, Output};
use crate::clock::Clock;
use crate::config::Settings;
use crate::operations::{Forgot, Forgotten, NotForgotten, Operator, Patience};
use crate::queue::{Lane, Role};
use crate::user::UserId;

/// How far the lines below a user are set in.
const INDENT: &str = "                   ";

#[derive(Debug, Clone, Args)]
pub(super) struct Options {
    /// The users' ids, as Sesamy has them.
    #[arg(required = true, value_name = "USER", value_parser = answer::user)]
    users: Vec<UserId>,
    /// Take our tags off the user's contact in Mailmojo first; the contact itself, and everything else of it, stays. Where that
    /// fails the user is not forgotten.
    #[arg(long)]
    mailmojo: bool,
    /// Go on without asking.
    #[arg(long)]
    yes: bool,
    #[command(flatten)]
    output: Output,
}

/// The answer of `forget --json`.
#[derive(Debug, Serialize)]
struct Answer {
    /// Whether everybody is forgotten.
    ok: bool,
    /// Whether it was begun: without `--yes` it only tells what would be erased.
    done: bool,
    users: Vec<One>,
}

/// What came of one user.
#[derive(Debug, Serialize)]
#[serde(untagged)]
enum One {
    Forgotten(Forgotten),
    /// `outcome` is `not_forgotten`; the row and the history are there as before.
    Failed {
        user_id: String,
        outcome: &'static str,
        error: String,
    },
}

/// Forgets one user after the other; fails if anybody is not forgotten then.
pub(super) async fn run(settings: Settings, options: Options) -> Result<(), CommandError> {
    let clock = Clock::system();
    let queue = open_queue(&settings, &clock, Role::Command { may_create: false }).await?;
    let operator = operator(&settings, queue.clone(), clock, Lane::Events)?;
    let done = if options.yes || settings.sync.dry_run || asked(&options)? {
        // As long as a lease of the service may last.
        let wait = settings.sync.deadline + 3 * settings.sync.request_timeout;
        forget(&operator, &options, wait).await
    } else {
        tell_only(&operator, &options).await
    };
    queue.close().await;
    done
}

fn asked(options: &Options) -> Result<bool, CommandError> {
    let who = match options.users.as_slice() {
        [_] => "1 user".to_owned(),
        several => format!("{} users", several.len()),
    };
    let with = if options.mailmojo { ", with our tags taken off in Mailmojo" } else { "" };
    Ok(!options.output.json && answer::confirmed(&format!("{who} will be erased for good{with}. Go on?"))?)
}

async fn tell_only(operator: &Operator, options: &Options) -> Result<(), CommandError> {
    let mut users = Vec::with_capacity(options.users.len());
    for user in &options.users {
        let one = One::of(user, operator.look_at_forgetting(user).await);
        if !options.output.json {
            print(&one, "")?;
        }
        users.push(one);
    }
    if options.output.json {
        answer::json(&Answer { ok: false, done: false, users })?;
    } else {
        answer::line("nothing was changed. Add --yes to go on.")?;
    }
    Err(CommandError::Told)
}

async fn forget(
    operator: &Operator,
    options: &Options,
    wait: std::time::Duration,
) -> Result<(), CommandError> {
    let patience = Patience { wait, stop: stop_on_signal()? };
    let mut users = Vec::with_capacity(options.users.len());
    for user in &options.users {
        let one = One::of(user, operator.forget(user, options.mailmojo, &patience).await);
        if !options.output.json {
            print(&one, " (nothing was changed: sync.dry_run is on)")?;
        }
        users.push(one);
    }
    let ok = users.iter().all(One::is_gone);
    if options.output.json {
        answer::json(&Answer { ok, done: true, users })?;
    }
    if ok { Ok(()) } else { Err(CommandError::Told) }
}

impl One {
    fn of(user: &UserId, came: Result<Forgotten, NotForgotten>) -> Self {
        match came {
            Ok(forgotten) => Self::Forgotten(forgotten),
            Err(why) => Self::Failed {
                user_id: user.as_str().to_owned(),
                outcome: "not_forgotten",
                error: why.to_string(),
            },
        }
    }

    fn is_gone(&self) -> bool {
        matches!(self, Self::Forgotten(one) if one.outcome != Forgot::WouldBeForgotten)
    }
}

fn print(one: &One, why_not: &str) -> std::io::Result<()> {
    let one = match one {
        One::Forgotten(one) => one,
        One::Failed { user_id, error, .. } => {
            return answer::line(&format!("{BAD}{:<18}{BAD:#} {user_id}\n{INDENT}{error}", "not forgotten"));
        }
    };
    let (word, style, note) = match one.outcome {
        Forgot::Forgotten => ("forgotten", GOOD, ""),
        Forgot::AlreadyForgotten => ("already forgotten", GOOD, ""),
        Forgot::WouldBeForgotten => ("would be forgotten", QUIET, why_not),
    };
    let mut line = format!("{style}{word:<18}{style:#} {}{note}", one.user);
    if one.outcome != Forgot::AlreadyForgotten {
        line += &format!("\n{INDENT}{}", of_queue(one));
    }
    for contact in one.mailmojo.iter().flatten() {
        line += &format!("\n{INDENT}the contact in Mailmojo: {}", contact.contact);
        for tag in &contact.tags_removed {
            line += &format!("\n{INDENT}  {BAD}-{BAD:#} {tag}");
        }
    }
    if one.mailmojo.as_ref().is_some_and(Vec::is_empty) {
        line += &format!("\n{INDENT}no contact in Mailmojo: no address of this user is known");
    }
    answer::line(&line)
}

fn of_queue(one: &Forgotten) -> String {
    let history = match one.history_rows {
        0 => "no history".to_owned(),
        1 => "1 row of history".to_owned(),
        rows => format!("{rows} rows of history"),
    };
    match (one.was_known, one.history_rows) {
        (true, _) => format!("what was known: one row, and {history}"),
        (false, 0) => "nothing is known of this user; later events are dropped all the same".to_owned(),
        (false, _) => format!("what was known: {history}"),
    }
}
