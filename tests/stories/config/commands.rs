//! The command line: what there is, where settings come from, and what is told where they are wrong.

use std::fs;

use reqwest::StatusCode;
use serde_json::json;
use sesamy_mailmojo::sandbox::{Mailmojo, Sandbox, Sesamy};

use crate::support::harness::{Service, Town, command, http};
use crate::support::shell::{Settings, changed, run};

#[tokio::test]
async fn help_tells_every_command_that_works_and_no_other() {
    let nothing = Settings::new();
    let help = run(&["--help"], &nothing).await;
    assert_eq!(help.code, Some(0));
    let listed = |name: &str| help.stdout.lines().any(|line| line.starts_with(&format!("  {name} ")));
    for name in ["serve", "demo", "check", "preview", "sync", "queue", "backfill", "healthcheck"] {
        assert!(listed(name), "{}", help.stdout);
        let own = run(&[name, "--help"], &nothing).await;
        assert_eq!(own.code, Some(0));
        assert!(own.stdout.contains("Example") && own.stdout.contains("sesamy-mailmojo "), "{}", own.stdout);
    }
    for name in ["list", "show", "retry", "pause", "resume"] {
        let own = run(&["queue", name, "--help"], &nothing).await.stdout;
        assert!(own.contains("Example") && own.contains("--json"), "{own}");
    }
    for name in ["check", "preview", "sync", "queue", "backfill"] {
        assert!(run(&[name, "--help"], &nothing).await.stdout.contains("--json"), "{name}");
    }
    let version = run(&["--version"], &nothing).await;
    assert_eq!(version.stdout.trim(), format!("sesamy-mailmojo {}", env!("CARGO_PKG_VERSION")));
}

#[tokio::test]
async fn everything_that_is_wrong_with_the_settings_is_told_at_once_and_no_secret() {
    let wrong = changed(
        &Settings::new(),
        &[
            ("MAILMOJO__LIST_ID", "the big one"),
            ("MAILMOJO__API_TOKEN", "canary-mailmojo-token"),
            ("MAILMOJO__CLIENT_ID", "canary-mailmojo-client"),
            ("MAILMOJO__CLIENT_SECRET", "canary-mailmojo-secret"),
            ("SESAMY__CLIENT_SECRET", "canary-sesamy-secret"),
            ("WEBHOOK__HMAC_SECRETS_FILE", "canary-secret-in-the-wrong-variable"),
            ("SYNC__DEBOUCE", "1s"),
            ("SYNC__DEADLINE", "1s"),
            ("SERVER__BODY_LIMIT_BYTES", "0"),
            ("QUEUE__URL", "mysql://root:canary-password@localhost/queue"),
            ("PORT", "http"),
        ],
    );
    // Told alike by every command that needs them, and by what is done without a command.
    for arguments in [
        &["serve"][..],
        &["check"],
        &["check", "--json"],
        &["preview", "u1"],
        &["sync", "u1"],
        &["queue"],
        &[],
    ] {
        let ended = run(arguments, &wrong).await;
        assert_eq!(ended.code, Some(2), "{arguments:?}: {ended:?}");
        if arguments.contains(&"--json") {
            let answer: serde_json::Value =
                serde_json::from_str(&ended.stdout).expect("an answer for programs");
            assert_eq!((&answer["ok"], &answer["checks"][0]["what"]), (&false.into(), &"settings".into()));
        } else {
            assert_eq!(ended.stdout, "");
        }
        assert!(!ended.stdout.contains("canary"), "{}", ended.stdout);
        for at_fault in [
            "mailmojo.list_id",
            "MAILMOJO__LIST_ID",
            "mailmojo.api_token",
            "sesamy.client_id",
            "SESAMY__CLIENT_ID",
            "webhook.hmac_secrets",
            "SYNC__DEBOUCE",
            "SYNC__DEBOUNCE",
            "sync.deadline",
            "server.body_limit_bytes",
            "queue.url",
            "PORT",
        ] {
            assert!(ended.stderr.contains(at_fault), "{at_fault} is not in\n{}", ended.stderr);
        }
        assert!(!ended.stderr.contains("canary"), "{}", ended.stderr);
    }

    // With nothing at all, it is told what is needed.
    let ended = run(&[], &Settings::new()).await;
    assert_eq!(ended.code, Some(2));
    for missing in ["webhook.bearer_tokens", "sesamy.access_token", "mailmojo.api_token", "mailmojo.list_id"]
    {
        assert!(ended.stderr.contains(missing), "{missing} is not in\n{}", ended.stderr);
    }
    let none = run(&["--config", "/nowhere/publisher.toml", "serve"], &Settings::new()).await;
    assert_eq!(none.code, Some(2));
    assert!(none.stderr.contains("/nowhere/publisher.toml"), "{}", none.stderr);
}

#[tokio::test]
async fn settings_come_from_a_file_then_from_the_environment_and_secrets_from_files() {
    let town = Town::start().await;
    let path = |name: &str| town.folder.path().join(name).display().to_string();
    let toml = settings_file(&town.sandbox, "from-the-settings-file", &path("file.db"));
    fs::write(path("publisher.toml"), &toml).unwrap();
    fs::write(path("broken.toml"), "[server\n").unwrap();
    fs::write(path("tokens"), "from-a-secrets-file-1\n  from-a-secrets-file-2\n\n").unwrap();
    let file = path("publisher.toml");

    // The file alone, with either way to name it; `--config` goes before CONFIG_FILE; PORT before its port.
    for (arguments, environment) in [
        (&["--config", &file, "serve"][..], changed(&Settings::new(), &[("PORT", "0")])),
        (
            &["serve", "--config", &file],
            changed(&Settings::new(), &[("PORT", "0"), ("CONFIG_FILE", &path("broken.toml"))]),
        ),
        (&[], changed(&Settings::new(), &[("PORT", "0"), ("CONFIG_FILE", &file)])),
    ] {
        let mut serve = command();
        serve.args(arguments);
        let mut service = Service::start_by(serve, &environment).await;
        assert_ne!(service.address.port(), 1, "PORT overrides the port");
        assert_eq!(answers(&service, ["from-the-settings-file", "from-a-secrets-file-1"]).await, [200, 401]);
        service.kill().await; // the queue is free for the next
    }

    // The environment goes before the file, here with the tokens in a file of their own.
    let environment = changed(
        &Settings::new(),
        &[
            ("CONFIG_FILE", &file),
            ("SERVER__LISTEN", "127.0.0.1:0"),
            ("WEBHOOK__BEARER_TOKENS_FILE", &path("tokens")),
            ("MAILMOJO__LISTID", &Mailmojo::LIST.to_string()),
        ],
    );
    let service = Service::start(&environment).await;
    let tokens = ["from-the-settings-file", "from-a-secrets-file-1", "from-a-secrets-file-2"];
    assert_eq!(answers(&service, tokens).await, [401, 200, 200]);

    let both = changed(&environment, &[("WEBHOOK__BEARER_TOKENS", "canary-token-in-both-places")]);
    let ended = run(&["serve"], &both).await;
    assert_eq!(ended.code, Some(2));
    assert!(
        ended.stderr.contains("WEBHOOK__BEARER_TOKENS and by WEBHOOK__BEARER_TOKENS_FILE"),
        "{}",
        ended.stderr
    );
    assert!(!ended.stderr.contains("canary"), "{}", ended.stderr);
}

#[tokio::test]
async fn a_container_platform_gives_a_port_and_an_unused_environment() {
    let town = Town::start().await;
    let free = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    let queue = format!("sqlite://{}", town.folder.path().join("other.db").display());
    let port = free.to_string();
    let changes = [
        ("PORT", &*port),
        ("QUEUE__URL", &queue),
        ("HOSTNAME", "box"),
        ("KUBERNETES_PORT", "tcp://10.0.0.1:443"),
        ("MAILMOJO_PORT", "tcp://10.0.0.2:80"),
        ("RUST_LOG", "trace"),
    ];
    let service = Service::start(&changed(town.settings(), &changes)).await;
    assert_eq!(service.address.port(), free);
    assert_eq!(service.get("/healthz").await.0, StatusCode::OK);
}

/// A settings file with everything that a start needs, on a port that nobody may have.
fn settings_file(sandbox: &Sandbox, token: &str, queue: &str) -> String {
    let (sesamy, mailmojo) = (&sandbox.sesamy, &sandbox.mailmojo);
    format!(
        "[server]\nlisten = \"127.0.0.1:1\"\n\
         [webhook]\nbearer_tokens = [\"{token}\"]\n\
         [sesamy]\napi_url = \"{}\"\ntoken_url = \"{}\"\nclient_id = \"{}\"\nclient_secret = \"{}\"\n\
         [mailmojo]\napiUrl = \"{}\"\napiToken = \"{}\"\nlistId = \"{}\"\n\
         [queue]\nurl = \"sqlite://{queue}\"\n",
        sesamy.url(),
        sesamy.token_url(),
        Sesamy::CLIENT_ID,
        Sesamy::CLIENT_SECRET,
        mailmojo.url(),
        Mailmojo::FIXED_TOKEN,
        Mailmojo::LIST,
    )
}

/// The statuses of an event that is ignored, sent with each of `tokens`.
async fn answers<const N: usize>(service: &Service, tokens: [&str; N]) -> [u16; N] {
    let mut statuses = [0; N];
    for (status, token) in statuses.iter_mut().zip(tokens) {
        let event = json!({"eventType": "something.1#new"}).to_string();
        let request = http().post(service.url("/webhooks/sesamy")).bearer_auth(token).body(event);
        *status = request.send().await.unwrap().status().as_u16();
    }
    statuses
}
