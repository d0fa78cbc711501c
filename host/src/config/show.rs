//! The configuration in effect as TOML that can be used as a file again, with where each value came
//! from, and without secrets.

use std::fmt::Write as _;

use serde_json::Value;

use super::setting::tree;
use super::{DeclaredSuite, Loaded, settings};
use crate::http::views::TriggerBody;

/// The configuration in effect as TOML.
pub fn show(loaded: &Loaded) -> String {
    let tree = tree(&loaded.config);
    let mut text = String::new();
    let mut table = String::new();
    // A table is opened once, behind the keys of the tables that it is in.
    let mut settings = settings();
    settings.sort_by(|a, b| parent(&a.key).cmp(parent(&b.key)));
    for setting in settings {
        let (parent, leaf) = (parent(&setting.key), leaf(&setting.key));
        if parent != table {
            table = parent.to_owned();
            _ = writeln!(text, "\n[{table}]");
        }
        let source = loaded.sources.get(&setting.key);
        let source = source.map_or("default".to_owned(), ToString::to_string);
        match setting.value_in(&tree) {
            Value::Null => _ = writeln!(text, "# {leaf} is not set"),
            value => _ = writeln!(text, "{leaf} = {} # {source}", literal(&value)),
        }
    }
    loaded.config.suites.iter().for_each(|suite| show_suite(suite, &mut text));
    for schedule in &loaded.config.schedules {
        show_fields("schedules", &serde_json::to_value(schedule).unwrap_or_default(), &mut text);
    }
    loaded.config.triggers.iter().for_each(|trigger| show_trigger(trigger, &mut text));
    for mark in &loaded.config.marks {
        show_fields("marks", &serde_json::to_value(mark).unwrap_or_default(), &mut text);
    }
    text
}

fn show_trigger(trigger: &TriggerBody, text: &mut String) {
    show_fields("triggers", &serde_json::to_value(trigger).unwrap_or_default(), text);
    if trigger.rule.secret_env.is_none() && trigger.rule.secret_file.is_none() {
        _ = writeln!(text, "# secret, not shown");
    }
}

/// One of several that the file declares.
fn show_fields(table: &str, fields: &Value, text: &mut String) {
    _ = writeln!(text, "\n[[{table}]]");
    for (name, value) in fields.as_object().into_iter().flatten() {
        show_field(name, value, text);
    }
}

/// A field of what is declared, with dots in the name of what is inside another.
fn show_field(name: &str, value: &Value, text: &mut String) {
    match value {
        Value::Null => {}
        Value::Object(fields) => {
            for (field, value) in fields {
                show_field(&format!("{name}.{field:?}"), value, text);
            }
        }
        value => _ = writeln!(text, "{name} = {}", literal(value)),
    }
}

fn show_suite(suite: &DeclaredSuite, text: &mut String) {
    let policy = &suite.policy;
    let file = suite.file.to_string_lossy();
    _ = writeln!(text, "\n[[suites]]\nfile = {}", literal(&file.as_ref().into()));
    if let Some(namespace) = &suite.namespace {
        _ = writeln!(text, "namespace = {}", literal(&namespace.as_str().into()));
    }
    let name = suite.name.as_ref().map(|name| ("name", name.as_str()));
    let protocol = suite.protocol.map(|protocol| ("protocol", protocol.as_str()));
    for (key, value) in name.into_iter().chain(protocol) {
        _ = writeln!(text, "{key} = {}", literal(&value.into()));
    }
    for (what, names) in [("secrets", &policy.secrets), ("env", &policy.env)] {
        if !names.is_empty() {
            let names: Vec<_> = names.keys().map(|name| format!("{name:?}")).collect();
            _ = writeln!(text, "# {what}, not shown: {}", names.join(", "));
        }
    }
    let lists = [
        ("allow_http", policy.allow_http.iter().map(ToString::to_string).collect::<Value>()),
        ("allow_tcp", policy.allow_tcp.iter().map(ToString::to_string).collect()),
    ];
    _ = writeln!(text, "[suites.policy]");
    for (name, list) in lists {
        _ = writeln!(text, "{name} = {}", literal(&list));
    }
    _ = writeln!(text, "[suites.policy.config]");
    for (name, value) in &policy.config {
        let (name, value) = (name.as_str().into(), value.as_str().into());
        _ = writeln!(text, "{} = {}", literal(&name), literal(&value));
    }
    let limits = serde_json::to_value(&policy.limits).unwrap_or_default();
    _ = writeln!(text, "[suites.policy.limits]");
    for (name, value) in limits.as_object().into_iter().flatten() {
        _ = writeln!(text, "{name} = {value}");
    }
}

fn parent(key: &str) -> &str {
    key.rsplit_once('.').map_or("", |(parent, _)| parent)
}

fn leaf(key: &str) -> &str {
    key.rsplit_once('.').map_or(key, |(_, leaf)| leaf)
}

/// A value as TOML writes it. Numbers are the same in both; a large one would not fit TOML's own type.
fn literal(value: &Value) -> String {
    match value {
        Value::Number(number) => number.to_string(),
        other => toml::Value::try_from(other).map_or_else(|_| other.to_string(), |v| v.to_string()),
    }
}

#[cfg(test)]
mod tests {
    use super::super::{Config, Environment, SettingArgs, load};
    use super::*;

    #[test]
    fn what_is_shown_reads_back_as_the_same_configuration() {
        let environment = Environment::from([("HANDOFF_RUNNER_QUEUE", "5")]);
        let loaded = load(&SettingArgs::default(), &environment).unwrap();
        let shown = show(&loaded);
        assert!(
            shown.contains("\nqueue = 5 # the environment variable HANDOFF_RUNNER_QUEUE\n"),
            "{shown}"
        );
        let again: Config = toml::from_str(&shown).unwrap();
        assert_eq!(tree(&again), tree(&loaded.config));
    }
}
