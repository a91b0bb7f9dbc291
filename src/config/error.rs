//! What is wrong with the settings, told to whoever has to mend them: all of it in one message.
//!
//! No value of a secret is ever in it: whoever makes a [`Problem`] decides what may be shown (see `parse::shown`).

use std::fmt;

use super::table::Spec;

/// Why the settings cannot be used: everything that is wrong with them, never nothing.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SettingsError {
    problems: Vec<Problem>,
}

/// One thing that is wrong.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Problem {
    /// What is at fault: a setting such as `mailmojo.list_id`, a variable, or a file.
    pub at_fault: String,
    /// What is wrong with it; completes "`at_fault` …".
    pub what: String,
    /// What to do about it.
    pub mend: String,
}

impl SettingsError {
    pub(super) fn new(problems: Vec<Problem>) -> Self {
        Self { problems }
    }

    /// Everything that is wrong.
    #[must_use]
    pub fn problems(&self) -> &[Problem] {
        &self.problems
    }
}

impl Problem {
    pub(super) fn new(at_fault: impl Into<String>, what: impl Into<String>, mend: impl Into<String>) -> Self {
        Self { at_fault: at_fault.into(), what: what.into(), mend: mend.into() }
    }

    /// A problem of one setting; `origin` tells where its value came from.
    pub(super) fn of(spec: &Spec, origin: Option<&str>, what: impl AsRef<str>) -> Self {
        let origin = origin.map(|origin| format!(" ({origin})")).unwrap_or_default();
        Self::new(spec.name(), format!("{}{origin}", what.as_ref()), spec.how())
    }
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}\n    {}", self.at_fault, self.what, self.mend)
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
