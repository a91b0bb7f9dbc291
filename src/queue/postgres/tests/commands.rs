//! A command opens the queue beside a service, and changes nothing by that.

use super::{QUICK, clock, open};
use crate::clock::Clock;
use crate::queue::postgres::schema::KNOWN;
use crate::queue::tests::server::Ground;
use crate::queue::tests::{DEBOUNCE, LEASE, OPTIONS, UPDATE, only_job, user};
use crate::queue::{OpenError, Options, PostgresError, Queue, Role, Room, Settlement};
use crate::upstream::Api;
use crate::upstream::rest::{Change, Pause, Why};

const LOOKS: Role = Role::Command { may_create: false };
const BEGINS: Role = Role::Command { may_create: true };

fn opens(ground: &Ground, role: Role, clock: &Clock) -> Result<Queue, OpenError> {
    ground.wait_for(Queue::open_postgres(&ground.url, role, OPTIONS, clock.clone(), rand::random()))
}

#[tokio::test]
async fn a_command_makes_nothing_where_it_only_looks() {
    let Some(ground) = Ground::new() else { return };
    let error = opens(&ground, LOOKS, &clock()).unwrap_err();
    assert!(matches!(error, OpenError::Postgres(PostgresError::NoQueue(_))), "{error}");
    assert!(error.to_string().contains("when it first starts"), "{error}");
    let tables = "SELECT count(*) FROM pg_class WHERE relnamespace = current_schema()::regnamespace";
    assert_eq!(ground.number(tables), 0);

    let queue = opens(&ground, BEGINS, &clock()).unwrap();
    queue.push(&user("kari"), UPDATE).await.unwrap();
    queue.close().await;
    opens(&ground, LOOKS, &clock()).unwrap().close().await;
}

#[tokio::test]
async fn a_schema_of_an_older_version_is_brought_up_to_date_by_a_service_alone() {
    let Some(ground) = Ground::new() else { return };
    ground.sql(&format!(
        "CREATE TABLE sesamy_mailmojo_schema (version integer PRIMARY KEY);
         INSERT INTO sesamy_mailmojo_schema VALUES (1), (2); {}{}",
        include_str!("../../migrations/postgres/0001_users.sql"),
        include_str!("../../migrations/postgres/0002_apis.sql"),
    ));
    ground.sql(
        "INSERT INTO users (connection, user_id, generation, event_type, due_at)
         VALUES ('default', 'email|kari', 3, 'x', 5)",
    );
    for role in [LOOKS, BEGINS] {
        let error = opens(&ground, role, &clock()).unwrap_err();
        let is_older =
            matches!(error, OpenError::Postgres(PostgresError::Older { found: 2, known: KNOWN, .. }));
        assert!(is_older && error.to_string().contains("start the service of this version"), "{error}");
    }
    assert_eq!(ground.number("SELECT max(version)::bigint FROM sesamy_mailmojo_schema"), 2);

    let queue = opens(&ground, Role::Service, &clock()).unwrap();
    let job = only_job(&queue).await;
    assert_eq!((job.user, job.generation), (user("kari"), 3), "what was due is due still");
    queue.close().await;
}

#[tokio::test]
async fn a_command_that_opens_the_queue_begins_nothing_anew() {
    let Some(ground) = Ground::new() else { return };
    let clock = clock();
    let dry = Options { dry_run: true, ..OPTIONS };
    let opening = Queue::open_postgres_tuned(&ground.url, Role::Service, dry, clock.clone(), 7, QUICK);
    let service = ground.wait_for(opening).unwrap();
    service.push(&user("kari"), UPDATE).await.unwrap();
    clock.advance(DEBOUNCE);
    let job = only_job(&service).await;
    service.settle(&job, Settlement::done(true), None).await.unwrap();
    service.push(&user("ola"), UPDATE).await.unwrap();
    ground.sql("UPDATE users SET due_at = 9000000000000 WHERE user_id = 'email|ola'");
    let pause = Pause { why: Why::RateLimit, until: clock.now().plus(LEASE), doublings: 0, kind: None };
    let rests = service.tell_rest(Api::Sesamy, Change::Begin(pause)).await.unwrap();

    let command = opens(&ground, LOOKS, &clock).unwrap();
    assert_eq!(command.known().await.unwrap(), rests, "a rest stays");
    let rows = command.rows_of(&[user("kari"), user("ola")]).await.unwrap();
    let kari = rows.iter().find(|row| row.user == "email|kari").unwrap();
    let ola = rows.iter().find(|row| row.user == "email|ola").unwrap();
    assert!(kari.held_back && kari.due_at.is_none(), "{kari:?}");
    assert_eq!(ola.due_at.map(|at| at.0), Some(9_000_000_000_000));
    command.close().await;

    service.close().await;
    let service = open(&ground, &ground.url, &clock, QUICK);
    assert_eq!(
        service.lease(Room::for_any(9)).await.unwrap().jobs.len(),
        1,
        "a service's start does all of it"
    );
    service.close().await;
}
