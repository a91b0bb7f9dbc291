//! The transactions that touch what all replicas share of both APIs: leasing, settling, and what is told of rests and
//! calls. Each is a few statements long; none is held while a sync runs.

use std::time::Duration;

use sqlx::Connection;
use sqlx::postgres::PgConnection;

use super::settle::{self, End};
use super::statements::{self, Which};
use super::{apis, statements::undo_leases};
use crate::clock::Millis;
use crate::queue::apis::{Admitted, Apis};
use crate::queue::{Job, Leased, NextDue, Options, Settled};
use crate::upstream::{Api, PerApi};

/// When to look again for a row that is due, and that somebody else holds: another replica for a moment, or a transaction
/// that was left open for a day.
const HELD: Duration = Duration::from_millis(250);

/// What is asked of a lease.
#[derive(Debug, Clone, Copy)]
pub(super) struct Request<'a> {
    /// A name for each lease, and so the most that there may be.
    pub(super) names: &'a [i64],
    /// Names of leases that may be in the store though nobody was told.
    pub(super) doubtful: &'a [i64],
    /// The time, where it is given by hand.
    pub(super) given: Option<Millis>,
    pub(super) options: &'a Options,
}

/// What one transaction leased, and what it saw.
pub(super) struct Found {
    pub(super) leased: Leased,
    pub(super) now: Millis,
    pub(super) next_due: NextDue,
}

/// Leases as many as both APIs allow.
pub(super) async fn lease(connection: &mut PgConnection, request: Request<'_>) -> sqlx::Result<Found> {
    let Request { names, doubtful, given, options } = request;
    let mut transaction = connection.begin().await?;
    // Whoever leases waits here for whoever else does, a transaction whose end was never told included.
    let mut shared = apis::lock(&mut transaction, given).await?;
    let (now, most, rates) = (shared.now, names.len(), &options.rates);
    if !doubtful.is_empty() {
        undo_leases(&mut transaction, doubtful, now).await?;
        forget_probes(&mut shared.apis, doubtful);
    }
    shared.apis.check(now, rates);
    let admitted = shared.apis.admit(most, now, rates);
    let mut jobs = leased(&mut transaction, admitted, names, now, options).await?;
    shared.apis.leased(&mut jobs, now, now.plus(options.lease), rates);
    shared.write(&mut transaction).await?;
    let next_due = statements::next_due(&mut transaction).await?;
    transaction.commit().await?;
    let is_held = jobs.len() < admitted.most() && next_due.earliest().is_some_and(|at| at <= now);
    let not_before = shared.apis.not_before(admitted, &jobs, most, now, rates);
    let not_before = not_before.or_else(|| is_held.then(|| now.plus(HELD)));
    Ok(Found {
        leased: Leased { jobs, not_before, background_not_before: None, known: shared.apis.known() },
        now,
        next_due,
    })
}

async fn leased(
    transaction: &mut PgConnection,
    admitted: Admitted,
    names: &[i64],
    now: Millis,
    options: &Options,
) -> sqlx::Result<Vec<Job>> {
    let up_to = |most: usize| names.get(..most).unwrap_or(names);
    match admitted {
        Admitted::NotBefore(_) | Admitted::Paused => Ok(Vec::new()),
        Admitted::Users(most) => statements::lease(transaction, Which::Any, up_to(most), now, options).await,
        Admitted::Probe => {
            let untried = statements::lease(transaction, Which::Untried, up_to(1), now, options).await?;
            if untried.is_empty() {
                statements::lease(transaction, Which::Any, up_to(1), now, options).await
            } else {
                Ok(untried)
            }
        }
    }
}

fn forget_probes(apis: &mut Apis, names: &[i64]) {
    for api in Api::ALL {
        let rest = &mut apis.0.of_mut(api).rest;
        if rest.probe.is_some_and(|probe| names.contains(&probe.lease_owner)) {
            rest.probe = None;
        }
    }
}

/// Ends leases, each of another user, and gives back what their syncs did not need of the APIs; what came of each.
///
/// A lease that is not there any more gives nothing back: it may be this very end, tried a second time.
pub(super) async fn settle(
    connection: &mut PgConnection,
    ends: &[End<'_>],
    given: Option<Millis>,
    options: &Options,
) -> sqlx::Result<Vec<Settled>> {
    let touches_apis = |end: &End<'_>| end.job.is_probe || end.job.calls != PerApi::default();
    if !ends.iter().any(touches_apis) {
        return settle::settle(connection, ends, given, options).await;
    }
    let mut transaction = connection.begin().await?;
    let settled = settle::settle(&mut transaction, ends, given, options).await?;
    let mut shared = apis::lock(&mut transaction, given).await?;
    for (end, settled) in ends.iter().zip(&settled) {
        if touches_apis(end) && *settled != Settled::LeaseLost {
            let now = shared.now;
            shared.apis.settled(end.job, now, &options.rates);
        }
    }
    shared.write(&mut transaction).await?;
    transaction.commit().await?;
    Ok(settled)
}

/// Changes what all share of the APIs; gives what `change` answers, which is told the time too.
pub(super) async fn change<T>(
    connection: &mut PgConnection,
    given: Option<Millis>,
    change: impl FnOnce(&mut Apis, Millis) -> T,
) -> sqlx::Result<T> {
    let mut transaction = connection.begin().await?;
    let mut shared = apis::lock(&mut transaction, given).await?;
    let answer = change(&mut shared.apis, shared.now);
    shared.write(&mut transaction).await?;
    transaction.commit().await?;
    Ok(answer)
}
