//! From uploaded bytes to a stored version: check, compile, ask what it is, store.

use bytes::Bytes;
use tokio::sync::watch;

use super::Runner;
use crate::compile::CompileError;
use crate::model::{
    Introduction, LimitsPatch, Name, Policy, Protocol, Step, SuiteId, SuiteVersion,
};
use crate::storage::{EarlierAnswer, IdempotencyKey, StorageError};
use crate::wasm::DescribeError;

/// Why an upload was not accepted. Nothing of it is kept.
#[derive(Debug, thiserror::Error)]
pub enum UploadError {
    /// It is no suite, or could not be compiled.
    #[error(transparent)]
    Compile(#[from] CompileError),
    /// It did not say well what it is.
    #[error(transparent)]
    Describe(#[from] DescribeError),
    /// The same program is there, understood in another way.
    #[error(
        "upload the program: {suite} has it already with the protocol {there}; give it another name, \
         or delete the suite first"
    )]
    OtherProtocol {
        /// The suite.
        suite: SuiteId,
        /// Its protocol there.
        there: Protocol,
    },
    /// It could not be stored.
    #[error(transparent)]
    Storage(#[from] StorageError),
}

impl Runner {
    /// Takes in a suite's component, or a program; durable when it returns. True in the second place if
    /// the version is new; either way it is the newest now. `steps` hears what is done meanwhile.
    pub async fn upload(
        &self,
        bytes: Bytes,
        introduction: Introduction,
        key: Option<IdempotencyKey>,
        steps: watch::Sender<Step>,
    ) -> Result<(SuiteVersion, bool), UploadError> {
        if let Some(answer) = self.uploaded_before(key.as_ref())? {
            return Ok(answer);
        }
        let version = self.inspect(bytes.clone(), introduction, steps).await?;
        loop {
            let (put, bytes) = (version.clone(), bytes.clone());
            match self.shared.storage.put_version(put, bytes, key.clone()).await {
                Ok(true) => return Ok((version, true)),
                // Another upload of the same bytes may have been first: what it stored is what is there.
                Ok(false) => {
                    let stored = self.shared.storage.version(&version.suite, &version.digest)?;
                    return Ok((stored.unwrap_or(version), false));
                }
                // The same request came twice at the same time, and the other was first. Unless what it
                // made was deleted since: then the key is free again.
                Err(StorageError::KeyTaken(_)) => {
                    if let Some(answer) = self.uploaded_before(key.as_ref())? {
                        return Ok(answer);
                    }
                }
                Err(error) => return Err(error.into()),
            }
        }
    }

    /// What an upload would come to: checked, compiled and asked what it is, and not stored.
    pub async fn inspect(
        &self,
        bytes: Bytes,
        introduction: Introduction,
        steps: watch::Sender<Step>,
    ) -> Result<SuiteVersion, UploadError> {
        let shared = &self.shared;
        let compiler = shared.compiler.reporting(steps.clone());
        let inspection = compiler.inspect(bytes.clone()).await?;
        let digest = inspection.digest;
        // Described in the engine in which it will run by default; fuel bounds describe as well.
        let content = std::future::ready(Ok(bytes.clone()));
        let language = inspection.language;
        let metered = shared.sandbox.meters(&LimitsPatch::default(), language.as_deref());
        let loaded = compiler.load(digest, metered, content).await?;
        steps.send_replace(Step::Describe);
        let sandbox = shared.sandbox.clone();
        let (introduced, hint) = (introduction.clone(), language.clone());
        // On the guests' runtime, like every call into a component.
        let described = shared
            .guests
            .spawn(async move { sandbox.describe(&loaded, &introduced, hint.as_deref()).await });
        let described = described
            .await
            .map_err(|panic| DescribeError::Host(format!("describe it: {panic}")))??;
        let namespace = introduction.namespace.or(described.namespace);
        let namespace = namespace.unwrap_or_else(Name::default_namespace);
        let suite = SuiteId { namespace, name: described.name };
        let earlier = shared.storage.version(&suite, &digest)?;
        if let Some(there) = earlier.as_ref().and_then(|earlier| earlier.program)
            && described.program != Some(there)
        {
            return Err(UploadError::OtherProtocol { suite, there });
        }
        Ok(earlier.unwrap_or(SuiteVersion {
            suite,
            digest,
            description: described.description,
            imports: inspection.imports,
            size_bytes: inspection.size_bytes,
            created_at: jiff::Timestamp::now(),
            program: described.program,
            language,
        }))
    }

    /// What an earlier upload with the same key made; none if that was deleted since.
    fn uploaded_before(
        &self,
        key: Option<&IdempotencyKey>,
    ) -> Result<Option<(SuiteVersion, bool)>, StorageError> {
        let storage = &self.shared.storage;
        let earlier = key.map(|key| storage.earlier_answer(key)).transpose()?.flatten();
        let Some(EarlierAnswer::Version { suite, version, new }) = earlier else { return Ok(None) };
        Ok(storage.version(&suite, &version)?.map(|version| (version, new)))
    }

    /// Grants a suite what `policy` says, in place of what it was granted before.
    pub async fn grant(&self, suite: &SuiteId, policy: &Policy) -> Result<(), StorageError> {
        self.shared.storage.put_policy(suite, policy).await
    }
}
