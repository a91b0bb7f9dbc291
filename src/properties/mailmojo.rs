//! Whatever Mailmojo answers, a contact is changed only in what it lacks, nobody is subscribed against their status, and
//! nothing but identifiers is kept of an error.
//!
//! Input: the answer. It is read as a contact, a subscriber, a list and an error.

use std::collections::BTreeSet;

use serde_json::{Value, json};

use super::MARK;
use super::sesamy::quotes_nothing;
use crate::address;
use crate::fields::{CustomField, Source};
use crate::mailmojo::FIELD_NAMES;
use crate::mailmojo::json::{List, Subscriber, contact_of};
use crate::merge::{self, ContactChange, KeepTags, Placement, Rules, Target};
use crate::model::{Contact, ContactData};
use crate::personal::Personal;
use crate::upstream::error_body::Said;
use crate::upstream::{Api, Body, Class, Failure, Object};

const EMAIL: &str = "canary@example.com";
const LIST: u64 = 7;

pub fn hold(data: &[u8]) {
    let body = Body::of(Api::Mailmojo, data);
    for failure in [
        body.read::<Object<Subscriber>>().err(),
        body.read::<Object<List>>().err(),
        body.read::<Value>().err(),
    ] {
        failure.iter().for_each(quotes_nothing);
    }
    an_error_is_logged_without_its_sentences(data);
    for reads_custom in [false, true] {
        match contact_of(EMAIL, LIST, &body, reads_custom) {
            Err(failure) => quotes_nothing(&failure),
            Ok(contact) => {
                // What is passed over may hold what no `Value` can: half a character, a number without end.
                let Ok(raw) = serde_json::from_slice::<Value>(data) else { continue };
                is_read_as_it_is(&contact, &raw);
                let custom = if reads_custom { raw["custom"].clone() } else { Value::Null };
                assert_eq!(json!(contact.custom), custom);
                is_merged_well(&contact, &raw, reads_custom);
            }
        }
    }
}

fn an_error_is_logged_without_its_sentences(data: &[u8]) {
    let said = Said::in_body(data, FIELD_NAMES, &[]);
    let failure = Failure::new(Api::Mailmojo, Class::Permanent, "refused").with_status(422).with_said(said);
    assert!(!format!("{failure:?}").to_lowercase().contains(MARK));
    for logged in [failure.to_string(), failure.answer()] {
        let is_of_an_identifier = |c: char| c.is_ascii_alphanumeric() || "_-. :;,()".contains(c);
        assert!(logged.chars().all(is_of_an_identifier), "{logged}");
        let mut fields =
            logged.split_once("fields ").map_or("", |(_, fields)| fields.trim_end_matches(')')).split(", ");
        assert!(fields.all(|name| name.is_empty() || FIELD_NAMES.contains(&name)), "{logged}");
    }
}

/// The contact says what the JSON says, and the JSON says whose it is.
fn is_read_as_it_is(contact: &Contact, raw: &Value) {
    let own = raw["email"].as_str();
    assert!(own.is_none_or(|own| address::is_same(own, EMAIL)), "another address");
    assert!(own.is_some() || raw["status"].is_string() || raw["list_associations"].is_array(), "nobody's");
    let text = |field: &Option<Personal>| field.as_ref().map_or(Value::Null, |it| json!(it.as_str()));
    assert_eq!(text(&contact.first_name), raw["first_name"]);
    assert_eq!(text(&contact.last_name), raw["last_name"]);
    assert_eq!(text(&contact.phone), raw["phone"]);
    assert_eq!(json!(contact.tags), raw["tags"]);
    assert_eq!(json!(contact.status), raw["status"]);
}

fn is_merged_well(contact: &Contact, raw: &Value, reads_custom: bool) {
    let wanted: BTreeSet<String> = ["sesamy_active_subscriber", "sesamy_tag_new"].map(str::to_owned).into();
    let own = |value: &str| Some(Personal::new(value));
    let ours = [("plan", own("Canary Plus")), ("none", None)].map(|(name, value)| CustomField {
        name: name.to_owned(),
        source: Source::ActiveProducts,
        value,
    });
    let target = Target {
        first_name: own("Canary"),
        last_name: own("Moe"),
        phone: own("+4790090091"),
        custom: if reads_custom { ours.to_vec() } else { Vec::new() },
        tags: wanted.iter().map(|tag| (tag.clone(), vec![])).collect(),
    };
    let present: Vec<String> = contact.tags.clone().unwrap_or_default();
    let is_blank = |field: &str| raw[field].as_str().is_none_or(|text| text.trim().is_empty());

    for create_contacts in [true, false] {
        let rules = Rules { create_contacts, keep_tags: KeepTags::default(), holds_removals: false };
        let plan = merge::plan(&target, Some(contact), None, &rules);
        let ids = raw["list_associations"].as_array().map(|all| {
            all.iter().map(|it| it["list_id"].as_u64().or_else(|| it["list_id"].as_str()?.parse().ok()))
        });
        let is_on_list = ids.is_some_and(|mut ids| ids.any(|id| id == Some(LIST)));
        if plan.puts_on_list() {
            assert!(create_contacts && !is_on_list && raw["status"] == "a", "against their will: {raw}");
            assert!(raw["list_associations"].is_array(), "nothing is said of lists: {raw}");
        }
        assert!(plan.list != Placement::Created, "the contact is there");
        let Some(change) = plan.write() else { continue };
        let ContactData { first_name, last_name, phone, tags, custom } = &change.data;
        let has_name = !is_blank("name") && is_blank("first_name") && is_blank("last_name");
        assert!(first_name.is_none() || is_blank("first_name") && !has_name, "a name that was there");
        assert!(last_name.is_none() || is_blank("last_name") && !has_name, "a name that was there");
        assert!(phone.is_none() || is_blank("phone"), "a phone that was there");
        if let Some(tags) = tags {
            super::tags::merged_well(&present, &wanted, tags);
        }

        if let Some(custom) = custom {
            let mut expected = raw["custom"].as_object().cloned().unwrap_or_default();
            expected.insert("plan".to_owned(), "Canary Plus".into());
            if let Some(none) = expected.get_mut("none").filter(|none| !none.is_null()) {
                *none = "".into();
            }
            assert!(reads_custom && json!(custom) == Value::Object(expected), "somebody else's custom field");
        }

        let mut after = contact.clone();
        let set = |field: &mut Option<Personal>, to: &Option<Personal>| {
            if to.is_some() {
                field.clone_from(to);
            }
        };
        set(&mut after.first_name, first_name);
        set(&mut after.last_name, last_name);
        set(&mut after.phone, phone);
        if tags.is_some() {
            after.tags.clone_from(tags);
        }
        if custom.is_some() {
            after.custom.clone_from(custom);
        }
        assert!(ContactChange::of(&target, &after, &rules).is_empty(), "never done");
    }
}
