//! What the rounds of a repeated run came to.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::model::{FirstFailure, Tally};

/// What rounds came to. A retry afterwards changes nothing of it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct RoundsView {
    /// How many there were.
    pub total: u64,
    /// Passed.
    pub passed: u64,
    /// Failed, and that counts.
    pub failed: u64,
    /// Failed, and that does not count.
    pub soft_failed: u64,
    /// The platform's fault.
    pub error: u64,
    /// Skipped.
    pub skipped: u64,
    /// Stopped.
    pub cancelled: u64,
    /// Which part failed of those that passed or failed, from 0 to 1; null if there are none.
    pub failure_rate: Option<f64>,
    /// How long they took; null if none did.
    pub duration_ms: Option<TookView>,
    /// The first failure that counts.
    pub first_failure: Option<FirstFailureView>,
}

/// How long rounds took, in milliseconds.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct TookView {
    /// The shortest.
    pub min: u64,
    /// The mean.
    pub mean: u64,
    /// The longest.
    pub max: u64,
}

/// The first failure in rounds.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct FirstFailureView {
    /// In which round, counted from 1.
    pub round: u32,
    /// Of which test.
    pub test: String,
    /// When.
    #[schema(value_type = String, format = DateTime)]
    pub at: Timestamp,
    /// What was reported.
    pub message: Option<String>,
}

impl From<&Tally> for RoundsView {
    fn from(tally: &Tally) -> Self {
        let took = tally.took.least_mean_most();
        Self {
            total: tally.total(),
            passed: tally.passed,
            failed: tally.failed,
            soft_failed: tally.soft_failed,
            error: tally.error,
            skipped: tally.skipped,
            cancelled: tally.cancelled,
            failure_rate: tally.failure_rate(),
            duration_ms: took.map(|(min, mean, max)| TookView { min, mean, max }),
            first_failure: tally.first_failure.as_ref().map(Into::into),
        }
    }
}

impl From<&FirstFailure> for FirstFailureView {
    fn from(failure: &FirstFailure) -> Self {
        let FirstFailure { round, test, at, message } = failure.clone();
        Self { round, test, at, message }
    }
}
