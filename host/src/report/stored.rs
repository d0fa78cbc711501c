//! What a report needs beside the run's fold, of a run that is stored.

use std::collections::HashMap;
use std::io;

use super::Source;
use crate::model::{Attempt, AttemptDetail, RunId, Stage};
use crate::storage::Storage;

/// Finds what a run's fold does not hold, of the run as it stood.
pub struct Stored {
    /// Where it is stored.
    pub storage: Storage,
    /// The run.
    pub run: RunId,
    /// The last event that counts.
    pub up_to: u64,
}

impl Source for Stored {
    fn attempts(&self, stages: &[Stage]) -> io::Result<HashMap<Stage, Vec<Attempt>>> {
        let mut found: HashMap<_, Vec<_>> =
            stages.iter().map(|stage| (stage.clone(), Vec::new())).collect();
        let read = self.storage.attempts(self.run, self.up_to, |stage, attempt| {
            found.get_mut(stage).into_iter().for_each(|them| them.push(attempt.clone()));
        });
        read.inspect_err(|error| tracing::error!(%error, "failed to read attempts for a report"))
            .map_err(|_| io::Error::other("the run's attempts cannot be read"))?;
        Ok(found)
    }

    fn detail(&self, stage: &Stage, round: u32, number: u32) -> Option<AttemptDetail> {
        let detail = self.storage.detail(self.run, stage, round, number);
        let log = |error: &_| tracing::error!(%error, "failed to read an attempt for a report");
        detail.inspect_err(log).ok().flatten()
    }
}
