//! The merge of custom fields: ours hold what Sesamy says, whatever was there; all others stay as they are.
//!
//! Whether a write replaces all of them or is merged with what is there is not published (assumed: either). So a write that
//! changes any carries the others too, as they are.

use crate::fields::CustomField;
use crate::mailmojo::models::{Contact, Custom};
use crate::personal::PersonalValue;

/// All custom fields of `contact` as they should be; none where ours are so already.
pub(super) fn next(ours: &[CustomField], contact: &Contact) -> Option<Custom> {
    let changes: Vec<&CustomField> = ours.iter().filter(|field| changes(field, contact)).collect();
    if changes.is_empty() {
        return None;
    }
    let mut next = contact.custom.clone().unwrap_or_default();
    for field in changes {
        let value = field.value.as_ref().map_or("", |value| value.as_str());
        next.insert(field.name.clone(), PersonalValue::new(value));
    }
    Some(next)
}

/// The names of those that have a value and are to have none.
pub(super) fn cleared(ours: &[CustomField], contact: &Contact) -> Vec<String> {
    let cleared = ours.iter().filter(|field| field.value.is_none() && changes(field, contact));
    cleared.map(|field| field.name.clone()).collect()
}

/// Whether `field` holds something else than it should: compared as text, for a number may come back as such. Absent, null
/// and the empty text are alike.
pub(super) fn changes(field: &CustomField, contact: &Contact) -> bool {
    match (now(field, contact), &field.value) {
        (None, wanted) => wanted.is_some(),
        (Some(_), None) => true,
        (Some(now), Some(wanted)) => now.text().as_deref() != Some(wanted.as_str()),
    }
}

/// What `field` holds now; none where that is nothing.
pub(super) fn now<'a>(field: &CustomField, contact: &'a Contact) -> Option<&'a PersonalValue> {
    contact.custom.as_ref()?.get(&field.name).filter(|value| !value.is_empty())
}

#[cfg(test)]
mod tests {
    use super::super::{KeepTags, Person, change};
    use super::*;
    use crate::fields::Source;
    use crate::personal::Personal;
    use serde_json::{Value, json};

    fn ours(fields: &[(&str, Option<&str>)]) -> Vec<CustomField> {
        let one = |(name, value): &(&str, Option<&str>)| CustomField {
            name: (*name).to_owned(),
            source: Source::ActiveProducts,
            value: value.map(Personal::new),
        };
        fields.iter().map(one).collect()
    }

    /// The write that follows where the contact has `custom`.
    fn written(fields: &[(&str, Option<&str>)], custom: &Value) -> Value {
        let there = Contact { custom: serde_json::from_value(custom.clone()).unwrap(), ..Contact::default() };
        let person = Person { custom: ours(fields), ..Person::default() };
        let change = change(&person, &[].into(), &there, &KeepTags::default());
        assert_eq!(change.is_empty(), change.fields().is_empty());
        serde_json::to_value(change.data).unwrap()
    }

    #[test]
    fn a_field_of_ours_is_written_where_it_differs_as_text_and_carries_the_others_along() {
        let plan = [("plan", Some("5"))];
        for (there, expected) in [
            (json!(null), json!({"custom": {"plan": "5"}})),
            (json!({}), json!({"custom": {"plan": "5"}})),
            (json!({"plan": null}), json!({"custom": {"plan": "5"}})),
            (json!({"plan": "4", "shoe": 38}), json!({"custom": {"plan": "5", "shoe": 38}})),
            (json!({"shoe": null, "hat": [1]}), json!({"custom": {"plan": "5", "shoe": null, "hat": [1]}})),
            (json!({"plan": ["5"]}), json!({"custom": {"plan": "5"}})),
            (json!({"plan": 5.0}), json!({"custom": {"plan": "5"}})),
            (json!({"Plan": "4"}), json!({"custom": {"plan": "5", "Plan": "4"}})),
            (json!({"plan": "5", "shoe": 38}), json!({})),
            (json!({"plan": 5}), json!({})),
        ] {
            assert_eq!(written(&plan, &there), expected, "{there}");
        }
        assert_eq!(written(&[("paid", Some("true"))], &json!({"paid": true})), json!({}));
    }

    #[test]
    fn a_field_of_ours_without_a_value_is_emptied_where_it_has_one_and_left_alone_where_it_has_none() {
        let plan = [("plan", None)];
        for there in [json!(null), json!({}), json!({"plan": null}), json!({"plan": "", "shoe": 38})] {
            assert_eq!(written(&plan, &there), json!({}), "{there}");
        }
        for there in [json!("Pluss"), json!(0), json!(false), json!([]), json!({}), json!(" ")] {
            let custom = json!({"plan": there, "shoe": 38});
            assert_eq!(written(&plan, &custom), json!({"custom": {"plan": "", "shoe": 38}}), "{there}");
        }
    }

    #[test]
    fn what_of_ours_is_right_already_is_carried_as_it_is() {
        let fields = [("count", Some("2")), ("none", None), ("plan", Some("Pluss"))];
        let there = json!({"count": 2, "none": null, "plan": "Avis"});
        assert_eq!(written(&fields, &there), json!({"custom": {"count": 2, "none": null, "plan": "Pluss"}}));
    }

    #[test]
    fn a_change_tells_which_fields_lose_their_value() {
        let there = Contact {
            custom: serde_json::from_value(json!({"a": "x", "b": "x", "c": ""})).unwrap(),
            ..Contact::default()
        };
        let fields = ours(&[("a", None), ("b", Some("y")), ("c", None), ("d", None)]);
        assert_eq!(cleared(&fields, &there), ["a"]);
        assert_eq!(change_fields(&fields, &there), ["custom"]);
    }

    fn change_fields(fields: &[CustomField], there: &Contact) -> Vec<&'static str> {
        let person = Person { custom: fields.to_vec(), ..Person::default() };
        change(&person, &[].into(), there, &KeepTags::default()).fields()
    }
}
