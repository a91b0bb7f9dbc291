//! The address of a Postgres database, which holds its password and is never shown.

use std::fmt;
use std::str::FromStr;

use reqwest::Url;
use secrecy::{ExposeSecret, SecretString};
use sqlx::ConnectOptions;
use sqlx::postgres::PgConnectOptions;

/// The parameters that may follow the `?`. Checked here: the library would print others into the log, value and all.
const PARAMETERS: [&str; 8] =
    ["sslmode", "sslrootcert", "sslcert", "sslkey", "options", "application_name", "user", "password"];

/// Where a Postgres database is and how to get in. `Debug` prints neither the password nor the rest of the address.
#[derive(Clone)]
pub struct PostgresUrl {
    text: SecretString,
    pub(super) options: Box<PgConnectOptions>,
}

impl PostgresUrl {
    /// Reads `postgres://user:password@host:port/database?sslmode=verify-full&options=-c%20search_path%3Dmine`.
    ///
    /// What it leaves out is taken from libpq's variables (`PGPASSWORD`, `PGSSLMODE`, …) where they are set.
    ///
    /// # Errors
    /// The end of a sentence that begins with the setting's name; it shows nothing of `text`.
    pub fn parse(text: &str) -> Result<Self, String> {
        let url = Url::parse(text).map_err(|error| {
            format!(
                "is no address of a database: {error}. Percent-encode what is special in user and password"
            )
        })?;
        if url.fragment().is_some() {
            return Err("has a # in it; in a user or password write it %23".to_owned());
        }
        if url.query_pairs().any(|(name, _)| !PARAMETERS.contains(&&*name)) {
            return Err(format!(
                "has a parameter after its ? that is not known; there are {}",
                PARAMETERS.join(", ")
            ));
        }
        let named = url.path().trim_start_matches('/');
        if named.is_empty() || named.contains('/') {
            return Err("names no database (postgres://user:password@host:5432/database)".to_owned());
        }
        let options = PgConnectOptions::from_str(text).map_err(|_| {
            "cannot be read: sslmode is one of disable, prefer, require, verify-ca and verify-full; the rest is text, \
             percent-encoded"
                .to_owned()
        })?;
        // The library would log statements by itself, and warn of slow ones.
        let options = match options.get_application_name() {
            Some(_) => options.disable_statement_logging(),
            None => options.disable_statement_logging().application_name(env!("CARGO_PKG_NAME")),
        };
        Ok(Self { text: SecretString::from(text), options: Box::new(options) })
    }

    /// How to connect, password and all.
    #[cfg(test)]
    pub(in crate::queue) fn options(&self) -> &PgConnectOptions {
        &self.options
    }

    /// What an error may show.
    pub(super) fn place(&self) -> Place {
        let options = &self.options;
        let server = match options.get_socket() {
            Some(socket) => socket.display().to_string(),
            None => format!("{}:{}", options.get_host(), options.get_port()),
        };
        Place {
            server,
            database: options.get_database().unwrap_or_default().to_owned(),
            user: options.get_username().to_owned(),
        }
    }
}

impl fmt::Debug for PostgresUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "PostgresUrl({:?})", self.text)
    }
}

impl PartialEq for PostgresUrl {
    fn eq(&self, other: &Self) -> bool {
        self.text.expose_secret() == other.text.expose_secret()
    }
}

impl Eq for PostgresUrl {}

/// A database by the names that may be shown: everything but the password.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Place {
    /// Host and port, or the path of a socket.
    pub(super) server: String,
    database: String,
    user: String,
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { server, database, user } = self;
        write!(f, "the Postgres database {database:?} on {server} (as user {user:?})")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn neither_a_debug_print_nor_the_place_shows_the_password() {
        let url = PostgresUrl::parse("postgres://kari:hidden%40word@db.example.com:6432/queue").unwrap();
        let shown = format!("{url:?} {}", url.place());
        assert!(!shown.contains("hidden") && shown.contains("REDACTED"), "{shown}");
        assert!(
            shown.contains(r#"the Postgres database "queue" on db.example.com:6432 (as user "kari")"#),
            "{shown}"
        );
    }

    #[test]
    fn an_address_that_would_not_do_is_refused_without_being_shown() {
        for (wrong, why) in [
            ("postgres://u:hidden@host", "names no database"),
            ("postgres://u:hidden@host/a/hidden", "names no database"),
            ("postgres://u:hid#den@host/db", "is no address"),
            ("postgres://u:x@host/db#hidden", "%23"),
            ("postgres://u:x@host:hidden/db", "is no address"),
            ("postgres://u:x@host/db?hidden=hidden", "not known"),
            ("postgres://u:x@host/db?sslmode=hidden", "verify-full"),
        ] {
            let told = PostgresUrl::parse(wrong).unwrap_err();
            assert!(told.contains(why) && !told.contains("hidden"), "{wrong}: {told}");
        }
    }
}
