//! An event as a mail: subject, text and HTML.

use handoff_plugin::template::{self, html};
use handoff_plugin::text::{cut, duration, line};
use handoff_plugin::{Config, Event, Result, Run, sign};
use serde_json::Value;

/// Characters of a subject.
const SUBJECT_CHARS: usize = 200;
/// Failed tests that are told of, and lines and characters of each one's message.
const FAILURES: usize = 20;
const MESSAGE_LINES: usize = 10;
const MESSAGE_CHARS: usize = 1_000;

/// Templates of the operator, in place of what is written here.
pub(crate) struct Templates {
    subject: Option<String>,
    text: Option<String>,
    html: Option<String>,
}

impl Templates {
    pub(crate) fn read(config: &Config) -> Result<Self> {
        let get = |name: &str| -> Result<Option<String>> {
            let Some(text) = config.get(name) else { return Ok(None) };
            // Tells at once of one that cannot be filled in.
            template::render(text, &Value::Null, str::to_owned)?;
            Ok(Some(text.to_owned()))
        };
        Ok(Self { subject: get("subject")?, text: get("text")?, html: get("html")? })
    }
}

/// A mail.
pub(crate) struct Letter {
    pub(crate) subject: String,
    pub(crate) text: String,
    pub(crate) html: String,
    /// What mails about one trouble have in common, as a message's id: readers show them together.
    pub(crate) thread: String,
}

impl Letter {
    pub(crate) fn write(event: &Event, templates: &Templates) -> Result<Self> {
        let value = serde_json::to_value(event)?;
        let plain = |text: &str| text.to_owned();
        let subject = match &templates.subject {
            Some(template) => template::render(template, &value, plain)?,
            None => event.headline(),
        };
        let text = match &templates.text {
            Some(template) => template::render(template, &value, plain)?,
            None => text(event),
        };
        let html = match &templates.html {
            Some(template) => template::render(template, &value, html)?,
            None => page(event),
        };
        let key = sign::hex(&sign::sha256(event.dedup_key.as_bytes()));
        let thread = format!("<{}@handoff.invalid>", &key[..32]);
        // A line break would begin a header.
        Ok(Self { subject: line(&subject, SUBJECT_CHARS), text, html, thread })
    }
}

fn message(text: &str) -> String {
    let lines: Vec<_> = text.lines().take(MESSAGE_LINES).collect();
    cut(&lines.join("\n"), MESSAGE_CHARS)
}

/// What there is to know of a run, each with what it is.
fn facts(event: &Event, run: &Run) -> Vec<(&'static str, String)> {
    let mut facts = vec![("Run", format!("#{}", run.number)), ("Result", run.counts.to_string())];
    facts.extend(run.reference.clone().map(|reference| ("Reference", reference)));
    facts.extend(run.duration_ms.map(|ms| ("Took", duration(ms))));
    facts.extend(run.initiated_by.clone().map(|by| ("Started by", by)));
    facts.extend(run.owner.clone().map(|owner| ("Owner", owner)));
    facts.extend(event.trouble.iter().map(|trouble| ("Failing since", trouble.since.clone())));
    facts
}

fn more(event: &Event) -> Option<String> {
    let failed = event.run.as_ref().map_or(0, |run| run.counts.failed as usize);
    let more = failed.saturating_sub(event.failures.len().min(FAILURES));
    (more > 0 && !event.failures.is_empty()).then(|| format!("… and {more} more"))
}

fn text(event: &Event) -> String {
    let mut out = vec![event.headline(), String::new()];
    if let Some(run) = &event.run {
        out.extend(facts(event, run).iter().map(|(what, text)| format!("{what}: {text}")));
        out.push(String::new());
    }
    out.extend(event.message.iter().flat_map(|text| [text.clone(), String::new()]));
    for test in event.failures.iter().take(FAILURES) {
        out.push(format!("* {}", line(&test.name, 300)));
        let why = test.message.as_deref().map(message).unwrap_or_default();
        out.extend(why.lines().map(|line| format!("    {line}")));
    }
    out.extend(more(event));
    if !event.failures.is_empty() {
        out.push(String::new());
    }
    out.extend(event.links.iter().map(|link| format!("{}: {}", link.title, link.url)));
    out.join("\n") + "\n"
}

/// The same as HTML, with nothing that a reader of mail does not know.
fn page(event: &Event) -> String {
    let failed = event.run.as_ref().is_some_and(|run| run.status != "passed");
    let colour = if failed { "#b42318" } else { "#1a7f37" };
    let mut out = format!(
        "<!DOCTYPE html>\n<html><body style=\"font-family: sans-serif\">\n\
         <h2 style=\"color: {colour}\">{}</h2>\n",
        html(&event.headline())
    );
    if let Some(run) = &event.run {
        out.push_str("<table>\n");
        for (what, text) in facts(event, run) {
            out.push_str(&format!("<tr><td>{what}</td><td><b>{}</b></td></tr>\n", html(&text)));
        }
        out.push_str("</table>\n");
    }
    out.extend(event.message.iter().map(|text| format!("<p>{}</p>\n", html(text))));
    for test in event.failures.iter().take(FAILURES) {
        let why = test.message.as_deref().map(message).unwrap_or_default();
        let name = html(&line(&test.name, 300));
        out.push_str(&format!("<p><b>{name}</b></p>\n<pre>{}</pre>\n", html(&why)));
    }
    out.extend(more(event).map(|more| format!("<p>{more}</p>\n")));
    // Anything but these could be a script.
    let links = event.links.iter().filter(|link| link.url.starts_with("http"));
    for link in links {
        let (url, title) = (html(&link.url), html(&link.title));
        out.push_str(&format!("<p><a href=\"{url}\">{title}</a></p>\n"));
    }
    out + "</body></html>\n"
}
