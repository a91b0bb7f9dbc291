//! Takes typed values out of the merged settings and collects what is wrong, instead of stopping at the first fault.

use ::config::ValueKind;

use super::error::Problem;
use super::parse::Parsed;
use super::sources::Layer;
use super::table;

/// The merged settings, and everything that was found wrong so far.
pub(super) struct Reader {
    merged: Layer,
    /// Whether a source could not be read, so that what seems missing may be there.
    incomplete: bool,
    /// What is wrong.
    pub problems: Vec<Problem>,
    /// What works but should be looked at.
    pub warnings: Vec<String>,
}

impl Reader {
    /// Reads from `merged`; `problems` were found on the way there. Where these say that a source is `incomplete`,
    /// nothing is told as missing.
    pub fn new(merged: Layer, incomplete: bool, problems: Vec<Problem>) -> Self {
        Self { merged, incomplete, problems, warnings: Vec::new() }
    }

    /// A setting that has to be there. None: it is wrong or missing, and that has been kept as a problem.
    pub fn required<T>(
        &mut self,
        name: &str,
        parse: impl FnOnce(&::config::Value) -> Parsed<T>,
    ) -> Option<T> {
        let value = self.optional(name, parse)?;
        if value.is_none() {
            self.missing(name, "is missing");
        }
        value
    }

    /// A setting that may be left out (`Some(None)`). None: it is wrong, and that has been kept as a problem.
    pub fn optional<T>(
        &mut self,
        name: &str,
        parse: impl FnOnce(&::config::Value) -> Parsed<T>,
    ) -> Option<Option<T>> {
        let value = table::by_name(name).and_then(|spec| self.merged.get(spec));
        let Some(value) = value else { return Some(None) };
        if value.kind == ValueKind::Nil {
            return None; // its source has told why
        }
        match parse(value) {
            Ok(value) => Some(Some(value)),
            Err(what) => {
                self.fault(name, what);
                None
            }
        }
    }

    /// A setting's value as it was given.
    pub fn value(&self, spec: &table::Spec) -> Option<&::config::Value> {
        self.merged.get(spec)
    }

    /// Whether there is a value, right or wrong.
    pub fn given(&self, name: &str) -> bool {
        table::by_name(name).is_some_and(|spec| self.merged.has(spec))
    }

    /// Keeps that `name` is missing.
    pub fn missing(&mut self, name: &str, what: impl AsRef<str>) {
        if !self.incomplete {
            self.fault(name, what);
        }
    }

    /// Keeps that `name` is wrong.
    pub fn fault(&mut self, name: &str, what: impl AsRef<str>) {
        self.problems.push(match table::by_name(name) {
            Some(spec) => Problem::of(spec, self.merged.get(spec).and_then(::config::Value::origin), what),
            None => Problem::new(name, what.as_ref(), "report this as a bug: it is no setting"),
        });
    }

    /// Keeps that `name` should be looked at.
    pub fn warn(&mut self, name: &str, what: impl AsRef<str>) {
        self.warnings.push(format!("{name} {}", what.as_ref()));
    }
}
