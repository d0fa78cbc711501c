//! What the engine alone can do: the same component on the same engine with the same limits, in a loop,
//! without a server, a store, events, captured output or a policy around it.

use std::path::Path;
use std::time::Instant;

use handoff::model::Limits;
use handoff::wasm::{Engines, SandboxSettings};
use wasmtime::component::{Component, InstancePre, Linker, ResourceTable, Val};
use wasmtime::error::Context as _;
use wasmtime::{Result, Store, StoreLimits, StoreLimitsBuilder, ensure, format_err};
use wasmtime_wasi::{WasiCtx, WasiCtxView, WasiView};

use crate::figures::median;

const ATTEMPTS: u32 = 5_000;

struct State {
    wasi: WasiCtx,
    table: ResourceTable,
    limits: StoreLimits,
}

impl WasiView for State {
    fn ctx(&mut self) -> WasiCtxView<'_> {
        WasiCtxView { ctx: &mut self.wasi, table: &mut self.table }
    }
}

/// Attempts per second of one thread, and of two together.
pub(crate) fn attempts_per_second(guests: &Path, rounds: u32) -> Result<[f64; 2]> {
    let engines = Engines::new(&SandboxSettings::default())?;
    let engine = engines.metered();
    let bytes = std::fs::read(guests.join("thousand.wasm"))?;
    let component = Component::from_binary(engine, &bytes)?;
    let mut linker = Linker::<State>::new(engine);
    wasmtime_wasi::p2::add_to_linker_async(&mut linker)?;
    linker.define_unknown_imports_as_traps(&component)?;
    let pre = linker.instantiate_pre(&component)?;
    let rate = |threads: u32| -> Result<f64> {
        let mut rates = Vec::new();
        for _ in 0..rounds {
            let begin = Instant::now();
            std::thread::scope(|scope| {
                let threads: Vec<_> =
                    (0..threads).map(|_| scope.spawn(|| one_thread(&pre))).collect();
                threads.into_iter().try_for_each(|thread| {
                    thread.join().map_err(|_| format_err!("a thread of the bare loop panicked"))?
                })
            })?;
            rates.push(f64::from(threads * ATTEMPTS) / begin.elapsed().as_secs_f64());
        }
        Ok(median(&mut rates))
    };
    rate(1)?;
    Ok([rate(1)?, rate(2)?])
}

fn one_thread(pre: &InstancePre<State>) -> Result<()> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(async {
        for _ in 0..ATTEMPTS {
            attempt(pre).await?;
        }
        Ok(())
    })
}

async fn attempt(pre: &InstancePre<State>) -> Result<()> {
    let limits = Limits::default();
    let state = State {
        wasi: WasiCtx::builder().build(),
        table: ResourceTable::new(),
        limits: StoreLimitsBuilder::new().memory_size(limits.memory_bytes as usize).build(),
    };
    let mut store = Store::new(pre.engine(), state);
    store.limiter(|state| &mut state.limits);
    store.set_fuel(limits.fuel)?;
    store.set_epoch_deadline(u64::MAX / 2);
    let instance = pre.instantiate_async(&mut store).await?;
    let tests = instance
        .get_export_index(&mut store, None, "handoff:suite/tests@0.1.0")
        .context("no tests are exported")?;
    let run = instance.get_export_index(&mut store, Some(&tests), "run").context("no run")?;
    let run = instance.get_func(&mut store, run).context("run is no function")?;
    let mut outcome = [Val::Bool(false)];
    run.call_async(&mut store, &[Val::String("test 500".into())], &mut outcome).await?;
    ensure!(matches!(&outcome[0], Val::Variant(case, _) if case == "passed"), "{outcome:?}");
    Ok(())
}
