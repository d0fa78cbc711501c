//! `/api/openapi.json` and the router tell the same.

use handoff_tests::{Answer, Client, Server};
use reqwest::{Method, StatusCode};
use serde_json::{Value, json};

/// Whether the router had no such path or no such method; a handler names what is missing.
fn is_the_routers_own(answer: &Answer) -> bool {
    let detail = answer.body["detail"].as_str().unwrap_or_default();
    answer.status == StatusCode::METHOD_NOT_ALLOWED
        || (answer.status == StatusCode::NOT_FOUND && detail.contains("/api/openapi.json"))
}

/// Each path with the document's `{name}` filled in, and its methods.
fn operations(document: &Value) -> Vec<(Method, String)> {
    let mut operations = Vec::new();
    for (path, methods) in document["paths"].as_object().unwrap() {
        let path = path.replace("{namespace}", "default").replace("{name}", "nowhere");
        let path = path.replace("{number}", "1").replace("{*test}", "a").replace("{test}", "a");
        let path = path.replace("{digest}", &format!("sha256:{}", "0".repeat(64)));
        let path = path.replace("{id}", "01890a5d-ac96-774b-bcce-b302099a8057");
        assert!(!path.contains('{'), "an unknown parameter in {path}");
        for method in methods.as_object().unwrap().keys() {
            if let Ok(method) = Method::from_bytes(method.to_uppercase().as_bytes()) {
                operations.push((method, path.clone()));
            }
        }
    }
    operations
}

async fn ask(client: &Client, method: &Method, path: &str) -> Answer {
    let path = path.strip_prefix("/api/v1").unwrap_or(path);
    let request = client.request(method.clone(), path);
    let body = *method != Method::GET && *method != Method::DELETE;
    client.send(if body { request.json(&json!({})) } else { request }).await
}

#[tokio::test]
async fn every_documented_operation_is_answered_and_no_other_method_is() {
    let server = Server::start().await;
    let client = server.client();
    let document = client.get("/api/openapi.json").await.expect(StatusCode::OK);
    assert!(document["openapi"].as_str().unwrap().starts_with("3.1."));
    let operations = operations(&document);
    assert!(operations.len() >= 20, "{operations:?}");
    for (method, path) in &operations {
        let answer = ask(&client, method, path).await;
        assert!(!is_the_routers_own(&answer), "{method} {path}: {answer:?}");
        assert!(!answer.status.is_server_error(), "{method} {path}: {answer:?}");
    }
    let methods = [Method::GET, Method::POST, Method::PUT, Method::PATCH, Method::DELETE];
    for (_, path) in &operations {
        for method in &methods {
            if operations.iter().any(|(m, p)| m == method && p == path) {
                continue;
            }
            let answer = ask(&client, method, path).await;
            assert!(answer.headers.contains_key("allow"), "{method} {path}: {answer:?}");
            answer.problem(405);
        }
    }
}

#[tokio::test]
async fn every_reference_of_the_document_leads_somewhere() {
    let server = Server::start().await;
    let document = server.client().get("/api/openapi.json").await.expect(StatusCode::OK);
    let mut references = Vec::new();
    collect(&document, &mut references);
    assert!(!references.is_empty());
    for reference in references {
        let place = reference.strip_prefix('#').unwrap_or_else(|| panic!("{reference} is inside"));
        assert!(document.pointer(place).is_some(), "{reference} leads nowhere");
    }
}

fn collect<'a>(value: &'a Value, references: &mut Vec<&'a str>) {
    match value {
        Value::Object(fields) => {
            references.extend(fields.get("$ref").and_then(Value::as_str));
            fields.values().for_each(|value| collect(value, references));
        }
        Value::Array(items) => items.iter().for_each(|value| collect(value, references)),
        _ => {}
    }
}

/// What the issue promises is there, by the names that clients use.
#[tokio::test]
async fn what_clients_lean_on_is_documented() {
    let server = Server::start().await;
    let document = server.client().get("/api/openapi.json").await.expect(StatusCode::OK);
    for (path, methods) in [
        ("/api/v1/suites", &["get", "post"][..]),
        ("/api/v1/suites/{namespace}/{name}", &["get", "delete"]),
        ("/api/v1/suites/{namespace}/{name}/versions", &["get"]),
        ("/api/v1/suites/{namespace}/{name}/policy", &["get", "put"]),
        ("/api/v1/suites/{namespace}/{name}/runs", &["post"]),
        ("/api/v1/runs", &["get"]),
        ("/api/v1/runs/{id}", &["get"]),
        ("/api/v1/runs/{id}/setup", &["get"]),
        ("/api/v1/runs/{id}/teardown", &["get"]),
        ("/api/v1/runs/{id}/logs", &["get"]),
        ("/api/v1/runs/{id}/artifacts/{number}", &["get"]),
        ("/api/v1/runs/{id}/events", &["get"]),
        ("/api/v1/runs/{id}/cancel", &["post"]),
        ("/api/v1/runs/{id}/retry", &["post"]),
        ("/api/v1/runs/{id}/report", &["get"]),
        ("/metrics", &["get"]),
        ("/healthz", &["get"]),
        ("/readyz", &["get"]),
    ] {
        for method in methods {
            assert!(document["paths"][path][method].is_object(), "{method} {path}");
        }
    }
    for (path, parameters) in [
        ("/api/v1/runs", &["suite", "status", "reference", "limit", "cursor"][..]),
        ("/api/v1/runs/{id}/report", &["format"]),
        ("/api/v1/runs/{id}/events", &["Last-Event-ID"]),
    ] {
        let named = document["paths"][path]["get"]["parameters"].as_array().unwrap();
        for parameter in parameters {
            assert!(named.iter().any(|p| p["name"] == *parameter), "{path} takes {parameter}");
        }
    }
}
