//! `mailmojo.custom_fields`: the one setting that is a table, with names that the publisher chooses.

use std::collections::BTreeMap;

use ::config::{Map, Value, ValueKind};
use strum::VariantNames;

use super::reader::Reader;
use super::{parse, table};
use crate::fields::{Answer, CustomFields, Source};

const NAME: &str = "mailmojo.custom_fields";
/// Longer ones are no names any more.
const LONGEST_NAME: usize = 64;

/// The fields and their sources. None: something is wrong, each of it kept as a problem.
pub(super) fn custom_fields(reader: &mut Reader) -> Option<CustomFields> {
    let given = match table::by_name(NAME).and_then(|spec| reader.value(spec)).map(|value| value.kind.clone())
    {
        None => return Some(CustomFields::default()),
        Some(ValueKind::Nil) => return None, // its source has told why
        Some(ValueKind::Table(given)) => given,
        Some(ValueKind::String(text)) if text.trim().is_empty() => {
            reader.fault(NAME, "is empty");
            return None;
        }
        Some(other) => {
            reader.fault(
                NAME,
                format!("is {}, but has to be a table of names and sources", parse::kind(&other)),
            );
            return None;
        }
    };
    let derives = table::by_name("sesamy.derive_tags").and_then(|spec| reader.value(spec));
    let derives = derives.and_then(|value| parse::boolean(value).ok()).unwrap_or(true); // a wrong one is told there
    match read(&given, derives) {
        Ok(fields) => Some(CustomFields::new(fields)),
        Err(faults) => {
            faults.into_iter().for_each(|what| reader.fault(NAME, what));
            None
        }
    }
}

/// Each name with its source, or everything that is wrong.
fn read(given: &Map<String, Value>, derives: bool) -> Result<BTreeMap<String, Source>, Vec<String>> {
    let (mut fields, mut faults) = (BTreeMap::new(), Vec::new());
    let mut by_letters: BTreeMap<String, &str> = BTreeMap::new();
    let given: BTreeMap<&String, &Value> = given.iter().collect(); // a map's own order changes from run to run
    for (name, value) in given {
        let origin = value.origin().map(|origin| format!(" ({origin})")).unwrap_or_default();
        let shown = parse::shown(name);
        if let Err(what) = check_name(name) {
            faults.push(format!("has {what}{origin}"));
        } else if let Some(other) = by_letters.insert(name.to_lowercase(), name) {
            let other = parse::shown(other);
            faults.push(format!("has {other} and {shown}, which differ in letter case only{origin}"));
        }
        match source(value) {
            Err(what) => faults.push(format!("has {shown}, which {what}{origin}")),
            Ok(source) if !derives && source.answer() != Answer::Profile => faults.push(format!(
                "has {shown} from {source}, which is read from contracts and entitlements, while sesamy.derive_tags \
                 is false: only the profile is read{origin}"
            )),
            Ok(source) => _ = fields.insert(name.clone(), source),
        }
    }
    if faults.is_empty() { Ok(fields) } else { Err(faults) }
}

fn check_name(name: &str) -> Result<(), String> {
    let is_odd = |c: char| !c.is_alphanumeric() && !matches!(c, '_' | '-' | ' ');
    if name.trim().is_empty() {
        Err("a field without a name".to_owned())
    } else if name.trim() != name || name.contains(is_odd) {
        let shown = parse::shown(name);
        Err(format!("the name {shown}, where letters, digits, _, - and spaces inside make a name"))
    } else if name.chars().count() > LONGEST_NAME {
        Err(format!("the name {}, which is longer than {LONGEST_NAME} characters", parse::shown(name)))
    } else {
        Ok(())
    }
}

fn source(value: &Value) -> Result<Source, String> {
    let name = parse::text(value)?;
    name.parse().map_err(|_| {
        let meant = table::nearest(&name, Source::VARIANTS.iter().copied());
        let meant = meant.map(|meant| format!("; did you mean {meant}?")).unwrap_or_default();
        format!("is {}, no source{meant}", parse::shown(&name))
    })
}
