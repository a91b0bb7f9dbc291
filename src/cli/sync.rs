//! `sync`: users brought in step now, through the queue's lease.

use clap::Args;
use serde::Serialize;
use tokio_util::sync::CancellationToken;

use super::answer::{self, BAD, GOOD, QUIET, TAGS_KEPT};
use super::shutdown::Signals;
use super::wiring::{open_queue, operator};
use super::{CommandError, Output};
use crate::clock::Clock;
use crate::config::Settings;
use crate::operations::{Again, NotSynced, Operator, Patience, Synced};
use crate::queue::{Lane, Role};
use crate::user::UserId;

#[derive(Debug, Clone, Args)]
pub(super) struct Options {
    /// The users' ids, as Sesamy has them.
    #[arg(required = true, value_name = "USER", value_parser = answer::user)]
    users: Vec<UserId>,
    /// Take up again whom somebody has removed in Mailmojo, who had left under an older address, or who was forgotten. Nobody
    /// is subscribed against the contact's status.
    #[arg(long)]
    again: bool,
    #[command(flatten)]
    output: Output,
}

/// The answer of `sync --json`.
#[derive(Debug, Serialize)]
struct Answer {
    /// Whether everybody is in step.
    ok: bool,
    users: Vec<One>,
}

/// What came of one user.
#[derive(Debug, Serialize)]
#[serde(untagged)]
enum One {
    Synced {
        #[serde(flatten)]
        synced: Synced,
        /// The API's own words about what failed.
        api_said: Option<String>,
    },
    /// `outcome` is `not_synced`; nothing was asked or written.
    Refused { user_id: String, outcome: &'static str, error: String },
}

/// Syncs one user after the other; fails if anybody is not in step then.
pub(super) async fn run(settings: Settings, options: Options) -> Result<(), CommandError> {
    let clock = Clock::system();
    let queue = open_queue(&settings, &clock, Role::Command { may_create: true }).await?;
    let operator = operator(&settings, queue.clone(), clock, Lane::Events)?;
    let stop = stop_on_signal()?;
    // As long as a lease of the service may last.
    let wait = settings.sync.deadline + 3 * settings.sync.request_timeout;
    let patience = Patience { wait, stop };

    let mut answers = Vec::with_capacity(options.users.len());
    let again = if options.again { Again::Yes } else { Again::No };
    for user in options.users {
        let one = one(&operator, &user, again, &patience).await;
        if !options.output.json {
            print(&one)?;
        }
        answers.push(one);
    }
    queue.close().await;
    let ok = answers.iter().all(One::is_good);
    if options.output.json {
        answer::json(&Answer { ok, users: answers })?;
    }
    if ok { Ok(()) } else { Err(CommandError::Told) }
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

async fn one(operator: &Operator, user: &UserId, again: Again, patience: &Patience) -> One {
    match operator.sync(user, again, patience).await {
        Ok(synced) => One::Synced { api_said: answer::said(synced.own_words.as_ref()), synced },
        Err(why) => One::refused(user, &why),
    }
}

impl One {
    fn refused(user: &UserId, why: &NotSynced) -> Self {
        Self::Refused { user_id: user.as_str().to_owned(), outcome: "not_synced", error: why.to_string() }
    }

    fn is_good(&self) -> bool {
        matches!(self, Self::Synced { synced, .. } if synced.is_good())
    }
}

fn print(one: &One) -> std::io::Result<()> {
    let (synced, api_said) = match one {
        One::Synced { synced, api_said } => (synced, api_said),
        One::Refused { user_id: user, error, .. } => {
            return answer::line(&format!("{BAD}{:<11}{BAD:#} {user}\n            {error}", "not synced"));
        }
    };
    let style = if synced.is_good() { GOOD } else { BAD };
    let mut line = format!("{style}{:<11}{style:#} {}", synced.outcome, synced.user);
    if synced.dry_run {
        line += " (nothing was written: sync.dry_run is on)";
    } else if !synced.reason.is_empty() {
        line += &format!(" ({})", synced.reason);
    }
    if synced.braked {
        line += &format!("\n            {TAGS_KEPT}");
    }
    for tag in &synced.tags_held {
        line += &format!("\n          {QUIET}held{QUIET:#} {tag}");
    }
    for field in synced.changed.iter().filter(|field| **field != "tags") {
        line += &format!("\n            {QUIET}set{QUIET:#} {field}");
    }
    for tag in &synced.tags_added {
        line += &format!("\n          {GOOD}+{GOOD:#} {tag}");
    }
    for tag in &synced.tags_removed {
        line += &format!("\n          {BAD}-{BAD:#} {tag}");
    }
    for tag in &synced.old_tags_removed {
        line += &format!(
            "\n          {BAD}-{BAD:#} {tag} {QUIET}(from the contact of the address of before){QUIET:#}"
        );
    }
    if let Some(error) = &synced.error {
        line += &format!("\n            {error}");
    }
    if let Some(words) = api_said {
        line += &format!("\n            {}", answer::quoted(words));
    }
    answer::line(&line)
}
