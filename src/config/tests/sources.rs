//! Defaults, file and environment: which goes before which, and what is refused in each.

use secrecy::ExposeSecret;

use super::*;

fn token(credentials: &Credentials) -> &str {
    match credentials {
        Credentials::Token(token) => token.expose_secret(),
        Credentials::Client { .. } => panic!("client credentials where a token was set"),
    }
}

#[test]
fn the_environment_goes_before_the_file_and_the_file_before_the_defaults() {
    let file = written("[sync]\nconcurrency = 2\nmax_attempts = 3\nkeep_tags = [\"sesamy_a\", \"sesamy_b\"]");
    let env = complete_with(&[("SYNC__CONCURRENCY", "4"), ("SYNC__KEEP_TAGS", "sesamy_c")]);
    let sync = crate::config::load(Some(file.path()), pairs(&env)).unwrap().settings.sync;
    assert_eq!((sync.concurrency.get(), sync.max_attempts), (4, 3));
    assert_eq!(sync.keep_tags, ["sesamy_c"]);
    assert_eq!(sync.deadline, Duration::from_secs(90));
}

#[test]
fn the_file_is_the_one_given_or_else_the_one_that_config_file_names() {
    let (given, named) = (written("[sync]\nconcurrency = 2"), written("[sync]\nconcurrency = 3"));
    let env = complete_with(&[("CONFIG_FILE", named.path().to_str().unwrap())]);
    let concurrency = |file| crate::config::load(file, pairs(&env)).unwrap().settings.sync.concurrency.get();
    assert_eq!(concurrency(Some(given.path())), 2);
    assert_eq!(concurrency(None), 3);

    let env: Vec<_> = COMPLETE.into_iter().chain([("CONFIG_FILE", " ")]).collect();
    refused_only(load(&env), "CONFIG_FILE");
}

#[test]
fn port_replaces_the_port_and_nothing_else() {
    let env = [("SERVER__LISTEN", "127.0.0.1:1"), ("PORT", "9090")];
    assert_eq!(load_with(&env).unwrap().settings.server.listen, "127.0.0.1:9090".parse().unwrap());
    for wrong in ["http", "65536", "-1", " "] {
        refused_only(load_with(&[("PORT", wrong)]), "PORT");
    }
}

#[test]
fn variables_that_are_not_ours_are_passed_over() {
    let others =
        [("PATH", "/bin"), ("DB__URL", "x"), ("SERVER_PORT", "tcp://x"), ("SYNCS__X", "1"), ("__LOG", "x")];
    load_with(&others).unwrap();
}

#[test]
fn a_misspelt_variable_is_refused_and_the_right_one_named() {
    for (wrong, meant) in [
        ("MAILMOJO__LISTID_", "MAILMOJO__LIST_ID"),
        ("MAILMOJO__LIST__ID", "MAILMOJO__LIST_ID"),
        ("SESAMY__CLIENT_SECRETS", "SESAMY__CLIENT_SECRET"),
        ("SESAMY__CLIENT_SECERT_FILE", "SESAMY__CLIENT_SECRET_FILE"),
        ("SYNC__", "SYNC__KEEP_TAGS"),
        ("LOG__LEVEL_FILE", "LOG__LEVEL"),
        ("SERVER__a.b", "SERVER__LISTEN"),
    ] {
        let message = refused_only(load_with(&[(wrong, "1")]), wrong);
        assert!(message.contains(meant), "{message}");
    }
}

#[test]
fn a_misspelt_key_or_section_is_refused_and_the_right_one_named() {
    for (text, at_fault, meant) in [
        ("[mailmojo]\nlits_id = 1", "mailmojo.lits_id", "`list_id`"),
        ("[mailmojo]\ncolour = 1", "mailmojo.colour", "api_url, api_token"),
        ("[mailmjo]\nlist_id = 1", "mailmjo", "[mailmojo]"),
        ("listId = 1", "listId", "below the line [mailmojo]"),
        ("[database]\nx = 1", "database", "server, webhook"),
        ("sync = 5", "sync", "[sync]"),
        ("[[sync]]\ndry_run = true", "sync", "[sync]"),
        ("[sync]\nDry_Run = true", "sync.Dry_Run", "`dry_run`"),
        ("[sync.dry_run]\nx = 1", "sync.dry_run", "is a table"),
        ("\"sync.dry_run\" = true", "sync.dry_run", "sections are"),
    ] {
        let message = refused(load_file(text), at_fault);
        assert!(message.contains(meant), "{message}");
    }
}

#[test]
fn the_names_that_a_connection_has_elsewhere_are_taken_in_mailmojos_section() {
    let file = written("[mailmojo]\napiToken = \"alias-token\"\nlistId = 3\napiUrl = \"https://m.example/\"");
    let env = [COMPLETE[0], COMPLETE[1]];
    let mailmojo = crate::config::load(Some(file.path()), pairs(&env)).unwrap().settings.mailmojo;
    assert_eq!((token(&mailmojo.credentials), mailmojo.list_id), ("alias-token", 3));
    assert_eq!(mailmojo.api_url.as_str(), "https://m.example/");

    let over = [COMPLETE[0], COMPLETE[1], ("MAILMOJO__LISTID", "4"), ("MAILMOJO__apiToken", "over")];
    let mailmojo = crate::config::load(Some(file.path()), pairs(&over)).unwrap().settings.mailmojo;
    assert_eq!((token(&mailmojo.credentials), mailmojo.list_id), ("over", 4));

    refused(load_file("[sesamy]\napiUrl = \"https://x.example\""), "sesamy.apiUrl");
}

#[test]
fn one_setting_under_two_names_in_one_source_is_refused() {
    refused(load_file("[mailmojo]\nlist_id = 1\nlistId = 1"), "mailmojo.list_id");
    refused_only(load_with(&[("MAILMOJO__LISTID", "7")]), "mailmojo.list_id");
    refused_only(load_with(&[("mailmojo__list_id", "7")]), "mailmojo.list_id");
    let fields = [("MAILMOJO__CUSTOM_FIELDS__A", "user_id"), ("MAILMOJO__CUSTOM_FIELDS__a", "company")];
    refused_only(load_with(&fields), "mailmojo.custom_fields");
}
