//! Which requests are in flight, and which of them a single sync would never send together.
//!
//! An overlap is not reported at once. A client that was killed or timed out closes its connection, and its next
//! request may be seen before that end is. So an overlap is only suspected at first; it becomes a finding if the older
//! request is answered after all, or is still in flight after [`GRACE`].

use std::time::{Duration, Instant};

use super::finding::{Finding, FindingKind};
use super::target::{Api, Route, Target};

/// How long it may take until the end of a client's connection is noticed.
const GRACE: Duration = Duration::from_millis(250);

/// All requests in flight, oldest first.
#[derive(Debug, Default)]
pub(super) struct InFlight {
    last_id: u64,
    requests: Vec<Entry>,
    suspicions: Vec<Suspicion>,
}

#[derive(Debug)]
struct Entry {
    id: u64,
    api: Api,
    route: Route,
    subject: Option<String>,
    path: String,
}

#[derive(Debug)]
struct Suspicion {
    older: u64,
    since: Instant,
    finding: Finding,
}

impl Entry {
    /// Whether a single sync never has both in flight. It may read contracts and entitlements side by side, and several
    /// pages of either; it reads the profile before them, and calls Mailmojo one request at a time.
    fn conflicts_with(&self, newer: &Self) -> bool {
        let is_same_subject =
            self.api == newer.api && self.subject.is_some() && self.subject == newer.subject;
        let has_profile = self.route == Route::Profile || newer.route == Route::Profile;
        is_same_subject && (self.api == Api::Mailmojo || has_profile || self.path == newer.path)
    }
}

impl InFlight {
    /// Adds a request that arrived at `now`, and returns its id.
    pub(super) fn begin(&mut self, api: Api, target: &Target, path: &str, now: Instant) -> u64 {
        self.last_id += 1;
        let subject = target.subject.as_deref().map(|subject| match api {
            Api::Sesamy => subject.to_owned(),
            Api::Mailmojo => subject.to_lowercase(), // one address in any letter case
        });
        let newer = Entry { id: self.last_id, api, route: target.route, subject, path: path.to_owned() };
        for older in self.requests.iter().filter(|older| older.conflicts_with(&newer)) {
            let text = format!(
                "two syncs of {subject} overlap at {api}: {newer:?} ({path}) arrived while {older:?} ({other}) was in flight",
                subject = target.subject.as_deref().unwrap_or_default(),
                newer = newer.route,
                older = older.route,
                other = older.path,
            );
            let finding = Finding::new(FindingKind::Overlap, text);
            self.suspicions.push(Suspicion { older: older.id, since: now, finding });
        }
        self.requests.push(newer);
        self.last_id
    }

    /// Ends request `id`, which was `answered` or abandoned by its client; returns the overlaps that are now certain.
    pub(super) fn end(&mut self, id: u64, answered: bool, now: Instant) -> Vec<Finding> {
        self.requests.retain(|request| request.id != id);
        self.suspicions
            .extract_if(.., |suspicion| suspicion.older == id)
            .filter(|suspicion| answered || suspicion.is_overdue(now))
            .map(|suspicion| suspicion.finding)
            .collect()
    }

    /// The overlaps that lasted too long to be a connection whose end is noticed late.
    pub(super) fn overdue(&mut self, now: Instant) -> Vec<Finding> {
        let overdue = self.suspicions.extract_if(.., |suspicion| suspicion.is_overdue(now));
        overdue.map(|suspicion| suspicion.finding).collect()
    }

    pub(super) fn count(&self) -> usize {
        self.requests.len()
    }
}

impl Suspicion {
    fn is_overdue(&self, now: Instant) -> bool {
        now.duration_since(self.since) >= GRACE
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_older_request_whose_client_went_away_is_no_overlap() {
        let (mut requests, now) = (InFlight::default(), Instant::now());
        let mut begin = |email: &str, path: &str| {
            requests.begin(Api::Mailmojo, &Target::new(Route::ContactGet, Some(email)), path, now)
        };
        let old = begin("Kari@example.com", "/a");
        begin("kari@example.com", "/b");
        assert!(requests.end(old, false, now).is_empty());
        assert!(requests.overdue(now + GRACE).is_empty());
    }

    #[test]
    fn an_older_request_that_is_answered_or_stays_is_an_overlap() {
        fn begin(requests: &mut InFlight, route: Route, path: &str, now: Instant) -> u64 {
            requests.begin(Api::Sesamy, &Target::new(route, Some("u1")), path, now)
        }
        let (mut requests, now) = (InFlight::default(), Instant::now());
        let old = begin(&mut requests, Route::Profile, "/p", now);
        let stays = begin(&mut requests, Route::Contracts, "/c", now);
        assert_eq!(requests.end(old, true, now).len(), 1);

        begin(&mut requests, Route::Entitlements, "/e", now);
        assert!(requests.overdue(now + GRACE).is_empty(), "contracts and entitlements belong together");
        begin(&mut requests, Route::Contracts, "/c", now);
        assert!(requests.overdue(now).is_empty());
        assert_eq!(requests.overdue(now + GRACE).len(), 1);
        assert!(requests.end(stays, true, now).is_empty());
    }
}
