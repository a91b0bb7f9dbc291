//! What changes something: only from our own pages, only in the session that the form was made for, and always back to
//! where one was.

use super::*;
use crate::admin::desk::DeskError;
use crate::admin::tests::desk::REASON;

const KARI: &str = "/admin/users/email%7C84cccf985de28a2a84824786";

#[tokio::test]
async fn each_form_does_what_it_says_and_leads_back() {
    let stage = Stage::start().await;
    let cookie = stage.login(TOKEN).await;
    let form = stage.form_token(&cookie).await;
    let reason: String = form_urlencoded::byte_serialize(REASON.as_bytes()).collect();
    for (path, body, order, to) in [
        ("/admin/queue/pause", "", "pause", "/admin?flash=paused"),
        ("/admin/queue/resume", "", "resume", "/admin?flash=resumed"),
        (
            &format!("{KARI}/sync"),
            "",
            "sync email|84cccf985de28a2a84824786",
            &format!("{KARI}?flash=synced-updated"),
        ),
        (
            &format!("{KARI}/retry"),
            "&back=%2Fadmin%2Fparked%3Freason%3Da",
            "retry email|84cccf985de28a2a84824786",
            "/admin/parked?reason=a&flash=retried-1",
        ),
        ("/admin/queue/retry", "&all_parked=true", "retry all", "/admin/parked?flash=retried-7"),
        (
            "/admin/queue/retry",
            &format!("&reason={reason}"),
            &format!("retry reason {REASON}"),
            "/admin/parked?flash=retried-5",
        ),
        ("/admin/queue/pause", "&back=%2F%2Fevil.example", "pause", "/admin?flash=paused"),
    ] {
        let answer = stage.post(path, &cookie, &format!("form={form}{body}")).await;
        assert_eq!((answer.status, answer.header("location")), (303, Some(to)), "{answer:?}");
        assert_eq!(stage.desk.ordered().last().map(String::as_str), Some(order));
    }
    let flash = stage.get("/admin/parked?flash=retried-5", &cookie).await;
    assert!(flash.body.contains("5 users are due again."), "{}", flash.body);
}

#[tokio::test]
async fn a_form_to_retry_that_names_nobody_retries_nobody() {
    let stage = Stage::start().await;
    let cookie = stage.login(TOKEN).await;
    let form = stage.form_token(&cookie).await;
    for body in ["", "&reason=", "&reason=+", "&all_parked=false", "&all_parked="] {
        let answer = stage.post("/admin/queue/retry", &cookie, &format!("form={form}{body}")).await;
        assert_eq!(answer.status, 400, "{body}: {answer:?}");
    }
    assert_eq!(stage.desk.ordered(), [""; 0]);
}

#[tokio::test]
async fn a_form_that_is_forged_or_of_another_site_changes_nothing() {
    let stage = Stage::start().await;
    let cookie = stage.login(TOKEN).await;
    let form = stage.form_token(&cookie).await;
    let of_another_session = stage.form_token(&stage.login(TOKEN).await).await;
    assert_ne!(form, of_another_session);
    for path in
        ["/admin/queue/pause", "/admin/queue/retry", &format!("{KARI}/sync"), "/admin/logout", "/admin/find"]
    {
        for body in ["", "form=", "form=00", &format!("form={of_another_session}"), &format!("form={TOKEN}")]
        {
            let answer = stage.post(path, &cookie, body).await;
            assert_eq!(answer.status, 403, "{path} {body}: {answer:?}");
        }
        for header in [
            "Sec-Fetch-Site: cross-site\r\n",
            "Sec-Fetch-Site: same-site\r\n",
            "Origin: https://evil.example\r\n",
            "Origin: null\r\n",
        ] {
            let answer = stage.post(path, &format!("{cookie}{header}"), &format!("form={form}&who=x")).await;
            assert_eq!(answer.status, 403, "{path} {header}: {answer:?}");
        }
        let got = stage.get(path, &cookie).await;
        assert_eq!(
            (got.status, got.header("allow")),
            (405, Some("POST")),
            "a change is never a GET: {got:?}"
        );
    }
    let login =
        stage.post("/admin/login", "Origin: https://evil.example\r\n", &format!("token={TOKEN}")).await;
    assert_eq!((login.status, login.header("set-cookie")), (403, None));
    let huge =
        stage.post("/admin/queue/pause", &cookie, &format!("form={form}&x={}", "y".repeat(20_000))).await;
    assert_eq!(huge.status, 413);
    assert_eq!(stage.desk.ordered(), [""; 0]);

    let from_here = format!("{cookie}Sec-Fetch-Site: same-origin\r\nOrigin: null\r\n");
    let answer = stage.post("/admin/queue/pause", &from_here, &format!("form={form}")).await;
    assert_eq!(answer.status, 303, "as a browser sends it: {answer:?}");
}

#[tokio::test]
async fn an_address_finds_its_user_and_is_in_no_url() {
    let stage = Stage::start().await;
    let cookie = stage.login(TOKEN).await;
    let form = stage.form_token(&cookie).await;
    for (who, to) in [
        ("kari%40example.com", "/admin/users/email%7C9001"),
        ("google-oauth2%7C117", "/admin/users/google-oauth2%7C117"),
        ("nobody%40example.com", "/admin?flash=not-found"),
        ("+", "/admin"),
    ] {
        let answer = stage.post("/admin/find", &cookie, &format!("form={form}&who={who}")).await;
        assert_eq!((answer.status, answer.header("location")), (303, Some(to)), "{answer:?}");
    }
}

#[tokio::test]
async fn what_cannot_be_done_is_told_with_its_reason() {
    let stage = Stage::start().await;
    let cookie = stage.login(TOKEN).await;
    let form = stage.form_token(&cookie).await;
    for (error, status, text) in [
        (DeskError::Busy, 409, "running already"),
        (DeskError::Upstream("mailmojo rests".into()), 502, "mailmojo rests"),
        (DeskError::Store("the disk is full".into()), 503, "the disk is full"),
        (DeskError::UnknownUser, 404, "does not know this user"),
    ] {
        *stage.desk.error.lock().unwrap() = Some(error);
        let answer = stage.post(&format!("{KARI}/sync"), &cookie, &format!("form={form}")).await;
        assert_eq!(answer.status, status, "{answer:?}");
        assert!(answer.body.contains(text) && answer.body.contains("Log out"), "{}", answer.body);
        assert_eq!(stage.get("/admin", &cookie).await.status, status);
    }
}
