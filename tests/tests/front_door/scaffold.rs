//! `handoff new`: what it makes builds and runs.

use std::path::Path;
use std::process::Stdio;
use std::time::Duration;

use handoff_tests::{Handoff, Target, target_directory};
use tokio::process::Command;

/// How long cargo may take over a suite whose dependencies are built from nothing.
const BUILD: Duration = Duration::from_secs(600);

#[tokio::test]
async fn a_new_suite_builds_and_runs() {
    let home = tempfile::tempdir().unwrap();
    let sdk = Path::new(env!("CARGO_MANIFEST_DIR")).join("../sdk/rust");
    let new = Handoff::new(&["new", "my-suite", "--sdk", sdk.to_str().unwrap()]);
    new.directory(home.path()).run().await.expect(0);
    let suite = home.path().join("my-suite");
    // The versions that this repository has been tested with, and what is downloaded already.
    let lock = Path::new(env!("CARGO_MANIFEST_DIR")).join("../Cargo.lock");
    std::fs::copy(lock, suite.join("Cargo.lock")).unwrap();
    build(&suite).await;

    let component = target_directory().join("scaffold/wasm32-wasip2/debug/my_suite.wasm");
    let component = component.to_str().unwrap();
    let ended = Handoff::new(&["test", component]).run().await;
    assert!(ended.expect(0).contains("counts"));
    let target = Target::start().await;
    let url = target.url();
    let (param, grant) = (format!("target={url}"), ["--allow-http", url.as_str()]);
    let test = ["test", component, "is_healthy", "--param", &param];
    Handoff::new(&[&test[..], &grant].concat()).run().await.expect(0);
    assert_eq!(target.seen()[0].path, "/healthz");
}

/// Builds it beside what the tests before have built of it.
async fn build(suite: &Path) {
    let mut cargo = Command::new(env!("CARGO"));
    cargo.arg("build").current_dir(suite).stdin(Stdio::null()).kill_on_drop(true);
    // What cargo has set for this test is not meant for another workspace.
    for (name, _) in std::env::vars_os() {
        let name = name.to_string_lossy().into_owned();
        if name.starts_with("CARGO_") && name != "CARGO_HOME" && name != "CARGO_NET_OFFLINE" {
            cargo.env_remove(name);
        }
    }
    cargo.env_remove("RUSTFLAGS").env("CARGO_TARGET_DIR", target_directory().join("scaffold"));
    let output = tokio::time::timeout(BUILD, cargo.output()).await.expect("cargo ends in time");
    let output = output.expect("cargo can be run");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
}

#[tokio::test]
async fn what_is_there_is_not_overwritten_and_a_name_must_fit() {
    let home = tempfile::tempdir().unwrap();
    let new = |name: &str| Handoff::new(&["new", name]).directory(home.path()).run();
    std::fs::create_dir(home.path().join("mine")).unwrap();
    std::fs::write(home.path().join("mine/Cargo.toml"), "mine").unwrap();
    let told = new("mine").await.failure(2);
    assert!(told.contains("not empty"), "{told}");
    assert_eq!(std::fs::read_to_string(home.path().join("mine/Cargo.toml")).unwrap(), "mine");
    for name in ["Upper", "1st", "../up", "a b", "std"] {
        new(name).await.failure(2);
    }
}
