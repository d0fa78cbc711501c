//! Takes the journal off in order: what happened becomes notices, and each goes to the plugins that want it.
//! One task does so; what follows from a piece of the journal is stored whole or not at all. It has a share of a
//! processor of its own: no run waits for it, and it waits for no plugin.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use jiff::Timestamp;
use tokio_util::sync::CancellationToken;

use super::Shared;
use super::actor::Outbox;
use super::notices::Notices;
use super::trouble::Troubles;
use crate::model::{Delivery, DeliveryStatus, Name, Notice};
use crate::storage::{Routed, Routing, StorageError};
use crate::wasm::Pace;

/// How far the journal may be behind before it is dealt with as quickly as can be: some MiB of it.
const BEHIND: u64 = 100_000;
/// How long to wait after a failure before the journal is looked at again.
const AGAIN: Duration = Duration::from_secs(1);

/// How many entries of the journal are dealt with at a time. What follows from them is stored in one batch, for
/// which runs wait: so they are few, and more only where the journal would fall behind.
fn entries(behind: u64) -> usize {
    usize::try_from(behind / 128).unwrap_or(usize::MAX).clamp(2, 64)
}

/// The task's state.
pub(super) struct Router {
    shared: Arc<Shared>,
    notices: Notices,
    pace: Arc<Pace>,
}

impl Router {
    pub(super) fn new(shared: Arc<Shared>) -> Self {
        let notices = Notices::new(shared.storage.clone(), shared.base.clone());
        let pace = Arc::new(Pace::new(shared.settings.cpu_percent, shared.metrics.clone()));
        Self { shared, notices, pace }
    }

    /// Runs until it is stopped.
    pub(super) async fn run(mut self, stop: CancellationToken) {
        while !stop.is_cancelled() {
            let shared = self.shared.clone();
            let woken = shared.storage.journal_changed();
            match self.paced_step().await {
                Ok(true) => {}
                Ok(false) => {
                    tokio::select! {
                        () = woken => {}
                        () = stop.cancelled() => {}
                    }
                }
                Err(error) => {
                    tracing::error!(%error, "failed to tell plugins what happened; trying again");
                    tokio::select! {
                        () = tokio::time::sleep(AGAIN) => {}
                        () = stop.cancelled() => {}
                    }
                }
            }
        }
    }

    async fn paced_step(&mut self) -> Result<bool, StorageError> {
        let pace = self.pace.clone();
        let behind = self.shared.storage.journal_behind()?;
        let step = self.step(entries(behind));
        if behind > BEHIND { step.await } else { pace.keep(step).await }
    }

    /// Deals with a piece of the journal. False if there was nothing.
    async fn step(&mut self, most: usize) -> Result<bool, StorageError> {
        let shared = self.shared.clone();
        // Nobody comes or goes meanwhile.
        let routing = shared.routing.lock().await;
        let Routing { through, deliveries } = *routing;
        let entries = shared.storage.journaled(through, most)?;
        let Some((last, _)) = entries.last() else { return Ok(false) };
        let mut step = Step::new(&shared, Routing { through: *last, deliveries });
        let mut troubles = Troubles::new(shared.storage.clone());
        for (number, entry) in &entries {
            let wanted = |kind| step.outboxes.iter().any(|outbox| outbox.wants(kind));
            for notice in self.notices.of(entry, &mut troubles, wanted)? {
                step.route(&notice);
            }
            step.routed.entries.push(*number);
        }
        step.routed.troubles = troubles.changed();
        step.finish(routing).await?;
        Ok(true)
    }
}

/// What follows from a piece of the journal.
struct Step {
    shared: Arc<Shared>,
    outboxes: Vec<Arc<Outbox>>,
    routed: Routed,
    /// How many were added for each plugin.
    added: HashMap<Name, usize>,
    missed: HashMap<Name, u64>,
}

impl Step {
    fn new(shared: &Arc<Shared>, routing: Routing) -> Self {
        Self {
            shared: shared.clone(),
            outboxes: shared.outboxes(),
            routed: Routed { routing, ..Routed::default() },
            added: HashMap::new(),
            missed: HashMap::new(),
        }
    }

    fn route(&mut self, notice: &Notice) {
        for outbox in &self.outboxes {
            let plugin = &outbox.plugin;
            if !outbox.wants(notice.event) || !plugin.filters.pass(notice) {
                continue;
            }
            let added = self.added.entry(plugin.name.clone()).or_default();
            if outbox.waiting.load(Ordering::Acquire) + *added >= self.shared.settings.outbox {
                self.shared.metrics.server_limit_hit("plugin.outbox");
                *self.missed.entry(plugin.name.clone()).or_default() += 1;
                continue;
            }
            *added += 1;
            self.routed.routing.deliveries += 1;
            let number = self.routed.routing.deliveries;
            self.routed.deliveries.push(delivery(number, &plugin.name, notice.clone()));
        }
    }

    /// Stores it, and tells the plugins' actors.
    async fn finish(
        mut self,
        mut routing: tokio::sync::MutexGuard<'_, Routing>,
    ) -> Result<(), StorageError> {
        for (name, missed) in &self.missed {
            tracing::error!(plugin = %name, missed, "a plugin's outbox is full: it is not told what happens");
        }
        self.routed.missed = self.missed.into_iter().collect();
        let told: Vec<_> = self
            .routed
            .deliveries
            .iter()
            .map(|delivery| (delivery.plugin.clone(), delivery.number, delivery.lane()))
            .collect();
        let after = self.routed.routing;
        self.shared.storage.route(self.routed, None).await?;
        *routing = after;
        for (name, number, lane) in told {
            let outbox = self.outboxes.iter().find(|outbox| outbox.plugin.name == name);
            outbox.into_iter().for_each(|outbox| outbox.push(number, lane.clone()));
        }
        Ok(())
    }
}

/// A notice that waits for its turn.
pub(super) fn delivery(number: u64, plugin: &Name, notice: Notice) -> Delivery {
    let now = Timestamp::now();
    Delivery {
        number,
        plugin: plugin.clone(),
        notice,
        status: DeliveryStatus::Pending,
        attempts: 0,
        since: now,
        next_at: now,
        last: None,
    }
}
