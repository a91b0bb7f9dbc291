//! Opening: a connection, the schema, the database's time, the erasure key; and a clear error if one of them fails.

use std::io::ErrorKind;
use std::time::Duration;

use sqlx::postgres::PgConnection;
use sqlx::{ConnectOptions, Connection, Error};
use tokio::time::timeout;

use super::connection::{now, set_up};
use super::fault::{Fault, Tries};
use super::schema::{self, Version};
use super::url::{Place, PostgresUrl};
use crate::clock::Clock;
use crate::queue::Role;
use crate::queue::erasure_key::ErasureKey;

/// How long the start waits for a connection.
const CONNECTING: Duration = Duration::from_secs(10);
/// How long a single step of the start may take: a schema change of a large queue, or waiting for one.
const STEP: Duration = Duration::from_secs(120);

/// Why a Postgres queue could not be opened. Each message names server, database and user, never the password.
#[derive(Debug, thiserror::Error)]
pub enum PostgresError {
    /// The name of the host leads nowhere; with the system's reason.
    #[error("cannot reach {0}: there is no such host ({1}). Look at the host in queue.url, and at DNS")]
    HostNotFound(Place, String),
    /// The host answers, but not Postgres.
    #[error(
        "cannot reach {0}: nothing listens there. Is the server running, is the port in queue.url right, and does it \
         listen on that address (listen_addresses)?"
    )]
    Refused(Place),
    /// Nothing comes back; with the system's reason.
    #[error("cannot reach {0}: {1}. Look at host and port in queue.url, and at firewalls between")]
    Unreachable(Place, String),
    /// The server does not let that user in; with its reason.
    #[error(
        "{0} refuses the login: {1}. Look at user and password in queue.url (special characters \
         percent-encoded), and at the server's pg_hba.conf"
    )]
    Login(Place, String),
    /// The server has no such database.
    #[error("{0} does not exist. Create it (CREATE DATABASE), or correct its name in queue.url")]
    NoDatabase(Place),
    /// No encrypted connection came about; with the reason.
    #[error(
        "cannot speak TLS with {0}: {1}. Look at sslmode and sslrootcert in queue.url; sslmode=verify-full needs \
         the certificate of the server's CA"
    )]
    Tls(Place, String),
    /// The user may not do what the queue needs; with the server's reason.
    #[error(
        "in {0} something is not allowed: {1}. The user has to own the queue's tables or may create them: GRANT \
         CREATE, USAGE ON SCHEMA …"
    )]
    NotAllowed(Place, String),
    /// No schema of the search path exists.
    #[error(
        "{0} has none of the schemas in the search path. Create one (CREATE SCHEMA), or name another at the end of \
         queue.url: ?options=-c%20search_path%3Dname"
    )]
    NoSchema(Place),
    /// The schema of this name is another program's.
    #[error(
        "{0} has tables of another program in the schema {1:?}. They were left as they are: CREATE SCHEMA \
         sesamy_mailmojo, and end queue.url with ?options=-c%20search_path%3Dsesamy_mailmojo"
    )]
    Foreign(Place, String),
    /// There is no queue there, and the caller may not make one.
    #[error(
        "there is no queue in {0} yet: the service makes it when it first starts (`sesamy-mailmojo serve`). If it has, set \
         queue.url to the service's: this command looks elsewhere, maybe in another schema"
    )]
    NoQueue(Place),
    /// The schema is of an older version, whose service may be running.
    #[error(
        "the queue in {place} has schema version {found}, and this program needs {known}. Run the program of the version \
         that made it; or start the service of this version (`sesamy-mailmojo serve`), which brings it up to date"
    )]
    Older {
        /// Which database.
        place: Place,
        /// The version there.
        found: u32,
        /// The one that this program writes.
        known: u32,
    },
    /// A newer version of this program has changed the schema.
    #[error(
        "the queue in {place} has schema version {found}, and this program knows none after {known}: run the version \
         that wrote it or a later one"
    )]
    Newer {
        /// Which database.
        place: Place,
        /// The version there.
        found: u32,
        /// The latest one known.
        known: u32,
    },
    /// Anything else; with the server's own message.
    #[error("cannot open the queue in {0}: {1}")]
    Store(Place, String),
}

/// What opening found out.
pub(super) struct Opened {
    /// Where replicas of this queue notify each other.
    pub(super) channel: String,
    pub(super) erasure_key: ErasureKey,
}

/// Brings the database up to date for a service, or checks for a command that it is; and makes `clock` follow its time.
/// `steps` are the schema's.
pub(super) async fn open(
    url: &PostgresUrl,
    role: Role,
    clock: &Clock,
    steps: &[&'static str],
) -> Result<Opened, PostgresError> {
    let place = url.place();
    let mut connection = connect(url, &place).await?;
    let opened = prepare(&mut connection, &place, role, clock, steps).await;
    // The server closes what is left open.
    let _ = timeout(Duration::from_secs(1), connection.close()).await;
    opened
}

async fn connect(url: &PostgresUrl, place: &Place) -> Result<PgConnection, PostgresError> {
    let connecting = async {
        let mut connection = url.options.connect().await?;
        set_up(&mut connection, STEP).await?;
        Ok(connection)
    };
    match timeout(CONNECTING, connecting).await {
        Ok(connected) => connected.map_err(|error| explain(place, &error)),
        Err(_) => {
            let why = format!("it does not answer within {CONNECTING:?}");
            Err(PostgresError::Unreachable(place.clone(), why))
        }
    }
}

async fn prepare(
    connection: &mut PgConnection,
    place: &Place,
    role: Role,
    clock: &Clock,
    steps: &[&'static str],
) -> Result<Opened, PostgresError> {
    let explained = |error: Error| explain(place, &error);
    find_schema(connection, place, role, steps).await?;
    let asked = clock.now();
    let answered = now(connection, clock).await.map_err(explained)?;
    clock.keep_to(asked, answered);
    let channel = sqlx::query_scalar(
        "SELECT 'sesamy_mailmojo_' || oid::bigint FROM pg_namespace WHERE nspname = current_schema()",
    );
    let channel = channel.fetch_one(&mut *connection).await.map_err(explained)?;
    let key = sqlx::query_scalar("SELECT value FROM documents WHERE name = 'erasure_key'");
    let key: Option<String> = key.fetch_optional(connection).await.map_err(explained)?;
    match ErasureKey::of_document(key) {
        Some(erasure_key) => Ok(Opened { channel, erasure_key }),
        None => {
            let why = "the document erasure_key is missing from the table documents, and without it no forgotten user is \
                       recognised. Put it back from a backup";
            Err(PostgresError::Store(place.clone(), why.to_owned()))
        }
    }
}

/// A service brings the schema up to date. A command may be of another version than a service that is running, and changes
/// nothing under it.
async fn find_schema(
    connection: &mut PgConnection,
    place: &Place,
    role: Role,
    steps: &[&'static str],
) -> Result<(), PostgresError> {
    let explained = |error: Error| explain(place, &error);
    let mut found = schema::version(connection).await.map_err(explained)?;
    let makes_it = match role {
        Role::Service => true,
        Role::Command { may_create } => may_create && found == Version::Ours(0),
    };
    if makes_it {
        found = migrate(connection, steps).await.map_err(explained)?;
    }
    let (place, known) = (place.clone(), schema::known(steps));
    match found {
        Version::Nowhere => Err(PostgresError::NoSchema(place)),
        Version::Foreign(schema) => Err(PostgresError::Foreign(place, schema)),
        Version::Ours(found) if found > known => Err(PostgresError::Newer { place, found, known }),
        Version::Ours(_) if makes_it => Ok(()),
        Version::Ours(0) => Err(PostgresError::NoQueue(place)),
        Version::Ours(found) if found < known => Err(PostgresError::Older { place, found, known }),
        Version::Ours(_) => Ok(()),
    }
}

/// Replicas of an older version may be at work: their transactions and this one may be in each other's way.
async fn migrate(connection: &mut PgConnection, steps: &[&'static str]) -> sqlx::Result<Version> {
    let mut tries = Tries::default();
    loop {
        match schema::migrate(connection, steps).await {
            Err(error) if is_worth_another(&mut tries, &error) => {}
            result => return result,
        }
    }
}

fn is_worth_another(tries: &mut Tries, error: &Error) -> bool {
    let fault = Fault::from(error);
    !fault.ends_connection() && tries.another(&fault)
}

/// The error, as an operator needs it.
fn explain(place: &Place, error: &Error) -> PostgresError {
    let place = place.clone();
    match error {
        Error::Io(io) if io.kind() == ErrorKind::ConnectionRefused => PostgresError::Refused(place),
        Error::Io(io) if io.to_string().contains("lookup") => {
            PostgresError::HostNotFound(place, io.to_string())
        }
        // rustls comes wrapped up; and without a socket, the only files are those of certificates.
        Error::Io(io) if io.kind() == ErrorKind::InvalidData => PostgresError::Tls(place, io.to_string()),
        Error::Io(io) if io.kind() == ErrorKind::NotFound && !place.server.starts_with('/') => {
            PostgresError::Tls(place, format!("a certificate's file cannot be read: {io}"))
        }
        Error::Io(io) => PostgresError::Unreachable(place, io.to_string()),
        Error::Tls(why) => PostgresError::Tls(place, why.to_string()),
        Error::Database(refusal) => {
            let why = refusal.message().to_owned();
            match refusal.code().as_deref() {
                Some("28P01" | "28000") => PostgresError::Login(place, why),
                Some("3D000") => PostgresError::NoDatabase(place),
                Some("42501") => PostgresError::NotAllowed(place, why),
                _ => PostgresError::Store(place, why),
            }
        }
        other => PostgresError::Store(place, other.to_string()),
    }
}
