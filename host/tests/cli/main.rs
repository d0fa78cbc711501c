//! The command line as a process: usage, help, and the commands that need neither server nor guest.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails")]

mod runs;
mod scripted;

use std::path::Path;
use std::process::{Command, Output};

/// `handoff` with these arguments and without the caller's environment.
fn command(arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_handoff"));
    command.args(arguments).env_clear();
    command
}

/// The same run to its end in a directory.
fn handoff(dir: &Path, arguments: &[&str]) -> Output {
    command(arguments).current_dir(dir).env("HOME", dir).output().unwrap()
}

fn in_new_dir(arguments: &[&str]) -> (Option<i32>, String, String) {
    let dir = tempfile::tempdir().unwrap();
    told(handoff(dir.path(), arguments))
}

fn told(output: Output) -> (Option<i32>, String, String) {
    let text = |bytes| String::from_utf8(bytes).unwrap();
    (output.status.code(), text(output.stdout), text(output.stderr))
}

#[test]
fn help_goes_to_standard_output_and_a_wrong_command_line_ends_with_2() {
    let (code, out, err) = in_new_dir(&["--help"]);
    assert_eq!((code, err.as_str()), (Some(0), ""));
    for command in
        ["test", "serve", "health", "upload", "run", "runs", "logs", "cancel", "retry", "suites"]
    {
        assert!(out.contains(&format!("\n  {command} ")), "{command} is not in\n{out}");
    }
    assert!(!out.contains("compile-worker") && !out.contains('\x1b'), "{out}");
    for wrong in [
        &["--no-such-flag"] as &[_],
        &["run"],
        &["run", "UPPER CASE"],
        &["test", "a.wasm", "--allow-http", "example.com"],
        &["test", "a.wasm", "--attempts", "many"],
        &["test", "a.wasm", "--test-timeout", "soon"],
        &["test", "a.wasm", "--report", "html=x"],
        &["test", "a.wasm", "--param", "x"],
        &["serve", "--runner-queue"],
        &["runs", "--status", "odd"],
        &["policy", "set", "hello"],
        &["runs", "no run", "--server", "http://127.0.0.1:1"],
    ] {
        let (code, out, err) = in_new_dir(wrong);
        assert_eq!((code, out.as_str()), (Some(2), ""), "{wrong:?}: {err}");
        assert!(!err.is_empty());
    }
}

#[test]
fn a_setting_that_is_wrong_is_named_with_its_source() {
    let (code, _, err) = in_new_dir(&["serve", "--runner-queue", "many"]);
    let told = "error: failed to use the setting runner.queue from the flag --runner-queue: \
                \"many\" is not a number\n";
    assert_eq!((code, err.as_str()), (Some(2), told));
    let dir = tempfile::tempdir().unwrap();
    std::fs::write(dir.path().join("handoff.toml"), "[runner]\nqueu = 1\n").unwrap();
    let (code, _, err) = self::told(handoff(dir.path(), &["serve"]));
    assert_eq!(code, Some(2));
    assert!(err.contains("handoff.toml, line 2: queu: unknown field `queu`"), "{err}");
}

#[test]
fn the_settings_in_effect_are_shown_with_their_sources() {
    let (code, out, _) = in_new_dir(&["config", "--listen", "127.0.0.1:0"]);
    assert_eq!(code, Some(0));
    assert!(out.contains("listen = \"127.0.0.1:0\" # the flag --listen\n"), "{out}");
    assert!(out.contains("\n[sandbox.limits]\n"), "{out}");
    let (_, names, _) = in_new_dir(&["config", "--names"]);
    let memory = "--sandbox-limits-memory-bytes HANDOFF_SANDBOX_LIMITS_MEMORY_BYTES sandbox.limits.memory_bytes";
    assert!(names.lines().any(|line| line == memory), "{names}");
}

#[test]
fn a_server_that_is_not_there_ends_with_96_and_says_what_to_do() {
    // A port that was free a moment ago, and that nobody listens on.
    let port = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    let server = format!("http://127.0.0.1:{port}");
    for command in [&["suites"] as &[_], &["runs"], &["run", "hello"], &["cancel", "hello#1"]] {
        let arguments: Vec<_> = command.iter().copied().chain(["--server", &server]).collect();
        let (code, out, err) = in_new_dir(&arguments);
        assert_eq!((code, out.as_str()), (Some(96), ""), "{command:?}: {err}");
        assert!(err.contains("start it with `handoff serve`"), "{err}");
    }
}

#[test]
fn a_file_that_is_not_there_ends_with_2_and_is_named() {
    for command in ["test", "upload", "inspect"] {
        let (code, _, err) = in_new_dir(&[command, "absent.wasm"]);
        assert_eq!(code, Some(2), "{command}: {err}");
        assert!(err.contains("absent.wasm"), "{command}: {err}");
    }
}

#[test]
fn a_new_suite_has_its_name_in_its_files_and_is_not_written_over_another() {
    let dir = tempfile::tempdir().unwrap();
    let (code, _, err) = told(handoff(dir.path(), &["new", "log-in"]));
    assert_eq!(code, Some(0), "{err}");
    let read = |path: &str| std::fs::read_to_string(dir.path().join("log-in").join(path)).unwrap();
    let manifest = read("Cargo.toml");
    assert!(manifest.contains("name = \"log-in\""), "{manifest}");
    assert!(manifest.contains("git = \"https://"), "{manifest}");
    assert!(read("src/lib.rs").contains("log-in"));
    assert!(read("README.md").contains("log_in.wasm"));
    assert!(read(".gitignore").contains("target"));
    let (code, _, err) = told(handoff(dir.path(), &["new", "log-in"]));
    assert_eq!(code, Some(2));
    assert!(err.contains("is there already and not empty"), "{err}");
    let (code, ..) = told(handoff(dir.path(), &["new", "Log In"]));
    assert_eq!(code, Some(2));
}

#[test]
fn a_new_suite_takes_the_sdk_of_the_checkout_or_the_one_that_is_named() {
    let dir = tempfile::tempdir().unwrap();
    let sdk = dir.path().join("sdk/rust");
    std::fs::create_dir_all(&sdk).unwrap();
    std::fs::write(sdk.join("Cargo.toml"), "[package]\nname = \"handoff-sdk\"\n").unwrap();
    let below = dir.path().join("examples");
    std::fs::create_dir(&below).unwrap();
    let (code, _, err) = told(handoff(&below, &["new", "a"]));
    assert_eq!(code, Some(0), "{err}");
    let manifest = |path: &Path| std::fs::read_to_string(path.join("Cargo.toml")).unwrap();
    assert!(manifest(&below.join("a")).contains("sdk/rust\""));
    let elsewhere = tempfile::tempdir().unwrap();
    let named = sdk.to_str().unwrap();
    let (code, _, err) = told(handoff(elsewhere.path(), &["new", "a", "--sdk", named]));
    assert_eq!(code, Some(0), "{err}");
    assert!(manifest(&elsewhere.path().join("a")).contains("sdk/rust\""));
    let (code, _, err) = told(handoff(elsewhere.path(), &["new", "b", "--sdk", "."]));
    assert_eq!(code, Some(2));
    assert!(err.contains("is not the SDK: it has no Cargo.toml"), "{err}");
}

#[test]
fn a_shell_gets_its_completions() {
    for shell in ["bash", "zsh", "fish"] {
        let (code, out, _) = in_new_dir(&["completions", shell]);
        assert_eq!(code, Some(0));
        assert!(out.contains("handoff"), "{shell}");
    }
}
