//! What is said of tests without another version of their suite: one record for each suite.

use std::collections::HashMap;

use super::durable::Database;
use super::message::Change;
use super::{Shared, Storage, StorageError, keys, record, values};
use crate::model::{Mark, Marks, SuiteId};

impl Storage {
    /// The marked tests of a suite, those of the configuration included.
    pub fn marks(&self, suite: &SuiteId) -> Result<Marks, StorageError> {
        let mut marks = read(&self.shared().database, suite)?;
        if let Some(declared) = self.declared(suite) {
            marks.extend(declared.clone());
        }
        Ok(marks)
    }

    /// Has tests be marked as the configuration says, whatever else is said of them. Said once, before there
    /// are runs; it is not stored.
    pub fn declare_marks(&self, declared: HashMap<SuiteId, Marks>) {
        // Whoever says it again has said it already.
        let _ = self.shared().declared_marks.set(declared);
    }

    fn declared(&self, suite: &SuiteId) -> Option<&Marks> {
        self.shared().declared_marks.get()?.get(suite)
    }

    /// Marks a test of a suite, which must exist, in place of what was said of it; none says nothing of it
    /// any more. False if nothing was said of it before.
    pub async fn mark(
        &self,
        suite: &SuiteId,
        test: String,
        mark: Option<Mark>,
    ) -> Result<bool, StorageError> {
        if self.declared(suite).is_some_and(|marks| marks.contains_key(&test)) {
            return Err(StorageError::MarkDeclared(test));
        }
        let suite = suite.clone();
        self.change(Change::Mark { suite, test, mark: mark.map(Box::new) }).await
    }
}

fn read(database: &Database, suite: &SuiteId) -> Result<Marks, StorageError> {
    let record = values::get(database, &keys::marks(suite))?;
    Ok(record.map(|bytes| record::decode(&bytes)).transpose()?.unwrap_or_default())
}

/// Adds the change to the batch.
pub(super) fn stage(
    shared: &Shared,
    batch: &mut sled::Batch,
    suite: &SuiteId,
    test: String,
    mark: Option<Mark>,
) -> Result<bool, StorageError> {
    let database = &shared.database;
    if database.scan(&keys::versions(suite)).next().is_none() {
        return Err(StorageError::NoSuite(suite.clone()));
    }
    let mut marks = read(database, suite)?;
    let before = match mark {
        Some(mark) => marks.insert(test, mark),
        None => marks.remove(&test),
    };
    let most = shared.settings.marks;
    if marks.len() as u64 > most {
        shared.metrics.server_limit_hit("storage.marks");
        return Err(StorageError::TooManyMarks(most));
    }
    let key = keys::marks(suite);
    values::remove(database, batch, &key)?;
    if !marks.is_empty() {
        values::put(batch, &key, &record::encode(&marks)?);
    }
    Ok(before.is_some())
}

/// Says what was said elsewhere; false if something is said here.
pub(super) fn stage_restored(
    shared: &Shared,
    batch: &mut sled::Batch,
    suite: &SuiteId,
    marks: &Marks,
) -> Result<bool, StorageError> {
    let key = keys::marks(suite);
    if marks.is_empty() || shared.database.get_raw(&key)?.is_some() {
        return Ok(false);
    }
    values::put(batch, &key, &record::encode(marks)?);
    Ok(true)
}
