//! How an attempt ends, and what it then says of it.

use super::*;
use crate::model::{Cause, Limit, Location, Source, TestStatus};

/// Status, cause and message.
fn end(attempt: &Attempt) -> (TestStatus, Option<Cause>, &str) {
    (attempt.status, attempt.cause, attempt.message.as_deref().unwrap_or(""))
}

#[tokio::test]
async fn a_test_passes_fails_or_is_skipped() {
    let bench = Bench::new();
    let passed = bench.run("(global.get $passed)").await;
    assert_eq!(end(&passed), (TestStatus::Passed, None, ""));
    assert!(passed.fuel_used.is_some_and(|fuel| fuel > 0));
    assert_eq!(passed.memory_peak_bytes, 2 << 16);
    assert!(passed.detail.is_some());
    let failed = bench.run("(global.get $failed)").await;
    assert_eq!(end(&failed), (TestStatus::Failed, Some(Cause::Assertion), "it did not"));
    let skipped = bench.run("(global.get $skipped)").await;
    assert_eq!(end(&skipped), (TestStatus::Skipped, None, "not here"));
}

#[tokio::test]
async fn setup_and_teardown_are_called_as_such() {
    let bench = Bench::new();
    let guest = Guest {
        setup: "(global.get $skipped)",
        // An error: the failure as in an outcome.
        teardown: "(global.get $failed)",
        ..Guest::default()
    };
    let loaded = bench.load(&guest);
    let order = AttemptOrder { stage: Stage::Setup, ..bench.order(loaded.clone()) };
    let setup = bench.sandbox.attempt(order, || ()).await;
    assert_eq!(end(&setup), (TestStatus::Skipped, None, "not here"));
    let order = AttemptOrder { stage: Stage::Teardown, ..bench.order(loaded) };
    let teardown = bench.sandbox.attempt(order, || ()).await;
    assert_eq!(end(&teardown), (TestStatus::Failed, Some(Cause::Assertion), "it did not"));
}

#[tokio::test]
async fn fuel_used_is_the_same_each_time_and_absent_when_unmetered() {
    let mut bench = Bench::new();
    let used = bench.run("(call $soft) (global.get $passed)").await.fuel_used;
    assert!(used.is_some());
    assert_eq!(bench.run("(call $soft) (global.get $passed)").await.fuel_used, used);
    bench.limits.fuel = 0;
    let unmetered = bench.run("(call $soft) (global.get $passed)").await;
    assert_eq!((unmetered.status, unmetered.fuel_used), (TestStatus::Passed, None));
}

#[tokio::test]
async fn a_trap_is_told_with_its_kind_and_its_stack() {
    let bench = Bench::new();
    let guest = Guest {
        fields: "(func $divide (param i32) (result i32) (i32.div_u (i32.const 1) (local.get 0)))",
        run: "(call $divide (i32.const 0))",
        ..Guest::default()
    };
    let attempt = bench.attempt(&guest).await;
    let message = "trapped: it divided an integer by zero";
    assert_eq!(end(&attempt), (TestStatus::Failed, Some(Cause::Trap), message));
    let functions: Vec<_> =
        detail(&attempt).backtrace.iter().map(|f| f.function.as_str()).collect();
    assert_eq!(functions, ["divide", "run"]);

    let attempt = bench.run("(i32.load (i32.const -8))").await;
    let message = "trapped: it accessed memory out of bounds";
    assert_eq!(end(&attempt), (TestStatus::Failed, Some(Cause::Trap), message));
}

#[tokio::test]
async fn a_backtrace_has_files_and_lines_unless_there_is_too_much_to_read() {
    let guest = Guest { run: "unreachable", debug: true, ..Guest::default() };
    let attempt = Bench::new().attempt(&guest).await;
    let place = detail(&attempt).backtrace[0].location.clone().expect("a place");
    let text = include_str!("guest.wat");
    let line = 1 + text.lines().position(|line| line.contains("#run\")")).unwrap();
    assert_eq!((place.file.as_str(), place.line as usize), ("./<input>.wat", line));
    assert_eq!(log(&attempt), Vec::<&str>::new());

    let bench = Bench { debug_bytes: 10, ..Bench::new() };
    let attempt = bench.attempt(&guest).await;
    let [frame] = &detail(&attempt).backtrace[..] else { panic!("{attempt:?}") };
    assert_eq!((frame.function.as_str(), &frame.location), ("run", &None));
    let [said] = log(&attempt)[..] else { panic!("{attempt:?}") };
    assert!(said.ends_with("are more than 10 (compile.debug_bytes)"), "{said}");
}

#[tokio::test]
async fn an_endless_recursion_is_told_as_such() {
    let attempt = Bench::new().run("(call $run (local.get $name) (local.get $len))").await;
    let message = "trapped: its stack overflowed (setting `sandbox.stack_bytes`), probably by an \
        endless recursion";
    assert_eq!(end(&attempt), (TestStatus::Failed, Some(Cause::Trap), message));
    assert!(detail(&attempt).backtrace.len() <= 64);
}

#[tokio::test]
async fn a_guest_may_use_as_much_stack_as_the_setting_says() {
    let deep = Guest {
        fields: "(func $deep (param $left i32) (result i32)
                   (if (result i32) (local.get $left)
                     (then (i32.add (i32.const 1)
                             (call $deep (i32.sub (local.get $left) (i32.const 1)))))
                     (else (i32.const 0))))",
        run: "(drop (call $deep (i32.const 50000))) (global.get $passed)",
        ..Guest::default()
    };
    let bench = Bench::new();
    let refused = bench.attempt(&deep).await;
    assert!(refused.message.as_deref().unwrap().contains("`sandbox.stack_bytes`"), "{refused:?}");
    let hits = "{limit=\"sandbox_stack_bytes\"} 1";
    assert!(bench.metrics.render().contains(hits));
    let settings = SandboxSettings {
        concurrent_attempts: 4,
        stack_bytes: 8 << 20,
        ..SandboxSettings::default()
    };
    assert_eq!(Bench::with(settings).attempt(&deep).await.status, TestStatus::Passed);
}

#[tokio::test]
async fn a_rust_panic_shows_its_own_message_and_place() {
    let fields = r#"(data (i32.const 1024)
        "\nthread 'main' (1) panicked at src/lib.rs:10:5:\nno such order: 7\nnote: run with `RUST_BACKTRACE=1`")"#;
    let run = "(call $err (i32.const 1024) (i32.const 98)) unreachable";
    let attempt = Bench::new().attempt(&Guest { fields, run, ..Guest::default() }).await;
    assert_eq!(end(&attempt), (TestStatus::Failed, Some(Cause::Panic), "no such order: 7"));
    let place = Location { file: "src/lib.rs".into(), line: 10, column: Some(5) };
    assert_eq!(attempt.location, Some(place));
    assert_eq!(detail(&attempt).backtrace[0].function, "run");
}

#[tokio::test]
async fn an_abort_without_a_known_message_shows_the_last_words() {
    let fields = r#"(data (i32.const 1024) "something is off\n\n")"#;
    let run = "(call $err (i32.const 1024) (i32.const 18)) unreachable";
    let attempt = Bench::new().attempt(&Guest { fields, run, ..Guest::default() }).await;
    let message = "trapped: it aborted (`unreachable` was executed); its last line on stderr: \
                   something is off";
    assert_eq!(end(&attempt), (TestStatus::Failed, Some(Cause::Trap), message));
}

#[tokio::test]
async fn the_last_line_before_a_trap_is_kept_without_its_end() {
    let fields = r#"(data (i32.const 1024) "first\nlast words")"#;
    let run = "(call $out (i32.const 1024) (i32.const 16)) unreachable";
    let attempt = Bench::new().attempt(&Guest { fields, run, ..Guest::default() }).await;
    assert_eq!(log(&attempt), ["first", "last words"]);
    assert_eq!(detail(&attempt).log[1].source, Source::Stdout);
}

#[tokio::test]
async fn an_exit_is_no_success() {
    let bench = Bench::new();
    let attempt = bench.run("(call $exit (i32.const 1)) unreachable").await;
    let message = "ended itself with exit code 1";
    assert_eq!(end(&attempt), (TestStatus::Failed, Some(Cause::Exit), message));
    let attempt = bench.run("(call $exit (i32.const 0)) unreachable").await;
    let message = "ended itself with exit code 0";
    assert_eq!(end(&attempt), (TestStatus::Failed, Some(Cause::Exit), message));
}

const REPORT: &str = "(call $report (i32.const 512) (i32.const 10) (i32.const 1) (i32.const 576)
    (i32.const 5) (i32.const 7) (i32.const 0) (i32.const 0))";

#[tokio::test]
async fn a_reported_failure_wins_over_whatever_comes_after() {
    let mut bench = Bench::new();
    let place = Some(Location { file: "suite".into(), line: 7, column: None });

    let attempt = bench.run(&format!("{REPORT} (global.get $passed)")).await;
    assert_eq!(end(&attempt), (TestStatus::Failed, Some(Cause::Assertion), "it did not"));
    assert_eq!(attempt.location, place);

    let attempt = bench.run(&format!("{REPORT} unreachable")).await;
    assert_eq!(end(&attempt), (TestStatus::Failed, Some(Cause::Panic), "it did not"));
    assert_eq!(attempt.location, place);
    assert!(!detail(&attempt).backtrace.is_empty());

    bench.timeout = Duration::from_millis(50);
    let attempt = bench.run(&format!("{REPORT} {REPORT} (call $loop) unreachable")).await;
    assert_eq!(end(&attempt), (TestStatus::Failed, Some(Cause::Assertion), "it did not"));
    let further: Vec<_> =
        detail(&attempt).further_failures.iter().map(|f| f.message.as_str()).collect();
    assert_eq!(further, ["it did not", "still running at its deadline of 50 ms"]);
}

#[tokio::test]
async fn a_loop_ends_at_its_deadline() {
    let mut bench = Bench::new();
    bench.timeout = Duration::from_millis(100);
    let message = "still running at its deadline of 100 ms";
    let attempt = bench.run("(call $loop) unreachable").await;
    assert_eq!(end(&attempt), (TestStatus::Failed, Some(Cause::Timeout), message));
    assert!(attempt.duration_ms >= 100);
    assert_eq!(detail(&attempt).backtrace[0].function, "loop");
    // What it wrote down last says nothing of how often it went round.
    assert_eq!(attempt.fuel_used, None);

    // In the start function, before there is an instance.
    let guest = Guest { fields: "(start $loop)", ..Guest::default() };
    let attempt = bench.attempt(&guest).await;
    assert_eq!(end(&attempt), (TestStatus::Failed, Some(Cause::Timeout), message));

    // Unmetered.
    bench.limits.fuel = 0;
    let attempt = bench.run("(call $loop) unreachable").await;
    assert_eq!(end(&attempt), (TestStatus::Failed, Some(Cause::Timeout), message));
}

#[tokio::test]
async fn a_guest_that_waits_in_a_host_call_ends_at_its_deadline() {
    let mut bench = Bench::new();
    bench.timeout = Duration::from_millis(100);
    let sleep = "(call $block (call $after (i64.const 1000000000000))) (global.get $passed)";
    let attempt = bench.run(sleep).await;
    let message = "still running at its deadline of 100 ms";
    assert_eq!(end(&attempt), (TestStatus::Failed, Some(Cause::Timeout), message));
    let calls = "(loop $again (drop (call $remaining)) (br $again)) unreachable";
    let attempt = bench.run(calls).await;
    assert_eq!(end(&attempt), (TestStatus::Failed, Some(Cause::Timeout), message));
}

#[tokio::test]
async fn the_runs_deadline_ends_an_attempt_before_its_own() {
    let bench = Bench::new();
    let loaded = bench.load(&Guest { run: "(call $loop) unreachable", ..Guest::default() });
    let not_after = Some(std::time::Instant::now() + Duration::from_millis(50));
    let order = AttemptOrder { not_after, ..bench.order(loaded.clone()) };
    let attempt = bench.sandbox.attempt(order, || ()).await;
    // It says nothing of the test, and its own deadline was not hit.
    assert_eq!((attempt.status, attempt.cause), (TestStatus::Cancelled, None));
    let message = "it was still running when the run reached its deadline";
    assert_eq!(attempt.message.as_deref(), Some(message));
    assert_eq!(attempt.limits_hit, []);
    // And one that is late already.
    let order = AttemptOrder { not_after, ..bench.order(loaded) };
    let attempt = bench.sandbox.attempt(order, || ()).await;
    assert_eq!((attempt.status, attempt.cause), (TestStatus::Cancelled, None));
}

#[tokio::test]
async fn a_guest_that_uses_up_its_fuel_is_told_so() {
    let mut bench = Bench::new();
    bench.limits.fuel = 10_000;
    let attempt = bench.run("(call $loop) unreachable").await;
    let message = "used up its 10000 units of fuel (limit `fuel`)";
    assert_eq!(end(&attempt), (TestStatus::Failed, Some(Cause::Fuel), message));
    assert_eq!(attempt.fuel_used, Some(10_000));
    assert_eq!(attempt.limits_hit, [Limit::Fuel]);
}

#[tokio::test]
async fn a_cancelled_attempt_ends_wherever_it_is() {
    let bench = Bench::new();
    for run in
        ["(call $loop) unreachable", "(call $block (call $after (i64.const -1))) unreachable"]
    {
        let order = AttemptOrder {
            cancel: CancellationToken::new(),
            ..bench.order(bench.load(&Guest { run, ..Guest::default() }))
        };
        let cancel = order.cancel.clone();
        let (begun, wait) = tokio::sync::oneshot::channel();
        let attempt = bench.sandbox.attempt(order, move || begun.send(()).unwrap());
        let stop = async {
            wait.await.unwrap();
            cancel.cancel();
        };
        let (attempt, ()) = tokio::join!(attempt, stop);
        assert_eq!(end(&attempt), (TestStatus::Cancelled, None, ""));
    }
    bench.cancel.cancel();
    let order = bench.order(bench.load(&Guest::default()));
    let attempt = bench.sandbox.attempt(order, || panic!("it never starts")).await;
    assert_eq!(end(&attempt), (TestStatus::Cancelled, None, ""));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn many_attempts_share_few_slots() {
    let bench = Bench::new();
    let loaded = bench.load(&Guest {
        run: "(call $block (call $after (i64.const 1000000))) (global.get $passed)",
        ..Guest::default()
    });
    let attempts = (0..300).map(|_| bench.sandbox.attempt(bench.order(loaded.clone()), || ()));
    let attempts = futures::future::join_all(attempts).await;
    assert_eq!(attempts.len(), 300);
    for attempt in attempts {
        assert_eq!(end(&attempt), (TestStatus::Passed, None, ""));
    }
}

#[tokio::test]
async fn a_guest_that_loops_leaves_room_for_others() {
    // One thread for both: the loop must give way to the one that passes.
    let bench = Bench::new();
    let looping = bench.load(&Guest { run: "(call $loop) unreachable", ..Guest::default() });
    let order = bench.order(looping);
    let cancel = order.cancel.clone();
    let looping = bench.sandbox.attempt(order, || ());
    let passing = async {
        let order = AttemptOrder {
            cancel: CancellationToken::new(),
            ..bench.order(bench.load(&Guest::default()))
        };
        let attempt = bench.sandbox.attempt(order, || ()).await;
        cancel.cancel();
        attempt
    };
    let (looped, passed) = tokio::join!(looping, passing);
    assert_eq!(looped.status, TestStatus::Cancelled);
    assert_eq!(passed.status, TestStatus::Passed);
}
