//! What an export reads beside what everybody reads, and what an import stores: things as they were elsewhere,
//! with their own times and numbers, of which nobody is told as if they happened now.

use std::io;
use std::path::Path;

use bytes::Bytes;
use jiff::Timestamp;

use super::batch::Batch;
use super::counting::Known;
use super::message::{Append, Change, Message, Restoring};
use super::{
    Receipt, Shared, Storage, StorageError, counting, keys, marks, record, runs, suites, values,
};
use crate::model::{Digest, EventKind, Fixtures, Marks, RunId, SuiteId, SuiteVersion};

/// A version as it was elsewhere.
#[derive(Clone, Debug)]
pub struct RestoredVersion {
    /// The version.
    pub version: SuiteVersion,
    /// When it was last uploaded.
    pub uploaded_at: Timestamp,
    /// Its component.
    pub component: Bytes,
    /// Its fixtures, with the archive.
    pub fixtures: Option<(Fixtures, Bytes)>,
}

/// What is stored as it was elsewhere.
pub(super) enum Restored {
    Version(Box<RestoredVersion>),
    Number(u64),
    Marks(Marks),
    Known(Vec<Known>),
}

impl Storage {
    /// The first suite behind this one, in the order of names, that has a version.
    pub fn suite_after(&self, suite: Option<&SuiteId>) -> Result<Option<SuiteId>, StorageError> {
        let from = suite.map_or(keys::VERSIONS.to_vec(), keys::after_versions);
        let Some(key) = self.shared().database.range(from..).keys().next() else { return Ok(None) };
        Ok(keys::read_version_suite(&key?))
    }

    /// When each version of a suite was last uploaded, the oldest first.
    pub fn uploads(&self, suite: &SuiteId) -> Result<Vec<(Timestamp, Digest)>, StorageError> {
        let start = keys::versions(suite);
        let keys = self.shared().database.scan(&start).keys().rev();
        let place = |key: sled::Result<sled::IVec>| match key {
            Ok(key) => keys::read_version_at(&key[start.len()..]).map(Ok),
            Err(error) => Some(Err(error.into())),
        };
        keys.filter_map(place).collect()
    }

    /// The highest number that a stored run of a suite ever had.
    pub fn highest_number(&self, suite: &SuiteId) -> Result<u64, StorageError> {
        self.shared().numbers.stored(&self.shared().database, suite)
    }

    /// The first run stored after this one, whatever its state.
    pub fn run_after(&self, run: Option<RunId>) -> Result<Option<RunId>, StorageError> {
        // Newer runs come first.
        let end = run.map_or([keys::RUNS, &[0xff; 17]].concat(), keys::run);
        let key = self.shared().database.range(keys::RUNS.to_vec()..end).keys().next_back();
        Ok(key.transpose()?.and_then(|key| keys::read_run(&key[keys::RUNS.len()..])))
    }

    /// The number of the last event of a run; 0 if there is no such run.
    pub fn last_seq(&self, run: RunId) -> Result<u64, StorageError> {
        let last = runs::last_event(&self.shared().database, run)?.map_or(0, |(seq, _)| seq);
        Ok(self.shared().pending.seq(run).map_or(last, |shown| shown.min(last)))
    }

    /// The first of the runs with an artifact, oldest first, of which this is true.
    pub fn first_with_artifact(
        &self,
        artifact: &Digest,
        mut is_it: impl FnMut(RunId) -> Result<bool, StorageError>,
    ) -> Result<Option<RunId>, StorageError> {
        for key in self.shared().database.scan(&keys::artifact_users(artifact)).keys() {
            if let Some(run) = keys::ending_run(&key?)
                && is_it(run)?
            {
                return Ok(Some(run));
            }
        }
        Ok(None)
    }

    /// Whether there is an artifact.
    pub fn has_artifact(&self, artifact: &Digest) -> bool {
        self.shared().artifacts.has(artifact)
    }

    /// A file of the store as `component` and `artifact` give it, for threads that may block.
    pub fn file(&self, digest: &Digest, artifact: bool) -> Result<Option<Bytes>, StorageError> {
        let Shared { components, artifacts, .. } = self.shared();
        match if artifact { None } else { components.get(digest)? } {
            Some(content) => Ok(Some(content)),
            None => artifacts.get(digest),
        }
    }

    /// Fails unless the disk has room for so many bytes more.
    pub fn check_room_for(&self, bytes: u64) -> Result<(), StorageError> {
        let Shared { free_space, settings, .. } = self.shared();
        let needed = settings.min_free_bytes.saturating_add(bytes);
        if free_space()? >= needed { Ok(()) } else { Err(StorageError::Full) }
    }

    /// The highest number that a run of a suite has or is about to get; 0 if it never had a run.
    pub fn number_given(&self, suite: &SuiteId) -> Result<u64, StorageError> {
        self.shared().numbers.highest(&self.shared().database, suite)
    }

    /// Gives runs of a suite no number up to this any more, if the highest is still `seen`; false if it is not.
    pub fn reserve_numbers(
        &self,
        suite: &SuiteId,
        seen: u64,
        highest: u64,
    ) -> Result<bool, StorageError> {
        self.shared().numbers.reserve(&self.shared().database, suite, seen, highest)
    }

    /// Queues an event as it happened elsewhere at `at`. Only the store hears of it; what it changes of the
    /// statistics is taken in if it `counts`.
    pub async fn restore_event(
        &self,
        run: RunId,
        kind: EventKind,
        at: Timestamp,
        counts: bool,
    ) -> Receipt {
        let (reply, receipt) = tokio::sync::oneshot::channel();
        match Append::new(run, kind, None, at) {
            Ok(append) => {
                let restoring = Some(Restoring { counts });
                let append = Append { restoring, ..append };
                let message = Message::Append(Box::new(append), reply);
                if let Err(refused) = self.send(message).await {
                    refused.0.fail(&self.shared().ended());
                }
            }
            // The receipt is here, so it is received.
            Err(error) => drop(reply.send(Err(std::sync::Arc::new(error)))),
        }
        receipt
    }

    /// Stores a version as it was elsewhere. False if it is there: it stays as it is.
    pub async fn restore_version(&self, version: RestoredVersion) -> Result<bool, StorageError> {
        let suite = version.version.suite.clone();
        let version = Restored::Version(Box::new(version));
        self.ask(Change::Restore { suite, restored: version }).await
    }

    /// Lets runs of a suite have higher numbers than this.
    pub async fn restore_number(&self, suite: SuiteId, highest: u64) -> Result<bool, StorageError> {
        self.ask(Change::Restore { suite, restored: Restored::Number(highest) }).await
    }

    /// Says of the tests of a suite what was said elsewhere. False if something is said here: it stays.
    pub async fn restore_marks(&self, suite: SuiteId, marks: Marks) -> Result<bool, StorageError> {
        self.ask(Change::Restore { suite, restored: Restored::Marks(marks) }).await
    }

    /// Has the statistics of a suite be what they were elsewhere, as far as is given.
    pub async fn restore_known(
        &self,
        suite: SuiteId,
        known: Vec<Known>,
    ) -> Result<(), StorageError> {
        self.ask(Change::Restore { suite, restored: Restored::Known(known) }).await.map(drop)
    }
}

/// Writes the files of a version, before it is stored.
pub(super) fn write_files(shared: &Shared, restored: &Restored) -> io::Result<()> {
    let Restored::Version(restored) = restored else { return Ok(()) };
    shared.components.put(&restored.version.digest, &restored.component)?;
    match &restored.fixtures {
        Some((fixtures, archive)) => shared.components.put(&fixtures.digest, archive),
        None => Ok(()),
    }
}

/// Adds to the batch what was elsewhere.
pub(super) fn stage(
    shared: &Shared,
    batch: &mut Batch,
    suite: SuiteId,
    restored: Restored,
) -> Result<bool, StorageError> {
    match restored {
        Restored::Number(highest) => {
            let stored = shared.numbers.stored(&shared.database, &suite)?;
            if highest > stored {
                batch.number(suite, highest);
            }
            Ok(highest > stored)
        }
        Restored::Marks(marks) => marks::stage_restored(shared, &mut batch.writes, &suite, &marks),
        Restored::Known(known) => {
            counting::stage_restored(shared, &mut batch.writes, &suite, known).map(|()| true)
        }
        Restored::Version(restored) => {
            let RestoredVersion { version, uploaded_at, fixtures, .. } = *restored;
            // Its files are there by now. If they are needed already, they stay.
            batch.needs(version.digest, 0);
            fixtures.iter().for_each(|(fixtures, _)| batch.needs(fixtures.digest, 0));
            let database = &shared.database;
            let writes = &mut batch.writes;
            if !suites::stage_restored(database, writes, &version, uploaded_at)? {
                return Ok(false);
            }
            if let Some((fixtures, _)) = &fixtures {
                let key = keys::fixtures(&suite, &version.digest);
                values::put(writes, &key, &record::encode(fixtures)?);
            }
            batch.needs(version.digest, 1);
            fixtures.iter().for_each(|(fixtures, _)| batch.needs(fixtures.digest, 1));
            Ok(true)
        }
    }
}

/// Makes a directory of the store that only its owner may enter, or what was renamed to it, durable.
pub fn private_dir(dir: &Path) -> io::Result<()> {
    super::durable::private_dir(dir)?;
    super::durable::sync_dir(dir)?;
    dir.parent().map_or(Ok(()), super::durable::sync_dir)
}
