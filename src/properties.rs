//! What holds of whatever comes in: one function for each kind of input, which fails where something does not.
//!
//! They are the bodies of the fuzz targets in `fuzz/`, and `cargo test` runs them over the seeds in `fuzz/corpus` and over
//! cut and changed copies of them. Each computes what it expects anew, in another way than the service does. They are
//! compiled for tests and for fuzzing alone; that they lie here and not beside the targets spares the service a door to
//! what is private.

#![allow(
    missing_docs,
    clippy::unwrap_used,
    clippy::expect_used,
    reason = "a property that does not hold has to fail"
)]

pub mod credentials;
pub mod event;
pub mod mailmojo;
pub mod rate_limit;
pub mod sesamy;
pub mod tags;
#[cfg(test)]
mod tests;

/// A word in every seed that stands for a person. No text of the service's own has it.
const MARK: &str = "canary";

/// Header lines, and what follows the first empty line. Lines end in `\n`.
fn head_and_body(data: &[u8]) -> (Vec<&[u8]>, &[u8]) {
    let (mut lines, mut rest) = (Vec::new(), data);
    while let Some(end) = rest.iter().position(|byte| *byte == b'\n') {
        let line = &rest[..end];
        rest = &rest[end + 1..];
        if line.is_empty() {
            break;
        }
        lines.push(line);
    }
    (lines, rest)
}
