//! The line that says what a form has done: a word in the query of the next page, from a fixed list, so that no link can
//! put a text on the page.

use std::borrow::Cow;

use strum::VariantNames;

use super::format::{Tone, tone_of};
use crate::admin::fields::{Fields, with_query};
use crate::app::Forgot;
use crate::outcome::Outcome;

/// What was done.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Flash {
    Paused,
    Resumed,
    Retried(u64),
    Synced(&'static str),
    Forgot(Forgot),
    NotFound,
}

impl Flash {
    /// A sync that ended so.
    pub(crate) fn synced(outcome: &str) -> Self {
        Self::Synced(Outcome::VARIANTS.iter().copied().find(|known| *known == outcome).unwrap_or("done"))
    }

    /// The page at `path`, with this on top.
    pub(crate) fn on(self, path: &str) -> String {
        let (path, query) = path.split_once('?').unwrap_or((path, ""));
        let fields = Fields::parse(query.as_bytes());
        let kept = |name| fields.get(name).map(Cow::Borrowed);
        let word = match self {
            Self::Paused => Cow::Borrowed("paused"),
            Self::Resumed => "resumed".into(),
            Self::Retried(count) => format!("retried-{count}").into(),
            Self::Synced(outcome) => format!("synced-{outcome}").into(),
            Self::Forgot(outcome) => outcome.as_str().into(),
            Self::NotFound => "not-found".into(),
        };
        with_query(
            path,
            [
                ("state", kept("state")),
                ("reason", kept("reason")),
                ("after", kept("after")),
                ("flash", Some(word)),
            ],
        )
    }

    /// From the query that [`Flash::on`] made.
    pub(crate) fn of(fields: &Fields) -> Option<Self> {
        let word = fields.get("flash")?;
        match word.split_once('-') {
            Some(("retried", count)) => count.parse().ok().map(Self::Retried),
            Some(("synced", outcome)) => Some(Self::synced(outcome)),
            Some(("not", "found")) => Some(Self::NotFound),
            _ if word == "paused" => Some(Self::Paused),
            _ if word == "resumed" => Some(Self::Resumed),
            _ => Forgot::ALL.into_iter().find(|outcome| outcome.as_str() == word).map(Self::Forgot),
        }
    }

    pub(super) fn text(self) -> Cow<'static, str> {
        match self {
            Self::Paused => "Syncs are paused. Events are still taken.".into(),
            Self::Resumed => "Syncs go on.".into(),
            Self::Retried(0) => "Nobody was waiting for that.".into(),
            Self::Retried(1) => "1 user is due again.".into(),
            Self::Retried(count) => format!("{count} users are due again.").into(),
            Self::Synced(outcome) => format!("The sync has ended: {outcome}.").into(),
            Self::Forgot(Forgot::Forgotten) => "The user is forgotten.".into(),
            Self::Forgot(Forgot::AlreadyForgotten) => "The user was forgotten before.".into(),
            Self::Forgot(Forgot::WouldBeForgotten) => {
                "Nothing was changed: sync.dry_run is on. Without it the user would be forgotten.".into()
            }
            Self::NotFound => "Nobody of that id or address is known.".into(),
        }
    }

    pub(super) fn tone(self) -> Tone {
        match self {
            Self::NotFound | Self::Forgot(Forgot::WouldBeForgotten) | Self::Retried(0) => Tone::Warn,
            Self::Synced(outcome) if matches!(tone_of(outcome), Tone::Warn | Tone::Bad) => Tone::Warn,
            _ => Tone::Good,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_flash_comes_back_as_it_was_and_leaves_the_filter_alone() {
        for flash in [
            Flash::Paused,
            Flash::Resumed,
            Flash::Retried(3),
            Flash::synced("updated"),
            Flash::synced("x"),
            Flash::Forgot(Forgot::Forgotten),
            Flash::Forgot(Forgot::AlreadyForgotten),
            Flash::Forgot(Forgot::WouldBeForgotten),
            Flash::NotFound,
        ] {
            let url = flash.on("/admin/parked?reason=a+b&flash=paused&other=1");
            let (path, query) = url.split_once('?').unwrap();
            let fields = Fields::parse(query.as_bytes());
            assert_eq!(
                (path, fields.get("reason"), Flash::of(&fields)),
                ("/admin/parked", Some("a b"), Some(flash))
            );
        }
    }

    #[test]
    fn a_word_that_is_not_ours_is_nothing_and_no_text_of_a_link_is_shown() {
        for word in ["", "hacked", "retried-many", "retried--1"] {
            assert_eq!(Flash::of(&Fields::parse(format!("flash={word}").as_bytes())), None, "{word}");
        }
        let forged = Flash::of(&Fields::parse(b"flash=synced-call+this+number")).unwrap();
        assert_eq!(forged.text(), "The sync has ended: done.");
    }
}
