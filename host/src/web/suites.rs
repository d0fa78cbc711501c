//! All suites, and what a line about one of them shows.

use std::collections::HashMap;

use askama::Template;
use axum::extract::{Query, State};
use axum::response::Response;
use jiff::Timestamp;
use serde::Deserialize;

use super::badge::is_verdict;
use super::page::{self, Page};
use super::show::{self, Look};
use super::text::{self, Html};
use super::{Refusal, Web};
use crate::model::{RunStatus, RunSummary, SuiteId, SuiteVersion};
use crate::storage::{self, RunQuery, Storage, StorageError};

/// How many runs the strip of a suite shows.
pub(super) const STRIP: usize = 30;

/// What is looked for.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct Search {
    q: String,
    namespace: String,
    label: String,
    owner: String,
    status: String,
    cursor: Option<String>,
}

impl Search {
    /// Whether anything is looked for.
    fn is_empty(&self) -> bool {
        let fields = [&self.q, &self.namespace, &self.label, &self.owner, &self.status];
        fields.iter().all(|field| field.is_empty())
    }

    /// Each status, and whether it is chosen.
    fn choices(&self) -> Vec<(&'static str, bool)> {
        RunStatus::ALL.iter().map(|it| (it.as_str(), it.as_str() == self.status)).collect()
    }

    fn takes(&self, version: &SuiteVersion) -> bool {
        let described = &version.description;
        let has = |text: &str, part: &str| text.to_lowercase().contains(&part.to_lowercase());
        let words = version.suite.to_string();
        let label = |label: &crate::model::Label| {
            let Some((key, value)) = self.label.split_once('=') else {
                return has(&label.key, &self.label) || has(&label.value, &self.label);
            };
            label.key == key.trim() && label.value == value.trim()
        };
        has(&words, self.q.trim())
            && (self.namespace.is_empty() || version.suite.namespace.as_str() == self.namespace)
            && (self.owner.is_empty()
                || described.owner.as_ref().is_some_and(|owner| has(owner, &self.owner)))
            && (self.label.is_empty() || described.labels.iter().any(label))
    }
}

/// A suite in a list.
pub(super) struct Line {
    pub(super) suite: SuiteId,
    pub(super) look: Option<Look>,
    pub(super) strip: Html,
    pub(super) pass_rate: Option<String>,
    pub(super) typical: Option<String>,
    pub(super) last: Option<Html>,
    pub(super) next: Option<Html>,
    pub(super) owner: Option<Html>,
    pub(super) labels: Vec<Html>,
    pub(super) tests: usize,
}

impl Line {
    /// What is shown of a suite with these runs, the newest first.
    fn of(version: &SuiteVersion, runs: &[RunSummary], next: Option<Timestamp>) -> Self {
        let verdicts = || runs.iter().filter(|run| is_verdict(run.status));
        let (all, passed) =
            (verdicts().count(), verdicts().filter(|run| run.status == RunStatus::Passed).count());
        let mut durations: Vec<_> = verdicts().filter_map(RunSummary::duration_ms).collect();
        durations.sort_unstable();
        let looks: Vec<Look> = runs.iter().rev().map(|run| run.status.into()).collect();
        let described = &version.description;
        let label = |label: &crate::model::Label| {
            text::guest(&match label.value.is_empty() {
                true => label.key.clone(),
                false => format!("{}={}", label.key, label.value),
            })
        };
        Self {
            suite: version.suite.clone(),
            look: runs.first().map(|run| run.status.into()),
            strip: show::strip(&looks),
            pass_rate: (all > 0).then(|| format!("{} %", passed * 100 / all)),
            typical: durations.get(durations.len() / 2).map(|ms| show::duration(*ms)),
            last: runs.first().map(|run| show::ago(run.created_at)),
            next: next.map(show::ago),
            owner: described.owner.as_deref().map(text::guest),
            labels: described.labels.iter().take(4).map(label).collect(),
            tests: described.tests.len(),
        }
    }
}

/// A suite's last runs, the newest first.
pub(super) fn last_runs(
    storage: &Storage,
    suite: &SuiteId,
    limit: usize,
) -> Result<Vec<RunSummary>, StorageError> {
    let query = RunQuery { suite: Some(suite.clone()), ..RunQuery::default() };
    Ok(storage.runs(&query, &storage::Page { limit, cursor: None })?.items)
}

/// When each suite that has a schedule runs next.
pub(super) async fn next_runs(web: &Web) -> HashMap<SuiteId, Timestamp> {
    let mut next = HashMap::new();
    for reading in web.app.scheduler.list(Timestamp::now()).await {
        if let Some(at) = reading.next.first() {
            let known = next.entry(reading.schedule.spec.suite).or_insert(*at);
            *known = (*known).min(*at);
        }
    }
    next
}

#[derive(Template)]
#[template(path = "suites.html")]
struct SuitesPage<'a> {
    page: &'a Page,
    search: &'a Search,
    lines: Vec<Line>,
    /// Whether there is no suite at all.
    is_empty: bool,
    more: Option<String>,
}

/// How many suites are read at a time, and how many times for one page if most do not match.
const AT_ONCE: usize = 50;
const TIMES: usize = 10;

/// The page.
pub(super) async fn read(
    State(web): State<Web>,
    page: Page,
    Query(search): Query<Search>,
) -> Result<Response, Refusal> {
    let next = next_runs(&web).await;
    let wanted = search.clone();
    let (lines, more, is_empty) = web.ask(move |storage| find(storage, &wanted, &next)).await?;
    let mut page = page.named("Suites", "suites");
    if lines.iter().any(|line| line.look.is_some_and(|look| look.word == "failed")) {
        page = page.showing(RunStatus::Failed);
    }
    let content = SuitesPage { page: &page, search: &search, lines, is_empty, more };
    page::answer(&page, &content)
}

type Found = (Vec<Line>, Option<String>, bool);

fn find(
    storage: &Storage,
    search: &Search,
    next: &HashMap<SuiteId, Timestamp>,
) -> Result<Found, StorageError> {
    let (mut lines, mut cursor) = (Vec::new(), search.cursor.clone());
    let mut is_empty = cursor.is_none();
    for _ in 0..TIMES {
        let read = storage.suites(&storage::Page { limit: AT_ONCE, cursor })?;
        is_empty &= read.items.is_empty();
        for version in read.items.iter().filter(|version| search.takes(version)) {
            let runs = last_runs(storage, &version.suite, STRIP)?;
            let line = Line::of(version, &runs, next.get(&version.suite).copied());
            let word = line.look.map_or("none", |look| look.word);
            if search.status.is_empty() || search.status == word {
                lines.push(line);
            }
        }
        cursor = read.next_cursor;
        if cursor.is_none() || lines.len() >= AT_ONCE {
            break;
        }
    }
    Ok((lines, cursor, is_empty))
}
