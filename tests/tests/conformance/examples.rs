//! The example suites, which people copy from: each test ends as the example says.

use std::fmt::Write as _;

use handoff_tests::{Settings, Target, guest, is_built};
use reqwest::StatusCode;
use serde_json::{Value, json};

use super::PATIENT;

/// The language of each example, and its component.
const EXAMPLES: [(&str, &str); 7] = [
    ("c", "c-hello"),
    ("c", "c-cpp"),
    ("c", "c-zig"),
    ("go", "go-hello"),
    ("javascript", "javascript-hello"),
    ("python", "python-hello"),
    ("rust", "hello"),
];

#[tokio::test]
async fn each_example_ends_as_it_says() {
    let server = PATIENT.iter().fold(Settings::default(), |s, (flag, ms)| s.flag(flag, ms));
    let server = server.start().await;
    let (client, target) = (server.client(), Target::start().await);
    for (language, component) in EXAMPLES {
        if !is_built(language) {
            continue;
        }
        let version = client.upload(guest(component)).await;
        let name = |part: &str| version["suite"][part].as_str().unwrap().to_owned();
        let suite = format!("/suites/{}/{}", name("namespace"), name("name"));
        let policy = json!({"allow_http": [target.url()]});
        client.put(&format!("{suite}/policy"), &policy).await.expect(StatusCode::OK);
        let request = json!({"params": {"server": target.url()}});
        let answer = client.post(&format!("{suite}/runs"), &request).await;
        let id = answer.expect(StatusCode::ACCEPTED)["id"].as_str().unwrap().to_owned();
        insta::assert_snapshot!(component, course(&client.finished(&id).await));
    }
}

/// How each test ended, and what it said of that.
fn course(run: &Value) -> String {
    let mut text = String::new();
    for test in run["tests"].as_array().unwrap() {
        let word = |word: &Value| word.as_str().unwrap_or_default().to_owned();
        let last = test["attempts"].as_array().and_then(|attempts| attempts.last());
        let said = last.map_or_else(|| word(&test["reason"]), |last| word(&last["message"]));
        let said = said.lines().next().unwrap_or_default();
        let attempts = test["attempts"].as_array().map_or(0, Vec::len);
        _ = write!(text, "{}: {}", word(&test["name"]), word(&test["status"]));
        if attempts > 1 {
            _ = write!(text, ", {attempts} attempts");
        }
        _ = writeln!(text, "{}{said}", if said.is_empty() { "" } else { ": " });
    }
    text
}
