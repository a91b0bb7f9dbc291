//! A Postgres of our own, in a temporary folder; or the one that `TEST_POSTGRES_URL` names.

use std::net::TcpListener;
use std::path::PathBuf;
use std::process::{Command, Output};

use tempfile::TempDir;

/// Who runs the server where this runs as root, which Postgres refuses.
const NOT_ROOT: &str = "postgres";

/// A server that takes connections; ours ends when this is dropped.
pub struct Postgres {
    pub url: String,
    own: Option<Own>,
}

struct Own {
    programs: PathBuf,
    folder: TempDir,
}

impl Postgres {
    /// A server; the error is why there is none.
    pub fn start() -> Result<Self, String> {
        if let Ok(url) = std::env::var("TEST_POSTGRES_URL") {
            return Ok(Self { url, own: None });
        }
        let programs = programs().ok_or("no Postgres is installed, and TEST_POSTGRES_URL is not set")?;
        let folder = tempfile::tempdir().map_err(|error| error.to_string())?;
        let own = Own { programs, folder };
        if is_root() {
            done(Command::new("chown").arg(NOT_ROOT).arg(own.folder.path()).output())?;
        }
        let data = own.folder.path().join("data");
        own.run(
            "initdb",
            &["--auth=trust", "--username=postgres", "--encoding=UTF8", "-D", &data.display().to_string()],
        )?;
        // As it comes: synced to disk before a commit is answered (fsync, synchronous_commit).
        let port = TcpListener::bind("127.0.0.1:0")
            .and_then(|free| free.local_addr())
            .map_err(|error| error.to_string())?
            .port();
        let options = format!("-p {port} -c listen_addresses=127.0.0.1 -c unix_socket_directories=''");
        let log = own.folder.path().join("log").display().to_string();
        own.run("pg_ctl", &["start", "-w", "-D", &data.display().to_string(), "-l", &log, "-o", &options])?;
        Ok(Self { url: format!("postgres://postgres@127.0.0.1:{port}/postgres"), own: Some(own) })
    }
}

impl Own {
    fn run(&self, program: &str, arguments: &[&str]) -> Result<(), String> {
        let program = self.programs.join(program);
        let mut command = if is_root() {
            let mut command = Command::new("runuser");
            command.args(["-u", NOT_ROOT, "--"]).arg(program);
            command
        } else {
            Command::new(program)
        };
        // With nothing that the server could hold open behind us.
        command.args(arguments).stdin(std::process::Stdio::null()).current_dir(self.folder.path());
        let status =
            command.stdout(std::process::Stdio::null()).status().map_err(|error| error.to_string())?;
        if status.success() { Ok(()) } else { Err(format!("{arguments:?} ended with {status}")) }
    }
}

impl Drop for Postgres {
    fn drop(&mut self) {
        if let Some(own) = &self.own {
            let data = own.folder.path().join("data").display().to_string();
            let _ = own.run("pg_ctl", &["stop", "-m", "immediate", "-D", &data]);
        }
    }
}

/// Where the server's programs are: on Debian in a folder for each version, the last one is taken.
fn programs() -> Option<PathBuf> {
    let versions = std::fs::read_dir("/usr/lib/postgresql").into_iter().flatten().flatten();
    let debian = versions.map(|version| version.path().join("bin")).max();
    let path = std::env::var_os("PATH").unwrap_or_default();
    debian.into_iter().chain(std::env::split_paths(&path)).find(|folder| folder.join("initdb").exists())
}

fn is_root() -> bool {
    rustix::process::geteuid().is_root()
}

fn done(output: std::io::Result<Output>) -> Result<(), String> {
    match output {
        Ok(output) if output.status.success() => Ok(()),
        Ok(output) => Err(String::from_utf8_lossy(&output.stderr).into_owned()),
        Err(error) => Err(error.to_string()),
    }
}
