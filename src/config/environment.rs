//! Settings from environment variables: `SECTION__KEY`, and for secrets `SECTION__KEY_FILE`.
//!
//! A variable is ours if its name begins with a section and two underscores; a misspelt one of these is an error. All
//! others, `PORT` and `CONFIG_FILE` aside, belong to other programs. Letter case does not matter, so a name in a table
//! (`MAILMOJO__CUSTOM_FIELDS__PLAN`) is taken in lower case.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use ::config::ValueKind;

use super::error::Problem;
use super::nearest::nearest;
use super::parse;
use super::setting::{Shape, Spec};
use super::sources::{Layer, read_text};
use super::table;

const SEPARATOR: &str = "__";
const FROM_ENVIRONMENT: &str = "in the environment";

/// The variables that this program reads.
#[derive(Default)]
pub(super) struct Variables {
    /// Ours by their names in lower case, with the names as given.
    ours: BTreeMap<String, (String, String)>,
    port: Option<String>,
    config_file: Option<String>,
}

impl Variables {
    /// Keeps what is ours.
    pub fn pick(all: impl Iterator<Item = (String, String)>, problems: &mut Vec<Problem>) -> Self {
        let mut picked = Self::default();
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
        if !lower.split_once(SEPARATOR).is_some_and(|(section, _)| table::sections().contains(&section)) {
            return;
        }
        if let Some((before, _)) = self.ours.get(&lower) {
            let what = format!("and {before} are both set, and differ in letter case only");
            problems.push(Problem::new(name, what, format!("keep {}", lower.to_uppercase())));
            return;
        }
        self.ours.insert(lower, (name, value));
    }

    /// The settings file that `CONFIG_FILE` names.
    pub fn config_file(&self, problems: &mut Vec<Problem>) -> Option<PathBuf> {
        let path = self.config_file.as_deref()?.trim();
        if path.is_empty() {
            let fix = "set it to the path of a settings file, or unset it";
            problems.push(Problem::new("CONFIG_FILE", "is empty", fix));
            return None;
        }
        Some(PathBuf::from(path))
    }

    /// The port that `PORT` names.
    pub fn port(&self, problems: &mut Vec<Problem>) -> Option<u16> {
        let port = self.port.as_deref()?;
        let parsed = port.trim().parse().ok();
        if parsed.is_none() {
            let fix = "set it to a number from 0 to 65535, or unset it and set SERVER__LISTEN";
            problems.push(Problem::new("PORT", format!("is {}, which is no port", parse::shown(port)), fix));
        }
        parsed
    }

    /// Our variables as settings, with the contents of the files that they name.
    pub fn layer(&self, problems: &mut Vec<Problem>) -> Layer {
        let mut layer = Layer::default();
        let mut set_by = BTreeMap::new();
        for (lower, (name, value)) in &self.ours {
            let (section, key) = lower.split_once(SEPARATOR).unwrap_or_default(); // they have been picked by it
            if let Some((key, item)) = key.split_once(SEPARATOR)
                && let Some(spec) = find(section, key).filter(|spec| spec.shape == Shape::Table)
            {
                layer.set_item(spec, &item.replace(SEPARATOR, "."), FROM_ENVIRONMENT, value.trim());
                continue;
            }
            let secret = key.strip_suffix("_file").and_then(|key| find(section, key));
            let (spec, given) = match (find(section, key), secret.filter(|spec| spec.is_secret)) {
                (Some(spec), _) => (spec, Ok((FROM_ENVIRONMENT.to_owned(), typed(spec, value, ',')))),
                (None, Some(spec)) => (spec, content(spec, name, value)),
                (None, None) => {
                    problems.push(unknown(name));
                    continue;
                }
            };
            if let Some(before) = set_by.insert(spec.name, name) {
                let what = format!("is set by {before} and by {name} at once");
                problems.push(Problem::new(spec.name, what, "keep one of the two"));
                continue;
            }
            match given {
                Ok((origin, value)) => layer.set(spec, &origin, value),
                Err(what) => {
                    problems.push(Problem::of(spec, None, what));
                    layer.set(spec, name, ValueKind::Nil); // wrong, but given: not reported as missing too
                }
            }
        }
        layer
    }
}

fn find(section: &str, key: &str) -> Option<&'static Spec> {
    table::find(section, key, str::eq_ignore_ascii_case)
}

fn unknown(name: &str) -> Problem {
    let lower = name.to_lowercase();
    let variables = |spec: &Spec| {
        let variable = spec.variable();
        let file = spec.is_secret.then(|| format!("{variable}_FILE"));
        [Some(variable), file].into_iter().flatten()
    };
    let fix = match nearest(&lower, table::specs().flat_map(variables)) {
        Some(meant) => format!("did you mean {meant}?"),
        None => {
            let section = lower.split_once(SEPARATOR).map(|(section, _)| section);
            let ours = table::specs().filter(|spec| Some(spec.path().0) == section).map(Spec::variable);
            format!("these exist: {}", ours.collect::<Vec<_>>().join(", "))
        }
    };
    Problem::new(name, "is not a setting of this program (in the environment)", fix)
}

/// The value in the file at `path`, which the variable `name` holds, with where it comes from. The error names the
/// variable and the path.
fn content(spec: &Spec, name: &str, path: &str) -> Result<(String, ValueKind), String> {
    let path = path.trim();
    if path.is_empty() {
        return Err(format!("cannot be read: {name} is empty"));
    }
    // Without a slash it may be the secret itself, put into the wrong variable.
    let shown = if path.contains('/') { path } else { "the file (its name is not shown: it has no slash)" };
    let text = read_text(Path::new(path))
        .map_err(|what| format!("cannot be read: {shown}, named by {name}, {what}"))?;
    if text.trim().is_empty() {
        return Err(format!("is empty: {shown}, named by {name}, holds nothing"));
    }
    Ok((format!("in {shown}, named by {name}"), typed(spec, &text, '\n')))
}

/// A list is split at `separator`, its items trimmed and the empty ones dropped; anything else is text.
fn typed(spec: &Spec, value: &str, separator: char) -> ValueKind {
    let items: Vec<&str> = value.split(separator).map(str::trim).filter(|item| !item.is_empty()).collect();
    match (spec.shape, items.is_empty()) {
        (Shape::List, true) => "".into(), // reported as empty
        (Shape::List, false) => items.into(),
        _ => value.trim().into(),
    }
}
