//! Mail services: Postmark (postmarkapp.com/developer/api/email-api), SendGrid
//! (docs.sendgrid.com/api-reference/mail-send/mail-send), Mailgun (documentation.mailgun.com), and one of nobody's.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Value, json};

use crate::service::{Heard, Reply, holds, text};

pub(crate) const TOKEN: &str = "right-t0ken";

pub(crate) fn limited() -> Reply {
    Reply::new("", 429, "")
}

pub(crate) fn postmark(heard: &Heard) -> Result<Reply, String> {
    holds((heard.method.as_str(), heard.path.as_str()) == ("POST", "/email"), "elsewhere")?;
    holds(heard.header("accept") == "application/json", "Accept is required")?;
    let body = heard.json()?;
    if heard.header("x-postmark-server-token") != TOKEN {
        let told = "Request does not contain a valid Server token.";
        return Ok(Reply::new("denied", 401, json!({"ErrorCode": 10, "Message": told})));
    }
    addresses(text(&body["From"], 255)?, 1)?;
    addresses(text(&body["To"], 20_000)?, 50)?;
    text(&body["MessageStream"], 100)?;
    for header in body["Headers"].as_array().into_iter().flatten() {
        text(&header["Name"], 100)?;
        text(&header["Value"], 1_000)?;
    }
    mail(text(&body["Subject"], 2_000)?, &body["TextBody"], &body["HtmlBody"])?;
    let subject = body["Subject"].as_str().unwrap();
    let sent = json!({"ErrorCode": 0, "Message": "OK", "MessageID": "b7bc2f4a", "To": body["To"]});
    Ok(Reply::new(subject, 200, sent))
}

pub(crate) fn sendgrid(heard: &Heard) -> Result<Reply, String> {
    holds((heard.method.as_str(), heard.path.as_str()) == ("POST", "/v3/mail/send"), "elsewhere")?;
    let body = heard.json()?;
    if heard.header("authorization") != format!("Bearer {TOKEN}") {
        let told = "The provided authorization grant is invalid, expired, or revoked";
        return Ok(Reply::new("denied", 401, json!({"errors": [{"message": told}]})));
    }
    let personal = body["personalizations"].as_array().ok_or("no personalizations")?;
    holds((1..=1_000).contains(&personal.len()), "1 to 1,000 personalizations")?;
    for address in personal.iter().flat_map(|it| it["to"].as_array().into_iter().flatten()) {
        addresses(text(&address["email"], 320)?, 1)?;
    }
    addresses(text(&body["from"]["email"], 320)?, 1)?;
    let content = body["content"].as_array().ok_or("no content")?;
    let kinds: Vec<_> = content.iter().map(|part| part["type"].as_str().unwrap()).collect();
    holds(kinds == ["text/plain", "text/html"], format!("{kinds:?}: plain text comes first"))?;
    let subject = text(&body["subject"], 998)?;
    mail(subject, &content[0]["value"], &content[1]["value"])?;
    Ok(Reply::new(subject, 202, ""))
}

pub(crate) fn mailgun(heard: &Heard) -> Result<Reply, String> {
    let path = "/v3/mg.example.com/messages";
    holds((heard.method.as_str(), heard.path.as_str()) == ("POST", path), "elsewhere")?;
    let expected = format!("Basic {}", STANDARD.encode(format!("api:{TOKEN}")));
    if heard.header("authorization") != expected {
        return Ok(Reply::new("denied", 401, "Forbidden"));
    }
    let kind = heard.header("content-type");
    holds(kind == "application/x-www-form-urlencoded", format!("{kind} is no form"))?;
    let fields = Heard::fields(std::str::from_utf8(&heard.body).map_err(|_| "no text")?);
    let get = |name: &str| fields.get(name).cloned().ok_or_else(|| format!("no {name}"));
    addresses(&get("from")?, 1)?;
    addresses(&get("to")?, 1_000)?;
    let subject = get("subject")?;
    mail(&subject, &json!(get("text")?), &json!(get("html")?))?;
    let queued = json!({"id": "<1@mg.example.com>", "message": "Queued. Thank you."});
    Ok(Reply::new(subject, 200, queued))
}

/// The service that is described by a template.
pub(crate) fn other(heard: &Heard) -> Result<Reply, String> {
    holds((heard.method.as_str(), heard.path.as_str()) == ("PUT", "/send"), "elsewhere")?;
    let body = heard.json()?;
    if heard.header("x-api-key") != TOKEN {
        return Ok(Reply::new("denied", 403, ""));
    }
    addresses(text(&body["recipient"], 320)?, 1)?;
    let title = text(&body["title"], 200)?;
    mail(title, &body["plain"], &body["html"])?;
    Ok(Reply::new(title, 202, ""))
}

fn mail(subject: &str, plain: &Value, html: &Value) -> Result<(), String> {
    holds(!subject.contains(['\r', '\n']), "a line break in the subject")?;
    text(plain, 1 << 20)?;
    holds(text(html, 1 << 20)?.contains("</html>"), "no HTML")
}

fn addresses(text: &str, most: usize) -> Result<(), String> {
    let all: Vec<_> = text.split(',').collect();
    holds(all.len() <= most, format!("{} addresses", all.len()))?;
    holds(all.iter().all(|it| it.contains('@')), format!("{text} is no address"))
}
