//! What operators say of tests without another version of their suite: what may be said, and of which tests.

use super::Runner;
use crate::model::{Mark, PlanError, SuiteId};
use crate::storage::StorageError;

/// Why a mark was not set or taken away.
#[derive(Debug, thiserror::Error)]
pub enum MarkError {
    /// There is no such suite.
    #[error("there is no suite {0}")]
    NoSuite(SuiteId),
    /// It has no such test.
    #[error("the newest version of the suite {0} has no test {1:?}")]
    NoTest(SuiteId, String),
    /// There is nothing to take away.
    #[error("nothing is said of the test {1:?} of {0}")]
    NotMarked(SuiteId, String),
    /// A text is too long.
    #[error(transparent)]
    Text(PlanError),
    /// The store did not do it.
    #[error(transparent)]
    Storage(#[from] StorageError),
}

impl Runner {
    /// Says something of a test from the next run on, in place of what was said before. Durable when it
    /// returns.
    pub async fn mark(&self, suite: &SuiteId, test: &str, mark: Mark) -> Result<(), MarkError> {
        let storage = &self.shared.storage;
        let version = storage.newest_version(suite)?;
        let version = version.ok_or_else(|| MarkError::NoSuite(suite.clone()))?;
        if !version.description.tests.iter().any(|known| known.name == test) {
            return Err(MarkError::NoTest(suite.clone(), test.into()));
        }
        let by = mark.by.as_deref().unwrap_or_default();
        for (field, text) in [("reason", mark.reason.as_str()), ("by", by)] {
            let checked = self.shared.settings.bounds.check_text(field, text);
            checked.inspect_err(|error| self.count_refusal(error)).map_err(MarkError::Text)?;
        }
        storage.mark(suite, test.into(), Some(mark)).await?;
        Ok(())
    }

    /// Says nothing of a test any more.
    pub async fn unmark(&self, suite: &SuiteId, test: &str) -> Result<(), MarkError> {
        match self.shared.storage.mark(suite, test.into(), None).await? {
            true => Ok(()),
            false => Err(MarkError::NotMarked(suite.clone(), test.into())),
        }
    }
}
