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
use rows::{ROWS, Row, Seen, is_of_limits};

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
        let seen = both_runs(&server.client(), &target, language, component).await;
        let exceptions = Exceptions::of(language);
        wrong.extend(compare(language, &seen, &exceptions));
        found.insert(language, exceptions);
    }
    assert!(found.contains_key("rust"), "the SDK of our own language is always built");
    assert!(wrong.is_empty(), "\n{}", wrong.join("\n"));
    results::compare(&found);
}

/// Uploads a suite, runs its ordinary tests and those of limits, and gives what came of each.
async fn both_runs(
    client: &Client,
    target: &Target,
    language: &str,
    component: Vec<u8>,
) -> BTreeMap<String, Seen> {
    let answer = client.send(client.upload_request(component)).await;
    assert!(answer.status.is_success(), "{language}: {answer:?}");
    check_description(language, &answer.body);
    check_language(language, &answer.body);
    let limits = json!({"artifact_bytes": 1_048_576});
    let ordinary = Finished::of(client, target, language, &limits, "!limits").await;
    ordinary.check_stages(language);
    ordinary.check_metering(language);
    let limited = Finished::of(client, target, language, &low_limits(), "limits").await;
    let mut seen = ordinary.seen(client, |name| !is_of_limits(name)).await;
    seen.extend(limited.seen(client, is_of_limits).await);
    seen
}

/// The limits of the second run.
fn low_limits() -> Value {
    json!({
        "fuel": 2_000_000_000_u64,
        "max_timeout_ms": 60_000,
        "log_head_bytes": 4_000,
        "log_tail_bytes": 1_000,
        "log_line_bytes": 500,
        "message_bytes": 500,
        "failures": 2,
        "values": 6,
        "value_bytes": 1_000,
        "artifacts": 2,
        "spans": 3,
        "sub_results": 3,
        "requests": 3,
        "received_bytes": 500_000,
        "random_bytes": 100_000,
        "scratch_bytes": 100_000,
    })
}

/// A run that has ended.
struct Finished {
    id: String,
    run: Value,
    log: Vec<Value>,
}

impl Finished {
    /// Grants what the table says, with these limits, and runs the tests that the tag chooses.
    async fn of(
        client: &Client,
        target: &Target,
        language: &str,
        limits: &Value,
        tag: &str,
    ) -> Self {
        let suite = format!("/suites/{language}/conformance");
        let policy = json!({
            "allow_http": [target.url()],
            "config": {"region": "test"},
            "env": {"GREETING": "from the policy"},
            "limits": limits,
        });
        client.put(&format!("{suite}/policy"), &policy).await.expect(StatusCode::OK);
        let params = json!({"server": target.url(), "greeting": "hello ✓"});
        let request = json!({"params": params, "tags": [tag]});
        let answer = client.post(&format!("{suite}/runs"), &request).await;
        let id = answer.expect(StatusCode::ACCEPTED)["id"].as_str().unwrap().to_owned();
        let run = client.finished(&id).await;
        let log = client.get(&format!("/runs/{id}/logs?format=json")).await.expect(StatusCode::OK);
        let lines = log.as_str().unwrap().lines();
        let log = lines.map(|line| serde_json::from_str(line).unwrap()).collect();
        Self { id, run, log }
    }

    /// What came of each test whose name is one of these.
    async fn seen(&self, client: &Client, is_one: fn(&str) -> bool) -> BTreeMap<String, Seen> {
        let Self { id, run, log } = self;
        let mut seen = BTreeMap::new();
        for test in run["tests"].as_array().unwrap() {
            let name = test["name"].as_str().unwrap().to_owned();
            if !is_one(&name) {
                continue;
            }
            let lines = log.iter().filter(|line| line["test"] == test["name"]).cloned().collect();
            let detail = match ROWS.iter().any(|row| row.name == name) {
                true => client.json(&format!("/runs/{id}/tests/{name}")).await,
                false => Value::Null,
            };
            seen.insert(name, Seen { test: test.clone(), lines, detail });
        }
        seen
    }

    /// Counting fuel takes more than a third of the time again in no language, so that it is counted in
    /// all.
    fn check_metering(&self, language: &str) {
        let of = |test: &Value| test["name"] == "passes";
        let test = self.run["tests"].as_array().unwrap().iter().find(|test| of(test)).unwrap();
        let fuel = &test["attempts"][0]["fuel_used"];
        assert!(fuel.is_u64(), "{language}: {test:#}");
    }

    fn check_stages(&self, language: &str) {
        for stage in ["setup", "teardown"] {
            let stage = &self.run[stage];
            assert_eq!(stage["status"], "passed", "{language}: {stage:#}");
        }
        let says = |text: &str| {
            let is_it = |line: &Value| line["source"] == "info" && line["text"] == text;
            self.log.iter().any(is_it)
        };
        assert!(says("SETUP LINE"), "{language}");
        assert!(says("TEARDOWN LINE größe ✓"), "{language}");
    }
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

/// Where a language's runs are not as the table and its exceptions say.
fn compare(language: &str, all: &BTreeMap<String, Seen>, exceptions: &Exceptions) -> Vec<String> {
    let mut wrong = Vec::new();
    let mut check = |row: &Row| {
        let problem = match (all.get(row.name), exceptions.get(row.name)) {
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
    let many = |number: usize| all.get(&format!("many_{number:03}"));
    let passed = (0..MANY).filter_map(many).filter(|seen| seen.test["status"] == "passed").count();
    if passed != MANY {
        wrong.push(format!("{language}: {passed} of the {MANY} tests made in a loop passed"));
    }
    let unknown = all.keys().filter(|name| {
        !ROWS.iter().any(|row| row.name == name.as_str()) && !name.starts_with("many_")
    });
    wrong.extend(unknown.map(|name| format!("{language}: {name}: it is not in the table")));
    wrong
}
