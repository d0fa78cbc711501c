//! Suites, their versions and their policies. A policy's secrets are stored in clear: the directory
//! is open to the server's user alone.

use jiff::{SignedDuration, Timestamp};

use super::durable::Database;
use super::{Page, Paged, Storage, StorageError, cursor, fixtures, keys, record, values};
use crate::model::{Digest, Fixtures, Policy, SuiteId, SuiteVersion};

impl Storage {
    /// One version of a suite.
    pub fn version(
        &self,
        suite: &SuiteId,
        digest: &Digest,
    ) -> Result<Option<SuiteVersion>, StorageError> {
        version(&self.shared().database, suite, digest)
    }

    /// The version of a suite that was uploaded last.
    pub fn newest_version(&self, suite: &SuiteId) -> Result<Option<SuiteVersion>, StorageError> {
        match newest(&self.shared().database, suite)? {
            Some((_, digest)) => self.version(suite, &digest),
            None => Ok(None),
        }
    }

    /// The versions of a suite, newest first.
    pub fn versions(
        &self,
        suite: &SuiteId,
        page: &Page,
    ) -> Result<Paged<SuiteVersion>, StorageError> {
        cursor::page(&self.shared().database, &keys::versions(suite), page, |rest| {
            match keys::read_version_at(rest) {
                Some((_, digest)) => self.version(suite, &digest),
                None => Ok(None),
            }
        })
    }

    /// The newest version of each suite, the suite with the newest first.
    pub fn suites(&self, page: &Page) -> Result<Paged<SuiteVersion>, StorageError> {
        cursor::page(&self.shared().database, keys::SUITES, page, |rest| match keys::read_suite_at(
            rest,
        ) {
            Some(suite) => self.newest_version(&suite),
            None => Ok(None),
        })
    }

    /// What the operator granted to a suite; none if nothing was ever said.
    pub fn policy(&self, suite: &SuiteId) -> Result<Option<Policy>, StorageError> {
        stored_policy(&self.shared().database, suite)
    }
}

pub(super) fn version(
    database: &Database,
    suite: &SuiteId,
    digest: &Digest,
) -> Result<Option<SuiteVersion>, StorageError> {
    let record = values::get(database, &keys::version(suite, digest))?;
    record.map(|bytes| record::decode(&bytes)).transpose()
}

/// Whether there is a version of the suite.
pub(super) fn exists(database: &Database, suite: &SuiteId) -> Result<bool, StorageError> {
    Ok(newest(database, suite)?.is_some())
}

/// When the newest version stands in the list as uploaded, and its digest.
fn newest(
    database: &Database,
    suite: &SuiteId,
) -> Result<Option<(Timestamp, Digest)>, StorageError> {
    let start = keys::versions(suite);
    let first = database.scan(&start).keys().next().transpose()?;
    Ok(first.and_then(|key| keys::read_version_at(&key[start.len()..])))
}

/// Adds a version to the batch, or makes it the newest again; false if it is there already. A batch may
/// hold one change of a suite.
pub(super) fn stage_version(
    database: &Database,
    batch: &mut sled::Batch,
    version: &SuiteVersion,
) -> Result<(bool, Option<Fixtures>), StorageError> {
    let suite = &version.suite;
    let key = keys::version(suite, &version.digest);
    let new = database.get_raw(&key)?.is_none();
    if new {
        values::put(batch, &key, &record::encode(version)?);
    } else if let Some(place) = place(database, suite, &version.digest)? {
        batch.remove(place);
    }
    let newest = newest(database, suite)?;
    let mut inherited = None;
    if let Some((_, before)) = newest.filter(|_| new) {
        inherited = fixtures::stage_inherited(database, batch, suite, &before, &version.digest)?;
    }
    // The last upload is the newest, even if the clock was set back since the one before.
    let now = Timestamp::now();
    let at = newest.map_or(now, |(before, _)| {
        now.max(before.saturating_add(SignedDuration::from_micros(1)).unwrap_or(before))
    });
    if let Some((before, _)) = newest {
        batch.remove(keys::suite_at(before, suite));
    }
    batch.insert(keys::version_at(suite, at, &version.digest), &[]);
    batch.insert(keys::suite_at(at, suite), &[]);
    Ok((new, inherited))
}

/// Adds a version as it was elsewhere, where its last upload was `at`; false if it is there already.
pub(super) fn stage_restored(
    database: &Database,
    batch: &mut sled::Batch,
    version: &SuiteVersion,
    at: Timestamp,
) -> Result<bool, StorageError> {
    let SuiteVersion { suite, digest, .. } = version;
    let key = keys::version(suite, digest);
    if database.get_raw(&key)?.is_some() {
        return Ok(false);
    }
    values::put(batch, &key, &record::encode(version)?);
    batch.insert(keys::version_at(suite, at, digest), &[]);
    let before = newest(database, suite)?.map(|(before, _)| before);
    if before.is_none_or(|before| before < at) {
        if let Some(before) = before {
            batch.remove(keys::suite_at(before, suite));
        }
        batch.insert(keys::suite_at(at, suite), &[]);
    }
    Ok(true)
}

/// The key that puts a version in its place in the list of its suite's versions.
fn place(
    database: &Database,
    suite: &SuiteId,
    digest: &Digest,
) -> Result<Option<sled::IVec>, StorageError> {
    let start = keys::versions(suite);
    let is_its = |key: &sled::IVec| {
        keys::read_version_at(&key[start.len()..]).is_some_and(|(_, of)| of == *digest)
    };
    // Any error ends the search.
    let found = database.scan(&start).keys().find(|key| key.as_ref().map_or(true, is_its));
    Ok(found.transpose()?)
}

/// Adds a policy to the batch, in place of the one before; false if that is not `before`. The suite must
/// exist, so that no policy outlives its suite.
pub(super) fn stage_policy(
    database: &Database,
    batch: &mut sled::Batch,
    suite: &SuiteId,
    before: Option<&Policy>,
    policy: &[u8],
) -> Result<bool, StorageError> {
    if newest(database, suite)?.is_none() {
        return Err(StorageError::NoSuite(suite.clone()));
    }
    if let Some(before) = before
        && stored_policy(database, suite)?.unwrap_or_default() != *before
    {
        return Ok(false);
    }
    let key = keys::policy(suite);
    values::remove(database, batch, &key)?;
    values::put(batch, &key, policy);
    Ok(true)
}

fn stored_policy(database: &Database, suite: &SuiteId) -> Result<Option<Policy>, StorageError> {
    let record = values::get(database, &keys::policy(suite))?;
    record.map(|bytes| record::decode(&bytes)).transpose()
}

/// Forgets a suite with the batch; false if there was none. `gone` is told of each version. The highest run
/// number stays, so that no number is given twice.
pub(super) fn stage_removal(
    database: &Database,
    batch: &mut sled::Batch,
    suite: &SuiteId,
    mut gone: impl FnMut(Digest),
) -> Result<bool, StorageError> {
    let policy = keys::policy(suite);
    let mut found = database.get_raw(&policy)?.is_some();
    values::remove(database, batch, &policy)?;
    values::remove(database, batch, &keys::marks(suite))?;
    if let Some((at, _)) = newest(database, suite)? {
        batch.remove(keys::suite_at(at, suite));
        found = true;
    }
    let start = keys::versions(suite);
    for key in database.scan(&start).keys() {
        let key = key?;
        if let Some((_, digest)) = keys::read_version_at(&key[start.len()..]) {
            values::remove(database, batch, &keys::version(suite, &digest))?;
            gone(digest);
            let fixtures = fixtures::stage_removal(database, batch, suite, &digest)?;
            fixtures.into_iter().for_each(|fixtures| gone(fixtures.digest));
        }
        batch.remove(key);
    }
    Ok(found)
}
