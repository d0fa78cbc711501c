//! Logging of the process itself: lines for people or JSON, on standard error. What guests log is not
//! this: that is part of their attempts.

use std::fmt;
use std::io::IsTerminal as _;

use serde::{Deserialize, Serialize};
use tracing_subscriber::EnvFilter;

/// What the process logs and how (settings `log.*`).
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct LogSettings {
    /// What is logged. Default: `info`.
    pub level: LogFilter,
    /// How. Default: `human`.
    pub format: LogFormat,
}

impl LogSettings {
    /// For a command whose output is for its user: only what needs attention.
    pub fn quiet() -> Self {
        Self { level: LogFilter("warn".into()), format: LogFormat::Human }
    }
}

/// Which lines are logged: a level (`error`, `warn`, `info`, `debug`, `trace`, `off`) or directives
/// such as `info,handoff::http=debug`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct LogFilter(String);

impl Default for LogFilter {
    fn default() -> Self {
        Self("info".into())
    }
}

impl TryFrom<String> for LogFilter {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        match EnvFilter::try_new(&text) {
            Ok(_) => Ok(Self(text)),
            Err(error) => Err(format!("{text:?} is not a log level or filter: {error}")),
        }
    }
}

impl From<LogFilter> for String {
    fn from(filter: LogFilter) -> Self {
        filter.0
    }
}

impl fmt::Display for LogFilter {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// How a log line is written.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum LogFormat {
    /// For people.
    #[default]
    Human,
    /// A JSON object a line.
    Json,
}

/// Sends what is traced from now on to standard error. A second call changes nothing.
pub fn init(settings: &LogSettings, color: bool) {
    // The filter was checked when the settings were read.
    let filter = EnvFilter::try_new(&settings.level.0).unwrap_or_default();
    let builder = tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(std::io::stderr)
        // Telling of a line that could not be written would fail the same way, and panic.
        .log_internal_errors(false)
        .with_ansi(color && std::io::stderr().is_terminal());
    // An error says that there is a subscriber already, as in a test that starts two servers.
    _ = match settings.format {
        LogFormat::Human => builder.try_init(),
        LogFormat::Json => builder.json().try_init(),
    };
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_filter_is_checked_when_it_is_read() {
        assert!(LogFilter::try_from("info,handoff::http=debug".to_owned()).is_ok());
        let error = LogFilter::try_from("handoff=loud".to_owned()).unwrap_err();
        assert!(error.starts_with("\"handoff=loud\" is not a log level or filter"), "{error}");
    }
}
