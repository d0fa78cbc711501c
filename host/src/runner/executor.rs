//! Executes one run: setup, tests with their attempts, teardown, in that order and no other. Does not
//! know what else runs, nor where its events go.

use std::pin::pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use futures::stream::{self, StreamExt as _};
use tokio::sync::oneshot;
use tokio_util::sync::CancellationToken;

use super::hub::Hub;
use super::sink::Sink;
use crate::compile::Loaded;
use crate::model::{
    Attempt, Cause, EventKind, Limits, PlannedTest, Policy, Round, Run, RunEvent, RunStatus, Stage,
    TestStatus, Value, short,
};
use crate::storage::{Storage, StorageError};
use crate::wasm::{AttemptOrder, FixtureFiles, Program, Sandbox};

/// After so many attempts at one thing that ended in `error` one after another, it is given up: if a
/// test takes the server down, the server must not try it for ever.
const PLATFORM_ERRORS: u32 = 5;

/// A run and what it takes to execute it.
pub(super) struct Job {
    /// The run as it stands: new, or interrupted, or to be retried.
    pub(super) run: Run,
    pub(super) component: Loaded,
    pub(super) policy: Arc<Policy>,
    pub(super) limits: Arc<Limits>,
    /// The files that it brought along.
    pub(super) fixtures: Option<Arc<FixtureFiles>>,
    /// What its attempts have set so far.
    pub(super) values: Vec<Value>,
    pub(super) sandbox: Sandbox,
    /// Who reads logs live.
    pub(super) hub: Option<Arc<Hub>>,
    pub(super) teardown_timeout: Duration,
    /// Ends the run as cancelled.
    pub(super) cancel: CancellationToken,
    /// Leaves the run as it stands, to be continued by another process.
    pub(super) stop: CancellationToken,
}

/// How an execution ended.
pub(super) enum End {
    /// The run has its verdict; an error if that could not be stored.
    Finished(Result<(), Arc<StorageError>>),
    /// It was asked to stop and is left as it stands.
    Stopped,
}

/// The values that attempts of `run` have set, in the order in which they ended, from what is stored of
/// them.
pub(super) fn values_so_far(storage: &Storage, run: &Run) -> Result<Vec<Value>, StorageError> {
    let mut values = Vec::new();
    let mut failed = None;
    storage.attempts(run.spec.id, run.last_seq, |stage, attempt| {
        if attempt.status != TestStatus::Passed || failed.is_some() {
            return;
        }
        match storage.detail(run.spec.id, stage, attempt.round, attempt.number) {
            Ok(detail) => merge(&mut values, &detail.unwrap_or_default().values),
            Err(error) => failed = Some(error),
        }
    })?;
    failed.map_or(Ok(values), Err)
}

fn merge(values: &mut Vec<Value>, set: &[Value]) {
    for value in set {
        values.retain(|earlier| earlier.name != value.name);
        values.push(value.clone());
    }
}

/// Executes a run from where it stands.
pub(super) async fn execute(job: Job, sink: &impl Sink) -> End {
    let timeout = Duration::from_millis(job.run.spec.timeout_ms);
    let params = Arc::new(job.run.spec.request.params.clone());
    let execution = Execution {
        // Counted from here, so that a run that was interrupted has its whole time again: how long the
        // server was away is not the run's doing.
        deadline: Instant::now() + timeout,
        params,
        // Decisions rest on what attempts came to, not on the attempts.
        state: Mutex::new(State {
            run: job.run.keeping(0),
            values: Arc::new(job.values),
            waited_ms: 0,
        }),
        component: job.component,
        policy: job.policy,
        limits: job.limits,
        fixtures: job.fixtures,
        sandbox: job.sandbox,
        hub: job.hub,
        teardown_timeout: job.teardown_timeout,
        halt: job.cancel.child_token(),
        cancel: job.cancel,
        stop: job.stop,
        sink,
    };
    if execution.state().run.has_failed_enough() {
        execution.halt.cancel();
    }
    execution.execute().await
}

/// What changes while a run is executed.
struct State {
    /// The run's fold, kept in step with the events sent, without its attempts.
    run: Run,
    values: Arc<Vec<Value>>,
    /// How long it waited before further attempts, in this process.
    waited_ms: u64,
}

struct Execution<'a, S> {
    deadline: Instant,
    params: Arc<std::collections::BTreeMap<String, String>>,
    state: Mutex<State>,
    component: Loaded,
    policy: Arc<Policy>,
    limits: Arc<Limits>,
    fixtures: Option<Arc<FixtureFiles>>,
    sandbox: Sandbox,
    hub: Option<Arc<Hub>>,
    teardown_timeout: Duration,
    cancel: CancellationToken,
    /// Ends what is under way but teardown: the run was cancelled, or has had its failures.
    halt: CancellationToken,
    stop: CancellationToken,
    sink: &'a S,
}

impl<S: Sink> Execution<'_, S> {
    async fn execute(self) -> End {
        if !self.cancel.is_cancelled() {
            self.tell(EventKind::RunStarted).await;
        }
        self.tell_lost_attempts().await;
        // Where nothing is to be done, there is nothing to prepare.
        let go = if self.has_tests() { self.set_up().await } else { Go::On };
        if matches!(go, Go::On) {
            self.run_tests().await;
        }
        self.finish_the_rest(&go).await;
        // What teardown takes does not count.
        let is_late = self.is_late();
        if self.stop.is_cancelled() && !self.all_finished() {
            return End::Stopped;
        }
        self.tear_down().await;
        if self.stop.is_cancelled() && self.teardown_is_due() {
            return End::Stopped;
        }
        self.finish(is_late).await
    }

    /// Records what an earlier process had begun and did not end.
    async fn tell_lost_attempts(&self) {
        let under_way = self.state().run.under_way.clone();
        for (stage, round, number) in under_way {
            let message = "the server stopped while it ran".to_owned();
            let attempt = not_run(round, number, TestStatus::Error, Cause::Lost, message);
            self.tell(EventKind::AttemptFinished { stage, attempt: Box::new(attempt) }).await;
        }
    }

    async fn set_up(&self) -> Go {
        loop {
            let (round, errors) = {
                let setup = &self.state().run.setup;
                (setup.round(1), setup.trailing_errors())
            };
            match round.last {
                Some((TestStatus::Passed, _)) => return Go::On,
                Some((TestStatus::Skipped, reason)) => return Go::Skip(reason.unwrap_or_default()),
                Some((TestStatus::Failed, why)) => return Go::SetupFailed(why.unwrap_or_default()),
                Some((TestStatus::Cancelled, _)) => return Go::Cancelled,
                Some((TestStatus::Error, why)) if errors >= PLATFORM_ERRORS => {
                    return Go::PlatformError(why.unwrap_or_default());
                }
                _ => {}
            }
            if self.must_end() {
                return Go::Cancelled;
            }
            let timeout = Duration::from_millis(self.limits.timeout_ms);
            let number = round.attempts + 1;
            self.attempt(Stage::Setup, 1, number, timeout, Some(self.deadline), &self.halt).await;
        }
    }

    async fn run_tests(&self) {
        let parallelism = self.state().run.spec.parallelism as usize;
        while !self.must_end()
            && let Some(round) = self.next_round()
        {
            let due = self.due_in(round);
            let tests = due.into_iter().map(|test| self.run_test(test, round));
            stream::iter(tests).buffer_unordered(parallelism).collect::<()>().await;
        }
    }

    /// The round that is to be run, if there is one.
    fn next_round(&self) -> Option<u32> {
        self.state().run.next_round(jiff::Timestamp::now())
    }

    /// The tests that have no verdict in this round.
    fn due_in(&self, round: u32) -> Vec<PlannedTest> {
        let run = &self.state().run;
        let due = run.spec.tests.iter().zip(&run.tests).filter(|(planned, test)| {
            test.rounds_finished < round && (round == 1 || planned.skip.is_none())
        });
        due.map(|(planned, _)| planned.clone()).collect()
    }

    async fn run_test(&self, test: PlannedTest, round: u32) {
        if let Some(reason) = test.skip.clone() {
            return self.finish_test(test.name, round, TestStatus::Skipped, Some(reason)).await;
        }
        let stage = Stage::Test(test.name.clone());
        while !self.must_end() {
            let (so_far, errors) = self.so_far(&test.name, round);
            let verdict = match so_far.last.clone() {
                None => None,
                Some((TestStatus::Error, _)) if errors < PLATFORM_ERRORS => None,
                Some((TestStatus::Failed, _)) if self.is_tried_again(&test, &so_far) => None,
                verdict => verdict,
            };
            if let Some((status, message)) = verdict {
                if let (status, Some(why)) = test.verdict(status) {
                    return self.finish_test(test.name, round, status, Some(why)).await;
                }
                let reason = match status {
                    TestStatus::Skipped => message,
                    TestStatus::Failed => self.why_no_more(&test, &so_far),
                    _ => None,
                };
                return self.finish_test(test.name, round, status, reason).await;
            }
            if so_far.tries > 0 {
                self.wait_before(so_far.tries + 1).await;
                if self.must_end() {
                    break;
                }
            }
            let number = so_far.attempts + 1;
            let timeout = Duration::from_millis(test.timeout_ms.unwrap_or(self.limits.timeout_ms));
            self.attempt(stage.clone(), round, number, timeout, Some(self.deadline), &self.halt)
                .await;
        }
        // A verdict that was reached before the end still holds.
        let (so_far, _) = self.so_far(&test.name, round);
        if let Some((status, message)) = so_far.last.clone()
            && (status != TestStatus::Error)
            && (status != TestStatus::Failed
                || !self.is_tried_again(&test, &so_far)
                || self.is_late())
        {
            let (verdict, why) = test.verdict(status);
            let reason = why.or(match status {
                TestStatus::Failed | TestStatus::Passed => None,
                TestStatus::Cancelled => message.or_else(|| Some(self.why_cancelled())),
                _ => message,
            });
            self.finish_test(test.name, round, verdict, reason).await;
        }
    }

    /// What the attempts at a test in a round came to, and how many errors came last.
    fn so_far(&self, name: &str, round: u32) -> (Round, u32) {
        let run = &self.state().run;
        let test = run.test(name).map(|test| &test.attempts);
        test.map(|them| (them.round(round), them.trailing_errors())).unwrap_or_default()
    }

    /// Whether a test that failed is tried again.
    fn is_tried_again(&self, test: &PlannedTest, so_far: &Round) -> bool {
        so_far.tries < test.max_attempts && self.why_no_more(test, so_far).is_none()
    }

    /// Why a test that failed is not tried again, though it might be tried more often.
    fn why_no_more(&self, test: &PlannedTest, so_far: &Round) -> Option<String> {
        if so_far.tries >= test.max_attempts {
            return None;
        }
        let state = self.state();
        let request = &state.run.spec.request;
        if let Some(cause) = so_far.cause.filter(|cause| !request.retry_on.contains(cause))
            && !request.retry_on.is_empty()
        {
            return Some(format!("not tried again: {} is no cause for it", cause.as_str()));
        }
        let budget = request.retry_budget_ms?;
        let wait = request.retry_wait.before(so_far.tries + 1, 0.0);
        let spent = state.run.retried_ms.saturating_add(state.waited_ms).saturating_add(wait);
        let why = "not tried again: the time for retries is used up";
        (spent >= budget).then(|| format!("{why}, {budget} ms in sum"))
    }

    async fn wait_before(&self, number: u32) {
        let wait = self.state().run.spec.request.retry_wait.before(number, rand::random());
        let since = Instant::now();
        let until = (Instant::now() + Duration::from_millis(wait)).min(self.deadline);
        tokio::select! {
            () = tokio::time::sleep_until(until.into()) => {}
            () = self.halt.cancelled() => {}
            () = self.stop.cancelled() => {}
        }
        let waited = u64::try_from(since.elapsed().as_millis()).unwrap_or(u64::MAX);
        let mut state = self.state();
        state.waited_ms = state.waited_ms.saturating_add(waited);
    }

    /// Gives a verdict to every test that has none in the round that was due, if the run goes on without them.
    async fn finish_the_rest(&self, go: &Go) {
        let run_on = match go {
            Go::On | Go::Cancelled => self.halt.is_cancelled() || self.is_late(),
            _ => true,
        };
        if !run_on {
            return;
        }
        if let Some(round) = self.next_round() {
            for test in self.due_in(round) {
                self.finish_without_running(test, round, go).await;
            }
        }
    }

    async fn finish_without_running(&self, test: PlannedTest, round: u32, go: &Go) {
        let (status, reason) = match (&test.skip, go) {
            (Some(reason), _) => (TestStatus::Skipped, reason.clone()),
            (None, Go::Skip(reason)) => (TestStatus::Skipped, format!("setup skipped: {reason}")),
            (None, Go::PlatformError(why)) => {
                (TestStatus::Error, format!("setup did not end: {why}"))
            }
            (None, Go::SetupFailed(why)) => {
                let number = self.so_far(&test.name, round).0.attempts + 1;
                let message = format!("setup failed: {why}");
                let attempt = not_run(round, number, TestStatus::Failed, Cause::Setup, message);
                let stage = Stage::Test(test.name.clone());
                self.tell(EventKind::AttemptFinished { stage, attempt: Box::new(attempt) }).await;
                return self.finish_test(test.name, round, TestStatus::Failed, None).await;
            }
            (None, Go::On | Go::Cancelled) => (TestStatus::Cancelled, self.why_cancelled()),
        };
        self.finish_test(test.name, round, status, Some(reason)).await;
    }

    /// Why what has not ended does not go on.
    fn why_cancelled(&self) -> String {
        let run = &self.state().run;
        if self.cancel.is_cancelled() {
            "the run was cancelled".into()
        } else if run.has_failed_enough() {
            stopped_by_failures(run)
        } else {
            deadline_reached(run)
        }
    }

    async fn finish_test(
        &self,
        test: String,
        round: u32,
        status: TestStatus,
        reason: Option<String>,
    ) {
        self.tell(EventKind::TestFinished { test, round, status, reason }).await;
    }

    /// Whether setup was started and teardown has not been tried since.
    fn teardown_is_due(&self) -> bool {
        let Run { setup, teardown, .. } = &self.state().run;
        let ended = teardown.last_status().is_some_and(|status| status != TestStatus::Error);
        setup.is_tried() && !ended && teardown.trailing_errors() < PLATFORM_ERRORS
    }

    async fn tear_down(&self) {
        // Neither a cancellation nor the run's deadline stops it: it has a deadline of its own.
        let never = CancellationToken::new();
        while self.teardown_is_due() && !self.stop.is_cancelled() {
            let number = self.state().run.teardown.round(1).attempts + 1;
            self.attempt(Stage::Teardown, 1, number, self.teardown_timeout, None, &never).await;
        }
    }

    async fn finish(&self, is_late: bool) -> End {
        let (status, message, counts) = {
            let mut state = self.state();
            state.run.cancel_requested |= self.cancel.is_cancelled();
            let status = state.run.verdict();
            let counts = state.run.counts();
            let message = if state.run.was_cut_by_failures() {
                Some(stopped_by_failures(&state.run))
            } else if is_late && status == RunStatus::Failed {
                Some(deadline_reached(&state.run))
            } else if state.run.failed_for_flakiness() {
                let flaky = counts.flaky;
                Some(format!("{flaky} flaky: passed only when tried again, and on_flaky is fail"))
            } else {
                None
            };
            (status, message, counts)
        };
        let end = EventKind::RunFinished { status, message, counts };
        End::Finished(self.sink.end(end).await)
    }

    /// Runs one attempt and tells of it: of its start when it starts, which is when a slot is free for
    /// it. One that is cancelled, too late or stopped while it waits never was.
    ///
    /// The start is queued for the store as the guest starts, not before, and nobody waits until it is
    /// durable. So a kill may undo it; the attempt was then never heard of, and its number is given
    /// again. What is stored of an attempt begins with its start, as the store keeps the order.
    async fn attempt(
        &self,
        stage: Stage,
        round: u32,
        number: u32,
        timeout: Duration,
        not_after: Option<Instant>,
        cancel: &CancellationToken,
    ) {
        let (begin, mut begun) = oneshot::channel();
        let order = self.order(stage.clone(), round, number, timeout, not_after, cancel);
        // An error means that nobody waits for it any more.
        let mut attempt = pin!(self.sandbox.attempt(order, move || _ = begin.send(())));
        let ended = tokio::select! {
            biased;
            attempt = &mut attempt => Some(attempt),
            Ok(()) = &mut begun => None,
            () = self.stop.cancelled() => return,
        };
        let is_over = || cancel.is_cancelled() || not_after.is_some_and(|at| Instant::now() >= at);
        let started = EventKind::AttemptStarted { stage: stage.clone(), round, number };
        let attempt = match ended {
            None => tokio::join!(attempt, self.tell(started)).0,
            // It was so short that both are seen at once.
            Some(attempt) if begun.try_recv().is_ok() => {
                self.tell(started).await;
                attempt
            }
            Some(attempt) if attempt.status == TestStatus::Error || !is_over() => attempt,
            Some(_) => return,
        };
        if let Some(detail) = &attempt.detail
            && attempt.status == TestStatus::Passed
            && !detail.values.is_empty()
        {
            merge(Arc::make_mut(&mut self.state().values), &detail.values);
        }
        self.tell(EventKind::AttemptFinished { stage, attempt: Box::new(attempt) }).await;
    }

    fn order(
        &self,
        stage: Stage,
        round: u32,
        number: u32,
        timeout: Duration,
        not_after: Option<Instant>,
        cancel: &CancellationToken,
    ) -> AttemptOrder {
        let (run, values, program) = {
            let state = self.state();
            let spec = &state.run.spec;
            let name = || spec.suite.name.clone();
            let program = spec.program.map(|protocol| Program { protocol, name: name() });
            (spec.id, Arc::clone(&state.values), program)
        };
        let hub = self.hub.as_ref();
        let live = hub.and_then(|hub| hub.attempt_started(run, stage.clone(), round, number));
        AttemptOrder {
            component: self.component.clone(),
            program,
            stage,
            round,
            number,
            policy: Arc::clone(&self.policy),
            limits: Arc::clone(&self.limits),
            fixtures: self.fixtures.clone(),
            params: Arc::clone(&self.params),
            values,
            timeout,
            not_after,
            cancel: cancel.clone(),
            live,
        }
    }

    async fn tell(&self, kind: EventKind) {
        self.apply(&kind);
        self.sink.send(kind).await;
    }

    fn apply(&self, kind: &EventKind) {
        // The fold needs no details, and copying a log for it would be a waste.
        let kind = match kind {
            EventKind::AttemptFinished { stage, attempt } => EventKind::AttemptFinished {
                stage: stage.clone(),
                attempt: Box::new(attempt.summary()),
            },
            other => other.clone(),
        };
        let mut state = self.state();
        let seq = state.run.last_seq + 1;
        let run_id = state.run.spec.id;
        state.run.apply(&RunEvent { run_id, seq, at: jiff::Timestamp::now(), kind });
        if state.run.has_failed_enough() {
            self.halt.cancel();
        }
    }

    fn has_tests(&self) -> bool {
        self.state().run.spec.tests.iter().any(|test| test.skip.is_none())
    }

    fn all_finished(&self) -> bool {
        self.next_round().is_none()
    }

    /// Whether no further attempt may start.
    fn must_end(&self) -> bool {
        self.halt.is_cancelled() || self.stop.is_cancelled() || self.is_late()
    }

    fn is_late(&self) -> bool {
        Instant::now() >= self.deadline
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// What follows from setup.
enum Go {
    /// The tests run.
    On,
    /// They are skipped, for this reason.
    Skip(String),
    /// They fail, since setup failed so.
    SetupFailed(String),
    /// They end in error, since setup did not end.
    PlatformError(String),
    /// The run was cancelled, stopped or too late before setup ended.
    Cancelled,
}

fn deadline_reached(run: &Run) -> String {
    format!("the run reached its deadline of {} ms", run.spec.timeout_ms)
}

fn stopped_by_failures(run: &Run) -> String {
    match run.spec.request.max_failures {
        Some(most) if most > 1 => {
            format!("the run was stopped at its failure number {most} (max_failures)")
        }
        _ => "the run was stopped at its first failure (max_failures)".into(),
    }
}

/// An attempt that did not run, or of which nothing is known.
fn not_run(round: u32, number: u32, status: TestStatus, cause: Cause, message: String) -> Attempt {
    Attempt {
        cause: Some(cause),
        message: Some(short(&message, Attempt::SUMMARY_MESSAGE_BYTES)),
        ..Attempt::new(round, number, status, jiff::Timestamp::now())
    }
}
