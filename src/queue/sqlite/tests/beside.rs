//! A command on the file of a service: it keeps nobody out, and changes nothing by being there.

use super::*;
use crate::queue::sqlite::schema;
use crate::queue::tests::REQUEST_TIMEOUT;
use crate::queue::{Lane, LeaseRequest, Settled, Settlement, UserLease};

fn beside(path: &Path, may_create: bool) -> Result<Queue, OpenError> {
    Queue::open_sqlite(path, Role::Command { may_create }, OPTIONS, clock(), 8)
}

/// A file as the version before left it, with kari in it, who is due.
fn of_the_version_before(path: &Path) {
    let file = Connection::open(path).unwrap();
    file.execute_batch(include_str!("../../migrations/sqlite/0001_users.sql")).unwrap();
    file.execute_batch(include_str!("../../migrations/sqlite/0002_apis.sql")).unwrap();
    file.execute_batch(
        "CREATE TABLE sesamy_mailmojo_schema (version INTEGER NOT NULL PRIMARY KEY) STRICT;
         INSERT INTO sesamy_mailmojo_schema VALUES (1), (2);
         INSERT INTO users (connection, user_id, generation, event_type, due_at)
         VALUES ('default', 'email|kari', 3, 'x', 0);
         PRAGMA journal_mode = WAL;",
    )
    .unwrap();
}

#[tokio::test]
async fn a_command_that_only_looks_makes_nothing() {
    let (folder, path) = folder();
    let deeper = folder.path().join("deeper/queue.db");
    for missing in [&path, &deeper] {
        let error = beside(missing, false).unwrap_err();
        let message = error.to_string();
        assert!(matches!(error, OpenError::NoQueue { .. }), "{message}");
        assert!(message.contains("queue.db") && message.contains("sesamy-mailmojo serve"), "{message}");
    }
    fs::write(&path, "").unwrap();
    assert!(matches!(beside(&path, false), Err(OpenError::NoQueue { .. })), "an empty file is none");
    let names: Vec<_> =
        fs::read_dir(folder.path()).unwrap().map(|entry| entry.unwrap().file_name()).collect();
    assert_eq!((names, fs::read(&path).unwrap().len()), (vec!["queue.db".into()], 0));
}

#[tokio::test]
async fn a_command_that_may_begin_something_makes_the_queue_and_a_service_finds_it() {
    let (folder, _) = folder();
    let path = folder.path().join("data/queue.db");
    let command = beside(&path, true).unwrap();
    command.push(&user("kari"), UPDATE).await.unwrap();
    let service = open(&path).unwrap();
    command.close().await;
    assert_eq!(service.rows_of(&[user("kari")]).await.unwrap().len(), 1);
    service.close().await;
    assert!(beside(&path, false).is_ok());
}

#[tokio::test]
async fn any_number_of_commands_keep_no_service_out_and_stay_when_it_goes() {
    let (_folder, path) = folder();
    open(&path).unwrap().close().await;
    let commands = [beside(&path, false).unwrap(), beside(&path, false).unwrap()];
    let service = open(&path).unwrap();
    for (command, name) in commands.iter().zip(["a", "b"]) {
        command.push(&user(name), UPDATE).await.unwrap();
    }
    service.push(&user("c"), UPDATE).await.unwrap();
    service.close().await;
    commands[0].push(&user("d"), UPDATE).await.unwrap();
    let service = open(&path).unwrap();
    for command in &commands {
        command.close().await;
    }
    let all = ["a", "b", "c", "d"].map(user);
    assert_eq!(service.rows_of(&all).await.unwrap().len(), 4);
    service.close().await;
    assert_eq!(open(&path).unwrap().rows_of(&all).await.unwrap().len(), 4);
}

#[tokio::test]
async fn what_a_command_wrote_with_no_service_about_is_there_for_the_next() {
    let (_folder, path) = folder();
    open(&path).unwrap().close().await;
    let command = beside(&path, false).unwrap();
    command.push(&user("kari"), UPDATE).await.unwrap();
    command.close().await;
    let service = open(&path).unwrap();
    assert_eq!(service.rows_of(&[user("kari")]).await.unwrap().len(), 1);
}

#[tokio::test]
async fn a_file_of_the_version_before_is_brought_up_to_date_with_all_its_users() {
    for by_command in [false, true] {
        let (_folder, path) = folder();
        of_the_version_before(&path);
        let queue = if by_command { beside(&path, true) } else { open(&path) }.unwrap();
        let job = queue.lease(Room::for_any(9)).await.unwrap().jobs.remove(0);
        assert_eq!((job.user.clone(), job.generation), (user("kari"), 3));
        queue.settle(&job, Settlement::Release, None).await.unwrap();
        queue.close().await;
        let version = schema::version(&Connection::open(&path).unwrap()).unwrap();
        assert_eq!(version, schema::Version::Ours(schema::KNOWN));
    }
}

#[tokio::test]
async fn a_command_leaves_the_schema_to_the_service_of_another_version_that_runs() {
    let (folder, path) = folder();
    of_the_version_before(&path);
    // As the service of that version holds it.
    let lock = fs::File::create(folder.path().join("queue.db.lock")).unwrap();
    lock.lock().unwrap();
    let error = beside(&path, true).unwrap_err();
    let message = error.to_string();
    assert!(matches!(error, OpenError::Older { found: 2, .. }), "{message}");
    assert!(message.contains("queue.db") && message.contains("stop that service"), "{message}");
    let version = schema::version(&Connection::open(&path).unwrap()).unwrap();
    assert_eq!(version, schema::Version::Ours(2));
    drop(lock);
    // One that only looks leaves it in any case: the service of that version may come back.
    assert!(matches!(beside(&path, false), Err(OpenError::Older { found: 2, .. })));
    beside(&path, true).unwrap();
}

#[tokio::test]
async fn a_service_that_starts_ends_the_leases_of_the_service_before_and_of_no_command() {
    let (_folder, path) = folder();
    let service = open(&path).unwrap();
    service.push(&user("kari"), UPDATE).await.unwrap();
    service.close().await;
    let clock = clock();
    let at = |role, clock: &Clock| Queue::open_sqlite(&path, role, OPTIONS, clock.clone(), 8).unwrap();
    clock.advance(DEBOUNCE);
    let before = at(Role::Service, &clock);
    assert_eq!(before.lease(Room::for_any(1)).await.unwrap().jobs.len(), 1);
    before.close().await;
    let command = at(Role::Command { may_create: false }, &clock);
    let request = LeaseRequest {
        user: user("ola"),
        cause: "sync",
        lane: Lane::Events,
        calls: OPTIONS.rates.calls,
        untouched_since: None,
        again: false,
    };
    let UserLease::Leased(job) = command.lease_user(request).await.unwrap() else { panic!("not leased") };

    let service = at(Role::Service, &clock);
    clock.advance(REQUEST_TIMEOUT);
    let taken: Vec<_> =
        service.lease(Room::for_any(9)).await.unwrap().jobs.into_iter().map(|job| job.user).collect();
    assert_eq!(taken, [user("kari")], "the sync of ola may be under way");
    assert_eq!(command.settle(&job, Settlement::done(false), None).await.unwrap(), Settled::AsAsked);
    command.close().await;
    service.close().await;
}

#[tokio::test]
async fn a_command_refuses_what_a_service_refuses() {
    let (_folder, path) = folder();
    open(&path).unwrap().close().await;
    let add = "INSERT INTO sesamy_mailmojo_schema (version) VALUES (?1)";
    Connection::open(&path).unwrap().execute(add, [schema::KNOWN + 1]).unwrap();
    assert!(matches!(beside(&path, true), Err(OpenError::Newer { .. })));
    fs::write(&path, "a letter home\n".repeat(1_000)).unwrap();
    assert!(matches!(beside(&path, true), Err(OpenError::NotADatabase { .. })));
}
