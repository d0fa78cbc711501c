//! Runs that show whether a test is mended: as many rounds of it as it takes to be sure.

use super::{Runner, SubmitError};
use crate::model::{Digest, Run, RunId, RunRequest, SuiteId};
use crate::statistics::Series;
use crate::storage::{IdempotencyKey, StorageError};

/// What a run that confirms a test is asked for.
#[derive(Clone, Debug, Default)]
pub struct ConfirmOrder {
    /// Which version; the newest if none is given.
    pub version: Option<Digest>,
    /// What is tested; as in the last result if nothing is given.
    pub reference: Option<String>,
    /// Who asks, as they say.
    pub initiated_by: Option<String>,
}

/// Why no run was started.
#[derive(Debug, thiserror::Error)]
pub enum ConfirmError {
    /// Nothing is known of it.
    #[error("there is no result of a test {1:?} of the suite {0}")]
    NoResult(SuiteId, String),
    /// It needs none.
    #[error("no more runs of {0:?} are needed: as far as is known it is mended")]
    Confirmed(String),
    /// The run was not accepted.
    #[error(transparent)]
    Submit(#[from] SubmitError),
}

impl From<StorageError> for ConfirmError {
    fn from(error: StorageError) -> Self {
        Self::Submit(error.into())
    }
}

impl Runner {
    /// Starts one run with as many rounds of a test as it takes to be sure that it is mended, each of one
    /// attempt, with the parameters of the last result.
    pub async fn confirm(
        &self,
        suite: SuiteId,
        test: &str,
        order: ConfirmOrder,
        key: Option<IdempotencyKey>,
    ) -> Result<RunId, ConfirmError> {
        let series = self.shared.storage.series(&suite, test)?;
        let series = series.ok_or_else(|| ConfirmError::NoResult(suite.clone(), test.into()))?;
        let more = series.confirmation().more;
        if more == 0 {
            return Err(ConfirmError::Confirmed(test.into()));
        }
        let RunRequest { reference, params, .. } = self.last_request(&series)?;
        let request = RunRequest {
            version: order.version,
            reference: order.reference.or(reference),
            initiated_by: order.initiated_by,
            params,
            filter: Some(format!("^{}$", regex::escape(test))),
            max_attempts: Some(1),
            repeat: Some(u32::try_from(more).unwrap_or(u32::MAX)),
            ..RunRequest::default()
        };
        Ok(self.submit(suite, request, key).await?)
    }

    /// What the run of the last result was asked for; its reference alone if it is gone.
    fn last_request(&self, series: &Series) -> Result<RunRequest, StorageError> {
        let Some(last) = &series.last else { return Ok(RunRequest::default()) };
        let first = self.shared.storage.events(last.run, 0, 1)?;
        let request = Run::fold(&first).map(|run| run.spec.request);
        let reference = last.reference.clone();
        Ok(request.unwrap_or(RunRequest { reference, ..RunRequest::default() }))
    }
}
