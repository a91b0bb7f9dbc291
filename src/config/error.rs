//! What is wrong with the settings: all of it in one message.
//!
//! No value of a secret is ever in it: the code that makes a [`Problem`] decides what may be shown (see `parse::shown`).

use std::fmt;

use super::spec::Spec;

/// Why the settings cannot be used: everything that is wrong with them, never nothing.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct SettingsError {
    pub(super) problems: Vec<Problem>,
}

/// One thing that is wrong.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Problem {
    /// What is at fault: a setting such as `mailmojo.list_id`, a variable, or a file.
    pub at_fault: String,
    /// What is wrong with it; completes "`at_fault` …".
    pub what: String,
    /// What to do about it.
    pub fix: String,
}

impl Problem {
    pub fn new(at_fault: impl Into<String>, what: impl Into<String>, fix: impl Into<String>) -> Self {
        Self { at_fault: at_fault.into(), what: what.into(), fix: fix.into() }
    }

    /// A problem of one setting, with where its value came from.
    pub fn of(spec: &Spec, origin: Option<&str>, what: impl AsRef<str>) -> Self {
        let origin = origin.map(|origin| format!(" ({origin})")).unwrap_or_default();
        Self::new(spec.name, format!("{}{origin}", what.as_ref()), spec.how())
    }
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}\n    {}", self.at_fault, self.what, self.fix)
    }
}

impl fmt::Display for SettingsError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.problems.len() {
            1 => write!(f, "the settings cannot be used, one thing is wrong:")?,
            count => write!(f, "the settings cannot be used, {count} things are wrong:")?,
        }
        for problem in &self.problems {
            write!(f, "\n  {problem}")?;
        }
        Ok(())
    }
}

impl std::error::Error for SettingsError {}
