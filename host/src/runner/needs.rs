//! Suites that must have passed for the same reference before a run begins: who of the runs that wait lacks
//! what. None waits for ever.

use std::collections::HashMap;

use jiff::Timestamp;

use super::queue::{Facts, Waiting, WaitsFor};
use crate::model::{RunId, RunStatus, RunSummary, SuiteId};
use crate::storage::{Page, RunQuery, Storage, StorageError};

/// How many runs of a suite are looked through for one that says how it stands: those before it were cancelled,
/// or cleared. A constant, as it is how far a look goes; what lies behind counts as not there.
const RUNS_LOOKED_AT: usize = 100;

/// What a run needs before it begins.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Needs {
    /// These must have passed,
    pub(super) suites: Vec<SuiteId>,
    /// for this reference,
    pub(super) reference: String,
    /// up to this time.
    pub(super) until: Timestamp,
}

impl Needs {
    /// What is lacking; nothing if the run may begin.
    pub(super) fn lacking(&self, storage: &Storage) -> Vec<WaitsFor> {
        let lacking = self.suites.iter().map(|suite| self.lacking_of(suite, storage));
        lacking
            .filter_map(|of| {
                of.unwrap_or_else(|error| {
                    tracing::error!(%error, "failed to read how a suite stands that a run needs");
                    None
                })
            })
            .collect()
    }

    fn lacking_of(
        &self,
        suite: &SuiteId,
        storage: &Storage,
    ) -> Result<Option<WaitsFor>, StorageError> {
        let (of, reference) = (Some(suite.clone()), Some(self.reference.clone()));
        let query = RunQuery { suite: of, reference, ..RunQuery::default() };
        let page = storage.runs(&query, &Page { limit: RUNS_LOOKED_AT, cursor: None })?;
        let counts =
            |run: &&RunSummary| run.status != RunStatus::Cancelled && run.cleared.is_none();
        let suite = suite.clone();
        Ok(match page.items.iter().find(counts).map(|run| (run.id, run.status)) {
            None => Some(WaitsFor::Needed { suite, run: None }),
            Some((_, RunStatus::Passed)) => None,
            Some((run, RunStatus::Queued | RunStatus::Running)) => {
                Some(WaitsFor::Needed { suite, run: Some(run) })
            }
            Some((run, _)) => Some(WaitsFor::Blocked { suite, run }),
        })
    }
}

/// The runs that lack something.
#[derive(Default)]
pub(super) struct Lacking(HashMap<RunId, Waiting>);

impl Lacking {
    /// Keeps a run until what it needs is there.
    pub(super) fn keep(&mut self, waiting: Waiting) {
        self.0.insert(waiting.facts.run, waiting);
    }

    /// Takes a run out.
    pub(super) fn remove(&mut self, run: RunId) -> Option<Waiting> {
        self.0.remove(&run)
    }

    /// What a run needs that is kept here.
    pub(super) fn needs(&self, run: RunId) -> Option<&Needs> {
        self.0.get(&run)?.facts.needs.as_ref()
    }

    /// Those that may begin now that a run of this suite changed how it stands.
    pub(super) fn freed(
        &mut self,
        suite: &SuiteId,
        is_there: impl Fn(&Needs) -> bool,
    ) -> Vec<Waiting> {
        let concerns = |waiting: &Waiting| {
            let needs = waiting.facts.needs.as_ref();
            needs.is_some_and(|needs| needs.suites.contains(suite) && is_there(needs))
        };
        let freed: Vec<_> =
            self.0.iter().filter(|(_, waiting)| concerns(waiting)).map(|(run, _)| *run).collect();
        let mut freed: Vec<_> = freed.into_iter().filter_map(|run| self.0.remove(&run)).collect();
        freed.sort_by_key(|waiting| (waiting.facts.place, waiting.facts.run));
        freed
    }

    /// Those whose time is over.
    pub(super) fn overdue(&self, now: Timestamp) -> Vec<RunId> {
        let over =
            |waiting: &&Waiting| waiting.facts.needs.as_ref().is_some_and(|n| n.until <= now);
        self.0.values().filter(over).map(|waiting| waiting.facts.run).collect()
    }

    /// Lets a run wait without an end.
    pub(super) fn forget_end(&mut self, run: RunId) {
        if let Some(needs) = self.0.get_mut(&run).and_then(|waiting| waiting.facts.needs.as_mut()) {
            needs.until = Timestamp::MAX;
        }
    }

    /// When the next one's time is over.
    pub(super) fn next_end(&self) -> Option<Timestamp> {
        let ends = self.facts().filter_map(|facts| Some(facts.needs.as_ref()?.until));
        ends.filter(|end| *end < Timestamp::MAX).min()
    }

    /// What runs that are kept are known by.
    pub(super) fn facts(&self) -> impl Iterator<Item = &Facts> {
        self.0.values().map(|waiting| &waiting.facts)
    }

    /// How many are kept.
    pub(super) fn len(&self) -> usize {
        self.0.len()
    }
}
