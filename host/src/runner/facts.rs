//! What the queue needs to know of a run, from what is stored of it.

use std::time::Instant;

use jiff::{SignedDuration, Timestamp};

use super::Shared;
use super::needs::Needs;
use super::queue::{Facts, Slot, Waiting};
use crate::model::{Run, RunRequest, RunSpec, RunStatus};

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
            needs: self.needs(spec, at),
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
        if run.started_at.is_some() {
            waiting.facts.needs = None;
        }
        waiting
    }

    fn needs(&self, spec: &RunSpec, at: Timestamp) -> Option<Needs> {
        let RunRequest { needs: suites, reference, needs_within_ms, .. } = &spec.request;
        // What began once does not look again.
        if suites.is_empty() || at != spec.created_at {
            return None;
        }
        let within = needs_within_ms.unwrap_or(self.settings.bounds.max_needs_wait_ms);
        let within = SignedDuration::from_millis(i64::try_from(within).unwrap_or(i64::MAX));
        let until = at.saturating_add(within).unwrap_or(Timestamp::MAX);
        Some(Needs { suites: suites.clone(), reference: reference.clone()?, until })
    }
}
