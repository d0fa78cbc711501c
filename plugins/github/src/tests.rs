//! Every request is held to what GitHub documents of commits, statuses, check runs and comments.
#![allow(clippy::unwrap_used, reason = "a test ends where something unexpected comes")]

use super::*;
use handoff_plugin::http::{Request, Response};
use handoff_plugin::testing::{Host, run_finished};
use handoff_plugin::{Location, Test};
use serde_json::{Value, json};
use std::time::Duration;

const SHA: &str = "6dcb09b5b57875f334f61aebed695e2e4193db5e";

fn host(token: &str) -> Host {
    let mut host = Host::new().config("token", token).config("repository", "shop/checkout");
    host.answer(answer);
    host
}

/// GitHub, as it documents itself; pull request 7 is open with the commit as its head.
fn answer(request: &Request) -> Response {
    let path = request.url.strip_prefix(API).unwrap();
    let path = path.strip_prefix("/repos/shop/checkout").unwrap();
    let header = |name: &str| {
        let found = request.headers.iter().find(|(known, _)| known == name);
        found.map(|(_, value)| value.as_str()).unwrap_or_default()
    };
    assert_eq!(header("accept"), "application/vnd.github+json");
    assert_eq!(header("x-github-api-version"), "2022-11-28");
    assert!(header("user-agent").starts_with("handoff-github/"));
    let body: Value = serde_json::from_slice(&request.body).unwrap_or_default();
    let (path, _) = path.split_once('?').unwrap_or((path, ""));
    let parts: Vec<_> = path.split('/').skip(1).collect();
    let pull = json!({"number": 7, "state": "open", "head": {"sha": SHA}});
    match (request.method.as_str(), &parts[..]) {
        ("GET", []) => ok(200, json!({"full_name": "shop/checkout"})),
        ("GET", ["commits", "main" | "heads"]) => ok(200, json!({"sha": SHA})),
        ("GET", ["commits", _]) => ok(422, json!({"message": "No commit found for SHA"})),
        ("GET", ["commits", SHA, "pulls"]) => ok(200, json!([pull])),
        ("GET", ["pulls", "7"]) => ok(200, pull),
        ("POST", ["statuses", SHA]) => {
            let states = ["error", "failure", "pending", "success"];
            assert!(states.contains(&body["state"].as_str().unwrap()));
            assert!(body["description"].as_str().unwrap().chars().count() <= 140);
            assert!(body["target_url"].as_str().unwrap().starts_with("http"));
            ok(201, json!({"id": 1, "state": body["state"]}))
        }
        ("POST", ["check-runs"]) if !header("authorization").starts_with("Bearer ghs_") => {
            ok(403, json!({"message": "You must authenticate via a GitHub App."}))
        }
        ("POST", ["check-runs"]) => {
            assert_eq!(body["head_sha"], SHA);
            ok(201, check_run(&body))
        }
        ("PATCH", ["check-runs", "4"]) => ok(200, check_run(&body)),
        ("GET", ["issues", "7", "comments"]) => ok(200, json!([{"id": 1, "body": "LGTM"}])),
        ("POST", ["issues", "7", "comments"]) => ok(201, comment(&body)),
        ("PATCH", ["issues", "comments", "9"]) => ok(200, comment(&body)),
        ("PATCH", ["issues", "comments", _]) => ok(404, json!({"message": "Not Found"})),
        other => panic!("no such call: {other:?}"),
    }
}

fn ok(status: u16, body: Value) -> Response {
    Response::new(status, body.to_string())
}

fn check_run(body: &Value) -> Value {
    let output = &body["output"];
    assert!(output["summary"].as_str().unwrap().chars().count() <= 65_535);
    let annotations = output["annotations"].as_array().cloned().unwrap_or_default();
    assert!(annotations.len() <= 50, "{}", annotations.len());
    for annotation in annotations {
        let levels = ["notice", "warning", "failure"];
        assert!(levels.contains(&annotation["annotation_level"].as_str().unwrap()));
        assert!(annotation["start_line"].as_u64() <= annotation["end_line"].as_u64());
        assert!(annotation["message"].as_str().unwrap().len() <= 64 << 10);
        assert!(!annotation["path"].as_str().unwrap().starts_with('/'));
    }
    json!({"id": 4, "html_url": "https://github.test/shop/checkout/runs/4"})
}

fn comment(body: &Value) -> Value {
    assert!((1..=65_536).contains(&body["body"].as_str().unwrap().chars().count()));
    json!({"id": 9, "html_url": "https://github.test/shop/checkout/pull/7#issuecomment-9"})
}

fn sent(host: &Host) -> Vec<String> {
    let path = |request: &Request| request.url.rsplit_once("checkout/").unwrap().1.to_owned();
    host.sent.iter().map(|request| format!("{} {}", request.method, path(request))).collect()
}

fn last_body(host: &Host) -> Value {
    serde_json::from_slice(&host.sent.last().unwrap().body).unwrap()
}

#[test]
fn a_run_is_a_status_of_its_commit_and_one_comment_that_is_kept_up_to_date() {
    let mut host = host("ghp_1");
    let said = host.handle::<GitHub>(&run_finished("failed")).unwrap();
    assert_eq!(said[1].title, "Told pull request #7");
    let pulls = format!("GET commits/{SHA}/pulls?per_page=100");
    assert_eq!(
        sent(&host),
        [
            "GET commits/main",
            &format!("POST statuses/{SHA}"),
            &pulls,
            "GET issues/7/comments?per_page=100&page=1",
            "POST issues/7/comments",
        ]
    );
    let status: Value = serde_json::from_slice(&host.sent[1].body).unwrap();
    assert_eq!(
        (&status["state"], &status["context"]),
        (&json!("failure"), &json!("handoff/shop/checkout"))
    );
    assert_eq!(status["description"], "1 passed, 1 failed in 1 min 1 s");
    let text = last_body(&host)["body"].as_str().unwrap().to_owned();
    assert!(text.contains("| `pays by card` | `expected status 200, got 500` |"), "{text}");

    host.sent.clear();
    host.handle::<GitHub>(&run_finished("passed")).unwrap();
    assert_eq!(sent(&host).last().unwrap(), "PATCH issues/comments/9");
    // Somebody deleted it.
    host.values.values_mut().for_each(|value| *value = b"8".to_vec());
    host.handle::<GitHub>(&run_finished("passed")).unwrap();
    assert_eq!(sent(&host).last().unwrap(), "POST issues/7/comments");
}

#[test]
fn an_apps_token_makes_a_check_run_with_annotations_in_batches() {
    let mut host = host("ghs_1").config("comments", "false").config("path_prefix", "tests/");
    let mut event = run_finished("failed");
    event.kind = EventKind::RunStarted;
    event.run.as_mut().unwrap().finished_at = None;
    host.handle::<GitHub>(&event).unwrap();
    assert_eq!(last_body(&host)["status"], "in_progress");

    let mut event = run_finished("failed");
    let mut test = event.failures[0].clone();
    test.location = Some(Location { file: "./src/pay.rs".into(), line: 12, column: None });
    host.tests = vec![test.clone(); 120];
    let outside = Location { file: "/rustc/core.rs".into(), line: 1, column: None };
    host.tests.push(Test { location: Some(outside), ..test.clone() });
    host.tests.push(Test { status: "passed".into(), ..test });
    event.run.as_mut().unwrap().counts.failed = 121;
    host.sent.clear();
    let said = host.handle::<GitHub>(&event).unwrap();
    assert_eq!(
        sent(&host),
        ["GET commits/main", "PATCH check-runs/4", "PATCH check-runs/4", "PATCH check-runs/4"]
    );
    let bodies =
        host.sent[1..].iter().map(|request| serde_json::from_slice(&request.body).unwrap());
    let bodies: Vec<Value> = bodies.collect();
    assert_eq!(bodies[0]["conclusion"], "failure");
    let counts = bodies.iter().map(|body| body["output"]["annotations"].as_array().unwrap().len());
    assert_eq!(counts.collect::<Vec<_>>(), [50, 50, 21]);
    assert_eq!(bodies[0]["output"]["annotations"][0]["path"], "tests/src/pay.rs");
    assert!(said[0].values.contains(&("annotations".into(), "121".into())), "{said:?}");
}

#[test]
fn a_token_that_may_not_make_check_runs_sets_a_status_unless_a_check_run_is_asked_for() {
    let mut auto = host("ghs_1");
    auto.answer(|request| match request.url.ends_with("/check-runs") {
        true => ok(403, json!({"message": "Resource not accessible by integration"})),
        false => answer(request),
    });
    let said = auto.handle::<GitHub>(&run_finished("passed")).unwrap();
    assert_eq!(said[0].title, "GitHub status: success");
    let mut asked = host("ghp_1").config("mode", "check");
    assert!(asked.handle::<GitHub>(&run_finished("passed")).unwrap_err().is_permanent());
}

#[test]
fn a_reference_may_be_a_commit_a_branch_or_a_pull_request_and_others_are_left_alone() {
    let first = |reference: Option<&str>| {
        let mut host = host("ghp_1");
        let mut event = run_finished("passed");
        event.run.as_mut().unwrap().reference = reference.map(str::to_owned);
        let said = host.handle::<GitHub>(&event).unwrap();
        (sent(&host).into_iter().next().unwrap_or_default(), said.len())
    };
    assert_eq!(first(Some(SHA)), (format!("POST statuses/{SHA}"), 2));
    assert_eq!(first(Some("refs/pull/7/merge")), ("GET pulls/7".into(), 2));
    assert_eq!(first(Some("staging 3")), ("GET commits/staging%203".into(), 0));
    assert_eq!(first(None), (String::new(), 0));
}

#[test]
fn a_suite_may_name_its_repository_and_a_run_its_pull_request() {
    let mut host = Host::new().config("token", "ghp_1");
    host.answer(answer);
    let mut event = run_finished("passed");
    assert!(host.handle::<GitHub>(&event).unwrap().is_empty());
    let run = event.run.as_mut().unwrap();
    run.labels.insert("github.repository".into(), "shop/checkout".into());
    run.params.insert("pull_request".into(), "7".into());
    assert_eq!(host.handle::<GitHub>(&event).unwrap().len(), 2);
    assert!(!sent(&host).iter().any(|request| request.contains("/pulls")));
}

#[test]
fn what_is_wrong_for_good_is_told_from_what_passes() {
    let mut host = host("ghp_1");
    let mut error = |response: Response| {
        host.answer(move |_| response.clone());
        host.handle::<GitHub>(&run_finished("passed")).unwrap_err()
    };
    assert!(error(ok(401, json!({"message": "Bad credentials"}))).is_permanent());
    assert!(!error(Response::new(502, "")).is_permanent());
    let busy = error(Response::new(403, "").with_header("retry-after", 30));
    assert_eq!((busy.is_permanent(), busy.wait()), (false, Some(Duration::from_secs(30))));
    let spent = Response::new(403, "").with_header("x-ratelimit-remaining", 0);
    let spent = error(spent.with_header("x-ratelimit-reset", 1_800_000_060));
    assert_eq!(spent.wait(), Some(Duration::from_secs(60)));
    assert_eq!(error(Response::new(429, "")).wait(), Some(Duration::from_secs(60)));
}

#[test]
fn a_configuration_that_cannot_be_is_refused_in_words() {
    let told = |host: Host| host.init::<GitHub>().unwrap_err().to_string();
    assert!(told(Host::new()).contains("`token` is not set"));
    assert!(told(host("x").config("mode", "both")).contains("`check`"));
    assert!(
        told(Host::new().config("token", "x").config("repository", "a/../b"))
            .contains("owner/name")
    );
    assert_eq!(host("x").init::<GitHub>().unwrap(), {
        let events = [EventKind::RunStarted, EventKind::RunFinished, EventKind::Trial];
        Wishes::events(events).http(API)
    });
}

#[test]
fn nothing_in_a_failure_means_anything_to_github() {
    let mut event = run_finished("failed");
    event.failures[0].message = Some("@everyone `x` | <img src=a> <!-- ".into());
    let mut host = host("ghp_1");
    host.handle::<GitHub>(&event).unwrap();
    let text = last_body(&host)["body"].as_str().unwrap().to_owned();
    assert!(text.contains("`@everyone 'x' \\| <img src=a> <!--` |"), "{text}");
}
