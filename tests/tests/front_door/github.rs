//! The command line in a step of GitHub Actions.

use std::path::{Path, PathBuf};

use handoff_tests::{Handoff, Server};

use crate::cli::{assert_says, at, file, handoff};

/// The command with what GitHub sets for a step whose files are in `step`.
fn in_step(command: Handoff, step: &Path) -> Handoff {
    let path = |path: PathBuf| path.to_str().unwrap().to_owned();
    command
        .variable("GITHUB_ACTIONS", "true")
        .variable("CI", "true")
        .variable("GITHUB_WORKSPACE", &path(checkout()))
        .variable("GITHUB_STEP_SUMMARY", &path(step.join("summary.md")))
        .variable("GITHUB_OUTPUT", &path(step.join("output")))
}

fn checkout() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap().to_owned()
}

/// What GitHub's runner takes for commands: a line that begins with `::NAME` after spaces, unless
/// commands are stopped; and `##[NAME]` anywhere, which nothing of ours writes.
fn commands(log: &str) -> Vec<&str> {
    let mut go_on: Option<String> = None;
    let mut commands = Vec::new();
    for line in log.lines().map(str::trim_start) {
        if let Some(word) = &go_on {
            if line == word {
                go_on = None;
            }
        } else if let Some(word) = line.strip_prefix("::stop-commands::") {
            go_on = Some(format!("::{word}::"));
        } else {
            assert!(!line.contains("##["), "{line}");
            commands.extend(line.starts_with("::").then_some(line));
        }
    }
    assert_eq!(go_on, None, "commands of the step go on after us:\n{log}");
    commands
}

fn read(step: &Path, name: &str) -> String {
    std::fs::read_to_string(step.join(name)).unwrap()
}

/// Line and place of the assertion that fails in the suite `hello`.
fn place_of_failure() -> String {
    let source = std::fs::read_to_string(checkout().join("examples/hello/src/lib.rs")).unwrap();
    let at = source.lines().position(|line| line.contains("arithmetic still works")).unwrap();
    format!("file=examples/hello/src/lib.rs,line={}", at + 1)
}

#[track_caller]
fn assert_told(log: &str, step: &Path) {
    let commands = commands(log);
    let of =
        |kind: &str| commands.iter().filter(|c| c.starts_with(kind)).copied().collect::<Vec<_>>();
    let errors = of("::error ");
    assert_eq!(errors.len(), 2, "{commands:#?}");
    assert_says(
        errors[0],
        &[&place_of_failure(), ",title=hello fails (", "arithmetic still works"],
    );
    assert_eq!(of("::warning ").len(), 2, "the soft one and the flaky one: {commands:#?}");
    assert_eq!(of("::group::").len(), of("::endgroup::").len());
    assert!(of("::group::").contains(&"::group::hello fails"), "{commands:#?}");
    let summary = read(step, "summary.md");
    assert_says(
        &summary,
        &["❌ failed", "| failed | <code>fails</code> |", "| flaky |", "<details>"],
    );
    assert_says(&summary, &["is masked wherever", "arithmetic still works"][1..]);
    assert!(read(step, "output").ends_with("verdict=failed\n"));
}

#[tokio::test]
async fn a_test_tells_its_failures_as_annotations_and_in_the_summary() {
    let step = tempfile::tempdir().unwrap();
    let hello = handoff(&format!("test {}", file("hello")));
    let log = in_step(hello, step.path()).run().await.expect(100);
    assert_told(&log, step.path());
    // A second command of the same step adds to them.
    let hello = handoff(&format!("test {} passes", file("hello")));
    let log = in_step(hello, step.path()).run().await.expect(0);
    let commands = commands(&log);
    assert_eq!(commands.len(), 2, "one group and no annotation: {commands:#?}");
    let summary = read(step.path(), "summary.md");
    assert_eq!(summary.matches("### ").count(), 2, "{summary}");
    assert!(read(step.path(), "output").ends_with("verdict=passed\n"));
}

#[tokio::test]
async fn a_run_on_a_server_tells_the_same() {
    let step = tempfile::tempdir().unwrap();
    let server = Server::start().await;
    server.client().upload_guest("hello").await;
    let log = in_step(at(&server, "run hello"), step.path()).run().await.expect(100);
    assert_told(&log, step.path());
    let run = server.client().json("/suites/default/hello/runs/1").await;
    let id = run["id"].as_str().unwrap();
    assert_says(&read(step.path(), "output"), &[&format!("run-id={id}\n")]);
    // A failure of the command is an annotation too.
    let told = in_step(at(&server, "run nowhere"), step.path()).run().await.failure(2);
    let [command] = &commands(&told)[..] else { panic!("{told}") };
    assert_says(command, &["::error title=handoff::", "default/nowhere"]);
    assert!(read(step.path(), "output").ends_with("verdict=usage\n"));
}

#[tokio::test]
async fn it_is_switched_off_and_on_by_an_option() {
    let step = tempfile::tempdir().unwrap();
    let line = format!("test {} --github", file("hello"));
    let off = in_step(handoff(&format!("{line} never")), step.path()).run().await.expect(100);
    assert!(!off.lines().any(|line| line.trim_start().starts_with("::")), "{off}");
    assert!(!step.path().join("summary.md").exists() && !step.path().join("output").exists());
    let on = handoff(&format!("{line} always")).run().await.expect(100);
    assert!(commands(&on).iter().any(|command| command.starts_with("::error ")), "{on}");
    let json = in_step(handoff(&format!("test {} -o json", file("hello"))), step.path());
    let ended = json.run().await;
    assert_told(&ended.stderr, step.path());
    serde_json::from_str::<serde_json::Value>(&ended.expect(100)).unwrap();
}
