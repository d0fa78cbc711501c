//! Runs a plugin natively, in an ordinary `cargo test`: what surrounds it is a [`Host`] that the test sets up.
//!
//! ```
//! use handoff_plugin::http::Response;
//! use handoff_plugin::testing::{Host, run_finished};
//! # use handoff_plugin::*;
//! # struct Hook { url: String }
//! # impl Plugin for Hook {
//! #     fn init(config: &Config) -> Result<Self> { Ok(Self { url: config.require("url")? }) }
//! #     fn handle(&self, event: &Event, cx: &mut Context<'_>) -> Result<Vec<Annotation>> {
//! #         cx.send(http::post(&self.url).json(event))?.success()?;
//! #         Ok(vec![])
//! #     }
//! # }
//!
//! let mut host = Host::new().config("url", "https://example.test/hook");
//! host.answer(|_| Response::new(204, ""));
//! host.handle::<Hook>(&run_finished("failed")).unwrap();
//! assert_eq!(host.sent[0].url, "https://example.test/hook");
//! ```

use crate::context::Backend;
use crate::event::{Counts, Suite};
use crate::http::{Request, Response};
use crate::{
    Annotation, Config, Context, Error, Event, EventKind, Level, Link, Plugin, Result, Run,
    Statistics, Test, Trouble, Verdict, Wishes,
};
use std::collections::BTreeMap;
use std::time::Duration;

/// What answers a request.
type Answer = Box<dyn FnMut(&Request) -> Result<Response>>;

/// What surrounds a plugin in a test.
pub struct Host {
    config: BTreeMap<String, String>,
    answer: Answer,
    /// What the plugin sent, in order.
    pub sent: Vec<Request>,
    /// What the plugin wrote, in order.
    pub log: Vec<(Level, String)>,
    /// What the plugin keeps.
    pub values: BTreeMap<String, Vec<u8>>,
    /// Runs that the plugin can read, the newest first.
    pub runs: Vec<Run>,
    /// Tests of each of them.
    pub tests: Vec<Test>,
    /// Reports of each of them, by format.
    pub reports: BTreeMap<String, Vec<u8>>,
    /// How each suite and test stands.
    pub statistics: Option<Statistics>,
    /// The time since 1970.
    pub now: Duration,
}

impl Default for Host {
    fn default() -> Self {
        Self::new()
    }
}

impl Host {
    /// Nothing is set, and every request is answered by 200 without a body.
    pub fn new() -> Self {
        Self {
            config: BTreeMap::new(),
            answer: Box::new(|_| Ok(Response::new(200, ""))),
            sent: Vec::new(),
            log: Vec::new(),
            values: BTreeMap::new(),
            runs: Vec::new(),
            tests: Vec::new(),
            reports: BTreeMap::new(),
            statistics: None,
            now: Duration::from_secs(1_800_000_000),
        }
    }

    /// Sets a value of the configuration, or a secret.
    #[must_use]
    pub fn config(mut self, name: &str, value: impl Into<String>) -> Self {
        self.config.insert(name.to_owned(), value.into());
        self
    }

    /// How requests are answered from now on.
    pub fn answer(&mut self, mut answer: impl FnMut(&Request) -> Response + 'static) {
        self.answer = Box::new(move |request| Ok(answer(request)));
    }

    /// From now on no request is answered: the service is not there.
    pub fn refuse(&mut self) {
        self.answer = Box::new(|_| Err(Error::new("ConnectionRefused")));
    }

    /// What the plugin would like.
    pub fn init<P: Plugin>(&self) -> Result<Wishes> {
        Ok(P::init(&Config::new(self.config.clone()))?.wishes())
    }

    /// Tells the plugin something.
    pub fn handle<P: Plugin>(&mut self, event: &Event) -> Result<Vec<Annotation>> {
        let plugin = P::init(&Config::new(self.config.clone()))?;
        plugin.handle(event, &mut Context(self))
    }

    /// Asks the plugin whether a run may start.
    pub fn gate<P: Plugin>(&mut self, run: &Run) -> Result<Verdict> {
        let plugin = P::init(&Config::new(self.config.clone()))?;
        Ok(plugin.gate(run, &mut Context(self)))
    }
}

impl Backend for Host {
    fn send(&mut self, request: Request) -> Result<Response> {
        let answer = (self.answer)(&request);
        self.sent.push(request);
        answer
    }

    fn log(&mut self, level: Level, message: &str) {
        self.log.push((level, message.to_owned()));
    }

    fn get(&mut self, key: &str) -> Option<Vec<u8>> {
        self.values.get(key).cloned()
    }

    fn set(&mut self, key: &str, value: &[u8]) -> Result<()> {
        self.values.insert(key.to_owned(), value.to_owned());
        Ok(())
    }

    fn delete(&mut self, key: &str) {
        self.values.remove(key);
    }

    fn keys(&mut self, prefix: &str) -> Vec<String> {
        self.values.keys().filter(|key| key.starts_with(prefix)).cloned().collect()
    }

    fn run(&mut self, id: &str) -> Result<Option<String>> {
        let run = self.runs.iter().find(|run| run.id == id);
        Ok(run.map(serde_json::to_string).transpose()?)
    }

    fn runs(&mut self, suite: &str, limit: u32) -> Result<Vec<String>> {
        let runs = self.runs.iter().filter(|run| run.suite.to_string() == suite);
        Ok(runs.take(limit as usize).map(serde_json::to_string).collect::<Result<_, _>>()?)
    }

    fn tests(&mut self, _: &str, from: u32, limit: u32) -> Result<Vec<String>> {
        let tests = self.tests.iter().skip(from as usize).take(limit as usize);
        Ok(tests.map(serde_json::to_string).collect::<Result<_, _>>()?)
    }

    fn report(&mut self, _: &str, format: &str) -> Result<Option<Vec<u8>>> {
        Ok(self.reports.get(format).cloned())
    }

    fn statistics(&mut self, _: &str, _: Option<&str>) -> Result<Option<String>> {
        Ok(self.statistics.as_ref().map(serde_json::to_string).transpose()?)
    }

    fn now(&mut self) -> Duration {
        self.now
    }

    fn remaining(&mut self) -> Duration {
        Duration::from_secs(30)
    }
}

/// A run of two tests that ended so, one of which failed if the run did.
pub fn run_finished(status: &str) -> Event {
    let failed = status == "failed";
    let run = Run {
        id: "01890a5d-ac96-774b-bcce-b302099a8057".into(),
        number: 12,
        suite: Suite { namespace: "shop".into(), name: "checkout".into() },
        version: format!("sha256:{}", "0".repeat(64)),
        status: status.into(),
        reference: Some("main".into()),
        initiated_by: Some("schedule nightly".into()),
        params: BTreeMap::new(),
        labels: BTreeMap::from([("tier".into(), "1".into())]),
        owner: Some("team-shop".into()),
        created_at: "2030-01-01T00:00:00Z".into(),
        started_at: Some("2030-01-01T00:00:01Z".into()),
        finished_at: Some("2030-01-01T00:01:02Z".into()),
        duration_ms: Some(61_000),
        counts: Counts {
            passed: 2 - u64::from(failed),
            failed: failed.into(),
            ..Counts::default()
        },
        message: None,
        url: "http://127.0.0.1:1337/runs/01890a5d-ac96-774b-bcce-b302099a8057".into(),
    };
    let failure = Test {
        name: "pays by card".into(),
        tags: Vec::new(),
        status: "failed".into(),
        soft: false,
        flaky: false,
        attempts: 2,
        cause: Some("assertion".into()),
        message: Some("expected status 200, got 500\nthe body begins: out of paper".into()),
        location: None,
        duration_ms: Some(120),
        started_at: Some("2030-01-01T00:00:30Z".into()),
        trace_ids: vec!["4bf92f3577b34da6a3ce929d0e0e4736".into()],
        group: Some("5c0ffee05c0ffee05c0ffee05c0ffee0".into()),
    };
    Event {
        id: "01890a5d-ac96-774b-bcce-000000000001".into(),
        kind: EventKind::RunFinished,
        at: "2030-01-01T00:01:02Z".into(),
        dedup_key: format!("run:{}", run.id),
        links: vec![Link { title: "Run".into(), url: run.url.clone() }],
        run: Some(run),
        suite: None,
        test: None,
        failures: if failed { vec![failure] } else { Vec::new() },
        trouble: None,
        schedule: None,
        plugin: None,
        message: None,
    }
}

/// The same as a change of the suite's state: [`EventKind::SuiteFailing`], [`EventKind::SuiteStillFailing`] or
/// [`EventKind::SuiteRecovered`], all with one key.
pub fn suite(kind: EventKind) -> Event {
    let status = if kind == EventKind::SuiteRecovered { "passed" } else { "failed" };
    let event = run_finished(status);
    let trouble = Trouble {
        first_run: "01890a5d-ac96-774b-bcce-b302099a8057".into(),
        since: event.at.clone(),
        failed_runs: 1 + u64::from(kind != EventKind::SuiteFailing),
    };
    Event {
        id: format!("{}-{}", event.id, kind.as_str()),
        kind,
        dedup_key: "suite:shop/checkout:01890a5d-ac96-774b-bcce-b302099a8057".into(),
        trouble: Some(trouble),
        ..event
    }
}
