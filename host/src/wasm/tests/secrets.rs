//! Secrets in every text that a guest may choose, and what texts cost.

use super::*;
use crate::model::{Limit, TestStatus};

/// A secret, a file whose name has it, an attribute with it as its key, and a list of that one.
const TEXTS: &str = r#"
    (data (i32.const 1024) "hunter2")
    (data (i32.const 1040) "src/hunter2.rs")
    (data (i32.const 1064) "token")
    (data (i32.const 1072) "\00\04\00\00\07\00\00\00\28\04\00\00\05\00\00\00")"#;

/// Reports a failure "hunter2" in the file "src/hunter2.rs".
const REPORT: &str = "(call $report (i32.const 1024) (i32.const 7) (i32.const 1) (i32.const 1040)
    (i32.const 14) (i32.const 7) (i32.const 0) (i32.const 0))";

/// Sets the value `name`, of so many bytes, to "hunter2".
fn set(name: u32, length: u32, secret: bool) -> String {
    format!(
        "(call $set (i32.const {name}) (i32.const {length}) (i32.const 1024) (i32.const 7)
            (i32.const {}) (global.get $result))
        (if (i32.load8_u (global.get $result)) (then (call $say-rule (i32.const 196))))",
        u8::from(secret)
    )
}

async fn attempt(bench: &Bench, run: &str) -> Attempt {
    let run = format!("{run} (global.get $passed)");
    bench.attempt(&Guest { fields: TEXTS, run: &run, ..Guest::default() }).await
}

#[tokio::test]
async fn files_attributes_and_names_of_values_are_masked() {
    let mut bench = Bench::new();
    bench.policy.secrets.insert("password".into(), "hunter2".into());
    let span = "(drop (call $span (i32.const 1064) (i32.const 5) (i32.const 1072) (i32.const 1)))";
    let value = set(1040, 14, false);
    let attempt = attempt(&bench, &format!("{REPORT} {REPORT} {span} {value}")).await;
    assert_eq!(attempt.message.as_deref(), Some("***"));
    let place = |file: &str| file == "src/***.rs";
    assert!(attempt.location.as_ref().is_some_and(|location| place(&location.file)));
    let detail = detail(&attempt);
    let [further] = &detail.further_failures[..] else { panic!("{detail:?}") };
    assert!(further.location.as_ref().is_some_and(|location| place(&location.file)));
    assert_eq!(detail.spans[0].attributes, [("***".to_owned(), "token".to_owned())]);
    let [value] = &detail.values[..] else { panic!("{detail:?}") };
    assert_eq!((value.name.as_str(), value.secret), ("src/***.rs", true));
}

#[tokio::test]
async fn the_name_of_a_failures_file_is_charged_and_cut() {
    let mut bench = Bench::new();
    // The first is kept in any case; the second has 7 + 14 bytes.
    for (record_bytes, kept) in [(2 * 21, 1), (2 * 21 - 1, 0)] {
        bench.limits.record_bytes = record_bytes;
        let attempt = attempt(&bench, &format!("{REPORT} {REPORT}")).await;
        assert_eq!(detail(&attempt).further_failures.len(), kept, "{record_bytes}");
        let hit = attempt.limits_hit.contains(&Limit::RecordBytes);
        assert_eq!(hit, kept == 0, "{record_bytes}: {:?}", attempt.limits_hit);
    }
    let limits = Limits { message_bytes: 7, ..Limits::default() };
    let attempt = self::attempt(&Bench { limits, ..Bench::new() }, REPORT).await;
    assert_eq!(attempt.location.unwrap().file, "src/hun … [7 bytes cut]");
    assert_eq!(attempt.limits_hit, [Limit::MessageBytes]);
}

#[tokio::test]
async fn a_secret_that_was_replaced_counts_on() {
    let mut bench = Bench::new();
    let twice = format!("{0} {0}", set(1064, 5, true));
    bench.limits.secret_bytes = 14;
    let passed = attempt(&bench, &twice).await;
    assert_eq!((log(&passed), &passed.limits_hit[..]), (vec![], &[][..]));
    bench.limits.secret_bytes = 13;
    let refused = attempt(&bench, &twice).await;
    assert_eq!(log(&refused), ["secret_bytes"]);
    assert_eq!(refused.limits_hit, [Limit::SecretBytes]);
}

#[tokio::test]
async fn names_and_attributes_are_bounded() {
    let limits = Limits { name_bytes: 4, span_attributes: 0, ..Limits::default() };
    let bench = Bench { limits, ..Bench::new() };
    let span = "(drop (call $span (i32.const 1064) (i32.const 5) (i32.const 1072) (i32.const 1)))";
    let attempt = attempt(&bench, &format!("{span} {}", set(1064, 5, false))).await;
    assert_eq!(attempt.status, TestStatus::Passed);
    assert_eq!(log(&attempt), ["name_bytes"]);
    assert_eq!(attempt.limits_hit, [Limit::NameBytes, Limit::SpanAttributes]);
    assert!(detail(&attempt).spans[0].attributes.is_empty());
}
