//! Every request is held to what Slack documents of `chat.postMessage`, `chat.update` and incoming webhooks.
#![allow(clippy::unwrap_used, reason = "a test ends where something unexpected comes")]

use super::*;
use handoff_plugin::http::Request;
use handoff_plugin::testing::{Host, run_finished, suite};
use std::time::Duration;

const TS: &str = "1503435956.000247";

fn bot() -> Host {
    let mut host = Host::new().config("token", "xoxb-1").config("channel", "C123");
    host.answer(answer);
    host
}

/// Slack, as it documents itself.
fn answer(request: &Request) -> Response {
    let body = checked(request);
    assert!(request.headers.contains(&("authorization".into(), "Bearer xoxb-1".into())));
    let refuse = |error: &str| Response::new(200, json!({"ok": false, "error": error}).to_string());
    match request.url.strip_prefix(API).unwrap() {
        "/chat.postMessage" if body["channel"].is_null() => refuse("channel_not_found"),
        "/chat.update" if body["ts"] != TS => refuse("message_not_found"),
        "/chat.postMessage" | "/chat.update" => {
            Response::new(200, json!({"ok": true, "channel": "C123", "ts": TS}).to_string())
        }
        other => panic!("no method of Slack: {other}"),
    }
}

/// Holds a message to the limits of Block Kit.
fn checked(request: &Request) -> Value {
    assert_eq!(request.method, "POST");
    let body: Value = serde_json::from_slice(&request.body).unwrap();
    let length = |value: &Value| value.as_str().unwrap().chars().count();
    assert!((1..=4_000).contains(&length(&body["text"])), "{body:#}");
    let blocks = body["blocks"].as_array().cloned().unwrap_or_default();
    assert!(blocks.len() <= 50);
    for block in &blocks {
        match block["type"].as_str().unwrap() {
            "header" => {
                assert_eq!(block["text"]["type"], "plain_text");
                assert!((1..=150).contains(&length(&block["text"]["text"])), "{block:#}");
            }
            "section" => {
                assert_eq!(block["text"]["type"], "mrkdwn");
                assert!((1..=3_000).contains(&length(&block["text"]["text"])), "{block:#}");
            }
            "context" => assert!((1..=10).contains(&block["elements"].as_array().unwrap().len())),
            other => panic!("no block: {other}"),
        }
    }
    body
}

fn methods(host: &Host) -> Vec<&str> {
    host.sent.iter().map(|request| request.url.rsplit('/').next().unwrap()).collect()
}

#[test]
fn a_trouble_has_one_message_that_is_kept_up_to_date_and_recovers_clearly() {
    let mut host = bot();
    host.handle::<Slack>(&suite(EventKind::SuiteFailing)).unwrap();
    host.handle::<Slack>(&suite(EventKind::SuiteStillFailing)).unwrap();
    host.handle::<Slack>(&suite(EventKind::SuiteRecovered)).unwrap();
    assert_eq!(
        methods(&host),
        ["chat.postMessage", "chat.update", "chat.postMessage", "chat.update", "chat.postMessage"]
    );
    let last: Value = serde_json::from_slice(&host.sent[4].body).unwrap();
    assert_eq!((&last["thread_ts"], &last["reply_broadcast"]), (&json!(TS), &json!(true)));
    assert!(last["text"].as_str().unwrap().contains("has recovered"));
    assert!(host.values.keys().all(|key| key.starts_with("told/")), "the trouble is over");
}

#[test]
fn an_event_that_comes_twice_is_told_once() {
    let mut host = bot();
    host.handle::<Slack>(&suite(EventKind::SuiteFailing)).unwrap();
    assert!(host.handle::<Slack>(&suite(EventKind::SuiteFailing)).unwrap().is_empty());
    assert_eq!(host.sent.len(), 1);
}

#[test]
fn a_message_that_somebody_deleted_is_written_anew() {
    let mut host = bot();
    let failing = suite(EventKind::SuiteFailing);
    host.values.insert(format!("message/{}", failing.dedup_key), b"C123 9.9".to_vec());
    host.handle::<Slack>(&suite(EventKind::SuiteStillFailing)).unwrap();
    assert_eq!(methods(&host), ["chat.update", "chat.postMessage"]);
}

#[test]
fn a_long_failure_fits_and_nothing_in_it_means_anything_to_slack() {
    let mut event = run_finished("failed");
    event.kind = EventKind::SuiteFailing;
    let mut test = event.failures.remove(0);
    (test.name, test.message) = ("<!channel> & ".repeat(50), Some("x".repeat(10_000)));
    event.failures = vec![test; 50];
    event.run.iter_mut().for_each(|run| run.suite.name = "n".repeat(500));
    let mut host = bot();
    host.handle::<Slack>(&event).unwrap();
    let body = String::from_utf8(host.sent[0].body.clone()).unwrap();
    assert!(!body.contains("<!channel>"));
    assert!(body.contains("&lt;!channel&gt;"));
}

#[test]
fn a_webhook_is_sent_one_message_an_event() {
    let url = "https://hooks.example.test/services/T0/B0/x";
    let mut host = Host::new().config("webhook_url", url);
    host.answer(|request| {
        checked(request);
        Response::new(200, "ok")
    });
    host.handle::<Slack>(&suite(EventKind::SuiteFailing)).unwrap();
    assert_eq!(host.sent[0].url, url);
    assert_eq!(host.init::<Slack>().unwrap(), {
        let events = ["suite_failing", "suite_still_failing", "suite_recovered", "trial"];
        let events = events.map(|word| EventKind::from(word.to_owned()));
        Wishes::events(events).http("https://hooks.example.test")
    });
    for (status, permanent) in [(400, true), (403, true), (404, true), (410, true), (500, false)] {
        host.answer(move |_| Response::new(status, "no_service"));
        let error = host.handle::<Slack>(&suite(EventKind::SuiteFailing)).unwrap_err();
        assert_eq!(error.is_permanent(), permanent, "{status}");
    }
}

#[test]
fn what_slack_refuses_is_tried_again_where_that_may_help() {
    let mut host = bot();
    let mut error = |response: Response| {
        host.answer(move |_| response.clone());
        host.handle::<Slack>(&suite(EventKind::SuiteFailing)).unwrap_err()
    };
    let refused = |word: &str| Response::new(200, json!({"ok": false, "error": word}).to_string());
    assert!(error(refused("invalid_auth")).is_permanent());
    assert!(error(refused("channel_not_found")).is_permanent());
    assert!(!error(refused("internal_error")).is_permanent());
    let limited = Response::new(429, r#"{"ok": false, "error": "ratelimited"}"#);
    let limited = error(limited.with_header("Retry-After", 30));
    assert_eq!(limited.wait(), Some(Duration::from_secs(30)));
    assert!(!limited.is_permanent());
}

#[test]
fn it_wants_one_door_and_no_more() {
    let told = |host: Host| host.init::<Slack>().unwrap_err().to_string();
    assert!(told(Host::new()).contains("`webhook_url` and `token`"));
    assert!(told(bot().config("webhook_url", "https://a")).contains("not both"));
    assert!(told(Host::new().config("token", "x")).contains("`channel` is not set"));
}
