//! `handoff plugins`: what is told of what happens on a server.

use std::collections::BTreeMap;
use std::io::Write as _;
use std::path::PathBuf;

use clap::{Args, Subcommand, ValueEnum};
use reqwest::Method;
use serde_json::{Map, Value, json};

use super::client::{Client, ServerArgs, json as answered, read, read_file};
use super::exit::{Exit, Failure};
use super::plugin_try::TryArgs;
use super::policy::add;
use super::request::{PolicyArgs, pair};
use super::terminal::{Look, Style, safe_line};
use super::{Output, Surroundings};
use crate::http::views::{DeliveryView, List, PluginView};
use crate::model::{GateFailure, Name};

#[derive(Subcommand)]
pub(super) enum PluginsCommand {
    /// List plugins
    List(ListArgs),
    /// Show a plugin: what it would like and what it is granted
    Show(NameArgs),
    /// Tell a plugin a sample event here, without a server, and show what it does
    Try(Box<TryArgs>),
    /// Install a plugin, or another version of one
    Install(Box<InstallArgs>),
    /// Grant a plugin more, configure it, or change its filters
    Set(Box<SetArgs>),
    /// Tell a plugin what happens
    Enable(NameArgs),
    /// Tell a plugin nothing until it is enabled
    Disable(NameArgs),
    /// Delete a plugin with what it keeps
    Delete(NameArgs),
    /// Tell a plugin something to try it out
    Test(TestArgs),
    /// List what a plugin was told and what waits for it, the last first
    Deliveries(DeliveriesArgs),
    /// Show one delivery with what the plugin wrote and sent
    Delivery(DeliveryArgs),
    /// Have a delivery told again that was told or set aside
    Redeliver(DeliveryArgs),
}

#[derive(Args)]
pub(super) struct ListArgs {
    /// How to write the result
    #[arg(short, long, default_value = "human")]
    output: Output,
    #[command(flatten)]
    server: ServerArgs,
}

#[derive(Args)]
pub(super) struct NameArgs {
    /// The plugin
    name: Name,
    /// How to write the result
    #[arg(short, long, default_value = "human")]
    output: Output,
    #[command(flatten)]
    server: ServerArgs,
}

#[derive(Args)]
pub(super) struct InstallArgs {
    #[command(flatten)]
    plugin: NameArgs,
    /// The component
    file: PathBuf,
    #[command(flatten)]
    policy: PolicyArgs,
    #[command(flatten)]
    filters: FilterArgs,
}

#[derive(Args)]
pub(super) struct SetArgs {
    #[command(flatten)]
    plugin: NameArgs,
    #[command(flatten)]
    policy: PolicyArgs,
    #[command(flatten)]
    filters: FilterArgs,
}

/// What a plugin is told of at most.
#[derive(Args)]
struct FilterArgs {
    /// Tell it only of this event, such as `run_finished`
    #[arg(long = "event", value_name = "EVENT", help_heading = "Filters")]
    events: Vec<String>,
    /// Tell it only of suites in this namespace; `*` stands for any text
    #[arg(long = "in-namespace", value_name = "PATTERN", help_heading = "Filters")]
    namespaces: Vec<String>,
    /// Tell it only of this suite; `*` stands for any text
    #[arg(long = "of-suite", value_name = "PATTERN", help_heading = "Filters")]
    suites: Vec<String>,
    /// Tell it only of runs with this reference; `*` stands for any text
    #[arg(long = "of-reference", value_name = "PATTERN", help_heading = "Filters")]
    references: Vec<String>,
    /// Tell it only of tests with this tag
    #[arg(long = "with-tag", value_name = "TAG", help_heading = "Filters")]
    tags: Vec<String>,
    /// Tell it only of suites with this label; `*` stands for any text in its value
    #[arg(long = "with-label", value_name = "NAME=PATTERN", value_parser = pair, help_heading = "Filters")]
    labels: Vec<(String, String)>,
    /// What becomes of a run if the plugin is its gate and fails or is late
    #[arg(long, value_name = "GO|REFUSE")]
    gate_failure: Option<Gate>,
}

/// What becomes of a run whose gate fails.
#[derive(Clone, Copy, ValueEnum)]
enum Gate {
    /// It starts
    Go,
    /// It does not
    Refuse,
}

#[derive(Args)]
pub(super) struct TestArgs {
    /// A message for it
    #[arg(long, value_name = "TEXT")]
    message: Option<String>,
    #[command(flatten)]
    plugin: NameArgs,
}

#[derive(Args)]
pub(super) struct DeliveriesArgs {
    /// How many at most
    #[arg(long, default_value_t = 20)]
    limit: usize,
    /// Go on behind a page, from the `next_cursor` of its JSON
    #[arg(long)]
    cursor: Option<String>,
    #[command(flatten)]
    plugin: NameArgs,
}

#[derive(Args)]
pub(super) struct DeliveryArgs {
    #[command(flatten)]
    plugin: NameArgs,
    /// The delivery's number
    number: u64,
}

impl PluginsCommand {
    pub(super) async fn run(self, surroundings: &Surroundings) -> Result<Exit, Failure> {
        let look = surroundings.out;
        match self {
            Self::List(ListArgs { output, server }) => {
                let json: Value = Client::new(&server)?.get(&["plugins"], &[]).await?;
                list(json, output, look)
            }
            Self::Show(args) => {
                let json = Client::new(&args.server)?.get(&args.path(), &[]).await?;
                show(json, args.output, look)
            }
            Self::Try(args) => args.run(surroundings).await,
            Self::Install(args) => args.run(surroundings).await,
            Self::Set(args) => {
                let fields = fields(&args.policy, &args.filters, surroundings)?;
                if fields.is_empty() {
                    let told = "say what to set, such as --allow-http or --config";
                    return Err(Failure::told(Exit::Usage, told));
                }
                show(args.plugin.add(fields).await?, args.plugin.output, look)
            }
            Self::Enable(args) => args.switch(true, look).await,
            Self::Disable(args) => args.switch(false, look).await,
            Self::Delete(args) => {
                let client = Client::new(&args.server)?;
                client.send(client.request(Method::DELETE, &args.path())).await?;
                Ok(Exit::Passed)
            }
            Self::Test(args) => {
                let body = json!({"message": args.message});
                let client = Client::new(&args.plugin.server)?;
                let path = ["plugins", args.plugin.name.as_str(), "test"];
                delivery(client.create(&path, &body).await?, args.plugin.output, look)
            }
            Self::Deliveries(args) => args.run(look).await,
            Self::Delivery(args) => {
                let client = Client::new(&args.plugin.server)?;
                let number = args.number.to_string();
                let path = ["plugins", args.plugin.name.as_str(), "deliveries", &number];
                delivery(client.get(&path, &[]).await?, args.plugin.output, look)
            }
            Self::Redeliver(args) => {
                let client = Client::new(&args.plugin.server)?;
                let number = args.number.to_string();
                let name = args.plugin.name.as_str();
                let path = ["plugins", name, "deliveries", &number, "redeliver"];
                let answer = client.send(client.request(Method::POST, &path)).await?;
                delivery(answered(answer).await?, args.plugin.output, look)
            }
        }
    }
}

impl InstallArgs {
    async fn run(self, surroundings: &Surroundings) -> Result<Exit, Failure> {
        let fields = fields(&self.policy, &self.filters, surroundings)?;
        let client = Client::new(&self.plugin.server)?;
        let request = client
            .request(Method::POST, &["plugins"])
            .query(&[("name", self.plugin.name.as_str())])
            .header("content-type", "application/wasm")
            .body(read_file(&self.file)?);
        let mut plugin: Value = answered(client.send(request).await?).await?;
        if !fields.is_empty() {
            plugin = self.plugin.add(fields).await?;
        }
        show(plugin, self.plugin.output, surroundings.out)
    }
}

impl NameArgs {
    fn path(&self) -> [&str; 2] {
        ["plugins", self.name.as_str()]
    }

    async fn change(&self, fields: &Map<String, Value>) -> Result<Value, Failure> {
        let client = Client::new(&self.server)?;
        let request = client.request(Method::PATCH, &self.path()).json(fields);
        answered(client.send(request).await?).await
    }

    async fn switch(&self, enabled: bool, look: Look) -> Result<Exit, Failure> {
        let fields = Map::from_iter([("enabled".to_owned(), json!(enabled))]);
        show(self.change(&fields).await?, self.output, look)
    }

    /// Adds to what there is: values replace those of the same name, lists grow, filters are replaced.
    async fn add(&self, mut fields: Map<String, Value>) -> Result<Value, Failure> {
        let stored: Value = Client::new(&self.server)?.get(&self.path(), &[]).await?;
        for (name, value) in &mut fields {
            let mut sum = stored[name].clone();
            add(&mut sum, value.take());
            *value = sum;
        }
        self.change(&fields).await
    }
}

/// What was said, as fields of a change.
fn fields(
    policy: &PolicyArgs,
    filters: &FilterArgs,
    surroundings: &Surroundings,
) -> Result<Map<String, Value>, Failure> {
    let mut fields = Map::new();
    if !policy.is_empty() {
        let mut said = json!(policy.policy(&surroundings.environment)?);
        let mut grant = Map::new();
        for name in ["allow_http", "env", "limits"] {
            grant.insert(name.into(), said[name].take());
        }
        fields.insert("policy".into(), Value::Object(grant));
        for name in ["config", "secrets"] {
            fields.insert(name.into(), said[name].take());
        }
    }
    let lists = [
        ("events", &filters.events),
        ("namespaces", &filters.namespaces),
        ("suites", &filters.suites),
        ("references", &filters.references),
        ("tags", &filters.tags),
    ];
    let given = lists.into_iter().filter(|(_, list)| !list.is_empty());
    let mut given: Map<_, _> = given.map(|(name, list)| (name.to_owned(), json!(list))).collect();
    if !filters.labels.is_empty() {
        let labels: BTreeMap<_, _> = filters.labels.iter().cloned().collect();
        given.insert("labels".into(), json!(labels));
    }
    if let Some(gate) = filters.gate_failure {
        let refuses = matches!(gate, Gate::Refuse);
        let gate = if refuses { GateFailure::Refuse } else { GateFailure::Go };
        fields.insert("gate_failure".into(), json!(gate));
    }
    if !given.is_empty() {
        fields.insert("filters".into(), Value::Object(given));
    }
    Ok(fields)
}

fn list(json: Value, output: Output, look: Look) -> Result<Exit, Failure> {
    let mut out = std::io::stdout().lock();
    if output == Output::Json {
        writeln!(out, "{json:#}")?;
        return Ok(Exit::Passed);
    }
    for plugin in read::<List<PluginView>>(json)?.items {
        let name = look.paint(Style::Name, plugin.name.as_str());
        let reason = plugin.reason.map(|why| format!("  {}", safe_line(&why))).unwrap_or_default();
        writeln!(out, "{}  {name}{reason}", standing(plugin.enabled, look))?;
    }
    Ok(Exit::Passed)
}

fn standing(enabled: bool, look: Look) -> String {
    match enabled {
        true => look.paint(Style::Good, "enabled "),
        false => look.paint(Style::Bad, "disabled"),
    }
}

/// What a plugin would like and what it gets, side by side.
fn show(json: Value, output: Output, look: Look) -> Result<Exit, Failure> {
    let mut out = std::io::stdout().lock();
    if output == Output::Json {
        writeln!(out, "{json:#}")?;
        return Ok(Exit::Passed);
    }
    let plugin: PluginView = read(json)?;
    let name = look.paint(Style::Name, plugin.name.as_str());
    writeln!(out, "{name} is {}", standing(plugin.enabled, look).trim_end())?;
    if let Some(reason) = &plugin.reason {
        writeln!(out, "  {}", safe_line(reason))?;
    }
    writeln!(out, "version {}, {} bytes", plugin.version, plugin.size_bytes)?;
    let asks = &plugin.asks;
    for host in &asks.http {
        let gets = !asks.missing_http.contains(host);
        let gets = if gets { "granted" } else { "not granted" };
        writeln!(out, "would like to reach {:<40} {gets}", safe_line(host))?;
    }
    for event in &asks.events {
        let gets = if asks.gets_events.contains(event) { "told" } else { "filtered out" };
        writeln!(out, "would like to hear of {event:<38} {gets}")?;
    }
    if asks.gate {
        writeln!(out, "would like to be asked before a run starts")?;
    }
    for (name, value) in &plugin.config {
        writeln!(out, "config {} = {}", safe_line(name), safe_line(value))?;
    }
    for name in plugin.secrets.keys() {
        writeln!(out, "secret {} is set", safe_line(name))?;
    }
    if plugin.waiting > 0 {
        writeln!(out, "{} deliveries wait", plugin.waiting)?;
    }
    if plugin.missed > 0 {
        writeln!(out, "{} events were not told: its outbox was full", plugin.missed)?;
    }
    Ok(Exit::Passed)
}

impl DeliveriesArgs {
    async fn run(self, look: Look) -> Result<Exit, Failure> {
        let client = Client::new(&self.plugin.server)?;
        let mut query = vec![("limit", self.limit.to_string())];
        query.extend(self.cursor.map(|cursor| ("cursor", cursor)));
        let path = ["plugins", self.plugin.name.as_str(), "deliveries"];
        let json: Value = client.get(&path, &query).await?;
        let mut out = std::io::stdout().lock();
        if self.plugin.output == Output::Json {
            writeln!(out, "{json:#}")?;
            return Ok(Exit::Passed);
        }
        let list: List<DeliveryView> = read(json)?;
        for delivery in list.items {
            writeln!(out, "{}", line(&delivery, look))?;
        }
        if list.next_cursor.is_some() {
            writeln!(out, "There are more: --limit shows more of them.")?;
        }
        Ok(Exit::Passed)
    }
}

fn line(delivery: &DeliveryView, look: Look) -> String {
    let style = match delivery.status.as_str() {
        "delivered" => Style::Good,
        "set_aside" => Style::Bad,
        _ => Style::Notable,
    };
    let status = look.paint(style, &format!("{:<9}", safe_line(&delivery.status)));
    let suite = delivery.suite.as_deref().map(|suite| format!("  {}", safe_line(suite)));
    let error = delivery.last.as_ref().and_then(|last| last.error.as_deref());
    let error = error.map(|error| format!("  {}", safe_line(error)));
    let (number, at) = (delivery.number, delivery.at.strftime("%F %T"));
    let event = safe_line(&delivery.event);
    let (suite, error) = (suite.unwrap_or_default(), error.unwrap_or_default());
    format!("{number:>6}  {at}  {status}  {event}{suite}{error}")
}

fn delivery(json: Value, output: Output, look: Look) -> Result<Exit, Failure> {
    let mut out = std::io::stdout().lock();
    if output == Output::Json {
        writeln!(out, "{json:#}")?;
        return Ok(Exit::Passed);
    }
    let delivery: DeliveryView = read(json)?;
    writeln!(out, "{}", line(&delivery, look))?;
    if let Some(call) = delivery.last {
        writeln!(out, "tried {} times, the last took {} ms", delivery.attempts, call.duration_ms)?;
        for request in &call.requests {
            let status = request.status.map(|status| status.to_string());
            let outcome = status.or_else(|| request.error.clone()).unwrap_or_default();
            let (method, url) = (safe_line(&request.method), safe_line(&request.url));
            let allowed = if request.allowed { "" } else { "denied: " };
            writeln!(out, "  {method} {url}  {allowed}{}", safe_line(&outcome))?;
        }
        for line in &call.log {
            writeln!(out, "  {}", safe_line(&line.text))?;
        }
    }
    Ok(Exit::Passed)
}
