//! JUnit XML in the dialect of Maven Surefire: `flakyFailure` and `flakyError` for attempts that failed
//! before one passed, `rerunFailure` and `rerunError` for those after the first that failed too.
//!
//! A soft failure is skipped with its message, since the form knows no failure that does not count. Only
//! what failed has its log, and all texts together have a bound, because the report is whole in memory.

use std::io::{self, Write};
use std::time::Duration;

use quick_junit::{
    NonSuccessKind, Property, Report, TestCase, TestCaseStatus, TestRerun, TestSuite,
};

use super::{Case, Told, location, restored, said};
use crate::model::{Attempt, AttemptDetail, LogLine, Outcome, Run, Source, SubResult, TestStatus};

/// Bytes of all messages and logs in one report.
const TEXT_BYTES: usize = 64 << 20;
/// What stands for texts beyond that.
const LEFT_OUT: &str = "(left out: the report has too much text already)";

pub(super) fn write(told: &Told<'_>, out: &mut dyn Write) -> io::Result<()> {
    write_bounded(told, TEXT_BYTES, out)
}

fn write_bounded(told: &Told<'_>, text_bytes: usize, out: &mut dyn Write) -> io::Result<()> {
    let run = told.run;
    let name = run.spec.suite.to_string();
    let mut texts = Texts { told, left: text_bytes };
    let mut suite = TestSuite::new(&name);
    suite.timestamp = timestamp(run.started_at.unwrap_or(run.spec.created_at));
    if let Some(took) = run.duration_ms() {
        suite.set_time(Duration::from_millis(took));
    }
    suite.add_properties(properties(run));
    for case in told.cases() {
        suite.add_test_case(test_case(&name, &case?, &mut texts));
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
    all.extend(request.shard.map(|shard| ("handoff.shard", shard.to_string())));
    all.extend(request.shuffle_seed.map(|seed| ("handoff.shuffle_seed", seed.to_string())));
    all.into_iter().map(|(name, value)| Property::new(name, clean(&value))).collect()
}

fn test_case(suite: &str, case: &Case<'_>, texts: &mut Texts<'_>) -> TestCase {
    let (status, shown) = match case.status {
        TestStatus::Passed => {
            let mut status = TestCaseStatus::success();
            let failed = case.attempts.iter().filter(|attempt| kind(attempt).is_some());
            status.add_reruns(failed.filter_map(|attempt| rerun(case, attempt, texts)));
            (status, None)
        }
        TestStatus::Failed if !case.soft => non_success(case, NonSuccessKind::Failure, texts),
        TestStatus::Error => non_success(case, NonSuccessKind::Error, texts),
        _ => skipped(case, texts),
    };
    let mut result = TestCase::new(clean(case.name), status);
    result.set_classname(suite);
    result.set_time(Duration::from_millis(case.duration_ms()));
    result.timestamp = case.attempts.first().and_then(|attempt| timestamp(attempt.started_at));
    if let Some(Text { out, err, .. }) = shown {
        result.system_out = out.map(Into::into);
        result.system_err = err.map(Into::into);
    }
    result
}

/// The first attempt that failed is the failure, the ones after it are reruns, as in Surefire.
fn non_success(
    case: &Case<'_>,
    kind_of_case: NonSuccessKind,
    texts: &mut Texts<'_>,
) -> (TestCaseStatus, Option<Text>) {
    let mut failed = case.attempts.iter().filter(|attempt| kind(attempt).is_some());
    let first = failed.next();
    let mut status = TestCaseStatus::non_success(first.and_then(kind).unwrap_or(kind_of_case));
    let text = first.map(|attempt| texts.of(case, attempt));
    let message = text.as_ref().and_then(|text| text.message.as_deref()).or(case.reason);
    status.set_message(first_line(message.unwrap_or("no message")));
    if let (Some(first), Some(text)) = (first, &text) {
        status.set_type(cause(first));
        status.set_description(text.description());
    }
    status.add_reruns(failed.filter_map(|attempt| rerun(case, attempt, texts)));
    (status, text)
}

fn skipped(case: &Case<'_>, texts: &mut Texts<'_>) -> (TestCaseStatus, Option<Text>) {
    let text = case.deciding().map(|attempt| texts.of(case, attempt));
    let reason = text.as_ref().and_then(|text| text.message.as_deref()).or(case.reason);
    let reason = clean(reason.unwrap_or_default());
    let mut status = TestCaseStatus::skipped();
    let message = match case.status {
        TestStatus::Failed => format!("soft failure: {reason}"),
        TestStatus::Cancelled => format!("cancelled: {reason}"),
        TestStatus::Pending | TestStatus::Running => case.status.as_str().to_owned(),
        _ => reason,
    };
    status.set_message(message.trim_end_matches([' ', ':']));
    (status, text.filter(|_| case.soft))
}

/// Whether the attempt failed, and through whose fault.
fn kind(attempt: &Attempt) -> Option<NonSuccessKind> {
    match attempt.status {
        TestStatus::Failed => Some(NonSuccessKind::Failure),
        TestStatus::Error => Some(NonSuccessKind::Error),
        _ => None,
    }
}

fn rerun(case: &Case<'_>, attempt: &Attempt, texts: &mut Texts<'_>) -> Option<TestRerun> {
    let mut rerun = TestRerun::new(kind(attempt)?);
    let text = texts.of(case, attempt);
    rerun.timestamp = timestamp(attempt.started_at);
    rerun.set_time(Duration::from_millis(attempt.duration_ms));
    rerun.set_message(first_line(text.message.as_deref().unwrap_or("no message")));
    rerun.set_type(cause(attempt));
    rerun.stack_trace = Some(text.description().into());
    rerun.system_out = text.out.map(Into::into);
    rerun.system_err = text.err.map(Into::into);
    Some(rerun)
}

fn cause(attempt: &Attempt) -> &'static str {
    attempt.cause.map_or("failure", |cause| cause.as_str())
}

fn first_line(text: &str) -> String {
    clean(text.lines().next().unwrap_or_default())
}

/// Without the characters that XML 1.0 cannot have, which the library lets through.
fn clean(text: &str) -> String {
    text.replace(['\u{fffe}', '\u{ffff}'], "\u{fffd}")
}

/// What an attempt said.
struct Text {
    message: Option<String>,
    location: Option<String>,
    /// What it wrote to its standard output, log calls included.
    out: Option<String>,
    /// What it wrote to its standard error.
    err: Option<String>,
    /// Its parts that failed, with their messages and places.
    parts: String,
}

impl Text {
    /// The whole message, where it came from, and what became of the parts.
    fn description(&self) -> String {
        let at = self.location.as_ref().map(|at| format!("\nat {at}")).unwrap_or_default();
        clean(&format!("{}{at}{}", self.message.as_deref().unwrap_or_default(), self.parts))
    }
}

/// The parts that failed, one after the other; the form has no place for parts of a test.
fn failed_parts(parts: &[SubResult]) -> String {
    let failed = parts.iter().filter(|part| matches!(part.outcome, Outcome::Failed(_)));
    let told = failed.map(|part| {
        let (message, at) = said(part);
        let at = at.map(|at| format!("\nat {at}")).unwrap_or_default();
        format!("\n\npart {}: {}{at}", part.name, message.unwrap_or_default())
    });
    told.collect()
}

/// Fetches texts until the report has enough of them.
struct Texts<'a> {
    told: &'a Told<'a>,
    left: usize,
}

impl Texts<'_> {
    fn of(&mut self, case: &Case<'_>, attempt: &Attempt) -> Text {
        let detail = self.told.detail(&case.stage, attempt).unwrap_or_default();
        let whole = restored(attempt, &detail);
        // Failing that the whole message, the summary's, then none.
        let [whole, attempt] = [&whole, attempt].map(|it| (it.message.clone(), location(it)));
        let size = |(message, at): &(Option<String>, Option<String>)| {
            [message, at].into_iter().flatten().map(String::len).sum()
        };
        let told = [whole, attempt].into_iter().find(|it| self.take(size(it)));
        let (message, location) = told.unwrap_or_else(|| (Some(LEFT_OUT.into()), None));
        let AttemptDetail { log, sub_results, .. } = detail;
        let parts = failed_parts(&sub_results);
        let parts = if self.take(parts.len()) { parts } else { String::new() };
        let (out, err) = match self.take(log.iter().map(|line| line.text.len() + 1).sum()) {
            true => {
                let (err, out): (Vec<_>, Vec<_>) =
                    log.iter().partition(|line| line.source == Source::Stderr);
                (joined(&out), joined(&err))
            }
            false => (Some(LEFT_OUT.into()), None),
        };
        Text { message, location, out, err, parts }
    }

    /// Whether there is room for so many bytes, which then are taken.
    fn take(&mut self, bytes: usize) -> bool {
        let left = self.left.checked_sub(bytes);
        self.left = left.unwrap_or(self.left);
        left.is_some()
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

    fn report(text_bytes: usize) -> String {
        let (run, detail) = samples::run();
        let mut out = Vec::new();
        write_bounded(&Told { run: &run, source: &detail }, text_bytes, &mut out).unwrap();
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
    fn texts_beyond_the_bound_are_left_out() {
        let all = report(TEXT_BYTES);
        assert!(all.contains("hello from lost, attempt 2") && !all.contains(LEFT_OUT));
        let small = report(200);
        assert!(small.contains("hello from flaky"), "{small}");
        assert!(!small.contains("hello from lost"), "{small}");
        assert!(small.contains(&format!("message=\"{LEFT_OUT}\"")), "{small}");
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
        let text = report(TEXT_BYTES);
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
