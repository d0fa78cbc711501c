//! The events of `go test -json`, one a line, as `go doc test2json` describes them.
//!
//! A suite is a package, and a part of a test a subtest. A test has one verdict, whatever its attempts; what they wrote is its output. A
//! soft failure is a skip, the nearest verdict that does not fail the package.

use std::collections::HashMap;
use std::io::{self, Write};

use jiff::Timestamp;
use serde::Serialize;

use super::{Case, Told, location, restored, said, seconds};
use crate::model::{Attempt, Outcome, RunStatus, TestStatus};

#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
struct Event<'a> {
    time: Timestamp,
    action: &'a str,
    package: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    test: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    elapsed: Option<f64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    output: Option<&'a str>,
}

/// Writes events of one package, and of one test of it at a time.
struct Events<'a> {
    out: &'a mut dyn Write,
    package: &'a str,
    time: Timestamp,
    test: Option<&'a str>,
}

impl Events<'_> {
    fn event(
        &mut self,
        action: &str,
        elapsed: Option<f64>,
        output: Option<&str>,
    ) -> io::Result<()> {
        let (time, package, test) = (self.time, self.package, self.test);
        let event = Event { time, action, package, test, elapsed, output };
        serde_json::to_writer(&mut *self.out, &event)?;
        writeln!(self.out)
    }

    fn output(&mut self, line: &str) -> io::Result<()> {
        self.event("output", None, Some(&format!("{line}\n")))
    }
}

pub(super) fn write(told: &Told<'_>, out: &mut dyn Write) -> io::Result<()> {
    let run = told.run;
    let package = run.spec.suite.to_string();
    let started = run.started_at.unwrap_or(run.spec.created_at);
    let mut events = Events { out, package: &package, time: started, test: None };
    events.event("start", None, None)?;
    for case in told.cases() {
        let case = case?;
        events.test = Some(case.name);
        write_case(&case, told, &mut events)?;
    }
    events.test = None;
    let Some(finished) = run.finished_at else { return Ok(()) };
    events.time = finished;
    let action = if run.status == RunStatus::Passed { "pass" } else { "fail" };
    if let Some(message) = &run.message {
        events.output(message)?;
    }
    events.output(if action == "pass" { "PASS" } else { "FAIL" })?;
    let elapsed = seconds(run.duration_ms().unwrap_or(0));
    events.event(action, Some(elapsed), None)
}

fn write_case<'a>(case: &Case<'a>, told: &Told<'_>, events: &mut Events<'a>) -> io::Result<()> {
    if let Some(first) = case.attempts.first() {
        events.time = first.started_at;
    }
    events.event("run", None, None)?;
    events.output(&format!("=== RUN   {}", case.name))?;
    for attempt in case.attempts.iter() {
        write_attempt(case, attempt, told, events)?;
    }
    write_parts(case, told, events)?;
    let elapsed = seconds(case.duration_ms());
    let (action, word) = match case.status {
        TestStatus::Passed => ("pass", "PASS"),
        TestStatus::Skipped => ("skip", "SKIP"),
        TestStatus::Failed if case.soft => ("skip", "SKIP"),
        TestStatus::Failed | TestStatus::Error | TestStatus::Cancelled => ("fail", "FAIL"),
        // A test without an end is how `go test` shows one that was under way.
        TestStatus::Pending | TestStatus::Running => return Ok(()),
    };
    events.output(&format!("--- {word}: {} ({elapsed:.2}s)", case.name))?;
    if case.soft && case.status == TestStatus::Failed {
        events.output("    soft failure: it does not count")?;
    }
    if case.attempts.is_empty()
        && let Some(reason) = case.reason
    {
        events.output(&format!("    {reason}"))?;
    }
    events.event(action, Some(elapsed), None)
}

/// The parts of a test are its subtests. Of those with one name, the later ones have a number, as Go has it.
fn write_parts(case: &Case<'_>, told: &Told<'_>, events: &mut Events<'_>) -> io::Result<()> {
    let Events { package, time, .. } = *events;
    let mut named: HashMap<String, u32> = HashMap::new();
    for part in told.parts(case) {
        let name = format!("{}/{}", case.name, part.name);
        let before = named.entry(name.clone()).or_default();
        let name = if *before == 0 { name } else { format!("{name}#{before:02}") };
        *before += 1;
        let mut events = Events { out: &mut *events.out, package, time, test: Some(&name) };
        events.event("run", None, None)?;
        events.output(&format!("=== RUN   {name}"))?;
        let (message, at) = said(&part);
        let at = at.map(|at| format!("{at}: ")).unwrap_or_default();
        for (number, line) in message.unwrap_or_default().lines().enumerate() {
            let start = if number == 0 { at.as_str() } else { "" };
            events.output(&format!("    {start}{line}"))?;
        }
        let (action, word) = match part.outcome {
            Outcome::Passed => ("pass", "PASS"),
            Outcome::Skipped { .. } => ("skip", "SKIP"),
            Outcome::Failed(_) => ("fail", "FAIL"),
        };
        let elapsed = seconds(part.duration_ms);
        events.output(&format!("    --- {word}: {name} ({elapsed:.2}s)"))?;
        events.event(action, Some(elapsed), None)?;
    }
    Ok(())
}

fn write_attempt(
    case: &Case<'_>,
    attempt: &Attempt,
    told: &Told<'_>,
    events: &mut Events<'_>,
) -> io::Result<()> {
    events.time = attempt.started_at;
    if case.attempts.len() > 1 {
        let (number, status) = (attempt.number, attempt.status.as_str());
        events.output(&format!("    attempt {number}: {status}"))?;
    }
    let detail = told.detail(&case.stage, attempt).unwrap_or_default();
    for line in &detail.log {
        events.time = line.at;
        events.output(&line.text)?;
    }
    let attempt = restored(attempt, &detail);
    if attempt.status != TestStatus::Passed
        && let Some(message) = &attempt.message
    {
        let at = location(&attempt).map(|at| format!("{at}: ")).unwrap_or_default();
        for (number, line) in message.lines().enumerate() {
            let start = if number == 0 { at.as_str() } else { "" };
            events.output(&format!("    {start}{line}"))?;
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::collections::HashMap;

    use super::super::{Format, samples};

    fn report() -> String {
        let (run, detail) = samples::run();
        let mut out = Vec::new();
        Format::GoTest.write(&run, &detail, &mut out).unwrap();
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn a_run_of_everything_as_go_test() {
        insta::assert_snapshot!(report());
    }

    #[test]
    fn every_test_runs_once_and_ends_once_and_the_package_ends_last() {
        let report = report();
        let events: Vec<serde_json::Value> =
            report.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
        assert_eq!(events[0]["Action"], "start");
        let last = events.last().unwrap();
        assert_eq!((&last["Action"], &last["Test"]), (&"fail".into(), &serde_json::Value::Null));
        let mut state: HashMap<&str, &str> = HashMap::new();
        for event in &events {
            let Some(test) = event["Test"].as_str() else { continue };
            let action = event["Action"].as_str().unwrap();
            let before = state.get(test).copied();
            match action {
                "run" => assert_eq!(before, None, "{test}"),
                "output" => assert_eq!(before, Some("run"), "{test}"),
                "pass" | "fail" | "skip" => {
                    assert_eq!(before, Some("run"), "{test}");
                    assert!(event["Elapsed"].is_number());
                }
                other => panic!("{other}"),
            }
            if action != "output" {
                state.insert(test, action);
            }
        }
        assert!(state.values().all(|last| *last != "run"));
    }
}
