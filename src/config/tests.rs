//! What the settings promise, seen from outside: text and variables in, settings or one message out.

mod custom_fields;
mod files;
mod sources;
mod values;

use super::spec::{Shape, Spec};
use super::*;

/// The least that makes settings complete.
const COMPLETE: [(&str, &str); 4] = [
    ("WEBHOOK__BEARER_TOKENS", "webhook-token-of-32-characters-x"),
    ("SESAMY__ACCESS_TOKEN", "sesamy-access-token"),
    ("MAILMOJO__API_TOKEN", "mailmojo-api-token"),
    ("MAILMOJO__LIST_ID", "7"),
];

fn pairs(env: &[(&str, &str)]) -> impl Iterator<Item = (String, String)> {
    env.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect::<Vec<_>>().into_iter()
}

/// Loads from nothing but these variables.
fn load(env: &[(&str, &str)]) -> Result<Loaded, SettingsError> {
    crate::config::load(None, pairs(env))
}

/// Loads from the complete settings with these variables on top; an empty value takes a variable away.
fn load_with(env: &[(&str, &str)]) -> Result<Loaded, SettingsError> {
    load(&complete_with(env))
}

fn complete_with<'a>(env: &[(&'a str, &'a str)]) -> Vec<(&'a str, &'a str)> {
    let replaced = |name: &str| env.iter().any(|(other, _)| *other == name);
    let kept = COMPLETE.into_iter().filter(|(name, _)| !replaced(name));
    kept.chain(env.iter().copied().filter(|(_, value)| !value.is_empty())).collect()
}

/// Loads a file of this text, with the complete settings in the environment unless the file has their section.
fn load_file(text: &str) -> Result<Loaded, SettingsError> {
    let file = written(text);
    let env: Vec<_> = COMPLETE
        .into_iter()
        .filter(|(name, _)| {
            let key = name.split_once("__").unwrap().1.to_lowercase();
            !text.contains(&key)
        })
        .collect();
    crate::config::load(Some(file.path()), pairs(&env))
}

fn written(content: impl AsRef<[u8]>) -> tempfile::NamedTempFile {
    let file = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(file.path(), content).unwrap();
    file
}

/// The one message, which has to name what is at fault.
fn refused(result: Result<Loaded, SettingsError>, at_fault: &str) -> String {
    let error = result.expect_err("these settings are wrong");
    assert!(error.problems.iter().any(|problem| problem.at_fault == at_fault), "{at_fault} in: {error}");
    error.to_string()
}

/// Refused for this reason alone.
fn refused_only(result: Result<Loaded, SettingsError>, at_fault: &str) -> String {
    let error = result.expect_err("these settings are wrong");
    assert_eq!(error.problems.len(), 1, "{error}");
    assert_eq!(error.problems[0].at_fault, at_fault, "{error}");
    error.to_string()
}

#[test]
fn the_least_settings_are_enough_and_the_rest_has_the_defaults_of_the_design() {
    let Loaded { settings, warnings } = load(&COMPLETE).unwrap();
    assert_eq!(warnings, Vec::<String>::new());
    assert_eq!(settings.server.listen, "0.0.0.0:8080".parse().unwrap());
    assert_eq!(settings.server.body_limit_bytes, 65_536);
    assert_eq!(settings.webhook.signature_header, "X-Sesamy-Signature");
    assert!(!settings.webhook.allow_unauthenticated && settings.webhook.hmac_secrets.is_empty());
    assert_eq!(settings.sesamy.api_url.as_str(), "https://api2.sesamy.com/");
    assert_eq!(settings.sesamy.token_url.as_str(), "https://token.sesamy.com/oauth/token");
    assert_eq!(settings.sesamy.audience, "https://api.sesamy.com");
    assert_eq!(settings.sesamy.vendor_id, None);
    assert!(settings.sesamy.derive_tags);
    assert_eq!(settings.sesamy.guest_user_id_prefixes, ["guest|", "guest_"]);
    assert_eq!((settings.sesamy.requests_per_minute.get(), settings.sesamy.burst.get()), (95, 150));
    assert_eq!(settings.mailmojo.api_url.as_str(), "https://api.mailmojo.no/");
    assert_eq!(settings.mailmojo.list_id, 7);
    assert!(settings.mailmojo.custom_fields.is_empty());
    assert_eq!((settings.mailmojo.requests_per_minute.get(), settings.mailmojo.burst.get()), (300, 60));
    assert_eq!(settings.queue.url, QueueUrl::Sqlite("data/sesamy-mailmojo.db".into()));
    let sync = settings.sync;
    assert_eq!((sync.concurrency.get(), sync.max_attempts), (8, 50));
    let seconds = [sync.debounce, sync.request_timeout, sync.deadline, sync.backoff_base, sync.backoff_cap];
    assert_eq!(seconds.map(|duration| duration.as_secs()), [2, 10, 90, 2, 900]);
    assert_eq!(sync.resync_every, Some(Duration::from_secs(7 * 86_400)));
    assert!(!sync.dry_run && sync.create_contacts);
    assert_eq!(sync.keep_tags, ["sesamy_made_single_purchase"]);
    assert_eq!(settings.history.days, 30);
    assert_eq!(settings.admin.listen, "127.0.0.1:8081".parse().unwrap());
    assert!(settings.admin.tokens.is_empty(), "off unless asked for");
    assert_eq!((settings.log.format, settings.log.level.as_str()), (None, "info"));
}

#[test]
fn a_debug_print_shows_no_secret() {
    let env = [
        ("WEBHOOK__BEARER_TOKENS", "hidden-bearer"),
        ("WEBHOOK__HMAC_SECRETS", "hidden-hmac"),
        ("SESAMY__CLIENT_ID", "client"),
        ("SESAMY__CLIENT_SECRET", "hidden-sesamy"),
        ("MAILMOJO__API_TOKEN", "hidden-mailmojo"),
        ("MAILMOJO__LIST_ID", "7"),
        ("ADMIN__TOKENS", "hidden-admin-token"),
        ("QUEUE__URL", "postgres://queue:hidden@db.example.com/queue"),
    ];
    let loaded = load(&env).unwrap();
    let shown = format!("{loaded:?}");
    assert!(!shown.contains("hidden"), "{shown}");
    assert!(shown.contains("REDACTED"), "{shown}");
}

#[test]
fn everything_wrong_is_told_at_once_with_how_to_set_it() {
    let message =
        load(&[("SYNC__DEBOUNCE", "2"), ("SERVER__LISTEN", "here"), ("PORT", "x"), ("LOG__COLOUR", "red")])
            .unwrap_err()
            .to_string();
    for expected in [
        "LOG__COLOUR is not a setting",
        "PORT is \"x\"",
        "server.listen is \"here\"",
        "webhook.bearer_tokens is missing",
        "WEBHOOK__HMAC_SECRETS",
        "sesamy.access_token is missing",
        "SESAMY__CLIENT_ID and SESAMY__CLIENT_SECRET",
        "mailmojo.api_token is missing",
        "MAILMOJO__API_TOKEN_FILE",
        "mailmojo.list_id is missing",
        "MAILMOJO__LIST_ID",
        "`list_id` under [mailmojo]",
        "sync.debounce is \"2\"",
    ] {
        assert!(message.contains(expected), "{expected:?} in:\n{message}");
    }
}

#[test]
fn no_message_shows_a_secret_or_an_address() {
    let secret = "hidden secret";
    let env = [
        ("WEBHOOK__BEARER_TOKENS", secret),
        ("WEBHOOK__HMAC_SECRETS", secret),
        ("SESAMY__CLIENT_ID", secret),
        ("SESAMY__CLIENT_SECRET", secret),
        ("SESAMY__ACCESS_TOKEN", secret),
        ("SESAMY__API_URL", "https://user:hidden@example.com"),
        ("SESAMY__TOKEN_URL", "https://example.com/?token=hidden"),
        ("MAILMOJO__API_TOKEN_FILE", "hidden"),
        ("MAILMOJO__LIST_ID", "hidden@example.com"),
        ("QUEUE__URL", "postgres://user:hidden@db/"),
    ];
    let error = load(&env).unwrap_err();
    assert!(!format!("{error} {error:?}").contains("hidden"), "{error}");
    assert_eq!(error.problems.len(), 11, "each of them, and the token beside the client: {error}");
}

#[test]
fn the_address_is_told_without_any_other_setting() {
    let file = written("[server]\nlisten = \"[::1]:9000\"\n[mailmojo]\nlist_id = -5\nnonsense = true");
    let at = |file: Option<&Path>, env: &[(&str, &str)]| listen_address(file, pairs(env));
    assert_eq!(at(None, &[]).unwrap(), "0.0.0.0:8080".parse().unwrap());
    assert_eq!(at(Some(file.path()), &[]).unwrap(), "[::1]:9000".parse().unwrap());
    let env = [("PORT", "81"), ("SESAMY__ACCESS_TOKEN_FILE", "/nowhere"), ("SYNC__NONSENSE", "1")];
    assert_eq!(at(Some(file.path()), &env).unwrap(), "[::1]:81".parse().unwrap());
    let path = file.path().to_str().unwrap();
    assert_eq!(at(None, &[("CONFIG_FILE", path)]).unwrap(), "[::1]:9000".parse().unwrap());

    for (name, wrong) in
        [("SERVER__LISTEN", "x"), ("PORT", "x"), ("CONFIG_FILE", ""), ("CONFIG_FILE", "/nowhere")]
    {
        assert!(at(None, &[(name, wrong)]).is_err(), "{name}={wrong}");
    }
}

#[test]
fn how_to_set_names_key_variable_and_for_secrets_the_file() {
    let plain = table::mailmojo::list_id.spec.how();
    for expected in ["MAILMOJO__LIST_ID", "`list_id`", "[mailmojo]"] {
        assert!(plain.contains(expected), "{plain}");
    }
    assert!(!plain.contains("_FILE"), "{plain}");

    let secret = table::webhook::bearer_tokens.spec.how();
    for expected in ["WEBHOOK__BEARER_TOKENS_FILE", "one a line", "separated by commas"] {
        assert!(secret.contains(expected), "{secret}");
    }
}

#[test]
fn every_setting_is_in_a_section_and_says_what_it_takes_and_what_it_is_for() {
    for Spec { name, wants, help, .. } in table::specs() {
        assert!(name.split('.').count() == 2 && !wants.is_empty() && !help.is_empty(), "{name}");
    }
}
