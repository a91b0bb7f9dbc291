//! The page's forms: what changes something comes only from our own pages, only in the session that the form was made for,
//! and leads back to where one was.

use sesamy_mailmojo::sandbox::{Fault, Route, Rule, user};

use crate::support::admin::{KARI, Office, TOKEN};

#[tokio::test]
async fn a_parked_user_is_retried_from_the_list_and_comes_in_step() {
    let office = Office::with_somebody_parked().await;
    let cookie = office.login(TOKEN).await;
    let form = office.form_token(&cookie).await;
    let body = format!("form={form}&back=%2Fadmin%2Fparked%3Freason%3Da");
    let answer = office.post(&format!("/admin/users/{KARI}/retry"), &cookie, &body).await;
    assert_eq!(
        (answer.status, answer.header("location")),
        (303, Some("/admin/parked?reason=a&flash=retried-1"))
    );
    office.user_is(KARI, "idle").await;
    assert_eq!(office.town.contact("kari@example.com").tags, ["vip", "sesamy_tag_early-bird"]);
    let log = office.town.service.output.text();
    assert!(log.contains("an operator asks for a retry") && !log.contains("example.com"), "{log}");
    let after = office.get("/admin/parked?flash=retried-1", &cookie).await;
    assert!(
        after.body.contains("1 user is due again.") && after.body.contains("Nobody is parked."),
        "{after:?}"
    );
}

#[tokio::test]
async fn a_user_who_waits_for_a_retry_can_be_retried_at_once() {
    let office = Office::with(&[("SYNC__BACKOFF_BASE", "1h"), ("SYNC__BACKOFF_CAP", "1h")]).await;
    let sesamy = &office.town.sandbox.sesamy;
    sesamy.put_user(user("email|kari").email("kari@example.com"));
    sesamy.inject(Rule::on(Route::Profile, Fault::status(500)).times(1));
    assert_eq!(office.town.event("contract.1#update", "email|kari").await, 202);
    office.user_is(KARI, "failing").await;
    let cookie = office.login(TOKEN).await;
    let retry = format!("/admin/users/{KARI}/retry");
    for page in [format!("/admin/users/{KARI}"), "/admin/users?state=failing".to_owned()] {
        assert!(office.get(&page, &cookie).await.body.contains(&retry), "{page} has no button to retry");
    }
    let form = office.form_token(&cookie).await;
    assert_eq!(office.post(&retry, &cookie, &format!("form={form}")).await.status, 303);
    office.user_is(KARI, "idle").await;
}

#[tokio::test]
async fn all_of_a_reason_are_retried_together_and_all_who_are_parked_are_too() {
    for by_reason in [true, false] {
        let office = Office::with_somebody_parked().await;
        let cookie = office.login(TOKEN).await;
        let form = office.form_token(&cookie).await;
        let answer = office.user(KARI).await["answer"].as_str().unwrap().to_owned();
        let whom =
            if by_reason { format!("answer={}", encoded(&answer)) } else { "all_parked=true".to_owned() };
        let other = office.post("/admin/queue/retry", &cookie, &format!("form={form}&answer=another")).await;
        assert_eq!(other.header("location"), Some("/admin/parked?flash=retried-0"));
        assert_eq!(office.user(KARI).await["state"], "parked");
        let done = office.post("/admin/queue/retry", &cookie, &format!("form={form}&{whom}")).await;
        assert_eq!(done.header("location"), Some("/admin/parked?flash=retried-1"), "{done:?}");
        office.user_is(KARI, "idle").await;
    }
}

#[tokio::test]
async fn a_form_to_retry_that_names_nobody_retries_nobody() {
    let office = Office::with_somebody_parked().await;
    let cookie = office.login(TOKEN).await;
    let form = office.form_token(&cookie).await;
    for body in
        ["", "&answer=", "&reason=x", "&all_parked=false", "&all_parked=", "&answer=x&all_parked=true"]
    {
        let answer = office.post("/admin/queue/retry", &cookie, &format!("form={form}{body}")).await;
        assert_eq!(answer.status, 400, "{body}: {answer:?}");
    }
    assert_eq!(office.user(KARI).await["state"], "parked");
}

#[tokio::test]
async fn a_user_is_synced_at_once_also_one_of_whom_no_event_has_come() {
    let office = Office::with_somebody_parked().await;
    office.town.sandbox.sesamy.put_user(user("email|new").email("new@example.com"));
    let cookie = office.login(TOKEN).await;
    let form = office.form_token(&cookie).await;
    for (id, outcome) in [(KARI, "updated"), ("email%7Cnew", "created"), ("email%7Cola", "unchanged")] {
        let path = format!("/admin/users/{id}");
        let answer = office.post(&format!("{path}/sync"), &cookie, &format!("form={form}")).await;
        let back = format!("{path}?flash=synced-{outcome}");
        assert_eq!((answer.status, answer.header("location")), (303, Some(&*back)), "{answer:?}");
        assert_eq!(office.user(id).await["state"], "idle");
        let page = office.get(&back, &cookie).await;
        assert!(page.body.contains(&format!("The sync has ended: {outcome}.")), "{}", page.body);
    }
}

#[tokio::test]
async fn syncs_pause_while_events_are_taken_and_go_on() {
    let office = Office::open().await;
    let cookie = office.login(TOKEN).await;
    let form = office.form_token(&cookie).await;
    let answer = office.post("/admin/queue/pause", &cookie, &format!("form={form}")).await;
    assert_eq!(answer.header("location"), Some("/admin?flash=paused"));
    assert!(office.is_paused().await);
    let page = office.get("/admin", &cookie).await.body;
    assert!(page.contains("Syncs are paused") && page.contains("Resume syncs"), "{page}");

    office.town.sandbox.sesamy.put_user(user("u1").email("kari@example.com"));
    assert_eq!(office.town.event("contract.1#purchased", "u1").await, 202);
    let asked = office.post("/admin/users/u1/sync", &cookie, &format!("form={form}")).await;
    assert_eq!(asked.status, 503, "{asked:?}");
    assert!(asked.body.contains("syncs are paused") && asked.body.contains("Log out"), "{}", asked.body);

    let answer =
        office.post("/admin/queue/resume", &cookie, &format!("form={form}&back=%2F%2Fevil.example")).await;
    assert_eq!(answer.header("location"), Some("/admin?flash=resumed"), "and never to another site");
    office.user_is("u1", "idle").await;
    assert!(!office.is_paused().await);
}

#[tokio::test]
async fn a_form_that_is_forged_or_of_another_site_changes_nothing() {
    let office = Office::with_somebody_parked().await;
    let cookie = office.login(TOKEN).await;
    let form = office.form_token(&cookie).await;
    let of_another_session = office.form_token(&office.login(TOKEN).await).await;
    assert_ne!(form, of_another_session);
    let sync = format!("/admin/users/{KARI}/sync");
    let forget = format!("/admin/users/{KARI}/forget");
    for path in ["/admin/queue/pause", "/admin/queue/retry", &sync, &forget, "/admin/logout", "/admin/find"] {
        for body in ["", "form=", "form=00", &format!("form={of_another_session}"), &format!("form={TOKEN}")]
        {
            let answer = office.post(path, &cookie, &format!("{body}&all_parked=true&sure=true")).await;
            assert_eq!(answer.status, 403, "{path} {body}: {answer:?}");
        }
        for header in [
            "Sec-Fetch-Site: cross-site\r\n",
            "Sec-Fetch-Site: same-site\r\n",
            "Origin: https://evil.example\r\n",
            "Origin: null\r\n",
        ] {
            let body = format!("form={form}&all_parked=true&who=x&sure=true");
            let answer = office.post(path, &format!("{cookie}{header}"), &body).await;
            assert_eq!(answer.status, 403, "{path} {header}: {answer:?}");
        }
        let got = office.get(path, &cookie).await;
        assert_eq!(
            (got.status, got.header("allow")),
            (405, Some("POST")),
            "a change is never a GET: {got:?}"
        );
    }
    let login =
        office.post("/admin/login", "Origin: https://evil.example\r\n", &format!("token={TOKEN}")).await;
    assert_eq!((login.status, login.header("set-cookie")), (403, None));
    let huge = format!("form={form}&x={}", "y".repeat(20_000));
    assert_eq!(office.post("/admin/queue/pause", &cookie, &huge).await.status, 413);
    assert_eq!(office.user(KARI).await["state"], "parked");
    assert!(!office.is_paused().await);

    // As a browser sends it that was told to send no referrer.
    let from_here = format!("{cookie}Sec-Fetch-Site: same-origin\r\nOrigin: null\r\n");
    assert_eq!(office.post("/admin/queue/pause", &from_here, &format!("form={form}")).await.status, 303);
}

#[tokio::test]
async fn an_address_finds_its_user_and_is_in_no_url_and_no_log() {
    let office = Office::with_somebody_parked().await;
    for id in ["twin-1", "twin-2"] {
        office.town.sandbox.sesamy.put_user(user(id).email("twins@example.com"));
    }
    let cookie = office.login(TOKEN).await;
    let form = office.form_token(&cookie).await;
    for (who, to) in [
        ("kari%40example.com", "/admin/users/email%7Ckari"),
        ("+KARI%40example.com+", "/admin/users/email%7Ckari"),
        ("email%7Cola", "/admin/users/email%7Cola"),
        ("not-yet-known", "/admin/users/not-yet-known"),
        ("nobody%40example.com", "/admin?flash=not-found"),
        ("two+words%40example.com", "/admin?flash=not-found"),
        ("+", "/admin"),
    ] {
        let answer = office.post("/admin/find", &cookie, &format!("form={form}&who={who}")).await;
        assert_eq!((answer.status, answer.header("location")), (303, Some(to)), "{answer:?}");
    }
    let several = office.post("/admin/find", &cookie, &format!("form={form}&who=twins%40example.com")).await;
    assert!(several.body.contains("/admin/users/twin-1") && several.body.contains("/admin/users/twin-2"));
    assert!(!office.town.service.output.text().contains("example.com"));
}

fn encoded(text: &str) -> String {
    sesamy_mailmojo::upstream::encoded(text)
}
