//! `mailmojo.custom_fields`: the one setting that is a table, with names that the publisher chooses.

use std::collections::BTreeMap;

use ::config::{Value, ValueKind};
use strum::VariantNames;

use super::nearest::nearest;
use super::parse::{Parsed, kind, shown, text};
use crate::fields::{CustomFields, Source};

/// In characters.
const LONGEST_NAME: usize = 64;

/// Each name with its source, or everything that is wrong.
pub(super) fn parse(value: &Value) -> Parsed<CustomFields> {
    let given = match &value.kind {
        ValueKind::Table(given) => given,
        ValueKind::String(text) if text.trim().is_empty() => return Err("is empty".to_owned()),
        other => {
            return Err(format!("is {}, but has to be a table of names and sources", kind(other)));
        }
    };
    let (mut fields, mut faults) = (BTreeMap::new(), Vec::new());
    let mut by_letters: BTreeMap<String, &str> = BTreeMap::new();
    let given: BTreeMap<&String, &Value> = given.iter().collect(); // a map's own order changes from run to run
    for (name, value) in given {
        let origin = value.origin().map(|origin| format!(" ({origin})")).unwrap_or_default();
        let quoted = shown(name);
        if let Err(what) = check_name(name) {
            faults.push(format!("has {what}{origin}"));
        } else if let Some(other) = by_letters.insert(name.to_lowercase(), name) {
            let other = shown(other);
            faults.push(format!("has {other} and {quoted}, which differ in letter case only{origin}"));
        }
        match source(value) {
            Ok(source) => _ = fields.insert(name.clone(), source),
            Err(what) => faults.push(format!("has {quoted}, which {what}{origin}")),
        }
    }
    if faults.is_empty() { Ok(CustomFields::new(fields)) } else { Err(faults.join("; and it ")) }
}

fn check_name(name: &str) -> Parsed<()> {
    let is_odd = |c: char| !c.is_alphanumeric() && !matches!(c, '_' | '-' | ' ');
    if name.trim().is_empty() {
        Err("a field without a name".to_owned())
    } else if name.trim() != name || name.contains(is_odd) {
        let quoted = shown(name);
        Err(format!("the name {quoted}, where letters, digits, _, - and spaces inside make a name"))
    } else if name.chars().count() > LONGEST_NAME {
        Err(format!("the name {}, which is longer than {LONGEST_NAME} characters", shown(name)))
    } else {
        Ok(())
    }
}

fn source(value: &Value) -> Parsed<Source> {
    let name = text(value)?;
    name.parse().map_err(|_| {
        let meant = nearest(&name, Source::VARIANTS.iter().copied());
        let meant = meant.map(|meant| format!("; did you mean {meant}?")).unwrap_or_default();
        format!("is {}, no source{meant}", shown(&name))
    })
}
