//! PagerDuty: the Events API v2. developer.pagerduty.com/docs/events-api-v2-overview

use serde_json::json;

use crate::service::{Heard, Reply, holds, text};

pub(crate) const KEY: &str = "0123456789abcdef0123456789abcdef";

pub(crate) fn limited() -> Reply {
    Reply::new("", 429, "")
}

pub(crate) fn check(heard: &Heard) -> Result<Reply, String> {
    holds((heard.method.as_str(), heard.path.as_str()) == ("POST", "/v2/enqueue"), "elsewhere")?;
    holds(heard.body.len() <= 512_000, "larger than 512 KB")?;
    let body = heard.json()?;
    let key = text(&body["dedup_key"], 255)?;
    let action = text(&body["event_action"], 20)?;
    if body["routing_key"] != KEY {
        let refused = json!({
            "status": "invalid event", "message": "Event object is invalid",
            "errors": ["Length of 'routing_key' is incorrect (should be 32 characters)"],
        });
        return Ok(Reply::new("invalid", 400, refused));
    }
    match action {
        "trigger" => {
            let payload = &body["payload"];
            text(&payload["summary"], 1_024)?;
            text(&payload["source"], 255)?;
            let severity = text(&payload["severity"], 20)?;
            holds(["critical", "error", "warning", "info"].contains(&severity), "no severity")?;
            let at = text(&payload["timestamp"], 40)?;
            at.parse::<jiff::Timestamp>().map_err(|error| format!("no time: {error}"))?;
            for link in body["links"].as_array().into_iter().flatten() {
                holds(text(&link["href"], 2_000)?.starts_with("http"), "no link")?;
            }
        }
        "acknowledge" | "resolve" => {}
        other => return Err(format!("there is no action {other}")),
    }
    let taken = json!({"status": "success", "message": "Event processed", "dedup_key": key});
    Ok(Reply::new(action, 202, taken))
}
