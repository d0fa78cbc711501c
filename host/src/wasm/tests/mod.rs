//! Runs small hostile guests, written as text, through the sandbox.

mod bounds;
mod context;
mod describe;
mod endings;
mod secrets;
mod waiting;

use std::sync::{Arc, LazyLock};
use std::time::Duration;

use tokio_util::sync::CancellationToken;
use wasmtime::component::Component;
use wit_component::{ComponentEncoder, StringEncoding, embed_component_metadata};
use wit_parser::{Resolve, WorldId};

use super::{AttemptOrder, Engines, Sandbox, SandboxSettings};
use crate::compile::{Loaded, Symbols};
use crate::metrics::Metrics;
use crate::model::{Attempt, AttemptDetail, Digest, Limits, Policy, Stage};

/// The contract, read once.
static WIT: LazyLock<(Resolve, WorldId)> = LazyLock::new(|| {
    let mut wit = Resolve::default();
    let (package, _) = wit.push_dir(concat!(env!("CARGO_MANIFEST_DIR"), "/../wit")).unwrap();
    let world = wit.select_world(&[package], Some("suite")).unwrap();
    (wit, world)
});

/// The parts of a guest. Each is WebAssembly text; a function leaves the address of its answer.
struct Guest<'a> {
    fields: &'a str,
    describe: &'a str,
    setup: &'a str,
    run: &'a str,
    teardown: &'a str,
    /// Whether it has debug information.
    debug: bool,
}

impl Default for Guest<'_> {
    fn default() -> Self {
        let passed = "(global.get $passed)";
        let describe = "(global.get $description)";
        Self { fields: "", describe, setup: passed, run: passed, teardown: passed, debug: false }
    }
}

impl Guest<'_> {
    /// The component's bytes.
    fn build(&self) -> Vec<u8> {
        let text = include_str!("guest.wat")
            .replace("FIELDS", self.fields)
            .replace("DESCRIBE", self.describe)
            .replace("SETUP", self.setup)
            .replace("RUN", self.run)
            .replace("TEARDOWN", self.teardown);
        let mut wat = wat::Parser::new();
        if self.debug {
            wat.generate_dwarf(wat::GenerateDwarf::Full);
        }
        let mut core = wat.parse_str(None, &text).unwrap();
        let (wit, world) = &*WIT;
        embed_component_metadata(&mut core, wit, *world, StringEncoding::UTF8).unwrap();
        ComponentEncoder::default().module(&core).unwrap().validate(true).encode().unwrap()
    }
}

/// A sandbox for a few attempts at a time.
struct Bench {
    sandbox: Sandbox,
    engines: Engines,
    metrics: Metrics,
    limits: Limits,
    debug_bytes: u64,
    policy: Policy,
    timeout: Duration,
    cancel: CancellationToken,
}

impl Bench {
    fn new() -> Self {
        Self::with(SandboxSettings { concurrent_attempts: 4, ..SandboxSettings::default() })
    }

    fn with(settings: SandboxSettings) -> Self {
        let engines = Engines::new(&settings).unwrap();
        let limits = settings.limits.clone();
        let metrics = Metrics::new();
        let sandbox = Sandbox::new(settings, engines.clone(), metrics.clone()).unwrap();
        Self {
            sandbox,
            engines,
            metrics,
            limits,
            debug_bytes: u64::MAX,
            policy: Policy::default(),
            timeout: Duration::from_secs(20),
            cancel: CancellationToken::new(),
        }
    }

    fn load(&self, guest: &Guest<'_>) -> Loaded {
        let metered = self.limits.fuel > 0;
        let bytes = guest.build();
        let component = Component::from_binary(self.engines.get(metered), &bytes).unwrap();
        let symbols = Symbols::read(&bytes, self.debug_bytes).unwrap().into();
        Loaded { component, metered, digest: Digest::of(&bytes), symbols }
    }

    fn order(&self, component: Loaded) -> AttemptOrder {
        AttemptOrder {
            component,
            program: None,
            stage: Stage::Test("one".into()),
            round: 1,
            number: 1,
            policy: Arc::new(self.policy.clone()),
            limits: Arc::new(self.limits.clone()),
            fixtures: None,
            params: Arc::default(),
            values: Arc::default(),
            timeout: self.timeout,
            not_after: None,
            cancel: self.cancel.clone(),
            live: None,
        }
    }

    async fn attempt(&self, guest: &Guest<'_>) -> Attempt {
        self.sandbox.attempt(self.order(self.load(guest)), || ()).await
    }

    /// An attempt at a guest whose test is this.
    async fn run(&self, run: &str) -> Attempt {
        self.attempt(&Guest { run, ..Guest::default() }).await
    }
}

fn detail(attempt: &Attempt) -> &AttemptDetail {
    attempt.detail.as_deref().unwrap()
}

fn log(attempt: &Attempt) -> Vec<&str> {
    detail(attempt).log.iter().map(|line| line.text.as_str()).collect()
}
