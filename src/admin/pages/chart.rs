//! Syncs over the last hour or day as bars: those that got through stand on the line, those that did not hang below it, so
//! that place shows the difference and not colour alone. Pure, drawn on the server.

use std::time::Duration;

use maud::{Markup, html};

use super::format::{self, Tone, tone_of};
use crate::clock::Millis;
use crate::queue::MinuteCount;

/// The drawing's own units, a bar's place and the height of all; the page stretches it to its width.
const STEP: u64 = 10;
const HEIGHT: u64 = 120;
const MINUTE: i64 = 60_000;

/// How far back.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Span {
    Hour,
    Day,
}

/// The syncs of one bar.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
struct Bar {
    changed: u64,
    unchanged: u64,
    failed: u64,
}

impl Span {
    const fn bars(self) -> usize {
        match self {
            Self::Hour => 60,
            Self::Day => 96,
        }
    }

    const fn minutes_a_bar(self) -> i64 {
        match self {
            Self::Hour => 1,
            Self::Day => 15,
        }
    }

    const fn name(self) -> &'static str {
        match self {
            Self::Hour => "Last hour",
            Self::Day => "Last 24 hours",
        }
    }

    /// When the first bar begins; the last one is that of now.
    pub(crate) fn since(self, now: Millis) -> Millis {
        let bar = self.minutes_a_bar() * MINUTE;
        let last = now.0.div_euclid(bar) * bar;
        Millis(last - bar * (i64::try_from(self.bars()).unwrap_or(i64::MAX) - 1))
    }

    fn collect(self, now: Millis, counts: &[MinuteCount]) -> Vec<Bar> {
        let mut bars = vec![Bar::default(); self.bars()];
        let since = self.since(now);
        for count in counts {
            let at = (count.minute.0 - since.0).div_euclid(self.minutes_a_bar() * MINUTE);
            let Some(bar) = usize::try_from(at).ok().and_then(|at| bars.get_mut(at)) else { continue };
            *match tone_of(&count.outcome) {
                Tone::Good => &mut bar.changed,
                Tone::Plain => &mut bar.unchanged,
                Tone::Warn | Tone::Bad => &mut bar.failed,
            } += count.count;
        }
        bars
    }
}

/// The chart with its title and its figures, which say the same in words.
pub(super) fn figure(span: Span, now: Millis, counts: &[MinuteCount]) -> Markup {
    let bars = span.collect(now, counts);
    let total = bars.iter().fold(Bar::default(), |sum, bar| Bar {
        changed: sum.changed + bar.changed,
        unchanged: sum.unchanged + bar.unchanged,
        failed: sum.failed + bar.failed,
    });
    let all = total.changed + total.unchanged + total.failed;
    let (since, middle) = (span.since(now), Millis((span.since(now).0 + now.0) / 2));
    let peak = bars.iter().map(|bar| bar.changed + bar.unchanged + bar.failed).max().unwrap_or(0);
    let of_peak = match span {
        Span::Hour => format!("at most {} a minute", format::number(peak)),
        Span::Day => format!("at most {} in 15 minutes", format::number(peak)),
    };
    let in_words = format!(
        "{}: {}, {of_peak}; {} changed a contact, {} had nothing to change, {} did not get through.",
        span.name(),
        format::plural(all, "sync", "syncs"),
        format::number(total.changed),
        format::number(total.unchanged),
        format::number(total.failed),
    );
    html! {
        figure.chart {
            figcaption { strong { (span.name()) } " " span.muted { (format::plural(all, "sync", "syncs")) ", " (of_peak) } }
            (drawing(&bars, &in_words))
            div.axis aria-hidden="true" {
                span { (format::hour_and_minute(since)) } span { (format::hour_and_minute(middle)) } span { "now" }
            }
            ul.legend {
                li.changed { span.key {} "changed a contact " b { (format::number(total.changed)) } }
                li.unchanged { span.key {} "nothing to change " b { (format::number(total.unchanged)) } }
                li.failed { span.key {} "did not get through " b { (format::number(total.failed)) } }
            }
        }
    }
}

fn drawing(bars: &[Bar], in_words: &str) -> Markup {
    let highest = bars.iter().map(|bar| bar.changed + bar.unchanged).max().unwrap_or(0).max(1);
    let deepest = bars.iter().map(|bar| bar.failed).max().unwrap_or(0);
    // A bar is at least two units high, so that a single sync can be seen.
    let scale = |count: u64| if count == 0 { 0 } else { (count * (HEIGHT - 8) / (highest + deepest)).max(2) };
    let line = 4 + scale(highest);
    let place = |at: usize| u64::try_from(at).unwrap_or(0) * STEP;
    let (width, wide) = (place(bars.len()), STEP - 2);
    html! {
        svg viewBox={ "0 0 " (width) " " (HEIGHT) } preserveAspectRatio="none" role="img" aria-label=(in_words) {
            @for (at, bar) in bars.iter().enumerate() {
                @let (x, changed, unchanged, failed) = (place(at), scale(bar.changed), scale(bar.unchanged), scale(bar.failed));
                @if changed > 0 {
                    rect.changed x=(x) y=(line.saturating_sub(changed)) width=(wide) height=(changed) {}
                }
                @if unchanged > 0 {
                    rect.unchanged x=(x) y=(line.saturating_sub(changed + unchanged)) width=(wide) height=(unchanged) {}
                }
                @if failed > 0 { rect.failed x=(x) y=(line + 1) width=(wide) height=(failed) {} }
            }
            rect.line x="0" y=(line) width=(width) height="1" {}
        }
    }
}

/// What reaches back furthest.
pub(super) const LONGEST: Span = Span::Day;

/// Syncs a minute, over the last five of them and what there is of this one.
pub(super) fn a_minute(now: Millis, counts: &[MinuteCount]) -> u64 {
    const OVER: u64 = 5;
    let last = |count: &&MinuteCount| now.since(count.minute) < Duration::from_secs(OVER * 60);
    let all: u64 = counts.iter().filter(last).map(|count| count.count).sum();
    all.div_ceil(OVER)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// 12:00:30.
    const NOW: Millis = Millis(1_762_776_030_000);

    fn count(minutes_ago: i64, outcome: &str, count: u64) -> MinuteCount {
        let minute = Millis(NOW.0.div_euclid(MINUTE) * MINUTE - minutes_ago * MINUTE);
        MinuteCount { minute, outcome: outcome.to_owned(), count }
    }

    #[test]
    fn an_hour_has_a_bar_a_minute_and_the_last_is_now() {
        let counts =
            [count(0, "updated", 2), count(59, "failed", 3), count(60, "updated", 9), count(0, "skipped", 1)];
        let bars = Span::Hour.collect(NOW, &counts);
        assert_eq!(bars.len(), 60);
        assert_eq!(bars[59], Bar { changed: 2, unchanged: 1, failed: 0 });
        assert_eq!(bars[0], Bar { changed: 0, unchanged: 0, failed: 3 });
        assert_eq!(bars.iter().map(|bar| bar.changed).sum::<u64>(), 2, "what is older is left out");
    }

    #[test]
    fn a_day_has_a_bar_for_each_quarter_of_an_hour() {
        let counts = [
            count(0, "created", 1),
            count(1, "created", 10),
            count(16, "parked", 4),
            count(24 * 60, "created", 7),
        ];
        let bars = Span::Day.collect(NOW, &counts);
        assert_eq!((bars.len(), bars[95].changed, bars[94].changed, bars[93].failed), (96, 1, 10, 4));
        assert_eq!(bars.iter().map(|bar| bar.changed).sum::<u64>(), 11);
    }

    #[test]
    fn every_bar_is_inside_of_the_drawing_and_what_failed_hangs_below_the_line() {
        for counts in [
            vec![],
            vec![count(3, "failed", 1)],
            vec![count(3, "updated", 1), count(4, "unchanged", 1_000_000), count(4, "failed", 999)],
        ] {
            for span in [Span::Hour, Span::Day] {
                let drawn = drawing(&span.collect(NOW, &counts), "in words").into_string();
                let mut line = None;
                for rect in drawn.split("<rect ").skip(1) {
                    let of = |name: &str| -> u64 {
                        let value = rect.split(&format!(" {name}=\"")).nth(1).unwrap();
                        value.split('"').next().unwrap().parse().unwrap()
                    };
                    assert!(
                        of("x") + of("width") <= u64::try_from(span.bars()).unwrap() * STEP
                            && of("y") + of("height") <= HEIGHT,
                        "{rect}"
                    );
                    if rect.starts_with("class=\"line\"") {
                        line = Some(of("y"));
                    }
                }
                let line = line.unwrap();
                for rect in drawn.split("<rect ").filter(|rect| rect.starts_with("class=\"failed\"")) {
                    assert!(rect.contains(&format!("y=\"{}\"", line + 1)), "{rect}");
                }
            }
        }
    }

    #[test]
    fn a_chart_says_the_same_in_words() {
        let counts = [count(2, "updated", 2_000), count(3, "unchanged", 5), count(3, "failed", 1)];
        let drawn = figure(Span::Hour, NOW, &counts).into_string();
        let words = "Last hour: 2,006 syncs, at most 2,000 a minute; 2,000 changed a contact, 5 had nothing to change, \
                     1 did not get through.";
        assert!(drawn.contains(&format!("role=\"img\" aria-label=\"{words}\"")), "{drawn}");
    }
}
