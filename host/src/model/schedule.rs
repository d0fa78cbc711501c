//! What is to run by itself, and what became of each of its times.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::{Name, RunId, RunRequest, SuiteId};

/// What somebody wants to run by itself.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ScheduleSpec {
    /// Which suite. It need not exist yet; the schedule is broken as long as it does not.
    pub suite: SuiteId,
    /// What each run is asked for.
    pub request: RunRequest,
    /// When: a cron expression, or `@every` and a duration.
    pub cron: String,
    /// In which time zone of the IANA database.
    pub timezone: String,
    /// Each time comes later by a part of this, in milliseconds, which the schedule's name and the time
    /// decide.
    pub jitter_ms: u64,
    /// What happens while a run of its is not over.
    pub overlap: Overlap,
    /// What happens to times that passed while the server was not there to see them.
    pub catch_up: CatchUp,
    /// When it ends.
    pub ends: Ends,
    /// Whether it pauses when a run of its does not pass.
    pub pause_on_failure: bool,
    /// What it is for.
    pub description: Option<String>,
}

/// What happens when a schedule is due while a run of its is not over.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Overlap {
    /// Nothing runs.
    #[default]
    Skip,
    /// It runs after the one that is not over. A bounded number of times waits; a further one is skipped.
    Queue,
    /// What is not over is cancelled.
    CancelOther,
    /// It runs beside it.
    Allow,
}

/// Which of the times that passed unseen are made up for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct CatchUp {
    /// Which.
    pub mode: CatchUpMode,
    /// How many at most, the last ones, if all are.
    pub at_most: u32,
    /// How long ago they may be, in milliseconds.
    pub window_ms: u64,
}

impl Default for CatchUp {
    /// The latest, if it was within a day.
    fn default() -> Self {
        Self { mode: CatchUpMode::default(), at_most: 10, window_ms: 86_400_000 }
    }
}

/// Which of the times that passed unseen are made up for.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum CatchUpMode {
    /// None.
    None,
    /// The last one.
    #[default]
    Latest,
    /// All.
    All,
}

/// When a schedule ends: at whichever comes first.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Ends {
    /// After so many runs.
    pub after_runs: Option<u64>,
    /// So many milliseconds after it was created.
    pub after_ms: Option<u64>,
    /// At this time.
    pub at: Option<Timestamp>,
}

impl Ends {
    /// Whether a schedule that is made now would be over at once.
    pub fn leave_nothing(&self, now: Timestamp) -> bool {
        self.after_runs == Some(0)
            || self.after_ms == Some(0)
            || self.at.is_some_and(|at| at <= now)
    }
}

/// A schedule and where it stands.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Schedule {
    /// Its name, unique on the server.
    pub name: Name,
    /// What it is to do.
    pub spec: ScheduleSpec,
    /// When it was created; what `@every` counts from.
    pub created_at: Timestamp,
    /// When its specification last changed.
    pub changed_at: Timestamp,
    /// Whether the server's configuration declares it; it is changed there alone then.
    pub declared: bool,
    /// Why it does nothing for now.
    pub paused: Option<Paused>,
    /// Up to when its times are dealt with. It never goes back, so that no time comes twice, however the
    /// clock is set.
    pub dealt_with: Timestamp,
    /// How many runs its times have started.
    pub runs: u64,
    /// Runs of its that were not over when last looked at.
    pub under_way: Vec<RunId>,
    /// Times that wait for them (see [`Overlap::Queue`]).
    pub waiting: Vec<Timestamp>,
    /// How many rows there are of what became of its times.
    pub rows: u64,
}

/// Why a schedule does nothing for now.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Paused {
    /// Since when.
    pub since: Timestamp,
    /// Who paused it, as they say.
    pub by: Option<String>,
    /// Why.
    pub reason: Option<String>,
}

/// What became of one time of a schedule.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct DueRow {
    /// When it was due by the rule; when it was asked for, if somebody triggered it.
    pub due_at: Timestamp,
    /// When it was dealt with.
    pub at: Timestamp,
    /// What became of it.
    pub outcome: DueOutcome,
    /// The run that it started.
    pub run: Option<RunId>,
    /// Why there is none, or why so late.
    pub reason: Option<String>,
}

/// What became of one time of a schedule.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum DueOutcome {
    /// It started a run.
    Started,
    /// It waits for another run to end.
    Waiting,
    /// It started none, as the schedule has it.
    Skipped,
    /// It passed while the server was not there, and is not made up for.
    Missed,
    /// It passed while the server was not there, and started a run afterwards.
    CaughtUp,
    /// It should have started a run and could not.
    Failed,
    /// Somebody asked for a run beside the rule.
    Triggered,
}

impl DueOutcome {
    /// The word for it in JSON, in labels and on the command line.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Started => "started",
            Self::Waiting => "waiting",
            Self::Skipped => "skipped",
            Self::Missed => "missed",
            Self::CaughtUp => "caught_up",
            Self::Failed => "failed",
            Self::Triggered => "triggered",
        }
    }
}
