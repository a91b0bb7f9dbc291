//! A table of examples for each rule, and what holds for any contact.

use std::collections::BTreeSet;

use proptest::prelude::*;
use serde_json::{Value, json};

use super::*;
use crate::fields::{CustomField, Source};
use crate::mailmojo::json::{contact_of, json_of};
use crate::model::{CustomValues, Membership};
use crate::personal::{Personal, PersonalValue};
use crate::tags::Reasons;
use crate::upstream::{Api, Body};

fn person(first: &str, last: &str, phone: &str) -> Target {
    let some = |value: &str| Some(Personal::new(value)).filter(|it| it.trimmed().is_some());
    Target { first_name: some(first), last_name: some(last), phone: some(phone), ..Target::default() }
}

/// A contact that is on the list, as an answer of Mailmojo says.
fn contact(mut answer: Value) -> Contact {
    let list = json!([{"list_id": 7, "status": "a"}]);
    answer.as_object_mut().unwrap().entry("list_associations").or_insert(list);
    contact_of("kari@example.com", 7, &Body::of(Api::Mailmojo, answer.to_string().as_bytes()), true).unwrap()
}

fn reasons(tags: &[&str]) -> Reasons {
    let why = |tag: &str| vec![crate::tags::TagReason::ProfileTag { tag: tag.to_owned() }];
    tags.iter().map(|tag| ((*tag).to_owned(), why(tag))).collect()
}

fn rules() -> Rules {
    let keep_tags = KeepTags::new(vec!["sesamy_made_single_purchase".into()]);
    Rules { create_contacts: true, keep_tags, holds_removals: false }
}

fn change(target: &Target, tags: &[&str], contact: &Contact) -> ContactChange {
    ContactChange::of(&Target { tags: reasons(tags), ..target.clone() }, contact, &rules())
}

/// What would be written to a contact that is on the list and active.
fn written(target: &Target, wanted_tags: &[&str], there: Value) -> Value {
    json_of(&change(target, wanted_tags, &contact(there)).data).into()
}

fn ours(fields: &[(&str, Option<&str>)]) -> Target {
    let one = |(name, value): &(&str, Option<&str>)| CustomField {
        name: (*name).to_owned(),
        source: Source::ActiveSkus,
        value: value.map(Personal::new),
    };
    Target { custom: fields.iter().map(one).collect(), ..Target::default() }
}

#[test]
fn names_and_phone_fill_only_what_is_absent_null_or_blank() {
    let kari = person("Kari", "Moe", "+4799988777");
    for (there, expected) in [
        (json!({}), json!({"first_name": "Kari", "last_name": "Moe", "phone": "+4799988777"})),
        (
            json!({"first_name": null, "last_name": "  ", "phone": ""}),
            json!({"first_name": "Kari", "last_name": "Moe", "phone": "+4799988777"}),
        ),
        (json!({"first_name": "K.", "last_name": "M.", "phone": "1"}), json!({})),
        (json!({"first_name": "K."}), json!({"last_name": "Moe", "phone": "+4799988777"})),
        (json!({"name": "Kari M.", "phone": "1"}), json!({})),
        (json!({"name": "Kari M.", "first_name": " ", "phone": "1"}), json!({})),
        (json!({"name": "Kari M.", "first_name": "Kari", "phone": "1"}), json!({"last_name": "Moe"})),
        (json!({"name": "Kari M.", "last_name": "M.", "phone": "1"}), json!({"first_name": "Kari"})),
        (json!({"name": " ", "phone": "1"}), json!({"first_name": "Kari", "last_name": "Moe"})),
    ] {
        assert_eq!(written(&kari, &[], there.clone()), expected, "{there}");
    }
    assert_eq!(written(&Target::default(), &[], json!({"first_name": "K."})), json!({}));
}

#[test]
fn only_our_own_tags_are_added_and_removed() {
    for (there, wanted, expected) in [
        (
            json!(["vip", "sesamy_old", "abc"]),
            vec!["sesamy_b", "sesamy_a"],
            json!({"tags": ["vip", "abc", "sesamy_a", "sesamy_b"]}),
        ),
        (json!(null), vec!["sesamy_a"], json!({"tags": ["sesamy_a"]})),
        (json!(["vip", "vip", " x "]), vec!["sesamy_a"], json!({"tags": ["vip", "vip", " x ", "sesamy_a"]})),
        (json!(["Sesamy_x", "sesamyx"]), vec![], json!({})),
        (json!(["sesamy_a", "vip", "sesamy_b"]), vec!["sesamy_b", "sesamy_a"], json!({})),
        (json!(["sesamy_a"]), vec![], json!({"tags": []})),
        (json!([]), vec![], json!({})),
    ] {
        assert_eq!(written(&Target::default(), &wanted, json!({"tags": there.clone()})), expected, "{there}");
    }
}

#[test]
fn kept_tags_stay_where_they_are_and_are_not_given_to_others() {
    assert_eq!(
        written(
            &Target::default(),
            &["sesamy_x"],
            json!({"tags": ["sesamy_made_single_purchase", "sesamy_old"]})
        ),
        json!({"tags": ["sesamy_made_single_purchase", "sesamy_x"]})
    );
    assert_eq!(written(&Target::default(), &[], json!({"tags": []})), json!({}));
    let keep = KeepTags::new(vec!["sesamy_tag_*".into(), "sesamy_exact".into()]);
    for (tag, kept) in
        [("sesamy_tag_", true), ("sesamy_tag_vip", true), ("sesamy_exact", true), ("sesamy_exact2", false)]
    {
        assert_eq!(keep.keeps(tag), kept, "{tag}");
    }
}

#[test]
fn a_change_names_its_fields_and_tags() {
    let there = contact(json!({"tags": ["sesamy_old", "own"]}));
    let change = change(&person("Kari", "", ""), &["sesamy_new"], &there);
    assert_eq!(change.data.fields(), ["first_name", "tags"]);
    assert_eq!(change.tags_that_are(TagWhy::Added), ["sesamy_new"]);
    assert_eq!(change.tags_that_are(TagWhy::Removed), ["sesamy_old"]);
}

#[test]
fn each_field_says_why_it_is_written_or_stays() {
    use FieldWhy::{ContactHasNone, ContactHasOne, ContactHasWholeName, SesamyHasNone};
    let kari = person("Kari", "", "1");
    let fields = |there| change(&kari, &[], &contact(there)).fields;
    for (there, expected) in [
        (json!({}), [ContactHasNone, SesamyHasNone, ContactHasNone]),
        (json!({"first_name": "K.", "phone": " "}), [ContactHasOne, SesamyHasNone, ContactHasNone]),
        (json!({"name": "Kari M.", "phone": "2"}), [ContactHasWholeName, SesamyHasNone, ContactHasOne]),
        (json!({"last_name": "M."}), [ContactHasNone, ContactHasOne, ContactHasNone]),
    ] {
        assert_eq!(fields(there.clone()).iter().map(|it| it.why).collect::<Vec<_>>(), expected, "{there}");
    }
    assert_eq!(
        json!(fields(json!({"first_name": "K.", "phone": " "}))),
        json!([
            {"field": "first_name", "changes": false, "why": "contact_has_one", "now": "K.", "sesamy": "Kari"},
            {"field": "last_name", "changes": false, "why": "sesamy_has_none", "now": null, "sesamy": null},
            {"field": "phone", "changes": true, "why": "contact_has_none", "now": null, "sesamy": "1"},
        ])
    );
}

#[test]
fn each_tag_says_why_it_comes_goes_or_stays() {
    let there = contact(
        json!({"tags": ["vip", "sesamy_old", "sesamy_made_single_purchase", "abc", "vip", "sesamy_b"]}),
    );
    let target = Target { tags: reasons(&["sesamy_b", "sesamy_a"]), ..Target::default() };
    for (holds_removals, old, is_held) in [(false, TagWhy::Removed, false), (true, TagWhy::Held, true)] {
        let change = ContactChange::of(&target, &there, &Rules { holds_removals, ..rules() });
        let tags: Vec<(&str, TagWhy, usize)> =
            change.tags.iter().map(|it| (it.tag.as_str(), it.why, it.reasons.len())).collect();
        assert_eq!(
            tags,
            [
                ("vip", TagWhy::SomebodyElses, 0),
                ("abc", TagWhy::SomebodyElses, 0),
                ("sesamy_a", TagWhy::Added, 1),
                ("sesamy_b", TagWhy::AlreadyThere, 1),
                ("sesamy_made_single_purchase", TagWhy::Kept, 0),
                ("sesamy_old", old, 0),
            ]
        );
        assert_eq!(change.is_held(), is_held);
    }
}

#[test]
fn each_custom_field_of_ours_says_what_it_holds_and_what_it_should() {
    let target = ours(&[("a", Some("1")), ("b", Some("1")), ("c", None), ("d", None)]);
    let there = contact(json!({"custom": {"a": 1, "b": [1], "d": true, "shoe": 38}}));
    assert_eq!(
        json!(ContactChange::of(&target, &there, &rules()).custom_fields),
        json!([
            {"name": "a", "source": "active_skus", "changes": false, "now": "1", "sesamy": "1"},
            {"name": "b", "source": "active_skus", "changes": true, "now": "[1]", "sesamy": "1"},
            {"name": "c", "source": "active_skus", "changes": false, "now": null, "sesamy": null},
            {"name": "d", "source": "active_skus", "changes": true, "now": "true", "sesamy": null},
        ])
    );
    let held = ContactChange::of(&target, &there, &Rules { holds_removals: true, ..rules() });
    let changes: Vec<(bool, bool)> = held.custom_fields.iter().map(|it| (it.changes, it.is_held)).collect();
    assert_eq!(changes, [(false, false), (true, false), (false, false), (false, true)]);
    assert_eq!(json!(held.data.custom), json!({"a": 1, "b": "1", "d": true, "shoe": 38}));
}

#[test]
fn a_custom_field_of_ours_is_written_where_it_differs_as_text_and_carries_the_others_along() {
    let plan = ours(&[("plan", Some("5"))]);
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
        assert_eq!(written(&plan, &[], json!({"custom": there})), expected, "{there}");
    }
    assert_eq!(written(&ours(&[("paid", Some("true"))]), &[], json!({"custom": {"paid": true}})), json!({}));
    let fields = ours(&[("count", Some("2")), ("none", None), ("plan", Some("Pluss"))]);
    let there = json!({"custom": {"count": 2, "none": null, "plan": "Avis"}});
    let expected = json!({"custom": {"count": 2, "none": null, "plan": "Pluss"}});
    assert_eq!(written(&fields, &[], there), expected, "what is right already is carried as it is");
}

#[test]
fn a_custom_field_of_ours_without_a_value_is_emptied_where_it_has_one_and_left_alone_where_it_has_none() {
    let plan = ours(&[("plan", None)]);
    for there in [json!(null), json!({}), json!({"plan": null}), json!({"plan": "", "shoe": 38})] {
        assert_eq!(written(&plan, &[], json!({"custom": there})), json!({}), "{there}");
    }
    for there in [json!("Pluss"), json!(0), json!(false), json!([]), json!({}), json!(" ")] {
        let custom = json!({"custom": {"plan": there, "shoe": 38}});
        assert_eq!(written(&plan, &[], custom), json!({"custom": {"plan": "", "shoe": 38}}), "{there}");
    }
}

#[test]
fn who_is_subscribed_and_who_is_only_updated() {
    let on = |status: Option<&str>| Membership::OnList(status.map(str::to_owned));
    let left = |status: &str| Placement::LeftAlone { status: status.to_owned() };
    for (account, membership, expected) in [
        (Some("a"), Membership::NotOnList, Placement::Subscribed),
        (Some("a"), Membership::Unknown, Placement::OnList),
        (Some("a"), on(Some("a")), Placement::OnList),
        (Some("a"), on(Some("u")), left("u")),
        (Some("a"), on(None), left("unknown")),
        (Some("u"), Membership::NotOnList, left("u")),
        (Some("b"), Membership::NotOnList, left("b")),
        (Some("d"), Membership::NotOnList, left("d")),
        (Some("A"), Membership::NotOnList, left("A")),
        (Some(""), Membership::NotOnList, left("")),
        (None, Membership::NotOnList, left("unknown")),
        (Some("u"), on(Some("a")), left("u")),
    ] {
        let there = Contact { status: account.map(str::to_owned), membership, ..Contact::default() };
        let plan = plan(&person("K", "", ""), Some(&there), None, &rules());
        let outcome = if expected == Placement::Subscribed { Outcome::Subscribed } else { Outcome::Updated };
        assert_eq!((plan.list.clone(), plan.outcome()), (expected, outcome), "{there:?}");
    }
    assert_eq!(json!(left("u")), json!({"decision": "left_alone", "status": "u"}));
    assert_eq!(left("u").to_string(), "never subscribed by us: the contact is unsubscribed (u)");
}

#[test]
fn nobody_there_is_created_with_everything() {
    let target = Target { tags: reasons(&["sesamy_a"]), ..person("Kari", "Moe", "1") };
    let plan = plan(&target, None, None, &rules());
    assert_eq!((&plan.list, plan.outcome()), (&Placement::Created, Outcome::Created));
    assert_eq!(
        Value::Object(json_of(&plan.write().unwrap().data)),
        json!({"first_name": "Kari", "last_name": "Moe", "phone": "1", "tags": ["sesamy_a"]})
    );
}

#[test]
fn without_create_contacts_nobody_is_created_or_subscribed() {
    let rules = Rules { create_contacts: false, ..rules() };
    let (nothing, tagged) = (Target::default(), Target { tags: reasons(&["sesamy_a"]), ..Target::default() });
    let nobody = plan(&tagged, None, None, &rules);
    assert_eq!(nobody, Plan { list: Placement::NotCreated, change: None });
    assert_eq!(nobody.outcome(), Outcome::Skipped(Reason::NotInMailmojo));
    let active = contact(json!({"status": "a", "list_associations": []}));
    let untouched = plan(&nothing, Some(&active), None, &rules);
    assert_eq!((&untouched.list, untouched.outcome()), (&Placement::NotSubscribed, Outcome::Unchanged));
    assert_eq!(plan(&tagged, Some(&active), None, &rules).outcome(), Outcome::Updated);
}

#[test]
fn a_user_who_is_blocked_is_not_put_on_the_list_and_an_existing_contact_is_kept_in_step() {
    let active = contact(json!({"status": "a", "list_associations": []}));
    for (block, list, reason) in [
        (Block::RemovedInMailmojo, Placement::RemovedInMailmojo, Reason::RemovedInMailmojo),
        (Block::TakenOffTheList, Placement::TakenOffTheList, Reason::RemovedInMailmojo),
        (Block::LeftUnderOldAddress, Placement::LeftUnderOldAddress, Reason::LeftUnderOldAddress),
    ] {
        let nobody = plan(&person("K", "", ""), None, Some(block), &rules());
        assert_eq!((&nobody.list, nobody.outcome()), (&list, Outcome::Skipped(reason)));
        let there = plan(&person("K", "", ""), Some(&active), Some(block), &rules());
        assert_eq!((there.list.clone(), there.outcome()), (list, Outcome::Updated));
    }
}

#[test]
fn an_unchanged_contact_is_left_alone() {
    let there = contact(json!({"status": "a", "first_name": "K", "tags": ["own", "sesamy_a"]}));
    let target = Target { tags: reasons(&["sesamy_a"]), ..person("Kari", "", "") };
    let plan = plan(&target, Some(&there), None, &rules());
    assert_eq!((plan.outcome(), plan.write()), (Outcome::Unchanged, None));
}

fn text() -> impl Strategy<Value = Option<Personal>> {
    prop_oneof![Just(None), Just(Some(" ".to_owned())), "[A-Za-z ]{1,6}".prop_map(Some)]
        .prop_map(|value| value.map(Personal::new))
}

fn tag() -> impl Strategy<Value = String> {
    prop_oneof![
        "sesamy_[ab]{0,2}",
        Just("sesamy_made_single_purchase".to_owned()),
        "[a-cS ]{0,3}",
        "Sesamy_[ab]"
    ]
}

fn letter() -> impl Strategy<Value = Option<String>> {
    prop_oneof![Just(None), prop_oneof!["a", "u", "b", "d", "A", ""].prop_map(Some)]
}

/// A custom field of ours or of somebody else's: the names of ours are `o1` to `o3`.
fn any_custom() -> impl Strategy<Value = Option<CustomValues>> {
    let value = prop_oneof![
        Just(Value::Null),
        "[12 ]{0,1}".prop_map(Value::from),
        (1..3).prop_map(Value::from),
        any::<bool>().prop_map(Value::from),
        Just(json!([1])),
    ];
    let fields = proptest::collection::btree_map("[os][1-3]", value.prop_map(PersonalValue::new), 0..5);
    proptest::option::of(fields)
}

fn any_ours() -> impl Strategy<Value = Vec<CustomField>> {
    let value = proptest::option::of(prop_oneof!["[12]", Just("true".to_owned())]);
    let one = |(name, value): (String, Option<String>)| CustomField {
        name,
        source: Source::ActiveProducts,
        value: value.map(Personal::new),
    };
    proptest::collection::btree_map("o[1-3]", value, 0..3)
        .prop_map(move |fields| fields.into_iter().map(one).collect())
}

fn any_membership() -> impl Strategy<Value = Membership> {
    prop_oneof![Just(Membership::Unknown), Just(Membership::NotOnList), letter().prop_map(Membership::OnList)]
}

prop_compose! {
    fn any_contact()(
        (name, first_name, last_name, phone) in (text(), text(), text(), text()),
        tags in proptest::option::of(proptest::collection::vec(tag(), 0..6)),
        (status, membership) in (letter(), any_membership()),
        custom in any_custom(),
    ) -> Contact {
        Contact { name, first_name, last_name, phone, tags, status, membership, custom, ..Contact::default() }
    }
}

prop_compose! {
    fn any_target()(
        first in text(), last in text(), phone in text(), custom in any_ours(),
        wanted in proptest::collection::btree_set("sesamy_[ab]{0,2}", 0..4),
    ) -> Target {
        let clean = |value: &Option<Personal>| crate::personal::first_present([value]);
        let wanted: Vec<&str> = wanted.iter().map(String::as_str).collect();
        let (first_name, last_name, phone) = (clean(&first), clean(&last), clean(&phone));
        Target { first_name, last_name, phone, custom, tags: reasons(&wanted) }
    }
}

fn merged(target: &Target, there: &Contact) -> ContactChange {
    ContactChange::of(target, there, &rules())
}

fn applied(contact: &Contact, change: &ContactChange) -> Contact {
    let or = |new: &Option<Personal>, old: &Option<Personal>| new.clone().or_else(|| old.clone());
    Contact {
        first_name: or(&change.data.first_name, &contact.first_name),
        last_name: or(&change.data.last_name, &contact.last_name),
        phone: or(&change.data.phone, &contact.phone),
        tags: change.data.tags.clone().or_else(|| contact.tags.clone()),
        custom: change.data.custom.clone().or_else(|| contact.custom.clone()),
        ..contact.clone()
    }
}

/// The same by an API that merges custom fields with those that are there, and does not replace them.
fn applied_by_merging(contact: &Contact, change: &ContactChange) -> Contact {
    let mut custom = contact.custom.clone().unwrap_or_default();
    custom.extend(change.data.custom.clone().unwrap_or_default());
    Contact { custom: Some(custom), ..applied(contact, change) }
}

/// Both kinds of API.
const APPLY: [fn(&Contact, &ContactChange) -> Contact; 2] = [applied, applied_by_merging];

fn own(contact: &Contact) -> Vec<String> {
    contact.tags.iter().flatten().filter(|tag| !tag.starts_with("sesamy_")).cloned().collect()
}

proptest! {
    #[test]
    fn somebody_elses_tags_survive_unchanged_and_in_order(there in any_contact(), target in any_target()) {
        let after = applied(&there, &merged(&target, &there));
        prop_assert_eq!(own(&after), own(&there));
    }

    #[test]
    fn a_name_or_phone_already_there_stays(there in any_contact(), target in any_target()) {
        let after = applied(&there, &merged(&target, &there));
        for (before, now) in [
            (&there.name, &after.name),
            (&there.first_name, &after.first_name),
            (&there.last_name, &after.last_name),
            (&there.phone, &after.phone),
        ] {
            if before.as_ref().is_some_and(|it| it.trimmed().is_some()) {
                prop_assert_eq!(before, now);
            }
        }
    }

    #[test]
    fn applying_the_change_and_merging_again_changes_nothing(there in any_contact(), target in any_target()) {
        for apply in APPLY {
            let after = apply(&there, &merged(&target, &there));
            let again = merged(&target, &after);
            prop_assert!(again.is_empty(), "{:?}", again);
            prop_assert!(!again.tags.iter().any(Tag::changes));
        }
    }

    #[test]
    fn what_is_written_is_what_the_reasons_say(there in any_contact(), target in any_target(), holds: bool) {
        let change = ContactChange::of(&target, &there, &Rules { holds_removals: holds, ..rules() });
        let data = &change.data;
        for (field, written) in change.fields.iter().zip([&data.first_name, &data.last_name, &data.phone]) {
            prop_assert_eq!(field.changes, written.is_some(), "{:?}", field);
            prop_assert!(!field.changes || field.sesamy == *written);
        }
        prop_assert_eq!(change.tags.iter().any(Tag::changes), data.tags.is_some());
        prop_assert_eq!(change.custom_fields.iter().any(|it| it.changes), data.custom.is_some());
        let after = applied(&there, &change);
        let stays = change.tags.iter().filter(|it| it.why != TagWhy::Removed).map(|it| &it.tag);
        prop_assert_eq!(stays.collect::<BTreeSet<_>>(), after.tags.iter().flatten().collect::<BTreeSet<_>>());
        prop_assert!(!holds || change.tags_that_are(TagWhy::Removed).is_empty());
    }

    #[test]
    fn somebody_elses_custom_fields_survive_unchanged(there in any_contact(), target in any_target()) {
        let theirs = |contact: &Contact| -> CustomValues {
            let is_ours = |name: &String| target.custom.iter().any(|field| field.name == *name);
            contact.custom.clone().unwrap_or_default().into_iter().filter(|(name, _)| !is_ours(name)).collect()
        };
        for apply in APPLY {
            let after = apply(&there, &merged(&target, &there));
            prop_assert_eq!(theirs(&after), theirs(&there));
        }
    }

    #[test]
    fn ours_hold_what_is_wanted(there in any_contact(), target in any_target()) {
        for apply in APPLY {
            let after = apply(&there, &merged(&target, &there));
            for field in &target.custom {
                let now = after.custom.as_ref().and_then(|custom| custom.get(&field.name));
                let now = now.and_then(|it| it.text()).unwrap_or_default();
                prop_assert_eq!(&*now, field.value.as_ref().map_or("", Personal::as_str));
            }
        }
    }

    #[test]
    fn without_custom_fields_of_ours_nothing_is_written_of_them(there in any_contact(), target in any_target()) {
        let target = Target { custom: Vec::new(), ..target };
        let bare = Contact { custom: None, ..there.clone() };
        prop_assert_eq!(merged(&target, &there), merged(&target, &bare));
        prop_assert!(merged(&target, &there).data.custom.is_none());
    }

    #[test]
    fn nobody_is_subscribed_against_their_status(
        there in any_contact(), target in any_target(), create_contacts: bool,
    ) {
        let rules = Rules { create_contacts, ..rules() };
        let plan = plan(&target, Some(&there), None, &rules);
        prop_assert!(plan.list != Placement::Created && plan.change.is_some());
        let free =
            there.status.as_deref() == Some("a") && there.membership == Membership::NotOnList && create_contacts;
        prop_assert_eq!(plan.puts_on_list(), free);
    }

    #[test]
    fn ours_are_exactly_the_wanted_and_the_kept_tags(there in any_contact(), target in any_target()) {
        let after = applied(&there, &merged(&target, &there));
        let ours: BTreeSet<String> =
            after.tags.iter().flatten().filter(|tag| tag.starts_with("sesamy_")).cloned().collect();
        let mut expected: BTreeSet<String> = target.tags.keys().cloned().collect();
        expected.extend(
            there.tags.iter().flatten().filter(|tag| *tag == "sesamy_made_single_purchase").cloned(),
        );
        prop_assert_eq!(ours, expected);
    }
}
