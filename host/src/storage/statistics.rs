//! Reading statistics. What is not durable yet is not shown: see `pending`.

use super::{Page, Paged, Shared, Storage, StorageError, counting, cursor, keys, record, values};
use crate::model::SuiteId;
use crate::statistics::{Group, Sample, Series, State};

/// What is known of a test, with the results that are kept.
#[derive(Clone, Debug)]
pub struct Results {
    /// What is known of it.
    pub series: Series,
    /// Its results, the oldest first, with their places.
    pub kept: Vec<(u64, Sample)>,
}

/// A test of a suite, and what is known of it.
#[derive(Clone, Debug)]
pub struct StoredSeries {
    /// The suite.
    pub suite: SuiteId,
    /// The test's name.
    pub test: String,
    /// What is known of it.
    pub series: Series,
}

/// A group of failures.
#[derive(Clone, Debug)]
pub struct StoredGroup {
    /// What tells it from others.
    pub id: [u8; 16],
    /// What is known of it.
    pub group: Group,
}

impl Storage {
    /// What is known of a test; with an empty name, of the suite's own runs. None if there was no result.
    pub fn series(&self, suite: &SuiteId, test: &str) -> Result<Option<Series>, StorageError> {
        let record = visible(self.shared(), &keys::series(suite, test))?;
        record.as_deref().map(record::decode_series).transpose()
    }

    /// The same with the results that are kept. Costs as much as these are, however many there were.
    pub fn results(&self, suite: &SuiteId, test: &str) -> Result<Option<Results>, StorageError> {
        let shared = self.shared();
        let kept = counting::results(&shared.database, suite, test)?;
        // Read afterwards, so that no result is missing of what it knows.
        let Some(series) = self.series(suite, test)? else { return Ok(None) };
        let mut shown = Vec::with_capacity(kept.len());
        for (place, sample) in kept {
            match shared.pending.record(&keys::sample(suite, test, place)) {
                None => shown.push((place, sample)),
                Some(before) => {
                    let before = before.map(|bytes| record::decode(&bytes)).transpose()?;
                    shown.extend(before.map(|sample| (place, sample)));
                }
            }
        }
        shown.retain(|(place, _)| *place < series.next);
        Ok(Some(Results { series, kept: shown }))
    }

    /// What is known of each test of a suite, by name.
    pub fn tests(&self, suite: &SuiteId, page: &Page) -> Result<Paged<StoredSeries>, StorageError> {
        let start = keys::series_of(suite);
        cursor::page(&self.shared().database, &start, page, |rest| {
            let Ok(test) = std::str::from_utf8(rest) else { return Ok(None) };
            // The suite itself has no name.
            if test.is_empty() { Ok(None) } else { self.stored_series(suite, test) }
        })
    }

    /// The tests that are in a state, of all suites or one, by suite and name.
    pub fn tests_in(
        &self,
        state: State,
        suite: Option<&SuiteId>,
        page: &Page,
    ) -> Result<Paged<StoredSeries>, StorageError> {
        let start = keys::tests_in(state, suite);
        cursor::page(&self.shared().database, &start, page, |rest| {
            let found = match suite {
                Some(suite) => {
                    let test = std::str::from_utf8(rest).ok();
                    test.map(|test| (suite.clone(), test.to_owned()))
                }
                None => keys::read_test_in(rest),
            };
            let Some((suite, test)) = found else { return Ok(None) };
            let stored = self.stored_series(&suite, &test)?;
            // It may have changed since its place in the list was read.
            Ok(stored.filter(|stored| stored.series.state() == state))
        })
    }

    fn stored_series(
        &self,
        suite: &SuiteId,
        test: &str,
    ) -> Result<Option<StoredSeries>, StorageError> {
        let series = self.series(suite, test)?;
        Ok(series.map(|series| StoredSeries {
            suite: suite.clone(),
            test: test.to_owned(),
            series,
        }))
    }

    /// The groups of failures of a suite, the one that was last seen first.
    pub fn groups(&self, suite: &SuiteId, page: &Page) -> Result<Paged<StoredGroup>, StorageError> {
        let shared = self.shared();
        cursor::page(&shared.database, &keys::groups(suite), page, |rest| {
            let Some(id) = keys::read_group(rest) else { return Ok(None) };
            let record = visible(shared, &keys::group(suite, &id))?;
            let group = record.as_deref().map(record::decode).transpose()?;
            Ok(group.map(|group| StoredGroup { id, group }))
        })
    }
}

fn visible(shared: &Shared, key: &[u8]) -> Result<Option<sled::IVec>, StorageError> {
    let found = values::get(&shared.database, key)?;
    // Asked last: see `pending`.
    Ok(shared.pending.record(key).unwrap_or(found))
}
