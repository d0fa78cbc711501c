//! What the queue needs to know of a run, from what is stored of it.

use std::time::Instant;

use jiff::Timestamp;

use super::Shared;
use super::queue::{Facts, Slot, Waiting};
use crate::model::{Run, RunSpec, RunStatus};

impl Shared {
    /// A run that comes into the queue now.
    pub(super) fn waiting(&self, spec: &RunSpec, at: Timestamp, slot: Option<Slot>) -> Waiting {
        let facts = Facts {
            run: spec.id,
            suite: spec.suite.clone(),
            sharing: spec.sharing.clone(),
            number: spec.number,
            group: spec.request.group().map(Into::into),
            // One that is tried again was overtaken long ago, or has overtaken.
            supersedes: spec.request.supersede && at == spec.created_at,
            place: spec.request.priority.place(at, self.settings.priority_ageing_ms),
        };
        Waiting { facts, since: Instant::now(), slot }
    }

    /// A run that an earlier process left. One that was under way goes before all others: it has what it
    /// shares in use.
    pub(super) fn left_by_earlier(&self, run: &Run) -> Waiting {
        let mut waiting = self.waiting(&run.spec, run.queued_at, None);
        if run.status == RunStatus::Running {
            waiting.facts.place = Timestamp::MIN;
        }
        waiting
    }
}
