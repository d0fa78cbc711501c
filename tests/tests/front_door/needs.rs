//! Runs that begin only when other suites have passed for the same reference.

use handoff_tests::{Client, Server, Settings, Target, patiently};
use reqwest::StatusCode;
use serde_json::{Value, json};

use crate::cli::{assert_says, at};
use crate::clients::hit;
use crate::results::{array, text};
use crate::steps;

/// A server with `steps`, which other suites need, and `flaky`, which needs it.
async fn server(settings: Settings, target: &Target) -> (Server, Client) {
    let server = steps::server(settings, target).await;
    let client = server.client();
    client.upload_guest("flaky").await;
    (server, client)
}

fn needing(reference: &str) -> Value {
    json!({"filter": "^steady$", "reference": reference, "needs": ["default/steps"]})
}

/// Waits until a run says that it waits for something of that kind, and gives it.
async fn wait_for(client: &Client, run: &str, kind: &str) -> Value {
    patiently("the run says what it needs", async {
        loop {
            let queue = client.json(&format!("/runs/{run}")).await["queue"].clone();
            let first = queue["waits_for"][0].clone();
            if first["kind"] == kind {
                assert_eq!(queue["place"], Value::Null);
                return first;
            }
            tokio::task::yield_now().await;
        }
    })
    .await
}

#[tokio::test]
async fn a_run_begins_when_what_it_needs_has_passed_for_its_reference_also_across_a_kill() {
    let target = Target::start().await;
    let (mut server, client) = server(Settings::default(), &target).await;
    let run = client.submit("flaky", &needing("v1")).await;
    let lacked = wait_for(&client, &run, "needed").await;
    assert_says(text(&lacked["text"]), &["default/steps", "no run for this reference"]);
    let shown = at(&server, &format!("runs {run}")).run().await.expect(0);
    assert_says(&shown, &["waits for the suite default/steps to pass"]);
    // Another reference is of no use.
    client.run("steps", &json!({"reference": "v2"})).await;
    wait_for(&client, &run, "needed").await;
    let mut request = steps::held("first");
    request["reference"] = json!("v1");
    let needed = client.submit("steps", &request).await;
    steps::wait_until_held(&target, "first", 1).await;
    let told = at(&server, "run flaky ^steady$ --reference v1 --needs steps")
        .start()
        .line_with("Waiting")
        .await;
    assert_says(&told, &["for the suite default/steps to pass", &needed]);
    server.kill9().await;
    let server = server.restart().await;
    let client = server.client();
    assert_eq!(wait_for(&client, &run, "needed").await["run"], needed);
    target.release("first");
    let [needed, run] = [client.finished(&needed).await, client.finished(&run).await];
    assert_eq!((&needed["status"], &run["status"]), (&json!("passed"), &json!("passed")));
    assert!(text(&needed["finished_at"]) <= text(&run["started_at"]));
    let run = client.run("flaky", &needing("v1")).await;
    assert_eq!(run["status"], "passed", "it has passed already");
}

#[tokio::test]
async fn a_run_says_which_run_blocks_it_and_goes_on_when_that_is_cleared_or_passes() {
    let target = Target::start().await;
    let (_server, client) = server(Settings::default(), &target).await;
    let failing = json!({"reference": "v1", "params": {"path-step-1": "/status/500"}});
    for unblock in ["clear", "pass"] {
        let failed = client.run("steps", &failing).await;
        assert_eq!(failed["status"], "failed");
        let run = client.submit("flaky", &needing("v1")).await;
        let blocked = wait_for(&client, &run, "blocked").await;
        assert_eq!(blocked["run"], failed["id"]);
        if unblock == "clear" {
            // What is before it counts again: nothing is.
            let path = format!("/runs/{}/clear", text(&failed["id"]));
            client.post(&path, &json!({"reason": "x"})).await.expect(StatusCode::OK);
            wait_for(&client, &run, "needed").await;
        }
        client.run("steps", &json!({"reference": "v1"})).await;
        assert_eq!(client.finished(&run).await["status"], "passed");
    }
    // Whoever waits can be stopped.
    let held = client.submit("flaky", &needing("v3")).await;
    client.post(&format!("/runs/{held}/cancel"), &json!({})).await.expect(StatusCode::ACCEPTED);
    assert_eq!(client.finished(&held).await["status"], "cancelled");
}

#[tokio::test]
async fn a_run_waits_no_longer_for_what_it_needs_than_it_may() {
    let target = Target::start().await;
    let settings = Settings::default().flag("runner-bounds-max-needs-wait-ms", 300);
    let (server, client) = server(settings, &target).await;
    let run = client.run("flaky", &needing("v1")).await;
    assert_eq!((&run["status"], &run["started_at"]), (&json!("cancelled"), &Value::Null));
    assert_says(
        text(&run["message"]),
        &["waited long enough", "default/steps", "no run for this reference"],
    );
    assert!(array(&run["tests"]).iter().all(|test| test["attempts_total"] == 0));
    hit(&client, "runner_bounds_max_needs_wait_ms").await;
    let line = "run flaky --reference v1 --needs steps --needs-within 10ms";
    at(&server, line).run().await.expect(130);
    for (request, words) in [
        (json!({"needs": ["steps"]}), "give the reference"),
        (json!({"needs": ["flaky"], "reference": "v1"}), "itself"),
        (json!({"needs": ["a/b/c"], "reference": "v1"}), "is not a name"),
        (json!({"needs": vec!["steps"; 17], "reference": "v1"}), "16 suites"),
        (json!({"needs": ["steps"], "reference": "v1", "needs_within_ms": 301}), "300"),
    ] {
        let answer = client.post("/suites/default/flaky/runs", &request).await;
        assert_says(&answer.problem(422), &[words]);
    }
}
