//! Settings from environment variables: `SECTION__KEY`, and for secrets `SECTION__KEY_FILE`.
//!
//! A variable is ours if its name begins with a section and two underscores; a misspelt one of these is an error. All
//! others, `PORT` and `CONFIG_FILE` aside, belong to other programs. Letter case does not matter, so a name in a table
//! (`MAILMOJO__CUSTOM_FIELDS__PLAN`) is taken in lower case.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use ::config::ValueKind;

use super::error::Problem;
use super::parse;
use super::sources::{Layer, read_text, unknown};
use super::spec::{Shape, Spec};
use super::table;

const SEPARATOR: &str = "__";
const ORIGIN: &str = "in the environment";

/// What the environment sets.
#[derive(Default)]
pub(super) struct Environment {
    pub layer: Layer,
    /// The port that `PORT` names.
    pub port: Option<u16>,
    /// The settings file that `CONFIG_FILE` names.
    pub config_file: Option<PathBuf>,
    /// Which variable has set what.
    set_by: BTreeMap<String, String>,
}

impl Environment {
    /// Reads the variables that are ours, and the files of secrets that they name.
    pub fn read(all: impl Iterator<Item = (String, String)>, problems: &mut Vec<Problem>) -> Self {
        let mut environment = Self::default();
        let in_order: BTreeMap<String, String> = all.collect();
        for (name, value) in in_order {
            let read = match name.as_str() {
                "PORT" => port(&value).map(|port| environment.port = Some(port)),
                "CONFIG_FILE" => config_file(&value).map(|path| environment.config_file = Some(path)),
                _ => environment.take(&name, &value),
            };
            problems.extend(read.err());
        }
        environment
    }

    fn take(&mut self, name: &str, value: &str) -> Result<(), Problem> {
        let lower = name.to_lowercase();
        let Some((section, key)) = lower.split_once(SEPARATOR) else { return Ok(()) };
        if !table::sections().contains(&section) {
            return Ok(());
        }
        let find = |key| table::find(section, key, str::eq_ignore_ascii_case);
        let (table, item) = key.split_once(SEPARATOR).unwrap_or_default();
        if let Some(spec) = find(table).filter(|spec| spec.shape == Shape::Table) {
            let item = item.replace(SEPARATOR, ".");
            self.claim(spec, format!("{}.{item}", spec.name), name)?;
            self.layer.set_item(spec, &item, ORIGIN, value.trim());
            return Ok(());
        }
        let secret = key.strip_suffix("_file").and_then(find).filter(|spec| spec.is_secret);
        let (spec, given) = if let Some(spec) = find(key) {
            (spec, Ok((ORIGIN.to_owned(), typed(spec, value, ','))))
        } else if let Some(spec) = secret {
            (spec, content(spec, name, value))
        } else {
            return Err(unknown(name, name, variables(section), ORIGIN));
        };
        self.claim(spec, spec.name.to_owned(), name)?;
        match given {
            Ok((origin, value)) => self.layer.set(spec, &origin, value),
            Err(what) => {
                self.layer.set(spec, name, ValueKind::Nil); // wrong, but given: not reported as missing too
                return Err(Problem::of(spec, None, what));
            }
        }
        Ok(())
    }

    /// Notes that the variable `name` sets `what`, which no other one may.
    fn claim(&mut self, spec: &Spec, what: String, name: &str) -> Result<(), Problem> {
        match self.set_by.insert(what, name.to_owned()) {
            None => Ok(()),
            Some(before) => {
                let what = format!("is set by {before} and by {name} at once");
                Err(Problem::new(spec.name, what, "keep one of the two"))
            }
        }
    }
}

fn config_file(path: &str) -> Result<PathBuf, Problem> {
    let path = path.trim();
    if path.is_empty() {
        let fix = "set it to the path of a settings file, or unset it";
        return Err(Problem::new("CONFIG_FILE", "is empty", fix));
    }
    Ok(PathBuf::from(path))
}

fn port(port: &str) -> Result<u16, Problem> {
    port.trim().parse().map_err(|_| {
        let fix = "set it to a number from 0 to 65535, or unset it and set SERVER__LISTEN";
        Problem::new("PORT", format!("is {}, which is no port", parse::shown(port)), fix)
    })
}

/// The variables of a section.
fn variables(section: &str) -> Vec<String> {
    let own = table::specs().filter(|spec| spec.path().0 == section);
    own.flat_map(|spec| {
        let file = spec.is_secret.then(|| format!("{}_FILE", spec.variable()));
        [Some(spec.variable()), file].into_iter().flatten()
    })
    .collect()
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
