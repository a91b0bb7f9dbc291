//! The merged settings: typed values by their constants, and everything that is wrong, instead of the first fault.

use std::path::Path;

use ::config::{Config, Value, ValueKind};

use super::environment::Variables;
use super::error::Problem;
use super::setting::{AnySetting, Setting, Spec};
use super::sources::{self, Layer};
use super::table::LISTEN;

/// The merged settings, and what was found wrong on the way to them.
pub(super) struct Values {
    config: Config,
    /// Whether a source could not be read, so that a setting that seems missing may be in it.
    incomplete: bool,
    pub problems: Vec<Problem>,
}

impl Values {
    /// Reads and merges the sources: the defaults, then the file (`file`, or the one that `CONFIG_FILE` names), then the
    /// environment, then `PORT`; a later one overrides.
    pub fn load(file: Option<&Path>, env: impl Iterator<Item = (String, String)>) -> Self {
        let mut problems = Vec::new();
        let variables = Variables::pick(env, &mut problems);
        let defaults = sources::defaults(&mut problems);
        // `--config` goes before `CONFIG_FILE`, even before a wrong one.
        let path = file.map(Path::to_path_buf).or_else(|| variables.config_file(&mut problems));
        let file = path.map(|path| sources::file(&path, &mut problems));
        let incomplete = matches!(file, Some(None));
        let environment = variables.layer(&mut problems);
        let port = variables.port(&mut problems);

        let mut values = Self { config: Config::default(), incomplete, problems };
        for layer in [defaults, file.flatten().unwrap_or_default(), environment] {
            values.add(layer);
        }
        if let (Some(port), Some(mut listen)) = (port, values.get(&LISTEN)) {
            listen.set_port(port);
            let mut layer = Layer::default();
            layer.set(&LISTEN.spec, "PORT in the environment", listen.to_string());
            values.add(layer);
        }
        values
    }

    fn add(&mut self, layer: Layer) {
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
    pub fn given(&self, spec: &Spec) -> Option<Value> {
        let (section, key) = spec.path();
        self.config.get_table(section).ok()?.remove(key)
    }

    /// The value; `None` if it is not set, or wrong.
    pub fn get<T>(&self, setting: &Setting<T>) -> Option<T> {
        setting.parse(&self.given(&setting.spec)?).ok()
    }

    /// Notes whether the value of `setting` is missing or wrong.
    pub fn check(&mut self, setting: &dyn AnySetting) {
        let spec = setting.spec();
        match self.given(spec) {
            Some(value) if value.kind == ValueKind::Nil => {} // its source has reported why
            Some(value) => {
                if let Err(what) = setting.check(&value) {
                    self.fault(spec, what);
                }
            }
            None if !spec.is_optional => self.missing(spec, "is missing"),
            None => {}
        }
    }

    /// Notes that the setting is missing.
    pub fn missing(&mut self, spec: &Spec, what: impl AsRef<str>) {
        if !self.incomplete {
            self.fault(spec, what);
        }
    }

    /// Notes that the setting is wrong.
    pub fn fault(&mut self, spec: &Spec, what: impl AsRef<str>) {
        let given = self.given(spec);
        self.problems.push(Problem::of(spec, given.as_ref().and_then(Value::origin), what));
    }
}
