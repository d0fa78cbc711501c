//! `cargo xtask sdks`: the suites of the SDKs of other languages as components in `target/guests`.
//!
//! Each language has a file here that says which tools it needs, installs what a registry has at the
//! versions that the SDK pins into `target/tools/LANGUAGE`, runs the SDK's own tests, and builds its
//! `conformance` and `example` to `target/guests/LANGUAGE-conformance.wasm` and `LANGUAGE-hello.wasm`.

mod c;
mod go;
mod javascript;
mod python;

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Instant;

use anyhow::{Context, Result, anyhow, ensure};

use crate::workspace::Workspace;

/// One language.
struct Language {
    /// What it is called in `sdk/` and in the names of components.
    name: &'static str,
    /// The commands that must be there already.
    needs: &'static [&'static str],
    /// Builds its suites.
    build: fn(&Place) -> Result<()>,
}

const LANGUAGES: [Language; 4] = [
    Language { name: "c", needs: &["python3"], build: c::build },
    Language { name: "go", needs: &["go"], build: go::build },
    Language { name: "javascript", needs: &["node", "npm"], build: javascript::build },
    Language { name: "python", needs: &["python3"], build: python::build },
];

/// Where a language is built.
pub(crate) struct Place {
    /// `sdk/LANGUAGE`.
    pub(crate) source: PathBuf,
    /// A directory of its own for tools and intermediate files. Kept from one build to the next.
    pub(crate) work: PathBuf,
    /// Where components go.
    pub(crate) guests: PathBuf,
    /// `wit/`.
    pub(crate) wit: PathBuf,
}

/// Names the languages whose tools are there, and says which are left out and why. Rust's are always
/// there, as they are what this is built with.
pub(crate) fn list() -> String {
    let mut names = Vec::new();
    for Language { name, needs, .. } in LANGUAGES {
        match needs.iter().find(|command| !is_there(command)) {
            None => names.push(name),
            Some(command) => {
                eprintln!("NOT TESTED: {name}: there is no command `{command}` on this machine");
            }
        }
    }
    names.push("rust");
    names.join(",")
}

/// Builds the suites of the languages that are named, or of all whose tools are there. A tool that is
/// there and does not work is an error either way.
pub(crate) fn build(workspace: &Workspace, names: &[String]) -> Result<()> {
    for name in names {
        let known = LANGUAGES.map(|language| language.name);
        ensure!(known.contains(&name.as_str()), "there is no SDK {name}: there are {known:?}");
    }
    let mut wanted = Vec::new();
    for language in LANGUAGES {
        let asked = names.iter().any(|name| name == language.name);
        if !names.is_empty() && !asked {
            continue;
        }
        match language.needs.iter().find(|command| !is_there(command)) {
            Some(command) => {
                ensure!(!asked, "the SDK {} needs the command `{command}`", language.name);
            }
            None => wanted.push(language),
        }
    }
    // Each waits for registries and for tools that use one processor, so they are built side by side.
    std::thread::scope(|scope| {
        let build = |language| scope.spawn(move || build_one(workspace, &language));
        let builds: Vec<_> = wanted.into_iter().map(build).collect();
        // Every thread is waited for, whatever came of those before it.
        let ends = builds.into_iter().map(|build| match build.join() {
            Ok(end) => end,
            Err(_) => Err(anyhow!("a build panicked")),
        });
        let failures: Vec<_> = ends.filter_map(Result::err).collect();
        for failure in &failures {
            eprintln!("{failure:#}");
        }
        ensure!(failures.is_empty(), "{} of the SDKs did not build", failures.len());
        Ok(())
    })
}

fn build_one(workspace: &Workspace, language: &Language) -> Result<()> {
    let begin = Instant::now();
    let place = Place {
        source: workspace.root.join("sdk").join(language.name),
        work: workspace.target.join("tools").join(language.name),
        guests: workspace.target.join("guests"),
        wit: workspace.root.join("wit"),
    };
    for directory in [&place.work, &place.guests] {
        std::fs::create_dir_all(directory)
            .with_context(|| format!("failed to make {}", directory.display()))?;
    }
    (language.build)(&place).with_context(|| format!("the SDK {}", language.name))?;
    eprintln!("the SDK {} is built: {:.1} s", language.name, begin.elapsed().as_secs_f64());
    Ok(())
}

/// Runs a command to its end.
pub(crate) fn run(command: &mut Command) -> Result<()> {
    let status = command.status().with_context(|| format!("failed to run {command:?}"))?;
    ensure!(status.success(), "{command:?} ended with {status}");
    Ok(())
}

/// A command in a directory.
pub(crate) fn command(program: impl AsRef<Path>, directory: &Path) -> Command {
    let mut command = Command::new(program.as_ref());
    command.current_dir(directory).stdin(Stdio::null());
    command
}

pub(crate) fn is_there(program: &str) -> bool {
    let paths = std::env::var_os("PATH").unwrap_or_default();
    std::env::split_paths(&paths).any(|directory| directory.join(program).is_file())
}
