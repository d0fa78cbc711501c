//! Any endpoint, as the Standard Webhooks specification has it: an id, a time stamp that is not old, and a
//! signature over both and the body. github.com/standard-webhooks/standard-webhooks

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use ring::hmac;
use serde_json::json;

use crate::service::{Heard, Reply, holds, text};

/// The key of the specification's own examples.
pub(crate) const SECRET: &str = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw";
/// How old a call may be.
const TOLERANCE_S: i64 = 300;

pub(crate) fn limited() -> Reply {
    Reply::new("", 429, "")
}

pub(crate) fn check(heard: &Heard) -> Result<Reply, String> {
    holds((heard.method.as_str(), heard.path.as_str()) == ("POST", "/hook"), "elsewhere")?;
    let (id, time) = (heard.header("webhook-id"), heard.header("webhook-timestamp"));
    holds(!id.is_empty() && !id.contains('.'), "the id is empty or has a full stop")?;
    let at: i64 = time.parse().map_err(|_| "the time stamp is no number")?;
    let age = jiff::Timestamp::now().as_second() - at;
    holds(age.abs() <= TOLERANCE_S, format!("{age} s old"))?;
    let key = STANDARD.decode(SECRET.trim_start_matches("whsec_")).unwrap();
    let key = hmac::Key::new(hmac::HMAC_SHA256, &key);
    let signed = [format!("{id}.{time}.").as_bytes(), &heard.body].concat();
    let expected = format!("v1,{}", STANDARD.encode(hmac::sign(&key, &signed)));
    if !heard.header("webhook-signature").split(' ').any(|it| it == expected) {
        return Ok(Reply::new("unsigned", 401, json!({"error": "the signature is another"})));
    }
    let body = heard.json()?;
    holds(body["id"] == id, "the event has another id")?;
    let (event, status) = (text(&body["event"], 50)?, text(&body["run"]["status"], 50)?);
    Ok(Reply::new(format!("{event} {status}"), 204, ""))
}
