//! What an operator does with plugins: install, change, enable, try out, have something told again, delete.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use bytes::Bytes;
use jiff::Timestamp;

use super::router::delivery;
use super::{Plugins, Shared, notices};
use crate::compile::{CompileError, Kind, Loaded};
use crate::model::{
    Delivery, DeliveryStatus, Filters, GateFailure, Name, Plugin, Policy, Standing, Wishes,
};
use crate::storage::{
    EarlierAnswer, IdempotencyKey, Made, Page, Paged, Routed, Settled, StorageError,
};
use crate::wasm::{Hook, HookAnswer, HookError};

/// What is to be different about a plugin. What is left out stays.
#[derive(Clone, Debug, Default)]
pub struct Change {
    /// What it is granted.
    pub policy: Option<Policy>,
    /// What it is told of at most.
    pub filters: Option<Filters>,
    /// What becomes of a run whose gate fails.
    pub gate_failure: Option<GateFailure>,
    /// Whether it is told anything.
    pub enabled: Option<bool>,
}

/// Why something was not done to a plugin.
#[derive(Debug, thiserror::Error)]
pub enum PluginError {
    /// There is no such plugin.
    #[error("there is no plugin {0}")]
    NoPlugin(Name),
    /// It has no such delivery.
    #[error("the plugin {0} has no delivery {1}")]
    NoDelivery(Name, u64),
    /// That delivery waits already.
    #[error("delivery {0} waits already")]
    Waits(u64),
    /// It is told nothing at present.
    #[error("the plugin {0} is disabled: enable it first")]
    Disabled(Name),
    /// Too much waits for it.
    #[error(
        "{0} deliveries wait for it already (setting `plugin.outbox`): wait until it has taken some"
    )]
    Full(usize),
    /// It cannot be enabled.
    #[error("enable it: {0}")]
    NotEnabled(String),
    /// It is another kind of component.
    #[error("install it: it is no plugin: it does not export handoff:plugin/hooks@0.1.0")]
    NoHooks,
    /// There are too many.
    #[error("install it: there are {0} plugins already (setting `plugin.installed`); delete one")]
    TooMany(usize),
    /// It could not be compiled.
    #[error(transparent)]
    Compile(#[from] CompileError),
    /// The store did not do it.
    #[error(transparent)]
    Storage(#[from] StorageError),
}

impl Plugins {
    /// Every plugin, by name.
    pub fn list(&self) -> Result<Vec<Plugin>, StorageError> {
        self.0.storage.plugins()
    }

    /// One plugin.
    pub fn get(&self, name: &Name) -> Result<Plugin, PluginError> {
        self.0.storage.plugin(name)?.ok_or_else(|| PluginError::NoPlugin(name.clone()))
    }

    /// Installs a plugin, or another version of one that is there, which keeps what it was granted and what
    /// it keeps. Durable when it returns. True if there was none of that name. With a key that the same request
    /// used before, nothing is installed again.
    pub async fn install(
        &self,
        name: Name,
        component: Bytes,
        change: Change,
        key: Option<IdempotencyKey>,
    ) -> Result<(Plugin, bool), PluginError> {
        let plugins = self.clone();
        to_its_end(async move { plugins.install_now(name, component, change, key).await }).await
    }

    async fn install_now(
        &self,
        name: Name,
        component: Bytes,
        change: Change,
        key: Option<IdempotencyKey>,
    ) -> Result<(Plugin, bool), PluginError> {
        let shared = &self.0;
        let inspection = shared.compiler.inspect(component.clone()).await?;
        if inspection.kind != Kind::Plugin {
            return Err(PluginError::NoHooks);
        }
        let _alone = shared.changing.lock().await;
        let before = shared.storage.plugin(&name)?;
        if let Some(EarlierAnswer::Plugin { new, .. }) = shared.made_earlier(key.as_ref())?
            && let Some(plugin) = before
        {
            return Ok((plugin, new));
        }
        let installed = shared.storage.plugins()?.len();
        if before.is_none() && installed >= shared.settings.installed {
            shared.metrics.server_limit_hit("plugin.installed");
            return Err(PluginError::TooMany(installed));
        }
        let is_new = before.is_none();
        let now = Timestamp::now();
        let plugin = before.unwrap_or_else(|| Plugin {
            name,
            digest: inspection.digest,
            imports: Vec::new(),
            size_bytes: 0,
            created_at: now,
            updated_at: now,
            policy: Policy::default(),
            filters: Filters::default(),
            wishes: Wishes::default(),
            standing: Standing::Disabled { reason: String::new(), stays: false },
            gate_failure: GateFailure::default(),
            missed: 0,
        });
        let plugin = Plugin {
            digest: inspection.digest,
            imports: inspection.imports,
            size_bytes: inspection.size_bytes,
            ..plugin
        };
        let loaded = shared.load_new(&plugin, component.clone()).await?;
        let plugin = shared.changed(plugin, loaded, change).await?;
        let installed = EarlierAnswer::Plugin { plugin: plugin.name.clone(), new: is_new };
        let made = key.map(|key| (key, installed));
        shared.put(plugin.clone(), Some(component), made).await?;
        Ok((plugin, is_new))
    }

    /// Changes a plugin. Durable when it returns.
    pub async fn change(&self, name: Name, change: Change) -> Result<Plugin, PluginError> {
        let plugins = self.clone();
        to_its_end(async move {
            let shared = &plugins.0;
            let _alone = shared.changing.lock().await;
            let plugin = plugins.get(&name)?;
            let loaded = shared.load(&plugin).await?;
            let plugin = shared.changed(plugin, loaded, change).await?;
            shared.put(plugin.clone(), None, None).await?;
            Ok(plugin)
        })
        .await
    }

    /// Deletes a plugin with what it keeps and what it was told. What it said of runs stays.
    pub async fn delete(&self, name: Name) -> Result<(), PluginError> {
        let plugins = self.clone();
        to_its_end(async move {
            let shared = &plugins.0;
            let _alone = shared.changing.lock().await;
            let _routing = shared.routing.lock().await;
            shared.deactivate(&name).await;
            shared.choose();
            match shared.storage.delete_plugin(&name).await? {
                true => Ok(()),
                false => Err(PluginError::NoPlugin(name)),
            }
        })
        .await
    }

    /// Deliveries of a plugin, the newest first.
    pub fn deliveries(&self, name: &Name, page: &Page) -> Result<Paged<Delivery>, PluginError> {
        self.get(name)?;
        Ok(self.0.storage.deliveries(name, page)?)
    }

    /// One delivery.
    pub fn delivery(&self, name: &Name, number: u64) -> Result<Delivery, PluginError> {
        self.get(name)?;
        let found = self.0.storage.delivery(name, number)?;
        found.ok_or_else(|| PluginError::NoDelivery(name.clone(), number))
    }

    /// How many deliveries wait for a plugin.
    pub fn waiting(&self, name: &Name) -> Result<usize, StorageError> {
        Ok(self.0.storage.waiting_deliveries(name)?.len())
    }

    /// Has a delivery told again that was told or set aside; once for a key.
    pub async fn redeliver(
        &self,
        name: Name,
        number: u64,
        key: Option<IdempotencyKey>,
    ) -> Result<Delivery, PluginError> {
        let plugins = self.clone();
        to_its_end(async move {
            let shared = &plugins.0;
            let _alone = shared.changing.lock().await;
            let before = plugins.delivery(&name, number)?;
            if shared.made_earlier(key.as_ref())?.is_some() {
                return Ok(before);
            }
            if before.status == DeliveryStatus::Pending {
                return Err(PluginError::Waits(number));
            }
            shared.has_room(&name)?;
            let now = Timestamp::now();
            let status = DeliveryStatus::Pending;
            let delivery = Delivery { status, attempts: 0, since: now, next_at: now, ..before };
            let settled = Settled {
                delivery: delivery.clone(),
                kept: Default::default(),
                annotations: Vec::new(),
                forgotten: Vec::new(),
            };
            let made = key.map(|key| (key, EarlierAnswer::Delivery { plugin: name, number }));
            shared.storage.settle(settled, made).await?;
            shared.push(&delivery);
            Ok(delivery)
        })
        .await
    }

    /// Tells a plugin something to try it out; once for a key.
    pub async fn test(
        &self,
        name: Name,
        message: Option<String>,
        key: Option<IdempotencyKey>,
    ) -> Result<Delivery, PluginError> {
        let plugins = self.clone();
        to_its_end(async move {
            let shared = &plugins.0;
            let _alone = shared.changing.lock().await;
            if let Some(EarlierAnswer::Delivery { number, .. }) =
                shared.made_earlier(key.as_ref())?
                && let Ok(earlier) = plugins.delivery(&name, number)
            {
                return Ok(earlier);
            }
            if !plugins.get(&name)?.standing.is_enabled() {
                return Err(PluginError::Disabled(name));
            }
            let mut routing = shared.routing.lock().await;
            shared.has_room(&name)?;
            let mut after = *routing;
            after.deliveries += 1;
            let notice = notices::trial(message, &shared.base);
            let delivery = delivery(after.deliveries, &name, notice);
            let deliveries = vec![delivery.clone()];
            let routed = Routed { routing: after, deliveries, ..Routed::default() };
            let number = delivery.number;
            let made = key.map(|key| (key, EarlierAnswer::Delivery { plugin: name, number }));
            shared.storage.route(routed, made).await?;
            *routing = after;
            shared.push(&delivery);
            Ok(delivery)
        })
        .await
    }
}

impl Shared {
    /// A plugin with what is to be different about it, as its `init` then has it.
    async fn changed(
        &self,
        plugin: Plugin,
        component: Loaded,
        change: Change,
    ) -> Result<Plugin, PluginError> {
        let Change { policy, filters, gate_failure, enabled } = change;
        let done_without = plugin.wishes.missing(&plugin.policy);
        let mut plugin = Plugin {
            policy: policy.unwrap_or(plugin.policy),
            filters: filters.unwrap_or(plugin.filters),
            gate_failure: gate_failure.unwrap_or(plugin.gate_failure),
            updated_at: Timestamp::now(),
            ..plugin
        };
        let wished = self.init(&plugin, component).await;
        let stays = matches!(plugin.standing, Standing::Disabled { stays: true, .. });
        let was_enabled = plugin.standing.is_enabled();
        let disabled = |reason: String, stays| Standing::Disabled { reason, stays };
        match wished {
            Ok(wishes) => plugin.wishes = wishes,
            Err(error) if enabled == Some(true) => return Err(PluginError::NotEnabled(error)),
            Err(error) => {
                plugin.wishes = Wishes::default();
                plugin.standing = disabled(error, stays);
                return Ok(plugin);
            }
        }
        let missing = plugin.wishes.missing(&plugin.policy);
        plugin.standing = match enabled {
            Some(true) => Standing::Enabled,
            Some(false) => disabled("somebody disabled it".into(), true),
            None if stays => plugin.standing,
            None if missing.is_empty() => Standing::Enabled,
            // Somebody enabled it without these, and meant it.
            None if was_enabled && missing.iter().all(|host| done_without.contains(host)) => {
                Standing::Enabled
            }
            None => {
                let missing = missing.join(", ");
                let reason = format!(
                    "it would like to reach {missing}, which it is not granted: grant it, or enable \
                     it without"
                );
                disabled(reason, false)
            }
        };
        Ok(plugin)
    }

    /// Asks a plugin what it would like.
    async fn init(&self, plugin: &Plugin, component: Loaded) -> Result<Wishes, String> {
        let order = self.order(plugin, component, Hook::Init);
        let sandbox = self.sandbox.clone();
        let done = self.runtime.spawn(async move { sandbox.hook(order).await }).await;
        match done.map_err(|panic| panic.to_string())?.ended {
            Ok(HookAnswer::Wishes(wishes)) => Ok(wishes),
            Ok(_) => Err("its init answered what it was not asked".into()),
            Err(HookError::Said { message, .. }) => Err(format!("its init says: {message}")),
            Err(HookError::Broke(how)) => Err(format!("its init {how}")),
            Err(error) => Err(format!("its init could not be called: {error}")),
        }
    }

    /// Stores a plugin in place of what there was, and has it work if it is enabled.
    async fn put(
        self: &Arc<Self>,
        plugin: Plugin,
        component: Option<Bytes>,
        made: Option<Made>,
    ) -> Result<(), PluginError> {
        // What happens meanwhile waits in the journal.
        let _routing = self.routing.lock().await;
        self.deactivate(&plugin.name).await;
        let stored = self.storage.put_plugin(plugin.clone(), component, made).await;
        // If it could not be stored, what was there goes on.
        let holds = match &stored {
            Ok(()) => Some(plugin),
            Err(_) => self.storage.plugin(&plugin.name)?,
        };
        if let Some(plugin) = holds.filter(|plugin| plugin.standing.is_enabled()) {
            self.activate(plugin)?;
        }
        self.choose();
        Ok(stored?)
    }

    /// What the same request with this key made before.
    fn made_earlier(
        &self,
        key: Option<&IdempotencyKey>,
    ) -> Result<Option<EarlierAnswer>, StorageError> {
        Ok(key.map(|key| self.storage.earlier_answer(key)).transpose()?.flatten())
    }

    /// Fails if no more may wait for a plugin.
    fn has_room(&self, name: &Name) -> Result<(), PluginError> {
        let outbox = self.active().get(name).map(|active| active.outbox.clone());
        let waiting = outbox.map_or(0, |outbox| outbox.waiting.load(Ordering::Acquire));
        if waiting < self.settings.outbox {
            return Ok(());
        }
        self.metrics.server_limit_hit("plugin.outbox");
        Err(PluginError::Full(waiting))
    }

    /// Tells a plugin's actor of a delivery.
    fn push(&self, delivery: &Delivery) {
        if let Some(active) = self.active().get(&delivery.plugin) {
            active.outbox.push(delivery.number, delivery.lane());
        }
    }
}

/// Does work that must not stop half-way, whether or not whoever asked still waits.
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
