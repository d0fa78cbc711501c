//! Test programs that were never written for us: found, run one test at a time, and judged by what they
//! say.

use handoff_tests::{
    Answer, Client, Handoff, Server, Settings, guest, guest_file, optional_guest, patiently,
};
use reqwest::StatusCode;
use serde_json::{Value, json};

use crate::results::{array, assert_says, attempt, lines, metric, only, run_of, test, text};

/// Uploads a program with these things said of it.
async fn brought(client: &Client, program: Vec<u8>, said: &[(&str, &str)]) -> Answer {
    client.send(client.upload_request(program).query(said)).await
}

/// The version of a program that is called `shop`.
async fn shop(client: &Client, program: &str) -> Value {
    brought(client, guest(program), &[("name", "shop")]).await.expect(StatusCode::CREATED)
}

fn names(version: &Value) -> Vec<&str> {
    array(&version["tests"]).iter().map(|test| text(&test["name"])).collect()
}

/// How a test ends: name, status, cause, and words of its message.
type Case = (&'static str, &'static str, Option<&'static str>, &'static str);

#[track_caller]
fn assert_ends(run: &Value, cases: &[Case]) {
    for (name, status, cause, message) in cases {
        assert_eq!(test(run, name)["status"], *status, "{name}");
        if array(&test(run, name)["attempts"]).is_empty() {
            assert_eq!(test(run, name)["reason"], *message, "{name} was not run");
            continue;
        }
        let attempt = attempt(run, name);
        assert_eq!(attempt["status"], *status, "{name}: {attempt:#}");
        assert_eq!(attempt["cause"], json!(cause), "{name}: {attempt:#}");
        assert_says(attempt["message"].as_str().unwrap_or_default(), &[message]);
    }
}

const LIBTEST: &[Case] = &[
    ("tests::passes", "passed", None, ""),
    ("tests::panics", "failed", Some("panic"), "sums\n  left: 2\n right: 3"),
    ("tests::returns_an_error", "failed", Some("assertion"), "no stock"),
    ("tests::is_ignored", "skipped", None, "disabled: ignored: takes long"),
    ("tests::should_panic", "skipped", None, "must panic"),
    ("tests::exits_in_the_middle", "failed", Some("exit"), "exit code 0 in the middle"),
    ("tests::exits_with_3", "failed", Some("exit"), "in the middle of the test"),
    ("tests::computes_for_ever", "failed", Some("timeout"), "deadline of 1500 ms"),
    ("tests::takes_all_memory", "failed", Some("memory"), "memory_bytes"),
    (
        "tests::overflows_its_stack",
        "failed",
        Some("trap"),
        "its stack overflowed (setting `sandbox.stack_bytes`)",
    ),
    ("tests::sees_its_name_and_environment", "passed", None, ""),
    ("tests::reads_its_fixtures", "failed", Some("panic"), "the stock is there"),
    ("tests::is_the_only_one", "passed", None, ""),
];

#[tokio::test]
async fn each_test_of_rusts_harness_runs_alone_and_ends_as_it_says() {
    let server = Server::start().await;
    let client = server.client();
    for program in ["program-libtest", "program-libtest-p1"] {
        let version = shop(&client, program).await;
        assert_eq!(version["protocol"], "libtest", "{version:#}");
        assert_eq!(names(&version).len(), LIBTEST.len());
        // Known beforehand, and never run.
        let ignored = array(&version["tests"]).iter().filter(|test| !test["disabled"].is_null());
        let ignored: Vec<_> =
            ignored.map(|test| (text(&test["name"]), &test["disabled"])).collect();
        assert_eq!(ignored, [("tests::is_ignored", &json!("ignored: takes long"))]);
        client.set_policy("shop", &json!({"env": {"COLOUR": "red"}})).await;
        let request = json!({"test_timeout_ms": 1500});
        let run = run_of(&client, "default/shop", &request).await;
        assert_ends(&run, LIBTEST);
        assert!(array(&test(&run, "tests::is_ignored")["attempts"]).is_empty());
        let place = &attempt(&run, "tests::panics")["location"];
        assert!(text(&place["file"]).ends_with("src/lib.rs"), "{place}");
        // There is no setup, and it passed.
        assert_eq!(run["setup"]["attempts"][0]["status"], "passed", "{:#}", run["setup"]);
        // What the test wrote is there, before a panic and a kill too.
        for (name, line) in [
            ("tests::passes", "in stock: 3"),
            ("tests::passes", "and a warning"),
            ("tests::panics", "before the panic"),
            ("tests::computes_for_ever", "begun"),
            ("tests::sees_its_name_and_environment", "COLOUR is Ok(\"red\")"),
        ] {
            let written = lines(&client, &run, name).await;
            assert!(written.iter().any(|written| written.ends_with(line)), "{name}: {written:#?}");
        }
    }
}

const GO: &[Case] = &[
    ("TestPasses", "passed", None, ""),
    ("TestFails", "failed", Some("assertion"), "got 2, want 3\nand no more"),
    ("TestSkips", "skipped", None, "no card"),
    ("TestParts", "failed", Some("assertion"), "pays: declined"),
    ("TestPanics", "failed", Some("panic"), "assignment to entry in nil map"),
    ("TestExits", "failed", Some("exit"), "in the middle of the test"),
    ("TestLeaves", "failed", Some("panic"), "unexpected call to os.Exit(0) during test"),
    ("TestComputesForEver", "failed", Some("timeout"), "deadline of 3 s"),
    ("TestTakesAllMemory", "failed", Some("memory"), "memory_bytes"),
    ("TestReadsTestdata", "failed", Some("assertion"), "testdata/stock.txt"),
    ("Example_sums", "failed", Some("assertion"), "got:\n2\nwant:\n3"),
];

#[tokio::test]
async fn each_test_of_gos_harness_runs_alone_and_ends_as_it_says() {
    let Some(program) = optional_guest("program-go") else { return };
    let server = Server::start().await;
    let client = server.client();
    let version = brought(&client, program, &[("name", "shop")]).await.expect(StatusCode::CREATED);
    assert_eq!(version["protocol"], "go-test", "{version:#}");
    // No benchmark, no fuzz target.
    assert_eq!(names(&version), GO.iter().map(|case| case.0).collect::<Vec<_>>());
    let run = run_of(&client, "default/shop", &json!({"test_timeout_ms": 3000})).await;
    assert_ends(&run, GO);
    let place = &attempt(&run, "TestFails")["location"];
    assert_eq!((&place["file"], &place["line"]), (&json!("shop_test.go"), &json!(17)), "{place}");
    let parts = client.json(&format!("/runs/{}/tests/TestParts", text(&run["id"]))).await;
    let parts = array(&parts["attempts"][0]["detail"]["sub_results"]).to_vec();
    let told = |part: &Value| format!("{} {}", text(&part["name"]), text(&part["status"]));
    let told: Vec<_> = parts.iter().map(told).collect();
    assert_eq!(told, ["sells passed", "pays failed", "delivers skipped"]);
    let written = lines(&client, &run, "TestPasses").await;
    assert!(written.iter().any(|line| line == "=== RUN   TestPasses"), "{written:#?}");
    assert!(written.iter().any(|line| line == "printed"), "{written:#?}");
}

#[tokio::test]
async fn a_program_without_a_harness_is_one_test() {
    let server = Server::start().await;
    let client = server.client();
    let version = shop(&client, "program-plain-p1").await;
    assert_eq!((names(&version), &version["protocol"]), (vec!["shop"], &json!("exit-code")));
    for (end, status, cause, message) in [
        (None, "passed", None, ""),
        (Some("0"), "passed", None, ""),
        // Preview 1 has 7 and WASI 0.2 only that it is no success.
        (Some("7"), "failed", Some("exit"), "exit code 1: the disk is gone"),
        (Some("panic"), "failed", Some("panic"), "no disk"),
        (Some("abort"), "failed", Some("trap"), "aborted"),
        (Some("loop"), "failed", Some("timeout"), "deadline of 1 s"),
    ] {
        let env = end.map_or(json!({}), |end| json!({ "END": end }));
        client.set_policy("shop", &json!({ "env": env })).await;
        let run = run_of(&client, "default/shop", &json!({"test_timeout_ms": 1000})).await;
        assert_ends(&run, &[("shop", status, cause, message)]);
        assert_eq!(lines(&client, &run, "shop").await[0], "0 arguments");
    }
}

#[tokio::test]
async fn a_program_gets_its_arguments_before_those_of_its_harness() {
    let server = Server::start().await;
    let client = server.client();
    shop(&client, "program-plain-p1").await;
    client.set_policy("shop", &json!({"args": ["--fast", "größe ✓", ""]})).await;
    let run = run_of(&client, "default/shop", &json!({})).await;
    assert_eq!(lines(&client, &run, "shop").await[0], "3 arguments");
    shop(&client, "program-libtest").await;
    client.set_policy("shop", &json!({"args": ["--test-threads=1"]})).await;
    let name = "tests::sees_its_name_and_environment";
    let run = run_of(&client, "default/shop", &only(name)).await;
    assert_ends(&run, &[(name, "passed", None, "")]);
    let called =
        format!("called with [\"--test-threads=1\", {name:?}, \"--exact\", \"--nocapture\"]");
    assert!(lines(&client, &run, name).await.iter().any(|line| line.ends_with(&called)));
    // As many as there may be reach a program for preview 1 too, and one made of Go.
    let (policy, series) =
        ("/suites/default/shop/policy", "handoff_limit_hits_total{limit=\"args_bytes\"}");
    let most = json!({"args": ["x".repeat((16 << 10) - 1)]});
    let mut programs = vec![guest("program-plain-p1"), guest("program-plain")];
    programs.extend(optional_guest("program-go"));
    for program in programs {
        brought(&client, program, &[("name", "shop"), ("protocol", "exit-code")]).await;
        client.set_policy("shop", &most).await;
        let run = run_of(&client, "default/shop", &json!({})).await;
        let message = attempt(&run, "shop")["message"].clone();
        assert!(!message.to_string().contains("trapped"), "{message}");
    }
    let more = json!({"args": ["x".repeat(16 << 10)]});
    let told = client.put(policy, &more).await.problem(422);
    assert_says(&told, &["args: they have 16385 bytes", "`args_bytes`"]);
    assert_eq!(metric(&client, series).await, 1);
    let policy = client.json(policy).await;
    assert_eq!((&policy["args"], &policy["fixtures_path"]), (&most["args"], &Value::Null));
}

#[tokio::test]
async fn what_writes_tap_is_read_as_tap_given_or_found() {
    let server = Server::start().await;
    let client = server.client();
    for (program, said) in [
        ("program-tap", &[("name", "shop"), ("protocol", "tap")][..]),
        ("program-tap-p1", &[("name", "shop")]),
    ] {
        brought(&client, guest(program), said).await.expect(StatusCode::CREATED);
        client.set_policy("shop", &json!({"env": {"STOCK": "full"}})).await;
        let run = run_of(&client, "default/shop", &json!({})).await;
        assert_ends(&run, &[("shop", "passed", None, "")]);
        client.set_policy("shop", &json!({})).await;
        let run = run_of(&client, "default/shop", &json!({})).await;
        assert_ends(&run, &[("shop", "failed", Some("assertion"), "delivers: message: sold out")]);
        let test = client.json(&format!("/runs/{}/tests/shop", text(&run["id"]))).await;
        let parts = array(&test["attempts"][0]["detail"]["sub_results"]);
        let ends: Vec<_> = parts.iter().map(|part| text(&part["status"])).collect();
        assert_eq!(ends, ["passed", "skipped", "failed"]);
    }
}

/// The log keeps the start and the end of so many points; what they come to is known all the same.
#[tokio::test]
async fn more_points_than_the_log_keeps_count_all_the_same() {
    let server = Server::start().await;
    let client = server.client();
    brought(&client, guest("program-tap"), &[("name", "shop")]).await.expect(StatusCode::CREATED);
    for (failing, expected) in [
        ("0", ("shop", "passed", None, "")),
        ("15000", ("shop", "failed", Some("assertion"), "book number 15000 is sold: not ok")),
    ] {
        let env = json!({"env": {"POINTS": "30000", "FAILING": failing}});
        client.set_policy("shop", &env).await;
        let run = run_of(&client, "default/shop", &json!({})).await;
        assert_ends(&run, &[expected]);
        assert_eq!(attempt(&run, "shop")["logs_truncated"], true);
        let test = client.json(&format!("/runs/{}/tests/shop", text(&run["id"]))).await;
        let parts = array(&test["attempts"][0]["detail"]["sub_results"]);
        assert!((100..10_000).contains(&parts.len()), "{} parts", parts.len());
    }
}

#[tokio::test]
async fn what_has_to_be_said_of_a_program_is_asked_for() {
    let server = Server::start().await;
    let client = server.client();
    let libtest = || guest("program-libtest");
    let refused = async |program, said: &[(&str, &str)], status| {
        brought(&client, program, said).await.problem(status)
    };
    assert_says(&refused(libtest(), &[], 422).await, &["test program", "?name=", "--name"]);
    let unknown = [("name", "shop"), ("protocol", "junit")];
    assert_says(&refused(libtest(), &unknown, 400).await, &["protocol"]);
    assert_says(&refused(libtest(), &[("name", "No name")], 400).await, &["name"]);
    // The wrong protocol: it lists nothing that way.
    let wrong = [("name", "shop"), ("protocol", "go-test")];
    let own = "exit code 1 (error: Unrecognized option";
    assert_says(
        &refused(libtest(), &wrong, 422).await,
        &["describe", own, "leave the protocol out"],
    );
    let plain = [("name", "shop"), ("protocol", "libtest")];
    let told = refused(guest("program-plain"), &plain, 422).await;
    assert_says(&told, &["did not list its tests as libtest does"]);
    // A suite knows itself.
    let told = refused(guest("noop"), &[("protocol", "tap")], 422).await;
    assert_says(&told, &["tells its tests itself", "tap"]);
    let version = brought(&client, guest("noop"), &[("name", "other")]).await;
    assert_eq!(version.expect(StatusCode::CREATED)["suite"]["name"], "noop");
    // The same program is not two things at once.
    shop(&client, "program-libtest").await;
    let again = brought(&client, libtest(), &[("name", "shop")]).await;
    assert_eq!(again.expect(StatusCode::OK)["protocol"], "libtest");
    let told = refused(libtest(), &[("name", "shop"), ("protocol", "exit-code")], 409).await;
    assert_says(&told, &["default/shop", "libtest"]);
}

/// What is no program: a module that is neither, one for another system, and one that breaks off.
#[tokio::test]
async fn a_module_that_is_no_program_is_refused_with_what_was_expected() {
    let server = Server::start().await;
    let client = server.client();
    let whole = guest("program-plain-p1");
    let nothing = b"\0asm\x01\0\0\0".to_vec();
    // It imports the function `f` from `env`, and exports it as `_start`.
    let foreign = b"\0asm\x01\0\0\0\x01\x04\x01\x60\0\0\x02\x09\x01\x03env\x01f\0\0\x07\x0a\x01\x06_start\0\0";
    for (module, words) in [
        (nothing, &["exports neither _start", "WASI"][..]),
        (foreign.to_vec(), &["imports f from env", "WASI preview 1"]),
        (whole[..whole.len() / 2].to_vec(), &["breaks off"]),
    ] {
        let said = [("name", "shop")];
        assert_says(&brought(&client, module, &said).await.problem(422), words);
    }
    assert!(client.list("/suites").await.is_empty());
}

#[tokio::test]
async fn a_hostile_list_is_refused_or_is_no_list() {
    let server = Settings::default().flag("sandbox-describe-timeout-ms", 2_000).start().await;
    let client = server.client();
    let program = || guest("program-hostile-p1");
    for (name, words) in [
        ("long", &["names of at most 512 bytes"][..]),
        ("many", &["100000 tests", "20000 are allowed"]),
        ("bytes", &["test 1", "not UTF-8"]),
        ("twice", &["two tests are named \"a\""]),
        ("none", &["no tests"]),
        ("endless", &["did not answer within 2 s"]),
        ("silent", &["did not answer within 2 s"]),
        ("usage", &["did not list its tests as libtest does"]),
    ] {
        let said = [("name", name), ("protocol", "libtest")];
        let told = brought(&client, program(), &said).await.problem(422);
        assert_says(&told, words);
    }
    assert!(client.list("/suites").await.is_empty());
    // Where no protocol is given, a list that is one is judged, and what is none is a plain program.
    for (name, status) in
        [("many", 422), ("twice", 422), ("bytes", 422), ("none", 201), ("silent", 201)]
    {
        let answer = brought(&client, program(), &[("name", name)]).await;
        assert_eq!(answer.status.as_u16(), status, "{name}: {answer:?}");
    }
}

#[tokio::test]
async fn a_program_that_speaks_of_other_tests_decides_about_its_own_alone() {
    let server = Server::start().await;
    let client = server.client();
    let said = [("name", "forged")];
    let answer = brought(&client, guest("program-hostile"), &said).await;
    assert_eq!(names(&answer.expect(StatusCode::CREATED)), ["one", "other"]);
    let run = run_of(&client, "default/forged", &only("one")).await;
    assert_ends(&run, &[("one", "passed", None, "")]);
    assert_eq!((&run["counts"]["passed"], &run["counts"]["skipped"]), (&json!(1), &json!(1)));
}

#[tokio::test]
async fn the_command_line_runs_a_program_as_it_is() {
    let file = |name: &str| guest_file(name).to_str().expect("a plain path").to_owned();
    let handoff = |line: &str| Handoff::new(&line.split_whitespace().collect::<Vec<_>>()).run();
    let (libtest, plain) = (file("program-libtest-p1"), file("program-plain"));
    let passes = handoff(&format!("test {libtest} --name shop passes")).await;
    assert_says(&passes.expect(0), &["1 test run: 1 passed", "tests::passes"]);
    let panics = handoff(&format!("test {libtest} panics")).await;
    assert_says(&panics.expect(100), &["tests::panics", "sums", "before the panic", "src/lib.rs"]);
    let listed = handoff(&format!("test {libtest} --list")).await;
    let listed = listed.expect(0);
    assert_says(&listed, &["tests::should_panic\n", "tests::passes\n"]);
    assert!(!listed.contains("is_ignored"), "{listed}");
    // Named after its file.
    assert_says(&handoff(&format!("test {plain}")).await.expect(0), &["program-plain"]);
    let wrong = handoff(&format!("test {plain} --protocol go-test")).await;
    assert_says(&wrong.failure(2), &["go-test"]);
    let inspected = handoff(&format!("inspect {libtest} --tests")).await.expect(0);
    assert_says(&inspected, &["kind test program in Rust", "protocol libtest", "tests::passes"]);
    let json = handoff(&format!("inspect {plain} -o json")).await.expect(0);
    let json: Value = serde_json::from_str(&json).unwrap();
    assert_eq!(json["kind"], "program", "{json:#}");
    let server = Server::start().await;
    let upload = Handoff::new(&["upload", &libtest, "--name", "shop"]);
    let uploaded = upload.variable("HANDOFF_SERVER", server.url()).run().await.expect(0);
    assert_says(&uploaded, &["default/shop", "13 tests", "run as libtest"]);
}

#[tokio::test]
async fn a_run_of_a_program_means_the_same_after_a_restart() {
    let mut server = Server::start().await;
    let client = server.client();
    shop(&client, "program-libtest").await;
    let filter = "computes_for_ever|returns_an_error";
    let run = client.submit("shop", &json!({"filter": filter, "test_timeout_ms": 3000})).await;
    let mut events = client.events(&run, 0).await;
    patiently("the test begins", events.wait_for("attempt_started")).await;
    server.kill9().await;
    let server = server.restart().await;
    let run = server.client().finished(&run).await;
    let ends = LIBTEST.iter().filter(|case| case.0.contains("returns_an_error"));
    assert_ends(&run, &ends.copied().collect::<Vec<_>>());
    assert_eq!(test(&run, "tests::computes_for_ever")["status"], "failed");
}
