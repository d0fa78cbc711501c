//! Bounds that an operator sets on what clients may ask for: each refuses or cuts what is beyond it, is named
//! in the answer, and counted.

use handoff_tests::{Server, Settings, Target, patiently};
use reqwest::{Method, StatusCode};
use serde_json::json;
use tokio::io::{AsyncReadExt, AsyncWriteExt};

use crate::clients::{connect, hit};
use crate::results::{assert_says, text};
use crate::steps;

#[tokio::test]
async fn a_run_that_asks_for_more_than_it_may_is_refused_and_one_that_asks_for_all_is_not() {
    let settings = [
        ("runner-bounds-max-timeout-ms", 600_000),
        ("runner-bounds-max-attempts", 2),
        ("runner-bounds-max-parallelism", 3),
        ("runner-bounds-max-repeat", 2),
        ("runner-bounds-max-retry-wait-ms", 10),
        ("runner-bounds-params-bytes", 8),
        ("runner-bounds-text-bytes", 5),
    ];
    let settings = settings
        .into_iter()
        .fold(Settings::default(), |settings, (name, value)| settings.flag(name, value));
    let server = settings.start().await;
    let client = server.client();
    client.upload_guest("noop").await;
    for (request, most, limit) in [
        (json!({"timeout_ms": 600_001}), "600000", "runner_bounds_max_timeout_ms"),
        (json!({"max_attempts": 3}), "2", "runner_bounds_max_attempts"),
        (json!({"parallelism": 4}), "3", "runner_bounds_max_parallelism"),
        (json!({"repeat": 3}), "2", "runner_bounds_max_repeat"),
        (
            json!({"retry_wait": {"kind": "fixed", "wait_ms": 11}}),
            "10",
            "runner_bounds_max_retry_wait_ms",
        ),
        (json!({"params": {"name": "value"}}), "8", "runner_bounds_params_bytes"),
        (json!({"reference": "abcdef"}), "5", "runner_bounds_text_bytes"),
    ] {
        let answer = client.send(client.run_request("noop", &request)).await;
        assert_says(&answer.problem(422), &[most]);
        hit(&client, limit).await;
    }
    let all = json!({
        "timeout_ms": 600_000,
        "max_attempts": 2,
        "parallelism": 3,
        "repeat": 2,
        "retry_wait": {"kind": "fixed", "wait_ms": 10},
        "params": {"name": "1234"},
        "reference": "abcde",
    });
    assert_eq!(client.run("noop", &all).await["status"], "passed");
    // Who says nothing gets no more either.
    let run = client.run("noop", &json!({})).await;
    assert_eq!(run["timeout_ms"], 600_000);
    for request in ["cancel", "retry"] {
        let path = format!("/runs/{}/{request}", text(&run["id"]));
        let answer = client.post(&path, &json!({"initiated_by": "abcdef"})).await;
        assert_says(&answer.problem(422), &["initiated_by", "5"]);
    }
}

/// What the server answers to a request whose body does not come to its end.
async fn unfinished(server: &Server, method: Method, path: &str, body: &str) -> String {
    let mut stream = connect(server).await;
    let head = format!(
        "{method} /api/v1{path} HTTP/1.1\r\nhost: localhost\r\ncontent-type: application/json\r\n\
         content-length: {}\r\n\r\n",
        body.len() + 1
    );
    stream.write_all(format!("{head}{body}").as_bytes()).await.unwrap();
    let mut answer = String::new();
    let mut part = [0; 4096];
    // The connection stays open to hear the rest.
    patiently("the answer comes", async {
        while !answer.ends_with('}') {
            let bytes = stream.read(&mut part).await.unwrap();
            assert!(bytes > 0, "{answer}");
            answer.push_str(std::str::from_utf8(&part[..bytes]).unwrap());
        }
    })
    .await;
    answer
}

#[tokio::test]
async fn an_answer_that_does_not_begin_in_time_says_which_setting_gives_the_time() {
    let settings = Settings::default().flag("http-request-timeout-ms", 3_000);
    let server = settings.flag("http-upload-timeout-ms", 300).start().await;
    let client = server.client();
    let upload = unfinished(&server, Method::POST, "/suites", "x").await;
    assert_says(&upload, &["HTTP/1.1 503", "`http.upload_timeout_ms`", "retry-after"]);
    hit(&client, "http_upload_timeout_ms").await;
    let policy = unfinished(&server, Method::PUT, "/suites/default/noop/policy", "{").await;
    assert_says(&policy, &["HTTP/1.1 503", "`http.request_timeout_ms`", "retry-after"]);
    hit(&client, "http_request_timeout_ms").await;
}

#[tokio::test]
async fn bodies_are_bounded_alone_and_together() {
    let settings = Settings::default().flag("http-body-bytes", 1_000);
    let server = settings.flag("http-body-memory-bytes", 1_500).start().await;
    let client = server.client();
    client.upload_guest("noop").await;
    let request = |bytes: usize| {
        let body = format!("{:bytes$}", "{}");
        client.run_request("noop", &json!({})).body(body)
    };
    client.send(request(1_000)).await.expect(StatusCode::ACCEPTED);
    let detail = client.send(request(1_001)).await.problem(413);
    assert_says(&detail, &["1000 bytes", "`http.body_bytes`"]);
    hit(&client, "http_body_bytes").await;
    // Whoever sends nearly all of a body holds as much.
    let mut stream = connect(&server).await;
    let head = "PUT /api/v1/suites/default/noop/policy HTTP/1.1\r\nhost: localhost\r\n\
                content-type: application/json\r\ncontent-length: 1000\r\n\r\n";
    stream.write_all(head.as_bytes()).await.unwrap();
    stream.write_all(&[b' '; 999]).await.unwrap();
    patiently("there is no room for another", async {
        loop {
            let answer = client.send(request(600)).await;
            if answer.status == StatusCode::SERVICE_UNAVAILABLE {
                return assert_says(&answer.problem(503), &["`http.body_memory_bytes`"]);
            }
        }
    })
    .await;
    hit(&client, "http_body_memory_bytes").await;
}

#[tokio::test]
async fn nobody_waits_longer_for_a_run_than_allowed() {
    let target = Target::start().await;
    let server = steps::server(Settings::default().flag("http-max-wait-ms", 1), &target).await;
    let client = server.client();
    let request = client.run_request("steps", &steps::held("a")).query(&[("wait", "1h")]);
    let run = client.send(request).await.expect(StatusCode::ACCEPTED);
    hit(&client, "http_max_wait_ms").await;
    target.release("a");
    client.finished(run["id"].as_str().unwrap()).await;
}
