//! Statistics as they were on another server.

use std::collections::HashMap;

use serde::{Deserialize, Serialize};

use super::{Changed, Keep, OpenGroup, Stage, read};
use crate::model::SuiteId;
use crate::statistics::{Group, Sample, Series};
use crate::storage::{Shared, StorageError, keys, record, values};

/// Something that is known of a suite's results, as it was known elsewhere.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub enum Known {
    /// A test, or the suite itself. Comes before its results.
    Series {
        /// The test; empty for the suite itself.
        test: String,
        /// What is known of it.
        series: Box<Series>,
    },
    /// Results that are kept of the last series, with their places.
    Results {
        /// The test; empty for the suite itself.
        test: String,
        /// The results.
        kept: Vec<(u64, Sample)>,
    },
    /// A group of failures.
    Group {
        /// What tells it from others.
        id: [u8; 16],
        /// What is known of it.
        group: Box<Group>,
    },
}

/// Adds to the batch what was known elsewhere, in place of what is known here of the same tests and groups.
pub(in crate::storage) fn stage_restored(
    shared: &Shared,
    batch: &mut sled::Batch,
    suite: &SuiteId,
    known: Vec<Known>,
) -> Result<(), StorageError> {
    let (database, settings) = (&shared.database, &shared.settings);
    let (metrics, mut before) = (&shared.metrics, HashMap::new());
    let mut stage = Stage { database, settings, metrics, batch, before: &mut before };
    let mut new = Changed::default();
    for known in known {
        match known {
            Known::Series { test, series } => {
                let stored = values::get(database, &keys::series(suite, &test))?;
                let was = stored.as_deref().map(record::decode_series).transpose()?;
                for key in database.scan(&keys::samples(suite, &test)).keys() {
                    stage.remove(key?.to_vec())?;
                }
                stage.series(suite, &test, stored, &series)?;
                if test.is_empty() {
                    continue;
                }
                new.tests += u64::from(was.is_none());
                let (was, now) = (was.map(|it| it.state()).unwrap_or_default(), series.state());
                if was != now {
                    stage.state(suite, &test, was, now);
                    metrics.tests_in_state(suite, was.as_str(), -1);
                    metrics.tests_in_state(suite, now.as_str(), 1);
                }
            }
            Known::Results { test, kept } => {
                for (place, sample) in kept {
                    let key = keys::sample(suite, &test, place);
                    values::put(stage.batch, &key, &record::encode(&sample)?);
                }
            }
            Known::Group { id, group } => {
                let before: Option<Group> = read(database, &keys::group(suite, &id))?;
                new.groups += i64::from(before.is_none());
                stage.group(suite, &id, &OpenGroup { before, now: *group })?;
            }
        }
    }
    let keep = Keep { suite, tests: &HashMap::new(), groups: &HashMap::new() };
    for state in stage.bound(&keep, new)? {
        metrics.tests_in_state(suite, state.as_str(), -1);
    }
    Ok(())
}
