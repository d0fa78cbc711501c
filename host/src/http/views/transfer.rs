//! What came of an import.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

/// What came of an import.
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
pub struct ImportView {
    /// Runs that are new.
    pub runs: u64,
    /// Runs that were there, and stayed as they were.
    pub runs_there: u64,
    /// Versions of suites that are new.
    pub versions: u64,
    /// Schedules that are new.
    pub schedules: u64,
    /// Triggers that are new. Nobody can call them before their secret is set.
    pub triggers: u64,
    /// Plugins that are new. They are disabled.
    pub plugins: u64,
    /// The names of secrets that no export holds, to be set again, by what they are of: `namespace/name` of a
    /// suite, `trigger NAME` or `plugin NAME`.
    pub missing_secrets: BTreeMap<String, Vec<String>>,
}
