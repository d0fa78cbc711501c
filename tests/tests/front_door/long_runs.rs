//! Runs that come to much: what is shown of them is bounded, and what is left out is found elsewhere.

use handoff_tests::{Client, Server, Settings};
use serde_json::json;

use crate::results::{array, assert_says, attempt, log, metric, only, run_of, test, text};

/// The most of a message that a run shows.
const SHORT: usize = 1 << 10;

async fn report(client: &Client, run: &str, format: &str) -> String {
    let request = client.request(reqwest::Method::GET, &format!("/runs/{run}/report"));
    let answer = request.query(&[("format", format)]).send().await.unwrap();
    answer.error_for_status().unwrap().text().await.unwrap()
}

#[tokio::test]
async fn a_run_shows_the_last_attempts_of_each_test_and_a_test_all_of_its_own() {
    let server = Settings::default().flag("storage-attempts-shown", 20).start().await;
    let client = server.client();
    client.upload_guest("ten").await;
    let run = client.run("ten", &json!({"repeat": 3})).await;
    let id = text(&run["id"]);
    let rounds = |test: &serde_json::Value| -> Vec<u64> {
        array(&test["attempts"]).iter().map(|a| a["round"].as_u64().unwrap()).collect()
    };
    for test in array(&run["tests"]) {
        assert_eq!((rounds(test), &test["attempts_total"]), (vec![2, 3], &json!(3)), "{test:#}");
        let alone = client.json(&format!("/runs/{id}/tests/{}", text(&test["name"]))).await;
        assert_eq!((rounds(&alone), &alone["attempts_total"]), (vec![1, 2, 3], &json!(3)));
        assert!(array(&alone["attempts"]).iter().all(|attempt| attempt["detail"].is_object()));
    }
    // Reports and the log have all of them, as far as they tell of what passed.
    let whole: serde_json::Value =
        serde_json::from_str(&report(&client, id, "json").await).unwrap();
    assert_eq!(array(&whole["tests"]).len(), 10);
    assert!(array(&whole["tests"]).iter().all(|test| rounds(test) == [1, 2, 3]), "{whole:#}");
    assert_eq!(report(&client, id, "go-test").await.matches("    attempt 1: ").count(), 30);
    let log = client.get(&format!("/runs/{id}/logs")).await.body;
    assert_eq!(text(&log).matches("--- test ").count(), 30);
    assert_eq!(text(&log).matches("round 3").count(), 10);
}

#[tokio::test]
async fn a_long_message_is_short_in_the_run_and_whole_with_its_test_and_in_reports() {
    let server = Server::start().await;
    let client = server.client();
    client.upload_guest("outcomes").await;
    let name = "fails_with_a_big_message";
    let run = run_of(&client, "fixtures/outcomes", &only(name)).await;
    let id = text(&run["id"]);
    let short = text(&attempt(&run, name)["message"]);
    assert!(short.len() <= SHORT, "{} bytes", short.len());
    assert!(short.starts_with("BIG MESSAGE") && short.ends_with(" … (cut)"), "{short}");
    let mut events = client.events(id, 0).await;
    let told = loop {
        let event = events.wait_for("attempt_finished").await;
        if event.data["test"] == name {
            break event.data["attempt"]["message"].clone();
        }
    };
    assert_eq!(told, short);
    let alone = client.json(&format!("/runs/{id}/tests/{name}")).await;
    let whole = text(&alone["attempts"][0]["message"]);
    assert!(whole.len() > 60_000, "{} bytes", whole.len());
    // The sandbox has its own, larger bound, and says so.
    assert_says(whole, &["BIG MESSAGE", "größe ✓", "bytes cut"]);
    for format in ["junit", "json", "go-test", "tap"] {
        let report = report(&client, id, format).await;
        assert!(report.len() > whole.len(), "{format}");
        assert_says(&report, &["bytes cut"]);
        assert!(!report.contains("… (cut)"), "{format}");
    }
}

#[tokio::test]
async fn a_long_message_of_setup_and_teardown_is_whole_where_they_are_asked_for_alone() {
    let server = Server::start().await;
    let client = server.client();
    client.upload_guest("setup-fails").await;
    let run = client.run("setup-fails", &json!({"params": {"long": "1"}})).await;
    let id = text(&run["id"]);
    for stage in ["setup", "teardown"] {
        let short = text(&run[stage]["attempts"][0]["message"]);
        assert!(short.len() <= SHORT && short.ends_with(" … (cut)"), "{short}");
        let alone = client.json(&format!("/runs/{id}/{stage}")).await;
        assert_eq!((&alone["status"], &alone["attempts_total"]), (&json!("failed"), &json!(1)));
        let whole = text(&alone["attempts"][0]["message"]);
        let start = format!("{} FAILED ON PURPOSE AT LENGTH", stage.to_uppercase());
        assert!(whole.starts_with(&start) && whole.ends_with("AT LENGTH"), "{whole}");
        assert_eq!(whole.matches(" AT LENGTH").count(), 1_000);
        assert!(alone["attempts"][0]["detail"].is_object(), "{alone:#}");
    }
}

#[tokio::test]
async fn a_run_that_may_come_to_too_many_attempts_is_refused() {
    let settings = Settings::default().flag("runner-bounds-max-planned-attempts", 12);
    let server = settings.start().await;
    let client = server.client();
    client.upload_guest("ten").await;
    for request in [json!({"max_attempts": 2}), json!({"max_attempts": 1, "repeat": 2})] {
        let answer = client.send(client.run_request("ten", &request)).await;
        assert_says(&answer.problem(422), &["20 attempts", "max_planned_attempts allows 12"]);
    }
    let few = client.run("ten", &json!({"max_attempts": 3, "filter": "^adds$"})).await;
    assert_eq!(few["status"], "passed", "what is skipped counts once");
    let series = "handoff_limit_hits_total{limit=\"runner_bounds_max_planned_attempts\"}";
    assert_eq!(metric(&client, series).await, 2);
}

#[tokio::test]
async fn a_run_is_not_retried_for_ever() {
    let settings = Settings::default().flag("runner-bounds-max-planned-attempts", 8);
    let server = settings.start().await;
    let client = server.client();
    client.upload_guest("flaky").await;
    let request = json!({"max_attempts": 1, "filter": "^assertion$", "params": {"failures": "99"}});
    let id = client.submit("flaky", &request).await;
    let mut run = client.finished(&id).await;
    // Each retry has a setup, an attempt and a teardown.
    for attempts in [2, 3] {
        let answer = client.post(&format!("/runs/{id}/retry"), &json!({})).await;
        assert_eq!(answer.status, 202, "{answer:?}");
        run = client.finished(&id).await;
        assert_eq!(test(&run, "assertion")["attempts_total"], attempts);
    }
    let answer = client.post(&format!("/runs/{id}/retry"), &json!({})).await;
    assert_says(&answer.problem(422), &["10 attempts", "max_planned_attempts allows 8"]);
    assert_eq!(client.json(&format!("/runs/{id}")).await, run);
    assert!(!log(&client, &run).await.is_empty());
}
