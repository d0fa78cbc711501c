//! What the operator set: configuration and secrets, with errors that name what is missing.

use crate::{Error, Result};
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
