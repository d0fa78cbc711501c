//! The HTTP interface as a client meets it: suites, versions, policies, runs, lists, problems.

use handoff_tests::{Client, Server, Settings, Target, guest, salted};
use reqwest::{Method, StatusCode};
use serde_json::{Value, json};

use crate::clients::hit;
use crate::steps;

/// The names of the fields of an object, in order.
#[track_caller]
fn fields(value: &Value) -> Vec<&str> {
    let object = value.as_object().unwrap_or_else(|| panic!("{value:#} is an object"));
    let mut names: Vec<_> = object.keys().map(String::as_str).collect();
    names.sort_unstable();
    names
}

/// Fails unless the object has each of these fields.
#[track_caller]
fn assert_has(value: &Value, names: &[&str]) {
    let fields = fields(value);
    let missing: Vec<_> = names.iter().filter(|name| !fields.contains(name)).collect();
    assert!(missing.is_empty(), "{missing:?} are missing in {value:#}");
}

#[tokio::test]
async fn an_uploaded_component_is_a_version_with_its_tests() {
    let server = Server::start().await;
    let client = server.client();
    let component = guest("hello");
    let answer = client.send(client.upload_request(component.clone())).await;
    let place = answer.headers["location"].to_str().unwrap().to_owned();
    let version = answer.expect(StatusCode::CREATED);
    assert_has(&version, &["suite", "tests", "imports", "size_bytes", "created_at"]);
    assert_eq!(fields(&version["suite"]), ["name", "namespace", "version"]);
    assert_eq!(version["suite"]["namespace"], "default");
    assert_eq!(version["suite"]["name"], "hello");
    assert_eq!(version["size_bytes"], component.len());
    assert!(version["suite"]["version"].as_str().unwrap().starts_with("sha256:"));
    let names: Vec<_> = version["tests"].as_array().unwrap().iter().map(|t| &t["name"]).collect();
    assert!(names.contains(&&json!("passes")) && names.contains(&&json!("fails softly")));

    let again = client.send(client.upload_request(component)).await.expect(StatusCode::OK);
    assert_eq!(again, version, "the same bytes are the same version");
    assert_eq!(client.json(place.strip_prefix("/api/v1").unwrap()).await, version);
    let suite = client.json("/suites/default/hello").await;
    assert_eq!(suite["newest"], version);
}

#[tokio::test]
async fn the_newest_upload_is_what_a_run_takes_and_older_ones_can_be_named() {
    let server = Server::start().await;
    let client = server.client();
    let old = client.upload_guest("noop").await["suite"]["version"].take();
    let new = client.upload(salted(&guest("noop"), 1)).await["suite"]["version"].take();
    assert_ne!(old, new);
    let run = client.run("noop", &json!({})).await;
    assert_eq!(run["suite"]["version"], new);
    let run = client.run("noop", &json!({"version": old})).await;
    assert_eq!(run["suite"]["version"], old);
    assert_eq!(run["number"], 2, "runs are counted by suite");
    let by_number = client.json("/suites/default/noop/runs/2").await;
    assert_eq!(by_number, run);
}

#[tokio::test]
async fn a_namespace_keeps_suites_of_one_name_apart() {
    let server = Server::start().await;
    let client = server.client();
    client.upload_guest("noop").await;
    let upload = client.upload_request(guest("noop")).query(&[("namespace", "team")]);
    let version = client.send(upload).await.expect(StatusCode::CREATED);
    assert_eq!(version["suite"]["namespace"], "team");
    assert_eq!(client.list("/suites").await.len(), 2);
    client.delete("/suites/team/noop").await.expect(StatusCode::NO_CONTENT);
    client.get("/suites/team/noop").await.problem(404);
    client.json("/suites/default/noop").await;
    let upload = client.upload_request(guest("noop")).query(&[("namespace", "../team")]);
    client.send(upload).await.problem(400);
}

#[tokio::test]
async fn a_version_that_is_uploaded_again_is_what_runs_next() {
    let server = Server::start().await;
    let client = server.client();
    let first = client.upload_guest("noop").await;
    let second = client.upload(salted(&guest("noop"), 1)).await;
    let again = client.send(client.upload_request(guest("noop"))).await.expect(StatusCode::OK);
    assert_eq!(again, first);
    assert_eq!(client.json("/suites/default/noop").await["newest"], first);
    let versions = client.list("/suites/default/noop/versions").await;
    let versions: Vec<_> = versions.iter().map(|version| &version["suite"]["version"]).collect();
    assert_eq!(versions, [&first["suite"]["version"], &second["suite"]["version"]]);
    let run = client.run("noop", &json!({})).await;
    assert_eq!(run["suite"]["version"], first["suite"]["version"]);
}

#[tokio::test]
async fn a_policy_does_not_outlive_its_suite() {
    let server = Server::start().await;
    let client = server.client();
    let path = "/suites/default/noop/policy";
    let policy = json!({"env": {"old": "1"}, "secrets": {"old": "1"}});
    for _ in 0..10 {
        client.upload_guest("noop").await;
        let put = client.put(path, &policy);
        let (put, deleted) = futures::join!(put, client.delete("/suites/default/noop"));
        assert!([200, 404].contains(&put.status.as_u16()), "{put:?}");
        deleted.expect(StatusCode::NO_CONTENT);
        client.put(path, &policy).await.problem(404);
        client.upload_guest("noop").await;
        let granted = client.json(path).await;
        assert_eq!((&granted["env"], &granted["secrets"]), (&json!({}), &json!({})));
    }
}

#[tokio::test]
async fn the_runs_of_a_deleted_suite_stay() {
    let server = Server::start().await;
    let client = server.client();
    client.upload_guest("noop").await;
    let run = client.run("noop", &json!({})).await;
    client.delete("/suites/default/noop").await.expect(StatusCode::NO_CONTENT);
    client.delete("/suites/default/noop").await.problem(404);
    client.send(client.run_request("noop", &json!({}))).await.problem(404);
    let path = format!("/runs/{}", run["id"].as_str().unwrap());
    assert_eq!(client.json(&path).await, run);
}

#[tokio::test]
async fn a_policy_is_read_and_sent_back_without_its_secrets_being_seen_or_lost() {
    let target = Target::start().await;
    let server = Server::start().await;
    let client = server.client();
    client.upload_guest("steps").await;
    // The suite works only if it gets the secret.
    let policy = json!({"allow_http": [target.url()], "secrets": {"target": target.url()}});
    client.set_policy("steps", &policy).await;
    let path = "/suites/default/steps/policy";
    let read = client.json(path).await;
    assert_eq!(read["secrets"], json!({"target": null}));
    assert_eq!(
        fields(&read),
        ["allow_http", "allow_tcp", "args", "config", "env", "fixtures_path", "limits", "secrets"]
    );

    let written = client.put(path, &read).await.expect(StatusCode::OK);
    assert_eq!(written, read);
    let server = server.restart().await;
    let client = server.client();
    assert_eq!(client.json(path).await, read);
    assert_eq!(client.run("steps", &json!({})).await["status"], "passed");

    let forgotten = json!({"allow_http": [target.url()]});
    client.put(path, &forgotten).await.expect(StatusCode::OK);
    let detail = client.put(path, &read).await.problem(422);
    assert!(detail.contains("target"), "{detail}");
}

#[tokio::test]
async fn a_policy_that_cannot_be_is_refused_with_what_is_wrong() {
    let server = Server::start().await;
    let client = server.client();
    client.upload_guest("noop").await;
    let path = "/suites/default/noop/policy";
    for (policy, word) in [
        (json!({"allow_htpp": []}), "allow_htpp"),
        (json!({"allow_http": ["ftp://localhost"]}), "allow_http"),
        (json!({"allow_tcp": ["localhost"]}), "allow_tcp"),
        (json!({"limits": {"memry_bytes": 1}}), "memry_bytes"),
        (json!({"limits": {"memory_bytes": -1}}), "memory_bytes"),
        (json!({"limits": {"memory_bytes": 2_u64 << 30}}), "sandbox.max_memory_bytes"),
        (json!({"limits": {"timeout_ms": 0}}), "limits.timeout_ms: 0 cannot be"),
        (json!({"limits": {"timeout_ms": 900_001}}), "limits.max_timeout_ms"),
        (json!({"limits": {"instances": 0}}), "limits.instances"),
        (json!({"config": {"a": 1}}), "config.a"),
        (json!({"env": {"": "x"}}), "env: a name is empty"),
        (json!({"env": {"A=B": "x"}}), "env: the name \"A=B\""),
        (json!({"env": {"A": "\u{0}"}}), "env: the value of \"A\" has a NUL"),
        (json!({"config": {"a": "x"}, "secrets": {"a": "y"}}), "secrets: \"a\" is in `config` too"),
    ] {
        let detail = client.put(path, &policy).await.problem(422);
        assert!(detail.contains(word), "{policy}: {detail}");
    }
    client.put("/suites/default/nowhere/policy", &json!({})).await.problem(404);
}

#[tokio::test]
async fn lists_are_paged_newest_first_without_gap() {
    let server = Server::start().await;
    let client = server.client();
    for salt in 0..4 {
        client.upload(salted(&guest("noop"), salt)).await;
    }
    for name in ["describe-empty", "flaky", "ten"] {
        client.send(client.upload_request(guest(name))).await;
    }
    let mut runs = Vec::new();
    for _ in 0..4 {
        runs.push(client.run("noop", &json!({"reference": "a"})).await["id"].take());
    }
    client.run("ten", &json!({"reference": "b"})).await;
    runs.reverse();

    let ids =
        |list: Vec<Value>| -> Vec<_> { list.into_iter().map(|mut i| i["id"].take()).collect() };
    for path in ["/runs?suite=noop", "/runs?reference=a", "/runs?suite=default/noop&status=passed"]
    {
        for limit in [1, 3, 4, 500] {
            let paged = client.list(&format!("{path}&limit={limit}")).await;
            assert_eq!(ids(paged), runs, "{path} by {limit}");
        }
    }
    assert_eq!(client.list("/runs?limit=1").await.len(), 5);
    let suites = client.list("/suites?limit=1").await;
    let names: Vec<_> = suites.iter().map(|suite| suite["name"].as_str().unwrap()).collect();
    assert_eq!(names, ["ten", "flaky", "noop"]);
    let versions = client.list("/suites/default/noop/versions?limit=1").await;
    assert_eq!(versions, client.list("/suites/default/noop/versions").await);
    assert_eq!(versions.len(), 4);
}

#[tokio::test]
async fn a_cursor_of_another_list_is_refused() {
    let server = Server::start().await;
    let client = server.client();
    client.upload_guest("noop").await;
    client.upload_guest("ten").await;
    client.upload(salted(&guest("noop"), 1)).await;
    for suite in ["noop", "noop", "ten"] {
        client.run(suite, &json!({})).await;
    }
    let next = async |path: &str| {
        let page = client.json(&format!("{path}limit=1")).await;
        page["next_cursor"].as_str().unwrap_or_else(|| panic!("{path} goes on")).to_owned()
    };
    let lists = ["/runs?", "/runs?suite=noop&", "/suites?", "/suites/default/noop/versions?"];
    for of in lists {
        let cursor = next(of).await;
        for list in lists.iter().filter(|list| **list != of) {
            client.get(&format!("{list}cursor={cursor}")).await.problem(400);
        }
    }
    for odd in ["limit=0", "limit=501", "limit=-1", "limit=many", "cursor=x", "cursor=", "page=2"] {
        client.get(&format!("/runs?{odd}")).await.problem(400);
    }
}

#[tokio::test]
async fn a_run_has_the_shape_that_clients_lean_on() {
    let server = Server::start().await;
    let client = server.client();
    client.upload_guest("hello").await;
    let request = json!({"reference": "v1", "initiated_by": "me", "params": {"a": "b"}});
    let run = client.run("hello", &request).await;
    let shape = [
        "id",
        "number",
        "suite",
        "status",
        "reference",
        "initiated_by",
        "params",
        "created_at",
        "started_at",
        "finished_at",
        "duration_ms",
        "setup",
        "teardown",
        "counts",
        "tests",
        "annotations",
    ];
    assert_has(&run, &shape);
    assert_eq!((&run["status"], &run["number"]), (&json!("failed"), &json!(1)));
    assert_eq!((&run["reference"], &run["initiated_by"]), (&json!("v1"), &json!("me")));
    assert_eq!(run["params"], json!({"a": "b"}));
    let counts = ["passed", "failed", "skipped", "error", "flaky", "soft_failed"];
    assert_has(&run["counts"], &counts);
    let counts = counts.map(|count| run["counts"][count].as_u64().unwrap());
    assert_eq!(counts, [4, 2, 2, 0, 1, 1], "{:#}", run["counts"]);
    assert!(run["duration_ms"].is_u64() && run["annotations"].is_array());

    let tests = run["tests"].as_array().unwrap();
    let test = |name: &str| tests.iter().find(|test| test["name"] == name).unwrap();
    assert_has(test("passes"), &["name", "status", "soft", "flaky", "attempts"]);
    let flaky = test("flaky");
    assert_eq!((&flaky["status"], &flaky["flaky"]), (&json!("passed"), &json!(true)));
    let [first, second] = flaky["attempts"].as_array().unwrap().as_slice() else {
        panic!("two attempts: {flaky:#}")
    };
    let attempt = [
        "number",
        "status",
        "cause",
        "message",
        "location",
        "started_at",
        "duration_ms",
        "fuel_used",
        "memory_peak_bytes",
        "logs_truncated",
    ];
    assert_has(first, &attempt);
    assert_eq!((&first["status"], &first["cause"]), (&json!("failed"), &json!("panic")));
    assert_eq!(first["message"], "the first attempt always fails");
    assert!(first["location"]["file"].as_str().unwrap().ends_with("lib.rs"));
    assert!(first["location"]["line"].is_u64() && first["fuel_used"].is_u64());
    assert_eq!((&second["number"], &second["cause"]), (&json!(2), &Value::Null));
    assert_eq!(test("fails softly")["soft"], true);
    assert_eq!(test("makes_coffee")["reason"], "disabled: waits for the new office");

    let path = format!("/runs/{}/tests/fails%20softly", run["id"].as_str().unwrap());
    let mut alone = client.json(&path).await;
    let detail = alone["attempts"][0].as_object_mut().unwrap().remove("detail");
    assert!(detail.is_some_and(|detail| detail.is_object()));
    assert_eq!(alone, *test("fails softly"));
}

#[tokio::test]
async fn a_client_waits_for_a_run_as_long_as_it_says() {
    let target = Target::start().await;
    let server = steps::server(Settings::default(), &target).await;
    let client = server.client();
    let ask = async |wait: &str, body: &Value| {
        client.send(client.run_request("steps", body).query(&[("wait", wait)])).await
    };
    let run = ask("1m 30s", &json!({})).await.expect(StatusCode::OK);
    assert_eq!(run["status"], "passed");
    let answer = ask("1ms", &steps::held("a")).await;
    let place = answer.headers["location"].to_str().unwrap().to_owned();
    let run = answer.expect(StatusCode::ACCEPTED);
    assert_eq!(place, format!("/api/v1/runs/{}", run["id"].as_str().unwrap()));
    assert!(["queued", "running"].contains(&run["status"].as_str().unwrap()), "{run:#}");
    target.release("a");
    assert_eq!(client.finished(run["id"].as_str().unwrap()).await["status"], "passed");
    for odd in ["soon", "-1s", "", "30"] {
        ask(odd, &json!({})).await.problem(400);
    }
    assert_eq!(client.list("/runs").await.len(), 2);
}

#[tokio::test]
async fn a_full_queue_refuses_runs_and_says_when_to_come_back() {
    let target = Target::start().await;
    let settings = Settings::default().flag("runner-queue", 1).flag("runner-concurrent-runs", 1);
    let server = steps::server(settings, &target).await;
    let client = server.client();
    let running = client.submit("steps", &steps::held("a")).await;
    steps::wait_until_held(&target, "a", 1).await;
    let waiting = client.submit("steps", &json!({})).await;
    let refused = client.send(client.run_request("steps", &json!({}))).await;
    let wait: u64 = refused.headers["retry-after"].to_str().unwrap().parse().unwrap();
    assert!(wait >= 1);
    refused.problem(429);
    for limit in ["runner_queue", "runner_concurrent_runs"] {
        hit(&client, limit).await;
    }
    assert_eq!(client.list("/runs").await.len(), 2, "what was refused was not stored");
    target.release("a");
    for run in [running, waiting] {
        assert_eq!(client.finished(&run).await["status"], "passed");
    }
    client.run("steps", &json!({})).await;
}

#[tokio::test]
async fn a_cancelled_run_ends_with_its_teardown_and_cannot_be_cancelled_again() {
    let target = Target::start().await;
    let server = steps::server(Settings::default(), &target).await;
    let client = server.client();
    let run = client.submit("steps", &steps::held("a")).await;
    steps::wait_until_held(&target, "a", 1).await;
    client.post(&format!("/runs/{run}/retry"), &json!({})).await.problem(409);
    let cancel = format!("/runs/{run}/cancel");
    client.post(&cancel, &json!({"initiated_by": "me"})).await.expect(StatusCode::ACCEPTED);
    let ended = client.finished(&run).await;
    assert_eq!(ended["status"], "cancelled");
    assert_eq!(ended["teardown"]["status"], "passed");
    assert_eq!(ended["counts"]["cancelled"], 4);
    client.post(&cancel, &json!({})).await.problem(409);
}

#[tokio::test]
async fn every_answer_has_a_request_id_and_a_problem_repeats_it() {
    let server = Server::start().await;
    let client = server.client();
    let ask = async |id: &str| {
        client.send(client.request(Method::GET, "/runs/x").header("x-request-id", id)).await
    };
    let answer = ask("my-id_1.2:3").await;
    assert_eq!(answer.headers["x-request-id"], "my-id_1.2:3");
    assert_eq!(answer.body["request_id"], "my-id_1.2:3");
    let long = "x".repeat(129);
    for odd in ["a b", "\"", long.as_str(), ""] {
        let answer = ask(odd).await;
        let id = answer.headers["x-request-id"].to_str().unwrap().to_owned();
        assert_eq!(id.len(), 36, "{odd:?} is no id: a new one is made, not {id:?}");
        assert_eq!(answer.body["request_id"], id);
        answer.problem(404);
    }
    assert!(client.get("/healthz").await.headers.contains_key("x-request-id"));
}

#[tokio::test]
async fn every_kind_of_refusal_is_a_problem() {
    let server = Server::start().await;
    let client = server.client();
    client.upload_guest("noop").await;
    let text = |path: &str, kind: &str, body: &str| {
        let request = client.request(Method::POST, path).header("content-type", kind);
        request.body(body.to_owned())
    };
    let runs = "/suites/default/noop/runs";
    let json = "application/json";
    client.send(text(runs, json, "{")).await.problem(400);
    client.send(text(runs, json, "\u{0}")).await.problem(400);
    client.send(text(runs, "text/plain", "{}")).await.problem(415);
    client.send(text(runs, json, &" ".repeat((1 << 20) + 1))).await.problem(413);
    client.send(text("/suites/default/Noop!/runs", json, "{}")).await.problem(404);
    client.delete("/runs").await.problem(405);
    client.get("/runs/1/2/3").await.problem(404);
    client.send(client.request(Method::GET, "/api/v2/runs")).await.problem(404);
    let foreign = client.request(Method::GET, "/runs").header("host", "rebound.example");
    client.send(foreign).await.problem(403);
    let foreign = text(runs, json, "{}").header("origin", "http://page.example");
    client.send(foreign).await.problem(403);
    assert!(client.list("/runs").await.is_empty());
}

#[tokio::test]
async fn health_and_metrics_are_served_outside_the_api() {
    let server = Server::start().await;
    let client = server.client();
    client.get("/healthz").await.expect(StatusCode::OK);
    client.get("/readyz").await.expect(StatusCode::OK);
    client.upload_guest("flaky").await;
    client.run("flaky", &json!({})).await;
    let metrics = metrics(&client).await;
    let labels = "namespace=\"default\",";
    for line in [
        format!(
            "handoff_testsuites_started_total{{{labels}result=\"passed\",suite_name=\"flaky\"}} 1"
        ),
        format!("handoff_tests_run_total{{{labels}result=\"passed\",suite_name=\"flaky\"}} 4"),
        format!("handoff_testsuites_running{{{labels}suite_name=\"flaky\"}} 0"),
    ] {
        assert!(metrics.lines().any(|found| found == line), "no {line:?} in\n{metrics}");
    }
}

async fn metrics(client: &Client) -> String {
    let answer = client.get("/metrics").await;
    assert_eq!(answer.status, StatusCode::OK);
    answer.body.as_str().unwrap().to_owned()
}
