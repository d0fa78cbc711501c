//! Tests by runs: each test a row, each run a column, the newest first, each cell a letter and a colour.

use std::collections::HashSet;
use std::sync::Arc;

use super::rows::Row;
use super::run::test_path;
use super::show::{self, Look};
use super::text::{self, Html};
use crate::model::{Marks, RunId, SuiteId};

/// How many runs a grid has, and how many tests on one page.
pub(super) const RUNS: usize = 30;
pub(super) const TESTS: usize = 100;

/// The grid.
pub(super) struct Grid {
    pub(super) columns: Vec<Column>,
    pub(super) lines: Vec<Line>,
    /// How many tests there are beside those that are shown.
    pub(super) all: usize,
    pub(super) first: usize,
    pub(super) next: Option<usize>,
}

/// A run.
pub(super) struct Column {
    pub(super) id: RunId,
    pub(super) number: u64,
    pub(super) look: Look,
    /// What hovering tells.
    pub(super) title: String,
    pub(super) is_cleared: bool,
}

/// A test.
pub(super) struct Line {
    pub(super) name: Html,
    /// What is said of it: that it is muted, for example.
    pub(super) mark: Option<&'static str>,
    pub(super) path: String,
    pub(super) cells: Vec<Option<Cell>>,
}

/// A test in a run.
pub(super) struct Cell {
    pub(super) look: Look,
    pub(super) path: String,
    pub(super) title: String,
    pub(super) is_cleared: bool,
}

impl Grid {
    /// Whether numbers of runs are written downwards: more columns fit so than if each were as wide as its number.
    pub(super) fn is_tall(&self) -> bool {
        self.columns.iter().any(|column| column.number > 999)
    }

    /// The grid of these rows, the newest first. `declared` has the tests in their order; those that only
    /// older versions had follow.
    pub(super) fn of(
        suite: &SuiteId,
        rows: &[Arc<Row>],
        declared: &[String],
        marks: &Marks,
        failures_only: bool,
        page: usize,
    ) -> Self {
        let known: HashSet<&str> = declared.iter().map(String::as_str).collect();
        let mut gone: Vec<&str> = rows
            .iter()
            .flat_map(|row| row.tests.keys().map(String::as_str))
            .filter(|name| !known.contains(name))
            .collect::<HashSet<_>>()
            .into_iter()
            .collect();
        gone.sort_unstable();
        let fails = |name: &str| {
            let cells = rows.iter().filter_map(|row| row.tests.get(name));
            cells.into_iter().any(|cell| matches!(cell.look.word, "failed" | "error" | "flaky"))
        };
        let names = declared.iter().map(String::as_str).chain(gone);
        let names: Vec<&str> = names.filter(|name| !failures_only || fails(name)).collect();
        let first = page.saturating_mul(TESTS).min(names.len());
        let shown = names[first..].iter().take(TESTS);
        Self {
            columns: rows.iter().map(|row| Column::of(row)).collect(),
            lines: shown.map(|name| Line::of(suite, name, marks, rows)).collect(),
            all: names.len(),
            first,
            next: (names.len() > first + TESTS).then_some(page + 1),
        }
    }
}

impl Column {
    fn of(row: &Row) -> Self {
        let run = &row.run;
        let reference = run.reference.as_deref().map(|it| format!(", {}", text::start(it, 80)));
        let cleared = run.cleared.as_ref();
        let why = cleared.map(|why| format!(", cleared: {}", text::start(&why.reason, 120)));
        let title = format!(
            "#{} {}, {:.0}{}{}",
            run.number,
            run.status.as_str(),
            run.created_at,
            reference.unwrap_or_default(),
            why.unwrap_or_default()
        );
        Self {
            id: run.id,
            number: run.number,
            look: run.status.into(),
            title: text::plain(&title),
            is_cleared: cleared.is_some(),
        }
    }
}

impl Line {
    fn of(suite: &SuiteId, name: &str, marks: &Marks, rows: &[Arc<Row>]) -> Self {
        let now = jiff::Timestamp::now();
        let mark = marks.get(name).filter(|mark| mark.holds_at(now));
        let cell = |row: &Arc<Row>| {
            let cell = row.tests.get(name)?;
            let message = cell.message.as_deref().map(|it| format!(": {}", text::start(it, 120)));
            let (number, word) = (row.run.number, cell.look.word);
            let took = show::duration(cell.duration_ms);
            let cleared = if cell.cleared.is_some() { ", cleared" } else { "" };
            let message = message.unwrap_or_default();
            let title = format!("#{number} {word} in {took}{cleared}{message}");
            Some(Cell {
                look: cell.look,
                is_cleared: cell.cleared.is_some() || row.run.cleared.is_some(),
                path: test_path(row.run.id, name),
                title: text::plain(&title),
            })
        };
        Self {
            name: text::name(&text::start(name, 200)),
            mark: mark.map(|mark| super::marks::in_words(mark.kind)),
            path: format!("/suites/{suite}/tests/{}", super::run::encoded(name)),
            cells: rows.iter().map(cell).collect(),
        }
    }
}
