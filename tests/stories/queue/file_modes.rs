//! Nobody but its owner may read what the service writes, whatever the umask that it is started with.

use std::fs::{self, Permissions};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use tokio::process::Command;

use crate::support::faults::people;
use crate::support::harness::{Service, Town, alone};
use crate::support::shell::{changed, run_by};

/// The binary, started by a shell that takes nothing from the modes of new files.
fn permissive() -> Command {
    let mut shell = Command::new("/bin/sh");
    shell.args(["-c", r#"umask 000; exec "$0" "$@""#, env!("CARGO_BIN_EXE_sesamy-mailmojo")]);
    alone(shell)
}

/// The queue's files that are there, each with its mode.
fn modes(folder: &Path) -> Vec<(String, u32)> {
    let mut modes: Vec<_> = fs::read_dir(folder)
        .unwrap()
        .map(|entry| {
            let entry = entry.unwrap();
            let mode = entry.metadata().unwrap().permissions().mode() & 0o777;
            (entry.file_name().into_string().unwrap(), mode)
        })
        .filter(|(name, _)| name.starts_with("queue.db"))
        .collect();
    modes.sort();
    modes
}

fn all_closed(endings: &[&str]) -> Vec<(String, u32)> {
    endings.iter().map(|ending| (format!("queue.db{ending}"), 0o600)).collect()
}

const RUNNING: [&str; 4] = ["", "-shm", "-wal", ".lock"];

async fn stopped() -> (Town, PathBuf) {
    let mut town = Town::start().await;
    people(&town, &["kari"]);
    town.service.kill().await;
    let folder = town.folder.path().to_owned();
    for ending in RUNNING {
        fs::remove_file(folder.join(format!("queue.db{ending}"))).unwrap();
    }
    (town, folder)
}

#[tokio::test]
async fn the_queues_files_are_their_owners_alone() {
    let (mut town, folder) = stopped().await;
    town.service = Service::start_by(permissive(), town.settings()).await;
    town.sync("kari").await;
    assert_eq!(modes(&folder), all_closed(&RUNNING));
}

#[tokio::test]
async fn files_that_an_earlier_version_left_open_to_all_are_closed_by_the_next_start() {
    let mut town = Town::start().await;
    town.service.kill().await;
    let folder = town.folder.path().to_owned();
    for ending in RUNNING {
        fs::set_permissions(folder.join(format!("queue.db{ending}")), Permissions::from_mode(0o644)).unwrap();
    }
    town.service = Service::start_by(permissive(), town.settings()).await;
    assert_eq!(modes(&folder), all_closed(&RUNNING));
}

#[tokio::test]
async fn a_report_is_its_owners_alone_and_overwrites_nothing() {
    let town = Town::start().await;
    people(&town, &["kari"]);
    let folder = tempfile::tempdir().unwrap();
    let victim = folder.path().join("victim");
    fs::write(&victim, "somebody's").unwrap();
    std::os::unix::fs::symlink(&victim, folder.path().join("backfill-dry-run.jsonl")).unwrap();
    for _ in 0..2 {
        let mut command = permissive();
        command.current_dir(folder.path());
        let ended = run_by(command, &["backfill", "--dry-run", "--json"], town.settings()).await;
        assert_eq!(ended.code, Some(0), "{ended:?}");
    }
    assert_eq!(fs::read_to_string(&victim).unwrap(), "somebody's");
    let reports: Vec<_> = fs::read_dir(folder.path())
        .unwrap()
        .map(|entry| entry.unwrap())
        .filter(|entry| entry.file_name().to_str().unwrap().starts_with("backfill-dry-run-"))
        .collect();
    assert_eq!(reports.len(), 2);
    for report in reports {
        assert_eq!(report.metadata().unwrap().permissions().mode() & 0o777, 0o600);
        assert_eq!(fs::read_to_string(report.path()).unwrap().lines().count(), 1);
    }
}

/// A command beside the service is not the one to change anything.
#[tokio::test]
async fn a_queue_that_a_command_makes_is_its_owners_alone() {
    let (town, folder) = stopped().await;
    let ended = run_by(permissive(), &["sync", "kari"], town.settings()).await;
    assert_eq!(ended.code, Some(0), "{ended:?}");
    for (name, mode) in modes(&folder) {
        assert_eq!(mode, 0o600, "{name}");
    }
    fs::set_permissions(folder.join("queue.db"), Permissions::from_mode(0o640)).unwrap();
    let listed = run_by(permissive(), &["queue"], &changed(town.settings(), &[])).await;
    assert_eq!(listed.code, Some(0), "{listed:?}");
    assert_eq!(modes(&folder)[0], ("queue.db".to_owned(), 0o640));
}
