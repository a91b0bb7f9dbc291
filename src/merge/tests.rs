//! A table of examples for each rule, and what holds for any contact.

use proptest::prelude::*;
use serde_json::{Value, json};

use super::*;
use crate::fields::Source;
use crate::mailmojo::models::Custom;
use crate::personal::PersonalValue;

pub(super) fn person(first: &str, last: &str, phone: &str) -> Person {
    let some = |value: &str| Some(Personal::new(value)).filter(|it| it.trimmed().is_some());
    Person { first_name: some(first), last_name: some(last), phone: some(phone), ..Person::default() }
}

pub(super) fn contact(value: Value) -> Contact {
    serde_json::from_value(value).unwrap()
}

pub(super) fn set(tags: &[&str]) -> BTreeSet<String> {
    tags.iter().map(|tag| (*tag).to_owned()).collect()
}

pub(super) fn rules() -> Rules {
    Rules { create_contacts: true, keep_tags: KeepTags::new(vec!["sesamy_made_single_purchase".into()]) }
}

/// What would be written to a contact that is on the list and active.
fn written(wanted_person: &Person, wanted_tags: &[&str], there: Value) -> Value {
    let there = contact(there);
    let change = change(wanted_person, &set(wanted_tags), &there, &rules().keep_tags);
    serde_json::to_value(change.data).unwrap()
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
    assert_eq!(written(&Person::default(), &[], json!({"first_name": "K."})), json!({}));
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
        assert_eq!(written(&Person::default(), &wanted, json!({"tags": there.clone()})), expected, "{there}");
    }
}

#[test]
fn kept_tags_stay_where_they_are_and_are_not_given_to_others() {
    assert_eq!(
        written(
            &Person::default(),
            &["sesamy_x"],
            json!({"tags": ["sesamy_made_single_purchase", "sesamy_old"]})
        ),
        json!({"tags": ["sesamy_made_single_purchase", "sesamy_x"]})
    );
    assert_eq!(written(&Person::default(), &[], json!({"tags": []})), json!({}));
    let keep = KeepTags::new(vec!["sesamy_tag_*".into(), "sesamy_exact".into()]);
    for (tag, kept) in
        [("sesamy_tag_", true), ("sesamy_tag_vip", true), ("sesamy_exact", true), ("sesamy_exact2", false)]
    {
        assert_eq!(keep.keeps(tag), kept, "{tag}");
    }
}

#[test]
fn a_change_names_its_fields_and_tags() {
    let change = change(
        &person("Kari", "", ""),
        &set(&["sesamy_new"]),
        &contact(json!({"tags": ["sesamy_old", "own"]})),
        &rules().keep_tags,
    );
    assert_eq!(change.fields(), ["first_name", "tags"]);
    assert_eq!(change.tags_added, ["sesamy_new"]);
    assert_eq!(change.tags_removed, ["sesamy_old"]);
}

#[test]
fn who_is_subscribed_and_who_is_only_updated() {
    let on = |status: Option<&str>| Membership::OnList(status.map(str::to_owned));
    for (account, membership, subscribes, withheld_for) in [
        (Some("a"), Membership::NotOnList, true, None),
        (Some("a"), on(Some("a")), false, None),
        (Some("a"), on(Some("u")), false, Some("u")),
        (Some("a"), on(None), false, Some("unknown")),
        (Some("u"), Membership::NotOnList, false, Some("u")),
        (Some("b"), Membership::NotOnList, false, Some("b")),
        (Some("d"), Membership::NotOnList, false, Some("d")),
        (Some("A"), Membership::NotOnList, false, Some("A")),
        (Some(""), Membership::NotOnList, false, Some("")),
        (None, Membership::NotOnList, false, Some("unknown")),
        (Some("u"), on(Some("a")), false, Some("u")),
    ] {
        let there = contact(json!({"status": account}));
        let plan = plan(&person("K", "", ""), &set(&[]), Some((&there, &membership)), None, &rules());
        assert_eq!(matches!(plan, Plan::Subscribe(_)), subscribes, "{account:?} {membership:?}");
        assert_eq!(matches!(plan, Plan::Update(_)), !subscribes, "{account:?} {membership:?}");
        assert_eq!(withheld(&there, &membership), withheld_for, "{account:?} {membership:?}");
    }
}

#[test]
fn nobody_there_is_created_with_everything() {
    let plan = plan(&person("Kari", "Moe", "1"), &set(&["sesamy_a"]), None, None, &rules());
    let Plan::Create(change) = plan else { panic!("{plan:?}") };
    assert_eq!(
        serde_json::to_value(&change.data).unwrap(),
        json!({"first_name": "Kari", "last_name": "Moe", "phone": "1", "tags": ["sesamy_a"]})
    );
}

#[test]
fn without_create_contacts_nobody_is_created_or_subscribed() {
    let rules = Rules { create_contacts: false, ..rules() };
    assert_eq!(
        plan(&Person::default(), &set(&[]), None, None, &rules),
        Plan::NotCreated(NotCreated::NotWanted)
    );
    let active = contact(json!({"status": "a"}));
    let not_on = Some((&active, &Membership::NotOnList));
    assert_eq!(plan(&Person::default(), &set(&[]), not_on, None, &rules), Plan::Nothing);
    assert!(matches!(plan(&Person::default(), &set(&["sesamy_a"]), not_on, None, &rules), Plan::Update(_)));
}

#[test]
fn an_unchanged_contact_is_left_alone() {
    let there = contact(json!({"status": "a", "first_name": "K", "tags": ["own", "sesamy_a"]}));
    let plan = plan(
        &person("Kari", "", ""),
        &set(&["sesamy_a"]),
        Some((&there, &Membership::OnList(Some("a".into())))),
        None,
        &rules(),
    );
    assert_eq!(plan, Plan::Nothing);
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
fn any_custom() -> impl Strategy<Value = Option<Custom>> {
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

prop_compose! {
    pub(super) fn any_contact()(
        (name, first_name, last_name, phone) in (text(), text(), text(), text()),
        tags in proptest::option::of(proptest::collection::vec(tag(), 0..6)),
        status in letter(),
        custom in any_custom(),
    ) -> Contact {
        Contact { name, first_name, last_name, phone, tags, status, custom, ..Contact::default() }
    }
}

prop_compose! {
    pub(super) fn any_person()(
        first in text(), last in text(), phone in text(), custom in any_ours()
    ) -> Person {
        let clean = |value: &Option<Personal>| crate::personal::first_present([value]);
        Person { first_name: clean(&first), last_name: clean(&last), phone: clean(&phone), custom }
    }
}

pub(super) fn any_membership() -> impl Strategy<Value = Membership> {
    prop_oneof![Just(Membership::NotOnList), letter().prop_map(Membership::OnList)]
}

pub(super) fn any_wanted() -> impl Strategy<Value = BTreeSet<String>> {
    proptest::collection::btree_set("sesamy_[ab]{0,2}", 0..4)
}

fn applied(contact: &Contact, change: &Change) -> Contact {
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
fn applied_by_merging(contact: &Contact, change: &Change) -> Contact {
    let mut custom = contact.custom.clone().unwrap_or_default();
    custom.extend(change.data.custom.clone().unwrap_or_default());
    Contact { custom: Some(custom), ..applied(contact, change) }
}

/// Both kinds of API.
const APPLY: [fn(&Contact, &Change) -> Contact; 2] = [applied, applied_by_merging];

fn own(contact: &Contact) -> Vec<String> {
    contact.tags.iter().flatten().filter(|tag| !tag.starts_with("sesamy_")).cloned().collect()
}

proptest! {
    #[test]
    fn somebody_elses_tags_survive_unchanged_and_in_order(
        there in any_contact(), person in any_person(), wanted in any_wanted()
    ) {
        let after = applied(&there, &change(&person, &wanted, &there, &rules().keep_tags));
        prop_assert_eq!(own(&after), own(&there));
    }

    #[test]
    fn a_name_or_phone_already_there_stays(
        there in any_contact(), person in any_person(), wanted in any_wanted()
    ) {
        let after = applied(&there, &change(&person, &wanted, &there, &rules().keep_tags));
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
    fn applying_the_change_and_merging_again_changes_nothing(
        there in any_contact(), person in any_person(), wanted in any_wanted()
    ) {
        for apply in APPLY {
            let after = apply(&there, &change(&person, &wanted, &there, &rules().keep_tags));
            let again = change(&person, &wanted, &after, &rules().keep_tags);
            prop_assert!(again.is_empty(), "{:?}", again);
            prop_assert!(again.tags_added.is_empty() && again.tags_removed.is_empty());
        }
    }

    #[test]
    fn somebody_elses_custom_fields_survive_unchanged(
        there in any_contact(), person in any_person(), wanted in any_wanted()
    ) {
        let theirs = |contact: &Contact| -> Custom {
            let is_ours = |name: &String| person.custom.iter().any(|field| field.name == *name);
            contact.custom.clone().unwrap_or_default().into_iter().filter(|(name, _)| !is_ours(name)).collect()
        };
        for apply in APPLY {
            let after = apply(&there, &change(&person, &wanted, &there, &rules().keep_tags));
            prop_assert_eq!(theirs(&after), theirs(&there));
        }
    }

    #[test]
    fn ours_hold_what_is_wanted(
        there in any_contact(), person in any_person(), wanted in any_wanted()
    ) {
        for apply in APPLY {
            let after = apply(&there, &change(&person, &wanted, &there, &rules().keep_tags));
            for field in &person.custom {
                let now = after.custom.as_ref().and_then(|custom| custom.get(&field.name));
                let now = now.and_then(|it| it.text()).unwrap_or_default();
                prop_assert_eq!(&*now, field.value.as_ref().map_or("", Personal::as_str));
            }
        }
    }

    #[test]
    fn without_custom_fields_of_ours_nothing_is_written_of_them(
        there in any_contact(), person in any_person(), wanted in any_wanted()
    ) {
        let person = Person { custom: Vec::new(), ..person };
        let bare = Contact { custom: None, ..there.clone() };
        let written = |there| change(&person, &wanted, there, &rules().keep_tags);
        prop_assert_eq!(written(&there), written(&bare));
        prop_assert!(written(&there).data.custom.is_none());
    }

    #[test]
    fn nobody_is_subscribed_against_their_status(
        there in any_contact(), person in any_person(), wanted in any_wanted(),
        membership in any_membership(), create_contacts: bool,
    ) {
        let rules = Rules { create_contacts, ..rules() };
        let plan = plan(&person, &wanted, Some((&there, &membership)), None, &rules);
        prop_assert!(!matches!(plan, Plan::Create(_) | Plan::NotCreated(_)));
        let free = there.status.as_deref() == Some("a") && membership == Membership::NotOnList && create_contacts;
        prop_assert_eq!(matches!(plan, Plan::Subscribe(_)), free);
    }

    #[test]
    fn ours_are_exactly_the_wanted_and_the_kept_tags(
        there in any_contact(), person in any_person(), wanted in any_wanted()
    ) {
        let after = applied(&there, &change(&person, &wanted, &there, &rules().keep_tags));
        let ours: BTreeSet<String> =
            after.tags.iter().flatten().filter(|tag| tag.starts_with("sesamy_")).cloned().collect();
        let mut expected = wanted.clone();
        expected.extend(
            there.tags.iter().flatten().filter(|tag| *tag == "sesamy_made_single_purchase").cloned(),
        );
        prop_assert_eq!(ours, expected);
    }
}
