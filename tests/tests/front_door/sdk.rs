//! What a suite made with the Rust SDK weighs and asks for.

use handoff_tests::{Server, guest};
use serde_json::Value;

use crate::results::{array, text};

/// The most that a component with ten small tests may weigh.
const TEN_TESTS_BYTES: usize = 400 << 10;

fn imports(version: &Value) -> Vec<&str> {
    array(&version["imports"]).iter().map(text).collect()
}

#[tokio::test]
async fn ten_small_tests_are_a_small_component_that_asks_for_no_http() {
    let server = Server::start().await;
    let version = server.client().upload_guest("ten").await;
    let size = guest("ten").len();
    assert!(size <= TEN_TESTS_BYTES, "{size} bytes");
    assert_eq!(version["size_bytes"], size);
    assert_eq!(array(&version["tests"]).len(), 10);
    let imports = imports(&version);
    assert!(imports.iter().any(|import| import.starts_with("handoff:suite/")), "{imports:#?}");
    assert!(!imports.iter().any(|import| import.contains("wasi:http")), "{imports:#?}");
}

#[tokio::test]
async fn a_suite_asks_for_what_it_uses_and_nothing_else() {
    let server = Server::start().await;
    let client = server.client();
    let version = client.upload_guest("noop").await;
    let imports = imports(&version);
    for unused in ["wasi:config", "wasi:http", "wasi:random"] {
        assert!(!imports.iter().any(|import| import.contains(unused)), "{unused}: {imports:#?}");
    }
    let version = client.upload_guest("http").await;
    let imports = self::imports(&version);
    assert!(imports.iter().any(|i| i.contains("wasi:http/outgoing-handler")), "{imports:#?}");
}

#[tokio::test]
async fn a_thousand_tests_are_all_described_and_run() {
    let server = Server::start().await;
    let client = server.client();
    let version = client.upload_guest("thousand").await;
    let names: Vec<_> = array(&version["tests"]).iter().map(|test| text(&test["name"])).collect();
    let expected: Vec<_> = (0..1_000).map(|number| format!("t{number:03}")).collect();
    assert_eq!(names, expected);
    let run = client.run("thousand", &serde_json::json!({})).await;
    assert_eq!((&run["status"], &run["counts"]["passed"]), (&"passed".into(), &1_000.into()));
}
