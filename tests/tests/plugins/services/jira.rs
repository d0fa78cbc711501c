//! Jira Cloud: version 3 of the REST API, with texts in Atlassian's document format.
//! developer.atlassian.com/cloud/jira/platform/rest/v3

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Value, json};

use crate::service::{Heard, Reply, holds, text};

pub(crate) const TOKEN: &str = "ATATT-right";
/// Characters of a description or comment.
const TEXT_CHARS: usize = 32_767;

pub(crate) fn limited() -> Reply {
    let told = json!({"errorMessages": ["Rate limit exceeded."]});
    Reply::new("", 429, told).header("x-ratelimit-limit", 350)
}

pub(crate) fn check(heard: &Heard) -> Result<Reply, String> {
    let expected = format!("Basic {}", STANDARD.encode(format!("bot@example.com:{TOKEN}")));
    if heard.header("authorization") != expected {
        let told = "Client must be authenticated to access this resource.";
        return Ok(Reply::new("denied", 401, json!({"errorMessages": [told]})));
    }
    let path = heard.path.strip_prefix("/rest/api/3/").ok_or("elsewhere")?;
    let parts: Vec<_> = path.split('/').collect();
    match (heard.method.as_str(), &parts[..]) {
        ("POST", ["search", "jql"]) => {
            let body = heard.json()?;
            let jql = text(&body["jql"], 2_000)?;
            // One that is not bounded is refused.
            holds(jql.contains("project = \"SHOP\""), "an unbounded query")?;
            holds(body["fields"].is_array(), "without fields there are ids alone")?;
            Ok(Reply::new("search", 200, json!({"issues": [], "isLast": true})))
        }
        ("POST", ["issue"]) => {
            let body = heard.json()?;
            issue(&body["fields"])?;
            let made = json!({"id": "10000", "key": "SHOP-24", "self": "http://jira.test/10000"});
            Ok(Reply::new("issue", 201, made))
        }
        ("PUT", ["issue", "SHOP-24"]) => {
            document(&heard.json()?["fields"]["description"])?;
            Ok(Reply::new("description", 204, ""))
        }
        ("POST", ["issue", "SHOP-24", "comment"]) => {
            document(&heard.json()?["body"])?;
            Ok(Reply::new("comment", 201, json!({"id": "10100"})))
        }
        ("GET", ["issue", "SHOP-24", "transitions"]) => {
            let found = json!({"transitions": [{"id": "5", "name": "Done"}]});
            Ok(Reply::new("transitions", 200, found))
        }
        ("POST", ["issue", "SHOP-24", "transitions"]) => {
            holds(heard.json()?["transition"]["id"] == "5", "there is no such transition")?;
            Ok(Reply::new("done", 204, ""))
        }
        (method, _) => Err(format!("there is no {method} {path}")),
    }
}

fn issue(fields: &Value) -> Result<(), String> {
    holds(fields["project"]["key"] == "SHOP", "no project")?;
    text(&fields["issuetype"]["name"], 60)?;
    let summary = text(&fields["summary"], 255)?;
    holds(
        !summary.contains('\n'),
        "The summary is invalid because it contains newline characters.",
    )?;
    for label in fields["labels"].as_array().into_iter().flatten() {
        let label = text(label, 255)?;
        holds(!label.contains(' '), format!("The label '{label}' contains spaces"))?;
    }
    document(&fields["description"])
}

/// A document has blocks, and these have texts that are not empty.
fn document(value: &Value) -> Result<(), String> {
    holds(value["type"] == "doc" && value["version"] == 1, format!("{value} is no document"))?;
    let mut chars = 0;
    for block in value["content"].as_array().ok_or("no content")? {
        let kind = block["type"].as_str().unwrap_or_default();
        holds(["paragraph", "codeBlock"].contains(&kind), format!("there is no block {kind}"))?;
        for part in block["content"].as_array().into_iter().flatten() {
            chars += text(&part["text"], TEXT_CHARS)?.len();
            let marks = part["marks"].as_array().cloned().unwrap_or_default();
            holds(kind != "codeBlock" || marks.is_empty(), "marks in code")?;
            for mark in marks {
                holds(mark["type"] == "link" && mark["attrs"]["href"].is_string(), "no link")?;
            }
        }
    }
    holds(chars <= TEXT_CHARS, format!("{chars} characters"))
}
