//! What the engine alone can do: the same component on the same engine with the same limits, without a
//! server, a store, events, captured output or a policy around it.

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use handoff::model::Limits;
use handoff::wasm::{Engines, SandboxSettings};
use wasmtime::component::types::{ComponentItem, Type};
use wasmtime::component::{Component, InstancePre, Linker, ResourceTable, ResourceType, Val};
use wasmtime::error::Context as _;
use wasmtime::{
    Engine, Result, Store, StoreLimits, StoreLimitsBuilder, UpdateDeadline, bail, ensure,
    format_err,
};
use wasmtime_wasi::p2::{DynInputStream, DynOutputStream, DynPollable};
use wasmtime_wasi::{WasiCtx, WasiCtxView, WasiView};
use wasmtime_wasi_config::{WasiConfig, WasiConfigVariables};

use crate::figures::{Samples, best};

/// A test of the guest `thousand`.
const TRIVIAL: &str = "t500";

/// An engine with its epochs ticking as they do in the server.
pub(crate) struct Bare {
    engine: Engine,
    metering: Metering,
    limits: Limits,
    stop: Arc<AtomicBool>,
}

/// What an engine does beside the work, so that guests can be ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Metering {
    pub(crate) fuel: bool,
    pub(crate) epochs: bool,
}

pub(crate) struct State {
    wasi: WasiCtx,
    table: ResourceTable,
    config: WasiConfigVariables,
    limits: StoreLimits,
}

impl WasiView for State {
    fn ctx(&mut self) -> WasiCtxView<'_> {
        WasiCtxView { ctx: &mut self.wasi, table: &mut self.table }
    }
}

impl Bare {
    /// The engine that the server would use for a suite that is metered.
    pub(crate) fn new() -> Result<Self> {
        Ok(Self::on(&Engines::new(&SandboxSettings::default())?, true))
    }

    /// An engine of the server.
    pub(crate) fn on(engines: &Engines, metered: bool) -> Self {
        Self::with(engines.get(metered).clone(), Metering { fuel: metered, epochs: true })
    }

    /// An engine like the server's own, but for what it does beside the work. It has no pools.
    pub(crate) fn metering(metering: Metering) -> Result<Self> {
        let mut config = handoff::wasm::config(metering.fuel);
        // As in the child that compiles for the server, on one thread.
        config.epoch_interruption(metering.epochs).parallel_compilation(false);
        Ok(Self::with(Engine::new(&config)?, metering))
    }

    fn with(engine: Engine, metering: Metering) -> Self {
        let settings = SandboxSettings::default();
        let stop = Arc::new(AtomicBool::new(false));
        let (ticked, stopped) = (engine.clone(), stop.clone());
        let tick = Duration::from_micros(settings.tick_us);
        std::thread::spawn(move || {
            while !stopped.load(Ordering::Acquire) {
                std::thread::sleep(tick);
                ticked.increment_epoch();
            }
        });
        Self { engine, metering, limits: settings.limits, stop }
    }

    /// The rate of attempts per second at a test that does nothing, on so many threads, once.
    pub(crate) fn attempts_per_second(
        &self,
        trivial: &InstancePre<State>,
        threads: u32,
    ) -> Result<f64> {
        self.rate(trivial, TRIVIAL, threads, 2_000, 0)
    }

    /// The suite of such tests.
    pub(crate) fn trivial(&self, guests: &Path) -> Result<InstancePre<State>> {
        self.prepare(guests, "thousand")
    }

    /// The best rate of attempts per second at one test, `attempts` of them on each of the threads.
    pub(crate) fn rate(
        &self,
        pre: &InstancePre<State>,
        test: &str,
        threads: u32,
        attempts: u32,
        rounds: u32,
    ) -> Result<f64> {
        let mut rates = Vec::new();
        for _ in 0..=rounds {
            let begin = Instant::now();
            let one = || {
                let runtime = tokio::runtime::Builder::new_current_thread().build()?;
                runtime.block_on(async {
                    for _ in 0..attempts {
                        self.passing(pre, test, &[]).await?;
                    }
                    Ok::<_, wasmtime::Error>(())
                })
            };
            std::thread::scope(|scope| {
                let threads: Vec<_> = (0..threads).map(|_| scope.spawn(one)).collect();
                threads.into_iter().try_for_each(|thread| {
                    thread.join().map_err(|_| format_err!("a thread of the bare loop panicked"))?
                })
            })?;
            rates.push(f64::from(threads * attempts) / begin.elapsed().as_secs_f64());
        }
        Ok(best(rates))
    }

    /// How far guests that loop, `count` at once on so many threads, pass a deadline of `timeout`.
    pub(crate) fn overshoot(
        &self,
        guests: &Path,
        threads: usize,
        count: usize,
        timeout: Duration,
        rounds: u32,
    ) -> Result<Samples> {
        let pre = self.prepare(guests, "spin")?;
        let runtime =
            tokio::runtime::Builder::new_multi_thread().worker_threads(threads).build()?;
        let mut over = Vec::new();
        for _ in 0..rounds {
            let all = (0..count).map(|_| {
                let (pre, limits) = (pre.clone(), self.limits.clone());
                let metering = self.metering;
                runtime.spawn(async move {
                    let deadline = Instant::now() + timeout;
                    let terms = Terms { limits: &limits, metering, params: &[] };
                    let ended = attempt(&pre, &terms, "spin 00", Some(deadline)).await;
                    ensure!(ended.is_err(), "it ended by itself");
                    Ok(deadline.elapsed())
                })
            });
            let all = runtime.block_on(futures::future::join_all(all.collect::<Vec<_>>()));
            for one in all {
                over.push(one??);
            }
        }
        Ok(over.into_iter().collect())
    }

    fn prepare(&self, guests: &Path, name: &str) -> Result<InstancePre<State>> {
        let bytes = std::fs::read(guests.join(name).with_extension("wasm"))?;
        self.link(&self.compile(&bytes)?)
    }

    /// Compiles a component, or what a core module is the code of.
    pub(crate) fn compile(&self, bytes: &[u8]) -> Result<Component> {
        let component = handoff::compile::component(bytes).map_err(|e| format_err!("{e}"))?;
        Component::from_binary(&self.engine, &component)
    }

    /// Offers a component what it imports.
    pub(crate) fn link(&self, component: &Component) -> Result<InstancePre<State>> {
        let mut linker = Linker::<State>::new(&self.engine);
        wasmtime_wasi::p2::add_to_linker_async(&mut linker)?;
        wasmtime_wasi_config::add_to_linker(&mut linker, |state| WasiConfig::new(&state.config))?;
        stand_in(&mut linker, component)?;
        linker.instantiate_pre(component)
    }

    /// How long it takes to make a store and an instance in it.
    pub(crate) async fn instantiate(&self, pre: &InstancePre<State>) -> Result<Duration> {
        let begin = Instant::now();
        let terms = Terms { limits: &self.limits, metering: self.metering, params: &[] };
        let mut store = store(pre, &terms, None)?;
        pre.instantiate_async(&mut store).await?;
        Ok(begin.elapsed())
    }

    /// One attempt that must pass.
    pub(crate) async fn passing(
        &self,
        pre: &InstancePre<State>,
        test: &str,
        params: &[(&str, &str)],
    ) -> Result<()> {
        let terms = Terms { limits: &self.limits, metering: self.metering, params };
        let outcome = attempt(pre, &terms, test, None).await?;
        ensure!(
            matches!(&outcome, Val::Variant(case, _) if case == "passed"),
            "{test}: {outcome:?}"
        );
        Ok(())
    }
}

/// What suites import beside WASI: functions that answer with next to nothing. wasmtime's
/// `define_unknown_imports_as_traps` gives another type to the resources that an interface of WASI takes
/// from another.
fn stand_in(linker: &mut Linker<State>, component: &Component) -> Result<()> {
    let engine = linker.engine().clone();
    for (name, import) in component.component_type().imports(&engine) {
        let ComponentItem::ComponentInstance(interface) = import.ty else { continue };
        if !["handoff:", "wasi:http"].iter().any(|package| name.starts_with(package)) {
            continue;
        }
        let mut instance = linker.instance(name)?;
        for (item, export) in interface.exports(&engine) {
            match export.ty {
                ComponentItem::ComponentFunc(_) => {
                    let number = match item {
                        "remaining-ms" => 60_000,
                        _ => 1,
                    };
                    instance.func_new(item, move |_, function, _, results| {
                        for (result, ty) in results.iter_mut().zip(function.results()) {
                            *result = next_to_nothing(&ty, number)?;
                        }
                        Ok(())
                    })?;
                }
                ComponentItem::Resource(_) => {
                    let ty = match item {
                        "pollable" => ResourceType::host::<DynPollable>(),
                        "input-stream" => ResourceType::host::<DynInputStream>(),
                        "output-stream" => ResourceType::host::<DynOutputStream>(),
                        "io-error" => ResourceType::host::<wasmtime::Error>(),
                        _ => ResourceType::host::<()>(),
                    };
                    instance.resource(item, ty, |_, _| Ok(()))?;
                }
                _ => {}
            }
        }
    }
    Ok(())
}

/// A value of this type that says as little as can be; numbers say `number`.
fn next_to_nothing(ty: &Type, number: u32) -> Result<Val> {
    Ok(match ty {
        Type::Bool => Val::Bool(false),
        Type::U32 => Val::U32(number),
        Type::U64 => Val::U64(number.into()),
        Type::String => Val::String(String::new()),
        Type::Option(_) => Val::Option(None),
        Type::Result(result) => {
            let ok = result.ok().map(|ty| next_to_nothing(&ty, number)).transpose()?;
            Val::Result(Ok(ok.map(Box::new)))
        }
        other => bail!("an import that answers with {other:?} is not offered here"),
    })
}

impl Drop for Bare {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Release);
    }
}

/// Under which terms an attempt is made.
struct Terms<'a> {
    limits: &'a Limits,
    metering: Metering,
    params: &'a [(&'a str, &'a str)],
}

/// One attempt: a new store, a new instance, one call.
async fn attempt(
    pre: &InstancePre<State>,
    terms: &Terms<'_>,
    test: &str,
    deadline: Option<Instant>,
) -> Result<Val> {
    let mut store = store(pre, terms, deadline)?;
    let instance = pre.instantiate_async(&mut store).await?;
    let tests = instance
        .get_export_index(&mut store, None, "handoff:suite/tests@0.1.0")
        .context("no tests are exported")?;
    let run = instance.get_export_index(&mut store, Some(&tests), "run").context("no run")?;
    let run = instance.get_func(&mut store, run).context("run is no function")?;
    let mut outcome = [Val::Bool(false)];
    run.call_async(&mut store, &[Val::String(test.into())], &mut outcome).await?;
    let [outcome] = outcome;
    Ok(outcome)
}

fn store(
    pre: &InstancePre<State>,
    terms: &Terms<'_>,
    deadline: Option<Instant>,
) -> Result<Store<State>> {
    let Terms { limits, metering, params } = terms;
    let memory = usize::try_from(limits.memory_bytes).unwrap_or(usize::MAX);
    let params = params.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned()));
    let state = State {
        wasi: WasiCtx::builder().build(),
        table: ResourceTable::new(),
        config: params.collect(),
        limits: StoreLimitsBuilder::new().memory_size(memory).build(),
    };
    let mut store = Store::new(pre.engine(), state);
    store.limiter(|state| &mut state.limits);
    if metering.fuel {
        store.set_fuel(limits.fuel)?;
    }
    store.set_epoch_deadline(1);
    store.epoch_deadline_callback(move |_| {
        ensure!(deadline.is_none_or(|deadline| Instant::now() < deadline), "time is up");
        Ok(UpdateDeadline::YieldCustom(1, Box::pin(tokio::task::yield_now())))
    });
    Ok(store)
}
