//! The settings as an operator may see them: each with where it comes from, and no secret.

use std::collections::{BTreeMap, BTreeSet};

use ::config::{Map, ValueKind};

use super::spec::Spec;
use super::values::Values;

/// One setting in force.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct InForce {
    /// As in `mailmojo.list_id`.
    pub name: &'static str,
    /// What it is.
    pub value: Value,
    /// Where it was set, such as `in the environment`; `None` if it is not set.
    pub origin: Option<String>,
}

/// The value of a setting, as far as it may be shown.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Value {
    /// This one; lists are joined by commas.
    Shown(String),
    /// This many secrets.
    Hidden(usize),
    /// Not set.
    Unset,
}

/// All settings, in the order of `specs`.
pub(super) fn list(specs: impl Iterator<Item = &'static Spec>, values: &Values) -> Vec<InForce> {
    specs.map(|spec| in_force(spec, values)).collect()
}

fn in_force(spec: &Spec, values: &Values) -> InForce {
    let given = values.given(spec);
    let origin = given.as_ref().and_then(|given| given.origin().map(str::to_owned));
    let (value, origin) = match given.map(|given| given.kind) {
        None => (Value::Unset, None),
        Some(ValueKind::Table(items)) if items.is_empty() => (Value::Unset, None),
        Some(ValueKind::Table(items)) => items_of(&items),
        Some(kind) if spec.is_secret => (hidden(&kind), origin),
        Some(ValueKind::Array(items)) => {
            (Value::Shown(items.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ")), origin)
        }
        Some(single) => (Value::Shown(single.to_string().trim().to_owned()), origin),
    };
    InForce { name: spec.name, value, origin }
}

/// Each name of a table with its value, and every place where one of them was set.
fn items_of(items: &Map<String, ::config::Value>) -> (Value, Option<String>) {
    let items: BTreeMap<_, _> = items.iter().collect();
    let all: Vec<_> = items.iter().map(|(name, item)| format!("{name} = {item}")).collect();
    let origins: BTreeSet<_> = items.values().filter_map(|item| item.origin()).collect();
    (Value::Shown(all.join(", ")), Some(origins.into_iter().collect::<Vec<_>>().join(", ")))
}

/// The path of an SQLite file is no secret, though the address of a database, which stands in the same place, is one.
fn hidden(kind: &ValueKind) -> Value {
    match kind {
        ValueKind::String(text) if text.trim().starts_with("sqlite://") => {
            Value::Shown(text.trim().to_owned())
        }
        ValueKind::Array(items) => Value::Hidden(items.len()),
        _ => Value::Hidden(1),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::{self, table};

    fn in_force(env: &[(&str, &str)]) -> Vec<InForce> {
        let complete = [
            ("WEBHOOK__BEARER_TOKENS", "hidden-bearer-1-of-2,hidden-bearer-2-of-2"),
            ("SESAMY__CLIENT_ID", "hidden-client"),
            ("SESAMY__CLIENT_SECRET", "hidden-sesamy"),
            ("MAILMOJO__API_TOKEN", "hidden-mailmojo"),
            ("MAILMOJO__LIST_ID", " 7 "),
            ("ADMIN__TOKENS", "hidden-admin-token"),
        ];
        let all = complete.iter().chain(env).map(|(name, value)| ((*name).to_owned(), (*value).to_owned()));
        config::load(None, all).unwrap().settings.in_force
    }

    #[test]
    fn every_setting_is_shown_with_where_it_comes_from_and_no_secret_is() {
        let all = in_force(&[("QUEUE__URL", "postgres://queue:hidden@db.example.com/queue")]);
        let names: Vec<_> = all.iter().map(|one| one.name).collect();
        assert_eq!(names, table::specs().map(|spec| spec.name).collect::<Vec<_>>());
        assert!(
            !format!("{all:?}").contains("hidden-") && !format!("{all:?}").contains(":hidden@"),
            "{all:?}"
        );
        let of = |name: &str| all.iter().find(|one| one.name == name).unwrap();
        assert_eq!(of("webhook.bearer_tokens").value, Value::Hidden(2));
        assert_eq!(of("queue.url").value, Value::Hidden(1));
        assert_eq!(of("sesamy.vendor_id").value, Value::Unset);
        assert_eq!(of("sesamy.guest_user_id_prefixes").value, Value::Shown("guest|, guest_".to_owned()));
        assert_eq!(of("mailmojo.list_id").value, Value::Shown("7".to_owned()));
        assert_eq!(of("mailmojo.list_id").origin.as_deref(), Some("in the environment"));
        assert_eq!(
            (&of("mailmojo.custom_fields").value, &of("mailmojo.custom_fields").origin),
            (&Value::Unset, &None)
        );
        assert_eq!(of("sync.debounce").origin.as_deref(), Some("in the defaults"));
    }

    #[test]
    fn custom_fields_are_shown_with_their_sources() {
        let all = in_force(&[
            ("MAILMOJO__CUSTOM_FIELDS__PLAN", "active_products"),
            ("MAILMOJO__CUSTOM_FIELDS__CITY", "billing_city"),
        ]);
        let fields = all.iter().find(|one| one.name == "mailmojo.custom_fields").unwrap();
        assert_eq!(fields.value, Value::Shown("city = billing_city, plan = active_products".to_owned()));
        assert_eq!(fields.origin.as_deref(), Some("in the environment"));
    }

    #[test]
    fn the_port_that_overrides_is_the_one_in_force_and_a_files_path_is_no_secret() {
        let all = in_force(&[("PORT", "81"), ("QUEUE__URL", "sqlite:///data/queue.db")]);
        let of = |name: &str| all.iter().find(|one| one.name == name).unwrap().value.clone();
        assert_eq!(of("server.listen"), Value::Shown("0.0.0.0:81".to_owned()));
        assert_eq!(of("queue.url"), Value::Shown("sqlite:///data/queue.db".to_owned()));
    }
}
