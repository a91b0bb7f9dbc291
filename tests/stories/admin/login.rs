//! Who is let in to the operations page.

use crate::support::admin::{OTHER_TOKEN, Office, TOKEN};
use crate::support::harness::{Service, Town, http};
use crate::support::shell::{changed, run};

#[tokio::test]
async fn without_a_token_there_is_no_page_and_with_one_it_has_a_port_of_its_own() {
    let town = Town::start().await;
    assert_eq!(town.service.page, None);
    let office = Office::open().await;
    assert_ne!(office.page, office.town.service.address);
    assert!(office.page.ip().is_loopback());
    for path in ["/admin", "/admin/login", "/admin/api/status", "/admin/assets/style.css"] {
        assert_eq!(office.town.service.get(path).await.0, 404, "not on the webhook's port");
    }
    for path in ["/webhooks/sesamy", "/healthz", "/readyz"] {
        assert_eq!(office.get(path, "").await.status, 404, "not on the page's port");
    }
    let metrics = office.get("/metrics", "").await;
    assert!(metrics.body.contains("sesamy_mailmojo_queue_rows{state=\"parked\"} 0"), "{metrics:?}");
}

#[tokio::test]
async fn a_token_that_could_be_guessed_stops_the_start() {
    let town = Town::start().await;
    let ended = run(&["serve"], &changed(town.settings(), &[("ADMIN__TOKENS", "canary-of-15-ch")])).await;
    assert_eq!(ended.code, Some(2));
    let told = &ended.stderr;
    assert!(
        told.contains("admin.tokens") && told.contains("16 characters") && !told.contains("canary"),
        "{told}"
    );
}

#[tokio::test]
async fn without_a_session_every_page_leads_to_the_login_and_from_there_back() {
    let office = Office::open().await;
    for (path, to) in [
        ("/", "/admin"),
        ("/admin", "/admin/login"),
        ("/admin/parked?reason=a+b", "/admin/login?back=%2Fadmin%2Fparked%3Freason%3Da%2Bb"),
        ("/admin/users/email%7C9001", "/admin/login?back=%2Fadmin%2Fusers%2Femail%257C9001"),
        ("/admin/settings", "/admin/login?back=%2Fadmin%2Fsettings"),
    ] {
        let answer = office.get(path, "").await;
        assert_eq!((answer.status, answer.header("location")), (303, Some(to)), "{answer:?}");
    }
    for path in ["/admin/logout", "/admin/queue/pause", "/admin/users/email%7C9001/sync", "/admin/find"] {
        let answer = office.post(path, "", "who=x").await;
        assert_eq!((answer.status, answer.header("location")), (303, Some("/admin/login")), "{answer:?}");
    }
    let form = office.get("/admin/login?back=%2Fadmin%2Fparked%3Freason%3Da%2Bb", "").await;
    assert!(form.body.contains("name=\"back\" value=\"/admin/parked?reason=a+b\""), "{}", form.body);
    let body = format!("token={TOKEN}&back=%2Fadmin%2Fparked%3Freason%3Da%2Bb");
    let answer = office.post("/admin/login", "", &body).await;
    assert_eq!(answer.header("location"), Some("/admin/parked?reason=a+b"));
    assert!(!office.is_paused().await);
}

#[tokio::test]
async fn a_token_of_the_list_opens_a_session_that_does_not_hold_it() {
    let office = Office::open().await;
    for token in [TOKEN, OTHER_TOKEN] {
        let answer = office.post("/admin/login", "", &format!("token={token}")).await;
        let cookie = answer.header("set-cookie").unwrap();
        assert!(cookie.ends_with("; Path=/admin; Max-Age=43200; HttpOnly; SameSite=Strict"), "{cookie}");
        assert!(!format!("{answer:?}").contains(token), "{answer:?}");
        assert_eq!((answer.status, answer.header("location")), (303, Some("/admin")));
    }
    assert_eq!(office.get("/admin", &office.login(TOKEN).await).await.status, 200);
    let log = office.town.service.output.text();
    assert!(log.contains("an operator has logged in") && !log.contains(TOKEN), "{log}");

    let beyond = Office::with(&[("ADMIN__LISTEN", "0.0.0.0:0")]).await;
    let answer = beyond.post("/admin/login", "", &format!("token={TOKEN}")).await;
    assert!(answer.header("set-cookie").unwrap().ends_with("; Secure"), "{answer:?}");
}

#[tokio::test]
async fn a_session_that_is_forged_tampered_with_or_of_a_token_taken_out_opens_nothing() {
    let mut office = Office::open().await;
    let cookie = office.login(TOKEN).await;
    let stranger = Office::with(&[("ADMIN__TOKENS", "a-token-of-somebody-else")]).await;
    let foreign = stranger.login("a-token-of-somebody-else").await;
    let value = cookie.trim().strip_prefix("Cookie: ").unwrap();
    let parts: Vec<_> = value.split('.').collect();
    let longer = parts[1].parse::<u64>().unwrap() + 1_000_000;
    for forged in [
        foreign.trim().strip_prefix("Cookie: ").unwrap().to_owned(),
        format!("{}.{longer}.{}.{}", parts[0], parts[2], parts[3]),
        format!("{}.{}.{}.{}", parts[0], parts[1], "0".repeat(32), parts[3]),
        format!("{}.{}.{}.", parts[0], parts[1], parts[2]),
        format!("sesamy_mailmojo_admin={TOKEN}"),
        "sesamy_mailmojo_admin=".to_owned(),
        value.replace("admin=", "other="),
    ] {
        let answer = office.get("/admin", &format!("Cookie: {forged}\r\n")).await;
        assert_eq!(answer.status, 303, "{forged}: {answer:?}");
    }
    let beside = format!("Cookie: a=b; {value}; c=d\r\n");
    assert_eq!(office.get("/admin", &beside).await.status, 200, "another cookie beside it does no harm");

    for (tokens, status) in [(format!("{OTHER_TOKEN},{TOKEN}"), 200), (OTHER_TOKEN.to_owned(), 303)] {
        office.town.service.kill().await;
        office.town.restart(&[("ADMIN__TOKENS", &tokens)]).await;
        office.page = office.town.service.page.unwrap();
        assert_eq!(office.get("/admin", &cookie).await.status, status, "{tokens}");
    }
}

#[tokio::test]
async fn ten_wrong_tokens_within_a_minute_rest_the_login_for_the_right_one_too() {
    let office = Office::open().await;
    let before = office.login(TOKEN).await;
    for number in 0..10 {
        let answer = office.post("/admin/login", "", &format!("token=guess-number-{number}")).await;
        assert_eq!(answer.status, 401, "{number}");
        assert!(answer.body.contains("none of the tokens") && !answer.body.contains("guess-number"));
        assert!(answer.header("set-cookie").is_none());
    }
    let answer = office.post("/admin/login", "", &format!("token={TOKEN}")).await;
    assert_eq!(answer.status, 429, "{answer:?}");
    let seconds: u64 = answer.header("retry-after").unwrap().parse().unwrap();
    assert!((1..=60).contains(&seconds) && answer.header("set-cookie").is_none());
    assert_eq!(office.get("/admin", &before).await.status, 200, "who is in stays in");
    assert!(!office.town.service.output.text().contains("guess-number"));
}

#[tokio::test]
async fn who_logs_out_has_no_session_any_more() {
    let office = Office::open().await;
    let cookie = office.login(TOKEN).await;
    let form = office.form_token(&cookie).await;
    let answer = office.post("/admin/logout", &cookie, &format!("form={form}")).await;
    assert_eq!((answer.status, answer.header("location")), (303, Some("/admin/login")));
    assert!(
        answer.header("set-cookie").unwrap().starts_with("sesamy_mailmojo_admin=; Path=/admin; Max-Age=0")
    );
}

#[tokio::test]
async fn a_port_that_is_taken_stops_the_start_and_names_the_setting() {
    let office = Office::open().await;
    let address = office.page.to_string();
    let queue = format!("sqlite://{}", office.town.folder.path().join("other.db").display());
    let ended = run(
        &["serve"],
        &changed(office.town.settings(), &[("ADMIN__LISTEN", &address), ("QUEUE__URL", &queue)]),
    )
    .await;
    assert_eq!(ended.code, Some(1));
    assert!(ended.stderr.contains("admin.listen") && ended.stderr.contains(&address), "{}", ended.stderr);
}

#[tokio::test]
async fn the_page_goes_with_the_service() {
    let mut office = Office::open().await;
    let service: &mut Service = &mut office.town.service;
    service.terminate();
    assert!(service.ended().await.success());
    assert!(http().get(format!("http://{}/admin", office.page)).send().await.is_err());
}
