//! Every bound on what an attempt may use: set low by the suite's policy and hit by a guest, it is
//! named in the result and counted.

use std::collections::BTreeMap;

use handoff_tests::{Client, Server, Settings, Target, guest};
use reqwest::StatusCode;
use serde_json::{Value, json};

use crate::results::{array, assert_says, attempt, detail, lines, log, metric, only, text};

async fn server(guest: &str) -> (Server, Client) {
    let server = Server::start().await;
    let client = server.client();
    client.upload_guest(guest).await;
    (server, client)
}

fn series(limit: &str) -> String {
    format!("handoff_limit_hits_total{{limit=\"{limit}\"}}")
}

/// Runs one test under one limit, which it hits: the result names it and the metric counts it.
async fn hits(client: &Client, suite: &str, limit: &str, value: u64, request: &Value) -> Value {
    client.set_policy(suite, &json!({"limits": {limit: value}})).await;
    let before = metric(client, &series(limit)).await;
    let run = client.run(suite, request).await;
    let setup = array(&run["setup"]["attempts"]).iter();
    let tests = array(&run["tests"]).iter().flat_map(|test| array(&test["attempts"]));
    let mut hit = setup.chain(tests).flat_map(|attempt| array(&attempt["limits_hit"]));
    assert!(hit.any(|hit| hit == limit), "{limit} was not hit: {run:#}");
    let after = metric(client, &series(limit)).await;
    assert!(after > before, "{limit}: {before} hits before, {after} after");
    run
}

/// A limit whose hit ends the attempt: its name, a low value, the test that hits it, and the cause.
const ENDS: &[(&str, u64, &str, &str)] = &[
    ("fuel", 1_000_000, "burns_fuel", "fuel"),
    ("memory_bytes", 16 << 20, "allocates", "memory"),
    ("handles", 50, "holds_too_many_handles", "trap"),
    ("host_call_bytes", 1 << 20, "logs_one_line_of_a_hundred_megabytes", "trap"),
    ("random_bytes", 1 << 20, "wants_too_much_randomness", "trap"),
    // The SDK makes a panic of what it cannot report.
    ("sub_results", 3, "reports_too_many_parts", "panic"),
    ("record_bytes", 1_000, "reports_too_many_parts", "panic"),
];

#[tokio::test]
async fn a_limit_that_ends_an_attempt_is_named_in_its_message() {
    let (_server, client) = server("limits").await;
    for (limit, value, test, cause) in ENDS {
        let run = hits(&client, "limits", limit, *value, &only(test)).await;
        let attempt = attempt(&run, test);
        let (status, found) = (&attempt["status"], &attempt["cause"]);
        assert_eq!((status, found), (&json!("failed"), &json!(cause)), "{limit}: {attempt:#}");
        assert_says(text(&attempt["message"]), &[&format!("(limit `{limit}`)")]);
        assert_eq!(run["teardown"]["status"], "passed", "{limit}");
    }
}

#[tokio::test]
async fn a_component_that_needs_more_than_a_limit_to_start_is_told_which() {
    let (_server, client) = server("limits").await;
    for limit in ["table_elements", "instances"] {
        let run = hits(&client, "limits", limit, 1, &only("sleeps")).await;
        let setup = &run["setup"]["attempts"][0];
        assert_eq!((&setup["status"], &setup["cause"]), (&json!("failed"), &json!("trap")));
        assert_says(text(&setup["message"]), &[&format!("(limit `{limit}`)")]);
    }
}

/// A limit that a guest is told of at the call: its name, a low value, the test, and what it then
/// writes.
const REFUSES: &[(&str, u64, &str, &str)] = &[
    ("memory_bytes", 16 << 20, "allocates_in_one_step", "REFUSED MEMORY"),
    ("artifacts", 2, "attaches_too_many", "REFUSED BY artifacts"),
    ("artifact_bytes", 1_000, "attaches_a_gigabyte", "REFUSED BY artifact_bytes"),
    ("artifact_total_bytes", 9 << 20, "attaches_too_much", "REFUSED BY artifact_total_bytes"),
    ("values", 3, "sets_too_many_values", "(limit `values`)"),
    ("value_bytes", 1_000, "sets_a_big_value", "(limit `value_bytes`)"),
    ("spans", 3, "makes_too_many_spans", "GOT THROUGH"),
    ("scratch_bytes", 3 << 20, "fills_the_scratch_directory", "REFUSED AFTER 3 MiB"),
    // Rust's library makes an I/O error of it, so the host says what it was.
    (
        "scratch_bytes",
        3 << 20,
        "fills_the_scratch_directory",
        "no space was left in /tmp: 3145728 bytes (limit `scratch_bytes`)",
    ),
    ("scratch_bytes", 3 << 20, "makes_a_file_with_a_hole", "REFUSED: No space left on device"),
    ("scratch_files", 3, "makes_too_many_files", "REFUSED AFTER 3 FILES: No space left on device"),
    ("max_timeout_ms", 30_000, "asks_for_too_much_time", "REFUSED BY max_timeout_ms"),
];

#[tokio::test]
async fn a_limit_that_refuses_a_call_leaves_the_test_to_go_on() {
    let (_server, client) = server("limits").await;
    for (limit, value, test, said) in REFUSES {
        let mut request = only(test);
        request["params"] = json!({"megabytes": "1"});
        let run = hits(&client, "limits", limit, *value, &request).await;
        assert_eq!(attempt(&run, test)["status"], "passed", "{limit}: {run:#}");
        let lines = lines(&client, &run, test).await;
        assert!(lines.iter().any(|line| line.contains(said)), "{limit}: {lines:?}");
    }
}

#[tokio::test]
async fn secrets_are_bounded_in_sum() {
    let (_server, client) = server("hello").await;
    let run = hits(&client, "hello", "secret_bytes", 3, &only("passes")).await;
    let setup = &run["setup"]["attempts"][0];
    assert_says(text(&setup["message"]), &["3 are allowed", "(limit `secret_bytes`)"]);
}

#[tokio::test]
async fn long_texts_are_cut_and_further_failures_are_counted_up_to_a_limit() {
    let (_server, client) = server("limits").await;
    let request = only("reports_long_texts");
    let run = hits(&client, "limits", "message_bytes", 100, &request).await;
    let message = text(&attempt(&run, "reports_long_texts")["message"]);
    assert!(message.len() < 200, "{} bytes", message.len());
    assert_says(message, &["MESSAGE üü", "bytes cut"]);

    let test = "reports_too_many_failures";
    let run = hits(&client, "limits", "failures", 3, &only(test)).await;
    assert_eq!(attempt(&run, test)["message"], "failure 0");
    let further = detail(&client, &run, test).await["further_failures"].take();
    let further: Vec<_> = array(&further).iter().map(|failure| text(&failure["message"])).collect();
    assert_eq!(further, ["failure 1", "failure 2", "failure 3"]);
    assert_eq!(lines(&client, &run, test).await, ["GOT THROUGH"]);
}

#[tokio::test]
async fn of_a_flood_of_log_the_start_and_the_end_are_kept() {
    let (_server, client) = server("limits").await;
    // Which bound is low, and how much may then be left of each part.
    for (limit, test) in [
        ("log_head_bytes", "logs_a_hundred_megabytes"),
        ("log_tail_bytes", "logs_a_hundred_megabytes"),
    ] {
        client.set_policy("limits", &json!({"limits": {limit: 4_000}})).await;
        let before = metric(&client, &series(limit)).await;
        let run = client.run("limits", &only(test)).await;
        assert!(metric(&client, &series(limit)).await > before, "{limit}");
        let attempt = attempt(&run, test);
        assert_eq!(
            (&attempt["status"], &attempt["logs_truncated"]),
            (&json!("passed"), &json!(true))
        );
        let lines = lines(&client, &run, test).await;
        let (first, last) = (lines.first().unwrap(), lines.last().unwrap());
        assert_eq!((first.as_str(), last.as_str()), ("FIRST LINE", "LAST LINE"), "{limit}");
        let gap = lines.iter().position(|line| line.contains("bytes of log dropped"));
        let (head, tail) = lines.split_at(gap.expect("the gap is told"));
        let bytes = |lines: &[String]| lines.iter().map(|line| line.len() + 1).sum::<usize>();
        let low = if limit == "log_head_bytes" { bytes(head) } else { bytes(&tail[1..]) };
        assert!(low <= 4_000, "{limit}: {low} bytes are kept");
        let kept = bytes(head) + bytes(&tail[1..]);
        let dropped = detail(&client, &run, test).await["log_dropped_bytes"].as_u64().unwrap();
        assert_eq!(kept as u64 + dropped, 100_000 * 1_001 + 11 + 10, "nothing is lost uncounted");
    }
}

#[tokio::test]
async fn of_a_line_without_an_end_the_start_is_kept() {
    let (_server, client) = server("limits").await;
    let test = "prints_one_line_of_a_hundred_megabytes";
    let run = hits(&client, "limits", "log_line_bytes", 100, &only(test)).await;
    let lines = lines(&client, &run, test).await;
    assert_eq!(lines.len(), 2, "{lines:?}");
    assert_eq!(lines[0], format!("{} … [{} bytes cut]", "x".repeat(100), (100 << 20) - 100));
    assert_eq!(lines[1], "LAST LINE");
}

#[tokio::test]
async fn whatever_a_test_does_it_ends_at_its_deadline() {
    let (_server, client) = server("limits").await;
    let run = client.run("limits", &json!({"tags": ["timeout"], "parallelism": 5})).await;
    assert_eq!(run["counts"]["failed"], 5, "{run:#}");
    for name in
        ["loops", "sleeps", "loops_in_a_log_call", "loops_in_a_clock_call", "loops_in_empty_writes"]
    {
        let attempt = attempt(&run, name);
        assert_eq!(attempt["cause"], "timeout", "{attempt:#}");
        assert_says(text(&attempt["message"]), &["deadline of 500 ms"]);
        assert!(array(&attempt["limits_hit"]).contains(&json!("timeout_ms")), "{attempt:#}");
        assert!(attempt["duration_ms"].as_u64().unwrap() >= 500, "{attempt:#}");
    }
    assert_eq!(metric(&client, &series("timeout_ms")).await, 5);
    // Without fuel it is the deadline alone that ends it.
    client.set_policy("limits", &json!({"limits": {"fuel": 0, "max_timeout_ms": 100}})).await;
    let run = client.run("limits", &only("loops")).await;
    let attempt = attempt(&run, "loops");
    assert_says(text(&attempt["message"]), &["deadline of 100 ms"]);
    assert_eq!(attempt["fuel_used"], Value::Null);
}

#[tokio::test]
async fn a_language_that_runs_unmetered_is_metered_where_the_policy_sets_fuel() {
    let settings = Settings::default().flag("sandbox-unmetered-languages", "COBOL, Rust");
    let server = settings.start().await;
    let client = server.client();
    let version = client.upload_guest("ten").await;
    assert_eq!(version["language"], "Rust", "{version:#}");
    let fuel_of = async |policy: Value| {
        client.set_policy("ten", &policy).await;
        let run = client.run("ten", &only("adds")).await;
        attempt(&run, "adds")["fuel_used"].clone()
    };
    assert_eq!(fuel_of(json!({})).await, Value::Null);
    assert!(fuel_of(json!({"limits": {"fuel": 1_000_000_000}})).await.is_u64());
    assert_eq!(fuel_of(json!({"limits": {"fuel": 0}})).await, Value::Null);
}

#[tokio::test]
async fn many_loops_at_once_end_and_the_server_answers_meanwhile() {
    let (_server, client) = server("spin").await;
    let run = client.submit("spin", &json!({"parallelism": 64})).await;
    client.events(&run, 0).await.wait_for("attempt_started").await;
    client.get("/healthz").await.expect(StatusCode::OK);
    let run = client.finished(&run).await;
    assert_eq!(run["counts"]["failed"], 64, "{:#}", run["counts"]);
    let mut causes = BTreeMap::<&str, usize>::new();
    for test in array(&run["tests"]) {
        *causes.entry(text(&test["attempts"][0]["cause"])).or_default() += 1;
    }
    assert_eq!(causes, BTreeMap::from([("timeout", 64)]));
}

#[tokio::test]
async fn who_says_nothing_has_the_servers_time_and_nobody_has_more_than_its_cap() {
    let target = Target::start().await;
    let (_server, client) = server("steps").await;
    // The setup of a suite has no time of its own.
    let policy = json!({
        "allow_http": [target.url()],
        "config": {"target": target.url(), "path-setup": "/never", "path-step-1": "/never"},
        "limits": {"timeout_ms": 300},
    });
    client.set_policy("steps", &policy).await;
    let run = client.run("steps", &only("step-1")).await;
    let setup = &run["setup"]["attempts"][0];
    assert_eq!((&setup["status"], &setup["cause"]), (&json!("failed"), &json!("timeout")));
    assert_says(text(&setup["message"]), &["deadline of 300 ms"]);
    // The suite's own ten minutes are cut to the cap; a request beyond it is refused.
    let mut policy = policy;
    policy["limits"] = json!({"max_timeout_ms": 400});
    policy["config"]["path-setup"] = json!("/");
    client.set_policy("steps", &policy).await;
    let run = client.run("steps", &only("step-1")).await;
    let attempt = attempt(&run, "step-1");
    assert_says(text(&attempt["message"]), &["deadline of 400 ms"]);
    let beyond = client.send(client.run_request("steps", &json!({"test_timeout_ms": 401}))).await;
    assert_says(&beyond.problem(422), &["test_timeout_ms", "400"]);
}

#[tokio::test]
async fn a_deadline_moves_when_the_test_asks_up_to_the_cap() {
    let (_server, client) = server("limits").await;
    let test = "asks_for_more_time";
    let run = client.run("limits", &only(test)).await;
    assert_eq!(lines(&client, &run, test).await, ["WORKED LONGER"]);
    assert!(attempt(&run, test)["duration_ms"].as_u64().unwrap() >= 300, "{run:#}");
    // The cap grants a part of what it asks for, and that is not enough.
    let run = hits(&client, "limits", "max_timeout_ms", 1_000, &only(test)).await;
    assert_says(text(&attempt(&run, test)["message"]), &["GRANTED ONLY"]);
}

#[tokio::test]
async fn a_test_that_allocates_for_ever_costs_the_server_no_more_than_its_limit() {
    const LIMIT: u64 = 64 << 20;
    /// What a run costs beside the memory of its guest: compiled code, events, buffers.
    const BESIDE: u64 = 64 << 20;
    let (server, client) = server("limits").await;
    client.set_policy("limits", &json!({"limits": {"memory_bytes": LIMIT}})).await;
    // Once without, so that what is made once does not count.
    client.run("limits", &only("asks_for_more_time")).await;
    let before = server.peak_memory();
    for _ in 0..5 {
        let run = client.run("limits", &only("allocates")).await;
        let attempt = attempt(&run, "allocates");
        assert_eq!(attempt["cause"], "memory", "{attempt:#}");
        assert!(attempt["memory_peak_bytes"].as_u64().unwrap() <= LIMIT, "{attempt:#}");
    }
    let grown = server.peak_memory() - before;
    assert!(grown <= LIMIT + BESIDE, "the server grew by {grown} bytes");
}

#[tokio::test]
async fn a_suite_of_more_tests_than_allowed_is_refused() {
    let server = Settings::default().flag("sandbox-limits-tests", 999).start().await;
    let client = server.client();
    let answer = client.send(client.upload_request(guest("thousand"))).await;
    assert_says(&answer.problem(422), &["1000 tests", "999"]);
    assert_eq!(metric(&client, &series("tests")).await, 1);
    assert!(client.list("/suites").await.is_empty());
}

#[tokio::test]
async fn a_test_has_its_scratch_directory_and_no_other_files() {
    let (_server, client) = server("fs").await;
    let run = client.run("fs", &json!({})).await;
    assert_eq!(
        (&run["status"], &run["counts"]["passed"]),
        (&json!("passed"), &json!(8)),
        "{run:#}"
    );
    let log = log(&client, &run).await;
    assert!(log.iter().all(|line| !text(&line["text"]).contains("ESCAPED")), "{log:#?}");
}

#[tokio::test]
async fn a_policy_with_a_limit_that_does_not_exist_is_refused_with_its_name() {
    let (_server, client) = server("noop").await;
    let policy = json!({"limits": {"memry_bytes": 1}});
    let answer = client.put("/suites/default/noop/policy", &policy).await;
    assert_says(&answer.problem(422), &["memry_bytes", "memory_bytes"]);
}
