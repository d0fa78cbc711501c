//! Plugins and their deliveries.

use std::collections::BTreeMap;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use utoipa::ToSchema;

use super::{ExchangeView, LogLineView, PolicyView, schemas};
use crate::model::{
    Annotation, Delivery, DeliveryCall, Filters, GateFailure, HostPattern, LimitsPatch, Name,
    Plugin, Policy, RunId, Standing,
};
use crate::plugins::Change;

/// A plugin.
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
pub struct PluginView {
    /// Its name, unique on the server.
    #[schema(value_type = String, example = "alerts")]
    pub name: Name,
    /// Its component: the SHA-256 of the bytes.
    pub version: String,
    /// The component's size.
    pub size_bytes: u64,
    /// What the component imports.
    pub imports: Vec<String>,
    /// When it was installed.
    #[schema(value_type = String, format = DateTime)]
    pub created_at: Timestamp,
    /// When it was changed last.
    #[schema(value_type = String, format = DateTime)]
    pub updated_at: Timestamp,
    /// Whether it is told anything.
    pub enabled: bool,
    /// Why it is not.
    pub reason: Option<String>,
    /// Configuration.
    pub config: BTreeMap<String, String>,
    /// Which secrets there are; their values are shown as null.
    pub secrets: BTreeMap<String, Option<String>>,
    /// What else it is granted.
    pub policy: PluginPolicyView,
    /// What it is told of at most.
    #[schema(value_type = Object)]
    pub filters: Filters,
    /// What becomes of a run whose gate fails or is late: `go` or `refuse`.
    #[schema(value_type = String)]
    pub gate_failure: GateFailure,
    /// What it would like, beside what it gets.
    pub asks: AsksView,
    /// How many notices there was no room for.
    pub missed: u64,
    /// How many deliveries wait for it.
    pub waiting: usize,
}

/// What a plugin is granted beside its configuration.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(default, deny_unknown_fields)]
pub struct PluginPolicyView {
    /// Where HTTP requests may go: `https://host`, `http://host:port`, `https://*.example.com`.
    #[schema(value_type = Vec<String>)]
    pub allow_http: Vec<HostPattern>,
    /// Environment variables.
    pub env: BTreeMap<String, String>,
    /// Limits that differ from the server's.
    #[schema(schema_with = schemas::limits)]
    pub limits: LimitsPatch,
}

/// What a plugin would like, beside what it gets.
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
pub struct AsksView {
    /// The events that it would like to hear of.
    pub events: Vec<String>,
    /// Those of them that the filters let pass.
    pub gets_events: Vec<String>,
    /// The hosts that it would like to reach.
    pub http: Vec<String>,
    /// Those of them that it is not granted.
    pub missing_http: Vec<String>,
    /// Whether it would like to be asked before a run starts.
    pub gate: bool,
}

impl PluginView {
    /// A plugin for which so many deliveries wait.
    pub fn of(plugin: &Plugin, waiting: usize) -> Self {
        let Policy { config, secrets, allow_http, env, limits, .. } = &plugin.policy;
        let words = |kinds: &mut dyn Iterator<Item = &crate::model::NoticeKind>| {
            kinds.map(|kind| kind.as_str().to_owned()).collect::<Vec<_>>()
        };
        let wishes = &plugin.wishes;
        let gets = |kind: &&crate::model::NoticeKind| plugin.filters.pass_kind(**kind);
        Self {
            name: plugin.name.clone(),
            version: plugin.digest.to_string(),
            size_bytes: plugin.size_bytes,
            imports: plugin.imports.clone(),
            created_at: plugin.created_at,
            updated_at: plugin.updated_at,
            enabled: plugin.standing.is_enabled(),
            reason: match &plugin.standing {
                Standing::Enabled => None,
                Standing::Disabled { reason, .. } => Some(reason.clone()),
            },
            config: config.clone(),
            secrets: secrets.keys().map(|name| (name.clone(), None)).collect(),
            policy: PluginPolicyView {
                allow_http: allow_http.clone(),
                env: env.clone(),
                limits: limits.clone(),
            },
            filters: plugin.filters.clone(),
            gate_failure: plugin.gate_failure,
            asks: AsksView {
                events: words(&mut wishes.events.iter()),
                gets_events: words(&mut wishes.events.iter().filter(gets)),
                http: wishes.http.clone(),
                missing_http: wishes.missing(&plugin.policy),
                gate: wishes.gate,
            },
            missed: plugin.missed,
            waiting,
        }
    }
}

/// What is to be different about a plugin. What is left out stays; a secret that is null is kept.
#[derive(Clone, Debug, Default, Serialize, Deserialize, ToSchema)]
#[serde(default, deny_unknown_fields)]
pub struct PluginBody {
    /// Configuration, in place of what there was.
    pub config: Option<BTreeMap<String, String>>,
    /// Secrets, in place of those that there were. A null keeps the stored value.
    pub secrets: Option<BTreeMap<String, Option<String>>>,
    /// What else it is granted, in place of what there was.
    pub policy: Option<PluginPolicyView>,
    /// What it is told of at most, in place of what there was.
    #[schema(value_type = Option<Object>)]
    pub filters: Option<Filters>,
    /// What becomes of a run whose gate fails or is late: `go` or `refuse`.
    #[schema(value_type = Option<String>)]
    pub gate_failure: Option<GateFailure>,
    /// Whether it is told anything.
    pub enabled: Option<bool>,
}

impl PluginBody {
    /// The change that this asks of a plugin with that policy. The error is the name of a secret that is to be
    /// kept and is not there.
    pub fn over(self, stored: &Policy) -> Result<Change, String> {
        let Self { config, secrets, policy, filters, gate_failure, enabled } = self;
        if config.is_none() && secrets.is_none() && policy.is_none() {
            return Ok(Change { policy: None, filters, gate_failure, enabled });
        }
        let mut view = PolicyView::from(stored);
        view.config = config.unwrap_or(view.config);
        view.secrets = secrets.unwrap_or(view.secrets);
        if let Some(PluginPolicyView { allow_http, env, limits }) = policy {
            (view.allow_http, view.env, view.limits) = (allow_http, env, limits);
        }
        let policy = Some(view.over(stored)?);
        Ok(Change { policy, filters, gate_failure, enabled })
    }
}

/// Something that a plugin is told, or was.
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
pub struct DeliveryView {
    /// Its number.
    pub number: u64,
    /// What happened.
    pub event: String,
    /// The id of what happened, which is the same each time it is told.
    pub event_id: String,
    /// Stable for one trouble.
    pub dedup_key: String,
    /// The run that it is about.
    #[schema(value_type = Option<String>, format = "uuid")]
    pub run: Option<RunId>,
    /// The suite that it is about.
    pub suite: Option<String>,
    /// How it stands: `pending`, `delivered` or `set_aside`.
    pub status: String,
    /// How often it was tried.
    pub attempts: u32,
    /// When it happened.
    #[schema(value_type = String, format = DateTime)]
    pub at: Timestamp,
    /// When it is tried next, if it waits.
    #[schema(value_type = Option<String>, format = DateTime)]
    pub next_at: Option<Timestamp>,
    /// The last call of the plugin for it.
    pub last: Option<DeliveryCallView>,
    /// All that the plugin is told; in lists null.
    #[schema(value_type = Option<Object>)]
    pub payload: Option<Value>,
}

/// A call of a plugin.
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
pub struct DeliveryCallView {
    /// When it began.
    #[schema(value_type = String, format = DateTime)]
    pub at: Timestamp,
    /// How long it took.
    pub duration_ms: u64,
    /// What went wrong, if anything did.
    pub error: Option<String>,
    /// What it wrote; in lists empty.
    pub log: Vec<LogLineView>,
    /// What it sent; in lists empty.
    pub requests: Vec<ExchangeView>,
}

impl From<&Delivery> for DeliveryView {
    fn from(delivery: &Delivery) -> Self {
        let notice = &delivery.notice;
        let call = |call: &DeliveryCall| DeliveryCallView {
            at: call.at,
            duration_ms: call.duration_ms,
            error: call.error.clone(),
            log: Vec::new(),
            requests: Vec::new(),
        };
        let waits = delivery.status == crate::model::DeliveryStatus::Pending;
        Self {
            number: delivery.number,
            event: notice.event.as_str().into(),
            event_id: notice.id.to_string(),
            dedup_key: notice.dedup_key.clone(),
            run: notice.run.as_ref().map(|run| run.id),
            suite: Some(delivery.lane()).filter(|suite| !suite.is_empty()),
            status: delivery.status.as_str().into(),
            attempts: delivery.attempts,
            at: notice.at,
            next_at: waits.then_some(delivery.next_at),
            last: delivery.last.as_ref().map(call),
            payload: None,
        }
    }
}

impl DeliveryView {
    /// A delivery with all that there is to know of it.
    pub fn whole(delivery: &Delivery) -> Self {
        let mut view = Self::from(delivery);
        view.payload = serde_json::to_value(&delivery.notice).ok();
        if let (Some(shown), Some(call)) = (&mut view.last, &delivery.last) {
            shown.log = call.log.iter().map(Into::into).collect();
            shown.requests = call.exchanges.iter().map(Into::into).collect();
        }
        view
    }
}

/// Something that a plugin said of a run.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct AnnotationView {
    /// The plugin.
    #[schema(value_type = String)]
    pub plugin: Name,
    /// In few words.
    pub title: String,
    /// Where it leads.
    pub url: Option<String>,
    /// More, by name.
    pub values: Vec<(String, String)>,
}

impl From<&(Name, Annotation)> for AnnotationView {
    fn from((plugin, annotation): &(Name, Annotation)) -> Self {
        let Annotation { title, url, values } = annotation.clone();
        Self { plugin: plugin.clone(), title, url, values }
    }
}
