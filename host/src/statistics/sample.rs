//! One result of a test, or of a suite, as it counts.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use crate::model::{Digest, RunId};

/// How a result counts. What ended in an error of the platform, was cancelled, skipped or cleared is none.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Outcome {
    /// It passed, and no attempt at it failed.
    Passed,
    /// It passed after an attempt that failed: it is flaky in this run.
    Retried,
    /// It failed.
    Failed,
}

impl Outcome {
    /// Whether an attempt at it failed, whatever came of it.
    pub fn is_bad(self) -> bool {
        self != Self::Passed
    }

    /// The word for it in JSON and on the command line.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Passed => "passed",
            Self::Retried => "retried",
            Self::Failed => "failed",
        }
    }
}

/// One result: what a test came to in one round of a run, or a suite in one run.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Sample {
    /// The run.
    pub run: RunId,
    /// Its number in its suite.
    pub number: u64,
    /// Which round of it, counted from 1.
    pub round: u32,
    /// When it had its verdict.
    pub at: Timestamp,
    /// The version of the suite.
    pub version: Digest,
    /// What was tested.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reference: Option<String>,
    /// How it counts.
    pub outcome: Outcome,
    /// How many attempts passed or failed; of a suite, how many tests passed or failed.
    pub attempts: u32,
    /// How many of them failed.
    pub failed: u32,
    /// How long the attempt took that passed, or the run that did.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub duration_ms: Option<u64>,
    /// The fuel of the attempt that passed, or of all attempts of the run that did.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub fuel: Option<u64>,
}

/// When and where something was seen.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Seen {
    /// Its place among the results, counted from 0.
    pub place: u64,
    /// The run.
    pub run: RunId,
    /// Its number in its suite.
    pub number: u64,
    /// When it had its verdict.
    pub at: Timestamp,
    /// The version of the suite.
    pub version: Digest,
    /// What was tested.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reference: Option<String>,
}

impl Seen {
    /// That a sample stands in this place.
    pub fn of(place: u64, sample: &Sample) -> Self {
        let Sample { run, number, at, version, reference, .. } = sample;
        let reference = reference.clone();
        Self { place, run: *run, number: *number, at: *at, version: *version, reference }
    }
}
