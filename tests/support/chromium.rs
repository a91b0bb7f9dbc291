//! A real Chromium without a window, for the stories of the operations page: one browser a story, with a profile of its own.

use std::io::Write;
use std::panic::AssertUnwindSafe;
use std::path::PathBuf;
use std::process::Stdio;
use std::sync::Once;

use futures_util::FutureExt;
use serde_json::{Value, json};
use thirtyfour::common::capabilities::chromium::ChromiumLikeCapabilities;
use thirtyfour::common::log::LoggingPrefsLogLevel;
use thirtyfour::{By, DesiredCapabilities, Key, WebDriver, WebElement};
use tokio::io::{AsyncBufReadExt, BufReader};
use tokio::process::{Child, Command};

use crate::support::harness::{PATIENCE, http};

/// Without a window, without a sandbox of its own (which root may not have), and with nothing to say to anybody.
const FLAGS: [&str; 8] = [
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
];

/// A browser with one page open.
pub struct Browser {
    pub driver: WebDriver,
    origin: String,
}

/// Plays `story` in a browser, with the pages at `origin`; afterwards no script may have failed, and nothing may have been
/// loaded from elsewhere. Left out where there is no Chromium, which is said once; in CI that is a failure.
pub async fn visit(origin: String, story: impl AsyncFnOnce(&Browser)) {
    let Some((chromium, driver)) = installed() else { return };
    let profile = tempfile::tempdir().unwrap();
    let (_running, address) = started(driver).await;
    let mut wanted = DesiredCapabilities::chrome();
    wanted.set_binary(chromium.to_str().unwrap()).unwrap();
    for flag in FLAGS {
        wanted.add_arg(flag).unwrap();
    }
    wanted.add_arg(&format!("--user-data-dir={}", profile.path().display())).unwrap();
    for log in ["browser", "performance"] {
        wanted.set_logging_prefs(log, LoggingPrefsLogLevel::All).unwrap();
    }
    let browser = Browser {
        driver: WebDriver::builder(address, wanted).client(http()).connect().await.unwrap(),
        origin,
    };
    let told = AssertUnwindSafe(async {
        story(&browser).await;
        browser.has_loaded_nothing_from_elsewhere().await;
        browser.has_no_script_error().await;
    })
    .catch_unwind()
    .await;
    // Whatever came of the story, no browser is left behind.
    let ended = browser.driver.quit().await;
    told.unwrap_or_else(|panic| std::panic::resume_unwind(panic));
    ended.unwrap();
}

/// Chromium, or Chrome, and its driver, as they are on the PATH.
fn installed() -> Option<(PathBuf, PathBuf)> {
    static TOLD: Once = Once::new();
    let paths = std::env::var_os("PATH").unwrap_or_default();
    let find = |name: &str| {
        std::env::split_paths(&paths).map(|folder| folder.join(name)).find(|file| file.is_file())
    };
    let both = find("chromium").or_else(|| find("google-chrome")).zip(find("chromedriver"));
    if both.is_none() {
        assert!(
            std::env::var_os("CI").is_none(),
            "in CI the stories in a browser need chromium and chromedriver"
        );
        TOLD.call_once(|| {
            // Straight to the stream, which the test harness does not keep back.
            let _ = writeln!(
                std::io::stderr(),
                "left out: the stories in a browser; to run them install chromium and chromedriver (Debian: \
                 apt-get install chromium chromium-driver)"
            );
        });
    }
    both
}

/// The driver, on a port that is free, and its address.
async fn started(driver: PathBuf) -> (Child, String) {
    let mut command = Command::new(driver);
    command
        .arg("--port=0")
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .kill_on_drop(true);
    let mut child = command.spawn().unwrap();
    let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
    let port = tokio::time::timeout(PATIENCE, async {
        while let Some(line) = lines.next_line().await.unwrap() {
            if let Some((_, port)) = line.split_once("started successfully on port ") {
                return port.trim_end_matches('.').to_owned();
            }
        }
        panic!("chromedriver ends without a word of its port");
    });
    let port = port.await.expect("chromedriver does not tell its port");
    tokio::spawn(async move { while let Ok(Some(_)) = lines.next_line().await {} });
    (child, format!("http://127.0.0.1:{port}"))
}

impl Browser {
    pub async fn goes_to(&self, path: &str) {
        self.driver.goto(format!("{}{path}", self.origin)).await.unwrap();
    }

    /// The path that it shows.
    pub async fn path(&self) -> String {
        let url = self.driver.current_url().await.unwrap();
        url.as_str().strip_prefix(&self.origin).unwrap_or_else(|| panic!("at {url}")).to_owned()
    }

    /// All text that can be seen.
    pub async fn text(&self) -> String {
        self.driver.find(By::Tag("body")).await.unwrap().text().await.unwrap()
    }

    /// Waits until the page shows `text`, without loading it again.
    pub async fn shows(&self, text: &str) {
        let waited = tokio::time::timeout(PATIENCE, async {
            // Between two pages there may be no body.
            while !self.driver.source().await.is_ok_and(|source| source.contains(text)) {
                tokio::time::sleep(std::time::Duration::from_millis(50)).await;
            }
        });
        if waited.await.is_err() {
            panic!("{text:?} is never shown, but\n{}", self.text().await);
        }
    }

    /// The one element of `tag` whose text is `text`.
    pub async fn named(&self, tag: &str, text: &str) -> WebElement {
        let path = format!("//{tag}[normalize-space()={text:?}]");
        let found = self.driver.find(By::XPath(path)).await;
        match found {
            Ok(found) => found,
            Err(_) => panic!("there is no {tag} {text:?} in\n{}", self.text().await),
        }
    }

    pub async fn clicks(&self, tag: &str, text: &str) {
        self.named(tag, text).await.click().await.unwrap();
    }

    /// Types into whatever has the focus.
    pub async fn types(&self, text: &str) {
        self.driver.action_chain().send_keys(text).perform().await.unwrap();
    }

    pub async fn presses(&self, key: Key) {
        self.driver.action_chain().key_down(key.clone()).key_up(key).perform().await.unwrap();
    }

    /// Presses Tab until what has the focus is called `name`; each stop on the way can be seen to have it.
    pub async fn tabs_to(&self, name: &str) {
        for _ in 0..40 {
            self.presses(Key::Tab).await;
            let focus = self.run("const it = document.activeElement; return [it.innerText || it.name, getComputedStyle(it).outlineStyle]").await;
            assert_ne!(focus[1], "none", "{focus} has the focus, and one cannot see it");
            if focus[0].as_str().is_some_and(|text| text.trim() == name) {
                return;
            }
        }
        panic!("no way to {name:?} by the keyboard");
    }

    /// Runs a script, and gives what it returns.
    pub async fn run(&self, script: &str) -> Value {
        self.driver.execute(script, Vec::new()).await.unwrap().json().clone()
    }

    /// Sets the theme, and a screen of this width in pixels.
    pub async fn sees(&self, theme: &str, width: u32) {
        let cdp = self.driver.cdp();
        let media = json!({"features": [{"name": "prefers-color-scheme", "value": theme}]});
        cdp.send_raw("Emulation.setEmulatedMedia", media).await.unwrap();
        let is_phone = width < 600;
        let screen = json!({"width": width, "height": 800, "deviceScaleFactor": 1, "mobile": is_phone});
        cdp.send_raw("Emulation.setDeviceMetricsOverride", screen).await.unwrap();
    }

    async fn has_no_script_error(&self) {
        let log = self.driver.get_log("browser").await.unwrap();
        // An answer of 401 or 404 is told as an error of the network; what breaks our own policy is one of security.
        let is_fault = |source: Option<&str>| source != Some("network");
        let errors: Vec<_> =
            log.iter().filter(|line| line.level == "SEVERE" && is_fault(line.source.as_deref())).collect();
        assert!(errors.is_empty(), "{errors:?}");
    }

    async fn has_loaded_nothing_from_elsewhere(&self) {
        let log = self.driver.get_log("performance").await.unwrap();
        let mut ours = 0;
        for entry in log {
            let event: Value = serde_json::from_str(&entry.message).unwrap();
            let Some(url) = event["message"]["params"]["request"]["url"].as_str() else { continue };
            if url.starts_with("http") {
                assert!(url.starts_with(&format!("{}/", self.origin)), "{url} was loaded");
                ours += 1;
            }
        }
        assert!(ours > 0, "the log of requests is empty");
    }
}
