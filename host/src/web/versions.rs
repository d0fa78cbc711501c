//! The versions of a suite, and what changed from one to the next.

use std::collections::HashSet;

use askama::Template;
use axum::extract::State;
use axum::response::Response;

use super::badge::missing;
use super::page::{self, Page};
use super::show;
use super::text::{self, Html};
use super::{Path, Refusal, Web};
use crate::model::{SuiteId, SuiteVersion};
use crate::storage;

/// How many versions are shown.
const VERSIONS: usize = 20;
/// How many names are given of each change.
const NAMES: usize = 20;

/// A version.
struct Entry {
    digest: String,
    at: Html,
    size: String,
    growth: Option<String>,
    tests: usize,
    added: Vec<Html>,
    removed: Vec<Html>,
    imports_added: Vec<String>,
    imports_removed: Vec<String>,
    is_first: bool,
}

#[derive(Template)]
#[template(path = "versions.html")]
struct VersionsPage<'a> {
    page: &'a Page,
    suite: &'a SuiteId,
    entries: Vec<Entry>,
    more: bool,
}

/// The page.
pub(super) async fn read(
    State(web): State<Web>,
    Path(suite): Path<SuiteId>,
    page: Page,
) -> Result<Response, Refusal> {
    let of = suite.clone();
    // One more, to compare the last one with.
    let wanted = storage::Page { limit: VERSIONS + 1, cursor: None };
    let versions = web.ask(move |storage| storage.versions(&of, &wanted)).await?.items;
    if versions.is_empty() {
        return Err(missing(&suite));
    }
    let page = page.named(format!("Versions of {suite}"), "suites");
    let entries = versions.iter().take(VERSIONS).enumerate();
    let entries = entries.map(|(at, version)| Entry::of(version, versions.get(at + 1)));
    let more = versions.len() > VERSIONS;
    let content = VersionsPage { page: &page, suite: &suite, entries: entries.collect(), more };
    page::answer(&page, &content)
}

impl Entry {
    fn of(version: &SuiteVersion, before: Option<&SuiteVersion>) -> Self {
        let tests = |version: &SuiteVersion| -> Vec<String> {
            version.description.tests.iter().map(|test| test.name.clone()).collect()
        };
        let now = tests(version);
        let then = before.map(tests).unwrap_or_else(|| now.clone());
        let imports = before.map_or(&version.imports, |before| &before.imports);
        let named = |names: Vec<String>| names.iter().map(|name| text::name(name)).collect();
        let growth = before.map(|before| before.size_bytes).filter(|it| *it != version.size_bytes);
        Self {
            digest: version.digest.to_string(),
            at: show::ago(version.created_at),
            size: show::bytes(version.size_bytes),
            growth: growth.map(|before| match version.size_bytes.checked_sub(before) {
                Some(more) => format!("+{}", show::bytes(more)),
                None => format!("−{}", show::bytes(before - version.size_bytes)),
            }),
            tests: now.len(),
            added: named(only(&now, &then)),
            removed: named(only(&then, &now)),
            imports_added: only(&version.imports, imports),
            imports_removed: only(imports, &version.imports),
            is_first: before.is_none(),
        }
    }
}

/// What is in the first list alone.
pub(super) fn only(these: &[String], others: &[String]) -> Vec<String> {
    let others: HashSet<&String> = others.iter().collect();
    these.iter().filter(|name| !others.contains(name)).take(NAMES).cloned().collect()
}
