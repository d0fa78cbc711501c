//! What a suite costs in each language that has an SDK: its conformance suite, which is the same in all.

mod loading;
mod metering;
mod serving;

use std::time::Duration;

use anyhow::Result;
use bytes::Bytes;
use handoff::wasm::SandboxSettings;

use crate::Setup;
use crate::figures::ms;

/// The languages, and how soon the first verdict of a suite in the cache is to come.
const LANGUAGES: [(&str, Duration); 5] = [
    ("c", Duration::from_millis(20)),
    ("go", Duration::from_millis(20)),
    ("javascript", Duration::from_millis(60)),
    ("python", Duration::from_millis(60)),
    ("rust", Duration::from_millis(20)),
];

/// A test that does nothing.
const NOTHING: &str = "passes";

/// One language's suite.
struct Suite<'a> {
    setup: &'a Setup,
    language: &'static str,
    /// The name of its component among the guests.
    name: String,
    component: Bytes,
    /// Whether the server counts its fuel by default.
    metered: bool,
}

/// Prints the cost of each language as Markdown.
pub(crate) async fn cost(setup: &Setup) -> Result<()> {
    let mut suites = Vec::new();
    let unmetered = SandboxSettings::default().unmetered_languages;
    for (language, aim) in LANGUAGES {
        let name = format!("{language}-conformance");
        match std::fs::read(setup.guests.join(&name).with_extension("wasm")) {
            Ok(component) => {
                let component = component.into();
                let metered = !unmetered.iter().any(|name| name.eq_ignore_ascii_case(language));
                suites.push((Suite { setup, language, name, component, metered }, aim));
            }
            Err(_) => println!("NOT MEASURED: {language}, which `cargo xtask sdks` did not build"),
        }
    }
    head("once", &loading::HEAD);
    for (suite, _) in &suites {
        row(suite.language, &loading::measure(suite).await?);
    }
    println!("\n`handoff --version` beside it: {}\n", ms(serving::bare_command(setup)?.median()));
    head("first verdict", &serving::VERDICT_HEAD);
    for (suite, aim) in &suites {
        row(suite.language, &serving::first_verdict(suite, *aim).await?);
    }
    println!();
    head("attempts", &serving::ATTEMPTS_HEAD);
    for (suite, _) in &suites {
        row(suite.language, &serving::attempts(suite).await?);
    }
    println!();
    head("computing", &metering::HEAD);
    for (suite, _) in &suites {
        for (test, cells) in metering::measure(suite).await? {
            row(&format!("{}, `{test}`", suite.language), &cells);
        }
    }
    Ok(())
}

fn head(first: &str, columns: &[&str]) {
    println!("| {first} | {} |", columns.join(" | "));
    println!("| --- |{}", " --- |".repeat(columns.len()));
}

fn row(first: &str, cells: &[String]) {
    println!("| {first} | {} |", cells.join(" | "));
}

/// Bytes as people write them.
fn size(bytes: u64) -> String {
    match bytes {
        0..1_048_576 => format!("{} KiB", bytes >> 10),
        _ => format!("{:.1} MiB", bytes as f64 / f64::from(1 << 20)),
    }
}
