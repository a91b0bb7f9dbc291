//! Why a database cannot be opened.
use super::url::Place;

/// Why a Postgres queue could not be opened. Each message names server, database and user, never the password.
#[derive(Debug, thiserror::Error)]
pub enum PostgresError {
    /// The name of the host leads nowhere.
    #[error("cannot reach {place}: there is no such host ({why}). Look at the host in queue.url, and at DNS")]
    HostNotFound {
        /// Which database.
        place: Place,
        /// The system's reason.
        why: String,
    },
    /// The host answers, but not Postgres.
    #[error(
        "cannot reach {0}: nothing listens there. Is the server running, is the port in queue.url right, and does it \
         listen on that address (listen_addresses)?"
    )]
    Refused(Place),
    /// Nothing comes back.
    #[error("cannot reach {place}: {why}. Look at host and port in queue.url, and at firewalls between")]
    Unreachable {
        /// Which database.
        place: Place,
        /// The system's reason.
        why: String,
    },
    /// The server does not let that user in.
    #[error(
        "{place} refuses the login: {why}. Look at user and password in queue.url (special characters \
         percent-encoded), and at the server's pg_hba.conf"
    )]
    Login {
        /// Which database.
        place: Place,
        /// The server's reason.
        why: String,
    },
    /// The server has no such database.
    #[error("{0} does not exist. Create it (CREATE DATABASE), or correct its name in queue.url")]
    NoDatabase(Place),
    /// No encrypted connection came about.
    #[error(
        "cannot speak TLS with {place}: {why}. Look at sslmode and sslrootcert in queue.url; sslmode=verify-full needs \
         the certificate of the server's CA"
    )]
    Tls {
        /// Which database.
        place: Place,
        /// What was wrong.
        why: String,
    },
    /// The user may not do what the queue needs.
    #[error(
        "in {place} something is not allowed: {why}. The user has to own the queue's tables or may create them: GRANT \
         CREATE, USAGE ON SCHEMA …"
    )]
    NotAllowed {
        /// Which database.
        place: Place,
        /// The server's reason.
        why: String,
    },
    /// No schema of the search path exists.
    #[error(
        "{0} has none of the schemas in the search path. Create one (CREATE SCHEMA), or name another at the end of \
         queue.url: ?options=-c%20search_path%3Dname"
    )]
    NoSchema(Place),
    /// The schema is another program's.
    #[error(
        "{place} has tables of another program in the schema {schema:?}. They were left as they are: CREATE SCHEMA \
         sesamy_mailmojo, and end queue.url with ?options=-c%20search_path%3Dsesamy_mailmojo"
    )]
    Foreign {
        /// Which database.
        place: Place,
        /// The schema.
        schema: String,
    },
    /// There is no queue there, and whoever asked may not make one.
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
    /// Anything else that the server says.
    #[error("cannot open the queue in {place}: {why}")]
    Store {
        /// Which database.
        place: Place,
        /// The server's own message.
        why: String,
    },
}
