//! What a round came to, in one line.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::atomic::Ordering;

use sesamy_mailmojo::sandbox::{Races, Sandbox};

use crate::actor::Deeds;

/// The figures of a round, or of several.
#[derive(Debug, Clone, Default)]
pub struct Tally {
    seed: u64,
    users: usize,
    pub seconds: f64,
    changes: u64,
    by_hand: u64,
    events: u64,
    resent: u64,
    /// Syncs by outcome.
    pub syncs: BTreeMap<String, u64>,
    /// Those of them that no event has asked for: by the clock, and by rounds.
    pub unprompted: [u64; 2],
    calls: u64,
    /// Those of them that came while things went wrong.
    troubled: u64,
    faults: BTreeMap<String, u64>,
    pub kills: u64,
    pub stops: u64,
    /// Users that were parked when the faults stopped.
    pub parked: u64,
    /// Contacts with the tags of access when the source forgot all purchases, and how many of them lost these.
    pub had_access: usize,
    pub lost_access: usize,
    races: Races,
}

impl Tally {
    pub fn new(seed: u64, users: usize) -> Self {
        Self { seed, users, ..Self::default() }
    }

    pub fn take_deeds(&mut self, deeds: &Deeds) {
        self.changes = deeds.changes.load(Ordering::Relaxed);
        self.by_hand = deeds.by_hand.load(Ordering::Relaxed);
        self.events = deeds.events.load(Ordering::Relaxed) + deeds.ignored.load(Ordering::Relaxed);
        self.resent = deeds.resent.load(Ordering::Relaxed);
    }

    /// The calls so far, and what went wrong with them.
    pub fn take_faults(&mut self, sandbox: &Sandbox, calls: u64) {
        self.troubled = calls;
        self.faults = sandbox.faults();
    }

    pub fn take_end(&mut self, sandbox: &Sandbox, calls: u64) {
        self.calls = calls;
        self.races = sandbox.mailmojo.tallies().races;
    }

    /// Adds the figures of another round.
    pub fn add(&mut self, other: &Self) {
        self.users += other.users;
        self.seconds += other.seconds;
        self.changes += other.changes;
        self.by_hand += other.by_hand;
        self.events += other.events;
        self.resent += other.resent;
        self.calls += other.calls;
        self.troubled += other.troubled;
        self.kills += other.kills;
        self.stops += other.stops;
        self.parked += other.parked;
        self.had_access += other.had_access;
        self.lost_access += other.lost_access;
        (0..2).for_each(|at| self.unprompted[at] += other.unprompted[at]);
        for (all, more) in [(&mut self.syncs, &other.syncs), (&mut self.faults, &other.faults)] {
            more.iter().for_each(|(name, count)| *all.entry(name.clone()).or_default() += count);
        }
        let (all, more) = (&mut self.races, other.races);
        all.lost_unseen_tags += more.lost_unseen_tags;
        all.revived_tags += more.revived_tags;
        all.overwritten_unseen += more.overwritten_unseen;
        all.subscribed_unseen += more.subscribed_unseen;
    }
}

impl fmt::Display for Tally {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let listed = |counts: &BTreeMap<String, u64>| {
            counts.iter().map(|(name, count)| format!("{name} {count}")).collect::<Vec<_>>().join(", ")
        };
        let (syncs, faults): (u64, u64) = (self.syncs.values().sum(), self.faults.values().sum());
        write!(
            f,
            "seed {}: {:.1} s, {} users, {} changes at Sesamy, {} by hand, ",
            self.seed, self.seconds, self.users, self.changes, self.by_hand
        )?;
        write!(
            f,
            "{} events ({} times sent again), {syncs} syncs ({}), {} of them by the clock and {} by rounds, ",
            self.events,
            self.resent,
            listed(&self.syncs),
            self.unprompted[0],
            self.unprompted[1]
        )?;
        write!(
            f,
            "{} calls, {} of them in trouble, {faults} faults ({}), ",
            self.calls,
            self.troubled,
            listed(&self.faults)
        )?;
        let Races {
            lost_unseen_tags: lost,
            revived_tags: revived,
            overwritten_unseen: overwritten,
            subscribed_unseen,
        } = self.races;
        write!(f, "{} kills, {} stops, {} users parked by then, ", self.kills, self.stops, self.parked)?;
        write!(f, "{} of {} lost their access to a forgetful source, ", self.lost_access, self.had_access)?;
        write!(
            f,
            "races: {lost} tags lost, {revived} revived, {overwritten} overwritten, {subscribed_unseen} subscribed"
        )
    }
}
