//! `handoff new`: what it makes is built by the commands of its own README, and runs.
//!
//! The tools of a language are those that `cargo xtask sdks` has brought to `target/tools`; where it has
//! not, the language is not tested.

#![allow(clippy::unwrap_used, reason = "a test ends where something unexpected comes")]

mod plugin;

use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;

use handoff_tests::{Handoff, Target, binary_directory, is_built, target_directory};
use tokio::process::Command;

/// How long a build may take whose dependencies are fetched and built from nothing.
const BUILD: Duration = Duration::from_secs(600);

/// What the SDKs' READMEs call it.
const NAME: &str = "shop-checks";

#[tokio::test]
async fn a_new_suite_in_c_builds_and_runs() {
    builds_and_runs("c").await;
}

#[tokio::test]
async fn a_new_suite_in_go_builds_and_runs() {
    builds_and_runs("go").await;
}

#[tokio::test]
async fn a_new_suite_in_javascript_builds_and_runs() {
    builds_and_runs("javascript").await;
}

#[tokio::test]
async fn a_new_suite_in_python_builds_and_runs() {
    builds_and_runs("python").await;
}

#[tokio::test]
async fn a_new_suite_in_rust_builds_and_runs() {
    builds_and_runs("rust").await;
}

async fn builds_and_runs(language: &str) {
    if !is_built(language) {
        return;
    }
    let home = tempfile::tempdir().unwrap();
    let suite = home.path().join(NAME);
    let documented = commands(&sdk_sources(language).join("README.md"));
    // Packages come from where they are published; here they are those of this checkout.
    let sdk = format!(" --sdk '{}' && cd ", sdk(language).display());
    let mut commands: Vec<_> =
        documented.iter().map(|line| line.replace(" && cd ", &sdk)).collect();
    if language == "rust" {
        // The versions that this repository has been tested with, and what was built before.
        let built = target_directory().join("scaffold");
        std::fs::create_dir_all(&built).unwrap();
        let lock = sdk_sources(language).join("../../Cargo.lock");
        let new = commands.iter().position(|line| line.starts_with("handoff new")).unwrap();
        let prepared =
            format!("cp '{}' Cargo.lock; ln -s '{}' target", lock.display(), built.display());
        commands.insert(new + 1, prepared);
    }
    let told = run(language, &suite, &commands).await;
    let own = self::commands(&suite.join("README.md"));
    let rest: Vec<_> = documented.iter().filter(|line| !line.starts_with("handoff new")).collect();
    assert_eq!(own.iter().collect::<Vec<_>>(), rest, "the suite's own README tells the same");
    // Names of tests in Go begin with an upper-case letter.
    assert!(told.to_lowercase().contains("counts") && told.contains("1 passed"), "{told}");

    let component = commands.iter().find_map(|line| line.strip_prefix("handoff test ")).unwrap();
    let target = Target::start().await;
    let url = target.url();
    let param = format!("target={url}");
    let test = ["test", component, "--param", &param, "--allow-http", &url];
    let test = Handoff::new(&test).directory(&suite).variable("XDG_CACHE_HOME", &cache(&suite));
    let told = test.run().await.expect(0);
    assert!(told.contains("2 passed"), "{told}");
    assert_eq!(target.seen()[0].path, "/healthz", "{language}");
}

/// Where the SDK is that a new suite is to use.
fn sdk(language: &str) -> PathBuf {
    match language {
        // As its build leaves it: npm takes a package as it lies there.
        "javascript" => target_directory().join("tools/javascript/sdk"),
        _ => sdk_sources(language),
    }
}

fn sdk_sources(language: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap().join("sdk").join(language)
}

/// The first commands of a README, from building a suite to running it, without their comments.
fn commands(readme: &Path) -> Vec<String> {
    let readme = std::fs::read_to_string(readme).unwrap();
    let (_, after) = readme.split_once("```sh\n").unwrap();
    let (commands, _) = after.split_once("```").unwrap();
    let commands = commands.lines().map(|line| line.split(" #").next().unwrap().trim_end());
    // The target was added when the guests were built, by whatever means this toolchain has.
    commands.filter(|line| !line.starts_with("rustup")).map(str::to_owned).collect()
}

/// Runs commands that make a suite and build it, in a shell, as somebody does who has the language's
/// tools, and gives what they wrote.
async fn run(language: &str, suite: &Path, commands: &[String]) -> String {
    let mut shell = Command::new("sh");
    shell.args(["-euc", &commands.join("\n")]).current_dir(suite.parent().unwrap());
    shell.stdin(Stdio::null()).kill_on_drop(true);
    // What cargo has set for this test is not meant for other builds.
    for (name, _) in std::env::vars_os() {
        let name = name.to_string_lossy().into_owned();
        let kept = ["CARGO_HOME", "CARGO_NET_OFFLINE"].contains(&name.as_str());
        if (name.starts_with("CARGO_") && !kept) || name.starts_with("HANDOFF_") {
            shell.env_remove(name);
        }
    }
    let tools = target_directory().join("tools").join(language);
    shell.env("PATH", path(&[binary_directory(), tools.join("venv/bin")]));
    shell.env("XDG_CACHE_HOME", cache(suite)).env_remove("RUSTFLAGS");
    match language {
        "c" => {
            for name in ["ZIG_GLOBAL_CACHE_DIR", "ZIG_LOCAL_CACHE_DIR"] {
                shell.env(name, tools.join("zig-cache"));
            }
        }
        "javascript" => {
            shell.env("npm_config_prefer_offline", "true").env("npm_config_audit", "false");
        }
        _ => {}
    }
    let output = tokio::time::timeout(BUILD, shell.output()).await.expect("the build ends in time");
    let output = output.expect("there is a shell");
    let [out, err] = [&output.stdout, &output.stderr].map(|text| String::from_utf8_lossy(text));
    assert!(output.status.success(), "{language}: {commands:#?}\n{out}\n{err}");
    out.into_owned()
}

/// The path of commands with these directories before it.
fn path(first: &[PathBuf]) -> OsString {
    let rest = std::env::var_os("PATH").unwrap_or_default();
    let all = first.iter().cloned().chain(std::env::split_paths(&rest));
    std::env::join_paths(all).unwrap()
}

/// Where compiled code is kept from one command to the next, and gone with the suite.
fn cache(suite: &Path) -> String {
    suite.join("../cache").to_str().unwrap().to_owned()
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
