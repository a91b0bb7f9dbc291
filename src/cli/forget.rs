//! `forget`: users erased from the queue and, if asked for, our tags taken off their contacts first.

use clap::Args;
use serde::Serialize;

use super::error::CommandError;
use super::output::{self, Answers, BAD, GOOD, Output, QUIET, add_marked};
use super::{bootstrap, shutdown};
use crate::app::{App, AppError, Forgot, Forgotten, WaitLimit};
use crate::config::Settings;
use crate::user::UserId;

/// How far the lines below a user are indented.
const INDENT: &str = "                   ";

#[derive(Debug, Clone, Args)]
pub(super) struct ForgetArgs {
    /// The users' ids, as Sesamy has them.
    #[arg(required = true, value_name = "USER", value_parser = |id: &str| UserId::new(id))]
    users: Vec<UserId>,
    /// Take our tags off the user's contact in Mailmojo first; the contact itself, and everything else of it, stays. If that
    /// fails, the user is not forgotten.
    #[arg(long)]
    mailmojo: bool,
    /// Go on without asking.
    #[arg(long)]
    yes: bool,
    #[command(flatten)]
    output: Output,
}

/// What came of one user.
#[derive(Debug, Serialize)]
#[serde(untagged)]
enum ForgetAnswer {
    Forgotten(Forgotten),
    /// `outcome` is `not_forgotten`; the row and the history are there as before.
    Failed {
        user_id: String,
        outcome: &'static str,
        error: String,
    },
}

/// Forgets one user after the other; fails if one of them is not forgotten then.
pub(super) async fn run(settings: Settings, args: ForgetArgs) -> Result<(), CommandError> {
    let app = bootstrap::app(&settings, false).await?;
    let done = if args.yes || settings.sync.dry_run || is_confirmed(&args)? {
        forget(&app, &args).await
    } else {
        only_show(&app, &args).await
    };
    app.close().await;
    done
}

fn is_confirmed(args: &ForgetArgs) -> std::io::Result<bool> {
    let users = match args.users.as_slice() {
        [_] => "1 user".to_owned(),
        several => format!("{} users", several.len()),
    };
    let with = if args.mailmojo { ", with our tags taken off in Mailmojo" } else { "" };
    let question = format!("{users} will be erased for good{with}. Go on?");
    Ok(!args.output.json && output::confirmed(&question)?)
}

async fn only_show(app: &App, args: &ForgetArgs) -> Result<(), CommandError> {
    let mut answers = Answers::new(args.output, Some(false));
    for user in &args.users {
        let answer = ForgetAnswer::new(user, app.would_forget(user).await);
        answers.add(answer, false, |answer| text(answer, ""))?;
    }
    if !args.output.json {
        output::line("nothing was changed. Add --yes to go on.")?;
    }
    answers.end()
}

async fn forget(app: &App, args: &ForgetArgs) -> Result<(), CommandError> {
    let wait = WaitLimit { longest: app.longest_lease(), stop: shutdown::stop_on_signal()? };
    let mut answers = Answers::new(args.output, Some(true));
    for user in &args.users {
        let answer = ForgetAnswer::new(user, app.forget(user, args.mailmojo, &wait).await);
        let is_gone = answer.is_gone();
        answers.add(answer, is_gone, |answer| text(answer, " (nothing was changed: sync.dry_run is on)"))?;
    }
    answers.end()
}

impl ForgetAnswer {
    fn new(user: &UserId, forgotten: Result<Forgotten, AppError>) -> Self {
        match forgotten {
            Ok(forgotten) => Self::Forgotten(forgotten),
            Err(error) => Self::Failed {
                user_id: user.as_str().to_owned(),
                outcome: "not_forgotten",
                error: error.to_string(),
            },
        }
    }

    fn is_gone(&self) -> bool {
        matches!(self, Self::Forgotten(one) if one.outcome != Forgot::WouldBeForgotten)
    }
}

fn text(answer: &ForgetAnswer, why_not: &str) -> String {
    let one = match answer {
        ForgetAnswer::Forgotten(one) => one,
        ForgetAnswer::Failed { user_id, error, .. } => {
            return format!("{BAD}{:<18}{BAD:#} {user_id}\n{INDENT}{error}", "not forgotten");
        }
    };
    let (word, style, note) = match one.outcome {
        Forgot::Forgotten => ("forgotten", GOOD, ""),
        Forgot::AlreadyForgotten => ("already forgotten", GOOD, ""),
        Forgot::WouldBeForgotten => ("would be forgotten", QUIET, why_not),
    };
    let mut text = format!("{style}{word:<18}{style:#} {}{note}", one.user);
    if one.outcome != Forgot::AlreadyForgotten {
        text += &format!("\n{INDENT}{}", in_queue(one));
    }
    for contact in one.mailmojo.iter().flatten() {
        text += &format!("\n{INDENT}the contact in Mailmojo: {}", contact.contact);
        add_marked(&mut text, INDENT.len() + 2, (BAD, "-"), &contact.tags_removed);
    }
    if one.mailmojo.as_ref().is_some_and(Vec::is_empty) {
        text += &format!("\n{INDENT}no contact in Mailmojo: no address of this user is known");
    }
    text
}

fn in_queue(one: &Forgotten) -> String {
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
