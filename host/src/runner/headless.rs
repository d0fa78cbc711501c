//! One run without a server and without a store: for the command line, in somebody's CI.

use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use tokio::sync::{mpsc, watch};
use tokio_util::sync::CancellationToken;

use super::executor::{self, End, Job};
use super::fixtures::measured;
use super::sink::Sink;
use crate::compile::{CompileError, CompileSettings, Compiler, Upload};
use crate::metrics::Metrics;
use crate::model::{
    EventKind, Introduction, Name, PlanError, Policy, Run, RunEvent, RunId, RunRequest, Step,
    SuiteId, SuiteVersion, plan,
};
use crate::storage::StorageError;
use crate::wasm::{DescribeError, Engines, FixturesError, Sandbox, SandboxSettings};

use super::RunnerSettings;

/// What is to be run, and how.
pub struct HeadlessOrder {
    /// The suite's component.
    pub component: Upload,
    /// What is said of it.
    pub introduction: Introduction,
    /// Which of its tests, how often and so on.
    pub request: RunRequest,
    /// What it is granted.
    pub policy: Policy,
    /// An archive of the files that it brings along.
    pub fixtures: Option<Bytes>,
    /// The sandbox's settings.
    pub sandbox: SandboxSettings,
    /// The compiler's settings.
    pub compile: CompileSettings,
    /// The runner's settings.
    pub runner: RunnerSettings,
    /// Where compiled code is kept.
    pub cache_dir: PathBuf,
    /// Cancels the run; teardown still runs.
    pub cancel: CancellationToken,
    /// Hears what is done before the run begins; nobody tells any more when it does.
    pub steps: watch::Sender<Step>,
    /// Gets each event, details and artifacts included. Nobody has to listen.
    pub events: mpsc::Sender<RunEvent>,
}

/// Why there was no run.
#[derive(Debug, thiserror::Error)]
pub enum HeadlessError {
    /// It is no suite, or could not be compiled.
    #[error(transparent)]
    Compile(#[from] CompileError),
    /// It did not say well what it is.
    #[error(transparent)]
    Describe(#[from] DescribeError),
    /// It is a suite, and was to be given arguments, which only a test program has.
    #[error(
        "give the suite arguments: it is no test program and has none; leave `args` out, and give it \
         parameters or configuration"
    )]
    NoArguments,
    /// There is something wrong with the files that it brings along.
    #[error(transparent)]
    Fixtures(#[from] FixturesError),
    /// The request asks for what cannot be.
    #[error(transparent)]
    Plan(#[from] PlanError),
    /// The engine could not be made.
    #[error("start the sandbox: {0:#}")]
    Sandbox(#[source] anyhow::Error),
    /// The run's end was lost.
    #[error(transparent)]
    Lost(#[from] Arc<StorageError>),
}

/// Runs a suite's component and gives the run with the details of its attempts.
pub async fn headless(order: HeadlessOrder) -> Result<Run, HeadlessError> {
    let metrics = Metrics::new();
    let engines = Engines::new(&order.sandbox).map_err(|e| HeadlessError::Sandbox(e.into()))?;
    let limits = order.sandbox.limits.patched(&order.policy.limits);
    let (exe, steps) = (std::env::current_exe(), order.steps);
    let exe = exe.map_err(|e| HeadlessError::Sandbox(e.into()))?;
    let compiler =
        Compiler::new(exe, order.cache_dir, order.compile, engines.clone(), metrics.clone())?
            .reporting(steps.clone());
    let sandbox = Sandbox::new(order.sandbox, engines.clone(), metrics)
        .map_err(|e| HeadlessError::Sandbox(e.into()))?;
    let inspection = compiler.inspect(order.component.clone()).await?;
    let language = inspection.language;
    let metered = sandbox.meters(&order.policy.limits, language.as_deref());
    let loaded = compiler.load(inspection.digest, metered, order.component.read()).await?;
    steps.send_replace(Step::Describe);
    let described = sandbox.describe(&loaded, &order.introduction, language.as_deref()).await?;
    if described.program.is_none() && !order.policy.args.is_empty() {
        return Err(HeadlessError::NoArguments);
    }
    // Who listens hears that this was the last step, before the first event.
    drop((steps, compiler));
    let namespace = order.introduction.namespace.or(described.namespace);
    let version = SuiteVersion {
        suite: SuiteId {
            namespace: namespace.unwrap_or_else(Name::default_namespace),
            name: described.name,
        },
        digest: inspection.digest,
        description: described.description,
        imports: inspection.imports,
        size_bytes: inspection.size_bytes,
        created_at: jiff::Timestamp::now(),
        program: described.program,
        language,
    };
    let id = RunId::new();
    let now = jiff::Timestamp::now();
    let mut spec = plan(&version, order.request, &order.runner.bounds, &limits, id, 1, now)?;
    let mut fixtures = None;
    if let Some(archive) = order.fixtures {
        let known = measured(&sandbox, &archive).await?;
        fixtures = Some(sandbox.take_fixtures(&known, async { Ok(archive) }).await?);
        spec.fixtures = Some(known);
    }
    let sink = ChannelSink { events: order.events, run: Mutex::new(Run::new(spec.clone())) };
    sink.send(EventKind::RunQueued { spec: Box::new(spec.clone()) }).await;
    let job = Job {
        run: Run::new(spec),
        component: loaded,
        policy: Arc::new(order.policy),
        limits: Arc::new(limits),
        fixtures,
        values: Vec::new(),
        sandbox: sandbox.clone(),
        hub: None,
        teardown_timeout: Duration::from_millis(order.runner.teardown_timeout_ms),
        cancel: order.cancel,
        stop: CancellationToken::new(),
    };
    let end = executor::execute(job, &sink).await;
    // Giving back what the sandbox reserved takes longer than a small run, and nobody waits for it.
    drop(tokio::task::spawn_blocking(move || drop((sandbox, engines))));
    match end {
        End::Finished(Err(error)) => Err(error.into()),
        End::Finished(Ok(())) | End::Stopped => {
            Ok(sink.run.into_inner().unwrap_or_else(PoisonError::into_inner))
        }
    }
}

/// Numbers the events, keeps their fold with all details, and sends them to whoever listens.
struct ChannelSink {
    events: mpsc::Sender<RunEvent>,
    run: Mutex<Run>,
}

impl Sink for ChannelSink {
    async fn send(&self, kind: EventKind) {
        let event = {
            let mut run = self.run.lock().unwrap_or_else(PoisonError::into_inner);
            let (run_id, seq) = (run.spec.id, run.last_seq + 1);
            let event = RunEvent { run_id, seq, at: jiff::Timestamp::now(), kind };
            run.apply(&event);
            event
        };
        // An error means that nobody listens.
        drop(self.events.send(event).await);
    }

    async fn end(&self, kind: EventKind) -> Result<(), Arc<StorageError>> {
        self.send(kind).await;
        Ok(())
    }
}
