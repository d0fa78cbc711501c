//! `cargo xtask programs`: test programs that nobody here wrote, each run by its own runner and by
//! `handoff test`, and compared test by test.
//!
//! They are the tests of published crates and of packages of Go's standard library, at pinned versions,
//! built as they are. Each difference must be explained in `known`, and each explanation must hold. What
//! came of it is the table in `docs/programs.md`, which is compared, or written with `--write`.

mod crates;
mod go;
mod here;
mod known;
mod table;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::{Context, Result, bail, ensure};

use crate::workspace::Workspace;

#[derive(clap::Args)]
pub(crate) struct Args {
    /// The crates and packages. Default: all
    names: Vec<String>,
    /// Only a few, which take a minute or two
    #[arg(long, conflicts_with = "names")]
    fast: bool,
    /// Write the table in docs/programs.md in place of comparing it
    #[arg(long, conflicts_with_all = ["names", "fast"])]
    write: bool,
}

/// How a test ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Verdict {
    Passed,
    Failed,
    Skipped,
    /// There is no such test.
    Absent,
}

impl Verdict {
    fn as_str(self) -> &'static str {
        match self {
            Self::Passed => "passed",
            Self::Failed => "failed",
            Self::Skipped => "skipped",
            Self::Absent => "not there",
        }
    }

    fn parse(text: &str) -> Result<Self> {
        Ok(match text {
            "passed" => Self::Passed,
            "failed" => Self::Failed,
            "skipped" => Self::Skipped,
            other => bail!("a test ended as {other:?}, which no test of these does"),
        })
    }
}

/// Tests and their parts by name, each with how it ended.
pub(crate) type Verdicts = BTreeMap<String, Verdict>;

/// One program: a file of tests, built for one target.
pub(crate) struct Program {
    /// Its file, and for differences the target of cargo or nothing: `tests/serde.rs`.
    pub(crate) name: String,
    /// As its own runner has it.
    pub(crate) native: Verdicts,
    /// Those of them that must panic.
    pub(crate) must_panic: Vec<String>,
    /// As `handoff test` has it.
    pub(crate) here: Verdicts,
}

/// A crate or a package, run both ways.
pub(crate) struct Compared {
    pub(crate) package: String,
    pub(crate) version: String,
    /// What it was built for.
    pub(crate) target: &'static str,
    pub(crate) programs: Vec<Program>,
}

/// Where everything is.
pub(crate) struct Place<'a> {
    pub(crate) workspace: &'a Workspace,
    /// The sources of the pinned crates list.
    pub(crate) pinned: PathBuf,
    /// What is fetched and built.
    pub(crate) work: PathBuf,
    /// The binary `handoff`.
    pub(crate) handoff: PathBuf,
}

/// Runs those that are asked for, and compares.
pub(crate) fn run(workspace: &Workspace, args: &Args) -> Result<ExitCode> {
    let known: Vec<_> = crates::NAMES.iter().chain(go::NAMES).copied().collect();
    for name in &args.names {
        ensure!(known.contains(&name.as_str()), "there is no {name} here: there are {known:?}");
    }
    let wanted = |name: &str, fast: &[&str]| match (args.fast, args.names.as_slice()) {
        (true, _) => fast.contains(&name),
        (false, []) => true,
        (false, names) => names.iter().any(|it| it == name),
    };
    crate::test::build(workspace)?;
    let place = Place {
        workspace,
        pinned: workspace.root.join("xtask/programs"),
        work: workspace.target.join("programs"),
        handoff: workspace.target.join("debug/handoff"),
    };
    std::fs::create_dir_all(&place.work).context("failed to make a directory to work in")?;
    let mut compared = Vec::new();
    let names: Vec<_> = crates::NAMES.iter().filter(|name| wanted(name, crates::FAST)).collect();
    if !names.is_empty() {
        compared.extend(crates::run(&place, &names, args.fast)?);
    }
    let names: Vec<_> = go::NAMES.iter().filter(|name| wanted(name, go::FAST)).collect();
    let go = names.is_empty() || go::is_there();
    if !go {
        eprintln!("NOT TESTED: Go's packages, because `go` is not on this machine");
    } else if !names.is_empty() {
        compared.extend(go::run(&place, &names)?);
    }
    let findings = known::check(&compared);
    for finding in &findings {
        eprintln!("{finding}");
    }
    let tests =
        compared.iter().flat_map(|it| &it.programs).map(|it| it.native.len()).sum::<usize>();
    println!("{tests} tests of {} programs were compared", compared.len());
    if !findings.is_empty() {
        eprintln!("{} differences are not as xtask/src/proof/known.rs has them", findings.len());
        return Ok(ExitCode::FAILURE);
    }
    let docs = workspace.root.join("docs/programs.md");
    if args.write {
        ensure!(go, "the table has Go's packages too: install Go to write it");
        table::write(&docs, &compared)?;
    } else {
        let is_all = go && !args.fast && args.names.is_empty();
        table::compare(&docs, &compared, is_all)?;
    }
    Ok(ExitCode::SUCCESS)
}

/// Copies a directory, without what it has already of the same length.
pub(crate) fn copy(from: &Path, to: &Path) -> Result<()> {
    let failed = || format!("failed to copy {} to {}", from.display(), to.display());
    std::fs::create_dir_all(to).with_context(failed)?;
    for entry in std::fs::read_dir(from).with_context(failed)? {
        let entry = entry.with_context(failed)?;
        let (source, target) = (entry.path(), to.join(entry.file_name()));
        if entry.file_type().with_context(failed)?.is_dir() {
            copy(&source, &target)?;
        } else if !target.exists() {
            // Written anew, because the registry's files may be read-only.
            let bytes = std::fs::read(&source).with_context(failed)?;
            std::fs::write(&target, bytes).with_context(failed)?;
        }
    }
    Ok(())
}
