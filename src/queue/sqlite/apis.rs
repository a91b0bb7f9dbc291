//! Reading and writing what all processes share of both APIs, inside the writer's transaction.

use rusqlite::{Connection, OptionalExtension, Transaction, params};

use crate::clock::Millis;
use crate::queue::apis::{ApiState, Apis, RestColumns};
use crate::upstream::rest::Shared;
use crate::upstream::{Api, PerApi, Used};

const READ: &str = "
    SELECT used, revision, rest_why, rest_until, rest_doublings, rest_answer, probe_owner, probe_until,
        background_used, paused_at, braked_at
    FROM apis WHERE connection = 'default' AND api = ?1";

const WRITE: &str = "
    INSERT OR REPLACE INTO apis (connection, api, used, revision, rest_why, rest_until, rest_doublings, rest_answer,
        probe_owner, probe_until, background_used, paused_at, braked_at)
    VALUES ('default', ?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12)";

/// Reads both; what has no row yet is as new.
pub(super) fn read(connection: &Connection) -> rusqlite::Result<Apis> {
    let sesamy = read_one(connection, Api::Sesamy)?;
    Ok(Apis(PerApi { sesamy, mailmojo: read_one(connection, Api::Mailmojo)? }))
}

fn read_one(connection: &Connection, api: Api) -> rusqlite::Result<ApiState> {
    let row = connection.prepare_cached(READ)?.query_row([api.as_str()], |row| {
        let columns = RestColumns {
            revision: row.get(1)?,
            why: row.get(2)?,
            until: row.get(3)?,
            doublings: row.get(4)?,
            answer: row.get(5)?,
            probe_owner: row.get(6)?,
            probe_until: row.get(7)?,
        };
        Ok(ApiState {
            used: Used(row.get(0)?),
            background_used: Used(row.get(8)?),
            rest: Shared::from(columns),
            paused_at: row.get::<_, Option<i64>>(9)?.map(Millis),
            braked_at: row.get::<_, Option<i64>>(10)?.map(Millis),
        })
    });
    Ok(row.optional()?.unwrap_or_default())
}

/// Writes what `change` makes of both; gives its answer.
pub(super) fn change<T>(
    transaction: &Transaction<'_>,
    change: impl FnOnce(&mut Apis) -> T,
) -> rusqlite::Result<(T, Apis)> {
    let before = read(transaction)?;
    let mut after = before.clone();
    let answer = change(&mut after);
    write(transaction, &before, &after)?;
    Ok((answer, after))
}

/// Writes `after` where it is not `before`.
pub(super) fn write(transaction: &Transaction<'_>, before: &Apis, after: &Apis) -> rusqlite::Result<()> {
    for api in Api::ALL {
        let state = after.0.of(api);
        if state != before.0.of(api) {
            let rest = RestColumns::from(&state.rest);
            transaction.prepare_cached(WRITE)?.execute(params![
                api.as_str(),
                state.used.0,
                rest.revision,
                rest.why,
                rest.until,
                rest.doublings,
                rest.answer,
                rest.probe_owner,
                rest.probe_until,
                state.background_used.0,
                state.paused_at.map(|at| at.0),
                state.braked_at.map(|at| at.0),
            ])?;
        }
    }
    Ok(())
}
