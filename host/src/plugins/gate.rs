//! Asks plugins before a run starts. A gate that fails or is late lets the run go on, unless the operator wants
//! otherwise; either way it is recorded with the run.

use std::collections::BTreeMap;
use std::time::Duration;

use jiff::Timestamp;

use super::notices::{Said, blank};
use super::{Plugins, Shared};
use crate::model::{Annotation, GateFailure, Gated, NoticeKind, NoticeRun, Plugin, Run};
use crate::wasm::{Hook, HookAnswer};

impl Plugins {
    /// What the gates say to a run that is about to start; none if there are none that it concerns.
    pub async fn gate(&self, run: &Run) -> Option<Gated> {
        let shared = &self.0;
        let mut asked: Vec<Plugin> = shared
            .outboxes()
            .iter()
            .filter(|outbox| outbox.plugin.wishes.gate)
            .map(|outbox| outbox.plugin.clone())
            .collect();
        if asked.is_empty() {
            return None;
        }
        asked.sort_by(|a, b| a.name.cmp(&b.name));
        let mut notice = blank(NoticeKind::RunQueued, Timestamp::now());
        notice.run = Some(shared.run(run));
        asked.retain(|plugin| plugin.filters.pass_run(&notice));
        let mut gated = Gated::default();
        for plugin in &asked {
            // A field of plain values, which are always JSON.
            let json = serde_json::to_string(&notice.run).unwrap_or_default();
            shared.ask(plugin, json, run, &mut gated).await;
            if gated.refused.is_some() {
                break;
            }
        }
        (!asked.is_empty()).then_some(gated)
    }
}

impl Shared {
    /// The run with the labels of its suite, by which a plugin may be asked or not.
    fn run(&self, run: &Run) -> NoticeRun {
        let said = Said::of(&self.storage, run).unwrap_or_else(|error| {
            tracing::error!(run = %run.spec.id, %error, "a gate is asked without what the suite says");
            Said::default()
        });
        said.run(run, &self.base)
    }

    /// Asks one gate and records what it says.
    async fn ask(&self, plugin: &Plugin, json: String, run: &Run, gated: &mut Gated) {
        let limit = Duration::from_millis(self.settings.gate_timeout_ms);
        let answered = tokio::time::timeout(limit, self.answer(plugin, json, limit)).await;
        let answered = answered.unwrap_or_else(|_| {
            self.metrics.server_limit_hit("plugin.gate_timeout_ms");
            Err(format!("it did not answer within {} ms", limit.as_millis()))
        });
        let mut annotation = Annotation { title: "Gate: go".into(), url: None, values: Vec::new() };
        match answered {
            Ok(HookAnswer::Go(params)) => {
                let added: BTreeMap<_, _> = params
                    .into_iter()
                    .filter(|(name, _)| !name.is_empty() && !name.contains('\0'))
                    .filter(|(name, _)| !run.spec.request.params.contains_key(name))
                    .collect();
                annotation.values.extend(added.clone());
                gated.params.extend(added);
            }
            Ok(HookAnswer::Refuse(reason)) => {
                annotation.title = format!("Gate: refused: {reason}");
                gated.refused =
                    Some(format!("the gate of the plugin {} refused it: {reason}", plugin.name));
            }
            Ok(_) => {}
            Err(error) => {
                annotation.title = format!("Gate: failed: {error}");
                tracing::warn!(plugin = %plugin.name, error, "a gate failed");
                if plugin.gate_failure == GateFailure::Refuse {
                    gated.refused =
                        Some(format!("the gate of the plugin {} failed: {error}", plugin.name));
                }
            }
        }
        gated.said.push((plugin.name.clone(), annotation));
    }

    async fn answer(
        &self,
        plugin: &Plugin,
        run: String,
        limit: Duration,
    ) -> Result<HookAnswer, String> {
        let component = self.load(plugin).await.map_err(|error| format!("failed to {error}"))?;
        let mut order = self.order(plugin, component, Hook::Gate { run });
        // Whoever waits for it gives up before, and then it is ended.
        order.timeout = limit.saturating_mul(2);
        order.pace = None;
        let sandbox = self.sandbox.clone();
        let done = self.runtime.spawn(async move { sandbox.hook(order).await });
        let done = tokio_util::task::AbortOnDropHandle::new(done).await;
        let done = done.map_err(|panic| panic.to_string())?;
        done.ended.map_err(|error| error.to_string())
    }
}
