//! End-to-end tests of a Handoff server against its own HTTP API. The parameter `server` is its base
//! URL; the suite's policy must grant it.

use handoff_sdk::http::{self, Response};
use handoff_sdk::{Context, Result, ensure, ensure_eq};
use serde_json::Value;

handoff_sdk::suite! {
    name: "self-check",
    description: "Whether a Handoff server keeps the promises of its own HTTP API.",
    owner: "handoff",
    timeout: "5s",
    attempts: 2,
    labels: [("kind", "example")],
    wants_http: ["http://127.0.0.1:1337"],
}

fn get(cx: &Context, path: &str) -> Result<Response> {
    let server = cx.require_param("server")?;
    Ok(http::get(format!("{}{path}", server.trim_end_matches('/'))).send()?)
}

/// Errors are `application/problem+json`, in words that tell what to do, with the request's id.
fn ensure_problem(answer: &Response, status: u16) -> Result {
    ensure_eq!(answer.header("content-type"), Some("application/problem+json"));
    let problem: Value = answer.json()?;
    ensure_eq!(problem["status"], status);
    for field in ["type", "title", "detail", "request_id"] {
        ensure!(
            problem[field].as_str().is_some_and(|text| !text.is_empty()),
            "no `{field}` in {problem}"
        );
    }
    Ok(())
}

#[handoff_sdk::test(tags = ["smoke"])]
fn is_alive_and_ready(cx: &Context) -> Result {
    get(cx, "/healthz")?.expect_status(200)?;
    get(cx, "/readyz")?.expect_status(200)?;
    Ok(())
}

/// Dashboards lean on these names.
#[handoff_sdk::test]
fn metrics_keep_their_names(cx: &Context) -> Result {
    let metrics = get(cx, "/metrics")?.expect_status(200)?.text();
    // This run is under way. What is counted when a run ends need not be there yet.
    for name in ["handoff_testsuites_running", "handoff_queue_depth"] {
        cx.part(name, || -> Result {
            ensure!(metrics.contains(name), "no {name}");
            Ok(())
        });
        ensure!(metrics.contains(name), "no {name}");
    }
    Ok(())
}

#[handoff_sdk::test]
fn openapi_is_served(cx: &Context) -> Result {
    let document: Value = get(cx, "/api/openapi.json")?.expect_status(200)?.json()?;
    ensure!(document["openapi"].as_str().is_some_and(|version| version.starts_with("3.1")));
    ensure!(document["paths"].as_object().is_some_and(|paths| !paths.is_empty()));
    Ok(())
}

/// A list is `{items, next_cursor}`; this suite is in it, or further behind.
#[handoff_sdk::test]
fn suites_are_listed(cx: &Context) -> Result {
    let list: Value = get(cx, "/api/v1/suites?limit=1")?.expect_status(200)?.json()?;
    ensure_eq!(list["items"].as_array().map(Vec::len), Some(1));
    ensure!(list.get("next_cursor").is_some(), "no `next_cursor` in {list}");
    Ok(())
}

#[handoff_sdk::test]
fn an_unknown_suite_is_a_problem(cx: &Context) -> Result {
    let answer = get(cx, "/api/v1/suites/default/no-such-suite")?.expect_status(404)?;
    ensure_problem(&answer, 404)
}

#[handoff_sdk::test]
fn garbage_is_not_a_suite(cx: &Context) -> Result {
    let url = format!("{}/api/v1/suites", cx.require_param("server")?.trim_end_matches('/'));
    let upload = http::post(url).header("content-type", "application/wasm").body("garbage");
    ensure_problem(&upload.send()?.expect_status(422)?, 422)
}

/// The id by which an operator finds a request in the server's log.
#[handoff_sdk::test]
fn answers_carry_a_request_id(cx: &Context) -> Result {
    let answer = get(cx, "/api/v1/suites")?;
    ensure!(answer.header("x-request-id").is_some_and(|id| !id.is_empty()), "no `x-request-id`");
    Ok(())
}
