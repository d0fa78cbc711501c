//! A server of one's own, and a client for it.

use std::io::{BufRead as _, BufReader};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, ensure};
use serde_json::{Value, json};

use crate::figures::Samples;

/// A running server; ended when dropped.
pub(crate) struct Server {
    child: Child,
    url: String,
    client: reqwest::Client,
    /// From the start of the process to its first answer that it is ready.
    pub(crate) started_in: Duration,
}

/// A run that has ended.
pub(crate) struct Finished {
    /// From the request to the last byte of the answer.
    pub(crate) took: Duration,
    /// The answer.
    pub(crate) run: Value,
}

/// What a process has used of the processors.
#[derive(Clone, Copy)]
pub(crate) struct CpuTime {
    pub(crate) user: Duration,
    pub(crate) system: Duration,
}

impl Server {
    /// Starts a server on a free port with its data in `dir`.
    pub(crate) async fn start(handoff: &Path, dir: &Path) -> Result<Self> {
        Self::start_with(handoff, dir, &[]).await
    }

    /// The same with some settings.
    pub(crate) async fn start_with(handoff: &Path, dir: &Path, flags: &[&str]) -> Result<Self> {
        let begin = Instant::now();
        let mut command = Command::new(handoff);
        // The settings of whoever measures are not what is measured.
        for (name, _) in std::env::vars_os() {
            if name.to_string_lossy().starts_with("HANDOFF_") {
                command.env_remove(name);
            }
        }
        command.args(["serve", "--listen", "127.0.0.1:0", "--data-dir"]).arg(dir).current_dir(dir);
        command.args(flags);
        let mut child = command
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .with_context(|| format!("failed to start {}", handoff.display()))?;
        let stdout = child.stdout.take().context("the server has no output")?;
        let (client, started_in) = (reqwest::Client::new(), Duration::ZERO);
        // From here on the child is ended whatever goes wrong.
        let mut server = Self { child, url: String::new(), client, started_in };
        server.url = BufReader::new(stdout)
            .lines()
            .map_while(Result::ok)
            .find_map(|line| Some(line.split_once("listening on ")?.1.trim().to_owned()))
            .context("the server ended without listening")?;
        server.wait_until_ready().await?;
        server.started_in = begin.elapsed();
        Ok(server)
    }

    /// Waits until it has taken up what an earlier process left.
    async fn wait_until_ready(&self) -> Result<()> {
        let begin = Instant::now();
        loop {
            match self.get("/readyz").await {
                Err(_) if begin.elapsed() < Duration::from_secs(10) => {
                    tokio::time::sleep(Duration::from_millis(1)).await;
                }
                answer => return answer.map(drop),
            }
        }
    }

    /// Uploads a guest, and gives the path of its suite.
    pub(crate) async fn upload(&self, guests: &Path, name: &str) -> Result<String> {
        let bytes = std::fs::read(guests.join(name).with_extension("wasm"))?;
        let url = format!("{}/api/v1/suites", self.url);
        let text = checked(self.client.post(url).body(bytes).send().await?).await?;
        let answer: Value = serde_json::from_str(&text)?;
        let part = |part: &str| answer["suite"][part].as_str().map(str::to_owned);
        let namespace = part("namespace").context("the upload's answer names no namespace")?;
        let name = part("name").context("the upload's answer names no suite")?;
        Ok(format!("/api/v1/suites/{namespace}/{name}"))
    }

    /// Installs a plugin and changes it.
    pub(crate) async fn install(
        &self,
        guests: &Path,
        name: &str,
        component: &str,
        change: &Value,
    ) -> Result<()> {
        let bytes = std::fs::read(guests.join(component).with_extension("wasm"))?;
        let url = format!("{}/api/v1/plugins?name={name}", self.url);
        checked(self.client.post(url).body(bytes).send().await?).await?;
        self.change_plugin(name, change).await
    }

    /// Changes a plugin.
    pub(crate) async fn change_plugin(&self, name: &str, change: &Value) -> Result<()> {
        let url = format!("{}/api/v1/plugins/{name}", self.url);
        checked(self.client.patch(url).json(change).send().await?).await.map(drop)
    }

    /// Grants something to a suite.
    pub(crate) async fn grant(&self, suite: &str, policy: &Value) -> Result<()> {
        let url = format!("{}{suite}/policy", self.url);
        checked(self.client.put(url).json(policy).send().await?).await.map(drop)
    }

    /// Starts a run and waits for its end. What the client does with the answer is not counted.
    pub(crate) async fn run(&self, suite: &str, request: &Value) -> Result<Finished> {
        let url = format!("{}{suite}/runs?wait=60s", self.url);
        let request = self.client.post(url).json(request);
        let begin = Instant::now();
        let text = checked(request.send().await?).await?;
        let took = begin.elapsed();
        let run: Value = serde_json::from_str(&text)?;
        ensure!(run["finished_at"].is_string(), "the run did not end in time: {run}");
        Ok(Finished { took, run })
    }

    /// A POST that must succeed, and how long it took.
    pub(crate) async fn post(&self, path: &str, body: &Value) -> Result<Duration> {
        let request = self.client.post(format!("{}{path}", self.url)).json(body);
        let begin = Instant::now();
        checked(request.send().await?).await?;
        Ok(begin.elapsed())
    }

    /// All events of a run that has ended, in order.
    pub(crate) async fn events(&self, run: &Value) -> Result<Vec<Value>> {
        let id = run["id"].as_str().context("a run without an id")?;
        let stream = self.get(&format!("/api/v1/runs/{id}/events")).await?;
        let events = stream.lines().filter_map(|line| line.strip_prefix("data:"));
        Ok(events.map(serde_json::from_str).collect::<Result<_, _>>()?)
    }

    /// A GET that must succeed.
    pub(crate) async fn get(&self, path: &str) -> Result<String> {
        checked(self.client.get(format!("{}{path}", self.url)).send().await?).await
    }

    /// How many bytes the answer to a GET has over the wire, for who takes it compressed.
    pub(crate) async fn compressed(&self, path: &str) -> Result<usize> {
        let request = self.client.get(format!("{}{path}", self.url));
        let answer = request.header("accept-encoding", "gzip").send().await?.error_for_status()?;
        Ok(answer.bytes().await?.len())
    }

    /// How long a GET takes, one after another.
    pub(crate) async fn latencies(&self, path: &str, count: usize) -> Result<Samples> {
        let mut samples = Vec::with_capacity(count);
        for _ in 0..count {
            let begin = Instant::now();
            self.get(path).await?;
            samples.push(begin.elapsed());
        }
        Ok(samples.into_iter().collect())
    }

    /// Resident memory in KiB.
    pub(crate) fn resident_kib(&self) -> Result<u64> {
        self.status_kib("VmRSS:")
    }

    /// The most resident memory in KiB since [`Server::forget_peak`].
    pub(crate) fn peak_kib(&self) -> Result<u64> {
        self.status_kib("VmHWM:")
    }

    /// Lets the peak of resident memory start anew from what is resident now.
    pub(crate) fn forget_peak(&self) -> Result<()> {
        let path = format!("/proc/{}/clear_refs", self.child.id());
        std::fs::write(&path, "5").with_context(|| format!("failed to write {path}"))
    }

    /// Resident memory in KiB; of a page that is mapped several times, each time its part.
    pub(crate) fn shared_kib(&self) -> Result<u64> {
        self.kib("smaps_rollup", "Pss:")
    }

    fn status_kib(&self, key: &str) -> Result<u64> {
        self.kib("status", key)
    }

    fn kib(&self, file: &str, key: &str) -> Result<u64> {
        let status = std::fs::read_to_string(format!("/proc/{}/{file}", self.child.id()))?;
        let line = status.lines().find_map(|line| line.strip_prefix(key));
        let number = line.and_then(|line| line.split_whitespace().next());
        Ok(number.with_context(|| format!("no {key}"))?.parse()?)
    }

    /// What the server has used so far; the kernel counts in hundredths of a second.
    pub(crate) fn cpu_time(&self) -> Result<CpuTime> {
        let stat = std::fs::read_to_string(format!("/proc/{}/stat", self.child.id()))?;
        // The name of the program, in parentheses, may have spaces.
        let (_, fields) = stat.rsplit_once(") ").context("a stat without a name")?;
        let ticks = |at: usize| -> Result<Duration> {
            let field = fields.split(' ').nth(at).context("too short a stat")?;
            Ok(Duration::from_millis(10 * field.parse::<u64>()?))
        };
        Ok(CpuTime { user: ticks(11)?, system: ticks(12)? })
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        // It may have ended by itself; either way it is gone afterwards.
        drop(self.child.kill());
        drop(self.child.wait());
    }
}

async fn checked(answer: reqwest::Response) -> Result<String> {
    let status = answer.status();
    let text = answer.text().await?;
    ensure!(status.is_success(), "{status}: {}", json!(text));
    Ok(text)
}
