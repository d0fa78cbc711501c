//! Every way in which a test can end, and everything that it can report.

use handoff_tests::{Client, Server, patiently};
use reqwest::StatusCode;
use serde_json::{Value, json};

use crate::results::{array, assert_says, attempt, detail, lines, log, only, run_of, test, text};

const OUTCOMES: &str = "fixtures/outcomes";
/// The fixture's source, in which its places are found by their markers.
const SOURCE: &str = include_str!("../../guests/outcomes/src/lib.rs");
const SECRET: &str = "s3cret-größe";

async fn server() -> (Server, Client) {
    let server = Server::start().await;
    let client = server.client();
    client.upload_guest("outcomes").await;
    (server, client)
}

/// How a test ends: name, status, cause, words of its message, and what stands on the line of its
/// place.
type Case = (&'static str, &'static str, Option<&'static str>, &'static str, &'static str);

const CASES: &[Case] = &[
    ("passes", "passed", None, "", ""),
    ("größe ✓", "passed", None, "", ""),
    (
        "fails_by_assertion",
        "failed",
        Some("panic"),
        "assertion `left == right` failed: ASSERTION FAILED ON PURPOSE\n  left: 2\n right: 3",
        "ASSERTION FAILED ON PURPOSE",
    ),
    (
        "fails_by_error",
        "failed",
        Some("assertion"),
        "ERROR ON PURPOSE\ncaused by: invalid digit found in string",
        "\"x\".parse()?",
    ),
    (
        "fails_by_anything_displayed",
        "failed",
        Some("assertion"),
        "DISPLAYED ON PURPOSE",
        "fn fails_by_anything_displayed()",
    ),
    ("nested::passes", "passed", None, "", ""),
    (
        "panics_in_a_nested_function",
        "failed",
        Some("panic"),
        "NESTED PANIC ON PURPOSE",
        "NESTED PANIC ON PURPOSE",
    ),
    (
        "reports_a_failure_and_passes",
        "failed",
        Some("assertion"),
        "REPORTED ON PURPOSE",
        "REPORTED ON PURPOSE",
    ),
    ("reports_two_failures_and_panics", "failed", Some("panic"), "FIRST REPORT", "FIRST REPORT"),
    ("skips", "skipped", None, "SKIPPED ON PURPOSE", ""),
    ("fails_softly", "failed", Some("panic"), "SOFT FAILURE ON PURPOSE", "SOFT FAILURE ON PURPOSE"),
    (
        "marks_itself_soft",
        "failed",
        Some("panic"),
        "MARKED SOFT ON PURPOSE",
        "MARKED SOFT ON PURPOSE",
    ),
    // WASI 0.2 carries whether an exit was a success, and not its code.
    ("exits_with_a_code", "failed", Some("exit"), "ended itself with exit code 1", ""),
    ("exits_with_zero", "failed", Some("exit"), "ended itself with exit code 0", ""),
    ("traps", "failed", Some("trap"), "LAST WORDS ON STDERR", ""),
    ("overflows_the_stack", "failed", Some("trap"), "endless recursion", ""),
    ("panics_in_a_part", "failed", Some("panic"), "PANIC IN A PART", "PANIC IN A PART"),
    (
        "requires_a_value_that_is_not_set",
        "failed",
        Some("assertion"),
        "no test has set the value `never set`",
        "require::<String>(\"never set\")",
    ),
    (
        "requires_a_parameter_that_is_not_set",
        "failed",
        Some("assertion"),
        "give it as a parameter of the run",
        "require_param(\"never-set\")",
    ),
    (
        "gets_a_value_of_another_type",
        "failed",
        Some("assertion"),
        "the value `text` is no u32",
        "require::<u32>(\"text\")",
    ),
    ("leaks_the_secret", "failed", Some("panic"), "LEAKED ***", "panic!(\"LEAKED"),
    (
        "sets_a_value_and_fails",
        "failed",
        Some("panic"),
        "FAILED AFTER SETTING A VALUE",
        "FAILED AFTER SETTING A VALUE",
    ),
    ("does_not_see_the_value_of_a_failed_attempt", "passed", None, "", ""),
    ("fails_with_a_big_message", "failed", Some("panic"), "BIG MESSAGE", "BIG MESSAGE"),
    ("gets_values", "passed", None, "", ""),
    ("isolated a", "passed", None, "", ""),
    ("isolated b", "passed", None, "", ""),
];

fn line_of(marker: &str) -> usize {
    let mut lines = SOURCE.lines();
    1 + lines.position(|line| line.contains(marker)).expect("the marker is in the source")
}

#[tokio::test]
async fn every_ending_has_its_status_its_cause_its_message_and_its_place() {
    let (_server, client) = server().await;
    let run = run_of(&client, OUTCOMES, &json!({})).await;
    for (name, status, cause, message, place) in CASES {
        let attempt = attempt(&run, name);
        assert_eq!(attempt["status"], *status, "{name}: {attempt:#}");
        assert_eq!(test(&run, name)["status"], *status, "{name}");
        assert_eq!(attempt["cause"], json!(cause), "{name}: {attempt:#}");
        assert_says(attempt["message"].as_str().unwrap_or_default(), &[message]);
        assert_eq!(attempt["message"].is_null(), message.is_empty(), "{name}: {attempt:#}");
        if place.is_empty() {
            assert!(attempt["location"].is_null(), "{name}: {attempt:#}");
            continue;
        }
        let location = &attempt["location"];
        assert!(text(&location["file"]).ends_with("outcomes/src/lib.rs"), "{name}: {location}");
        assert_eq!(location["line"], line_of(place), "{name}");
    }
    let counts = &run["counts"];
    let count = |of: &str| counts[of].as_u64().unwrap();
    assert_eq!((count("soft_failed"), count("skipped"), count("error")), (2, 2, 0), "{counts}");
    let tests = array(&run["tests"]).len() as u64;
    assert_eq!(count("passed") + count("failed") + 4, tests, "each test counts once: {counts}");
    assert_eq!(run["status"], "failed");
    for stage in ["setup", "teardown"] {
        assert_eq!(run[stage]["status"], "passed", "{stage}");
    }
}

#[tokio::test]
async fn a_failure_that_is_soft_does_not_fail_the_run_and_what_is_disabled_says_why() {
    let (_server, client) = server().await;
    let request = json!({"filter": "^(fails_softly|marks_itself_soft|disabled)$"});
    let run = run_of(&client, OUTCOMES, &request).await;
    assert_eq!(run["status"], "passed", "{run:#}");
    assert_eq!(run["counts"]["soft_failed"], 2);
    for name in ["fails_softly", "marks_itself_soft"] {
        let test = test(&run, name);
        assert_eq!((&test["status"], &test["soft"]), (&json!("failed"), &json!(true)), "{test:#}");
    }
    let disabled = test(&run, "disabled");
    assert_eq!(disabled["status"], "skipped");
    assert_says(text(&disabled["reason"]), &["disabled", "DISABLED ON PURPOSE"]);
    assert!(array(&disabled["attempts"]).is_empty(), "{disabled:#}");
    assert_eq!(test(&run, "passes")["status"], "skipped");
}

#[tokio::test]
async fn a_trap_shows_its_backtrace_and_the_last_words_before_it() {
    let (_server, client) = server().await;
    let request = json!({"filter": "^(traps|overflows_the_stack|panics_in_a_nested_function)$"});
    let run = run_of(&client, OUTCOMES, &request).await;
    for (name, function) in
        [("traps", "guest_outcomes::traps"), ("overflows_the_stack", "overflows_the_stack::down")]
    {
        let detail = detail(&client, &run, name).await;
        let frames = array(&detail["backtrace"]);
        let is_there = |frame: &Value| text(&frame["function"]).contains(function);
        assert!(frames.iter().any(is_there), "{name}: {frames:#?}");
    }
    let said = lines(&client, &run, "traps").await;
    assert_eq!(said, ["ABOUT TO TRAP", "LAST WORDS ON STDERR"]);
    let said = lines(&client, &run, "panics_in_a_nested_function").await;
    assert!(said.iter().any(|line| line == "LAST WORDS"), "{said:?}");
}

#[tokio::test]
async fn parts_spans_files_and_further_failures_are_kept() {
    let (_server, client) = server().await;
    let request = json!({"filter": "^(has_|keeps_|panics_in_a_part|reports_two)"});
    let run = run_of(&client, OUTCOMES, &request).await;

    let parts = detail(&client, &run, "has_parts").await["sub_results"].take();
    let part = |part: &Value| {
        let message = part["message"].as_str().unwrap_or_default().to_owned();
        (text(&part["name"]).to_owned(), text(&part["status"]).to_owned(), message)
    };
    let parts: Vec<_> = array(&parts).iter().map(part).collect();
    let expected = [
        ("1 + 1", "passed", ""),
        ("1 + 1", "failed", "PART FAILED ON PURPOSE\n  left: 2\n right: 3"),
        ("skipped part", "skipped", "PART SKIPPED ON PURPOSE"),
    ];
    assert_eq!(parts, expected.map(|(a, b, c)| (a.to_owned(), b.to_owned(), c.to_owned())));

    let spans = detail(&client, &run, "has_spans").await["spans"].take();
    let names: Vec<_> = array(&spans).iter().map(|span| text(&span["name"])).collect();
    assert_eq!(names, ["outer", "inner", "never ended"]);
    assert_eq!(spans[0]["attributes"], json!({"key": "replaced"}));

    let detail = detail(&client, &run, "reports_two_failures_and_panics").await;
    assert_eq!(detail["further_failures"][0]["message"], "SECOND REPORT", "{detail:#}");
    keeps_files(&client, &run).await;
}

async fn keeps_files(client: &Client, run: &Value) {
    let artifacts = format!("/runs/{}/artifacts", text(&run["id"]));
    let list = client.list(&artifacts).await;
    let names: Vec<_> = list.iter().map(|file| text(&file["name"])).collect();
    assert_eq!(names, ["screenshot.png", "answer.json", "../../../etc/passwd"]);
    assert!(list.iter().all(|file| file["test"] == "keeps_files"), "{list:#?}");
    let json = client.get(&format!("{artifacts}/2")).await;
    assert_eq!(json.headers["content-type"], "application/json");
    assert_eq!(json.expect(StatusCode::OK), json!({"answer": 42}));
    let path = client.get(&format!("{artifacts}/{}", text(&list[2]["digest"]))).await;
    let disposition = path.headers["content-disposition"].to_str().unwrap().to_owned();
    assert!(disposition.starts_with("attachment; "), "{disposition}");
    assert!(!disposition.contains('/'), "a name is no path: {disposition}");
    assert_eq!(path.expect(StatusCode::OK), "A NAME THAT LOOKS LIKE A PATH");
    client.get(&format!("{artifacts}/4")).await.problem(404);
}

#[tokio::test]
async fn a_test_that_left_nothing_behind_has_an_empty_detail() {
    let (_server, client) = server().await;
    let run = run_of(&client, OUTCOMES, &only("passes")).await;
    let detail = detail(&client, &run, "passes").await;
    for list in ["backtrace", "further_failures", "exchanges", "spans", "sub_results", "values"] {
        assert_eq!(detail[list], json!([]), "{list}: {detail:#}");
    }
}

#[tokio::test]
async fn logs_keep_their_order_their_source_and_a_last_line_without_an_end() {
    let (_server, client) = server().await;
    let run = run_of(&client, OUTCOMES, &only("logs_at_every_level")).await;
    let log = log(&client, &run).await;
    let of = |stage: &str| -> Vec<(String, String)> {
        let lines = log.iter().filter(|line| line["stage"] == stage);
        lines.map(|l| (text(&l["source"]).to_owned(), text(&l["text"]).to_owned())).collect()
    };
    let expected = [
        ("stdout", "on stdout"),
        ("stderr", "on stderr"),
        ("trace", "at trace"),
        ("debug", "at debug"),
        ("info", "at info"),
        ("info", "second line"),
        ("warn", "at warn"),
        ("error", "at error"),
        ("info", "größe ✓ 1"),
        ("stdout", "without a line break"),
    ];
    assert_eq!(of("test"), expected.map(|(source, text)| (source.to_owned(), text.to_owned())));
    assert_eq!(of("setup"), [("stdout".to_owned(), "SETUP RAN".to_owned())]);
    assert_eq!(of("teardown"), [("stdout".to_owned(), "TEARDOWN SAW ".to_owned())]);
}

#[tokio::test]
async fn values_go_from_test_to_test_and_to_teardown() {
    let (_server, client) = server().await;
    let run = run_of(&client, OUTCOMES, &json!({"filter": "^[sg]ets_values$"})).await;
    assert_eq!(run["status"], "passed", "{run:#}");
    let values = detail(&client, &run, "sets_values").await["values"].take();
    let expected = json!([
        {"name": "text", "value": "plain", "secret": false},
        {"name": "session", "value": "{\"id\":7,\"user\":\"ada\"}", "secret": false},
        {"name": "token", "value": null, "secret": true},
    ]);
    assert_eq!(values, expected);
    let log = log(&client, &run).await;
    let last = log.last().unwrap();
    assert_eq!((&last["stage"], &last["text"]), (&json!("teardown"), &json!("TEARDOWN SAW plain")));
}

#[tokio::test]
async fn a_secret_is_seen_nowhere() {
    let (server, client) = server().await;
    let run = run_of(&client, OUTCOMES, &json!({"filter": "sets_values|leaks_the_secret"})).await;
    let id = text(&run["id"]);
    assert_eq!(attempt(&run, "leaks_the_secret")["message"], "LEAKED ***");
    let mut paths = vec![
        format!("/runs/{id}"),
        format!("/runs/{id}/tests/sets_values"),
        format!("/runs/{id}/tests/leaks_the_secret"),
        format!("/runs/{id}/logs"),
        format!("/runs/{id}/logs?format=json"),
        format!("/runs/{id}/artifacts"),
        format!("/runs/{id}/artifacts/1"),
        "/runs".to_owned(),
        "/metrics".to_owned(),
    ];
    for format in ["junit", "json", "go-test", "tap"] {
        paths.push(format!("/runs/{id}/report?format={format}"));
    }
    for path in paths {
        let shown = client.get(&path).await.expect(StatusCode::OK).to_string();
        assert!(!shown.contains(SECRET), "{path} shows the secret: {shown}");
    }
    let events = patiently("the events", async { client.events(id, 0).await.rest().await }).await;
    assert!(!format!("{events:?}").contains(SECRET), "an event shows the secret");
    assert!(!server.log().contains(SECRET), "the server's log shows the secret");
    let said = lines(&client, &run, "leaks_the_secret").await.join("\n");
    assert_says(&said, &["logged ***", "printed ***", "printed to stderr ***"]);
    let detail = detail(&client, &run, "leaks_the_secret").await;
    assert_eq!(detail["sub_results"][0]["name"], "part ***");
    assert_eq!(detail["spans"][0]["attributes"]["secret"], "***");
    // A file that is shorter for what was masked in it says its own size.
    let artifacts = format!("/runs/{}/artifacts", text(&run["id"]));
    let files = client.list(&artifacts).await;
    let leak = files.iter().find(|file| file["name"] == "leak.txt").expect("it is kept");
    let answer = client.get(&format!("{artifacts}/{}", leak["number"])).await;
    assert_eq!(
        (&leak["size_bytes"], &answer.headers["content-length"]),
        (&json!(3), &"3".parse().unwrap())
    );
    assert_eq!(answer.expect(StatusCode::OK), "***");
}

#[tokio::test]
async fn parameters_configuration_and_environment_reach_the_test_and_secrets_are_masked() {
    let (_server, client) = server().await;
    let policy = json!({
        "config": {"region": "eu", "both": "configured"},
        "secrets": {"password": "hunter2-ünlocked"},
        "env": {"STAGE": "staging"},
    });
    let path = format!("/suites/{OUTCOMES}/policy");
    assert!(client.put(&path, &policy).await.status.is_success());
    let shown = client.json(&path).await.to_string();
    assert!(!shown.contains("hunter2"), "the policy shows a secret: {shown}");

    let mut request = only("shows_its_parameters");
    request["params"] = json!({"both": "asked for"});
    let run = run_of(&client, OUTCOMES, &request).await;
    assert_eq!(run["params"], request["params"]);
    let said = lines(&client, &run, "shows_its_parameters").await;
    for line in [
        "PARAM region=eu",
        "PARAM both=asked for",
        "PARAM password=***",
        "ENV STAGE=staging",
        "ATTEMPT 1",
    ] {
        assert!(said.iter().any(|said| said == line), "{line:?} is not in {said:#?}");
    }
    let others = said.iter().filter(|line| line.starts_with("ENV ") && !line.contains("STAGE="));
    assert_eq!(others.count(), 0, "the server's environment is its own: {said:#?}");
}

#[tokio::test]
async fn no_attempt_sees_what_another_left_in_memory_or_in_files() {
    let (_server, client) = server().await;
    let request = json!({"tags": ["isolation"], "repeat": 3, "parallelism": 2});
    let run = run_of(&client, OUTCOMES, &request).await;
    assert_eq!(run["status"], "passed", "{run:#}");
    for name in ["isolated a", "isolated b"] {
        assert_eq!(array(&test(&run, name)["attempts"]).len(), 3);
    }
}

#[tokio::test]
async fn a_name_of_any_characters_is_found_by_its_address() {
    let (_server, client) = server().await;
    let run = run_of(&client, OUTCOMES, &json!({"filter": "^(größe ✓|nested::passes)$"})).await;
    assert_eq!(run["counts"]["passed"], 2, "{run:#}");
    let id = text(&run["id"]);
    for (written, name) in
        [("gr%C3%B6%C3%9Fe%20%E2%9C%93", "größe ✓"), ("nested::passes", "nested::passes")]
    {
        let test = client.json(&format!("/runs/{id}/tests/{written}")).await;
        assert_eq!((&test["name"], &test["status"]), (&json!(name), &json!("passed")));
        client.get(&format!("/runs/{id}/logs?test={written}")).await.expect(StatusCode::OK);
    }
    assert_says(&client.get(&format!("/runs/{id}/tests/gr%C3%B6")).await.problem(404), &["grö"]);
}
