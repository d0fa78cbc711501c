//! Builds the test programs that our own tests run: those of `tests/programs` with cargo, and Go's where
//! Go is. They go to `target/guests` beside the suites, as `program-NAME.wasm`.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::{Context, Result, ensure};
use serde_json::Value;

use crate::guests::{copy_if_changed, ensure_target};
use crate::workspace::Workspace;

const PACKAGE: &str = "test-programs";

/// Rust's names for preview 1 and 2, and what is added to the name of a program.
const TARGETS: [(&str, &str); 2] = [("wasm32-wasip1", "-p1"), ("wasm32-wasip2", "")];

/// Builds all of them. Gives their number.
pub(crate) fn build(workspace: &Workspace) -> Result<usize> {
    let mut built = 0;
    for (target, suffix) in TARGETS {
        ensure_target(workspace, target)?;
        for (name, file) in made(workspace, target)? {
            copy_if_changed(&file, &workspace.component(&format!("{name}{suffix}")))?;
            built += 1;
        }
    }
    Ok(built + usize::from(go(workspace)?))
}

/// The programs for one target, each with its file. That of the library is its test harness.
fn made(workspace: &Workspace, target: &str) -> Result<Vec<(String, PathBuf)>> {
    // With `--lib` and `--bins` both, cargo would also make a harness of each binary.
    let harness = cargo(workspace, &["test", "--no-run", "--lib"], target)?;
    let programs = cargo(workspace, &["build", "--bins"], target)?;
    let harness = harness.into_iter().map(|(_, file)| ("program-libtest".to_owned(), file));
    Ok(harness.chain(programs).collect())
}

/// Runs cargo and gives the programs that it made, by the names of their targets.
fn cargo(workspace: &Workspace, command: &[&str], target: &str) -> Result<Vec<(String, PathBuf)>> {
    let output = workspace
        .cargo(command)
        .args([
            "--package",
            PACKAGE,
            "--target",
            target,
            "--message-format",
            "json-render-diagnostics",
        ])
        .stderr(Stdio::inherit())
        .output()
        .context("failed to run cargo")?;
    ensure!(output.status.success(), "the test programs did not build for {target}");
    let messages = String::from_utf8_lossy(&output.stdout);
    let made = messages.lines().filter_map(|line| {
        let message: Value = serde_json::from_str(line).ok()?;
        let name = message["target"]["name"].as_str()?.to_owned();
        Some((name, PathBuf::from(message["executable"].as_str()?)))
    });
    Ok(made.collect())
}

/// Builds Go's if there is a Go, and says so if there is none.
fn go(workspace: &Workspace) -> Result<bool> {
    let source = workspace.root.join("tests/programs/go");
    let to = workspace.component("program-go");
    let made = workspace.target.join("tmp").join("program-go.wasm");
    match go_test(&source, &made).status() {
        Ok(status) => ensure!(status.success(), "the test program of Go did not build"),
        Err(error) => {
            eprintln!("NOT BUILT: the test program of Go, because `go` cannot be run ({error})");
            return Ok(false);
        }
    }
    copy_if_changed(&made, &to)?;
    Ok(true)
}

fn go_test(source: &Path, made: &Path) -> Command {
    let mut command = Command::new("go");
    command.current_dir(source).args(["test", "-c", "-o"]).arg(made).arg(".");
    command.env("GOOS", "wasip1").env("GOARCH", "wasm").stdin(Stdio::null());
    command
}
