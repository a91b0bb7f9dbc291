//! Commands that are run to their end, as in a shell.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use tokio::process::Command;

use crate::support::harness::{PATIENCE, command};

/// The environment of a command.
pub type Settings = BTreeMap<String, String>;

/// What a command has left behind.
#[derive(Debug)]
pub struct Ended {
    pub code: Option<i32>,
    pub stdout: String,
    pub stderr: String,
}

/// Runs the binary with these arguments and this environment until it ends.
pub async fn run(arguments: &[&str], environment: &Settings) -> Ended {
    run_by(command(), arguments, environment).await
}

/// Runs it by a command of the story's own.
pub async fn run_by(mut command: Command, arguments: &[&str], environment: &Settings) -> Ended {
    let child = command.args(arguments).envs(environment).spawn().unwrap();
    let output = tokio::time::timeout(PATIENCE, child.wait_with_output());
    let output = output.await.unwrap_or_else(|_| panic!("{arguments:?} does not end")).unwrap();
    let text = |bytes| String::from_utf8(bytes).unwrap();
    Ended { code: output.status.code(), stdout: text(output.stdout), stderr: text(output.stderr) }
}

/// `settings` with changes; an empty value takes a setting away.
pub fn changed(settings: &Settings, changes: &[(&str, &str)]) -> Settings {
    let mut changed = settings.clone();
    for (name, value) in changes {
        changed.remove(*name);
        if !value.is_empty() {
            changed.insert((*name).to_owned(), (*value).to_owned());
        }
    }
    changed
}

/// Builds a C file beside the stories as a library in `folder`, for `LD_PRELOAD`; its path.
pub fn preload(folder: &Path, source: &str) -> PathBuf {
    let library = folder.join(source).with_extension("so");
    let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/support").join(source);
    let mut cc = std::process::Command::new("cc");
    let built = cc.args(["-shared", "-fPIC", "-O1", "-o"]).arg(&library).arg(source).status();
    assert!(built.unwrap().success(), "the build of SQLite needed a C compiler too");
    library
}

/// Tells what is not tried on this machine, and why.
#[expect(clippy::print_stdout, reason = "for whoever reads the tests' output")]
pub fn not_tried(what: &str) {
    println!("not tried: {what}");
}
