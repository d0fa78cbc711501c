//! An event as a message of Block Kit, within its limits.

use handoff_plugin::text::{self, cut};
use handoff_plugin::{Event, EventKind, Run, Test};
use serde_json::{Value, json};

/// Characters of a header, of a section, and of the text for notifications.
const HEADER_CHARS: usize = 150;
const SECTION_CHARS: usize = 3_000;
const TEXT_CHARS: usize = 4_000;
/// Failed tests that are named.
const FAILURES: usize = 10;
/// Characters of one failure's line.
const LINE_CHARS: usize = 250;

/// The whole message.
pub(crate) fn whole(event: &Event) -> Value {
    let title = title(event);
    let mut blocks = vec![json!({
        "type": "header",
        "text": {"type": "plain_text", "text": cut(&title, HEADER_CHARS), "emoji": true},
    })];
    if let Some(run) = &event.run {
        blocks.push(section(&facts(event, run)));
    }
    if let Some(message) = &event.message {
        blocks.push(section(&escape(message)));
    }
    if !event.failures.is_empty() {
        blocks.push(section(&failures(event)));
    }
    let links = event.links.iter().take(5).filter(|link| link.url.starts_with("http"));
    let links: Vec<_> =
        links.map(|link| format!("<{}|{}>", escape(&link.url), escape(&link.title))).collect();
    if !links.is_empty() {
        let text = shorten(&links.join(" · "), SECTION_CHARS);
        blocks.push(json!({"type": "context", "elements": [{"type": "mrkdwn", "text": text}]}));
    }
    json!({"text": shorten(&escape(&title), TEXT_CHARS), "blocks": blocks})
}

/// What is new about a trouble that goes on.
pub(crate) fn short(event: &Event) -> Value {
    let mut text = format!("*{}*", escape(&title(event)));
    if let Some(run) = &event.run {
        text.push_str(&format!(" · <{}|run #{}>", escape(&run.url), run.number));
    }
    if !event.failures.is_empty() {
        text.push_str(&format!("\n{}", failures(event)));
    }
    json!({"text": shorten(&text, TEXT_CHARS)})
}

fn title(event: &Event) -> String {
    let failed = event.run.as_ref().is_some_and(|run| run.status != "passed");
    let sign = match &event.kind {
        EventKind::SuiteFailing | EventKind::SuiteStillFailing => "🔴",
        EventKind::SuiteRecovered => "🟢",
        EventKind::TestFlaky => "🟡",
        EventKind::Trial => "👋",
        EventKind::RunFinished if failed => "🔴",
        EventKind::RunFinished => "🟢",
        _ => "⚠️",
    };
    format!("{sign} {}", event.headline())
}

fn facts(event: &Event, run: &Run) -> String {
    let mut facts = vec![format!("<{}|Run #{}>: *{}*", escape(&run.url), run.number, run.status)];
    facts.push(run.counts.to_string());
    facts.extend(run.duration_ms.map(text::duration));
    facts.extend(run.reference.as_ref().map(|reference| format!("`{}`", escape(reference))));
    facts.extend(run.initiated_by.as_ref().map(|by| escape(by)));
    facts.extend(event.test.as_ref().map(|test| format!("test *{}*", escape(&test.name))));
    shorten(&facts.join(" · "), SECTION_CHARS)
}

/// The failing tests, each with the first line of its message.
fn failures(event: &Event) -> String {
    let line = |test: &Test| {
        shorten(&format!("• *{}* {}", escape(&test.name), escape(test.summary())), LINE_CHARS)
    };
    let mut lines: Vec<_> = event.failures.iter().take(FAILURES).map(line).collect();
    let all = event.run.as_ref().map_or(0, |run| run.counts.failed);
    let more = all.saturating_sub(lines.len() as u64);
    if more > 0 {
        lines.push(format!("… and {more} more"));
    }
    shorten(&lines.join("\n"), SECTION_CHARS)
}

fn section(text: &str) -> Value {
    json!({"type": "section", "text": {"type": "mrkdwn", "text": shorten(text, SECTION_CHARS)}})
}

/// The three characters that Slack's text gives a meaning to.
fn escape(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;")
}

/// Cuts text that is escaped, not within an entity or a link.
fn shorten(text: &str, most: usize) -> String {
    let mut short = cut(text, most);
    if short.len() == text.len() {
        return short;
    }
    short.pop();
    for (open, close) in [('<', '>'), ('&', ';')] {
        if let Some(at) = short.rfind(open).filter(|at| !short[*at..].contains(close)) {
            short.truncate(at);
        }
    }
    short.push('…');
    short
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_cut_has_no_half_of_an_entity_or_a_link() {
        let text = "a &amp; <https://a.test|b> c";
        for (most, expected) in [
            (99, text),
            (6, "a …"),
            (8, "a &amp;…"),
            (20, "a &amp; …"),
            (27, "a &amp; <https://a.test|b>…"),
        ] {
            assert_eq!(shorten(text, most), expected, "{most}");
        }
    }
}
