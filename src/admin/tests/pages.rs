//! What the pages show, and what every answer carries.

use super::*;

#[tokio::test]
async fn every_answer_is_kept_by_nobody_and_loads_nothing_from_elsewhere() {
    let stage = Stage::start().await;
    let cookie = stage.login(TOKEN).await;
    for path in [
        "/",
        "/admin",
        "/admin/login",
        "/admin/parked",
        "/admin/users?state=parked",
        "/admin/users/email%7C9001?preview=1",
        "/admin/users/nobody",
        "/admin/settings",
        "/admin/assets/style.css",
        "/admin/assets/refresh.js",
        "/admin/assets/icon.svg",
        "/admin/assets/nothing.css",
        "/admin/nowhere",
        "/nowhere",
        "/admin/api/status",
        "/metrics",
    ] {
        let answer = stage.get(path, &cookie).await;
        assert_eq!(answer.header("cache-control"), Some("no-store"), "{path}");
        assert_eq!(answer.header("x-content-type-options"), Some("nosniff"), "{path}");
        assert_eq!(answer.header("referrer-policy"), Some("no-referrer"), "{path}");
        let policy = answer.header("content-security-policy").unwrap();
        for part in ["default-src 'none'", "form-action 'self'", "frame-ancestors 'none'", "base-uri 'none'"]
        {
            assert!(policy.contains(part), "{path}: {policy}");
        }
        assert!(!policy.contains("unsafe"), "{policy}");
        let body = &answer.body;
        assert!(!body.contains("style=") && !body.contains("<style") && !body.contains(" onclick"), "{path}");
        let elsewhere = body.replace("http://www.w3.org/2000/svg", "");
        assert!(!elsewhere.contains("http://") && !elsewhere.contains("https://"), "{path}: {body}");
    }
    assert_eq!(stage.get("/admin/assets/nothing.css", "").await.status, 404);
    assert_eq!(stage.get("/admin/assets/..%2Fmod.rs", "").await.status, 404);
    assert_eq!(stage.get("/metrics", "").await.body, "sesamy_mailmojo_up 1\n");
}

#[tokio::test]
async fn the_first_page_tells_at_a_glance_how_the_service_is() {
    let stage = Stage::start().await;
    let cookie = stage.login(TOKEN).await;
    let page = stage.get("/admin", &cookie).await.body;
    for told in [
        "Waiting for Mailmojo",
        "are taken",
        "it asked us to slow down (429)",
        "until 12:01:12 UTC",
        ">in 42 s<",
        "<b>7</b><span>parked</span>",
        "<b>4 s</b><span>oldest due</span>",
        "Pause syncs",
        "Last 24 hours",
        "did not get through",
    ] {
        assert!(page.contains(told), "{told:?} is not in\n{page}");
    }
    let form = stage.form_token(&cookie).await;
    stage.post("/admin/queue/pause", &cookie, &format!("form={form}")).await;
    let page = stage.get("/admin", &cookie).await.body;
    assert!(page.contains("Syncs are paused") && page.contains("Resume syncs"), "{page}");
}

#[tokio::test]
async fn parked_users_are_told_by_reason_and_can_be_filtered_by_it() {
    let stage = Stage::start().await;
    let cookie = stage.login(TOKEN).await;
    let all = stage.get("/admin/parked", &cookie).await.body;
    assert!(all.contains("Retry all 7") && all.contains("Retry 5<"), "{all}");
    assert!(all.contains("/admin/users/email%7C84cccf985de28a2a84824786"), "{all}");
    assert!(!all.contains("email%7C9001"), "who is not parked is not there");
    let other = stage.get("/admin/parked?reason=another", &cookie).await.body;
    assert!(other.contains("Nobody.") && other.contains("All reasons"), "{other}");
}

#[tokio::test]
async fn a_user_has_a_page_with_state_history_and_on_request_a_preview() {
    let stage = Stage::start().await;
    let cookie = stage.login(TOKEN).await;
    let path = "/admin/users/email%7C84cccf985de28a2a84824786";
    let page = stage.get(path, &cookie).await.body;
    for told in ["phone: is too short", "Failing since", "Sync now", "Retry", "then 31 times unchanged"] {
        assert!(page.contains(told), "{told:?} is not in\n{page}");
    }
    assert!(
        page.contains("<ins>sesamy_active_subscriber</ins>")
            && page.contains("<del>sesamy_overdue_contract</del>")
    );
    assert_eq!(stage.desk.ordered(), [""; 0], "a look costs no call to an API");

    let page = stage.get(&format!("{path}?preview=1"), &cookie).await.body;
    for told in ["kept: the contact has one", "comes", "goes", "PATCH /v1/contacts/kari%40example.com/"] {
        assert!(page.contains(told), "{told:?} is not in\n{page}");
    }
    let idle = stage.get("/admin/users/email%7C9001", &cookie).await.body;
    assert!(!idle.contains(">Retry<"), "who waits for nothing has nothing to retry");
}

#[tokio::test]
async fn whatever_somebody_is_called_is_shown_as_text() {
    let stage = Stage::start().await;
    let cookie = stage.login(TOKEN).await;
    for path in ["/admin/parked", "/admin/users", "/admin/users/%3Cb%3Eodd%3C%2Fb%3E"] {
        let page = stage.get(path, &cookie).await;
        assert_eq!(page.status, 200);
        assert!(
            page.body.contains("&lt;b&gt;odd&lt;/b&gt;") && !page.body.contains("<b>odd"),
            "{}",
            page.body
        );
    }
    let hostile = "%22%3E%3Cscript%3Ealert(1)%3C%2Fscript%3E";
    for path in [
        format!("/admin/users/{hostile}"),
        format!("/admin/parked?reason={hostile}&after={hostile}&flash={hostile}"),
        format!("/admin/users?state={hostile}&after={hostile}"),
        format!("/admin/login?back={hostile}"),
    ] {
        let page = stage.get(&path, &cookie).await;
        assert!(!page.body.contains("<script>alert"), "{}", page.body);
    }
}

#[tokio::test]
async fn what_is_no_user_id_and_nobody_we_know_are_told_apart() {
    let stage = Stage::start().await;
    let cookie = stage.login(TOKEN).await;
    for (path, status, text) in [
        ("/admin/users/nobody", 404, "does not know this user"),
        ("/admin/users/%0a", 400, "control characters"),
        ("/admin/users/%2e%2e", 400, "relative path"),
        ("/admin/users/%ff", 400, "not UTF-8"),
        (&format!("/admin/users/{}", "x".repeat(257)), 400, "longer than 256 bytes"),
        ("/admin/users/a/b", 404, "no such page"),
    ] {
        let page = stage.get(path, &cookie).await;
        assert_eq!(page.status, status, "{path}: {page:?}");
        assert!(page.body.contains(text), "{path}: {}", page.body);
    }
    let slash = stage.get("/admin/users/a%2Fb", &cookie).await;
    assert!(slash.body.contains("<h1 class=\"id\">a/b</h1>"), "{}", slash.body);
}

#[tokio::test]
async fn the_settings_page_hides_secrets_and_tells_version_and_uptime() {
    let stage = Stage::start().await;
    stage.passes(Duration::from_secs(3_700));
    let page = stage.get("/admin/settings", &stage.login(TOKEN).await).await.body;
    for told in
        [env!("CARGO_PKG_VERSION"), "1 h 1 min", "0.0.0.0:8080", "2 values, hidden", "in the defaults"]
    {
        assert!(page.contains(told), "{told:?} is not in\n{page}");
    }
    assert!(!page.contains(TOKEN));
}
