//! Nothing personal and no secret comes out: values that can be told from all others are sent through every path, and
//! then looked for wherever the service tells something.

use std::time::Duration;

use reqwest::{Method, StatusCode};
use serde_json::{Value, json};
use sesamy_mailmojo::sandbox::{Fault, Route, Rule, Sandbox, contact, contract, user};

use crate::shell::run;
use crate::town::{LIST, SECRET, TOKEN, Town, http};

/// Every address, name, token and secret of this story has this word in it.
const MARK: &str = "canary";
const PHONE: &str = "+47 900 90 091";
const CLIENTS: [(&str, &str); 4] = [
    ("SESAMY__CLIENT_ID", "canary-sesamy-client"),
    ("SESAMY__CLIENT_SECRET", "canary-sesamy-secret"),
    ("MAILMOJO__CLIENT_ID", "canary-mailmojo-client"),
    ("MAILMOJO__CLIENT_SECRET", "canary-mailmojo-secret"),
];

#[tokio::test]
async fn nothing_personal_and_no_secret_is_in_any_output_at_level_debug() {
    let tokens = format!("{TOKEN},canary-webhook-token");
    let mut settings = CLIENTS.to_vec();
    settings.extend([
        ("MAILMOJO__API_TOKEN", ""),
        ("WEBHOOK__BEARER_TOKENS", &tokens),
        ("SESAMY__VENDOR_ID", "vendor_1"),
        ("SYNC__REQUEST_TIMEOUT", "1s"),
        ("SYNC__BACKOFF_CAP", "40ms"),
        ("LOG__LEVEL", "debug"),
    ]);
    let town = Town::before_start(&settings, |sandbox| {
        let [(_, id), (_, secret), (_, mailmojo_id), (_, mailmojo_secret)] = CLIENTS;
        sandbox.sesamy.set_client(id, secret);
        sandbox.mailmojo.set_client(mailmojo_id, mailmojo_secret, &["contacts", "subscribe"]);
    })
    .await;

    let users: Vec<String> =
        bad_days().enumerate().map(|(n, bad_day)| give(&town.sandbox, n, bad_day)).collect();
    for user in &users {
        assert_eq!(town.event("userVendor.1#update", user).await, StatusCode::ACCEPTED);
    }
    town.settled().await;
    token_endpoints_fail(&town).await;
    let mut told = callers_go_wrong(&town).await;
    told.extend(
        [town.service.get("/healthz").await, town.service.get("/readyz").await].map(|it| it.1.to_string()),
    );
    told.push(town.service.metrics().await);
    told.push(kept(&town));

    // The story is one of failures, or it would prove little.
    let log = town.service.output.lines();
    let bad = |line: &&Value| ["failed", "parked", "postponed"].iter().any(|bad| line["outcome"] == *bad);
    assert!(log.iter().filter(bad).count() >= users.len(), "{}", town.service.output.text());
    let text = town.service.output.text();
    assert!(text.contains("was answered 422") && text.contains("sha256:"), "{text}");
    assert!(told.last().unwrap().contains("was answered 422"), "{told:?}");
    told.push(text);

    let secrets = [
        MARK,
        TOKEN,
        SECRET,
        PHONE,
        "90090091",
        "900-90-091",
        "sandbox-sesamy-token-",
        "sandbox-mailmojo-token-",
    ];
    for text in &told {
        for line in text.lines() {
            let lower = line.to_lowercase();
            assert!(secrets.iter().all(|secret| !lower.contains(secret)), "this was told: {line}");
        }
    }
}

/// A token and a secret that their API says back to the service and to the command that asks it. The secret looks like one of
/// the words that a token endpoint answers.
#[tokio::test]
async fn a_token_or_secret_that_an_api_says_back_is_told_by_no_command_and_not_by_the_service() {
    let token = "Canary/Token+of=Mailmojo";
    let settings = [
        ("MAILMOJO__API_TOKEN", token),
        ("SESAMY__CLIENT_ID", "canary-client"),
        ("SESAMY__CLIENT_SECRET", "canary_secret"),
        ("SYNC__DEBOUNCE", "0s"),
    ];
    let town = Town::before_start(&settings, |sandbox| {
        sandbox.mailmojo.accept_token(token, &["contacts", "subscribe"]);
        sandbox.sesamy.set_client("canary-client", "canary_secret");
        sandbox.sesamy.put_user(user("u1").email("u1@example.com"));
    })
    .await;
    let refusal = |status: u16| Fault::status(status).message(&format!("odd: Bearer {token}"));
    let mut told = Vec::new();
    for status in [400, 401, 403, 422, 500] {
        town.sandbox.mailmojo.inject(Rule::on(Route::List, refusal(status)).times(2));
        for arguments in [&["check"][..], &["check", "--json"]] {
            let ended = run(arguments, town.settings()).await;
            assert_eq!(ended.code, Some(1), "{ended:?}");
            told.push(ended.stdout + ended.stderr.as_str());
        }
    }
    let secret = || Fault::status(401).json(json!({"error": "canary_secret"}));
    town.sandbox.sesamy.inject(Rule::on(Route::Token, secret()).times(1));
    let ended = run(&["check"], town.settings()).await;
    assert!(ended.stdout.contains("the token endpoint answered 401"), "{ended:?}");
    told.push(ended.stdout + ended.stderr.as_str());

    town.sandbox.mailmojo.inject(Rule::on(Route::Subscribe, refusal(422)).times(1));
    town.sync("u1").await;
    told.push(kept(&town));
    town.sandbox.sesamy.inject(Rule::on(Route::Token, secret()).times(1));
    town.sandbox.sesamy.revoke_issued_tokens();
    town.sync("u1").await;
    told.push(town.service.get("/readyz").await.1.to_string());
    told.push(town.service.metrics().await);
    told.push(town.service.output.text());

    assert!(told.iter().filter(|text| text.contains("[masked]")).count() >= 5, "{told:#?}");
    for line in told.iter().flat_map(|text| text.lines()) {
        assert!(!line.to_lowercase().contains(MARK), "this was told: {line}");
    }
}

/// What goes wrong, and where. Whatever can quote, quotes.
fn bad_days() -> impl Iterator<Item = (Route, Fault)> {
    let quoting = |status| Fault::from(Fault::status(status).message("QUOTE"));
    let everywhere = [
        Route::Profile,
        Route::Contracts,
        Route::Entitlements,
        Route::ContactGet,
        Route::ContactPatch,
        Route::Subscribe,
    ];
    everywhere.into_iter().flat_map(move |route| {
        let mut faults = vec![
            quoting(400),
            quoting(403),
            quoting(404),
            quoting(409),
            quoting(422),
            quoting(500),
            Fault::status(302)
                .header("Location", "https://canary.example.com/?email=canary@example.com")
                .into(),
            Fault::status(503).html().into(),
            Fault::wrong_shape(
                json!({"email": ["QUOTE"], "userId": "QUOTE", "tags": "QUOTE", "data": "QUOTE"}),
            ),
            Fault::wrong_shape(json!("QUOTE")),
            Fault::Close,
            Fault::CutJson,
            Fault::CutConnection,
        ];
        if route == Route::ContactPatch {
            faults.push(Fault::Hang);
            faults.push(quoting(429));
            faults.push(Fault::done_then(quoting(500)));
        }
        faults.into_iter().map(move |fault| (route, fault))
    })
}

/// Makes the `n`th user, who has this bad day once; the user's id.
fn give(sandbox: &Sandbox, n: usize, (route, fault): (Route, Fault)) -> String {
    let email = format!("Canary+{n}@example.com");
    // Some ids could be an address.
    let id = if n.is_multiple_of(3) { format!("email|{email}") } else { format!("u{n}") };
    let who =
        user(&id).email(&email).first_name("Canaryfirst").last_name("O'Canary Løken").mobile_phone(PHONE);
    sandbox.sesamy.put_user(who.contract(contract("c1")));
    if route == Route::ContactPatch {
        let known = contact(&email).first_name("Canaryold").tags(["vip", "sesamy_old"]);
        sandbox.mailmojo.put_contact(known.on_list(LIST));
    }
    let (api, subject) = match route {
        Route::Profile | Route::Contracts | Route::Entitlements => ("sesamy", &id),
        _ => ("mailmojo", &email),
    };
    let token = format!("sandbox-{api}-token-1");
    let mut quote = format!("{email} is odd ({id}, CANARY%2B{n}%40example.com, {token})");
    if route != Route::Profile {
        let (phone, phone_2) = (PHONE.replace(' ', ""), PHONE.replace(' ', "-"));
        quote += &format!(" CANARYFIRST o&#39;canary l&#248;ken O%27Canary+L%C3%B8ken tel:{phone} {phone_2}");
    }
    if route == Route::ContactPatch {
        quote += " CanaryOLD";
    }
    let rule = Rule::on(route, quoted(fault, &quote)).about(subject).times(1);
    if api == "sesamy" {
        sandbox.sesamy.inject(rule)
    } else {
        sandbox.mailmojo.inject(rule)
    }
    id
}

/// The fault, with the quote where a place is kept for it.
fn quoted(fault: Fault, quote: &str) -> Fault {
    match fault {
        Fault::Answer(answer) => {
            let told = format!("{answer:?}");
            if told.contains(r#"ApiError("QUOTE")"#) {
                answer.message(quote).into()
            } else if told.contains("QUOTE") {
                let json = json!({"email": [quote], "userId": quote, "tags": quote, "data": quote, "message": quote});
                answer.json(json).into()
            } else {
                answer.into()
            }
        }
        Fault::Done(fault) => Fault::done_then(quoted(*fault, quote)),
        other => other,
    }
}

/// Both token endpoints refuse once, and quote what they were sent.
async fn token_endpoints_fail(town: &Town) {
    let sandbox = &town.sandbox;
    let quote: String = CLIENTS.iter().map(|(_, value)| format!("{value} ")).collect();
    let refusal = || Fault::status(400).json(json!({"error": "invalid_client", "error_description": quote}));
    sandbox.sesamy.inject(Rule::on(Route::Token, refusal()).times(1));
    sandbox
        .sesamy
        .inject(Rule::on(Route::Token, Fault::wrong_shape(json!({"access_token": [quote]}))).times(1));
    sandbox.mailmojo.inject(Rule::on(Route::Token, refusal()).times(1));
    let refused = Fault::status(401).message("canary@example.com may not; sandbox-sesamy-token-3");
    sandbox.sesamy.inject(Rule::on(Route::Profile, refused).times(4)); // renewed ones too: the third is told in a message
    sandbox.sesamy.revoke_issued_tokens();
    sandbox.mailmojo.revoke_issued_tokens();
    town.sync("u1").await;
    sandbox.sesamy.clear_faults();
    sandbox.mailmojo.clear_faults();
}

/// Requests that are wrong in every way that can quote; the answers.
async fn callers_go_wrong(town: &Town) -> Vec<String> {
    let bearer = |token: &str| ("Authorization", format!("Bearer {token}"));
    let event = |user: Value| {
        json!({"eventType": "contract.1#update", "vendorId": "vendor_1", "userId": user}).to_string()
    };
    let good = bearer(TOKEN);
    let hook = "/webhooks/sesamy?token=canary-in-a-query";
    let mut answers = Vec::new();
    for (method, path, header, body) in [
        ("POST", hook, bearer("canary-wrong-token"), event(json!("canary"))),
        ("POST", hook, ("X-Sesamy-Signature", format!("sha256={MARK}")), event(json!("canary"))),
        ("POST", hook, ("X-Canary", "canary-header".to_owned()), event(json!("canary"))),
        ("POST", hook, good.clone(), r#"{"eventType": "canary"#.to_owned()),
        ("POST", hook, good.clone(), r#"{"canary": 1, "canary": 2}"#.to_owned()),
        ("POST", hook, good.clone(), r#"{"eventType": {"canary": 1}}"#.to_owned()),
        ("POST", hook, good.clone(), r#"{"eventType": "canary.1#new", "vendorId": "vendor_1"}"#.to_owned()),
        (
            "POST",
            hook,
            good.clone(),
            r#"{"eventType": "contract.1#update", "vendorId": "canary"}"#.to_owned(),
        ),
        ("POST", hook, good.clone(), event(json!(["canary"]))),
        ("POST", hook, good.clone(), event(json!("canary\nforged line"))),
        ("POST", hook, good.clone(), event(json!(MARK.repeat(2_000)))),
        ("POST", hook, good.clone(), event(json!("canary@example.com"))),
        ("POST", hook, bearer("canary-webhook-token"), MARK.repeat(20_000)),
        ("CANARY", hook, good.clone(), String::new()),
        ("GET", "/canary/canary@example.com", good, String::new()),
    ] {
        let method = Method::from_bytes(method.as_bytes()).unwrap();
        let request = http().request(method, town.service.url(path)).header(header.0, header.1).body(body);
        let answer = request.timeout(Duration::from_secs(30)).send().await.unwrap();
        answers.push(format!("{:?}", answer.headers()));
        answers.push(answer.text().await.unwrap());
    }
    town.settled().await;
    answers
}

/// What the queue's file keeps of failures.
fn kept(town: &Town) -> String {
    let queue = rusqlite::Connection::open(town.queue_file()).unwrap();
    let sql =
        "SELECT group_concat(coalesce(error, '') || char(10) || coalesce(answer, ''), char(10)) FROM users";
    queue.query_row(sql, (), |row| row.get(0)).unwrap()
}
