//! A browser of its own for each test, driven over WebDriver.

use std::fmt::Debug;
use std::path::PathBuf;
use std::process::Stdio;
use std::time::Duration;

use fantoccini::wd::{TimeoutConfiguration, WebDriverCompatibleCommand};
use fantoccini::{Client, ClientBuilder, Locator};
use handoff_tests::{PATIENCE, patiently, target_directory};
use rustix::process::{Pid, Signal, kill_process_group};
use serde_json::{Map, Value, json};
use tempfile::TempDir;
use tokio::io::{AsyncBufReadExt, BufReader};
use tokio::process::{Child, Command};

/// What a browser is started with.
#[derive(Clone, Copy)]
pub(crate) struct Look {
    pub(crate) width: u32,
    pub(crate) height: u32,
    pub(crate) is_dark: bool,
    pub(crate) has_scripts: bool,
}

/// A usual window.
pub(crate) const DESK: Look = Look { width: 1280, height: 900, is_dark: false, has_scripts: true };
/// A small telephone.
pub(crate) const PHONE: Look = Look { width: 360, height: 740, ..DESK };

/// A running browser. It is killed when this is dropped.
pub(crate) struct Browser {
    client: Client,
    look: Look,
    _driver: Driver,
    _profile: TempDir,
}

/// The driver with all its children.
struct Driver {
    group: Pid,
    _child: Child,
}

impl Drop for Driver {
    fn drop(&mut self) {
        // It may have ended by itself.
        let _ = kill_process_group(self.group, Signal::KILL);
    }
}

impl Browser {
    /// A usual window.
    pub(crate) async fn start() -> Self {
        Self::of(DESK).await
    }

    /// A window like that.
    pub(crate) async fn of(look: Look) -> Self {
        let (driver, port) = start_driver().await;
        let profile = TempDir::with_prefix("handoff-browser-").unwrap();
        let arguments = [
            "--headless=new",
            "--no-sandbox",
            "--disable-gpu",
            "--disable-quic",
            "--disable-dev-shm-usage",
            "--no-first-run",
            "--disable-background-networking",
            "--disable-component-update",
            "--disable-sync",
            "--hide-scrollbars",
            &format!("--user-data-dir={}", profile.path().display()),
        ];
        let scripts = if look.has_scripts { 1 } else { 2 };
        let options = json!({
            "args": arguments,
            "prefs": {"profile.managed_default_content_settings.javascript": scripts},
        });
        let mut wanted = Map::new();
        wanted.insert("goog:chromeOptions".into(), options);
        wanted.insert("goog:loggingPrefs".into(), json!({"browser": "ALL"}));
        let connecting = async {
            let mut builder = ClientBuilder::new(hyper_util_connector());
            builder.capabilities(wanted).connect(&format!("http://127.0.0.1:{port}")).await
        };
        let client = patiently("the browser starts", connecting).await.unwrap();
        let patience = Some(PATIENCE);
        let lost = Some(Duration::from_secs(20));
        let timeouts = TimeoutConfiguration::new(lost, patience, Some(Duration::ZERO));
        client.update_timeouts(timeouts).await.unwrap();
        let browser = Self { client, look, _driver: driver, _profile: profile };
        browser.fit(look.height).await;
        let scheme = if look.is_dark { "dark" } else { "light" };
        let features = json!([{"name": "prefers-color-scheme", "value": scheme}]);
        browser.command("Emulation.setEmulatedMedia", json!({"features": features})).await;
        browser
    }

    async fn fit(&self, height: u32) {
        let size = json!({
            "width": self.look.width, "height": height, "deviceScaleFactor": 1, "mobile": false,
        });
        self.command("Emulation.setDeviceMetricsOverride", size).await;
    }

    /// Gives the browser a command of its own protocol.
    pub(crate) async fn command(&self, name: &str, parameters: Value) -> Value {
        let command = Own("goog/cdp/execute", json!({"cmd": name, "params": parameters}));
        self.client.issue_cmd(command).await.unwrap()
    }

    /// Opens a page.
    pub(crate) async fn open(&self, url: &str) {
        patiently("the page loads", self.client.goto(url)).await.unwrap();
    }

    /// What an expression comes to on the page.
    pub(crate) async fn value(&self, expression: &str) -> Value {
        let script = format!("return ({expression});");
        self.client.execute(&script, Vec::new()).await.unwrap()
    }

    /// Waits until an expression holds on the page, which may be another one by then.
    pub(crate) async fn until(&self, expression: &str) {
        // A script is lost when the page goes, so it does not look for long.
        let script = format!(
            "const done = arguments[0], end = Date.now() + 500; const look = () => {{ let is = false; \
             try {{ is = !!({expression}); }} catch {{}} \
             if (is || Date.now() > end) done(is); else setTimeout(look, 50); }}; look();"
        );
        let holds = async {
            while !matches!(
                self.client.execute_async(&script, Vec::new()).await,
                Ok(Value::Bool(true))
            ) {}
        };
        patiently(expression, holds).await;
    }

    /// The text of the first thing that is selected.
    pub(crate) async fn text(&self, selector: &str) -> String {
        let element =
            self.client.wait().at_most(PATIENCE).for_element(Locator::Css(selector)).await;
        element.unwrap().text().await.unwrap()
    }

    /// Clicks on the first thing that is selected.
    pub(crate) async fn click(&self, selector: &str) {
        let element =
            self.client.wait().at_most(PATIENCE).for_element(Locator::Css(selector)).await;
        element.unwrap().click().await.unwrap();
    }

    /// Types into the first thing that is selected.
    pub(crate) async fn type_into(&self, selector: &str, text: &str) {
        let element = self.client.find(Locator::Css(selector)).await.unwrap();
        element.send_keys(text).await.unwrap();
    }

    /// Types to wherever the focus is.
    pub(crate) async fn type_keys(&self, keys: &str) {
        for key in keys.chars() {
            let element = self.client.active_element().await.unwrap();
            element.send_keys(&key.to_string()).await.unwrap();
        }
    }

    /// The path of the page.
    pub(crate) async fn path(&self) -> String {
        self.client.current_url().await.unwrap().path().to_owned()
    }

    /// Waits until the page is one below this path.
    pub(crate) async fn arrives_below(&self, start: &str) {
        let arrival = async { while !self.path().await.starts_with(start) {} };
        patiently(start, arrival).await;
    }

    /// Keeps a picture of the whole page.
    pub(crate) async fn picture(&self, name: &str) {
        let height = self.value("document.documentElement.scrollHeight").await;
        let height = u32::try_from(height.as_u64().unwrap_or(900)).unwrap_or(900);
        self.fit(height.clamp(self.look.height, 3500)).await;
        let picture = self.client.screenshot().await.unwrap();
        self.fit(self.look.height).await;
        let directory = target_directory().join("page");
        std::fs::create_dir_all(&directory).unwrap();
        std::fs::write(directory.join(name).with_extension("png"), picture).unwrap();
    }

    /// Nothing is wrong with the page for those who cannot see it or use no mouse, and nothing is wider than
    /// the window.
    pub(crate) async fn is_accessible(&self) {
        let axe = std::fs::read_to_string(axe()).unwrap();
        self.client.execute(&axe, Vec::new()).await.unwrap();
        let script = "const done = arguments[0]; axe.run(document, {resultTypes: ['violations']}).then( \
             (it) => done(it.violations.map((v) => `${v.id}: ${v.help}: ${v.nodes.map((n) => n.html).join(' | ')}`)), \
             (error) => done([String(error)]));";
        let found = self.client.execute_async(script, Vec::new()).await.unwrap();
        let path = self.path().await;
        assert_eq!(found, json!([]), "{path}: {found:#}");
        let wider = "document.documentElement.scrollWidth - document.documentElement.clientWidth";
        assert_eq!(self.value(wider).await, 0, "{path} is wider than the window");
    }

    /// The browser complained of nothing: no script failed, no policy was broken, nothing was missing.
    pub(crate) async fn is_quiet(&self) {
        let said = self.complaints().await;
        assert!(said.is_empty(), "{said:#?}");
    }

    /// What the browser complained of so far.
    pub(crate) async fn complaints(&self) -> Vec<String> {
        let log = self.client.issue_cmd(Own("se/log", json!({"type": "browser"}))).await.unwrap();
        let entries = log.as_array().cloned().unwrap_or_default();
        let grave = entries.into_iter().filter(|entry| entry["level"] == "SEVERE");
        grave.map(|entry| entry["message"].as_str().unwrap_or_default().to_owned()).collect()
    }
}

fn hyper_util_connector() -> HttpConnector {
    HttpConnector::new()
}

type HttpConnector = hyper_util::client::legacy::connect::HttpConnector;

/// Where the checker of accessibility is that `cargo xtask test` brings.
fn axe() -> PathBuf {
    target_directory().join("tools/page/node_modules/axe-core/axe.min.js")
}

/// Starts the driver at a free port, in a group of its own, so that it ends with its browsers.
async fn start_driver() -> (Driver, u16) {
    let mut command = Command::new("chromedriver");
    command.arg("--port=0").stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::null());
    let mut child = command.process_group(0).kill_on_drop(true).spawn().unwrap_or_else(|error| {
        panic!("no chromedriver ({error}): run the tests by `cargo xtask test`")
    });
    let group = Pid::from_raw(i32::try_from(child.id().unwrap()).unwrap()).unwrap();
    let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
    let driver = Driver { group, _child: child };
    let port = patiently("the driver says where it listens", async {
        while let Some(line) = lines.next_line().await.unwrap() {
            let port = line
                .rsplit_once("successfully on port ")
                .map(|(_, port)| port.trim_end_matches('.'));
            if let Some(port) = port.and_then(|port| port.parse().ok()) {
                return port;
            }
        }
        panic!("the driver ended")
    });
    let port = port.await;
    // It must not wait for somebody to read what it says.
    tokio::spawn(async move { while let Ok(Some(_)) = lines.next_line().await {} });
    (driver, port)
}

/// A command that only this browser's driver has.
#[derive(Debug)]
struct Own(&'static str, Value);

impl WebDriverCompatibleCommand for Own {
    fn endpoint(
        &self,
        base: &url::Url,
        session: Option<&str>,
    ) -> Result<url::Url, url::ParseError> {
        base.join(&format!("session/{}/{}", session.unwrap_or_default(), self.0))
    }

    fn method_and_body(&self, _: &url::Url) -> (http::Method, Option<String>) {
        (http::Method::POST, Some(self.1.to_string()))
    }
}
