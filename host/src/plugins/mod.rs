//! Plugins: what is installed, what they are told, and what they do about it.
//!
//! | file | |
//! | --- | --- |
//! | `router`, `notices`, `trouble` | from the store's journal to what each plugin is told |
//! | `actor`, `backoff` | one plugin at work: its outbox, in order, again and again |
//! | `gate` | asking before a run starts |
//! | `install` | installing, changing, enabling, trying out |
//! | `reader` | how plugins read runs |
//! | `settings` | what an operator sets |
//!
//! Nothing here is waited for by a run. Knows no HTTP.

mod actor;
mod backoff;
mod gate;
mod install;
mod notices;
mod reader;
mod router;
mod settings;
mod trouble;

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

pub use install::{Change, PluginError};
pub use settings::PluginSettings;

use crate::compile::{CompileError, Compiler, Loaded};
use crate::metrics::Metrics;
use crate::model::{Limits, Name, NoticeKind, Plugin};
use crate::storage::{Routing, Storage, StorageError};
use crate::wasm::{Hook, HookOrder, Pace, Sandbox};
use actor::{Actor, Outbox};
use reader::Reader;
use router::Router;

/// What [`Plugins::start`] needs.
pub struct Parts {
    /// Where plugins and their deliveries are kept.
    pub storage: Storage,
    /// What makes components runnable.
    pub compiler: Compiler,
    /// What runs them.
    pub sandbox: Sandbox,
    /// Settings.
    pub settings: PluginSettings,
    /// The server's limits.
    pub limits: Limits,
    /// Metrics.
    pub metrics: Metrics,
    /// Where plugins run, apart from runs and from whoever serves HTTP.
    pub runtime: tokio::runtime::Handle,
    /// Where people reach this server.
    pub base: String,
}

/// What the parts share.
struct Shared {
    storage: Storage,
    compiler: Compiler,
    sandbox: Sandbox,
    settings: PluginSettings,
    limits: Limits,
    metrics: Metrics,
    runtime: tokio::runtime::Handle,
    base: Arc<str>,
    pace: Arc<Pace>,
    /// The router's; held by whoever adds or removes a plugin, or a delivery.
    routing: tokio::sync::Mutex<Routing>,
    /// Plugins at work.
    active: Mutex<HashMap<Name, Active>>,
    /// Held while a plugin is changed.
    changing: tokio::sync::Mutex<()>,
    stop: CancellationToken,
}

/// A plugin at work.
struct Active {
    outbox: Arc<Outbox>,
    task: JoinHandle<()>,
}

/// Plugins. Cheap to clone.
#[derive(Clone)]
pub struct Plugins(Arc<Shared>);

impl Plugins {
    /// Takes up what an earlier process left.
    pub fn start(parts: Parts) -> Result<Self, StorageError> {
        let Parts { storage, compiler, sandbox, settings, limits, metrics, runtime, base } = parts;
        let routing = tokio::sync::Mutex::new(storage.routing()?);
        let installed = storage.plugins()?;
        let pace = Arc::new(Pace::new(settings.cpu_percent, metrics.clone()));
        let shared = Arc::new(Shared {
            storage,
            compiler,
            sandbox,
            settings,
            limits,
            metrics,
            runtime,
            base: base.into(),
            pace,
            routing,
            active: Mutex::default(),
            changing: tokio::sync::Mutex::default(),
            stop: CancellationToken::new(),
        });
        for plugin in installed.into_iter().filter(|plugin| plugin.standing.is_enabled()) {
            shared.activate(plugin)?;
        }
        shared.runtime.spawn(Router::new(shared.clone()).run(shared.stop.clone()));
        Ok(Self(shared))
    }

    /// Stops telling plugins. What waits goes on after the next start.
    pub fn stop(&self) {
        self.0.stop.cancel();
    }
}

impl Shared {
    /// The plugins at work.
    fn outboxes(&self) -> Vec<Arc<Outbox>> {
        self.active().values().map(|active| active.outbox.clone()).collect()
    }

    /// Starts a plugin's work.
    fn activate(self: &Arc<Self>, plugin: Plugin) -> Result<(), StorageError> {
        let waiting = self.storage.waiting_deliveries(&plugin.name)?;
        let name = plugin.name.clone();
        let outbox = Arc::new(Outbox::new(plugin, waiting, self.stop.child_token()));
        let task = self.runtime.spawn(Actor::run(self.clone(), outbox.clone()));
        self.active().insert(name, Active { outbox, task });
        self.choose();
        Ok(())
    }

    /// Ends a plugin's work, and waits until it has ended: a call under way is stopped. What happens meanwhile
    /// is still journaled for it: see [`Self::choose`].
    async fn deactivate(&self, name: &Name) {
        let active = self.active().remove(name);
        if let Some(Active { outbox, task }) = active {
            outbox.cancel.cancel();
            // A panic was reported by whoever catches panics; the delivery it had is tried again.
            drop(task.await);
        }
    }

    /// Ends the work of a plugin by itself.
    fn retire(&self, outbox: &Arc<Outbox>) {
        let name = &outbox.plugin.name;
        let mut active = self.active();
        if active.get(name).is_some_and(|active| Arc::ptr_eq(&active.outbox, outbox)) {
            active.remove(name);
        }
        drop(active);
        outbox.cancel.cancel();
        self.choose();
    }

    /// Has journaled what the plugins at work want.
    fn choose(&self) {
        let outboxes = self.outboxes();
        let wanted = |kind: &NoticeKind| outboxes.iter().any(|outbox| outbox.wants(*kind));
        let of_finished = [
            NoticeKind::SuiteFailing,
            NoticeKind::SuiteStillFailing,
            NoticeKind::SuiteRecovered,
            NoticeKind::TestFlaky,
            NoticeKind::PlatformError,
        ];
        let mut kinds: Vec<_> = NoticeKind::ALL.iter().copied().filter(wanted).collect();
        if kinds.iter().any(|kind| of_finished.contains(kind)) {
            kinds.push(NoticeKind::RunFinished);
        }
        self.storage.journal(kinds);
    }

    /// A plugin's component.
    async fn load(&self, plugin: &Plugin) -> Result<Loaded, CompileError> {
        let (storage, digest) = (self.storage.clone(), plugin.digest);
        let content = async move {
            let found = storage.component(&digest).await;
            let found =
                found.map_err(|error| CompileError::Unread(format!("failed to {error}")))?;
            found.ok_or_else(|| CompileError::Unread("it is not there any more".into()))
        };
        let metered = self.limits(plugin).fuel > 0;
        self.compiler.load(digest, metered, content).await
    }

    /// The same of bytes that are not stored.
    async fn load_new(&self, plugin: &Plugin, bytes: Bytes) -> Result<Loaded, CompileError> {
        let metered = self.limits(plugin).fuel > 0;
        self.compiler.load(plugin.digest, metered, std::future::ready(Ok(bytes))).await
    }

    fn limits(&self, plugin: &Plugin) -> Limits {
        self.limits.patched(&plugin.policy.limits)
    }

    /// How a plugin is called, with nothing that it keeps.
    fn order(&self, plugin: &Plugin, component: Loaded, hook: Hook) -> HookOrder {
        let limits = self.limits(plugin);
        let patched = plugin.policy.limits.timeout_ms;
        let timeout = patched.unwrap_or(self.settings.hook_timeout_ms);
        let reader = Reader {
            storage: self.storage.clone(),
            base: self.base.clone(),
            metrics: self.metrics.clone(),
            report_bytes: self.settings.report_bytes,
        };
        HookOrder {
            component,
            hook,
            policy: Arc::new(plugin.policy.clone()),
            limits: Arc::new(limits),
            values: Arc::default(),
            runs: Arc::new(reader),
            timeout: Duration::from_millis(timeout),
            cancel: self.stop.child_token(),
            pace: Some(self.pace.clone()),
        }
    }

    fn active(&self) -> MutexGuard<'_, HashMap<Name, Active>> {
        self.active.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
