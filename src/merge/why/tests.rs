//! Examples of what is told, and that it is what is done, for any contact.

use proptest::prelude::*;
use serde_json::json;

use super::super::tests::{any_contact, any_membership, any_person, any_wanted, contact, person, rules, set};
use super::super::{Change, Plan, plan};
use super::*;

fn reasons(wanted: &BTreeSet<String>) -> Reasons {
    let why = |tag: &String| Reason::ProfileTag { tag: tag.clone() };
    wanted.iter().map(|tag| (tag.clone(), vec![why(tag)])).collect()
}

#[test]
fn each_field_tells_why_it_is_written_or_stays() {
    use FieldWhy::{ContactHasNone, ContactHasOne, ContactHasWholeName, SesamyHasNone};
    let kari = person("Kari", "", "1");
    for (there, expected) in [
        (json!({}), [ContactHasNone, SesamyHasNone, ContactHasNone]),
        (json!({"first_name": "K.", "phone": " "}), [ContactHasOne, SesamyHasNone, ContactHasNone]),
        (json!({"name": "Kari M.", "phone": "2"}), [ContactHasWholeName, SesamyHasNone, ContactHasOne]),
        (json!({"last_name": "M."}), [ContactHasNone, ContactHasOne, ContactHasNone]),
    ] {
        let told = fields(&kari, &contact(there.clone()));
        assert_eq!(told.iter().map(|it| it.why).collect::<Vec<_>>(), expected, "{there}");
        assert_eq!(told.iter().map(|it| it.field).collect::<Vec<_>>(), ["first_name", "last_name", "phone"]);
    }
    let told =
        serde_json::to_value(fields(&kari, &contact(json!({"first_name": "K.", "phone": " "})))).unwrap();
    assert_eq!(
        told,
        json!([
            {"field": "first_name", "changes": false, "why": "contact_has_one", "now": "K.", "sesamy": "Kari"},
            {"field": "last_name", "changes": false, "why": "sesamy_has_none", "now": null, "sesamy": null},
            {"field": "phone", "changes": true, "why": "contact_has_none", "now": null, "sesamy": "1"},
        ])
    );
}

#[test]
fn each_custom_field_of_ours_tells_what_it_holds_and_what_it_should() {
    let ours = |name: &str, value: Option<&str>| CustomField {
        name: name.to_owned(),
        source: Source::ActiveSkus,
        value: value.map(Personal::new),
    };
    let custom = vec![ours("a", Some("1")), ours("b", Some("1")), ours("c", None), ours("d", None)];
    let person = Person { custom, ..Person::default() };
    let there = Contact {
        custom: serde_json::from_value(json!({"a": 1, "b": [1], "d": true, "shoe": 38})).unwrap(),
        ..Contact::default()
    };
    let membership = Membership::NotOnList;
    let told = explain(&person, &Reasons::new(), Some((&there, &membership)), None, &rules());
    assert_eq!(
        serde_json::to_value(told.custom_fields).unwrap(),
        json!([
            {"name": "a", "source": "active_skus", "changes": false, "now": "1", "sesamy": "1"},
            {"name": "b", "source": "active_skus", "changes": true, "now": "[1]", "sesamy": "1"},
            {"name": "c", "source": "active_skus", "changes": false, "now": null, "sesamy": null},
            {"name": "d", "source": "active_skus", "changes": true, "now": "true", "sesamy": null},
        ])
    );
    let nobody = explain(&person, &Reasons::new(), None, None, &Rules { create_contacts: false, ..rules() });
    assert_eq!(nobody.custom_fields, []);
}

#[test]
fn each_tag_tells_why_it_comes_goes_or_stays() {
    let there = contact(
        json!({"tags": ["vip", "sesamy_old", "sesamy_made_single_purchase", "abc", "vip", "sesamy_b"]}),
    );
    let told = tags(&reasons(&set(&["sesamy_b", "sesamy_a"])), &there, &rules());
    let told: Vec<(&str, TagWhy, usize)> =
        told.iter().map(|it| (it.tag.as_str(), it.why, it.reasons.len())).collect();
    assert_eq!(
        told,
        [
            ("vip", TagWhy::SomebodyElses, 0),
            ("abc", TagWhy::SomebodyElses, 0),
            ("sesamy_a", TagWhy::Added, 1),
            ("sesamy_b", TagWhy::AlreadyThere, 1),
            ("sesamy_made_single_purchase", TagWhy::Kept, 0),
            ("sesamy_old", TagWhy::Removed, 0),
        ]
    );
}

#[test]
fn the_list_tells_who_is_put_on_it_and_who_is_left_alone() {
    let on = |status: &str| Membership::OnList(Some(status.to_owned()));
    let left = |status: &str| List::LeftAlone { status: status.to_owned() };
    for (account, membership, create_contacts, expected) in [
        ("a", Membership::NotOnList, true, List::Subscribed),
        ("a", Membership::NotOnList, false, List::NotSubscribed),
        ("a", on("a"), true, List::OnList),
        ("a", on("u"), true, left("u")),
        ("b", Membership::NotOnList, true, left("b")),
        ("d", on("a"), false, left("d")),
    ] {
        let rules = Rules { create_contacts, ..rules() };
        let there = contact(json!({"status": account}));
        assert_eq!(list(Some((&there, &membership)), None, &rules), expected, "{account} {membership:?}");
    }
    assert_eq!(list(None, None, &rules()), List::Created);
    assert_eq!(list(None, None, &Rules { create_contacts: false, ..rules() }), List::NotCreated);
    assert_eq!(serde_json::to_value(left("u")).unwrap(), json!({"decision": "left_alone", "status": "u"}));
    assert_eq!(left("u").to_string(), "never subscribed by us: the contact is unsubscribed (u)");
}

proptest! {
    #[test]
    fn what_is_told_to_change_is_what_the_plan_changes(
        there in proptest::option::of((any_contact(), any_membership())), person in any_person(),
        wanted in any_wanted(), create_contacts: bool,
    ) {
        let rules = Rules { create_contacts, ..rules() };
        let there = there.as_ref().map(|(contact, membership)| (contact, membership));
        let plan = plan(&person, &wanted, there, None, &rules);
        let told = explain(&person, &reasons(&wanted), there, None, &rules);

        let nothing = Change::default();
        let change = plan.change().unwrap_or(&nothing);
        let data = &change.data;
        for (field, written) in told.fields.iter().zip([&data.first_name, &data.last_name, &data.phone]) {
            prop_assert_eq!(field.changes, written.is_some(), "{:?}", field);
            prop_assert!(!field.changes || field.sesamy == *written);
        }
        prop_assert!(!told.fields.is_empty() || *data == nothing.data);
        prop_assert_eq!(told.custom_fields.iter().any(|it| it.changes), data.custom.is_some());
        for field in told.custom_fields.iter().filter(|it| it.changes) {
            let written = data.custom.as_ref().and_then(|custom| custom.get(&field.name)).and_then(|it| it.text());
            prop_assert_eq!(written.as_deref(), Some(field.sesamy.as_ref().map_or("", Personal::as_str)));
            prop_assert_eq!(change.cleared.contains(&field.name), field.sesamy.is_none());
        }
        let of = |why: TagWhy| -> Vec<String> {
            told.tags.iter().filter(|it| it.why == why).map(|it| it.tag.clone()).collect()
        };
        prop_assert_eq!(of(TagWhy::Added), change.tags_added.clone());
        prop_assert_eq!(of(TagWhy::Removed), change.tags_removed.clone());
        if let Some(after) = &data.tags {
            let stays = |it: &&Tag| it.why != TagWhy::Removed;
            let told: BTreeSet<&String> = told.tags.iter().filter(stays).map(|it| &it.tag).collect();
            prop_assert_eq!(told, after.iter().collect::<BTreeSet<_>>());
        }
        prop_assert_eq!(told.tags.iter().any(Tag::changes), data.tags.is_some());
        prop_assert_eq!(told.list == List::Created, matches!(plan, Plan::Create(_)));
        prop_assert_eq!(told.list == List::Subscribed, matches!(plan, Plan::Subscribe(_)));
        prop_assert_eq!(told.list == List::NotCreated, plan == Plan::NotCreated(crate::merge::NotCreated::NotWanted));
    }
}
