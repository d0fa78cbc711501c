//! Where an executor's events go: to the store, or, headless, to whoever listens.

use std::sync::Arc;

use crate::model::{EventKind, RunId};
use crate::storage::{Receipt, Storage, StorageError};

/// Takes the events of one run, in order.
pub(super) trait Sink: Send + Sync {
    /// Takes one event; waits only while it has no room.
    fn send(&self, kind: EventKind) -> impl Future<Output = ()> + Send;

    /// Takes the last event; returns when it is kept.
    fn end(&self, kind: EventKind) -> impl Future<Output = Result<(), Arc<StorageError>>> + Send;
}

/// Sends a run's events to the store.
pub(super) struct StorageSink {
    pub(super) storage: Storage,
    pub(super) run: RunId,
}

impl Sink for StorageSink {
    /// Does not wait until the event is durable: the store keeps the order, and nobody hears of the
    /// event before it is. Waiting would cost a disk flush for each attempt.
    async fn send(&self, kind: EventKind) {
        self.storage.tell(self.run, kind).await;
    }

    async fn end(&self, kind: EventKind) -> Result<(), Arc<StorageError>> {
        stored(self.storage.append(self.run, kind, None).await).await.map(drop)
    }
}

/// Waits until an appended event is durable, and gives its number.
pub(super) async fn stored(receipt: Receipt) -> Result<u64, Arc<StorageError>> {
    match receipt.await {
        Ok(result) => result,
        Err(_) => Err(Arc::new(StorageError::Broken("it is closed".into()))),
    }
}
