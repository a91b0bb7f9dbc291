//! Numbers, times and outcomes as people read them.

use std::time::Duration;

use maud::{Markup, html};

use crate::clock::Millis;
use crate::queue::Census;

/// The colour of a state or an outcome. A word beside it says the same.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Tone {
    Good,
    Plain,
    Warn,
    Bad,
}

impl Tone {
    /// The class in the style sheet.
    pub(super) fn class(self) -> &'static str {
        match self {
            Self::Good => "good",
            Self::Plain => "plain",
            Self::Warn => "warn",
            Self::Bad => "bad",
        }
    }
}

/// The tone of a sync that ended in this `outcome`: good if it changed a contact, plain if there was nothing to change.
pub(super) fn tone_of(outcome: &str) -> Tone {
    match outcome {
        "created" | "subscribed" | "updated" => Tone::Good,
        "failed" | "postponed" => Tone::Warn,
        "parked" => Tone::Bad,
        _ => Tone::Plain,
    }
}

/// `1234567` as `1,234,567`.
pub(super) fn number(number: u64) -> String {
    let digits = number.to_string();
    let mut grouped = String::new();
    for (at, digit) in digits.chars().enumerate() {
        if at > 0 && (digits.len() - at).is_multiple_of(3) {
            grouped.push(',');
        }
        grouped.push(digit);
    }
    grouped
}

/// A count of rows, which ends at [`Census::LIMIT`].
pub(super) fn counted(rows: u64) -> String {
    if rows >= Census::LIMIT { format!("{}+", number(Census::LIMIT)) } else { number(rows) }
}

/// `1 row`, `2 rows`.
pub(super) fn plural(count: u64, one: &str, many: &str) -> String {
    format!("{} {}", number(count), if count == 1 { one } else { many })
}

/// A time span by its largest two units: `45 s`, `3 min 20 s`, `2 h 5 min`, `3 d 4 h`.
pub(super) fn span(span: Duration) -> String {
    let seconds = span.as_secs();
    let (minutes, hours, days) = (seconds / 60, seconds / 3_600, seconds / 86_400);
    let two = |first: u64, unit: &str, rest: u64, of_rest: &str| {
        if rest == 0 { format!("{first} {unit}") } else { format!("{first} {unit} {rest} {of_rest}") }
    };
    match seconds {
        0 => "less than 1 s".to_owned(),
        1..60 => format!("{seconds} s"),
        60..3_600 => two(minutes, "min", if minutes < 10 { seconds % 60 } else { 0 }, "s"),
        3_600..86_400 => two(hours, "h", minutes % 60, "min"),
        _ => two(days, "d", hours % 24, "h"),
    }
}

/// A moment seen from `now`; the element has the whole of it.
pub(super) fn when(at: Millis, now: Millis) -> Markup {
    let text = if at > now {
        format!("in {}", span(at.since(now)))
    } else if now.since(at) < Duration::from_secs(2) {
        "just now".to_owned()
    } else {
        format!("{} ago", span(now.since(at)))
    };
    html! { time datetime=(at) title=(full(at)) { (text) } }
}

/// `14:05:09 UTC`, for what is of today.
pub(super) fn clock(at: Millis) -> String {
    strftime(at, "%H:%M:%S UTC")
}

/// `14:05`, for an axis.
pub(super) fn hour_and_minute(at: Millis) -> String {
    strftime(at, "%H:%M")
}

/// `2026-01-31 14:05:09 UTC`.
pub(super) fn full(at: Millis) -> String {
    strftime(at, "%Y-%m-%d %H:%M:%S UTC")
}

fn strftime(at: Millis, format: &str) -> String {
    at.timestamp().strftime(format).to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_and_spans_read_well() {
        assert_eq!([0, 999, 1_000, 1_234_567].map(number), ["0", "999", "1,000", "1,234,567"]);
        assert_eq!((counted(9_999), counted(10_000)), ("9,999".to_owned(), "10,000+".to_owned()));
        let spans = [0, 1, 59, 60, 61, 600, 3_599, 3_600, 7_500, 86_400, 270_000];
        let shown = spans.map(|seconds| span(Duration::from_secs(seconds)));
        let expected = [
            "less than 1 s",
            "1 s",
            "59 s",
            "1 min",
            "1 min 1 s",
            "10 min",
            "59 min",
            "1 h",
            "2 h 5 min",
            "1 d",
            "3 d 3 h",
        ];
        assert_eq!(shown, expected);
    }

    #[test]
    fn a_moment_is_shown_from_now_and_kept_whole() {
        let noon = Millis(1_762_776_000_000);
        let shown = when(noon, noon.plus(Duration::from_secs(90))).into_string();
        let expected =
            r#"<time datetime="2025-11-10T12:00:00Z" title="2025-11-10 12:00:00 UTC">1 min 30 s ago</time>"#;
        assert_eq!(shown, expected);
        assert!(when(noon.plus(Duration::from_secs(5)), noon).into_string().contains(">in 5 s<"));
        assert!(when(noon, noon).into_string().contains(">just now<"));
        assert_eq!(full(Millis(i64::MAX)), "9999-12-30 22:00:00 UTC", "a moment that no calendar has");
    }
}
