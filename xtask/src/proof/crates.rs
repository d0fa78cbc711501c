//! Published crates: fetched by cargo at the versions of `xtask/programs`, put together in a workspace of
//! their own so that one lock pins what their tests need, and built as they are.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::{Context, Result, ensure};
use serde_json::Value;

use super::here::{self, Order};
use super::{Compared, Place, Program, Verdict, Verdicts, copy};

/// Those of `xtask/programs/Cargo.toml`.
pub(crate) const NAMES: &[&str] = &[
    "arrayvec",
    "bytes",
    "either",
    "fnv",
    "heck",
    "kamadak-exif",
    "percent-encoding",
    "smallvec",
    "unicode-width",
    "zeroize",
];

/// One with tests that must panic, and one with files.
pub(crate) const FAST: &[&str] = &["arrayvec", "kamadak-exif"];

const TARGETS: [&str; 2] = ["wasm32-wasip1", "wasm32-wasip2"];

/// The workspace's own settings: quicker programs, on both sides, with all checks.
const PROFILE: &str = "[profile.dev]\nopt-level = 1\ndebug = false\ndebug-assertions = true\n\
    overflow-checks = true\n";

/// A crate's sources.
struct Source {
    name: String,
    version: String,
    directory: PathBuf,
}

/// Runs the tests of crates, with `fast` for one of the two targets.
pub(crate) fn run(place: &Place<'_>, names: &[&&str], fast: bool) -> Result<Vec<Compared>> {
    let sources = fetch(place)?;
    let home = assemble(place, &sources)?;
    let mut compared = Vec::new();
    for name in names {
        let source = sources.iter().find(|source| source.name == **name);
        let source = source.with_context(|| format!("xtask/programs/Cargo.toml lacks {name}"))?;
        for target in TARGETS.into_iter().skip(usize::from(fast)) {
            eprintln!("{name} {} for {target}", source.version);
            compared.push(compare(place, &home, source, target)?);
        }
    }
    Ok(compared)
}

/// Has cargo fetch the sources of all crates, and says where they are.
fn fetch(place: &Place<'_>) -> Result<Vec<Source>> {
    let args = ["metadata", "--locked", "--format-version", "1", "--manifest-path"];
    let mut cargo = place.workspace.cargo(&args);
    let output = cargo.arg(place.pinned.join("Cargo.toml")).stderr(Stdio::inherit()).output();
    let output = output.context("failed to run cargo")?;
    ensure!(output.status.success(), "cargo did not fetch the crates");
    let metadata: Value = serde_json::from_slice(&output.stdout)
        .context("failed to read the answer of `cargo metadata`")?;
    let packages = metadata["packages"].as_array().into_iter().flatten();
    let source = |package: &Value| {
        let name = package["name"].as_str().filter(|name| NAMES.contains(name))?.to_owned();
        let version = package["version"].as_str()?.to_owned();
        let directory = Path::new(package["manifest_path"].as_str()?).parent()?.to_owned();
        Some(Source { name, version, directory })
    };
    Ok(packages.filter_map(source).collect())
}

/// Puts copies of the crates into one workspace with one lock. Gives its directory.
fn assemble(place: &Place<'_>, sources: &[Source]) -> Result<PathBuf> {
    let home = place.work.join("crates");
    for source in sources {
        copy(&source.directory, &home.join(&source.name))?;
    }
    let members: Vec<_> = sources.iter().map(|source| source.name.as_str()).collect();
    let manifest = format!("[workspace]\nresolver = \"2\"\nmembers = {members:?}\n\n{PROFILE}");
    let written = std::fs::write(home.join("Cargo.toml"), manifest);
    let lock = std::fs::copy(place.pinned.join("tests/Cargo.lock"), home.join("Cargo.lock"));
    written.and(lock.map(drop)).context("failed to put the crates together")?;
    Ok(home)
}

/// A target of cargo with tests: what selects it, its file, and the program that was built of it.
struct Built {
    selection: Vec<String>,
    file: String,
    program: PathBuf,
}

fn compare(
    place: &Place<'_>,
    home: &Path,
    source: &Source,
    target: &'static str,
) -> Result<Compared> {
    crate::guests::ensure_target(place.workspace, target)?;
    let mut programs = Vec::new();
    for built in build(place, home, source, target)? {
        let (native, must_panic) = native(place, home, source, &built.selection)?;
        // Nothing to compare, and a list of no tests is not told from a plain program.
        if native.is_empty() {
            continue;
        }
        let order = Order {
            program: &built.program,
            protocol: "libtest",
            fixtures: &home.join(&source.name),
            args: &[],
        };
        let here = here::run(place, &order)?;
        programs.push(Program { name: built.file, native, must_panic, here });
    }
    let (package, version) = (source.name.clone(), source.version.clone());
    Ok(Compared { package, version, target, programs })
}

/// cargo in the workspace of the crates.
fn cargo(place: &Place<'_>, home: &Path, source: &Source) -> Command {
    let mut cargo = place.workspace.cargo(&["test", "--locked", "--package"]);
    cargo.arg(format!("{}@{}", source.name, source.version));
    cargo.current_dir(home).arg("--target-dir").arg(place.work.join("target"));
    cargo.stdin(Stdio::null());
    cargo
}

fn build(place: &Place<'_>, home: &Path, source: &Source, target: &str) -> Result<Vec<Built>> {
    let mut cargo = cargo(place, home, source);
    cargo.args(["--lib", "--tests", "--no-run", "--target", target]);
    let output = cargo.args(["--message-format", "json-render-diagnostics"]).output();
    let output = output.context("failed to run cargo")?;
    let Source { name, version, .. } = source;
    // Told only then: warnings are other people's.
    let errors = String::from_utf8_lossy(&output.stderr);
    ensure!(
        output.status.success(),
        "the tests of {name} {version} did not build for {target}: {errors}"
    );
    let messages = String::from_utf8_lossy(&output.stdout);
    let mut found: Vec<_> = messages.lines().filter_map(|line| built(line, home, name)).collect();
    found.sort_by(|one, other| one.file.cmp(&other.file));
    Ok(found)
}

/// The program that a message of cargo's tells of.
fn built(message: &str, home: &Path, package: &str) -> Option<Built> {
    let message: Value = serde_json::from_str(message).ok()?;
    let program = PathBuf::from(message["executable"].as_str()?);
    let target = &message["target"];
    let path = Path::new(target["src_path"].as_str()?);
    let file = path.strip_prefix(home.join(package)).unwrap_or(path).display().to_string();
    let selection = match target["kind"][0].as_str()? {
        "test" => vec!["--test".to_owned(), target["name"].as_str()?.to_owned()],
        _ => vec!["--lib".to_owned()],
    };
    Some(Built { selection, file, program })
}

/// What `cargo test` says of a target, and which of its tests must panic.
fn native(
    place: &Place<'_>,
    home: &Path,
    source: &Source,
    selection: &[String],
) -> Result<(Verdicts, Vec<String>)> {
    let output = cargo(place, home, source).args(selection).output();
    let output = output.context("failed to run cargo")?;
    let told = String::from_utf8_lossy(&output.stdout);
    let ended = told.lines().any(|line| line.starts_with("test result: "));
    let errors = String::from_utf8_lossy(&output.stderr);
    ensure!(ended, "the tests of {} did not run here: {errors}", source.name);
    let (mut verdicts, mut must_panic) = (Verdicts::new(), Vec::new());
    for (name, panics, verdict) in told.lines().filter_map(verdict) {
        must_panic.extend(panics.then(|| name.clone()));
        verdicts.insert(name, verdict);
    }
    Ok((verdicts, must_panic))
}

/// `test NAME ... ok`, `test NAME - should panic ... ok`, `test NAME ... ignored, REASON`.
fn verdict(line: &str) -> Option<(String, bool, Verdict)> {
    let (name, end) = line.strip_prefix("test ")?.split_once(" ... ")?;
    let verdict = match end {
        "ok" => Verdict::Passed,
        "FAILED" => Verdict::Failed,
        _ if end.starts_with("ignored") => Verdict::Skipped,
        _ => return None,
    };
    let (name, panics) = match name.strip_suffix(" - should panic") {
        Some(name) => (name, true),
        None => (name, false),
    };
    Some((name.to_owned(), panics, verdict))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cargos_words_are_read() {
        let case = |name: &str, panics, verdict| Some((name.to_owned(), panics, verdict));
        assert_eq!(verdict("test a::b ... ok"), case("a::b", false, Verdict::Passed));
        assert_eq!(verdict("test a - should panic ... ok"), case("a", true, Verdict::Passed));
        assert_eq!(verdict("test a ... FAILED"), case("a", false, Verdict::Failed));
        assert_eq!(verdict("test a ... ignored, slow"), case("a", false, Verdict::Skipped));
        assert_eq!(verdict("test result: ok. 1 passed; 0 failed"), None);
    }

    #[test]
    fn every_crate_is_pinned() {
        let pinned = include_str!("../../programs/Cargo.toml");
        for name in NAMES {
            assert!(pinned.contains(&format!("\n{name} = \"=")), "{name}");
        }
        assert!(FAST.iter().all(|name| NAMES.contains(name)));
    }
}
