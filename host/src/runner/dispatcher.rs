//! Decides what runs when. One task owns the queue and the runs under way; everybody else sends it
//! messages.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

use jiff::Timestamp;
use tokio::sync::{Semaphore, mpsc, oneshot};
use tokio_util::sync::CancellationToken;

use super::executor::{self, End, Job};
use super::queue::{Facts, Slot, Standing, Waiting};
use super::roster::{Roster, Start, Turn};
use super::sink::{Sink as _, StorageSink};
use super::{Shared, SubmitError, cancel, fixtures};
use crate::compile::{CompileError, Loaded};
use crate::model::{Counts, EventKind, Policy, Run, RunId, RunStatus, SuiteId, TestStatus, Value};

/// What the dispatcher is told.
pub(super) enum Message {
    /// A run was stored and waits.
    Submitted(Waiting),
    /// A run is to stop.
    Cancel { run: RunId },
    /// A run's task is over.
    Ended { run: RunId, turn: Turn },
    /// A run that was stopped while it waited has ended, or needs an executor all the same.
    EndedInQueue { run: RunId, needs_executor: bool },
    /// What is stored of a run of this suite changed otherwise.
    Changed { suite: SuiteId },
    /// Somebody asks how a run stands in the queue.
    Asked { run: RunId, reply: oneshot::Sender<Option<Standing>> },
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

    /// How a run stands in the queue; none if it does not wait.
    pub(super) async fn standing(&self, run: RunId) -> Option<Standing> {
        let (reply, answer) = oneshot::channel();
        self.send(Message::Asked { run, reply }).await;
        answer.await.ok().flatten()
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

/// Owns the queue and the runs under way.
pub(super) struct Dispatcher {
    shared: Arc<Shared>,
    state: Arc<State>,
    sender: mpsc::Sender<Message>,
    roster: Roster,
}

impl Dispatcher {
    /// How long it sleeps at most before it looks at the clock again.
    const LONGEST_LOOK: Duration = Duration::from_secs(60);
    /// Messages that may wait; a full channel makes the sender wait.
    const MESSAGES: usize = 1024;

    /// Starts the dispatcher's task, with the runs that an earlier process left, and those of them that were
    /// to stop.
    pub(super) fn start(
        shared: Arc<Shared>,
        unfinished: Vec<Waiting>,
        stopped: &[RunId],
    ) -> Handle {
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
        let roster = Roster::new([]);
        let mut dispatcher = Self { shared, state, sender, roster };
        unfinished.into_iter().for_each(|waiting| dispatcher.wait(waiting));
        // Nobody tells them again, and what they wait for may take long.
        stopped.iter().for_each(|run| dispatcher.roster.cancel(*run));
        tokio::spawn(dispatcher.run(messages));
        handle
    }

    async fn run(mut self, mut messages: mpsc::Receiver<Message>) {
        let stop = self.shared.stop.clone();
        // The process may have died between a run and what it supersedes.
        self.roster.that_supersede().iter().for_each(|newer| self.supersede(newer));
        self.start_what_may();
        self.state.ready.store(true, Ordering::Release);
        loop {
            let stopping = stop.is_cancelled();
            if stopping && self.roster.is_idle() {
                break;
            }
            let waits_enough = self.until_waits_end();
            tokio::select! {
                () = stop.cancelled(), if !stopping => {}
                Some(message) = messages.recv() => self.take(message),
                () = waits_enough, if !stopping => self.end_waits(),
            }
            if !stop.is_cancelled() {
                self.start_what_may();
            }
            self.publish();
        }
        self.state.ended.cancel();
    }

    fn take(&mut self, message: Message) {
        let roster = &mut self.roster;
        match message {
            Message::Submitted(waiting) => {
                let facts = waiting.facts.clone();
                self.wait(waiting);
                self.supersede(&facts);
            }
            Message::Cancel { run } => roster.cancel(run),
            Message::Ended { run, turn } => {
                if let Some(suite) = roster.ended(run, turn) {
                    self.look_again(&suite);
                }
            }
            Message::Changed { suite } => self.look_again(&suite),
            Message::EndedInQueue { run, needs_executor } => {
                if let Some(suite) = roster.ended_in_queue(run, needs_executor) {
                    self.look_again(&suite);
                }
            }
            Message::Asked { run, reply } => {
                let standing = match roster.held().needs(run) {
                    None => roster.standing(run, self.shared.settings.concurrent_runs),
                    Some(needs) => {
                        let waits_for = needs.lacking(&self.shared.storage);
                        Some(Standing { place: None, waits_for })
                    }
                };
                // Whoever went away does not want to know.
                drop(reply.send(standing));
            }
        }
    }

    fn start_what_may(&mut self) {
        while let Some(run) = self.roster.end() {
            self.end_in_queue(run);
        }
        while let Some(start) = self.roster.start(self.shared.settings.concurrent_runs) {
            self.execute(start);
        }
        if self.roster.load().0 > 0 {
            self.shared.metrics.server_limit_hit("runner.concurrent_runs");
        }
        self.publish();
    }

    fn execute(&self, Start { run, since, turn, cancel }: Start) {
        self.shared.metrics.time_in_queue(since.elapsed());
        let task = run_to_its_end(Arc::clone(&self.shared), run, cancel);
        let task = self.shared.guests.spawn(task);
        let sender = self.sender.clone();
        let shared = Arc::clone(&self.shared);
        tokio::spawn(async move {
            // A task that was cancelled went with the runtime for guests: the server is stopping, and
            // the run goes on after the next start.
            match task.await {
                Err(error) if error.is_panic() => {
                    end_after_panic(&shared, run, error.to_string()).await;
                }
                _ => {}
            }
            // The dispatcher outlives every run: it ends when none is left.
            drop(sender.send(Message::Ended { run, turn }).await);
        });
    }

    /// A run waits for its turn, or until what it needs is there.
    fn wait(&mut self, waiting: Waiting) {
        let needs = waiting.facts.needs.as_ref();
        match needs.is_none_or(|needs| needs.lacking(&self.shared.storage).is_empty()) {
            true => self.roster.wait(waiting),
            false => self.roster.hold(waiting),
        }
    }

    /// A run of this suite ended: what was waited for may be there.
    fn look_again(&mut self, suite: &SuiteId) {
        let storage = &self.shared.storage;
        self.roster.free(suite, |needs| needs.lacking(storage).is_empty());
    }

    /// Resolves when a run has waited enough for what it needs.
    fn until_waits_end(&self) -> impl Future<Output = ()> + use<> {
        let end = self.roster.held().next_end();
        async move {
            let Some(end) = end else { return std::future::pending().await };
            let left = end.duration_since(Timestamp::now());
            // In steps, as the clock may be set meanwhile.
            let left = Duration::try_from(left).unwrap_or_default().min(Self::LONGEST_LOOK);
            tokio::time::sleep(left).await;
        }
    }

    /// Stops those that have waited enough for what they need, and says what they lacked.
    fn end_waits(&mut self) {
        for run in self.roster.held().overdue(Timestamp::now()) {
            let Some(needs) = self.roster.held().needs(run).cloned() else { continue };
            self.shared.metrics.server_limit_hit("runner.bounds.max_needs_wait_ms");
            let lacked = needs.lacking(&self.shared.storage);
            let lacked =
                lacked.iter().map(ToString::to_string).collect::<Vec<_>>().join(", and for ");
            let by = format!("the server: it has waited long enough for {lacked}");
            self.roster.has_waited_enough(run);
            let (shared, sender) = (Arc::clone(&self.shared), self.sender.clone());
            tokio::spawn(async move {
                match cancel::cancel(&shared, run, Some(by)).await {
                    Ok(_) => drop(sender.send(Message::Cancel { run }).await),
                    Err(error) => {
                        tracing::error!(%run, %error, "failed to stop a run that waited enough");
                    }
                }
            });
        }
    }

    /// Cancels what a run makes pointless.
    fn supersede(&self, newer: &Facts) {
        let mut older = self.roster.made_pointless_by(newer);
        let mut newer = newer.clone();
        // Of two that come at once, the newer may be heard of first.
        if let Some(newest) = self.roster.that_makes_pointless(&newer) {
            older.push(std::mem::replace(&mut newer, newest).run);
        }
        if older.is_empty() {
            return;
        }
        let (shared, sender) = (Arc::clone(&self.shared), self.sender.clone());
        tokio::spawn(async move {
            for run in cancel::supersede(&shared, newer, older).await {
                drop(sender.send(Message::Cancel { run }).await);
            }
        });
    }

    fn end_in_queue(&self, run: RunId) {
        let (shared, sender) = (Arc::clone(&self.shared), self.sender.clone());
        tokio::spawn(async move {
            // In a task of its own, so that a panic does not hold the place for ever.
            let ended = tokio::spawn(async move { ended_without_running(&shared, run).await });
            let needs_executor = !ended.await.unwrap_or(false);
            drop(sender.send(Message::EndedInQueue { run, needs_executor }).await);
        });
    }

    fn publish(&self) {
        let (waiting, running) = self.roster.load();
        self.state.waiting.store(waiting, Ordering::Relaxed);
        self.state.running.store(running, Ordering::Relaxed);
        self.shared.metrics.queue(waiting, running);
    }
}

/// Executes a stored run, from where it stands. What goes wrong on our side ends the run in `error`.
async fn run_to_its_end(shared: Arc<Shared>, id: RunId, cancel: CancellationToken) {
    let sink = StorageSink { storage: shared.storage.clone(), run: id };
    let mut run = match shared.storage.run(id) {
        Ok(Some(run)) => run,
        Ok(None) => return end_unread(&sink, "a queued run has no events".to_owned()).await,
        Err(error) => return end_unread(&sink, format!("failed to {error}")).await,
    };
    if run.status.is_terminal() {
        return;
    }
    if run.cancel_requested && run.is_untouched() {
        return end_as_cancelled(&sink, &run).await;
    }
    if run.cancel_requested {
        cancel.cancel();
    }
    match gated(&shared, &mut run).await {
        Ok(()) => {}
        Err(Halt::Refused(reason)) => {
            let (verdict, status) = (TestStatus::Cancelled, RunStatus::Cancelled);
            return end(&sink, &run, verdict, reason.clone(), status, Some(reason)).await;
        }
        Err(Halt::Failed(message)) => return give_up(&sink, &run, message).await,
    }
    let prepared = match prepare(&shared, &run).await {
        Ok(prepared) => prepared,
        Err(message) => return give_up(&sink, &run, message).await,
    };
    let (component, policy, values) = prepared;
    let fixtures = tokio::select! {
        biased;
        fixtures = fixtures::of(&shared, &run) => fixtures,
        // It may wait for long. One that has begun has them all the same, to be torn down.
        () = cancel.cancelled(), if run.is_untouched() => return end_as_cancelled(&sink, &run).await,
        () = shared.stop.cancelled() => return,
    };
    let fixtures = match fixtures {
        Ok(fixtures) => fixtures,
        Err(message) => return give_up(&sink, &run, message).await,
    };
    let job = Job {
        limits: Arc::new(shared.limits.patched(&policy.limits)),
        run,
        component,
        policy: Arc::new(policy),
        fixtures,
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

/// Why a run does not start.
enum Halt {
    Refused(String),
    Failed(String),
}

/// Asks the gates before a run first starts, and adds the parameters that they give. What they said then
/// holds whenever the run goes on.
async fn gated(shared: &Shared, run: &mut Run) -> Result<(), Halt> {
    let Some(plugins) = &shared.plugins else { return Ok(()) };
    let id = run.spec.id;
    let earlier = shared.storage.gated(id);
    let earlier = earlier.map_err(|error| Halt::Failed(format!("failed to {error}")))?;
    let asks = earlier.is_none() && run.is_untouched();
    let said = if asks { plugins.gate(run).await } else { earlier };
    let Some(said) = said else { return Ok(()) };
    if asks && let Err(error) = shared.storage.put_gated(id, said.clone()).await {
        // What they said holds for now all the same; a full disk must not stop a run.
        tracing::error!(run = %id, %error, "failed to store what the gates said");
    }
    if let Some(reason) = said.refused.filter(|_| run.is_untouched()) {
        return Err(Halt::Refused(reason));
    }
    run.spec.request.params.extend(said.params);
    Ok(())
}

/// The component, the grant, and the values that the run's attempts have set so far.
async fn prepare(shared: &Shared, run: &Run) -> Result<(Loaded, Policy, Vec<Value>), String> {
    let digest = run.spec.version;
    let policy = shared.storage.policy(&run.spec.suite).map_err(|e| format!("failed to {e}"))?;
    let policy = policy.unwrap_or_default();
    let metered = shared.sandbox.meters(&policy.limits, run.spec.language.as_deref());
    let storage = shared.storage.clone();
    let bytes = async move {
        let bytes =
            storage.component(&digest).await.map_err(|e| CompileError::Unread(e.to_string()))?;
        bytes.ok_or_else(|| CompileError::Unread("the version was deleted".into()))
    };
    let component = shared.compiler.load(digest, metered, bytes).await;
    let component = component.map_err(|error| format!("failed to {error}"))?;
    let values =
        executor::values_so_far(&shared.storage, run).map_err(|e| format!("failed to {e}"))?;
    Ok((component, policy, values))
}

/// Ends a run that cannot be read, so that it does not stay without an owner. Its tests cannot be counted.
/// If the store takes nothing either, it goes on after the restart.
pub(super) async fn end_unread(sink: &StorageSink, message: String) {
    tracing::error!(run = %sink.run, message, "a run cannot be read");
    let (status, counts) = (RunStatus::Error, Counts::default());
    let end = EventKind::RunFinished { status, message: Some(message), counts };
    if let Err(error) = sink.end(end).await {
        tracing::error!(run = %sink.run, %error, "failed to store a run's end");
    }
}

/// No run stays without an owner: one whose executor panicked ends in `error`.
async fn end_after_panic(shared: &Shared, id: RunId, panic: String) {
    let sink = StorageSink { storage: shared.storage.clone(), run: id };
    match shared.storage.run(id) {
        Ok(Some(run)) if !run.status.is_terminal() => give_up(&sink, &run, panic).await,
        Ok(_) => {}
        Err(error) => end_unread(&sink, format!("{panic}; then failed to {error}")).await,
    }
}

/// Ends a run that was stopped before it started. False if it needs an executor: to clean up after an
/// earlier process, or to be told apart from a mistake of ours.
async fn ended_without_running(shared: &Shared, id: RunId) -> bool {
    let sink = StorageSink { storage: shared.storage.clone(), run: id };
    match shared.storage.run(id) {
        Ok(Some(run)) if run.status.is_terminal() => true,
        Ok(Some(run)) if run.cancel_requested && run.is_untouched() => {
            end_as_cancelled(&sink, &run).await;
            true
        }
        _ => false,
    }
}

async fn end_as_cancelled(sink: &StorageSink, run: &Run) {
    let reason = "the run was cancelled".to_owned();
    end(sink, run, TestStatus::Cancelled, reason, RunStatus::Cancelled, None).await;
}

/// Ends a run that cannot be executed.
async fn give_up(sink: &StorageSink, run: &Run, message: String) {
    tracing::error!(run = %run.spec.id, message, "a run cannot be executed");
    end(sink, run, TestStatus::Error, message.clone(), RunStatus::Error, Some(message)).await;
}

/// Ends a run with the same verdict on every test that has none.
async fn end(
    sink: &StorageSink,
    run: &Run,
    verdict: TestStatus,
    reason: String,
    status: RunStatus,
    message: Option<String>,
) {
    let mut counts = run.counts();
    let undecided = run.spec.tests.iter().zip(&run.tests);
    for (planned, test) in undecided.filter(|(_, test)| !test.status.is_terminal()) {
        let (status, reason) = match &planned.skip {
            Some(skip) => (TestStatus::Skipped, skip),
            None => (verdict, &reason),
        };
        match status {
            TestStatus::Skipped => counts.skipped += 1,
            TestStatus::Cancelled => counts.cancelled += 1,
            _ => counts.error += 1,
        }
        let kind = EventKind::TestFinished {
            test: test.name.clone(),
            round: test.rounds_finished + 1,
            status,
            reason: Some(reason.clone()),
        };
        sink.send(kind).await;
    }
    if let Err(error) = sink.end(EventKind::RunFinished { status, message, counts }).await {
        tracing::error!(run = %run.spec.id, %error, "failed to store a run's end");
    }
}
