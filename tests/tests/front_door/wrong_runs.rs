//! Runs of tests that take more than they may: each ends in order, within its limits.

use handoff_tests::{Client, Server, Settings, guest};
use reqwest::StatusCode;
use serde_json::{Value, json};

/// The one attempt of the one test of a run, and its log.
async fn attempt(client: &Client, test: &str, params: Value) -> (Value, String) {
    let request = json!({"filter": format!("^{test}$"), "params": params});
    let run = client.run("limits", &request).await;
    let id = run["id"].as_str().unwrap();
    let mut tests = run["tests"].as_array().unwrap().iter();
    let ran = tests.find(|found| found["name"] == test).unwrap();
    let log = client.get(&format!("/runs/{id}/logs?test={test}")).await.body;
    let log = log.as_str().unwrap().to_owned();
    (ran["attempts"][0].clone(), log)
}

#[track_caller]
fn assert_hit(attempt: &Value, limit: &str) {
    let hit = attempt["limits_hit"].as_array().unwrap();
    assert!(hit.iter().any(|name| name == limit), "{limit} is hit: {attempt:#}");
}

/// A server with the suite `limits`.
async fn server() -> Server {
    let server = Settings::default().start().await;
    server.client().upload_guest("limits").await;
    server
}

#[tokio::test]
async fn a_log_of_a_hundred_megabytes_keeps_its_beginning_and_its_end() {
    let server = server().await;
    let client = server.client();
    for test in ["prints_a_hundred_megabytes", "logs_a_hundred_megabytes"] {
        let (attempt, log) = attempt(&client, test, json!({})).await;
        assert_eq!(attempt["status"], "passed", "{attempt:#}");
        assert_eq!(attempt["logs_truncated"], true);
        assert!(log.contains("FIRST LINE") && log.contains("LAST LINE"), "{test}");
        assert!(log.len() < 1 << 20, "{test} left {} bytes", log.len());
    }
}

#[tokio::test]
async fn a_log_line_of_a_hundred_megabytes_is_cut_or_ends_the_attempt() {
    let server = server().await;
    let client = server.client();
    let (printed, log) =
        attempt(&client, "prints_one_line_of_a_hundred_megabytes", json!({})).await;
    assert_eq!(printed["status"], "passed", "{printed:#}");
    assert_hit(&printed, "log_line_bytes");
    assert!(log.contains("LAST LINE") && log.len() < 1 << 20, "{} bytes", log.len());
    let (logged, log) = attempt(&client, "logs_one_line_of_a_hundred_megabytes", json!({})).await;
    assert_eq!(logged["status"], "failed", "{logged:#}");
    assert_hit(&logged, "host_call_bytes");
    assert!(!log.contains("GOT THROUGH"));
}

#[tokio::test]
async fn an_artifact_of_a_gigabyte_is_refused_and_costs_no_more_than_the_limit() {
    let server = server().await;
    let client = server.client();
    // A gigabyte does not fit into the guest; what does is still too large to keep.
    let (attempt_at_all, _) = attempt(&client, "attaches_a_gigabyte", json!({})).await;
    assert_eq!(attempt_at_all["status"], "failed", "{attempt_at_all:#}");
    assert_hit(&attempt_at_all, "memory_bytes");
    let (refused, log) = attempt(&client, "attaches_a_gigabyte", json!({"megabytes": "12"})).await;
    assert_eq!(refused["status"], "passed", "{refused:#}");
    assert_hit(&refused, "artifact_bytes");
    assert!(log.contains("REFUSED BY artifact_bytes"), "{log}");
    assert_eq!(refused["artifacts"], json!([]));
    let (kept, log) = attempt(&client, "attaches_a_gigabyte", json!({"megabytes": "4"})).await;
    assert!(log.contains("KEPT"), "{log}");
    assert_eq!(kept["artifacts"][0]["size_bytes"], 4 << 20);
}

#[tokio::test]
async fn an_artifact_is_downloaded_as_it_was_attached() {
    let server = Server::start().await;
    let client = server.client();
    let upload = client.upload_request(guest("outcomes")).query(&[("namespace", "default")]);
    client.send(upload).await.expect(StatusCode::CREATED);
    let run = client.run("outcomes", &json!({"filter": "^keeps_files$"})).await;
    let id = run["id"].as_str().unwrap();
    let list = client.list(&format!("/runs/{id}/artifacts")).await;
    assert!(!list.is_empty());
    for artifact in &list {
        let path = format!("/runs/{id}/artifacts/{}", artifact["number"]);
        let answer = client.request(reqwest::Method::GET, &path).send().await.unwrap();
        let place = answer.headers()["content-disposition"].to_str().unwrap().to_owned();
        assert!(place.starts_with("attachment"), "a browser does not show it: {place}");
        let bytes = answer.bytes().await.unwrap();
        assert_eq!(artifact["size_bytes"], bytes.len(), "{artifact:#}");
    }
    client.get(&format!("/runs/{id}/artifacts/1000")).await.problem(404);
}

#[tokio::test]
async fn a_run_whose_setup_fails_or_skips_does_not_run_its_tests() {
    let server = Server::start().await;
    let client = server.client();
    client.upload_guest("setup-fails").await;
    client.upload_guest("setup-skips").await;
    let failed = client.run("setup-fails", &json!({})).await;
    assert_eq!(
        (&failed["status"], &failed["setup"]["status"]),
        (&json!("failed"), &json!("failed"))
    );
    assert_eq!(failed["teardown"]["status"], "passed", "teardown runs whenever setup was started");
    let skipped = client.run("setup-skips", &json!({})).await;
    assert_eq!(skipped["status"], "passed", "all skipped is passed");
    assert_eq!(skipped["counts"]["skipped"], 2);
}
