//! The action for GitHub Actions: its scripts, run as GitHub's runner runs them.

use std::fs;
use std::os::unix::fs::{PermissionsExt as _, symlink};
use std::path::{Path, PathBuf};

use handoff_tests::{Handoff, Server, program};

use crate::cli::{assert_says, file};

fn source() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap().to_owned()
}

fn script(name: &str) -> PathBuf {
    source().join("deploy/github").join(name)
}

/// A step of a job that runs a script of the action.
struct Step {
    directory: tempfile::TempDir,
}

impl Step {
    fn new() -> Self {
        Self { directory: tempfile::tempdir().unwrap() }
    }

    fn path(&self, name: &str) -> String {
        self.directory.path().join(name).to_str().unwrap().to_owned()
    }

    fn script(&self, name: &str, inputs: &[(&str, &str)]) -> Handoff {
        // GitHub hands over each input, an empty one too.
        let all = ["HANDOFF", "FILE", "SUITE", "SERVER", "FILTER", "SHARD", "ALLOW_HTTP", "ARGS"];
        let mut command = Handoff::of(&script(name), &[])
            .directory(self.directory.path())
            .variable("GITHUB_ACTIONS", "true")
            .variable("GITHUB_ACTION_PATH", source().to_str().unwrap())
            .variable("GITHUB_WORKSPACE", source().to_str().unwrap())
            .variable("GITHUB_OUTPUT", &self.path("output"))
            .variable("GITHUB_STEP_SUMMARY", &self.path("summary.md"))
            .variable("RUNNER_OS", "Linux")
            .variable("RUNNER_ARCH", "X64")
            .variable("RUNNER_TOOL_CACHE", &self.path("tools"))
            .variable("HANDOFF_PROGRAM", program().to_str().unwrap());
        for name in all {
            command = command.variable(&format!("INPUT_{name}"), "");
        }
        for (name, value) in inputs {
            command = command.variable(name, value);
        }
        command
    }

    /// An output of the step: the last value that it was given.
    fn output(&self, name: &str) -> Option<String> {
        let outputs = fs::read_to_string(self.path("output")).unwrap_or_default();
        let named = |line: &str| Some(line.strip_prefix(name)?.strip_prefix('=')?.to_owned());
        outputs.lines().rev().find_map(named)
    }
}

#[tokio::test]
async fn a_test_in_the_job_ends_the_step_by_its_result_and_sets_its_outputs() {
    let step = Step::new();
    let inputs = [
        ("INPUT_MODE", "test"),
        ("INPUT_FILE", &file("hello")),
        ("INPUT_ALLOW_HTTP", "\nhttps://a.example.com\r\n  \nhttp://b.example.com:*\n"),
        ("INPUT_ARGS", "--attempts=3\n--param=a=b c; echo $HOME `x`"),
        ("INPUT_SHARD", "1/1"),
        ("INPUT_REFERENCE", "v1"),
        ("INPUT_REPORT", "reports/junit.xml"),
    ];
    let log = step.script("run.sh", &inputs).run().await.expect(100);
    assert_says(&log, &["::error file=examples/hello/src/lib.rs,line=", "TRY 2", "Shard 1/1"]);
    let outputs = ["verdict", "exit-code", "report", "run-id"].map(|name| step.output(name));
    let expected = [Some("failed"), Some("100"), Some("reports/junit.xml"), None];
    assert_eq!(outputs, expected.map(|text| text.map(str::to_owned)));
    let report = fs::read_to_string(step.path("reports/junit.xml")).unwrap();
    let shard = r#"<property name="handoff.shard" value="1/1"/>"#;
    assert_says(&report, &["<testsuite name=", "handoff.reference", shard]);
    assert!(fs::read_to_string(step.path("summary.md")).unwrap().contains("❌"));

    let step = Step::new();
    let inputs =
        [("INPUT_MODE", "test"), ("INPUT_FILE", &file("hello")), ("INPUT_FILTER", "^passes$")];
    step.script("run.sh", &inputs).run().await.expect(0);
    assert_eq!(step.output("verdict").as_deref(), Some("passed"));
    assert_eq!(step.output("report"), None);
}

#[tokio::test]
async fn runs_on_a_server_are_started_one_after_the_other_and_marked() {
    let step = Step::new();
    let server = Server::start().await;
    for guest in ["noop", "hello"] {
        server.client().upload_guest(guest).await;
    }
    let inputs = [
        ("INPUT_MODE", "run"),
        ("INPUT_SUITE", "noop\ndefault/hello\n"),
        ("INPUT_SERVER", server.url()),
        ("INPUT_REFERENCE", "0123abc"),
    ];
    let log = step.script("run.sh", &inputs).run().await.expect(100);
    assert_says(&log, &["default/noop", "default/hello", "arithmetic still works"]);
    let run = server.client().json("/suites/default/hello/runs/1").await;
    assert_eq!(run["reference"], "0123abc");
    let outputs = ["verdict", "run-id"].map(|name| step.output(name).unwrap());
    assert_eq!(outputs, ["failed", run["id"].as_str().unwrap()]);
    // A server that is away is told apart from tests that failed.
    let away = [("INPUT_MODE", "run"), ("INPUT_SUITE", "noop"), ("INPUT_SERVER", "nonsense")];
    step.script("run.sh", &away).run().await.expect(2);
    assert_eq!(step.output("verdict").as_deref(), Some("usage"));
}

#[tokio::test]
async fn inputs_that_are_missing_are_named() {
    let step = Step::new();
    for (inputs, told) in [
        (vec![("INPUT_MODE", "test")], "the input file is needed"),
        (vec![("INPUT_MODE", "run"), ("INPUT_SUITE", " \n")], "the input suite is needed"),
        (vec![("INPUT_MODE", "both")], "neither test nor run"),
        (
            vec![("INPUT_MODE", "test"), ("INPUT_FILE", "a"), ("INPUT_REPORT", "a\nb=c")],
            "more than one line",
        ),
        (vec![("INPUT_MODE", "test"), ("INPUT_FILE", "--help")], ""),
    ] {
        let ended = step.script("run.sh", &inputs).run().await;
        assert_says(&ended.stderr, &[if told.is_empty() { "./--help" } else { "" }]);
        assert_says(&ended.expect(2), &[told]);
    }
}

#[tokio::test]
async fn the_program_is_the_one_that_is_named_or_on_the_path() {
    let step = Step::new();
    let named = program().to_str().unwrap().to_owned();
    step.script("find.sh", &[("INPUT_HANDOFF", &named)]).run().await.expect(0);
    assert_eq!((step.output("program"), step.output("root")), (Some(named), None));

    let wrong = step.script("find.sh", &[("INPUT_HANDOFF", "no-such-program")]);
    assert_says(&wrong.run().await.expect(2), &["::error", "no-such-program"]);

    let step = Step::new();
    let bin = step.directory.path().join("bin");
    fs::create_dir(&bin).unwrap();
    symlink(program(), bin.join("handoff")).unwrap();
    let path = format!("{}:{}", bin.display(), std::env::var("PATH").unwrap());
    step.script("find.sh", &[("PATH", &path)]).run().await.expect(0);
    assert_eq!(step.output("program"), Some(step.path("bin/handoff")));
}

#[tokio::test]
async fn without_a_program_it_is_built_from_the_actions_own_source_and_cached_by_it() {
    let step = Step::new();
    // An action's source, and a cargo that notes how it was called.
    let action = step.directory.path().join("action");
    for directory in ["host/src", "wit"] {
        fs::create_dir_all(action.join(directory)).unwrap();
    }
    for name in ["Cargo.toml", "Cargo.lock", "rust-toolchain.toml", "host/src/main.rs"] {
        fs::write(action.join(name), name).unwrap();
    }
    let bin = step.directory.path().join("bin");
    fs::create_dir(&bin).unwrap();
    for tool in ["bash", "env", "find", "sort", "xargs", "sha256sum", "cut"] {
        let path = std::env::var("PATH").unwrap();
        let found = path.split(':').map(|dir| Path::new(dir).join(tool)).find(|path| path.exists());
        symlink(found.unwrap(), bin.join(tool)).unwrap();
    }
    let cargo = bin.join("cargo");
    fs::write(&cargo, "#!/usr/bin/env bash\necho \"$PWD: $*\"\n").unwrap();
    fs::set_permissions(&cargo, fs::Permissions::from_mode(0o755)).unwrap();
    let find = async || {
        let variables = [
            ("PATH", bin.to_str().unwrap().to_owned()),
            ("GITHUB_ACTION_PATH", action.to_str().unwrap().to_owned()),
        ];
        let variables = variables.each_ref().map(|(name, value)| (*name, value.as_str()));
        step.script("find.sh", &variables).run().await.expect(0);
        ["key", "root", "program"].map(|name| step.output(name).unwrap())
    };
    let [key, root, program] = find().await;
    assert!(key.starts_with("handoff-Linux-X64-"), "{key}");
    assert!(root.starts_with(&step.path("tools/handoff/")), "{root}");
    assert_eq!(program, format!("{root}/bin/handoff"));
    assert_eq!(find().await[0], key, "it depends on the source alone");
    fs::write(action.join("host/src/main.rs"), "changed").unwrap();
    assert_ne!(find().await[0], key);
    let variables = [
        ("PATH", bin.to_str().unwrap()),
        ("GITHUB_ACTION_PATH", action.to_str().unwrap()),
        ("ROOT", &root),
    ];
    let told = step.script("build.sh", &variables).run().await.expect(0);
    let expected = format!("{}: install --locked --path host --root {root}\n", action.display());
    assert_eq!(told, expected);
}

/// The names in lines such as `  NAME:` between two lines of the action.
fn keys(text: &str, from: &str, to: &str) -> Vec<String> {
    let lines = text.lines().skip_while(|line| *line != from).skip(1);
    let lines = lines.take_while(|line| *line != to);
    let keys = lines.filter_map(|line| line.strip_prefix("  ")?.strip_suffix(':'));
    keys.filter(|key| !key.starts_with(' ')).map(str::to_owned).collect()
}

#[test]
fn each_input_reaches_a_script_and_no_script_is_made_of_one() {
    let action = fs::read_to_string(source().join("action.yml")).unwrap();
    let scripts =
        ["find.sh", "build.sh", "run.sh"].map(|name| fs::read_to_string(script(name)).unwrap());
    let scripts = scripts.concat();
    let inputs = keys(&action, "inputs:", "outputs:");
    assert!(inputs.len() > 8, "{inputs:?}");
    for input in inputs {
        let variable = format!("INPUT_{}", input.to_uppercase().replace('-', "_"));
        assert!(action.contains(&format!("{variable}: ${{{{ inputs.{input} }}}}")), "{input}");
        assert!(scripts.contains(&variable), "{variable} is used");
    }
    for output in keys(&action, "outputs:", "runs:") {
        let from = format!("${{{{ steps.run.outputs.{output} }}}}");
        assert!(action.contains(&from), "{output}");
    }
    // Text of a caller in a command line would be run.
    for run in action.lines().filter(|line| line.trim_start().starts_with("run: '")) {
        assert!(!run.contains("${{"), "{run}");
    }
}
