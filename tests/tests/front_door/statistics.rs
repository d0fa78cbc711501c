//! What many results come to: flaky or broken, since when, and whether it is mended.

use handoff_tests::{Client, Server};
use reqwest::StatusCode;
use serde_json::{Value, json};

use crate::cli::{assert_says, at};
use crate::results::{array, only, text};

const TEST: &str = "/suites/default/flaky/tests/assertion";

/// Runs the test once with so many failed attempts before it passes; three are all that it has.
async fn run(client: &Client, failures: u32) -> Value {
    let mut request = only("assertion");
    request["params"] = json!({"failures": failures.to_string()});
    request["reference"] = json!("main");
    client.run("flaky", &request).await
}

fn names(tests: &[Value]) -> Vec<&str> {
    tests.iter().map(|test| text(&test["test"])).collect()
}

#[tokio::test]
async fn a_test_becomes_flaky_is_confirmed_as_mended_and_breaks() {
    let server = Server::start().await;
    let client = server.client();
    client.upload_guest("flaky").await;
    client.get(&format!("{TEST}/statistics")).await.problem(404);
    assert_eq!(run(&client, 1).await["counts"]["flaky"], 1);
    let once = client.json(&format!("{TEST}/statistics")).await;
    assert_eq!((&once["state"], &once["window"]["retried"]), (&json!("steady"), &json!(1)));
    run(&client, 1).await;
    let flaky = client.list("/statistics/flaky").await;
    assert_eq!(names(&flaky), ["assertion"]);
    assert_eq!((&flaky[0]["state"], &flaky[0]["since"]["number"]), (&json!("flaky"), &json!(2)));
    run(&client, 0).await;
    let now = client.json(&format!("{TEST}/statistics?window=2")).await;
    assert_eq!(now["confirmation"], json!({"bad": 2, "of": 2, "clean": 1, "more_runs": 2}));
    assert_eq!((&now["window"]["runs"], &now["window"]["retried"]), (&json!(2), &json!(1)));
    assert_eq!(now["totals"], json!({"runs": 3, "failed": 0, "retried": 2}));
    let told = at(&server, "flaky").run().await.expect(0);
    assert_says(&told, &["rr. ", "default/flaky assertion", "2 clean runs to be sure"]);

    // As many rounds as are missing, as the last run was asked for.
    let answer = at(&server, "flaky flaky --confirm assertion -o json").run().await.expect(0);
    let confirming: Value = serde_json::from_str(&answer).unwrap();
    let confirming = client.finished(text(&confirming["id"])).await;
    assert_eq!(
        (&confirming["status"], &confirming["reference"]),
        (&json!("passed"), &json!("main"))
    );
    assert_eq!(array(&confirming["tests"][0]["attempts"]).len(), 2, "{confirming:#}");
    assert!(client.list("/statistics/flaky").await.is_empty());
    let told = client.post(&format!("{TEST}/confirm"), &json!({})).await.problem(409);
    assert!(told.contains("it is mended"), "{told}");

    for _ in 0..3 {
        assert_eq!(run(&client, 3).await["status"], "failed");
    }
    let server = server.restart().await;
    let client = server.client();
    let broken = client.list("/statistics/broken?suite=flaky").await;
    assert_eq!(names(&broken), ["assertion"]);
    assert_eq!((&broken[0]["failing"], &broken[0]["since"]["number"]), (&json!(3), &json!(5)));
    let told = at(&server, "stats flaky assertion").run().await.expect(0);
    assert_says(
        &told,
        &["default/flaky assertion: broken since #5", "rr...xxx", "failing since    #5"],
    );
    let suite = client.json("/suites/default/flaky/statistics").await;
    assert_eq!((&suite["window"]["runs"], &suite["window"]["failed"]), (&json!(7), &json!(3)));
    let told = at(&server, "stats flaky").run().await.expect(0);
    assert_says(&told, &["default/flaky: broken since #5", "7, 3 failed", "rr...xxx"]);
    let metrics = client_metrics(&server).await;
    let states =
        "handoff_tests_in_state{namespace=\"default\",state=\"STATE\",suite_name=\"flaky\"}";
    assert!(metrics.contains(&(states.replace("STATE", "broken") + " 1\n")), "{metrics}");
}

async fn client_metrics(server: &Server) -> String {
    reqwest::get(format!("{}/metrics", server.url())).await.unwrap().text().await.unwrap()
}

#[tokio::test]
async fn failures_that_differ_in_numbers_are_one_group_less_those_that_are_cleared() {
    let server = Server::start().await;
    let client = server.client();
    client.upload_guest("flaky").await;
    let first = run(&client, 2).await;
    run(&client, 1).await;
    let groups = client.list("/suites/default/flaky/failures").await;
    let [group] = &groups[..] else { panic!("{groups:#?}") };
    assert_eq!((&group["count"], &group["tests"]), (&json!(3), &json!(["assertion"])));
    assert!(text(&group["message"]).contains("FLAKY ON ATTEMPT <n>"), "{group:#}");
    assert_eq!((&group["first"]["number"], &group["last"]["number"]), (&json!(1), &json!(2)));
    let told = at(&server, "stats flaky --failures").run().await.expect(0);
    assert_says(&told, &["3 × ", "FLAKY ON ATTEMPT <n>"]);

    let order = json!({"test": "assertion", "reason": "maintenance"});
    let path = format!("/runs/{}/clear", text(&first["id"]));
    client.post(&path, &order).await.expect(StatusCode::OK);
    let after = client.json(&format!("{TEST}/statistics")).await;
    assert_eq!(after["totals"], json!({"runs": 1, "failed": 0, "retried": 1}));
    let groups = client.list("/suites/default/flaky/failures").await;
    assert_eq!(groups[0]["count"], 1);
    // The run passed still, and no attempt at it that counts failed.
    let suite = client.json("/suites/default/flaky/statistics").await;
    assert_eq!(suite["totals"], json!({"runs": 2, "failed": 0, "retried": 1}));
    client.post(&path, &json!({"reason": "maintenance"})).await.expect(StatusCode::OK);
    let suite = client.json("/suites/default/flaky/statistics").await;
    assert_eq!(suite["totals"], json!({"runs": 1, "failed": 0, "retried": 1}));
}

#[tokio::test]
async fn what_cannot_be_asked_of_statistics_is_refused_in_words() {
    let server = Server::start().await;
    let client = server.client();
    client.upload_guest("flaky").await;
    run(&client, 0).await;
    for (path, status, what) in [
        (format!("{TEST}/statistics?window=0"), 400, "a number of results, or a time"),
        (format!("{TEST}/statistics?window=often"), 400, "a number of results, or a time"),
        (format!("{TEST}/statistics?window=999999999999y"), 400, "a number of results, or a time"),
        (format!("{TEST}/statistics?version=1"), 400, "version"),
        ("/suites/default/flaky/tests/nobody/statistics".into(), 404, "no result of a test"),
        ("/suites/default/nobody/statistics".into(), 404, "no result of the suite"),
        ("/statistics/flaky?suite=a/b/c".into(), 400, "suite"),
        ("/suites/default/flaky/failures?cursor=zz".into(), 400, "cursor"),
    ] {
        let told = client.get(&path).await.problem(status);
        assert!(told.contains(what), "{path}: {told}");
    }
    let long = client.json(&format!("{TEST}/statistics?window=7d")).await;
    assert_eq!(long["window"]["runs"], 1);
    let other = client.json(&format!("{TEST}/statistics?reference=other")).await;
    assert_eq!((&other["window"]["runs"], &other["totals"]["runs"]), (&json!(0), &json!(1)));
}
