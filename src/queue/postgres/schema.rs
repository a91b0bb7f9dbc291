//! The schema's version and the steps from one to the next.

use sqlx::Connection;
use sqlx::postgres::PgConnection;

/// Step n leads from version n to version n + 1. Never changed once released: a new step is added instead.
pub(super) const STEPS: &[&str] = &[include_str!("../migrations/postgres/0001_users.sql")];

/// Locked while steps are taken, so that of two processes that start at once one waits. Any number that nothing else uses.
const LOCK: i64 = 0x5E5A_4D79_4D4A_0001;

/// Whether the first schema of the search path has tables, those of extensions aside, and whether ours is one of them.
const FIND: &str = "
    SELECT current_schema()::text, count(c.oid), coalesce(bool_or(c.relname = 'sesamy_mailmojo_schema'), false)
    FROM pg_namespace AS n LEFT JOIN pg_class AS c ON c.relnamespace = n.oid AND c.relkind IN ('r', 'p')
        AND NOT EXISTS (SELECT FROM pg_depend AS d WHERE d.objid = c.oid AND d.deptype = 'e')
    WHERE n.nspname = current_schema()";

/// Whether the schema is the queue's, and its version.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Version {
    /// The queue's; version 0 while it has no tables.
    Ours(u32),
    /// The schema of that name has tables, and none of them has the version in it.
    Foreign(String),
    /// No schema of the search path is there.
    Nowhere,
}

/// Reads the version, and changes nothing.
pub(super) async fn version(connection: &mut PgConnection) -> sqlx::Result<Version> {
    let (schema, tables, ours): (Option<String>, i64, bool) =
        sqlx::query_as(FIND).fetch_one(&mut *connection).await?;
    match (schema, tables, ours) {
        (None, _, _) => Ok(Version::Nowhere),
        (Some(_), 0, _) => Ok(Version::Ours(0)),
        (Some(schema), _, false) => Ok(Version::Foreign(schema)),
        (Some(_), _, true) => current(connection).await.map(Version::Ours),
    }
}

/// Takes those of `steps` that are missing, all or none of them. Another process that starts meanwhile waits, and finds them
/// taken. Returns the version that was found.
pub(super) async fn migrate(connection: &mut PgConnection, steps: &[&'static str]) -> sqlx::Result<Version> {
    let found = version(connection).await?;
    if !matches!(found, Version::Ours(older) if older < known(steps)) {
        return Ok(found);
    }
    let mut transaction = connection.begin().await?;
    sqlx::query("SELECT pg_advisory_xact_lock($1)").bind(LOCK).execute(&mut *transaction).await?;
    let found = version(&mut transaction).await?;
    if let Version::Ours(reached) = found {
        sqlx::raw_sql("CREATE TABLE IF NOT EXISTS sesamy_mailmojo_schema (version integer PRIMARY KEY)")
            .execute(&mut *transaction)
            .await?;
        for (version, sql) in (1_u32..).zip(steps).filter(|(version, _)| *version > reached) {
            sqlx::raw_sql(*sql).execute(&mut *transaction).await?;
            sqlx::query("INSERT INTO sesamy_mailmojo_schema (version) VALUES ($1)")
                .bind(i32::try_from(version).unwrap_or(i32::MAX))
                .execute(&mut *transaction)
                .await?;
        }
    }
    transaction.commit().await?;
    Ok(found)
}

/// The version that `steps` lead to.
pub(super) fn known(steps: &[&str]) -> u32 {
    u32::try_from(steps.len()).unwrap_or(u32::MAX)
}

async fn current(connection: &mut PgConnection) -> sqlx::Result<u32> {
    let version: i32 = sqlx::query_scalar("SELECT coalesce(max(version), 0) FROM sesamy_mailmojo_schema")
        .fetch_one(connection)
        .await?;
    Ok(u32::try_from(version).unwrap_or(0))
}
