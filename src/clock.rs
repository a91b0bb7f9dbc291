//! Time, as it is passed in: the system's, or one that a test moves by hand.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicI64, Ordering};
use std::time::Duration;

/// A moment, in milliseconds since 1970-01-01T00:00:00Z. In JSON it is text as of RFC 3339, in UTC.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Millis(pub i64);

/// The first moment that RFC 3339 can write: 0000-01-01T00:00:00Z.
const FIRST: Millis = Millis(-62_167_219_200_000);
/// The last moment that jiff can hold: 9999-12-30T22:00:00Z, a day before the last of RFC 3339.
const LAST: Millis = Millis(253_402_207_200_000);

impl fmt::Display for Millis {
    /// As of RFC 3339, in UTC, by [`Millis::timestamp`].
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.timestamp().fmt(f)
    }
}

impl serde::Serialize for Millis {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> serde::Deserialize<'de> for Millis {
    /// From text as of RFC 3339; what is finer than a millisecond is cut off.
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = std::borrow::Cow::<str>::deserialize(deserializer)?;
        let moment: jiff::Timestamp = text.parse().map_err(serde::de::Error::custom)?;
        Ok(Self(moment.as_millisecond()))
    }
}

impl Millis {
    /// The same moment in the calendar. A moment outside it (a second after an `expiresAt` at the end of the year 9999)
    /// becomes the nearest one that RFC 3339 can write.
    #[must_use]
    pub fn timestamp(self) -> jiff::Timestamp {
        jiff::Timestamp::from_millisecond(self.clamp(FIRST, LAST).0).unwrap_or(jiff::Timestamp::MAX)
    }

    /// The moment `by` later; the far end of time where that would overflow.
    #[must_use]
    pub fn plus(self, by: Duration) -> Self {
        Self(self.0.saturating_add(millis(by)))
    }

    /// How long after `earlier` this is; zero if it is not.
    #[must_use]
    pub fn since(self, earlier: Self) -> Duration {
        Duration::from_millis(u64::try_from(self.0.saturating_sub(earlier.0)).unwrap_or(0))
    }
}

/// The time since the machine started, its sleep included. It cannot be set.
///
/// On Linux `CLOCK_BOOTTIME`: a lease goes on while the machine is suspended, and `Instant` stands still meanwhile.
#[cfg(target_os = "linux")]
fn since_boot() -> Duration {
    let time = rustix::time::clock_gettime(rustix::time::ClockId::Boottime);
    let (seconds, nanos) = (u64::try_from(time.tv_sec), u32::try_from(time.tv_nsec));
    Duration::new(seconds.unwrap_or_default(), nanos.unwrap_or_default()) // neither is ever negative
}

/// The time since this was asked first. Whether it counts a suspension depends on the system's `Instant`.
#[cfg(not(target_os = "linux"))]
fn since_boot() -> Duration {
    static FIRST: std::sync::LazyLock<std::time::Instant> = std::sync::LazyLock::new(std::time::Instant::now);
    FIRST.elapsed()
}

/// The time of the queue, of circuits, of leases and of the syncs under them.
///
/// The wall clock is read once, and counted on from there by a clock that cannot be set and that goes on while the machine
/// sleeps: when the wall clock is set back or forth, no lease ends early and no row waits for an hour that comes
/// twice. All processes of a machine that share a queue count from one reading ([`Clock::anchor_at`]). If the queue is in a
/// database that several machines use, this clock follows that database's time instead ([`Clock::keep_to`]). What happens at a
/// certain time of day goes by [`Clock::wall`].
#[derive(Debug, Clone)]
pub struct Clock(Kind);

#[derive(Debug, Clone)]
enum Kind {
    System { since_boot: fn() -> Duration, base: Arc<Base> },
    Manual(Arc<AtomicI64>),
}

/// What a system clock and its clones count from.
#[derive(Debug)]
struct Base {
    /// The time at which the machine started, in milliseconds since 1970.
    anchor: AtomicI64,
    /// Whether it is a database's time.
    is_followed: AtomicBool,
}

impl Clock {
    /// The machine's time.
    #[must_use]
    pub fn system() -> Self {
        Self::counted_by(since_boot)
    }

    /// The wall clock's time at this call, counted on by `since_boot`.
    fn counted_by(since_boot: fn() -> Duration) -> Self {
        let anchor = jiff::Timestamp::now().as_millisecond().saturating_sub(millis(since_boot()));
        let base = Base { anchor: AtomicI64::new(anchor), is_followed: AtomicBool::new(false) };
        Self(Kind::System { since_boot, base: Arc::new(base) })
    }

    /// A clock that stands still at `now` until [`Clock::advance`] moves it. Its clones move with it.
    #[must_use]
    pub fn manual(now: Millis) -> Self {
        Self(Kind::Manual(Arc::new(AtomicI64::new(now.0))))
    }

    /// The time now.
    #[must_use]
    pub fn now(&self) -> Millis {
        match &self.0 {
            Kind::System { base, .. } => {
                Millis(base.anchor.load(Ordering::Relaxed).saturating_add(millis(self.since_boot())))
            }
            Kind::Manual(now) => Millis(now.load(Ordering::SeqCst)),
        }
    }

    /// The time of day: the machine's wall clock, read anew, so that it is right as soon as it has been set right; the
    /// database's where this clock follows one. It may jump back and forth: for no lease and no duration.
    #[must_use]
    pub fn wall(&self) -> Millis {
        match &self.0 {
            Kind::System { base, .. } if !base.is_followed.load(Ordering::Relaxed) => {
                Millis(jiff::Timestamp::now().as_millisecond())
            }
            _ => self.now(),
        }
    }

    /// The time since the machine started, its sleep included. It cannot be set. A manual clock started in 1970.
    #[must_use]
    pub fn since_boot(&self) -> Duration {
        match &self.0 {
            Kind::System { since_boot, .. } => since_boot(),
            Kind::Manual(_) => self.now().since(Millis(0)),
        }
    }

    /// Makes this clock and its clones count from `boot`, the time at which the machine started. Processes that count from
    /// the same one agree to the millisecond, however often the wall clock was set between their starts. A manual
    /// clock stays as it is.
    pub fn anchor_at(&self, boot: Millis) {
        if let Kind::System { base, .. } = &self.0 {
            base.anchor.store(boot.0, Ordering::Relaxed);
        }
    }

    /// The time of a manual clock; `None` for one that moves by itself.
    #[must_use]
    pub fn given(&self) -> Option<Millis> {
        match &self.0 {
            Kind::System { .. } => None,
            Kind::Manual(_) => Some(self.now()),
        }
    }

    /// Keeps this clock and its clones on a database's time. This clock said `asked` before the question, and the database
    /// answered `answer`. The answer may have taken its time, so that only what the two are certain to differ by is corrected.
    /// A manual clock stays as it is.
    pub fn keep_to(&self, asked: Millis, answer: Millis) {
        if let Kind::System { base, .. } = &self.0 {
            let answered = self.now();
            let nearest = answer.clamp(asked, answered.max(asked));
            base.anchor.fetch_add(answer.0.saturating_sub(nearest.0), Ordering::Relaxed);
            base.is_followed.store(true, Ordering::Relaxed);
        }
    }

    /// Moves a manual clock forward; the system's clock moves by itself and is left alone.
    pub fn advance(&self, by: Duration) {
        if let Kind::Manual(now) = &self.0 {
            now.store(self.now().plus(by).0, Ordering::SeqCst);
        }
    }
}

/// In whole milliseconds.
fn millis(duration: Duration) -> i64 {
    i64::try_from(duration.as_millis()).unwrap_or(i64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_manual_clock_moves_only_by_hand_and_with_its_clones() {
        let clock = Clock::manual(Millis(1_000));
        let clone = clock.clone();
        clock.advance(Duration::from_secs(2));
        assert_eq!(clone.now(), Millis(3_000));
    }

    #[test]
    fn eight_hours_of_sleep_are_eight_hours_later() {
        static UP_SECONDS: AtomicI64 = AtomicI64::new(1_000);
        let clock = Clock::counted_by(|| Duration::from_secs(UP_SECONDS.load(Ordering::SeqCst) as u64));
        let before = clock.now();
        UP_SECONDS.fetch_add(8 * 3_600, Ordering::SeqCst);
        assert_eq!(clock.now().since(before), Duration::from_secs(8 * 3_600));
    }

    #[test]
    fn the_time_of_day_is_the_machines_until_a_clock_follows_anothers() {
        static UP_SECONDS: AtomicI64 = AtomicI64::new(0);
        let clock = Clock::counted_by(|| Duration::from_secs(UP_SECONDS.load(Ordering::SeqCst) as u64));
        let hour = Duration::from_secs(3_600);
        UP_SECONDS.fetch_add(3_600, Ordering::SeqCst); // as if the wall clock had been set back by an hour meanwhile
        assert!(clock.wall().plus(hour / 2) < clock.now());
        let now = clock.now();
        clock.keep_to(now, now.plus(hour));
        assert_eq!(clock.wall(), now.plus(hour));
        let manual = Clock::manual(Millis(7));
        assert_eq!(manual.wall(), Millis(7));
    }

    #[test]
    fn two_clocks_with_one_anchor_agree_though_the_wall_clock_was_set_between_their_starts() {
        let uptime = || Duration::from_secs(1_000);
        let (first, second) = (Clock::counted_by(uptime), Clock::counted_by(uptime));
        let clone = second.clone();
        first.anchor_at(Millis(5_000_000));
        second.anchor_at(Millis(5_000_000));
        assert_eq!([first.now(), second.now(), clone.now()], [Millis(6_000_000); 3]);
        assert!(first.wall() > Millis(6_000_000), "the time of day is read anew");

        let manual = Clock::manual(Millis(7));
        manual.anchor_at(Millis(9));
        assert_eq!((manual.now(), manual.since_boot()), (Millis(7), Duration::from_millis(7)));
    }

    #[cfg(target_os = "linux")]
    #[test]
    fn the_system_counts_its_sleep() {
        let read = || -> Duration {
            let text = std::fs::read_to_string("/proc/uptime").unwrap(); // counts suspension, by proc(5)
            Duration::from_secs_f64(text.split_whitespace().next().unwrap().parse().unwrap())
        };
        let (before, between, after) = (read(), since_boot(), read());
        let rounded = Duration::from_millis(20); // of /proc/uptime
        assert!(
            before <= between + rounded && between <= after + rounded,
            "{before:?} {between:?} {after:?}"
        );
    }

    #[test]
    fn a_clock_keeps_to_the_time_that_it_is_told() {
        let clock = Clock::system();
        let clone = clock.clone();
        for hour in [3_600_000, -7_200_000] {
            let asked = clock.now();
            let theirs = Millis(asked.0 + hour);
            clock.keep_to(asked, theirs);
            assert!(clone.now() >= theirs && clone.now().since(theirs) < Duration::from_secs(60));
        }
        let before = Millis(clock.now().0 - 5_000);
        clock.keep_to(before, Millis(before.0 + 3_000));
        assert!(
            clock.now() >= before.plus(Duration::from_secs(5)),
            "told while it was asked: that may well be right"
        );

        let manual = Clock::manual(Millis(7));
        manual.keep_to(Millis(7), Millis(9));
        assert_eq!((manual.now(), manual.given(), clock.given()), (Millis(7), Some(Millis(7)), None));
    }

    #[test]
    fn every_moment_is_shown_as_rfc_3339() {
        for (moment, shown) in [
            (Millis(0), "1970-01-01T00:00:00Z"),
            (LAST, "9999-12-30T22:00:00Z"),
            (Millis(LAST.0 + 1), "9999-12-30T22:00:00Z"),
            (Millis(i64::MAX), "9999-12-30T22:00:00Z"),
            (FIRST, "0000-01-01T00:00:00Z"),
            (Millis(FIRST.0 - 1), "0000-01-01T00:00:00Z"),
            (Millis(i64::MIN), "0000-01-01T00:00:00Z"),
        ] {
            assert_eq!(moment.to_string(), shown);
            let json = serde_json::to_value(moment).unwrap();
            assert_eq!(json, shown);
            let back: Millis = serde_json::from_value(json).unwrap();
            assert_eq!(back, moment.clamp(FIRST, LAST));
        }
    }

    #[test]
    fn time_spans_do_not_overflow_or_go_negative() {
        assert_eq!(Millis(5).plus(Duration::MAX), Millis(i64::MAX));
        assert_eq!(Millis(5).since(Millis(9)), Duration::ZERO);
        assert_eq!(Millis(9).since(Millis(5)), Duration::from_millis(4));
    }
}
