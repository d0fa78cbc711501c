//! `Idempotency-Key`: asking again gives the answer that was given, whatever happened meanwhile.

use futures::future::join_all;
use handoff_tests::{Client, Server, Settings, Target, guest, salted};
use reqwest::{Method, RequestBuilder, StatusCode};
use serde_json::{Value, json};

use crate::steps;

fn keyed(request: RequestBuilder, key: &str) -> RequestBuilder {
    request.header("idempotency-key", key)
}

async fn run(client: &Client, key: &str, body: &Value) -> handoff_tests::Answer {
    client.send(keyed(client.run_request("noop", body), key)).await
}

#[tokio::test]
async fn a_repeated_upload_gets_the_same_answer_also_after_a_kill() {
    let mut server = Server::start().await;
    let client = server.client();
    let upload =
        |client: &Client, salt| keyed(client.upload_request(salted(&guest("noop"), salt)), "a");
    let first = client.send(upload(&client, 1)).await.expect(StatusCode::CREATED);
    let again = client.send(upload(&client, 1)).await.expect(StatusCode::CREATED);
    assert_eq!(again, first);
    client.send(upload(&client, 2)).await.problem(422);
    server.kill9().await;
    let server = server.restart().await;
    let client = server.client();
    let again = client.send(upload(&client, 1)).await.expect(StatusCode::CREATED);
    assert_eq!(again, first);
    client.send(upload(&client, 2)).await.problem(422);
    assert_eq!(client.list("/suites/default/noop/versions").await.len(), 1);
}

#[tokio::test]
async fn a_repeated_upload_makes_the_version_again_that_was_deleted() {
    let server = Server::start().await;
    let client = server.client();
    let upload = || client.send(keyed(client.upload_request(guest("noop")), "a"));
    upload().await.expect(StatusCode::CREATED);
    client.delete("/suites/default/noop").await.expect(StatusCode::NO_CONTENT);
    let again = upload().await.expect(StatusCode::CREATED);
    assert_eq!(upload().await.expect(StatusCode::CREATED), again);
    assert_eq!(client.run("noop", &json!({})).await["status"], "passed");
}

#[tokio::test]
async fn a_repeated_run_gets_the_same_answer_also_after_it_ended_and_after_a_kill() {
    let mut server = Server::start().await;
    let client = server.client();
    client.upload_guest("noop").await;
    let body = json!({"reference": "a"});
    let first = run(&client, "key", &body).await.expect(StatusCode::ACCEPTED);
    let id = first["id"].as_str().unwrap();
    client.finished(id).await;
    assert_eq!(run(&client, "key", &body).await.expect(StatusCode::ACCEPTED), first);
    // Another version is there now; the answer stays.
    client.upload(salted(&guest("noop"), 1)).await;
    server.kill9().await;
    let server = server.restart().await;
    let client = server.client();
    assert_eq!(run(&client, "key", &body).await.expect(StatusCode::ACCEPTED), first);
    run(&client, "key", &json!({"reference": "b"})).await.problem(422);
    assert_eq!(client.list("/runs").await.len(), 1);
    assert_ne!(run(&client, "other", &body).await.expect(StatusCode::ACCEPTED)["id"], id);
}

#[tokio::test]
async fn of_twenty_requests_with_one_key_at_once_one_makes_a_run() {
    let server = Server::start().await;
    let client = server.client();
    client.upload_guest("noop").await;
    let body = json!({"reference": "a"});
    let answers = join_all((0..20).map(|_| run(&client, "key", &body))).await;
    let mut ids: Vec<_> = answers
        .into_iter()
        .map(|answer| answer.expect(StatusCode::ACCEPTED)["id"].as_str().unwrap().to_owned())
        .collect();
    ids.dedup();
    assert_eq!(ids.len(), 1, "one run: {ids:?}");
    let all = client.list("/runs").await;
    assert_eq!((all.len(), &all[0]["id"]), (1, &json!(ids[0])));
}

#[tokio::test]
async fn a_repeated_retry_tries_the_tests_once() {
    let target = Target::start().await;
    let mut server = steps::server(Settings::default(), &target).await;
    let client = server.client();
    let failing = json!({"params": {"path-step-3": "/status/500"}});
    let ended = client.run("steps", &failing).await;
    assert_eq!(ended["status"], "failed");
    let path = format!("/runs/{}/retry", ended["id"].as_str().unwrap());
    let retry = async |client: &Client, by: &str| {
        let request = client.request(Method::POST, &path).json(&json!({"initiated_by": by}));
        client.send(keyed(request, "key")).await
    };
    let attempts = |run: &Value| {
        let mut tests = run["tests"].as_array().unwrap().iter();
        let test = tests.find(|test| test["name"] == "step-3").unwrap();
        test["attempts"].as_array().unwrap().len()
    };
    let before = attempts(&ended);
    let both = futures::join!(retry(&client, "me"), retry(&client, "me"));
    let place = both.0.headers["location"].clone();
    assert_eq!(both.1.headers["location"], place);
    let first = both.0.expect(StatusCode::ACCEPTED);
    assert_eq!(both.1.expect(StatusCode::ACCEPTED), first);
    assert_eq!((&first["id"], &first["status"]), (&ended["id"], &json!("queued")));
    let id = ended["id"].as_str().unwrap();
    let once = attempts(&client.finished(id).await);
    assert!(once > before, "it was tried again");
    server.kill9().await;
    let server = server.restart().await;
    let client = server.client();
    let again = retry(&client, "me").await;
    assert_eq!(again.headers["location"], place);
    assert_eq!(again.expect(StatusCode::ACCEPTED), first, "however far the run has come");
    retry(&client, "you").await.problem(422);
    assert_eq!(attempts(&client.finished(id).await), once);
}

#[tokio::test]
async fn a_key_that_cannot_be_is_refused() {
    let server = Server::start().await;
    let client = server.client();
    client.upload_guest("noop").await;
    let long = "k".repeat(10_000);
    for key in ["", " ", long.as_str()] {
        run(&client, key, &json!({})).await.problem(400);
    }
    let bytes = reqwest::header::HeaderValue::from_bytes(b"\xff").unwrap();
    let request = client.run_request("noop", &json!({})).header("idempotency-key", bytes);
    client.send(request).await.problem(400);
    assert!(client.list("/runs").await.is_empty());
}
