//! Reads runs on behalf of plugins, in the words of a notice.

use std::sync::Arc;

use crate::model::NoticeRun;
use crate::storage::{Page, RunQuery, Storage, StorageError};
use crate::wasm::Runs;

/// What a plugin reads runs by.
pub(super) struct Reader {
    pub(super) storage: Storage,
    pub(super) base: Arc<str>,
}

fn failed(error: &StorageError) -> String {
    format!("failed to {error}")
}

impl Runs for Reader {
    fn run(&self, id: &str) -> Result<Option<String>, String> {
        let Ok(id) = id.parse() else { return Ok(None) };
        let run = self.storage.run(id).map_err(|error| failed(&error))?;
        let json = run.map(|run| serde_json::to_string(&NoticeRun::of(&run, &self.base)));
        json.transpose().map_err(|error| error.to_string())
    }

    fn runs(&self, suite: &str, limit: usize) -> Result<Vec<String>, String> {
        let suite = suite.parse().map_err(|error| format!("{error}"))?;
        let query = RunQuery { suite: Some(suite), ..RunQuery::default() };
        let page = Page { limit: limit.max(1), cursor: None };
        let found = self.storage.runs(&query, &page).map_err(|error| failed(&error))?;
        let mut runs = Vec::with_capacity(found.items.len());
        for summary in found.items {
            runs.extend(self.run(&summary.id.to_string())?);
        }
        Ok(runs)
    }
}
