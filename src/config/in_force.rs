//! The settings as an operator may see them: each with where it comes from, and no secret.

use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;

use ::config::{Map, ValueKind};

use super::reader::Reader;
use super::table::{SETTINGS, Spec};

/// One setting in force.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct InForce {
    /// As in `mailmojo.list_id`.
    pub name: String,
    /// What it is.
    pub value: Value,
    /// Where it was set, such as `in the environment`; none where it is not set.
    pub origin: Option<String>,
}

/// The value of a setting, as far as it may be shown.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Value {
    /// This one; lists are joined by commas.
    Shown(String),
    /// A secret, or so many.
    Hidden(usize),
    /// None.
    Unset,
}

/// All settings in the order of the table; `listen` is the server's address where `PORT` has changed it.
pub(super) fn list(reader: &Reader, listen: Option<SocketAddr>) -> Vec<InForce> {
    let one = |spec: &Spec| match (spec.name().as_str(), listen) {
        ("server.listen", Some(listen)) => InForce {
            name: spec.name(),
            value: Value::Shown(listen.to_string()),
            origin: Some("PORT in the environment".to_owned()),
        },
        _ => in_force(spec, reader),
    };
    SETTINGS.iter().map(one).collect()
}

fn in_force(spec: &Spec, reader: &Reader) -> InForce {
    let given = reader.value(spec);
    if let Some(ValueKind::Table(items)) = given.map(|given| &given.kind) {
        return table(spec, items);
    }
    let value = given
        .map_or(Value::Unset, |given| if spec.secret { hidden(&given.kind) } else { shown(&given.kind) });
    InForce { name: spec.name(), value, origin: given.and_then(|given| given.origin().map(str::to_owned)) }
}

/// Each name with its value, and every place where one of them was set.
fn table(spec: &Spec, items: &Map<String, ::config::Value>) -> InForce {
    let items: BTreeMap<&String, &::config::Value> = items.iter().collect();
    let all: Vec<String> = items.iter().map(|(name, item)| format!("{name} = {item}")).collect();
    let origins: BTreeSet<&str> = items.values().filter_map(|item| item.origin()).collect();
    let origins = origins.into_iter().collect::<Vec<_>>().join(", ");
    let (value, origin) =
        if all.is_empty() { (Value::Unset, None) } else { (Value::Shown(all.join(", ")), Some(origins)) };
    InForce { name: spec.name(), value, origin }
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

fn shown(kind: &ValueKind) -> Value {
    match kind {
        ValueKind::Array(items) => {
            Value::Shown(items.iter().map(|item| item.to_string()).collect::<Vec<_>>().join(", "))
        }
        other => Value::Shown(other.to_string().trim().to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::Settings;

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
        Settings::load(None, all).unwrap().settings.in_force
    }

    #[test]
    fn every_setting_is_shown_with_where_it_comes_from_and_no_secret_is() {
        let all = in_force(&[("QUEUE__URL", "postgres://queue:hidden@db.example.com/queue")]);
        let names: Vec<String> = all.iter().map(|one| one.name.clone()).collect();
        assert_eq!(names, SETTINGS.iter().map(Spec::name).collect::<Vec<_>>());
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
