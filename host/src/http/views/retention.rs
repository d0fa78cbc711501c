//! What is kept, what it takes, and what was forgotten.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::model::Pin;
use crate::retention::Report;
use crate::storage::{DiskUse, FreedSums};

/// What is kept, what it takes of the disk, and what was forgotten.
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
pub struct RetentionView {
    /// How long runs are kept where a suite's policy says nothing.
    pub keep: KeepView,
    /// How many runs are pinned.
    pub pinned_runs: usize,
    /// What the store takes.
    pub disk: DiskView,
    /// What was freed since the server was started.
    pub forgotten: FreedView,
    /// The last time that it was looked for runs to forget; null before the first.
    pub last_round: Option<RoundView>,
}

/// How long runs are kept.
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
pub struct KeepView {
    /// For so many milliseconds after their end; 0 is without end.
    pub age_ms: u64,
    /// So many of each suite, the newest; 0 is all.
    pub runs: u64,
}

/// What the store takes of the disk.
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
pub struct DiskView {
    /// Records: suites, runs, logs. What was freed in there is used again, and not given back at once.
    pub records_bytes: u64,
    /// Components and fixtures.
    pub components_bytes: u64,
    /// Artifacts.
    pub artifacts_bytes: u64,
    /// All of these.
    pub total_bytes: u64,
    /// What is free on the disk.
    pub free_bytes: u64,
}

/// What was freed.
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
pub struct FreedView {
    /// Runs that were forgotten.
    pub runs: u64,
    /// Bytes of their records.
    pub record_bytes: u64,
    /// Artifacts that no other run has.
    pub files: u64,
    /// Bytes of these artifacts.
    pub file_bytes: u64,
}

/// One time through all suites.
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
pub struct RoundView {
    /// When it began.
    #[schema(value_type = String, format = DateTime)]
    pub started_at: Timestamp,
    /// When it ended; null while it is under way.
    #[schema(value_type = Option<String>, format = DateTime)]
    pub finished_at: Option<Timestamp>,
    /// What it freed.
    pub forgotten: FreedView,
}

/// Why a run is kept whatever its age.
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
pub struct PinView {
    /// Since when.
    #[schema(value_type = String, format = DateTime)]
    pub at: Timestamp,
    /// Who asked, as they say.
    pub by: Option<String>,
    /// Why.
    pub reason: Option<String>,
}

impl RetentionView {
    /// What a report comes to, with what the store takes.
    pub fn of(report: &Report, disk: &DiskUse) -> Self {
        Self {
            keep: KeepView { age_ms: report.rule.age_ms, runs: report.rule.runs },
            pinned_runs: report.pinned,
            disk: disk.into(),
            forgotten: report.freed.into(),
            last_round: report.round.map(|round| RoundView {
                started_at: round.started_at,
                finished_at: round.ended_at,
                forgotten: round.freed.into(),
            }),
        }
    }
}

impl From<&DiskUse> for DiskView {
    fn from(disk: &DiskUse) -> Self {
        Self {
            records_bytes: disk.records,
            components_bytes: disk.components,
            artifacts_bytes: disk.artifacts,
            total_bytes: disk.total(),
            free_bytes: disk.free,
        }
    }
}

impl From<FreedSums> for FreedView {
    fn from(freed: FreedSums) -> Self {
        let FreedSums { runs, record_bytes, files, file_bytes } = freed;
        Self { runs, record_bytes, files, file_bytes }
    }
}

impl From<&Pin> for PinView {
    fn from(pin: &Pin) -> Self {
        Self { at: pin.at, by: pin.by.clone(), reason: pin.reason.clone() }
    }
}
