//! What the operator set: configuration and secrets, with errors that name what is missing.

use crate::{Error, EventKind, Result};
use std::collections::BTreeMap;
use std::fmt::Display;
use std::str::FromStr;

/// Configuration and secrets of a plugin.
#[derive(Clone, Debug, Default)]
pub struct Config(BTreeMap<String, String>);

impl Config {
    pub(crate) fn new(values: impl IntoIterator<Item = (String, String)>) -> Self {
        Self(values.into_iter().collect())
    }

    /// A value, if it is set and not empty.
    pub fn get(&self, name: &str) -> Option<&str> {
        self.0.get(name).map(String::as_str).filter(|value| !value.is_empty())
    }

    /// A value that must be set.
    pub fn require(&self, name: &str) -> Result<String> {
        self.get(name).map(str::to_owned).ok_or_else(|| {
            Error::permanent(format!("`{name}` is not set: set it in the plugin's configuration"))
        })
    }

    /// Where a service is: a value that is a URL, without a slash at its end; `default` if it is not set.
    pub fn url(&self, name: &str, default: &str) -> Result<String> {
        let url = match (self.get(name), default) {
            (None, "") => self.require(name)?,
            (url, default) => url.unwrap_or(default).to_owned(),
        };
        match problem_with_url(&url) {
            // Not with its value: it may well be a secret.
            Some(problem) => Err(Error::permanent(format!("`{name}` {problem}"))),
            None => Ok(url.trim_end_matches('/').to_owned()),
        }
    }

    /// Which events the plugin is to hear of: those that the value `events` names, separated by commas, or
    /// `default`.
    pub fn events(&self, default: &str) -> Vec<EventKind> {
        let words = self.get("events").unwrap_or(default).split(',');
        words.map(|word| EventKind::from(word.trim().to_owned())).collect()
    }

    /// The values whose names start with `prefix`, each by what follows it.
    pub fn starting_with<'a>(
        &'a self,
        prefix: &'a str,
    ) -> impl Iterator<Item = (&'a str, &'a str)> {
        self.0
            .iter()
            .filter_map(move |(name, value)| Some((name.strip_prefix(prefix)?, value.as_str())))
    }

    /// A value that is read as another type; `default` if it is not set.
    pub fn parse<T>(&self, name: &str, default: T) -> Result<T>
    where
        T: FromStr,
        T::Err: Display,
    {
        let Some(text) = self.get(name) else { return Ok(default) };
        text.parse().map_err(|error| Error::permanent(format!("`{name}` is {text:?}: {error}")))
    }
}

/// What is wrong with the URL of a service.
fn problem_with_url(url: &str) -> Option<&'static str> {
    let rest = url.split_once("://").filter(|(scheme, _)| {
        scheme.eq_ignore_ascii_case("https") || scheme.eq_ignore_ascii_case("http")
    });
    let Some((_, rest)) = rest else { return Some("must begin with https:// or http://") };
    let authority = rest.split(['/', '?', '#']).next().unwrap_or_default();
    // The colons of an IPv6 address stand in brackets.
    let port = match authority.rsplit_once(']') {
        Some((_, rest)) => rest.strip_prefix(':'),
        None => authority.split_once(':').map(|(_, port)| port),
    };
    if authority.is_empty() || authority.starts_with(':') {
        Some("has no host")
    } else if authority.starts_with('[') != authority.contains(']') {
        Some("has half of a bracket around its address")
    } else if port.is_some_and(|port| port.parse::<u16>().is_err()) && !authority.contains('@') {
        Some("has a port that is no number from 0 to 65535")
    } else if authority.contains('@') {
        Some("has a user or password: leave them out, and give them as the plugin's README says")
    } else if url.chars().any(|c| c.is_control() || c.is_whitespace()) {
        Some("has a space or line break: is there one at its end?")
    } else if url.contains(['<', '>', '"', '{', '}', '|', '\\', '^', '`']) || !url.is_ascii() {
        Some("has a character that no URL may have: encode it in percent")
    } else {
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_url_is_one_and_has_no_slash_at_its_end() {
        let config = |url: &str| Config::new([("url".to_owned(), url.to_owned())]);
        assert_eq!(config("https://a.test/b/").url("url", "").unwrap(), "https://a.test/b");
        assert_eq!(config("").url("url", "https://c.test").unwrap(), "https://c.test");
        for fine in
            ["HTTP://a.test", "http://[::1]:80", "http://[::1]", "https://a.test:8443/b?c=%20"]
        {
            assert_eq!(config(fine).url("url", "").unwrap(), fine);
        }
        for (url, told) in [
            ("ftp://a", "https://"),
            ("", "is not set"),
            ("https:///path", "has no host"),
            ("https://:8080/", "has no host"),
            ("https://a.test:99999/", "has a port"),
            ("https://a.test:abc/", "has a port"),
            ("http://[::1/", "half of a bracket"),
            ("http://a.test/<x>", "encode it"),
            ("https://me:hunter2@a.test/b", "has a user or password"),
            ("https://a.test/b\n", "line break"),
        ] {
            let error = config(url).url("url", "").unwrap_err();
            assert!(error.is_permanent() && error.message().contains(told), "{error}");
            assert!(!error.message().contains("hunter2"), "{error}");
        }
    }

    #[test]
    fn events_are_named_by_their_words() {
        let config = Config::new([("events".to_owned(), "trial, run_finished".to_owned())]);
        assert_eq!(config.events("run_queued"), [EventKind::Trial, EventKind::RunFinished]);
        assert_eq!(Config::default().events("run_queued"), [EventKind::RunQueued]);
    }
}
