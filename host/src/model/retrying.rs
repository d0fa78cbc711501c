//! What a run is asked for beside how often its tests are tried: after which failures, for how long in sum,
//! and what it means for the run that a test needed it.

use std::str::FromStr;

use serde::{Deserialize, Serialize};

use super::Cause;

/// What becomes of a run in which a test passed only when it was tried again, and none failed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum OnFlaky {
    /// It passed.
    #[default]
    Pass,
    /// It failed.
    Fail,
}

impl OnFlaky {
    /// Whether it is what a run has of which nobody says otherwise.
    pub fn is_default(&self) -> bool {
        *self == Self::default()
    }
}

impl FromStr for OnFlaky {
    type Err = String;

    fn from_str(word: &str) -> Result<Self, String> {
        match word {
            "pass" => Ok(Self::Pass),
            "fail" => Ok(Self::Fail),
            _ => Err("write pass or fail".into()),
        }
    }
}

/// The causes after which a test may be tried again. After the platform's errors it always is, and after a
/// failed setup never.
pub const RETRIED: [Cause; 7] = [
    Cause::Assertion,
    Cause::Panic,
    Cause::Trap,
    Cause::Exit,
    Cause::Timeout,
    Cause::Fuel,
    Cause::Memory,
];

/// Reads one of [`RETRIED`].
pub fn retried(word: &str) -> Result<Cause, String> {
    let found = RETRIED.into_iter().find(|cause| cause.as_str() == word);
    let words = RETRIED.map(Cause::as_str).join(", ");
    found.ok_or_else(|| format!("write one of {words}"))
}
