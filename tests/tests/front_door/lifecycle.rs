//! Setup, teardown, and what becomes of a run that is stopped or tried again.

use handoff_tests::{Client, Seen, Server, Settings, Target, patiently};
use serde_json::{Value, json};

use crate::results::{array, assert_says, attempt, log, metric, test, text};

/// A server with a suite whose tests may ask the target.
async fn server(settings: Settings, guest: &str, target: &Target) -> (Server, Client) {
    let server = settings.start().await;
    let client = server.client();
    client.upload_guest(guest).await;
    let policy = json!({"allow_http": [target.url()], "config": {"target": target.url()}});
    client.set_policy(guest, &policy).await;
    (server, client)
}

fn paths(seen: &[Seen]) -> Vec<&str> {
    seen.iter().map(|request| request.path.as_str()).collect()
}

/// What the teardown of a run wrote.
async fn teardown_said(client: &Client, run: &Value) -> Vec<String> {
    let log = log(client, run).await;
    let lines = log.iter().filter(|line| line["stage"] == "teardown");
    lines.map(|line| text(&line["text"]).to_owned()).collect()
}

#[tokio::test]
async fn a_setup_that_fails_fails_the_run_and_every_test_says_so() {
    let server = Server::start().await;
    let client = server.client();
    client.upload_guest("setup-fails").await;
    let run = client.run("setup-fails", &json!({})).await;
    assert_eq!(run["status"], "failed");
    assert_eq!(run["setup"]["attempts"][0]["message"], "SETUP FAILED ON PURPOSE");
    let attempt = attempt(&run, "never_runs");
    assert_eq!((&attempt["status"], &attempt["cause"]), (&json!("failed"), &json!("setup")));
    assert_says(text(&attempt["message"]), &["setup failed", "SETUP FAILED ON PURPOSE"]);
    assert_eq!(run["teardown"]["status"], "passed", "teardown follows whatever setup did");
    assert_eq!(teardown_said(&client, &run).await, ["TEARDOWN RAN"]);
}

#[tokio::test]
async fn a_setup_that_skips_skips_every_test_with_its_reason() {
    let server = Server::start().await;
    let client = server.client();
    client.upload_guest("setup-skips").await;
    let run = client.run("setup-skips", &json!({})).await;
    assert_eq!((&run["status"], &run["counts"]["skipped"]), (&json!("passed"), &json!(2)));
    assert_eq!(run["setup"]["status"], "skipped");
    for name in ["never_runs", "never_runs_either"] {
        let test = test(&run, name);
        assert_eq!(test["status"], "skipped");
        assert_says(text(&test["reason"]), &["SETUP SKIPPED ON PURPOSE"]);
        assert!(array(&test["attempts"]).is_empty(), "{test:#}");
    }
}

#[tokio::test]
async fn teardown_follows_however_the_tests_ended() {
    let target = Target::start().await;
    let (_server, client) = server(Settings::default(), "teardown", &target).await;
    // What is asked for, the verdict, and the test that ends badly with its cause. The suite's own time for
    // a test is short for one that asks the target on a loaded machine; who hangs is alone.
    let long = 600_000;
    let cases = [
        (json!({"test_timeout_ms": long}), "passed", None),
        (
            json!({"params": {"fail": "1"}, "test_timeout_ms": long}),
            "failed",
            Some(("fails_if_asked", "panic")),
        ),
        (
            json!({"params": {"hang": "1"}, "test_timeout_ms": 200, "filter": "hangs_if_asked"}),
            "failed",
            Some(("hangs_if_asked", "timeout")),
        ),
    ];
    for (request, status, bad) in cases {
        let before = target.seen_count();
        let run = client.run("teardown", &request).await;
        assert_eq!(run["status"], status, "{run:#}");
        if let Some((name, cause)) = bad {
            assert_eq!(attempt(&run, name)["cause"], cause, "{run:#}");
        }
        assert_eq!(run["teardown"]["status"], "passed", "{run:#}");
        assert_eq!(teardown_said(&client, &run).await, ["TEARDOWN SAW SET IN SETUP"]);
        let mut stages = vec!["/stage/setup", "/stage/passes", "/stage/teardown"];
        stages.retain(|stage| request.get("filter").is_none() || *stage != "/stage/passes");
        assert_eq!(paths(&target.seen()[before..]), stages, "{request}");
    }
}

#[tokio::test]
async fn a_teardown_that_fails_or_hangs_is_told_and_does_not_change_what_the_tests_found() {
    let target = Target::start().await;
    // What asks the target before it fails has a teardown's usual time, and a test longer than its suite
    // says: only what hangs is to meet a deadline, whatever else the machine does.
    let (mut server, _) = server(Settings::default(), "teardown", &target).await;
    for (settings, param, cause, message) in [
        (Settings::default(), "fail-teardown", "panic", "TEARDOWN FAILED AS ASKED"),
        (
            Settings::default().flag("runner-teardown-timeout-ms", 200),
            "hang-teardown",
            "timeout",
            "deadline of 200 ms",
        ),
    ] {
        server = server.restart_with(settings).await;
        let client = server.client();
        let request = json!({"params": {param: "1"}, "test_timeout_ms": 600_000});
        let run = client.run("teardown", &request).await;
        assert_eq!((&run["status"], &run["counts"]["passed"]), (&json!("passed"), &json!(3)));
        let teardown = &run["teardown"]["attempts"][0];
        assert_eq!((&teardown["status"], &teardown["cause"]), (&json!("failed"), &json!(cause)));
        assert_says(text(&teardown["message"]), &[message]);
    }
}

#[tokio::test]
async fn a_run_that_reaches_its_deadline_fails_and_says_which_tests_it_left() {
    let target = Target::start().await;
    let (_server, client) = server(Settings::default(), "steps", &target).await;
    // Long enough for setup and one test on a loaded machine.
    let request = json!({"timeout_ms": 8_000, "params": {"path-step-2": "/never"}});
    let run = client.run("steps", &request).await;
    assert_eq!((&run["status"], &run["timeout_ms"]), (&json!("failed"), &json!(8_000)));
    assert_says(text(&run["message"]), &["the run reached its deadline of 8000 ms"]);
    assert_eq!(test(&run, "step-1")["status"], "passed");
    let late = attempt(&run, "step-2");
    assert_eq!((&late["status"], &late["cause"]), (&json!("cancelled"), &json!(null)));
    assert_says(text(&late["message"]), &["still running when the run reached its deadline"]);
    assert_eq!(late["limits_hit"], json!([]), "its own deadline was not hit");
    assert_eq!(test(&run, "step-2")["status"], "cancelled");
    for name in ["step-3", "step-4", "step-5"] {
        assert_eq!(test(&run, name)["status"], "cancelled");
        assert_says(text(&test(&run, name)["reason"]), &["deadline of 8000 ms"]);
    }
    assert_eq!(run["teardown"]["status"], "passed", "teardown has a deadline of its own");
}

/// A run of `steps` whose second test waits at the target.
async fn held(client: &Client, target: &Target, name: &str) -> String {
    let params = json!({"run": name, "path-step-2": format!("/hold/{name}")});
    let run = client.submit("steps", &json!({"params": params})).await;
    let path = format!("/hold/{name}");
    let is_held = |seen: &[Seen]| seen.iter().any(|request| request.path == path);
    target.wait_for("the second test waits", is_held).await;
    run
}

#[tokio::test]
async fn a_run_that_is_stopped_again_stores_no_further_request() {
    let target = Target::start().await;
    let (_server, client) = server(Settings::default(), "steps", &target).await;
    // Its teardown waits, so that it is ending as long as it has to.
    let params = json!({"path-step-2": "/hold/test", "path-teardown": "/hold/teardown"});
    let id = client.submit("steps", &json!({"params": params})).await;
    target.wait_for("the test waits", |seen| paths(seen).contains(&"/hold/test")).await;
    let cancel = || async { client.post(&format!("/runs/{id}/cancel"), &json!({})).await };
    for answer in futures::future::join_all((0..20).map(|_| cancel())).await {
        assert_eq!(answer.status, 202, "{answer:?}");
    }
    target.wait_for("teardown waits", |seen| paths(seen).contains(&"/hold/teardown")).await;
    let run = cancel().await.expect(reqwest::StatusCode::ACCEPTED);
    assert_eq!(run["cancel_requested"], true);
    target.release("teardown");
    assert_eq!(client.finished(&id).await["status"], "cancelled");
    let events = client.events(&id, 0).await.rest().await;
    let requests = events.iter().filter(|event| event.name == "cancel_requested");
    assert_eq!(requests.count(), 1);
}

#[tokio::test]
async fn a_run_that_is_stopped_ends_what_is_under_way_and_tears_down() {
    let target = Target::start().await;
    let (_server, client) = server(Settings::default(), "steps", &target).await;
    let id = held(&client, &target, "a").await;
    let answer = client.post(&format!("/runs/{id}/cancel"), &json!({"initiated_by": "ada"})).await;
    assert_eq!(answer.status, 202, "{answer:?}");
    let run = client.finished(&id).await;
    assert_eq!((&run["status"], &run["cancel_requested"]), (&json!("cancelled"), &json!(true)));
    assert_says(text(&run["message"]), &["ada"]);
    assert_eq!(test(&run, "step-1")["status"], "passed");
    for name in ["step-2", "step-3", "step-4", "step-5"] {
        assert_eq!(test(&run, name)["status"], "cancelled", "{run:#}");
    }
    assert_eq!(attempt(&run, "step-2")["status"], "cancelled");
    assert_eq!(run["counts"]["cancelled"], 4);
    assert_eq!(run["teardown"]["status"], "passed");
    let last = target.seen().pop().unwrap();
    assert_eq!(last.query["test"], "teardown", "the tested system was told: {last:?}");
    // It has ended: there is nothing to stop, and nothing failed.
    let answer = client.post(&format!("/runs/{id}/cancel"), &json!({})).await;
    assert_says(&answer.problem(409), &["cancelled"]);
    client.post(&format!("/runs/{id}/retry"), &json!({})).await.problem(409);
}

#[tokio::test]
async fn a_run_that_is_stopped_in_the_queue_never_starts() {
    let target = Target::start().await;
    let settings = Settings::default().flag("runner-concurrent-runs", 1);
    let (_server, client) = server(settings, "steps", &target).await;
    let first = held(&client, &target, "a").await;
    let waiting = client.submit("steps", &json!({"params": {"run": "b"}})).await;
    assert_eq!(client.json(&format!("/runs/{waiting}")).await["status"], "queued");
    client.post(&format!("/runs/{waiting}/cancel"), &json!({})).await;
    let run = client.finished(&waiting).await;
    assert_eq!(run["status"], "cancelled");
    for field in ["started_at", "setup", "teardown"] {
        assert_eq!(run[field], Value::Null, "{field}");
    }
    for stage in ["setup", "teardown"] {
        let none = client.get(&format!("/runs/{waiting}/{stage}")).await;
        assert_says(&none.problem(404), &[stage, &waiting]);
    }
    assert_eq!(run["counts"]["cancelled"], 5);
    assert_eq!(client.json(&format!("/runs/{first}")).await["status"], "running");
    client.post(&format!("/runs/{first}/retry"), &json!({})).await.problem(409);
    target.release("a");
    assert_eq!(client.finished(&first).await["status"], "passed");
    assert!(target.seen().iter().all(|request| request.query["run"] == "a"));
}

#[tokio::test]
async fn an_attempt_begins_when_it_has_its_slot() {
    let target = Target::start().await;
    let settings = Settings::default().flag("sandbox-concurrent-attempts", 1);
    let (_server, client) = server(settings, "steps", &target).await;
    let holder = held(&client, &target, "a").await;
    // The only slot is taken: of two runs that wait for it, one is stopped.
    let stopped = client.submit("steps", &json!({"params": {"run": "b"}})).await;
    let waiting = client.submit("steps", &json!({"params": {"run": "c"}})).await;
    for run in [&stopped, &waiting] {
        let mut events = client.events(run, 0).await;
        patiently("the run starts", events.wait_for("run_started")).await;
    }
    client.post(&format!("/runs/{stopped}/cancel"), &json!({})).await;
    let run = client.finished(&stopped).await;
    assert_eq!((&run["status"], &run["counts"]["cancelled"]), (&json!("cancelled"), &json!(5)));
    for stage in ["setup", "teardown"] {
        assert_eq!(run[stage], Value::Null, "what never had a slot never was: {run:#}");
    }
    target.release("a");
    assert_eq!(client.finished(&holder).await["status"], "passed");
    // Ended before the slot was free.
    let earlier = text(&run["finished_at"]).trim_end_matches('Z').to_owned();
    let run = client.finished(&waiting).await;
    assert_eq!(run["status"], "passed", "{run:#}");
    let mut events = client.events(&waiting, 0).await;
    let started = patiently("the attempt starts", events.wait_for("attempt_started")).await;
    let times = [&started.data["at"], &run["setup"]["attempts"][0]["started_at"]];
    let is_later = |at: &&Value| text(at).trim_end_matches('Z') > earlier.as_str();
    assert!(times.iter().all(is_later), "{times:?}, and the slot was free after {earlier}");
}

#[tokio::test]
async fn a_teardown_has_its_turn_before_what_came_after_it() {
    let target = Target::start().await;
    let settings = Settings::default().flag("sandbox-concurrent-attempts", 1);
    let (_server, client) = server(settings, "steps", &target).await;
    let one_waits = async || {
        let waiting =
            async { while metric(&client, "handoff_sandbox_attempts_waiting").await != 1 {} };
        patiently("one waits for the only slot", waiting).await;
    };
    let stopped = held(&client, &target, "a").await;
    // Takes the only slot as soon as it is free: its setup has it until the teardown waits for it, and then
    // its first test does not let it go.
    let params = json!({"run": "b", "path-setup": "/hold/setup", "path-step-1": "/hold/b"});
    let greedy = client.submit("steps", &json!({"params": params})).await;
    one_waits().await;
    client.post(&format!("/runs/{stopped}/cancel"), &json!({})).await;
    target.wait_for("the setup has the slot", |seen| paths(seen).contains(&"/hold/setup")).await;
    one_waits().await;
    target.release("setup");
    let run = client.finished(&stopped).await;
    assert_eq!(
        (&run["status"], &run["teardown"]["status"]),
        (&json!("cancelled"), &json!("passed"))
    );
    let is_held = |seen: &[Seen]| seen.iter().any(|request| request.path == "/hold/b");
    target.wait_for("the other run has its turn", is_held).await;
    target.release("b");
    let greedy = client.finished(&greedy).await;
    assert_eq!(greedy["status"], "passed", "{greedy:#}");
}

#[tokio::test]
async fn runs_that_are_stopped_in_the_queue_make_room_and_end_while_no_run_ends() {
    let target = Target::start().await;
    let settings = Settings::default().flag("runner-concurrent-runs", 1).flag("runner-queue", 40);
    let (_server, client) = server(settings, "steps", &target).await;
    let first = held(&client, &target, "a").await;
    let mut waiting = Vec::new();
    for _ in 0..40 {
        waiting.push(client.submit("steps", &json!({"params": {"run": "b"}})).await);
    }
    client.send(client.run_request("steps", &json!({}))).await.problem(429);
    for run in &waiting {
        let answer = client.post(&format!("/runs/{run}/cancel"), &json!({})).await;
        assert_eq!(answer.status, 202, "{answer:?}");
    }
    for run in &waiting {
        let run = client.finished(run).await;
        assert_eq!((&run["status"], &run["counts"]["cancelled"]), (&json!("cancelled"), &json!(5)));
        assert_eq!((&run["started_at"], &run["duration_ms"]), (&Value::Null, &Value::Null));
    }
    let series = "handoff_queue_wait_seconds_count";
    assert_eq!(metric(&client, series).await, 1, "no executor took them");
    client.submit("steps", &json!({"params": {"run": "c"}})).await;
    target.release("a");
    assert_eq!(client.finished(&first).await["status"], "passed");
}

#[tokio::test]
async fn a_retry_tries_the_failed_tests_again_as_further_attempts_of_the_same_run() {
    let server = Server::start().await;
    let client = server.client();
    client.upload_guest("flaky").await;
    let request = json!({"max_attempts": 1, "filter": "assertion|steady"});
    let run = client.run("flaky", &request).await;
    assert_eq!(run["status"], "failed");
    let id = text(&run["id"]);
    let ended = patiently("the run ends", async { client.events(id, 0).await.rest().await });
    let last = ended.await.last().unwrap().seq;

    let answer = client.post(&format!("/runs/{id}/retry"), &json!({"initiated_by": "ada"})).await;
    assert_eq!(answer.status, 202, "{answer:?}");
    let mut events = client.events(id, last).await;
    let retry = patiently("the retry begins", events.wait_for("retry_requested")).await;
    assert_eq!((&retry.data["tests"], &retry.data["by"]), (&json!(["assertion"]), &json!("ada")));
    patiently("the retry ends", events.wait_for("run_finished")).await;

    let again = client.json(&format!("/runs/{id}")).await;
    assert_eq!((&again["id"], &again["number"]), (&run["id"], &run["number"]));
    assert_eq!(again["status"], "passed", "{again:#}");
    let numbers: Vec<_> = array(&test(&again, "assertion")["attempts"])
        .iter()
        .map(|attempt| (attempt["number"].as_u64().unwrap(), text(&attempt["status"])))
        .collect();
    assert_eq!(numbers, [(1, "failed"), (2, "passed")]);
    assert_eq!(test(&again, "assertion")["flaky"], true);
    assert_eq!(test(&again, "steady"), test(&run, "steady"), "what passed is left alone");
    for stage in ["setup", "teardown"] {
        assert_eq!(array(&again[stage]["attempts"]).len(), 2, "a retry has its own {stage}");
    }
    client.post(&format!("/runs/{id}/retry"), &json!({})).await.problem(409);
}

/// What the example `hello` promises to those who read it first.
#[tokio::test]
async fn the_first_example_has_one_test_of_each_kind() {
    let server = Server::start().await;
    let client = server.client();
    client.upload_guest("hello").await;
    let run = client.run("hello", &json!({})).await;
    assert_eq!(run["status"], "failed");
    let expected = json!({
        "passed": 4, "failed": 2, "soft_failed": 1, "skipped": 2, "flaky": 1, "error": 0,
        "cancelled": 0,
    });
    assert_eq!(run["counts"], expected, "{run:#}");
    let log = log(&client, &run).await;
    assert!(log.iter().any(|line| text(&line["text"]).starts_with("the token *** is masked")));
    assert!(log.iter().all(|line| !text(&line["text"]).contains("open sesame")), "{log:#?}");
}
