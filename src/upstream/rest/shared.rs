//! What processes that use the same account tell each other of an API's rest, through the store of the queue.
//!
//! Pure: [`Shared::after`] is the whole rule, and the store only keeps what comes of it.

use serde::{Deserialize, Serialize};

use super::Why;
use crate::clock::Millis;

/// A rest under way.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Pause {
    /// Why.
    pub why: Why,
    /// When it ends; afterwards only a probe is sent, until one gets through.
    pub until: Millis,
    /// How often an outage's rest has been doubled.
    pub doublings: u32,
    /// What those who failed had in common, where it is an outage.
    pub kind: Option<Kind>,
}

/// What makes two failures alike.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Kind {
    /// They may all work later.
    Transient,
    /// They got the same answer that no retry can mend.
    Permanent(String),
}

/// A probe under way: whoever holds that lease tries whether the API is back.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Probe {
    /// The lease's name.
    pub lease: String,
    /// When the lease ends.
    pub until: Millis,
}

/// An API's rest as the store has it.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Shared {
    /// Counts the changes.
    pub revision: i64,
    /// None: it does not rest.
    pub pause: Option<Pause>,
    /// Who probes it.
    pub probe: Option<Probe>,
}

/// What a process tells the others.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Change {
    /// The API rests.
    Begin(Pause),
    /// The rest is over, as far as it is the one of this revision: another has begun meanwhile otherwise.
    End {
        /// The revision that was known.
        revision: i64,
    },
}

impl Shared {
    /// What is left of it after `change`. Of two rests the one that lasts longer counts.
    #[must_use]
    pub fn after(self, change: Change) -> Self {
        match change {
            Change::Begin(pause) if self.pause.as_ref().is_some_and(|known| known.until >= pause.until) => {
                self
            }
            Change::Begin(pause) => {
                Self { revision: self.revision.saturating_add(1), pause: Some(pause), probe: None }
            }
            Change::End { revision } if revision == self.revision && self.pause.is_some() => self.ended(),
            Change::End { .. } => self,
        }
    }

    /// Not resting any more, whatever it was.
    #[must_use]
    pub fn ended(self) -> Self {
        Self { revision: self.revision.saturating_add(1), pause: None, probe: None }
    }

    /// Without the probe of this lease, whatever came of it.
    #[must_use]
    pub fn probed_by(self, lease: &str) -> Self {
        Self { probe: self.probe.filter(|probe| probe.lease != lease), ..self }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn until(at: i64) -> Change {
        Change::Begin(Pause { why: Why::RateLimit, until: Millis(at), doublings: 0, kind: None })
    }

    fn end(shared: &Shared) -> Option<Millis> {
        shared.pause.as_ref().map(|pause| pause.until)
    }

    #[test]
    fn of_two_rests_the_longer_one_counts() {
        for (first, second) in [(10, 20), (20, 10), (20, 20)] {
            assert_eq!(end(&Shared::default().after(until(first)).after(until(second))), Some(Millis(20)));
        }
    }

    #[test]
    fn a_rest_is_ended_only_by_who_knew_of_it() {
        let first = Shared::default().after(until(10));
        let second = first.clone().after(until(20));
        assert_eq!(second.clone().after(Change::End { revision: first.revision }), second);
        let ended = second.clone().after(Change::End { revision: second.revision });
        assert_eq!((end(&ended), ended.revision), (None, second.revision + 1));
        assert_eq!(ended.clone().after(Change::End { revision: ended.revision }), ended, "nothing to end");
    }

    #[test]
    fn the_end_of_a_sync_ends_its_own_probe_and_no_other() {
        let probe = Some(Probe { lease: "7".to_owned(), until: Millis(5) });
        let probed = Shared { probe, ..Shared::default().after(until(10)) };
        assert_eq!(probed.clone().probed_by("8"), probed);
        assert_eq!(probed.clone().probed_by("7").probe, None);
        assert_eq!(probed.after(until(20)).probe, None, "a new rest waits for a new probe");
    }
}
