//! Runs by suite, status, reference, time, and by what their failures said.

use std::sync::Arc;

use askama::Template;
use axum::extract::{Query, State};
use axum::response::Response;
use jiff::Timestamp;
use jiff::civil::Date;
use jiff::tz::TimeZone;
use serde::Deserialize;

use super::home::RunLine;
use super::page::{self, Page};
use super::rows::Rows;
use super::text::{self, Html};
use super::{Refusal, Web, ansi};
use crate::model::{RunStatus, RunSummary};
use crate::storage::{self, RunQuery, Storage, StorageError};

/// How many runs one page shows, and how many are looked through for it: those whose failures are read cost
/// more.
const SHOWN: usize = 50;
const LOOKED_AT: usize = 2_000;
const READ: usize = 200;

/// What is looked for. Everything comes as text.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct Search {
    suite: String,
    status: String,
    reference: String,
    text: String,
    since: String,
    until: String,
    cursor: Option<String>,
}

impl Search {
    fn is_empty(&self) -> bool {
        let fields =
            [&self.suite, &self.status, &self.reference, &self.text, &self.since, &self.until];
        fields.iter().all(|field| field.is_empty())
    }

    /// Each status, and whether it is chosen.
    fn choices(&self) -> Vec<(&'static str, bool)> {
        RunStatus::ALL.iter().map(|it| (it.as_str(), it.as_str() == self.status)).collect()
    }

    fn query(&self) -> Result<RunQuery, Refusal> {
        let suite = match self.suite.trim() {
            "" => None,
            suite => Some(suite.parse().map_err(|error| Refusal::Malformed(format!("{error}")))?),
        };
        let status = RunStatus::ALL.iter().find(|status| status.as_str() == self.status).copied();
        let reference = Some(self.reference.trim().to_owned()).filter(|it| !it.is_empty());
        Ok(RunQuery { suite, status, reference })
    }
}

/// The start of a day in UTC, as a form has it.
fn day(text: &str) -> Result<Option<Timestamp>, Refusal> {
    if text.is_empty() {
        return Ok(None);
    }
    let wrong = |_| Refusal::Malformed(format!("{text:?} is no day: write it as 2026-01-31"));
    let date: Date = text.parse().map_err(wrong)?;
    Ok(Some(date.to_zoned(TimeZone::UTC).map_err(wrong)?.timestamp()))
}

/// A run that was found, with what its failure said if that was asked for.
struct Hit {
    line: RunLine,
    said: Vec<(Html, String, Html)>,
}

#[derive(Template)]
#[template(path = "search.html")]
struct SearchPage<'a> {
    page: &'a Page,
    search: &'a Search,
    hits: Vec<Hit>,
    more: Option<String>,
    /// Whether the search ended before the end of what is stored.
    is_partial: bool,
}

/// The page.
pub(super) async fn read(
    State(web): State<Web>,
    Query(search): Query<Search>,
    page: Page,
) -> Result<Response, Refusal> {
    let order = Order {
        query: search.query()?,
        since: day(&search.since)?,
        until: day(&search.until)?
            .and_then(|day| day.checked_add(jiff::Span::new().hours(24)).ok()),
        text: search.text.trim().to_lowercase(),
        cursor: search.cursor.clone(),
    };
    let rows = Arc::clone(&web.rows);
    let (hits, more) = web.ask(move |storage| order.find(storage, &rows)).await?;
    let page = page.named("Runs", "runs");
    let is_partial = more.is_some() && hits.len() < SHOWN;
    let content = SearchPage { page: &page, search: &search, hits, more, is_partial };
    page::answer(&page, &content)
}

/// What is looked for, read.
struct Order {
    query: RunQuery,
    since: Option<Timestamp>,
    until: Option<Timestamp>,
    text: String,
    cursor: Option<String>,
}

impl Order {
    fn find(
        &self,
        storage: &Storage,
        rows: &Rows,
    ) -> Result<(Vec<Hit>, Option<String>), StorageError> {
        let most = if self.text.is_empty() { LOOKED_AT } else { READ };
        let (mut hits, mut cursor, mut looked_at) = (Vec::new(), self.cursor.clone(), 0);
        loop {
            let page = storage::Page { limit: SHOWN, cursor };
            let read = storage.runs(&self.query, &page)?;
            looked_at += read.items.len();
            for run in &read.items {
                // They come with the newest first.
                if self.since.is_some_and(|since| run.created_at < since) {
                    return Ok((hits, None));
                }
                hits.extend(self.hit(storage, rows, run)?);
            }
            cursor = read.next_cursor;
            if cursor.is_none() || hits.len() >= SHOWN || looked_at >= most {
                return Ok((hits, cursor));
            }
        }
    }

    fn hit(
        &self,
        storage: &Storage,
        rows: &Rows,
        run: &RunSummary,
    ) -> Result<Option<Hit>, StorageError> {
        if self.until.is_some_and(|until| run.created_at >= until) {
            return Ok(None);
        }
        let mut said = Vec::new();
        if !self.text.is_empty() {
            // Runs without a failure said nothing.
            if run.status == RunStatus::Passed && run.counts.flaky == 0 {
                return Ok(None);
            }
            let Some(row) = rows.of(storage, run.clone())? else { return Ok(None) };
            for (name, cell) in &row.tests {
                let message = cell.message.as_deref().unwrap_or_default();
                if cell.cause.is_some() && message.to_lowercase().contains(&self.text) {
                    let path = super::run::test_path(run.id, name);
                    said.push((text::name(name), path, ansi::message(message)));
                }
            }
            if said.is_empty() {
                return Ok(None);
            }
            said.sort_by(|a, b| a.1.cmp(&b.1));
            said.truncate(3);
        }
        Ok(Some(Hit { line: RunLine::of(storage, run), said }))
    }
}
