//! How a command answers: JSON for programs, or lines for people, in colour where standard output is a terminal.

use std::fmt::Display;
use std::io::{self, IsTerminal, Write};
use std::time::Duration;

use anstyle::{AnsiColor, Style};
use serde::Serialize;

use crate::clock::Millis;
use crate::upstream::OwnWords;
use crate::user::{UserId, UserIdError};

pub(super) const GOOD: Style = Style::new().fg_color(Some(anstyle::Color::Ansi(AnsiColor::Green)));
pub(super) const BAD: Style = Style::new().fg_color(Some(anstyle::Color::Ansi(AnsiColor::Red)));
pub(super) const QUIET: Style = Style::new().dimmed();
pub(super) const STRONG: Style = Style::new().bold();

/// Why the removal guard holds removals back, and what to do.
pub(super) const TAGS_KEPT: &str = "too many users at once would have lost their tags, so no tag is removed: check whether Sesamy \
    still lists all contracts, entitlements and profiles, then `queue resume`";

/// Prints `answer` as one JSON document.
pub(super) fn json(answer: &impl Serialize) -> io::Result<()> {
    let text = serde_json::to_string_pretty(answer).map_err(io::Error::other)?;
    line(&text)
}

/// Prints a line.
pub(super) fn line(text: &str) -> io::Result<()> {
    writeln!(anstream::stdout(), "{text}")
}

/// An API's own words, for JSON.
pub(super) fn said(own_words: Option<&OwnWords>) -> Option<String> {
    own_words.map(|words| words.for_the_operator().to_owned())
}

/// An API's own words, for people.
pub(super) fn quoted(api_said: &str) -> String {
    format!("{QUIET}the API's own words:{QUIET:#} “{}”", clean(api_said))
}

/// A value as one line of text: what an API sends must not move the cursor or colour the terminal.
pub(super) fn clean(value: impl Display) -> String {
    let is_odd = |c: char| c.is_control() || matches!(c, '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}');
    value.to_string().chars().map(|c| if is_odd(c) { '\u{fffd}' } else { c }).collect()
}

/// Asks `question` on standard error, where there is somebody to ask; else nobody has agreed.
pub(super) fn confirmed(question: &str) -> io::Result<bool> {
    if !(io::stdin().is_terminal() && io::stderr().is_terminal()) {
        return Ok(false);
    }
    let mut out = anstream::stderr();
    write!(out, "{question} [y/N] ")?;
    out.flush()?;
    let mut typed = String::new();
    io::stdin().read_line(&mut typed)?;
    Ok(matches!(typed.trim(), "y" | "Y" | "yes"))
}

/// A user's id, as it was typed.
pub(super) fn user(typed: &str) -> Result<UserId, UserIdError> {
    UserId::new(typed)
}

/// A moment as seen from another: `in 3 min`, `2 h ago`, `now`.
pub(super) fn seen_from(now: Millis, at: Millis) -> String {
    if at > now {
        format!("in {}", length(at.since(now)))
    } else if now.since(at) < Duration::from_secs(1) {
        "now".to_owned()
    } else {
        format!("{} ago", length(now.since(at)))
    }
}

/// A length of time in its largest unit, rounded down.
pub(super) fn length(time: Duration) -> String {
    match time.as_secs() {
        0 => format!("{} ms", time.as_millis()),
        seconds @ 1..=119 => format!("{seconds} s"),
        seconds @ 120..=7_199 => format!("{} min", seconds / 60),
        seconds @ 7_200..=172_799 => format!("{} h", seconds / 3_600),
        seconds => format!("{} days", seconds / 86_400),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_moment_is_told_in_its_largest_unit() {
        let now = Millis(1_000_000_000);
        for (off, told) in [
            (0, "now"),
            (-999, "now"),
            (250, "in 250 ms"),
            (-1_000, "1 s ago"),
            (119_000, "in 119 s"),
            (-120_000, "2 min ago"),
            (7_200_000, "in 2 h"),
            (-172_800_000, "2 days ago"),
        ] {
            assert_eq!(seen_from(now, Millis(now.0 + off)), told);
        }
    }
}
