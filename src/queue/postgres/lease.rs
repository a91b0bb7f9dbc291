//! The transactions that touch what all replicas share of both APIs: leasing, settling, and what is told of rests and
//! calls. Each is a few statements long; none is held while a sync runs.

use std::time::Duration;

use sqlx::Connection;
use sqlx::postgres::PgConnection;

use super::apis::{self, Locked};
use super::lanes::{self, Which};
use super::settle::{self, Came, End};
use super::{history, statements};
use crate::clock::Millis;
use crate::queue::apis::{Admitted, Apis};
use crate::queue::{Job, Lane, Leased, NextDue, Options, Room, Settled};
use crate::upstream::{Api, PerApi};

/// When to look again for a row that is due, and that somebody else holds: another replica for a moment, or a transaction
/// that was left open for a day.
const HELD: Duration = Duration::from_millis(250);

/// What is asked of a lease.
#[derive(Debug, Clone, Copy)]
pub(super) struct Request<'a> {
    /// A name for each lease that there is room for.
    pub(super) names: &'a [i64],
    /// How many there is room for.
    pub(super) room: Room,
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

/// Leases as many as there is room for and both APIs allow; of the background lane, as its share of them allows.
pub(super) async fn lease(connection: &mut PgConnection, request: Request<'_>) -> sqlx::Result<Found> {
    let Request { room, doubtful, given, options, .. } = request;
    let mut transaction = connection.begin().await?;
    // Whoever leases waits here for whoever else does, a transaction whose end was never told included.
    let mut shared = apis::lock(&mut transaction, given).await?;
    let (now, rates) = (shared.now, &options.rates);
    forget(&mut transaction, &mut shared, doubtful).await?;
    shared.apis.check(now, rates);
    let admitted = shared.apis.admit(room.all, now, rates);
    let of_background = room.background.min(room.all);
    let share = shared.apis.admit_background(of_background, now, rates).most();
    let jobs = leased(&mut transaction, admitted, share, request, now).await?;
    let mut leased = account(&mut shared.apis, admitted, jobs, request, now);
    shared.write(&mut transaction).await?;
    let next_due = statements::next_due(&mut transaction).await?;
    transaction.commit().await?;
    if leased.jobs.len() < admitted.most() {
        // There was room, and whoever is due all the same is held by somebody else.
        let held = |due: Option<Millis>| due.filter(|at| *at <= now).map(|_| now.plus(HELD));
        leased.not_before = leased.not_before.or_else(|| held(next_due.prompt));
        let has_share = leased.jobs.iter().filter(|job| job.lane == Lane::Background).count() < share;
        leased.background_not_before =
            leased.background_not_before.or_else(|| held(next_due.background).filter(|_| has_share));
    }
    Ok(Found { leased, now, next_due })
}

async fn leased(
    transaction: &mut PgConnection,
    admitted: Admitted,
    share: usize,
    request: Request<'_>,
    now: Millis,
) -> sqlx::Result<Vec<Job>> {
    let names = request.names.get(..admitted.most()).unwrap_or(request.names);
    match admitted {
        Admitted::NotBefore(_) | Admitted::Paused => Ok(Vec::new()),
        Admitted::Users(_) => lanes::lease(transaction, Which::Any, names, share, now, request.options).await,
        Admitted::Probe => {
            let untried =
                lanes::lease(transaction, Which::Untried, names, share, now, request.options).await?;
            if untried.is_empty() {
                lanes::lease(transaction, Which::Any, names, share, now, request.options).await
            } else {
                Ok(untried)
            }
        }
    }
}

/// Takes the calls of `jobs`, which are in the order of their lanes; tells when to ask again.
fn account(
    apis: &mut Apis,
    admitted: Admitted,
    mut jobs: Vec<Job>,
    request: Request<'_>,
    now: Millis,
) -> Leased {
    let (room, rates, until) = (request.room, &request.options.rates, now.plus(request.options.lease));
    let first = jobs.partition_point(|job| job.lane != Lane::Background);
    let (prompt, of_background) = jobs.split_at_mut(first);
    apis.leased(prompt, now, until, rates);
    let most = room.background.min(room.all.saturating_sub(prompt.len()));
    let share = apis.admit_background(most, now, rates);
    apis.leased(of_background, now, until, rates);
    let background_not_before = apis.background_not_before(share, of_background, most, now, rates);
    // A probe is one of all lanes.
    let counted = if admitted == Admitted::Probe { &jobs[..] } else { &jobs[..first] };
    let not_before = apis.not_before(admitted, counted, room.all, now, rates);
    Leased { not_before, background_not_before, known: apis.known(), jobs }
}

/// Gives up leases that nobody was told of, whether they are in the store or not.
pub(super) async fn undo(
    connection: &mut PgConnection,
    doubtful: &[i64],
    given: Option<Millis>,
) -> sqlx::Result<()> {
    let mut transaction = connection.begin().await?;
    let mut shared = apis::lock(&mut transaction, given).await?;
    forget(&mut transaction, &mut shared, doubtful).await?;
    shared.write(&mut transaction).await?;
    transaction.commit().await
}

async fn forget(transaction: &mut PgConnection, shared: &mut Locked, names: &[i64]) -> sqlx::Result<()> {
    if names.is_empty() {
        return Ok(());
    }
    statements::undo_leases(transaction, names, shared.now).await?;
    for api in Api::ALL {
        let rest = &mut shared.apis.0.of_mut(api).rest;
        if rest.probe.is_some_and(|probe| names.contains(&probe.lease_owner)) {
            rest.probe = None;
        }
    }
    Ok(())
}

/// Ends leases, each of another user; what came of each. Where a lease is lost and a write was sent under it, its user is
/// due again. A lease may seem lost because this very end is tried a second time: one sync too many does no harm.
pub(super) async fn settle(
    connection: &mut PgConnection,
    ends: &[End<'_>],
    given: Option<Millis>,
    options: &Options,
) -> sqlx::Result<Vec<Settled>> {
    let settled = end(&mut *connection, ends, given, options).await?;
    let is_lost_after_a_write =
        |(end, came): &(&End<'_>, &Settled)| **came == Settled::LeaseLost && end.job.has_written;
    let lost: Vec<&Job> =
        ends.iter().zip(&settled).filter(is_lost_after_a_write).map(|(end, _)| end.job).collect();
    if !lost.is_empty() {
        settle::sync_again(connection, &lost, given, options).await?;
    }
    Ok(settled)
}

/// Ends leases, gives back what their syncs did not need of the APIs, and writes what they came to into the history.
///
/// A lease that is not there any more gives nothing back and tells nothing: it may be this very end, tried a second time.
/// Rows are locked in one order by all replicas: users by id and with each its history, the APIs, the counts.
async fn end(
    connection: &mut PgConnection,
    ends: &[End<'_>],
    given: Option<Millis>,
    options: &Options,
) -> sqlx::Result<Vec<Settled>> {
    let touches_apis = |end: &End<'_>| end.job.is_probe || end.job.calls != PerApi::default();
    if !ends.iter().any(|end| touches_apis(end) || end.entry.is_some()) {
        return Ok(settle::settle(connection, ends, given, options).await?.settled);
    }
    let mut transaction = connection.begin().await?;
    let Came { settled, at } = settle::settle(&mut transaction, ends, given, options).await?;
    let ended = || ends.iter().zip(&settled).filter(|(_, came)| **came != Settled::LeaseLost);
    let told: Vec<_> =
        ended().filter_map(|(end, _)| end.entry.map(|entry| (end.job.user.as_str(), entry))).collect();
    history::keep(&mut transaction, &told, at).await?;
    if ended().any(|(end, _)| touches_apis(end)) {
        let mut shared = apis::lock(&mut transaction, given).await?;
        for (end, _) in ended().filter(|(end, _)| touches_apis(end)) {
            let now = shared.now;
            shared.apis.settled(end.job, now, &options.rates);
        }
        shared.write(&mut transaction).await?;
    }
    history::count(&mut transaction, &told, at).await?;
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
