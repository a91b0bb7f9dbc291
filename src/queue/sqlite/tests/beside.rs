//! A command on the file of a service: it keeps nobody out, and changes nothing by being there.

use super::*;

fn beside(path: &Path, may_create: bool) -> Result<SqliteStore, OpenError> {
    open_as(path, Role::Command { may_create }, clock(), Tuning::default())
}

#[tokio::test]
async fn a_command_that_only_reads_makes_nothing() {
    let (folder, path) = folder();
    let deeper = folder.path().join("deeper/queue.db");
    for missing in [&path, &deeper] {
        let error = beside(missing, false).unwrap_err();
        let message = error.to_string();
        assert!(matches!(error, OpenError::NoQueue { .. }), "{message}");
        assert!(message.contains("queue.db") && message.contains("sesamy-mailmojo serve"), "{message}");
    }
    fs::write(&path, "").unwrap();
    assert!(matches!(beside(&path, false), Err(OpenError::NoQueue { .. })), "an empty file is no queue");
    let names: Vec<_> =
        fs::read_dir(folder.path()).unwrap().map(|entry| entry.unwrap().file_name()).collect();
    assert_eq!((names, fs::read(&path).unwrap().len()), (vec!["queue.db".into()], 0));
}

#[tokio::test]
async fn a_command_that_may_create_makes_the_queue_and_a_service_finds_it() {
    let (folder, _) = folder();
    let path = folder.path().join("data/queue.db");
    let command = beside(&path, true).unwrap();
    push(&command, "kari").await.unwrap();
    let service = open(&path).unwrap();
    command.close().await;
    assert_eq!(rows(&service, &["kari"]).await.len(), 1);
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
        push(command, name).await.unwrap();
    }
    push(&service, "c").await.unwrap();
    service.close().await;
    push(&commands[0], "d").await.unwrap();
    let service = open(&path).unwrap();
    for command in &commands {
        command.close().await;
    }
    assert_eq!(rows(&service, &["a", "b", "c", "d"]).await.len(), 4);
    service.close().await;
    assert_eq!(rows(&open(&path).unwrap(), &["a", "b", "c", "d"]).await.len(), 4);
}

#[tokio::test]
async fn what_a_command_wrote_while_no_service_ran_is_there_for_the_next() {
    let (_folder, path) = folder();
    open(&path).unwrap().close().await;
    let command = beside(&path, false).unwrap();
    push(&command, "kari").await.unwrap();
    command.close().await;
    assert_eq!(rows(&open(&path).unwrap(), &["kari"]).await.len(), 1);
}

/// Raises a number by one; the number before.
async fn count(store: &SqliteStore) -> u32 {
    let counted = store.transact(Look::default().with("n"), |seen| {
        let before: u32 = seen.documents.get("n").map_or(0, |n| n.parse().unwrap());
        let documents = [("n".to_owned(), (before + 1).to_string())].into();
        (Change { documents, ..Change::default() }, before)
    });
    counted.await.unwrap()
}

#[tokio::test]
async fn transactions_of_two_processes_never_miss_each_other() {
    let (_folder, path) = folder();
    let service = open(&path).unwrap();
    let command = beside(&path, false).unwrap();
    let each = 50;
    let of_service = async {
        for _ in 0..each {
            count(&service).await;
        }
    };
    let of_command = async {
        for _ in 0..each {
            count(&command).await;
        }
    };
    futures_util::join!(of_service, of_command);
    assert_eq!(count(&service).await, 2 * each);
}

#[tokio::test]
async fn a_command_refuses_what_a_service_refuses() {
    let (_folder, path) = folder();
    Connection::open(&path).unwrap().execute_batch("CREATE TABLE recipes (name TEXT)").unwrap();
    assert!(matches!(beside(&path, true), Err(OpenError::Foreign { .. })));
    fs::write(&path, "a letter home\n".repeat(1_000)).unwrap();
    assert!(matches!(beside(&path, true), Err(OpenError::NotADatabase { .. })));
}

/// A service that writes without a pause leaves a command little time between its transactions.
#[tokio::test]
async fn a_command_waits_for_the_file_longer_than_an_event_may() {
    let (_folder, path) = folder();
    let tuning = Tuning { busy: Duration::from_millis(10), ..Tuning::default() };
    let service = open_as(&path, Role::Service, clock(), tuning).unwrap();
    let command = open_as(&path, COMMAND, clock(), tuning).unwrap();
    let other = Connection::open(&path).unwrap();
    other.execute_batch("BEGIN IMMEDIATE").unwrap();

    let (by_command, ()) = tokio::join!(push(&command, "kari"), async {
        assert!(push(&service, "ola").await.is_err());
        other.execute_batch("ROLLBACK").unwrap();
    });
    assert!(by_command.is_ok(), "{by_command:?}");
}
