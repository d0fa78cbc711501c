//! Everything long-lived, wired in one function and passed on. There are no statics.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use anyhow::Context as _;
use bytes::Bytes;
use jiff::Timestamp;
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

use crate::compile::Compiler;
use crate::config::{Config, DeclaredSuite, Invalid};
use crate::metrics::Metrics;
use crate::model::{Introduction, Limit, Marks, Name, Policy, Step, SuiteId};
use crate::plugins::{self, Plugins};
use crate::retention::Retention;
use crate::runner::{Hub, Parts, Runner, RunnerSettings};
use crate::scheduler::Scheduler;
use crate::storage::Storage;
use crate::transfer;
use crate::triggers::Triggers;
use crate::wasm::{Engines, Sandbox, pack};

/// How much less the scheduler of the operating system favours the threads that run guests, so that
/// the server answers whatever they do.
const GUEST_NICE: i32 = 5;
/// The same for the threads that run plugins, which never take a processor from a run that wants it.
const HOOK_NICE: i32 = 19;
/// How many threads run plugins. One call of each plugin at a time, most of which wait for an answer.
const HOOK_THREADS: usize = 2;

/// A running server less its HTTP side. Cheap to clone.
#[derive(Clone)]
pub struct App {
    /// What it was started with.
    pub config: Arc<Config>,
    /// What it keeps.
    pub storage: Storage,
    /// What makes components runnable.
    pub compiler: Compiler,
    /// Runs.
    pub runner: Runner,
    /// What runs by itself.
    pub scheduler: Scheduler,
    /// What runs when another system calls.
    pub triggers: Triggers,
    /// What forgets old runs.
    pub retention: Retention,
    /// What is told of what happens.
    pub plugins: Plugins,
    /// Metrics.
    pub metrics: Metrics,
    /// Cancelled when the server is to end: no further run is taken.
    draining: CancellationToken,
    guests: Arc<GuestRuntime>,
    hooks: Arc<GuestRuntime>,
}

/// The runtime for guests. Ended without waiting for them: what they leave is continued by the next
/// process.
struct GuestRuntime(Option<tokio::runtime::Runtime>);

impl Drop for GuestRuntime {
    fn drop(&mut self) {
        if let Some(runtime) = self.0.take() {
            runtime.shutdown_background();
        }
    }
}

impl App {
    /// Opens the store, takes up the queue of an earlier process, and loads the declared suites.
    pub async fn start(config: Config) -> anyhow::Result<Self> {
        let metrics = Metrics::new();
        let engines = Engines::new(&config.sandbox).context("failed to start the engines")?;
        let hub = Hub::new(metrics.clone());
        let on_stored = {
            let hub = Arc::clone(&hub);
            Box::new(move |events: &[_]| hub.stored(events))
        };
        let (data_dir, settings) = (config.data_dir.clone(), config.storage.clone());
        let storage = Storage::open(data_dir, settings, metrics.clone(), on_stored)
            .map_err(failed)
            .with_context(|| format!("failed to use the data in {}", config.data_dir.display()))?;
        // Before runs are taken up: of an import that was cut off, some may have no end yet.
        transfer::resume(&storage, &config.data_dir).await.map_err(failed)?;
        Self::declare_marks(&config, &storage, Timestamp::now())?;
        let exe = std::env::current_exe().context("failed to find our own executable")?;
        let compiler = Compiler::new(
            exe,
            config.data_dir.join("compiled"),
            config.compile.clone(),
            engines.clone(),
            metrics.clone(),
        )
        .map_err(failed)?;
        let sandbox = Sandbox::new(config.sandbox.clone(), engines, metrics.clone())?;
        let guests = guest_runtime(&config.runner)?;
        // Before runs go on, so that plugins hear of all that happens to them.
        let parts = (storage.clone(), compiler.clone(), sandbox.clone());
        let (plugins, hooks) = start_plugins(&config, parts, metrics.clone())?;
        let runner = Runner::start(Parts {
            storage: storage.clone(),
            compiler: compiler.clone(),
            sandbox,
            hub,
            settings: config.runner.clone(),
            limits: config.sandbox.limits.clone(),
            metrics: metrics.clone(),
            plugins: Some(plugins.clone()),
            guests: guests.handle().clone(),
        })
        .map_err(failed)?;
        let guests = Arc::new(GuestRuntime(Some(guests)));
        let draining = CancellationToken::new();
        let settings = config.scheduler.clone();
        let runs = Box::new(runner.clone());
        let now = Timestamp::now();
        let scheduler =
            Scheduler::open(storage.clone(), runs, settings, metrics.clone(), now).await;
        let scheduler = scheduler.map_err(failed)?;
        let (runs, settings) = (Box::new(runner.clone()), config.webhooks.clone());
        let triggers = Triggers::open(storage.clone(), runs, settings, metrics.clone());
        let triggers = triggers.map_err(failed)?;
        let config = Arc::new(config);
        let retention = Retention::new(storage.clone(), config.retention.clone(), metrics.clone());
        let app = Self {
            config,
            storage,
            compiler,
            runner,
            scheduler,
            triggers,
            retention,
            plugins,
            metrics,
            draining,
            guests,
            hooks,
        };
        app.declare(now).await?;
        // Not before the suites are there that its schedules name.
        tokio::spawn(app.scheduler.clone().run(app.draining.clone()));
        tokio::spawn(app.retention.clone().run(app.draining.clone()));
        Ok(app)
    }

    /// Has tests be marked as the configuration declares, from the first run on.
    fn declare_marks(config: &Config, storage: &Storage, now: Timestamp) -> anyhow::Result<()> {
        let mut declared: HashMap<SuiteId, Marks> = HashMap::new();
        for mark in &config.marks {
            let told = format!("the mark of the test {:?}", mark.test);
            let (suite, test, mark) =
                mark.clone().into_mark(now).map_err(|error| anyhow::anyhow!("{told}: {error}"))?;
            let bounds = &config.runner.bounds;
            bounds.check_text("reason", &mark.reason).with_context(|| told.clone())?;
            bounds.check_text("by", mark.by.as_deref().unwrap_or_default()).context(told)?;
            let marks = declared.entry(suite.clone()).or_default();
            if marks.insert(test.clone(), mark).is_some() {
                anyhow::bail!("the test {test:?} of {suite} is marked twice: say one thing of it");
            }
        }
        storage.declare_marks(declared);
        Ok(())
    }

    /// Takes over what the configuration file declares; suites first, which the rest names.
    async fn declare(&self, now: Timestamp) -> anyhow::Result<()> {
        for suite in &self.config.suites {
            let name = suite.file.display();
            self.load(suite).await.with_context(|| format!("failed to load the suite {name}"))?;
        }
        self.install_plugins().await?;
        self.declare_schedules(now).await?;
        self.declare_triggers(now).await
    }

    async fn install_plugins(&self) -> anyhow::Result<()> {
        once("plugin", self.config.plugins.iter().map(|plugin| &plugin.name))?;
        for plugin in &self.config.plugins {
            let (name, file) = (&plugin.name, plugin.file.display());
            let bytes = tokio::fs::read(&plugin.file).await;
            let bytes = bytes.with_context(|| format!("failed to read the plugin {file}"))?;
            let change = plugins::Change {
                policy: Some(plugin.policy.clone()),
                filters: Some(plugin.filters.clone()),
                gate_failure: None,
                enabled: plugin.enabled,
            };
            let installed = self.plugins.install(name.clone(), bytes.into(), change, None).await;
            let (installed, new) = installed
                .map_err(|error| anyhow::anyhow!("failed to install the plugin {name}: {error}"))?;
            let standing = &installed.standing;
            tracing::info!(plugin = %name, new, ?standing, "installed a declared plugin");
        }
        Ok(())
    }

    async fn declare_schedules(&self, now: Timestamp) -> anyhow::Result<()> {
        let mut declared = Vec::with_capacity(self.config.schedules.len());
        for body in &self.config.schedules {
            let (name, paused) = (body.name.clone(), body.paused);
            let spec = body.clone().into_spec();
            let spec = spec.map_err(|error| anyhow::anyhow!("schedule {name}: {error}"))?;
            declared.push((name, spec, paused));
        }
        once("schedule", declared.iter().map(|(name, ..)| name))?;
        let taken_up = self.scheduler.declare(declared, now).await;
        taken_up.map_err(|(name, error)| anyhow::anyhow!("schedule {name}: {error}"))
    }

    async fn declare_triggers(&self, now: Timestamp) -> anyhow::Result<()> {
        let mut declared = Vec::with_capacity(self.config.triggers.len());
        for body in &self.config.triggers {
            let name = body.name.clone();
            let spec = body.clone().into_spec(None);
            let spec = spec.map_err(|error| anyhow::anyhow!("trigger {name}: {error}"))?;
            declared.push((name, spec));
        }
        once("trigger", declared.iter().map(|(name, _)| name))?;
        let taken_up = self.triggers.declare(declared, now).await;
        taken_up.map_err(|(name, error)| anyhow::anyhow!("trigger {name}: {error}"))
    }

    async fn load(&self, suite: &DeclaredSuite) -> anyhow::Result<()> {
        let bytes = Bytes::from(tokio::fs::read(&suite.file).await?);
        let (steps, _) = watch::channel(Step::default());
        let (namespace, name) = (suite.namespace.clone(), suite.name.clone());
        let stem = || suite.file.file_stem().and_then(|stem| Name::of_program(stem.to_str()?));
        let introduction =
            Introduction { namespace, name: name.or_else(stem), protocol: suite.protocol };
        let (version, new) = self.runner.upload(bytes, introduction, None, steps).await?;
        if let Some(path) = &suite.fixtures {
            let archive = pack(path, &self.config.sandbox.fixtures).map_err(failed)?;
            let put = self.runner.put_fixtures(&version.suite, version.digest, archive).await;
            put.map_err(failed)?;
        }
        self.runner.grant(&version.suite, &suite.policy).await?;
        tracing::info!(suite = %version.suite, version = %version.digest, new, "loaded a declared suite");
        Ok(())
    }

    /// Whether a suite may be granted that. What it hits of a bound is counted.
    pub fn check_policy(&self, policy: &Policy) -> Result<(), Invalid> {
        let limits = self.config.sandbox.limits.patched(&policy.limits);
        if policy.args_bytes() > limits.args_bytes {
            self.metrics.limit_hit(Limit::ArgsBytes);
        }
        self.config.validate_policy(policy)
    }

    /// Stops taking runs and lets attempts under way end. Everything else goes on meanwhile.
    pub async fn drain(&self) {
        self.draining.cancel();
        self.runner.drain().await;
    }

    /// Whether runs are taken no more, because the server is to end.
    pub fn is_draining(&self) -> bool {
        self.draining.is_cancelled()
    }

    /// Closes the store. What is left of runs continues when it is opened again.
    pub async fn close(self) -> anyhow::Result<()> {
        // Guests that are still under way end here, before the store does.
        drop(self.guests);
        self.plugins.stop();
        drop(self.hooks);
        self.storage.close().await.map_err(failed)
    }
}

/// Fails if two of what the configuration declares have one name.
fn once<'a>(what: &str, names: impl Iterator<Item = &'a Name>) -> anyhow::Result<()> {
    let mut known = HashSet::new();
    match names.into_iter().find(|name| !known.insert(*name)) {
        Some(name) => anyhow::bail!("two declarations of the {what} {name}: give one another name"),
        None => Ok(()),
    }
}

/// What was not done, with its cause behind it.
fn failed(error: impl std::error::Error + Send + Sync + 'static) -> anyhow::Error {
    let told = format!("failed to {error}");
    anyhow::Error::new(error).context(told)
}

/// Starts plugins, with threads of their own.
fn start_plugins(
    config: &Config,
    (storage, compiler, sandbox): (Storage, Compiler, Sandbox),
    metrics: Metrics,
) -> anyhow::Result<(Plugins, Arc<GuestRuntime>)> {
    let hooks = hook_runtime()?;
    let parts = plugins::Parts {
        storage,
        compiler,
        sandbox,
        settings: config.plugin.clone(),
        limits: config.sandbox.limits.clone(),
        metrics,
        runtime: hooks.handle().clone(),
        base: public_url(config),
    };
    let plugins = Plugins::start(parts).map_err(failed)?;
    Ok((plugins, Arc::new(GuestRuntime(Some(hooks)))))
}

/// Where people reach the server.
fn public_url(config: &Config) -> String {
    let set = config.plugin.public_url.trim_end_matches('/');
    if set.is_empty() { format!("http://{}", config.listen) } else { set.to_owned() }
}

fn guest_runtime(settings: &RunnerSettings) -> anyhow::Result<tokio::runtime::Runtime> {
    let threads = Some(settings.guest_threads).filter(|threads| *threads > 0);
    runtime("guest", threads, GUEST_NICE)
}

fn hook_runtime() -> anyhow::Result<tokio::runtime::Runtime> {
    runtime("hook", Some(HOOK_THREADS), HOOK_NICE)
}

fn runtime(
    name: &str,
    threads: Option<usize>,
    nice: i32,
) -> anyhow::Result<tokio::runtime::Runtime> {
    let mut builder = tokio::runtime::Builder::new_multi_thread();
    threads.into_iter().for_each(|threads| _ = builder.worker_threads(threads));
    builder
        .enable_all()
        .thread_name(name)
        .on_thread_start(move || {
            if let Err(error) = rustix::process::nice(nice) {
                tracing::debug!(%error, "guests run with the server's own priority");
            }
        })
        .build()
        .context("failed to start the threads for guests")
}
