//! JUnit XML in the dialect of Maven Surefire: `flakyFailure` and `flakyError` for attempts that failed
//! before one passed, `rerunFailure` and `rerunError` for those after the first that failed too.
//!
//! A soft failure is skipped with its message, since the form knows no failure that does not count. Only
//! what failed has its log, and all logs together have a bound, because the report is whole in memory.

use std::io::{self, Write};
use std::time::Duration;

use quick_junit::{
    NonSuccessKind, Property, Report, TestCase, TestCaseStatus, TestRerun, TestSuite,
};

use super::{Case, DetailOf, cases, location};
use crate::model::{Attempt, AttemptDetail, LogLine, Run, Source, TestStatus};

/// Bytes of all logs in one report.
const LOG_BYTES: usize = 64 << 20;

pub(super) fn write(run: &Run, detail: &DetailOf<'_>, out: &mut dyn Write) -> io::Result<()> {
    write_bounded(run, detail, LOG_BYTES, out)
}

fn write_bounded(
    run: &Run,
    detail: &DetailOf<'_>,
    log_bytes: usize,
    out: &mut dyn Write,
) -> io::Result<()> {
    let name = run.spec.suite.to_string();
    let mut logs = Logs { detail, left: log_bytes };
    let mut suite = TestSuite::new(&name);
    suite.timestamp = timestamp(run.started_at.unwrap_or(run.spec.created_at));
    if let (Some(started), Some(finished)) = (run.started_at, run.finished_at) {
        suite.set_time(finished.duration_since(started).try_into().unwrap_or_default());
    }
    suite.add_properties(properties(run));
    for case in cases(run) {
        suite.add_test_case(test_case(&name, &case, &mut logs));
    }
    let mut report = Report::new(&name);
    report.timestamp = suite.timestamp;
    report.time = suite.time;
    report.add_test_suite(suite);
    report.serialize(out).map_err(io::Error::other)
}

/// The time in the form of the library's own time type, which has no other name here.
fn timestamp<T: std::str::FromStr>(at: jiff::Timestamp) -> Option<T> {
    at.to_string().parse().ok()
}

fn properties(run: &Run) -> Vec<Property> {
    let request = &run.spec.request;
    let mut all = vec![
        ("handoff.run", run.spec.id.to_string()),
        ("handoff.number", run.spec.number.to_string()),
        ("handoff.version", run.spec.version.to_string()),
        ("handoff.status", run.status.as_str().to_owned()),
    ];
    all.extend(request.reference.clone().map(|text| ("handoff.reference", text)));
    all.extend(request.initiated_by.clone().map(|text| ("handoff.initiated_by", text)));
    all.extend(request.shuffle_seed.map(|seed| ("handoff.shuffle_seed", seed.to_string())));
    all.into_iter().map(|(name, value)| Property::new(name, clean(&value))).collect()
}

fn test_case(suite: &str, case: &Case<'_>, logs: &mut Logs<'_>) -> TestCase {
    let (status, shown) = match case.status {
        TestStatus::Passed => {
            let mut status = TestCaseStatus::success();
            let failed = case.attempts.iter().filter(|attempt| kind(attempt).is_some());
            status.add_reruns(failed.filter_map(|attempt| rerun(case, attempt, logs)));
            (status, None)
        }
        TestStatus::Failed if !case.soft => non_success(case, NonSuccessKind::Failure, logs),
        TestStatus::Error => non_success(case, NonSuccessKind::Error, logs),
        _ => (skipped(case), case.deciding().filter(|_| case.soft)),
    };
    let mut result = TestCase::new(clean(case.name), status);
    result.set_classname(suite);
    result.set_time(Duration::from_millis(case.duration_ms()));
    result.timestamp = case.attempts.first().and_then(|attempt| timestamp(attempt.started_at));
    if let Some(attempt) = shown {
        let (out, err) = logs.of(case, attempt);
        result.system_out = out.map(Into::into);
        result.system_err = err.map(Into::into);
    }
    result
}

/// The first attempt that failed is the failure, the ones after it are reruns, as in Surefire.
fn non_success<'a>(
    case: &Case<'a>,
    kind_of_case: NonSuccessKind,
    logs: &mut Logs<'_>,
) -> (TestCaseStatus, Option<&'a Attempt>) {
    let mut failed = case.attempts.iter().filter(|attempt| kind(attempt).is_some());
    let first = failed.next();
    let mut status = TestCaseStatus::non_success(first.and_then(kind).unwrap_or(kind_of_case));
    let message = first.and_then(|attempt| attempt.message.as_deref()).or(case.reason);
    status.set_message(first_line(message.unwrap_or("no message")));
    if let Some(first) = first {
        status.set_type(cause(first));
        status.set_description(description(first));
    }
    status.add_reruns(failed.filter_map(|attempt| rerun(case, attempt, logs)));
    (status, first)
}

fn skipped(case: &Case<'_>) -> TestCaseStatus {
    let reason = clean(case.message().unwrap_or_default());
    let mut status = TestCaseStatus::skipped();
    let message = match case.status {
        TestStatus::Failed => format!("soft failure: {reason}"),
        TestStatus::Cancelled => format!("cancelled: {reason}"),
        TestStatus::Pending | TestStatus::Running => case.status.as_str().to_owned(),
        _ => reason,
    };
    status.set_message(message.trim_end_matches([' ', ':']));
    status
}

/// Whether the attempt failed, and through whose fault.
fn kind(attempt: &Attempt) -> Option<NonSuccessKind> {
    match attempt.status {
        TestStatus::Failed => Some(NonSuccessKind::Failure),
        TestStatus::Error => Some(NonSuccessKind::Error),
        _ => None,
    }
}

fn rerun(case: &Case<'_>, attempt: &Attempt, logs: &mut Logs<'_>) -> Option<TestRerun> {
    let mut rerun = TestRerun::new(kind(attempt)?);
    rerun.timestamp = timestamp(attempt.started_at);
    rerun.set_time(Duration::from_millis(attempt.duration_ms));
    rerun.set_message(first_line(attempt.message.as_deref().unwrap_or("no message")));
    rerun.set_type(cause(attempt));
    rerun.stack_trace = Some(description(attempt).into());
    let (out, err) = logs.of(case, attempt);
    rerun.system_out = out.map(Into::into);
    rerun.system_err = err.map(Into::into);
    Some(rerun)
}

fn cause(attempt: &Attempt) -> &'static str {
    attempt.cause.map_or("failure", |cause| cause.as_str())
}

/// The whole message, and where it came from.
fn description(attempt: &Attempt) -> String {
    let at = location(attempt).map(|at| format!("\nat {at}")).unwrap_or_default();
    clean(&format!("{}{at}", attempt.message.as_deref().unwrap_or_default()))
}

fn first_line(text: &str) -> String {
    clean(text.lines().next().unwrap_or_default())
}

/// Without the characters that XML 1.0 cannot have, which the library lets through.
fn clean(text: &str) -> String {
    text.replace(['\u{fffe}', '\u{ffff}'], "\u{fffd}")
}

/// Fetches logs until the report has enough of them.
struct Logs<'a> {
    detail: &'a DetailOf<'a>,
    left: usize,
}

impl Logs<'_> {
    /// What the attempt wrote to its standard output, log calls included, and to its standard error.
    fn of(&mut self, case: &Case<'_>, attempt: &Attempt) -> (Option<String>, Option<String>) {
        let Some(AttemptDetail { log, .. }) = (self.detail)(&case.stage, attempt) else {
            return (None, None);
        };
        let size = log.iter().map(|line| line.text.len() + 1).sum();
        let Some(left) = self.left.checked_sub(size) else {
            return (Some("(left out: the report has too many logs already)".into()), None);
        };
        self.left = left;
        let (err, out): (Vec<_>, Vec<_>) =
            log.iter().partition(|line| line.source == Source::Stderr);
        (joined(&out), joined(&err))
    }
}

fn joined(lines: &[&LogLine]) -> Option<String> {
    let text: Vec<_> = lines.iter().map(|line| clean(&line.text)).collect();
    (!text.is_empty()).then(|| text.join("\n"))
}

#[cfg(test)]
mod tests {
    use quick_xml::Reader;
    use quick_xml::events::{BytesStart, Event};

    use super::super::{Format, samples};
    use super::*;

    fn report(log_bytes: usize) -> String {
        let (run, detail) = samples::run();
        let of = |stage: &_, attempt: &Attempt| detail(stage, attempt.round, attempt.number);
        let mut out = Vec::new();
        write_bounded(&run, &of, log_bytes, &mut out).unwrap();
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn a_run_of_everything_as_junit() {
        let (run, detail) = samples::run();
        let mut out = Vec::new();
        Format::Junit.write(&run, &detail, &mut out).unwrap();
        insta::assert_snapshot!(String::from_utf8(out).unwrap());
    }

    #[test]
    fn logs_beyond_the_bound_are_left_out() {
        assert!(report(LOG_BYTES).contains("hello from lost, attempt 2"));
        let small = report(100);
        assert!(small.contains("hello from flaky"), "{small}");
        assert!(!small.contains("hello from lost"), "{small}");
        assert!(small.contains("(left out: the report has too many logs already)"), "{small}");
    }

    /// For each element of surefire-test-report.xsd (Surefire 3): its attributes, and its children in
    /// their order. Ours beyond the schema, which readers of this form know from other tools, are
    /// marked with `+`.
    const SCHEMA: &[(&str, &[&str], &[&str])] = &[
        (
            "testsuites",
            &["+name", "+tests", "+skipped", "+failures", "+errors", "+timestamp", "+time"],
            &["testsuite"],
        ),
        (
            "testsuite",
            &["name", "time", "tests", "errors", "skipped", "failures", "group", "timestamp"],
            &["properties", "testcase", "system-out", "system-err"],
        ),
        ("properties", &[], &["property"]),
        ("property", &["name", "value"], &[]),
        (
            "testcase",
            &["name", "classname", "group", "time", "+timestamp"],
            &[
                "failure",
                "rerunFailure",
                "skipped",
                "error",
                "rerunError",
                "flakyFailure",
                "flakyError",
                "system-out",
                "system-err",
            ],
        ),
        ("failure", &["message", "type"], &[]),
        ("error", &["message", "type"], &[]),
        ("skipped", &["message", "type"], &[]),
        (
            "rerunFailure",
            &["message", "type", "+timestamp", "+time"],
            &["stackTrace", "system-out", "system-err"],
        ),
        (
            "rerunError",
            &["message", "type", "+timestamp", "+time"],
            &["stackTrace", "system-out", "system-err"],
        ),
        (
            "flakyFailure",
            &["message", "type", "+timestamp", "+time"],
            &["stackTrace", "system-out", "system-err"],
        ),
        (
            "flakyError",
            &["message", "type", "+timestamp", "+time"],
            &["stackTrace", "system-out", "system-err"],
        ),
        ("stackTrace", &[], &[]),
        ("system-out", &[], &[]),
        ("system-err", &[], &[]),
    ];

    fn rule(
        name: &str,
    ) -> &'static (&'static str, &'static [&'static str], &'static [&'static str]) {
        SCHEMA.iter().find(|rule| rule.0 == name).unwrap_or_else(|| panic!("<{name}>"))
    }

    fn name_of(tag: &BytesStart<'_>) -> String {
        String::from_utf8(tag.name().as_ref().to_vec()).unwrap()
    }

    #[test]
    fn the_report_has_the_structure_of_surefires_schema() {
        let text = report(LOG_BYTES);
        let mut reader = Reader::from_str(&text);
        reader.config_mut().check_end_names = true;
        // Open elements, each with the place in its rule of the last child seen.
        let mut open: Vec<(String, usize)> = Vec::new();
        let mut seen = std::collections::HashSet::new();
        loop {
            let (tag, stays) = match reader.read_event().unwrap() {
                Event::Start(tag) => (tag, true),
                Event::Empty(tag) => (tag, false),
                Event::End(_) => {
                    open.pop();
                    continue;
                }
                Event::Eof => break,
                _ => continue,
            };
            let name = name_of(&tag);
            let (_, attributes, _) = rule(&name);
            for attribute in tag.attributes() {
                let key = attribute.unwrap().key;
                let key = std::str::from_utf8(key.as_ref()).unwrap().to_owned();
                let known = attributes.iter().any(|a| a.trim_start_matches('+') == key);
                assert!(known, "<{name} {key}>");
            }
            if let Some((parent, last)) = open.last_mut() {
                let at = rule(parent).2.iter().position(|child| *child == name);
                let at = at.unwrap_or_else(|| panic!("<{name}> in <{parent}>"));
                let repeats = matches!(
                    name.as_str(),
                    "flakyFailure" | "flakyError" | "rerunFailure" | "rerunError"
                );
                assert!(at >= *last || repeats, "<{name}> comes too late in <{parent}>");
                *last = at.max(*last);
            }
            seen.insert(name.clone());
            if stays {
                open.push((name, 0));
            }
        }
        for name in ["flakyFailure", "rerunFailure", "rerunError", "error", "skipped", "stackTrace"]
        {
            assert!(seen.contains(name), "{name}");
        }
        let odd = |c: char| {
            c < ' ' && !matches!(c, '\n' | '\r' | '\t') || matches!(c, '\u{fffe}' | '\u{ffff}')
        };
        assert!(!text.contains(odd));
    }
}
