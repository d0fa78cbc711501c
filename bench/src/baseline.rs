//! What the engine alone can do: the same component on the same engine with the same limits, without a
//! server, a store, events, captured output or a policy around it.

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use handoff::model::Limits;
use handoff::wasm::{Engines, SandboxSettings};
use wasmtime::component::types::ComponentItem;
use wasmtime::component::{Component, InstancePre, Linker, ResourceTable, ResourceType, Val};
use wasmtime::error::Context as _;
use wasmtime::{
    Engine, Result, Store, StoreLimits, StoreLimitsBuilder, UpdateDeadline, bail, ensure,
    format_err,
};
use wasmtime_wasi::{WasiCtx, WasiCtxView, WasiView};
use wasmtime_wasi_config::{WasiConfig, WasiConfigVariables};

use crate::figures::{Samples, best};

/// A test of the guest `thousand`.
const TRIVIAL: &str = "t500";

/// The engine that the server would use, with its epochs ticking as they do there.
pub(crate) struct Bare {
    engine: Engine,
    limits: Limits,
    stop: Arc<AtomicBool>,
}

struct State {
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
    pub(crate) fn new() -> Result<Self> {
        let settings = SandboxSettings::default();
        let engine = Engines::new(&settings)?.metered().clone();
        let stop = Arc::new(AtomicBool::new(false));
        let (ticked, stopped) = (engine.clone(), stop.clone());
        let tick = Duration::from_micros(settings.tick_us);
        std::thread::spawn(move || {
            while !stopped.load(Ordering::Acquire) {
                std::thread::sleep(tick);
                ticked.increment_epoch();
            }
        });
        Ok(Self { engine, limits: settings.limits, stop })
    }

    /// The best rate of attempts per second of so many threads.
    pub(crate) fn attempts_per_second(
        &self,
        guests: &Path,
        threads: u32,
        rounds: u32,
    ) -> Result<f64> {
        const ATTEMPTS: u32 = 5_000;
        let pre = self.prepare(guests, "thousand")?;
        let mut rates = Vec::new();
        for _ in 0..=rounds {
            let begin = Instant::now();
            let one = || {
                let runtime = tokio::runtime::Builder::new_current_thread().build()?;
                runtime.block_on(async {
                    for _ in 0..ATTEMPTS {
                        let outcome = attempt(&pre, &self.limits, TRIVIAL, None).await?;
                        let passed = matches!(&outcome, Val::Variant(case, _) if case == "passed");
                        ensure!(passed, "{outcome:?}");
                    }
                    Ok(())
                })
            };
            std::thread::scope(|scope| {
                let threads: Vec<_> = (0..threads).map(|_| scope.spawn(one)).collect();
                threads.into_iter().try_for_each(|thread| {
                    thread.join().map_err(|_| format_err!("a thread of the bare loop panicked"))?
                })
            })?;
            rates.push(f64::from(threads * ATTEMPTS) / begin.elapsed().as_secs_f64());
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
                runtime.spawn(async move {
                    let deadline = Instant::now() + timeout;
                    let ended = attempt(&pre, &limits, "spin 00", Some(deadline)).await;
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
        let component = Component::from_binary(&self.engine, &bytes)?;
        let mut linker = Linker::<State>::new(&self.engine);
        wasmtime_wasi::p2::add_to_linker_async(&mut linker)?;
        wasmtime_wasi_config::add_to_linker(&mut linker, |state| WasiConfig::new(&state.config))?;
        stub_our_own(&mut linker, &component)?;
        linker.instantiate_pre(&component)
    }
}

/// What suites import of ours, as functions that trap: a test that does nothing calls none of them.
/// wasmtime's `define_unknown_imports_as_traps` gives another type to the resources that an interface of
/// WASI takes from another.
fn stub_our_own(linker: &mut Linker<State>, component: &Component) -> Result<()> {
    let engine = linker.engine().clone();
    for (name, import) in component.component_type().imports(&engine) {
        let ComponentItem::ComponentInstance(interface) = import.ty else { continue };
        if !name.starts_with("handoff:") {
            continue;
        }
        let mut instance = linker.instance(name)?;
        for (item, export) in interface.exports(&engine) {
            match export.ty {
                ComponentItem::ComponentFunc(_) => {
                    instance.func_new(item, |_, _, _, _| bail!("not offered here"))?;
                }
                ComponentItem::Resource(_) => {
                    instance.resource(item, ResourceType::host::<()>(), |_, _| Ok(()))?;
                }
                _ => {}
            }
        }
    }
    Ok(())
}

impl Drop for Bare {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Release);
    }
}

/// One attempt: a new store, a new instance, one call.
async fn attempt(
    pre: &InstancePre<State>,
    limits: &Limits,
    test: &str,
    deadline: Option<Instant>,
) -> Result<Val> {
    let memory = usize::try_from(limits.memory_bytes).unwrap_or(usize::MAX);
    let state = State {
        wasi: WasiCtx::builder().build(),
        table: ResourceTable::new(),
        config: WasiConfigVariables::new(),
        limits: StoreLimitsBuilder::new().memory_size(memory).build(),
    };
    let mut store = Store::new(pre.engine(), state);
    store.limiter(|state| &mut state.limits);
    store.set_fuel(limits.fuel)?;
    store.set_epoch_deadline(1);
    store.epoch_deadline_callback(move |_| {
        ensure!(deadline.is_none_or(|deadline| Instant::now() < deadline), "time is up");
        Ok(UpdateDeadline::YieldCustom(1, Box::pin(tokio::task::yield_now())))
    });
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
