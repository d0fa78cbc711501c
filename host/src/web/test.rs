//! A test over time: how it stands by its results, how it ended in its suite's last runs, how it fails, and what
//! is said of it.

use std::sync::Arc;

use askama::Template;
use axum::extract::State;
use axum::response::Response;

use super::badge::missing;
use super::marks::Marked;
use super::page::{self, Page};
use super::rows::{Cell, Row, Rows};
use super::run::test_path;
use super::show::{self, Look};
use super::standing::Standing;
use super::text::{self, Html};
use super::{Path, Refusal, Web, ansi, groups, markdown};
use crate::model::{Marks, Name, SuiteId, SuiteVersion, TestCase};
use crate::storage::{Storage, StorageError};

/// How many runs are looked at.
const RUNS: usize = 60;

/// The test in a run.
struct Entry {
    number: u64,
    path: String,
    cell: Cell,
    at: Html,
    took: String,
    reference: Html,
    version: String,
    is_other_version: bool,
    message: Html,
    /// Why it counts in no statistics, if somebody took it out.
    cleared: Option<Html>,
}

fn why_cleared(row: &Row, cell: &Cell) -> Option<Html> {
    let of_run = row.run.cleared.as_ref().map(|why| &why.reason);
    let why = of_run.or(cell.cleared.as_ref())?;
    Some(text::guest(&text::start(why, 200)))
}

#[derive(Template)]
#[template(path = "test.html")]
struct TestPage<'a> {
    page: &'a Page,
    suite: &'a SuiteId,
    name: Html,
    look: Option<Look>,
    description: Html,
    tags: Vec<Html>,
    facts: Vec<String>,
    is_gone: bool,
    strip: Html,
    trend: Html,
    standing: Option<Standing>,
    /// At most one.
    marked: Vec<Marked>,
    /// The test's own name, for forms.
    raw: &'a str,
    entries: Vec<Entry>,
    groups: Vec<groups::Line>,
}

/// What the store tells of a test.
struct Told {
    version: SuiteVersion,
    rows: Vec<Arc<Row>>,
    standing: Option<Standing>,
    marks: Marks,
    groups: Vec<groups::Line>,
}

fn tell(
    storage: &Storage,
    rows: &Rows,
    suite: &SuiteId,
    test: &str,
) -> Result<Option<Told>, StorageError> {
    let Some(version) = storage.newest_version(suite)? else { return Ok(None) };
    Ok(Some(Told {
        version,
        rows: rows.of_suite(storage, suite, RUNS)?,
        standing: storage.results(suite, test)?.as_ref().map(Standing::of),
        marks: storage.marks(suite)?,
        groups: groups::of_test(storage, suite, test)?,
    }))
}

/// The page.
pub(super) async fn read(
    State(web): State<Web>,
    Path((namespace, name, test)): Path<(Name, Name, String)>,
    page: Page,
) -> Result<Response, Refusal> {
    let suite = SuiteId { namespace, name };
    let (of, named, rows) = (suite.clone(), test.clone(), Arc::clone(&web.rows));
    let told = web.ask(move |storage| tell(storage, &rows, &of, &named)).await?;
    let Told { version, rows, standing, marks, groups } = told.ok_or_else(|| missing(&suite))?;
    let declared = version.description.tests.iter().find(|declared| declared.name == test);
    let mut versions = rows.iter().map(|row| row.run.version).collect::<Vec<_>>();
    versions.push(version.digest);
    let mut entries = Vec::new();
    for (at, row) in rows.iter().enumerate() {
        let Some(cell) = row.tests.get(&test) else { continue };
        let digest = row.run.version.to_string();
        entries.push(Entry {
            number: row.run.number,
            path: test_path(row.run.id, &test),
            at: show::ago(row.run.created_at),
            took: show::duration(cell.duration_ms),
            reference: row.run.reference.as_deref().map(text::guest).unwrap_or_default(),
            version: digest.chars().skip(7).take(8).collect(),
            is_other_version: versions[at] != versions[at + 1] && at + 1 < rows.len(),
            message: cell.message.as_deref().map(ansi::message).unwrap_or_default(),
            cleared: why_cleared(row, cell),
            cell: cell.clone(),
        });
    }
    if declared.is_none() && entries.is_empty() {
        let name = text::start(&test, 200);
        return Err(Refusal::Missing(format!("the suite {suite} has no test {name:?}")));
    }
    let title = format!("{} of {suite}", text::plain(&text::start(&test, 80)));
    let page = page.named(title, "suites");
    let looks: Vec<Look> = entries.iter().rev().map(|entry| entry.cell.look).collect();
    let content = TestPage {
        page: &page,
        suite: &suite,
        name: text::name(&test),
        look: entries.first().map(|entry| entry.cell.look),
        description: declared
            .and_then(|test| test.description.as_deref())
            .map(markdown::render)
            .unwrap_or_default(),
        tags: declared.iter().flat_map(|it| it.tags.iter()).map(|it| text::guest(it)).collect(),
        facts: declared.map(facts).unwrap_or_default(),
        is_gone: declared.is_none(),
        strip: show::strip(&looks),
        trend: trend(&entries),
        standing,
        marked: marks
            .get(&test)
            .map(|mark| Marked::of(&suite, &test, mark, &rows))
            .into_iter()
            .collect(),
        raw: &test,
        groups,
        entries,
    };
    page::answer(&page, &content)
}

fn facts(test: &TestCase) -> Vec<String> {
    let mut facts = Vec::new();
    facts.extend(test.timeout_ms.map(|ms| format!("deadline {}", show::duration(ms))));
    facts.extend(test.attempts.map(|attempts| format!("tried {attempts} times at most")));
    facts.extend(test.soft.then(|| "soft: its failure does not fail the run".to_owned()));
    facts.extend(test.disabled.as_deref().map(|why| format!("disabled: {}", text::plain(why))));
    facts
}

fn trend(entries: &[Entry]) -> Html {
    let tried = entries.iter().rev().filter(|entry| entry.cell.attempts > 0);
    let values: Vec<_> = tried.map(|it| (it.cell.duration_ms, it.cell.look)).collect();
    if values.len() < 2 {
        Html::default()
    } else {
        show::trend("Duration", &values, show::duration)
    }
}
