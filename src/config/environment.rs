//! Settings from environment variables: `SECTION__KEY`, and for secrets `SECTION__KEY_FILE`.
//!
//! A variable is ours where its name begins with a section and two underscores; a misspelt one of these is an error.
//! All others, `PORT` and `CONFIG_FILE` aside, belong to somebody else. Letter case does not matter; so a name in a table
//! (`MAILMOJO__CUSTOM_FIELDS__PLAN`) is taken in lower case.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use ::config::{Environment, Map, Source, ValueKind};

use super::error::Problem;
use super::parse;
use super::sources::{Layer, read_text};
use super::table::{self, SETTINGS, Spec};

const SEPARATOR: &str = "__";
const FROM_ENVIRONMENT: &str = "in the environment";

/// The variables that this program reads.
pub(super) struct Variables {
    /// Ours by their names in lower case, with the names as given.
    ours: BTreeMap<String, (String, String)>,
    port: Option<String>,
    config_file: Option<String>,
}

impl Variables {
    /// Keeps what is ours.
    pub fn pick(all: impl Iterator<Item = (String, String)>, problems: &mut Vec<Problem>) -> Self {
        let mut picked = Self { ours: BTreeMap::new(), port: None, config_file: None };
        for (name, value) in all {
            match name.as_str() {
                "PORT" => picked.port = Some(value),
                "CONFIG_FILE" => picked.config_file = Some(value),
                _ => picked.add(name, value, problems),
            }
        }
        picked
    }

    fn add(&mut self, name: String, value: String, problems: &mut Vec<Problem>) {
        let lower = name.to_lowercase();
        if !lower.split_once(SEPARATOR).is_some_and(|(section, _)| table::is_section(section)) {
            return;
        }
        if let Some((before, _)) = self.ours.get(&lower) {
            let what = format!("and {before} are set both, and differ in letter case only");
            problems.push(Problem::new(name, what, format!("keep {}", lower.to_uppercase())));
            return;
        }
        self.ours.insert(lower, (name, value));
    }

    /// Without all settings but the one of that full name.
    pub fn only(mut self, name: &str) -> Self {
        let variable = name.replace('.', SEPARATOR);
        self.ours.retain(|lower, _| *lower == variable);
        self
    }

    /// The settings file that `CONFIG_FILE` names.
    pub fn config_file(&self, problems: &mut Vec<Problem>) -> Option<PathBuf> {
        let path = self.config_file.as_deref()?.trim();
        if path.is_empty() {
            let mend = "set it to the path of a settings file, or unset it";
            problems.push(Problem::new("CONFIG_FILE", "is empty", mend));
            return None;
        }
        Some(PathBuf::from(path))
    }

    /// The port that `PORT` names.
    pub fn port(&self, problems: &mut Vec<Problem>) -> Option<u16> {
        let port = self.port.as_deref()?;
        let parsed = port.trim().parse().ok();
        if parsed.is_none() {
            let mend = "set it to a number from 0 to 65535, or unset it and set SERVER__LISTEN";
            problems.push(Problem::new("PORT", format!("is {}, which is no port", parse::shown(port)), mend));
        }
        parsed
    }

    /// Our variables as settings, the files that they name read.
    pub fn layer(&self, problems: &mut Vec<Problem>) -> Layer {
        let mut layer = Layer::default();
        let mut set_by = BTreeMap::new();
        for (name, path, value) in self.by_path() {
            if let Some((spec, item)) = lookup_item(&path) {
                layer.set_item(spec, item, FROM_ENVIRONMENT, value.trim());
                continue;
            }
            let Some((spec, is_file)) = lookup(&path) else {
                problems.push(unknown(name));
                continue;
            };
            if let Some(before) = set_by.insert(spec.name(), name.to_owned()) {
                let what = format!("is set by {before} and by {name} at once");
                problems.push(Problem::new(spec.name(), what, "keep one of the two"));
                continue;
            }
            match value_of(spec, name, &value, is_file) {
                Ok((origin, value)) => layer.set(spec, &origin, value),
                Err(what) => {
                    problems.push(Problem::of(spec, None, what));
                    layer.set(spec, name, ValueKind::Nil); // wrong, but given: not told as missing too
                }
            }
        }
        layer
    }

    /// Name as given, dotted path, value; in the order of names.
    fn by_path(&self) -> Vec<(&str, String, String)> {
        let map: Map<String, String> =
            self.ours.iter().map(|(lower, (_, value))| (lower.clone(), value.clone())).collect();
        let collected = Environment::default().separator(SEPARATOR).source(Some(map)).collect();
        let mut collected = collected.unwrap_or_default(); // fails only on what is not Unicode, and these are strings
        let mut paths = Vec::new();
        for (lower, (name, _)) in &self.ours {
            let path = lower.replace(SEPARATOR, ".");
            if let Some(Ok(value)) = collected.remove(&path).map(::config::Value::into_string) {
                paths.push((name.as_str(), path, value));
            }
        }
        paths
    }
}

/// The setting that a dotted path in lower case names, and whether as the path of a file.
fn lookup(path: &str) -> Option<(&'static Spec, bool)> {
    let (section, key) = path.split_once('.')?;
    let find = |key: &str| {
        let is_alias = |spec: &Spec| spec.alias.is_some_and(|alias| alias.to_lowercase() == key);
        SETTINGS.iter().find(|spec| spec.section == section && (spec.key == key || is_alias(spec)))
    };
    if let Some(spec) = find(key) {
        return Some((spec, false));
    }
    let spec = find(key.strip_suffix("_file")?)?;
    spec.secret.then_some((spec, true))
}

/// The table that a dotted path in lower case leads into, and the name in it.
fn lookup_item(path: &str) -> Option<(&'static Spec, &str)> {
    let (section, rest) = path.split_once('.')?;
    let (key, item) = rest.split_once('.')?;
    let is_it = |spec: &&Spec| spec.table && spec.section == section && spec.key == key;
    Some((SETTINGS.iter().find(is_it)?, item))
}

fn unknown(name: &str) -> Problem {
    let lower = name.to_lowercase();
    let known = SETTINGS.iter().flat_map(|spec| {
        let variable = spec.variable();
        let file = spec.secret.then(|| format!("{variable}_FILE"));
        std::iter::once(variable).chain(file)
    });
    let mend = match table::nearest(&lower, known) {
        Some(meant) => format!("did you mean {meant}?"),
        None => {
            let section = lower.split_once(SEPARATOR).map_or(lower.as_str(), |(section, _)| section);
            let ours = SETTINGS.iter().filter(|spec| spec.section == section).map(Spec::variable);
            format!("these exist: {}", ours.collect::<Vec<_>>().join(", "))
        }
    };
    Problem::new(name, "is not a setting of this program (in the environment)", mend)
}

/// Where the value comes from, and the value: `given` itself, or what is in the file that it names.
fn value_of(spec: &Spec, name: &str, given: &str, is_file: bool) -> Result<(String, ValueKind), String> {
    if is_file {
        let (origin, content) = read_secret(name, given)?;
        Ok((origin, typed(spec, &content, '\n')))
    } else {
        Ok((FROM_ENVIRONMENT.to_owned(), typed(spec, given, ',')))
    }
}

/// What is in the file at `path`, and how to name it. Errors: what is wrong, with the variable and the path.
fn read_secret(name: &str, path: &str) -> Result<(String, String), String> {
    let path = path.trim();
    if path.is_empty() {
        return Err(format!("cannot be read: {name} is empty"));
    }
    // Without a slash it may be the secret itself, put into the wrong variable.
    let shown =
        if path.contains('/') { path } else { "the file (its name is not shown, for want of a slash)" };
    let text = read_text(Path::new(path))
        .map_err(|what| format!("cannot be read: {shown}, named by {name}, {what}"))?;
    if text.trim().is_empty() {
        return Err(format!("is empty: {shown}, named by {name}, holds nothing"));
    }
    Ok((format!("in {shown}, named by {name}"), text))
}

/// A list is split at `separator`, its items trimmed and the empty ones dropped; anything else is text.
fn typed(spec: &Spec, value: &str, separator: char) -> ValueKind {
    let items: Vec<&str> = value.split(separator).map(str::trim).filter(|item| !item.is_empty()).collect();
    match (spec.list, items.is_empty()) {
        (true, true) => "".into(), // told as empty
        (true, false) => items.into(),
        (false, _) => value.trim().into(),
    }
}
