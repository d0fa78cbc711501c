//! Decides what runs when. One task owns the queue and the runs under way; everybody else sends it
//! messages.

use std::collections::{HashMap, VecDeque};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc};
use tokio_util::sync::CancellationToken;

use super::executor::{self, End, Job};
use super::sink::{Sink as _, StorageSink};
use super::{Shared, SubmitError};
use crate::compile::Loaded;
use crate::model::{EventKind, Policy, Run, RunId, RunStatus, TestStatus, Value};

/// A place in the queue, given back when the run starts.
pub(super) type Slot = OwnedSemaphorePermit;

/// What the dispatcher is told.
pub(super) enum Message {
    /// A run was stored and waits.
    Submitted { run: RunId, slot: Slot },
    /// A run is to stop.
    Cancel { run: RunId },
    /// A run's task is over.
    Ended { run: RunId },
}

/// How others reach the dispatcher. Cheap to clone.
#[derive(Clone)]
pub(super) struct Handle {
    messages: mpsc::Sender<Message>,
    slots: Arc<Semaphore>,
    state: Arc<State>,
    queue: usize,
    stop: CancellationToken,
}

/// What others may read of the dispatcher's state.
#[derive(Default)]
struct State {
    waiting: AtomicUsize,
    running: AtomicUsize,
    ready: AtomicBool,
    ended: CancellationToken,
}

impl Handle {
    /// A place in the queue, or why there is none.
    pub(super) fn reserve(&self) -> Result<Slot, SubmitError> {
        if self.stop.is_cancelled() {
            return Err(SubmitError::Draining);
        }
        // A guess, but one that grows with the queue.
        let waiting = self.state.waiting.load(Ordering::Relaxed);
        let retry_after = Duration::from_secs(1 + waiting as u64 / 200);
        let slot = Arc::clone(&self.slots).try_acquire_owned();
        slot.map_err(|_| SubmitError::QueueFull { waiting: self.queue, retry_after })
    }

    /// Tells the dispatcher. If it has stopped, what was stored is taken up after the restart.
    pub(super) async fn send(&self, message: Message) {
        if self.messages.send(message).await.is_err() {
            tracing::debug!("the dispatcher has stopped; the run is taken up after the restart");
        }
    }

    pub(super) fn load(&self) -> (usize, usize) {
        let load = |count: &AtomicUsize| count.load(Ordering::Relaxed);
        (load(&self.state.waiting), load(&self.state.running))
    }

    pub(super) fn ready(&self) -> bool {
        self.state.ready.load(Ordering::Acquire)
    }

    /// Resolves when the dispatcher stopped and no run is under way.
    pub(super) async fn ended(&self) {
        self.state.ended.cancelled().await;
    }
}

/// A run that waits.
struct Waiting {
    run: RunId,
    since: Instant,
    /// None for runs of an earlier process, which have their place whatever the bound is now.
    slot: Option<Slot>,
}

/// Owns the queue and the runs under way.
pub(super) struct Dispatcher {
    shared: Arc<Shared>,
    state: Arc<State>,
    sender: mpsc::Sender<Message>,
    queue: VecDeque<Waiting>,
    running: HashMap<RunId, CancellationToken>,
}

impl Dispatcher {
    /// Messages that may wait; a full channel makes the sender wait.
    const MESSAGES: usize = 1024;

    /// Starts the dispatcher's task, with the runs that an earlier process left.
    pub(super) fn start(shared: Arc<Shared>, unfinished: Vec<RunId>) -> Handle {
        let (sender, messages) = mpsc::channel(Self::MESSAGES);
        let queue = shared.settings.queue;
        let state = Arc::<State>::default();
        let handle = Handle {
            messages: sender.clone(),
            slots: Arc::new(Semaphore::new(queue)),
            state: Arc::clone(&state),
            queue,
            stop: shared.stop.clone(),
        };
        let since = Instant::now();
        let waiting = |run| Waiting { run, since, slot: None };
        let queue = unfinished.into_iter().map(waiting).collect();
        let dispatcher = Self { shared, state, sender, queue, running: HashMap::new() };
        tokio::spawn(dispatcher.run(messages));
        handle
    }

    async fn run(mut self, mut messages: mpsc::Receiver<Message>) {
        let stop = self.shared.stop.clone();
        self.start_what_may();
        self.state.ready.store(true, Ordering::Release);
        loop {
            let stopping = stop.is_cancelled();
            if stopping && self.running.is_empty() {
                break;
            }
            tokio::select! {
                () = stop.cancelled(), if !stopping => {}
                Some(message) = messages.recv() => self.take(message),
            }
            if !stop.is_cancelled() {
                self.start_what_may();
            }
            self.publish();
        }
        self.state.ended.cancel();
    }

    fn take(&mut self, message: Message) {
        match message {
            Message::Submitted { run, slot } => {
                self.queue.push_back(Waiting { run, since: Instant::now(), slot: Some(slot) });
            }
            Message::Ended { run } => {
                self.running.remove(&run);
            }
            Message::Cancel { run } => match self.running.get(&run) {
                Some(cancel) => cancel.cancel(),
                None => {
                    // It has nothing to wait for any more.
                    if let Some(at) = self.queue.iter().position(|waiting| waiting.run == run)
                        && let Some(waiting) = self.queue.remove(at)
                    {
                        self.queue.push_front(waiting);
                        self.start_next();
                    }
                }
            },
        }
    }

    fn start_what_may(&mut self) {
        while self.running.len() < self.shared.settings.concurrent_runs {
            if !self.start_next() {
                break;
            }
        }
        if !self.queue.is_empty() {
            self.shared.metrics.server_limit_hit("concurrent_runs");
        }
        self.publish();
    }

    fn start_next(&mut self) -> bool {
        let Some(waiting) = self.queue.pop_front() else { return false };
        self.shared.metrics.time_in_queue(waiting.since.elapsed());
        drop(waiting.slot);
        let cancel = CancellationToken::new();
        self.running.insert(waiting.run, cancel.clone());
        let task = run_to_its_end(Arc::clone(&self.shared), waiting.run, cancel);
        let task = self.shared.guests.spawn(task);
        let sender = self.sender.clone();
        let shared = Arc::clone(&self.shared);
        tokio::spawn(async move {
            // A task that was cancelled went with the runtime for guests: the server is stopping, and
            // the run goes on after the next start.
            match task.await {
                Err(error) if error.is_panic() => {
                    end_after_panic(&shared, waiting.run, error.to_string()).await;
                }
                _ => {}
            }
            // The dispatcher outlives every run: it ends when none is left.
            drop(sender.send(Message::Ended { run: waiting.run }).await);
        });
        true
    }

    fn publish(&self) {
        let (waiting, running) = (self.queue.len(), self.running.len());
        self.state.waiting.store(waiting, Ordering::Relaxed);
        self.state.running.store(running, Ordering::Relaxed);
        self.shared.metrics.queue(waiting, running);
    }
}

/// Executes a stored run, from where it stands. What goes wrong on our side ends the run in `error`.
async fn run_to_its_end(shared: Arc<Shared>, id: RunId, cancel: CancellationToken) {
    let sink = StorageSink { storage: shared.storage.clone(), run: id };
    let run = match shared.storage.run(id) {
        Ok(Some(run)) => run,
        Ok(None) => return tracing::error!(run = %id, "a queued run has no events"),
        Err(error) => return tracing::error!(run = %id, %error, "failed to read a queued run"),
    };
    if run.status.is_terminal() {
        return;
    }
    if run.cancel_requested {
        cancel.cancel();
    }
    let prepared = match prepare(&shared, &run).await {
        Ok(prepared) => prepared,
        Err(message) => return give_up(&sink, &run, message).await,
    };
    let (component, policy, values) = prepared;
    let job = Job {
        limits: Arc::new(shared.limits.patched(&policy.limits)),
        run,
        component,
        policy: Arc::new(policy),
        values,
        sandbox: shared.sandbox.clone(),
        hub: Some(Arc::clone(&shared.hub)),
        teardown_timeout: Duration::from_millis(shared.settings.teardown_timeout_ms),
        cancel,
        stop: shared.stop.clone(),
    };
    match executor::execute(job, &sink).await {
        End::Finished(Ok(())) | End::Stopped => {}
        End::Finished(Err(error)) => {
            tracing::error!(run = %id, %error, "failed to store a run's end; it continues after a restart");
        }
    }
}

/// The component, the grant, and the values that the run's attempts have set so far.
async fn prepare(shared: &Shared, run: &Run) -> Result<(Loaded, Policy, Vec<Value>), String> {
    let digest = run.spec.version;
    let policy = shared.storage.policy(&run.spec.suite).map_err(|e| format!("failed to {e}"))?;
    let policy = policy.unwrap_or_default();
    let metered = shared.limits.patched(&policy.limits).fuel > 0;
    let component = match shared.compiler.cached(digest, metered).await {
        Some(component) => component,
        None => {
            let bytes = shared.storage.blob(&digest).await.map_err(|e| format!("failed to {e}"))?;
            let bytes = bytes.ok_or("the version was deleted")?;
            let loaded = shared.compiler.load(digest, bytes, metered).await;
            loaded.map_err(|error| format!("failed to {error}"))?
        }
    };
    let values =
        executor::values_so_far(&shared.storage, run).map_err(|e| format!("failed to {e}"))?;
    Ok((component, policy, values))
}

/// No run stays without an owner: one whose executor panicked ends in `error`.
async fn end_after_panic(shared: &Shared, id: RunId, panic: String) {
    let sink = StorageSink { storage: shared.storage.clone(), run: id };
    match shared.storage.run(id) {
        Ok(Some(run)) if !run.status.is_terminal() => give_up(&sink, &run, panic).await,
        Ok(_) => {}
        Err(error) => tracing::error!(run = %id, %error, panic, "failed to end a run"),
    }
}

/// Ends a run that cannot be executed.
async fn give_up(sink: &StorageSink, run: &Run, message: String) {
    tracing::error!(run = %run.spec.id, message, "a run cannot be executed");
    let mut counts = run.counts();
    for test in run.tests.iter().filter(|test| !test.status.is_terminal()) {
        counts.error += 1;
        let kind = EventKind::TestFinished {
            test: test.name.clone(),
            round: run.spec.repeat,
            status: TestStatus::Error,
            reason: Some(message.clone()),
        };
        sink.send(kind).await;
    }
    let status = RunStatus::Error;
    let end = EventKind::RunFinished { status, message: Some(message), counts };
    if let Err(error) = sink.end(end).await {
        tracing::error!(run = %run.spec.id, %error, "failed to store a run's end");
    }
}
