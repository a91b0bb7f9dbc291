//! How a command answers: JSON for programs, or lines for people, in colour if standard output is a terminal.

use std::fmt::Display;
use std::io::{self, IsTerminal, Write};
use std::time::Duration;

use anstyle::{AnsiColor, Color, Style};
use clap::Args;
use serde::Serialize;

use super::error::CommandError;
use crate::clock::Millis;

pub(super) const GOOD: Style = Style::new().fg_color(Some(Color::Ansi(AnsiColor::Green)));
pub(super) const BAD: Style = Style::new().fg_color(Some(Color::Ansi(AnsiColor::Red)));
pub(super) const QUIET: Style = Style::new().dimmed();
pub(super) const STRONG: Style = Style::new().bold();

/// Why the removal guard holds removals back, and what to do.
pub(super) const TAGS_KEPT: &str = "too many users at once would have lost their tags, so no tag is removed: check whether Sesamy \
    still lists all contracts, entitlements and profiles, then `queue resume`";

/// Whether a program or a person reads the answer.
#[derive(Debug, Clone, Copy, Args)]
pub(super) struct Output {
    /// Print JSON, for programs.
    #[arg(long)]
    pub(super) json: bool,
}

/// Answers about several users: printed for people one after the other, and for programs as one document at the end.
#[derive(Debug, Serialize)]
pub(super) struct Answers<T> {
    /// Whether all of them are good.
    ok: bool,
    /// Whether anything was begun, for a command that asks before.
    #[serde(skip_serializing_if = "Option::is_none")]
    done: Option<bool>,
    users: Vec<T>,
    #[serde(skip)]
    output: Output,
}

impl<T: Serialize> Answers<T> {
    pub(super) fn new(output: Output, done: Option<bool>) -> Self {
        Self { ok: true, done, users: Vec::new(), output }
    }

    pub(super) fn add(&mut self, answer: T, is_good: bool, text: impl Fn(&T) -> String) -> io::Result<()> {
        self.ok &= is_good;
        if !self.output.json {
            line(&text(&answer))?;
        }
        self.users.push(answer);
        Ok(())
    }

    /// Fails if not all of them are good.
    pub(super) fn end(self) -> Result<(), CommandError> {
        if self.output.json {
            json(&self)?;
        }
        if self.ok { Ok(()) } else { Err(CommandError::Reported) }
    }
}

/// Prints `answer` as one JSON document.
pub(super) fn json(answer: &impl Serialize) -> io::Result<()> {
    let text = serde_json::to_string_pretty(answer).map_err(io::Error::other)?;
    line(&text)
}

pub(super) fn line(text: &str) -> io::Result<()> {
    writeln!(anstream::stdout(), "{text}")
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

/// Adds a line to `text` for each of `items`, with a mark before it.
pub(super) fn add_marked(
    text: &mut String,
    indent: usize,
    (style, mark): (Style, &str),
    items: impl IntoIterator<Item = impl Display>,
) {
    for item in items {
        *text += &format!("\n{:indent$}{style}{mark}{style:#} {item}", "");
    }
}

/// Asks `question` on standard error. Not on a terminal, the answer is no.
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
    fn a_moment_is_shown_in_its_largest_unit() {
        let now = Millis(1_000_000_000);
        for (off, shown) in [
            (0, "now"),
            (-999, "now"),
            (250, "in 250 ms"),
            (-1_000, "1 s ago"),
            (119_000, "in 119 s"),
            (-120_000, "2 min ago"),
            (7_200_000, "in 2 h"),
            (-172_800_000, "2 days ago"),
        ] {
            assert_eq!(seen_from(now, Millis(now.0 + off)), shown);
        }
    }
}
