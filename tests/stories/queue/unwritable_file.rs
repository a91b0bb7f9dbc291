//! A queue's file that may not be written: told at the start, with path, user id and the mend; and the mend mends it.

use std::fs::{Permissions, set_permissions};
use std::os::unix::fs::{PermissionsExt, chown};
use std::path::{Path, PathBuf};

use tokio::process::Command;

use crate::support::harness::{Service, Town, alone};
use crate::support::shell::{Ended, changed, run_by};

/// Somebody to whom modes apply: root may write everywhere.
const NOBODY: u32 = 65_534;

/// A folder that nobody may look into, with the binary in it, and another with a queue.
struct Place {
    town: Town,
    binary: PathBuf,
    folder: PathBuf,
    uid: u32,
}

impl Place {
    async fn new() -> Self {
        let mut town = Town::start().await;
        town.service.kill().await;
        mode(town.folder.path(), 0o755);
        let binary = town.folder.path().join("sesamy-mailmojo");
        std::fs::copy(env!("CARGO_BIN_EXE_sesamy-mailmojo"), &binary).unwrap();
        let folder = town.folder.path().join("data");
        std::fs::create_dir(&folder).unwrap();
        let own = rustix::process::getuid().as_raw();
        let uid = if own == 0 { NOBODY } else { own };
        Self { town, binary, folder, uid }
    }

    fn file(&self) -> PathBuf {
        self.folder.join("queue.db")
    }

    fn serve(&self) -> Command {
        let mut serve = alone(Command::new(&self.binary));
        if rustix::process::getuid().is_root() {
            serve.uid(self.uid).gid(self.uid);
        }
        serve
    }

    fn settings(&self) -> crate::support::shell::Settings {
        changed(self.town.settings(), &[("QUEUE__URL", &format!("sqlite://{}", self.file().display()))])
    }

    /// A start must be refused for this path, and leave everything as it is.
    async fn is_told_of(&self, path: &Path) {
        let before = std::fs::read(self.file()).ok();
        let Ended { code, stdout, stderr } = run_by(self.serve(), &["serve"], &self.settings()).await;
        assert_eq!(code, Some(1), "{stdout}{stderr}");
        let mend = format!("chown -R {} {}", self.uid, self.folder.display());
        let told = format!("cannot write {}: ", path.display());
        for part in [&*told, &format!("user id {}", self.uid), &mend, "queue.url"] {
            assert!(stderr.contains(part), "{part} is not in {stderr}");
        }
        assert!(stdout.contains(r#""level":"ERROR""#), "the log tells too: {stdout}");
        assert!(std::fs::read(self.file()).ok() == before, "the file was changed");
    }

    /// What the message says.
    fn mend(&self) {
        for path in [self.file(), self.folder.join("queue.db.lock"), self.folder.clone()] {
            if rustix::process::getuid().is_root() && path.exists() {
                chown(&path, Some(self.uid), Some(self.uid)).unwrap();
            }
            if path.exists() {
                mode(&path, if path.is_dir() { 0o755 } else { 0o644 });
            }
        }
    }

    async fn starts(&self) {
        let mut service = Service::start_by(self.serve(), &self.settings()).await;
        assert_eq!(service.get("/readyz").await.0, 200);
        service.terminate();
        assert!(service.ended().await.success());
    }
}

fn mode(path: &Path, mode: u32) {
    set_permissions(path, Permissions::from_mode(mode)).unwrap();
}

#[tokio::test]
async fn a_folder_that_may_not_be_written_is_told_with_the_mend_and_the_mend_mends_it() {
    let place = Place::new().await;
    mode(&place.folder, 0o555);
    place.is_told_of(&place.folder.join("queue.db.lock")).await;
    place.mend();
    place.starts().await;
}

#[tokio::test]
async fn a_file_that_may_not_be_written_is_told_with_the_mend_and_the_mend_mends_it() {
    let place = Place::new().await;
    place.mend();
    place.starts().await;
    let file = place.file();
    for (of_file, of_folder) in [(0o444, 0o777), (0o000, 0o777), (0o666, 0o555)] {
        if rustix::process::getuid().is_root() {
            chown(&file, Some(0), Some(0)).unwrap();
            chown(&place.folder, Some(0), Some(0)).unwrap();
        }
        mode(&file, of_file);
        mode(&place.folder, of_folder);
        if of_file == 0 && !rustix::process::getuid().is_root() {
            continue; // the story could not look into it either
        }
        place.is_told_of(&file).await;
        place.mend();
        place.starts().await;
    }
}
