//! What the pages show, and what every answer carries.

use crate::support::admin::{KARI, Office, TOKEN, WORDS};
use crate::support::harness::PATIENCE;

#[tokio::test]
async fn every_answer_is_kept_by_nobody_and_loads_nothing_from_elsewhere() {
    let office = Office::with_somebody_parked().await;
    let cookie = office.login(TOKEN).await;
    for path in [
        "/",
        "/admin",
        "/admin/login",
        "/admin/parked",
        "/admin/users?state=parked",
        "/admin/users/email%7Ckari?preview=1",
        "/admin/users/nobody",
        "/admin/assets/style.css",
        "/admin/assets/refresh.js",
        "/admin/assets/icon.svg",
        "/admin/assets/nothing.css",
        "/admin/nowhere",
        "/nowhere",
        "/admin/api/status",
        "/metrics",
    ] {
        let answer = office.get(path, &cookie).await;
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
    assert_eq!(office.get("/admin/assets/nothing.css", "").await.status, 404);
    assert_eq!(office.get("/admin/assets/..%2Fmod.rs", "").await.status, 404);
}

#[tokio::test]
async fn the_first_page_tells_at_a_glance_how_the_service_is() {
    let office = Office::with_somebody_parked().await;
    let page = office.get("/admin", &office.login(TOKEN).await).await.body;
    for told in [
        "are taken",
        "running",
        "answers",
        "<b>1</b><span>parked</span>",
        "oldest due",
        "Pause syncs",
        "Last hour: 2 syncs, at most ",
        " 1 changed a contact, 0 had nothing to change, 1 did not get through.",
        "Last 24 hours",
    ] {
        assert!(page.contains(told), "{told:?} is not in\n{page}");
    }
}

#[tokio::test]
async fn the_first_page_says_that_tag_removal_stopped_and_releases_the_guard() {
    let office = Office::with_somebody_parked().await;
    let cookie = office.login(TOKEN).await;
    let lets_go = "Let removals through";
    assert!(!office.get("/admin", &cookie).await.body.contains(lets_go));
    let queue = rusqlite::Connection::open(office.town.queue_file()).unwrap();
    queue.busy_timeout(PATIENCE).unwrap();
    queue
        .execute(
            "INSERT OR REPLACE INTO documents VALUES ('guard', \
         '{\"tripped_at\":\"2026-01-01T00:00:00Z\",\"suspects\":26,\"revision\":1}')",
            [],
        )
        .unwrap();
    let page = office.get("/admin", &cookie).await.body;
    for told in ["Tag removal stopped: check Sesamy", "No tag is removed: too many users at once", lets_go] {
        assert!(page.contains(told), "{told:?} is not in\n{page}");
    }
    assert!(office.api("GET status", "").await.json()["tags_kept_since"].is_string());

    let form = office.form_token(&cookie).await;
    let answer = office.post("/admin/queue/resume", &cookie, &format!("form={form}")).await;
    assert_eq!(answer.header("location"), Some("/admin?flash=resumed"));
    assert!(!office.get("/admin", &cookie).await.body.contains(lets_go));
    assert!(office.api("GET status", "").await.json()["tags_kept_since"].is_null());
}

#[tokio::test]
async fn parked_users_are_told_by_reason_and_can_be_filtered_by_it() {
    let office = Office::with_somebody_parked().await;
    let cookie = office.login(TOKEN).await;
    let all = office.get("/admin/parked", &cookie).await.body;
    assert!(all.contains("Retry all 1") && all.contains(WORDS), "{all}");
    assert!(all.contains("/admin/users/email%7Ckari") && !all.contains("email%7Cola"), "{all}");
    let other = office.get("/admin/parked?reason=another", &cookie).await.body;
    assert!(other.contains("Nobody.") && other.contains("All reasons"), "{other}");
    let same = office.get("/admin/parked?reason=fields+phone", &cookie).await.body;
    assert!(same.contains("href=\"/admin/users/email%7Ckari\""), "{same}");
}

#[tokio::test]
async fn a_user_has_a_page_with_state_history_and_on_request_a_preview() {
    let office = Office::with_somebody_parked().await;
    let cookie = office.login(TOKEN).await;
    let path = format!("/admin/users/{KARI}");
    let before = office.town.sandbox.calls().len();
    let page = office.get(&path, &cookie).await.body;
    for told in [WORDS, "Failing since", "Sync now", "Retry", "contract.1#purchased", "permanent"] {
        assert!(page.contains(told), "{told:?} is not in\n{page}");
    }
    assert_eq!(office.town.sandbox.calls().len(), before, "a look costs no call to an API");

    let page = office.get(&format!("{path}?preview=1"), &cookie).await.body;
    for told in [
        "<ins>sesamy_tag_early-bird</ins>",
        "<del>sesamy_overdue_contract</del>",
        "somebody else&#39;s, never touched",
        "Sesamy has none",
        "kari@example.com",
        "PATCH /v1/contacts/kari%40example.com/",
    ] {
        assert!(
            page.contains(told) || page.contains(&told.replace("&#39;", "'")),
            "{told:?} is not in\n{page}"
        );
    }
    let idle = office.get("/admin/users/email%7Cola", &cookie).await.body;
    assert!(!idle.contains(">Retry<"), "who waits for nothing has nothing to retry");
    assert_eq!(office.user(KARI).await["state"], "parked", "and nothing was written");
    assert!(!office.town.service.output.text().contains("kari@example.com"));
}

#[tokio::test]
async fn whatever_somebody_is_called_is_shown_as_text() {
    let office = Office::open().await;
    assert_eq!(office.town.event("contract.1#purchased", "<b>odd</b>").await, 202);
    office.user_is("%3Cb%3Eodd%3C%2Fb%3E", "idle").await;
    let cookie = office.login(TOKEN).await;
    for path in ["/admin/users", "/admin/users/%3Cb%3Eodd%3C%2Fb%3E"] {
        let page = office.get(path, &cookie).await;
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
        let page = office.get(&path, &cookie).await;
        assert!(!page.body.contains("<script>alert"), "{}", page.body);
    }
}

#[tokio::test]
async fn what_is_no_user_id_and_nobody_we_know_are_told_apart() {
    let office = Office::open().await;
    let cookie = office.login(TOKEN).await;
    for (path, status, text) in [
        ("/admin/users/nobody", 404, "does not know this user"),
        ("/admin/users/%0a", 400, "control characters"),
        ("/admin/users/%2e%2e", 400, "relative path"),
        ("/admin/users/%ff", 400, "not UTF-8"),
        (&format!("/admin/users/{}", "x".repeat(257)), 400, "longer than 256 bytes"),
        ("/admin/users/a/b", 404, "no such page"),
    ] {
        let page = office.get(path, &cookie).await;
        assert_eq!(page.status, status, "{path}: {page:?}");
        assert!(page.body.contains(text), "{path}: {}", page.body);
    }
    let slash = office.get("/admin/users/a%2Fb", &cookie).await;
    assert!(slash.body.contains("<h1 class=\"id\">a/b</h1>"), "{}", slash.body);
}

#[tokio::test]
async fn users_are_shown_a_page_at_a_time() {
    let office = Office::open().await;
    for number in 0..51 {
        assert_eq!(office.town.event("contract.1#purchased", &format!("u{number:02}")).await, 202);
    }
    office.user_is("u50", "idle").await;
    let cookie = office.login(TOKEN).await;
    let first = office.get("/admin/users", &cookie).await.body;
    assert!(first.contains(">u49<") && !first.contains(">u50<"), "{first}");
    assert!(first.contains("href=\"/admin/users?after=u49\""), "{first}");
    let second = office.get("/admin/users?after=u49", &cookie).await.body;
    assert!(
        second.contains(">u50<") && !second.contains(">u49<") && !second.contains("rel=\"next\""),
        "{second}"
    );
}

#[tokio::test]
async fn the_settings_page_hides_secrets_and_tells_version_and_uptime() {
    let office = Office::open().await;
    let page = office.get("/admin/settings", &office.login(TOKEN).await).await.body;
    for told in [
        env!("CARGO_PKG_VERSION"),
        "Running for",
        "2 values, hidden",
        "in the defaults",
        "in the environment",
    ] {
        assert!(page.contains(told), "{told:?} is not in\n{page}");
    }
    for secret in [
        TOKEN,
        crate::support::harness::TOKEN,
        crate::support::harness::SECRET,
        sesamy_mailmojo::sandbox::Mailmojo::FIXED_TOKEN,
    ] {
        assert!(!page.contains(secret));
    }
}
