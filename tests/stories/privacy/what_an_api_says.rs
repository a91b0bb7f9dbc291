//! What an API says: it quotes other people too, whom nothing here knows. Its sentences are neither logged nor kept; the
//! operator who asks is shown them.

use serde_json::{Value, json};
use sesamy_mailmojo::sandbox::{CannedAnswer, Fault, Route, Rule, contact};

use crate::support::admin::{Office, TOKEN};
use crate::support::faults::{address, people, synced, text};
use crate::support::harness::{LIST, Town};
use crate::support::shell::run;

const AT_ONCE: (&str, &str) = ("SYNC__DEBOUNCE", "0s");
/// Somebody whom neither API has told us of.
const BERIT: &str = "belongs to the contact Berit Q., phone 99 88 77 66, berit@example.com";

/// An error that quotes her wherever it has room for a sentence, and names itself in the places for that.
fn quoting(status: u16) -> CannedAnswer {
    let error = json!({
        "code": "duplicate_contact",
        "message": BERIT,
        "details": {"phone": BERIT, "berit@example.com": BERIT, "99887766": BERIT},
        "request_id": "req_8f-3A.1",
    });
    Fault::status(status).json(json!({
        "error": error,
        "title": BERIT,
        "detail": BERIT,
        "errors": {"email": [BERIT], "Berit Q.": [BERIT]},
        "data": [],
    }))
}

/// The same in the places where names belong.
fn misplaced(status: u16) -> CannedAnswer {
    Fault::status(status)
        .json(json!({"code": BERIT, "request_id": BERIT, "errors": [{"field": BERIT, "message": BERIT}], "error": BERIT}))
}

/// Her first name and her number alone, in the places where names belong: each has the form of an identifier.
fn disguised(status: u16) -> CannedAnswer {
    let details = json!([{"field": "Berit"}, {"field": "of.Berit"}, {"field": "phone"}]);
    let error = json!({"code": "tel-99887766", "request_id": "4799887766", "details": details});
    Fault::status(status).json(json!({"error": error, "errors": {"Berit": "Berit", "berit": ["Berit"]}}))
}

#[track_caller]
fn nothing_of_berit(what: &str, told: &str) {
    for word in ["Berit", "berit", "99 88", "99887766", "belongs to"] {
        assert!(!told.contains(word), "{what} has {word:?}: {told}");
    }
}

/// All that the queue's file has, the journal among it.
fn nothing_of_berit_in_the_files(town: &Town) {
    for file in std::fs::read_dir(town.folder.path()).unwrap() {
        let path = file.unwrap().path();
        let bytes = std::fs::read(&path).unwrap();
        nothing_of_berit(&path.display().to_string(), &String::from_utf8_lossy(&bytes));
    }
}

#[tokio::test]
async fn whatever_an_api_says_of_others_is_in_no_log_row_history_metric_or_list() {
    let town = Town::with(&[AT_ONCE, ("SYNC__BACKOFF_CAP", "30ms"), ("LOG__LEVEL", "debug")]).await;
    let routes = [
        Route::Profile,
        Route::Contracts,
        Route::Entitlements,
        Route::ContactGet,
        Route::Subscribe,
        Route::ContactPatch,
    ];
    let mut users = Vec::new();
    for (at, route) in routes.into_iter().enumerate() {
        for status in [200, 400, 403, 409, 422, 429, 500] {
            let answers = [quoting(status), misplaced(status), disguised(status)];
            for (kind, answer) in answers.into_iter().enumerate() {
                let user = format!("u{at}-{status}-{kind}");
                people(&town, &[&user]);
                if route == Route::ContactPatch {
                    let there = contact(&address(&user)).tags(["sesamy_old"]);
                    town.sandbox.mailmojo.put_contact(there.on_list(LIST));
                }
                let rule = || Rule::on(route, answer.clone()).times(1);
                town.sandbox.sesamy.inject(rule().about(&user));
                town.sandbox.mailmojo.inject(rule().about(&address(&user)));
                town.sync(&user).await;
                // The line is written after the settlement, which is what `sync` waits for.
                let is_its_sync =
                    |line: &Value| line["message"] == "sync" && line["user_id"] == user.as_str();
                let outcome =
                    town.service.output.wait_for("the user's sync", is_its_sync).await["outcome"].clone();
                let parks = [400, 409, 422].contains(&status);
                assert_eq!(outcome == "parked", parks, "{user}: {outcome}");
                assert!(
                    ["parked", "failed", "postponed"].iter().any(|bad| outcome == *bad),
                    "{user}: {outcome}"
                );
                users.push(user);
            }
        }
    }
    // Token endpoints have descriptions.
    let refusal = json!({"error": "invalid_client", "error_description": BERIT});
    town.sandbox.sesamy.inject(Rule::on(Route::Token, Fault::status(401).json(refusal)).times(1));
    town.sandbox.sesamy.revoke_issued_tokens();
    town.sync("u0-200-0").await;

    nothing_of_berit("the log", &town.service.output.text());
    nothing_of_berit("the metrics", &town.service.metrics().await);
    nothing_of_berit("/readyz", &town.service.get("/readyz").await.1.to_string());
    nothing_of_berit_in_the_files(&town);
    for arguments in [&["queue", "list", "--json"][..], &["queue", "show", &users[9]], &["queue", "list"]] {
        let ended = run(arguments, town.settings()).await;
        assert!(ended.stdout.contains("was answered 4"), "{ended:?}");
        nothing_of_berit("a list", &format!("{ended:?}"));
    }
}

/// The profile that fails is the one that would say whom the message quotes.
#[tokio::test]
async fn a_failing_profile_and_a_refused_contact_quote_nobody_at_any_level() {
    for level in ["info", "debug"] {
        let office = Office::with(&[("LOG__LEVEL", level), ("SYNC__BACKOFF_CAP", "30ms")]).await;
        let town = &office.town;
        let quote = Fault::status(500).message("cannot load Berit, phone 99887766 (99 88 77 66)");
        town.sandbox.sesamy.inject(Rule::on(Route::Profile, quote).about("kari").times(1));
        town.sandbox.mailmojo.inject(Rule::on(Route::Subscribe, quoting(422)));
        people(town, &["kari"]);
        town.sync("kari").await;

        let failed = synced(town, "kari", "failed", 1).await;
        let call = "sesamy: GET /management/users/{id} was answered 500";
        assert!(failed["error"].as_str().unwrap().starts_with(call), "{failed}");
        let refused = "mailmojo: POST /v1/lists/{id}/subscribers/ was answered 422 \
                       (code duplicate_contact; request_id req_8f-3A.1; fields email, phone)";
        assert_eq!(synced(town, "kari", "parked", 1).await["error"], refused);
        let user = office.user("kari").await;
        assert_eq!((&user["state"], &user["error"]), (&"parked".into(), &refused.into()), "{user}");
        let shown = run(&["queue", "show", "kari"], town.settings()).await;
        assert!(shown.stdout.contains(refused), "{shown:?}");

        nothing_of_berit("the admin API", &user.to_string());
        nothing_of_berit("the parked users", &office.api("GET parked", "").await.body);
        nothing_of_berit("queue show", &format!("{shown:?}"));
        nothing_of_berit("the log", &town.service.output.text());
        nothing_of_berit_in_the_files(town);
    }
}

#[tokio::test]
async fn what_is_kept_names_the_call_the_status_the_code_the_fields_and_the_request() {
    let town = Town::with(&[AT_ONCE]).await;
    for (user, request) in [("one", "req_1"), ("two", "req_2")] {
        people(&town, &[user]);
        let error = json!({"code": "duplicate_contact", "message": BERIT, "request_id": request});
        let answer = Fault::status(409).json(json!({"error": error, "errors": {"phone": [BERIT]}}));
        town.sandbox.mailmojo.inject(Rule::on(Route::Subscribe, answer).about(&address(user)).times(1));
        town.sync(user).await;
        let line = synced(&town, user, "parked", 1).await;
        let expected = format!(
            "mailmojo: POST /v1/lists/{{id}}/subscribers/ was answered 409 \
             (code duplicate_contact; request_id {request}; fields phone)"
        );
        assert_eq!(line["error"], expected);
        let row = |column: &str| {
            text(&town, &format!("SELECT {column} FROM users WHERE user_id = '{user}'")).unwrap()
        };
        assert_eq!(row("error"), expected);
        assert_eq!(
            row("answer"),
            "mailmojo: 409 (code duplicate_contact; fields phone)",
            "the same for both"
        );
        let history = text(
            &town,
            &format!("SELECT json_extract(entry, '$.error') FROM history WHERE user_id = '{user}'"),
        )
        .unwrap();
        assert_eq!(history, expected);
    }
}

#[tokio::test]
async fn an_operator_who_asks_is_shown_the_apis_own_words_and_they_are_kept_nowhere() {
    let office = Office::with(&[("LOG__LEVEL", "debug")]).await;
    let town = &office.town;
    people(town, &["kari"]);
    town.sandbox.sesamy.inject(Rule::on(Route::Profile, quoting(422)).about("kari"));
    town.sandbox.sesamy.inject(Rule::on(Route::Users, quoting(400)));
    town.sandbox.mailmojo.inject(Rule::on(Route::List, quoting(500)));

    let words = "belongs to the contact Berit Q., phone 99 88 77 66";
    for arguments in
        [&["preview", "kari"][..], &["preview", "--email", "kari@example.com"], &["sync", "kari"], &["check"]]
    {
        let ended = run(arguments, town.settings()).await;
        assert_eq!(ended.code, Some(1), "{ended:?}");
        assert!(ended.stdout.contains("the API's own words: “") && ended.stdout.contains(words), "{ended:?}");
        assert!(
            ended.stdout.contains("(code duplicate_contact; request_id req_8f-3A.1; fields "),
            "{ended:?}"
        );
        nothing_of_berit("the log of a command", &ended.stderr);

        let ended = run(&[arguments, &["--json"]].concat(), town.settings()).await;
        let answer: Value = serde_json::from_str(&ended.stdout).unwrap();
        let all = answer["users"].as_array().or(answer["checks"].as_array()).unwrap();
        let failed = all.iter().find(|it| it["error"].is_string() || it["ok"] == false).unwrap();
        assert!(failed["api_said"].as_str().unwrap().contains(words), "{failed}");
        nothing_of_berit("our own message", &format!("{}{}", failed["error"], failed["detail"]));
        nothing_of_berit("the log of a command", &ended.stderr);
    }

    let cookie = office.login(TOKEN).await;
    let page = office.get("/admin/users/kari?preview=1", &cookie).await;
    assert!(page.body.contains(words), "{page:?}");
    assert_eq!(page.header("cache-control"), Some("no-store"));
    // Programs are told what is kept, and so is the page that nobody has asked for a preview on.
    for answer in [
        office.api("GET users/kari/preview", "").await,
        office.api("POST users/kari/sync", "").await,
        office.api("GET users/kari", "").await,
        office.api("GET parked", "").await,
        office.get("/admin/users/kari", &cookie).await,
        office.get("/admin/parked", &cookie).await,
    ] {
        assert!(answer.body.contains("duplicate_contact"), "{answer:?}");
        nothing_of_berit("an answer", &answer.body);
    }
    nothing_of_berit("the log", &town.service.output.text());
    nothing_of_berit_in_the_files(town);
}
