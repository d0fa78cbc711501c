//! A suite: how its tests do over its last runs, what it is, and a form to run it.

use std::sync::Arc;

use askama::Template;
use axum::extract::{Query, State};
use axum::response::Response;
use jiff::Timestamp;
use serde::Deserialize;

use super::actions::StartForm;
use super::badge::{is_verdict, missing};
use super::grid::{Grid, RUNS};
use super::home::RunLine;
use super::marks::Marked;
use super::page::{self, Page};
use super::reach::Reach;
use super::rows::{Row, Rows};
use super::show::{self, Look};
use super::standing::{self, Standing, Unsteady};
use super::text::{self, Html};
use super::{Path, Refusal, Web, groups, markdown, triggers};
use crate::model::{
    Limits, Marks, RunBounds, RunId, RunRequest, RunStatus, SuiteId, SuiteVersion, plan,
};
use crate::statistics;
use crate::storage::{Storage, StorageError};

/// How many names of tests a form offers, and how many groups of failures are shown.
const NAMES: usize = 200;
const GROUPS: usize = 5;

/// How the grid is shown.
#[derive(Clone, Copy, Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct View {
    /// Whether only tests are shown that failed.
    failures: bool,
    page: usize,
}

/// A link that a suite brought along.
struct Link {
    title: Html,
    /// Where it leads, if that is a page; other addresses are shown and lead nowhere.
    href: Option<String>,
    url: Html,
}

/// A schedule of the suite.
struct Scheduled {
    name: String,
    in_words: String,
    next: Option<Html>,
    state: Option<String>,
}

/// What the store tells of a suite.
struct Told {
    version: SuiteVersion,
    rows: Vec<Arc<Row>>,
    reach: Reach,
    versions: usize,
    standing: Option<Standing>,
    unsteady: (Vec<Unsteady>, bool),
    marks: Marks,
    groups: (Vec<groups::Line>, bool),
    runs: Vec<RunLine>,
}

#[derive(Template)]
#[template(path = "suite.html")]
struct SuitePage<'a> {
    page: &'a Page,
    suite: &'a SuiteId,
    look: Option<Look>,
    since: Option<Html>,
    owner: Html,
    labels: Vec<Html>,
    links: Vec<Link>,
    description: Html,
    grid: Grid,
    view: View,
    trends: Vec<Html>,
    standing: Option<Standing>,
    unsteady: (Vec<Unsteady>, bool),
    marked: Vec<Marked>,
    groups: (Vec<groups::Line>, bool),
    names: Vec<String>,
    triggers: Vec<triggers::Line>,
    runs: Vec<RunLine>,
    tests: usize,
    tags: Vec<String>,
    version: String,
    uploaded: Html,
    size: String,
    program: Option<String>,
    versions: usize,
    reach: Reach,
    schedules: Vec<Scheduled>,
    again: Option<RunId>,
}

/// The page.
pub(super) async fn read(
    State(web): State<Web>,
    Path(suite): Path<SuiteId>,
    Query(view): Query<View>,
    page: Page,
) -> Result<Response, Refusal> {
    let (of, rows) = (suite.clone(), Arc::clone(&web.rows));
    let told = web.ask(move |storage| tell(storage, &rows, &of)).await?;
    let told = told.ok_or_else(|| missing(&suite))?;
    let schedules = schedules(&web, &suite).await;
    let described = &told.version.description;
    let declared: Vec<String> = described.tests.iter().map(|test| test.name.clone()).collect();
    let last = told.rows.iter().find(|row| is_verdict(row.run.status));
    let mut page = page.named(suite.to_string(), "suites");
    if let Some(row) = told.rows.first() {
        page = page.showing(row.run.status);
    }
    let label =
        |label: &crate::model::Label| text::guest(&format!("{}={}", label.key, label.value));
    let mut tags: Vec<String> = described.tests.iter().flat_map(|it| it.tags.clone()).collect();
    tags.sort_unstable();
    tags.dedup();
    tags.truncate(40);
    let content = SuitePage {
        page: &page,
        suite: &suite,
        look: told.rows.first().map(|row| row.run.status.into()),
        since: last.map(|last| show::ago(since(&told.rows, last.run.status))),
        owner: described.owner.as_deref().map(text::guest).unwrap_or_default(),
        labels: described.labels.iter().map(label).collect(),
        links: described.links.iter().map(Link::of).collect(),
        description: described.description.as_deref().map(markdown::render).unwrap_or_default(),
        grid: Grid::of(&suite, &told.rows, &declared, &told.marks, view.failures, view.page),
        view,
        trends: trends(&told.rows),
        standing: told.standing,
        unsteady: told.unsteady,
        marked: Marked::all(&suite, &told.marks, &told.rows),
        groups: told.groups,
        names: offered(&declared),
        triggers: triggers::of_suite(&web, &suite).await,
        runs: told.runs,
        tests: described.tests.len(),
        tags: tags.iter().map(|tag| text::plain(tag)).collect(),
        version: told.version.digest.to_string(),
        uploaded: show::ago(told.version.created_at),
        size: show::bytes(told.version.size_bytes),
        program: told.version.program.map(|program| program.to_string()),
        versions: told.versions,
        again: told.rows.first().map(|row| row.run.id),
        reach: told.reach,
        schedules,
    };
    page::answer(&page, &content)
}

fn tell(storage: &Storage, rows: &Rows, suite: &SuiteId) -> Result<Option<Told>, StorageError> {
    /// How many versions are counted.
    const VERSIONS: usize = 50;
    /// How many cells a grid has in all: more tests make fewer runs.
    const CELLS: usize = 20_000;
    let Some(version) = storage.newest_version(suite)? else { return Ok(None) };
    let policy = storage.policy(suite)?.unwrap_or_default();
    let runs = (CELLS / version.description.tests.len().max(1)).clamp(3, RUNS);
    let rows = rows.of_suite(storage, suite, runs)?;
    let last = rows.iter().find(|row| row.run.status.is_terminal());
    let last = last.map(|row| storage.run(row.run.id)).transpose()?.flatten();
    let reach = Reach::of(storage, &version, &policy, last.as_ref())?;
    let page = crate::storage::Page { limit: VERSIONS, cursor: None };
    let versions = storage.versions(suite, &page)?.items.len();
    let standing = storage.results(suite, "")?.as_ref().map(Standing::of);
    let unsteady = standing::unsteady(
        storage,
        Some(suite),
        &[statistics::State::Broken, statistics::State::Flaky],
    )?;
    Ok(Some(Told {
        runs: rows.iter().take(10).map(|row| RunLine::of(storage, &row.run)).collect(),
        marks: storage.marks(suite)?,
        groups: groups::of_suite(storage, suite, GROUPS)?,
        version,
        rows,
        reach,
        versions,
        standing,
        unsteady,
    }))
}

/// Names that a form offers: those that look like what they are.
fn offered(names: &[String]) -> Vec<String> {
    names.iter().filter(|name| text::plain(name) == **name).take(NAMES).cloned().collect()
}

/// Since when the verdict is what it is.
fn since(rows: &[Arc<Row>], status: RunStatus) -> Timestamp {
    let verdicts = rows.iter().filter(|row| is_verdict(row.run.status));
    let same = verdicts.take_while(|row| row.run.status == status);
    same.last().map_or(Timestamp::UNIX_EPOCH, |row| row.run.created_at)
}

/// How long the last runs took, and what they computed.
fn trends(rows: &[Arc<Row>]) -> Vec<Html> {
    let ended = || rows.iter().rev().filter(|row| is_verdict(row.run.status));
    if ended().count() < 2 {
        return Vec::new();
    }
    let took = ended().filter_map(|row| Some((row.run.duration_ms()?, row.run.status.into())));
    let fuel = ended().filter_map(|row| Some((row.fuel?, row.run.status.into())));
    let (took, fuel): (Vec<_>, Vec<_>) = (took.collect(), fuel.collect());
    let mut trends = vec![show::trend("Duration", &took, show::duration)];
    if fuel.len() > 1 {
        trends.push(show::trend("Fuel", &fuel, show::number));
    }
    trends
}

async fn schedules(web: &Web, suite: &SuiteId) -> Vec<Scheduled> {
    let readings = web.app.scheduler.list(Timestamp::now()).await;
    let own = readings.into_iter().filter(|reading| reading.schedule.spec.suite == *suite);
    let scheduled = |reading: crate::scheduler::Reading| Scheduled {
        state: super::schedules::state(&reading),
        name: reading.schedule.name.to_string(),
        in_words: super::schedules::within_a_sentence(&reading.in_words),
        next: reading.next.first().map(|at| show::ago(*at)),
    };
    own.map(scheduled).collect()
}

impl Link {
    fn of(link: &crate::model::Link) -> Self {
        Self {
            title: text::guest(&link.title),
            href: text::leads(&link.url),
            url: text::guest(&link.url),
        }
    }
}

#[derive(Template)]
#[template(path = "matches.html")]
struct Matches {
    problem: Option<String>,
    names: Vec<Html>,
    matching: usize,
    all: usize,
}

/// Which tests a filter takes, by the rule that plans a run.
pub(super) async fn matches(
    State(web): State<Web>,
    Path(suite): Path<SuiteId>,
    Query(form): Query<StartForm>,
    page: Page,
) -> Result<Response, Refusal> {
    /// How many names are listed.
    const LISTED: usize = 30;
    let of = suite.clone();
    let version = web.ask(move |storage| storage.newest_version(&of)).await?;
    let version = version.ok_or_else(|| missing(&suite))?;
    let (bounds, limits) = (&web.app.config.runner.bounds, &web.app.config.sandbox.limits);
    let planned = form.request().and_then(|it| planned(&version, it, bounds, limits));
    let content = match planned {
        Err(problem) => Matches {
            problem: Some(text::plain(&problem)),
            names: Vec::new(),
            matching: 0,
            all: version.description.tests.len(),
        },
        Ok(names) => Matches {
            problem: None,
            matching: names.len(),
            names: names.iter().take(LISTED).map(|name| text::name(name)).collect(),
            all: version.description.tests.len(),
        },
    };
    page::answer(&page, &content)
}

fn planned(
    version: &SuiteVersion,
    request: RunRequest,
    bounds: &RunBounds,
    limits: &Limits,
) -> Result<Vec<String>, String> {
    let now = Timestamp::now();
    let spec = plan(version, request, bounds, limits, RunId::new(), 0, now);
    let spec = spec.map_err(|error| error.to_string())?;
    let taken = spec.tests.into_iter().filter(|test| test.skip.is_none());
    Ok(taken.map(|test| test.name).collect())
}
