//! The list of settings, taken from the default configuration, and how one of them is set from text.

use serde_json::Value;

use super::Config;

/// One setting: a leaf of [`Config`].
#[derive(Clone, Debug, PartialEq)]
pub struct Setting {
    /// Its key in the file, with dots between the tables.
    pub key: String,
    /// Its value when nobody sets it.
    pub default: Value,
}

/// Every setting.
pub fn settings() -> Vec<Setting> {
    let mut found = Vec::new();
    collect("", &tree(&Config::default()), &mut found);
    found
}

impl Setting {
    /// Its flag, such as `--runner-queue`.
    pub fn flag(&self) -> String {
        format!("--{}", self.key.replace(['.', '_'], "-"))
    }

    /// Its environment variable, such as `HANDOFF_RUNNER_QUEUE`. `HANDOFF_LOG` is short for what would
    /// be `HANDOFF_LOG_LEVEL`.
    pub fn variable(&self) -> String {
        if self.key == "log.level" {
            return "HANDOFF_LOG".into();
        }
        format!("HANDOFF_{}", self.key.replace('.', "_").to_ascii_uppercase())
    }

    /// Whether a file sets it.
    pub(super) fn is_in(&self, table: &toml::Table) -> bool {
        let (tables, leaf) = self.key.rsplit_once('.').unwrap_or(("", &self.key));
        let mut table = Some(table);
        for name in tables.split('.').filter(|name| !name.is_empty()) {
            table = table.and_then(|table| table.get(name)?.as_table());
        }
        table.is_some_and(|table| table.contains_key(leaf))
    }

    /// Its value in a configuration.
    pub(super) fn value_in(&self, tree: &Value) -> Value {
        tree.pointer(&self.pointer()).cloned().unwrap_or_default()
    }

    /// The configuration with this setting read from `text`.
    pub(super) fn set(&self, config: Config, text: &str) -> Result<Config, String> {
        let mut first_error = None;
        for value in self.readings(text)? {
            let mut changed = tree(&config);
            if let Some(slot) = changed.pointer_mut(&self.pointer()) {
                *slot = value;
            }
            match serde_json::from_value::<Config>(changed) {
                // What the file declares is not part of the tree.
                Ok(changed) => {
                    let Config { suites, plugins, schedules, triggers, marks, .. } = config;
                    return Ok(Config { suites, plugins, schedules, triggers, marks, ..changed });
                }
                Err(error) => _ = first_error.get_or_insert(error.to_string()),
            }
        }
        Err(first_error.unwrap_or_default())
    }

    fn pointer(&self) -> String {
        format!("/{}", self.key.replace('.', "/"))
    }

    /// What `text` may mean, the likeliest first. The default's type decides; a setting that is not
    /// set by default has none to go by, so text and number are both tried.
    fn readings(&self, text: &str) -> Result<Vec<Value>, String> {
        let number = || text.replace('_', "").parse::<serde_json::Number>().ok().map(Value::Number);
        let reading = match &self.default {
            Value::Number(_) => number().ok_or_else(|| format!("{text:?} is not a number"))?,
            Value::Bool(_) => match text {
                "true" | "1" => true.into(),
                "false" | "0" => false.into(),
                _ => return Err(format!("{text:?} is neither true nor false")),
            },
            Value::Array(_) => text.split(',').map(str::trim).filter(|t| !t.is_empty()).collect(),
            Value::Object(_) => serde_json::from_str(text).map_err(|error| error.to_string())?,
            Value::String(_) => text.into(),
            Value::Null => {
                return Ok([Some(text.into()), number()].into_iter().flatten().collect());
            }
        };
        Ok(vec![reading])
    }
}

/// What must be a table of a file and is none: a list would be read as its fields in their order.
pub(super) fn not_a_table(file: &toml::Table) -> Option<String> {
    for setting in settings() {
        let mut table = file;
        for (dot, _) in setting.key.match_indices('.') {
            let key = &setting.key[..dot];
            let name = key.rsplit_once('.').map_or(key, |(_, name)| name);
            match table.get(name) {
                None => break,
                Some(toml::Value::Table(inner)) => table = inner,
                Some(_) => return Some(key.to_owned()),
            }
        }
    }
    let lists = file.iter().filter_map(|(key, value)| Some((key, value.as_array()?)));
    lists
        .flat_map(|(key, list)| list.iter().map(move |entry| (key, entry)))
        .find(|(_, entry)| entry.is_array())
        .map(|(key, _)| key.clone())
}

/// The configuration as a tree, without what the file declares.
pub(super) fn tree(config: &Config) -> Value {
    serde_json::to_value(config).expect("settings are plain data with text as keys")
}

fn collect(prefix: &str, value: &Value, found: &mut Vec<Setting>) {
    match value {
        Value::Object(fields) if !fields.is_empty() => {
            for (name, value) in fields {
                let dot = if prefix.is_empty() { "" } else { "." };
                collect(&format!("{prefix}{dot}{name}"), value, found);
            }
        }
        leaf => found.push(Setting { key: prefix.to_owned(), default: leaf.clone() }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn setting(key: &str) -> Setting {
        settings().into_iter().find(|setting| setting.key == key).unwrap()
    }

    #[test]
    fn the_names_of_a_setting_follow_from_its_place() {
        let memory = setting("sandbox.limits.memory_bytes");
        assert_eq!(memory.flag(), "--sandbox-limits-memory-bytes");
        assert_eq!(memory.variable(), "HANDOFF_SANDBOX_LIMITS_MEMORY_BYTES");
        assert_eq!(setting("log.level").variable(), "HANDOFF_LOG");
    }

    #[test]
    fn no_two_settings_share_a_flag_or_a_variable() {
        let mut names: Vec<_> = settings().iter().flat_map(|s| [s.flag(), s.variable()]).collect();
        let all = names.len();
        names.sort();
        names.dedup();
        assert_eq!(names.len(), all);
    }

    #[test]
    fn every_setting_takes_its_own_default_from_text() {
        for setting in settings() {
            let text = match &setting.default {
                Value::Null => continue,
                Value::String(text) => text.clone(),
                Value::Array(items) => {
                    let items = items.iter().map(|item| item.as_str().unwrap_or_default());
                    items.collect::<Vec<_>>().join(",")
                }
                other => other.to_string(),
            };
            let config = setting.set(Config::default(), &text).unwrap();
            assert_eq!(tree(&config), tree(&Config::default()), "{}", setting.key);
        }
    }

    #[test]
    fn a_setting_that_is_not_set_by_default_can_be_set() {
        let ca = setting("sandbox.tls_ca_file");
        let config = ca.set(Config::default(), "ca.pem").unwrap();
        assert_eq!(config.sandbox.tls_ca_file.as_deref(), Some(std::path::Path::new("ca.pem")));
    }
}
