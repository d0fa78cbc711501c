//! What happened to a run, in order. The only way in which a run's progress leaves the executor, and
//! the only form in which it is stored: everything shown of a run is a fold over its events.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::{Attempt, ClearedAttempt, Counts, RunId, RunSpec, RunStatus, Stage, TestStatus};

/// One fact about a run.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct RunEvent {
    /// The run.
    pub run_id: RunId,
    /// Its place among the run's events: 1, 2, 3 and so on without a gap. Given when it is stored.
    pub seq: u64,
    /// When it happened.
    pub at: Timestamp,
    /// What happened.
    #[serde(flatten)]
    pub kind: EventKind,
}

/// What happened.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", tag = "event")]
pub enum EventKind {
    /// The run was accepted; always the first event.
    RunQueued {
        /// What is to be done.
        spec: Box<RunSpec>,
    },
    /// An executor took it, for the first time, after a restart, or for a retry.
    RunStarted,
    /// An attempt began.
    AttemptStarted {
        /// At what.
        stage: Stage,
        /// In which round of a repeated run, counted from 1.
        round: u32,
        /// Which attempt in this round, counted from 1.
        number: u32,
    },
    /// An attempt ended.
    AttemptFinished {
        /// At what.
        stage: Stage,
        /// How, and what it left behind.
        attempt: Box<Attempt>,
    },
    /// A test has its verdict for this round.
    TestFinished {
        /// Which.
        test: String,
        /// In which round, counted from 1.
        round: u32,
        /// The verdict.
        status: TestStatus,
        /// Why it was skipped or cancelled without an attempt.
        reason: Option<String>,
    },
    /// Somebody asked to stop the run.
    CancelRequested {
        /// Who, as they say.
        by: Option<String>,
    },
    /// Somebody asked to run tests again; a finished run is queued again.
    RetryRequested {
        /// Which tests.
        tests: Vec<String>,
        /// Who, as they say.
        by: Option<String>,
    },
    /// The run has its verdict; the last event, unless it is retried.
    RunFinished {
        /// The verdict.
        status: RunStatus,
        /// What the platform could not do, if the status is `error`; why, if cancelled by timeout.
        message: Option<String>,
        /// How many tests ended in which way.
        counts: Counts,
    },
    /// Somebody took something that ended out of the statistics. It comes after the run's end, and changes
    /// no verdict: what is cleared is kept, and shown as such.
    Cleared {
        /// At which test; none clears the whole run.
        test: Option<String>,
        /// Which attempt at the test; none clears all that have ended.
        attempt: Option<ClearedAttempt>,
        /// Why.
        reason: String,
        /// Who, as they say.
        by: Option<String>,
        /// How many tests ended in which way now: a failure that is cleared makes no test flaky.
        counts: Counts,
    },
}

impl EventKind {
    /// The name of each kind.
    pub const NAMES: [&'static str; 9] = [
        "run_queued",
        "run_started",
        "attempt_started",
        "attempt_finished",
        "test_finished",
        "cancel_requested",
        "retry_requested",
        "run_finished",
        "cleared",
    ];

    /// The event's name in JSON and in server-sent events.
    pub fn name(&self) -> &'static str {
        match self {
            Self::RunQueued { .. } => "run_queued",
            Self::RunStarted => "run_started",
            Self::AttemptStarted { .. } => "attempt_started",
            Self::AttemptFinished { .. } => "attempt_finished",
            Self::TestFinished { .. } => "test_finished",
            Self::CancelRequested { .. } => "cancel_requested",
            Self::RetryRequested { .. } => "retry_requested",
            Self::RunFinished { .. } => "run_finished",
            Self::Cleared { .. } => "cleared",
        }
    }
}
