//! A server of one's own, and a client for it.

use std::io::{BufRead as _, BufReader};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, ensure};
use serde_json::{Value, json};

/// A running server; ended when dropped.
pub(crate) struct Server {
    child: Child,
    pub(crate) url: String,
    pub(crate) client: reqwest::Client,
    /// From the start of the process to its first answer.
    pub(crate) started_in: Duration,
}

impl Server {
    /// Starts a server on a free port with its data in `dir`.
    pub(crate) async fn start(handoff: &Path, dir: &Path) -> Result<Self> {
        let begin = Instant::now();
        let mut child = Command::new(handoff)
            .args(["serve", "--listen", "127.0.0.1:0", "--data-dir"])
            .arg(dir)
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .with_context(|| format!("failed to start {}", handoff.display()))?;
        let stdout = child.stdout.take().context("the server has no output")?;
        let mut lines = BufReader::new(stdout).lines();
        let url = lines
            .find_map(|line| {
                line.ok()?.split_once("http://").map(|(_, rest)| format!("http://{rest}"))
            })
            .context("the server ended without listening")?;
        let client = reqwest::Client::new();
        let mut server = Self { child, url: url.trim().into(), client, started_in: Duration::ZERO };
        server.get("/readyz").await?;
        server.started_in = begin.elapsed();
        Ok(server)
    }

    /// Uploads a guest, and gives the path of its suite.
    pub(crate) async fn upload(&self, guests: &Path, name: &str) -> Result<String> {
        let bytes = std::fs::read(guests.join(name).with_extension("wasm"))?;
        let url = format!("{}/api/v1/suites", self.url);
        let answer: Value = checked(self.client.post(url).body(bytes).send().await?).await?;
        let part = |part: &str| answer["suite"][part].as_str().map(str::to_owned);
        let namespace = part("namespace").context("the upload's answer names no namespace")?;
        let name = part("name").context("the upload's answer names no suite")?;
        Ok(format!("/api/v1/suites/{namespace}/{name}"))
    }

    /// Starts a run and waits for its end.
    pub(crate) async fn run(&self, suite: &str, request: Value) -> Result<Value> {
        let url = format!("{}{suite}/runs?wait=60s", self.url);
        let run = checked(self.client.post(url).json(&request).send().await?).await?;
        ensure!(run["finished_at"].is_string(), "the run did not end in time: {run}");
        Ok(run)
    }

    /// A GET that must succeed.
    pub(crate) async fn get(&self, path: &str) -> Result<String> {
        let answer = self.client.get(format!("{}{path}", self.url)).send().await?;
        Ok(answer.error_for_status()?.text().await?)
    }

    /// Resident memory in KiB.
    pub(crate) fn resident_kib(&self) -> Result<u64> {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.child.id()))?;
        let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
        let number = line.and_then(|line| line.split_whitespace().next());
        Ok(number.context("no VmRSS")?.parse()?)
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        // It may have ended by itself; either way it is gone afterwards.
        drop(self.child.kill());
        drop(self.child.wait());
    }
}

async fn checked(answer: reqwest::Response) -> Result<Value> {
    let status = answer.status();
    let text = answer.text().await?;
    ensure!(status.is_success(), "{status}: {text}");
    Ok(serde_json::from_str(&text).unwrap_or(json!(text)))
}
