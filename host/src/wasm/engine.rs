//! The two engines, metered and not, their pools, and the clock that interrupts guests.

use std::num::NonZeroU64;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread::{self, Thread};
use std::time::Duration;

use wasmtime::component::Component;
use wasmtime::{
    Config, Enabled, Engine, EngineWeak, InstanceAllocationStrategy, PoolingAllocationConfig,
    Strategy, WasmBacktraceDetails, WasmFeatures,
};

use super::SandboxSettings;

/// What a fiber has of stack beside WebAssembly's own, for host functions, whose overflow would abort the
/// process.
const HOST_STACK_BYTES: usize = 1536 << 10;

/// Memories that the pool has for each attempt.
pub(super) const MEMORIES_PER_SLOT: u32 = 2;

/// Tables that the pool has for each attempt.
pub(super) const TABLES_PER_SLOT: u32 = 8;

/// Core instances that a component may have in the pool; the limit `instances` is the one to set.
const CORE_INSTANCES_PER_COMPONENT: u32 = 1_000;

/// The configuration of an engine. The child that compiles uses it as it is; the server adds only the
/// pools and the size of stacks, which leave no trace in compiled code.
///
/// Every proposal that no toolchain of ours needs is off, because most of wasmtime's advisories are
/// in them. Those that were open in 48.0.8 are named beside what closes them.
pub fn config(metered: bool) -> Config {
    let mut config = Config::new();
    config
        .strategy(Strategy::Cranelift)
        .epoch_interruption(true)
        .consume_fuel(metered)
        // GHSA-43j2-gcp4-m22g and GHSA-wvgq-g5hf-6gm6: a guest with garbage-collected heaps can abort
        // the process. GHSA-rc4p-x33f-vpr2 is the same in builds without the cargo feature `gc`, so
        // that stays in.
        .gc_support(false)
        .wasm_gc(false)
        .wasm_function_references(false)
        .wasm_exceptions(false)
        // GHSA-2674-w29h-wqvj: aborts in builds without the cargo feature `threads`, so that stays in.
        .wasm_threads(false)
        .shared_memory(false)
        // GHSA-xrvr-8678-5wp8: host panics in streams and futures. The cargo feature
        // `component-model-async` is left out as well; should another crate turn it on, it stays off.
        .wasm_features(WasmFeatures::CM_ASYNC, false)
        .concurrency_support(false)
        .wasm_multi_memory(false)
        .wasm_memory64(false)
        .wasm_relaxed_simd(false)
        .wasm_stack_switching(false)
        // A NaN's bits are then the same on every machine, so that a failure can be reproduced. Costs
        // a comparison after floating-point operations, which tests hardly notice.
        .cranelift_nan_canonicalization(true)
        // Files and lines come from compile/symbols. wasmtime would read the component's debug
        // information anew for each frame of each trap, in this process and without a bound.
        .wasm_backtrace_details(WasmBacktraceDetails::Disable)
        // For debuggers and unwinders of native code, none of which looks in here. It would make code
        // larger, and each load register its functions.
        .native_unwind_info(false)
        // Against a compiler's bug that reads a stack slot before it is written.
        .async_stack_zeroing(true);
    // Elsewhere: GHSA-5m8g-xhq4-4h93 (zero-length writes) in log.rs, GHSA-f8mm-ggr3-89wh (empty HTTP
    // frames) in wasm/http/body.rs. GHSA-hj27-mpw9-ff4c is in a function that is never called here.
    config
}

/// Both engines and their clock. Cheap to clone; the clock stops with the last clone.
#[derive(Clone)]
pub struct Engines(Arc<Inner>);

struct Inner {
    metered: Engine,
    unmetered: Engine,
    clock: Arc<Clock>,
    thread: Thread,
}

/// Why there are no engines.
#[derive(Debug, thiserror::Error)]
pub enum EngineError {
    /// wasmtime refused the configuration.
    #[error("set up wasmtime: {0:#}")]
    Wasmtime(wasmtime::Error),
    /// No thread for the clock.
    #[error("start the thread that interrupts guests: {0}")]
    Thread(#[from] std::io::Error),
}

impl Engines {
    /// Makes both engines and starts their clock.
    pub fn new(settings: &SandboxSettings) -> Result<Self, EngineError> {
        let metered = engine(true, settings)?;
        let unmetered = engine(false, settings)?;
        let clock = Arc::new(Clock {
            guests: AtomicUsize::new(0),
            stop: AtomicBool::new(false),
            tick: Duration::from_micros(settings.tick_us.max(1)),
        });
        let engines = [metered.weak(), unmetered.weak()];
        let thread = thread::Builder::new().name("epoch".into()).spawn({
            let clock = clock.clone();
            move || clock.run(&engines)
        })?;
        let thread = thread.thread().clone();
        Ok(Self(Arc::new(Inner { metered, unmetered, clock, thread })))
    }

    /// The engine that counts fuel.
    pub fn metered(&self) -> &Engine {
        &self.0.metered
    }

    /// The engine that does not count fuel.
    pub fn unmetered(&self) -> &Engine {
        &self.0.unmetered
    }

    /// One of the two.
    pub fn get(&self, metered: bool) -> &Engine {
        if metered { self.metered() } else { self.unmetered() }
    }

    /// Keeps the clock ticking until the answer is dropped.
    pub(crate) fn guest_runs(&self) -> GuestRuns {
        if self.0.clock.guests.fetch_add(1, Ordering::AcqRel) == 0 {
            self.0.thread.unpark();
        }
        GuestRuns(self.0.clock.clone())
    }
}

impl Drop for Inner {
    fn drop(&mut self) {
        self.clock.stop.store(true, Ordering::Release);
        self.thread.unpark();
    }
}

/// How many of the pool's slots an instance of `component` takes.
pub(crate) fn slots(component: &Component) -> u32 {
    // None only for components that import modules, which nothing here offers.
    component.resources_required().map_or(1, |required| {
        let memories = required.num_memories.div_ceil(MEMORIES_PER_SLOT);
        memories.max(required.num_tables.div_ceil(TABLES_PER_SLOT)).max(1)
    })
}

fn engine(metered: bool, settings: &SandboxSettings) -> Result<Engine, EngineError> {
    let configured = || {
        let mut config = config(metered);
        let stack = settings.stack_bytes;
        config.max_wasm_stack(stack).async_stack_size(stack.saturating_add(HOST_STACK_BYTES));
        config
    };
    if settings.pooling {
        let mut pooled = configured();
        pooled.allocation_strategy(InstanceAllocationStrategy::Pooling(pool(settings)));
        match Engine::new(&pooled) {
            Ok(engine) => return Ok(engine),
            Err(error) => tracing::warn!(
                error = format!("{error:#}"),
                "no pools for instances, attempts will cost more; lower `concurrent_attempts` or \
                 `max_memory_bytes`, or raise the limit on address space (ulimit -v)"
            ),
        }
    }
    Engine::new(&configured()).map_err(EngineError::Wasmtime)
}

fn pool(settings: &SandboxSettings) -> PoolingAllocationConfig {
    let hooks = settings.hook_slots();
    let slots = settings.slots().saturating_add(hooks);
    let with_hooks = |of_attempts: u32, per_slot| of_attempts.saturating_add(hooks * per_slot);
    let memories = with_hooks(settings.memories_in_all(), MEMORIES_PER_SLOT);
    let tables = with_hooks(settings.tables_in_all(), TABLES_PER_SLOT);
    let size = |bytes: u64| usize::try_from(bytes).unwrap_or(usize::MAX);
    let mut pool = PoolingAllocationConfig::new();
    pool.total_component_instances(slots)
        .total_core_instances(slots.saturating_mul(CORE_INSTANCES_PER_COMPONENT))
        .max_core_instances_per_component(CORE_INSTANCES_PER_COMPONENT)
        .total_memories(memories)
        // With more it would wait for slots that there are not.
        .max_memories_per_component(settings.memories_per_component.min(settings.memories_in_all()))
        .total_tables(tables)
        .max_tables_per_component(settings.tables_per_component.min(settings.tables_in_all()))
        .max_tables_per_module(TABLES_PER_SLOT)
        // One store has one fiber at a time.
        .total_stacks(slots)
        .total_gc_heaps(0)
        // Metadata of large components, such as an interpreter, is a few MiB.
        .max_component_instance_size(16 << 20)
        .max_core_instance_size(8 << 20)
        .max_memory_size(size(settings.max_memory_bytes.min(4 << 30)))
        .table_elements(settings.max_table_elements)
        .linear_memory_keep_resident(settings.linear_memory_keep_resident_bytes)
        .table_keep_resident(settings.table_keep_resident_bytes)
        .async_stack_keep_resident(settings.stack_keep_resident_bytes)
        .max_unused_warm_slots(settings.unused_warm_slots)
        // Linux 6.7 has it, and it is worth a factor of two; others do without.
        .pagemap_scan(Enabled::Auto);
    pool
}

/// The setting by which the pools refuse a component, from what wasmtime says: it has no error of its own for
/// this.
pub(crate) fn refused_by_pools(why: &str) -> Option<&'static str> {
    let refusals = [
        ("Wasm linear memories, which exceeds", "sandbox.memories_per_component"),
        ("tables, which exceeds", "sandbox.tables_per_component"),
        ("has a minimum byte size of", "sandbox.max_memory_bytes"),
        ("has a minimum element size of", "sandbox.max_table_elements"),
    ];
    refusals.into_iter().find(|(words, _)| why.contains(words)).map(|(_, setting)| setting)
}

/// The thread that ticks. A thread and not a timer of the runtime, because guests that compute may
/// keep the runtime busy.
struct Clock {
    guests: AtomicUsize,
    stop: AtomicBool,
    tick: Duration,
}

impl Clock {
    /// Ticks without a guest before the thread parks; one attempt after another would otherwise wake
    /// it each time.
    const IDLE_TICKS: u32 = 100;

    /// With so many guests every tick is needed, so that each has its turn soon enough; with fewer, up to
    /// [`Self::LONGEST`] ticks become one: each costs a switch between threads.
    const CROWD: usize = 64;
    const LONGEST: usize = 4;

    /// How much later than asked the kernel may wake the thread, in nanoseconds. Its own 50 µs would
    /// add up: with many guests on a thread, each waits for a tick of all others.
    const SLACK: Option<NonZeroU64> = NonZeroU64::new(1);

    fn run(&self, engines: &[EngineWeak]) {
        if let Err(error) = rustix::thread::set_current_timer_slack(Self::SLACK) {
            tracing::debug!(%error, "the clock that interrupts guests ticks with the usual slack");
        }
        let mut idle = 0;
        while !self.stop.load(Ordering::Acquire) {
            idle = if self.guests.load(Ordering::Acquire) == 0 { idle + 1 } else { 0 };
            if idle > Self::IDLE_TICKS {
                // `guest_runs` counts before it unparks, so no guest is missed in between.
                thread::park();
                idle = 0;
                continue;
            }
            thread::sleep(self.tick * Self::ticks_at_once(self.guests.load(Ordering::Acquire)));
            engines.iter().filter_map(EngineWeak::upgrade).for_each(|e| e.increment_epoch());
        }
    }

    fn ticks_at_once(guests: usize) -> u32 {
        (Self::CROWD / guests.max(1)).clamp(1, Self::LONGEST) as u32
    }
}

/// While it lives the clock ticks.
pub(crate) struct GuestRuns(Arc<Clock>);

impl Drop for GuestRuns {
    fn drop(&mut self) {
        self.0.guests.fetch_sub(1, Ordering::AcqRel);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn compiles(text: &str) -> Result<(), String> {
        let engine = Engine::new(&config(true)).unwrap();
        let bytes = wat::parse_str(text).unwrap();
        Component::from_binary(&engine, &bytes).map(drop).map_err(|e| format!("{e:#}"))
    }

    #[test]
    fn proposals_with_open_advisories_are_off() {
        assert_eq!(compiles("(component (core module (memory 1)))"), Ok(()));
        for (what, text) in [
            ("gc", "(component (core module (type (struct))))"),
            ("externref", "(component (core module (func (param externref))))"),
            (
                "function references",
                "(component (core module (type (func)) (func (param (ref 0)))))",
            ),
            ("exceptions", "(component (core module (tag)))"),
            ("threads", "(component (core module (memory 1 1 shared)))"),
            ("multi-memory", "(component (core module (memory 1) (memory 1)))"),
            ("memory64", "(component (core module (memory i64 1)))"),
            (
                "relaxed simd",
                "(component (core module (func (result v128) v128.const i64x2 0 0
                   v128.const i64x2 0 0 i8x16.relaxed_swizzle)))",
            ),
            ("component-model-async", "(component (type (future u8)))"),
        ] {
            assert!(compiles(text).is_err(), "{what} is on");
        }
    }

    #[test]
    fn compiled_code_is_the_same_with_and_without_pools() {
        let engines = Engines::new(&SandboxSettings::default()).unwrap();
        for metered in [true, false] {
            let compiler = Engine::new(&config(metered)).unwrap();
            let hash = |engine: &Engine| {
                use std::hash::{DefaultHasher, Hash, Hasher};
                let mut hasher = DefaultHasher::new();
                engine.precompile_compatibility_hash().hash(&mut hasher);
                hasher.finish()
            };
            assert_eq!(hash(&compiler), hash(engines.get(metered)));
        }
    }

    #[test]
    fn pools_that_cannot_be_made_are_done_without() {
        // 2^22 slots of 4 GiB each are more than an address space of 2^47 bytes.
        let settings = SandboxSettings { concurrent_attempts: 1 << 22, ..Default::default() };
        assert!(Engines::new(&settings).is_ok());
    }

    #[test]
    fn the_more_guests_there_are_the_shorter_is_a_tick() {
        let ticks = [0, 1, 16, 17, 32, 33, 64, 1_000].map(Clock::ticks_at_once);
        assert_eq!(ticks, [4, 4, 4, 3, 2, 1, 1, 1]);
    }

    #[test]
    fn the_clock_ticks_while_a_guest_runs() {
        let engines = Engines::new(&SandboxSettings::default()).unwrap();
        let running = engines.guest_runs();
        assert_eq!(engines.0.clock.guests.load(Ordering::Acquire), 1);
        drop(running);
        assert_eq!(engines.0.clock.guests.load(Ordering::Acquire), 0);
    }
}
