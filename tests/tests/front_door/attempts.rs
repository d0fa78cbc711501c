//! How often tests are tried, in which order, and how many at the same time.

use std::collections::BTreeSet;

use handoff_tests::{Client, Event, Seen, Server, Settings, Target, patiently};
use serde_json::{Value, json};

use crate::results::{array, assert_says, metric, only, run_of, test, text};

async fn server_with(settings: Settings, guest: &str) -> (Server, Client) {
    let server = settings.start().await;
    let client = server.client();
    client.upload_guest(guest).await;
    (server, client)
}

async fn server(guest: &str) -> (Server, Client) {
    server_with(Settings::default(), guest).await
}

/// How each attempt at a test ended: status, cause.
fn endings<'a>(run: &'a Value, name: &str) -> Vec<(&'a str, Option<&'a str>)> {
    let attempts = array(&test(run, name)["attempts"]).iter();
    attempts.map(|attempt| (text(&attempt["status"]), attempt["cause"].as_str())).collect()
}

#[tokio::test]
async fn a_test_that_passes_after_a_failed_attempt_is_flaky() {
    let (_server, client) = server("flaky").await;
    let run = client.run("flaky", &json!({})).await;
    assert_eq!(run["status"], "passed", "{run:#}");
    let passed = ("passed", None);
    assert_eq!(endings(&run, "assertion"), [("failed", Some("panic")), passed]);
    assert_eq!(endings(&run, "timeout"), [("failed", Some("timeout")), passed]);
    assert_eq!(endings(&run, "forgets_values"), [("failed", Some("panic")), passed]);
    assert_eq!(endings(&run, "soft"), [("failed", Some("panic")); 2]);
    assert_eq!(endings(&run, "steady"), [passed]);
    for (name, flaky) in
        [("assertion", true), ("timeout", true), ("soft", false), ("steady", false)]
    {
        assert_eq!(test(&run, name)["flaky"], flaky, "{name}");
    }
    let counts = &run["counts"];
    assert_eq!((&counts["flaky"], &counts["passed"]), (&json!(3), &json!(4)), "{counts}");
    let series = "handoff_tests_flaky_total{namespace=\"default\",suite_name=\"flaky\"}";
    assert_eq!(metric(&client, series).await, 3);
}

#[tokio::test]
async fn the_request_decides_over_the_test_the_test_over_the_suite_and_the_suite_over_the_server() {
    let settings = Settings::default().flag("runner-bounds-attempts", 2);
    let settings = settings.flag("runner-bounds-max-attempts", 4);
    let (_server, client) = server_with(settings, "flaky").await;
    client.upload_guest("limits").await;
    // Suite, request, test: how often it is tried when it fails every time.
    let cases = [
        ("flaky", json!({}), "assertion", 3),
        ("flaky", json!({}), "soft", 2),
        ("flaky", json!({"max_attempts": 1}), "assertion", 1),
        ("flaky", json!({"max_attempts": 4}), "soft", 4),
        ("limits", json!({"test_timeout_ms": 50}), "sleeps", 2),
    ];
    for (suite, mut request, name, times) in cases {
        request["filter"] = json!(format!("^{name}$"));
        request["params"] = json!({"failures": "9"});
        let run = client.run(suite, &request).await;
        assert_eq!(endings(&run, name).len(), times, "{suite} {request}: {run:#}");
    }
    let beyond = client.send(client.run_request("flaky", &json!({"max_attempts": 5}))).await;
    assert_says(&beyond.problem(422), &["max_attempts", "4"]);
}

#[tokio::test]
async fn a_further_attempt_comes_after_the_wait_that_was_asked_for() {
    let (_server, client) = server("flaky").await;
    let waits = [
        json!({"kind": "none"}),
        json!({"kind": "fixed", "wait_ms": 20}),
        json!({"kind": "exponential", "initial_ms": 10, "max_ms": 30}),
    ];
    for wait in waits {
        let mut request = only("assertion");
        request["retry_wait"] = wait.clone();
        let run = client.run("flaky", &request).await;
        assert_eq!(endings(&run, "assertion").len(), 2, "{wait}: {run:#}");
    }

    // Ten minutes: nobody waits that long here, so what ends it is that the run is stopped.
    let mut request = only("assertion");
    request["retry_wait"] = json!({"kind": "fixed", "wait_ms": 600_000});
    let run = client.submit("flaky", &request).await;
    let mut events = client.events(&run, 0).await;
    patiently("the first attempt ends", async {
        while events.wait_for("attempt_finished").await.data["stage"] != "test" {}
    })
    .await;
    client.post(&format!("/runs/{run}/cancel"), &json!({})).await;
    let run = client.finished(&run).await;
    assert_eq!(run["status"], "cancelled");
    assert_eq!(endings(&run, "assertion").len(), 1, "{run:#}");
    let request = json!({"retry_wait": {"kind": "fixed", "wait_ms": 600_001}});
    let beyond = client.send(client.run_request("flaky", &request)).await;
    assert_says(&beyond.problem(422), &["retry_wait", "600000"]);
}

#[tokio::test]
async fn what_was_filtered_out_is_recorded_as_skipped_with_the_reason() {
    let (_server, client) = server("outcomes").await;
    let suite = "fixtures/outcomes";
    let by_name = run_of(&client, suite, &json!({"filter": "^pass"})).await;
    let by_tag = run_of(&client, suite, &json!({"tags": ["isolation"]})).await;
    let request = json!({"tags": {"exclude": ["smoke"]}, "filter": "^(nested::)?passes$"});
    let without_tag = run_of(&client, suite, &request).await;
    let cases = [
        (&by_name, vec!["passes"], "skips", "does not match \"^pass\""),
        (&by_tag, vec!["isolated a", "isolated b"], "passes", "none of the tags [\"isolation\"]"),
        (&without_tag, vec!["nested::passes"], "passes", "it has the tag \"smoke\""),
    ];
    for (run, left, out, reason) in cases {
        assert_eq!(run["status"], "passed", "{run:#}");
        let tests = array(&run["tests"]);
        let passed = tests.iter().filter(|test| test["status"] == "passed");
        assert_eq!(passed.map(|test| text(&test["name"])).collect::<Vec<_>>(), left);
        assert_eq!(run["counts"]["skipped"], tests.len() - left.len());
        let out = test(run, out);
        assert_says(text(&out["reason"]), &["filtered out", reason]);
        assert!(array(&out["attempts"]).is_empty(), "{out:#}");
    }
    assert_eq!(by_name["filter"], "^pass");
}

/// The names of the tests in the order in which they began.
fn order(events: &[Event]) -> Vec<String> {
    let began = events.iter().filter(|event| event.name == "attempt_started");
    began.filter_map(|event| event.attempt()?.test).collect()
}

async fn order_of(client: &Client, request: &Value) -> (Value, Vec<String>) {
    let run = client.submit("ten", request).await;
    let events = client.events(&run, 0).await;
    let events = patiently("the run ends", async { { events }.rest().await }).await;
    (client.json(&format!("/runs/{run}")).await, order(&events))
}

#[tokio::test]
async fn a_seed_is_recorded_and_gives_the_same_order_each_time() {
    let (_server, client) = server("ten").await;
    let (run, declared) = order_of(&client, &json!({"max_attempts": 1})).await;
    assert_eq!(run["shuffle_seed"], Value::Null);
    assert_eq!(declared.len(), 10, "{declared:?}");
    let shuffled = json!({"max_attempts": 1, "shuffle_seed": 7});
    let (run, first) = order_of(&client, &shuffled).await;
    assert_eq!(run["shuffle_seed"], 7);
    assert_ne!(first, declared);
    let names = |order: &[String]| order.iter().cloned().collect::<BTreeSet<_>>();
    assert_eq!(names(&first), names(&declared));
    assert_eq!(order_of(&client, &shuffled).await.1, first);
    let (_, other) = order_of(&client, &json!({"max_attempts": 1, "shuffle_seed": 8})).await;
    assert_ne!(other, first);
}

#[tokio::test]
async fn a_repeated_run_has_its_rounds_between_one_setup_and_one_teardown() {
    let (_server, client) = server("ten").await;
    let (run, order) = order_of(&client, &json!({"repeat": 3})).await;
    assert_eq!((&run["status"], &run["repeat"]), (&json!("passed"), &json!(3)));
    for test in array(&run["tests"]) {
        let mut rounds: Vec<_> =
            array(&test["attempts"]).iter().map(|a| a["round"].as_u64().unwrap()).collect();
        rounds.dedup();
        assert_eq!(rounds, [1, 2, 3], "{test:#}");
    }
    assert_eq!((&order[..10], &order[10..20]), (&order[10..20], &order[20..]), "round by round");
    for stage in ["setup", "teardown"] {
        assert_eq!(array(&run[stage]["attempts"]).len(), 1, "{stage}");
    }
}

/// A server with the suite `parallel`, whose tests wait at the target until they are let go.
async fn parallel(target: &Target) -> (Server, Client) {
    let (server, client) = server("parallel").await;
    let config = json!({"target": format!("{}/hold", target.url())});
    let policy = json!({"allow_http": [target.url()], "config": config});
    client.set_policy("parallel", &policy).await;
    (server, client)
}

/// The most tests that ran at the same time, as the tested system saw it.
fn most_at_once(seen: &[Seen]) -> usize {
    let (mut now, mut most) = (0, 0);
    for request in seen {
        match request.path.split('/').nth(2) {
            Some("begin") => now += 1,
            _ => now -= 1,
        }
        most = most.max(now);
    }
    most
}

#[tokio::test]
async fn as_many_tests_run_at_the_same_time_as_the_suite_or_the_request_says() {
    let target = Target::start().await;
    let (_server, client) = parallel(&target).await;
    for number in 1..=8 {
        target.release(&format!("end/t{number}"));
    }
    let run = client.submit("parallel", &json!({})).await;
    let begun = |seen: &[Seen], count: usize| {
        seen.iter().filter(|request| request.path.starts_with("/hold/begin/")).count() >= count
    };
    target.wait_for("four tests run", |seen| begun(seen, 4)).await;
    for number in 1..=8 {
        target.release(&format!("begin/t{number}"));
    }
    let run = client.finished(&run).await;
    assert_eq!((&run["status"], &run["parallelism"]), (&json!("passed"), &json!(4)), "{run:#}");
    let seen = target.seen();
    assert_eq!((seen.len(), most_at_once(&seen)), (16, 4), "{seen:#?}");

    let run = client.run("parallel", &json!({"parallelism": 1})).await;
    assert_eq!((&run["status"], &run["parallelism"]), (&json!("passed"), &json!(1)), "{run:#}");
    let again = target.seen().split_off(16);
    assert_eq!((again.len(), most_at_once(&again)), (16, 1), "{again:#?}");
    let paths: Vec<_> = again.iter().step_by(2).map(|request| request.path.as_str()).collect();
    let declared: Vec<_> = (1..=8).map(|number| format!("/hold/begin/t{number}")).collect();
    assert_eq!(paths, declared, "one after the other in the declared order");
}
