//! A server that has worked for a year: 100,000 runs stored.

use std::fmt::Write as _;

use futures::stream;
use handoff_tests::{Client, Server};
use reqwest::{Method, StatusCode};
use ring::digest::{Context, SHA256};
use serde_json::{Value, json};

use crate::driver::Browser;

const RUNS: u64 = 100_000;
/// How many runs go in one piece of the import.
const PIECE: u64 = 1000;
/// One in so many runs fails.
const FAILS: u64 = 25;
/// Where the number of a run goes.
const NUMBER: &str = "NUMBER";

/// A run as an export has it, with all but what was asked for left out, of which others are made.
struct Template {
    id: String,
    number: u64,
    lines: String,
}

impl Template {
    /// Takes the last run out of an export.
    fn last(exported: &str) -> Self {
        let start = exported.rfind("{\"run\":").unwrap();
        let lines: Vec<&str> = exported[start..].lines().collect();
        let head: Value = serde_json::from_str(lines[0]).unwrap();
        let id = head["run"]["id"].as_str().unwrap().to_owned();
        let (mut kept, mut seq, mut number) = (format!("{}\n", lines[0]), 0, 0);
        for line in &lines[1..lines.len() - 1] {
            let mut line: Value = serde_json::from_str(line).unwrap();
            let event = &mut line["event"]["event"];
            let is_around = event["stage"] == "setup" || event["stage"] == "teardown";
            if is_around || event["status"] == "skipped" {
                continue;
            }
            seq += 1;
            event["seq"] = json!(seq);
            if let Some(spec) = event.get_mut("spec") {
                number = spec["number"].as_u64().unwrap();
                spec["number"] = json!(NUMBER);
                spec["tests"].as_array_mut().unwrap().retain(|test| test["skip"].is_null());
            }
            writeln!(kept, "{line}").unwrap();
        }
        Self { id, number, lines: kept }
    }

    fn copy(&self, id: &str, number: u64) -> String {
        let lines = self.lines.replace(&self.id, id);
        lines.replace(&format!("\"{NUMBER}\""), &number.to_string())
    }
}

/// The id that comes so many after this one.
fn later(id: &str, by: u64) -> String {
    let number = u128::from_str_radix(&id.replace('-', ""), 16).unwrap() + u128::from(by);
    let hex = format!("{number:032x}");
    [&hex[..8], &hex[8..12], &hex[12..16], &hex[16..20], &hex[20..]].join("-")
}

/// Imports runs like two real ones, of which the second failed.
async fn fill(client: &Client, passed: Template, failed: Template) {
    let suite = json!({"namespace": "default", "name": "flaky"});
    let head = [
        json!({"handoff_export": {"format": 1, "by": "a test"}}),
        json!({"number": {"suite": suite, "highest": RUNS}}),
    ];
    let head: String = head.map(|line| format!("{line}\n")).concat();
    let mut lines = 2;
    let mut sum = Context::new(&SHA256);
    sum.update(head.as_bytes());
    let mut number = failed.number;
    let pieces = std::iter::from_fn(move || {
        if number == RUNS {
            return None;
        }
        let mut piece = String::new();
        for _ in 0..PIECE.min(RUNS - number) {
            number += 1;
            let template = if number.is_multiple_of(FAILS) { &failed } else { &passed };
            let id = later(&failed.id, number);
            piece.push_str(&template.copy(&id, number));
        }
        lines += piece.lines().count();
        sum.update(piece.as_bytes());
        if number == RUNS {
            let digest = format!("sha256:{}", hex::encode(sum.clone().finish()));
            let runs = RUNS - failed.number;
            let end = json!({"end": {"lines": lines, "runs": runs, "digest": digest}});
            writeln!(piece, "{end}").unwrap();
        }
        Some(piece)
    });
    let all = std::iter::once(head).chain(pieces).map(Ok::<_, std::io::Error>);
    let body = reqwest::Body::wrap_stream(stream::iter(all));
    let import = client.request(Method::POST, "/import").body(body);
    let imported = client.send(import).await.expect(StatusCode::OK);
    assert_eq!(imported["runs"], RUNS - 2);
}

#[tokio::test]
async fn a_hundred_thousand_runs_are_seen_as_a_hundred_are() {
    let server = Server::start().await;
    let client = server.client();
    client.upload_guest("flaky").await;
    let mut templates = Vec::new();
    for filter in ["^steady$", "^assertion$"] {
        let request = json!({"filter": filter, "reference": "main", "max_attempts": 1});
        client.run("flaky", &request).await;
        let exported = client.get("/export").await.expect(StatusCode::OK);
        templates.push(Template::last(exported.as_str().unwrap()));
    }
    let [passed, failed] = templates.try_into().ok().unwrap();
    fill(&client, passed, failed).await;
    let browser = Browser::start().await;
    browser.open(server.url()).await;
    browser.picture("many-home").await;
    browser.is_accessible().await;
    browser.open(&format!("{}/runs", server.url())).await;
    assert!(browser.text("tbody tr").await.contains("#100000"));
    browser.picture("many-runs").await;
    browser.click("a[rel=next]").await;
    browser.until("!document.querySelector('tbody tr').textContent.includes('#100000')").await;
    browser.is_accessible().await;
    browser.open(&format!("{}/suites/default/flaky", server.url())).await;
    browser.picture("many-suite").await;
    browser.is_accessible().await;
    for path in [
        "/",
        "/suites",
        "/suites/default/flaky",
        "/suites/default/flaky/tests/assertion",
        "/suites/default/flaky/failures",
        "/runs?suite=default/flaky&status=failed",
        "/runs?text=FLAKY",
        "/status.txt",
        "/retention",
    ] {
        let request = client.page(Method::GET, path).header("accept-encoding", "gzip");
        let answer = request.send().await.unwrap();
        assert_eq!(answer.status(), 200, "{path}");
        let bytes = answer.bytes().await.unwrap().len();
        assert!(bytes < 100_000, "{path} has {bytes} bytes");
    }
    browser.is_quiet().await;
}
