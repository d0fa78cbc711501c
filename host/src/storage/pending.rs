//! What is applied but not yet durable. Readers are shown what was before, so that nobody hears of
//! an event that a crash may still undo.

use std::collections::HashMap;
use std::sync::{Mutex, MutexGuard, PoisonError};

use sled::IVec;

use crate::model::{RunId, RunSummary};

/// A run as it was before the batch that is being stored.
pub(super) struct Before {
    /// The number of its last event; 0 if it did not exist.
    pub(super) seq: u64,
    pub(super) summary: Option<RunSummary>,
}

/// The runs in the batch that is being stored. Readers look here after they read the store: what
/// they read was either durable by then, or is found here.
#[derive(Default)]
pub(super) struct Pending {
    runs: Mutex<HashMap<RunId, Before>>,
    /// Records of statistics as they were: none if there was none.
    records: Mutex<HashMap<Vec<u8>, Option<IVec>>>,
}

impl Pending {
    /// A batch with these runs is about to be applied.
    pub(super) fn begin(
        &self,
        runs: HashMap<RunId, Before>,
        records: HashMap<Vec<u8>, Option<IVec>>,
    ) {
        *self.runs() = runs;
        *self.records() = records;
    }

    /// The batch is durable. Never called after a failure: what was applied then stays hidden.
    pub(super) fn end(&self) {
        self.runs().clear();
        self.records().clear();
    }

    /// The record of statistics that may be shown in place of the stored one; none inside if none may be.
    pub(super) fn record(&self, key: &[u8]) -> Option<Option<IVec>> {
        self.records().get(key).cloned()
    }

    fn records(&self) -> MutexGuard<'_, HashMap<Vec<u8>, Option<IVec>>> {
        self.records.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The last event of a run that may be shown, if not all may.
    pub(super) fn seq(&self, run: RunId) -> Option<u64> {
        self.runs().get(&run).map(|before| before.seq)
    }

    /// The summary that may be shown: of a run that is not pending the one found in the store, of
    /// one that is the one before.
    pub(super) fn visible(&self, run: RunId, found: Option<RunSummary>) -> Option<RunSummary> {
        match self.runs().get(&run) {
            Some(before) => before.summary.clone(),
            None => found,
        }
    }

    fn runs(&self) -> MutexGuard<'_, HashMap<RunId, Before>> {
        self.runs.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
