//! Finds its way in what the server tells of a run.

use handoff_tests::Client;
use reqwest::StatusCode;
use serde_json::{Value, json};

/// Asks for a run of a suite in any namespace, follows it to its end and gives it as it then stands.
pub(crate) async fn run_of(client: &Client, suite: &str, request: &Value) -> Value {
    let run = submit(client, suite, request).await;
    client.finished(&run).await
}

/// Asks for a run of a suite in any namespace and gives its id.
pub(crate) async fn submit(client: &Client, suite: &str, request: &Value) -> String {
    let answer = client.post(&format!("/suites/{suite}/runs"), request).await;
    text(&answer.expect(StatusCode::ACCEPTED)["id"]).to_owned()
}

/// A request for the test of that name alone.
pub(crate) fn only(test: &str) -> Value {
    json!({"filter": format!("^{test}$")})
}

/// A test of a run.
#[track_caller]
pub(crate) fn test<'a>(run: &'a Value, name: &str) -> &'a Value {
    let test = array(&run["tests"]).iter().find(|test| test["name"] == name);
    test.unwrap_or_else(|| panic!("there is no test {name:?} in {run:#}"))
}

/// The last attempt at a test of a run.
#[track_caller]
pub(crate) fn attempt<'a>(run: &'a Value, name: &str) -> &'a Value {
    let attempts = array(&test(run, name)["attempts"]);
    attempts.last().unwrap_or_else(|| panic!("{name:?} was not tried: {run:#}"))
}

/// What the last attempt at a test left behind.
pub(crate) async fn detail(client: &Client, run: &Value, test: &str) -> Value {
    let test = client.json(&format!("/runs/{}/tests/{test}", text(&run["id"]))).await;
    array(&test["attempts"]).last().expect("it was tried")["detail"].clone()
}

/// The lines of a run's log, each as an object.
pub(crate) async fn log(client: &Client, run: &Value) -> Vec<Value> {
    let answer = client.get(&format!("/runs/{}/logs?format=json", text(&run["id"]))).await;
    match answer.expect(StatusCode::OK) {
        Value::String(lines) => {
            lines.lines().map(|line| serde_json::from_str(line).expect("a line is JSON")).collect()
        }
        // A log of one line is an object by itself.
        line => vec![line],
    }
}

/// What a test wrote, line by line.
pub(crate) async fn lines(client: &Client, run: &Value, test: &str) -> Vec<String> {
    let mut log = log(client, run).await;
    log.retain(|line| line["test"] == test);
    log.iter().map(|line| text(&line["text"]).to_owned()).collect()
}

/// The value of a metric; 0 if there is none.
pub(crate) async fn metric(client: &Client, series: &str) -> u64 {
    let metrics = client.get("/metrics").await.body;
    let mut lines = text(&metrics).lines().filter_map(|line| line.strip_prefix(series));
    lines.find_map(|value| value.trim().parse().ok()).unwrap_or(0)
}

/// A value that must be a text.
#[track_caller]
pub(crate) fn text(value: &Value) -> &str {
    value.as_str().unwrap_or_else(|| panic!("not a text: {value:#}"))
}

/// A value that must be a list.
#[track_caller]
pub(crate) fn array(value: &Value) -> &[Value] {
    value.as_array().unwrap_or_else(|| panic!("not a list: {value:#}"))
}

/// Checks that a text has all of these in it.
#[track_caller]
pub(crate) fn assert_says(found: &str, words: &[&str]) {
    for word in words {
        assert!(found.contains(word), "{found:?} does not say {word:?}");
    }
}
