//! Texts with places for what an event holds: `{{run.suite.name}}`, `{{failures.0.name}}`.

use crate::{Error, Result};
use serde_json::Value;

/// Fills a template in. A place is a path of names and numbers through the event's JSON; what is not there is
/// empty, and what is no text is JSON. `escape` makes each value fit where it is put. Beside the event,
/// `{{event_json}}` is the whole event, as it is.
pub fn render(template: &str, event: &Value, escape: impl Fn(&str) -> String) -> Result<String> {
    let mut out = String::with_capacity(template.len());
    let mut rest = template;
    while let Some((before, after)) = rest.split_once("{{") {
        out.push_str(before);
        let (path, behind) = after.split_once("}}").ok_or_else(|| {
            Error::permanent(format!("the template has `{{{{` without `}}}}`: {after:.40}"))
        })?;
        match path.trim() {
            "event_json" => out.push_str(&event.to_string()),
            path => out.push_str(&escape(&text(event, path))),
        }
        rest = behind;
    }
    out.push_str(rest);
    Ok(out)
}

fn text(event: &Value, path: &str) -> String {
    let step = |value: &Value, step: &str| match step.parse::<usize>() {
        Ok(index) if value.is_array() => value.get(index).cloned(),
        _ => value.get(step).cloned(),
    };
    let found = path.split('.').try_fold(event.clone(), |value, name| step(&value, name));
    match found {
        None | Some(Value::Null) => String::new(),
        Some(Value::String(text)) => text,
        Some(value) => value.to_string(),
    }
}

/// A text as the inside of a JSON string.
pub fn json(text: &str) -> String {
    let quoted = Value::from(text).to_string();
    quoted[1..quoted.len() - 1].to_owned()
}

/// A text as the inside of an HTML element or attribute.
pub fn html(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for character in text.chars() {
        match character {
            '&' => out.push_str("&amp;"),
            '<' => out.push_str("&lt;"),
            '>' => out.push_str("&gt;"),
            '"' => out.push_str("&quot;"),
            '\'' => out.push_str("&#39;"),
            other => out.push(other),
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json as value;

    #[test]
    fn places_are_filled_in_and_escaped() {
        let event = value!({"run": {"status": "fa\"iled", "n": 3}, "failures": [{"name": "<b>"}]});
        let filled = |template: &str| render(template, &event, json).unwrap();
        assert_eq!(filled(r#"{"s": "{{ run.status }}"}"#), r#"{"s": "fa\"iled"}"#);
        assert_eq!(filled("{{run.n}} {{failures.0.name}}{{nothing.here}}"), "3 <b>");
        assert_eq!(render("{{failures.0.name}}", &event, html).unwrap(), "&lt;b&gt;");
        assert_eq!(filled("{{event_json}}"), event.to_string());
        assert!(render("{{run", &event, json).unwrap_err().is_permanent());
    }
}
