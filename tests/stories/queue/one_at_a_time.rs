//! One `serve` per queue file; and a start that cannot be is told with what to do about it.

use std::path::Path;

use reqwest::StatusCode;
use sesamy_mailmojo::sandbox::{Route, user};

use crate::support::harness::{Service, Town, command};
use crate::support::shell::{Ended, Settings, changed, not_tried, run};

const EVENT: &str = "userVendor.1#update";

/// A start that must be refused, with exit code 1; what it told.
async fn refused(settings: &Settings) -> String {
    let Ended { code, stdout, stderr } = run(&["serve"], settings).await;
    assert_eq!(code, Some(1), "{stdout}{stderr}");
    assert!(stdout.contains(r#""level":"ERROR""#), "the log tells too: {stdout}");
    stderr
}

fn at(settings: &Settings, file: &Path) -> Settings {
    changed(settings, &[("QUEUE__URL", &format!("sqlite://{}", file.display()))])
}

#[tokio::test]
async fn a_second_service_on_the_same_file_is_refused_and_the_first_goes_on() {
    let mut town = Town::start().await;
    town.sandbox.sesamy.put_user(user("kari").email("kari@example.com"));
    let why = refused(town.settings()).await;
    let file = town.queue_file();
    for part in [&*file.display().to_string(), "in use", "queue.url"] {
        assert!(why.contains(part), "{part} is not in {why}");
    }
    town.sync("kari").await;
    town.contact("kari@example.com");

    // A file of its own is all that it takes.
    let other = Service::start(&at(town.settings(), &town.folder.path().join("other.db"))).await;
    assert_eq!(other.get("/readyz").await.0, StatusCode::OK);
    // And a lock dies with whoever held it.
    town.crash_and_restart(&[]).await;
    town.sync("kari").await;
}

/// A volume that is mounted elsewhere, for instance: at the first start the link leads to a file that is yet to be made.
#[tokio::test]
async fn a_second_service_is_refused_where_the_first_has_made_the_file_through_a_link() {
    let town = Town::start().await;
    let (file, link) = (town.folder.path().join("volume/queue.db"), town.folder.path().join("link.db"));
    let chain = town.folder.path().join("chain.db");
    std::os::unix::fs::symlink("volume/queue.db", &link).unwrap();
    std::os::unix::fs::symlink(&link, &chain).unwrap();

    let first = Service::start(&at(town.settings(), &chain)).await;
    assert!(file.is_file() && file.with_file_name("queue.db.lock").is_file());
    for path in [&chain, &link, &file] {
        let why = refused(&at(town.settings(), path)).await;
        assert!(why.contains("in use"), "{why}");
    }
    assert_eq!(first.get("/readyz").await.0, StatusCode::OK);
}

#[tokio::test]
async fn a_missing_folder_is_made() {
    let town = Town::start().await;
    let file = town.folder.path().join("some/where/queue.db");
    let service = Service::start(&at(town.settings(), &file)).await;
    assert!(file.is_file());
    drop(service);

    // The default is a folder in the working directory.
    let settings = changed(town.settings(), &[("QUEUE__URL", "")]);
    let mut serve = command();
    serve.current_dir(&town.folder);
    let service = Service::start_by(serve, &settings).await;
    assert_eq!(service.get("/readyz").await.0, StatusCode::OK);
    assert!(town.folder.path().join("data/sesamy-mailmojo.db").is_file());
}

#[tokio::test]
async fn a_place_that_cannot_be_written_is_told_with_path_user_and_mend() {
    let town = Town::start().await;
    let is_told = |why: &str, path: &Path, uid: u32| {
        for part in [&*path.display().to_string(), &format!("user id {uid}"), "chown", "queue.url"] {
            assert!(why.contains(part), "{part} is not in {why}");
        }
    };
    let uid = rustix::process::getuid().as_raw();

    let in_the_way = town.folder.path().join("a file");
    std::fs::write(&in_the_way, "").unwrap();
    is_told(&refused(&at(town.settings(), &in_the_way.join("queue.db"))).await, &in_the_way, uid);

    if uid == 0 {
        not_tried("a folder without write permission, for root may write everywhere");
        return;
    }
    use std::os::unix::fs::PermissionsExt;
    let folder = town.folder.path().join("read-only");
    std::fs::create_dir(&folder).unwrap();
    std::fs::set_permissions(&folder, std::fs::Permissions::from_mode(0o555)).unwrap();
    is_told(&refused(&at(town.settings(), &folder.join("queue.db"))).await, &folder, uid);
}

#[tokio::test]
async fn what_is_no_queue_of_this_version_is_refused_and_left_as_it_is() {
    let mut town = Town::start().await;
    town.service.kill().await;
    let path = |name: &str| town.folder.path().join(name);
    let sql = |file: &Path, sql: &str| rusqlite::Connection::open(file).unwrap().execute_batch(sql).unwrap();

    let newer = town.queue_file();
    sql(&newer, "INSERT INTO sesamy_mailmojo_schema (version) VALUES (4711)");
    let foreign = path("foreign.db");
    sql(&foreign, "CREATE TABLE invoices (id INTEGER)");
    let text = path("notes.txt");
    std::fs::write(&text, "Not a database, but somebody's notes. ".repeat(200)).unwrap();

    for (file, told) in [
        (newer, "has schema version 4711"),
        (foreign, "is a database of another program"),
        (text, "is not an SQLite database"),
    ] {
        let before = std::fs::read(&file).unwrap();
        let why = refused(&at(town.settings(), &file)).await;
        assert!(why.contains(told) && why.contains(&*file.display().to_string()), "{why}");
        assert!(std::fs::read(&file).unwrap() == before, "{} was changed", file.display());
    }
}

#[tokio::test]
async fn the_queue_survives_a_restart() {
    let mut town = Town::with(&[("SYNC__DEBOUNCE", "1h")]).await;
    for name in ["kari", "ola"] {
        town.sandbox.sesamy.put_user(user(name).email(&format!("{name}@example.com")));
        assert_eq!(town.event(EVENT, name).await, StatusCode::ACCEPTED);
    }
    town.service.kill().await;
    assert_eq!(town.sandbox.count(Route::Profile), 0);
    let file = rusqlite::Connection::open(town.queue_file()).unwrap();
    assert_eq!(file.execute("UPDATE users SET due_at = due_at - 3600000", ()).unwrap(), 2); // an hour goes by
    drop(file);
    town.restart(&[]).await;
    town.settled().await;
    for name in ["kari", "ola"] {
        town.contact(&format!("{name}@example.com"));
        assert_eq!(town.service.output.syncs_of(name)[0]["attempt"], 1);
    }
}

#[tokio::test]
async fn a_port_that_is_taken_is_told() {
    let town = Town::start().await;
    let settings = at(town.settings(), &town.folder.path().join("other.db"));
    let address = town.service.address.to_string();
    let why = refused(&changed(&settings, &[("SERVER__LISTEN", &address)])).await;
    for part in [&*format!("cannot listen on {address}"), "server.listen", "PORT"] {
        assert!(why.contains(part), "{part} is not in {why}");
    }
}
