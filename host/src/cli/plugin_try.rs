//! `handoff plugins try`: tells a plugin a sample event here, without a server, and shows what it does.

use std::io::Write;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context as _;
use clap::Args;
use serde_json::{Value, json};
use tokio_util::sync::CancellationToken;

use super::component::{Cache, Reader, open_component};
use super::exit::{Exit, Failure};
use super::request::PolicyArgs;
use super::terminal::{Look, Style, safe_line};
use super::{Output, Surroundings};
use crate::compile::Loaded;
use crate::config::{self, SettingArgs};
use crate::model::{Exchange, Notice, NoticeKind, Policy};
use crate::wasm::{Hook, HookAnswer, HookDone, HookOrder, NoReport, Runs, Sandbox};

#[derive(Args)]
pub(super) struct TryArgs {
    /// The component
    file: PathBuf,
    /// What it is told, such as `run-finished`; may be repeated
    #[arg(long = "event", value_name = "EVENT", value_parser = kind, default_value = "run-finished")]
    events: Vec<NoticeKind>,
    /// Ask it too, before that, whether a sample run may start
    #[arg(long)]
    gate: bool,
    /// Tell it what is in this file, the JSON of an event, in place of a sample
    #[arg(long, value_name = "FILE")]
    payload: Option<PathBuf>,
    #[command(flatten)]
    policy: PolicyArgs,
    /// How to write the result
    #[arg(short, long, default_value = "human")]
    output: Output,
}

fn kind(word: &str) -> Result<NoticeKind, String> {
    let words = || NoticeKind::ALL.iter().map(|kind| kind.as_str()).collect::<Vec<_>>().join(", ");
    NoticeKind::of(word).ok_or_else(|| format!("there is no such event; there are {}", words()))
}

/// There are no runs without a server.
struct NoRuns;

impl Runs for NoRuns {
    fn run(&self, _: &str) -> Result<Option<String>, String> {
        Ok(None)
    }

    fn runs(&self, _: &str, _: usize) -> Result<Vec<String>, String> {
        Ok(Vec::new())
    }

    fn tests(&self, _: &str, _: usize, _: usize) -> Result<Vec<String>, String> {
        Ok(Vec::new())
    }

    fn report(&self, _: &str, format: &str) -> Result<Option<Vec<u8>>, NoReport> {
        Ok(Some(format!("a sample of a {format} report").into_bytes()))
    }

    fn statistics(&self, _: &str, _: Option<&str>) -> Result<Option<String>, String> {
        Ok(None)
    }
}

/// A plugin with what it is granted, and what it kept so far.
struct Trial {
    sandbox: Sandbox,
    component: Loaded,
    policy: Arc<Policy>,
    limits: crate::model::Limits,
    gate_timeout_ms: u64,
    values: crate::wasm::Values,
}

impl Trial {
    async fn call(&mut self, hook: Hook) -> HookDone {
        let timeout = match hook {
            Hook::Gate { .. } => self.gate_timeout_ms,
            _ => self.policy.limits.timeout_ms.unwrap_or(self.limits.timeout_ms),
        };
        let order = HookOrder {
            component: self.component.clone(),
            hook,
            policy: self.policy.clone(),
            limits: Arc::new(self.limits.clone()),
            values: Arc::new(self.values.clone()),
            runs: Arc::new(NoRuns),
            timeout: Duration::from_millis(timeout),
            cancel: CancellationToken::new(),
            pace: None,
        };
        let done = self.sandbox.hook(order).await;
        for (key, value) in &done.kept {
            match value {
                Some(value) => _ = self.values.insert(key.clone(), value.clone()),
                None => _ = self.values.remove(key),
            }
        }
        done
    }
}

impl TryArgs {
    pub(super) async fn run(self, surroundings: &Surroundings) -> Result<Exit, Failure> {
        let config = config::load_named(&SettingArgs::default(), &surroundings.environment)?.config;
        let component = open_component(&self.file, &config.compile)?;
        let cache = Cache::open(&surroundings.environment)?;
        let policy = self.policy.policy(&surroundings.environment)?;
        let notices = match &self.payload {
            Some(path) => {
                let text = super::client::read_file(path)?;
                let read = serde_json::from_slice(&text).map_err(anyhow::Error::new);
                vec![read.map_err(|error| Failure::usage(error.context("read the payload")))?]
            }
            None => self.events.iter().map(|kind| Notice::sample(*kind)).collect(),
        };
        let reader = Reader::new(&config, &cache)?;
        let limits = config.sandbox.limits.patched(&policy.limits);
        let (component, sandbox) = reader.plugin(component, limits.fuel > 0).await?;
        let values = Default::default();
        let policy = Arc::new(policy);
        let gate_timeout_ms = config.plugin.gate_timeout_ms;
        let mut trial = Trial { sandbox, component, policy, limits, gate_timeout_ms, values };
        let mut shown =
            Shown { out: std::io::stdout(), look: surroundings.out, output: self.output };
        let init = trial.call(Hook::Init).await;
        let mut well = shown.call("init", &init)?;
        if let (true, Ok(HookAnswer::Wishes(wishes))) = (self.gate, &init.ended)
            && !wishes.gate
        {
            let told = "it does not want to be asked before a run starts: leave --gate out";
            return Err(Failure::told(Exit::Usage, told));
        }
        if self.gate && well {
            let run = Notice::sample(NoticeKind::RunQueued).run;
            let run = serde_json::to_string(&run).map_err(anyhow::Error::new);
            let run = run.context("write a sample run").map_err(Failure::platform)?;
            well &= shown.call("gate", &trial.call(Hook::Gate { run }).await)?;
        }
        for notice in notices.into_iter().filter(|_| well).collect::<Vec<Notice>>() {
            let name = notice.event.as_str();
            let hook = Hook::Handle { notice: Arc::new(notice), attempt: 1 };
            well &= shown.call(name, &trial.call(hook).await)?;
        }
        Ok(if well { Exit::Passed } else { Exit::TestsFailed })
    }
}

/// Shows calls as they end.
struct Shown<W> {
    out: W,
    look: Look,
    output: Output,
}

impl<W: Write> Shown<W> {
    /// Shows a call, and gives whether it went well.
    fn call(&mut self, name: &str, done: &HookDone) -> Result<bool, Failure> {
        match self.output {
            Output::Json => writeln!(self.out, "{}", as_json(name, done))?,
            Output::Human => self.for_people(name, done)?,
        }
        Ok(done.ended.is_ok())
    }

    fn for_people(&mut self, name: &str, done: &HookDone) -> std::io::Result<()> {
        let Self { out, look, .. } = self;
        let name = look.paint(Style::Name, name);
        let ms = done.duration.as_millis();
        match &done.ended {
            Ok(_) => writeln!(out, "{} {name} in {ms} ms", look.paint(Style::Good, "ok"))?,
            Err(error) => {
                let failed = look.paint(Style::Bad, "failed");
                writeln!(out, "{failed} {name} in {ms} ms: {}", safe_line(&error.to_string()))?;
            }
        }
        match &done.ended {
            Ok(HookAnswer::Wishes(wishes)) => {
                for event in &wishes.events {
                    writeln!(out, "  would like to hear of {}", event.as_str())?;
                }
                for host in &wishes.http {
                    writeln!(out, "  would like to reach {}", safe_line(host))?;
                }
                if wishes.gate {
                    writeln!(out, "  would like to be asked before a run starts (--gate)")?;
                }
            }
            Ok(HookAnswer::Go(params)) => {
                writeln!(out, "  the run may start")?;
                for (name, value) in params {
                    writeln!(out, "    with {}={}", safe_line(name), safe_line(value))?;
                }
            }
            Ok(HookAnswer::Refuse(reason)) => {
                writeln!(out, "  the run must not start: {}", safe_line(reason))?;
            }
            Ok(HookAnswer::Handled(annotations)) => {
                for annotation in annotations {
                    writeln!(out, "  says {}", safe_line(&annotation.title))?;
                    for (key, value) in &annotation.values {
                        writeln!(out, "    {}: {}", safe_line(key), safe_line(value))?;
                    }
                }
            }
            Err(_) => {}
        }
        for exchange in &done.exchanges {
            writeln!(out, "  {}", safe_line(&request(exchange)))?;
        }
        for line in &done.log {
            writeln!(out, "  | {}", safe_line(&line.text))?;
        }
        Ok(())
    }
}

fn request(exchange: &Exchange) -> String {
    let decision = if exchange.allowed { "allowed" } else { "denied" };
    let status = exchange.status.map(|status| status.to_string());
    let outcome = status.or_else(|| exchange.error.clone()).unwrap_or_default();
    format!("{} {} {decision}: {outcome}", exchange.method, exchange.url)
}

fn as_json(name: &str, done: &HookDone) -> Value {
    let error = done.ended.as_ref().err().map(ToString::to_string);
    let (mut wishes, mut annotations, mut gate) = (Value::Null, Value::Null, Value::Null);
    match &done.ended {
        Ok(HookAnswer::Wishes(told)) => wishes = json!(told),
        Ok(HookAnswer::Handled(told)) => annotations = json!(told),
        Ok(HookAnswer::Go(params)) => gate = json!({"go": params}),
        Ok(HookAnswer::Refuse(reason)) => gate = json!({"refuse": reason}),
        Err(_) => {}
    }
    json!({
        "call": name, "error": error, "duration_ms": done.duration.as_millis() as u64,
        "wishes": wishes, "annotations": annotations, "gate": gate, "requests": done.exchanges,
        "log": done.log.iter().map(|line| line.text.as_str()).collect::<Vec<_>>(),
    })
}
