//! Each bound that the engine or the sandbox itself keeps, hit.

use super::*;
use crate::compile::Symbols;
use crate::model::{Cause, Limit, TestStatus};

/// Cause, message and limits hit.
fn why(attempt: &Attempt) -> (Option<Cause>, &str, &[Limit]) {
    assert_eq!(attempt.status, TestStatus::Failed, "{attempt:?}");
    (attempt.cause, attempt.message.as_deref().unwrap(), &attempt.limits_hit)
}

pub(super) const GROW: &str = "(loop $again
    (if (i32.eq (memory.grow (i32.const 1)) (i32.const -1)) (then unreachable))
    (br $again)) unreachable";

#[tokio::test]
async fn memory_ends_at_its_limit() {
    let mut bench = Bench::new();
    bench.limits.memory_bytes = 1 << 20;
    let attempt = bench.run(GROW).await;
    let message = "wanted more than 1048576 bytes of memory (limit `memory_bytes`) and trapped: it \
                   aborted (`unreachable` was executed)";
    assert_eq!(why(&attempt), (Some(Cause::Memory), message, &[Limit::MemoryBytes][..]));
    assert_eq!(attempt.memory_peak_bytes, 1 << 20);
}

#[tokio::test]
async fn memory_that_is_too_large_from_the_start_is_told_so() {
    let mut bench = Bench::new();
    bench.limits.memory_bytes = 1 << 16;
    let attempt = bench.run("(global.get $passed)").await;
    let message = "wanted more than 65536 bytes of memory (limit `memory_bytes`) and could not be \
                   started";
    assert_eq!(why(&attempt), (Some(Cause::Memory), message, &[Limit::MemoryBytes][..]));
}

#[tokio::test]
async fn no_limit_reaches_beyond_the_pools_slots() {
    let settings = SandboxSettings { max_memory_bytes: 1 << 20, ..SandboxSettings::default() };
    let bench = Bench::with(settings);
    let attempt = bench.run(GROW).await;
    assert_eq!((attempt.cause, attempt.memory_peak_bytes), (Some(Cause::Memory), 1 << 20));
}

/// A component with `count` instances of the module, none of which can do anything.
fn component_of(bench: &Bench, module: &str, count: usize) -> Component {
    let instances = "(core instance (instantiate $m))".repeat(count);
    let text = format!("(component (core module $m {module}) {instances})");
    let bytes = wat::parse_str(text).unwrap();
    Component::from_binary(bench.engines.metered(), &bytes).unwrap()
}

/// The error of making an instance of `component` under the bench's limits, explained.
async fn instantiate(bench: &Bench, component: &Component) -> (Cause, String, Vec<Limit>) {
    use crate::wasm::limits::{LimitsHit, ResourceCounter};
    use crate::wasm::trap::{Circumstances, explain};
    let hits = LimitsHit::default();
    let counter = ResourceCounter::new(&bench.limits, u64::MAX, hits.clone());
    let mut store = wasmtime::Store::new(bench.engines.metered(), counter);
    store.limiter(|counter| counter);
    let linker = wasmtime::component::Linker::new(bench.engines.metered());
    let error = linker.instantiate_async(&mut store, component).await.err().unwrap();
    let known = Circumstances {
        limits: &bench.limits,
        memory_limit: store.data().memory_limit(),
        hits: &hits,
        log: &[],
        timeout: bench.timeout,
        instantiated: false,
        symbols: &Symbols::default(),
    };
    let explanation = explain(&error, &known);
    (explanation.cause, explanation.message, hits.take())
}

#[tokio::test]
async fn memory_counts_in_sum_over_all_memories() {
    let mut bench = Bench::new();
    bench.limits.memory_bytes = 3 << 16;
    let component = component_of(&bench, "(memory 1)", 4);
    let (cause, message, hits) = instantiate(&bench, &component).await;
    assert_eq!((cause, hits), (Cause::Memory, vec![Limit::MemoryBytes]), "{message}");
}

#[tokio::test]
async fn tables_count_in_sum_over_all_tables() {
    let mut bench = Bench::new();
    bench.limits.table_elements = 25;
    let component = component_of(&bench, "(table 10 funcref)", 3);
    let (cause, message, hits) = instantiate(&bench, &component).await;
    let expected = "wanted more than 25 table elements (limit `table_elements`) and could not be \
                    started";
    assert_eq!((cause, message.as_str()), (Cause::Trap, expected));
    assert_eq!(hits, [Limit::TableElements]);
}

#[tokio::test]
async fn instances_are_counted() {
    let mut bench = Bench::new();
    bench.limits.instances = 5;
    let component = component_of(&bench, "", 6);
    let (cause, message, hits) = instantiate(&bench, &component).await;
    let expected = "has more core instances, memories or tables than 5 (limit `instances`)";
    assert_eq!((cause, message.as_str()), (Cause::Trap, expected));
    assert_eq!(hits, [Limit::Instances]);
}

#[test]
fn a_component_with_many_memories_takes_more_slots() {
    let bench = Bench::new();
    let slots =
        |module: &str, count| crate::wasm::engine::slots(&component_of(&bench, module, count));
    assert_eq!(slots("", 3), 1);
    assert_eq!(slots("(memory 1)", 2), 1);
    assert_eq!(slots("(memory 1)", 3), 2);
    assert_eq!(slots("(table 1 funcref)", 9), 2);
}

#[test]
fn a_component_beyond_the_pools_bounds_is_refused_when_it_is_loaded() {
    let text = "(component (core module $m (memory 1))
        (core instance (instantiate $m)) (core instance (instantiate $m))
        (core instance (instantiate $m)))";
    let bytes = wat::parse_str(text).unwrap();
    let refused = |settings: SandboxSettings, what: &str| {
        let bench = Bench::with(settings);
        let error = Component::from_binary(bench.engines.metered(), &bytes).err().unwrap();
        assert!(format!("{error:#}").contains(what), "{error:#}");
    };
    refused(SandboxSettings { memories_per_component: 2, ..Default::default() }, "memories");
    // One attempt alone has two, and would wait for more for ever.
    refused(SandboxSettings { concurrent_attempts: 1, ..Default::default() }, "memories");
}

#[tokio::test]
async fn table_growth_ends_at_its_limit() {
    let mut bench = Bench::new();
    bench.limits.table_elements = 1000;
    let guest = Guest {
        fields: "(table $t 1 funcref)",
        run: "(loop $again
            (if (i32.eq (table.grow $t (ref.null func) (i32.const 100)) (i32.const -1))
                (then unreachable))
            (br $again)) unreachable",
        ..Guest::default()
    };
    let attempt = bench.attempt(&guest).await;
    let (cause, message, hits) = why(&attempt);
    assert_eq!((cause, hits), (Some(Cause::Trap), &[Limit::TableElements][..]));
    assert!(message.starts_with("wanted more than 1000 table elements"), "{message}");
}

#[tokio::test]
async fn a_host_call_takes_so_many_bytes_and_no_more() {
    let mut bench = Bench::new();
    bench.limits.host_call_bytes = 1000;
    let attempt = bench.run("(call $say (i32.const 0) (i32.const 2000)) unreachable").await;
    let message = "passed more bytes to the host in one call than 1000 (limit `host_call_bytes`)";
    assert_eq!(why(&attempt), (Some(Cause::Trap), message, &[Limit::HostCallBytes][..]));
}

#[tokio::test]
async fn handles_are_counted() {
    let mut bench = Bench::new();
    bench.limits.handles = 50;
    let attempt = bench.run("(loop $again (drop (call $stdout)) (br $again)) unreachable").await;
    let message = "held more handles to resources at one time than 50 (limit `handles`)";
    assert_eq!(why(&attempt), (Some(Cause::Trap), message, &[Limit::Handles][..]));
}

#[tokio::test]
async fn randomness_is_counted() {
    let mut bench = Bench::new();
    bench.limits.random_bytes = 1000;
    let run = "(loop $again (call $random (i64.const 400) (global.get $result)) (br $again))
        unreachable";
    let attempt = bench.run(run).await;
    let message = "asked for more than 1000 bytes of randomness (limit `random_bytes`)";
    assert_eq!(why(&attempt), (Some(Cause::Trap), message, &[Limit::RandomBytes][..]));
}

#[tokio::test]
async fn a_flood_of_log_keeps_its_start_and_its_end() {
    let mut bench = Bench::new();
    (bench.limits.log_head_bytes, bench.limits.log_tail_bytes) = (100, 100);
    let guest = Guest {
        fields: r#"(data (i32.const 1024) "a line of the flood\nthe first\nthe last\n")"#,
        run: "(local $n i32)
            (call $out (i32.const 1044) (i32.const 10))
            (loop $again
                (call $out (i32.const 1024) (i32.const 20))
                (br_if $again (i32.lt_u (local.tee $n (i32.add (local.get $n) (i32.const 1)))
                    (i32.const 1000))))
            (call $out (i32.const 1054) (i32.const 9))
            unreachable",
        ..Guest::default()
    };
    let attempt = bench.attempt(&guest).await;
    assert!(attempt.logs_truncated);
    assert_eq!(attempt.limits_hit, [Limit::LogHeadBytes, Limit::LogTailBytes]);
    let log = log(&attempt);
    assert_eq!((log[0], log[log.len() - 1]), ("the first", "the last"));
    assert!(log.len() < 20, "{log:?}");
    assert!(detail(&attempt).log_dropped_bytes > 19_000);
}
