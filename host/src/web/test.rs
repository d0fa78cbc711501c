//! A test over time: how it ended in its suite's last runs, and with which messages it failed.

use std::collections::HashMap;
use std::sync::Arc;

use askama::Template;
use axum::extract::State;
use axum::response::Response;

use super::badge::missing;
use super::page::{self, Page};
use super::rows::Cell;
use super::run::test_path;
use super::show::{self, Look};
use super::text::{self, Html};
use super::{Path, Refusal, Web, ansi, markdown};
use crate::model::{Name, SuiteId, TestCase};

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
}

/// Failures with the same words.
struct Group {
    message: Html,
    cause: &'static str,
    count: usize,
    /// The last of them.
    path: String,
    number: u64,
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
    rate: Option<String>,
    entries: Vec<Entry>,
    groups: Vec<Group>,
}

/// The page.
pub(super) async fn read(
    State(web): State<Web>,
    Path((namespace, name, test)): Path<(Name, Name, String)>,
    page: Page,
) -> Result<Response, Refusal> {
    let suite = SuiteId { namespace, name };
    let (of, rows) = (suite.clone(), Arc::clone(&web.rows));
    let (version, rows) = web
        .ask(move |storage| Ok((storage.newest_version(&of)?, rows.of_suite(storage, &of, RUNS)?)))
        .await?;
    let version = version.ok_or_else(|| missing(&suite))?;
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
            version: digest.chars().take(19).collect(),
            is_other_version: versions[at] != versions[at + 1] && at + 1 < rows.len(),
            message: cell.message.as_deref().map(ansi::message).unwrap_or_default(),
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
        rate: rate(&entries),
        groups: groups(&entries),
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

fn rate(entries: &[Entry]) -> Option<String> {
    let count = |words: &[&str]| {
        entries.iter().filter(|entry| words.contains(&entry.cell.look.word)).count()
    };
    let all = count(&["passed", "failed", "error", "flaky"]);
    let (failed, flaky) = (count(&["failed", "error"]), count(&["flaky"]));
    (all > 0).then(|| format!("failed in {failed}, flaky in {flaky} of the last {all} runs"))
}

/// Failures by their words, the most frequent first. What differs from run to run in a message, its
/// numbers, does not make it another one.
fn groups(entries: &[Entry]) -> Vec<Group> {
    let mut order = Vec::new();
    let mut groups: HashMap<String, Group> = HashMap::new();
    for entry in entries.iter().filter(|entry| entry.cell.cause.is_some()) {
        let message = entry.cell.message.as_deref().unwrap_or_default();
        let key: String = message.chars().filter(|c| !c.is_ascii_digit()).collect();
        if !groups.contains_key(&key) {
            order.push(key.clone());
        }
        let group = groups.entry(key).or_insert_with(|| Group {
            message: ansi::message(message),
            cause: entry.cell.cause.map_or("", |cause| cause.as_str()),
            count: 0,
            path: entry.path.clone(),
            number: entry.number,
        });
        group.count += 1;
    }
    let mut groups: Vec<_> = order.into_iter().filter_map(|key| groups.remove(&key)).collect();
    groups.sort_by_key(|group| std::cmp::Reverse(group.count));
    groups
}
