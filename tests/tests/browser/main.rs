//! The web page in a real Chromium, through the front door: what a person sees, clicks and types. Each test
//! keeps pictures under `target/page`.
//!
//! Run by `cargo xtask test`, which sees to it that the browser is there.

#![allow(clippy::unwrap_used, reason = "a test ends where something unexpected comes")]

mod broken;
mod calls;
mod deciding;
mod driver;
mod first_visit;
mod grafana;
mod hostile;
mod live;
mod many;
mod plugins;
mod relay;
mod starting;
mod without;

use handoff_tests::{Client, Server, Settings, Target};
use reqwest::StatusCode;
use serde_json::{Value, json};

/// A server with the suite `steps`, which asks the target.
async fn steps(settings: Settings, target: &Target) -> Server {
    let server = settings.start().await;
    server.client().upload_guest("steps").await;
    let policy = json!({"allow_http": [target.url()], "config": {"target": target.url()}});
    server.client().set_policy("steps", &policy).await;
    server
}

/// Waits until that many attempts wait at the target.
async fn until_held(target: &Target, name: &str, attempts: usize) {
    let path = format!("/hold/{name}");
    let is_held = |seen: &[handoff_tests::Seen]| {
        seen.iter().filter(|request| request.path == path).count() == attempts
    };
    target.wait_for("an attempt waits at the target", is_held).await;
}

/// Asks for a run of a suite of the fixtures and gives it as it ended.
async fn run_of_fixtures(client: &Client, suite: &str, request: &Value) -> Value {
    let path = format!("/suites/fixtures/{suite}/runs");
    let run = client.post(&path, request).await.expect(StatusCode::ACCEPTED);
    client.finished(run["id"].as_str().unwrap()).await
}
