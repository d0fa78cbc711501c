//! The command line, as somebody in a shell uses it.

use std::path::{Path, PathBuf};
use std::process::Stdio;

use rustix::process::{Pid, Signal, kill_process};
use tokio::io::{AsyncBufReadExt, AsyncReadExt, BufReader, Lines};
use tokio::process::{Child, ChildStderr, ChildStdout, Command};

use crate::{guests, patiently};

/// A command, `handoff` or a script that calls it, on its way to being started.
pub struct Handoff(Command);

/// What a command left behind.
#[derive(Clone, Debug)]
pub struct Ended {
    /// Its exit code; none if a signal ended it.
    pub code: Option<i32>,
    /// What it wrote to standard output.
    pub stdout: String,
    /// What it wrote to standard error.
    pub stderr: String,
}

/// A command that was started.
pub struct Running {
    child: Child,
    stdout: Lines<BufReader<ChildStdout>>,
    stderr: ChildStderr,
    seen: String,
}

impl Handoff {
    /// `handoff` with these arguments, no matter what whoever runs the tests has set.
    pub fn new(arguments: &[&str]) -> Self {
        Self::of(&program(), arguments)
    }

    /// Another program in the same way.
    pub fn of(program: &Path, arguments: &[&str]) -> Self {
        let mut command = Command::new(program);
        for (name, _) in std::env::vars_os() {
            let name = name.to_string_lossy().into_owned();
            let is_of_ci =
                name.starts_with("GITHUB_") || ["CI", "NO_COLOR"].contains(&name.as_str());
            if name.starts_with("HANDOFF_") || is_of_ci {
                command.env_remove(name);
            }
        }
        command.args(arguments).stdin(Stdio::null()).kill_on_drop(true);
        command.stdout(Stdio::piped()).stderr(Stdio::piped());
        Self(command)
    }

    /// Sets an environment variable.
    #[must_use]
    pub fn variable(mut self, name: &str, value: &str) -> Self {
        self.0.env(name, value);
        self
    }

    /// Starts it in this directory.
    #[must_use]
    pub fn directory(mut self, directory: &Path) -> Self {
        self.0.current_dir(directory);
        self
    }

    /// Starts it.
    pub fn start(mut self) -> Running {
        let mut child = self.0.spawn().expect("handoff was built: run by `cargo xtask test`");
        let stdout = child.stdout.take().expect("the output is piped");
        let stderr = child.stderr.take().expect("the errors are piped");
        Running { child, stdout: BufReader::new(stdout).lines(), stderr, seen: String::new() }
    }

    /// Runs it to its end.
    pub async fn run(self) -> Ended {
        self.start().ended().await
    }
}

impl Running {
    /// Waits until it writes a line to standard output that contains this.
    ///
    /// # Panics
    /// When it ends before.
    pub async fn wait_for(&mut self, what: &str) {
        self.line_with(what).await;
    }

    /// The next line on standard output that contains this.
    ///
    /// # Panics
    /// When it ends before.
    pub async fn line_with(&mut self, what: &str) -> String {
        let wait = async {
            loop {
                match self.stdout.next_line().await.expect("the output is text") {
                    Some(line) => {
                        self.seen.push_str(&line);
                        self.seen.push('\n');
                        if line.contains(what) {
                            return line;
                        }
                    }
                    None => panic!("the command ended before {what:?}:\n{}", self.seen),
                }
            }
        };
        patiently("the command writes what is waited for", wait).await
    }

    /// Presses Ctrl-C.
    pub fn interrupt(&self) {
        self.signal(Signal::INT);
    }

    /// Asks it to end, as a service manager does.
    pub fn terminate(&self) {
        self.signal(Signal::TERM);
    }

    fn signal(&self, signal: Signal) {
        let id = self.child.id().expect("the command is running");
        let pid = Pid::from_raw(id.cast_signed()).expect("a process id is positive");
        kill_process(pid, signal).expect("a child can be signalled");
    }

    /// Waits for its end.
    pub async fn ended(mut self) -> Ended {
        let (mut rest, mut stderr) = (Vec::new(), Vec::new());
        let out = async {
            self.stdout.get_mut().read_to_end(&mut rest).await.expect("a pipe can be read");
        };
        let err = async {
            self.stderr.read_to_end(&mut stderr).await.expect("a pipe can be read");
        };
        patiently("the command ends", async { tokio::join!(out, err) }).await;
        let status = patiently("the command ends", self.child.wait()).await;
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        Ended {
            code: status.expect("a child can be waited for").code(),
            stdout: self.seen + &text(&rest),
            stderr: text(&stderr),
        }
    }
}

impl Ended {
    /// What it wrote to standard output, if it ended with that code.
    ///
    /// # Panics
    /// If it ended otherwise.
    #[track_caller]
    pub fn expect(self, code: i32) -> String {
        let Self { code: ended, stdout, stderr } = self;
        assert_eq!(ended, Some(code), "standard output:\n{stdout}\nstandard error:\n{stderr}");
        stdout
    }

    /// What it told on standard error, if it ended with that code.
    ///
    /// # Panics
    /// If it ended otherwise.
    #[track_caller]
    pub fn failure(self, code: i32) -> String {
        let stderr = self.stderr.clone();
        self.expect(code);
        stderr
    }
}

/// Where the program `handoff` is.
pub fn program() -> PathBuf {
    guests::binary_directory().join("handoff")
}

/// Where the component of that name is.
pub fn guest_file(name: &str) -> PathBuf {
    guests::file(name)
}
