//! What is said of tests without another version of their suite.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::schedule::ScheduledSuite;
use super::schemas;
use crate::model::{Mark, MarkKind, Run, RunId, SuiteId, Test, TestStatus};

/// What is to be said of a test.
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct MarkBody {
    /// `muted`: it runs, and its result does not count. `disabled`: it does not run. `expected_to_fail`: it
    /// runs once, a failure does not count, and passing fails the run.
    #[schema(value_type = String, example = "muted")]
    pub kind: MarkKind,
    /// Why.
    pub reason: String,
    /// Who says so.
    #[serde(default)]
    pub by: Option<String>,
    /// Up to when it holds. Default: until it is taken away.
    #[serde(default)]
    #[schema(value_type = Option<String>, format = DateTime)]
    pub until: Option<Timestamp>,
}

impl MarkBody {
    /// What is said from `now` on; the error says why it cannot be.
    pub fn into_mark(self, now: Timestamp) -> Result<Mark, String> {
        let Self { kind, reason, by, until } = self;
        Mark::from_now(kind, reason, by, until, now)
    }
}

/// What the configuration says of a test.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct DeclaredMark {
    /// The suite. It need not be there yet.
    pub suite: ScheduledSuite,
    /// The test.
    pub test: String,
    /// `muted`, `disabled` or `expected_to_fail`.
    pub kind: MarkKind,
    /// Why.
    pub reason: String,
    /// Who says so.
    pub by: Option<String>,
    /// Up to when it holds. Default: until it is taken away.
    pub until: Option<Timestamp>,
}

impl DeclaredMark {
    /// Which test it is of, and what is said `from` now on; the error says why it cannot be. One whose end
    /// has passed holds for nothing, and is none the worse for standing there still.
    pub fn into_mark(self, from: Timestamp) -> Result<(SuiteId, String, Mark), String> {
        let Self { suite, test, kind, reason, by, until } = self;
        let suite = suite.id().map_err(|error| format!("suite: {error}"))?;
        let mark = MarkBody { kind, reason, by, until: None }.into_mark(from)?;
        Ok((suite, test, Mark { until, declared: true, ..mark }))
    }
}

/// What is said of a test.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct MarkView {
    /// `muted`, `disabled` or `expected_to_fail`.
    #[schema(value_type = String, example = "muted")]
    pub kind: MarkKind,
    /// Why.
    pub reason: String,
    /// Who said so, as they say.
    pub by: Option<String>,
    /// Since when.
    #[schema(value_type = String, format = DateTime)]
    pub since: Timestamp,
    /// Up to when it holds; null if it has no end.
    #[schema(value_type = Option<String>, format = DateTime)]
    pub until: Option<Timestamp>,
    /// Whether the server's configuration declares it; then it is changed there alone.
    #[serde(default)]
    pub declared: bool,
}

impl From<&Mark> for MarkView {
    fn from(mark: &Mark) -> Self {
        let Mark { kind, reason, by, since, until, declared } = mark.clone();
        Self { kind, reason, by, since, until, declared }
    }
}

/// How a test ended in the last run in which it was tried.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct LastRunView {
    /// The run.
    #[schema(value_type = String, format = "uuid")]
    pub run: RunId,
    /// Its number in its suite.
    pub number: u64,
    /// How the last attempt ended.
    #[schema(schema_with = schemas::test_status)]
    pub status: TestStatus,
    /// When the run ended.
    #[schema(value_type = Option<String>, format = DateTime)]
    pub finished_at: Option<Timestamp>,
}

impl LastRunView {
    /// How the test ended in the run.
    pub fn of(run: &Run, test: &Test) -> Self {
        let status = test.attempts.last_status().unwrap_or(test.status);
        let (id, number) = (run.spec.id, run.spec.number);
        Self { run: id, number, status, finished_at: run.finished_at }
    }
}

/// A test of which something is said.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct MarkedView {
    /// Its name.
    pub test: String,
    /// What is said of it.
    #[serde(flatten)]
    pub mark: MarkView,
    /// Whether its end has passed: it counts as any other test.
    pub expired: bool,
    /// How it ended last, if it was tried in one of the last runs.
    pub last: Option<LastRunView>,
    /// Whether it passed last, though it is muted or expected to fail: then nothing need be said of it any
    /// more.
    pub passes: bool,
}

impl MarkedView {
    /// How the test stands at `now`.
    pub fn of(test: &str, mark: &Mark, last: Option<LastRunView>, now: Timestamp) -> Self {
        let passed = last.as_ref().is_some_and(|last| last.status == TestStatus::Passed);
        let passes = passed && mark.kind != MarkKind::Disabled;
        let expired = !mark.holds_at(now);
        Self { test: test.into(), mark: mark.into(), expired, last, passes }
    }
}
