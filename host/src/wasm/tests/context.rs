//! What a guest may say of itself, ask for and keep.

use std::collections::BTreeMap;

use super::*;
use crate::model::{Level, Limit, Outcome, Source, TestStatus, Value};

const TEXTS: &str = r#"
    (data (i32.const 1024) "token")
    (data (i32.const 1040) "hunter2")
    (data (i32.const 1056) "a/b.txt")
    (data (i32.const 1072) "text/plain")"#;

/// Sets `token` to `hunter2`, and says by which rule it was refused, if it was.
const SET: &str = "(call $set (i32.const 1024) (i32.const 5) (i32.const 1040) (i32.const 7)
        (i32.const 0) (global.get $result))
    (if (i32.load8_u (global.get $result)) (then (call $say-rule (i32.const 196))))";

const SET_SECRET: &str = "(call $set (i32.const 1024) (i32.const 5) (i32.const 1040) (i32.const 7)
        (i32.const 1) (global.get $result))
    (if (i32.load8_u (global.get $result)) (then (call $say-rule (i32.const 196))))";

/// Says the value of `token`, if there is one.
const GET: &str = "(call $get (i32.const 1024) (i32.const 5) (global.get $result))
    (if (i32.load8_u (global.get $result)) (then (call $say-rule (i32.const 196))))";

const ATTACH: &str = "(call $attach (i32.const 1056) (i32.const 7) (i32.const 1072) (i32.const 10)
        (i32.const 1040) (i32.const 7) (global.get $result))
    (if (i32.load8_u (global.get $result)) (then (call $say-rule (i32.const 196))))";

async fn run(bench: &Bench, run: &str) -> Attempt {
    let run = format!("{run} (global.get $passed)");
    let attempt = bench.attempt(&Guest { fields: TEXTS, run: &run, ..Guest::default() }).await;
    assert_eq!(attempt.status, TestStatus::Passed, "{:?}", attempt.message);
    attempt
}

fn value(value: &str, secret: bool) -> Value {
    Value { name: "token".into(), value: value.into(), secret }
}

#[tokio::test]
async fn log_calls_and_streams_are_one_log() {
    let run = "(call $log (i32.const 4) (i32.const 1024) (i32.const 5))
        (call $out (i32.const 1056) (i32.const 7))
        (call $err (i32.const 1072) (i32.const 10))";
    let attempt = self::run(&Bench::new(), run).await;
    let lines: Vec<_> =
        detail(&attempt).log.iter().map(|line| (line.source, line.text.as_str())).collect();
    let error = Source::Log(Level::Error);
    let expected = [(error, "token"), (Source::Stdout, "a/b.txt"), (Source::Stderr, "text/plain")];
    assert_eq!(lines, expected);
}

#[tokio::test]
async fn values_of_this_run_are_seen_and_set() {
    let bench = Bench::new();
    let attempt = run(&bench, &format!("{GET} {SET} {GET} {SET}")).await;
    assert_eq!(log(&attempt), ["hunter2"]);
    assert_eq!(detail(&attempt).values, [value("hunter2", false)]);

    let run = format!("{GET} {SET} {GET} (global.get $passed)");
    let guest = Guest { fields: TEXTS, run: &run, ..Guest::default() };
    let values = Arc::new(vec![value("earlier", false)]);
    let order = AttemptOrder { values, ..bench.order(bench.load(&guest)) };
    let attempt = bench.sandbox.attempt(order, || ()).await;
    assert_eq!(log(&attempt), ["earlier", "hunter2"]);
}

#[tokio::test]
async fn values_have_limits() {
    let limits = [
        (Limit::ValueBytes, Limits { value_bytes: 6, ..Limits::default() }, SET),
        (Limit::Values, Limits { values: 0, ..Limits::default() }, SET),
        (Limit::SecretBytes, Limits { secret_bytes: 6, ..Limits::default() }, SET_SECRET),
    ];
    for (limit, limits, set) in limits {
        let bench = Bench { limits, ..Bench::new() };
        let attempt = run(&bench, set).await;
        assert_eq!(log(&attempt), [limit.as_str()]);
        assert_eq!(attempt.limits_hit, [limit]);
        assert_eq!(detail(&attempt).values, []);
    }
}

#[tokio::test]
async fn secrets_are_masked_in_logs_and_messages() {
    let mut bench = Bench::new();
    let say = "(call $out (i32.const 1040) (i32.const 7))";
    let attempt = run(&bench, &format!("{say} {SET_SECRET} {GET}")).await;
    assert_eq!(log(&attempt), ["***", "***"]);
    assert_eq!(detail(&attempt).values, [value("hunter2", true)]);

    bench.policy.secrets = BTreeMap::from([("token".into(), "hunter2".into())]);
    let attempt = run(&bench, &format!("{say} {SET}")).await;
    assert_eq!(log(&attempt), ["***"]);
    // The suite did not say that it is secret, but it is.
    assert_eq!(detail(&attempt).values, [value("hunter2", true)]);
    let report = "(call $report (i32.const 1040) (i32.const 7) (i32.const 0) (i32.const 0)
        (i32.const 0) (i32.const 0) (i32.const 0) (i32.const 0)) (global.get $passed)";
    let guest = Guest { fields: TEXTS, run: report, ..Guest::default() };
    assert_eq!(bench.attempt(&guest).await.message.as_deref(), Some("***"));
}

#[tokio::test]
async fn parameters_hide_configuration_and_configuration_hides_secrets() {
    let mut bench = Bench::new();
    // A result of an option: the text is four bytes further on than in an option.
    let get = "(call $config (i32.const 1024) (i32.const 5) (global.get $result))
        (call $say-rule (i32.const 200)) (global.get $passed)";
    let guest = Guest { fields: TEXTS, run: get, ..Guest::default() };
    let token = |value: &str| BTreeMap::from([("token".to_owned(), value.to_owned())]);
    bench.policy.secrets = token("of the secrets");
    let attempt = bench.attempt(&guest).await;
    assert_eq!(log(&attempt), ["***"]);
    bench.policy.config = token("of the configuration");
    let attempt = bench.attempt(&guest).await;
    assert_eq!(log(&attempt), ["of the configuration"]);
    let params = Arc::new(token("of the parameters"));
    let order = AttemptOrder { params, ..bench.order(bench.load(&guest)) };
    let attempt = bench.sandbox.attempt(order, || ()).await;
    assert_eq!(log(&attempt), ["of the parameters"]);
}

#[tokio::test]
async fn every_interface_is_there_without_a_grant() {
    let run =
        "(drop (call $network)) (drop (call $fields)) (call $directories (global.get $result))
        (if (i32.ne (i32.load (i32.const 196)) (i32.const 1)) (then unreachable))";
    self::run(&Bench::new(), run).await;
}

#[tokio::test]
async fn files_are_kept_up_to_their_limits() {
    let attempt = run(&Bench::new(), ATTACH).await;
    let [artifact] = &attempt.artifacts[..] else { panic!("{:?}", attempt.artifacts) };
    assert_eq!((artifact.name.as_str(), artifact.media_type.as_str()), ("a/b.txt", "text/plain"));
    assert_eq!((&artifact.content[..], artifact.size_bytes), (&b"hunter2"[..], 7));
    assert_eq!(artifact.digest, Digest::of(b"hunter2"));
    let limits = [
        (Limit::Artifacts, Limits { artifacts: 1, ..Limits::default() }),
        (Limit::ArtifactBytes, Limits { artifact_bytes: 6, ..Limits::default() }),
        (Limit::ArtifactTotalBytes, Limits { artifact_total_bytes: 13, ..Limits::default() }),
    ];
    for (limit, limits) in limits {
        let bench = Bench { limits, ..Bench::new() };
        let attempt = run(&bench, &format!("{ATTACH} {ATTACH}")).await;
        assert_eq!(log(&attempt).last(), Some(&limit.as_str()));
        assert_eq!(attempt.limits_hit, [limit]);
        assert!(attempt.artifacts.len() < 2);
    }
}

#[tokio::test]
async fn a_deadline_is_extended_up_to_the_cap() {
    let mut bench = Bench::new();
    bench.timeout = Duration::from_millis(100);
    bench.limits.max_timeout_ms = 20_000;
    // Sleeps for longer than its first deadline.
    let sleep = "(call $block (call $after (i64.const 150000000)))";
    let extend = "(call $extend (i64.const 1000000) (global.get $result))
        (if (i32.load8_u (global.get $result)) (then (call $say-rule (i32.const 200))))";
    let attempt = run(&bench, &format!("{extend} {sleep} {extend}")).await;
    assert_eq!(log(&attempt), ["max_timeout_ms"], "the first is granted in part");
    assert_eq!(attempt.limits_hit, [Limit::MaxTimeoutMs]);

    bench.limits.max_timeout_ms = 150;
    let loops = format!("{extend} (call $loop)");
    let attempt = bench.run(&format!("{loops} unreachable")).await;
    assert_eq!(attempt.message.as_deref(), Some("still running at its deadline of 150 ms"));
}

#[tokio::test]
async fn parts_spans_and_softness_are_recorded() {
    let part =
        "(call $part (i32.const 1024) (i32.const 5) (i32.const 0) (i32.const 0) (i32.const 0)
            (i32.const 0) (i32.const 0) (i32.const 0) (i32.const 0) (i32.const 0) (i32.const 0)
            (i64.const 12) (global.get $result))
        (if (i32.load8_u (global.get $result)) (then (call $say-rule (i32.const 196))))";
    let span = "(call $end (call $span (i32.const 1056) (i32.const 7) (i32.const 0) (i32.const 0)))
        (drop (call $span (i32.const 1056) (i32.const 7) (i32.const 0) (i32.const 0)))";
    let both = format!("{part} {span} (call $soft)");
    let attempt = run(&Bench::new(), &both).await;
    let detail = detail(&attempt);
    assert!(attempt.soft);
    assert_eq!(detail.sub_results.len(), 1);
    assert_eq!(
        (&detail.sub_results[0].outcome, detail.sub_results[0].duration_ms),
        (&Outcome::Passed, 12)
    );
    assert_eq!(detail.spans.iter().map(|s| s.name.as_str()).collect::<Vec<_>>(), ["a/b.txt"; 2]);

    let limits = Limits { sub_results: 0, spans: 1, ..Limits::default() };
    let attempt = run(&Bench { limits, ..Bench::new() }, &both).await;
    assert_eq!(log(&attempt), ["sub_results"]);
    assert_eq!(super::detail(&attempt).spans.len(), 1);
    assert_eq!(attempt.limits_hit, [Limit::Spans, Limit::SubResults]);

    let limits = Limits { record_bytes: 6, ..Limits::default() };
    let attempt = run(&Bench { limits, ..Bench::new() }, &both).await;
    assert_eq!(attempt.limits_hit, [Limit::RecordBytes]);
    assert_eq!(super::detail(&attempt).spans.len(), 0);
}

#[tokio::test]
async fn failures_are_cut_and_counted() {
    let report = "(call $report (i32.const 1040) (i32.const 7) (i32.const 0) (i32.const 0)
        (i32.const 0) (i32.const 0) (i32.const 0) (i32.const 0))";
    let limits = Limits { message_bytes: 4, failures: 1, ..Limits::default() };
    let bench = Bench { limits, ..Bench::new() };
    let run = format!("{report} {report} {report} (global.get $passed)");
    let attempt = bench.attempt(&Guest { fields: TEXTS, run: &run, ..Guest::default() }).await;
    assert_eq!(attempt.message.as_deref(), Some("hunt … [3 bytes cut]"));
    assert_eq!(detail(&attempt).further_failures.len(), 1);
    assert_eq!(attempt.limits_hit, [Limit::MessageBytes, Limit::Failures]);
}
