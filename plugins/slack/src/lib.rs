//! Tells a Slack channel of suites that fail and recover: by an incoming webhook, or as a bot, which keeps one
//! message for each trouble up to date and answers in its thread.

mod message;

use handoff_plugin::http::{self, Response};
use handoff_plugin::{
    Annotation, Config, Context, Error, Event, EventKind, Plugin, Result, Wishes,
};
use serde::Deserialize;
use serde_json::{Value, json};

/// Where Slack's Web API is.
const API: &str = "https://slack.com/api";
/// Errors of the Web API after which the same call may go well later.
const PASSING: [&str; 6] = [
    "fatal_error",
    "internal_error",
    "ratelimited",
    "request_timeout",
    "service_unavailable",
    "team_added_to_org",
];

/// How it reaches Slack.
enum Door {
    Webhook(String),
    Bot { api: String, token: String, channel: String },
}

/// The plugin.
pub struct Slack {
    door: Door,
    events: Vec<EventKind>,
}

impl Plugin for Slack {
    fn init(config: &Config) -> Result<Self> {
        let door = match (config.get("webhook_url"), config.get("token")) {
            (Some(url), None) => Door::Webhook(url.to_owned()),
            (None, Some(token)) => Door::Bot {
                api: config.url("api_url", API)?,
                token: token.to_owned(),
                channel: config.require("channel")?,
            },
            _ => {
                let told = "set one of the secrets `webhook_url` and `token`, and not both";
                return Err(Error::permanent(told));
            }
        };
        let events = config.events("suite_failing,suite_still_failing,suite_recovered,trial");
        Ok(Self { door, events })
    }

    fn wishes(&self) -> Wishes {
        let url = match &self.door {
            Door::Webhook(url) => url,
            Door::Bot { api, .. } => api,
        };
        Wishes::events(self.events.iter().cloned()).http(url)
    }

    fn handle(&self, event: &Event, cx: &mut Context<'_>) -> Result<Vec<Annotation>> {
        match &self.door {
            Door::Webhook(url) => {
                cx.send(http::post(url).json(&message::whole(event)))?.success()?;
                Ok(vec![Annotation::new("Told Slack")])
            }
            Door::Bot { api, token, channel } => {
                Bot { api, token, channel, cx }.tell(event).map(|said| said.into_iter().collect())
            }
        }
    }
}

/// A bot that tells one event.
struct Bot<'a, 'b> {
    api: &'a str,
    token: &'a str,
    channel: &'a str,
    cx: &'a mut Context<'b>,
}

/// What the Web API answers.
#[derive(Deserialize)]
struct Answer {
    ok: bool,
    #[serde(default)]
    error: String,
    #[serde(default)]
    ts: String,
    #[serde(default)]
    channel: String,
}

impl Bot<'_, '_> {
    fn tell(&mut self, event: &Event) -> Result<Option<Annotation>> {
        let key = format!("message/{}", event.dedup_key);
        // The same event may come twice, and its message must not.
        if self.cx.was_told(event) {
            return Ok(None);
        }
        let known = self.cx.get_text(&key).and_then(|text| {
            text.split_once(' ').map(|(channel, ts)| (channel.to_owned(), ts.to_owned()))
        });
        let (channel, ts) = match known {
            Some(known) => self.go_on(event, known)?,
            None => self.begin(event)?,
        };
        match event.kind {
            EventKind::SuiteFailing | EventKind::SuiteStillFailing => {
                self.cx.set(&key, format!("{channel} {ts}"))?;
            }
            _ => self.cx.delete(&key),
        }
        self.cx.told(event)?;
        Ok(Some(Annotation::new("Told Slack").value("channel", channel).value("ts", ts)))
    }

    fn begin(&mut self, event: &Event) -> Result<(String, String)> {
        let mut body = message::whole(event);
        body["channel"] = json!(self.channel);
        let Answer { channel, ts, .. } = self.call("chat.postMessage", &body)?;
        Ok((channel, ts))
    }

    /// Brings the trouble's message up to date and answers in its thread.
    fn go_on(&mut self, event: &Event, at: (String, String)) -> Result<(String, String)> {
        let (channel, ts) = at;
        let mut body = message::whole(event);
        (body["channel"], body["ts"]) = (json!(channel), json!(ts));
        match self.call("chat.update", &body) {
            Ok(_) => {}
            // Somebody deleted it, or it is too old to be changed.
            Err(error) if gone(&error) => return self.begin(event),
            Err(error) => return Err(error),
        }
        let mut reply = message::short(event);
        (reply["channel"], reply["thread_ts"]) = (json!(channel), json!(ts));
        if event.kind == EventKind::SuiteRecovered {
            reply["reply_broadcast"] = json!(true);
        }
        self.call("chat.postMessage", &reply)?;
        Ok((channel, ts))
    }

    fn call(&mut self, method: &str, body: &Value) -> Result<Answer> {
        let request = http::post(format!("{}/{method}", self.api)).bearer(self.token);
        let body = serde_json::to_vec(body)?;
        let request = request.header("content-type", "application/json; charset=utf-8").body(body);
        read(method, self.cx.send(request)?)
    }
}

fn gone(error: &Error) -> bool {
    ["message_not_found", "cant_update_message", "edit_window_closed"]
        .iter()
        .any(|word| error.message().ends_with(word))
}

/// An answer of the Web API says in its body whether it did what was asked.
fn read(method: &str, response: Response) -> Result<Answer> {
    let wait = response.wait();
    let answer: Answer = response.success()?.json()?;
    if answer.ok {
        return Ok(answer);
    }
    let told = format!("Slack refused {method}: {}", answer.error);
    if !PASSING.contains(&answer.error.as_str()) {
        return Err(Error::permanent(told));
    }
    let error = Error::new(told);
    Err(match wait {
        Some(wait) => error.retry_after(wait),
        None => error,
    })
}

handoff_plugin::plugin!(Slack);

#[cfg(test)]
mod tests;
