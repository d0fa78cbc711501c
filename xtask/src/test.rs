//! `cargo xtask test`: the guests, the server, then every test.

use std::process::ExitCode;

use anyhow::{Context, Result, ensure};

use crate::workspace::Workspace;
use crate::{guests, page};

/// Runs the tests, with `args` for `cargo test`. The summary of cargo's runner is the last output.
pub(crate) fn run(workspace: &Workspace, args: &[String]) -> Result<ExitCode> {
    guests::build(workspace)?;
    if args.is_empty() || args.iter().any(|arg| arg == "browser") {
        page::prepare(workspace)?;
    }

    build(workspace)?;
    if args.is_empty() {
        // Examples in the documentation first, so that the tests proper come last.
        let examples = test(workspace, &["--doc"])?;
        let tests = test(workspace, &["--lib", "--bins", "--tests", "--no-fail-fast"])?;
        return Ok(if examples && tests { ExitCode::SUCCESS } else { ExitCode::FAILURE });
    }
    let args: Vec<_> = args.iter().map(String::as_str).collect();
    Ok(if test(workspace, &args)? { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

/// Builds the tests and the real binary, which those through the front door start. It is built together
/// with the tests, because cargo builds the dependencies of another selection of packages a second time.
pub(crate) fn build(workspace: &Workspace) -> Result<()> {
    let mut build = workspace.cargo(&["build", "--workspace", "--lib", "--bins", "--tests"]);
    let status = build.args(workspace.without_guests()).status().context("failed to run cargo")?;
    ensure!(status.success(), "the tests did not build");
    Ok(())
}

fn test(workspace: &Workspace, args: &[&str]) -> Result<bool> {
    let mut cargo = workspace.cargo(&["test", "--workspace"]);
    cargo.args(workspace.without_guests()).args(args);
    Ok(cargo.status().context("failed to run cargo")?.success())
}
