//! A row per rule: what a setting takes, and what it is refused for.

use super::*;

#[test]
fn each_kind_of_setting_takes_what_it_should() {
    let loaded = load_with(&[
        ("SERVER__LISTEN", "[::]:80"),
        ("SERVER__BODY_LIMIT_BYTES", "1"),
        ("WEBHOOK__BEARER_TOKENS", " first-token-0123456 ,, second-token-012345 ,"),
        ("WEBHOOK__HMAC_SECRETS", "secret-0123456789"),
        ("SESAMY__API_URL", "http://127.0.0.1:9/base/"),
        ("SESAMY__VENDOR_ID", " vendor_1 "),
        ("SESAMY__DERIVE_TAGS", "FALSE"),
        ("SESAMY__REQUESTS_PER_MINUTE", "6000"),
        ("SESAMY__GUEST_USER_ID_PREFIXES", "g|, anon_"),
        ("MAILMOJO__LIST_ID", " 00042 "),
        ("QUEUE__URL", "sqlite:///var/lib/q.db"),
        ("SYNC__DEBOUNCE", "0s"),
        ("SYNC__REQUEST_TIMEOUT", "500ms"),
        ("SYNC__DEADLINE", "501ms"),
        ("SYNC__BACKOFF_BASE", "1h 30m"),
        ("SYNC__BACKOFF_CAP", "90m"),
        ("SYNC__RESYNC_EVERY", "2w"),
        ("SYNC__DRY_RUN", "yes"),
        ("SYNC__KEEP_TAGS", "sesamy_tag_*,sesamy_x"),
        ("HISTORY__DAYS", "3650"),
        ("ADMIN__LISTEN", "[::1]:8082"),
        ("ADMIN__TOKENS", "first-admin-token, second-admin-token"),
        ("LOG__FORMAT", "pretty"),
        ("LOG__LEVEL", "warn,sesamy_mailmojo::sync=debug,hyper=off"),
    ])
    .unwrap();
    assert_eq!(loaded.warnings, Vec::<String>::new());
    let Settings { server, webhook, sesamy, mailmojo, queue, sync, history, admin, log, in_force } =
        loaded.settings;
    assert_eq!((server.listen, server.body_limit_bytes), ("[::]:80".parse().unwrap(), 1));
    let tokens: Vec<_> = webhook.bearer_tokens.iter().map(secrecy::ExposeSecret::expose_secret).collect();
    assert_eq!(tokens, ["first-token-0123456", "second-token-012345"]);
    assert_eq!(webhook.hmac_secrets.len(), 1);
    assert_eq!(sesamy.api_url.as_str(), "http://127.0.0.1:9/base/");
    assert_eq!(sesamy.vendor_id.as_deref(), Some("vendor_1"));
    assert!(!sesamy.derive_tags && sync.dry_run);
    assert_eq!(sesamy.guest_user_id_prefixes, ["g|", "anon_"]);
    assert_eq!(mailmojo.list_id, 42);
    assert_eq!(queue.url, QueueUrl::Sqlite("/var/lib/q.db".into()));
    assert_eq!((sync.debounce, sync.request_timeout), (Duration::ZERO, Duration::from_millis(500)));
    assert_eq!(
        (sync.backoff_base, sync.backoff_cap),
        (Duration::from_secs(5_400), Duration::from_secs(5_400))
    );
    assert_eq!(sync.resync_every, Some(Duration::from_secs(14 * 86_400)));
    assert_eq!(sync.keep_tags, ["sesamy_tag_*", "sesamy_x"]);
    assert_eq!((history.days, admin.listen, admin.tokens.len()), (3_650, "[::1]:8082".parse().unwrap(), 2));
    assert_eq!(in_force.len(), table::specs().count());
    assert_eq!(log.format, Some(crate::telemetry::Format::Pretty));
}

#[test]
fn a_wrong_value_is_refused_with_its_setting_and_its_reason() {
    for (variable, value, reason) in [
        ("SERVER__LISTEN", "localhost:8080", "not an IP address and a port"),
        ("SERVER__LISTEN", ":8080", "not an IP address and a port"),
        ("SERVER__LISTEN", "0.0.0.0:70000", "not an IP address and a port"),
        ("SERVER__BODY_LIMIT_BYTES", "0", "not a whole number above 0"),
        ("SERVER__BODY_LIMIT_BYTES", "64k", "not a whole number above 0"),
        ("WEBHOOK__SIGNATURE_HEADER", "X Signature", "no name of an HTTP header"),
        ("WEBHOOK__ALLOW_UNAUTHENTICATED", "maybe", "neither true nor false"),
        ("WEBHOOK__BEARER_TOKENS", "two words", "item, number 1: it has white space inside"),
        (
            "WEBHOOK__HMAC_SECRETS",
            "fine,grøt",
            "item, number 2: it has characters that are not visible ASCII",
        ),
        ("SESAMY__ACCESS_TOKEN", "line\nbreak", "white space inside"),
        ("MAILMOJO__API_TOKEN", "tab\u{7f}", "not visible ASCII"),
        ("SESAMY__API_URL", "api2.sesamy.com", "is not a URL"),
        ("SESAMY__API_URL", "ftp://sesamy.com", "does not begin with https://"),
        ("SESAMY__TOKEN_URL", "https://", "is not a URL"),
        ("MAILMOJO__API_URL", "https://api.mailmojo.no/?a=b", "takes neither"),
        ("MAILMOJO__API_URL", "https://kari@api.mailmojo.no", "user name or password"),
        ("MAILMOJO__LIST_ID", "0", "not a whole number above 0"),
        ("MAILMOJO__LIST_ID", "-3", "not a whole number above 0"),
        ("MAILMOJO__LIST_ID", "+3", "not a whole number above 0"),
        ("MAILMOJO__LIST_ID", "99999999999999999999", "too large"),
        (
            "MAILMOJO__LIST_ID",
            "newsletter",
            "is \"newsletter\", which is not a whole number above 0 (in the environment)",
        ),
        ("MAILMOJO__BURST", "4294967296", "too large"),
        ("SESAMY__REQUESTS_PER_MINUTE", "0", "not a whole number above 0"),
        ("QUEUE__URL", "postgres://user:pass/word@db/queue", "is no address of a database"),
        ("QUEUE__URL", "postgresql://db", "names no database"),
        ("QUEUE__URL", "postgres://db/queue?ssl=1", "a parameter after its ? that is not known"),
        ("QUEUE__URL", "postgres://db/queue?sslmode=on", "verify-full"),
        ("QUEUE__URL", "mysql://db/queue", "does not begin with sqlite://"),
        ("QUEUE__URL", "data/queue.db", "does not begin with sqlite://"),
        ("QUEUE__URL", "sqlite://:memory:", "would lose events"),
        ("QUEUE__URL", "sqlite::memory:", "would lose events"),
        ("QUEUE__URL", "sqlite://", "names no file"),
        ("QUEUE__URL", "sqlite:///data/", "names no file"),
        ("QUEUE__URL", "sqlite://a.db?mode=ro", "more than a path"),
        ("SYNC__CONCURRENCY", "0", "not a whole number above 0"),
        ("SYNC__CONCURRENCY", "1001", "more than 1000"),
        ("SYNC__MAX_ATTEMPTS", "0", "not a whole number above 0"),
        ("SYNC__DEBOUNCE", "2", "a number without a unit: 2s"),
        ("SYNC__DEBOUNCE", "0", "a number without a unit"),
        ("SYNC__DEBOUNCE", "-2s", "below zero"),
        ("SYNC__DEBOUNCE", "soon", "no duration"),
        ("SYNC__DEBOUNCE", "1us", "shorter than a millisecond"),
        ("SYNC__BACKOFF_CAP", "9999999h", "longer than a year"),
        ("SYNC__RESYNC_EVERY", "7", "a number without a unit"),
        ("SYNC__RESYNC_EVERY", "often", "no duration"),
        ("SYNC__RESYNC_EVERY", "-1d", "below zero"),
        ("SYNC__RESYNC_EVERY", "400d", "longer than a year"),
        ("SYNC__REQUEST_TIMEOUT", "0s", "is zero"),
        ("SYNC__DRY_RUN", "2", "neither true nor false"),
        ("SYNC__KEEP_TAGS", " , ,", "is empty"),
        ("HISTORY__DAYS", "0", "not a whole number above 0"),
        ("HISTORY__DAYS", "3651", "more than 3650"),
        ("ADMIN__LISTEN", "8081", "not an IP address and a port"),
        (
            "ADMIN__TOKENS",
            "long-enough-for-us,15-characters-x",
            "item, number 2: it is shorter than 16 characters and could be guessed",
        ),
        ("ADMIN__TOKENS", "with white space inside", "white space inside"),
        ("LOG__FORMAT", "xml", "neither json nor pretty"),
        ("LOG__LEVEL", "info,hyper=loud", "no filter"),
    ] {
        let spec = table::specs().find(|spec| spec.variable() == variable).unwrap();
        let message = refused_only(load_with(&[(variable, value)]), spec.name);
        assert!(message.contains(reason), "{reason:?} in:\n{message}");
        assert!(message.contains(variable), "{message}");
    }
}

#[test]
fn every_setting_is_looked_at_and_none_may_be_empty_or_a_table() {
    for spec in table::specs() {
        for value in ["", "  "] {
            let env = COMPLETE.into_iter().filter(|(name, _)| *name != spec.variable());
            let variable = spec.variable();
            let env: Vec<_> = env.chain([(variable.as_str(), value)]).collect();
            let message = refused(load(&env), spec.name);
            assert!(message.contains(&format!("{} is empty", spec.name)), "{message}");
        }
        if spec.shape == Shape::Table {
            continue;
        }
        let (section, key) = spec.path();
        let text = format!("[{section}]\n{key} = {{}}");
        let message = refused(load_file(&text), spec.name);
        assert!(message.contains("is a table"), "{message}");
    }
}

#[test]
fn rounds_are_switched_off_by_0_with_a_unit_or_without() {
    for (value, seconds) in [("0", None), ("0s", None), ("1d 12h", Some(129_600)), ("P2D", Some(172_800))] {
        let every = load_with(&[("SYNC__RESYNC_EVERY", value)]).unwrap().settings.sync.resync_every;
        assert_eq!(every, seconds.map(Duration::from_secs), "{value}");
    }
    assert_eq!(load_file("[sync]\nresync_every = 0").unwrap().settings.sync.resync_every, None);
    assert!(
        refused(load_with(&[("SYNC__RESYNC_EVERY", "1 month")]), "sync.resync_every").contains("no duration")
    );
}

#[test]
fn toml_takes_each_type_as_itself_and_no_other() {
    let text = "[mailmojo]\nlist_id = \"12\"\n[sync]\ndry_run = true\nmax_attempts = 3\nkeep_tags = []\n\
                [sesamy]\nguest_user_id_prefixes = []";
    let settings = load_file(text).unwrap().settings;
    assert_eq!((settings.mailmojo.list_id, settings.sync.max_attempts), (12, 3));
    assert!(settings.sync.dry_run && settings.sync.keep_tags.is_empty());
    assert!(settings.sesamy.guest_user_id_prefixes.is_empty());

    for (text, at_fault, reason) in [
        ("[sync]\ndebounce = 2", "sync.debounce", "2s"),
        ("[sync]\nmax_attempts = 5.0", "sync.max_attempts", "not a whole number above 0"),
        ("[mailmojo]\nlist_id = true", "mailmojo.list_id", "not a whole number above 0"),
        ("[webhook]\nbearer_tokens = \"one\"", "webhook.bearer_tokens", "has to be a list"),
        ("[webhook]\nbearer_tokens = [\"\"]", "webhook.bearer_tokens", "number 1: it is empty"),
        ("[webhook]\nbearer_tokens = [5]", "webhook.bearer_tokens", "without quotes"),
        ("[sesamy]\nvendor_id = 5", "sesamy.vendor_id", "text in quotes"),
        ("[sesamy]\nguest_user_id_prefixes = [\"\"]", "sesamy.guest_user_id_prefixes", "it is empty"),
    ] {
        let message = refused_only(load_file(text), at_fault);
        assert!(message.contains(reason), "{reason:?} in:\n{message}");
    }
}

#[test]
fn credentials_are_a_token_or_a_whole_client_and_never_both() {
    for (section, token) in [("sesamy", "access_token"), ("mailmojo", "api_token")] {
        let variable = |key: &str| format!("{section}__{key}").to_uppercase();
        let (token_name, id, secret) = (variable(token), variable("client_id"), variable("client_secret"));
        let (token_name, id, secret) = (token_name.as_str(), id.as_str(), secret.as_str());
        let at = |key: &str| format!("{section}.{key}");

        let client = load_with(&[(token_name, ""), (id, "me"), (secret, "s")]).unwrap().settings;
        let credentials =
            if section == "sesamy" { client.sesamy.credentials } else { client.mailmojo.credentials };
        assert!(matches!(credentials, Credentials::Client { id, .. } if id == "me"));

        refused_only(load_with(&[(token_name, "")]), &at(token));
        refused_only(load_with(&[(token_name, ""), (id, "me")]), &at("client_secret"));
        refused_only(load_with(&[(token_name, ""), (secret, "s")]), &at("client_id"));
        for both in [&[(id, "me"), (secret, "s")][..], &[(id, "me")], &[(secret, "s")]] {
            let message = refused_only(load_with(both), &at(token));
            assert!(message.contains("together with client credentials"), "{message}");
        }
        // A wrong one is told as wrong, not as missing too.
        refused_only(load_with(&[(token_name, "a b")]), &at(token));
    }
}

#[test]
fn the_server_starts_open_only_where_that_is_asked_for() {
    let open = [("WEBHOOK__BEARER_TOKENS", "")];
    refused_only(load_with(&open), "webhook.bearer_tokens");
    let said = [open[0], ("WEBHOOK__ALLOW_UNAUTHENTICATED", "true")];
    let loaded = load_with(&said).unwrap();
    assert!(loaded.settings.webhook.allow_unauthenticated);
    assert!(loaded.warnings[0].contains("whoever reaches the service"), "{:?}", loaded.warnings);
    load_with(&[open[0], ("WEBHOOK__HMAC_SECRETS", "secret-0123456789")]).unwrap();
}

#[test]
fn settings_that_contradict_each_other_are_refused() {
    for (env, at_fault) in [
        ([("SYNC__DEADLINE", "10s"), ("SYNC__REQUEST_TIMEOUT", "10s")], "sync.deadline"),
        ([("SYNC__DEADLINE", "9s"), ("SYNC__DRY_RUN", "true")], "sync.deadline"),
        ([("SYNC__BACKOFF_BASE", "3s"), ("SYNC__BACKOFF_CAP", "2s")], "sync.backoff_base"),
    ] {
        refused_only(load_with(&env), at_fault);
    }
}

#[test]
fn what_works_but_should_be_looked_at_is_a_warning() {
    for (variable, value, expected) in [
        (
            "WEBHOOK__BEARER_TOKENS",
            "short,webhook-token-of-32-characters-x",
            Some("has 1 of 2 shorter than 16"),
        ),
        ("WEBHOOK__BEARER_TOKENS", "sixteen-letters!", None),
        ("WEBHOOK__HMAC_SECRETS", "short", Some("webhook.hmac_secrets has 1 of 1 shorter")),
        ("WEBHOOK__ALLOW_UNAUTHENTICATED", "true", Some("does nothing")),
        ("MAILMOJO__API_URL", "http://mailmojo.example", Some("mailmojo.api_url is plain http")),
        ("SESAMY__TOKEN_URL", "http://10.0.0.1/token", Some("sesamy.token_url is plain http")),
        ("SESAMY__API_URL", "http://127.8.8.8:80", None),
        ("SESAMY__API_URL", "http://[::1]:80", None),
        ("SESAMY__API_URL", "http://localhost:80", None),
        ("SYNC__KEEP_TAGS", "vip", Some("only sesamy_ tags are ever removed")),
        ("SYNC__KEEP_TAGS", "sesamy_*_x", Some("only at the end")),
        ("SYNC__CONCURRENCY", "500", None),
        ("SYNC__RESYNC_EVERY", "59m", Some("sync.resync_every is less than an hour")),
        ("SYNC__RESYNC_EVERY", "1h", None),
        ("SYNC__RESYNC_EVERY", "0", None),
        ("LOG__LEVEL", "warning", Some("taken for a target")),
        ("LOG__LEVEL", "DEBUG", None),
    ] {
        let warnings = load_with(&[(variable, value)]).unwrap().warnings;
        match expected {
            Some(expected) => {
                assert_eq!(warnings.len(), 1, "{variable}={value}: {warnings:?}");
                assert!(warnings[0].contains(expected), "{warnings:?}");
            }
            None => assert_eq!(warnings, Vec::<String>::new(), "{variable}={value}"),
        }
    }
}

#[test]
fn a_postgres_database_is_taken_in_both_spellings() {
    for url in ["postgres://queue:pass%2Fword@db/queue", "postgresql://db:6432/queue?sslmode=verify-full"] {
        let queue = load_with(&[("QUEUE__URL", url)]).unwrap().settings.queue;
        assert_eq!(queue.url, QueueUrl::Postgres(crate::queue::PostgresUrl::parse(url).unwrap()));
    }
}
