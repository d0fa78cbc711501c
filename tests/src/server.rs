//! A real `handoff serve`, as a child with a data directory of its own.

use std::collections::VecDeque;
use std::path::Path;
use std::process::{ExitStatus, Stdio};
use std::sync::{Arc, Mutex, PoisonError};

use rustix::process::{Pid, Signal, kill_process};
use tempfile::TempDir;
use tokio::io::{AsyncBufReadExt, AsyncRead, BufReader};
use tokio::process::{Child, Command};

use crate::{Client, guests, patiently};

/// How many lines of the server's own log are kept for whoever looks at a failed test.
const KEPT_LINES: usize = 2_000;

/// How a server is started.
#[derive(Clone, Default)]
pub struct Settings {
    through: Vec<String>,
    flags: Vec<String>,
    variables: Vec<(String, String)>,
}

impl Settings {
    /// Sets a flag of `handoff serve`, for example `runner-drain-ms`.
    #[must_use]
    pub fn flag(mut self, name: &str, value: impl ToString) -> Self {
        self.flags.extend([format!("--{name}"), value.to_string()]);
        self
    }

    /// Sets an environment variable.
    #[must_use]
    pub fn variable(mut self, name: &str, value: impl ToString) -> Self {
        self.variables.push((name.to_owned(), value.to_string()));
        self
    }

    /// Starts the server by another program, which gets the server's command line after these
    /// arguments and must become it (`exec`).
    #[must_use]
    pub fn through(mut self, program: &[&str]) -> Self {
        self.through = program.iter().map(|part| (*part).to_owned()).collect();
        self
    }

    /// Starts a server with a new data directory.
    pub async fn start(self) -> Server {
        let home = TempDir::with_prefix("handoff-test-").expect("there is a directory for tests");
        Server::start_in(Arc::new(home), self).await
    }
}

/// A running server. It is killed when this is dropped.
pub struct Server {
    child: Child,
    url: String,
    settings: Settings,
    home: Arc<TempDir>,
    log: Log,
}

/// The last lines that the server wrote, shared with the tasks that read them.
type Log = Arc<Mutex<VecDeque<String>>>;

impl Server {
    /// Starts a server with its default settings and a new data directory.
    pub async fn start() -> Self {
        Settings::default().start().await
    }

    async fn start_in(home: Arc<TempDir>, settings: Settings) -> Self {
        let binary = guests::binary_directory().join("handoff");
        let mut words = settings.through.iter().map(AsRef::as_ref).chain([binary.as_os_str()]);
        let mut command = Command::new(words.next().expect("there is at least the binary"));
        command.args(words);
        command.args(["serve", "--listen", "127.0.0.1:0", "--data-dir"]);
        command.arg(home.path().join("data")).args(&settings.flags);
        // The settings of whoever runs the tests are not the tests' own.
        for (name, _) in std::env::vars_os() {
            if name.to_string_lossy().starts_with("HANDOFF_") {
                command.env_remove(name);
            }
        }
        command.envs(settings.variables.iter().cloned()).current_dir(home.path());
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = command.kill_on_drop(true).spawn().unwrap_or_else(|error| {
            let binary = binary.display();
            panic!("no server at {binary} ({error}): run the tests by `cargo xtask test`")
        });

        let log = Log::default();
        let stdout = child.stdout.take().expect("the output is piped");
        let stderr = child.stderr.take().expect("the log is piped");
        tokio::spawn(keep_lines(stderr, Arc::clone(&log)));
        let url = patiently("the server says where it listens", listening_on(stdout, &log)).await;
        let Some(url) = url else {
            let status = child.wait().await;
            panic!("the server did not start ({status:?}):\n{}", text(&log));
        };
        Self { child, url, settings, home, log }
    }

    /// Where it serves, for example `http://127.0.0.1:4711`.
    pub fn url(&self) -> &str {
        &self.url
    }

    /// A client for it.
    pub fn client(&self) -> Client {
        Client::new(&self.url)
    }

    /// Its process id.
    pub fn pid(&self) -> u32 {
        self.child.id().expect("the server is running")
    }

    /// The most memory that it has used, in bytes.
    ///
    /// # Panics
    /// When the system does not tell.
    pub fn peak_memory(&self) -> u64 {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.pid()));
        let status = status.expect("the server is running");
        let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"));
        let kib = line.and_then(|line| line.trim().trim_end_matches(" kB").parse::<u64>().ok());
        kib.expect("the peak of memory") << 10
    }

    /// Where its data is.
    pub fn data(&self) -> std::path::PathBuf {
        self.home.path().join("data")
    }

    /// A directory that lasts as long as its data.
    pub fn home(&self) -> &Path {
        self.home.path()
    }

    /// The last lines of its own log.
    pub fn log(&self) -> String {
        text(&self.log)
    }

    /// Kills it as a power cut would, and waits until it is gone.
    pub async fn kill9(&mut self) {
        self.child.kill().await.expect("a child can be killed");
    }

    /// Asks it to end, as a service manager does.
    pub fn sigterm(&self) {
        let pid = Pid::from_raw(self.pid().cast_signed()).expect("a process id is positive");
        kill_process(pid, Signal::TERM).expect("a child can be signalled");
    }

    /// Waits until it ended by itself.
    pub async fn ended(&mut self) -> ExitStatus {
        patiently("the server ends", self.child.wait()).await.expect("a child can be waited for")
    }

    /// Starts it again on the same data, after killing it if it still runs.
    pub async fn restart(self) -> Self {
        let settings = self.settings.clone();
        self.restart_with(settings).await
    }

    /// Starts it again on the same data with other settings, after killing it if it still runs.
    pub async fn restart_with(mut self, settings: Settings) -> Self {
        self.kill9().await;
        Self::start_in(Arc::clone(&self.home), settings).await
    }
}

/// Shows the server's log beside the failure of the test.
impl Drop for Server {
    fn drop(&mut self) {
        if std::thread::panicking() {
            eprintln!("the log of the server at {}:\n{}", self.url, text(&self.log));
        }
    }
}

/// The URL that the server prints when it is ready; none if it ended before. What comes later is
/// kept with the log.
async fn listening_on(
    stdout: impl AsyncRead + Send + Unpin + 'static,
    log: &Log,
) -> Option<String> {
    let mut lines = BufReader::new(stdout).lines();
    while let Some(line) = lines.next_line().await.ok()? {
        if let Some((_, url)) = line.split_once("listening on ") {
            tokio::spawn(keep_lines(lines.into_inner(), Arc::clone(log)));
            return Some(url.trim().trim_end_matches('/').to_owned());
        }
    }
    None
}

async fn keep_lines(output: impl AsyncRead + Unpin, log: Log) {
    let mut lines = BufReader::new(output).lines();
    while let Ok(Some(line)) = lines.next_line().await {
        let mut log = log.lock().unwrap_or_else(PoisonError::into_inner);
        if log.len() == KEPT_LINES {
            log.pop_front();
        }
        log.push_back(line);
    }
}

fn text(log: &Log) -> String {
    let log = log.lock().unwrap_or_else(PoisonError::into_inner);
    log.iter().map(String::as_str).collect::<Vec<_>>().join("\n")
}
