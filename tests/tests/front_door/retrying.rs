//! After which failures a test is tried again, for how long, and what it means that it needed it.

use handoff_tests::Server;
use serde_json::json;

use crate::cli::{assert_says, at, file, handoff};
use crate::results::{array, test, text};

#[tokio::test]
async fn a_test_is_tried_again_only_after_the_causes_that_are_named() {
    let server = Server::start().await;
    let client = server.client();
    client.upload_guest("flaky").await;
    let request = json!({"filter": "^(assertion|timeout)$", "retry_on": ["timeout"], "test_timeout_ms": 2_000});
    let run = client.run("flaky", &request).await;
    let failed = test(&run, "assertion");
    assert_eq!((&failed["status"], &failed["attempts_total"]), (&json!("failed"), &json!(1)));
    assert_says(text(&failed["reason"]), &["not tried again"]);
    let passed = test(&run, "timeout");
    assert_eq!((&passed["status"], &passed["attempts_total"]), (&json!("passed"), &json!(2)));
    for cause in ["setup", "host", "boredom"] {
        let answer = client.post("/suites/default/flaky/runs", &json!({"retry_on": [cause]})).await;
        assert_says(&answer.problem(422), &[cause, "timeout"]);
    }
    let told = handoff(&format!("test {} timeout --retry-on luck", file("flaky"))).run().await;
    assert_says(&told.failure(2), &["write one of assertion, panic"]);
}

#[tokio::test]
async fn no_further_attempt_begins_when_the_time_for_retries_is_used_up() {
    let line = format!(
        "test {} ^timeout$ --param failures=2 --test-timeout 1s --retry-budget 100ms --color never",
        file("flaky")
    );
    // The second attempt takes a second, and there would be a third.
    let told = handoff(&line).run().await.expect(100);
    assert_says(&told, &["TRY 1", "1 failed"]);
    assert!(!told.contains("TRY 3"), "{told}");
    let line = line.replace("100ms", "1h");
    assert_says(&handoff(&line).run().await.expect(0), &["TRY 2", "1 passed (1 flaky)"]);
    let waits = line.replace("1h", "1s --retry-wait 10m");
    let told = handoff(&waits).run().await.expect(100);
    assert!(!told.contains("TRY 2"), "a wait that is too long is not begun: {told}");
}

#[tokio::test]
async fn a_run_can_be_asked_to_fail_on_a_flaky_test() {
    let server = Server::start().await;
    server.client().upload_guest("flaky").await;
    let line = "run flaky ^assertion$ --on-flaky fail -o json";
    let told = at(&server, line).run().await.expect(100);
    let run: serde_json::Value = serde_json::from_str(&told).unwrap();
    assert_eq!((&run["status"], &run["counts"]["failed"]), (&json!("failed"), &json!(0)));
    assert_says(text(&run["message"]), &["1 flaky", "on_flaky"]);
    assert!(array(&run["tests"]).iter().any(|test| test["flaky"] == true));
    at(&server, &line.replace("fail", "pass")).run().await.expect(0);
}
