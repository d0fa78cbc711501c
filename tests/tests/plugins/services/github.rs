//! GitHub: commits, statuses, check runs, pull requests and their comments, version 2022-11-28 of the REST API.
//! docs.github.com/rest, of which `commits/statuses`, `checks/runs`, `issues/comments` and
//! `using-the-rest-api/rate-limits-for-the-rest-api`

use serde_json::{Value, json};

use crate::harness::REFERENCE;
use crate::service::{Heard, Reply, holds, text};

/// Of a personal token, and of the installation of an app.
pub(crate) const TOKEN: &str = "ghp_right";
pub(crate) const APP_TOKEN: &str = "ghs_right";

/// The secondary limit comes with 403.
pub(crate) fn limited() -> Reply {
    let told = json!({"message": "You have exceeded a secondary rate limit."});
    Reply::new("", 403, told)
}

pub(crate) fn check(heard: &Heard) -> Result<Reply, String> {
    holds(!heard.header("user-agent").is_empty(), "without a user agent GitHub answers 403")?;
    holds(heard.header("accept") == "application/vnd.github+json", "another media type")?;
    holds(heard.header("x-github-api-version") == "2022-11-28", "another version")?;
    let token = heard.header("authorization").strip_prefix("Bearer ").unwrap_or_default();
    if ![TOKEN, APP_TOKEN].contains(&token) {
        return Ok(Reply::new("denied", 401, json!({"message": "Bad credentials"})));
    }
    let path = heard.path.strip_prefix("/repos/example/shop/").ok_or("another repository")?;
    let parts: Vec<_> = path.split('/').collect();
    let fields = Heard::fields(&heard.query);
    match (heard.method.as_str(), &parts[..]) {
        ("POST", ["statuses", REFERENCE]) => status(&heard.json()?),
        ("POST", ["check-runs"]) if token != APP_TOKEN => {
            let told = json!({"message": "You must authenticate via a GitHub App."});
            Ok(Reply::new("check run", 403, told))
        }
        ("POST", ["check-runs"]) => {
            let body = heard.json()?;
            holds(body["head_sha"] == REFERENCE, "another commit")?;
            check_run(&body, 201)
        }
        ("PATCH", ["check-runs", "4"]) => check_run(&heard.json()?, 200),
        ("GET", ["commits", REFERENCE, "pulls"]) => {
            let page = fields.get("per_page").map_or(Ok(30), |page| page.parse::<u32>());
            holds(page.is_ok_and(|page| page <= 100), "more than 100 on one page")?;
            let pull = json!({"number": 7, "state": "open", "head": {"sha": REFERENCE}});
            Ok(Reply::new("pulls", 200, json!([pull])))
        }
        ("GET", ["issues", "7", "comments"]) => {
            Ok(Reply::new("comments", 200, json!([{"id": 1, "body": "Looks good."}])))
        }
        ("POST", ["issues", "7", "comments"]) => comment(&heard.json()?, "comment", 201),
        ("PATCH", ["issues", "comments", "9"]) => comment(&heard.json()?, "comment again", 200),
        (method, _) => Err(format!("there is no {method} {path}")),
    }
}

fn status(body: &Value) -> Result<Reply, String> {
    let state = text(&body["state"], 20)?;
    holds(["error", "failure", "pending", "success"].contains(&state), "there is no such state")?;
    text(&body["description"], 140)?;
    text(&body["context"], 255)?;
    holds(text(&body["target_url"], 2_000)?.starts_with("http"), "no URL")?;
    Ok(Reply::new(format!("status {state}"), 201, json!({"id": 1, "state": state})))
}

fn check_run(body: &Value, answer: u16) -> Result<Reply, String> {
    text(&body["name"], 255)?;
    let status = text(&body["status"], 20)?;
    holds(["queued", "in_progress", "completed"].contains(&status), "there is no such status")?;
    holds((status == "completed") == body["conclusion"].is_string(), "a conclusion ends it")?;
    for time in ["started_at", "completed_at"] {
        let Some(time) = body[time].as_str() else { continue };
        holds(time.len() == "2030-01-01T00:00:00Z".len(), format!("{time} is another form"))?;
    }
    let output = &body["output"];
    text(&output["title"], 255)?;
    text(&output["summary"], 65_535)?;
    let annotations = output["annotations"].as_array().cloned().unwrap_or_default();
    holds(annotations.len() <= 50, "more than 50 annotations")?;
    for annotation in &annotations {
        text(&annotation["path"], 1_000)?;
        text(&annotation["title"], 255)?;
        text(&annotation["message"], 64 << 10)?;
        let level = text(&annotation["annotation_level"], 20)?;
        holds(["notice", "warning", "failure"].contains(&level), "there is no such level")?;
        let [start, end] = ["start_line", "end_line"].map(|name| annotation[name].as_u64());
        holds(start.is_some() && start <= end, "no lines")?;
    }
    let conclusion = body["conclusion"].as_str().unwrap_or(status);
    let what = format!("check run {conclusion}, annotations: {}", annotations.len());
    let url = "https://github.test/example/shop/runs/4";
    Ok(Reply::new(what, answer, json!({"id": 4, "html_url": url})))
}

fn comment(body: &Value, what: &str, answer: u16) -> Result<Reply, String> {
    text(&body["body"], 65_536)?;
    let url = "https://github.test/example/shop/pull/7#issuecomment-9";
    Ok(Reply::new(what, answer, json!({"id": 9, "html_url": url})))
}
