//! What a person sees first: what is broken and since when, what runs, what comes.

use std::sync::Arc;

use askama::Template;
use axum::extract::State;
use axum::response::Response;
use jiff::Timestamp;

use super::badge::is_verdict;
use super::page::{self, Page};
use super::rows::{Row, Rows};
use super::run::{Progress, progress};
use super::show::{self, Look};
use super::standing::{Unsteady, unsteady};
use super::suites::{STRIP, last_runs};
use super::text::{self, Html};
use super::{Refusal, Web, ansi, plugins};
use crate::model::{Cause, RunId, RunStatus, RunSummary, SuiteId};
use crate::statistics;
use crate::storage::{self, RunQuery, Storage, StorageError};

/// How many suites are looked at for what is broken.
const SUITES: usize = 500;
/// How many suites are shown in each part.
const SHOWN: usize = 20;
/// How many failing tests are named of a suite.
const TESTS: usize = 4;

/// A suite whose last verdict is not good.
struct Broken {
    suite: SuiteId,
    run: RunId,
    number: u64,
    look: Look,
    since: Html,
    /// How many runs in a row, at least.
    runs: usize,
    strip: Html,
    tests: Vec<Culprit>,
    more: usize,
}

/// A test that did not pass.
struct Culprit {
    name: Html,
    path: String,
    message: Html,
}

/// A run in a list.
pub(super) struct RunLine {
    pub(super) id: RunId,
    pub(super) number: u64,
    pub(super) suite: SuiteId,
    pub(super) look: Look,
    pub(super) reference: Option<Html>,
    pub(super) by: Option<Html>,
    pub(super) at: Html,
    pub(super) took: Option<String>,
    pub(super) counts: String,
    /// Why it counts in no statistics, if somebody took it out.
    pub(super) cleared: Option<String>,
    pub(super) is_pinned: bool,
}

impl RunLine {
    /// The line of a run.
    pub(super) fn of(storage: &Storage, run: &RunSummary) -> Self {
        let cleared = run.cleared.as_ref();
        Self {
            id: run.id,
            number: run.number,
            suite: run.suite.clone(),
            look: run.status.into(),
            reference: run.reference.as_deref().map(|it| text::guest(&text::start(it, 80))),
            by: run.initiated_by.as_deref().map(|it| text::guest(&text::start(it, 80))),
            at: show::ago(run.created_at),
            took: run.duration_ms().map(show::duration),
            counts: super::run::counts_in_words(&run.counts),
            cleared: cleared.map(|why| text::plain(&text::start(&why.reason, 200))),
            is_pinned: storage.pin(run.id).is_some(),
        }
    }
}

/// A time to come.
struct Coming {
    at: Html,
    suite: SuiteId,
    schedule: String,
}

/// What the store tells.
#[derive(Default)]
struct Told {
    broken: Vec<Broken>,
    broken_in_all: usize,
    /// Tests that are flaky, and whether there are more.
    flaky: (Vec<Unsteady>, bool),
    plugins: plugins::Health,
    running: Vec<(RunLine, Progress)>,
    recent: Vec<RunLine>,
    suites: usize,
    /// Whether there are more suites than were looked at.
    more: bool,
}

/// How the server does.
struct Health {
    queued: usize,
    running: usize,
    places: usize,
    trouble: Option<String>,
    waiting: usize,
    used: String,
    free: String,
}

#[derive(Template)]
#[template(path = "home.html")]
struct HomePage<'a> {
    page: &'a Page,
    told: Told,
    coming: Vec<Coming>,
    health: Health,
}

/// The page.
pub(super) async fn read(State(web): State<Web>, page: Page) -> Result<Response, Refusal> {
    let rows = Arc::clone(&web.rows);
    let plugins = web.app.plugins.clone();
    let told = web.ask(move |storage| {
        let plugins = plugins::health(&plugins, storage)?;
        Ok((Told { plugins, ..tell(storage, &rows)? }, storage.disk_use()?))
    });
    let (told, disk) = told.await?;
    let coming = coming(&web).await;
    let (queued, running) = web.app.runner.load();
    let trouble = match web.app.storage.healthy() {
        _ if web.app.is_draining() => Some("the server is shutting down".to_owned()),
        Ok(()) => None,
        Err(error) => Some(format!("failed to {error}")),
    };
    let places = web.app.config.runner.concurrent_runs;
    let waiting = web.app.storage.waiting();
    let (used, free) = (show::bytes(disk.total()), show::bytes(disk.free));
    let health = Health { queued, running, places, trouble, waiting, used, free };
    let page = page.named("Home", "home").showing(match told.broken.is_empty() {
        false => RunStatus::Failed,
        true if !told.running.is_empty() => RunStatus::Running,
        true if told.recent.is_empty() => RunStatus::Cancelled,
        true => RunStatus::Passed,
    });
    page::answer(&page, &HomePage { page: &page, told, coming, health })
}

async fn coming(web: &Web) -> Vec<Coming> {
    let readings = web.app.scheduler.list(Timestamp::now()).await;
    let mut next: Vec<_> = readings
        .into_iter()
        .filter_map(|reading| {
            let schedule = reading.schedule;
            Some((*reading.next.first()?, schedule.spec.suite, schedule.name.to_string()))
        })
        .collect();
    next.sort();
    let coming = |(at, suite, schedule)| Coming { at: show::ago(at), suite, schedule };
    next.into_iter().take(8).map(coming).collect()
}

fn tell(storage: &Storage, rows: &Rows) -> Result<Told, StorageError> {
    let first = |limit| storage::Page { limit, cursor: None };
    let suites = storage.suites(&first(SUITES))?;
    let mut told =
        Told { suites: suites.items.len(), more: suites.next_cursor.is_some(), ..Told::default() };
    let mut broken = Vec::new();
    for version in &suites.items {
        let suite = &version.suite;
        let Some(run) = last_verdict(storage, suite)? else { continue };
        if run.status != RunStatus::Passed {
            broken.push(run);
        }
    }
    broken.sort_by_key(|run| std::cmp::Reverse(run.finished_at));
    told.broken_in_all = broken.len();
    for run in broken.into_iter().take(SHOWN) {
        told.broken.extend(Broken::of(storage, rows, run)?);
    }
    let running = RunQuery { status: Some(RunStatus::Running), ..RunQuery::default() };
    for run in &storage.runs(&running, &first(10))?.items {
        if let Some(folded) = storage.run(run.id)? {
            told.running.push((RunLine::of(storage, run), progress(&folded)));
        }
    }
    told.flaky = unsteady(storage, None, &[statistics::State::Flaky])?;
    let recent = storage.runs(&RunQuery::default(), &first(15))?;
    told.recent = recent.items.iter().map(|run| RunLine::of(storage, run)).collect();
    Ok(told)
}

/// A suite's last run that has a verdict. Mostly it is the last run, so few are read.
fn last_verdict(storage: &Storage, suite: &SuiteId) -> Result<Option<RunSummary>, StorageError> {
    for limit in [2, STRIP] {
        let runs = last_runs(storage, suite, limit)?;
        let few = runs.len() < limit;
        let verdict = runs.into_iter().find(|run| is_verdict(run.status));
        if verdict.is_some() || few {
            return Ok(verdict);
        }
    }
    Ok(None)
}

impl Broken {
    fn of(storage: &Storage, rows: &Rows, run: RunSummary) -> Result<Option<Self>, StorageError> {
        let suite = run.suite.clone();
        let last = last_runs(storage, &suite, STRIP)?;
        let bad = last.iter().filter(|it| is_verdict(it.status));
        let bad: Vec<_> = bad.take_while(|it| it.status != RunStatus::Passed).collect();
        let since = bad.last().map_or(run.created_at, |first| first.created_at);
        let looks: Vec<Look> = last.iter().rev().map(|it| it.status.into()).collect();
        let (id, number, look) = (run.id, run.number, run.status.into());
        let runs = bad.len();
        let Some(row) = rows.of(storage, run)? else { return Ok(None) };
        let mut tests = culprits(&row);
        let more = tests.len().saturating_sub(TESTS);
        tests.truncate(TESTS);
        let (since, strip) = (show::ago(since), show::strip(&looks));
        Ok(Some(Self { suite, run: id, number, look, since, runs, strip, tests, more }))
    }
}

/// What did not pass. If setup failed, that is one thing, whatever tests it kept from running.
fn culprits(row: &Row) -> Vec<Culprit> {
    let by_setup = |cell: &&super::rows::Cell| cell.cause == Some(Cause::Setup);
    let setup = row.tests.values().find(by_setup);
    let failed = row.tests.iter().filter(|(_, cell)| {
        matches!(cell.look.word, "failed" | "error") && !cell.soft && !by_setup(cell)
    });
    let mut failed: Vec<_> = failed.collect();
    failed.sort_by(|a, b| a.0.cmp(b.0));
    let culprit = |(name, cell): (&String, &super::rows::Cell)| Culprit {
        name: text::name(&text::start(name, 120)),
        path: super::run::test_path(row.run.id, name),
        message: cell.message.as_deref().map(ansi::message).unwrap_or_default(),
    };
    let mut culprits: Vec<_> = failed.into_iter().map(culprit).collect();
    if let Some(cell) = setup {
        culprits.insert(
            0,
            Culprit {
                name: text::guest("setup"),
                path: format!("/runs/{}/setup", row.run.id),
                message: cell.message.as_deref().map(ansi::message).unwrap_or_default(),
            },
        );
    }
    culprits
}
