//! `preview`: what a sync would change, and why. Writes nothing.

mod picture;

use std::io::Write;
use std::sync::Arc;

use clap::Args;
use serde::Serialize;

use super::wiring::{clients, open_queue, quotas, sync_settings};
use super::{CommandError, Output, answer};
use crate::clock::Clock;
use crate::config::Settings;
use crate::memory::Memory;
use crate::operations::FORGOTTEN;
use crate::operations::find::{FindError, users_by_email};
use crate::operations::preview::{Preview, preview};
use crate::queue::{Lane, Queue, QueueError, Role};
use crate::sync::{AddressIndex, NoOtherUsers, Syncer};
use crate::upstream::{Attempt, Meter, OwnMeter, OwnWords};
use crate::user::UserId;

/// Whose sync to look at.
#[derive(Debug, Args)]
#[group(id = "who", required = true, multiple = true, args = ["users", "email"])]
pub(super) struct Options {
    /// Sesamy's ids of the users, looked at one after the other.
    #[arg(value_name = "USER", value_parser = |id: &str| UserId::new(id))]
    users: Vec<UserId>,
    /// Whoever has this address at Sesamy, letter case aside.
    #[arg(long, value_name = "ADDRESS")]
    email: Option<String>,
    #[command(flatten)]
    output: Output,
}

/// The answer of `preview --json`.
#[derive(Debug, Serialize)]
struct Answer {
    /// Whether everybody could be looked at.
    ok: bool,
    /// In the order in which they were asked for.
    users: Vec<Looked>,
}

/// One user who was looked at, or could not be.
#[derive(Debug, Serialize)]
struct Looked {
    /// None where nobody was found.
    user_id: Option<String>,
    preview: Option<Preview>,
    /// Why there is no preview.
    error: Option<String>,
    /// The API's own words about that.
    api_said: Option<String>,
}

/// Looks at each user in turn, and tells of each; a failure of one does not keep the others from being told.
pub(super) async fn run(settings: Settings, options: Options) -> Result<(), CommandError> {
    let clock = Clock::system();
    let queue = queue_if_any(&settings, &clock).await;
    let clients = clients(&settings, &meter(queue.as_ref(), &settings, &clock), &clock)
        .map_err(|error| CommandError::Service(error.into()))?;
    let addresses: Arc<dyn AddressIndex> = match &queue {
        Some(queue) => Arc::new(queue.clone()),
        None => Arc::new(NoOtherUsers),
    };
    let of_sync = sync_settings(&settings);
    let syncer = Syncer::new(clients.sesamy, clients.mailmojo, addresses, clock.clone(), of_sync);
    let attempt = || Attempt::within(settings.sync.deadline, &clock);

    let mut told = Told { json: options.output.json, answer: Answer { ok: true, users: Vec::new() } };
    let mut users = options.users;
    if let Some(address) = &options.email {
        match users_by_email(syncer.sesamy(), address, &attempt()).await {
            Ok(found) if found.is_empty() => {
                told.failed(None, "Sesamy has no user with this address".to_owned(), None)?;
            }
            Ok(found) => users.extend(found),
            Err(error @ FindError::NoAddress) => told.failed(None, error.to_string(), None)?,
            Err(FindError::Sesamy { message, own_words }) => {
                told.failed(None, message, own_words.as_ref())?
            }
        }
    }
    if let Some(queue) = &queue
        && let Err(error) = queue.known().await
    {
        tracing::warn!(%error, "cannot read whether the removal guard has tripped; the preview shows removals as allowed");
    }
    for user in &users {
        let memory = match memory_of(queue.as_ref(), user).await {
            Ok(Some(memory)) => memory,
            Ok(None) => {
                told.failed(Some(user), format!("the user {FORGOTTEN}"), None)?;
                continue;
            }
            Err(error) => {
                told.failed(Some(user), error.to_string(), None)?;
                continue;
            }
        };
        match preview(&syncer, user, &memory, &attempt()).await {
            Ok(preview) => told.of(preview)?,
            Err(error) => told.failed(Some(user), error.to_string(), error.own_words())?,
        }
    }
    told.end()
}

/// The queue, where there is one. A preview needs none, but what is remembered of a user is in it.
async fn queue_if_any(settings: &Settings, clock: &Clock) -> Option<Queue> {
    match open_queue(settings, clock, Role::Command { may_create: false }).await {
        Ok(queue) => Some(queue),
        Err(error) => {
            tracing::info!(%error, "without a queue, this command keeps to the rate by itself, and nothing is remembered of anybody");
            None
        }
    }
}

/// Who keeps the account of this command's calls: the queue, where there is one, so that a service beside is not
/// driven over the rate.
fn meter(queue: Option<&Queue>, settings: &Settings, clock: &Clock) -> Arc<dyn Meter> {
    match queue {
        Some(queue) => Arc::new(queue.meter(Lane::Events)),
        None => Arc::new(OwnMeter::new(quotas(settings), clock.clone())),
    }
}

/// What is remembered of `user`; none of one who was forgotten.
async fn memory_of(queue: Option<&Queue>, user: &UserId) -> Result<Option<Memory>, QueueError> {
    let Some(queue) = queue else { return Ok(Some(Memory::default())) };
    if !queue.forgotten(std::slice::from_ref(user)).await?.is_empty() {
        return Ok(None);
    }
    let rows = queue.rows_of(std::slice::from_ref(user)).await?;
    Ok(Some(rows.into_iter().next().map(|row| row.memory).unwrap_or_default()))
}

/// What has been told so far: to people at once, to programs at the end.
struct Told {
    json: bool,
    answer: Answer,
}

impl Told {
    fn of(&mut self, preview: Preview) -> std::io::Result<()> {
        if self.json {
            let user_id = Some(preview.user_id.clone());
            self.answer.users.push(Looked { user_id, preview: Some(preview), error: None, api_said: None });
            return Ok(());
        }
        writeln!(anstream::stdout(), "{}", picture::of(&preview))
    }

    fn failed(
        &mut self,
        user: Option<&UserId>,
        error: String,
        own_words: Option<&OwnWords>,
    ) -> std::io::Result<()> {
        let api_said = answer::said(own_words);
        self.answer.ok = false;
        let user_id = user.map(|user| user.as_str().to_owned());
        if self.json {
            self.answer.users.push(Looked { user_id, preview: None, error: Some(error), api_said });
            return Ok(());
        }
        writeln!(
            anstream::stdout(),
            "{}",
            picture::of_failure(user_id.as_deref(), &error, api_said.as_deref())
        )
    }

    fn end(self) -> Result<(), CommandError> {
        if self.json {
            let json = serde_json::to_string_pretty(&self.answer).map_err(std::io::Error::other)?;
            writeln!(anstream::stdout(), "{json}")?;
        }
        if self.answer.ok { Ok(()) } else { Err(CommandError::Told) }
    }
}
