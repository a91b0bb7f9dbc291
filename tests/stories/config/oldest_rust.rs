//! The oldest Rust that Cargo.toml promises: what the packages of the lock file need, and what the README says.

use std::process::Command;

use serde_json::Value;

const README: &str = include_str!("../../../README.md");
const DOCKERFILE: &str = include_str!("../../../Dockerfile");
const PROMISED: &str = env!("CARGO_PKG_RUST_VERSION");

fn parts(version: &str) -> Vec<u32> {
    version.split('.').map(|part| part.parse().unwrap()).collect()
}

/// As far as packages say what they need: about half do. The workflow builds with the promised Rust itself.
#[test]
fn no_package_of_the_lock_file_needs_a_newer_rust_than_is_promised() {
    let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let output =
        Command::new(cargo).args(["metadata", "--locked", "--format-version", "1"]).output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let metadata: Value = serde_json::from_slice(&output.stdout).unwrap();
    let packages = metadata["packages"].as_array().unwrap();
    let needs = packages.iter().filter_map(|one| Some((one["rust_version"].as_str()?, &one["name"])));
    let needs: Vec<_> = needs.collect();
    assert!(needs.len() > 100, "most packages say nothing any more: {needs:?}");
    for (needed, name) in needs {
        assert!(parts(needed) <= [parts(PROMISED), vec![0]].concat(), "{name} needs Rust {needed}");
    }
}

#[test]
fn the_readme_and_the_image_follow() {
    assert!(README.contains(&format!("{PROMISED} or later")), "the README does not say {PROMISED}");
    let (_, from) = DOCKERFILE.split_once("FROM rust:").unwrap();
    assert!(parts(from.split('-').next().unwrap()) >= parts(PROMISED), "{from}");
}
