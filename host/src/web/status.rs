//! Statuses as plain text, for screens and scripts.

use std::fmt::Write as _;

use axum::extract::State;

use super::badge::{missing, verdict};
use super::{Path, Refusal, Web};
use crate::model::SuiteId;
use crate::storage::Page;

/// How many suites are told of.
const SUITES: usize = 500;

fn word(status: Option<crate::model::RunStatus>) -> &'static str {
    status.map_or("none", crate::model::RunStatus::as_str)
}

/// A suite's verdict in one word: `passed`, `failed`, `error` or `none`.
pub(super) async fn suite(
    State(web): State<Web>,
    Path(suite): Path<SuiteId>,
) -> Result<String, Refusal> {
    let refusal = missing(&suite);
    let status = web
        .ask(move |storage| {
            let there = storage.newest_version(&suite)?.is_some();
            there.then(|| verdict(storage, &suite)).transpose()
        })
        .await?;
    Ok(format!("{}\n", word(status.ok_or(refusal)?)))
}

/// One line for each suite: its verdict and its name, those first that did not pass.
pub(super) async fn all(State(web): State<Web>) -> Result<String, Refusal> {
    web.ask(|storage| {
        let suites = storage.suites(&Page { limit: SUITES, cursor: None })?;
        let mut lines = Vec::with_capacity(suites.items.len());
        for version in &suites.items {
            lines.push((word(verdict(storage, &version.suite)?), version.suite.to_string()));
        }
        lines.sort_by_key(|(word, name)| (matches!(*word, "passed" | "none"), name.clone()));
        let mut text = String::new();
        for (word, name) in lines {
            let _ = writeln!(text, "{word:<7} {name}");
        }
        if suites.next_cursor.is_some() {
            let _ = writeln!(text, "(the {SUITES} newest of more)");
        }
        Ok(text)
    })
    .await
}
