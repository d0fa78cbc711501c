//! The store: suites, runs and files on disk, behind one handle. The only module that names sled.
//!
//! Everything is written by one thread (`ledger`), which makes many writes durable with one flush.
//! Everything is read directly, and quickly enough to be called from async code.
//!
//! | file | |
//! | --- | --- |
//! | `keys` | what each key is |
//! | `record`, `values` | how a record becomes bytes, and bytes become small values |
//! | `durable` | sled, opened and flushed so that it holds |
//! | `blobs` | components and artifacts as files |
//! | `format` | what the whole store has in it, by version |
//! | `components` | which components and archives are needed |
//! | `suites`, `fixtures`, `marks`, `runs`, `schedules`, `triggers`, `plugins`, `idempotency`, `numbers` | one kind of record each |
//! | `counting`, `recount`, `statistics` | results and failures: kept up to date, made again, read |
//! | `pins`, `retention` | which runs are kept, and how others are forgotten |
//! | `settings` | what an operator may want otherwise |
//! | `transfer` | what exports read and imports store |
//! | `lists`, `cursor` | which runs are in which list; lists in pages |
//! | `message`, `batch`, `ledger` | from what is asked, to one batch, to disk |
//! | `pending`, `health` | what may be shown, and whether writes are taken |
//!
//! Below the directory: `db/` is sled's, `components/` has the components and `blobs/` the artifacts (and
//! components from before there was `components/`), `lock` is held while the store is open. The directory can be entered by its owner alone: policies hold secrets in clear, and details
//! of attempts hold the secret values that a restarted run needs.

mod batch;
mod blobs;
mod components;
mod counting;
mod cursor;
mod durable;
mod error;
mod fixtures;
mod format;
mod health;
mod idempotency;
mod keys;
mod ledger;
mod lists;
mod marks;
mod message;
mod numbers;
mod pending;
mod pins;
mod plugins;
mod record;
mod recount;
mod retention;
mod runs;
mod schedules;
mod settings;
mod statistics;
mod suites;
#[cfg(test)]
mod tests;
mod transfer;
mod triggers;
mod values;

use std::collections::HashMap;
use std::fs::File;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, OnceLock, PoisonError};
use std::thread::{self, JoinHandle};

use bytes::Bytes;
use jiff::Timestamp;
use tokio::runtime::Handle;
use tokio::sync::{Notify, Semaphore, mpsc, oneshot};

pub use error::StorageError;

use blobs::Blobs;
use components::Users;
use durable::Database;
use health::Health;
use ledger::Ledger;
use message::{Append, Change, Message, Origin};
use numbers::Numbers;
use pending::Pending;
use pins::Pins;
use plugins::Journal;

pub use counting::Known;
pub use plugins::{JournalEntry, Routed, Routing, Scope, Settled};
pub use retention::{Expired, Freed, FreedSums};
pub use schedules::Dealt;
pub use settings::StorageSettings;
pub use statistics::{Results, StoredGroup, StoredSeries};
pub use transfer::{RestoredVersion, private_dir};
pub use triggers::Called;

use crate::metrics::Metrics;
use crate::model::{
    Digest, EventKind, Marks, Name, Policy, RunEvent, RunId, RunStatus, SuiteId, SuiteVersion,
};

/// Called by the committing thread with events that are durable, in order, before their receipts
/// resolve. Must not block. If it holds a handle of the store itself, the store ends with
/// [`Storage::close`] only.
pub type OnStored = Box<dyn Fn(&[Arc<RunEvent>]) + Send + Sync>;

/// Resolves to the event's number when it is durable. Ends without an answer if the committing thread
/// panicked.
pub type Receipt = oneshot::Receiver<Result<u64, Arc<StorageError>>>;

/// Which part of a list to read.
#[derive(Clone, Debug)]
pub struct Page {
    /// The most items to give; at least one is.
    pub limit: usize,
    /// Where the page before ended; none for the first.
    pub cursor: Option<String>,
}

/// Part of a list.
#[derive(Clone, Debug)]
pub struct Paged<T> {
    /// The items.
    pub items: Vec<T>,
    /// Where the next page starts; none if this is the last.
    pub next_cursor: Option<String>,
}

/// Which runs to list: those with all of what is given.
#[derive(Clone, Debug, Default)]
pub struct RunQuery {
    /// Of this suite.
    pub suite: Option<SuiteId>,
    /// In this state.
    pub status: Option<RunStatus>,
    /// With exactly this reference.
    pub reference: Option<String>,
}

/// An Idempotency-Key with the digest of method, path and body it came with.
#[derive(Clone, Debug)]
pub struct IdempotencyKey {
    /// The key as it was sent.
    pub key: String,
    /// The digest of the request.
    pub request: Digest,
}

/// What an earlier request with the same key made.
#[derive(Clone, Debug, PartialEq, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum EarlierAnswer {
    /// An event of a run: its first, or a request to retry.
    Event {
        /// The run.
        run: RunId,
        /// The event's number.
        seq: u64,
    },
    /// A version of a suite.
    Version {
        /// The suite.
        suite: SuiteId,
        /// The version.
        version: Digest,
        /// Whether it was new then.
        new: bool,
    },
    /// A schedule.
    Schedule {
        /// Its name.
        schedule: Name,
    },
    /// A trigger.
    Trigger {
        /// Its name.
        trigger: Name,
    },
    /// A plugin.
    Plugin {
        /// Its name.
        plugin: Name,
        /// Whether there was none of that name.
        new: bool,
    },
    /// Something that a plugin is told.
    Delivery {
        /// The plugin.
        plugin: Name,
        /// The delivery.
        number: u64,
    },
}

/// What a request with a key makes.
pub type Made = (IdempotencyKey, EarlierAnswer);

/// What is taken of the disk, in bytes.
#[derive(Clone, Copy, Debug)]
pub struct DiskUse {
    /// By records.
    pub records: u64,
    /// By components and fixtures.
    pub components: u64,
    /// By artifacts.
    pub artifacts: u64,
    /// What is free.
    pub free: u64,
}

impl DiskUse {
    /// What is taken in sum.
    pub fn total(&self) -> u64 {
        self.records + self.components + self.artifacts
    }
}

/// How to learn the free space of the disk, in bytes.
type FreeSpace = Box<dyn Fn() -> io::Result<u64> + Send + Sync>;

/// What readers and the committing thread share.
struct Shared {
    database: Database,
    components: Blobs,
    artifacts: Blobs,
    pending: Pending,
    pins: Pins,
    declared_marks: OnceLock<HashMap<SuiteId, Marks>>,
    numbers: Numbers,
    journal: Journal,
    health: Health,
    settings: StorageSettings,
    free_space: FreeSpace,
    /// Where large events are made ready; closed when the committing thread ends.
    details: Handle,
    metrics: Metrics,
    /// Large events that may be made ready at the same time.
    large: Semaphore,
    /// Tells the committing thread that a message came which is not to wait for others.
    urgent: Notify,
    /// Whether to give up what there is no room for.
    closing: AtomicBool,
    /// Held as long as anything else here is, so it stands last.
    _lock: File,
}

impl Shared {
    /// Fails if the disk has too little room for a batch.
    fn check_room(&self) -> Result<(), StorageError> {
        if (self.free_space)()? >= self.settings.min_free_bytes {
            Ok(())
        } else {
            Err(StorageError::Full)
        }
    }

    /// Why the committing thread no longer takes anything.
    fn ended(&self) -> StorageError {
        self.health.usable().err().unwrap_or(StorageError::Closed)
    }

    /// Fails if requests for new work are not taken.
    fn healthy(&self) -> Result<(), StorageError> {
        self.health.check()?;
        self.check_room()
    }

    /// The same when there is such a request.
    fn check_new_work(&self) -> Result<(), StorageError> {
        self.healthy().inspect_err(|error| {
            if let StorageError::Full = error {
                self.metrics.server_limit_hit("storage.min_free_bytes");
            }
        })
    }
}

/// The committing thread. Waits for its end when dropped.
struct Worker {
    shared: Arc<Shared>,
    thread: Mutex<Option<JoinHandle<()>>>,
}

impl Worker {
    fn join(&self) {
        self.shared.closing.store(true, Ordering::Release);
        let thread = self.thread.lock().unwrap_or_else(PoisonError::into_inner).take();
        // The last handle may be one that the listener held, and be dropped by the thread itself.
        if let Some(thread) = thread.filter(|it| it.thread().id() != thread::current().id()) {
            thread.thread().unpark();
            // A panic was reported by the thread, and nothing can be done about it here.
            let _ = thread.join();
        }
    }
}

impl Drop for Worker {
    fn drop(&mut self) {
        self.join();
    }
}

struct Inner {
    /// Dropped before the worker, which ends when nobody can send any more.
    queue: mpsc::Sender<Message>,
    room: Arc<Semaphore>,
    worker: Worker,
}

/// The store. Cheap to clone. When the last clone is dropped without [`Storage::close`], what is
/// queued is stored first, which blocks for a moment.
#[derive(Clone)]
pub struct Storage(Arc<Inner>);

impl Storage {
    /// Opens the store in the directory, or makes one there. Takes a moment after a crash.
    pub fn open(
        dir: PathBuf,
        settings: StorageSettings,
        metrics: Metrics,
        on_stored: OnStored,
    ) -> Result<Self, StorageError> {
        let disk = dir.clone();
        let free_space = Box::new(move || {
            let disk = rustix::fs::statvfs(&disk)?;
            Ok(disk.f_bavail.saturating_mul(disk.f_frsize))
        });
        Self::open_with(&dir, settings, metrics, on_stored, free_space)
    }

    fn open_with(
        dir: &Path,
        settings: StorageSettings,
        metrics: Metrics,
        on_stored: OnStored,
        free_space: FreeSpace,
    ) -> Result<Self, StorageError> {
        let new = !dir.exists();
        durable::private_dir(dir)?;
        if let Some(parent) = dir.parent().filter(|_| new) {
            durable::sync_dir(parent)?;
        }
        let lock = lock(dir)?;
        let (sender, receiver) = mpsc::channel(settings.queue.max(1));
        let room = Arc::new(Semaphore::new(settings.queue_bytes.max(1) as usize));
        let database = Database::open(&dir.join("db"), settings.cache_bytes)?;
        format::check(&database)?;
        let components = Blobs::open(dir.join("components"))?;
        let artifacts = Blobs::open(dir.join("blobs"))?;
        let users = Users::open(&database, &components)?;
        recount::bring_up_to_date(&database, &settings, &metrics)?;
        let journal = Journal::open(&database)?;
        let pins = Pins::open(&database)?;
        // After all that fails in earnest: it must not be dropped by a task, as the caller may be.
        let clock = ledger::runtime(settings.large_details)?;
        let shared = Arc::new(Shared {
            pins,
            declared_marks: OnceLock::new(),
            database,
            components,
            artifacts,
            pending: Pending::default(),
            numbers: Numbers::default(),
            journal,
            health: Health::new(),
            large: Semaphore::new(settings.large_details.clamp(1, Semaphore::MAX_PERMITS)),
            settings,
            free_space,
            details: clock.handle().clone(),
            metrics,
            urgent: Notify::new(),
            closing: AtomicBool::new(false),
            _lock: lock,
        });
        let ledger = Ledger::new(shared.clone(), receiver, clock, on_stored, users);
        let thread = thread::Builder::new().name("ledger".into()).spawn(|| ledger.run())?;
        let worker = Worker { shared, thread: Mutex::new(Some(thread)) };
        Ok(Self(Arc::new(Inner { queue: sender, room, worker })))
    }

    /// Stops taking events, stores what is queued, flushes, ends the thread. What there is no room for
    /// on the disk is given up, and its receipts say so. The store can be read until the last handle is
    /// dropped, and is locked as long.
    pub async fn close(&self) -> Result<(), StorageError> {
        self.shared().closing.store(true, Ordering::Release);
        // Already closed if nobody receives.
        let _ = self.send(Message::Close).await;
        let storage = self.clone();
        tokio::task::spawn_blocking(move || storage.0.worker.join())
            .await
            .map_err(io::Error::other)?;
        match self.shared().health.usable() {
            Ok(()) | Err(StorageError::Closed) => Ok(()),
            broken => broken,
        }
    }

    /// Stores a version with its component, and the key with it, and makes it the newest. Durable when it
    /// returns. True if the version is new; one that was there stays as it was.
    pub async fn put_version(
        &self,
        version: SuiteVersion,
        component: Bytes,
        key: Option<IdempotencyKey>,
    ) -> Result<bool, StorageError> {
        self.shared().check_new_work()?;
        let ahead = vec![(version.digest, component.clone())];
        self.write_ahead(|shared| &shared.components, ahead).await;
        self.change(Change::PutVersion { version: Box::new(version), component, key }).await
    }

    /// Forgets the suite, its versions and policy, with the components that no other suite and no
    /// unfinished run needs. Its runs stay, with their artifacts. False if there was none.
    pub async fn delete_suite(&self, suite: &SuiteId) -> Result<bool, StorageError> {
        self.change(Change::Delete { suite: suite.clone() }).await
    }

    /// Sets what the operator grants to a suite, which must exist.
    pub async fn put_policy(&self, suite: &SuiteId, policy: &Policy) -> Result<(), StorageError> {
        let (suite, policy) = (suite.clone(), record::encode(policy)?);
        self.change(Change::PutPolicy { suite, before: None, policy }).await.map(drop)
    }

    /// Sets what the operator grants to a suite, which must exist, in place of `before`. False if it is
    /// granted something else by now: nothing is changed then.
    pub async fn replace_policy(
        &self,
        suite: &SuiteId,
        before: Policy,
        policy: &Policy,
    ) -> Result<bool, StorageError> {
        let (suite, policy) = (suite.clone(), record::encode(policy)?);
        self.change(Change::PutPolicy { suite, before: Some(Box::new(before)), policy }).await
    }

    async fn change(&self, change: Change) -> Result<bool, StorageError> {
        self.shared().check_new_work()?;
        self.ask(change).await
    }

    /// The same whether or not the disk has room for new work.
    async fn ask(&self, change: Change) -> Result<bool, StorageError> {
        let (reply, answer) = oneshot::channel();
        let sent = self.send(Message::Change(change, reply)).await;
        sent.map_err(|_| self.shared().ended())?;
        answer.await.map_err(|_| StorageError::Broken("the committing thread panicked".into()))?
    }

    /// A component's or an archive's bytes.
    pub async fn component(&self, digest: &Digest) -> Result<Option<Bytes>, StorageError> {
        let digest = *digest;
        self.read_file(move |shared| match shared.components.get(&digest)? {
            Some(component) => Ok(Some(component)),
            None => shared.artifacts.get(&digest),
        })
        .await
    }

    /// An artifact's bytes.
    pub async fn artifact(&self, digest: &Digest) -> Result<Option<Bytes>, StorageError> {
        let digest = *digest;
        self.read_file(move |shared| shared.artifacts.get(&digest)).await
    }

    async fn read_file(
        &self,
        read: impl FnOnce(&Shared) -> Result<Option<Bytes>, StorageError> + Send + 'static,
    ) -> Result<Option<Bytes>, StorageError> {
        let storage = self.clone();
        let content = tokio::task::spawn_blocking(move || read(storage.shared())).await;
        content.map_err(io::Error::other)?
    }

    /// The next number of a run of this suite; numbers may have gaps, never repeat.
    pub fn next_run_number(&self, suite: &SuiteId) -> Result<u64, StorageError> {
        self.shared().numbers.next(&self.shared().database, suite)
    }

    /// Queues an event for storing; waits only while the queue is full. `AttemptFinished` has its
    /// detail (and its artifacts' content) taken out and stored apart. An event with a key stores the
    /// key in the same batch; if the key is taken by then, nothing is stored, and the receipt gives
    /// [`StorageError::KeyTaken`] or [`StorageError::KeyReused`]. While the disk is full, `RunQueued`
    /// and `RetryRequested` get [`StorageError::Full`], other events wait.
    pub async fn append(
        &self,
        run: RunId,
        kind: EventKind,
        key: Option<IdempotencyKey>,
    ) -> Receipt {
        self.enqueue(run, kind, key, None, true).await
    }

    /// Queues an event for storing as [`Storage::append`] does, for those who do not wait until it is
    /// durable. It may be stored some milliseconds later, together with others.
    pub async fn tell(&self, run: RunId, kind: EventKind) {
        drop(self.enqueue(run, kind, None, None, false).await);
    }

    async fn enqueue(
        &self,
        run: RunId,
        kind: EventKind,
        key: Option<IdempotencyKey>,
        origin: Option<Origin>,
        awaited: bool,
    ) -> Receipt {
        let (reply, receipt) = oneshot::channel();
        match self.prepare(run, kind, key).await {
            Ok(mut append) => {
                append.awaited = awaited;
                append.origin = origin;
                let message = Message::Append(Box::new(append), reply);
                if let Err(refused) = self.send(message).await {
                    refused.0.fail(&self.shared().ended());
                }
            }
            // The receipt is here, so it is received.
            Err(error) => drop(reply.send(Err(Arc::new(error)))),
        }
        receipt
    }

    async fn send(&self, message: Message) -> Result<(), mpsc::error::SendError<Message>> {
        let free = self.0.queue.capacity();
        if free == 0 {
            self.shared().metrics.server_limit_hit("storage.queue");
        }
        // Nobody is to wait for a place only because the others wait for company.
        let urgent = message.is_urgent() || free <= self.0.queue.max_capacity() / 2;
        self.0.queue.send(message).await?;
        if urgent {
            self.shared().urgent.notify_one();
        }
        Ok(())
    }

    async fn prepare(
        &self,
        run: RunId,
        kind: EventKind,
        key: Option<IdempotencyKey>,
    ) -> Result<Append, StorageError> {
        let at = Timestamp::now();
        let mut append = if message::is_large(&kind) {
            // Off the task that asks, which has other attempts to look after; and a few at a time, so that
            // they leave the processors to attempts whose deadline is near.
            let Shared { large, metrics, details, .. } = self.shared();
            if large.available_permits() == 0 {
                metrics.server_limit_hit("storage.large_details");
            }
            let _turn = large.acquire().await.map_err(|_| StorageError::Closed)?;
            let append = details.spawn_blocking(move || Append::new(run, kind, key, at));
            append.await.map_err(|error| match error.is_cancelled() {
                true => StorageError::Closed,
                false => io::Error::other(error).into(),
            })??
        } else {
            Append::new(run, kind, key, at)?
        };
        if append.asks_for_work() {
            self.shared().check_new_work()?;
        }
        self.shared().health.usable()?;
        let most = self.shared().settings.queue_bytes.max(1);
        let bytes = u32::try_from(append.bytes()).unwrap_or(u32::MAX).min(most);
        if self.0.room.available_permits() < bytes as usize {
            self.shared().metrics.server_limit_hit("storage.queue_bytes");
            self.shared().urgent.notify_one();
        }
        let room = self.0.room.clone().acquire_many_owned(bytes).await;
        append.room = Some(room.map_err(|_| StorageError::Closed)?);
        self.write_ahead(|shared| &shared.artifacts, append.contents.clone()).await;
        Ok(append)
    }

    /// Writes files while other events are stored; the committing thread then finds them there. What
    /// fails here it tries again, and reports.
    async fn write_ahead(&self, files: fn(&Shared) -> &Blobs, contents: Vec<(Digest, Bytes)>) {
        if contents.is_empty() {
            return;
        }
        let storage = self.clone();
        let written = tokio::task::spawn_blocking(move || {
            storage.shared().check_room()?;
            files(storage.shared()).put_all(&contents)?;
            Ok::<_, StorageError>(())
        });
        if let Ok(Err(error)) = written.await {
            tracing::debug!(%error, "failed to write files ahead");
        }
    }

    /// What an earlier request with this key made, if it is durable and not forgotten.
    pub fn earlier_answer(
        &self,
        key: &IdempotencyKey,
    ) -> Result<Option<EarlierAnswer>, StorageError> {
        let shared = self.shared();
        let digest = idempotency::digest(key);
        let now = Timestamp::now();
        let found = idempotency::find(&shared.database, &digest, &shared.settings, now)?;
        let Some(answered) = found else { return Ok(None) };
        let answer = answered.to(&key.request)?;
        let pending = match &answer {
            EarlierAnswer::Event { run, seq } => {
                // Its run may be forgotten since.
                shared.database.get_raw(&keys::run(*run))?.is_none()
                    || shared.pending.seq(*run).is_some_and(|last| last < *seq)
            }
            EarlierAnswer::Version { .. }
            | EarlierAnswer::Schedule { .. }
            | EarlierAnswer::Trigger { .. }
            | EarlierAnswer::Plugin { .. }
            | EarlierAnswer::Delivery { .. } => false,
        };
        Ok(if pending { None } else { Some(answer) })
    }

    /// The run of a suite with that number.
    pub fn run_by_number(
        &self,
        suite: &SuiteId,
        number: u64,
    ) -> Result<Option<RunId>, StorageError> {
        let id = lists::numbered(&self.shared().database, suite, number)?;
        // A run whose first event is not yet durable is not there yet.
        match id {
            Some(id) => Ok(self.summary(id)?.map(|_| id)),
            None => Ok(None),
        }
    }

    /// What is taken of the disk. Slow when first called.
    pub fn disk_use(&self) -> Result<DiskUse, StorageError> {
        let Shared { database, components, artifacts, free_space, .. } = self.shared();
        Ok(DiskUse {
            records: database.disk_bytes(),
            components: components.disk_bytes(),
            artifacts: artifacts.disk_bytes(),
            free: free_space()?,
        })
    }

    /// How many batches were made durable since the store was opened.
    pub fn syncs(&self) -> u64 {
        self.shared().database.syncs()
    }

    /// How many messages wait to be stored, of [`StorageSettings::queue`] at most.
    pub fn waiting(&self) -> usize {
        self.0.queue.max_capacity() - self.0.queue.capacity()
    }

    /// Whether writes are taken at present, and if not, why.
    pub fn healthy(&self) -> Result<(), StorageError> {
        self.shared().healthy()
    }

    fn shared(&self) -> &Shared {
        &self.0.worker.shared
    }
}

/// Takes the lock of the directory, which ends with the process or when the file is closed.
fn lock(dir: &Path) -> Result<File, StorageError> {
    let file = File::options().create(true).truncate(false).write(true).open(dir.join("lock"))?;
    match rustix::fs::flock(&file, rustix::fs::FlockOperation::NonBlockingLockExclusive) {
        Ok(()) => Ok(file),
        Err(rustix::io::Errno::WOULDBLOCK) => Err(StorageError::Locked(dir.to_owned())),
        Err(error) => Err(io::Error::from(error).into()),
    }
}
