//! Reports of a run in the forms that other tools read. Pure functions from a run to bytes, the same for
//! the server and the command line.
//!
//! What is reported of setup and teardown is the same in every form: nothing if they passed; else one
//! more case, where teardown's failure is soft, because it does not fail the run.

mod go_test;
mod json;
mod junit;
#[cfg(test)]
pub(crate) mod samples;
mod tap;

use std::io::{self, Write};

use crate::model::{Attempt, AttemptDetail, Run, Stage, TestStatus};

/// Finds what an attempt left behind: by stage, round and number.
pub type Details<'a> = dyn Fn(&Stage, u32, u32) -> Option<AttemptDetail> + 'a;

/// The forms of a report.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Format {
    /// JUnit XML in the dialect of Maven Surefire, with flaky failures and reruns.
    Junit,
    /// The run as the API shows it, with everything that its attempts left behind.
    Json,
    /// The events of `go test -json`.
    GoTest,
    /// The Test Anything Protocol, version 14.
    Tap,
}

impl Format {
    /// Every form.
    pub const ALL: &[Self] = &[Self::Junit, Self::Json, Self::GoTest, Self::Tap];

    /// The form's name in queries and on the command line.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Junit => "junit",
            Self::Json => "json",
            Self::GoTest => "go-test",
            Self::Tap => "tap",
        }
    }

    /// What the form is as an HTTP body.
    pub fn media_type(self) -> &'static str {
        match self {
            Self::Junit => "application/xml",
            Self::Json => "application/json",
            Self::GoTest => "application/x-ndjson",
            Self::Tap => "text/plain; charset=utf-8",
        }
    }

    /// Writes the report of a run as it stands. A detail that an attempt carries itself goes before one
    /// that `details` finds. Fails only if `out` does.
    pub fn write(self, run: &Run, details: &Details<'_>, out: &mut dyn Write) -> io::Result<()> {
        let of = |stage: &Stage, attempt: &Attempt| match &attempt.detail {
            Some(detail) => Some(detail.as_ref().clone()),
            None => details(stage, attempt.round, attempt.number),
        };
        match self {
            Self::Junit => junit::write(run, &of, out),
            Self::Json => json::write(run, &of, out),
            Self::GoTest => go_test::write(run, &of, out),
            Self::Tap => tap::write(run, &of, out),
        }
    }
}

/// Finds what an attempt left behind.
type DetailOf<'a> = dyn Fn(&Stage, &Attempt) -> Option<AttemptDetail> + 'a;

/// One line of a report: a test, or setup or teardown if it did not pass.
struct Case<'a> {
    stage: Stage,
    name: &'a str,
    status: TestStatus,
    soft: bool,
    flaky: bool,
    reason: Option<&'a str>,
    attempts: &'a [Attempt],
}

impl<'a> Case<'a> {
    fn of_stage(stage: Stage, name: &'static str, attempts: &'a [Attempt]) -> Option<Self> {
        let last = attempts.last().filter(|last| last.status != TestStatus::Passed)?;
        let soft = stage == Stage::Teardown;
        let reason = last.message.as_deref();
        Some(Self { stage, name, status: last.status, soft, flaky: false, reason, attempts })
    }

    /// Why it ended as it did: what the test says, or its last attempt that ended in the same way.
    fn message(&self) -> Option<&'a str> {
        self.deciding().and_then(|attempt| attempt.message.as_deref()).or(self.reason)
    }

    /// The last attempt that ended as the case did.
    fn deciding(&self) -> Option<&'a Attempt> {
        self.attempts.iter().rev().find(|attempt| attempt.status == self.status)
    }

    /// How long all its attempts took.
    fn duration_ms(&self) -> u64 {
        self.attempts.iter().map(|attempt| attempt.duration_ms).sum()
    }
}

/// The cases of a run, in the order in which they ran.
fn cases(run: &Run) -> Vec<Case<'_>> {
    let tests = run.tests.iter().map(|test| Case {
        stage: Stage::Test(test.name.clone()),
        name: &test.name,
        status: test.status,
        soft: test.soft,
        flaky: test.is_flaky(),
        reason: test.reason.as_deref(),
        attempts: &test.attempts,
    });
    let setup = Case::of_stage(Stage::Setup, "(setup)", &run.setup);
    let teardown = Case::of_stage(Stage::Teardown, "(teardown)", &run.teardown);
    setup.into_iter().chain(tests).chain(teardown).collect()
}

/// `file:line:column` of an attempt's failure.
fn location(attempt: &Attempt) -> Option<String> {
    let at = attempt.location.as_ref()?;
    let column = at.column.map(|column| format!(":{column}")).unwrap_or_default();
    Some(format!("{}:{}{column}", at.file, at.line))
}

/// From milliseconds to seconds.
fn seconds(ms: u64) -> f64 {
    ms as f64 / 1000.0
}
