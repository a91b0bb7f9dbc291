//! The same webhook as it is usually written: Node with express, and with better-sqlite3 where it keeps its events.

use std::path::{Path, PathBuf};

use tokio::process::Command;

use crate::process::TOKEN;

/// Where npm puts what it installs: once, as better-sqlite3 is compiled for minutes.
const HOME: &str = concat!(env!("CARGO_TARGET_TMPDIR"), "/express");
const SOURCE: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/benches/speed/express");

/// The program, installed; the error is why there is none.
pub async fn install() -> Result<PathBuf, String> {
    let home = Path::new(HOME);
    std::fs::create_dir_all(home).map_err(|error| error.to_string())?;
    for file in ["package.json", "server.js"] {
        std::fs::copy(Path::new(SOURCE).join(file), home.join(file)).map_err(|error| error.to_string())?;
    }
    let program = home.join("server.js");
    if home.join("node_modules/better-sqlite3/build/Release/better_sqlite3.node").exists() {
        return Ok(program);
    }
    println!("(npm installs express and better-sqlite3 in {HOME})");
    let mut npm = Command::new("npm");
    npm.args(["install", "--no-audit", "--no-fund", "--no-update-notifier"]).current_dir(home);
    if Path::new("/usr/include/node/node.h").exists() {
        npm.env("npm_config_nodedir", "/usr"); // headers are here already
    }
    let done = npm.output().await.map_err(|error| format!("npm cannot be run: {error}"))?;
    if done.status.success() { Ok(program) } else { Err(String::from_utf8_lossy(&done.stderr).into_owned()) }
}

/// Starts the program, which keeps its events in `file` if there is one.
pub fn command(program: &Path, file: Option<&Path>) -> Command {
    let mut node = Command::new("node");
    node.arg(program).args(file).env("TOKEN", TOKEN).env("NODE_ENV", "production");
    node
}
