//! Which fixtures each version of a suite has. The archives are files like the components.
//!
//! A version's fixtures can be set anew, and one that is uploaded takes over those of the newest before it.
//! A run keeps those that it was asked for with, so an archive is needed for as long as a version or an
//! unfinished run names it.

use bytes::Bytes;

use super::durable::Database;
use super::message::Change;
use super::{Storage, StorageError, keys, record, values};
use crate::model::{Digest, Fixtures, SuiteId};

impl Storage {
    /// The fixtures of a version; none if it has none, or there is no such version.
    pub fn fixtures(
        &self,
        suite: &SuiteId,
        version: &Digest,
    ) -> Result<Option<Fixtures>, StorageError> {
        of(&self.shared().database, suite, version)
    }

    /// Sets the fixtures of a version, which must exist. Durable when it returns.
    pub async fn put_fixtures(
        &self,
        suite: &SuiteId,
        version: Digest,
        fixtures: Fixtures,
        archive: Bytes,
    ) -> Result<(), StorageError> {
        let content = (fixtures.digest, archive);
        self.shared().check_new_work()?;
        self.write_ahead(|shared| &shared.components, vec![content.clone()]).await;
        let (suite, fixtures) = (suite.clone(), Some((Box::new(fixtures), content.1)));
        self.change(Change::PutFixtures { suite, version, fixtures }).await.map(drop)
    }

    /// Leaves a version without fixtures. False if it had none.
    pub async fn delete_fixtures(
        &self,
        suite: &SuiteId,
        version: Digest,
    ) -> Result<bool, StorageError> {
        let suite = suite.clone();
        self.change(Change::PutFixtures { suite, version, fixtures: None }).await
    }
}

fn of(
    database: &Database,
    suite: &SuiteId,
    version: &Digest,
) -> Result<Option<Fixtures>, StorageError> {
    let record = values::get(database, &keys::fixtures(suite, version))?;
    record.map(|bytes| record::decode(&bytes)).transpose()
}

/// Adds the fixtures of a version to the batch, in place of those before, which it gives.
pub(super) fn stage(
    database: &Database,
    batch: &mut sled::Batch,
    suite: &SuiteId,
    version: &Digest,
    fixtures: Option<&Fixtures>,
) -> Result<Option<Fixtures>, StorageError> {
    if database.get_raw(&keys::version(suite, version))?.is_none() {
        return Err(StorageError::NoSuite(suite.clone()));
    }
    let before = of(database, suite, version)?;
    put(batch, suite, version, fixtures)?;
    Ok(before)
}

/// Gives a version that is new those of another, and says which.
pub(super) fn stage_inherited(
    database: &Database,
    batch: &mut sled::Batch,
    suite: &SuiteId,
    from: &Digest,
    to: &Digest,
) -> Result<Option<Fixtures>, StorageError> {
    let fixtures = of(database, suite, from)?;
    put(batch, suite, to, fixtures.as_ref())?;
    Ok(fixtures)
}

/// Forgets those of a version that goes, and says which they were.
pub(super) fn stage_removal(
    database: &Database,
    batch: &mut sled::Batch,
    suite: &SuiteId,
    version: &Digest,
) -> Result<Option<Fixtures>, StorageError> {
    let fixtures = of(database, suite, version)?;
    put(batch, suite, version, None)?;
    Ok(fixtures)
}

fn put(
    batch: &mut sled::Batch,
    suite: &SuiteId,
    version: &Digest,
    fixtures: Option<&Fixtures>,
) -> Result<(), StorageError> {
    let key = keys::fixtures(suite, version);
    // A record is far smaller than a part.
    match fixtures {
        Some(fixtures) => values::put(batch, &key, &record::encode(fixtures)?),
        None => batch.remove(key),
    }
    Ok(())
}
