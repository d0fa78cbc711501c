//! What a language cannot do, as it says itself, and the table of all languages.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::path::PathBuf;

use handoff_tests::LANGUAGES;
use serde::Deserialize;

use super::rows::{ROWS, Seen};

/// `sdk/LANGUAGE/conformance/exceptions.toml`.
#[derive(Default, Deserialize)]
pub(crate) struct Exceptions(BTreeMap<String, Exception>);

/// Why a test is not there, or ends otherwise.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Exception {
    /// For people.
    reason: String,
    /// The tool's own issue.
    issue: Option<String>,
    /// How it ends, if it is there.
    pub(crate) ends: Option<Ends>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Ends {
    status: String,
    cause: Option<String>,
}

impl Exceptions {
    /// Those of a language; none if it has no such file.
    pub(crate) fn of(language: &str) -> Self {
        let path = sdk().join(language).join("conformance/exceptions.toml");
        let Ok(text) = std::fs::read_to_string(&path) else { return Self::default() };
        let exceptions: Self = toml::from_str(&text).unwrap();
        for name in exceptions.0.keys() {
            assert!(ROWS.iter().any(|row| row.name == name), "{name} is not in the table");
        }
        exceptions
    }

    pub(crate) fn get(&self, name: &str) -> Option<&Exception> {
        self.0.get(name)
    }
}

impl Exception {
    pub(crate) fn check(&self, seen: &Seen) -> Result<(), String> {
        let Some(ends) = &self.ends else { return Ok(()) };
        let attempt = seen.attempt();
        let cause = ends.cause.as_ref().is_none_or(|cause| attempt["cause"] == cause.as_str());
        match seen.test["status"] == ends.status.as_str() && cause {
            true => Ok(()),
            false => Err(format!("it does not end as exceptions.toml says: {attempt:#}")),
        }
    }
}

/// Compares what the languages say with the table in `sdk/RESULTS.md`.
pub(crate) fn compare(found: &BTreeMap<&str, Exceptions>) {
    let path = sdk().join("RESULTS.md");
    if std::env::var_os("UPDATE_RESULTS").is_some() {
        assert_eq!(found.len(), LANGUAGES.len(), "the table is written with all languages");
        std::fs::write(&path, table(found)).unwrap();
    }
    let written = std::fs::read_to_string(&path).unwrap();
    let hint = "sdk/RESULTS.md is out of date: run the tests with UPDATE_RESULTS=1";
    if found.len() == LANGUAGES.len() {
        assert_eq!(written, table(found), "{hint}");
    }
    // Of a language whose tools are not here nothing can be said; the others' columns must be right.
    for (language, exceptions) in found {
        let column = LANGUAGES.iter().position(|known| known == language).unwrap() + 2;
        for row in ROWS {
            let name = format!("| `{}` |", row.name);
            let line = written.lines().find(|line| line.starts_with(&name));
            let cell = line.and_then(|line| line.split('|').nth(column)).map(str::trim);
            let mark = exceptions.get(row.name).map_or("✓", Exception::mark);
            let is_so = cell.is_some_and(|cell| cell.starts_with(mark));
            assert!(is_so, "{hint}: {language}, {}: {cell:?}, not {mark:?}", row.name);
        }
    }
}

fn table(found: &BTreeMap<&str, Exceptions>) -> String {
    let mut text = String::from(
        "# What each SDK can do\n\n\
         Written by the conformance test (`tests/tests/conformance`), which runs the suite of \
         [CONFORMANCE.md](CONFORMANCE.md) in each language. ✓: as it says there.\n\n| test |",
    );
    let mut notes = Vec::new();
    found.keys().for_each(|language| _ = write!(text, " {language} |"));
    text.push_str("\n| --- |");
    found.keys().for_each(|_| text.push_str(" --- |"));
    text.push('\n');
    for row in ROWS {
        _ = write!(text, "| `{}` |", row.name);
        for (language, exceptions) in found {
            match exceptions.get(row.name) {
                None => text.push_str(" ✓ |"),
                Some(exception) => {
                    notes.push(format!("{language}, `{}`: {}", row.name, exception.told()));
                    _ = write!(text, " {} ({}) |", exception.mark(), notes.len());
                }
            }
        }
        text.push('\n');
    }
    for (at, note) in notes.iter().enumerate() {
        _ = writeln!(text, "{}{}. {note}", if at == 0 { "\n" } else { "" }, at + 1);
    }
    text
}

impl Exception {
    /// What its cell in the table begins with.
    fn mark(&self) -> &'static str {
        if self.ends.is_some() { "otherwise" } else { "no" }
    }

    fn told(&self) -> String {
        let issue = self.issue.as_ref().map_or(String::new(), |issue| format!(" (<{issue}>)"));
        format!("{}{issue}", self.reason)
    }
}

pub(crate) fn sdk() -> PathBuf {
    PathBuf::from(concat!(env!("CARGO_MANIFEST_DIR"), "/../sdk"))
}
