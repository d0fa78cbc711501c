//! Deleting a suite: what goes with it, and what stays.

use std::path::Path;

use handoff_tests::{Client, Settings, Target, guest, salted};
use reqwest::StatusCode;
use serde_json::json;

use crate::components::padded;
use crate::results::{assert_says, metric, text};
use crate::steps;

/// What a component is padded with, so that it is seen beside all else that is stored.
const PADDING: usize = 8 << 20;

async fn disk_bytes(client: &Client) -> u64 {
    metric(client, "handoff_storage_disk_bytes").await
}

/// Bytes of all files below a directory.
fn size_below(directory: &Path) -> u64 {
    let entries = std::fs::read_dir(directory).unwrap();
    let sizes = entries.map(|entry| {
        let entry = entry.unwrap();
        let about = entry.metadata().unwrap();
        if about.is_dir() { size_below(&entry.path()) } else { about.len() }
    });
    sizes.sum()
}

#[tokio::test]
async fn the_disk_has_room_again_when_the_last_suite_of_a_component_is_deleted() {
    let server = Settings::default().flag("compile-cache-bytes", 0).start().await;
    let client = server.client();
    let component = padded(&guest("noop"), PADDING);
    let before = disk_bytes(&client).await;
    assert!(before > 0, "what the store takes is told");
    for namespace in ["a", "b"] {
        let upload = client.upload_request(component.clone());
        client.send(upload.query(&[("namespace", namespace)])).await.expect(StatusCode::CREATED);
    }
    let padding = PADDING as u64;
    let stored = disk_bytes(&client).await;
    assert!((before + padding..before + 2 * padding).contains(&stored), "{before}, then {stored}");
    client.delete("/suites/a/noop").await.expect(StatusCode::NO_CONTENT);
    assert!(disk_bytes(&client).await >= before + padding, "the other suite has it still");
    let run = client.post("/suites/b/noop/runs", &json!({})).await.expect(StatusCode::ACCEPTED);
    assert_eq!(client.finished(text(&run["id"])).await["status"], "passed");
    client.delete("/suites/b/noop").await.expect(StatusCode::NO_CONTENT);
    assert!(disk_bytes(&client).await < before + padding);
    assert!(size_below(&server.data()) < padding, "the files are gone");
}

#[tokio::test]
async fn a_run_of_a_deleted_suite_ends_as_it_would_have_and_is_not_tried_again() {
    let target = Target::start().await;
    // Nothing compiled is kept, so that the component itself is needed.
    let settings = Settings::default().flag("compile-loaded", 0).flag("compile-cache-bytes", 0);
    let settings = settings.flag("sandbox-prepared-suites", 1).flag("runner-concurrent-runs", 1);
    let server = steps::server(settings, &target).await;
    let client = server.client();
    let component = padded(&guest("flaky"), PADDING);
    client.upload(component.clone()).await;
    let held = client.submit("steps", &steps::held("a")).await;
    steps::wait_until_held(&target, "a", 1).await;
    let request = json!({"filter": "assertion|steady", "max_attempts": 1});
    let waiting = client.submit("flaky", &request).await;
    client.delete("/suites/default/flaky").await.expect(StatusCode::NO_CONTENT);
    assert!(size_below(&server.data().join("components")) > PADDING as u64, "a run needs it");
    target.release("a");
    assert_eq!(client.finished(&held).await["status"], "passed");
    let run = client.finished(&waiting).await;
    assert_eq!(run["status"], "failed", "{run:#}");
    assert!(size_below(&server.data().join("components")) < PADDING as u64, "no run needs it");

    let retry = format!("/runs/{waiting}/retry");
    let refused = client.post(&retry, &json!({})).await;
    assert_says(&refused.problem(409), &["default/flaky", "upload it again"]);
    // Another version is not the one that the run had.
    client.upload(salted(&guest("flaky"), 1)).await;
    client.post(&retry, &json!({})).await.problem(409);
    client.upload(component).await;
    client.post(&retry, &json!({})).await.expect(StatusCode::ACCEPTED);
    assert_eq!(client.finished(&waiting).await["status"], "passed");
}
