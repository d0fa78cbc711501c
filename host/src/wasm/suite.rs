//! Describes suites and programs and runs attempts, as many at a time as there are slots.

use std::collections::BTreeMap;
use std::convert::identity;
use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use jiff::Timestamp;
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;
use tokio_util::task::AbortOnDropHandle;

use super::address::Resolver;
use super::execute::{Answer, Call, Ending, Execution, Host, Terms, execute};
use super::fixtures::{FixtureFiles, FixturesError, Shelf};
use super::fs::FixtureContents;
use super::http::HttpShared;
use super::prepared::{Linked, Prepared, PreparedSuites};
use super::room::{Room, Rooms};
use super::trap::in_words;
use super::verdict::Judge;
use super::{Engines, SandboxSettings, convert, program, verdict};
use crate::compile::Loaded;
use crate::metrics::Metrics;
use crate::model::{
    Attempt, AttemptDetail, Cause, Fixtures, Introduction, InvalidDescription, Limit, Limits,
    LimitsPatch, LogLine, Name, Policy, Protocol, Stage, SuiteDescription, TestStatus, Value,
};

/// Runs suites. Cheap to clone.
#[derive(Clone)]
pub struct Sandbox(Arc<Inner>);

struct Inner {
    settings: SandboxSettings,
    host: Arc<Host>,
    prepared: PreparedSuites,
    rooms: Rooms,
    /// Room for the hooks of plugins, which take none of what attempts have.
    hook_rooms: Rooms,
    shelf: Shelf,
}

/// Why there is no sandbox.
#[derive(Debug, thiserror::Error)]
pub enum SandboxError {
    /// wasmtime does not take what we offer to guests.
    #[error("link what guests may import: {0:#}")]
    Link(wasmtime::Error),
    /// There is something wrong with `tls_ca_file`.
    #[error(transparent)]
    Tls(Box<dyn std::error::Error + Send + Sync>),
}

/// Why there is no description.
#[derive(Clone, Debug, thiserror::Error)]
pub enum DescribeError {
    /// The guest's doing.
    #[error("describe the suite: it {0}")]
    Guest(String),
    /// It answered, but not what the contract asks for.
    #[error("describe the suite: {0}")]
    Invalid(#[from] InvalidDescription),
    /// It is a test program, and nobody said what it is called.
    #[error(
        "describe it: it is a test program, which has no name of its own: give one by `?name=`, or by \
         `--name` on the command line"
    )]
    Unnamed,
    /// It is a suite, and somebody said how to understand it.
    #[error(
        "describe the suite: it tells its tests itself and needs no protocol; leave {0} out: only a \
         test program has one"
    )]
    NoProgram(Protocol),
    /// It is no suite.
    #[error("describe it: it is a plugin; install it by `handoff plugins install`")]
    Plugin,
    /// There was no room for it within `sandbox.slot_wait_ms`.
    #[error("describe the suite: no room was free within {}; try again in a moment", in_words(*.0))]
    Busy(Duration),
    /// The platform's own fault.
    #[error("describe the suite: {0}")]
    Host(String),
}

/// What a component calls itself and what is in it.
#[derive(Clone, Debug)]
pub struct Described {
    /// The namespace that it names, if it names one.
    pub namespace: Option<Name>,
    /// Its name.
    pub name: Name,
    /// The rest, checked.
    pub description: SuiteDescription,
    /// If it is a program: how its tests are run and judged.
    pub program: Option<Protocol>,
}

/// Everything an attempt needs to know.
#[derive(Clone)]
pub struct AttemptOrder {
    /// The suite.
    pub component: Loaded,
    /// If it is a program.
    pub program: Option<Program>,
    /// Setup, a test, or teardown.
    pub stage: Stage,
    /// Which round of a repeated run, counted from 1.
    pub round: u32,
    /// Which attempt in this round, counted from 1.
    pub number: u32,
    /// What is granted.
    pub policy: Arc<Policy>,
    /// The server's limits with the policy's patch applied.
    pub limits: Arc<Limits>,
    /// The files that it brought along.
    pub fixtures: Option<Arc<FixtureFiles>>,
    /// The run's parameters.
    pub params: Arc<BTreeMap<String, String>>,
    /// Values set so far in this run.
    pub values: Arc<Vec<Value>>,
    /// The first deadline, counted from the moment it starts.
    pub timeout: Duration,
    /// No extension goes beyond this (the run's deadline); the attempt ends there as a timeout too.
    pub not_after: Option<Instant>,
    /// Ends the attempt with status `cancelled`.
    pub cancel: CancellationToken,
    /// Gets log lines as they come; lines are dropped when it is full.
    pub live: Option<mpsc::Sender<LogLine>>,
}

/// What there is to know of a program that was not written for us.
#[derive(Clone, Debug)]
pub struct Program {
    /// How its tests are run and judged.
    pub protocol: Protocol,
    /// What it is called: its argument 0.
    pub name: Name,
}

/// Why a guest did not get to run.
enum NotRun {
    Cancelled,
    Late,
    /// It waited for so long.
    Busy(Duration),
    Host(String),
}

impl Sandbox {
    /// A sandbox on `engines`, which were made with the same settings.
    pub fn new(
        settings: SandboxSettings,
        engines: Engines,
        metrics: Metrics,
    ) -> Result<Self, SandboxError> {
        let prepared =
            PreparedSuites::new(&engines, settings.prepared_suites).map_err(SandboxError::Link)?;
        let resolver = Resolver::system(&settings, metrics.clone());
        let http = HttpShared::new(settings.tls_ca_file.as_deref(), resolver)
            .map_err(|error| SandboxError::Tls(Box::new(error)))?;
        let largest_memory = settings.max_memory_bytes.min(settings.memory_in_all());
        let rooms = Rooms::new(&settings, metrics.clone());
        let hook_rooms = Rooms::for_hooks(&settings, metrics.clone());
        let shelf = Shelf::new(settings.fixtures.clone(), metrics.clone());
        let host = Arc::new(Host { engines, http, metrics, largest_memory });
        Ok(Self(Arc::new(Inner { settings, host, prepared, rooms, hook_rooms, shelf })))
    }

    /// Whether the instructions of a suite in this language are counted, where its policy has these limits.
    pub fn meters(&self, policy: &LimitsPatch, language: Option<&str>) -> bool {
        self.0.settings.meters(policy, language)
    }

    /// Asks the component what it is: under a short deadline, and without network, parameters and
    /// configuration. Of a program, `language` is a hint at its protocol.
    pub async fn describe(
        &self,
        component: &Loaded,
        introduction: &Introduction,
        language: Option<&str>,
    ) -> Result<Described, DescribeError> {
        let prepared = self.0.prepared.get(component).map_err(DescribeError::Host)?;
        let limits = &self.0.settings.limits;
        if let Linked::Plugin(_) = prepared.linked {
            return Err(DescribeError::Plugin);
        }
        if let Linked::Program(_) = prepared.linked {
            let described = program::describe(self, component, introduction, language).await?;
            self.check(&described.description, limits)?;
            return Ok(described);
        }
        if let Some(protocol) = introduction.protocol {
            return Err(DescribeError::NoProgram(protocol));
        }
        let mut execution = self.ask(component, Call::Describe, limits.clone()).await?;
        let Ending::Returned(Answer::Description(described)) = execution.ending else {
            return Err(verdict::of_describe(&mut execution));
        };
        let (namespace, name, description) = convert::description(*described)
            .map_err(|error| DescribeError::Guest(format!("has a bad name: {error}")))?;
        self.check(&description, &execution.limits)?;
        Ok(Described { namespace, name, description, program: None })
    }

    fn check(&self, description: &SuiteDescription, limits: &Limits) -> Result<(), DescribeError> {
        let checked = description.check(limits);
        if let Err(InvalidDescription::TooManyTests { .. }) = &checked {
            self.0.host.metrics.limit_hit(Limit::Tests);
        }
        Ok(checked?)
    }

    /// Calls the component for a description of it.
    pub(super) async fn ask(
        &self,
        component: &Loaded,
        call: Call,
        limits: Limits,
    ) -> Result<Execution, DescribeError> {
        let inner = &self.0;
        let prepared = inner.prepared.get(component).map_err(DescribeError::Host)?;
        let limits = Arc::new(limits);
        let room = tokio::select! {
            biased;
            room = inner.room(&prepared, &limits) => room.map_err(DescribeError::Host)?,
            waited = inner.patience() => return Err(DescribeError::Busy(waited)),
        };
        let terms = Terms {
            call,
            metered: component.metered,
            number: 1,
            policy: Arc::default(),
            limits,
            params: Arc::default(),
            values: Arc::default(),
            timeout: Duration::from_millis(inner.settings.describe_timeout_ms),
            not_after: None,
            cancel: CancellationToken::new(),
            live: None,
            protocol: None,
            fixtures: None,
            pace: None,
        };
        let execution =
            self.run(prepared, room, terms, identity).await.map_err(DescribeError::Host)?;
        let metrics = &inner.host.metrics;
        if verdict::timed_out(&execution) {
            metrics.server_limit_hit("sandbox.describe_timeout_ms");
        }
        let hit = Limit::ALL.iter().filter(|limit| execution.hits.was_hit(**limit));
        hit.for_each(|limit| metrics.limit_hit(*limit));
        Ok(execution)
    }

    /// Reads an archive of fixtures and says what is in it.
    pub async fn measure_fixtures(&self, archive: Bytes) -> Result<FixtureContents, FixturesError> {
        self.0.shelf.measure(archive).await
    }

    /// The files of a run, for as long as it is under way. Waits until there is room for them. `archive` is
    /// asked for if no other run has the same.
    pub async fn take_fixtures(
        &self,
        fixtures: &Fixtures,
        archive: impl Future<Output = Result<Bytes, String>>,
    ) -> Result<Arc<FixtureFiles>, FixturesError> {
        self.0.shelf.take(fixtures, archive).await
    }

    /// A component, ready to be called.
    pub(super) fn prepared(&self, component: &Loaded) -> Result<Arc<Prepared>, String> {
        self.0.prepared.get(component)
    }

    /// Waits for room for a hook of a plugin.
    pub(super) async fn hook_room(
        &self,
        prepared: &Prepared,
        limits: &Limits,
    ) -> Result<Room, String> {
        let memory_bytes = limits.memory_bytes.min(self.0.host.largest_memory);
        self.0.hook_rooms.take(prepared.slots, memory_bytes).await
    }

    /// Waits for as long as anything waits for room that has no deadline of its own.
    pub(super) async fn patience(&self) -> Duration {
        self.0.patience().await
    }

    /// Where limits are counted.
    pub(super) fn metrics(&self) -> &Metrics {
        &self.0.host.metrics
    }

    /// The bounds on a description.
    pub(super) fn limits(&self) -> &Limits {
        &self.0.settings.limits
    }

    /// Waits for a free slot and memory, calls `started`, and runs the guest. Never fails: whatever goes wrong
    /// is in the attempt, which always has its detail. An attempt that does not get to run, because
    /// it is cancelled or its run's deadline passes while it waits, never calls `started`. Dropping
    /// the future ends the guest.
    pub async fn attempt(&self, order: AttemptOrder, started: impl FnOnce() + Send) -> Attempt {
        let (round, number) = (order.round, order.number);
        if order.program.is_some() && !matches!(order.stage, Stage::Test(_)) {
            // A program has neither setup nor teardown.
            started();
            return passed_at_once(round, number);
        }
        let judge = judge(&order);
        let (prepared, room) = match self.0.wait(&order).await {
            Ok(ready) => ready,
            Err(reason) => return not_run(round, number, Timestamp::now(), reason),
        };
        started();
        let (started_at, since) = (Timestamp::now(), Instant::now());
        let judged = move |execution| verdict::of_attempt(round, number, execution, judge.as_ref());
        let attempt = match self.run(prepared, room, terms(order), judged).await {
            Ok(attempt) => attempt,
            Err(error) => {
                let mut attempt = not_run(round, number, started_at, NotRun::Host(error));
                let took = since.elapsed().as_millis();
                attempt.duration_ms = u64::try_from(took).unwrap_or(u64::MAX);
                attempt
            }
        };
        attempt.limits_hit.iter().for_each(|limit| self.0.host.metrics.limit_hit(*limit));
        attempt
    }

    /// Runs the guest, and makes of it what is wanted, in a task of its own: so that a panic of the host ends
    /// this attempt alone, and attempts that are awaited together run, and are judged, on all threads.
    pub(super) async fn run<T: Send + 'static>(
        &self,
        prepared: Arc<Prepared>,
        room: Room,
        terms: Terms,
        judged: impl FnOnce(Execution) -> T + Send + 'static,
    ) -> Result<T, String> {
        let host = self.0.host.clone();
        in_its_own_task(async move {
            let pace = terms.pace.clone();
            let execution = execute(&host, &prepared, terms);
            let execution = match pace {
                Some(pace) => pace.keep(execution).await,
                None => execution.await,
            };
            drop(room);
            judged(execution)
        })
        .await
    }
}

/// Runs `future` so that its panic is an error here, and that dropping this ends it.
async fn in_its_own_task<T: Send + 'static>(
    future: impl Future<Output = T> + Send + 'static,
) -> Result<T, String> {
    AbortOnDropHandle::new(tokio::spawn(future)).await.map_err(|error| {
        tracing::error!(%error, "an attempt ended by a mistake of the host");
        "the host made a mistake while the guest ran; the server's log has more".to_owned()
    })
}

impl Inner {
    /// What an attempt needs before it can start.
    async fn wait(&self, order: &AttemptOrder) -> Result<(Arc<Prepared>, Room), NotRun> {
        if order.cancel.is_cancelled() {
            return Err(NotRun::Cancelled);
        }
        let prepared = self.prepared.get(&order.component).map_err(NotRun::Host)?;
        let late = async {
            match order.not_after {
                Some(at) => {
                    tokio::time::sleep_until(at.into()).await;
                    NotRun::Late
                }
                None => NotRun::Busy(self.patience().await),
            }
        };
        tokio::select! {
            biased;
            room = self.room(&prepared, &order.limits) => {
                Ok((prepared.clone(), room.map_err(NotRun::Host)?))
            }
            () = order.cancel.cancelled() => Err(NotRun::Cancelled),
            reason = late => Err(reason),
        }
    }

    /// Waits for as many slots as the component takes, and for its memory.
    async fn room(&self, prepared: &Prepared, limits: &Limits) -> Result<Room, String> {
        let memory_bytes = limits.memory_bytes.min(self.host.largest_memory);
        self.rooms.take(prepared.slots, memory_bytes).await
    }

    /// Waits for as long as those wait that no run's deadline ends.
    async fn patience(&self) -> Duration {
        let patience = Duration::from_millis(self.settings.slot_wait_ms);
        tokio::time::sleep(patience).await;
        self.host.metrics.server_limit_hit("sandbox.slot_wait_ms");
        patience
    }
}

/// By what the end of an attempt at a program's test is judged.
fn judge(order: &AttemptOrder) -> Option<Judge> {
    match (&order.program, &order.stage) {
        (Some(Program { protocol, .. }), Stage::Test(test)) => {
            Some(Judge { protocol: *protocol, test: test.clone() })
        }
        _ => None,
    }
}

fn terms(order: AttemptOrder) -> Terms {
    let protocol = order.program.as_ref().map(|program| program.protocol);
    let call = match (&order.program, order.stage) {
        (Some(program), Stage::Test(test)) => {
            Call::Program(program::run_arguments(program, &order.policy.args, &test))
        }
        (_, stage) => Call::Stage(stage),
    };
    Terms {
        call,
        protocol,
        metered: order.component.metered,
        number: order.number,
        policy: order.policy,
        limits: order.limits,
        params: order.params,
        values: order.values,
        timeout: order.timeout,
        not_after: order.not_after,
        fixtures: order.fixtures,
        cancel: order.cancel,
        live: order.live,
        pace: None,
    }
}

/// The attempt at a stage that there is not.
fn passed_at_once(round: u32, number: u32) -> Attempt {
    let attempt = not_run(round, number, Timestamp::now(), NotRun::Cancelled);
    Attempt { status: TestStatus::Passed, ..attempt }
}

/// The attempt of a guest that did not get to run, or whose task was lost.
fn not_run(round: u32, number: u32, started_at: Timestamp, reason: NotRun) -> Attempt {
    let (status, cause, message) = match reason {
        NotRun::Cancelled => (TestStatus::Cancelled, None, None),
        NotRun::Late => {
            let message = "the run reached its deadline while it waited for a free slot".to_owned();
            (TestStatus::Cancelled, None, Some(message))
        }
        NotRun::Busy(waited) => {
            let waited = in_words(waited);
            let message = format!("no room for it was free within {waited} (sandbox.slot_wait_ms)");
            (TestStatus::Error, Some(Cause::Host), Some(message))
        }
        NotRun::Host(message) => (TestStatus::Error, Some(Cause::Host), Some(message)),
    };
    Attempt {
        number,
        round,
        status,
        cause,
        soft: false,
        message,
        location: None,
        started_at,
        duration_ms: 0,
        fuel_used: None,
        memory_peak_bytes: 0,
        logs_truncated: false,
        limits_hit: Vec::new(),
        artifacts: Vec::new(),
        detail: Some(Box::<AttemptDetail>::default()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_panic_of_the_host_is_an_error_of_one_attempt() {
        let error = in_its_own_task::<()>(async { panic!("a bug") }).await.unwrap_err();
        let attempt = not_run(1, 2, Timestamp::now(), NotRun::Host(error));
        assert_eq!((attempt.status, attempt.cause), (TestStatus::Error, Some(Cause::Host)));
        assert!(attempt.detail.is_some());
    }
}
