//! What is being done with an upload, for whoever waits for it.

use serde::{Deserialize, Serialize};

/// What is being done with a component before it can run. What was done for the same bytes before is
/// left out.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Step {
    /// It is read and validated.
    #[default]
    Check,
    /// It waits until others are compiled.
    Wait,
    /// It is compiled: a large interpreter takes several seconds.
    Compile,
    /// It is asked for its tests.
    Describe,
}
