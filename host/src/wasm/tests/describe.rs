//! What a component says of itself, and what happens when it does not.

use super::*;
use crate::model::Introduction;
use crate::wasm::{DescribeError, Described};

async fn describe(bench: &Bench, guest: &Guest<'_>) -> Result<Described, DescribeError> {
    bench.sandbox.describe(&bench.load(guest), &Introduction::default(), None).await
}

/// What is wrong with a guest whose `describe` is this.
async fn wrong(bench: &Bench, describe: &str) -> String {
    let guest = Guest { describe, ..Guest::default() };
    self::describe(bench, &guest).await.unwrap_err().to_string()
}

#[tokio::test]
async fn a_suite_says_what_it_is() {
    let described = describe(&Bench::new(), &Guest::default()).await.unwrap();
    assert_eq!((described.name.as_str(), described.namespace), ("suite", None));
    let names: Vec<_> = described.description.tests.into_iter().map(|test| test.name).collect();
    assert_eq!(names, ["one"]);
}

#[tokio::test]
async fn a_describe_that_does_not_answer_says_what_it_did() {
    let settings = SandboxSettings {
        describe_timeout_ms: 100,
        concurrent_attempts: 1,
        ..SandboxSettings::default()
    };
    let bench = Bench::with(settings);
    assert_eq!(
        wrong(&bench, "(call $loop) unreachable").await,
        "describe the suite: it did not answer within 100 ms"
    );
    let hits = "handoff_limit_hits_total{limit=\"sandbox_describe_timeout_ms\"} 1\n";
    assert!(bench.metrics.render().contains(hits), "{}", bench.metrics.render());
    assert_eq!(
        wrong(&bench, "unreachable").await,
        "describe the suite: it trapped: it aborted (`unreachable` was executed)"
    );
    assert_eq!(
        wrong(&bench, "(call $exit (i32.const 1)) unreachable").await,
        "describe the suite: it ended itself with exit code 1"
    );
}

#[tokio::test]
async fn an_answer_that_breaks_the_contract_is_refused() {
    let bench = Bench::new();
    let no_tests = "(i32.store (i32.const 364) (i32.const 0)) (global.get $description)";
    assert_eq!(
        wrong(&bench, no_tests).await,
        "describe the suite: the suite has no tests: `describe` must name at least one"
    );
    let bad_name = "(i32.store8 (i32.const 576) (i32.const 47)) (global.get $description)";
    let error = wrong(&bench, bad_name).await;
    assert!(error.starts_with("describe the suite: it has a bad name: \"/uite\""), "{error}");
    let outside = "(i32.store (i32.const 256) (i32.const -8)) (global.get $description)";
    let error = wrong(&bench, outside).await;
    assert!(error.contains("out of bounds"), "{error}");
}

#[tokio::test]
async fn a_describe_is_granted_nothing() {
    // It may say things, which are dropped; a longer deadline is refused.
    let guest = Guest {
        describe: "(call $say (i32.const 576) (i32.const 5))
            (call $extend (i64.const 1000) (global.get $result))
            (if (i32.eqz (i32.load8_u (global.get $result))) (then unreachable))
            (global.get $description)",
        ..Guest::default()
    };
    assert!(describe(&Bench::new(), &guest).await.is_ok());
}
