//! The operations page in a real browser: by mouse, by keyboard alone, in both themes, on a phone, and left open.

use serde_json::json;
use thirtyfour::Key;

use crate::support::admin::{Office, TOKEN, WORDS};
use crate::support::chromium::{Browser, visit};

async fn logs_in(browser: &Browser) {
    browser.goes_to("/admin").await;
    browser.types(TOKEN).await; // the field has the focus from the start
    browser.presses(Key::Enter).await;
    browser.shows("Pause syncs").await;
}

#[tokio::test]
async fn an_operator_logs_in_sees_who_is_parked_looks_why_retries_and_sees_it_synced() {
    let office = Office::with_somebody_parked().await;
    visit(format!("http://{}", office.page), async |browser| {
        browser.goes_to("/admin/parked").await;
        assert_eq!(browser.path().await, "/admin/login?back=%2Fadmin%2Fparked");
        browser.types("a-wrong-token-at-first").await;
        browser.clicks("button", "Log in").await;
        browser.shows("none of the tokens").await;
        logs_in(browser).await;
        browser.clicks("a", "Parked").await;
        browser.shows(WORDS).await;
        browser.clicks("a", "email|kari").await;
        browser.shows("Failing since").await;
        browser.clicks("a", "Preview").await;
        browser.shows("somebody else").await;
        browser.clicks("button", "Retry email|kari").await;
        browser.shows("1 user is due again.").await;
        office.user_is("email%7Ckari", "idle").await;
        browser.goes_to("/admin/users/email%7Ckari").await;
        let text = browser.text().await;
        assert!(text.contains("updated") && text.contains("sesamy_tag_early-bird"), "{text}");
        browser.clicks("button", "Log out").await;
        browser.goes_to("/admin").await;
        assert_eq!(browser.path().await, "/admin/login");
    })
    .await;
}

#[tokio::test]
async fn the_page_can_be_used_by_the_keyboard_alone() {
    let office = Office::with_somebody_parked().await;
    visit(format!("http://{}", office.page), async |browser| {
        logs_in(browser).await;
        browser.tabs_to("Skip to the content").await;
        browser.tabs_to("Parked").await;
        browser.presses(Key::Enter).await;
        browser.shows("Retry all 1").await;
        browser.tabs_to("email|kari").await;
        browser.presses(Key::Enter).await;
        browser.shows("Failing since").await;
        browser.tabs_to("Sync now").await;
        browser.presses(Key::Enter).await;
        browser.shows("The sync has ended: updated.").await;
    })
    .await;
}

#[tokio::test]
async fn an_operator_who_is_sure_has_a_user_forgotten_and_by_the_keyboard_alone() {
    let office = Office::with_somebody_parked().await;
    visit(format!("http://{}", office.page), async |browser| {
        logs_in(browser).await;
        browser.goes_to("/admin/users/email%7Ckari").await;
        let is_open = "return document.querySelector('details').open";
        assert_eq!(browser.run(is_open).await, false, "nobody does it in passing");
        browser.tabs_to("Erase this user for good").await;
        browser.presses(Key::Enter).await;
        assert_eq!(browser.run(is_open).await, true);
        browser.tabs_to("mailmojo").await;
        browser.types(" ").await;
        browser.tabs_to("Forget this user").await;
        browser.presses(Key::Enter).await;
        // The browser itself points to the box that has to be ticked.
        assert_eq!(browser.run("return document.activeElement.id").await, "sure");
        assert_eq!(office.user("email%7Ckari").await["state"], "parked");
        assert_eq!(
            browser.run("return document.querySelector('details').matches(':has(:invalid)')").await,
            true
        );
        browser.types(" ").await;
        browser.tabs_to("Forget this user").await;
        browser.presses(Key::Enter).await;
        browser.shows("The user is forgotten.").await;
        assert_eq!(office.town.contact("kari@example.com").tags, ["vip"]);
        assert_eq!(browser.run(NAMELESS).await, json!([]));
        browser.clicks("button", "Sync again").await;
        browser.shows("The sync has ended: updated.").await;
    })
    .await;
}

#[tokio::test]
async fn every_page_can_be_read_in_both_themes_on_a_phone_and_by_a_screen_reader() {
    let office = Office::with_somebody_parked().await;
    visit(format!("http://{}", office.page), async |browser| {
        logs_in(browser).await;
        for path in [
            "/admin",
            "/admin/parked",
            "/admin/parked?reason=too+short&flash=retried-0",
            "/admin/users?flash=paused",
            "/admin/users/email%7Ckari?preview=1",
            "/admin/users/email%7Cola",
            "/admin/settings",
            "/admin/login",
        ] {
            browser.goes_to(path).await;
            browser.run("document.querySelectorAll('details').forEach((fold) => (fold.open = true))").await;
            let mut seen = Vec::new();
            for theme in ["light", "dark"] {
                for width in [360, 1280] {
                    browser.sees(theme, width).await;
                    let beyond =
                        "return document.documentElement.scrollWidth - document.documentElement.clientWidth";
                    assert_eq!(browser.run(beyond).await, 0, "{path} is wider than {width}");
                    assert_eq!(browser.run(FAINT).await, json!([]), "{path}, {theme}, {width}");
                }
                seen.push(browser.run("return getComputedStyle(document.body).backgroundColor").await);
            }
            assert_ne!(seen[0], seen[1], "{path} has one theme");
            assert_eq!(browser.run(NAMELESS).await, json!([]), "{path}");
        }
    })
    .await;
}

#[tokio::test]
async fn the_overview_keeps_itself_up_to_date_and_disturbs_nobody_who_types() {
    let office = Office::open().await;
    visit(format!("http://{}", office.page), async |browser| {
        logs_in(browser).await;
        browser.run("window.same = true").await;
        browser.shows("All in step").await;
        assert_eq!(office.api("POST queue/pause", "").await.status, 200);
        browser.shows("Syncs are paused").await;
        assert_eq!(browser.run("return window.same").await, true, "without loading the page again");

        browser.run("document.getElementById('who').focus()").await;
        browser.types("email|ka").await;
        assert_eq!(office.api("POST queue/resume", "").await.status, 200);
        browser.run(ASK_AT_ONCE).await;
        browser.types("ri").await;
        assert_eq!(browser.run("return document.getElementById('who').value").await, "email|kari");
        assert!(browser.text().await.contains("Syncs are paused"), "nothing moves while somebody types");
        browser.run("document.activeElement.blur()").await;
        browser.shows("All in step").await;
        assert_eq!(browser.run("return document.getElementById('who').value").await, "email|kari");
    })
    .await;
}

#[tokio::test]
async fn published_by_a_container_to_its_host_alone_it_opens_in_a_browser_there() {
    let office = Office::with(&[("ADMIN__LISTEN", "0.0.0.0:0")]).await;
    visit(format!("http://localhost:{}", office.page.port()), async |browser| {
        logs_in(browser).await; // though its cookie is for encrypted connections only
    })
    .await;
}

/// What the browser does when a tab is come back to.
const ASK_AT_ONCE: &str = "document.dispatchEvent(new Event('visibilitychange'))";

/// The texts whose contrast is below what WCAG's level AA asks of ordinary text.
const FAINT: &str = r#"
const channels = (color) => color.match(/[\d.]+/g).map(Number);
const luminance = (color) => {
  const [r, g, b] = channels(color).map((c) => (c / 255 <= 0.04045 ? c / 255 / 12.92 : ((c / 255 + 0.055) / 1.055) ** 2.4));
  return 0.2126 * r + 0.7152 * g + 0.0722 * b;
};
const behind = (element) => {
  for (let it = element; it; it = it.parentElement) {
    const color = getComputedStyle(it).backgroundColor;
    if ((channels(color)[3] ?? 1) > 0) return color;
  }
  return "rgb(255, 255, 255)";
};
const texts = [...document.querySelectorAll("body *")].filter((element) =>
  [...element.childNodes].some((node) => node.nodeType === 3 && node.textContent.trim()));
return texts.flatMap((element) => {
  const [a, b] = [luminance(getComputedStyle(element).color), luminance(behind(element))];
  const contrast = (Math.max(a, b) + 0.05) / (Math.min(a, b) + 0.05);
  return contrast < 4.5 ? [`${element.tagName} ${element.textContent.trim()} ${contrast.toFixed(2)}`] : [];
});
"#;

/// What a screen reader would have no name or place for.
const NAMELESS: &str = r#"
const faults = [];
const count = (selector, wanted) => {
  const found = document.querySelectorAll(selector).length;
  if (found !== wanted) faults.push(`${found} of ${selector}`);
};
count("h1", 1);
count("main", 1);
count("html[lang]", 1);
count("header nav[aria-label]", location.pathname === "/admin/login" ? 0 : 1);
for (const it of document.querySelectorAll("input:not([type=hidden]):not([hidden])"))
  if (!it.labels.length) faults.push(`no label: ${it.name}`);
for (const it of document.querySelectorAll("button, a, th, svg"))
  if (!(it.textContent.trim() || it.getAttribute("aria-label"))) faults.push(`no name: ${it.outerHTML}`);
for (const it of document.querySelectorAll("section"))
  if (!it.getAttribute("aria-label") && !document.getElementById(it.getAttribute("aria-labelledby")) && !it.matches(".login, .sorry"))
    faults.push(`no name: ${it.outerHTML.slice(0, 80)}`);
for (const it of document.querySelectorAll("table")) if (!it.caption) faults.push("a table without a caption");
return faults;
"#;
