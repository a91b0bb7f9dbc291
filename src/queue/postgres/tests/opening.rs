//! How a queue on Postgres begins, or is refused.

use futures_util::future::join_all;

use super::*;
use crate::queue::PostgresError;
use crate::queue::erasure_key::ErasureKey;

type Opened = Result<(PostgresStore, ErasureKey), PostgresError>;

fn opening(url: &PostgresUrl) -> impl Future<Output = Opened> {
    postgres::open(url, Role::Service, DEBOUNCE, Clock::manual(NOW), Arc::default(), QUICK)
}

fn refusal(ground: &Ground, url: &PostgresUrl) -> (PostgresError, String) {
    let error = ground.wait_for(opening(url)).expect_err("it has to be refused");
    let message = error.to_string();
    assert!(!message.contains("hidden"), "{message}");
    (error, message)
}

#[test]
fn of_many_that_start_at_once_each_finds_the_schema() {
    let Some(ground) = Ground::new() else { return };
    let opened = ground.wait_for(join_all((0..4).map(|_| opening(&ground.url))));
    let (stores, keys): (Vec<_>, Vec<_>) = opened.into_iter().map(Result::unwrap).unzip();
    assert_eq!(ground.number("SELECT count(*) FROM sesamy_mailmojo_schema"), 1);
    assert!(keys.iter().all(|key| key.hash("kari") == keys[0].hash("kari")));
    ground.wait_for(join_all(stores.iter().map(Store::close)));
}

#[test]
fn a_queue_without_its_erasure_key_is_refused() {
    let Some(ground) = Ground::new() else { return };
    let (store, _) = ground.wait_for(opening(&ground.url)).unwrap();
    ground.wait_for(store.close());
    ground.sql("DELETE FROM documents WHERE name = 'erasure_key'");
    let (error, message) = refusal(&ground, &ground.url);
    assert!(matches!(error, PostgresError::Store { .. }) && message.contains("backup"), "{message}");
}

#[test]
fn a_schema_of_a_newer_version_is_refused() {
    let Some(ground) = Ground::new() else { return };
    let (store, _) = ground.wait_for(opening(&ground.url)).unwrap();
    ground.wait_for(store.close());
    ground.sql("INSERT INTO sesamy_mailmojo_schema (version) VALUES (2)");
    let (error, message) = refusal(&ground, &ground.url);
    assert!(matches!(error, PostgresError::Newer { found: 2, known: 1, .. }), "{message}");
    assert!(message.contains("run the version that wrote it"), "{message}");
}

#[test]
fn a_schema_with_another_programs_tables_is_refused_and_left_as_it_is() {
    let Some(ground) = Ground::new() else { return };
    ground.sql("CREATE TABLE users (name text); INSERT INTO users VALUES ('kari')");
    let (error, message) = refusal(&ground, &ground.url);
    assert!(matches!(error, PostgresError::Foreign { .. }) && message.contains("search_path"), "{message}");
    assert_eq!(ground.number("SELECT count(*) FROM users WHERE name = 'kari'"), 1);
    assert_eq!(
        ground.number("SELECT count(*) FROM pg_class WHERE relnamespace = current_schema()::regnamespace"),
        1
    );
}

#[test]
fn an_error_names_the_database_and_the_fix_and_never_the_password() {
    let Some(ground) = Ground::new() else { return };
    let (host, port) = ground.address();
    let free = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    let url =
        |at: &str, end: &str| PostgresUrl::parse(&format!("postgres://postgres:hidden@{at}/{end}")).unwrap();

    let (error, message) = refusal(&ground, &url(&format!("127.0.0.1:{free}"), "queue"));
    assert!(matches!(error, PostgresError::Refused(_)) && message.contains(&free.to_string()), "{message}");
    let (error, message) = refusal(&ground, &url("no-such-host.invalid", "queue"));
    assert!(
        matches!(error, PostgresError::HostNotFound { .. }) && message.contains("no-such-host"),
        "{message}"
    );
    let no_certificate = url(&format!("{host}:{port}"), "queue?sslmode=verify-full&sslrootcert=/nowhere.crt");
    let (error, message) = refusal(&ground, &no_certificate);
    assert!(matches!(error, PostgresError::Tls { .. }) && message.contains("sslrootcert"), "{message}");
    let (error, message) = refusal(&ground, &url(&format!("{host}:{port}"), "no_such_database"));
    // A server that asks for a password reports the wrong one first.
    assert!(matches!(error, PostgresError::NoDatabase(_) | PostgresError::Login { .. }), "{message}");

    let elsewhere = ground.url.options().clone().options([("search_path", "no_such_schema")]);
    let mut nowhere = ground.url.clone();
    *nowhere.options = elsewhere;
    let (error, message) = refusal(&ground, &nowhere);
    assert!(matches!(error, PostgresError::NoSchema(_)) && message.contains("CREATE SCHEMA"), "{message}");
    ground.sql("CREATE TABLE nothing_was_lost_here ()");
}

#[test]
fn a_database_user_without_the_right_to_create_tables_is_refused() {
    let Some(ground) = Ground::new() else { return };
    let role = format!("reader_{}", std::process::id());
    ground.sql(&format!(
        "CREATE ROLE {role}; DO $$ BEGIN EXECUTE format('GRANT USAGE ON SCHEMA %I TO {role}', current_schema()); END $$"
    ));
    let mut url = ground.url.clone();
    *url.options = ground.url.options().clone().options([("role", &role)]);
    let (error, message) = refusal(&ground, &url);
    ground.sql(&format!("DROP OWNED BY {role}; DROP ROLE {role}"));
    assert!(matches!(error, PostgresError::NotAllowed { .. }) && message.contains("GRANT"), "{message}");
}
