//! The languages that have an SDK, and which of them can be tested on this machine.

use std::io::Write as _;

use crate::guests;

/// The languages.
pub const LANGUAGES: [&str; 5] = ["c", "go", "javascript", "python", "rust"];

/// Names the languages that must not be left out, separated by commas; `all` is all of them.
const REQUIRED: &str = "HANDOFF_LANGUAGES";

/// Whether the suites of this language were built here, so that its tools are there. Says so if not.
///
/// # Panics
/// When they were not, and `HANDOFF_LANGUAGES` names the language. `.ci/run` lets it name all whose tools
/// this machine has: a tool that is there and does not work is not passed over.
pub fn is_built(language: &str) -> bool {
    let file = guests::file(&format!("{language}-conformance"));
    if file.is_file() {
        return true;
    }
    let required = std::env::var(REQUIRED).unwrap_or_default();
    assert!(
        !required.split(',').any(|name| name == language || name == "all"),
        "{} is missing: run `cargo xtask sdks`",
        file.display()
    );
    // Not by `eprintln!`, which the test runner keeps to itself.
    let told = format!("NOT TESTED: {language}, whose SDK `cargo xtask sdks` has not built here\n");
    drop(std::io::stderr().write_all(told.as_bytes()));
    false
}
