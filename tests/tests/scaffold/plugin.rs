//! `handoff new plugin`: what it makes is built, tested, tried out and installed by the commands of its own
//! README, and reacts to a run.

use std::path::Path;

use handoff_tests::{Handoff, Server, Target, is_built, patiently, target_directory};

use super::{run, sdk_sources};

const NAME: &str = "my-plugin";

#[tokio::test]
async fn a_new_plugin_builds_is_installed_and_reacts() {
    if !is_built("rust") {
        return;
    }
    let (server, target) = (Server::start().await, Target::start().await);
    let home = tempfile::tempdir().unwrap();
    let sdk = sdk_sources("rust").join("plugin");
    let new = ["new", "plugin", NAME, "--sdk", sdk.to_str().unwrap()];
    Handoff::new(&new).directory(home.path()).run().await.expect(0);
    let plugin = home.path().join(NAME);
    // The versions that this repository has been tested with, and what was built before.
    std::fs::copy(sdk_sources("rust").join("../../Cargo.lock"), plugin.join("Cargo.lock")).unwrap();
    let built = target_directory().join("scaffold");
    std::fs::create_dir_all(&built).unwrap();
    std::os::unix::fs::symlink(built, plugin.join("target")).unwrap();

    let here = |commands: String| {
        let commands = commands.replace("http://127.0.0.1:8080", &target.url());
        let server = format!("export HANDOFF_SERVER={}", server.url());
        vec![format!("cd {NAME}"), server, commands]
    };
    let told = run("rust", &plugin, &here(console(&plugin, 0))).await;
    assert!(told.contains("1 passed") && told.contains("allowed: 200"), "{told}");
    assert!(told.contains("says Told the notifier"), "{told}");
    let told = run("rust", &plugin, &here(console(&plugin, 1))).await;
    assert!(told.contains(&format!("{NAME} is enabled")) && told.contains("trial"), "{told}");

    let client = server.client();
    client.upload_guest("noop").await;
    let finished = client.run("noop", &serde_json::json!({})).await;
    let path = format!("/runs/{}", finished["id"].as_str().unwrap());
    let said = async {
        while client.json(&path).await["annotations"][0]["title"] != "Told the notifier" {
            tokio::task::yield_now().await;
        }
    };
    patiently("what the plugin says stands with the run", said).await;
    assert_eq!(target.seen_count(), 3, "tried out here, tested there, and told of the run");
}

/// The commands in one of the README's consoles.
fn console(directory: &Path, number: usize) -> String {
    let readme = std::fs::read_to_string(directory.join("README.md")).unwrap();
    let after = readme.split("```sh\n").nth(number + 1).unwrap();
    let (commands, _) = after.split_once("```").unwrap();
    // The target was added when the guests were built, by whatever means this toolchain has.
    commands.lines().filter(|line| !line.starts_with("rustup")).collect::<Vec<_>>().join("\n")
}
