//! Runs: from a request to a verdict.
//!
//! [`Runner`] is the one way in, for HTTP, the command line and schedules alike. It stores a run,
//! hands it to the [`dispatcher`], which alone decides what runs when, and that to an [`executor`],
//! which alone knows in what order things happen inside a run. Who waits and who runs is in the
//! [`roster`], in which order and for what they wait in the [`queue`] and in [`needs`]. What happens leaves the executor as
//! events through a [`sink`]; whoever watches gets them from the [`hub`], after they are stored.

mod cancel;
mod clear;
mod confirm;
mod dispatcher;
mod executor;
mod facts;
mod fixtures;
mod headless;
mod hub;
mod marks;
mod needs;
mod queue;
mod roster;
mod sink;
#[cfg(test)]
mod tests;
mod upload;

use std::sync::Arc;
use std::time::Duration;

use futures::stream::BoxStream;
use serde::{Deserialize, Serialize};
use tokio_util::sync::CancellationToken;

pub use self::clear::{ClearAnswer, ClearOrder};
pub use self::confirm::{ConfirmError, ConfirmOrder};
pub use self::fixtures::PutFixturesError;
pub use self::headless::{HeadlessError, HeadlessOrder, headless};
pub use self::hub::{Hub, LiveLine};
pub use self::marks::MarkError;
pub use self::queue::{Standing, WaitsFor};
pub use self::upload::UploadError;
pub use crate::wasm::{ArchiveError, DescribeError, FixturesError};

use self::dispatcher::{Dispatcher, Message};
use crate::compile::Compiler;
use crate::metrics::Metrics;
use crate::model::{
    Digest, EventKind, Limits, PlanError, Run, RunBounds, RunEvent, RunId, RunRequest, RunSpec,
    RunStatus, Sharing, SuiteId, plan,
};
use crate::plugins::Plugins;
use crate::storage::{Called, Dealt, EarlierAnswer, IdempotencyKey, Storage, StorageError};
use crate::wasm::Sandbox;

/// Settings of the runner (config key `[runner]`).
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct RunnerSettings {
    /// How many runs are under way at the same time.
    pub concurrent_runs: usize,
    /// How many runs may wait; one more is refused with 429.
    pub queue: usize,
    /// How long a run waits until it goes before new ones of the next higher class, in milliseconds: 5
    /// minutes.
    pub priority_ageing_ms: u64,
    /// Defaults and caps of what a run may ask for.
    pub bounds: RunBounds,
    /// How long a shutdown waits for attempts under way, in milliseconds. What is left continues
    /// after the restart.
    pub drain_ms: u64,
    /// The deadline of teardown in milliseconds.
    pub teardown_timeout_ms: u64,
    /// How many clients may follow one run at the same time.
    pub watchers_per_run: usize,
    /// Threads that run guests; 0 takes one for each core.
    pub guest_threads: usize,
}

impl Default for RunnerSettings {
    fn default() -> Self {
        Self {
            concurrent_runs: 64,
            queue: 10_000,
            priority_ageing_ms: 300_000,
            bounds: RunBounds::default(),
            drain_ms: 30_000,
            teardown_timeout_ms: 60_000,
            watchers_per_run: 64,
            guest_threads: 0,
        }
    }
}

/// Why a run was not accepted.
#[derive(Debug, thiserror::Error)]
pub enum SubmitError {
    /// Nothing was uploaded under that name.
    #[error("there is no suite {0}: upload it first")]
    NoSuite(SuiteId),
    /// The suite has other versions.
    #[error("the suite {0} has no version {1}")]
    NoVersion(SuiteId, Digest),
    /// The request asks for what cannot be.
    #[error(transparent)]
    Plan(#[from] PlanError),
    /// Too many runs wait.
    #[error("the queue is full: {waiting} runs wait already; try again later")]
    QueueFull {
        /// How many wait.
        waiting: usize,
        /// When to try again.
        retry_after: Duration,
    },
    /// The server takes no more runs.
    #[error("the server is shutting down: try again when it is back")]
    Draining,
    /// It could not be stored.
    #[error(transparent)]
    Storage(Arc<StorageError>),
}

impl SubmitError {
    /// The setting of the bound that refused the run, if one did.
    pub fn bound(&self) -> Option<&'static str> {
        if let Self::Plan(error) = self { error.bound() } else { None }
    }
}

/// Why a run was not cancelled or retried.
#[derive(Debug, thiserror::Error)]
pub enum ControlError {
    /// There is no such run.
    #[error("there is no run {0}")]
    NoRun(RunId),
    /// It cannot be cancelled any more.
    #[error("the run has already ended: it is {}", .0.as_str())]
    Ended(RunStatus),
    /// It cannot be retried yet.
    #[error("the run has not ended yet: wait for its end, or cancel it")]
    NotEnded,
    /// What it ran is gone.
    #[error("the version of {0} that the run had was deleted: upload it again")]
    VersionDeleted(SuiteId),
    /// It has no such test.
    #[error("the run has no test {0:?}")]
    NoTest(String),
    /// There is nothing to clear.
    #[error("there is no such attempt at the test {0:?}: it may not have run")]
    NoAttempt(String),
    /// Nobody would know later why it does not count.
    #[error("the reason is missing: say why it is not to count")]
    NoReason,
    /// It has nothing to retry.
    #[error("the run has no failed test to retry")]
    NothingToRetry,
    /// The retry was not accepted.
    #[error(transparent)]
    Submit(#[from] SubmitError),
}

impl From<StorageError> for SubmitError {
    fn from(error: StorageError) -> Self {
        Self::Storage(Arc::new(error))
    }
}

impl From<StorageError> for ControlError {
    fn from(error: StorageError) -> Self {
        Self::Submit(error.into())
    }
}

/// What the parts of the runner share.
struct Shared {
    storage: Storage,
    compiler: Compiler,
    sandbox: Sandbox,
    hub: Arc<Hub>,
    settings: RunnerSettings,
    limits: Limits,
    metrics: Metrics,
    /// Who is asked before a run starts.
    plugins: Option<Plugins>,
    /// Where guests run, apart from whoever serves HTTP.
    guests: tokio::runtime::Handle,
    /// Set when a shutdown begins: attempts under way may end, no further one starts.
    stop: CancellationToken,
    /// Held while a retry is decided on.
    retrying: tokio::sync::Mutex<()>,
}

/// What becomes of a schedule's time that starts a run, made when the run has its id.
pub(crate) type MakeDealt = Box<dyn FnOnce(RunId) -> Dealt + Send>;
/// What becomes of a trigger's call that starts a run, made when the run has its id.
pub(crate) type MakeCalled = Box<dyn FnOnce(RunId) -> Called + Send>;

/// What asks for a run and is stored in one with it.
enum Origin {
    Due(MakeDealt),
    Call(MakeCalled),
}

/// Takes runs in and tells of them. Cheap to clone.
#[derive(Clone)]
pub struct Runner {
    shared: Arc<Shared>,
    dispatcher: dispatcher::Handle,
}

/// What [`Runner::start`] needs.
pub struct Parts {
    /// Where runs are kept.
    pub storage: Storage,
    /// What makes components runnable.
    pub compiler: Compiler,
    /// What runs them.
    pub sandbox: Sandbox,
    /// Who is told of events; the store must tell it of each stored one.
    pub hub: Arc<Hub>,
    /// Settings.
    pub settings: RunnerSettings,
    /// The server's limits for attempts.
    pub limits: Limits,
    /// Metrics.
    pub metrics: Metrics,
    /// Who is asked before a run starts.
    pub plugins: Option<Plugins>,
    /// The runtime for guests.
    pub guests: tokio::runtime::Handle,
}

impl Runner {
    /// Starts the dispatcher and takes up the runs that an earlier process left without an end.
    pub fn start(parts: Parts) -> Result<Self, StorageError> {
        let Parts { storage, compiler, sandbox, hub, settings, limits, metrics, plugins, guests } =
            parts;
        let unfinished = storage.unfinished()?;
        let stop = CancellationToken::new();
        let shared = Arc::new(Shared {
            storage,
            compiler,
            sandbox,
            hub,
            settings,
            limits,
            metrics,
            plugins,
            guests,
            stop,
            retrying: tokio::sync::Mutex::default(),
        });
        let (mut left, mut stopped) = (Vec::with_capacity(unfinished.len()), Vec::new());
        for run in &unfinished {
            if let Some(run) = shared.storage.run(*run)? {
                shared.hub.adopt(&run);
                left.push(shared.left_by_earlier(&run));
                stopped.extend(run.cancel_requested.then_some(run.spec.id));
            }
        }
        let dispatcher = Dispatcher::start(Arc::clone(&shared), left, &stopped);
        Ok(Self { shared, dispatcher })
    }

    /// Accepts a run. Durable when it returns. With a key that the same request used before, gives the
    /// run that was made then.
    pub async fn submit(
        &self,
        suite: SuiteId,
        request: RunRequest,
        key: Option<IdempotencyKey>,
    ) -> Result<RunId, SubmitError> {
        if let Some(run) = self.made_earlier(key.as_ref())? {
            return Ok(run);
        }
        self.accept(suite, request, key, None).await
    }

    /// Fails if there can be no such run, whatever tests the suite has: before anything is kept that asks for
    /// it later. Without a suite, of any. Counts nothing: it is asked whenever what asks later is shown.
    pub fn check(&self, suite: Option<&SuiteId>, request: &RunRequest) -> Result<(), SubmitError> {
        let Shared { storage, settings, limits, .. } = &*self.shared;
        let policy = suite.map(|suite| storage.policy(suite)).transpose()?.flatten();
        let limits = limits.patched(&policy.unwrap_or_default().limits);
        Ok(request.check(suite, &settings.bounds, &limits)?)
    }

    /// The run that an earlier request with this key made.
    fn made_earlier(&self, key: Option<&IdempotencyKey>) -> Result<Option<RunId>, StorageError> {
        let earlier = key.map(|key| self.shared.storage.earlier_answer(key)).transpose()?.flatten();
        Ok(match earlier {
            Some(EarlierAnswer::Event { run, .. }) => Some(run),
            _ => None,
        })
    }

    /// Accepts a run that a time of a schedule asks for, and stores in one with it what becomes of that
    /// time. Fails with [`StorageError::DealtWith`] if the time was dealt with already.
    pub async fn submit_due(
        &self,
        suite: SuiteId,
        request: RunRequest,
        dealt: impl FnOnce(RunId) -> Dealt + Send + 'static,
        key: Option<IdempotencyKey>,
    ) -> Result<RunId, SubmitError> {
        if let Some(run) = self.made_earlier(key.as_ref())? {
            return Ok(run);
        }
        self.accept(suite, request, key, Some(Origin::Due(Box::new(dealt)))).await
    }

    /// Accepts a run that a call to a trigger asks for, and stores in one with it what becomes of that
    /// call. Fails with [`StorageError::Delivered`] if the same delivery started a run before.
    pub async fn submit_called(
        &self,
        suite: SuiteId,
        request: RunRequest,
        called: impl FnOnce(RunId) -> Called + Send + 'static,
    ) -> Result<RunId, SubmitError> {
        self.accept(suite, request, None, Some(Origin::Call(Box::new(called)))).await
    }

    /// Plans a run and queues it once its first event is stored.
    async fn accept(
        &self,
        suite: SuiteId,
        request: RunRequest,
        key: Option<IdempotencyKey>,
        origin: Option<Origin>,
    ) -> Result<RunId, SubmitError> {
        let Shared { storage, settings, limits, .. } = &*self.shared;
        let version = match request.version {
            Some(digest) => storage
                .version(&suite, &digest)?
                .ok_or_else(|| SubmitError::NoVersion(suite.clone(), digest))?,
            None => storage
                .newest_version(&suite)?
                .ok_or_else(|| SubmitError::NoSuite(suite.clone()))?,
        };
        let policy = storage.policy(&suite)?.unwrap_or_default();
        let limits = limits.patched(&policy.limits);
        let id = RunId::new();
        let now = jiff::Timestamp::now();
        let mut spec = plan(&version, request, &settings.bounds, &limits, id, 0, now)
            .inspect_err(|error| self.count_refusal(error))?;
        let slot = self.reserve()?;
        spec.number = storage.next_run_number(&suite)?;
        spec.fixtures = storage.fixtures(&suite, &spec.version)?;
        spec.sharing = Sharing::of(&version.description, &policy);
        spec.marked(&storage.marks(&suite)?);
        let waiting = self.shared.waiting(&spec, spec.created_at, Some(slot));
        let queued = EventKind::RunQueued { spec: Box::new(spec) };
        let runner = self.clone();
        to_its_end(async move {
            // Before it is stored, so that whoever sees it there can follow it.
            runner.shared.hub.expect(id, suite);
            let storage = &runner.shared.storage;
            let receipt = match origin {
                None => storage.append(id, queued, key).await,
                Some(Origin::Due(dealt)) => storage.append_due(id, queued, dealt(id), key).await,
                Some(Origin::Call(called)) => storage.append_called(id, queued, called(id)).await,
            };
            if let Err(error) = sink::stored(receipt).await {
                runner.shared.hub.forget(id);
                return match &*error {
                    StorageError::KeyTaken(EarlierAnswer::Event { run, .. }) => Ok(*run),
                    _ => Err(SubmitError::Storage(error)),
                };
            }
            runner.dispatcher.send(Message::Submitted(waiting)).await;
            Ok(id)
        })
        .await
    }

    /// Asks a run to stop; its end is told by its events. Asking again changes nothing.
    pub async fn cancel(&self, run: RunId, by: Option<String>) -> Result<(), ControlError> {
        let (shared, dispatcher) = (Arc::clone(&self.shared), self.dispatcher.clone());
        to_its_end(async move {
            if cancel::cancel(&shared, run, by).await? {
                dispatcher.send(Message::Cancel { run }).await;
            }
            Ok(())
        })
        .await
    }

    /// Runs the tests of a finished run again that failed or ended in error, as further attempts. Gives
    /// the number of the event that says so, which a repeated request with the same key gives again: the
    /// run as it was after that event is the answer to both.
    pub async fn retry(
        &self,
        run: RunId,
        by: Option<String>,
        key: Option<IdempotencyKey>,
    ) -> Result<u64, ControlError> {
        let runner = self.clone();
        to_its_end(async move { runner.retry_once(run, None, by, key).await }).await
    }

    /// Runs these tests again, or those that failed.
    async fn retry_once(
        &self,
        run: RunId,
        tests: Option<Vec<String>>,
        by: Option<String>,
        key: Option<IdempotencyKey>,
    ) -> Result<u64, ControlError> {
        let Shared { storage, hub, settings, retrying, .. } = &*self.shared;
        // One at a time, so that of two requests the second finds the run queued.
        let _one = retrying.lock().await;
        if let Some(key) = &key
            && let Some(EarlierAnswer::Event { seq, .. }) = storage.earlier_answer(key)?
        {
            return Ok(seq);
        }
        let folded = storage.run(run)?.ok_or(ControlError::NoRun(run))?;
        if !folded.status.is_terminal() {
            return Err(ControlError::NotEnded);
        }
        let tests = tests.unwrap_or_else(|| folded.to_retry());
        if tests.is_empty() {
            return Err(ControlError::NothingToRetry);
        }
        let RunSpec { suite, version, .. } = &folded.spec;
        if storage.version(suite, version)?.is_none() {
            return Err(ControlError::VersionDeleted(suite.clone()));
        }
        let planned = settings.bounds.check_attempts(folded.attempts_with(&tests));
        planned.inspect_err(|error| self.count_refusal(error)).map_err(SubmitError::Plan)?;
        let slot = self.reserve()?;
        let request = EventKind::RetryRequested { tests, by };
        let seq =
            reopen(hub, storage, &folded, request, key).await.map_err(SubmitError::Storage)?;
        let waiting = self.shared.waiting(&folded.spec, jiff::Timestamp::now(), Some(slot));
        self.dispatcher.send(Message::Submitted(waiting)).await;
        Ok(seq)
    }

    /// A place in the queue, or why there is none.
    fn reserve(&self) -> Result<queue::Slot, SubmitError> {
        self.dispatcher.reserve().inspect_err(|error| {
            if let SubmitError::QueueFull { .. } = error {
                self.shared.metrics.server_limit_hit("runner.queue");
            }
        })
    }

    /// Counts a request that was refused because of a bound.
    fn count_refusal(&self, error: &PlanError) {
        if let Some(bound) = error.bound() {
            self.shared.metrics.server_limit_hit(bound);
        }
    }

    async fn append(
        &self,
        run: RunId,
        kind: EventKind,
        key: Option<IdempotencyKey>,
    ) -> Result<u64, Arc<StorageError>> {
        sink::stored(self.shared.storage.append(run, kind, key).await).await
    }

    /// A run's events with `seq > after`: those that are stored, then those that come, to the run's
    /// end. None if as many clients as may do follow the run already.
    pub fn watch(
        &self,
        run: RunId,
        after: u64,
    ) -> Option<BoxStream<'static, Result<Arc<RunEvent>, Arc<StorageError>>>> {
        let most = self.shared.settings.watchers_per_run;
        Hub::watch(&self.shared.hub, self.shared.storage.clone(), run, after, most)
    }

    /// Cancelled when the run has ended and its end is stored; none if it has ended already, or there is no
    /// such run. Costs nothing while the run is under way, as [`Runner::watch`] does.
    pub fn ended(&self, run: RunId) -> Option<CancellationToken> {
        self.shared.hub.ended(run)
    }

    /// Log lines of a run's attempts as they come. Lossy for slow readers; ends with the run. None if
    /// the run is not under way, or as many clients as may do follow it already.
    pub fn live_log(&self, run: RunId) -> Option<BoxStream<'static, LiveLine>> {
        self.shared.hub.live_log(run, self.shared.settings.watchers_per_run)
    }

    /// The place of a run in the queue and what it waits for; none if it does not wait.
    pub async fn standing(&self, run: RunId) -> Option<Standing> {
        self.dispatcher.standing(run).await
    }

    /// How many runs wait and how many are under way.
    pub fn load(&self) -> (usize, usize) {
        self.dispatcher.load()
    }

    /// Whether the queue of an earlier process has been taken up and runs are accepted.
    pub fn ready(&self) -> bool {
        self.dispatcher.ready() && !self.shared.stop.is_cancelled()
    }

    /// Takes no more runs, lets attempts under way end within `drain_ms`, and stops. What is left
    /// continues when the store is opened again.
    pub async fn drain(&self) {
        self.shared.stop.cancel();
        let patience = Duration::from_millis(self.shared.settings.drain_ms);
        if tokio::time::timeout(patience, self.dispatcher.ended()).await.is_err() {
            let (_, running) = self.load();
            tracing::warn!(running, "runs are still under way; they continue after the restart");
        }
    }
}

/// Stores that a run that has ended goes on, and gives the event's number. The hub knows of it before it
/// is stored: whoever sees it there can follow it.
async fn reopen(
    hub: &Hub,
    storage: &Storage,
    run: &Run,
    request: EventKind,
    key: Option<IdempotencyKey>,
) -> Result<u64, Arc<StorageError>> {
    hub.adopt(run);
    let stored = sink::stored(storage.append(run.spec.id, request, key).await).await;
    stored.inspect_err(|_| hub.forget(run.spec.id))
}

/// Does work that must not stop half-way, whether or not whoever asked still waits: between storing a
/// run and queueing it, a client that goes away must not leave the run without an owner.
async fn to_its_end<T: Send + 'static>(work: impl Future<Output = T> + Send + 'static) -> T {
    match tokio::spawn(work).await {
        Ok(done) => done,
        Err(error) => match error.try_into_panic() {
            Ok(panic) => std::panic::resume_unwind(panic),
            // The runtime is ending, and this future with it.
            Err(_) => std::future::pending().await,
        },
    }
}
