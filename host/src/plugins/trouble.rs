//! Which suites fail: from terminal results alone, in the order in which runs ended, by the rule that the
//! statistics have. What is known is stored in one batch with what plugins hear of it. Which tests became flaky, the
//! statistics say.
//!
//! A run that is restricted, by a filter, tags or a shard, says nothing of the rest of the suite: it is
//! compared with runs of the same restriction. A run of the whole suite that passes ends all of its troubles.

use std::collections::HashMap;

use jiff::Timestamp;

use crate::model::{Digest, NoticeKind, NoticeTrouble, Run, RunStatus, SuiteId};
use crate::statistics::{News, State};
use crate::storage::{Page, Scope, Storage, StorageError, StoredSeries};

/// The mark of a scope that is a test's: of stores in which flaky tests were kept here. They are left out.
const FLAKY: &str = "flaky:";
/// Flaky tests that are read at a time.
const FLAKY_TESTS: usize = 500;
/// Scopes of one suite that are remembered. A constant, because what is beyond it is only told twice.
const MAX_SCOPES: usize = 2_000;

/// What is known of a suite, by scope.
type Known = HashMap<String, NoticeTrouble>;

/// What follows for plugins: kind, key and trouble.
type Told = (NoticeKind, String, NoticeTrouble);

/// The troubles that were looked at for one batch, and what is to be stored of them.
pub(super) struct Troubles {
    storage: Storage,
    known: HashMap<SuiteId, Known>,
    changed: HashMap<Scope, Option<NoticeTrouble>>,
}

impl Troubles {
    pub(super) fn new(storage: Storage) -> Self {
        Self { storage, known: HashMap::new(), changed: HashMap::new() }
    }

    /// What is to be stored.
    pub(super) fn changed(self) -> Vec<(Scope, Option<NoticeTrouble>)> {
        self.changed.into_iter().collect()
    }

    fn of_suite(&mut self, suite: &SuiteId) -> Result<&mut Known, StorageError> {
        if !self.known.contains_key(suite) {
            let known = self.storage.troubles(suite)?.into_iter();
            let known = known.filter(|(scope, _)| !scope.starts_with(FLAKY)).collect();
            self.known.insert(suite.clone(), known);
        }
        Ok(self.known.entry(suite.clone()).or_default())
    }

    fn set(&mut self, suite: &SuiteId, scope: &str, trouble: NoticeTrouble) {
        self.known.entry(suite.clone()).or_default().insert(scope.to_owned(), trouble.clone());
        self.changed.insert((suite.clone(), scope.to_owned()), Some(trouble));
    }

    fn end(&mut self, suite: &SuiteId, scope: &str) {
        self.known.entry(suite.clone()).or_default().remove(scope);
        self.changed.insert((suite.clone(), scope.to_owned()), None);
    }

    /// What the end of a run means for its suite.
    pub(super) fn of_run(&mut self, run: &Run, at: Timestamp) -> Result<Vec<Told>, StorageError> {
        let suite = &run.spec.suite;
        let scope = scope(run);
        let known = self.of_suite(suite)?;
        let before = known.get(&scope).cloned();
        let failed = match run.status {
            RunStatus::Failed => true,
            RunStatus::Passed => false,
            // Says nothing of the tested system.
            _ => return Ok(Vec::new()),
        };
        // One of the whole suite ends all of its troubles.
        let is_over = |it: &str| !failed && (it == scope || scope.is_empty());
        let mut over: Vec<_> = known
            .iter()
            .filter(|(scope, _)| is_over(scope))
            .map(|(scope, trouble)| (scope.clone(), trouble.clone()))
            .collect();
        over.sort_by_key(|(_, trouble)| trouble.since);
        let kind = match News::of_suite(before.is_some(), failed) {
            Some(News::SuiteBecameFailing) if known.len() >= MAX_SCOPES => return Ok(Vec::new()),
            Some(News::SuiteBecameFailing) => NoticeKind::SuiteFailing,
            Some(News::SuiteStillFailing) => NoticeKind::SuiteStillFailing,
            _ => {
                let end = |(scope, trouble): (String, NoticeTrouble)| {
                    self.end(suite, &scope);
                    (NoticeKind::SuiteRecovered, key(suite, &trouble), trouble)
                };
                return Ok(over.into_iter().map(end).collect());
            }
        };
        let first =
            NoticeTrouble { first_run: run.spec.id, since: at, failed_runs: 0, clean_runs: 0 };
        let mut trouble = before.unwrap_or(first);
        trouble.failed_runs += 1;
        self.set(suite, &scope, trouble.clone());
        Ok(vec![(kind, key(suite, &trouble), trouble)])
    }

    /// The tests that became flaky in this run, as the statistics have it.
    pub(super) fn became_flaky(
        &self,
        run: &Run,
        at: Timestamp,
    ) -> Result<Vec<(String, NoticeTrouble)>, StorageError> {
        let (suite, first_run) = (&run.spec.suite, run.spec.id);
        let mut page = Page { limit: FLAKY_TESTS, cursor: None };
        let mut became = Vec::new();
        loop {
            let found = self.storage.tests_in(State::Flaky, Some(suite), &page)?;
            for StoredSeries { test, series, .. } in found.items {
                if series.flaky_since.as_ref().is_some_and(|seen| seen.run == first_run) {
                    let failed_runs = series.confirmation().bad;
                    let trouble =
                        NoticeTrouble { first_run, since: at, failed_runs, clean_runs: 0 };
                    became.push((test, trouble));
                }
            }
            page.cursor = found.next_cursor;
            if page.cursor.is_none() {
                return Ok(became);
            }
        }
    }
}

/// The same for all that is said of one trouble.
fn key(suite: &SuiteId, trouble: &NoticeTrouble) -> String {
    format!("suite:{suite}:{}", trouble.first_run)
}

/// What a run was restricted to; empty if it was not.
fn scope(run: &Run) -> String {
    let request = &run.spec.request;
    let shard = request.shard.as_ref().map(ToString::to_string);
    let is_whole =
        request.filter.is_none() && shard.is_none() && request.tags == Default::default();
    if is_whole {
        return String::new();
    }
    let restricted = format!("{:?} {:?} {shard:?}", request.filter, request.tags);
    Digest::of(restricted.as_bytes()).hex()[..32].to_owned()
}
