//! What a grid and a test's history show of a run. It follows from the run's events; as those of a run that
//! ended stay as they are, what followed from them is kept, up to a bound.

use std::collections::{HashMap, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use super::show::{Look, flaky};
use crate::model::{Cause, Run, RunId, RunSummary, SuiteId, Test, TestStatus};
use crate::storage::{Page, RunQuery, Storage, StorageError};

/// A run and how its tests ended.
pub(super) struct Row {
    /// The run.
    pub(super) run: RunSummary,
    /// Its tests by name.
    pub(super) tests: HashMap<String, Cell>,
    /// Instructions of all attempts, if they were counted.
    pub(super) fuel: Option<u64>,
    /// The number of the last event that it follows from.
    last_seq: u64,
}

/// A test in a run.
#[derive(Clone)]
pub(super) struct Cell {
    pub(super) look: Look,
    pub(super) soft: bool,
    /// How the last attempt ended.
    pub(super) last: Option<TestStatus>,
    /// Why it counts in no statistics, if somebody took it out.
    pub(super) cleared: Option<String>,
    pub(super) attempts: u64,
    pub(super) duration_ms: u64,
    pub(super) cause: Option<Cause>,
    /// The start of the message of the last attempt.
    pub(super) message: Option<String>,
}

/// Bytes of a message in a row.
const MESSAGE_BYTES: usize = 240;
/// How many tests all rows that are kept have in sum: some 40 MB. It saves work and bounds nothing that
/// anybody asks for.
const CELLS: usize = 100_000;

/// Rows of runs that have ended.
#[derive(Default)]
pub(super) struct Rows(Mutex<Kept>);

#[derive(Default)]
struct Kept {
    rows: HashMap<RunId, Arc<Row>>,
    /// The oldest first.
    order: VecDeque<RunId>,
    cells: usize,
}

impl Rows {
    /// The rows of a suite's last runs, the newest first.
    pub(super) fn of_suite(
        &self,
        storage: &Storage,
        suite: &SuiteId,
        most: usize,
    ) -> Result<Vec<Arc<Row>>, StorageError> {
        let query = RunQuery { suite: Some(suite.clone()), ..RunQuery::default() };
        let page = Page { limit: most, cursor: None };
        let runs = storage.runs(&query, &page)?.items;
        let rows = runs.into_iter().map(|run| self.of(storage, run));
        rows.filter_map(Result::transpose).collect()
    }

    /// The row of a run; none if the run is gone.
    pub(super) fn of(
        &self,
        storage: &Storage,
        run: RunSummary,
    ) -> Result<Option<Arc<Row>>, StorageError> {
        let known = self.lock().rows.get(&run.id).cloned();
        if let Some(row) = known
            && row.run == run
            && storage.events(run.id, row.last_seq, 1)?.is_empty()
        {
            return Ok(Some(row));
        }
        let Some(folded) = storage.run(run.id)? else { return Ok(None) };
        let row = Arc::new(Row::of(run, &folded));
        if folded.status.is_terminal() && row.run.status.is_terminal() {
            self.lock().keep(Arc::clone(&row));
        }
        Ok(Some(row))
    }

    fn lock(&self) -> MutexGuard<'_, Kept> {
        // A panic in a holder leaves no more behind than a wrong count, which only forgets too early.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Kept {
    fn keep(&mut self, row: Arc<Row>) {
        let id = row.run.id;
        self.forget(id);
        self.cells += row.tests.len() + 1;
        self.order.push_back(id);
        self.rows.insert(id, row);
        while self.cells > CELLS
            && let Some(oldest) = self.order.front().copied()
        {
            self.forget(oldest);
        }
    }

    fn forget(&mut self, id: RunId) {
        if let Some(row) = self.rows.remove(&id) {
            self.cells -= row.tests.len() + 1;
            self.order.retain(|other| *other != id);
        }
    }
}

impl Row {
    fn of(run: RunSummary, folded: &Run) -> Self {
        let tests = folded.tests.iter().map(|test| (test.name.clone(), Cell::of(test))).collect();
        let attempts = folded.tests.iter().flat_map(|test| test.attempts.iter());
        let fuel = attempts.filter_map(|attempt| attempt.fuel_used);
        let fuel = fuel.fold(None, |sum: Option<u64>, fuel| Some(sum.unwrap_or(0) + fuel));
        Self { run, tests, fuel, last_seq: folded.last_seq }
    }
}

impl Cell {
    /// How a test stands.
    pub(super) fn of(test: &Test) -> Self {
        let last = test.attempts.last();
        let message =
            last.and_then(|attempt| attempt.message.as_deref()).or(test.reason.as_deref());
        Self {
            look: if test.is_flaky() { flaky() } else { test.status.into() },
            soft: test.soft,
            last: test.attempts.last_status(),
            cleared: why_cleared(test),
            attempts: test.attempts.total(),
            duration_ms: test.attempts.iter().map(|attempt| attempt.duration_ms).sum(),
            cause: last.and_then(|attempt| attempt.cause),
            message: message.map(|message| super::text::start(message, MESSAGE_BYTES)),
        }
    }
}

/// Why a test counts in no statistics: somebody took out all that was tried, at once or one by one.
fn why_cleared(test: &Test) -> Option<String> {
    let attempts = &test.attempts;
    let mut why = attempts.clearing_of_all();
    if why.is_none() && attempts.is_complete() {
        for attempt in attempts.iter() {
            why = Some(attempts.clearing(attempt.round, attempt.number)?);
        }
    }
    why.map(|why| why.reason.clone())
}

#[cfg(test)]
mod tests {
    use jiff::Timestamp;

    use super::*;
    use crate::model::{Counts, Digest, RunStatus};

    fn row(tests: usize) -> Arc<Row> {
        let cell = Cell {
            look: flaky(),
            soft: false,
            last: None,
            cleared: None,
            attempts: 1,
            duration_ms: 1,
            cause: None,
            message: None,
        };
        let run = RunSummary {
            id: RunId::new(),
            number: 1,
            suite: "a".parse().unwrap(),
            version: Digest::of(b""),
            fixtures: None,
            status: RunStatus::Passed,
            reference: None,
            initiated_by: None,
            created_at: Timestamp::UNIX_EPOCH,
            started_at: None,
            finished_at: None,
            activity: Default::default(),
            counts: Counts::default(),
            cleared: None,
        };
        let tests = (0..tests).map(|n| (n.to_string(), cell.clone())).collect();
        Arc::new(Row { run, tests, fuel: None, last_seq: 0 })
    }

    #[test]
    fn the_oldest_rows_are_forgotten_first() {
        let mut kept = Kept::default();
        let rows = [row(CELLS / 2), row(CELLS / 4), row(CELLS / 2)];
        rows.iter().for_each(|row| kept.keep(Arc::clone(row)));
        kept.keep(Arc::clone(&rows[1]));
        let is_kept = |row: &Arc<Row>| kept.rows.contains_key(&row.run.id);
        assert_eq!(rows.each_ref().map(is_kept), [false, true, true]);
        assert_eq!(kept.cells, CELLS / 4 + CELLS / 2 + 2);
        assert_eq!(kept.order.len(), 2);
    }
}
