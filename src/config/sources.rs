//! Where settings come from, and how one source overrides another.
//!
//! Each source is brought to the same form, a [`Layer`] of full names and values, before any two are merged: so an
//! alias in a file overrides the default of the proper name, and what is unknown is told with the source it is in.
//! The environment is read in `environment`.

use std::fs::File;
use std::io::{self, Read};
use std::path::Path;

use ::config::{Config, ConfigError, FileFormat, Map, Source, Value, ValueKind};

use super::error::Problem;
use super::table::{self, SETTINGS, Spec};

/// How a problem with a whole file begins.
pub(super) const SETTINGS_FILE: &str = "the settings file";

const DEFAULTS: &str = include_str!("../../config/default.toml");

/// The largest file that is read as settings or as a secret: a wrong path (a device, a log) must not fill the memory.
const LARGEST_FILE: u64 = 1024 * 1024;

/// The settings of one source by full name (`mailmojo.list_id`); every name is one of the table.
#[derive(Debug, Clone, Default)]
pub(super) struct Layer(Map<String, Value>);

impl Layer {
    /// Gives `spec` a value, which came from `origin`.
    pub fn set(&mut self, spec: &Spec, origin: &str, value: impl Into<ValueKind>) {
        self.0.insert(spec.name(), Value::new(Some(&origin.to_owned()), value));
    }

    /// Gives the item `name` of the table that `spec` is a value, which came from `origin`.
    pub fn set_item(&mut self, spec: &Spec, name: &str, origin: &str, value: impl Into<ValueKind>) {
        let table =
            self.0.entry(spec.name()).or_insert_with(|| Value::new(None, Map::<String, Value>::new()));
        if let ValueKind::Table(items) = &mut table.kind {
            items.insert(name.to_owned(), Value::new(Some(&origin.to_owned()), value));
        }
    }

    /// Whether `spec` has a value already.
    pub fn has(&self, spec: &Spec) -> bool {
        self.0.contains_key(&spec.name())
    }

    /// A setting's own value.
    pub fn get(&self, spec: &Spec) -> Option<&Value> {
        self.0.get(&spec.name())
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

/// The layers as one, a later one over an earlier one.
pub(super) fn merge(layers: impl IntoIterator<Item = Layer>) -> Result<Layer, Problem> {
    let builder = layers.into_iter().fold(Config::builder(), |builder, layer| builder.add_source(layer));
    let sections = builder.build().and_then(|config| config.collect()).map_err(|error| {
        Problem::new("the settings", format!("could not be merged: {error}"), "report this as a bug")
    })?;
    let mut merged = Layer::default();
    for (section, value) in sections {
        for (key, value) in value.into_table().unwrap_or_default() {
            merged.0.insert(format!("{section}.{key}"), value);
        }
    }
    Ok(merged)
}

/// The defaults that the program carries inside.
pub(super) fn defaults(problems: &mut Vec<Problem>) -> Layer {
    toml_layer(DEFAULTS, "the defaults", problems).unwrap_or_default()
}

/// The settings in the file at `path`. None: it cannot be read at all.
pub(super) fn file(path: &Path, problems: &mut Vec<Problem>) -> Option<Layer> {
    match read_text(path) {
        Ok(text) => toml_layer(&text, &path.display().to_string(), problems),
        Err(what) => {
            let mend = "mend the file, or correct --config or CONFIG_FILE";
            problems.push(Problem::new(format!("{SETTINGS_FILE} {}", path.display()), what, mend));
            None
        }
    }
}

/// The text of a small file. Errors: what is wrong with it, as the end of a sentence that begins with its name.
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
                "mend the file at that place; text has to be in quotes",
            ));
            return None;
        }
    };
    for (section, value) in sorted(sections) {
        if !table::is_section(&section) {
            problems.push(unknown_section(&section, origin));
            continue;
        }
        match value.kind {
            ValueKind::Table(keys) => {
                for (key, value) in sorted(keys) {
                    take_key(&mut layer, &section, &key, value, origin, problems);
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

fn take_key(
    layer: &mut Layer,
    section: &str,
    key: &str,
    value: Value,
    origin: &str,
    problems: &mut Vec<Problem>,
) {
    let ours = |spec: &&Spec| spec.section == section && (spec.key == key || spec.alias == Some(key));
    let Some(spec) = SETTINGS.iter().find(ours) else {
        problems.push(unknown_key(section, key, origin));
        return;
    };
    if layer.has(spec) {
        let alias = spec.alias.unwrap_or_default();
        let what = format!("is set twice, as `{}` and as `{alias}` (in {origin})", spec.key);
        problems.push(Problem::new(spec.name(), what, format!("keep `{}` and remove `{alias}`", spec.key)));
        return;
    }
    let origin = format!("in {origin}");
    match value.kind {
        ValueKind::Table(items) if spec.table => {
            layer.set(spec, &origin, Map::<String, Value>::new());
            items.into_iter().for_each(|(name, item)| layer.set_item(spec, &name, &origin, item.kind));
        }
        kind => layer.set(spec, &origin, kind),
    }
}

fn unknown_section(section: &str, origin: &str) -> Problem {
    let mend =
        if let Some(spec) = SETTINGS.iter().find(|spec| spec.key == section || spec.alias == Some(section)) {
            format!("move `{section}` below the line [{}]", spec.section)
        } else if let Some(meant) = table::nearest(section, SETTINGS.iter().map(|spec| spec.section)) {
            format!("did you mean [{meant}]?")
        } else {
            "the sections are server, webhook, sesamy, mailmojo, queue, sync and log".to_owned()
        };
    Problem::new(section, format!("is not a section or setting of this program (in {origin})"), mend)
}

fn unknown_key(section: &str, key: &str, origin: &str) -> Problem {
    let keys = || SETTINGS.iter().filter(|spec| spec.section == section).map(|spec| spec.key);
    let mend = match table::nearest(key, keys()) {
        Some(meant) => format!("did you mean `{meant}`?"),
        None => format!("[{section}] has: {}", keys().collect::<Vec<_>>().join(", ")),
    };
    Problem::new(format!("{section}.{key}"), format!("is not a setting of this program (in {origin})"), mend)
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
