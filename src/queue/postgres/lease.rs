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
    /// A name for each lease, and so the most that there may be.
    pub(super) names: &'a [i64],
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

/// How many both APIs allow.
#[derive(Debug, Clone, Copy)]
struct Allowed {
    all: Admitted,
    background: Admitted,
}

/// Leases as many as both APIs allow.
pub(super) async fn lease(connection: &mut PgConnection, request: Request<'_>) -> sqlx::Result<Found> {
    let Request { names, room, doubtful, given, options } = request;
    let mut transaction = connection.begin().await?;
    // Whoever leases waits here for whoever else does, a transaction whose end was never told included.
    let mut shared = apis::lock(&mut transaction, given).await?;
    let (now, rates) = (shared.now, &options.rates);
    forget(&mut transaction, &mut shared, doubtful).await?;
    shared.apis.check(now, rates);
    let allowed = Allowed {
        all: shared.apis.admit(names.len(), now, rates),
        background: shared.apis.admit_background(room.background, now, rates),
    };
    let mut jobs = leased(&mut transaction, allowed, names, now, options).await?;
    shared.apis.leased(&mut jobs, now, now.plus(options.lease), rates);
    shared.write(&mut transaction).await?;
    let next_due = statements::next_due(&mut transaction).await?;
    transaction.commit().await?;
    let known = shared.apis.known();
    let (not_before, background_not_before) =
        when_again(&shared.apis, allowed, &jobs, next_due, request, now);
    Ok(Found { leased: Leased { jobs, not_before, background_not_before, known }, now, next_due })
}

async fn leased(
    transaction: &mut PgConnection,
    allowed: Allowed,
    names: &[i64],
    now: Millis,
    options: &Options,
) -> sqlx::Result<Vec<Job>> {
    let up_to = |most: usize| names.get(..most).unwrap_or(names);
    let background = allowed.background.most();
    match allowed.all {
        Admitted::NotBefore(_) | Admitted::Paused => Ok(Vec::new()),
        Admitted::Users(most) => {
            lanes::lease(transaction, Which::Any, up_to(most), background, now, options).await
        }
        Admitted::Probe => {
            let one = up_to(1);
            let untried = lanes::lease(transaction, Which::Untried, one, background, now, options).await?;
            if untried.is_empty() {
                lanes::lease(transaction, Which::Any, one, background, now, options).await
            } else {
                Ok(untried)
            }
        }
    }
}

/// When to ask again, and when for the background lane; none where all is leased that is due and may be.
fn when_again(
    apis: &Apis,
    allowed: Allowed,
    jobs: &[Job],
    next_due: NextDue,
    request: Request<'_>,
    now: Millis,
) -> (Option<Millis>, Option<Millis>) {
    let (rates, most) = (&request.options.rates, request.room.all);
    // There was room, and somebody is due all the same: another holds the row.
    let is_held = |due: Option<Millis>| jobs.len() < allowed.all.most() && due.is_some_and(|at| at <= now);
    let held = |due| is_held(due).then(|| now.plus(HELD));

    let all = apis.not_before(allowed.all, jobs, most, now, rates).or_else(|| held(next_due.prompt));
    let of_background = jobs.iter().filter(|job| job.lane == Lane::Background).count();
    let background = if request.room.background == 0 || of_background == request.room.background {
        None // no room for more, whatever its share
    } else if of_background < allowed.background.most() {
        held(next_due.background)
    } else {
        apis.admit_background(request.room.background, now, rates).not_before()
    };
    (all, background)
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

/// Ends leases, each of another user, gives back what their syncs did not need of the APIs, and writes what they came to
/// into the history; what came of each.
///
/// A lease that is not there any more gives nothing back and tells nothing: it may be this very end, tried a second time.
/// Rows are locked in one order by all replicas: users by id and with each its history, the APIs, the counts.
pub(super) async fn settle(
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
