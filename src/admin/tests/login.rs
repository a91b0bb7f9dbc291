//! Who is let in.

use super::*;

#[tokio::test]
async fn without_a_session_every_page_leads_to_the_login_and_from_there_back() {
    let stage = Stage::start().await;
    for (path, to) in [
        ("/admin", "/admin/login"),
        ("/admin/parked?reason=a+b", "/admin/login?back=%2Fadmin%2Fparked%3Freason%3Da%2Bb"),
        ("/admin/users/email%7C9001", "/admin/login?back=%2Fadmin%2Fusers%2Femail%257C9001"),
        ("/admin/settings", "/admin/login?back=%2Fadmin%2Fsettings"),
        ("/", "/admin"),
    ] {
        let answer = stage.get(path, "").await;
        assert_eq!((answer.status, answer.header("location")), (303, Some(to)), "{answer:?}");
    }
    for path in ["/admin/logout", "/admin/queue/pause", "/admin/users/email%7C9001/sync", "/admin/find"] {
        let answer = stage.post(path, "", "who=x").await;
        assert_eq!((answer.status, answer.header("location")), (303, Some("/admin/login")), "{answer:?}");
    }
    let form = stage.get("/admin/login?back=%2Fadmin%2Fparked%3Freason%3Da%2Bb", "").await;
    assert!(form.body.contains("name=\"back\" value=\"/admin/parked?reason=a+b\""), "{}", form.body);
    let body = format!("token={TOKEN}&back=%2Fadmin%2Fparked%3Freason%3Da%2Bb");
    let answer = stage.post("/admin/login", "", &body).await;
    assert_eq!(answer.header("location"), Some("/admin/parked?reason=a+b"));
    assert_eq!(stage.desk.ordered(), [""; 0]);
}

#[tokio::test]
async fn a_token_of_the_list_opens_a_session_of_twelve_hours_that_does_not_hold_it() {
    let stage = Stage::start().await;
    for token in [TOKEN, OTHER_TOKEN] {
        let answer = stage.post("/admin/login", "", &format!("token={token}")).await;
        let cookie = answer.header("set-cookie").unwrap();
        assert!(cookie.ends_with("; Path=/admin; Max-Age=43200; HttpOnly; SameSite=Strict"), "{cookie}");
        assert!(!answer.head.contains(token), "{answer:?}");
        assert_eq!((answer.status, answer.header("location")), (303, Some("/admin")));
    }
    let cookie = stage.login(TOKEN).await;
    assert_eq!(stage.get("/admin", &cookie).await.status, 200);
    stage.passes(Duration::from_secs(12 * 3_600 - 31));
    assert_eq!(stage.get("/admin", &cookie).await.status, 200);
    stage.passes(Duration::from_secs(31));
    assert_eq!(stage.get("/admin", &cookie).await.status, 303);

    let beyond = Stage::with(&[TOKEN], true).await;
    let answer = beyond.post("/admin/login", "", &format!("token={TOKEN}")).await;
    assert!(answer.header("set-cookie").unwrap().ends_with("; Secure"), "{answer:?}");
}

#[tokio::test]
async fn a_session_that_is_forged_tampered_with_or_of_a_token_taken_out_opens_nothing() {
    let stage = Stage::start().await;
    let cookie = stage.login(TOKEN).await;
    let foreign =
        Stage::with(&["a-token-of-somebody-else"], false).await.login("a-token-of-somebody-else").await;
    let value = cookie.trim().strip_prefix("Cookie: ").unwrap();
    let (longer, parts) = (value.replace("=1.17", "=1.18"), value.split('.').collect::<Vec<_>>());
    assert_ne!(longer, value);
    for forged in [
        foreign.trim().strip_prefix("Cookie: ").unwrap().to_owned(),
        longer,
        format!("{}.{}.{}.{}", parts[0], parts[1], "0".repeat(32), parts[3]),
        format!("{}.{}.{}.", parts[0], parts[1], parts[2]),
        format!("sesamy_mailmojo_admin={TOKEN}"),
        "sesamy_mailmojo_admin=".to_owned(),
        value.replace("admin=", "other="),
    ] {
        let answer = stage.get("/admin", &format!("Cookie: {forged}\r\n")).await;
        assert_eq!(answer.status, 303, "{forged}: {answer:?}");
    }
    let beside = format!("Cookie: a=b; {value}; c=d\r\n");
    assert_eq!(stage.get("/admin", &beside).await.status, 200, "another cookie beside it does no harm");

    let replica = Stage::with(&[OTHER_TOKEN, TOKEN], false).await;
    assert_eq!(replica.get("/admin", &cookie).await.status, 200, "another replica with the same tokens");
    let rotated = Stage::with(&[OTHER_TOKEN], false).await;
    assert_eq!(rotated.get("/admin", &cookie).await.status, 303, "its token was taken out");
}

#[tokio::test]
async fn ten_wrong_tokens_rest_the_login_for_the_right_one_too_until_the_minute_is_over() {
    let stage = Stage::start().await;
    for number in 0..10 {
        let answer = stage.post("/admin/login", "", &format!("token=guess-number-{number}")).await;
        assert_eq!(answer.status, 401, "{number}");
        assert!(answer.body.contains("none of the tokens") && !answer.body.contains("guess-number"));
        assert!(answer.header("set-cookie").is_none());
        stage.passes(Duration::from_secs(1));
    }
    let right = format!("token={TOKEN}");
    let answer = stage.post("/admin/login", "", &right).await;
    assert_eq!((answer.status, answer.header("retry-after")), (429, Some("51")), "{answer:?}");
    assert!(answer.header("set-cookie").is_none());
    stage.passes(Duration::from_secs(49));
    assert_eq!(stage.post("/admin/login", "", &right).await.status, 429);
    stage.passes(Duration::from_secs(1));
    assert_eq!(stage.post("/admin/login", "", &right).await.status, 303);
}

#[tokio::test]
async fn who_logs_out_has_no_session_any_more() {
    let stage = Stage::start().await;
    let cookie = stage.login(TOKEN).await;
    let form = stage.form_token(&cookie).await;
    let answer = stage.post("/admin/logout", &cookie, &format!("form={form}")).await;
    assert_eq!((answer.status, answer.header("location")), (303, Some("/admin/login")));
    assert!(
        answer.header("set-cookie").unwrap().starts_with("sesamy_mailmojo_admin=; Path=/admin; Max-Age=0")
    );
}
