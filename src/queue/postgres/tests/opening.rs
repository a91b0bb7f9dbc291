//! How a queue on Postgres begins, or is refused.

use futures_util::future::join_all;

use super::clock;
use crate::queue::Role;
use crate::queue::postgres::schema::KNOWN;
use crate::queue::tests::OPTIONS;
use crate::queue::tests::server::Ground;
use crate::queue::{OpenError, PostgresError, PostgresUrl, Queue};

fn refusal(ground: &Ground, url: &PostgresUrl) -> (PostgresError, String) {
    let opening = Queue::open_postgres(url, Role::Service, OPTIONS, clock(), 7);
    match ground.wait_for(opening).expect_err("it has to be refused") {
        OpenError::Postgres(error) => {
            let message = error.to_string();
            assert!(!message.contains("hidden"), "{message}");
            (error, message)
        }
        other => panic!("{other}"),
    }
}

#[test]
fn of_many_who_start_at_once_each_finds_the_schema() {
    let Some(ground) = Ground::new() else { return };
    let starts =
        (0..4).map(|_| Queue::open_postgres(&ground.url, Role::Service, OPTIONS, clock(), rand::random()));
    let opened = ground.wait_for(join_all(starts));
    assert!(opened.iter().all(Result::is_ok), "{opened:?}");
    assert_eq!(ground.number("SELECT count(*) FROM sesamy_mailmojo_schema"), i64::from(KNOWN));
    assert_eq!(ground.number("SELECT count(*) FROM apis"), 2);
    ground.wait_for(join_all(opened.into_iter().flatten().map(|queue| async move { queue.close().await })));
}

#[test]
fn a_schema_of_a_newer_version_is_refused() {
    let Some(ground) = Ground::new() else { return };
    let queue =
        ground.wait_for(Queue::open_postgres(&ground.url, Role::Service, OPTIONS, clock(), 7)).unwrap();
    ground.wait_for(queue.close());
    ground.sql(&format!("INSERT INTO sesamy_mailmojo_schema (version) VALUES ({})", KNOWN + 1));
    let (error, message) = refusal(&ground, &ground.url);
    assert!(matches!(error, PostgresError::Newer { .. }), "{message}");
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
fn what_cannot_be_reached_is_told_with_its_place_and_the_mend_and_never_the_password() {
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
    // Where the server asks for a password, the wrong one is told first.
    assert!(matches!(error, PostgresError::NoDatabase(_) | PostgresError::Login { .. }), "{message}");

    let elsewhere = ground.url.options().clone().options([("search_path", "no_such_schema")]);
    let mut nowhere = ground.url.clone();
    *nowhere.options = elsewhere;
    let (error, message) = refusal(&ground, &nowhere);
    assert!(matches!(error, PostgresError::NoSchema(_)) && message.contains("CREATE SCHEMA"), "{message}");
    ground.sql("CREATE TABLE nothing_was_lost_here ()");
}

#[test]
fn a_user_who_may_not_create_tables_is_told_so() {
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
