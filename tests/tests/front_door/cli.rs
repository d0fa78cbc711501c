//! The command line against a real server, and `handoff test` without one.

use std::path::Path;

use handoff_tests::{Handoff, Server, Settings, Target, guest_file, patiently, program};
use serde_json::{Value, json};

use crate::results::attempt;
use crate::steps;

/// `handoff` with these words as arguments.
pub(crate) fn handoff(line: &str) -> Handoff {
    Handoff::new(&line.split_whitespace().collect::<Vec<_>>())
}

/// The same for a server.
pub(crate) fn at(server: &Server, line: &str) -> Handoff {
    handoff(line).variable("HANDOFF_SERVER", server.url())
}

pub(crate) fn file(name: &str) -> String {
    guest_file(name).to_str().expect("the target directory has a plain name").to_owned()
}

#[track_caller]
pub(crate) fn assert_says(text: &str, words: &[&str]) {
    for word in words {
        assert!(text.contains(word), "{word:?} is not said:\n{text}");
    }
}

/// A server with this guest.
async fn server_with(guest: &str) -> Server {
    let server = Server::start().await;
    server.client().upload_guest(guest).await;
    server
}

#[tokio::test]
async fn the_exit_code_of_a_test_without_a_server_tells_how_it_ended() {
    let (ten, flaky, hello) = (file("ten"), file("flaky"), file("hello"));
    for (line, code, words) in [
        (format!("test {ten}"), 0, &["9 tests run: 8 passed", "1 skipped", "counts_attempts"][..]),
        (format!("test {hello}"), 100, &["FAIL", "arithmetic still works", "Summary"]),
        (format!("test {flaky} steady"), 0, &["1 test"]),
        (format!("test {flaky} --fail-on-flaky assertion"), 101, &["flaky"]),
        (format!("test {flaky} assertion"), 0, &["TRY 1"]),
        (format!("test {ten} --list"), 0, &["adds\nsplits\n"]),
        (
            format!("test {} --args=--fast", file("program-libtest")),
            100,
            &["before the test began: error: Unrecognized option: 'fast'"],
        ),
    ] {
        let ended = handoff(&line).run().await;
        assert_says(&ended.expect(code), words);
    }
    for (line, code, words) in [
        (format!("test {ten} nothing-of-that-name"), 4, &["no test"][..]),
        (format!("test {ten} ("), 2, &["regular expression"]),
        ("test no-such-file.wasm".into(), 2, &["no-such-file.wasm"]),
        (format!("test {ten} --no-such-flag"), 2, &["--no-such-flag"]),
        (format!("test {ten} --max-failures 0"), 2, &["a whole number from 1 on"]),
        (format!("test {ten} --report junit={ten}/r.xml"), 2, &["write the report", "r.xml"]),
        (format!("test {}", file("describe-traps")), 2, &["describe"]),
        (format!("test {ten} --args=-v"), 2, &["no test program", "`args`"]),
        (format!("test {ten} --list --report tap=-"), 2, &["--list", "--report"]),
    ] {
        let ended = handoff(&line).run().await;
        assert_says(&ended.failure(code), words);
    }
}

#[tokio::test]
async fn a_test_without_a_server_reaches_what_it_is_granted_and_writes_reports() {
    let target = Target::start().await;
    let home = tempfile::tempdir().unwrap();
    let steps = file("steps");
    let url = target.url();
    let granted = format!("test {steps} --allow-http {url} --config target={url}");
    handoff(&granted).run().await.expect(0);
    let denied = format!("test {steps} --config target={url} --report junit=r.xml -o json");
    let ended = handoff(&denied).directory(home.path()).run().await;
    assert_says(&ended.stderr, &["FAIL"]);
    let report: Value = serde_json::from_str(&ended.expect(100)).unwrap();
    assert_eq!(report["status"], "failed");
    let junit = std::fs::read_to_string(home.path().join("r.xml")).unwrap();
    assert!(junit.starts_with("<?xml"));
}

#[tokio::test]
async fn uploading_running_and_looking_back_work_together() {
    let server = Server::start().await;
    let upload = format!("upload {}", file("hello"));
    assert_says(&at(&server, &upload).run().await.expect(0), &["uploaded", "default/hello"]);
    assert_says(&at(&server, &upload).run().await.expect(0), &["already there"]);
    let version: Value =
        serde_json::from_str(&at(&server, &format!("{upload} -o json")).run().await.expect(0))
            .unwrap();
    assert_eq!(version["suite"]["name"], "hello");
    assert_says(&at(&server, "suites").run().await.expect(0), &["default/hello", "sha256:"]);

    let told = at(&server, "run hello --reference v1 --param a=b").run().await.expect(100);
    assert_says(&told, &["PASS", "passes", "FAIL", "arithmetic still works", "Summary", "SKIP"]);
    let told = at(&server, "run hello passes -o json").run().await;
    assert_says(&told.stderr, &["passes"]);
    let run: Value = serde_json::from_str(&told.expect(0)).unwrap();
    assert_eq!((&run["status"], &run["number"]), (&json!("passed"), &json!(2)));

    let runs = at(&server, "runs --suite hello --status failed").run().await.expect(0);
    assert_says(&runs, &["default/hello#1", "failed", "v1"]);
    assert!(!runs.contains("#2"), "{runs}");
    let listed = at(&server, "runs -o json --limit 1").run().await.expect(0);
    let listed: Value = serde_json::from_str(&listed).unwrap();
    assert_eq!(listed["items"][0]["id"], run["id"]);
    let cursor = listed["next_cursor"].as_str().unwrap();
    let rest = at(&server, &format!("runs --cursor {cursor}")).run().await.expect(0);
    assert_says(&rest, &["#1"]);
    assert_says(&at(&server, "runs hello#1").run().await.expect(0), &["fails softly", "(flaky)"]);

    let logs = at(&server, "logs hello#1 passes").run().await.expect(0);
    assert_says(&logs, &["is masked wherever people could see it"]);
    assert!(!logs.contains("open sesame"), "{logs}");
    let lines = at(&server, "logs hello#1 -o json").run().await.expect(0);
    assert!(lines.lines().all(|line| serde_json::from_str::<Value>(line).is_ok()), "{lines}");
}

#[tokio::test]
async fn a_run_is_told_live() {
    let target = Target::start().await;
    let server = steps::server(Settings::default(), &target).await;
    let line = "run steps --param run=a --param path-step-2=/hold/a";
    let mut run = at(&server, line).start();
    run.wait_for("step-1").await;
    steps::wait_until_held(&target, "a", 1).await;
    target.release("a");
    assert_says(&run.ended().await.expect(0), &["step-5", "5 tests run: 5 passed"]);
}

#[tokio::test]
async fn waiting_too_long_and_detaching_leave_the_run_alone() {
    let target = Target::start().await;
    let server = steps::server(Settings::default(), &target).await;
    let client = server.client();
    let held = "run steps --param run=a --param path-step-2=/hold/a";
    let told = at(&server, &format!("{held} --wait 1ms")).run().await.failure(103);
    assert_says(&told, &["it goes on"]);
    let id = at(&server, &format!("{held} --detach")).run().await.expect(0);
    target.release("a");
    assert_eq!(client.finished(id.trim()).await["status"], "passed");
    let first = client.json("/suites/default/steps/runs/1").await;
    assert_eq!(client.finished(first["id"].as_str().unwrap()).await["status"], "passed");
}

#[tokio::test]
async fn a_server_that_goes_away_and_stays_away_ends_the_command_and_not_the_run() {
    let target = Target::start().await;
    let mut server = steps::server(Settings::default(), &target).await;
    let held = "run steps --away 100ms --param run=a --param path-step-2=/hold/a";
    let mut run = at(&server, held).start();
    run.wait_for("step-1").await;
    steps::wait_until_held(&target, "a", 1).await;
    server.kill9().await;
    let told = run.ended().await.failure(96);
    assert_says(&told, &["was away for 100ms", "goes on when it is back"]);
    target.release("a");
    let server = server.restart().await;
    let client = server.client();
    let first = client.json("/suites/default/steps/runs/1").await;
    assert_eq!(client.finished(first["id"].as_str().unwrap()).await["status"], "passed");
}

#[tokio::test]
async fn a_run_that_the_platform_cannot_carry_out_ends_the_command_with_a_code_of_its_own() {
    let target = Target::start().await;
    // Nothing compiled is kept, so that the component itself is needed.
    let settings = Settings::default().flag("compile-loaded", 0).flag("compile-cache-bytes", 0);
    let server = steps::server(settings.flag("runner-concurrent-runs", 1), &target).await;
    let client = server.client();
    let version = client.upload_guest("noop").await;
    client.submit("steps", &steps::held("a")).await;
    steps::wait_until_held(&target, "a", 1).await;
    let run = at(&server, "run noop").start();
    patiently("the run is queued", async {
        while client.get("/suites/default/noop/runs/1").await.status != 200 {}
    })
    .await;
    // A disk that lost a file.
    let digest = version["suite"]["version"].as_str().unwrap().trim_start_matches("sha256:");
    let component = server.data().join("components").join(&digest[..2]).join(digest);
    std::fs::remove_file(component).unwrap();
    target.release("a");
    run.ended().await.expect(102);
    assert_eq!(client.json("/suites/default/noop/runs/1").await["status"], "error");
}

#[tokio::test]
async fn of_a_huge_log_of_a_failed_test_the_start_and_the_end_are_shown() {
    let server = server_with("limits").await;
    let client = server.client();
    let test = "prints_a_hundred_megabytes";
    let run = client.run("limits", &json!({"filter": format!("^{test}$")})).await;
    // So that it fails half-way.
    let fuel = attempt(&run, test)["fuel_used"].as_u64().unwrap() / 2;
    let limits = json!({"fuel": fuel, "log_head_bytes": 8 << 20});
    client.set_policy("limits", &json!({"limits": limits})).await;
    let id = |shown: &str| {
        let (_, id) = shown.split_once("are left out here: `handoff logs ").expect("it is told");
        id.split_once('`').unwrap().0.to_owned()
    };
    let shown = at(&server, &format!("run limits ^{test}$")).run().await.expect(100);
    assert_says(&shown, &["FIRST LINE", "(limit `fuel`)"]);
    assert!(shown.len() < 100_000, "{} bytes are shown", shown.len());
    let whole = at(&server, &format!("logs {}", id(&shown))).run().await.expect(0);
    assert!(whole.len() > 8 << 20, "{} bytes are all", whole.len());

    let home = tempfile::tempdir().unwrap();
    let policy = home.path().join("policy.toml");
    let limits = format!("[limits]\nfuel = {fuel}\nlog_head_bytes = {}\n", 8 << 20);
    std::fs::write(&policy, limits).unwrap();
    let line = format!("test {} ^{test}$ --policy {}", file("limits"), policy.display());
    let shown = handoff(&line).run().await.expect(100);
    assert_says(&shown, &["FIRST LINE", "are left out here: a report (--report) has them"]);
    assert!(shown.len() < 100_000, "{} bytes are shown", shown.len());
}

#[tokio::test]
async fn a_failed_setup_is_told_with_its_whole_message() {
    let server = server_with("setup-fails").await;
    let shown = at(&server, "run setup-fails --param long=1").run().await.expect(100);
    let words = ["(setup)", "(teardown)", "SETUP FAILED ON PURPOSE AT LENGTH", "TEARDOWN FAILED"];
    assert_says(&shown, &words);
    assert!(shown.matches(" AT LENGTH").count() >= 2_000, "{shown}");
}

#[tokio::test]
async fn ctrl_c_stops_the_run_and_twice_only_the_command() {
    let target = Target::start().await;
    let server = steps::server(Settings::default(), &target).await;
    let client = server.client();
    let held = "run steps --param run=a --param path-step-2=/hold/a";
    let mut run = at(&server, held).start();
    run.wait_for("step-1").await;
    steps::wait_until_held(&target, "a", 1).await;
    run.interrupt();
    assert_says(&run.ended().await.expect(130), &["cancelled"]);
    assert_eq!(client.json("/suites/default/steps/runs/1").await["status"], "cancelled");

    // Teardown holds the run, so that the command waits for its end after the first.
    let held = "run steps --param run=b --param path-step-2=/hold/b --param path-teardown=/hold/c";
    let mut run = at(&server, held).start();
    run.wait_for("step-1").await;
    steps::wait_until_held(&target, "b", 1).await;
    run.interrupt();
    steps::wait_until_held(&target, "c", 1).await;
    run.interrupt();
    run.ended().await.expect(130);
    target.release("c");
    let second = client.json("/suites/default/steps/runs/2").await;
    let ended = client.finished(second["id"].as_str().unwrap()).await;
    assert_eq!(ended["status"], "cancelled");
    assert_eq!(ended["teardown"]["status"], "passed");
}

/// The exit code of `handoff` with these words, where nobody reads what it writes.
async fn unread(line: &str) -> Option<i32> {
    let (reader, writer) = std::io::pipe().unwrap();
    drop(reader);
    let mut command = tokio::process::Command::new(program());
    command.args(line.split_whitespace()).stderr(writer.try_clone().unwrap()).stdout(writer);
    patiently("the command ends", command.status()).await.unwrap().code()
}

#[tokio::test]
async fn a_verdict_holds_though_nobody_reads_what_is_written() {
    let server = server_with("hello").await;
    let url = server.url();
    for (line, code) in [
        (format!("test {}", file("hello")), 100),
        (format!("test {} -o json", file("hello")), 100),
        (format!("test {} --report junit=-", file("ten")), 0),
        ("test no-such-file.wasm".to_owned(), 2),
        (format!("run --server {url} hello"), 100),
        (format!("run --server {url} hello -o json"), 100),
        (format!("retry --server {url} hello#1"), 100),
        (format!("runs --server {url}"), 0),
    ] {
        assert_eq!(unread(&line).await, Some(code), "{line}");
    }
}

#[cfg(target_os = "linux")]
#[tokio::test]
async fn a_result_that_cannot_be_written_is_an_error() {
    for output in ["human", "json"] {
        let full = "exec \"$@\" >/dev/full";
        let (program, ten) = (program(), file("ten"));
        let arguments = ["-c", full, "sh", program.to_str().unwrap(), "test", &ten, "-o", output];
        let ended = Handoff::of(Path::new("sh"), &arguments).run().await;
        assert_says(&ended.failure(102), &["No space left"]);
    }
}

#[tokio::test]
async fn a_test_without_a_server_stops_on_ctrl_c_too() {
    let target = Target::start().await;
    let (steps, url) = (file("steps"), target.url());
    let line = format!(
        "test {steps} --allow-http {url} --config target={url} --param run=a \
         --param path-step-2=/hold/a"
    );
    let mut test = handoff(&line).start();
    test.wait_for("step-1").await;
    steps::wait_until_held(&target, "a", 1).await;
    test.interrupt();
    test.ended().await.expect(130);
    let is_teardown = |seen: &[handoff_tests::Seen]| {
        seen.iter().any(|request| request.query.get("test").is_some_and(|test| test == "teardown"))
    };
    target.wait_for("teardown ran", is_teardown).await;
}

#[tokio::test]
async fn a_run_is_cancelled_and_its_failed_tests_are_tried_again() {
    let target = Target::start().await;
    let server = steps::server(Settings::default(), &target).await;
    let client = server.client();
    let held = "run steps --param run=a --param path-step-2=/hold/a --detach";
    let id = at(&server, held).run().await.expect(0);
    steps::wait_until_held(&target, "a", 1).await;
    assert_says(&at(&server, "retry steps#1").run().await.failure(2), &["not ended"]);
    at(&server, "cancel steps#1").run().await.expect(0);
    assert_eq!(client.finished(id.trim()).await["status"], "cancelled");
    assert_says(&at(&server, "cancel steps#1").run().await.failure(2), &["already ended"]);

    let failing = "run steps --param path-step-3=/status/500";
    at(&server, failing).run().await.expect(100);
    let again = at(&server, "retry steps#2").run().await.expect(100);
    assert_says(&again, &["step-3"]);
    assert!(!again.contains("step-1"), "only what failed runs again:\n{again}");
    assert_says(&at(&server, "retry steps#3").run().await.failure(2), &["steps"]);
}

#[tokio::test]
async fn a_policy_is_set_added_to_and_shown_without_secrets() {
    let server = server_with("noop").await;
    let set = "policy set noop --allow-http http://localhost:1 --secret-env token=MY_TOKEN";
    let policy = at(&server, set).variable("MY_TOKEN", "hunter2").run().await.expect(0);
    assert!(!policy.contains("hunter2"), "{policy}");
    at(&server, "policy set noop --add --config a=b").run().await.expect(0);
    let policy: Value =
        serde_json::from_str(&at(&server, "policy get noop").run().await.expect(0)).unwrap();
    assert_eq!(policy["allow_http"], json!(["http://localhost:1"]));
    assert_eq!(
        (&policy["secrets"], &policy["config"]),
        (&json!({"token": null}), &json!({"a": "b"}))
    );
    at(&server, "policy set noop").run().await.failure(2);
    let nothing = at(&server, "policy set noop --nothing").run().await.expect(0);
    let nothing: Value = serde_json::from_str(&nothing).unwrap();
    assert_eq!(nothing["allow_http"], json!([]));
    at(&server, "policy get nowhere").run().await.failure(2);
}

#[tokio::test]
async fn a_server_that_is_not_there_or_refuses_is_told_as_such() {
    let server = server_with("noop").await;
    // Bound and not listening: nobody else can take the port meanwhile.
    let closed = tokio::net::TcpSocket::new_v4().unwrap();
    closed.bind("127.0.0.1:0".parse().unwrap()).unwrap();
    let away = format!("http://{}", closed.local_addr().unwrap());
    for line in ["runs", "suites", "run noop", "logs noop#1", "policy get noop"] {
        let told = handoff(line).variable("HANDOFF_SERVER", &away).run().await.failure(96);
        assert_says(&told, &[&away]);
    }
    assert_says(&at(&server, "run nowhere").run().await.failure(2), &["default/nowhere"]);
    assert_says(&at(&server, "runs nothing#1").run().await.failure(2), &["nothing"]);
    at(&server, "run noop no-such-test").run().await.failure(4);
    at(&server, "run noop (").run().await.failure(2);
    handoff("runs --server nonsense").run().await.failure(2);
    let upload = format!("upload {}", file("describe-empty"));
    assert_says(&at(&server, &upload).run().await.failure(2), &["no tests"]);
}

#[tokio::test]
async fn reports_of_a_run_are_written_and_have_the_same_verdicts() {
    let home = tempfile::tempdir().unwrap();
    let server = server_with("hello").await;
    let reports =
        ["junit", "json", "go-test", "tap"].map(|form| format!("--report {form}={form}.out"));
    let line = format!("run hello {}", reports.join(" "));
    at(&server, &line).directory(home.path()).run().await.expect(100);
    let read = |form: &str| read(home.path(), form);
    assert!(read("junit").starts_with("<?xml") && read("tap").starts_with("TAP version 14\n"));
    let json: Value = serde_json::from_str(&read("json")).unwrap();
    assert_eq!(json["counts"]["failed"], 2);
    assert_eq!(
        read("go-test").matches("\"Action\":\"fail\"").count(),
        3,
        "two tests and the suite"
    );
    let bad = at(&server, "run hello --report pdf=x").run().await;
    bad.failure(2);
    // A file stands where a directory would have to be: nothing is run, and what is there stays.
    let line = "run hello --report junit=junit.out --report json=new.out --report tap=tap.out/x";
    let nowhere = at(&server, line).directory(home.path()).run().await;
    assert_says(&nowhere.failure(2), &["write the report tap.out/x"]);
    assert_eq!(read("junit").matches("<testsuites").count(), 1);
    assert!(!home.path().join("new.out").exists(), "an empty report is left");
    assert!(!at(&server, "runs").run().await.expect(0).contains("#2"));
}

fn read(home: &Path, form: &str) -> String {
    std::fs::read_to_string(home.join(format!("{form}.out"))).unwrap()
}

#[tokio::test]
async fn output_is_plain_unless_colours_are_asked_for() {
    let hello = file("hello");
    for (line, variable, colours) in [
        (format!("test {hello} passes"), ("UNUSED", "1"), false),
        (format!("test {hello} passes"), ("NO_COLOR", "1"), false),
        (format!("test {hello} passes"), ("CI", "true"), false),
        (format!("test {hello} passes --color always"), ("UNUSED", "1"), true),
        (format!("test {hello} passes --color never"), ("UNUSED", "1"), false),
    ] {
        let told = handoff(&line).variable(variable.0, variable.1).run().await.expect(0);
        assert_eq!(told.contains('\u{1b}'), colours, "{line} {variable:?}:\n{told:?}");
    }
}

#[tokio::test]
async fn inspecting_a_component_tells_what_it_could_reach() {
    let told = handoff(&format!("inspect {}", file("http"))).run().await.expect(0);
    assert_says(&told, &["handoff:suite/tests", "wasi:http/outgoing-handler", "allow_http"]);
    let told = handoff(&format!("inspect {} --tests -o json", file("ten"))).run().await.expect(0);
    let json: Value = serde_json::from_str(&told).unwrap();
    assert!(json.to_string().contains("counts_attempts"), "{json:#}");
    assert_eq!((&json["language"], &json["metered"]), (&"Rust".into(), &true.into()));
    let free = handoff(&format!("inspect {}", file("ten")));
    let free = free.variable("HANDOFF_SANDBOX_UNMETERED_LANGUAGES", "Rust").run().await.expect(0);
    assert_says(&free, &["suite in Rust", "metered no", "`fuel`"]);
    handoff("inspect no-such-file").run().await.failure(2);
    let module = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(module.path(), b"\0asm\x01\0\0\0").unwrap();
    let line = format!("inspect {}", module.path().display());
    assert_says(&handoff(&line).run().await.failure(2), &["core module"]);
}
