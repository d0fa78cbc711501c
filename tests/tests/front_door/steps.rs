//! The suite `steps` and the system that it tests: how a test holds a run at a known place.

use handoff_tests::{Server, Settings, Target};
use serde_json::{Value, json};

/// A server with the suite `steps`, which asks the target.
pub(crate) async fn server(settings: Settings, target: &Target) -> Server {
    let server = settings.start().await;
    server.client().upload_guest("steps").await;
    let policy = json!({"allow_http": [target.url()], "config": {"target": target.url()}});
    server.client().set_policy("steps", &policy).await;
    server
}

/// A run whose second test waits for the target to release `name`.
pub(crate) fn held(name: &str) -> Value {
    json!({"params": {"run": name, "path-step-2": format!("/hold/{name}")}})
}

/// Waits until that many attempts wait at the target.
pub(crate) async fn wait_until_held(target: &Target, name: &str, attempts: usize) {
    let path = format!("/hold/{name}");
    let is_held = |seen: &[handoff_tests::Seen]| {
        seen.iter().filter(|request| request.path == path).count() == attempts
    };
    target.wait_for("an attempt waits at the target", is_held).await;
}
