//! Files: those that ship, those that are broken, and those that hold a secret.

use std::collections::BTreeSet;

use secrecy::ExposeSecret;

use super::*;
use crate::fields::Source;

const DEFAULT: &str = include_str!("../../../config/default.toml");
const EXAMPLE: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/config/example.toml");

#[test]
fn the_example_is_complete_and_without_warnings() {
    let loaded = Settings::load(Some(Path::new(EXAMPLE)), pairs(&[])).unwrap();
    assert_eq!(loaded.warnings, Vec::<String>::new());
    assert!(loaded.settings.sync.dry_run);
}

fn is_table(section: &str) -> bool {
    table::by_name(section).is_some_and(|spec| spec.table)
}

#[test]
fn the_shipped_defaults_name_every_setting_and_no_other_each_under_a_comment() {
    let (mut section, mut before, mut named) = ("", "", BTreeSet::new());
    for line in DEFAULT.lines() {
        if let Some(header) = line.strip_prefix('[') {
            section = header.trim_end_matches(']');
            if is_table(section) {
                named.insert(section.to_owned());
            }
        }
        if is_table(section) {
            continue; // what is in it are examples
        }
        let setting = line.trim_start_matches("# ").split_once(" = ").map(|(key, _)| key);
        let is_key = |key: &str| key.chars().all(|c| c.is_ascii_lowercase() || c == '_');
        if let Some(key) = setting.filter(|key| is_key(key)) {
            // Settings that belong together may share the comment above the first.
            assert!(before.starts_with('#') || before.contains(" = "), "{section}.{key} has no comment");
            assert!(named.insert(format!("{section}.{key}")), "{section}.{key} is there twice");
        }
        before = line;
    }
    assert_eq!(named, table::SETTINGS.iter().map(table::Spec::name).collect());
}

#[test]
fn the_shipped_defaults_still_work_with_every_comment_mark_taken_off() {
    let settings = DEFAULT.lines().map(|line| match line.strip_prefix("# ") {
        Some(setting) if setting.contains(" = ") && !setting.contains(". ") => setting,
        _ => line,
    });
    let mut problems = Vec::new();
    let file = written(settings.collect::<Vec<_>>().join("\n"));
    let layer = super::super::sources::file(file.path(), &mut problems).unwrap();
    assert_eq!(problems, []);
    assert!(table::SETTINGS.iter().all(|spec| layer.has(spec)));
    let examples = layer.get(table::by_name("mailmojo.custom_fields").unwrap()).unwrap().clone();
    for (name, source) in examples.into_table().unwrap() {
        let source = source.into_string().unwrap();
        assert!(source.parse::<Source>().is_ok(), "{name} = {source}");
    }
}

#[test]
fn a_file_that_is_not_toml_is_told_with_its_line_but_not_with_its_text() {
    for (text, line) in [
        ("[mailmojo]\napi_token = hidden-token", "line 2"),
        ("[mailmojo]\n\napi_token = \"hidden", "line 3"),
        ("[mailmojo]\nlist_id = 1\nlist_id = 2 # hidden", "line 3"),
        ("hidden", "line 1"),
        ("[mailmojo]\nlist_id = 99999999999999999999999 # hidden", "too large"),
    ] {
        let file = written(text);
        let at_fault = format!("the settings file {}", file.path().display());
        let message = refused_only(Settings::load(Some(file.path()), pairs(&[])), &at_fault);
        assert!(message.contains(line) && !message.contains("hidden"), "{message}");
    }
}

#[test]
fn a_file_that_cannot_be_read_is_told_and_nothing_that_may_be_in_it_is_called_missing() {
    let not_text = written([0xff, 0xfe]);
    let too_large = written(vec![b'#'; 1024 * 1024 + 1]);
    let folder = tempfile::tempdir().unwrap();
    for (path, reason) in [
        (Path::new("/nowhere/settings.toml"), "does not exist"),
        (folder.path(), "cannot be read"),
        (not_text.path(), "is not UTF-8 text"),
        (too_large.path(), "is larger than 1 MiB"),
    ] {
        let at_fault = format!("the settings file {}", path.display());
        let message = refused_only(Settings::load(Some(path), pairs(&[])), &at_fault);
        assert!(message.contains(reason), "{message}");
    }
}

#[test]
fn every_secret_can_come_from_a_file_and_nothing_else_can() {
    for spec in table::SETTINGS {
        let file = written(" sqlite://a-long-enough-secret\r\n");
        let (plain, variable) = (spec.variable(), format!("{}_FILE", spec.variable()));
        let path = file.path().to_str().unwrap();
        let mut env: Vec<_> = COMPLETE.into_iter().filter(|(name, _)| *name != plain).collect();
        env.push((&variable, path));
        match (spec.secret, load(&env)) {
            (true, Err(error)) => {
                // Only that half of the credentials, or two kinds of them, are there.
                assert!(error.problems().iter().all(|p| p.at_fault != variable), "{error}");
                assert!(!error.to_string().contains("long-enough"), "{error}");
                assert!(spec.key.starts_with("client_"), "{error}");
            }
            (false, Err(error)) => {
                assert!(error.problems().iter().any(|p| p.at_fault == variable), "{error}")
            }
            (true, Ok(loaded)) => assert_eq!(loaded.warnings, Vec::<String>::new()),
            (false, Ok(_)) => panic!("{variable} was taken"),
        }
    }
}

#[test]
fn a_file_of_a_list_has_one_item_a_line() {
    let file = written("\n first-token,0123456 \r\n\n second-token-012345\n");
    let path = file.path().to_str().unwrap();
    let webhook = load_with(&[("WEBHOOK__BEARER_TOKENS", ""), ("WEBHOOK__BEARER_TOKENS_FILE", path)]);
    let tokens = webhook.unwrap().settings.webhook.bearer_tokens;
    let tokens: Vec<_> = tokens.iter().map(ExposeSecret::expose_secret).collect();
    assert_eq!(tokens, ["first-token,0123456", "second-token-012345"]);
}

#[test]
fn a_secret_both_as_value_and_as_file_is_refused() {
    let file = written("another-token");
    let path = file.path().to_str().unwrap();
    for variable in ["MAILMOJO__API_TOKEN_FILE", "MAILMOJO__APITOKEN_FILE"] {
        let message = refused_only(load_with(&[(variable, path)]), "mailmojo.api_token");
        assert!(
            message.contains("MAILMOJO__API_TOKEN and by") || message.contains("and by MAILMOJO__API_TOKEN")
        );
        assert!(message.contains(variable), "{message}");
    }
}

#[test]
fn a_file_of_a_secret_that_is_no_good_is_told_with_variable_and_path() {
    let (empty, not_text, two) = (written(" \n\n"), written([0xff]), written("first\nsecond"));
    let path = |file: &tempfile::NamedTempFile| file.path().to_str().unwrap().to_owned();
    for (path, reason) in [
        ("/nowhere/secret".to_owned(), "does not exist"),
        (path(&empty), "is empty"),
        (path(&not_text), "is not UTF-8"),
        (path(&two), "white space inside"),
    ] {
        let env = [("MAILMOJO__API_TOKEN", ""), ("MAILMOJO__API_TOKEN_FILE", path.as_str())];
        let message = refused_only(load_with(&env), "mailmojo.api_token");
        assert!(message.contains(reason) && message.contains(&path), "{message}");
        assert!(message.contains("MAILMOJO__API_TOKEN_FILE"), "{message}");
    }
    let all: Vec<_> = COMPLETE.into_iter().chain([("SESAMY__CLIENT_ID_FILE", "")]).collect();
    assert!(refused(load(&all), "sesamy.client_id").contains("SESAMY__CLIENT_ID_FILE is empty"));
}
