//! Events, as server-sent events and WebSocket messages carry them.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::{AttemptView, ClearedAttemptView, CountsView, MarkView, SuiteRef, schemas};
use crate::model::{EventKind, PlannedTest, RunEvent, RunId, RunStatus, Stage, TestStatus};

/// One fact about a run.
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
pub struct EventView {
    /// The run.
    #[schema(value_type = String, format = "uuid")]
    pub run_id: RunId,
    /// Its place among the run's events: 1, 2, 3 and so on without a gap.
    pub seq: u64,
    /// When it happened.
    #[schema(value_type = String, format = DateTime)]
    pub at: Timestamp,
    /// What happened.
    #[serde(flatten)]
    pub body: EventBody,
}

/// A test that a run is to run.
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
pub struct PlannedTestView {
    /// Its name.
    pub name: String,
    /// Whether its failure does not fail the run.
    pub soft: bool,
    /// How often it is tried at most.
    pub max_attempts: u32,
    /// If it is not to be run: why.
    pub skip: Option<String>,
    /// What an operator said of it when the run was accepted.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub mark: Option<MarkView>,
}

impl From<&PlannedTest> for PlannedTestView {
    fn from(test: &PlannedTest) -> Self {
        Self {
            name: test.name.clone(),
            soft: test.soft,
            max_attempts: test.max_attempts,
            skip: test.skip.clone(),
            mark: test.mark.as_ref().map(Into::into),
        }
    }
}

/// What happened.
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
#[serde(tag = "event", rename_all = "snake_case")]
pub enum EventBody {
    /// The run was accepted; always the first event.
    RunQueued {
        /// Its number in its suite.
        number: u64,
        /// The suite and its version.
        suite: SuiteRef,
        /// The tests in the order in which they run.
        tests: Vec<PlannedTestView>,
    },
    /// An executor took it: for the first time, after a restart, or for a retry.
    RunStarted,
    /// An attempt began.
    AttemptStarted {
        /// At what.
        #[serde(flatten)]
        stage: StageView,
        /// In which round.
        round: u32,
        /// Which attempt.
        number: u32,
    },
    /// An attempt ended.
    AttemptFinished {
        /// At what.
        #[serde(flatten)]
        stage: StageView,
        /// How.
        attempt: Box<AttemptView>,
    },
    /// A test has its verdict for this round.
    TestFinished {
        /// Which.
        test: String,
        /// In which round.
        round: u32,
        /// The verdict.
        #[schema(schema_with = schemas::test_status)]
        status: TestStatus,
        /// Why it was skipped or cancelled without an attempt.
        reason: Option<String>,
    },
    /// Somebody asked to stop the run.
    CancelRequested {
        /// Who, as they say.
        by: Option<String>,
    },
    /// Somebody asked to run tests again.
    RetryRequested {
        /// Which tests.
        tests: Vec<String>,
        /// Who, as they say.
        by: Option<String>,
    },
    /// The run has its verdict; the last event, unless it is retried.
    RunFinished {
        /// The verdict.
        #[schema(schema_with = schemas::run_status)]
        status: RunStatus,
        /// What the platform could not do, or why it was stopped.
        message: Option<String>,
        /// How many tests ended in which way.
        counts: CountsView,
    },
    /// Somebody took something that ended out of the statistics.
    Cleared {
        /// At which test; null clears the whole run.
        test: Option<String>,
        /// Which attempt at the test; null clears all that have ended.
        attempt: Option<ClearedAttemptView>,
        /// Why.
        reason: String,
        /// Who, as they say.
        by: Option<String>,
        /// How many tests ended in which way now.
        counts: CountsView,
    },
}

/// A part of a run that has attempts.
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
pub struct StageView {
    /// `setup`, `test` or `teardown`.
    #[schema(example = "test")]
    pub stage: String,
    /// Which test, if it is one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub test: Option<String>,
}

impl From<&Stage> for StageView {
    fn from(stage: &Stage) -> Self {
        let (stage, test) = match stage {
            Stage::Setup => ("setup", None),
            Stage::Test(name) => ("test", Some(name.clone())),
            Stage::Teardown => ("teardown", None),
        };
        Self { stage: stage.into(), test }
    }
}

impl From<&RunEvent> for EventView {
    fn from(event: &RunEvent) -> Self {
        Self { run_id: event.run_id, seq: event.seq, at: event.at, body: (&event.kind).into() }
    }
}

impl From<&EventKind> for EventBody {
    fn from(kind: &EventKind) -> Self {
        match kind {
            EventKind::RunQueued { spec } => Self::RunQueued {
                number: spec.number,
                suite: SuiteRef::of(&spec.suite, spec.version),
                tests: spec.tests.iter().map(PlannedTestView::from).collect(),
            },
            EventKind::RunStarted => Self::RunStarted,
            EventKind::AttemptStarted { stage, round, number } => {
                Self::AttemptStarted { stage: stage.into(), round: *round, number: *number }
            }
            EventKind::AttemptFinished { stage, attempt } => Self::AttemptFinished {
                stage: stage.into(),
                attempt: Box::new(attempt.as_ref().into()),
            },
            EventKind::TestFinished { test, round, status, reason } => Self::TestFinished {
                test: test.clone(),
                round: *round,
                status: *status,
                reason: reason.clone(),
            },
            EventKind::CancelRequested { by } => Self::CancelRequested { by: by.clone() },
            EventKind::RetryRequested { tests, by } => {
                Self::RetryRequested { tests: tests.clone(), by: by.clone() }
            }
            EventKind::RunFinished { status, message, counts } => Self::RunFinished {
                status: *status,
                message: message.clone(),
                counts: counts.into(),
            },
            EventKind::Cleared { test, attempt, reason, by, counts } => Self::Cleared {
                test: test.clone(),
                attempt: attempt.map(Into::into),
                reason: reason.clone(),
                by: by.clone(),
                counts: counts.into(),
            },
        }
    }
}
