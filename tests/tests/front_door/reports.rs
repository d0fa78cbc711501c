//! The four reports of a run, as continuous integration reads them.

use handoff_tests::{Client, Server, guest};
use reqwest::StatusCode;
use serde_json::{Value, json};

/// A server with one finished run of `hello`, and the run's id.
async fn hello() -> (Server, String) {
    let server = Server::start().await;
    let client = server.client();
    client.upload_guest("hello").await;
    let run = client.run("hello", &json!({"reference": "v1"})).await;
    let id = run["id"].as_str().unwrap().to_owned();
    (server, id)
}

async fn report(client: &Client, run: &str, format: &str, media_type: &str) -> String {
    let request = client.request(reqwest::Method::GET, &format!("/runs/{run}/report"));
    let answer = request.query(&[("format", format)]).send().await.unwrap();
    assert_eq!(answer.status(), StatusCode::OK);
    let found = answer.headers()["content-type"].to_str().unwrap().to_owned();
    assert!(found.starts_with(media_type), "{format} is {found}");
    answer.text().await.unwrap()
}

/// The report without what differs each time: times, durations, ids, digests, what an attempt used.
fn redacted(text: &str) -> String {
    let mut shown = String::new();
    let mut rest = text;
    while let Some(start) = rest.find(|c: char| c.is_ascii_alphanumeric()) {
        shown.push_str(&rest[..start]);
        rest = &rest[start..];
        let is_word = |c: char| c.is_ascii_alphanumeric() || "-.:_+".contains(c);
        let end = rest.find(|c| !is_word(c)).unwrap_or(rest.len());
        shown.push_str(name_of(&rest[..end]).unwrap_or(&rest[..end]));
        rest = &rest[end..];
    }
    let shown = shown + rest;
    let timed = ["elapsed", "duration_ms", "fuel_used", "memory_peak_bytes", "time", "Elapsed"];
    timed.iter().fold(shown, |shown, name| without_number(&shown, name))
}

/// What a word stands for, if it differs each time.
fn name_of(word: &str) -> Option<&'static str> {
    let hex = |text: &str| text.chars().all(|c| c.is_ascii_hexdigit() || c == '-');
    if word.len() == 36 && word.matches('-').count() == 4 && hex(word) {
        return Some("ID");
    }
    if word.starts_with("sha256:") || (word.len() == 64 && hex(word)) {
        return Some("DIGEST");
    }
    if word.len() == 32 && hex(word) {
        return Some("TRACE");
    }
    if word.strip_suffix('s').is_some_and(|n| n.contains('.') && n.parse::<f64>().is_ok()) {
        return Some("Ns");
    }
    let is_time = word.len() >= 19 && word.starts_with("20") && word.contains(':');
    (is_time && word.matches('-').count() >= 2).then_some("TIME")
}

/// Takes the number away that follows a name, as `"name": 12`, `name="0.1"` or `name: 12`.
fn without_number(text: &str, name: &str) -> String {
    let mut shown = String::new();
    let mut rest = text;
    while let Some(at) = rest.find(name) {
        let before = rest[..at].chars().next_back();
        let (head, tail) = rest.split_at(at + name.len());
        shown.push_str(head);
        rest = tail;
        let sign = tail.find(|c: char| !"\":= ".contains(c)).unwrap_or(tail.len());
        let value = &tail[sign..];
        let end = value.find(|c: char| !(c.is_ascii_digit() || c == '.')).unwrap_or(value.len());
        let is_name = !before.is_some_and(|c| c.is_ascii_alphanumeric() || c == '_');
        if is_name && sign > 0 && end > 0 {
            shown.push_str(&tail[..sign]);
            shown.push('N');
            rest = &value[end..];
        }
    }
    shown + rest
}

#[test]
fn what_differs_each_time_is_redacted_and_nothing_else() {
    let id = "01890a5d-ac96-774b-bcce-b302099a8057";
    let text =
        format!("{id} time=\"0.123\" a time. \"duration_ms\": 12, 0.30s at 2026-01-02T03:04:05.6Z");
    assert_eq!(redacted(&text), "ID time=\"N\" a time. \"duration_ms\": N, Ns at TIME");
    assert_eq!(redacted("src/lib.rs:12 timed 3"), "src/lib.rs:12 timed 3");
}

#[tokio::test]
async fn the_reports_of_hello_are_what_their_readers_expect() {
    let (server, run) = hello().await;
    let client = server.client();
    let junit = report(&client, &run, "junit", "application/xml").await;
    assert_well_formed(&junit);
    insta::assert_snapshot!("junit", redacted(&junit));
    let tap = report(&client, &run, "tap", "text/plain").await;
    assert!(tap.starts_with("TAP version 14\n"));
    insta::assert_snapshot!("tap", redacted(&tap));
    let go = report(&client, &run, "go-test", "application/x-ndjson").await;
    insta::assert_snapshot!("go-test", redacted(&go));
    for line in go.lines() {
        let event: Value = serde_json::from_str(line).unwrap();
        assert!(event["Action"].is_string() && event["Time"].is_string(), "{line}");
    }
    let json = report(&client, &run, "json", "application/json").await;
    let parsed: Value = serde_json::from_str(&json).unwrap();
    assert_eq!(parsed["id"], run.as_str());
    insta::assert_snapshot!("json", redacted(&serde_json::to_string_pretty(&parsed).unwrap()));
}

#[tokio::test]
async fn a_report_stays_well_formed_whatever_tests_write() {
    let server = Server::start().await;
    let client = server.client();
    let upload = client.upload_request(guest("outcomes")).query(&[("namespace", "default")]);
    client.send(upload).await.expect(StatusCode::CREATED);
    let run = client.run("outcomes", &json!({"params": {"a": "]]><x>&\u{1}"}})).await;
    let run = run["id"].as_str().unwrap();
    assert_well_formed(&report(&client, run, "junit", "application/xml").await);
    let json = report(&client, run, "json", "application/json").await;
    assert!(!json.contains("s3cret-"), "a secret is masked");
    serde_json::from_str::<Value>(&json).unwrap();
    for line in report(&client, run, "go-test", "application/x-ndjson").await.lines() {
        serde_json::from_str::<Value>(line).unwrap();
    }
    let tap = report(&client, run, "tap", "text/plain").await;
    let points = tap.lines().filter(|l| l.starts_with("ok ") || l.starts_with("not ok "));
    let plan = tap.lines().find_map(|line| line.strip_prefix("1..")).unwrap();
    assert_eq!(points.count().to_string(), plan);
}

#[tokio::test]
async fn a_report_of_no_known_form_is_refused_and_one_of_a_running_run_is_not() {
    let (server, run) = hello().await;
    let client = server.client();
    client.get(&format!("/runs/{run}/report?format=pdf")).await.problem(400);
    let again = client.submit("hello", &json!({})).await;
    assert_well_formed(&report(&client, &again, "junit", "application/xml").await);
    client.finished(&again).await;
}

/// Checks what every reader of XML checks first: tags match, and nothing stands bare that may not.
#[track_caller]
fn assert_well_formed(xml: &str) {
    let is_char = |c: char| matches!(c, '\t' | '\n' | '\r' | ' '..='\u{d7ff}' | '\u{e000}'..='\u{fffd}' | '\u{10000}'..);
    assert!(xml.chars().all(is_char), "a character that XML does not have");
    let mut open = Vec::new();
    let mut rest = xml.strip_prefix("<?xml").and_then(|xml| xml.split_once("?>")).unwrap().1;
    let mut roots = 0;
    while let Some((text, tag)) = rest.split_once('<') {
        assert_text(text);
        assert!(!open.is_empty() || text.trim().is_empty(), "text outside of the root: {text:?}");
        if let Some(data) = tag.strip_prefix("![CDATA[") {
            rest = data.split_once("]]>").expect("a section ends").1;
            continue;
        }
        let end = end_of_tag(tag);
        let (tag, after) = (&tag[..end], &tag[end + 1..]);
        rest = after;
        if let Some(name) = tag.strip_prefix('/') {
            assert_eq!(open.pop(), Some(name), "a tag closes what is open");
            continue;
        }
        let empty = tag.ends_with('/');
        let tag = tag.trim_end_matches('/').trim_end();
        let name = tag.split_whitespace().next().unwrap();
        assert_attributes(&tag[name.len()..]);
        roots += usize::from(open.is_empty());
        if !empty {
            open.push(name);
        }
    }
    assert!(open.is_empty() && rest.trim().is_empty(), "open at the end: {open:?}, {rest:?}");
    assert_eq!(roots, 1, "a document has one root");
}

/// Where a tag ends; a `>` in an attribute's value does not end it.
fn end_of_tag(tag: &str) -> usize {
    let mut quoted = false;
    let end = tag.char_indices().find(|(_, c)| {
        quoted ^= *c == '"';
        *c == '>' && !quoted
    });
    end.expect("a tag ends").0
}

#[track_caller]
fn assert_attributes(text: &str) {
    let mut names = Vec::new();
    let mut rest = text.trim_start();
    while !rest.is_empty() {
        let (name, value) = rest.split_once("=\"").expect("an attribute has a value in quotes");
        let (value, after) = value.split_once('"').expect("a value ends");
        assert!(!value.contains('<') && !names.contains(&name), "{text}");
        assert_text(value);
        names.push(name);
        rest = after.trim_start();
    }
}

#[track_caller]
fn assert_text(text: &str) {
    assert!(!text.contains("]]>"), "{text}");
    for after in text.split('&').skip(1) {
        let name = after.split_once(';').map(|(name, _)| name).unwrap_or_default();
        let known = ["amp", "lt", "gt", "quot", "apos"].contains(&name) || name.starts_with('#');
        assert!(known, "a bare & in {text:?}");
    }
}
