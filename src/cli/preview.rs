//! `preview`: what a sync would change, and why. Writes nothing.

mod render;

use clap::Args;
use serde::Serialize;

use super::bootstrap;
use super::error::CommandError;
use super::output::{Answers, Output};
use crate::app::{AppError, Preview};
use crate::config::Settings;
use crate::user::UserId;

/// Whose sync to preview.
#[derive(Debug, Args)]
#[group(id = "who", required = true, multiple = true, args = ["users", "email"])]
pub(super) struct PreviewArgs {
    /// Sesamy's ids of the users, looked at one after the other.
    #[arg(value_name = "USER", value_parser = |id: &str| UserId::new(id))]
    users: Vec<UserId>,
    /// Whoever has this address at Sesamy, letter case aside.
    #[arg(long, value_name = "ADDRESS")]
    email: Option<String>,
    #[command(flatten)]
    output: Output,
}

/// One user's preview, or why there is none.
#[derive(Debug, Serialize)]
struct PreviewAnswer {
    /// Null if no user was found.
    user_id: Option<String>,
    preview: Option<Preview>,
    error: Option<String>,
    /// The API's own words about the error.
    api_said: Option<String>,
}

/// Previews each user in turn; a failure of one does not keep the others from being shown.
pub(super) async fn run(settings: Settings, args: PreviewArgs) -> Result<(), CommandError> {
    let previewer = bootstrap::previewer(&settings).await?;
    let mut answers = Answers::new(args.output, None);
    let mut users = args.users;
    if let Some(address) = &args.email {
        match previewer.find(address).await {
            Ok(found) if found.is_empty() => {
                let error = "Sesamy has no user with this address".to_owned();
                let answer =
                    PreviewAnswer { user_id: None, preview: None, error: Some(error), api_said: None };
                answers.add(answer, false, text)?;
            }
            Ok(found) => users.extend(found),
            Err(error) => answers.add(PreviewAnswer::failed(None, &error), false, text)?,
        }
    }
    for user in &users {
        match previewer.preview(user).await {
            Ok(preview) => answers.add(PreviewAnswer::from(preview), true, text)?,
            Err(error) => answers.add(PreviewAnswer::failed(Some(user), &error), false, text)?,
        }
    }
    answers.end()
}

impl PreviewAnswer {
    fn failed(user: Option<&UserId>, error: &AppError) -> Self {
        Self {
            user_id: user.map(|user| user.as_str().to_owned()),
            preview: None,
            error: Some(error.to_string()),
            api_said: error.own_words().map(str::to_owned),
        }
    }
}

impl From<Preview> for PreviewAnswer {
    fn from(preview: Preview) -> Self {
        Self { user_id: Some(preview.user_id.clone()), preview: Some(preview), error: None, api_said: None }
    }
}

fn text(answer: &PreviewAnswer) -> String {
    match &answer.preview {
        Some(preview) => render::preview(preview),
        None => render::failure(
            answer.user_id.as_deref(),
            answer.error.as_deref().unwrap_or_default(),
            answer.api_said.as_deref(),
        ),
    }
}
