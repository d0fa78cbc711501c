//! `cargo xtask bench`: builds the server and the bench in release mode and runs the bench.
//!
//! The measuring itself is in the package `handoff-bench`: it needs the server's own crates for its
//! baseline, and this package must stay quick to build.

use std::process::ExitCode;

use anyhow::{Result, ensure};

use crate::children::{self, Guard, Stop};
use crate::guests;
use crate::workspace::Workspace;

/// Runs the bench with `args`.
pub(crate) fn run(workspace: &Workspace, args: &[String]) -> Result<ExitCode> {
    let stop = Stop::listen()?;
    guests::build(workspace)?;
    let mut build = workspace.cargo(&["build", "--release", "--bins"]);
    build.args(["--package", "handoff", "--package", "handoff-bench"]);
    children::check(&mut build, &stop, "the build")?;
    let release = workspace.target.join("release");
    let mut bench = std::process::Command::new(release.join("handoff-bench"));
    bench
        .current_dir(&workspace.root)
        .arg("--server-binary")
        .arg(release.join("handoff"))
        .arg("--guests")
        .arg(workspace.target.join("guests"))
        .args(args);
    let status = Guard::spawn(&mut bench, std::time::Duration::from_secs(30))?.wait(&stop)?;
    ensure!(status.success(), "the bench failed ({status})");
    Ok(ExitCode::SUCCESS)
}
