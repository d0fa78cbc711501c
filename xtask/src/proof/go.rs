//! Packages of Go's standard library: their sources and tests come with Go itself, so that its version
//! pins them.

use std::path::PathBuf;
use std::process::{Command, Stdio};

use anyhow::{Context, Result, ensure};
use serde_json::Value;

use super::here::{self, Order};
use super::{Compared, Place, Program, Verdict, Verdicts};

/// The version. Go fetches it itself where another is installed.
const VERSION: &str = "go1.26.8";

/// What is put before a package's name, because a crate may have the same.
pub(crate) const PREFIX: &str = "go/";

pub(crate) const NAMES: &[&str] = &[
    "go/bytes",
    "go/compress/gzip",
    "go/container/list",
    "go/encoding/json",
    "go/path",
    "go/sort",
    "go/strconv",
    "go/strings",
    "go/text/template",
    "go/unicode/utf8",
];

/// Two that are small, one with files.
pub(crate) const FAST: &[&str] = &["go/compress/gzip", "go/container/list"];

const TARGET: &str = "wasip1";

/// Whether Go is on this machine.
pub(crate) fn is_there() -> bool {
    Command::new("go").arg("version").stdout(Stdio::null()).status().is_ok()
}

pub(crate) fn run(place: &Place<'_>, names: &[&&str]) -> Result<Vec<Compared>> {
    let root = go(place, &["env", "GOROOT"]).stderr(Stdio::inherit()).output();
    let root = root.context("failed to run go")?;
    ensure!(root.status.success(), "{VERSION} cannot be had");
    let root = PathBuf::from(String::from_utf8_lossy(&root.stdout).trim()).join("src");
    let compare = |package: &&&str| {
        eprintln!("{package} {VERSION}");
        let name = package.strip_prefix(PREFIX).unwrap_or(package);
        let made = place.work.join(format!("go-{}.wasm", name.replace('/', "-")));
        let mut build = go(place, &["test", "-c", "-o"]);
        let build = build.arg(&made).arg(name).env("GOOS", TARGET).env("GOARCH", "wasm");
        let status = build.status().context("failed to run go")?;
        ensure!(status.success(), "the tests of {name} did not build");
        // `-short` leaves out what takes minutes, on both sides.
        let order = Order {
            program: &made,
            protocol: "go-test",
            fixtures: &root.join(name),
            args: &["-test.short"],
        };
        let here = here::run(place, &order)?;
        let native = native(place, name)?;
        let program = Program { name: String::new(), native, must_panic: Vec::new(), here };
        let (package, version) = (package.to_string(), VERSION.to_owned());
        Ok(Compared { package, version, target: TARGET, programs: vec![program] })
    };
    names.iter().map(compare).collect()
}

/// What `go test` says of a package.
fn native(place: &Place<'_>, name: &str) -> Result<Verdicts> {
    let args = ["test", "-json", "-short", "-count=1", "-vet=off", name];
    let output = go(place, &args).stderr(Stdio::inherit()).output().context("failed to run go")?;
    let told = String::from_utf8_lossy(&output.stdout);
    let verdicts: Verdicts = told.lines().filter_map(verdict).collect();
    ensure!(!verdicts.is_empty(), "the tests of {name} did not run here: {told}");
    Ok(verdicts)
}

/// What an event of `go test -json` says of a test's end.
fn verdict(line: &str) -> Option<(String, Verdict)> {
    let event: Value = serde_json::from_str(line).ok()?;
    let verdict = match event["Action"].as_str()? {
        "pass" => Verdict::Passed,
        "fail" => Verdict::Failed,
        "skip" => Verdict::Skipped,
        _ => return None,
    };
    Some((event["Test"].as_str()?.to_owned(), verdict))
}

fn go(place: &Place<'_>, args: &[&str]) -> Command {
    let mut command = Command::new("go");
    // The standard library is no part of a module, and nothing here is one.
    command.current_dir(&place.work).args(args).stdin(Stdio::null());
    command.env("GOTOOLCHAIN", VERSION).env("GOWORK", "off").env("GOFLAGS", "");
    command
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn gos_events_are_read() {
        let line = r#"{"Action":"skip","Package":"path","Test":"TestA/b","Elapsed":0}"#;
        assert_eq!(verdict(line), Some(("TestA/b".to_owned(), Verdict::Skipped)));
        assert_eq!(verdict(r#"{"Action":"run","Package":"path","Test":"TestA"}"#), None);
        assert_eq!(verdict(r#"{"Action":"pass","Package":"path"}"#), None);
    }
}
