//! What a run in the queue waits for.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::model::RunId;
use crate::runner::{Standing, WaitsFor};

/// How a run stands in the queue.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct QueueView {
    /// Its place, from 1, among all runs that wait for an executor; null if it lacks something that it needs.
    pub place: Option<u64>,
    /// What it waits for.
    pub waits_for: Vec<WaitsForView>,
}

/// Something that a run waits for.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct WaitsForView {
    /// `lock`, `suite`, `server`, `turn`, or of what it needs: `needed` or `blocked`.
    #[schema(example = "lock")]
    pub kind: String,
    /// The same for people.
    pub text: String,
    /// The run that has to end first, if it is a certain one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>, format = "uuid")]
    pub run: Option<RunId>,
}

impl From<&Standing> for QueueView {
    fn from(standing: &Standing) -> Self {
        let waits_for = standing.waits_for.iter().map(Into::into).collect();
        Self { place: standing.place.map(|place| place as u64), waits_for }
    }
}

impl From<&WaitsFor> for WaitsForView {
    fn from(what: &WaitsFor) -> Self {
        let (kind, run) = match what {
            WaitsFor::Lock { run, .. } => ("lock", Some(*run)),
            WaitsFor::Suite { .. } => ("suite", None),
            WaitsFor::Server { .. } => ("server", None),
            WaitsFor::Needed { run, .. } => ("needed", *run),
            WaitsFor::Blocked { run, .. } => ("blocked", Some(*run)),
            WaitsFor::Turn => ("turn", None),
        };
        Self { kind: kind.into(), text: what.to_string(), run }
    }
}
