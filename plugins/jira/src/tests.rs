//! Every request is held to what Atlassian documents of Jira's REST API.
#![allow(clippy::unwrap_used, reason = "a test ends where something unexpected comes")]

use super::*;
use handoff_plugin::Statistics;
use handoff_plugin::http::{Request, Response};
use handoff_plugin::testing::{Host, suite};
use serde_json::{Value, json};
use std::time::Duration;

fn host() -> Host {
    let host = Host::new().config("url", "https://shop.atlassian.test/").config("project", "SHOP");
    let mut host = host.config("token", "t0k3n").config("email", "a@shop.test");
    host.answer(answer);
    host
}

/// Jira Cloud, as it documents itself. There is SHOP-1, and nothing can be found.
fn answer(request: &Request) -> Response {
    let path = request.url.strip_prefix("https://shop.atlassian.test/rest/api/3").unwrap();
    let authorization = ("authorization".into(), "Basic YUBzaG9wLnRlc3Q6dDBrM24=".into());
    assert!(request.headers.contains(&authorization));
    let body: Value = serde_json::from_slice(&request.body).unwrap_or_default();
    let ok = |status, body: Value| Response::new(status, body.to_string());
    match (request.method.as_str(), path) {
        ("GET", "/project/SHOP") => ok(200, json!({"key": "SHOP"})),
        ("POST", "/search/jql") => {
            assert!(body["jql"].as_str().unwrap().contains("labels = \"handoff-"));
            ok(200, json!({"issues": [], "isLast": true}))
        }
        ("POST", "/issue") => {
            let fields = &body["fields"];
            let summary = fields["summary"].as_str().unwrap();
            assert!((1..=255).contains(&summary.chars().count()) && !summary.contains('\n'));
            for label in fields["labels"].as_array().unwrap() {
                assert!(!label.as_str().unwrap().contains(' '));
            }
            document(&fields["description"]);
            ok(201, json!({"id": "1", "key": "SHOP-1", "self": "…"}))
        }
        ("PUT", "/issue/SHOP-1") => {
            document(&body["fields"]["description"]);
            Response::new(204, "")
        }
        ("POST", "/issue/SHOP-1/comment") => {
            document(&body["body"]);
            ok(201, json!({"id": "7"}))
        }
        ("GET", "/issue/SHOP-1/transitions") => {
            ok(200, json!({"transitions": [{"id": "31", "name": "Done"}]}))
        }
        ("POST", "/issue/SHOP-1/transitions") => {
            assert_eq!(body["transition"]["id"], "31");
            Response::new(204, "")
        }
        ("PUT" | "POST", _) if path.starts_with("/issue/SHOP-9") => {
            ok(404, json!({"errorMessages": ["Issue does not exist"]}))
        }
        other => panic!("no such call: {other:?}"),
    }
}

fn document(value: &Value) {
    assert_eq!((&value["type"], &value["version"]), (&json!("doc"), &json!(1)));
    assert!(value.to_string().len() <= 32_767);
    for block in value["content"].as_array().unwrap() {
        assert!(["paragraph", "codeBlock"].contains(&block["type"].as_str().unwrap()));
        for text in block["content"].as_array().unwrap() {
            assert!(!text["text"].as_str().unwrap().is_empty(), "{block:#}");
        }
    }
}

fn sent(host: &mut Host) -> Vec<String> {
    let path = |request: &Request| request.url.rsplit_once("/api/3").unwrap().1.to_owned();
    host.sent.drain(..).map(|request| format!("{} {}", request.method, path(&request))).collect()
}

fn at(id: &str, kind: EventKind) -> Event {
    Event { id: id.into(), ..suite(kind) }
}

#[test]
fn a_group_of_failures_has_one_issue_that_is_kept_up_to_date_and_commented_on_when_it_is_over() {
    let mut host = host().config("transition", "done");
    let said = host.handle::<Jira>(&at("1", EventKind::SuiteFailing)).unwrap();
    assert_eq!(said[0].title, "Jira: SHOP-1 is opened");
    assert_eq!(said[0].url.as_deref(), Some("https://shop.atlassian.test/browse/SHOP-1"));
    assert_eq!(sent(&mut host), ["POST /search/jql", "POST /issue"]);

    assert!(host.handle::<Jira>(&at("1", EventKind::SuiteFailing)).unwrap().is_empty());
    assert!(host.sent.is_empty(), "the same event twice is one");
    host.handle::<Jira>(&at("2", EventKind::SuiteStillFailing)).unwrap();
    assert_eq!(sent(&mut host), ["PUT /issue/SHOP-1"]);

    host.handle::<Jira>(&at("3", EventKind::SuiteRecovered)).unwrap();
    let over = [
        "POST /issue/SHOP-1/comment",
        "GET /issue/SHOP-1/transitions",
        "POST /issue/SHOP-1/transitions",
    ];
    assert_eq!(sent(&mut host), over);
    assert!(!host.values.keys().any(|key| key.starts_with("open/")));

    host.handle::<Jira>(&at("4", EventKind::SuiteFailing)).unwrap();
    assert_eq!(sent(&mut host), ["PUT /issue/SHOP-1", "POST /issue/SHOP-1/comment"]);
}

#[test]
fn tests_that_fail_alike_share_an_issue_and_others_have_their_own() {
    let mut host = host();
    let mut event = suite(EventKind::SuiteFailing);
    let one = event.failures[0].clone();
    event.failures.push(Test { name: "pays by bill".into(), ..one.clone() });
    event.failures.push(Test { group: Some("0ther".into()), ..one });
    host.statistics = Some(Statistics {
        state: "broken".into(),
        runs: 9,
        failed: 4,
        retried: 0,
        failing: 1,
        failing_since: None,
        last_passed: None,
        typical_duration_ms: None,
    });
    assert_eq!(host.handle::<Jira>(&event).unwrap().len(), 2);
    let first: Value = serde_json::from_slice(&host.sent[1].body).unwrap();
    let text = first.to_string();
    assert!(text.contains("Test: pays by bill (failed in 4 of 9 runs)"), "{text}");
    assert_eq!(first["fields"]["summary"], "shop/checkout: expected status 200, got 500");
}

#[test]
fn an_issue_that_was_forgotten_is_found_and_one_that_was_deleted_is_opened_anew() {
    let mut host = host();
    host.answer(|request| match request.url.ends_with("/search/jql") {
        true => Response::new(200, r#"{"issues": [{"id": "9", "key": "SHOP-9"}]}"#),
        false => answer(request),
    });
    let said = host.handle::<Jira>(&at("1", EventKind::SuiteFailing)).unwrap();
    assert_eq!(sent(&mut host), ["POST /search/jql", "PUT /issue/SHOP-9", "POST /issue"]);
    assert_eq!(said[0].title, "Jira: SHOP-1 is opened");
}

#[test]
fn data_center_is_spoken_to_in_its_own_way() {
    let mut host = Host::new().config("url", "https://jira.test").config("project", "SHOP");
    host = host.config("token", "t0k3n");
    host.answer(|request| {
        assert!(request.headers.contains(&("authorization".into(), "Bearer t0k3n".into())));
        match request.url.strip_prefix("https://jira.test/rest/api/2").unwrap() {
            "/search" => Response::new(200, r#"{"issues": []}"#),
            "/issue" => Response::new(201, r#"{"key": "SHOP-1"}"#),
            other => panic!("no such call: {other}"),
        }
    });
    let mut event = suite(EventKind::SuiteFailing);
    event.failures[0].name = "[a|http://evil.test]".into();
    event.failures[0].message = Some("{noformat} h1. no".into());
    host.handle::<Jira>(&event).unwrap();
    let body: Value = serde_json::from_slice(&host.sent[1].body).unwrap();
    let text = body["fields"]["description"].as_str().unwrap();
    assert!(text.contains("Test: \\[a\\|http://evil.test\\]"), "{text}");
    assert!(text.contains("{noformat}\n{ noformat} h1. no\n{noformat}"), "{text}");
}

#[test]
fn what_is_done_is_not_done_again_when_the_rest_fails() {
    let mut host = host();
    let mut event = suite(EventKind::SuiteFailing);
    event.failures.push(Test { group: Some("0ther".into()), ..event.failures[0].clone() });
    let mut made = 0;
    host.answer(move |request| {
        made += usize::from(request.url.ends_with("/issue"));
        if made == 2 { Response::new(503, "") } else { answer(request) }
    });
    assert!(!host.handle::<Jira>(&event).unwrap_err().is_permanent());
    host.answer(answer);
    sent(&mut host);
    host.handle::<Jira>(&event).unwrap();
    assert_eq!(sent(&mut host), ["PUT /issue/SHOP-1", "POST /search/jql", "POST /issue"]);
}

#[test]
fn what_jira_refuses_is_tried_again_where_that_may_help() {
    let mut host = host();
    let mut error = |response: Response| {
        host.answer(move |_| response.clone());
        host.handle::<Jira>(&suite(EventKind::SuiteFailing)).unwrap_err()
    };
    let wrong = r#"{"errorMessages": [], "errors": {"issuetype": "Specify a valid issue type"}}"#;
    let wrong = error(Response::new(400, wrong));
    assert!(wrong.is_permanent() && wrong.message().contains("valid issue type"));
    assert!(error(Response::new(401, "")).is_permanent());
    let busy = error(Response::new(429, "").with_header("retry-after", 12));
    assert_eq!((busy.is_permanent(), busy.wait()), (false, Some(Duration::from_secs(12))));
}

#[test]
fn a_configuration_that_cannot_be_is_refused_in_words() {
    let told = |host: Host| host.init::<Jira>().unwrap_err().to_string();
    assert!(told(Host::new()).contains("`project` is not set"));
    assert!(told(host().config("project", "A\" OR 1")).contains("its key"));
    assert!(told(host().config("labels", "one, two words")).contains("no spaces"));
    assert!(told(host().config("url", "")).contains("`url` is not set"));
    host().handle::<Jira>(&at("1", EventKind::Trial)).unwrap();
}
