//! Every SDK's conformance suite against one table: `sdk/CONFORMANCE.md` in code.
//!
//! Runs the suites that `cargo xtask sdks` and `cargo xtask guests` have built; a language whose tools
//! are not on this machine has none. Those that `HANDOFF_LANGUAGES` names, as in `.ci/run`, must be there.
//! What came out is compared with `sdk/RESULTS.md`, or written there with `UPDATE_RESULTS=1`.

#![allow(clippy::unwrap_used, reason = "a test ends where something unexpected comes")]

mod examples;
mod features;
mod results;
mod rows;

use std::collections::BTreeMap;

use handoff_tests::{Client, LANGUAGES, Settings, Target, guest, is_built};
use reqwest::StatusCode;
use serde_json::{Value, json};

use results::Exceptions;
use rows::{ROWS, Row, Seen};

/// Large components compile however busy the machine is.
const PATIENT: [(&str, u32); 4] = [
    ("compile-cpu-ms", 600_000),
    ("compile-wall-ms", 1_800_000),
    ("compile-inspect-ms", 600_000),
    ("http-upload-timeout-ms", 1_800_000),
];
/// How many tests are made in a loop.
const MANY: usize = 200;

#[tokio::test]
async fn every_sdk_does_what_the_table_says() {
    let server = PATIENT.iter().fold(Settings::default(), |s, (flag, ms)| s.flag(flag, ms));
    let server = server.start().await;
    let target = Target::start().await;
    let mut found = BTreeMap::new();
    let mut wrong = Vec::new();
    for language in LANGUAGES {
        if !is_built(language) {
            continue;
        }
        let component = guest(&format!("{language}-conformance"));
        let run = run(&server.client(), &target, language, component).await;
        let exceptions = Exceptions::of(language);
        wrong.extend(compare(language, &run, &exceptions));
        found.insert(language, exceptions);
    }
    assert!(found.contains_key("rust"), "the SDK of our own language is always built");
    assert!(wrong.is_empty(), "\n{}", wrong.join("\n"));
    results::compare(&found);
}

/// Uploads a suite, grants what the table says, runs it, and gives what came of each test.
async fn run(
    client: &Client,
    target: &Target,
    language: &str,
    component: Vec<u8>,
) -> BTreeMap<String, Seen> {
    let answer = client.send(client.upload_request(component)).await;
    assert!(answer.status.is_success(), "{language}: {answer:?}");
    check_description(language, &answer.body);
    check_language(language, &answer.body);
    let suite = format!("/suites/{language}/conformance");
    let policy = json!({
        "allow_http": [target.url()],
        "config": {"region": "test"},
        "env": {"GREETING": "from the policy"},
        "limits": {"artifact_bytes": 1_048_576},
    });
    client.put(&format!("{suite}/policy"), &policy).await.expect(StatusCode::OK);
    let request = json!({"params": {"server": target.url(), "greeting": "hello ✓"}});
    let answer = client.post(&format!("{suite}/runs"), &request).await;
    let id = answer.expect(StatusCode::ACCEPTED)["id"].as_str().unwrap().to_owned();
    let run = client.finished(&id).await;
    let log = client.get(&format!("/runs/{id}/logs?format=json")).await.expect(StatusCode::OK);
    let log: Vec<Value> =
        log.as_str().unwrap().lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    check_stages(language, &run, &log);
    check_metering(language, &run);
    let mut seen = BTreeMap::new();
    for test in run["tests"].as_array().unwrap() {
        let name = test["name"].as_str().unwrap().to_owned();
        let lines = log.iter().filter(|line| line["test"] == test["name"]).cloned().collect();
        let detail = match ROWS.iter().any(|row| row.name == name) {
            true => client.json(&format!("/runs/{id}/tests/{name}")).await,
            false => Value::Null,
        };
        seen.insert(name, Seen { test: test.clone(), lines, detail });
    }
    seen
}

/// The head of the table: what the suite says of itself.
fn check_description(language: &str, version: &Value) {
    assert_eq!(version["suite"]["namespace"], language);
    assert_eq!(version["suite"]["name"], "conformance");
    let tests = version["tests"].as_array().unwrap();
    let passes = tests.iter().find(|test| test["name"] == "passes").unwrap();
    assert_eq!(passes["tags"], json!(["smoke", "pass"]), "{language}");
    assert_eq!(passes["description"], "Passes, **always**.", "{language}");
}

/// What is known of its language is what the server goes by when it decides whether fuel is counted.
fn check_language(language: &str, version: &Value) {
    let known: Value = match language {
        // Its compiler says nothing.
        "c" => Value::Null,
        "go" => "Go".into(),
        "javascript" => "JavaScript".into(),
        "python" => "Python".into(),
        _ => "Rust".into(),
    };
    assert_eq!(version["language"], known, "{language}");
}

/// Counting fuel takes more than a third of the time again in no language, so that it is counted in all.
fn check_metering(language: &str, run: &Value) {
    let of = |test: &Value| test["name"] == "passes";
    let test = run["tests"].as_array().unwrap().iter().find(|test| of(test)).unwrap();
    let fuel = &test["attempts"][0]["fuel_used"];
    assert!(fuel.is_u64(), "{language}: {test:#}");
}

fn check_stages(language: &str, run: &Value, log: &[Value]) {
    for stage in ["setup", "teardown"] {
        assert_eq!(run[stage]["status"], "passed", "{language}: {:#}", run[stage]);
    }
    let says = |text: &str| {
        log.iter().any(|line| line["source"] == "info" && line["text"].as_str() == Some(text))
    };
    assert!(says("SETUP LINE"), "{language}");
    assert!(says("TEARDOWN LINE größe ✓"), "{language}");
}

/// Where a language's run is not as the table and its exceptions say.
fn compare(language: &str, run: &BTreeMap<String, Seen>, exceptions: &Exceptions) -> Vec<String> {
    let mut wrong = Vec::new();
    let mut check = |row: &Row| {
        let problem = match (run.get(row.name), exceptions.get(row.name)) {
            (None, Some(exception)) if exception.ends.is_none() => return,
            (Some(_), Some(exception)) if exception.ends.is_none() => {
                Err("it is there, and exceptions.toml says that it cannot be".to_owned())
            }
            (None, _) => Err("it is missing".to_owned()),
            (Some(seen), Some(exception)) => exception.check(seen),
            (Some(seen), None) => row.check(seen),
        };
        wrong.extend(problem.err().map(|problem| format!("{language}: {}: {problem}", row.name)));
    };
    ROWS.iter().for_each(&mut check);
    let many = |number: usize| run.get(&format!("many_{number:03}"));
    let passed = (0..MANY).filter_map(many).filter(|seen| seen.test["status"] == "passed").count();
    if passed != MANY {
        wrong.push(format!("{language}: {passed} of the {MANY} tests made in a loop passed"));
    }
    let unknown = run.keys().filter(|name| {
        !ROWS.iter().any(|row| row.name == name.as_str()) && !name.starts_with("many_")
    });
    wrong.extend(unknown.map(|name| format!("{language}: {name}: it is not in the table")));
    wrong
}
