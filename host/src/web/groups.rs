//! Failures that are the same, as groups: how often, at which tests, since when, and when last.

use askama::Template;
use axum::extract::{Query, State};
use axum::response::Response;

use super::badge::missing;
use super::page::{self, From, Page};
use super::run::test_path;
use super::show;
use super::text::{self, Html};
use super::{Path, Refusal, Web};
use crate::model::SuiteId;
use crate::statistics::Spot;
use crate::storage::{self, Storage, StorageError, StoredGroup};

/// How many groups are on one page.
const ROWS: usize = 50;
/// How many groups of a suite are looked through for those of a test.
const LOOKED_AT: usize = 200;
/// How many tests are named of a group.
const TESTS: usize = 5;

/// A group.
pub(super) struct Line {
    pub(super) cause: &'static str,
    pub(super) message: Html,
    pub(super) location: Html,
    pub(super) count: u64,
    pub(super) tests: Vec<(Html, String)>,
    /// How many tests are not named; at least so many.
    pub(super) more: usize,
    pub(super) first: Html,
    pub(super) last: Html,
}

impl Line {
    fn of(suite: &SuiteId, stored: &StoredGroup) -> Self {
        let group = &stored.group;
        let named = group.tests.iter().take(TESTS).map(|test| {
            let path = format!("/suites/{suite}/tests/{}", super::run::encoded(test));
            (text::name(&text::start(test, 120)), path)
        });
        let place = group.location.as_ref();
        let place = place.map(|at| text::guest(&format!("{}:{}", at.file, at.line)));
        Self {
            cause: group.cause.as_str(),
            // As it is compared: what differs each time is no part of it.
            message: super::ansi::message(&text::start(&group.message, 600)),
            location: place.unwrap_or_default(),
            count: group.count,
            tests: named.collect(),
            more: group.tests.len().saturating_sub(TESTS),
            first: spot(&group.first),
            last: spot(&group.last),
        }
    }
}

fn spot(spot: &Spot) -> Html {
    let (path, at) = (test_path(spot.run, &spot.test), show::ago(spot.at));
    Html::made(format!("<a href=\"{path}\">#{}</a>, {at}", spot.number))
}

/// The groups of a suite that were seen last.
pub(super) fn of_suite(
    storage: &Storage,
    suite: &SuiteId,
    most: usize,
) -> Result<(Vec<Line>, bool), StorageError> {
    let page = storage::Page { limit: most, cursor: None };
    let found = storage.groups(suite, &page)?;
    let lines = found.items.iter().map(|group| Line::of(suite, group)).collect();
    Ok((lines, found.next_cursor.is_some()))
}

/// The groups that a test is in, of those of its suite that were seen last.
pub(super) fn of_test(
    storage: &Storage,
    suite: &SuiteId,
    test: &str,
) -> Result<Vec<Line>, StorageError> {
    let page = storage::Page { limit: LOOKED_AT, cursor: None };
    let found = storage.groups(suite, &page)?.items;
    let own = found.iter().filter(|it| it.group.tests.iter().any(|name| name == test));
    Ok(own.map(|group| Line::of(suite, group)).collect())
}

#[derive(Template)]
#[template(path = "failures.html")]
struct GroupsPage<'a> {
    page: &'a Page,
    suite: SuiteId,
    groups: Vec<Line>,
    older: Option<String>,
}

/// All groups of a suite.
pub(super) async fn read(
    State(web): State<Web>,
    Path(suite): Path<SuiteId>,
    Query(from): Query<From>,
    page: Page,
) -> Result<Response, Refusal> {
    let of = suite.clone();
    let wanted = storage::Page { limit: ROWS, cursor: from.cursor };
    let found = web.ask(move |storage| {
        let Some(_) = storage.newest_version(&of)? else { return Ok(None) };
        Ok(Some(storage.groups(&of, &wanted)?))
    });
    let found = found.await?.ok_or_else(|| missing(&suite))?;
    let page = page.named(format!("Failures of {suite}"), "suites");
    let groups = found.items.iter().map(|group| Line::of(&suite, group)).collect();
    page::answer(&page, &GroupsPage { page: &page, suite, groups, older: found.next_cursor })
}
