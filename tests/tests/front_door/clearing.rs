//! What is taken out of the statistics: kept, shown as such with the reason, and run again if asked.

use handoff_tests::{Server, Settings};
use reqwest::{Method, StatusCode};
use serde_json::{Value, json};

use crate::cli::{assert_says, at};
use crate::clients::hit;
use crate::results::{array, only, test, text};

fn id(run: &Value) -> &str {
    text(&run["id"])
}

#[tokio::test]
async fn an_attempt_that_is_cleared_is_kept_and_makes_its_test_flaky_no_more() {
    let server = Server::start().await;
    let client = server.client();
    client.upload_guest("flaky").await;
    let run = client.run("flaky", &only("assertion")).await;
    assert_eq!((&run["status"], &run["counts"]["flaky"]), (&json!("passed"), &json!(1)));
    let path = format!("/runs/{}/clear", id(&run));
    let order = json!({
        "test": "assertion", "attempt": 1, "reason": "the network was down", "initiated_by": "ann",
    });
    let cleared = client.post(&path, &order).await.expect(StatusCode::OK);
    assert_eq!((&cleared["status"], &cleared["counts"]["flaky"]), (&json!("passed"), &json!(0)));
    // Again changes nothing.
    client.post(&path, &order).await.expect(StatusCode::OK);
    let (events, server) = (client.events(id(&run), 0).await.rest().await, server.restart().await);
    assert_eq!(events.iter().filter(|event| event.name == "cleared").count(), 1);
    let client = server.client();
    for run in [
        client.json(&format!("/runs/{}", id(&run))).await,
        client.json(&format!("/runs/{}/report?format=json", id(&run))).await,
        json!({"tests": [client.json(&format!("/runs/{}/tests/assertion", id(&run))).await]}),
    ] {
        let test = test(&run, "assertion");
        assert_eq!((&test["flaky"], &test["cleared"]), (&json!(false), &Value::Null));
        let [first, second] = array(&test["attempts"]) else { panic!("two attempts: {test:#}") };
        assert_eq!((&first["status"], &second["cleared"]), (&json!("failed"), &Value::Null));
        let why = &first["cleared"];
        assert_eq!((&why["reason"], &why["by"]), (&json!("the network was down"), &json!("ann")));
    }
    let told = at(&server, &format!("runs {}", id(&run))).run().await.expect(0);
    assert_says(&told, &["attempt 1, failed  (cleared by ann: the network was down)"]);
}

#[tokio::test]
async fn a_test_that_is_cleared_runs_again_in_its_run_whatever_its_verdict_was() {
    let server = Server::start().await;
    let client = server.client();
    client.upload_guest("flaky").await;
    let run = client.run("flaky", &only("steady")).await;
    let line = format!("clear {} steady --reason maintenance --again", id(&run));
    let told = at(&server, &line).run().await.expect(0);
    assert_says(&told, &["cleared steady in the run", &format!("runs again in {}", id(&run))]);
    let after = client.finished(id(&run)).await;
    let test = test(&after, "steady");
    let [first, second] = array(&test["attempts"]) else { panic!("two attempts: {test:#}") };
    assert_eq!(first["cleared"]["reason"], "maintenance");
    assert_eq!((&second["status"], &second["cleared"]), (&json!("passed"), &Value::Null));
    assert_eq!(test["cleared"], Value::Null, "what came later counts");
}

#[tokio::test]
async fn a_run_that_is_cleared_is_listed_as_such_and_runs_again_once_as_a_new_one() {
    let server = Server::start().await;
    let client = server.client();
    client.upload_guest("ten").await;
    let request = json!({"filter": "^adds$", "reference": "main"});
    let run = client.run("ten", &request).await;
    let order = json!({"reason": "wrong environment", "again": true});
    let request = || {
        let request = client.request(Method::POST, &format!("/runs/{}/clear", id(&run)));
        request.json(&order).header("idempotency-key", "once")
    };
    let again = client.send(request()).await;
    assert_eq!(again.status, StatusCode::ACCEPTED);
    let location = again.headers["location"].to_str().unwrap().to_owned();
    let twice = client.send(request()).await.expect(StatusCode::ACCEPTED);
    assert_eq!((&twice["id"], &twice["reference"]), (&again.body["id"], &json!("main")));
    assert_eq!(location, format!("/api/v1/runs/{}", id(&twice)));
    client.finished(id(&twice)).await;
    let runs = client.list("/runs?suite=ten").await;
    let [new, old] = &runs[..] else { panic!("two runs: {runs:#?}") };
    assert_eq!(
        (new.get("cleared"), old["cleared"]["reason"].as_str()),
        (None, Some("wrong environment"))
    );
    let told = at(&server, "runs").run().await.expect(0);
    assert_says(&told, &["(cleared: wrong environment)"]);
}

#[tokio::test]
async fn what_cannot_be_cleared_is_said_and_a_run_is_cleared_so_often() {
    let server = Settings::default().flag("runner-bounds-max-cleared", 1).start().await;
    let client = server.client();
    client.upload_guest("flaky").await;
    let run = client.run("flaky", &json!({"filter": "steady|assertion"})).await;
    let path = format!("/runs/{}/clear", id(&run));
    for (order, status, words) in [
        (json!({}), 422, &["reason"][..]),
        (json!({"reason": " "}), 422, &["reason is missing"]),
        (json!({"reason": "x", "attempt": 1}), 422, &["`test`"]),
        (json!({"reason": "x", "test": "steady", "round": 1}), 422, &["`attempt`"]),
        (json!({"reason": "x".repeat(2_000)}), 422, &["reason", "1024"]),
        (json!({"reason": "x", "test": "none"}), 404, &["no test \"none\""]),
        (json!({"reason": "x", "test": "steady", "attempt": 9}), 404, &["no such attempt"]),
        (json!({"reason": "x", "test": "soft"}), 404, &["no such attempt"]),
    ] {
        let detail = client.post(&path, &order).await.problem(status);
        assert_says(&detail, words);
    }
    let order = json!({"reason": "x", "test": "steady"});
    client.post(&path, &order).await.expect(StatusCode::OK);
    let detail = client.post(&path, &json!({"reason": "x"})).await.problem(422);
    assert_says(&detail, &["runner.bounds.max_cleared"]);
    hit(&client, "runner_bounds_max_cleared").await;
}
