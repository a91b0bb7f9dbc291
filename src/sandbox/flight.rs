//! Which requests are in flight, and which of them one sync would never have sent together.
//!
//! An overlap is not told at once. A client that was killed or has timed out closes its connection, and its next
//! request can be seen before that end is. So an overlap is first a suspicion; it becomes a finding where the older
//! request is answered after all, or is still there [`GRACE`] later.

use std::collections::HashMap;
use std::time::{Duration, Instant};

use super::call::{Api, Route};
use super::finding::{Finding, FindingKind};

/// How long the end of a client's connection may take to be noticed.
pub(super) const GRACE: Duration = Duration::from_millis(250);

/// How a flight ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Landing {
    /// The sandbox was done with it.
    Answered,
    /// The client went away.
    Abandoned,
}

/// All that is in flight.
#[derive(Debug, Default)]
pub(super) struct Flights {
    next: u64,
    count: usize,
    by_subject: HashMap<(Api, String), Vec<Flight>>,
    suspicions: Vec<Suspicion>,
}

#[derive(Debug)]
struct Flight {
    id: u64,
    route: Route,
    target: String,
}

#[derive(Debug)]
struct Suspicion {
    older: u64,
    since: Instant,
    finding: Finding,
}

/// Who is asked about: letter case is no difference between two addresses, but it is between two user ids.
fn key(api: Api, subject: &str) -> (Api, String) {
    match api {
        Api::Sesamy => (api, subject.to_owned()),
        Api::Mailmojo => (api, subject.to_lowercase()),
    }
}

/// Whether one sync never has these two in flight together. It may read contracts and entitlements side by side, and
/// several pages of either; the profile is read before them, and Mailmojo is asked one thing at a time.
fn conflict(api: Api, older: &Flight, newer: &Flight) -> bool {
    match api {
        Api::Mailmojo => true,
        Api::Sesamy => {
            older.route == Route::Profile || newer.route == Route::Profile || older.target == newer.target
        }
    }
}

impl Flights {
    /// Takes in a request that came at `now`; the answer is its number.
    pub(super) fn take_off(
        &mut self,
        api: Api,
        subject: Option<&str>,
        route: Route,
        target: &str,
        now: Instant,
    ) -> u64 {
        self.next += 1;
        self.count += 1;
        let newer = Flight { id: self.next, route, target: target.to_owned() };
        if let Some(subject) = subject {
            let together = self.by_subject.entry(key(api, subject)).or_default();
            for older in together.iter().filter(|older| conflict(api, older, &newer)) {
                let text = format!(
                    "two syncs of {subject} overlap at {api}: {newer:?} ({target}) came while {older:?} ({seen}) was in flight",
                    newer = newer.route,
                    older = older.route,
                    seen = older.target
                );
                let finding = Finding::new(FindingKind::Overlap, text);
                self.suspicions.push(Suspicion { older: older.id, since: now, finding });
            }
            together.push(newer);
        }
        self.next
    }

    /// Ends flight `id`; the answer is what is now certain.
    pub(super) fn land(
        &mut self,
        api: Api,
        subject: Option<&str>,
        id: u64,
        how: Landing,
        now: Instant,
    ) -> Vec<Finding> {
        self.count = self.count.saturating_sub(1);
        if let Some(subject) = subject {
            let key = key(api, subject);
            if let Some(together) = self.by_subject.get_mut(&key) {
                together.retain(|flight| flight.id != id);
                if together.is_empty() {
                    self.by_subject.remove(&key);
                }
            }
        }
        let about_this = |suspicion: &mut Suspicion| suspicion.older == id;
        self.suspicions
            .extract_if(.., about_this)
            .filter(|suspicion| how == Landing::Answered || now.duration_since(suspicion.since) >= GRACE)
            .map(|suspicion| suspicion.finding)
            .collect()
    }

    /// The overlaps that have lasted too long to be a connection's late end.
    pub(super) fn overdue(&mut self, now: Instant) -> Vec<Finding> {
        let late = |suspicion: &mut Suspicion| now.duration_since(suspicion.since) >= GRACE;
        self.suspicions.extract_if(.., late).map(|suspicion| suspicion.finding).collect()
    }

    pub(super) fn count(&self) -> usize {
        self.count
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_older_request_whose_client_went_away_is_no_overlap() {
        let (mut flights, now) = (Flights::default(), Instant::now());
        let old = flights.take_off(Api::Mailmojo, Some("Kari@example.com"), Route::ContactGet, "/a", now);
        flights.take_off(Api::Mailmojo, Some("kari@example.com"), Route::ContactGet, "/b", now);
        assert!(
            flights.land(Api::Mailmojo, Some("Kari@example.com"), old, Landing::Abandoned, now).is_empty()
        );
        assert!(flights.overdue(now + GRACE).is_empty());
    }

    #[test]
    fn an_older_request_that_is_answered_or_stays_is_an_overlap() {
        let (mut flights, now) = (Flights::default(), Instant::now());
        let old = flights.take_off(Api::Sesamy, Some("u1"), Route::Profile, "/p", now);
        let stays = flights.take_off(Api::Sesamy, Some("u1"), Route::Contracts, "/c", now);
        assert_eq!(flights.land(Api::Sesamy, Some("u1"), old, Landing::Answered, now).len(), 1);

        flights.take_off(Api::Sesamy, Some("u1"), Route::Entitlements, "/e", now);
        assert!(flights.overdue(now + GRACE).is_empty(), "contracts and entitlements belong together");
        flights.take_off(Api::Sesamy, Some("u1"), Route::Contracts, "/c", now);
        assert!(flights.overdue(now).is_empty());
        assert_eq!(flights.overdue(now + GRACE).len(), 1);
        assert!(flights.land(Api::Sesamy, Some("u1"), stays, Landing::Answered, now).is_empty());
    }
}
