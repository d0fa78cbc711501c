//! What can be set of schedules.

use serde::{Deserialize, Serialize};

/// Settings of schedules (`[scheduler]`).
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct SchedulerSettings {
    /// How many schedules there may be: 10,000.
    pub most: usize,
    /// How late a time may be dealt with and still count as seen, in milliseconds: 10 seconds. What is
    /// later passed while the server was not there, or the clock was set, and is made up for or not.
    pub late_ms: u64,
    /// How many missed times of a schedule have a row each, the last ones: 100. The others are counted in
    /// the first of these rows.
    pub missed_rows: usize,
    /// How many times of a schedule may wait for a run of its to end: 10.
    pub waiting: usize,
    /// How many runs are started at the same time: 64.
    pub at_once: usize,
    /// The most runs of a schedule that are made up for at once: 100.
    pub max_catch_up: u32,
    /// The longest jitter in milliseconds: 1 hour.
    pub max_jitter_ms: u64,
    /// Bytes of a schedule's description: 1 KiB.
    pub description_bytes: usize,
}

impl Default for SchedulerSettings {
    fn default() -> Self {
        Self {
            most: 10_000,
            late_ms: 10_000,
            missed_rows: 100,
            waiting: 10,
            at_once: 64,
            max_catch_up: 100,
            max_jitter_ms: 3_600_000,
            description_bytes: 1 << 10,
        }
    }
}
