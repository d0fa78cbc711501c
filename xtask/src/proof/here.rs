//! A program as `handoff test` runs it.

use std::path::Path;
use std::process::{Command, Stdio};

use anyhow::{Context, Result, ensure};
use serde_json::Value;

use super::{Place, Verdict, Verdicts};

/// What to run.
pub(crate) struct Order<'a> {
    pub(crate) program: &'a Path,
    pub(crate) protocol: &'a str,
    /// The directory in which its own runner starts it.
    pub(crate) fixtures: &'a Path,
    pub(crate) args: &'a [&'a str],
}

/// All tests passed, or some failed.
const ENDS: [i32; 2] = [0, 100];

/// How each test ended, and each of its parts as `TEST/PART`.
pub(crate) fn run(place: &Place<'_>, order: &Order<'_>) -> Result<Verdicts> {
    let report = place.work.join("report.json");
    let settings = place.work.join("handoff.toml");
    std::fs::write(&settings, SETTINGS).context("failed to write the settings")?;
    let mut command = Command::new(&place.handoff);
    command.arg("test").arg(order.program).args(["--protocol", order.protocol, "--name", "proof"]);
    command.arg("--settings").arg(&settings).arg("--fixtures").arg(order.fixtures);
    command.arg("--report").arg(format!("json={}", report.display()));
    command.args(["--test-timeout", "10m", "--parallelism", "2"]);
    command.args(order.args.iter().map(|arg| format!("--args={arg}")));
    let output = command.stdin(Stdio::null()).output().context("failed to run handoff")?;
    let is_end = output.status.code().is_some_and(|code| ENDS.contains(&code));
    let told = String::from_utf8_lossy(&output.stderr);
    ensure!(is_end, "handoff did not run {}: {told}", order.program.display());
    let report = std::fs::read(&report).context("failed to read the report")?;
    verdicts(&serde_json::from_slice(&report).context("failed to read the report")?)
}

/// As much stack as Go's own runner gives to its programs on wasip1; and time, because this is a test of
/// verdicts on a machine that may be busy, by a binary that is not optimised.
const SETTINGS: &str = "\
    [sandbox]\nstack_bytes = 8388608\ndescribe_timeout_ms = 60000\n\
    [compile]\ninspect_ms = 300000\ncpu_ms = 600000\nwall_ms = 600000\n";

fn verdicts(run: &Value) -> Result<Verdicts> {
    let mut verdicts = Verdicts::new();
    for test in run["tests"].as_array().into_iter().flatten() {
        let name = test["name"].as_str().context("a test has no name")?;
        let status = |of: &Value| Verdict::parse(of["status"].as_str().unwrap_or_default());
        verdicts.insert(name.to_owned(), status(test)?);
        let parts = &test["attempts"][0]["detail"]["sub_results"];
        for part in parts.as_array().into_iter().flatten() {
            let part_name = part["name"].as_str().context("a part has no name")?;
            verdicts.insert(format!("{name}/{part_name}"), status(part)?);
        }
    }
    Ok(verdicts)
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn parts_stand_behind_their_test() {
        let part = json!({"name": "b", "status": "skipped"});
        let attempt = json!({"detail": {"sub_results": [part]}});
        let run = json!({"tests": [{"name": "A", "status": "failed", "attempts": [attempt]}]});
        let expected = [("A", Verdict::Failed), ("A/b", Verdict::Skipped)];
        let expected = expected.map(|(name, verdict)| (name.to_owned(), verdict));
        assert_eq!(verdicts(&run).unwrap(), expected.into());
        assert!(verdicts(&json!({"tests": [{"name": "A", "status": "error"}]})).is_err());
    }
}
