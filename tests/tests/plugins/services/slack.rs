//! Slack: `chat.postMessage`, `chat.update` and incoming webhooks, with the limits of Block Kit.
//! docs.slack.dev/reference/methods, docs.slack.dev/messaging/sending-messages-using-incoming-webhooks,
//! docs.slack.dev/reference/block-kit/blocks, docs.slack.dev/apis/web-api/rate-limits

use serde_json::{Value, json};

use crate::service::{Heard, Reply, holds, text};

pub(crate) const TOKEN: &str = "xoxb-0123-right";
/// The time stamp that names a message.
const TS: &str = "1503435956.000247";

pub(crate) fn limited() -> Reply {
    Reply::new("", 429, json!({"ok": false, "error": "ratelimited"}))
}

pub(crate) fn api(heard: &Heard) -> Result<Reply, String> {
    holds(heard.method == "POST", "no POST")?;
    holds(heard.header("content-type") == "application/json; charset=utf-8", "without a charset")?;
    let body = heard.json()?;
    let method = heard.path.strip_prefix("/api/").ok_or("no method of the Web API")?;
    let refuse = |error: &str| Ok(Reply::new(error, 200, json!({"ok": false, "error": error})));
    match heard.header("authorization").strip_prefix("Bearer ") {
        None => return refuse("not_authed"),
        Some(token) if token != TOKEN => return refuse("invalid_auth"),
        Some(_) => {}
    }
    message(&body)?;
    let channel = text(&body["channel"], 100)?;
    if channel != "C0123456789" {
        return refuse("channel_not_found");
    }
    let what = match method {
        "chat.postMessage" if body["thread_ts"].is_null() => "message",
        "chat.postMessage" => {
            holds(body["thread_ts"] == TS, "no message has that thread_ts")?;
            holds(body["reply_broadcast"].is_boolean(), "a recovery is told to the channel")?;
            "answer to all"
        }
        "chat.update" if body["ts"] != TS => return refuse("message_not_found"),
        "chat.update" => "update",
        other => return Err(format!("there is no method {other}")),
    };
    Ok(Reply::new(what, 200, json!({"ok": true, "channel": channel, "ts": TS, "message": {}})))
}

pub(crate) fn webhook(heard: &Heard) -> Result<Reply, String> {
    holds(heard.method == "POST", "no POST")?;
    let body = heard.json()?;
    message(&body)?;
    match heard.path.as_str() {
        "/services/T0/B0/right" => Ok(Reply::new("message", 200, "ok")),
        _ => Ok(Reply::new("invalid_token", 403, "invalid_token")),
    }
}

fn message(body: &Value) -> Result<(), String> {
    text(&body["text"], 40_000)?;
    let blocks = body["blocks"].as_array().cloned().unwrap_or_default();
    holds(blocks.len() <= 50, "more than 50 blocks")?;
    for block in &blocks {
        match block["type"].as_str() {
            Some("header") => {
                holds(block["text"]["type"] == "plain_text", "a header is plain text")?;
                text(&block["text"]["text"], 150)?;
            }
            Some("section") => {
                holds(block["text"]["type"] == "mrkdwn", "another text in a section")?;
                text(&block["text"]["text"], 3_000)?;
            }
            Some("context") => {
                let elements = block["elements"].as_array().ok_or("no elements")?;
                holds((1..=10).contains(&elements.len()), "1 to 10 elements")?;
            }
            other => return Err(format!("there is no block {other:?}")),
        }
    }
    Ok(())
}
