//! How each mail service wants a mail.

use crate::letter::Letter;
use handoff_plugin::http::{self, Request, encode};
use handoff_plugin::{Config, Error, Event, Result, template};
use serde_json::{Value, json};

/// Configuration with this in front is a header.
const HEADER: &str = "header.";
/// Which services there are, for errors.
const KNOWN: &str = "`postmark`, `sendgrid` or `mailgun`";

/// A mail service.
pub(crate) enum Service {
    /// https://postmarkapp.com/developer/api/email-api
    Postmark { url: String, token: String, stream: String },
    /// https://docs.sendgrid.com/api-reference/mail-send/mail-send
    SendGrid { url: String, token: String },
    /// https://documentation.mailgun.com/docs/mailgun/api-reference/send/mailgun/messages
    Mailgun { url: String, token: String },
    /// Any other.
    Other(Other),
}

/// A service that the operator describes.
pub(crate) struct Other {
    url: String,
    method: String,
    content_type: String,
    body: String,
    headers: Vec<(String, String)>,
}

impl Service {
    pub(crate) fn read(config: &Config) -> Result<Self> {
        let token = || config.require("token");
        let url = |default: &str| config.url("url", default);
        Ok(match config.get("service") {
            Some("postmark") => Self::Postmark {
                url: url("https://api.postmarkapp.com")? + "/email",
                token: token()?,
                stream: config.get("stream").unwrap_or("outbound").to_owned(),
            },
            Some("sendgrid") => Self::SendGrid {
                url: url("https://api.sendgrid.com")? + "/v3/mail/send",
                token: token()?,
            },
            Some("mailgun") => {
                let domain = config.require("domain")?;
                let url = url("https://api.mailgun.net")?;
                let url = format!("{url}/v3/{}/messages", encode(&domain));
                Self::Mailgun { url, token: token()? }
            }
            Some(other) => {
                let told =
                    format!("`service` is {other:?}: write {KNOWN}, or leave it out and set");
                return Err(Error::permanent(format!("{told} `url` and `body`")));
            }
            None => Self::Other(Other::read(config)?),
        })
    }

    pub(crate) fn url(&self) -> &str {
        match self {
            Self::Postmark { url, .. } | Self::SendGrid { url, .. } | Self::Mailgun { url, .. } => {
                url
            }
            Self::Other(other) => &other.url,
        }
    }

    /// How many addresses one mail may go to.
    pub(crate) fn most(&self) -> usize {
        match self {
            Self::Postmark { .. } => 50,
            _ => 1_000,
        }
    }

    pub(crate) fn request(
        &self,
        event: &Event,
        letter: &Letter,
        from: &str,
        to: &[String],
    ) -> Result<Request> {
        let Letter { subject, text, html, thread } = letter;
        let all = to.join(", ");
        let request = match self {
            Self::Postmark { url, token, stream } => {
                let header = |name: &str| json!({"Name": name, "Value": thread});
                let body = json!({
                    "From": from, "To": all, "Subject": subject, "TextBody": text, "HtmlBody": html,
                    "MessageStream": stream, "Headers": [header("References"), header("In-Reply-To")],
                });
                let request = http::post(url).json(&body).header("accept", "application/json");
                request.header("x-postmark-server-token", token)
            }
            Self::SendGrid { url, token } => {
                let to: Vec<_> = to.iter().map(|address| parts(address)).collect();
                http::post(url).bearer(token).json(&json!({
                    "personalizations": [{"to": to}],
                    "from": parts(from),
                    "subject": subject,
                    // Plain text comes first.
                    "content": [
                        {"type": "text/plain", "value": text},
                        {"type": "text/html", "value": html},
                    ],
                    "headers": {"References": thread, "In-Reply-To": thread},
                }))
            }
            Self::Mailgun { url, token } => {
                let fields = [
                    ("from", from),
                    ("to", &all),
                    ("subject", subject),
                    ("text", text),
                    ("html", html),
                    ("h:References", thread),
                    ("h:In-Reply-To", thread),
                ];
                let fields =
                    fields.map(|(name, value)| format!("{}={}", encode(name), encode(value)));
                let request = http::post(url).basic("api", token).body(fields.join("&"));
                request.header("content-type", "application/x-www-form-urlencoded")
            }
            Self::Other(other) => other.request(event, letter, from, &all)?,
        };
        Ok(request)
    }
}

/// An address with the name before it, if there is one.
fn parts(address: &str) -> Value {
    match address.split_once('<') {
        Some((name, rest)) => {
            let bare = rest.trim_end_matches('>').trim();
            json!({"email": bare, "name": name.trim().trim_matches('"')})
        }
        None => json!({"email": address}),
    }
}

impl Other {
    fn read(config: &Config) -> Result<Self> {
        config.url("url", "")?;
        let with_name = |(name, value): (&str, &str)| (name.to_owned(), value.to_owned());
        let body = config
            .require("body")
            .map_err(|error| Error::permanent(format!("{error}; or name a `service`: {KNOWN}")))?;
        template::render(&body, &Value::Null, str::to_owned)?;
        Ok(Self {
            url: config.require("url")?,
            method: config.get("method").unwrap_or("POST").to_owned(),
            content_type: config.get("content_type").unwrap_or("application/json").to_owned(),
            body,
            headers: config.starting_with(HEADER).map(with_name).collect(),
        })
    }

    fn request(&self, event: &Event, letter: &Letter, from: &str, to: &str) -> Result<Request> {
        let Letter { subject, text, html, thread } = letter;
        let mut value = serde_json::to_value(event)?;
        value["mail"] = json!({
            "from": from, "to": to, "subject": subject, "text": text, "html": html, "thread": thread,
        });
        let kind = self.content_type.as_str();
        let escape: fn(&str) -> String = match kind {
            _ if kind.contains("json") => template::json,
            _ if kind.contains("urlencoded") => encode,
            _ if kind.contains("xml") => template::html,
            _ => str::to_owned,
        };
        let body = template::render(&self.body, &value, escape)?;
        let mut request = http::request(&self.method, &self.url).header("content-type", kind);
        for (name, value) in &self.headers {
            request = request.header(name, value);
        }
        Ok(request.body(body))
    }
}
