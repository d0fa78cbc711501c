//! What can be asked of the layers, the errors and the OpenAPI document without a store or a runner
//! behind them: the real layers around toy routes. Whole routes are tested through the front door.

use axum::Router;
use axum::body::Body;
use axum::http::{Request, StatusCode, header};
use axum::middleware::map_response_with_state;
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use http_body_util::BodyExt;
use serde_json::Value;
use tower::ServiceExt;

use super::error::ApiError;
use super::extract::{Path, Query, page};
use super::{HttpSettings, middleware};
use crate::metrics::Metrics;
use crate::model::{RunId, SuiteId};

#[derive(Debug, serde::Deserialize)]
#[serde(deny_unknown_fields)]
struct Paging {
    limit: Option<usize>,
}

/// Toy routes within the real layers, as on a loopback address.
fn server(settings: &HttpSettings) -> Router {
    let routes = Router::new()
        .route("/ok", get(|| async { "ok" }).post(|| async { "done" }))
        .route("/big", get(|| async { "a line of text\n".repeat(1000) }))
        .route("/panic", get(|| async { panic!("a secret cause") as Response }))
        .route("/broken", get(|| async { ApiError::internal("a secret cause").into_response() }))
        .route(
            "/slow",
            get(std::future::pending::<&'static str>)
                .layer(middleware::time(20))
                .layer(map_response_with_state("http.request_timeout_ms", middleware::timed_out)),
        )
        .route("/runs/{id}", get(|Path(_): Path<RunId>| async { "run" }))
        .route("/suites/{namespace}/{name}", get(|Path(_): Path<SuiteId>| async { "suite" }))
        .route(
            "/list",
            get(|Query(q): Query<Paging>| async move { page(q.limit, None).map(|_| "") }),
        )
        .route("/busy", get(|| async { ApiError::unavailable("wait a little").into_response() }));
    middleware::around(routes, settings, Metrics::new(), true)
}

async fn send(request: Request<Body>) -> Response {
    server(&HttpSettings::default()).oneshot(request).await.unwrap()
}

fn asked(method: &str, path: &str, headers: &[(&str, &str)], body: &'static str) -> Request<Body> {
    let mut request = Request::builder().method(method).uri(path);
    request = request.header("host", "localhost:1337").header("x-request-id", "test-1");
    for (name, value) in headers {
        request = request.header(*name, *value);
    }
    request.body(Body::from(body)).unwrap()
}

async fn json(response: Response) -> Value {
    let bytes = response.into_body().collect().await.unwrap().to_bytes();
    serde_json::from_slice(&bytes).unwrap_or_else(|_| panic!("{bytes:?}"))
}

/// Status, headers of interest and problem, as text.
async fn problem(method: &str, path: &str, headers: &[(&str, &str)], body: &'static str) -> String {
    let response = send(asked(method, path, headers, body)).await;
    let kind = response.headers()[header::CONTENT_TYPE].to_str().unwrap().to_owned();
    assert_eq!(kind, "application/problem+json");
    let named = |name: &str| {
        let value = response.headers().get(name)?.to_str().ok()?;
        Some(format!("{name}: {value}\n"))
    };
    let extra: String = ["allow", "retry-after"].into_iter().filter_map(named).collect();
    let body = json(response).await;
    format!("{method} {path}\n{extra}{}", serde_json::to_string_pretty(&body).unwrap())
}

#[tokio::test]
async fn every_error_is_a_problem_with_the_requests_id() {
    let mut all = Vec::new();
    for (method, path) in [
        ("GET", "/nothing"),
        ("DELETE", "/ok"),
        ("GET", "/panic"),
        ("GET", "/broken"),
        ("GET", "/slow"),
        ("GET", "/runs/12"),
        ("GET", "/suites/Upper/x"),
        ("GET", "/list?limit=0"),
        ("GET", "/list?limit=many"),
        ("GET", "/list?lmit=1"),
        ("GET", "/busy"),
    ] {
        all.push(problem(method, path, &[], "").await);
    }
    let text = all.join("\n\n");
    assert!(!text.contains("secret"), "{text}");
    insta::assert_snapshot!(text);
}

#[tokio::test]
async fn errors_of_the_inner_layers_have_their_status_and_words() {
    use crate::compile::{CompileError, Rejection};
    use crate::model::{Digest, PlanError, RunStatus};
    use crate::runner::{ControlError, SubmitError, UploadError};
    use crate::storage::StorageError;
    let suite: SuiteId = "hello".parse().unwrap();
    let id = RunId::from_bytes([7; 16]);
    let waited = std::time::Duration::from_millis(1500);
    let errors: Vec<ApiError> = vec![
        StorageError::Full.into(),
        StorageError::KeyReused.into(),
        StorageError::Broken("bits".into()).into(),
        StorageError::BadCursor.into(),
        StorageError::Closed.into(),
        SubmitError::NoSuite(suite.clone()).into(),
        SubmitError::NoVersion(suite, Digest::of(b"")).into(),
        SubmitError::Plan(PlanError::Filter("unclosed group".into())).into(),
        SubmitError::QueueFull { waiting: 3, retry_after: waited }.into(),
        SubmitError::Draining.into(),
        ControlError::NoRun(id).into(),
        ControlError::Ended(RunStatus::Passed).into(),
        ControlError::NothingToRetry.into(),
        UploadError::Compile(CompileError::Busy).into(),
        UploadError::Compile(CompileError::Failed("it is odd".into())).into(),
        UploadError::Compile(CompileError::Rejected(Rejection::Empty)).into(),
    ];
    let mut all = Vec::new();
    for error in errors {
        let routes = Router::new().route("/", get(|| async move { error.into_response() }));
        let layered = middleware::around(routes, &HttpSettings::default(), Metrics::new(), true);
        let response = layered.oneshot(asked("GET", "/", &[], "")).await.unwrap();
        let wait = response.headers().get(header::RETRY_AFTER).cloned();
        let problem = json(response).await;
        let (status, kind) = (&problem["status"], problem["type"].as_str().unwrap());
        let detail = problem["detail"].as_str().unwrap();
        let wait = wait.map(|w| format!(" (retry after {})", w.to_str().unwrap()));
        all.push(format!("{status} {kind}{}: {detail}", wait.unwrap_or_default()));
    }
    insta::assert_snapshot!(all.join("\n"));
}

#[tokio::test]
async fn an_odd_request_id_is_replaced_and_a_sane_one_echoed() {
    let id = async |sent: &str| {
        let request = Request::get("/ok").header("host", "127.0.0.1").header("x-request-id", sent);
        let response = send(request.body(Body::empty()).unwrap()).await;
        response.headers()["x-request-id"].to_str().unwrap().to_owned()
    };
    assert_eq!(id("abc-1").await, "abc-1");
    for odd in ["a b", "\"quoted\"", "", &"x".repeat(129)] {
        assert_eq!(id(odd).await.len(), 36, "{odd}");
    }
}

#[tokio::test]
async fn other_sites_can_neither_change_nor_rebind() {
    let status = async |method: &str, headers: &[(&str, &str)]| {
        let mut request = Request::builder().method(method).uri("/ok");
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        send(request.body(Body::empty()).unwrap()).await.status()
    };
    let host = ("host", "localhost:1337");
    for (method, headers) in [
        ("POST", &[host][..]),
        ("POST", &[host, ("origin", "http://localhost:1337")]),
        ("POST", &[host, ("origin", "http://localhost:1337"), ("sec-fetch-site", "same-origin")]),
        ("GET", &[host, ("sec-fetch-site", "cross-site")]),
        ("GET", &[("host", "127.0.0.1:1337")]),
        ("GET", &[("host", "[::1]:1337")]),
    ] {
        assert_eq!(status(method, headers).await, StatusCode::OK, "{method} {headers:?}");
    }
    for (method, headers) in [
        ("POST", &[host, ("origin", "https://evil.example")][..]),
        ("POST", &[host, ("origin", "null")]),
        ("POST", &[host, ("origin", "http://localhost:8080")]),
        ("POST", &[host, ("sec-fetch-site", "cross-site")]),
        ("GET", &[host, ("upgrade", "websocket"), ("origin", "https://evil.example")]),
        ("GET", &[("host", "evil.example:1337")]),
        ("GET", &[("host", "127.0.0.1.evil.example")]),
    ] {
        assert_eq!(status(method, headers).await, StatusCode::FORBIDDEN, "{method} {headers:?}");
    }
    for headers in [&[][..], &[("host", "")], &[("host", ":1337")]] {
        assert_eq!(status("GET", headers).await, StatusCode::BAD_REQUEST, "{headers:?}");
    }
}

#[tokio::test]
async fn allowed_hosts_and_origins_may() {
    let settings = HttpSettings {
        allowed_hosts: vec!["Handoff.example".into()],
        allowed_origins: vec!["https://dash.example".into()],
        ..HttpSettings::default()
    };
    let request = Request::post("/ok")
        .header("host", "handoff.example")
        .header("origin", "https://dash.example")
        .header("sec-fetch-site", "cross-site");
    let response = server(&settings).oneshot(request.body(Body::empty()).unwrap()).await.unwrap();
    assert_eq!(response.status(), StatusCode::OK);
    assert_eq!(response.headers()["access-control-allow-origin"], "https://dash.example");
}

#[tokio::test]
async fn answers_carry_security_headers_and_are_compressed_for_who_asks() {
    let response = send(asked("GET", "/big", &[("accept-encoding", "gzip, zstd")], "")).await;
    let headers = response.headers();
    assert_eq!(headers["x-content-type-options"], "nosniff");
    assert_eq!(headers["content-security-policy"], "default-src 'none'");
    assert_eq!(headers[header::CONTENT_ENCODING], "zstd");
    let response = send(asked("GET", "/big", &[], "")).await;
    assert!(!response.headers().contains_key(header::CONTENT_ENCODING));
}

#[tokio::test]
async fn requests_are_counted_under_their_routes_template() {
    let metrics = Metrics::new();
    let routes = Router::new().route("/runs/{id}", get(|| async { "run" }));
    let server = middleware::around(routes, &HttpSettings::default(), metrics.clone(), true);
    for path in ["/runs/1", "/runs/2", "/else/where"] {
        server.clone().oneshot(asked("GET", path, &[], "")).await.unwrap();
    }
    let text = metrics.render();
    for line in [
        "handoff_http_requests_total{method=\"GET\",route=\"/runs/{id}\",status=\"200\"} 2\n",
        "handoff_http_requests_total{method=\"GET\",route=\"unmatched\",status=\"404\"} 1\n",
    ] {
        assert!(text.contains(line), "{text}");
    }
}

#[test]
fn the_openapi_document_has_every_route_of_the_api() {
    let document = serde_json::to_value(super::openapi_document()).unwrap();
    assert_eq!(document["openapi"], "3.1.0");
    let mut operations = Vec::new();
    for (path, item) in document["paths"].as_object().unwrap() {
        for (method, operation) in item.as_object().unwrap() {
            let summary =
                operation["summary"].as_str().unwrap_or_else(|| panic!("{method} {path}"));
            operations.push(format!("{method} {path}: {summary}"));
        }
    }
    operations.sort();
    insta::assert_snapshot!(operations.join("\n"));
}

#[test]
fn every_reference_of_the_openapi_document_leads_somewhere_and_every_parameter_is_declared() {
    let document = serde_json::to_value(super::openapi_document()).unwrap();
    let schemas = document["components"]["schemas"].as_object().unwrap();
    let text = document.to_string();
    for reference in text.split("\"$ref\":\"").skip(1) {
        let target = reference.split('"').next().unwrap();
        let name = target.strip_prefix("#/components/schemas/").unwrap();
        assert!(schemas.contains_key(name), "{target}");
    }
    for (path, item) in document["paths"].as_object().unwrap() {
        let names: Vec<_> = path.split('{').skip(1).map(|p| p.split('}').next().unwrap()).collect();
        for (method, operation) in item.as_object().unwrap() {
            let parameters = operation["parameters"].as_array().cloned().unwrap_or_default();
            let declared: Vec<_> = parameters.iter().filter(|p| p["in"] == "path").collect();
            let declared: Vec<_> = declared.iter().map(|p| p["name"].as_str().unwrap()).collect();
            assert_eq!(declared, names, "{method} {path}");
        }
    }
}

/// Routes come from the handlers' own declarations alone, so none can be missing in the document.
#[test]
fn no_route_is_added_beside_the_document() {
    let source = include_str!("router.rs");
    let code = source.lines().filter(|line| !line.trim_start().starts_with("//"));
    for line in code {
        for other in [".route(", ".route_service(", ".nest_service(", ".fallback("] {
            assert!(!line.contains(other), "{line}");
        }
    }
}
