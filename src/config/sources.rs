//! One source of settings as a [`Layer`], and the two that are TOML: the defaults and the settings file. The environment
//! is in `environment`.
//!
//! A layer has full names and values only, so an alias in a file overrides the default of the proper name, and an unknown
//! name is reported with the source that it is in. The `config` crate merges the layers, in `values`.

use std::fs::File;
use std::io::{self, Read};
use std::path::Path;

use ::config::{ConfigError, FileFormat, Map, Source, Value, ValueKind};

use super::error::Problem;
use super::nearest::nearest;
use super::spec::{Shape, Spec};
use super::table;

/// How a problem with a whole file begins.
pub(super) const SETTINGS_FILE: &str = "the settings file";

const DEFAULTS: &str = include_str!("../../config/default.toml");

/// The largest file that is read as settings or as a secret: a wrong path (a device, a log) must not fill the memory.
const LARGEST_FILE: u64 = 1024 * 1024;

/// The settings of one source by full name (`mailmojo.list_id`); every name is one of the table.
#[derive(Debug, Clone, Default)]
pub(super) struct Layer(Map<String, Value>);

impl Layer {
    pub fn set(&mut self, spec: &Spec, origin: &str, value: impl Into<ValueKind>) {
        self.0.insert(spec.name.to_owned(), Value::new(Some(&origin.to_owned()), value));
    }

    /// Sets the item `name` of the table `spec`.
    pub fn set_item(&mut self, spec: &Spec, name: &str, origin: &str, value: impl Into<ValueKind>) {
        let empty = || Value::new(None, Map::<String, Value>::new());
        let table = self.0.entry(spec.name.to_owned()).or_insert_with(empty);
        if let ValueKind::Table(items) = &mut table.kind {
            items.insert(name.to_owned(), Value::new(Some(&origin.to_owned()), value));
        }
    }

    pub fn has(&self, spec: &Spec) -> bool {
        self.0.contains_key(spec.name)
    }
}

impl Source for Layer {
    fn clone_into_box(&self) -> Box<dyn Source + Send + Sync> {
        Box::new(self.clone())
    }

    fn collect(&self) -> Result<Map<String, Value>, ConfigError> {
        Ok(self.0.clone())
    }
}

/// The defaults that the program carries inside.
pub(super) fn defaults(problems: &mut Vec<Problem>) -> Layer {
    toml_layer(DEFAULTS, "the defaults", problems).unwrap_or_default()
}

/// The settings in the file at `path`; `None` if nothing in it can be read.
pub(super) fn file(path: &Path, problems: &mut Vec<Problem>) -> Option<Layer> {
    match read_text(path) {
        Ok(text) => toml_layer(&text, &path.display().to_string(), problems),
        Err(what) => {
            let fix = "fix the file, or correct --config or CONFIG_FILE";
            problems.push(Problem::new(format!("{SETTINGS_FILE} {}", path.display()), what, fix));
            None
        }
    }
}

/// The text of a small file. The error is the end of a sentence that begins with the file's name.
pub(super) fn read_text(path: &Path) -> Result<String, String> {
    let mut bytes = Vec::new();
    let read = |file: File, bytes: &mut Vec<u8>| file.take(LARGEST_FILE + 1).read_to_end(bytes);
    File::open(path).and_then(|file| read(file, &mut bytes)).map_err(|error| match error.kind() {
        io::ErrorKind::NotFound => "does not exist".to_owned(),
        io::ErrorKind::PermissionDenied => {
            "cannot be read: permission denied to the user of this process".to_owned()
        }
        _ => format!("cannot be read: {error}"),
    })?;
    if bytes.len() as u64 > LARGEST_FILE {
        return Err("is larger than 1 MiB".to_owned());
    }
    String::from_utf8(bytes).map_err(|_| "is not UTF-8 text".to_owned())
}

fn toml_layer(text: &str, origin: &str, problems: &mut Vec<Problem>) -> Option<Layer> {
    let mut layer = Layer::default();
    let sections = match ::config::File::from_str(text, FileFormat::Toml).collect() {
        Ok(sections) => sections,
        Err(error) => {
            problems.push(Problem::new(
                format!("{SETTINGS_FILE} {origin}"),
                format!("is not valid TOML: {}", toml_fault(&error, text)),
                "fix the file at that place; text has to be in quotes",
            ));
            return None;
        }
    };
    for (section, value) in sorted(sections) {
        match value.kind {
            _ if !table::sections().contains(&section.as_str()) => {
                problems.push(unknown_section(&section, origin));
            }
            ValueKind::Table(keys) => {
                for (key, value) in sorted(keys) {
                    problems.extend(take_key(&mut layer, &section, &key, value, origin).err());
                }
            }
            _ => problems.push(Problem::new(
                &section,
                format!("is not a section (in {origin})"),
                format!("write [{section}] on a line of its own and its settings on the lines below"),
            )),
        }
    }
    Some(layer)
}

fn take_key(layer: &mut Layer, section: &str, key: &str, value: Value, origin: &str) -> Result<(), Problem> {
    let origin = format!("in {origin}");
    let Some(spec) = table::find(section, key, |alias, key| alias == key) else {
        let paths = table::specs().map(Spec::path);
        let keys = paths.filter(|(own, _)| *own == section).map(|(_, key)| key.to_owned()).collect();
        return Err(unknown(&format!("{section}.{key}"), key, keys, &origin));
    };
    if layer.has(spec) {
        let (own, alias) = (spec.path().1, spec.alias.unwrap_or_default());
        let what = format!("is set twice, as `{own}` and as `{alias}` ({origin})");
        return Err(Problem::new(spec.name, what, format!("keep `{own}` and remove `{alias}`")));
    }
    match value.kind {
        ValueKind::Table(items) if spec.shape == Shape::Table => {
            layer.set(spec, &origin, Map::<String, Value>::new());
            items.into_iter().for_each(|(name, item)| layer.set_item(spec, &name, &origin, item.kind));
        }
        kind => layer.set(spec, &origin, kind),
    }
    Ok(())
}

/// The problem of the unknown setting `name`; `wrong` is what may be a misspelling of one of `known`.
pub(super) fn unknown(name: &str, wrong: &str, known: Vec<String>, origin: &str) -> Problem {
    let fix = match nearest(wrong, &known) {
        Some(meant) => format!("did you mean `{meant}`?"),
        None => format!("these exist: {}", known.join(", ")),
    };
    Problem::new(name, format!("is not a setting of this program ({origin})"), fix)
}

fn unknown_section(section: &str, origin: &str) -> Problem {
    let its_key = |spec: &&Spec| spec.path().1 == section || spec.alias == Some(section);
    let fix = if let Some(spec) = table::specs().find(its_key) {
        format!("move `{section}` below the line [{}]", spec.path().0)
    } else if let Some(meant) = nearest(section, table::sections()) {
        format!("did you mean [{meant}]?")
    } else {
        format!("the sections are {}", table::sections().join(", "))
    };
    Problem::new(section, format!("is not a section or setting of this program (in {origin})"), fix)
}

/// Line and reason, never the text of the line: a secret could be on it.
fn toml_fault(error: &ConfigError, text: &str) -> String {
    let cause = match error {
        ConfigError::FileParse { cause, .. } => cause.downcast_ref::<toml::de::Error>(),
        _ => None,
    };
    let Some(cause) = cause else { return "a number in it is too large".to_owned() };
    let before = cause.span().and_then(|span| text.get(..span.start)).unwrap_or_default();
    format!("line {}: {}", before.matches('\n').count() + 1, cause.message())
}

/// In the order of names: a map's own order changes from run to run.
fn sorted(map: Map<String, Value>) -> Vec<(String, Value)> {
    let mut pairs: Vec<_> = map.into_iter().collect();
    pairs.sort_by(|(a, _), (b, _)| a.cmp(b));
    pairs
}
