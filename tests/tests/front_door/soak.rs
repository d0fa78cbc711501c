//! Runs that are repeated for long, or until they fail.

use handoff_tests::{Client, Handoff, Server, Target};
use reqwest::StatusCode;
use serde_json::{Value, json};

use crate::results::{array, run_of, text};

async fn stage() -> (Server, Client) {
    let server = Server::start().await;
    let client = server.client();
    client.upload_guest("ten").await;
    (server, client)
}

/// The suite `steps`, whose tests ask the target.
async fn steps(client: &Client, target: &Target) {
    client.upload_guest("steps").await;
    let policy = json!({"allow_http": [target.url()], "config": {"target": target.url()}});
    client.set_policy("steps", &policy).await;
}

/// Until a test asked the target so many times.
async fn seen(target: &Target, test: &str, times: usize) {
    let enough = |seen: &[handoff_tests::Seen]| {
        seen.iter().filter(|it| it.query["test"] == test).count() >= times
    };
    target.wait_for(&format!("{test} {times} times"), enough).await;
}

async fn queued(client: &Client, suite: &str, request: &Value) -> String {
    let answer = client.post(&format!("/suites/default/{suite}/runs"), request).await;
    text(&answer.expect(StatusCode::ACCEPTED)["id"]).to_owned()
}

#[tokio::test]
async fn a_run_is_repeated_until_a_round_fails_and_tells_which() {
    let (_server, client) = stage().await;
    let target = Target::start().await;
    steps(&client, &target).await;
    let request = json!({"filter": "step-[12]", "repeat_until_failure": true});
    let run = queued(&client, "steps", &request).await;
    seen(&target, "step-1", 5).await;
    drop(target);
    let run = client.finished(&run).await;
    assert_eq!((&run["status"], &run["repeat_until_failure"]), (&json!("failed"), &json!(true)));
    let rounds = &run["rounds"];
    let (passed, failed) = (rounds["passed"].as_u64().unwrap(), &rounds["failed"]);
    assert!(passed >= 4, "{rounds:#}");
    assert_eq!((failed, rounds["total"].as_u64().unwrap()), (&json!(1), passed + 1));
    let first = &rounds["first_failure"];
    assert_eq!(first["round"].as_u64().unwrap(), passed + 1, "{rounds:#}");
    assert!(text(&first["test"]).starts_with("step-") && first["message"].is_string(), "{first:#}");
    let rate = rounds["failure_rate"].as_f64().unwrap();
    assert!((rate - 1.0 / (passed as f64 + 1.0)).abs() < 1e-9, "{rounds:#}");
    assert!(rounds["duration_ms"]["min"].as_u64() <= rounds["duration_ms"]["max"].as_u64());
    let last = array(&run["tests"]).iter().find(|test| test["name"] == "step-2").unwrap();
    assert_eq!(last["rounds"]["total"].as_u64().unwrap(), passed + 1, "{last:#}");
}

#[tokio::test]
async fn a_run_that_was_repeated_until_it_failed_is_retried_once_more() {
    let (_server, client) = stage().await;
    client.upload_guest("flaky").await;
    let request = json!({
        "filter": "^assertion$", "max_attempts": 1, "params": {"failures": "1"},
        "repeat_until_failure": true,
    });
    let run = run_of(&client, "default/flaky", &request).await;
    assert_eq!((&run["status"], &run["rounds"]["total"]), (&json!("failed"), &json!(1)), "{run:#}");
    let id = text(&run["id"]);
    let retried = client.post(&format!("/runs/{id}/retry"), &json!({})).await;
    retried.expect(StatusCode::ACCEPTED);
    // A second attempt in the same round passes.
    let run = client.finished(id).await;
    assert_eq!((&run["status"], &run["rounds"]["total"]), (&json!("passed"), &json!(1)), "{run:#}");
    assert_eq!(run["rounds"]["first_failure"]["round"], 1);
}

#[tokio::test]
async fn a_run_is_repeated_for_a_time_and_tells_what_that_came_to() {
    let (_server, client) = stage().await;
    let run =
        run_of(&client, "default/ten", &json!({"filter": "^adds$", "repeat_for_ms": 400})).await;
    assert_eq!((&run["status"], &run["repeat_for_ms"]), (&json!("passed"), &json!(400)), "{run:#}");
    let rounds = &run["rounds"];
    let total = rounds["total"].as_u64().unwrap();
    assert!(total > 1, "{rounds:#}");
    assert_eq!((rounds["passed"].as_u64().unwrap(), &rounds["failure_rate"]), (total, &json!(0.0)));
    assert_eq!(rounds["first_failure"], Value::Null);
    assert!(run["duration_ms"].as_u64().unwrap() >= 400, "{run:#}");
    // What is left out has one verdict, however many rounds there are.
    let skipped = array(&run["tests"]).iter().find(|test| test["name"] == "splits").unwrap();
    assert_eq!((&skipped["status"], &skipped["rounds"]), (&json!("skipped"), &Value::Null));
    let one = client.run("ten", &json!({})).await;
    assert!(one.get("rounds").is_none() && one.get("repeat_for_ms").is_none(), "{one:#}");
}

#[tokio::test]
async fn a_repeated_run_goes_on_after_a_kill_with_its_rounds() {
    let (mut server, client) = stage().await;
    let target = Target::start().await;
    steps(&client, &target).await;
    let run = queued(&client, "steps", &json!({"filter": "step-1", "repeat": 40})).await;
    seen(&target, "step-1", 10).await;
    server.kill9().await;
    let server = server.restart().await;
    let run = server.client().finished(&run).await;
    let rounds = &run["rounds"];
    assert_eq!((&run["status"], &rounds["total"]), (&json!("passed"), &json!(40)), "{rounds:#}");
    assert_eq!(rounds["passed"], 40);
}

#[tokio::test]
async fn a_repeated_run_is_cancelled_at_any_time() {
    let (_server, client) = stage().await;
    let target = Target::start().await;
    steps(&client, &target).await;
    let run = queued(&client, "steps", &json!({"filter": "step-1", "repeat": 100_000})).await;
    seen(&target, "step-1", 3).await;
    client.post(&format!("/runs/{run}/cancel"), &json!({})).await.expect(StatusCode::ACCEPTED);
    let run = client.finished(&run).await;
    let rounds = &run["rounds"];
    assert_eq!(run["status"], "cancelled");
    assert!(rounds["total"].as_u64().unwrap() < 10_000, "{rounds:#}");
    assert!(rounds["passed"].as_u64().unwrap() >= 2, "{rounds:#}");
    assert_eq!(rounds["failed"], 0);
}

#[tokio::test]
async fn rounds_are_told_on_the_command_line() {
    let (server, _client) = stage().await;
    let handoff = async |arguments: &str| {
        let arguments: Vec<_> = arguments.split(' ').collect();
        Handoff::new(&arguments).variable("HANDOFF_SERVER", server.url()).run().await
    };
    let told = handoff("run ten ^adds$ --repeat 3").await.expect(0);
    assert!(told.contains("3 rounds: 3 passed; each ") && told.contains(", 3 rounds,"), "{told}");
    let told = handoff("run ten ^adds$ --repeat-for 300ms --repeat-until-failure").await.expect(0);
    assert!(told.contains("rounds until one fails for 300ms") && told.contains("Rounds"), "{told}");
    let refused = handoff("run ten --repeat-for 100d").await.failure(2);
    assert!(refused.contains("repeat_for_ms"), "{refused}");
}
