//! The numbers of runs in their suites. They are given from memory, and stored with the run that
//! bears them: a number whose run was never stored may be given again after a restart, as nobody has
//! seen it.

use std::collections::HashMap;
use std::sync::{Mutex, MutexGuard, PoisonError};

use super::durable::Database;
use super::{StorageError, keys, record};
use crate::model::SuiteId;

/// The highest number given of each suite, where it is higher than the one stored.
#[derive(Default)]
pub(super) struct Numbers(Mutex<HashMap<SuiteId, u64>>);

impl Numbers {
    pub(super) fn next(&self, database: &Database, suite: &SuiteId) -> Result<u64, StorageError> {
        let mut given = self.given();
        let highest = match given.get(suite) {
            Some(highest) => *highest,
            None => self.stored(database, suite)?,
        };
        given.insert(suite.clone(), highest + 1);
        Ok(highest + 1)
    }

    /// The highest number that was given; 0 if there is none.
    pub(super) fn highest(
        &self,
        database: &Database,
        suite: &SuiteId,
    ) -> Result<u64, StorageError> {
        match self.given().get(suite) {
            Some(highest) => Ok(*highest),
            None => self.stored(database, suite),
        }
    }

    /// Gives no number up to `highest` any more, if the last one given is `seen`; false if it is not.
    pub(super) fn reserve(
        &self,
        database: &Database,
        suite: &SuiteId,
        seen: u64,
        highest: u64,
    ) -> Result<bool, StorageError> {
        let mut given = self.given();
        let now = match given.get(suite) {
            Some(now) => *now,
            None => self.stored(database, suite)?,
        };
        if now == seen && highest > now {
            given.insert(suite.clone(), highest);
        }
        Ok(now == seen)
    }

    /// The highest number that is stored; 0 if there is none.
    pub(super) fn stored(&self, database: &Database, suite: &SuiteId) -> Result<u64, StorageError> {
        let record = database.get_raw(&keys::highest_number(suite))?;
        Ok(record.map(|bytes| record::decode(&bytes)).transpose()?.unwrap_or_default())
    }

    /// A run with this number is stored.
    pub(super) fn stored_up_to(&self, suite: &SuiteId, number: u64) {
        let mut given = self.given();
        if given.get(suite).is_some_and(|highest| *highest <= number) {
            given.remove(suite);
        }
    }

    fn given(&self) -> MutexGuard<'_, HashMap<SuiteId, u64>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
