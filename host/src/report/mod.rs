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
mod stored;
mod tap;

use std::borrow::Cow;
use std::collections::HashMap;
use std::io::{self, Write};

pub use stored::Stored;

use crate::model::{
    Attempt, AttemptDetail, Attempts, Location, Outcome, Run, Stage, SubResult, TestStatus,
};

/// Where a report finds what the run's fold does not hold.
pub trait Source {
    /// All attempts at each of these, in order.
    fn attempts(&self, stages: &[Stage]) -> io::Result<HashMap<Stage, Vec<Attempt>>>;

    /// What an attempt left behind: by stage, round and number.
    fn detail(&self, stage: &Stage, round: u32, number: u32) -> Option<AttemptDetail>;
}

/// For a run that holds all its attempts.
impl<F: Fn(&Stage, u32, u32) -> Option<AttemptDetail>> Source for F {
    fn attempts(&self, _: &[Stage]) -> io::Result<HashMap<Stage, Vec<Attempt>>> {
        Ok(HashMap::new())
    }

    fn detail(&self, stage: &Stage, round: u32, number: u32) -> Option<AttemptDetail> {
        self(stage, round, number)
    }
}

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

    /// The form of that name.
    pub fn of(name: &str) -> Option<Self> {
        Self::ALL.iter().copied().find(|format| format.as_str() == name)
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
    /// that `source` finds. Fails only if `out` or `source` does.
    pub fn write(self, run: &Run, source: &dyn Source, out: &mut dyn Write) -> io::Result<()> {
        let told = Told { run, source };
        match self {
            Self::Junit => junit::write(&told, out),
            Self::Json => json::write(&told, out),
            Self::GoTest => go_test::write(&told, out),
            Self::Tap => tap::write(&told, out),
        }
    }
}

/// A run with all that is to be told of it.
struct Told<'a> {
    run: &'a Run,
    source: &'a dyn Source,
}

/// How many attempts of a run that does not hold all of its own are fetched at a time, unless a single
/// test has more. Each fetch reads all the run's events.
const ATTEMPTS_AT_ONCE: u64 = 10_000;

impl<'a> Told<'a> {
    /// What an attempt left behind.
    fn detail(&self, stage: &Stage, attempt: &Attempt) -> Option<AttemptDetail> {
        match &attempt.detail {
            Some(detail) => Some(detail.as_ref().clone()),
            None => self.source.detail(stage, attempt.round, attempt.number),
        }
    }

    /// The attempt with message and location as they were.
    fn whole<'b>(&self, stage: &Stage, attempt: &'b Attempt) -> Cow<'b, Attempt> {
        match attempt.is_cut().then(|| self.detail(stage, attempt)).flatten() {
            None => Cow::Borrowed(attempt),
            Some(detail) => Cow::Owned(restored(attempt, &detail)),
        }
    }

    /// The parts of a case, as the attempt told them that decided it.
    fn parts(&self, case: &Case<'_>) -> Vec<SubResult> {
        let detail = case.deciding().and_then(|attempt| self.detail(&case.stage, attempt));
        detail.unwrap_or_default().sub_results
    }

    /// How many cases there are.
    fn cases_count(&self) -> usize {
        let stages = [&self.run.setup, &self.run.teardown];
        self.run.tests.len() + stages.iter().filter(|stage| is_told(stage)).count()
    }

    /// The cases, in the order in which they ran. The attempts that the run does not hold are fetched as
    /// they are come to, so that a long report is never whole in memory.
    fn cases(&self) -> impl Iterator<Item = io::Result<Case<'a>>> {
        let Run { tests, setup, teardown, .. } = self.run;
        let tests = tests.iter().map(|test| Case {
            stage: Stage::Test(test.name.clone()),
            name: &test.name,
            status: test.status,
            soft: test.soft,
            flaky: test.is_flaky(),
            reason: test.reason.as_deref(),
            attempts: Cow::Borrowed(&*test.attempts),
        });
        let setup = Case::of_stage(Stage::Setup, "(setup)", setup);
        let teardown = Case::of_stage(Stage::Teardown, "(teardown)", teardown);
        let mut ahead = HashMap::new();
        setup.into_iter().chain(tests).chain(teardown).map(move |mut case| {
            if let Some(attempts) = self.fetched(&case.stage, &mut ahead)? {
                case.attempts = Cow::Owned(attempts);
            }
            Ok(case)
        })
    }

    /// All attempts at something, if the run does not hold them; those of the next tests are fetched
    /// along.
    fn fetched(
        &self,
        stage: &Stage,
        ahead: &mut HashMap<Stage, Vec<Attempt>>,
    ) -> io::Result<Option<Vec<Attempt>>> {
        let Run { tests, setup, teardown, .. } = self.run;
        let tests = tests.iter().map(|test| (Stage::Test(test.name.clone()), &test.attempts));
        let all = [(Stage::Setup, setup)].into_iter().chain(tests);
        let all = all.chain([(Stage::Teardown, teardown)]);
        let mut rest = all.skip_while(|(of, _)| of != stage).peekable();
        if rest.peek().is_none_or(|(_, attempts)| attempts.is_complete()) {
            return Ok(None);
        }
        if !ahead.contains_key(stage) {
            let mut sum = 0;
            let next =
                rest.filter(|(_, attempts)| !attempts.is_complete()).take_while(|(of, them)| {
                    sum += them.total();
                    sum <= ATTEMPTS_AT_ONCE || of == stage
                });
            *ahead = self.source.attempts(&next.map(|(of, _)| of).collect::<Vec<_>>())?;
        }
        Ok(ahead.remove(stage))
    }
}

/// The attempt with message and location as they were, less its detail.
fn restored(attempt: &Attempt, detail: &AttemptDetail) -> Attempt {
    let mut whole = Attempt { detail: None, ..attempt.clone() };
    whole.restore(detail);
    whole
}

/// Whether setup or teardown is told of: if it did not pass.
fn is_told(attempts: &Attempts) -> bool {
    attempts.last().is_some_and(|last| last.status != TestStatus::Passed)
}

/// One line of a report: a test, or setup or teardown if it did not pass.
struct Case<'a> {
    stage: Stage,
    name: &'a str,
    status: TestStatus,
    soft: bool,
    flaky: bool,
    reason: Option<&'a str>,
    attempts: Cow<'a, [Attempt]>,
}

impl<'a> Case<'a> {
    fn of_stage(stage: Stage, name: &'static str, attempts: &'a Attempts) -> Option<Self> {
        let last = attempts.last().filter(|_| is_told(attempts))?;
        let soft = stage == Stage::Teardown;
        let (status, reason) = (last.status, last.message.as_deref());
        let attempts = Cow::Borrowed(&**attempts);
        Some(Self { stage, name, status, soft, flaky: false, reason, attempts })
    }

    /// Why it ended as it did: what the test says, or its last attempt that ended in the same way.
    fn message(&self, told: &Told<'_>) -> Option<String> {
        let of_attempt = |attempt| told.whole(&self.stage, attempt).message.clone();
        self.deciding().and_then(of_attempt).or_else(|| self.reason.map(Into::into))
    }

    /// The last attempt that ended as the case did.
    fn deciding(&self) -> Option<&Attempt> {
        self.attempts.iter().rev().find(|attempt| attempt.status == self.status)
    }

    /// How long all its attempts took.
    fn duration_ms(&self) -> u64 {
        self.attempts.iter().map(|attempt| attempt.duration_ms).sum()
    }
}

/// `file:line:column` of an attempt's failure.
fn location(attempt: &Attempt) -> Option<String> {
    attempt.location.as_ref().map(place)
}

/// `file:line:column`.
fn place(at: &Location) -> String {
    let column = at.column.map(|column| format!(":{column}")).unwrap_or_default();
    format!("{}:{}{column}", at.file, at.line)
}

/// Why a part did not pass, and where.
fn said(part: &SubResult) -> (Option<&str>, Option<String>) {
    match &part.outcome {
        Outcome::Passed => (None, None),
        Outcome::Skipped { reason } => (Some(reason), None),
        Outcome::Failed(failure) => (Some(&failure.message), failure.location.as_ref().map(place)),
    }
}

/// From milliseconds to seconds.
fn seconds(ms: u64) -> f64 {
    ms as f64 / 1000.0
}
