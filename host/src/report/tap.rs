//! The Test Anything Protocol, version 14 (<https://testanything.org/tap-version-14-specification.html>).
//!
//! A soft failure is `not ok … # TODO`, which harnesses show and do not count. Diagnostics are YAML,
//! written as its subset JSON, so that no text of a guest needs YAML's quoting.

use std::io::{self, Write};

use serde_json::{Value, json};

use super::{Case, Told, location, said};
use crate::model::{Outcome, TestStatus};

/// How many of the log's last lines a diagnostic has.
const LOG_LINES: usize = 100;

pub(super) fn write(told: &Told<'_>, out: &mut dyn Write) -> io::Result<()> {
    writeln!(out, "TAP version 14")?;
    writeln!(out, "1..{}", told.cases_count())?;
    for (number, case) in (1..).zip(told.cases()) {
        let case = case?;
        subtests(&case, told, out)?;
        let ok = if is_ok(case.status) { "ok" } else { "not ok" };
        writeln!(out, "{ok} {number} - {}{}", escaped(case.name), directive(&case, told))?;
        if case.status == TestStatus::Failed || case.status == TestStatus::Error || case.flaky {
            diagnostic(&case, told, out)?;
        }
    }
    Ok(())
}

/// The parts of a test, as a document of their own before its line, four spaces further in.
fn subtests(case: &Case<'_>, told: &Told<'_>, out: &mut dyn Write) -> io::Result<()> {
    let parts = told.parts(case);
    if parts.is_empty() {
        return Ok(());
    }
    writeln!(out, "# Subtest: {}", escaped(case.name))?;
    writeln!(out, "    1..{}", parts.len())?;
    for (number, part) in (1..).zip(&parts) {
        let (message, at) = said(part);
        let (ok, skip) = match part.outcome {
            Outcome::Failed(_) => ("not ok", String::new()),
            Outcome::Passed => ("ok", String::new()),
            Outcome::Skipped { .. } => ("ok", skip(message.unwrap_or_default())),
        };
        writeln!(out, "    {ok} {number} - {}{skip}", escaped(&part.name))?;
        if matches!(part.outcome, Outcome::Failed(_)) {
            writeln!(out, "      ---\n      message: {}", yaml(&json!(message)))?;
            if let Some(at) = at {
                writeln!(out, "      at: {}", yaml(&json!(at)))?;
            }
            writeln!(out, "      ...")?;
        }
    }
    Ok(())
}

fn skip(reason: &str) -> String {
    format!(" # SKIP {}", escaped(reason)).trim_end().into()
}

fn is_ok(status: TestStatus) -> bool {
    matches!(status, TestStatus::Passed | TestStatus::Skipped)
}

fn directive(case: &Case<'_>, told: &Told<'_>) -> String {
    match case.status {
        TestStatus::Skipped => skip(&case.message(told).unwrap_or_default()),
        TestStatus::Failed if case.soft => " # TODO soft failure".into(),
        _ => String::new(),
    }
}

/// Text that ends neither its line nor itself with a directive: backslash and hash are escaped.
fn escaped(text: &str) -> String {
    let first = text.lines().next().unwrap_or_default();
    let mut escaped = String::with_capacity(first.len());
    for c in first.chars().filter(|c| !c.is_control()) {
        if matches!(c, '\\' | '#') {
            escaped.push('\\');
        }
        escaped.push(c);
    }
    escaped
}

/// JSON without what YAML does not allow in it: it calls some characters unprintable that JSON does not.
fn yaml(value: &Value) -> String {
    let odd = |c| {
        matches!(
            c,
            '\u{7f}'..='\u{9f}' | '\u{2028}' | '\u{2029}' | '\u{feff}' | '\u{fffe}' | '\u{ffff}'
        )
    };
    let escape = |c: char| if odd(c) { format!("\\u{:04x}", c as u32) } else { c.into() };
    value.to_string().chars().map(escape).collect()
}

fn diagnostic(case: &Case<'_>, told: &Told<'_>, out: &mut dyn Write) -> io::Result<()> {
    writeln!(out, "  ---")?;
    let mut field = |name: &str, value: Value| match value {
        Value::Null => Ok(()),
        value => writeln!(out, "  {name}: {}", yaml(&value)),
    };
    field("status", json!(case.status.as_str()))?;
    field("message", json!(case.message(told)))?;
    field("duration_ms", json!(case.duration_ms()))?;
    field("flaky", if case.flaky { json!(true) } else { Value::Null })?;
    if let Some(attempt) = case.deciding() {
        field("cause", json!(attempt.cause.map(|cause| cause.as_str())))?;
        field("at", json!(location(&told.whole(&case.stage, attempt))))?;
    }
    write!(out, "  attempts: [")?;
    for (place, attempt) in case.attempts.iter().enumerate() {
        let attempt = told.whole(&case.stage, attempt);
        let attempt = json!({
            "number": attempt.number,
            "round": attempt.round,
            "status": attempt.status.as_str(),
            "message": attempt.message,
            "duration_ms": attempt.duration_ms,
        });
        write!(out, "{}{}", if place > 0 { "," } else { "" }, yaml(&attempt))?;
    }
    writeln!(out, "]")?;
    let failed = case.attempts.iter().rev().find(|attempt| !is_ok(attempt.status));
    if let Some(detail) = failed.and_then(|attempt| told.detail(&case.stage, attempt)) {
        let last = detail.log.len().saturating_sub(LOG_LINES);
        let lines: Value = detail.log[last..].iter().map(|line| json!(line.text)).collect();
        writeln!(out, "  log: {}", yaml(&lines))?;
    }
    writeln!(out, "  ...")
}

#[cfg(test)]
mod tests {
    use super::super::{Format, samples};

    fn report() -> String {
        let (run, detail) = samples::run();
        let mut out = Vec::new();
        Format::Tap.write(&run, &detail, &mut out).unwrap();
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn a_run_of_everything_as_tap() {
        insta::assert_snapshot!(report());
    }

    /// Reads the report by the specification's grammar, apart from the code that writes it.
    #[test]
    fn the_plan_and_the_numbers_agree_and_nothing_stands_loose() {
        let text = report();
        let mut lines = text.lines();
        assert_eq!(lines.next(), Some("TAP version 14"));
        let planned: usize = lines.next().unwrap().strip_prefix("1..").unwrap().parse().unwrap();
        let (mut seen, mut in_yaml) = (0, false);
        let mut parts = 0;
        for line in lines {
            if let Some(line) = line.strip_prefix("    ").filter(|_| !in_yaml) {
                let point = |line: &str| {
                    let line = line.strip_prefix("not ").unwrap_or(line).strip_prefix("ok ");
                    line.is_some_and(|rest| rest.contains(" - "))
                };
                parts += u32::from(point(line));
                assert!(point(line) || line.starts_with("1..") || line.starts_with("  "), "{line}");
            } else if line.starts_with("# Subtest: ") {
                assert_eq!(parts, 0, "one test has parts");
            } else if in_yaml {
                in_yaml = line != "  ...";
                if in_yaml {
                    let (_, value) = line.strip_prefix("  ").unwrap().split_once(": ").unwrap();
                    serde_json::from_str::<serde_json::Value>(value).unwrap();
                }
            } else if line == "  ---" {
                in_yaml = true;
            } else {
                seen += 1;
                let rest = line.strip_prefix("not ").unwrap_or(line);
                let start = format!("ok {seen} - ");
                let description = rest.strip_prefix(&start).unwrap_or_else(|| panic!("{line}"));
                let bare = description.replace("\\\\", "").replace("\\#", "");
                let directives = bare.matches('#').count();
                assert_eq!(
                    directives,
                    bare.matches(" # SKIP").count() + bare.matches(" # TODO").count()
                );
            }
        }
        assert!(!in_yaml);
        assert_eq!(seen, planned);
    }
}
