//! What was taken out of the statistics.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::schemas;
use crate::model::{ClearedAttempt, Clearing, TestStatus};

/// Why something counts in no statistics, since when, and who said so.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct ClearingView {
    /// Why.
    pub reason: String,
    /// Who, as they say.
    pub by: Option<String>,
    /// When.
    #[schema(value_type = String, format = DateTime)]
    pub at: Timestamp,
}

impl From<&Clearing> for ClearingView {
    fn from(why: &Clearing) -> Self {
        Self { reason: why.reason.clone(), by: why.by.clone(), at: why.at }
    }
}

/// An attempt that was taken out of the statistics.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct ClearedAttemptView {
    /// In which round.
    pub round: u32,
    /// Which attempt in this round.
    pub number: u32,
    /// How it ended.
    #[schema(schema_with = schemas::test_status)]
    pub status: TestStatus,
}

impl From<ClearedAttempt> for ClearedAttemptView {
    fn from(ClearedAttempt { round, number, status }: ClearedAttempt) -> Self {
        Self { round, number, status }
    }
}
