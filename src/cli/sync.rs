//! `sync`: users brought in step now, through the queue's lease.

use clap::Args;
use serde::Serialize;

use super::error::CommandError;
use super::output::{self, Answers, BAD, GOOD, Output, QUIET, TAGS_KEPT, add_marked};
use super::{bootstrap, shutdown};
use crate::app::{Again, AppError, Synced, WaitLimit};
use crate::config::Settings;
use crate::upstream::OwnWords;
use crate::user::UserId;

#[derive(Debug, Clone, Args)]
pub(super) struct SyncArgs {
    /// The users' ids, as Sesamy has them.
    #[arg(required = true, value_name = "USER", value_parser = |id: &str| UserId::new(id))]
    users: Vec<UserId>,
    /// Take up again users whose contact was removed in Mailmojo, who had left under an older address, or who were forgotten.
    /// Nobody is subscribed against the contact's status.
    #[arg(long)]
    again: bool,
    #[command(flatten)]
    output: Output,
}

/// What came of one user.
#[derive(Debug, Serialize)]
#[serde(untagged)]
enum SyncAnswer {
    Synced {
        #[serde(flatten)]
        synced: Synced,
        /// The API's own words about what failed.
        api_said: Option<String>,
    },
    /// `outcome` is `not_synced`; nothing was asked or written.
    Refused { user_id: String, outcome: &'static str, error: String },
}

/// Syncs one user after the other; fails if one of them is not in step then.
pub(super) async fn run(settings: Settings, args: SyncArgs) -> Result<(), CommandError> {
    let app = bootstrap::app(&settings, true).await?;
    let wait = WaitLimit { longest: app.longest_lease(), stop: shutdown::stop_on_signal()? };
    let again = if args.again { Again::Yes } else { Again::No };
    let mut answers = Answers::new(args.output, None);
    for user in args.users {
        let answer = SyncAnswer::new(&user, app.sync(&user, again, &wait).await);
        let is_good = matches!(&answer, SyncAnswer::Synced { synced, .. } if synced.is_good());
        answers.add(answer, is_good, text)?;
    }
    app.close().await;
    answers.end()
}

impl SyncAnswer {
    fn new(user: &UserId, synced: Result<Synced, AppError>) -> Self {
        match synced {
            Ok(synced) => {
                let api_said = synced.own_words.as_ref().map(OwnWords::for_the_operator).map(str::to_owned);
                Self::Synced { synced, api_said }
            }
            Err(error) => Self::Refused {
                user_id: user.as_str().to_owned(),
                outcome: "not_synced",
                error: error.to_string(),
            },
        }
    }
}

fn text(answer: &SyncAnswer) -> String {
    let (synced, api_said) = match answer {
        SyncAnswer::Synced { synced, api_said } => (synced, api_said),
        SyncAnswer::Refused { user_id, error, .. } => {
            return format!("{BAD}{:<11}{BAD:#} {user_id}\n            {error}", "not synced");
        }
    };
    let style = if synced.is_good() { GOOD } else { BAD };
    let mut text = format!("{style}{:<11}{style:#} {}", synced.outcome, synced.user);
    if synced.dry_run {
        text += " (nothing was written: sync.dry_run is on)";
    } else if !synced.reason.is_empty() {
        text += &format!(" ({})", synced.reason);
    }
    if synced.braked {
        text += &format!("\n            {TAGS_KEPT}");
    }
    add_marked(&mut text, 10, (QUIET, "held"), &synced.tags_held);
    add_marked(&mut text, 12, (QUIET, "set"), synced.changed.iter().filter(|field| **field != "tags"));
    add_marked(&mut text, 10, (GOOD, "+"), &synced.tags_added);
    add_marked(&mut text, 10, (BAD, "-"), &synced.tags_removed);
    let of_old = |tag| format!("{tag} {QUIET}(from the contact of the address of before){QUIET:#}");
    add_marked(&mut text, 10, (BAD, "-"), synced.old_tags_removed.iter().map(of_old));
    if let Some(error) = &synced.error {
        text += &format!("\n            {error}");
    }
    if let Some(words) = api_said {
        text += &format!("\n            {}", output::quoted(words));
    }
    text
}
