//! The one setting that is a table: names of the publisher's choice, and the sources that there are.

use super::*;
use crate::fields::source;

const NAME: &str = "mailmojo.custom_fields";

fn fields(loaded: &Loaded) -> Vec<(String, &'static str)> {
    let fields = loaded.settings.mailmojo.custom_fields.iter();
    fields.map(|(name, source)| (name.to_owned(), source.into())).collect()
}

fn named(fields: &[(&str, &'static str)]) -> Vec<(String, &'static str)> {
    fields.iter().map(|(name, source)| ((*name).to_owned(), *source)).collect()
}

#[test]
fn a_field_is_set_by_a_file_or_by_a_variable_of_its_own_which_goes_first() {
    let file = written(
        "[mailmojo.custom_fields]\nplan = \" active_products \"\n\"Abonnement type\" = \"subscription_status\"\n\
         neste-trekk_2 = \"next_bill_at\"",
    );
    let env = complete_with(&[
        ("MAILMOJO__CUSTOM_FIELDS__PLAN", " active_skus "),
        ("MAILMOJO__CUSTOM_FIELDS__Country_File", "billing_country"),
    ]);
    let loaded = crate::config::load(Some(file.path()), pairs(&env)).unwrap();
    assert_eq!(loaded.warnings, Vec::<String>::new());
    assert_eq!(
        fields(&loaded),
        named(&[
            ("Abonnement type", "subscription_status"),
            ("country_file", "billing_country"),
            ("neste-trekk_2", "next_bill_at"),
            ("plan", "active_skus"),
        ])
    );
    let inline = load_file("[mailmojo]\ncustom_fields = { plan = \"user_id\" }").unwrap();
    assert_eq!(fields(&inline), named(&[("plan", "user_id")]));
    assert_eq!(fields(&load_file("[mailmojo]\ncustom_fields = {}").unwrap()), []);
}

#[test]
fn an_unknown_source_is_refused_with_all_that_there_are() {
    let message = refused_only(load_with(&[("MAILMOJO__CUSTOM_FIELDS__PLAN", "activ_products")]), NAME);
    for expected in [
        "has \"plan\", which is \"activ_products\", no source; did you mean active_products? (in the environment)",
        "set MAILMOJO__CUSTOM_FIELDS__NAME (the name is taken in lower case)",
        "[mailmojo.custom_fields]",
        source::NAMES,
    ] {
        assert!(message.contains(expected), "{expected:?} in:\n{message}");
    }
}

#[test]
fn an_odd_name_or_source_is_refused() {
    let long = "x".repeat(65);
    for (field, reason) in [
        ("\"\" = \"user_id\"".to_owned(), "a field without a name"),
        ("\" \" = \"user_id\"".to_owned(), "a field without a name"),
        ("\" plan\" = \"user_id\"".to_owned(), "letters, digits"),
        ("\"a.b\" = \"user_id\"".to_owned(), "letters, digits"),
        ("\"a\\nb\" = \"user_id\"".to_owned(), "letters, digits"),
        ("\"kari@example.com\" = \"user_id\"".to_owned(), "the name a value with an @ in it"),
        (format!("{long} = \"user_id\""), "longer than 64 characters"),
        ("plan = \"\"".to_owned(), "has \"plan\", which is empty"),
        ("plan = 5".to_owned(), "has \"plan\", which is a number without quotes"),
        ("plan = [\"user_id\"]".to_owned(), "has \"plan\", which is a list"),
        ("plan = { a = \"user_id\" }".to_owned(), "has \"plan\", which is a table"),
        ("plan = \"User_Id\"".to_owned(), "did you mean user_id?"),
    ] {
        let message = refused_only(load_file(&format!("[mailmojo.custom_fields]\n{field}")), NAME);
        assert!(message.contains(reason), "{reason:?} in:\n{message}");
        assert!(!message.contains("kari"), "{message}");
    }
    refused_only(load_with(&[("MAILMOJO__CUSTOM_FIELDS__", "user_id")]), NAME);
    refused_only(load_with(&[("MAILMOJO__CUSTOM_FIELDS__A__B", "user_id")]), NAME);
    let whole = refused_only(load_with(&[("MAILMOJO__CUSTOM_FIELDS", "plan=user_id")]), NAME);
    assert!(whole.contains("is a single text, but has to be a table"), "{whole}");
    let whole = refused_only(load_file("[mailmojo]\ncustom_fields = [\"plan\"]"), NAME);
    assert!(whole.contains("is a list, but has to be a table"), "{whole}");

    let file = written("[mailmojo.custom_fields]\nPlan = \"user_id\"");
    let env = complete_with(&[("MAILMOJO__CUSTOM_FIELDS__PLAN", "company")]);
    let message = refused_only(crate::config::load(Some(file.path()), pairs(&env)), NAME);
    assert!(message.contains("has \"Plan\" and \"plan\", which differ in letter case only"), "{message}");
}

#[test]
fn everything_wrong_is_told_at_once() {
    let error = load_with(&[
        ("MAILMOJO__CUSTOM_FIELDS__A", "x"),
        ("MAILMOJO__CUSTOM_FIELDS__B", "y"),
        ("SYNC__DEBOUNCE", "2"),
    ]);
    let error = error.unwrap_err();
    assert_eq!(error.problems.len(), 2, "one of the fields, one of the duration: {error}");
    assert!(
        error.to_string().contains("has \"a\", which is")
            && error.to_string().contains("has \"b\", which is")
    );
}

#[test]
fn a_source_that_is_never_read_is_refused() {
    let without = ("SESAMY__DERIVE_TAGS", "false");
    for (source, needs_more) in [
        ("user_id", false),
        ("billing_country", false),
        ("subscription_status", true),
        ("active_products", true),
    ] {
        let loaded = load_with(&[without, ("MAILMOJO__CUSTOM_FIELDS__PLAN", source)]);
        if needs_more {
            let message = refused_only(loaded, NAME);
            assert!(message.contains("while sesamy.derive_tags is false"), "{message}");
        } else {
            assert_eq!(fields(&loaded.unwrap()).len(), 1);
        }
    }
}
