//! What is told of what happens: each plugin with what it asks for and gets, and what it was told.

use askama::Template;
use axum::extract::{Query, State};
use axum::response::{Redirect, Response};

use serde::Deserialize;

use super::page::{self, From, Page};
use super::run::Fact;
use super::show;
use super::text::{self, Html};
use super::visitor::Form;
use super::{Path, Refusal, Web};
use crate::model::{
    Delivery, DeliveryStatus, GateFailure, Name, NoticeKind, Plugin, RunId, Standing, SuiteId,
};
use crate::plugins::Change;
use crate::storage;

/// How many deliveries are on one page.
const ROWS: usize = 50;
/// Bytes of a value of configuration, or of a text, where there is little room.
const SHORT: usize = 300;

/// A plugin in the list.
struct Line {
    name: Name,
    state: Html,
    why: Html,
    events: String,
    waiting: usize,
    missed: u64,
    last: Option<Told>,
}

/// Whether a plugin is told anything, and why not.
fn state(standing: &Standing) -> (Html, Html) {
    match standing {
        Standing::Enabled => (show::word("passed", "enabled"), Html::default()),
        Standing::Disabled { reason, .. } => {
            (show::word("cancelled", "disabled"), text::guest(&text::start(reason, 1000)))
        }
    }
}

#[derive(Template)]
#[template(path = "plugins.html")]
struct PluginsPage<'a> {
    page: &'a Page,
    lines: Vec<Line>,
}

/// All plugins.
pub(super) async fn read(State(web): State<Web>, page: Page) -> Result<Response, Refusal> {
    let plugins = web.app.plugins.clone();
    let lines = web.ask(move |storage| {
        let line = |plugin: Plugin| {
            let first = storage::Page { limit: 1, cursor: None };
            let last = storage.deliveries(&plugin.name, &first)?.items;
            let (state, why) = state(&plugin.standing);
            let gets = plugin.wishes.events.iter().filter(|it| plugin.filters.pass_kind(**it));
            let events = gets.map(|kind| in_words(*kind)).collect::<Vec<_>>().join(", ");
            let waiting = plugins.waiting(&plugin.name)?;
            let Plugin { name, missed, .. } = plugin;
            let last = last.first().map(Told::of);
            Ok(Line { name, state, why, events, waiting, missed, last })
        };
        plugins.list()?.into_iter().map(line).collect::<Result<Vec<_>, storage::StorageError>>()
    });
    let lines = lines.await?;
    let page = page.named("Plugins", "plugins");
    page::answer(&page, &PluginsPage { page: &page, lines })
}

/// The word for an event, for people.
fn in_words(kind: NoticeKind) -> String {
    kind.as_str().replace('_', " ")
}

/// A delivery in a list.
struct Told {
    number: u64,
    status: Html,
    event: String,
    about: Option<(RunId, u64, SuiteId)>,
    attempts: u32,
    at: Html,
    /// When it is tried next, if it waits.
    next: Option<Html>,
    error: Html,
}

impl Told {
    fn of(delivery: &Delivery) -> Self {
        let waits = delivery.status == DeliveryStatus::Pending;
        let status = match delivery.status {
            DeliveryStatus::Pending if delivery.attempts > 0 => {
                show::word("flaky", "to be retried")
            }
            DeliveryStatus::Pending => show::word("pending", "waits"),
            DeliveryStatus::Delivered => show::word("passed", "delivered"),
            DeliveryStatus::SetAside => show::word("failed", "set aside"),
        };
        let about = delivery.notice.run.as_ref();
        let error = delivery.last.as_ref().and_then(|call| call.error.as_deref());
        Self {
            number: delivery.number,
            status,
            event: in_words(delivery.notice.event),
            about: about.map(|run| (run.id, run.number, run.suite.clone())),
            attempts: delivery.attempts,
            at: show::ago(delivery.notice.at),
            next: waits.then(|| show::ago(delivery.next_at)),
            error: error.map(|it| text::guest(&text::start(it, SHORT))).unwrap_or_default(),
        }
    }
}

/// Something that a plugin asks for, and whether it gets it.
struct Wish {
    what: Html,
    is_granted: bool,
}

#[derive(Template)]
#[template(path = "plugin.html")]
struct PluginPage<'a> {
    page: &'a Page,
    name: Name,
    is_enabled: bool,
    state: Html,
    why: Html,
    hosts: Vec<Wish>,
    /// Hosts that it is granted and did not ask for.
    further: Vec<String>,
    events: Vec<Wish>,
    gate: Option<&'static str>,
    filters: Vec<Fact>,
    config: Vec<Fact>,
    secrets: Vec<Html>,
    imports: Vec<String>,
    digest: String,
    size: String,
    installed: Html,
    changed: Html,
    waiting: usize,
    missed: u64,
    told: Vec<Told>,
    older: Option<String>,
    is_first: bool,
}

/// One plugin.
pub(super) async fn one(
    State(web): State<Web>,
    Path(name): Path<Name>,
    Query(from): Query<From>,
    page: Page,
) -> Result<Response, Refusal> {
    let plugins = web.app.plugins.clone();
    let is_first = from.cursor.is_none();
    let wanted = storage::Page { limit: ROWS, cursor: from.cursor };
    let found = web.ask(move |_| {
        let read = || {
            let plugin = plugins.get(&name)?;
            let deliveries = plugins.deliveries(&name, &wanted)?;
            Ok((plugin, plugins.waiting(&name)?, deliveries))
        };
        Ok(read())
    });
    let found: Result<_, crate::plugins::PluginError> = found.await?;
    let (plugin, waiting, deliveries) = found?;
    let page = page.named(format!("Plugin {}", plugin.name), "plugins");
    let (state, why) = state(&plugin.standing);
    let missing = plugin.wishes.missing(&plugin.policy);
    let asked = plugin.wishes.http.iter();
    let granted = plugin.policy.allow_http.iter().map(ToString::to_string);
    let content = PluginPage {
        page: &page,
        is_enabled: plugin.standing.is_enabled(),
        state,
        why,
        hosts: asked
            .map(|host| Wish {
                what: text::guest(&text::start(host, SHORT)),
                is_granted: !missing.contains(host),
            })
            .collect(),
        further: granted.filter(|host| !plugin.wishes.http.contains(host)).collect(),
        events: plugin
            .wishes
            .events
            .iter()
            .map(|kind| Wish {
                what: text::guest(&in_words(*kind)),
                is_granted: plugin.filters.pass_kind(*kind),
            })
            .collect(),
        gate: plugin.wishes.gate.then_some(match plugin.gate_failure {
            GateFailure::Go => "goes on",
            GateFailure::Refuse => "is refused",
        }),
        filters: filters(&plugin),
        config: plugin.policy.config.iter().map(|(name, value)| fact(name, value)).collect(),
        secrets: plugin.policy.secrets.keys().map(|name| text::guest(name)).collect(),
        digest: plugin.digest.to_string(),
        size: show::bytes(plugin.size_bytes),
        installed: show::ago(plugin.created_at),
        changed: show::ago(plugin.updated_at),
        waiting,
        missed: plugin.missed,
        told: deliveries.items.iter().map(Told::of).collect(),
        older: deliveries.next_cursor,
        is_first,
        name: plugin.name,
        imports: plugin.imports,
    };
    page::answer(&page, &content)
}

fn fact(name: &str, value: &str) -> Fact {
    Fact { name: text::guest(name), value: text::guest(&text::start(value, SHORT)) }
}

/// What of its events a plugin is told at most.
fn filters(plugin: &Plugin) -> Vec<Fact> {
    let filters = &plugin.filters;
    let events: Vec<String> = filters.events.iter().map(|kind| in_words(*kind)).collect();
    let labels: Vec<String> =
        filters.labels.iter().map(|(key, value)| format!("{key}={value}")).collect();
    let lists = [
        ("Only these events", &events),
        ("Only these namespaces", &filters.namespaces),
        ("Only these suites", &filters.suites),
        ("Only suites with the labels", &labels),
        ("Only tests with one of the tags", &filters.tags),
        ("Only these references", &filters.references),
    ];
    let some = lists.iter().filter(|(_, list)| !list.is_empty());
    some.map(|(name, list)| fact(name, &list.join(", "))).collect()
}

/// What can be done with a plugin.
#[derive(Clone, Copy, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum Action {
    Enable,
    Disable,
    Test,
}

/// What a plugin is told to try it out.
#[derive(Deserialize)]
pub(super) struct Trial {
    message: Option<String>,
}

/// Enables or disables a plugin, or tells it something to try it out.
pub(super) async fn act(
    State(web): State<Web>,
    Path((name, action)): Path<(Name, Action)>,
    Form(Trial { message }): Form<Trial>,
) -> Result<Redirect, Refusal> {
    let plugins = &web.app.plugins;
    let enabled = match action {
        Action::Enable => true,
        Action::Disable => false,
        Action::Test => {
            let delivery = plugins.test(name.clone(), message, None).await?;
            return Ok(to(&name, delivery.number));
        }
    };
    let change = Change { enabled: Some(enabled), ..Change::default() };
    plugins.change(name.clone(), change).await?;
    Ok(Redirect::to(&format!("/plugins/{name}")))
}

fn to(plugin: &Name, delivery: u64) -> Redirect {
    Redirect::to(&format!("/plugins/{plugin}/deliveries/{delivery}"))
}

/// Has a delivery told again.
pub(super) async fn redeliver(
    State(web): State<Web>,
    Path((name, number)): Path<(Name, u64)>,
    Form(super::actions::Nothing {}): Form<super::actions::Nothing>,
) -> Result<Redirect, Refusal> {
    web.app.plugins.redeliver(name.clone(), number, None).await?;
    Ok(to(&name, number))
}

/// The last call of a delivery.
struct Call {
    at: Html,
    took: String,
    error: Html,
    requests: Vec<super::attempt::Request>,
    log: super::logs::Log,
}

#[derive(Template)]
#[template(path = "delivery.html")]
struct DeliveryPage<'a> {
    page: &'a Page,
    name: Name,
    told: Told,
    is_waiting: bool,
    key: Html,
    id: String,
    call: Option<Call>,
    /// What it said of the run.
    said: Vec<Said>,
    payload: Html,
}

/// One delivery: what the plugin was told, and what came of it.
pub(super) async fn delivery(
    State(web): State<Web>,
    Path((name, number)): Path<(Name, u64)>,
    page: Page,
) -> Result<Response, Refusal> {
    let plugins = web.app.plugins.clone();
    let of = name.clone();
    let found = web.ask(move |storage| {
        let delivery = match plugins.delivery(&of, number) {
            Ok(delivery) => delivery,
            Err(error) => return Ok(Err(error)),
        };
        let run = delivery.notice.run.as_ref().map(|run| run.id);
        let said = run.map(|run| storage.annotations(run)).transpose()?.unwrap_or_default();
        let said = said.iter().filter(|(plugin, _)| *plugin == of).map(Said::of).collect();
        Ok(Ok((delivery, said)))
    });
    let (delivery, said) = found.await??;
    let title = format!("Delivery {number} to {name}");
    let page = page.named(title, "plugins");
    let payload = serde_json::to_string_pretty(&delivery.notice).map_err(Refusal::internal)?;
    let call = delivery.last.as_ref().map(|call| Call {
        at: show::ago(call.at),
        took: show::duration(call.duration_ms),
        error: call.error.as_deref().map(super::ansi::message).unwrap_or_default(),
        requests: super::attempt::requests(&call.exchanges, &web.app.config.web.trace_url),
        log: super::logs::of_lines(&call.log),
    });
    let content = DeliveryPage {
        page: &page,
        told: Told::of(&delivery),
        is_waiting: delivery.status == DeliveryStatus::Pending,
        key: text::guest(&delivery.notice.dedup_key),
        id: delivery.notice.id.to_string(),
        call,
        said,
        payload: text::guest(&text::start(&payload, 64 << 10)),
        name,
    };
    page::answer(&page, &content)
}

/// Something that a plugin said of a run.
pub(super) struct Said {
    pub(super) plugin: Name,
    pub(super) title: Html,
    /// Where it leads, if that is a page; other addresses are shown and lead nowhere.
    pub(super) href: Option<String>,
    pub(super) url: Html,
    pub(super) values: Vec<Fact>,
}

impl Said {
    /// What there is to show of an annotation. A plugin is not trusted either.
    pub(super) fn of((plugin, annotation): &(Name, crate::model::Annotation)) -> Self {
        let url = annotation.url.as_deref();
        Self {
            plugin: plugin.clone(),
            title: text::guest(&text::start(&annotation.title, SHORT)),
            href: url.and_then(text::leads),
            url: url.map(|url| text::guest(&text::start(url, SHORT))).unwrap_or_default(),
            values: annotation.values.iter().map(|(name, value)| fact(name, value)).collect(),
        }
    }
}

/// How plugins do, for the home page: what is in trouble, in words.
pub(super) fn health(
    plugins: &crate::plugins::Plugins,
    storage: &storage::Storage,
) -> Result<Health, storage::StorageError> {
    let mut health = Health::default();
    for plugin in plugins.list()? {
        health.all += 1;
        health.waiting += plugins.waiting(&plugin.name)?;
        if !plugin.standing.is_enabled() {
            health.disabled.push(plugin.name.clone());
            continue;
        }
        let first = storage::Page { limit: 1, cursor: None };
        let last = storage.deliveries(&plugin.name, &first)?.items;
        if last.iter().any(|delivery| {
            delivery.status == DeliveryStatus::SetAside
                || (delivery.status == DeliveryStatus::Pending && delivery.attempts > 0)
        }) {
            health.failing.push(plugin.name);
        }
    }
    Ok(health)
}

/// How plugins do.
#[derive(Default)]
pub(super) struct Health {
    pub(super) all: usize,
    pub(super) waiting: usize,
    pub(super) disabled: Vec<Name>,
    /// Those whose last delivery did not arrive.
    pub(super) failing: Vec<Name>,
}
