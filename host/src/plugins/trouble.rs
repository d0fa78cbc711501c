//! Which suites fail, and which tests became flaky: from terminal results alone, in the order in which runs
//! ended. What is known is stored in one batch with what plugins hear of it.
//!
//! A run that is restricted, by a filter, tags or a shard, says nothing of the rest of the suite: it is
//! compared with runs of the same restriction. A run of the whole suite that passes ends all of its troubles.

use std::collections::HashMap;

use jiff::Timestamp;

use crate::model::{Digest, NoticeKind, NoticeTrouble, Run, RunStatus, SuiteId};
use crate::storage::{Scope, Storage, StorageError};

/// The mark of a scope that is a test's.
const FLAKY: &str = "flaky:";
/// After so many runs in which a test passed at once it is not known as flaky any more.
const CLEAN_RUNS: u64 = 20;
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
            let known = self.storage.troubles(suite)?.into_iter().collect();
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
        match run.status {
            RunStatus::Failed => {
                let before = known.get(&scope).cloned();
                if before.is_none() && known.len() >= MAX_SCOPES {
                    return Ok(Vec::new());
                }
                let kind = match before {
                    Some(_) => NoticeKind::SuiteStillFailing,
                    None => NoticeKind::SuiteFailing,
                };
                let first = NoticeTrouble {
                    first_run: run.spec.id,
                    since: at,
                    failed_runs: 0,
                    clean_runs: 0,
                };
                let mut trouble = before.unwrap_or(first);
                trouble.failed_runs += 1;
                self.set(suite, &scope, trouble.clone());
                Ok(vec![(kind, key(suite, &trouble), trouble)])
            }
            RunStatus::Passed => {
                let is_over =
                    |it: &str| it == scope || (scope.is_empty() && !it.starts_with(FLAKY));
                let mut over: Vec<_> = known
                    .iter()
                    .filter(|(scope, _)| is_over(scope))
                    .map(|(scope, trouble)| (scope.clone(), trouble.clone()))
                    .collect();
                over.sort_by_key(|(_, trouble)| trouble.since);
                Ok(over
                    .into_iter()
                    .map(|(scope, trouble)| {
                        self.end(suite, &scope);
                        (NoticeKind::SuiteRecovered, key(suite, &trouble), trouble)
                    })
                    .collect())
            }
            // Says nothing of the tested system.
            _ => Ok(Vec::new()),
        }
    }

    /// The tests that became flaky, of those that passed, each with whether it failed before that.
    pub(super) fn of_tests<'a>(
        &mut self,
        run: &Run,
        at: Timestamp,
        passed: impl Iterator<Item = (&'a str, bool)>,
    ) -> Result<Vec<(String, NoticeTrouble)>, StorageError> {
        let suite = &run.spec.suite;
        let mut became = Vec::new();
        for (test, flaky) in passed {
            let known = self.of_suite(suite)?;
            let scope = format!("{FLAKY}{test}");
            match (known.get(&scope).cloned(), flaky) {
                (None, true) if known.len() < MAX_SCOPES => {
                    let trouble = NoticeTrouble {
                        first_run: run.spec.id,
                        since: at,
                        failed_runs: 1,
                        clean_runs: 0,
                    };
                    self.set(suite, &scope, trouble.clone());
                    became.push((test.to_owned(), trouble));
                }
                (Some(before), true) => {
                    let failed_runs = before.failed_runs + 1;
                    self.set(suite, &scope, NoticeTrouble { failed_runs, clean_runs: 0, ..before });
                }
                (Some(before), false) if before.clean_runs + 1 >= CLEAN_RUNS => {
                    self.end(suite, &scope);
                }
                (Some(before), false) => {
                    let clean_runs = before.clean_runs + 1;
                    self.set(suite, &scope, NoticeTrouble { clean_runs, ..before });
                }
                (None, _) => {}
            }
        }
        Ok(became)
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
