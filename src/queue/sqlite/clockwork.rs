//! What becomes due though nothing asks for it, in steps: by the clock, what was held back, and the next of the round.
//!
//! Each step is looked for first, and a transaction that writes is begun only where there is something to do.

use rusqlite::{Connection, OptionalExtension, Transaction, params};

use super::{apis, memory, round};
use crate::clock::Millis;
use crate::queue::clockwork::TICK_STEP;
use crate::queue::{EXPIRY, Options, Tick, Ticked};

/// The rows whose time has come and whom nobody holds, and whether each becomes due: who is parked, or due before long
/// anyhow, does not. A held row's time is the end of its sync to tell.
pub(super) const WHOSE_TIME_HAS_COME: &str = "
    SELECT user_id, parked_at IS NULL AND (due_at IS NULL OR lane = 2) FROM users INDEXED BY users_changes
    WHERE connection = 'default' AND changes_at <= ?1 AND lease_owner IS NULL ORDER BY changes_at LIMIT ?2";

/// The generation stays, which counts what asked for a sync: nobody holds the row, so that no event is missed for it. Whose
/// change is held back keeps what asked for it; and so does a user whom Sesamy does not know yet, because the event may
/// create the contact.
pub(super) const EXPIRES: &str = "
    UPDATE users SET lane = 1,
        event_type = iif(
            due_at IS NULL AND held_back = 0 AND (email IS NOT NULL OR missing_since IS NULL), ?3, event_type),
        due_at = min(coalesce(due_at, ?2), ?2), changes_at = NULL
    WHERE connection = 'default' AND user_id = ?1";

/// What a change that is held back no longer makes of a row. Who was not due anyhow is in the lane of retries: they may be
/// many, and events go first.
macro_rules! released {
    () => {
        "held_back = 0, lane = iif(due_at IS NULL, max(lane, 1), lane),
        due_at = iif(lease_owner IS NULL, min(coalesce(due_at, ?1), ?1), due_at)"
    };
}
pub(super) use released;

pub(super) const HELD_BACK: &str = "
    SELECT EXISTS (SELECT 1 FROM users INDEXED BY users_held_back WHERE held_back = 1 AND lease_owner IS NULL)";

pub(super) const RELEASE: &str = concat!(
    "UPDATE users SET ",
    released!(),
    " WHERE connection = 'default' AND user_id IN (
        SELECT user_id FROM users INDEXED BY users_held_back
        WHERE connection = 'default' AND held_back = 1 AND lease_owner IS NULL LIMIT ?2)"
);

/// The first after an id whose change is held back.
pub(super) const CANARY: &str = "
    SELECT user_id FROM users INDEXED BY users_held_back
    WHERE connection = 'default' AND held_back = 1 AND user_id > ?1 ORDER BY user_id LIMIT 1";

/// Looked at again for what asked for the sync before; who is due, held or parked is anyhow, or not to be.
pub(super) const SENDS_CANARY: &str = "
    UPDATE users SET due_at = ?2, lane = 2
    WHERE connection = 'default' AND user_id = ?1 AND due_at IS NULL AND lease_owner IS NULL AND parked_at IS NULL";

/// So many rows are counted at a time: a few milliseconds, which an event may wait.
const COUNTED_AT_A_TIME: usize = 10_000;

/// A tick that is under way.
pub(super) struct Clockwork {
    tick: Tick,
    next: Next,
    ticked: Ticked,
}

/// The step that comes next.
#[derive(Clone)]
enum Next {
    Expiry,
    Release,
    Canary,
    Round,
    /// For the round that is to begin: so many rows up to this id.
    Count {
        after: String,
        users: u64,
    },
    Begin {
        users: u64,
    },
    Nothing,
}

impl Clockwork {
    pub(super) fn new(tick: Tick) -> Self {
        Self { tick, next: Next::Expiry, ticked: Ticked::default() }
    }

    pub(super) fn is_done(&self) -> bool {
        matches!(self.next, Next::Nothing)
    }

    pub(super) fn ticked(self) -> Ticked {
        self.ticked
    }

    /// Goes on to the next step that has something to write; false where there is none, or none yet. Only reads. `now` is
    /// the queue's time, and `wall` the time of day, which rows wait for.
    pub(super) fn look(
        &mut self,
        connection: &Connection,
        now: Millis,
        wall: Millis,
        options: &Options,
    ) -> rusqlite::Result<bool> {
        loop {
            self.next = match self.next.clone() {
                Next::Expiry if whose_time_has_come(connection, wall, 1)?.is_empty() => Next::Release,
                Next::Release if !is_anybody_released(connection, options)? => Next::Canary,
                Next::Canary if self.next_canary(connection)?.is_none() => Next::Round,
                Next::Round => match self.look_round(connection, now)? {
                    Next::Round => return Ok(true),
                    next => next,
                },
                Next::Count { after, users } => {
                    let (counted, last) = round::count_on(connection, &after, COUNTED_AT_A_TIME)?;
                    let users = users.saturating_add(counted as u64);
                    match last.filter(|_| counted == COUNTED_AT_A_TIME) {
                        None => Next::Begin { users },
                        Some(last) => {
                            self.next = Next::Count { after: last, users };
                            return Ok(false);
                        }
                    }
                }
                Next::Expiry | Next::Release | Next::Canary | Next::Begin { .. } => return Ok(true),
                Next::Nothing => return Ok(false),
            };
        }
    }

    /// What is to be done about the round. Keeps the one that is under way, if there is one.
    fn look_round(&mut self, connection: &Connection, now: Millis) -> rusqlite::Result<Next> {
        let Some(every) = self.tick.resync_every else { return Ok(Next::Nothing) };
        let kept = round::read(connection)?.filter(|kept| !kept.round.is_over(now, every));
        self.ticked.round = kept.map(|kept| kept.round);
        let Some(round) = self.ticked.round else {
            return Ok(Next::Count { after: String::new(), users: 0 });
        };
        let is_anybody_next = round.next(now, every, round::waiting(connection, now)?) > 0;
        Ok(if is_anybody_next { Next::Round } else { Next::Nothing })
    }

    /// Takes the step that [`Clockwork::look`] has found.
    pub(super) fn step(
        &mut self,
        transaction: &Transaction<'_>,
        now: Millis,
        wall: Millis,
    ) -> rusqlite::Result<()> {
        self.next = match self.next {
            Next::Expiry => {
                let (seen, expired) = expire(transaction, now, wall)?;
                self.ticked.expired = expired;
                self.ticked.more |= seen == TICK_STEP;
                Next::Release
            }
            Next::Release => {
                let most = i64::try_from(TICK_STEP).unwrap_or(i64::MAX);
                let released = transaction.prepare_cached(RELEASE)?.execute(params![now.0, most])?;
                self.ticked.released = released as u64;
                self.ticked.more |= released == TICK_STEP;
                Next::Canary
            }
            Next::Canary => {
                self.ticked.canary = self.next_canary(transaction)?;
                if let Some(user) = &self.ticked.canary {
                    transaction.prepare_cached(SENDS_CANARY)?.execute(params![user, now.0])?;
                }
                Next::Round
            }
            Next::Round => {
                self.go_round(transaction, now)?;
                Next::Nothing
            }
            Next::Begin { users } => {
                self.begin(transaction, users, now)?;
                Next::Nothing
            }
            Next::Count { .. } | Next::Nothing => return Ok(()),
        };
        Ok(())
    }

    /// Who is looked at again while tags are kept.
    fn next_canary(&self, connection: &Connection) -> rusqlite::Result<Option<String>> {
        let Some(after) = &self.tick.canary_after else { return Ok(None) };
        if apis::read(connection)?.braked_at().is_none() {
            return Ok(None);
        }
        connection.prepare_cached(CANARY)?.query_row([after], |row| row.get(0)).optional()
    }

    /// Read again: another process may have gone on meanwhile.
    fn go_round(&mut self, transaction: &Transaction<'_>, now: Millis) -> rusqlite::Result<()> {
        let Some((every, mut kept)) = self.tick.resync_every.zip(round::read(transaction)?) else {
            return Ok(());
        };
        let waiting = round::waiting(transaction, now)?;
        let most = kept.round.next(now, every, waiting);
        if most > 0 {
            self.ticked.drifting = kept.pass(transaction, most, now)?;
            let waiting = waiting.saturating_add(usize::try_from(self.ticked.drifting).unwrap_or(usize::MAX));
            self.ticked.more |= kept.round.next(now, every, waiting) > 0 || kept.round.is_over(now, every);
        }
        self.ticked.round = Some(kept.round);
        Ok(())
    }

    fn begin(&mut self, transaction: &Transaction<'_>, users: u64, now: Millis) -> rusqlite::Result<()> {
        let Some(every) = self.tick.resync_every else { return Ok(()) };
        let others = round::read(transaction)?.filter(|kept| !kept.round.is_over(now, every));
        let kept = match others {
            Some(kept) => kept,
            None => round::Kept::begin(transaction, users, now)?,
        };
        self.ticked.round = Some(kept.round);
        Ok(())
    }
}

fn whose_time_has_come(
    connection: &Connection,
    wall: Millis,
    most: usize,
) -> rusqlite::Result<Vec<(String, bool)>> {
    let most = i64::try_from(most).unwrap_or(i64::MAX);
    let mut statement = connection.prepare_cached(WHOSE_TIME_HAS_COME)?;
    statement.query_map([wall.0, most], |row| Ok((row.get(0)?, row.get(1)?)))?.collect()
}

/// How many rows were seen, and how many of them are due now.
fn expire(transaction: &Transaction<'_>, now: Millis, wall: Millis) -> rusqlite::Result<(usize, u64)> {
    let rows = whose_time_has_come(transaction, wall, TICK_STEP)?;
    let mut expired = 0;
    for (user, becomes_due) in &rows {
        if *becomes_due {
            transaction.prepare_cached(EXPIRES)?.execute(params![user, now.0, EXPIRY])?;
            expired += 1;
        } else {
            memory::look_again(transaction, user, None)?;
        }
    }
    Ok((rows.len(), expired))
}

fn is_anybody_released(connection: &Connection, options: &Options) -> rusqlite::Result<bool> {
    Ok(!options.dry_run
        && connection.prepare_cached(HELD_BACK)?.query_row((), |row| row.get(0))?
        && apis::read(connection)?.braked_at().is_none())
}
