//! The files that versions bring along: taken in, and given to a run before it starts.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;

use super::{Runner, Shared};
use crate::model::{Digest, Fixtures, Run, SuiteId};
use crate::storage::StorageError;
use crate::wasm::{FixtureFiles, FixturesError, Sandbox};

/// Why an archive was not accepted. Nothing of it is kept.
#[derive(Debug, thiserror::Error)]
pub enum PutFixturesError {
    /// It is no archive that can be taken.
    #[error(transparent)]
    Archive(#[from] FixturesError),
    /// It could not be stored.
    #[error(transparent)]
    Storage(#[from] StorageError),
}

impl Runner {
    /// Takes in the files of a version, which must exist, in place of those that it had. Durable when it
    /// returns.
    pub async fn put_fixtures(
        &self,
        suite: &SuiteId,
        version: Digest,
        archive: Bytes,
    ) -> Result<Fixtures, PutFixturesError> {
        let fixtures = measured(&self.shared.sandbox, &archive).await?;
        let storage = &self.shared.storage;
        storage.put_fixtures(suite, version, fixtures.clone(), archive).await?;
        Ok(fixtures)
    }
}

/// What there is to know of an archive.
pub(super) async fn measured(
    sandbox: &Sandbox,
    archive: &Bytes,
) -> Result<Fixtures, FixturesError> {
    let contents = sandbox.measure_fixtures(archive.clone()).await?;
    Ok(Fixtures {
        digest: Digest::of(archive),
        archive_bytes: archive.len() as u64,
        files: contents.files,
        unpacked_bytes: contents.bytes,
    })
}

/// The files of a run. Waits for room for them, as long as the run itself may take.
pub(super) async fn of(shared: &Shared, run: &Run) -> Result<Option<Arc<FixtureFiles>>, String> {
    let Some(fixtures) = &run.spec.fixtures else { return Ok(None) };
    let archive = async {
        let archive = shared.storage.component(&fixtures.digest).await;
        let archive = archive.map_err(|error| error.to_string())?;
        archive.ok_or_else(|| "their archive was replaced or deleted".to_owned())
    };
    let taken = shared.sandbox.take_fixtures(fixtures, archive);
    let patience = Duration::from_millis(run.spec.timeout_ms);
    match tokio::time::timeout(patience, taken).await {
        Ok(files) => files.map(Some).map_err(|error| format!("failed to {error}")),
        Err(_) => Err("no room for its fixtures was free within its deadline (setting \
             `sandbox.fixtures.memory_bytes`)"
            .to_owned()),
    }
}
