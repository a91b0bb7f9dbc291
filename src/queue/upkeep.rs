//! Maintenance: a start, checks by the clock, and pruning, in short steps between which events are kept. A step with nothing to
//! do writes nothing, and any number of processes may take them.

use std::collections::BTreeMap;
use std::time::Duration;

use super::documents::{ACTIVITY, APIS, GUARD};
use super::operators::STEP;
use super::row::Row;
use super::store::{Change, First, Index, Look};
use super::{Activity, DRIFT, MISSING, Queue, QueueError};
use crate::clock::Millis;

/// A check for a user whom Sesamy does not know lies no further ahead than this.
const MISSING_CHECK_AFTER: Duration = Duration::from_secs(86_400);
/// How much further ahead a row may be due, because it became due while the start was under way.
const STARTING: Duration = Duration::from_secs(60);
/// How much further ahead a lease may end, because it may be a replica's with a longer `sync.deadline`.
const FOREIGN_LEASE: Duration = Duration::from_secs(86_400);

/// What `Queue::run_checks` has made due.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Checked {
    /// Checks of access that ends, and of users whom Sesamy does not know.
    pub expired: u64,
    /// Drift checks.
    pub drifting: u64,
    /// Rows whose change is held back no longer.
    pub released: u64,
    /// Whether there may be more at once.
    pub more: bool,
}

impl Queue {
    /// Prepares the rows for this service: leases of the service before end soon (on SQLite, which one service has to itself),
    /// circuits close (a setting may have been fixed), and rows that a wrong clock made due too far ahead are brought back. To
    /// be called once, before anybody is leased ([`Queue::started`]).
    /// After an error, some of it may be done; all of it can be done again.
    pub(crate) async fn start(&self) -> Result<(), QueueError> {
        let options = self.0.options;
        self.transact(Look::default().with(APIS), |seen| {
            let mut apis = seen.apis();
            apis.close_circuits();
            (Change::default().apis(seen, &apis), ())
        })
        .await?;
        let now = self.0.clock.now();
        if self.is_alone() {
            let end = now.plus(options.request_timeout);
            self.change_all(Index::LeasedByServiceBeyond(end), move |row, _| row.brought_back(end)).await?;
        }
        let furthest = now.plus(options.furthest_due);
        let beyond = Index::DueBeyond(furthest.plus(STARTING));
        self.change_all(beyond, move |row, _| row.brought_back(furthest)).await?;
        let of_others = furthest.plus(FOREIGN_LEASE);
        self.change_all(Index::LeasedByServiceBeyond(of_others), move |row, _| row.brought_back(of_others))
            .await?;
        let latest = self.0.clock.wall().plus(MISSING_CHECK_AFTER);
        let index = Index::CheckAfter { cause: MISSING, at: latest };
        self.change_all(index, move |row, _| Row { check_at: Some(latest), ..row }).await?;
        self.0.is_started.send_replace(true);
        Ok(())
    }

    /// Makes rows due whose check has come, and rows whose change nothing holds back any more, up to 500 of each.
    pub(crate) async fn run_checks(&self) -> Result<Checked, QueueError> {
        let dry_run = self.0.options.dry_run;
        let first = [Index::CheckDue, Index::HeldBack].map(|of| First { of, most: STEP }).to_vec();
        let look = Look { first, ..Look::default() }.with(GUARD);
        self.transact(look, move |seen| {
            let [due, held] = &seen.first[..] else { return (Change::default(), Checked::default()) };
            let is_held_back = dry_run || seen.guard().state().is_tripped();
            let mut checked = Checked { more: due.len() == STEP, ..Checked::default() };
            let mut rows = BTreeMap::new();
            for row in due {
                let is_drift = row.check_cause.as_deref() == Some(DRIFT);
                let before = (row.due_at, row.lane);
                let row = row.clone().checked(seen.now);
                if (row.due_at, row.lane) != before {
                    *(if is_drift { &mut checked.drifting } else { &mut checked.expired }) += 1;
                }
                rows.insert(row.user_id.clone(), row);
            }
            if !is_held_back {
                checked.more |= held.len() == STEP;
                checked.released = held.len() as u64;
                for row in held {
                    let row = rows.remove(&row.user_id).unwrap_or_else(|| row.clone());
                    rows.insert(row.user_id.clone(), row.released(seen.now));
                }
            }
            (Change::rows(rows.into_values()), checked)
        })
        .await
    }

    /// Removes up to `most` history entries whose last sync was before `before`, and as many rows of users whom Sesamy has not
    /// known since before `before` and of whom no address is remembered; the result is their number. Activity is removed once it is
    /// a week old.
    pub async fn prune(&self, before: Millis, most: usize) -> Result<u64, QueueError> {
        let stale = self.stale_activity().await?;
        let look = Look::first(Index::MissingBefore(before), most);
        let look = Look { entries_before: Some((before, most)), ..look };
        self.transact(look, move |seen| {
            let rows = seen.first.iter().flatten().filter(|row| row.is_pruned(before));
            let erased: Vec<String> = rows.map(|row| row.user_id.clone()).collect();
            let removed_entries = seen.entries.clone();
            let count = (erased.len() + removed_entries.len()) as u64;
            let documents = stale.iter().map(|name| (name.clone(), String::new())).collect();
            (Change { erased, removed_entries, documents, ..Change::default() }, count)
        })
        .await
    }

    async fn stale_activity(&self) -> Result<Vec<String>, QueueError> {
        let oldest = Activity::oldest(self.0.clock.now());
        let names = self.documents(ACTIVITY).await?.into_keys();
        Ok(names.filter(|name| Activity::hour_of(name).is_none_or(|hour| hour < oldest)).collect())
    }
}
