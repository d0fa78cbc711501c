//! Waiting for slots and memory.

use super::*;
use crate::model::{Cause, Introduction, TestStatus};
use crate::wasm::DescribeError;

#[tokio::test]
async fn a_describe_and_a_teardown_do_not_wait_for_ever() {
    let settings =
        SandboxSettings { concurrent_attempts: 1, slot_wait_ms: 20, ..SandboxSettings::default() };
    let bench = Bench::with(settings);
    let looping = bench.load(&Guest { run: "(call $loop) unreachable", ..Guest::default() });
    let (begun, wait) = tokio::sync::oneshot::channel();
    let order = bench.order(looping.clone());
    let cancel = order.cancel.clone();
    let first = bench.sandbox.attempt(order, move || begun.send(()).unwrap());
    let others = async {
        wait.await.unwrap();
        let described = bench.sandbox.describe(&looping, &Introduction::default(), None).await;
        let never = CancellationToken::new();
        let order = bench.order(looping.clone());
        let order = AttemptOrder { stage: Stage::Teardown, cancel: never, ..order };
        let torn_down = bench.sandbox.attempt(order, || panic!("it never starts")).await;
        cancel.cancel();
        (described, torn_down)
    };
    let (first, (described, torn_down)) = tokio::join!(first, others);
    assert_eq!(first.status, TestStatus::Cancelled);
    let busy = described.unwrap_err();
    assert!(matches!(busy, DescribeError::Busy(_)), "{busy}");
    assert!(busy.to_string().contains("no room was free within 20 ms"), "{busy}");
    assert_eq!((torn_down.status, torn_down.cause), (TestStatus::Error, Some(Cause::Host)));
    assert!(torn_down.message.unwrap().ends_with("within 20 ms (sandbox.slot_wait_ms)"));
    let hits = "handoff_limit_hits_total{limit=\"sandbox_slot_wait_ms\"} 2\n";
    assert!(bench.metrics.render().contains(hits));
}

#[tokio::test]
async fn attempts_wait_until_there_is_memory_for_them() {
    // Each needs all of it.
    let bench = Bench::with(SandboxSettings { total_memory_bytes: 4 << 20, ..Default::default() });
    let guest = Guest {
        run: "(call $block (call $after (i64.const 1000000))) (global.get $passed)",
        ..Guest::default()
    };
    let loaded = bench.load(&guest);
    let reserved = |bytes: u32| {
        let line = format!("handoff_sandbox_memory_reserved_bytes {bytes}\n");
        assert!(bench.metrics.render().contains(&line), "{line}");
    };
    let one = |_| bench.sandbox.attempt(bench.order(loaded.clone()), || reserved(4 << 20));
    let attempts = futures::future::join_all((0..5).map(one)).await;
    assert!(attempts.iter().all(|attempt| attempt.status == TestStatus::Passed), "{attempts:?}");
    reserved(0);
}

#[tokio::test]
async fn no_attempt_has_more_memory_than_all_together() {
    let bench = Bench::with(SandboxSettings { total_memory_bytes: 1 << 20, ..Default::default() });
    let attempt = bench.run(super::bounds::GROW).await;
    assert_eq!((attempt.cause, attempt.memory_peak_bytes), (Some(Cause::Memory), 1 << 20));
    assert!(attempt.message.unwrap().starts_with("wanted more than 1048576 bytes of memory"));
}
