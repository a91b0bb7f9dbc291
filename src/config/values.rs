//! The merged settings, and everything that is wrong with them, instead of the first fault.

use ::config::{Config, Value};

use super::error::Problem;
use super::sources::Layer;
use super::spec::Spec;

/// The merged settings, and what was found wrong so far.
#[derive(Default)]
pub(crate) struct Values {
    config: Config,
    /// Whether a source could not be read, so that a setting that seems missing may be in it.
    pub(super) is_incomplete: bool,
    pub(super) problems: Vec<Problem>,
}

impl Values {
    /// Puts a layer over those that are there.
    pub(super) fn add(&mut self, layer: Layer) {
        let below = std::mem::take(&mut self.config);
        match Config::builder().add_source(below).add_source(layer).build() {
            Ok(merged) => self.config = merged,
            Err(error) => self.problems.push(Problem::new(
                "the settings",
                format!("could not be merged: {error}"),
                "report this as a bug",
            )),
        }
    }

    /// The value as it was given, right or wrong.
    pub(super) fn given(&self, spec: &Spec) -> Option<Value> {
        let (section, key) = spec.path();
        self.config.get_table(section).ok()?.remove(key)
    }

    /// Notes that the setting is missing.
    pub(super) fn missing(&mut self, spec: &Spec, what: impl AsRef<str>) {
        if !self.is_incomplete {
            self.fault(spec, what);
        }
    }

    /// Notes that the setting is wrong.
    pub(super) fn fault(&mut self, spec: &Spec, what: impl AsRef<str>) {
        let given = self.given(spec);
        self.problems.push(Problem::of(spec, given.as_ref().and_then(Value::origin), what));
    }
}
